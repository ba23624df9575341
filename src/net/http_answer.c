/* http_answer: llhttp's callbacks keep the few fields that anybody asks for. All lenient modes stay
 * off: what llhttp does not like before the head is told gets a second chance with curl. */
#include "http_answer.h"

#include <llhttp.h>

#include "base/ensure.h"
#include "base/mem.h"

#define FIELD_NAME_MAX 20 /* No name that we know is longer. */

struct http_answer_engine {
    llhttp_t llhttp;
    struct http_answer *answer;
    char name[FIELD_NAME_MAX];
    size_t name_len;
    bool in_value;
};

static struct http_answer_engine *engine_of(llhttp_t *llhttp)
{
    return CONTAINER_OF(llhttp, struct http_answer_engine, llhttp);
}

/* --- llhttp's callbacks, in the order in which they come --- */

static void field_begin(struct http_answer *answer, int field)
{
    answer->field = field;
    if (field >= 0)
        answer->fields[field].at = (uint32_t)answer->text.len;
}

static void field_add(struct http_answer *answer, const char *at, size_t len)
{
    if (answer->field < 0)
        return;
    buf_add(&answer->text, at, len);
    answer->fields[answer->field].len += (uint32_t)len;
}

static int on_status(llhttp_t *llhttp, const char *at, size_t len)
{
    struct http_answer *answer = engine_of(llhttp)->answer;

    if (answer->field != HTTP_ANSWER_REASON)
        field_begin(answer, HTTP_ANSWER_REASON);
    field_add(answer, at, len);
    return 0;
}

static int on_header_field(llhttp_t *llhttp, const char *at, size_t len)
{
    struct http_answer_engine *engine = engine_of(llhttp);

    if (engine->in_value)
        engine->name_len = 0;
    engine->in_value = false;
    for (size_t i = 0; i < len && engine->name_len < FIELD_NAME_MAX; i++)
        engine->name[engine->name_len++] = at[i];
    return 0;
}

static int field_named(struct str name)
{
    if (str_eq_nocase(name, STR("content-type")))
        return HTTP_ANSWER_CONTENT_TYPE;
    if (str_eq_nocase(name, STR("content-encoding")))
        return HTTP_ANSWER_CONTENT_ENCODING;
    return str_eq_nocase(name, STR("location")) ? HTTP_ANSWER_LOCATION : -1;
}

/* Fields behind the body (trailers) are dropped. */
static int on_header_field_complete(llhttp_t *llhttp)
{
    struct http_answer_engine *engine = engine_of(llhttp);
    struct http_answer *answer = engine->answer;
    int field = field_named(str_from(engine->name, engine->name_len));

    engine->in_value = true;
    if (answer->state != HTTP_ANSWER_HEAD || (field >= 0 && answer->fields[field].len > 0))
        field = -1;
    field_begin(answer, field);
    return 0;
}

static int on_header_value(llhttp_t *llhttp, const char *at, size_t len)
{
    field_add(engine_of(llhttp)->answer, at, len);
    return 0;
}

static int on_headers_complete(llhttp_t *llhttp)
{
    struct http_answer *answer = engine_of(llhttp)->answer;

    answer->status = llhttp->status_code;
    if (answer->status == 101 || llhttp->upgrade || llhttp_get_http_major(llhttp) != 1)
        return -1;
    if (answer->status < 200)
        return 0;
    answer->state = HTTP_ANSWER_BODY;
    return answer->on_head(answer->ctx) ? 0 : -1;
}

static int on_body(llhttp_t *llhttp, const char *at, size_t len)
{
    struct http_answer *answer = engine_of(llhttp)->answer;

    if (answer->state != HTTP_ANSWER_BODY)
        return -1;
    return answer->on_body(answer->ctx, str_from(at, len)) ? 0 : -1;
}

static int on_message_complete(llhttp_t *llhttp)
{
    struct http_answer *answer = engine_of(llhttp)->answer;

    if (answer->state == HTTP_ANSWER_HEAD) { /* 100 Continue and the like: the next one counts. */
        buf_clear(&answer->text);
        memset(answer->fields, 0, sizeof(answer->fields));
        answer->field = -1;
        return 0;
    }
    answer->keep_alive = llhttp_should_keep_alive(llhttp) != 0;
    answer->state = HTTP_ANSWER_DONE;
    return HPE_PAUSED;
}

static const llhttp_settings_t settings = {
    .on_status = on_status,
    .on_header_field = on_header_field,
    .on_header_field_complete = on_header_field_complete,
    .on_header_value = on_header_value,
    .on_headers_complete = on_headers_complete,
    .on_body = on_body,
    .on_message_complete = on_message_complete,
};

/* --- life and feeding --- */

void http_answer_init(struct http_answer *answer)
{
    *answer = (struct http_answer){.field = -1};
    buf_init(&answer->text, HTTP_ANSWER_HEAD_MAX);
    answer->engine = mem_alloc(sizeof(*answer->engine));
    answer->engine->answer = answer;
    answer->engine->name_len = 0;
    answer->engine->in_value = false;
    llhttp_init(&answer->engine->llhttp, HTTP_RESPONSE, &settings);
}

void http_answer_deinit(struct http_answer *answer)
{
    buf_deinit(&answer->text);
    mem_free(answer->engine);
    answer->engine = NULL;
}

/* One call of llhttp, over no more bytes than the head may still have. */
static size_t feed_once(struct http_answer *answer, struct str bytes)
{
    llhttp_t *llhttp = &answer->engine->llhttp;
    bool in_head = answer->state == HTTP_ANSWER_HEAD;

    if (in_head)
        bytes = str_first(bytes, HTTP_ANSWER_HEAD_MAX - answer->head_bytes);
    llhttp_errno_t code = llhttp_execute(llhttp, bytes.ptr, bytes.len);
    if (answer->state == HTTP_ANSWER_DONE) {
        const char *stop = llhttp_get_error_pos(llhttp);
        ENSURE(stop >= bytes.ptr && stop <= bytes.ptr + bytes.len);
        return (size_t)(stop - bytes.ptr);
    }
    if (in_head)
        answer->head_bytes += bytes.len;
    answer->bad_chunk_size = code == HPE_INVALID_CHUNK_SIZE;
    if (code != HPE_OK ||
        (answer->state == HTTP_ANSWER_HEAD && answer->head_bytes >= HTTP_ANSWER_HEAD_MAX))
        answer->state = HTTP_ANSWER_BAD;
    return bytes.len;
}

size_t http_answer_feed(struct http_answer *answer, struct str bytes)
{
    size_t eaten = 0;

    ENSURE(answer->state <= HTTP_ANSWER_BODY);
    answer->any |= bytes.len > 0;
    while (eaten < bytes.len && answer->state <= HTTP_ANSWER_BODY)
        eaten += feed_once(answer, str_after(bytes, eaten));
    return eaten;
}

void http_answer_finish(struct http_answer *answer)
{
    ENSURE(answer->state <= HTTP_ANSWER_BODY);
    (void)llhttp_finish(&answer->engine->llhttp);
    if (answer->state != HTTP_ANSWER_DONE)
        answer->state = HTTP_ANSWER_BAD;
    answer->keep_alive = false;
}

struct str http_answer_get(const struct http_answer *answer, enum http_answer_field field)
{
    if (answer->fields[field].len == 0)
        return STR_EMPTY;
    return str_trim(
        str_from(answer->text.ptr + answer->fields[field].at, answer->fields[field].len));
}
