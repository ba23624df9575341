/* exposition: content negotiation of what is scraped from us: media ranges by their q, the first one that we have.
 *
 *     application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;escaping=dots;q=0.7
 *
 * A scheme of escaping counts even when the format beside it is not one of ours, as in Prometheus. The textual encodings of
 * protobuf are answered with text. */
#include "exposition.h"

#include <stdlib.h>

#include "base/number.h"
#include "base/vec.h"
#include "model/labels.h"

#define RANGES_MAX ((size_t)64)

struct range {
    struct str type; /* With the subtype. */
    struct str version, proto, encoding, escaping;
    double quality;
    size_t position;
};

static const char *const escaping_names[] = {[ESCAPING_UNDERSCORES] = "underscores",
                                             [ESCAPING_DOTS] = "dots",
                                             [ESCAPING_VALUES] = "values",
                                             [ESCAPING_NONE] = "allow-utf-8"};

static struct range range_parse(struct str text)
{
    struct range range = {.quality = 1};
    struct str rest = text;

    range.type = str_trim(str_cut(rest, ';', &rest));
    while (rest.len > 0) {
        struct str value, part = str_cut(rest, ';', &rest);
        struct str name = str_trim(str_cut(part, '=', &value));
        value = str_trim(value);
        if (str_eq(name, STR("q")))
            range.quality = number_parse(value, &range.quality) ? range.quality : 0;
        else if (str_eq(name, STR("version")))
            range.version = value;
        else if (str_eq(name, STR("proto")))
            range.proto = value;
        else if (str_eq(name, STR("encoding")))
            range.encoding = value;
        else if (str_eq(name, STR("escaping")))
            range.escaping = value;
    }
    return range;
}

static int range_compare(const void *a, const void *b)
{
    const struct range *left = a, *right = b;

    if (left->quality != right->quality)
        return left->quality > right->quality ? -1 : 1;
    return left->position < right->position ? -1 : 1;
}

static bool range_is_ours(const struct range *range, enum exposition_format *format)
{
    *format = EXPOSITION_TEXT;
    if (str_eq(range->type, STR("application/vnd.google.protobuf")) &&
        str_eq(range->proto, STR("io.prometheus.client.MetricFamily")) &&
        str_eq(range->encoding, STR("delimited"))) {
        *format = EXPOSITION_PROTOBUF;
        return true;
    }
    return str_eq(range->type, STR("text/plain")) &&
           (range->version.len == 0 || str_eq(range->version, STR("0.0.4")));
}

struct exposition exposition_negotiate(struct str accept)
{
    struct exposition out = {EXPOSITION_TEXT, ESCAPING_UNDERSCORES};
    VEC(struct range) ranges = {0};
    bool found = false;

    while (accept.len > 0 && ranges.count < RANGES_MAX) {
        struct range range = range_parse(str_cut(accept, ',', &accept));
        range.position = ranges.count;
        VEC_PUSH(&ranges, range);
    }
    VEC_SORT(&ranges, range_compare);
    for (size_t i = 0; i < ranges.count && !found; i++) {
        for (size_t k = 0; k < COUNT_OF(escaping_names); k++)
            if (str_eq(ranges.items[i].escaping, str_of(escaping_names[k])))
                out.escaping = (enum exposition_escaping)k;
        found = range_is_ours(&ranges.items[i], &out.format);
    }
    VEC_FREE(&ranges);
    return out;
}

#define PROTOBUF                                                                                   \
    "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; "                   \
    "encoding=delimited; escaping="
#define TEXT "text/plain; version=0.0.4; charset=utf-8; escaping="

const char *exposition_content_type(struct exposition exposition)
{
    static const char *const types[][2] = {
        [ESCAPING_UNDERSCORES] = {TEXT "underscores", PROTOBUF "underscores"},
        [ESCAPING_DOTS] = {TEXT "dots", PROTOBUF "dots"},
        [ESCAPING_VALUES] = {TEXT "values", PROTOBUF "values"},
        [ESCAPING_NONE] = {TEXT "allow-utf-8", PROTOBUF "allow-utf-8"},
    };

    return types[exposition.escaping][exposition.format == EXPOSITION_PROTOBUF];
}

static bool rune_is_legacy(uint32_t rune, bool first)
{
    return (rune >= 'a' && rune <= 'z') || (rune >= 'A' && rune <= 'Z') || rune == '_' ||
           rune == ':' || (rune >= '0' && rune <= '9' && !first);
}

void exposition_add_name(struct buf *out, struct str name, enum exposition_escaping escaping)
{
    if (escaping == ESCAPING_NONE || metric_name_is_legacy(name)) {
        buf_add_str(out, name);
        return;
    }
    if (escaping == ESCAPING_VALUES)
        BUF_ADD(out, "U__");
    for (size_t at = 0; at < name.len;) {
        bool first = at == 0;
        uint32_t rune = str_next_rune(name, &at);
        if (rune == '_' && escaping != ESCAPING_UNDERSCORES)
            BUF_ADD(out, "__");
        else if (rune_is_legacy(rune, first))
            buf_add_char(out, (char)rune);
        else if (escaping == ESCAPING_UNDERSCORES)
            BUF_ADD(out, "_");
        else if (escaping == ESCAPING_VALUES)
            buf_addf(out, "_%x_", (unsigned)rune);
        else if (rune == '.')
            BUF_ADD(out, "_dot_");
        else
            BUF_ADD(out, "__");
    }
}
