/* Any bytes as a token server's answer: status, content type and body from the input. A token that
 * is taken is not empty; anything else is an error with a text. The same bytes as the names in a
 * server's certificate. */
#include <stdint.h>

#include "http_client_err.h"
#include "oauth2.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void parse(struct str input)
{
    static const int statuses[] = {200, 201, 302, 400, 401, 500};
    static const char *const types[] = {"application/json", "text/plain; charset=utf-8", "",
                                        "application/x-www-form-urlencoded"};
    struct oauth2_reply reply = {
        .status = statuses[input.len > 0 ? (unsigned char)input.ptr[0] % COUNT_OF(statuses) : 0],
        .reason = STR("A reason"),
        .content_type =
            str_of(types[input.len > 1 ? (unsigned char)input.ptr[1] % COUNT_OF(types) : 0]),
        .body = str_after(input, 2),
    };
    struct oauth2_token token;
    struct arena arena;
    struct err err = {0};

    arena_init(&arena, 0);
    if (oauth2_token_parse(&token, &reply, &arena, &err)) {
        ENSURE(token.authorization.len > 0 && reply.status < 300);
        ENSURE(token.lives_s >= -1 && token.lives_s <= INT32_MAX);
    } else {
        ENSURE(err.code != ERR_NONE && err.text[0] != '\0');
    }
    arena_deinit(&arena);
}

static void names(struct str input)
{
    struct fetch_failure_facts facts = {
        .failure = FETCH_CERTIFICATE,
        .server_name = str_first(input, 12),
        .certificate_names = input,
        .text = "SSL: no alternative certificate subject name matches target host name",
    };
    struct buf text;

    buf_init(&text, ERR_TEXT_MAX);
    tls_err_add_certificate(&text, &facts);
    ENSURE(text.len > 0);
    buf_deinit(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    parse(str_from((const char *)data, len));
    names(str_from((const char *)data, len));
    return 0;
}
