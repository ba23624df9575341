/* write_receive: remote write from a request's body to the log: version 1 all or nothing, of version 2
 * what is good.
 *
 *     headers -> snappy -> proto_write_next ... -> pins + one batch -> storage_append -> exemplars
 *         -> storage_commit -> done(204)
 *
 * Nothing is appended before the whole request has been read, so any error on the way leaves
 * storage as it was (but for series without samples, which go away by themselves). Series live in
 * one storage group per (job, instance); the groups stay open in an LRU of GROUPS_MAX. All series
 * of a request are pinned until the append is done, not longer: senders come and go and their
 * series must be able to leave memory. */
#include "write_request.h"

#include <inttypes.h>
#include <stdlib.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/compress.h"
#include "base/hash.h"
#include "base/log.h"

#define GROUPS_MAX         16384
#define DECODED_BYTES_MAX  (32u << 20)
#define DECODED_BYTES_KEPT (1u << 20)
#define GROUP_KEY_SALT     UINT64_C(0x72656d6f74652077) /* Apart from the keys of scrape targets. */
#define MEDIA_TYPE         "application/x-protobuf"

struct write_group {
    struct list_node node; /* In `recent`: the last used first. */
    struct storage_group *group;
    uint64_t key;
    uint32_t index; /* In `groups`. */
};

/* An append that waits for the log. */
struct write_pending {
    struct list_node node;
    struct write_receiver *receiver; /* NULL once that was closed. */
    bool is_v2;
    struct write_written written;
    char *error; /* Of what was refused; NULL: nothing was. */
    write_done_fn done;
    void *ctx;
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

struct storage_group *write_group_of(struct write_receiver *receiver, struct str job,
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

static bool check_content_type(struct str content_type, bool *is_v2, struct err *err)
{
    *is_v2 = false;
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
        *is_v2 = str_eq(value, STR(WRITE_MESSAGE_V2));
        if (*is_v2 || str_eq(value, STR(WRITE_MESSAGE_V1)))
            return true;
        return err_set(err, ERR_NOT_ACCEPTABLE,
                       "got " STR_FMT
                       " content type; unknown type for remote write protobuf message " STR_FMT
                       ", supported: " WRITE_MESSAGE_V1 ", " WRITE_MESSAGE_V2,
                       STR_ARG(type), STR_ARG(value));
    }
    return true;
}

static bool check_accepted(const struct write_receiver *receiver, bool is_v2, struct err *err)
{
    unsigned wanted = is_v2 ? WRITE_ACCEPT_V2 : WRITE_ACCEPT_V1;
    return (receiver->accepted & wanted) ||
           err_set(err, ERR_NOT_ACCEPTABLE,
                   "%s protobuf message is not accepted by this server; only accepts %s",
                   is_v2 ? WRITE_MESSAGE_V2 : WRITE_MESSAGE_V1,
                   is_v2 ? WRITE_MESSAGE_V1 : WRITE_MESSAGE_V2);
}

static bool check_encoding(struct str encoding, struct err *err)
{
    if (encoding.len > 0 && !str_eq(encoding, STR("snappy")))
        return err_set(err, ERR_NOT_ACCEPTABLE,
                       STR_FMT
                       " encoding (compression) is not accepted by this server; only snappy "
                       "is acceptable",
                       STR_ARG(encoding));
    return true;
}

/* Prometheus' decoder is called s2 in its errors. Whatever is wrong with the body, it is the sender's doing. */
static bool decode(struct str body, struct buf *decoded, struct err *err)
{
    static const struct str name = STR("snappy");
    struct err why = {0};
    if (snappy_decode(body, decoded, &why))
        return true;
    struct str text = str_of(why.text);
    return err_set(err, ERR_BAD_DATA, "s2" STR_FMT,
                   STR_ARG(str_starts(text, name) ? str_after(text, name.len) : text));
}

/* --- the answer --- */

static int write_status(const struct err *err)
{
    if (err->code == ERR_NOT_ACCEPTABLE)
        return 415;
    return err->code == ERR_BAD_DATA ? 400 : 500;
}

static void write_fail(struct write_receiver *receiver, const struct err *err, bool is_v2,
                       write_done_fn done, void *ctx)
{
    struct write_written nothing = {0};
    int status = write_status(err);

    receiver->stats.requests_failed++;
    if (status == 500)
        LOG_E("Error while remote writing a request", "version", is_v2 ? "2" : "1", "err",
              err->text);
    done(ctx, status, str_of(err->text), is_v2 && status != 415 ? &nothing : NULL);
}

static void add_written(struct write_stats *stats, const struct write_written *written)
{
    stats->samples += written->samples;
    stats->histograms += written->histograms;
    stats->exemplars += written->exemplars;
}

static void write_answer(struct write_receiver *receiver, const struct write_pending *pending)
{
    const char *error = pending->error;

    if (receiver && error)
        receiver->stats.requests_failed++;
    if (receiver)
        add_written(&receiver->stats, &pending->written);
    pending->done(pending->ctx, error ? 400 : 204, error ? str_of(error) : STR_EMPTY,
                  pending->is_v2 ? &pending->written : NULL);
}

static void pending_free(struct write_pending *pending)
{
    mem_free(pending->error);
    mem_free(pending);
}

static void write_committed(void *ctx, const struct err *err)
{
    struct write_pending *pending = ctx;
    struct write_receiver *receiver = pending->receiver;
    struct write_written nothing = {0};
    bool failed = err && err->code != ERR_NONE;

    list_remove(&pending->node);
    if (failed)
        LOG_E("A remote write could not be logged", "err", err->text);
    if (receiver && failed)
        receiver->stats.requests_failed++;
    if (failed)
        pending->done(pending->ctx, 500, str_of(err->text), pending->is_v2 ? &nothing : NULL);
    else
        write_answer(receiver, pending);
    pending_free(pending);
}

static void add_counted(struct write_stats *stats, const struct write_stats *counted)
{
    stats->invalid_label_series += counted->invalid_label_series;
    stats->invalid_label_samples += counted->invalid_label_samples;
    stats->exemplars_ignored += counted->exemplars_ignored;
    stats->exemplars_out_of_order += counted->exemplars_out_of_order;
}

/* Answers at once when there is nothing to wait for. */
static void write_finish(struct write_receiver *receiver, struct write_request *request,
                         write_done_fn done, void *ctx)
{
    struct write_pending *pending = MEM_NEW(struct write_pending);

    pending->receiver = receiver;
    pending->is_v2 = request->is_v2;
    pending->written = request->written;
    pending->error = request->errors.len > 0 ? str_dup(buf_str(&request->errors)) : NULL;
    pending->done = done;
    pending->ctx = ctx;
    if (request->batch.samples.count == 0) {
        write_answer(receiver, pending);
        pending_free(pending);
        return;
    }
    list_push_back(&receiver->pending, &pending->node);
    storage_commit(receiver->storage, write_committed, pending);
}

void write_receive(struct write_receiver *receiver, const struct write_headers *headers,
                   struct str body, int64_t now_ms, write_done_fn done, void *ctx)
{
    struct write_request request;
    struct err err = {0};
    struct buf *decoded = &receiver->decoded;
    bool is_v2 = false;

    receiver->stats.requests++;
    bool ok = check_encoding(headers->content_encoding, &err) && decode(body, decoded, &err) &&
              check_content_type(headers->content_type, &is_v2, &err) &&
              check_accepted(receiver, is_v2, &err);
    write_request_init(&request, receiver, is_v2, now_ms);
    ok = ok && write_request_append(&request, buf_str(decoded), &err);
    write_request_release(&request);
    groups_trim(receiver);
    buf_clear(decoded);
    if (decoded->capacity > DECODED_BYTES_KEPT)
        buf_deinit(decoded);
    add_counted(&receiver->stats, &request.counted);
    if (ok)
        write_finish(receiver, &request, done, ctx);
    else
        write_fail(receiver, &err, is_v2, done, ctx);
    write_request_deinit(&request);
}

void write_receiver_get_stats(const struct write_receiver *receiver, struct write_stats *out)
{
    *out = receiver->stats;
}

struct write_receiver *write_receiver_open(struct storage *storage, unsigned accepted)
{
    struct write_receiver *receiver = MEM_NEW(struct write_receiver);

    receiver->storage = storage;
    receiver->accepted = accepted;
    map_init(&receiver->group_of_key);
    list_init(&receiver->recent);
    list_init(&receiver->pending);
    buf_init(&receiver->decoded, DECODED_BYTES_MAX);
    if (getrandom(&receiver->seed, sizeof(receiver->seed), 0) != (ssize_t)sizeof(receiver->seed))
        receiver->seed = hash64_mix((uint64_t)clock_mono_ns(), (uint64_t)getpid());
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
    buf_deinit(&receiver->decoded);
    mem_free(receiver);
}
