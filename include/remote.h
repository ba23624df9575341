/* remote: remote write, receiving side (version 1: prometheus.WriteRequest, 2: io.prometheus.write.v2.Request; snappy
 * block). Loop thread. */
#ifndef REMOTE_H
#define REMOTE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"
#include "storage.h"

struct write_receiver;

#define WRITE_MESSAGE_V1 "prometheus.WriteRequest"
#define WRITE_MESSAGE_V2 "io.prometheus.write.v2.Request"
enum write_accept { WRITE_ACCEPT_V1 = 1 << 0, WRITE_ACCEPT_V2 = 1 << 1 };

/* `accepted`: the messages that are taken, bits of enum write_accept; others are answered 415. */
struct write_receiver *write_receiver_open(struct storage *storage, unsigned accepted);
/* Before storage_close: it closes its groups. Writes in flight still answer. NULL is fine. */
void write_receiver_close(struct write_receiver *receiver);

struct write_headers {
    struct str content_type;     /* Empty: absent. */
    struct str content_encoding;
};

/* What a request of version 2 has stored: for the X-Prometheus-Remote-Write-*-Written headers. */
struct write_written {
    uint64_t samples, histograms, exemplars;
};

/* The answer to a write: status 204, or an error status with a text. `written` is NULL for version 1. */
typedef void (*write_done_fn)(void *ctx, int status, struct str text, const struct write_written *written);

/* Decodes, checks and appends (version 1: all or nothing; version 2: what is good), then answers once the log has it: done is called exactly once, later or
 * (on an error found at once) inside this call. `body` is borrowed for the call. */
void write_receive(struct write_receiver *receiver, const struct write_headers *headers, struct str body,
                   int64_t now_ms, write_done_fn done, void *ctx);

struct write_stats {
    uint64_t requests, samples, histograms, exemplars; /* Stored. */
    uint64_t invalid_label_samples;                    /* Floats and histograms that had bad labels. */
    uint64_t invalid_label_series, requests_failed, exemplars_ignored, exemplars_out_of_order;
};
void write_receiver_get_stats(const struct write_receiver *receiver, struct write_stats *out);

#endif
