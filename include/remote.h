/* remote: remote write, receiving side (protocol 1: prometheus.WriteRequest, snappy block). Loop thread. */
#ifndef REMOTE_H
#define REMOTE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"
#include "storage.h"

struct write_receiver;

struct write_receiver *write_receiver_open(struct storage *storage);
/* Before storage_close: it closes its groups. Writes in flight still answer. NULL is fine. */
void write_receiver_close(struct write_receiver *receiver);

struct write_headers {
    struct str content_type;     /* Empty: absent. */
    struct str content_encoding;
};

/* The answer to a write: status 204, or an error status with a text. */
typedef void (*write_done_fn)(void *ctx, int status, struct str text);

/* Decodes, checks and appends all or nothing, then answers once the log has it: done is called exactly once, later or
 * (on an error found at once) inside this call. `body` is borrowed for the call. */
void write_receive(struct write_receiver *receiver, const struct write_headers *headers, struct str body,
                   int64_t now_ms, write_done_fn done, void *ctx);

struct write_stats {
    uint64_t requests, samples, invalid_label_series, requests_failed, exemplars_ignored, histograms_ignored;
};
void write_receiver_get_stats(const struct write_receiver *receiver, struct write_stats *out);

#endif
