/* parse_protobuf: reads the protobuf exposition format as bytes arrive: io.prometheus.client
 * MetricFamily messages, each with its length before it.
 *
 *     MetricFamily { string name = 1; string help = 2; MetricType type = 3; Metric metric = 4;
 *                    string unit = 5; }
 *
 * Pure, like parse_text: what it finds goes to the same sink, in the order of Prometheus' parser.
 * Bytes may be cut anywhere, the result is the same. A family may be of any length: its fields are
 * read one by one, and one field, not the message, bounds the memory. So a metric must come behind
 * name and type of its family, as all encoders write it. */
#ifndef SCRAPE_PARSE_PROTOBUF_H
#define SCRAPE_PARSE_PROTOBUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "nhcb.h"
#include "parse_text.h"
#include "protobuf_metric.h"

#define PROTOBUF_FIELD_BYTES_MAX ((size_t)4 << 20)

struct parse_protobuf_options {
    bool native;            /* Native parts count. */
    bool always_classic;    /* Buckets also where there is a native histogram. */
    bool classic_to_native; /* Buckets become custom ones where there is none. */
};

struct parse_protobuf {
    const struct parse_text_sink *sink; /* Borrowed. */
    struct line_cache *cache;           /* Borrowed. */
    struct arena *kept;                 /* Borrowed: histograms live there. */
    struct parse_protobuf_options options;
    uint64_t exemplar_count;

    struct buf carry; /* The item that the last bytes began. */
    size_t wanted;    /* Bytes of it before it is worth another look. */
    bool in_message;
    uint64_t done;          /* Bytes of the body that were read. */
    uint64_t message_start; /* Where in it the message's length stands. */
    uint64_t message_len;   /* With the length before it. */
    uint64_t message_left;
    uint64_t skip; /* Of them: the payload of a field that nobody wants. */

    struct buf name, help, unit;
    uint64_t type; /* enum protobuf_type, checked with the first metric. */
    bool has_metric;

    struct protobuf_metric metric;
    struct buf labels_key; /* Of the metric in work. */
    struct buf full_name;
    struct buf key;
    struct text_line line;
    struct nhcb_build build;
};

void parse_protobuf_init(struct parse_protobuf *parser, struct line_cache *cache,
                         const struct parse_text_sink *sink, struct arena *kept,
                         const struct parse_protobuf_options *options);
void parse_protobuf_deinit(struct parse_protobuf *parser);
MUST_CHECK bool parse_protobuf_feed(struct parse_protobuf *parser, struct str bytes,
                                    struct err *err);
/* After an error and a body of so many bytes: whether the message it was in is not all there, which
 * Prometheus looks at first. Then err says so. */
bool parse_protobuf_was_cut(const struct parse_protobuf *parser, uint64_t body_bytes,
                            struct err *err);
/* After the last byte. */
MUST_CHECK bool parse_protobuf_end(struct parse_protobuf *parser, struct err *err);

#endif
