/* write_request: one request between its bytes and storage. Lives inside write_receive. */
#ifndef REMOTE_WRITE_REQUEST_H
#define REMOTE_WRITE_REQUEST_H

#include "base/buf.h"
#include "base/list.h"
#include "base/map.h"
#include "base/vec.h"
#include "model/batch.h"
#include "proto.h"
#include "remote.h"

struct write_group;

struct write_receiver {
    struct storage *storage;
    unsigned accepted; /* Messages: enum write_accept. */
    struct map group_of_key;          /* key -> index in groups */
    VEC(struct write_group *) groups; /* NULL: a free place. */
    VEC(uint32_t) groups_free;
    struct list recent; /* struct write_group: the last used first. */
    size_t group_count;
    struct list pending; /* struct write_pending */
    struct buf decoded;  /* Empty between requests, with its memory if that is little. */
    uint64_t seed;       /* Of the hash of label bytes. */
    struct write_stats stats;
};

/* write_receive.c */
struct storage_group *write_group_of(struct write_receiver *receiver, struct str job,
                                     struct str instance);

struct write_exemplar {
    series_ref ref;
    int64_t time_ms;
    double value;
    size_t first_label, label_count;
};

struct write_request {
    struct write_receiver *receiver;
    bool is_v2;
    struct proto_write proto;
    struct batch batch;
    VEC(series_ref) pins;
    VEC(struct write_exemplar) exemplars;
    VEC(struct label) exemplar_labels; /* Texts borrowed from the bytes. */
    struct hash128 key;                /* Of the label bytes of the series in work. */
    series_ref known;                  /* Its series, or SERIES_REF_NONE. */
    int64_t now_ms;
    struct buf errors; /* What was refused, a line each: version 2; new series beyond a limit. */
    uint64_t refused;  /* So many series are beyond a limit. */
    struct write_written written;
    struct write_stats counted; /* Added to the receiver's. */
};

void write_request_init(struct write_request *request, struct write_receiver *receiver, bool is_v2,
                        int64_t now_ms);
/* Reads it all, appends the batch and stores the exemplars. False: nothing was stored. */
MUST_CHECK bool write_request_append(struct write_request *request, struct str bytes,
                                     struct err *err);
void write_request_release(struct write_request *request); /* Lets go of series and bytes. */
void write_request_deinit(struct write_request *request);

#endif
