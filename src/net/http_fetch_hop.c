/* http_fetch_hop: one transfer of a fetch, and the way from one to the next.
 *
 * Redirects as Go's client follows them: 301, 302, 303, 307 and 308 with a Location, ten requests at
 * most; all but 307 and 308 turn into a GET. Credentials and private headers stay with the first
 * host and its subdomains, on any port; once they were left out they do not come back. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "http_fetch.h"
#include "http_proxy.h"

#define REQUESTS_MAX   10
#define PROXY_URL_MAX  8192
#define LOCATION_SHOWN 2000

/* The parts of a hop's URL, curl's. */
struct parts {
    CURLU *url;
    char *scheme, *host, *port;
};

static bool parts_read(struct parts *parts, const char *url)
{
    *parts = (struct parts){.url = curl_url()};
    return parts->url && curl_url_set(parts->url, CURLUPART_URL, url, 0) == CURLUE_OK &&
           curl_url_get(parts->url, CURLUPART_SCHEME, &parts->scheme, 0) == CURLUE_OK &&
           curl_url_get(parts->url, CURLUPART_HOST, &parts->host, 0) == CURLUE_OK &&
           curl_url_get(parts->url, CURLUPART_PORT, &parts->port, CURLU_DEFAULT_PORT) == CURLUE_OK;
}

static void parts_free(struct parts *parts)
{
    curl_free(parts->scheme);
    curl_free(parts->host);
    curl_free(parts->port);
    curl_url_cleanup(parts->url);
}

static bool parts_are_https(const struct parts *parts)
{
    return strcmp(parts->scheme, "https") == 0;
}

/* --- to curl --- */

static void hop_set_proxy(struct http_fetch *fetch, const struct parts *parts)
{
    struct str host = str_of(parts->host);
    struct proxy_rule rule = {
        .url = str_of(fetch->proxy_url ? fetch->proxy_url : ""),
        .no_proxy = str_of(fetch->no_proxy ? fetch->no_proxy : ""),
        .from_environment = fetch->proxy_from_environment,
    };
    struct buf proxy;

    if (host.len > 2 && host.ptr[0] == '[')
        host = str_from(host.ptr + 1, host.len - 2);
    struct proxy_aim aim = {
        .scheme = str_of(parts->scheme),
        .host = host,
        .port = (uint16_t)strtoul(parts->port, NULL, 10),
    };
    buf_init(&proxy, PROXY_URL_MAX);
    proxy_choose(&proxy, &rule, &aim);
    fetch->through_proxy = proxy.len > 0;
    buf_add_char(&proxy, '\0');
    /* Also when empty: curl's own look into the environment is none of ours. */
    curl_easy_setopt(fetch->easy, CURLOPT_PROXY, proxy.overflow ? "" : proxy.ptr);
    /* Of an http proxy without a port; curl's own would be that of SOCKS. */
    bool plain = proxy.len > 7 && str_eq_nocase(str_from(proxy.ptr, 7), STR("http://"));
    curl_easy_setopt(fetch->easy, CURLOPT_PROXYPORT, plain ? 80L : 0L);
    curl_easy_setopt(fetch->easy, CURLOPT_NOPROXY, "");
    curl_easy_setopt(fetch->easy, CURLOPT_PROXYHEADER,
                     parts_are_https(parts) ? fetch->proxy_headers : NULL);
    buf_deinit(&proxy);
}

/* curl has no option for the TLS server name alone. So the URL gets that name as its host, while
 * the connection and the Host field keep the real one. */
static bool hop_set_server_name(struct http_fetch *fetch, const struct parts *parts)
{
    char *url = NULL;
    struct buf text;

    if (curl_url_set(parts->url, CURLUPART_HOST, fetch->server_name, 0) != CURLUE_OK ||
        curl_url_get(parts->url, CURLUPART_URL, &url, 0) != CURLUE_OK)
        return err_set(&fetch->err, ERR_BAD_DATA, "tls: bad server name");
    buf_init(&text, 8192);
    buf_addf(&text, "%s:%s:%s:%s%c", fetch->server_name, parts->port, parts->host, parts->port,
             '\0');
    fetch->connect_to = curl_slist_append(NULL, text.ptr);
    curl_easy_setopt(fetch->easy, CURLOPT_CONNECT_TO, fetch->connect_to);
    curl_easy_setopt(fetch->easy, CURLOPT_URL, url);
    buf_clear(&text);
    buf_addf(&text, "%s", parts->host);
    if (strcmp(parts->port, "443") != 0)
        buf_addf(&text, ":%s", parts->port);
    if (!fetch->host_given)
        fetch_add_header(fetch, &fetch->host_header, STR("Host"), STR(": "), buf_str(&text));
    buf_deinit(&text);
    curl_free(url);
    return fetch->err.code == ERR_NONE;
}

/* One list for curl: the hop's Host, what all hosts get, what the first one gets. */
static void hop_set_headers(struct http_fetch *fetch)
{
    struct curl_slist **end = &fetch->headers;

    while (*end && *end != fetch->private_headers)
        end = &(*end)->next;
    *end = fetch->credentials_dropped ? NULL : fetch->private_headers;
    if (fetch->host_header)
        fetch->host_header->next = fetch->headers;
    curl_easy_setopt(fetch->easy, CURLOPT_HTTPHEADER,
                     fetch->host_header ? fetch->host_header : fetch->headers);
    curl_easy_setopt(fetch->easy, CURLOPT_USERNAME,
                     fetch->credentials_dropped ? NULL : fetch->user);
    curl_easy_setopt(fetch->easy, CURLOPT_PASSWORD,
                     fetch->credentials_dropped ? NULL : fetch->password);
}

/* What was made for the hop before. */
static void hop_clear(struct http_fetch *fetch)
{
    struct curl_slist **end = &fetch->headers;

    while (*end && *end != fetch->private_headers)
        end = &(*end)->next;
    *end = NULL;
    if (fetch->host_header)
        fetch->host_header->next = NULL;
    curl_slist_free_all(fetch->host_header);
    curl_slist_free_all(fetch->connect_to);
    fetch->host_header = fetch->connect_to = NULL;
    fetch->redirecting = false;
    fetch->status = 0;
    fetch->skipped_bytes = 0;
    fetch->address[0] = '\0';
}

void fetch_hop_free(struct http_fetch *fetch)
{
    hop_clear(fetch);
}

static bool hop_set_timeout(struct http_fetch *fetch)
{
    int64_t left_ms = fetch->deadline_ms - clock_mono_ms();
    if (fetch->deadline_ms == 0)
        return true;
    if (left_ms <= 0) {
        fetch_set_timeout(fetch);
        return false;
    }
    curl_easy_setopt(fetch->easy, CURLOPT_TIMEOUT_MS, (long)left_ms);
    return true;
}

static bool bad_scheme(struct http_fetch *fetch)
{
    struct buf text;
    struct str url = str_of(fetch->url);
    size_t colon = str_find(url, STR("://"));
    buf_init(&text, ERR_TEXT_MAX);
    BUF_ADD(&text, "unsupported protocol scheme ");
    buf_add_go_quoted(&text, str_first(url, colon < url.len ? colon : 0));
    buf_add_char(&text, '\0');
    fetch_set_text(fetch, ERR_IO, text.ptr);
    buf_deinit(&text);
    return false;
}

bool fetch_set_hop(struct http_fetch *fetch)
{
    struct parts parts;

    hop_clear(fetch);
    fetch->hop_count++;
    if (!hop_set_timeout(fetch))
        return false;
    curl_easy_setopt(fetch->easy, CURLOPT_URL, fetch->url);
    curl_easy_setopt(fetch->easy, CURLOPT_CONNECT_TO, NULL);
    /* What is no URL that we know stays as it is: curl says what is wrong with it. */
    bool read = parts_read(&parts, fetch->url);
    bool known = read && (parts_are_https(&parts) || strcmp(parts.scheme, "http") == 0);
    bool good = true;
    if (read && !known)
        good = bad_scheme(fetch);
    if (known && !fetch->first_host)
        fetch->first_host = str_dup(str_of(parts.host));
    if (known)
        hop_set_proxy(fetch, &parts);
    if (known && fetch->server_name && parts_are_https(&parts))
        good = hop_set_server_name(fetch, &parts);
    hop_set_headers(fetch);
    parts_free(&parts);
    return good;
}

/* --- redirects --- */

bool fetch_is_redirect(const struct http_fetch *fetch)
{
    bool status = (fetch->status >= 301 && fetch->status <= 303) || fetch->status == 307 ||
                  fetch->status == 308;
    return status && fetch->follow_redirects && fetch->location.len > 0;
}

/* The same host or one below it, as Go sees it: ports do not matter, an address has no subdomains.
 */
static bool host_is_first(const struct http_fetch *fetch, struct str host)
{
    struct str first = str_of(fetch->first_host ? fetch->first_host : "");
    if (str_eq_nocase(host, first))
        return true;
    if (first.len == 0 || host.len <= first.len || str_find_char(host, ':') < host.len)
        return false;
    size_t tail = host.len - first.len;
    return host.ptr[tail - 1] == '.' && str_eq_nocase(str_after(host, tail), first);
}

static void fetch_become_get(struct http_fetch *fetch)
{
    bool head = strcmp(fetch->method, "HEAD") == 0;
    if (fetch->status == 307 || fetch->status == 308 || head || strcmp(fetch->method, "GET") == 0)
        return;
    curl_easy_setopt(fetch->easy, CURLOPT_CUSTOMREQUEST, NULL);
    curl_easy_setopt(fetch->easy, CURLOPT_HTTPGET, 1L);
    mem_free(fetch->method);
    fetch->method = str_dup(STR("GET"));
}

static bool bad_location(struct http_fetch *fetch)
{
    struct buf text;
    buf_init(&text, ERR_TEXT_MAX * 4);
    BUF_ADD(&text, "failed to parse Location header ");
    buf_add_go_quoted(&text, str_first(buf_str(&fetch->location), LOCATION_SHOWN));
    buf_add_char(&text, '\0');
    fetch_set_text(fetch, ERR_IO, text.ptr);
    buf_deinit(&text);
    return false;
}

bool fetch_follow(struct http_fetch *fetch)
{
    unsigned flags = CURLU_URLENCODE | CURLU_PATH_AS_IS | CURLU_NON_SUPPORT_SCHEME;
    char *location = str_dup(buf_str(&fetch->location));
    char *next = NULL, *host = NULL;
    CURLU *url = curl_url();
    bool good = strlen(location) == fetch->location.len && url &&
                curl_url_set(url, CURLUPART_URL, fetch->url, CURLU_PATH_AS_IS) == CURLUE_OK &&
                curl_url_set(url, CURLUPART_URL, location, flags) == CURLUE_OK &&
                curl_url_get(url, CURLUPART_URL, &next, CURLU_PATH_AS_IS) == CURLUE_OK &&
                curl_url_get(url, CURLUPART_HOST, &host, 0) == CURLUE_OK;

    if (good) {
        if (!host_is_first(fetch, str_of(host)))
            fetch->credentials_dropped = true;
        mem_free(fetch->url);
        fetch->url = str_dup(str_of(next));
        mem_free(fetch->shown_url);
        fetch->shown_url = str_dup(str_of(fetch->hop_count < REQUESTS_MAX ? next : location));
        fetch_become_get(fetch);
        if (fetch->hop_count >= REQUESTS_MAX) {
            fetch_set_text(fetch, ERR_IO, "stopped after 10 redirects");
            good = false;
        }
    } else {
        bad_location(fetch);
    }
    curl_free(next);
    curl_free(host);
    curl_url_cleanup(url);
    mem_free(location);
    return good;
}
