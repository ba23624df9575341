/* http_direct_request: which requests go without curl, and their bytes. Anything that is not plainly
 * right (odd characters, options about TLS or proxies, a URL with a user) is left to curl, which has
 * the words for what is wrong with it. */
#include <ctype.h>

#include "base/buf.h"
#include "base/mem.h"
#include "http_direct.h"

#define REQUEST_BYTES_MAX ((size_t)64 << 10)
#define URL_BYTES_MAX     ((size_t)16 << 10)

/* Nothing that would need curl, nor would if a redirect led to another scheme. */
static bool options_are_plain(const struct http_fetch_options *options)
{
    const struct str texts[] = {
        options->ca_file,  options->cert_file, options->key_file, options->ca_pem,
        options->cert_pem, options->key_pem,   options->body,     options->server_name,
        options->no_proxy, options->proxy_url,
    };

    for (size_t i = 0; i < COUNT_OF(texts); i++)
        if (texts[i].len > 0)
            return false;
    return !options->oauth2 && !options->proxy_from_environment && !options->tls_min &&
           !options->tls_max && options->proxy_header_count == 0 &&
           (options->method.len == 0 || str_eq(options->method, STR("GET")));
}

static bool is_token_char(unsigned char c)
{
    return isalnum(c) || (c != 0 && strchr("!#$%&'*+-.^_`|~", c));
}

/* "Name: value" with a name that does not steer the connection. */
static bool line_is_plain(struct str line)
{
    static const char *const steering[] = {"host",    "connection", "content-length",
                                           "expect",  "te",         "transfer-encoding",
                                           "upgrade", "keep-alive", "proxy-connection"};
    struct str value;
    struct str name = str_cut(line, ':', &value);

    if (name.len == 0 || name.len == line.len)
        return false;
    for (size_t i = 0; i < name.len; i++)
        if (!is_token_char((unsigned char)name.ptr[i]))
            return false;
    for (size_t i = 0; i < value.len; i++) {
        unsigned char c = (unsigned char)value.ptr[i];
        if ((c < ' ' && c != '\t') || c == 0x7f)
            return false;
    }
    for (size_t i = 0; i < COUNT_OF(steering); i++)
        if (str_eq_nocase(name, str_of(steering[i])))
            return false;
    return true;
}

static bool lines_are_plain(const struct str *lines, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (!line_is_plain(lines[i]))
            return false;
    return true;
}

static bool text_is_visible(struct str text)
{
    for (size_t i = 0; i < text.len; i++)
        if ((unsigned char)text.ptr[i] <= ' ' || (unsigned char)text.ptr[i] >= 0x7f)
            return false;
    return true;
}

static bool host_is_plain(struct str host, bool bracketed)
{
    for (size_t i = 0; i < host.len; i++) {
        unsigned char c = (unsigned char)host.ptr[i];
        if (bracketed ? !isxdigit(c) && c != ':' && c != '.'
                      : !isalnum(c) && c != '.' && c != '-' && c != '_')
            return false;
    }
    return host.len > 0 && host.len < 254;
}

struct url_parts {
    struct str authority, host, port, target;
};

static bool port_is_plain(struct str port)
{
    uint64_t number;

    return port.len <= 5 && str_to_u64(port, &number) && number > 0 && number < 65536;
}

static bool url_parse(struct url_parts *parts, struct str url)
{
    struct str rest;

    if (!str_eq_nocase(str_first(url, 7), STR("http://")) || !text_is_visible(url) ||
        str_find_char(url, '#') < url.len)
        return false;
    url = str_after(url, 7);
    size_t authority_len = 0;
    while (authority_len < url.len && url.ptr[authority_len] != '/' &&
           url.ptr[authority_len] != '?')
        authority_len++;
    parts->authority = str_first(url, authority_len);
    parts->target = str_after(url, authority_len);
    if (parts->target.len == 0)
        parts->target = STR("/");
    parts->port = STR("80");
    bool bracketed = str_starts(parts->authority, STR("["));
    if (bracketed) {
        parts->host = str_cut(str_after(parts->authority, 1), ']', &rest);
        if (rest.ptr == NULL || (rest.len > 0 && rest.ptr[0] != ':') ||
            parts->authority.len < parts->host.len + 2)
            return false;
        if (rest.len > 0)
            parts->port = str_after(rest, 1);
    } else {
        parts->host = str_cut(parts->authority, ':', &rest);
        if (parts->host.len < parts->authority.len)
            parts->port = rest;
    }
    return parts->target.ptr[0] == '/' && host_is_plain(parts->host, bracketed) &&
           port_is_plain(parts->port);
}

static void add_base64(struct buf *out, struct str in)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

    for (size_t i = 0; i < in.len; i += 3) {
        size_t left = in.len - i;
        uint32_t three = (uint32_t)(unsigned char)in.ptr[i] << 16;
        three |= left > 1 ? (uint32_t)(unsigned char)in.ptr[i + 1] << 8 : 0;
        three |= left > 2 ? (uint32_t)(unsigned char)in.ptr[i + 2] : 0;
        buf_add_char(out, digits[three >> 18]);
        buf_add_char(out, digits[three >> 12 & 63]);
        buf_add_char(out, left > 1 ? digits[three >> 6 & 63] : '=');
        buf_add_char(out, left > 2 ? digits[three & 63] : '=');
    }
}

static void add_basic_auth(struct buf *out, const struct http_fetch_options *options)
{
    struct buf both;

    buf_init(&both, options->user.len + options->password.len + 1);
    buf_add_str(&both, options->user);
    buf_add_char(&both, ':');
    buf_add_str(&both, options->password);
    BUF_ADD(out, "Authorization: Basic ");
    add_base64(out, buf_str(&both));
    BUF_ADD(out, "\r\n");
    buf_deinit(&both);
}

static void add_lines(struct buf *out, const struct str *lines, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        buf_add_str(out, lines[i]);
        BUF_ADD(out, "\r\n");
    }
}

static void add_wire(struct buf *out, struct direct_request *request, const struct url_parts *parts,
                     const struct http_fetch_options *options)
{
    BUF_ADD(out, "GET ");
    buf_add_str(out, parts->target);
    BUF_ADD(out, " HTTP/1.1\r\nHost: ");
    buf_add_str(out, parts->authority);
    BUF_ADD(out, "\r\n");
    add_lines(out, options->headers, options->header_count);
    add_lines(out, options->private_headers, options->private_header_count);
    request->public_lines = options->header_count;
    request->private_lines = options->private_header_count;
    if (options->user.len > 0 || options->password.len > 0) {
        add_basic_auth(out, options);
        request->private_lines++;
    } else if (options->bearer_token.len > 0) {
        BUF_ADD(out, "Authorization: Bearer ");
        buf_add_str(out, options->bearer_token);
        BUF_ADD(out, "\r\n");
        request->private_lines++;
    }
    BUF_ADD(out, "\r\n");
}

bool direct_request_build(struct direct_request *request, const struct http_fetch_options *options)
{
    struct url_parts parts;
    struct buf text;

    if (options->url.len > URL_BYTES_MAX || !options_are_plain(options) ||
        !url_parse(&parts, options->url) ||
        !lines_are_plain(options->headers, options->header_count) ||
        !lines_are_plain(options->private_headers, options->private_header_count) ||
        !text_is_visible(options->bearer_token))
        return false;
    *request = (struct direct_request){0};
    buf_init(&text, REQUEST_BYTES_MAX);
    (void)buf_reserve(&text, 1024);
    buf_add_str(&text, options->url);
    buf_add_str(&text, parts.host);
    buf_add_char(&text, '\0');
    buf_add_str(&text, parts.port);
    buf_add_char(&text, '\0');
    buf_add_str(&text, parts.authority);
    size_t wire_at = text.len;
    for (size_t i = wire_at - parts.authority.len; i < wire_at; i++)
        text.ptr[i] = (char)tolower((unsigned char)text.ptr[i]);
    add_wire(&text, request, &parts, options);
    if (text.overflow) {
        buf_deinit(&text);
        return false;
    }
    request->text = text.ptr;
    request->url = str_from(text.ptr, options->url.len);
    request->host = str_from(text.ptr + options->url.len, parts.host.len);
    request->port = str_from(request->host.ptr + parts.host.len + 1, parts.port.len);
    request->authority = str_from(request->port.ptr + parts.port.len + 1, parts.authority.len);
    request->wire = str_from(text.ptr + wire_at, text.len - wire_at);
    return true;
}

void direct_request_deinit(struct direct_request *request)
{
    mem_free(request->text);
    request->text = NULL;
}

void direct_request_lines(const struct direct_request *request, struct str *lines)
{
    struct str rest = request->wire;

    for (size_t skipped = 0; skipped < 2; skipped++) /* The request line and Host. */
        (void)str_cut(rest, '\n', &rest);
    for (size_t i = 0; i < request->public_lines + request->private_lines; i++) {
        struct str line = str_cut(rest, '\n', &rest);
        lines[i] = str_first(line, line.len - 1);
    }
}
