/* write_receive: remote write 1 from a request's body to the log, all or nothing.
 *
 *     headers -> snappy -> proto_write_next ... -> pins + one batch -> storage_append ->
 * storage_commit -> done(204)
 *
 * Nothing is appended before the whole request has been read, so any error on the way leaves
 * storage as it was (but for series without samples, which go away by themselves). Series live in
 * one storage group per (job, instance); the groups stay open in an LRU of GROUPS_MAX. All series
 * of a request are pinned until the append is done, not longer: senders come and go and their
 * series must be able to leave memory. */
#include "remote.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/compress.h"
#include "base/hash.h"
#include "base/list.h"
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/vec.h"
#include "model/batch.h"
#include "model/labels.h"
#include "proto.h"

#define GROUPS_MAX        16384
#define DECODED_BYTES_MAX (32u << 20)
#define FUTURE_MS_MAX     (10 * 60 * 1000)
#define GROUP_KEY_SALT    UINT64_C(0x72656d6f74652077) /* Apart from the keys of scrape targets. */
#define MEDIA_TYPE        "application/x-protobuf"
#define MESSAGE_V1        "prometheus.WriteRequest"
#define MESSAGE_V2        "io.prometheus.write.v2.Request"

struct write_group {
    struct list_node node; /* In `recent`: the last used first. */
    struct storage_group *group;
    uint64_t key;
    uint32_t index; /* In `groups`. */
};

struct write_receiver {
    struct storage *storage;
    struct map group_of_key;          /* key -> index in groups */
    VEC(struct write_group *) groups; /* NULL: a free place. */
    VEC(uint32_t) groups_free;
    struct list recent;
    size_t group_count;
    struct list pending; /* struct write_pending */
    struct write_stats stats;
};

/* An append that waits for the log. */
struct write_pending {
    struct list_node node;
    struct write_receiver *receiver; /* NULL once that was closed. */
    size_t sample_count;
    write_done_fn done;
    void *ctx;
};

/* One request while it is being read: lives inside write_receive. */
struct write_request {
    struct write_receiver *receiver;
    struct proto_write proto;
    struct batch batch;
    VEC(series_ref) pins;
    struct storage_group *group; /* Of the first series: the record's home. */
    int64_t now_ms;
    struct write_stats counted; /* Added to the receiver's once the request is good. */
};

/* --- groups --- */

static bool group_equal(const void *ctx, const void *key, uint32_t value)
{
    const struct write_receiver *receiver = ctx;
    const uint64_t *wanted = key;
    return receiver->groups.items[value]->key == *wanted;
}

static struct write_group *group_open(struct write_receiver *receiver, uint64_t key)
{
    struct write_group *group = MEM_NEW(struct write_group);

    group->key = key;
    group->group = storage_group_open(receiver->storage, key);
    if (receiver->groups_free.count > 0) {
        group->index = VEC_POP(&receiver->groups_free);
        receiver->groups.items[group->index] = group;
    } else {
        group->index = (uint32_t)receiver->groups.count;
        VEC_PUSH(&receiver->groups, group);
    }
    map_insert(&receiver->group_of_key, key, group->index);
    receiver->group_count++;
    return group;
}

static void group_close(struct write_receiver *receiver, struct write_group *group)
{
    list_remove(&group->node);
    ENSURE(map_remove(&receiver->group_of_key, group->key, group->index));
    receiver->groups.items[group->index] = NULL;
    VEC_PUSH(&receiver->groups_free, group->index);
    receiver->group_count--;
    storage_group_close(group->group);
    mem_free(group);
}

static struct storage_group *group_of(struct write_receiver *receiver, struct str job,
                                      struct str instance)
{
    uint64_t key =
        hash64_mix(hash64_seed(job, GROUP_KEY_SALT), hash64_seed(instance, GROUP_KEY_SALT));
    uint32_t index = map_find(&receiver->group_of_key, key, &key, group_equal, receiver);
    struct write_group *group =
        index == MAP_NONE ? group_open(receiver, key) : receiver->groups.items[index];

    list_remove(&group->node);
    list_push_front(&receiver->recent, &group->node);
    return group->group;
}

/* Between requests only: within one, its groups must stay. */
static void groups_trim(struct write_receiver *receiver)
{
    while (receiver->group_count > GROUPS_MAX) {
        struct list_node *oldest = receiver->recent.head.prev;
        group_close(receiver, CONTAINER_OF(oldest, struct write_group, node));
    }
}

/* --- headers --- */

static bool check_content_type(struct str content_type, struct err *err)
{
    struct str type = str_trim(content_type);
    if (type.len == 0)
        return true;
    struct str rest;
    struct str media = str_cut(type, ';', &rest);
    if (!str_eq(media, STR(MEDIA_TYPE)))
        return err_set(err, ERR_NOT_ACCEPTABLE,
                       "expected " MEDIA_TYPE " as the first (media) part, got " STR_FMT
                       " content-type",
                       STR_ARG(type));
    while (rest.ptr) {
        struct str parameter = str_trim(str_cut(rest, ';', &rest));
        struct str value;
        struct str name = str_cut(parameter, '=', &value);
        if (!value.ptr || str_find_char(value, '=') < value.len)
            return err_set(err, ERR_NOT_ACCEPTABLE,
                           "as per https://www.rfc-editor.org/rfc/rfc9110#parameter expected "
                           "parameters to be key-values, got " STR_FMT " in " STR_FMT
                           " content-type",
                           STR_ARG(parameter), STR_ARG(type));
        if (!str_eq(name, STR("proto")))
            continue;
        if (str_eq(value, STR(MESSAGE_V1)))
            return true;
        if (str_eq(value, STR(MESSAGE_V2)))
            return err_set(err, ERR_NOT_ACCEPTABLE,
                           MESSAGE_V2 " protobuf message is not accepted by this server; only "
                                      "accepts " MESSAGE_V1);
        return err_set(err, ERR_NOT_ACCEPTABLE,
                       "got " STR_FMT
                       " content type; unknown type for remote write protobuf message " STR_FMT
                       ", supported: " MESSAGE_V1 ", " MESSAGE_V2,
                       STR_ARG(type), STR_ARG(value));
    }
    return true;
}

static bool check_headers(const struct write_headers *headers, struct err *err)
{
    if (!check_content_type(headers->content_type, err))
        return false;
    struct str encoding = headers->content_encoding;
    if (encoding.len > 0 && !str_eq(encoding, STR("snappy")))
        return err_set(err, ERR_NOT_ACCEPTABLE,
                       STR_FMT
                       " encoding (compression) is not accepted by this server; only snappy "
                       "is acceptable",
                       STR_ARG(encoding));
    return true;
}

/* --- labels --- */

static int label_compare(const void *a, const void *b)
{
    const struct label *left = a, *right = b;
    return str_cmp(left->name, right->name);
}

/* Sorts when the sender did not. Labels are few and mostly sorted: insertion is not needed for the
 * common case, and qsort bounds the hostile one. */
static void sort_labels(struct label *labels, size_t count)
{
    for (size_t i = 1; i < count; i++) {
        if (str_cmp(labels[i - 1].name, labels[i].name) > 0) {
            qsort(labels, count, sizeof(*labels), label_compare);
            return;
        }
    }
}

static bool labels_are_valid(const struct label *labels, size_t count)
{
    bool named = false;

    for (size_t i = 0; i < count; i++) {
        if (!label_name_is_valid(labels[i].name) || !str_is_utf8(labels[i].value))
            return false;
        if (str_eq(labels[i].name, LABEL_NAME))
            named = labels[i].value.len > 0;
    }
    return named;
}

static bool check_unique(const struct label *sorted, size_t count, struct err *err)
{
    for (size_t i = 1; i < count; i++) {
        if (str_eq(sorted[i - 1].name, sorted[i].name))
            return err_set(err, ERR_BAD_DATA,
                           "label name \"" STR_FMT "\" is not unique: invalid sample",
                           STR_ARG(sorted[i].name));
    }
    return true;
}

/* A label with an empty value is as good as absent. */
static size_t drop_empty(struct label *labels, size_t count)
{
    size_t kept = 0;

    for (size_t i = 0; i < count; i++) {
        if (labels[i].value.len > 0)
            labels[kept++] = labels[i];
    }
    return kept;
}

static struct str label_value(const struct label *labels, size_t count, struct str name)
{
    for (size_t i = 0; i < count; i++) {
        if (str_eq(labels[i].name, name))
            return labels[i].value;
    }
    return STR_EMPTY;
}

/* --- one request --- */

static bool add_series(struct write_request *request, struct err *err)
{
    struct proto_write *proto = &request->proto;
    struct label *labels = proto->labels.items;
    size_t count = proto->labels.count;

    request->counted.exemplars_ignored += proto->exemplar_count;
    request->counted.histograms_ignored += proto->histogram_count;
    if (!labels_are_valid(labels, count)) {
        request->counted.invalid_label_series++;
        return true;
    }
    sort_labels(labels, count);
    if (!check_unique(labels, count, err))
        return false;
    if (proto->samples.count == 0)
        return true;
    count = drop_empty(labels, count);

    struct storage_group *group = group_of(request->receiver, label_value(labels, count, LABEL_JOB),
                                           label_value(labels, count, LABEL_INSTANCE));
    if (!request->group)
        request->group = group;
    series_ref ref = storage_series(request->receiver->storage, group, labels, count,
                                    labels_hash(labels, count), err);
    if (ref == SERIES_REF_NONE)
        return false;
    VEC_PUSH(&request->pins, ref);
    VEC_EACH (sample, &proto->samples) {
        if (sample->time_ms > request->now_ms + FUTURE_MS_MAX)
            return err_set(err, ERR_BAD_DATA, "out of bounds: timestamp is too far in the future");
        batch_add(&request->batch, ref, sample->time_ms, sample->value);
    }
    return true;
}

static bool request_append(struct write_request *request, struct str bytes, struct err *err)
{
    proto_write_init(&request->proto, bytes);
    while (proto_write_next(&request->proto, err)) {
        if (!add_series(request, err))
            return false;
    }
    if (err->code != ERR_NONE)
        return false;
    if (request->batch.samples.count == 0)
        return true;
    struct append_options options = {.all_or_nothing = true, .now_ms = request->now_ms};
    struct append_result result = {0};
    return storage_append(request->receiver->storage, request->group, &request->batch, &options,
                          &result, err);
}

static void request_deinit(struct write_request *request)
{
    VEC_EACH (ref, &request->pins)
        storage_series_release(request->receiver->storage, *ref);
    VEC_FREE(&request->pins);
    batch_deinit(&request->batch);
    proto_write_deinit(&request->proto);
    groups_trim(request->receiver);
}

static int write_status(const struct err *err)
{
    if (err->code == ERR_NOT_ACCEPTABLE)
        return 415;
    return err->code == ERR_BAD_DATA ? 400 : 500;
}

static void write_fail(struct write_receiver *receiver, const struct err *err, write_done_fn done,
                       void *ctx)
{
    int status = write_status(err);

    receiver->stats.requests_failed++;
    if (status == 500)
        LOG_E("Error while remote writing the v1 request", "err", err->text);
    done(ctx, status, str_of(err->text));
}

static void write_committed(void *ctx, const struct err *err)
{
    struct write_pending *pending = ctx;
    struct write_receiver *receiver = pending->receiver;
    bool failed = err && err->code != ERR_NONE;

    list_remove(&pending->node);
    if (failed)
        LOG_E("A remote write could not be logged", "err", err->text);
    if (receiver && failed)
        receiver->stats.requests_failed++;
    if (receiver && !failed)
        receiver->stats.samples += pending->sample_count;
    pending->done(pending->ctx, failed ? 500 : 204, failed ? str_of(err->text) : STR_EMPTY);
    mem_free(pending);
}

static void wait_for_commit(struct write_receiver *receiver, size_t sample_count,
                            write_done_fn done, void *ctx)
{
    struct write_pending *pending = MEM_NEW(struct write_pending);

    pending->receiver = receiver;
    pending->sample_count = sample_count;
    pending->done = done;
    pending->ctx = ctx;
    list_push_back(&receiver->pending, &pending->node);
    storage_commit(receiver->storage, write_committed, pending);
}

static void add_counted(struct write_stats *stats, const struct write_stats *counted)
{
    stats->invalid_label_series += counted->invalid_label_series;
    stats->exemplars_ignored += counted->exemplars_ignored;
    stats->histograms_ignored += counted->histograms_ignored;
}

void write_receive(struct write_receiver *receiver, const struct write_headers *headers,
                   struct str body, int64_t now_ms, write_done_fn done, void *ctx)
{
    struct write_request request = {.receiver = receiver, .now_ms = now_ms};
    struct err err = {0};
    struct buf decoded;

    receiver->stats.requests++;
    buf_init(&decoded, DECODED_BYTES_MAX);
    bool ok = check_headers(headers, &err);
    if (ok && !snappy_decode(body, &decoded, &err)) {
        err.code = ERR_BAD_DATA; /* Whatever is wrong with it, it is the sender's doing. */
        ok = false;
    }
    ok = ok && request_append(&request, buf_str(&decoded), &err);
    size_t sample_count = request.batch.samples.count;
    request_deinit(&request);
    buf_deinit(&decoded);
    add_counted(&receiver->stats, &request.counted);
    if (!ok)
        write_fail(receiver, &err, done, ctx);
    else if (sample_count == 0)
        done(ctx, 204, STR_EMPTY);
    else
        wait_for_commit(receiver, sample_count, done, ctx);
}

void write_receiver_get_stats(const struct write_receiver *receiver, struct write_stats *out)
{
    *out = receiver->stats;
}

struct write_receiver *write_receiver_open(struct storage *storage)
{
    struct write_receiver *receiver = MEM_NEW(struct write_receiver);

    receiver->storage = storage;
    map_init(&receiver->group_of_key);
    list_init(&receiver->recent);
    list_init(&receiver->pending);
    return receiver;
}

void write_receiver_close(struct write_receiver *receiver)
{
    if (!receiver)
        return;
    LIST_EACH (node, &receiver->pending) {
        list_remove(node);
        CONTAINER_OF(node, struct write_pending, node)->receiver = NULL;
    }
    while (!list_empty(&receiver->recent))
        group_close(receiver,
                    CONTAINER_OF(list_first(&receiver->recent), struct write_group, node));
    VEC_FREE(&receiver->groups);
    VEC_FREE(&receiver->groups_free);
    map_deinit(&receiver->group_of_key);
    mem_free(receiver);
}
