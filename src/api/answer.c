/* answer: how calls end: status, headers, body, and the figures that each answer leaves behind. */
#include "core.h"

#include "base/clock.h"
#include "base/number.h"

const double route_bucket_seconds[ROUTE_BUCKETS] = {.1, .2, .4, 1, 3, 8, 20, 60, 120};
const double route_bucket_bytes[ROUTE_SIZE_BUCKETS] = {1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9};

#define ANSWER_HEADERS_MAX 8

struct headers {
    struct http_header items[ANSWER_HEADERS_MAX];
    size_t count;
};

static void add_header(struct headers *headers, struct str name, struct str value)
{
    ENSURE(headers->count < ANSWER_HEADERS_MAX);
    headers->items[headers->count++] = (struct http_header){name, value};
}

static void add_cors(const struct call *call, struct headers *headers)
{
    struct str origin = http_request_header(call->request, "Origin");

    add_header(headers, STR("Vary"), STR("Origin"));
    if (origin.len == 0)
        return;
    add_header(headers, STR("Access-Control-Allow-Headers"),
               STR("Accept, Authorization, Content-Type, Origin"));
    add_header(headers, STR("Access-Control-Allow-Methods"), STR("GET, POST, OPTIONS"));
    add_header(headers, STR("Access-Control-Expose-Headers"), STR("Date"));
    if (!call->api->cors_origin || regex_matches(call->api->cors_origin, origin))
        add_header(headers, STR("Access-Control-Allow-Origin"), origin);
}

static void count_status(struct route_figures *figures, int status)
{
    for (size_t i = 0; i < figures->code_count; i++) {
        if (figures->codes[i].status == status) {
            figures->codes[i].count++;
            return;
        }
    }
    if (figures->code_count == ROUTE_CODES_MAX)
        return;
    figures->codes[figures->code_count].status = status;
    figures->codes[figures->code_count++].count = 1;
}

static void histogram_add(struct route_histogram *histogram, double value, const double *bounds,
                          size_t bound_count)
{
    histogram->count++;
    histogram->sum += value;
    for (size_t i = 0; i < bound_count; i++) {
        if (value <= bounds[i]) {
            histogram->buckets[i]++;
            return;
        }
    }
}

/* Bytes are those of the body before the server compresses it. */
static void count_answer(const struct call *call, int status, size_t bytes)
{
    if (!call->route)
        return;
    struct route_figures *figures = &call->api->routes[call->route - api_routes];
    double seconds = (double)(clock_mono_ns() - call->begin_ns) / 1e9;

    count_status(figures, status);
    histogram_add(&figures->seconds, seconds, route_bucket_seconds, ROUTE_BUCKETS);
    histogram_add(&figures->bytes, (double)bytes, route_bucket_bytes, ROUTE_SIZE_BUCKETS);
}

static void answer_headers(struct call *call, int status, const char *content_type,
                           struct headers *headers, struct buf *body)
{
    if (call->route && call->route->flags & ROUTE_API)
        add_cors(call, headers);
    count_answer(call, status, body ? body->len : 0);
    struct http_response response = {.status = status,
                                     .content_type = content_type,
                                     .headers = headers->items,
                                     .header_count = headers->count,
                                     .no_compression = status == 404 || status == 405};
    http_reply(call->exchange, &response, body);
}

void answer(struct call *call, int status, const char *content_type, struct buf *body)
{
    struct headers headers = {0};
    answer_headers(call, status, content_type, &headers, body);
}

void answer_with(struct call *call, int status, const struct http_header *extra, size_t extra_count,
                 struct buf *body)
{
    struct headers headers = {0};
    for (size_t i = 0; i < extra_count; i++)
        add_header(&headers, extra[i].name, extra[i].value);
    answer_headers(call, status, body ? CONTENT_TEXT : NULL, &headers, body);
}

void answer_text(struct call *call, int status, struct str text)
{
    struct buf body;
    buf_init(&body, ANSWER_BYTES_MAX);
    buf_add_str(&body, text);
    answer(call, status, CONTENT_TEXT, &body);
}

void answer_plain_error(struct call *call, int status, struct str text)
{
    struct headers headers = {0};
    struct buf body;
    buf_init(&body, ANSWER_BYTES_MAX);
    buf_add_str(&body, text);
    buf_add_char(&body, '\n');
    add_header(&headers, STR("X-Content-Type-Options"), STR("nosniff"));
    answer_headers(call, status, CONTENT_TEXT, &headers, &body);
}

void answer_redirect(struct call *call, int status, struct str location)
{
    struct headers headers = {0};
    struct buf body;
    buf_init(&body, ANSWER_BYTES_MAX);
    BUF_ADD(&body, "<a href=\"");
    buf_add_html(&body, location);
    buf_addf(&body, "\">%s</a>.\n\n", http_status_text(status));
    add_header(&headers, STR("Location"), location);
    answer_headers(call, status, CONTENT_HTML, &headers,
                   call->request->method == HTTP_GET ? &body : NULL);
    buf_deinit(&body);
}

void answer_no_method(struct call *call, struct str allowed)
{
    struct headers headers = {0};
    struct buf body;
    add_header(&headers, STR("Allow"), allowed);
    if (call->request->method == HTTP_OPTIONS) {
        answer_headers(call, 200, NULL, &headers, NULL);
        return;
    }
    buf_init(&body, ANSWER_BYTES_MAX);
    BUF_ADD(&body, "Method Not Allowed\n");
    add_header(&headers, STR("X-Content-Type-Options"), STR("nosniff"));
    answer_headers(call, 405, CONTENT_TEXT, &headers, &body);
}

void answer_preflight(struct call *call)
{
    struct headers headers = {0};
    add_cors(call, &headers);
    add_header(&headers, STR("Vary"), STR("Accept-Encoding"));
    answer_headers(call, 204, NULL, &headers, NULL);
}

void answer_unavailable(struct call *call)
{
    struct headers headers = {0};
    struct buf body;
    buf_init(&body, ANSWER_BYTES_MAX);
    BUF_ADD(&body, "Service Unavailable");
    add_header(&headers, STR("X-Prometheus-Stopping"),
               call->api->stopping ? STR("true") : STR("false"));
    answer_headers(call, 503, CONTENT_TEXT, &headers, &body);
}

void answer_error(struct call *call, const struct err *err)
{
    struct buf body;
    buf_init(&body, ANSWER_BYTES_MAX);
    buf_addf(&body,
             "{\"status\":\"error\",\"errorType\":\"%s\",\"error\":", err_api_type(err->code));
    buf_add_json_string(&body, str_of(err->text));
    BUF_ADD(&body, "}");
    answer(call, err_http_status(err->code), CONTENT_JSON, &body);
}

/* --- the envelope --- */

void envelope_begin(struct buf *out)
{
    BUF_ADD(out, "{\"status\":\"success\",\"data\":");
}

void envelope_end(struct buf *out)
{
    BUF_ADD(out, "}");
}

void envelope_end_cut(struct buf *out, bool cut)
{
    if (cut)
        BUF_ADD(out, ",\"warnings\":[\"results truncated due to limit\"]");
    envelope_end(out);
}

void answer_data(struct call *call, struct buf *out)
{
    envelope_end(out);
    if (!out->overflow) {
        answer(call, 200, CONTENT_JSON, out);
        return;
    }
    struct err err;
    buf_deinit(out);
    err_set(&err, ERR_INTERNAL, "the answer is larger than %zu bytes", ANSWER_BYTES_MAX);
    answer_error(call, &err);
}

/* --- JSON --- */

void json_comma(struct buf *out, bool *first)
{
    if (!*first)
        BUF_ADD(out, ",");
    *first = false;
}

void json_key(struct buf *out, bool *first, const char *key)
{
    json_comma(out, first);
    buf_addf(out, "\"%s\":", key);
}

void json_text(struct buf *out, bool *first, const char *key, struct str value)
{
    json_key(out, first, key);
    buf_add_json_string(out, value);
}

/* Go's encoding/json: as NUMBER_API, but the exponent has no leading zero (1e-7). */
void json_seconds(struct buf *out, double seconds)
{
    char text[NUMBER_TEXT_MAX];
    size_t len = number_format(text, seconds, NUMBER_API);

    if (len >= 4 && text[len - 4] == 'e' && text[len - 3] == '-' && text[len - 2] == '0') {
        text[len - 2] = text[len - 1];
        len--;
    }
    buf_add(out, text, len);
}
