/* http_parse: llhttp's callbacks gather one request; limits and the checks that llhttp leaves to us
 * are in here.
 *
 * llhttp stops after each request (its on_message_complete pauses it) and is started afresh for the
 * next: no state of a request reaches the one behind it in the pipeline. All lenient modes stay
 * off, so a request whose end two readers could see at different places (both lengths, odd
 * encodings) is refused. */
#include "http_parse.h"

#include <llhttp.h>

#include "base/ensure.h"
#include "base/mem.h"

struct http_parse_engine {
    llhttp_t llhttp;
    struct http_parse *parse; /* The owner; moves never: see http_parse_init. */
};

static struct http_parse *parse_of(llhttp_t *llhttp)
{
    return CONTAINER_OF(llhttp, struct http_parse_engine, llhttp)->parse;
}

static int refuse(struct http_parse *parse, int status, const char *why)
{
    parse->bad_status = status;
    parse->bad_why = why;
    return -1;
}

/* --- llhttp's callbacks, in the order in which they come --- */

static int on_message_begin(llhttp_t *llhttp)
{
    parse_of(llhttp)->state = HTTP_PARSE_HEAD;
    return 0;
}

static int on_method(llhttp_t *llhttp, const char *at, size_t len)
{
    struct http_parse *parse = parse_of(llhttp);
    buf_add(&parse->text, at, len);
    parse->method_len += (uint32_t)len;
    return 0;
}

static int on_url(llhttp_t *llhttp, const char *at, size_t len)
{
    struct http_parse *parse = parse_of(llhttp);
    buf_add(&parse->text, at, len);
    parse->target_len += (uint32_t)len;
    return 0;
}

/* Fields after the body (trailers) are dropped. */
static int on_header_field(llhttp_t *llhttp, const char *at, size_t len)
{
    struct http_parse *parse = parse_of(llhttp);
    if (parse->state != HTTP_PARSE_HEAD)
        return 0;
    if (!parse->name_open) {
        parse->name_open = true;
        parse->name_at = (uint32_t)parse->text.len;
    }
    buf_add(&parse->text, at, len);
    return 0;
}

static int on_header_field_complete(llhttp_t *llhttp)
{
    struct http_parse *parse = parse_of(llhttp);
    if (parse->state != HTTP_PARSE_HEAD || !parse->name_open)
        return 0;
    parse->name_open = false;
    if (parse->fields.count >= HTTP_PARSE_FIELDS_MAX)
        return refuse(parse, 431, "too many header fields");
    uint32_t text_len = (uint32_t)parse->text.len;
    struct http_parse_field field = {
        .name_at = parse->name_at,
        .name_len = text_len - parse->name_at,
        .value_at = text_len,
    };
    VEC_PUSH(&parse->fields, field);
    return 0;
}

static int on_header_value(llhttp_t *llhttp, const char *at, size_t len)
{
    struct http_parse *parse = parse_of(llhttp);
    if (parse->state != HTTP_PARSE_HEAD || parse->fields.count == 0)
        return 0;
    buf_add(&parse->text, at, len);
    parse->fields.items[parse->fields.count - 1].value_len += (uint32_t)len;
    return 0;
}

/* llhttp lets bytes over 0x7f pass in targets, which we want (people type UTF-8 into URLs), but
 * also some control characters, which we do not. */
static bool target_is_clean(struct str target)
{
    for (size_t i = 0; i < target.len; i++)
        if ((unsigned char)target.ptr[i] <= ' ' || target.ptr[i] == 0x7f)
            return false;
    return target.len > 0;
}

static int check_fields(struct http_parse *parse)
{
    unsigned host_count = 0;
    for (size_t i = 0; i < parse->fields.count; i++) {
        struct str name = http_parse_name(parse, i);
        struct str value = http_parse_value(parse, i);
        if (str_eq_nocase(name, STR("host"))) {
            host_count++;
        } else if (str_eq_nocase(name, STR("transfer-encoding"))) {
            if (!str_eq_nocase(value, STR("chunked")))
                return refuse(parse, 501, "unsupported transfer encoding");
        } else if (str_eq_nocase(name, STR("expect")) && parse->version_minor >= 1) {
            if (!str_eq_nocase(value, STR("100-continue")))
                return refuse(parse, 417, NULL);
            parse->expect_continue = true;
        }
    }
    if (host_count > 1)
        return refuse(parse, 400, "too many Host headers");
    if (host_count == 0 && parse->version_minor >= 1)
        return refuse(parse, 400, "missing required Host header");
    return 0;
}

static int on_headers_complete(llhttp_t *llhttp)
{
    struct http_parse *parse = parse_of(llhttp);
    if (llhttp_get_http_major(llhttp) != 1)
        return refuse(parse, 505, NULL);
    parse->version_minor = llhttp_get_http_minor(llhttp);
    if (!target_is_clean(http_parse_target(parse)))
        return refuse(parse, 400, "bad request target");
    if (check_fields(parse) != 0)
        return -1;
    bool has_length = (llhttp->flags & F_CONTENT_LENGTH) != 0;
    if (has_length && llhttp->content_length > parse->body.len_max)
        return refuse(parse, 413, NULL);
    parse->state = HTTP_PARSE_BODY;
    return 0;
}

static int on_body(llhttp_t *llhttp, const char *at, size_t len)
{
    struct http_parse *parse = parse_of(llhttp);
    if (len > parse->body.len_max - parse->body.len)
        return refuse(parse, 413, NULL);
    buf_add(&parse->body, at, len);
    return 0;
}

static int on_message_complete(llhttp_t *llhttp)
{
    struct http_parse *parse = parse_of(llhttp);
    parse->keep_alive = llhttp_should_keep_alive(llhttp) != 0;
    parse->state = HTTP_PARSE_DONE;
    return HPE_PAUSED;
}

static const llhttp_settings_t settings = {
    .on_message_begin = on_message_begin,
    .on_method = on_method,
    .on_url = on_url,
    .on_header_field = on_header_field,
    .on_header_field_complete = on_header_field_complete,
    .on_header_value = on_header_value,
    .on_headers_complete = on_headers_complete,
    .on_body = on_body,
    .on_message_complete = on_message_complete,
};

/* --- life --- */

/* The struct must stay where it is until deinit: the engine points back to it. */
void http_parse_init(struct http_parse *parse, size_t head_bytes_max, size_t body_bytes_max)
{
    ENSURE(head_bytes_max > 0 && head_bytes_max < UINT32_MAX);
    *parse = (struct http_parse){.head_bytes_max = head_bytes_max};
    buf_init(&parse->text, head_bytes_max);
    buf_init(&parse->body, body_bytes_max);
    parse->engine = MEM_NEW(struct http_parse_engine);
    parse->engine->parse = parse;
    llhttp_init(&parse->engine->llhttp, HTTP_REQUEST, &settings);
}

void http_parse_deinit(struct http_parse *parse)
{
    buf_deinit(&parse->text);
    buf_deinit(&parse->body);
    VEC_FREE(&parse->fields);
    mem_free(parse->engine);
    parse->engine = NULL;
}

/* The texts' memory is given back, too: an idle connection holds next to nothing. */
void http_parse_next(struct http_parse *parse)
{
    ENSURE(parse->state == HTTP_PARSE_DONE);
    struct http_parse_engine *engine = parse->engine;
    size_t body_bytes_max = parse->body.len_max;
    size_t head_bytes_max = parse->head_bytes_max;
    buf_deinit(&parse->text);
    buf_deinit(&parse->body);
    VEC_FREE(&parse->fields);
    *parse = (struct http_parse){.head_bytes_max = head_bytes_max, .engine = engine};
    buf_init(&parse->text, head_bytes_max);
    buf_init(&parse->body, body_bytes_max);
    llhttp_init(&engine->llhttp, HTTP_REQUEST, &settings);
}

/* --- feeding --- */

static void parse_set_bad(struct http_parse *parse, llhttp_errno_t code)
{
    parse->state = HTTP_PARSE_BAD;
    if (parse->bad_status != 0)
        return;
    switch (code) {
    case HPE_INVALID_VERSION:
    case HPE_PAUSED_H2_UPGRADE:
        parse->bad_status = 505;
        break;
    case HPE_INVALID_TRANSFER_ENCODING:
        parse->bad_status = 501;
        parse->bad_why = "unsupported transfer encoding";
        break;
    default:
        parse->bad_status = 400;
        break;
    }
}

static bool parse_in_head(const struct http_parse *parse)
{
    return parse->state == HTTP_PARSE_IDLE || parse->state == HTTP_PARSE_HEAD;
}

/* One call of llhttp, over no more bytes than the head may still have. */
static size_t parse_feed_once(struct http_parse *parse, struct str bytes)
{
    llhttp_t *llhttp = &parse->engine->llhttp;
    bool in_head = parse_in_head(parse);
    if (in_head)
        bytes = str_first(bytes, parse->head_bytes_max - parse->head_bytes);

    llhttp_errno_t code = llhttp_execute(llhttp, bytes.ptr, bytes.len);
    size_t eaten = bytes.len;
    if (parse->state == HTTP_PARSE_DONE) {
        const char *stop = llhttp_get_error_pos(llhttp);
        ENSURE(stop >= bytes.ptr && stop <= bytes.ptr + bytes.len);
        eaten = (size_t)(stop - bytes.ptr);
    }
    if (in_head)
        parse->head_bytes += eaten;
    if (code != HPE_OK && parse->state != HTTP_PARSE_DONE) {
        parse_set_bad(parse, code);
    } else if (parse_in_head(parse) && parse->head_bytes >= parse->head_bytes_max) {
        refuse(parse, 431, NULL);
        parse_set_bad(parse, HPE_USER);
    }
    return eaten;
}

size_t http_parse_feed(struct http_parse *parse, struct str bytes)
{
    size_t eaten = 0;
    while (eaten < bytes.len && parse->state != HTTP_PARSE_DONE && parse->state != HTTP_PARSE_BAD) {
        size_t step = parse_feed_once(parse, str_after(bytes, eaten));
        ENSURE(step > 0 || parse->state >= HTTP_PARSE_DONE);
        eaten += step;
    }
    ENSURE(!parse->text.overflow && !parse->body.overflow);
    return eaten;
}

/* --- what was gathered --- */

struct str http_parse_method(const struct http_parse *parse)
{
    return str_first(buf_str(&parse->text), parse->method_len);
}

struct str http_parse_target(const struct http_parse *parse)
{
    return str_first(str_after(buf_str(&parse->text), parse->method_len), parse->target_len);
}

struct str http_parse_name(const struct http_parse *parse, size_t index)
{
    ENSURE(index < parse->fields.count);
    const struct http_parse_field *field = &parse->fields.items[index];
    return str_from(parse->text.ptr + field->name_at, field->name_len);
}

struct str http_parse_value(const struct http_parse *parse, size_t index)
{
    ENSURE(index < parse->fields.count);
    const struct http_parse_field *field = &parse->fields.items[index];
    return str_trim(str_from(parse->text.ptr + field->value_at, field->value_len));
}
