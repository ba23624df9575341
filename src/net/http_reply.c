/* http_reply: builds the bytes of an answer. Bodies are complete, so Content-Length is always
 * known; compression follows Prometheus' handler: the first exact gzip or deflate in
 * Accept-Encoding, no weights, no least size. */
#include "http_reply.h"

#include <stdio.h>

#include "base/clock.h"
#include "base/compress.h"
#include "base/timetext.h"

enum { COMPRESS_NONE = -1 };

/* One per process would do, but this is the loop thread's alone and so needs no lock. */
static int64_t date_second = INT64_MIN;
static char date_text[96];

static const char *date_now(void)
{
    static const char weekdays[7][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    static const char months[12][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                       "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    int64_t second = clock_wall_ms() / 1000;
    if (second == date_second)
        return date_text;
    struct time_civil now = time_civil_utc(second);
    snprintf(date_text, sizeof(date_text), "%s, %02d %s %04lld %02d:%02d:%02d GMT",
             weekdays[now.weekday], now.day, months[now.month - 1], (long long)now.year, now.hour,
             now.minute, now.second);
    date_second = second;
    return date_text;
}

static int wanted_compression(struct str accept_encoding)
{
    struct str rest = accept_encoding;
    while (rest.len > 0) {
        struct str token = str_trim(str_cut(rest, ',', &rest));
        if (str_eq(token, STR("gzip")))
            return DEFLATE_GZIP;
        if (str_eq(token, STR("deflate")))
            return DEFLATE_ZLIB;
    }
    return COMPRESS_NONE;
}

/* False when the body stays as it is. */
static bool compress_body(int format, struct buf *body)
{
    if (format == COMPRESS_NONE || body->len == 0)
        return false;
    struct buf packed;
    buf_init(&packed, body->len + body->len / 256 + 1024);
    deflate_encode((enum deflate_format)format, buf_str(body), &packed);
    bool fits = !packed.overflow;
    if (fits)
        buf_swap(body, &packed);
    buf_deinit(&packed);
    return fits;
}

/* A control character in a value would end the line: it becomes a space, as in Go. */
static void add_header(struct buf *head, struct str name, struct str value)
{
    buf_add_str(head, name);
    BUF_ADD(head, ": ");
    for (size_t i = 0; i < value.len; i++) {
        unsigned char c = (unsigned char)value.ptr[i];
        buf_add_char(head, (c < ' ' && c != '\t') || c == 0x7f ? ' ' : (char)c);
    }
    BUF_ADD(head, "\r\n");
}

static bool status_has_body(int status)
{
    return status >= 200 && status != 204 && status != 304;
}

void http_reply_build(const struct http_reply_form *form, const struct http_response *response,
                      struct buf *head, struct buf *body)
{
    bool has_body = status_has_body(response->status);
    ENSURE(response->status >= 200 && response->status <= 999);
    buf_init(head, HTTP_REPLY_HEAD_BYTES_MAX);
    buf_addf(head, "HTTP/1.%d %03d %s\r\nDate: %s\r\n", form->version_minor > 0 ? 1 : 0,
             response->status, http_status_text(response->status), date_now());
    for (size_t i = 0; i < response->header_count; i++)
        add_header(head, response->headers[i].name, response->headers[i].value);

    if (has_body && !response->no_compression) {
        BUF_ADD(head, "Vary: Accept-Encoding\r\n");
        int format = wanted_compression(form->accept_encoding);
        if (compress_body(format, body))
            buf_addf(head, "Content-Encoding: %s\r\n", format == DEFLATE_GZIP ? "gzip" : "deflate");
    }
    if (has_body && response->content_type)
        add_header(head, STR("Content-Type"), str_of(response->content_type));
    if (has_body)
        buf_addf(head, "Content-Length: %zu\r\n", body->len);
    if (!form->keep_alive)
        BUF_ADD(head, "Connection: close\r\n");
    else if (form->version_minor == 0)
        BUF_ADD(head, "Connection: keep-alive\r\n");
    BUF_ADD(head, "\r\n");
    ENSURE(!head->overflow);
    if (!has_body || form->is_head)
        buf_deinit(body);
}
