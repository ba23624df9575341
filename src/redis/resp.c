/* resp: hiredis' reader with our own objects, and its formatter: the only place that knows hiredis.
 *
 * The stock objects of hiredis allocate what an array's header claims before its elements are there,
 * and nothing bounds a reply. Ours live in an arena with a budget. */
#include "resp.h"

#include <hiredis/hiredis.h>
#include <hiredis/read.h>

#include "base/arena.h"
#include "base/mem.h"

struct resp_reader {
    redisReader *reader; /* Owned. */
    struct arena arena;  /* Of the reply in work, or of the one last given out. */
    size_t elements;     /* Claimed by the arrays of the reply, whether they came or not. */
    bool given;          /* The arena holds a reply that was given out. */
};

static struct resp *make(const redisReadTask *task, enum resp_type type)
{
    struct resp_reader *reader = task->privdata;
    if (reader->arena.over_budget)
        return NULL;
    struct resp *made = ARENA_NEW(&reader->arena, struct resp);
    made->type = type;
    if (task->parent) {
        struct resp *parent = task->parent->obj;
        ENSURE(parent->type == RESP_ARRAY && task->idx >= 0 && (size_t)task->idx < parent->count);
        parent->items[task->idx] = made;
    }
    return made;
}

static void *make_string(const redisReadTask *task, char *bytes, size_t len)
{
    struct resp_reader *reader = task->privdata;
    enum resp_type type = task->type == REDIS_REPLY_ERROR    ? RESP_ERROR
                          : task->type == REDIS_REPLY_STATUS ? RESP_STATUS
                                                             : RESP_STRING;
    struct resp *made = make(task, type);
    if (made)
        made->text = arena_str(&reader->arena, str_from(bytes, len));
    return made;
}

static void *make_array(const redisReadTask *task, int count)
{
    struct resp_reader *reader = task->privdata;
    if (count < 0 || (size_t)count > RESP_ELEMENTS_MAX - reader->elements)
        return NULL;
    struct resp *made = make(task, RESP_ARRAY);
    if (!made)
        return NULL;
    reader->elements += (size_t)count;
    made->items = arena_zalloc(&reader->arena, (size_t)count * sizeof(struct resp *));
    made->count = (size_t)count;
    return made;
}

static void *make_integer(const redisReadTask *task, long long value)
{
    struct resp *made = make(task, RESP_INTEGER);
    if (made)
        made->integer = value;
    return made;
}

static void *make_nil(const redisReadTask *task)
{
    return make(task, RESP_NIL);
}

static void drop(void *object)
{
    (void)object; /* The arena's. */
}

static redisReplyObjectFunctions OBJECTS = {.createString = make_string,
                                            .createArray = make_array,
                                            .createInteger = make_integer,
                                            .createNil = make_nil,
                                            .freeObject = drop};

struct resp_reader *resp_reader_new(void)
{
    struct resp_reader *reader = MEM_NEW(struct resp_reader);
    arena_init(&reader->arena, RESP_BYTES_MAX);
    reader->reader = redisReaderCreateWithFunctions(&OBJECTS);
    ENSURE(reader->reader != NULL);
    reader->reader->privdata = reader;
    return reader;
}

void resp_reader_free(struct resp_reader *reader)
{
    if (!reader)
        return;
    redisReaderFree(reader->reader);
    arena_deinit(&reader->arena);
    mem_free(reader);
}

static bool fail_reader(const struct resp_reader *reader, struct err *err)
{
    if (reader->reader->err == REDIS_ERR_OOM)
        return err_set(err, ERR_LIMIT, "a reply of Redis is larger than %zu MiB or %zu elements",
                       RESP_BYTES_MAX >> 20, RESP_ELEMENTS_MAX);
    return err_set(err, ERR_CORRUPT, "bad reply of Redis: %s", reader->reader->errstr);
}

bool resp_reader_feed(struct resp_reader *reader, struct str bytes, struct err *err)
{
    if (reader->reader->err || redisReaderFeed(reader->reader, bytes.ptr, bytes.len) != REDIS_OK)
        return fail_reader(reader, err);
    return true;
}

/* What waits in the buffer must not grow for ever: neither a string nor, since each attempt searches
 * it from its start for its end, a line. */
static bool check_waiting(const struct resp_reader *reader, struct err *err)
{
    const redisReader *in = reader->reader;
    size_t waiting = in->len - in->pos;
    bool in_string = in->ridx >= 0 && in->rstack[in->ridx].type == REDIS_REPLY_STRING;
    if (waiting > RESP_BYTES_MAX)
        return err_set(err, ERR_LIMIT, "a reply of Redis is larger than %zu MiB",
                       RESP_BYTES_MAX >> 20);
    if (waiting <= RESP_LINE_MAX)
        return true;
    if (!in_string || !memchr(in->buf + in->pos, '\n', RESP_LINE_MAX))
        return err_set(err, ERR_CORRUPT, "bad reply of Redis: a line of more than %zu KiB",
                       RESP_LINE_MAX >> 10);
    return true;
}

bool resp_reader_next(struct resp_reader *reader, const struct resp **out, struct err *err)
{
    void *reply = NULL;
    *out = NULL;
    if (reader->given) {
        arena_reset(&reader->arena);
        reader->arena.over_budget = false;
        reader->elements = 0;
        reader->given = false;
    }
    if (redisReaderGetReply(reader->reader, &reply) != REDIS_OK)
        return fail_reader(reader, err);
    if (!reply)
        return check_waiting(reader, err);
    if (reader->arena.over_budget)
        return err_set(err, ERR_LIMIT, "a reply of Redis is larger than %zu MiB",
                       RESP_BYTES_MAX >> 20);
    reader->given = true;
    *out = reply;
    return true;
}

void resp_write_command(struct buf *out, const struct str *words, size_t count)
{
    const char **texts = mem_alloc_array(count, sizeof(*texts));
    size_t *lens = mem_alloc_array(count, sizeof(*lens));
    char *command = NULL;
    for (size_t i = 0; i < count; i++) {
        texts[i] = words[i].len > 0 ? words[i].ptr : "";
        lens[i] = words[i].len;
    }
    int len = redisFormatCommandArgv(&command, (int)count, texts, lens);
    ENSURE(len > 0);
    buf_add(out, command, (size_t)len);
    redisFreeCommand(command);
    mem_free(texts);
    mem_free(lens);
}

bool resp_text(const struct resp *reply, struct str *out)
{
    if (!resp_is_text(reply))
        return false;
    *out = reply->text;
    return true;
}

bool resp_i64(const struct resp *reply, int64_t *out)
{
    if (reply && reply->type == RESP_INTEGER) {
        *out = reply->integer;
        return true;
    }
    return resp_is_text(reply) && str_to_i64(reply->text, out);
}

const struct resp *resp_at(const struct resp *reply, size_t index)
{
    if (!reply || reply->type != RESP_ARRAY || index >= reply->count)
        return NULL;
    return reply->items[index];
}

const struct resp *resp_get(const struct resp *reply, const char *key)
{
    struct str name;
    for (size_t i = 0; reply && reply->type == RESP_ARRAY && i + 1 < reply->count; i += 2) {
        if (resp_text(reply->items[i], &name) && str_eq(name, str_of(key)))
            return reply->items[i + 1];
    }
    return NULL;
}
