/* Bytes of a stranger instead of a handshake, to a server and to a client of ours, whole and in pieces; and as
 * authorities. Never a crash, never more out than a handshake's worth. */
#include <stdint.h>

#include "base/ensure.h"
#include "http_tls.h"
#include "net/tls.h"

#define WIRE_BYTES_MAX ((size_t)64 << 10)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static struct tls_context *contexts[2]; /* Client, server. */

static void make_contexts(void)
{
    struct str names[] = {STR("localhost")};
    struct tls_issue issue = {
        .common_name = STR("fuzz"), .names = names, .name_count = 1, .days = 30};
    struct buf cert, key;
    struct err err;
    buf_init(&cert, WIRE_BYTES_MAX);
    buf_init(&key, WIRE_BYTES_MAX);
    ENSURE(tls_issue(&issue, &cert, &key, &err));
    struct tls_options server = {.server = true,
                                 .cert_pem = buf_str(&cert),
                                 .key_pem = buf_str(&key),
                                 .client_cert_any = true,
                                 .http1 = true};
    struct tls_options client = {.ca_pem = buf_str(&cert)};
    ENSURE(tls_context_new(&contexts[0], &client, &err));
    ENSURE(tls_context_new(&contexts[1], &server, &err));
    buf_deinit(&cert);
    buf_deinit(&key);
}

static void feed_server(struct str bytes, size_t piece)
{
    struct http_tls secure;
    struct err err;
    ENSURE(http_tls_init(&secure, contexts[1], &err));
    bool good = true;
    while (good && bytes.len > 0) {
        good = http_tls_feed(&secure, str_first(bytes, piece), &err);
        bytes = str_after(bytes, piece);
    }
    ENSURE(secure.plain.len == 0 && !tls_is_open(secure.tls));
    ENSURE(secure.wire.len < WIRE_BYTES_MAX);
    (void)http_tls_met_http(&secure);
    ENSURE(!tls_peer_verified(secure.tls));
    http_tls_deinit(&secure);
}

static void feed_client(struct str bytes)
{
    struct tls *tls;
    struct err err;
    struct buf wire, plain;
    buf_init(&wire, WIRE_BYTES_MAX);
    buf_init(&plain, WIRE_BYTES_MAX);
    ENSURE(tls_new(&tls, contexts[0], STR("localhost"), &err));
    ENSURE(tls_handshake(tls, &wire, &err));
    (void)!tls_feed(tls, bytes, &plain, &wire, &err);
    ENSURE(plain.len == 0 && !wire.overflow);
    tls_free(tls);
    buf_deinit(&wire);
    buf_deinit(&plain);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct str bytes = str_from((const char *)data, len);
    struct tls_trust *trust;
    struct err err;
    if (!contexts[0])
        make_contexts();
    feed_server(bytes, len > 0 ? len : 1);
    feed_server(bytes, 3 + len / 64);
    feed_client(bytes);
    if (tls_trust_new(&trust, bytes, &err))
        tls_trust_unref(trust);
    (void)!tls_pair_check(bytes, bytes, 0, &err);
    return 0;
}
