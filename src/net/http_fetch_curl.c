/* http_fetch_curl: what curl says of one transfer, to the owner of the fetch. */
#include <sys/socket.h>

#include "base/buf.h"
#include "base/hash.h"
#include "http_client_private.h"
#include "net/http_server.h"
#include "net_text.h"

#define REDIRECT_BODY_MAX 2048

bool fetch_tell_head(struct http_fetch *fetch)
{
    if (fetch->head_told)
        return true;
    fetch->head_told = true;
    if (fetch->reason.len == 0)
        buf_add_str(&fetch->reason, str_of(http_status_text(fetch->status)));
    struct http_fetch_head head = {
        .status = fetch->status,
        .content_type = buf_str(&fetch->content_type),
        .content_encoding = buf_str(&fetch->content_encoding),
        .reason = buf_str(&fetch->reason),
    };
    if (!fetch->on_head || fetch->canceled || fetch->on_head(fetch->ctx, &head, &fetch->err))
        return true;
    ENSURE(fetch->err.code != ERR_NONE);
    return false;
}

/* HTTP/1.1 200 OK */
static void fetch_start_head(struct http_fetch *fetch, struct str line)
{
    struct str rest;
    uint64_t status = 0;
    str_cut(line, ' ', &rest);
    struct str code = str_cut(rest, ' ', &rest);
    fetch->status = str_to_u64(code, &status) && status < 1000 ? (int)status : 0;
    buf_clear(&fetch->location);
    buf_clear(&fetch->content_type);
    buf_clear(&fetch->content_encoding);
    buf_clear(&fetch->reason);
    buf_add_str(&fetch->reason, str_trim(rest));
}

/* A head has ended: it is one of several (100 Continue), one that leads elsewhere, or the one that
 * the owner waits for. False: the owner has had enough. */
static bool fetch_end_head(struct http_fetch *fetch)
{
    fetch->redirecting = fetch_is_redirect(fetch);
    return fetch->status < 200 || fetch->redirecting || fetch_tell_head(fetch);
}

static size_t on_header(char *bytes, size_t size, size_t count, void *ctx)
{
    struct http_fetch *fetch = ctx;
    struct str line = str_trim(str_from(bytes, size * count));
    if (fetch->canceled)
        return 0;
    if (fetch->head_told || fetch->redirecting)
        return size * count; /* A trailer. */
    if (line.len == 0)
        return fetch_end_head(fetch) ? size * count : 0;
    if (str_starts(line, STR("HTTP/"))) {
        fetch_start_head(fetch, line);
        return size * count;
    }
    struct str value;
    struct str name = str_trim(str_cut(line, ':', &value));
    value = str_trim(value);
    struct buf *kept = NULL;
    if (str_eq_nocase(name, STR("content-type")))
        kept = &fetch->content_type;
    else if (str_eq_nocase(name, STR("content-encoding")))
        kept = &fetch->content_encoding;
    else if (str_eq_nocase(name, STR("location")))
        kept = &fetch->location;
    if (kept && kept->len == 0)
        buf_add_str(kept, value);
    return size * count;
}

static size_t on_body(char *bytes, size_t size, size_t count, void *ctx)
{
    struct http_fetch *fetch = ctx;
    size_t len = size * count;
    if (fetch->canceled)
        return 0;
    if (fetch->redirecting) {
        /* A little is read, so that the connection can be used again. */
        fetch->skipped_bytes += len;
        return fetch->skipped_bytes <= REDIRECT_BODY_MAX ? len : 0;
    }
    if (fetch->paused) {
        fetch->curl_paused = true;
        return CURL_WRITEFUNC_PAUSE;
    }
    if (!fetch_tell_head(fetch))
        return 0;
    if (!fetch->on_bytes || fetch->on_bytes(fetch->ctx, str_from(bytes, len), &fetch->err))
        return fetch->canceled ? 0 : len;
    ENSURE(fetch->err.code != ERR_NONE);
    return 0;
}

static curl_socket_t on_open_socket(void *ctx, curlsocktype purpose, struct curl_sockaddr *address)
{
    struct http_fetch *fetch = ctx;
    (void)purpose;
    fetch->dialed = true;
    if (fetch->address[0] == '\0')
        net_address_text(&address->addr, fetch->address);
    return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

uint64_t fetch_peer(const struct http_fetch *fetch)
{
    struct str url = str_of(fetch->url ? fetch->url : "");
    size_t scheme = str_find(url, STR("://"));
    struct str rest = scheme < url.len ? str_after(url, scheme + 3) : url;
    uint64_t job = fetch->dialer ? hash64(fetch->dialer->name) : 0;

    return hash64_mix(hash64(str_first(rest, str_find_char(rest, '/'))), job);
}

static CURLcode on_tls(CURL *easy, void *ssl_ctx, void *ctx)
{
    struct http_fetch *fetch = ctx;
    (void)easy;
    tls_watch_join(&fetch->client->tls, fetch_peer(fetch), ssl_ctx);
    return CURLE_OK;
}

void fetch_set_callbacks(struct http_fetch *fetch)
{
    curl_easy_setopt(fetch->easy, CURLOPT_SSL_CTX_FUNCTION, on_tls);
    curl_easy_setopt(fetch->easy, CURLOPT_SSL_CTX_DATA, fetch);
    curl_easy_setopt(fetch->easy, CURLOPT_PRIVATE, fetch);
    curl_easy_setopt(fetch->easy, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(fetch->easy, CURLOPT_HEADERDATA, fetch);
    curl_easy_setopt(fetch->easy, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(fetch->easy, CURLOPT_WRITEDATA, fetch);
    curl_easy_setopt(fetch->easy, CURLOPT_OPENSOCKETFUNCTION, on_open_socket);
    curl_easy_setopt(fetch->easy, CURLOPT_OPENSOCKETDATA, fetch);
}
