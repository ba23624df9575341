/* request: headers of a scrape and the rules for Content-Type. */
#include "request.h"

#include <stdio.h>

#include "base/number.h"
#include "media_type.h"

#define REQUEST_LINES 3 /* Of request_lines. */

static struct str request_accept(const struct config_scrape *options, struct arena *arena)
{
    static const struct {
        struct str protocol;
        const char *media;
        bool escaping; /* Only the newer ones know of it. */
    } known[] = {
        {{"PrometheusText0.0.4", 19}, "text/plain;version=0.0.4", false},
        {{"PrometheusText1.0.0", 19}, "text/plain;version=1.0.0", true},
        {{"OpenMetricsText0.0.1", 20}, "application/openmetrics-text;version=0.0.1", false},
        {{"OpenMetricsText1.0.0", 20}, "application/openmetrics-text;version=1.0.0", true},
        {{"PrometheusProto", 15},
         "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;"
         "encoding=delimited",
         false},
    };
    struct str accept = STR_EMPTY;
    int weight = 6;

    for (size_t i = 0; i < options->scrape_protocols.count && weight > 1; i++, weight--) {
        for (size_t k = 0; k < COUNT_OF(known); k++) {
            if (!str_eq(options->scrape_protocols.items[i], known[k].protocol))
                continue;
            struct str escaping = known[k].escaping ? arena_strf(arena, ";escaping=" STR_FMT,
                                                                 STR_ARG(options->escaping_scheme))
                                                    : STR_EMPTY;
            accept = arena_strf(arena, STR_FMT "%s" STR_FMT ";q=0.%d,", STR_ARG(accept),
                                known[k].media, STR_ARG(escaping), weight);
        }
    }
    return arena_strf(arena, STR_FMT "*/*;q=0.%d", STR_ARG(accept), weight);
}

char *request_lines(const struct config_scrape *options, struct str user_agent)
{
    struct arena arena;

    arena_init(&arena, 0);
    struct str accept = request_accept(options, &arena);
    const char *encoding = options->enable_compression ? "gzip" : "identity";
    struct str lines =
        arena_strf(&arena, "Accept: " STR_FMT "\nAccept-Encoding: %s\nUser-Agent: " STR_FMT,
                   STR_ARG(accept), encoding, STR_ARG(user_agent));
    char *copy = str_dup(lines);
    arena_deinit(&arena);
    return copy;
}

bool request_build(struct http_fetch_options *out, const struct config_scrape *options,
                   struct str lines, int64_t timeout_ms, struct arena *arena, struct err *err)
{
    static const char timeout_name[] = "X-Prometheus-Scrape-Timeout-Seconds: ";
    struct str *headers = arena_alloc_array(arena, REQUEST_LINES + 1, sizeof(*headers));
    char *timeout = arena_alloc(arena, sizeof(timeout_name) - 1 + NUMBER_TEXT_MAX);

    *out = (struct http_fetch_options){.timeout_ms = timeout_ms, .headers = headers};
    for (size_t i = 0; i < REQUEST_LINES; i++)
        headers[i] = str_cut(lines, '\n', &lines);
    memcpy(timeout, timeout_name, sizeof(timeout_name) - 1);
    size_t timeout_len = sizeof(timeout_name) - 1;
    timeout_len += number_format(timeout + timeout_len, (double)timeout_ms / 1000, NUMBER_F);
    headers[REQUEST_LINES] = str_from(timeout, timeout_len);
    out->header_count = REQUEST_LINES + 1;
    return config_http_fill(out, &options->http, arena, err);
}

/* The sentence with the type quoted as Go's %q does. */
static bool type_refused(const char *before, struct str type, const char *after, struct err *err)
{
    struct buf text;

    buf_init(&text, ERR_TEXT_MAX);
    buf_addf(&text, "%s", before);
    buf_add_go_quoted(&text, str_first(type, 256));
    buf_addf(&text, "%s", after);
    err_set_str(err, ERR_BAD_DATA, buf_str(&text));
    buf_deinit(&text);
    return false;
}

enum media { MEDIA_TEXT, MEDIA_OPENMETRICS, MEDIA_PROTOBUF, MEDIA_OTHER };

static enum media media_parse(struct str media)
{
    static const struct {
        struct str text;
        enum media media;
    } known[] = {
        {{"text/plain", 10}, MEDIA_TEXT},
        {{"application/openmetrics-text", 28}, MEDIA_OPENMETRICS},
        {{"application/vnd.google.protobuf", 31}, MEDIA_PROTOBUF},
    };

    for (size_t i = 0; i < COUNT_OF(known); i++)
        if (str_eq_nocase(known[i].text, media))
            return known[i].media;
    return MEDIA_OTHER;
}

static enum media fallback_parse(struct str protocol)
{
    if (str_starts(protocol, STR("PrometheusText")))
        return MEDIA_TEXT;
    if (str_starts(protocol, STR("OpenMetricsText")))
        return MEDIA_OPENMETRICS;
    return protocol.len > 0 ? MEDIA_PROTOBUF : MEDIA_OTHER;
}

/* Neither the type nor the fallback says what the body is. */
static bool type_unknown(struct str type, const char *problem, struct err *err)
{
    char after[128];

    if (type.len == 0)
        return err_set(err, ERR_BAD_DATA,
                       "non-compliant scrape target sending blank Content-Type and no "
                       "fallback_scrape_protocol specified for target");
    if (!problem)
        return type_refused("received unsupported Content-Type ", type,
                            " and no fallback_scrape_protocol specified for target", err);
    snprintf(after, sizeof(after), " and no fallback_scrape_protocol for target\n%s", problem);
    return type_refused("cannot parse Content-Type ", type, after, err);
}

bool request_check_head(const struct http_fetch_head *head, struct str fallback_protocol,
                        enum text_format *format, struct err *err)
{
    struct str text;
    struct str type = head->content_type;
    const char *problem = media_type_parse(type, &text);
    enum media media = problem ? MEDIA_OTHER : media_parse(text);

    if (head->status != 200)
        return err_set(err, ERR_BAD_DATA, "server returned HTTP status %d" STR_FMT STR_FMT,
                       head->status, STR_ARG(head->reason.len ? STR(" ") : STR_EMPTY),
                       STR_ARG(head->reason));
    if (media == MEDIA_OTHER)
        media = fallback_parse(fallback_protocol);
    *format = media == MEDIA_PROTOBUF      ? PROTOBUF_DELIMITED
              : media == MEDIA_OPENMETRICS ? TEXT_OPENMETRICS
                                           : TEXT_PROMETHEUS;
    return media != MEDIA_OTHER || type_unknown(type, problem, err);
}
