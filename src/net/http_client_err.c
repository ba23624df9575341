/* http_client_err: see http_client_err.h. */
#include "http_client_err.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "net_text.h"

#define URL_TEXT_MAX 3000

/* A password in the URL is shown as "***", as Go does: these texts end up in logs and on the
 * targets page. */
static void add_url_quoted(struct buf *out, struct str url)
{
    struct buf clean;
    buf_init(&clean, url.len + 16);
    size_t host_at = str_find(url, STR("://"));
    host_at = host_at < url.len ? host_at + 3 : 0;
    struct str rest = str_after(url, host_at);
    size_t authority_len = 0;
    while (authority_len < rest.len && !memchr("/?#", rest.ptr[authority_len], 3))
        authority_len++;
    size_t at = authority_len;
    while (at > 0 && rest.ptr[at - 1] != '@')
        at--;
    size_t colon = str_find_char(str_first(rest, at), ':');
    if (at > 0 && colon < at) {
        buf_add_str(&clean, str_first(url, host_at + colon + 1));
        BUF_ADD(&clean, "***@");
        buf_add_str(&clean, str_after(rest, at));
    } else {
        buf_add_str(&clean, url);
    }
    buf_add_go_quoted(out, str_first(buf_str(&clean), URL_TEXT_MAX));
    buf_deinit(&clean);
}

/* Get "http://x/metrics": */
static void add_operation(struct buf *out, const struct fetch_failure_facts *facts)
{
    for (size_t i = 0; i < facts->method.len; i++) {
        int c = (unsigned char)facts->method.ptr[i];
        buf_add_char(out, (char)(i == 0 ? toupper(c) : tolower(c)));
    }
    buf_add_char(out, ' ');
    add_url_quoted(out, facts->url);
    BUF_ADD(out, ": ");
}

static void add_dial(struct buf *out, const struct fetch_failure_facts *facts)
{
    if (facts->through_proxy)
        BUF_ADD(out, "proxyconnect tcp: ");
    BUF_ADD(out, "dial tcp");
    if (facts->address[0] != '\0')
        buf_addf(out, " %s", facts->address);
}

/* Where both ends are known (a->b) the text is Go's to the letter. */
static const char *both_ends_say(const struct fetch_failure_facts *facts, const char *what)
{
    return strstr(facts->address, "->") ? what : "";
}

static void add_errno(struct buf *out, const struct fetch_failure_facts *facts, int fallback)
{
    char text[NET_ERRNO_TEXT_MAX];
    int value = facts->errno_value ? facts->errno_value : fallback;
    buf_addf(out, "%s", net_errno_text(value, text));
}

/* A reset stream of HTTP/2 in Go's words, the rest as it came. */
static void add_other(struct buf *out, const char *text)
{
    char name[64];
    unsigned stream;

    if (sscanf(text, "HTTP/2 stream %u was not closed cleanly: %63[A-Z_0-9]", &stream, name) == 2)
        buf_addf(out, "stream error: stream ID %u; %s; received from peer", stream, name);
    else
        buf_addf(out, "%s", text);
}

static void add_what(struct buf *out, const struct fetch_failure_facts *facts)
{
    switch (facts->failure) {
    case FETCH_TIMEOUT:
        BUF_ADD(out, "context deadline exceeded");
        break;
    case FETCH_CONNECT_TIMEOUT:
        add_dial(out, facts);
        BUF_ADD(out, ": i/o timeout");
        break;
    case FETCH_CONNECT:
        add_dial(out, facts);
        BUF_ADD(out, ": connect: ");
        add_errno(out, facts, ECONNREFUSED);
        break;
    case FETCH_RESOLVE:
        buf_addf(out, "dial tcp: lookup " STR_FMT ": no such host", STR_ARG(facts->host));
        break;
    case FETCH_RESOLVE_PROXY:
        buf_addf(out, "proxyconnect tcp: dial tcp: lookup " STR_FMT ": no such host",
                 STR_ARG(str_first(facts->proxy_host, URL_TEXT_MAX)));
        break;
    case FETCH_EMPTY_ANSWER:
        BUF_ADD(out, "EOF");
        break;
    case FETCH_CUT_SHORT:
        BUF_ADD(out, "unexpected EOF");
        break;
    case FETCH_RECEIVE:
        buf_addf(out, "read tcp %s: %s", facts->address, both_ends_say(facts, "read: "));
        add_errno(out, facts, ECONNRESET);
        break;
    case FETCH_SEND:
        buf_addf(out, "write tcp %s: %s", facts->address, both_ends_say(facts, "write: "));
        add_errno(out, facts, EPIPE);
        break;
    case FETCH_REDIRECTS:
        BUF_ADD(out, "stopped after 10 redirects");
        break;
    case FETCH_BAD_SCHEME: {
        struct str scheme = str_first(facts->url, str_find_char(facts->url, ':'));
        BUF_ADD(out, "unsupported protocol scheme ");
        buf_add_go_quoted(out, scheme.len < facts->url.len ? scheme : STR_EMPTY);
        break;
    }
    case FETCH_PROXY_REFUSED:
        buf_addf(out, "%s", facts->proxy_reason);
        break;
    case FETCH_CERTIFICATE:
        tls_err_add_certificate(out, facts);
        break;
    case FETCH_TLS:
        tls_err_add_handshake(out, facts);
        break;
    case FETCH_CA_FILE:
    case FETCH_CLIENT_CERT:
        tls_err_add_files(out, facts);
        break;
    case FETCH_OTHER:
        add_other(out, facts->text);
        break;
    }
}

void fetch_err_set(struct err *err, const struct fetch_failure_facts *facts)
{
    struct buf text;
    buf_init(&text, ERR_TEXT_MAX * 8);
    if (!facts->head_seen)
        add_operation(&text, facts);
    add_what(&text, facts);
    bool timeout = facts->failure == FETCH_TIMEOUT || facts->failure == FETCH_CONNECT_TIMEOUT;
    err_set_str(err, timeout ? ERR_TIMEOUT : ERR_IO, buf_str(&text));
    buf_deinit(&text);
}
