/* http_fetch_options: a fetch's options in curl's terms. Header lines, URLs and tokens may come
 * from files and from other systems: a control character in one ends the fetch, it never reaches
 * the wire. */
#include <string.h>

#include "base/mem.h"
#include "http_fetch.h"

#define REDIRECTS_MAX 10

static void fetch_refuse(struct http_fetch *fetch, const char *text)
{
    if (fetch->err.code == ERR_NONE)
        err_set(&fetch->err, ERR_BAD_DATA, "%s", text);
}

static void set_text(struct http_fetch *fetch, CURLoption option, struct str text)
{
    char *copy = str_dup(text);
    if (strlen(copy) != text.len)
        fetch_refuse(fetch, "an option of the request contains a NUL byte");
    if (curl_easy_setopt(fetch->easy, option, copy) != CURLE_OK)
        fetch_refuse(fetch, "an option of the request is too long");
    mem_free(copy);
}

static void set_text_if(struct http_fetch *fetch, CURLoption option, struct str text)
{
    if (text.len > 0)
        set_text(fetch, option, text);
}

/* The parts are name, ": " and value, or a line of the caller's and twice nothing. */
static void add_header(struct http_fetch *fetch, struct str name, struct str between,
                       struct str value)
{
    struct buf line;
    buf_init(&line, name.len + between.len + value.len + 2);
    buf_add_str(&line, name);
    buf_add_str(&line, between);
    buf_add_str(&line, value);
    bool bad = false;
    for (size_t i = 0; i < line.len; i++)
        bad |= line.ptr[i] == '\r' || line.ptr[i] == '\n' || line.ptr[i] == '\0';
    if (bad)
        fetch_refuse(fetch, "net/http: invalid header field value");
    /* curl's way to say "send it empty" is a semicolon; a colon alone would drop the field. */
    size_t colon = str_find_char(buf_str(&line), ':');
    if (colon < line.len && str_trim(str_after(buf_str(&line), colon + 1)).len == 0) {
        line.len = colon;
        buf_add_char(&line, ';');
    }
    buf_add_char(&line, '\0');
    fetch->headers = curl_slist_append(fetch->headers, line.ptr);
    ENSURE(fetch->headers != NULL);
    buf_deinit(&line);
}

static bool options_have_header(const struct http_fetch_options *options, struct str wanted)
{
    for (size_t i = 0; i < options->header_count; i++) {
        struct str rest;
        if (str_eq_nocase(str_trim(str_cut(options->headers[i], ':', &rest)), wanted))
            return true;
    }
    return false;
}

static void fetch_set_headers(struct http_fetch *fetch, const struct http_fetch_options *options)
{
    for (size_t i = 0; i < options->header_count; i++)
        add_header(fetch, options->headers[i], STR_EMPTY, STR_EMPTY);
    if (options->bearer_token.len > 0)
        add_header(fetch, STR("Authorization"), STR(": Bearer "), options->bearer_token);
    /* What curl would add to a body by itself: a wait for 100 Continue, and a form's content type.
     */
    if (options->body.len > 0)
        fetch->headers = curl_slist_append(fetch->headers, "Expect:");
    if (options->body.len > 0 && !options_have_header(options, STR("content-type")))
        fetch->headers = curl_slist_append(fetch->headers, "Content-Type:");
}

static void fetch_set_method(struct http_fetch *fetch, const struct http_fetch_options *options)
{
    struct str method = options->method.len > 0 ? options->method : STR("GET");
    for (size_t i = 0; i < method.len; i++)
        if (method.ptr[i] < 'A' || method.ptr[i] > 'Z')
            fetch_refuse(fetch, "net/http: invalid method");
    fetch->method = str_dup(method);
    if (options->body.len > 0 || str_eq(method, STR("POST"))) {
        curl_easy_setopt(fetch->easy, CURLOPT_POST, 1L);
        curl_easy_setopt(fetch->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)options->body.len);
        curl_easy_setopt(fetch->easy, CURLOPT_COPYPOSTFIELDS,
                         options->body.len > 0 ? options->body.ptr : "");
        if (!str_eq(method, STR("POST")))
            curl_easy_setopt(fetch->easy, CURLOPT_CUSTOMREQUEST, fetch->method);
    } else if (str_eq(method, STR("HEAD"))) {
        curl_easy_setopt(fetch->easy, CURLOPT_NOBODY, 1L);
    } else if (!str_eq(method, STR("GET"))) {
        curl_easy_setopt(fetch->easy, CURLOPT_CUSTOMREQUEST, fetch->method);
    }
}

/* curl has no option for the TLS server name alone. So the URL gets that name as its host, while
 * the connection and the Host field keep the real one. */
static void fetch_set_server_name(struct http_fetch *fetch,
                                  const struct http_fetch_options *options)
{
    CURLU *parts = curl_url();
    char *name = str_dup(options->server_name);
    char *host = NULL, *port = NULL, *url = NULL;
    bool fine = parts && curl_url_set(parts, CURLUPART_URL, fetch->url, 0) == CURLUE_OK &&
                curl_url_get(parts, CURLUPART_HOST, &host, 0) == CURLUE_OK &&
                curl_url_get(parts, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) == CURLUE_OK &&
                curl_url_set(parts, CURLUPART_HOST, name, 0) == CURLUE_OK &&
                curl_url_get(parts, CURLUPART_URL, &url, 0) == CURLUE_OK;
    if (fine) {
        struct buf text;
        buf_init(&text, 8192);
        buf_addf(&text, "%s:%s:%s:%s%c", name, port, host, port, '\0');
        fetch->connect_to = curl_slist_append(NULL, text.ptr);
        curl_easy_setopt(fetch->easy, CURLOPT_CONNECT_TO, fetch->connect_to);
        curl_easy_setopt(fetch->easy, CURLOPT_URL, url);
        buf_clear(&text);
        buf_addf(&text, "Host: %s:%s", host, port);
        struct str line = buf_str(&text);
        if (str_eq(str_of(port), STR("443")))
            line.len -= strlen(":443");
        if (!options_have_header(options, STR("host")))
            add_header(fetch, line, STR_EMPTY, STR_EMPTY);
        buf_deinit(&text);
        fetch->url_rewritten = true;
    } else {
        fetch_refuse(fetch, "tls: bad server name");
    }
    curl_free(host);
    curl_free(port);
    curl_free(url);
    curl_url_cleanup(parts);
    mem_free(name);
}

static void fetch_set_url(struct http_fetch *fetch, const struct http_fetch_options *options)
{
    for (size_t i = 0; i < options->url.len; i++)
        if ((unsigned char)options->url.ptr[i] < ' ' || options->url.ptr[i] == 0x7f)
            fetch_refuse(fetch, "net/url: invalid control character in URL");
    fetch->url = str_dup(options->url);
    curl_easy_setopt(fetch->easy, CURLOPT_URL, fetch->url);
    curl_easy_setopt(fetch->easy, CURLOPT_PATH_AS_IS, 1L);
    curl_easy_setopt(fetch->easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(fetch->easy, CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(fetch->easy, CURLOPT_FOLLOWLOCATION, options->follow_redirects ? 1L : 0L);
    curl_easy_setopt(fetch->easy, CURLOPT_MAXREDIRS, (long)REDIRECTS_MAX);
    /* Also when empty: the environment's proxies are none of ours. */
    set_text(fetch, CURLOPT_PROXY, options->proxy_url);
    set_text(fetch, CURLOPT_NOPROXY, STR_EMPTY);
    fetch->through_proxy = options->proxy_url.len > 0;
    if (options->server_name.len > 0 && str_starts(options->url, STR("https://")))
        fetch_set_server_name(fetch, options);
}

static void set_blob_if(struct http_fetch *fetch, CURLoption option, struct str bytes)
{
    struct curl_blob blob = {(void *)(uintptr_t)bytes.ptr, bytes.len, CURL_BLOB_COPY};
    if (bytes.len > 0 && curl_easy_setopt(fetch->easy, option, &blob) != CURLE_OK)
        fetch_refuse(fetch, "a certificate or key of the request is too long");
}

static void fetch_set_tls(struct http_fetch *fetch, const struct http_fetch_options *options)
{
    long verify = options->insecure_skip_verify ? 0 : 1;
    curl_easy_setopt(fetch->easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    curl_easy_setopt(fetch->easy, CURLOPT_SSL_VERIFYPEER, verify);
    curl_easy_setopt(fetch->easy, CURLOPT_SSL_VERIFYHOST, verify * 2);
    set_blob_if(fetch, CURLOPT_CAINFO_BLOB, options->ca_pem);
    if (options->ca_pem.len > 0) {
        curl_easy_setopt(fetch->easy, CURLOPT_CAPATH, NULL);
    } else if (options->ca_file.len > 0) {
        /* The file takes the place of the system's authorities. */
        set_text(fetch, CURLOPT_CAINFO, options->ca_file);
        curl_easy_setopt(fetch->easy, CURLOPT_CAPATH, NULL);
    }
    set_text_if(fetch, CURLOPT_SSLCERT, options->cert_file);
    set_text_if(fetch, CURLOPT_SSLKEY, options->key_file);
    set_blob_if(fetch, CURLOPT_SSLCERT_BLOB, options->cert_pem);
    set_blob_if(fetch, CURLOPT_SSLKEY_BLOB, options->key_pem);
}

static void fetch_set_rest(struct http_fetch *fetch, const struct http_fetch_options *options)
{
    CURL *easy = fetch->easy;
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, fetch->curl_text);
    curl_easy_setopt(easy, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_2TLS);
    curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)FETCH_CONNECT_TIMEOUT_MS);
    if (options->timeout_ms > 0)
        curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)options->timeout_ms);
    if (options->user.len > 0) {
        curl_easy_setopt(easy, CURLOPT_HTTPAUTH, (long)CURLAUTH_BASIC);
        set_text(fetch, CURLOPT_USERNAME, options->user);
        set_text(fetch, CURLOPT_PASSWORD, options->password);
    }
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, fetch->headers);
}

void fetch_set_options(struct http_fetch *fetch, const struct http_fetch_options *options)
{
    fetch_set_url(fetch, options);
    fetch_set_method(fetch, options);
    fetch_set_headers(fetch, options);
    fetch_set_tls(fetch, options);
    fetch_set_rest(fetch, options);
}
