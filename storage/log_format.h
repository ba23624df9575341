/* log_format: the marks of the log's files; the drawing is in log.c and docs/formats.md. */
#ifndef STORAGE_LOG_FORMAT_H
#define STORAGE_LOG_FORMAT_H

#define LOG_MAGIC        "NXLG"
#define LOG_SEGMENT_HEAD 16
#define LOG_RECORD_HEAD  8
#define LOG_RECORD_MAX   ((uint32_t)1 << 30)
#define LOG_SERIES       1
#define LOG_SAMPLES      2

#endif
