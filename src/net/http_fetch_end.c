/* http_fetch_end: what curl says of a transfer that has failed becomes the fetch's error. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "http_client_err.h"
#include "http_client_private.h"
#include "http_fetch.h"
#include "net/http_server.h"

static enum fetch_failure failure_of(const struct http_fetch *fetch, CURLcode code)
{
    curl_off_t connect_us = 0;
    long connect_status = 0;
    switch (code) {
    case CURLE_OPERATION_TIMEDOUT:
        curl_easy_getinfo(fetch->easy, CURLINFO_CONNECT_TIME_T, &connect_us);
        if (connect_us == 0 &&
            (fetch->timeout_ms <= 0 || fetch->timeout_ms > FETCH_CONNECT_TIMEOUT_MS))
            return FETCH_CONNECT_TIMEOUT;
        return FETCH_TIMEOUT;
    case CURLE_COULDNT_CONNECT:
        return FETCH_CONNECT;
    case CURLE_COULDNT_RESOLVE_HOST:
        return FETCH_RESOLVE;
    case CURLE_COULDNT_RESOLVE_PROXY:
        return FETCH_RESOLVE_PROXY;
    case CURLE_GOT_NOTHING:
        return FETCH_EMPTY_ANSWER;
    case CURLE_PARTIAL_FILE:
        return FETCH_CUT_SHORT;
    case CURLE_RECV_ERROR:
        curl_easy_getinfo(fetch->easy, CURLINFO_HTTP_CONNECTCODE, &connect_status);
        if (connect_status >= 300)
            return FETCH_PROXY_REFUSED;
        return strstr(fetch->curl_text, "alert") ? FETCH_TLS : FETCH_RECEIVE;
    case CURLE_SEND_ERROR:
        return strstr(fetch->curl_text, "alert") ? FETCH_TLS : FETCH_SEND;
    case CURLE_TOO_MANY_REDIRECTS:
        return FETCH_REDIRECTS;
    case CURLE_UNSUPPORTED_PROTOCOL:
        return FETCH_BAD_SCHEME;
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_INVALIDCERTSTATUS:
        return FETCH_CERTIFICATE;
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_SSL_CIPHER:
        return FETCH_TLS;
    case CURLE_SSL_CACERT_BADFILE:
        return FETCH_CA_FILE;
    case CURLE_SSL_CERTPROBLEM:
        return FETCH_CLIENT_CERT;
    default:
        return FETCH_OTHER;
    }
}

/* "DNS:localhost, IP Address:127.0.0.1" of the server's certificate; "" when it has none or none
 * has come. Borrowed from curl. */
static const char *certificate_names(struct http_fetch *fetch)
{
    static const char label[] = "X509v3 Subject Alternative Name:";
    struct curl_certinfo *info = NULL;

    if (curl_easy_getinfo(fetch->easy, CURLINFO_CERTINFO, &info) != CURLE_OK || !info ||
        info->num_of_certs < 1)
        return "";
    for (const struct curl_slist *line = info->certinfo[0]; line; line = line->next)
        if (strncmp(line->data, label, sizeof(label) - 1) == 0)
            return line->data + sizeof(label) - 1;
    return "";
}

/* "from->to" of a connection that was there, when curl knows. */
static void note_both_ends(struct http_fetch *fetch)
{
    char *local = NULL, *remote = NULL;
    long local_port = 0, remote_port = 0;

    curl_easy_getinfo(fetch->easy, CURLINFO_LOCAL_IP, &local);
    curl_easy_getinfo(fetch->easy, CURLINFO_PRIMARY_IP, &remote);
    curl_easy_getinfo(fetch->easy, CURLINFO_LOCAL_PORT, &local_port);
    curl_easy_getinfo(fetch->easy, CURLINFO_PRIMARY_PORT, &remote_port);
    if (!local || !remote || !*local || !*remote || local_port <= 0 || remote_port <= 0)
        return;
    (void)snprintf(fetch->address, sizeof(fetch->address),
                   strchr(remote, ':') ? "[%s]:%ld->[%s]:%ld" : "%s:%ld->%s:%ld", local, local_port,
                   remote, remote_port);
}

/* curl's errno may be that of something before: a connection that was there is not refused. */
static int errno_of_connection(long errno_value)
{
    return errno_value == ETIMEDOUT || errno_value == EHOSTUNREACH || errno_value == ENETUNREACH
               ? (int)errno_value
               : ECONNRESET;
}

/* http://user@host:port/ */
static struct str proxy_host(const struct http_fetch *fetch)
{
    struct str host = str_of(fetch->proxy_url ? fetch->proxy_url : "");
    size_t scheme = str_find(host, STR("://"));

    if (scheme < host.len)
        host = str_after(host, scheme + 3);
    host = str_first(host, str_find_char(host, '/'));
    size_t at = str_find_char(host, '@');
    if (at < host.len)
        host = str_after(host, at + 1);
    return str_first(host, str_find_char(host, ':'));
}

static void fetch_fail(struct http_fetch *fetch, enum fetch_failure failure, const char *text)
{
    long errno_value = 0, connect_status = 0;
    char *host = NULL;
    CURLU *parts = curl_url();

    if (parts && curl_url_set(parts, CURLUPART_URL, fetch->url, 0) == CURLUE_OK)
        curl_url_get(parts, CURLUPART_HOST, &host, 0);
    curl_easy_getinfo(fetch->easy, CURLINFO_OS_ERRNO, &errno_value);
    curl_easy_getinfo(fetch->easy, CURLINFO_HTTP_CONNECTCODE, &connect_status);
    const struct tls_watch *tls = &fetch->client->tls;
    int alert = tls_watch_alert(tls, fetch_peer(fetch));
    if (alert != 0 &&
        (failure == FETCH_SEND || failure == FETCH_RECEIVE || failure == FETCH_EMPTY_ANSWER))
        failure = FETCH_TLS; /* It said why before it went. */
    bool reset = failure == FETCH_TLS && alert == 0 && strstr(text, "reset by peer");
    if (reset || failure == FETCH_SEND)
        failure = FETCH_RECEIVE; /* As Go, whose reader is the first to notice. */
    if (failure == FETCH_RECEIVE) {
        note_both_ends(fetch);
        errno_value = errno_of_connection(errno_value);
    }
    struct fetch_failure_facts facts = {
        .failure = failure,
        .alert = alert,
        .server_not_tls = tls->not_tls,
        .server_speaks_http = tls->speaks_http,
        .valid_from = tls->valid_from,
        .valid_to = tls->valid_to,
        .proxy_host = proxy_host(fetch),
        .method = str_of(fetch->method),
        .url = str_of(fetch->shown_url),
        .host = str_of(host ? host : ""),
        .server_name = str_of(fetch->server_name ? fetch->server_name : (host ? host : "")),
        .address = fetch->address,
        .errno_value = (int)errno_value,
        .text = text,
        .through_proxy = fetch->through_proxy,
        .proxy_reason = http_status_text((int)connect_status),
        .certificate_names = str_of(certificate_names(fetch)),
        .ca_file = fetch->ca_file,
        .cert_file = fetch->cert_file,
        .key_file = fetch->key_file,
        .head_seen = fetch->head_told,
    };
    fetch_err_set(&fetch->err, &facts);
    curl_free(host);
    curl_url_cleanup(parts);
}

void fetch_set_failure(struct http_fetch *fetch, CURLcode code)
{
    const char *text = fetch->curl_text[0] != '\0' ? fetch->curl_text : curl_easy_strerror(code);
    fetch_fail(fetch, failure_of(fetch, code), text);
}

void fetch_set_refusal(struct http_fetch *fetch)
{
    char *text = str_dup(str_of(fetch->err.text));

    fetch_fail(fetch, FETCH_OTHER, text);
    fetch->err.code = ERR_BAD_DATA;
    mem_free(text);
}

void fetch_set_timeout(struct http_fetch *fetch)
{
    fetch_fail(fetch, FETCH_TIMEOUT, "");
}

void fetch_set_text(struct http_fetch *fetch, enum err_code code, const char *text)
{
    fetch_fail(fetch, FETCH_OTHER, text);
    fetch->err.code = code;
}
