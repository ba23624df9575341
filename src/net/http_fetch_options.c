/* http_fetch_options: a fetch's options, copied and in curl's terms. Header lines, URLs and tokens
 * may come from files and from other systems: a control character in one ends the fetch, it never
 * reaches the wire. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "http_fetch.h"
#include "tls_files.h"

void fetch_refuse(struct http_fetch *fetch, const char *text)
{
    if (fetch->err.code == ERR_NONE)
        fetch->refused = !err_set(&fetch->err, ERR_BAD_DATA, "%s", text);
}

static char *copy_if(struct str text)
{
    return text.len > 0 ? str_dup(text) : NULL;
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

/* --- headers --- */

/* The parts are name, ": " and value, or a line of the caller's and twice nothing. */
void fetch_add_header(struct http_fetch *fetch, struct curl_slist **list, struct str name,
                      struct str between, struct str value)
{
    struct buf line;
    buf_init(&line, name.len + between.len + value.len + 2);
    buf_add_str(&line, name);
    buf_add_str(&line, between);
    buf_add_str(&line, value);
    bool bad = false;
    for (size_t i = 0; i < line.len; i++)
        bad |= line.ptr[i] == '\r' || line.ptr[i] == '\n' || line.ptr[i] == '\0';
    if (bad) {
        char text[128];
        struct str field = str_first(buf_str(&line), str_find_char(buf_str(&line), ':'));
        snprintf(text, sizeof(text), "net/http: invalid header field value for \"" STR_FMT "\"",
                 STR_ARG(str_first(field, 64)));
        fetch_refuse(fetch, text);
    }
    /* curl's way to say "send it empty" is a semicolon; a colon alone would drop the field. */
    size_t colon = str_find_char(buf_str(&line), ':');
    if (colon < line.len && str_trim(str_after(buf_str(&line), colon + 1)).len == 0) {
        line.len = colon;
        buf_add_char(&line, ';');
    }
    buf_add_char(&line, '\0');
    *list = curl_slist_append(*list, line.ptr);
    ENSURE(*list != NULL);
    buf_deinit(&line);
}

static struct str header_name(struct str line)
{
    struct str rest;
    return str_trim(str_cut(line, ':', &rest));
}

static bool options_have_header(const struct http_fetch_options *options, struct str wanted)
{
    for (size_t i = 0; i < options->header_count; i++)
        if (str_eq_nocase(header_name(options->headers[i]), wanted))
            return true;
    return false;
}

/* Those that Go's client keeps from other hosts, too. */
static bool header_is_private(struct str line)
{
    struct str name = header_name(line);
    return str_eq_nocase(name, STR("Authorization")) || str_eq_nocase(name, STR("Cookie")) ||
           str_eq_nocase(name, STR("Www-Authenticate"));
}

static void fetch_set_headers(struct http_fetch *fetch, const struct http_fetch_options *options)
{
    for (size_t i = 0; i < options->header_count; i++) {
        bool private = header_is_private(options->headers[i]);
        fetch_add_header(fetch, private ? &fetch->private_headers : &fetch->headers,
                         options->headers[i], STR_EMPTY, STR_EMPTY);
    }
    for (size_t i = 0; i < options->private_header_count; i++)
        fetch_add_header(fetch, &fetch->private_headers, options->private_headers[i], STR_EMPTY,
                         STR_EMPTY);
    for (size_t i = 0; i < options->proxy_header_count; i++)
        fetch_add_header(fetch, &fetch->proxy_headers, options->proxy_headers[i], STR_EMPTY,
                         STR_EMPTY);
    if (options->bearer_token.len > 0)
        fetch_add_header(fetch, &fetch->private_headers, STR("Authorization"), STR(": Bearer "),
                         options->bearer_token);
    /* What curl would add to a body by itself: a wait for 100 Continue, and a form's content type.
     */
    if (options->body.len > 0)
        fetch->headers = curl_slist_append(fetch->headers, "Expect:");
    if (options->body.len > 0 && !options_have_header(options, STR("content-type")))
        fetch->headers = curl_slist_append(fetch->headers, "Content-Type:");
    fetch->host_given = options_have_header(options, STR("host"));
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

/* --- TLS --- */

static void set_blob(struct http_fetch *fetch, CURLoption option, struct str bytes)
{
    struct curl_blob blob = {(void *)(uintptr_t)bytes.ptr, bytes.len, CURL_BLOB_COPY};
    if (curl_easy_setopt(fetch->easy, option, &blob) != CURLE_OK)
        fetch_refuse(fetch, "a certificate or key of the request is too long");
}

/* A file under a name that changes with it; `state` is what it is called after. */
static void set_file(struct http_fetch *fetch, CURLoption option, CURLoption proxy_option,
                     struct str path, struct file_state state)
{
    struct buf name;
    buf_init(&name, path.len + 256);
    file_name_add(&name, path, state);
    set_text(fetch, option, buf_str(&name));
    set_text(fetch, proxy_option, buf_str(&name));
    buf_deinit(&name);
}

/* Where the system keeps its authorities: curl keeps those of one file parsed, but never those of a
 * folder. */
static void fetch_set_system_authorities(struct http_fetch *fetch)
{
    static const char *file = NULL;
    static bool known = false;
    if (!known) {
        const char *own = getenv("SSL_CERT_FILE");
        file = own && *own ? own : curl_version_info(CURLVERSION_NOW)->cainfo;
        known = true;
        if (file && access(file, R_OK) != 0)
            file = NULL;
    }
    if (!file)
        return;
    curl_easy_setopt(fetch->easy, CURLOPT_CAINFO, file);
    curl_easy_setopt(fetch->easy, CURLOPT_PROXY_CAINFO, file);
    curl_easy_setopt(fetch->easy, CURLOPT_CAPATH, NULL);
    curl_easy_setopt(fetch->easy, CURLOPT_PROXY_CAPATH, NULL);
}

/* What is given takes the place of the system's authorities. */
static bool fetch_set_authorities(struct http_fetch *fetch,
                                  const struct http_fetch_options *options)
{
    struct file_state state;
    if (options->ca_pem.len == 0 && options->ca_file.len == 0) {
        fetch_set_system_authorities(fetch);
        return true;
    }
    if (options->ca_pem.len > 0) {
        set_blob(fetch, CURLOPT_CAINFO_BLOB, options->ca_pem);
        set_blob(fetch, CURLOPT_PROXY_CAINFO_BLOB, options->ca_pem);
    } else {
        if (!file_look(&state, options->ca_file, "CA cert", &fetch->err))
            return false;
        set_file(fetch, CURLOPT_CAINFO, CURLOPT_PROXY_CAINFO, options->ca_file, state);
    }
    curl_easy_setopt(fetch->easy, CURLOPT_CAPATH, NULL);
    curl_easy_setopt(fetch->easy, CURLOPT_PROXY_CAPATH, NULL);
    return true;
}

/* curl compares the names of certificates but not those of keys: a new key alone makes a new name
 * of the certificate, too. */
static bool fetch_set_certificate(struct http_fetch *fetch,
                                  const struct http_fetch_options *options)
{
    struct file_state cert = {0}, key = {0};
    bool cert_is_file = options->cert_pem.len == 0 && options->cert_file.len > 0;
    bool key_is_file = options->key_pem.len == 0 && options->key_file.len > 0;

    if (cert_is_file && !file_look(&cert, options->cert_file, "client cert", &fetch->err))
        return false;
    if (key_is_file && !file_look(&key, options->key_file, "client key", &fetch->err))
        return false;
    cert.hash ^= key.hash * 31;
    if (options->cert_pem.len > 0) {
        set_blob(fetch, CURLOPT_SSLCERT_BLOB, options->cert_pem);
        set_blob(fetch, CURLOPT_PROXY_SSLCERT_BLOB, options->cert_pem);
    } else if (cert_is_file) {
        set_file(fetch, CURLOPT_SSLCERT, CURLOPT_PROXY_SSLCERT, options->cert_file, cert);
    }
    if (options->key_pem.len > 0) {
        set_blob(fetch, CURLOPT_SSLKEY_BLOB, options->key_pem);
        set_blob(fetch, CURLOPT_PROXY_SSLKEY_BLOB, options->key_pem);
    } else if (key_is_file) {
        set_file(fetch, CURLOPT_SSLKEY, CURLOPT_PROXY_SSLKEY, options->key_file, key);
    }
    return true;
}

static void fetch_set_versions(struct http_fetch *fetch, const struct http_fetch_options *options)
{
    static const long least[] = {CURL_SSLVERSION_TLSv1_2, CURL_SSLVERSION_TLSv1_0,
                                 CURL_SSLVERSION_TLSv1_1, CURL_SSLVERSION_TLSv1_2,
                                 CURL_SSLVERSION_TLSv1_3};
    static const long most[] = {CURL_SSLVERSION_MAX_DEFAULT, CURL_SSLVERSION_MAX_TLSv1_0,
                                CURL_SSLVERSION_MAX_TLSv1_1, CURL_SSLVERSION_MAX_TLSv1_2,
                                CURL_SSLVERSION_MAX_TLSv1_3};
    enum http_tls_version min = options->tls_min ? options->tls_min : HTTP_TLS12;

    if (options->tls_max && options->tls_max < min)
        fetch_refuse(fetch, "tls: no supported versions satisfy MinVersion and MaxVersion");
    curl_easy_setopt(fetch->easy, CURLOPT_SSLVERSION, least[min] | most[options->tls_max]);
    curl_easy_setopt(fetch->easy, CURLOPT_PROXY_SSLVERSION, least[min] | most[options->tls_max]);
    /* OpenSSL's usual level has no signatures for the old ones. Who writes TLS10 wants them. */
    if (min < HTTP_TLS12)
        curl_easy_setopt(fetch->easy, CURLOPT_SSL_CIPHER_LIST, "DEFAULT:@SECLEVEL=0");
}

static bool fetch_set_tls(struct http_fetch *fetch, const struct http_fetch_options *options)
{
    long verify = options->insecure_skip_verify ? 0 : 1;
    curl_easy_setopt(fetch->easy, CURLOPT_SSL_VERIFYPEER, verify);
    curl_easy_setopt(fetch->easy, CURLOPT_SSL_VERIFYHOST, verify * 2);
    curl_easy_setopt(fetch->easy, CURLOPT_PROXY_SSL_VERIFYPEER, verify);
    curl_easy_setopt(fetch->easy, CURLOPT_PROXY_SSL_VERIFYHOST, verify * 2);
    /* For the names in "certificate is valid for a, b, not c". */
    curl_easy_setopt(fetch->easy, CURLOPT_CERTINFO, verify);
    fetch_set_versions(fetch, options);
    fetch->ca_file = copy_if(options->ca_pem.len > 0 ? STR_EMPTY : options->ca_file);
    fetch->cert_file = copy_if(options->cert_pem.len > 0 ? STR_EMPTY : options->cert_file);
    fetch->key_file = copy_if(options->key_pem.len > 0 ? STR_EMPTY : options->key_file);
    return fetch_set_authorities(fetch, options) && fetch_set_certificate(fetch, options);
}

/* --- the rest --- */

static void fetch_set_rest(struct http_fetch *fetch, const struct http_fetch_options *options)
{
    CURL *easy = fetch->easy;
    long version = options->http1_only ? CURL_HTTP_VERSION_1_1 : CURL_HTTP_VERSION_2TLS;
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, fetch->curl_text);
    curl_easy_setopt(easy, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    curl_easy_setopt(easy, CURLOPT_HEADEROPT, (long)CURLHEADER_SEPARATE);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, version);
    curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)FETCH_CONNECT_TIMEOUT_MS);
    curl_easy_setopt(easy, CURLOPT_PATH_AS_IS, 1L);
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(easy, CURLOPT_HTTPAUTH, (long)CURLAUTH_BASIC);
    if (str_find_char(options->user, '\0') < options->user.len ||
        str_find_char(options->password, '\0') < options->password.len)
        fetch_refuse(fetch, "an option of the request contains a NUL byte");
    if (options->user.len > 0 || options->password.len > 0) {
        fetch->user = str_dup(options->user);
        fetch->password = str_dup(options->password);
    }
    fetch->server_name = copy_if(options->server_name);
    fetch->proxy_url = copy_if(options->proxy_url);
    fetch->no_proxy = copy_if(options->no_proxy);
    fetch->proxy_from_environment = options->proxy_from_environment;
    fetch->follow_redirects = options->follow_redirects;
    fetch->timeout_ms = options->timeout_ms;
    if (options->timeout_ms > 0)
        fetch->deadline_ms = clock_mono_ms() + options->timeout_ms;
}

static void fetch_set_url(struct http_fetch *fetch, const struct http_fetch_options *options)
{
    for (size_t i = 0; i < options->url.len; i++)
        if ((unsigned char)options->url.ptr[i] < ' ' || options->url.ptr[i] == 0x7f)
            fetch_refuse(fetch, "net/url: invalid control character in URL");
    fetch->url = str_dup(options->url);
    fetch->shown_url = str_dup(options->url);
}

void fetch_set_options(struct http_fetch *fetch, const struct http_fetch_options *options)
{
    fetch_set_url(fetch, options);
    fetch_set_method(fetch, options);
    fetch_set_headers(fetch, options);
    fetch_set_rest(fetch, options);
    if (!fetch_set_tls(fetch, options)) {
        char text[ERR_TEXT_MAX];
        memcpy(text, fetch->err.text, sizeof(text));
        fetch_set_text(fetch, ERR_IO, text);
    }
}

void fetch_options_free(struct http_fetch *fetch)
{
    char *texts[] = {fetch->url,      fetch->shown_url,   fetch->method,    fetch->user,
                     fetch->password, fetch->server_name, fetch->proxy_url, fetch->no_proxy,
                     fetch->ca_file,  fetch->cert_file,   fetch->key_file,  fetch->first_host};
    for (size_t i = 0; i < COUNT_OF(texts); i++)
        mem_free(texts[i]);
    curl_slist_free_all(fetch->headers);
    curl_slist_free_all(fetch->private_headers);
    curl_slist_free_all(fetch->proxy_headers);
}
