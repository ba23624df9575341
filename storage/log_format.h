/* log_format: the marks of the log's files; the drawing is in log.c and docs/formats.md. */
#ifndef STORAGE_LOG_FORMAT_H
#define STORAGE_LOG_FORMAT_H

#define LOG_MAGIC        "NXLG"
#define LOG_SEGMENT_HEAD 16
#define LOG_RECORD_HEAD  8
#define LOG_RECORD_MAX   ((uint32_t)1 << 30)

enum { LOG_SERIES = 1, LOG_ROWS = 2, LOG_LATE = 3, LOG_EXEMPLARS = 4 };

/* Tokens of LOG_ROWS; below LOG_ROW: an entry of stream.h for the next member. */
enum { LOG_ROW = 120, LOG_JOIN = 121, LOG_SEEK = 122, LOG_UNCHANGED = 127, LOG_SKIP = 255 };
#define LOG_UNCHANGED_MAX 127

#endif
