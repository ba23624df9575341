/* parse_text: reads the text exposition formats as bytes arrive: Prometheus' 0.0.4 / 1.0.0, or
 * OpenMetrics 0.0.1 / 1.0.0.
 *
 *     parse_text_init [-> parse_text_set_format] -> parse_text_feed(any bytes) ...
 *         -> parse_text_end -> parse_text_deinit
 *
 * Pure: what it finds goes to a sink; known lines go by the line cache without a look at their
 * labels. Bytes may be cut anywhere, the result is the same. Memory: one line (at most
 * line_bytes_max). The first error ends it; parse_text_line says where. */
#ifndef SCRAPE_PARSE_TEXT_H
#define SCRAPE_PARSE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"
#include "line_cache.h"
#include "text_lex.h"

#define PARSE_LINE_BYTES_MAX ((size_t)1 << 20)

enum text_format {
    TEXT_PROMETHEUS,
    TEXT_OPENMETRICS,
    PROTOBUF_DELIMITED, /* No text: parse_protobuf reads it. */
};

/* Where parsers put what they find. `line` is valid for the call, a histogram as long as the scrape. */
struct parse_text_sink {
    /* A line that the cache has: entry `index`. */
    void (*known)(void *ctx, uint32_t index, double value, const int64_t *time_ms);
    /* One that it has not. `type` is what the TYPE line before says. False (with err) ends the
     * parse. */
    bool (*sample)(void *ctx, const struct text_line *line, enum metric_type type, struct err *err);
    /* HELP, TYPE or UNIT. */
    void (*metadata)(void *ctx, const struct text_line *line);
    /* Both or none: what the last metadata is called (LINE_NONE: not kept), and that the line which
     * said so has come again. Without them every line is told in full. */
    uint32_t (*metadata_place)(void *ctx);
    void (*metadata_again)(void *ctx, uint32_t place);
    /* Of the sample before; NULL: nobody wants them. Valid for the call. */
    void (*exemplar)(void *ctx, const struct text_exemplar *exemplar);
    /* Like known, of a sample that is a histogram. NULL where there are none. */
    void (*known_histogram)(void *ctx, uint32_t index, const struct histogram *histogram,
                            const int64_t *time_ms);
    void *ctx;
};

/* A sample that was read in full, as known or new. */
MUST_CHECK bool parse_text_deliver(const struct parse_text_sink *sink, struct line_cache *cache,
                                   const struct text_line *line, enum metric_type type,
                                   struct err *err);

struct parse_text {
    const struct parse_text_sink *sink; /* Borrowed. */
    struct line_cache *cache;           /* Borrowed. */
    enum text_format format;
    size_t line_bytes_max;
    uint64_t line_number;    /* Lines read so far, or the bad one. */
    uint64_t exemplar_count; /* Read. */
    enum metric_type type;
    struct text_line line;
    struct buf carry; /* The line that the last bytes began. */
    int scan;         /* Where in it we are: enum scan. */
    int phase;        /* What may come: enum phase. */
    bool uncached;    /* Every sample is told in full, as if new. */
    bool joined;      /* It has a newline inside a quoted string. */
    bool fed;         /* There were bytes. */
};

void parse_text_init(struct parse_text *parser, struct line_cache *cache,
                     const struct parse_text_sink *sink, size_t line_bytes_max);
void parse_text_deinit(struct parse_text *parser);
/* Before the first byte; TEXT_PROMETHEUS otherwise. */
void parse_text_set_format(struct parse_text *parser, enum text_format format);
/* Before the first byte: the sink wants to see labels, and looks into the cache itself. */
void parse_text_set_uncached(struct parse_text *parser);
MUST_CHECK bool parse_text_feed(struct parse_text *parser, struct str bytes, struct err *err);
/* After the last byte. A last line without a newline is one, as in Prometheus. OpenMetrics must have
 * said # EOF, unless there was not a byte: as in Prometheus, that is an empty scrape. */
MUST_CHECK bool parse_text_end(struct parse_text *parser, struct err *err);
uint64_t parse_text_line(const struct parse_text *parser);

#endif
