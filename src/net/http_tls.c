/* http_tls: see http_tls.h. An answer is encrypted in pieces, each when the one before is sent: so a large body is never
 * there twice. */
#include "http_tls.h"

#define WIRE_BYTES_MAX  ((size_t)1 << 20)
#define PLAIN_BYTES_MAX ((size_t)1 << 20)

bool http_tls_init(struct http_tls *secure, struct tls_context *context, struct err *err)
{
    *secure = (struct http_tls){0};
    buf_init(&secure->wire, WIRE_BYTES_MAX);
    buf_init(&secure->sending, WIRE_BYTES_MAX);
    buf_init(&secure->plain, PLAIN_BYTES_MAX);
    return tls_new(&secure->tls, context, STR_EMPTY, err);
}

void http_tls_deinit(struct http_tls *secure)
{
    tls_free(secure->tls);
    buf_deinit(&secure->wire);
    buf_deinit(&secure->sending);
    buf_deinit(&secure->plain);
}

bool http_tls_feed(struct http_tls *secure, struct str bytes, struct err *err)
{
    for (size_t i = 0; i < bytes.len && secure->first_len < HTTP_TLS_FIRST_BYTES; i++)
        secure->first[secure->first_len++] = bytes.ptr[i];
    buf_clear(&secure->plain);
    return tls_feed(secure->tls, bytes, &secure->plain, &secure->wire, err);
}

bool http_tls_met_http(const struct http_tls *secure)
{
    static const char METHODS[][HTTP_TLS_FIRST_BYTES + 1] = {"GET /", "HEAD ", "POST ", "PUT /",
                                                             "OPTIO"};
    struct str first = str_from(secure->first, secure->first_len);
    for (size_t i = 0; i < COUNT_OF(METHODS); i++)
        if (str_eq(first, str_from(METHODS[i], HTTP_TLS_FIRST_BYTES)))
            return true;
    return false;
}

bool http_tls_encrypt(struct http_tls *secure, struct str head, struct str body, struct err *err)
{
    struct str parts[] = {head, body};
    size_t room = HTTP_TLS_PIECE_BYTES, begin = 0;
    for (size_t i = 0; i < COUNT_OF(parts); i++) {
        size_t done = secure->answer_at > begin ? secure->answer_at - begin : 0;
        struct str rest = str_first(str_after(parts[i], done), room);
        begin += parts[i].len;
        if (rest.len == 0)
            continue;
        if (!tls_write(secure->tls, rest, &secure->wire, err))
            return false;
        secure->answer_at += rest.len;
        room -= rest.len;
    }
    ENSURE(!secure->wire.overflow);
    return true;
}
