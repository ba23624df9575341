/* openmetrics_reader: the samples of OpenMetrics text, for who is no scraper. Bytes in, samples out; memory: one line.
 *
 *     openmetrics_reader_new -> feed(any bytes) ... -> end -> free */
#ifndef SCRAPE_OPENMETRICS_READER_H
#define SCRAPE_OPENMETRICS_READER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"
#include "model/labels.h"

struct openmetrics_sample {
    const struct label *labels; /* With the name, sorted; valid for the call. */
    size_t label_count;
    double value;
    int64_t time_ms;
    bool has_time;
};
typedef bool (*openmetrics_sample_fn)(void *ctx, const struct openmetrics_sample *sample, struct err *err);

struct openmetrics_reader;
struct openmetrics_reader *openmetrics_reader_new(openmetrics_sample_fn fn, void *ctx);
void openmetrics_reader_free(struct openmetrics_reader *reader); /* NULL is fine. */
/* False at the first bad line or when fn says so; openmetrics_reader_line says where. */
MUST_CHECK bool openmetrics_reader_feed(struct openmetrics_reader *reader, struct str bytes, struct err *err);
MUST_CHECK bool openmetrics_reader_end(struct openmetrics_reader *reader, struct err *err);
uint64_t openmetrics_reader_line(const struct openmetrics_reader *reader);

#endif
