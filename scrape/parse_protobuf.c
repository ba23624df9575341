/* parse_protobuf: framing and families; what a metric says becomes samples in protobuf_series.c.
 *
 * The bytes are a row of items: the length before a message, then its fields. An item is read where
 * it lies when the bytes have all of it; otherwise it is carried over until `wanted` bytes are
 * there, which is never more than the item itself. Fields that nobody wants are not carried. */
#include "parse_protobuf.h"

#include <stdio.h>

#include "protobuf_series.h"

enum family_field { FIELD_NAME = 1, FIELD_HELP, FIELD_TYPE, FIELD_METRIC, FIELD_UNIT };

#define LENGTH_BYTES_MAX 5
#define VARINT_BYTES_MAX 10

void parse_protobuf_init(struct parse_protobuf *parser, struct line_cache *cache,
                         const struct parse_text_sink *sink, struct arena *kept,
                         const struct parse_protobuf_options *options)
{
    *parser =
        (struct parse_protobuf){.sink = sink, .cache = cache, .kept = kept, .options = *options};
    buf_init(&parser->carry, PROTOBUF_FIELD_BYTES_MAX + 3 * VARINT_BYTES_MAX);
    buf_init(&parser->name, PROTOBUF_FIELD_BYTES_MAX);
    buf_init(&parser->help, PROTOBUF_FIELD_BYTES_MAX);
    buf_init(&parser->unit, PROTOBUF_FIELD_BYTES_MAX);
    buf_init(&parser->labels_key, LINE_LEN_MAX);
    buf_init(&parser->full_name, LINE_LEN_MAX);
    buf_init(&parser->key, LINE_LEN_MAX);
}

void parse_protobuf_deinit(struct parse_protobuf *parser)
{
    buf_deinit(&parser->carry);
    buf_deinit(&parser->name);
    buf_deinit(&parser->help);
    buf_deinit(&parser->unit);
    buf_deinit(&parser->labels_key);
    buf_deinit(&parser->full_name);
    buf_deinit(&parser->key);
    protobuf_metric_deinit(&parser->metric);
    text_line_deinit(&parser->line);
    nhcb_build_deinit(&parser->build);
}

/* --- a family --- */

static bool quoted_error(struct err *err, const char *before, struct str quoted,
                         const char *between, struct str last)
{
    struct buf text;

    buf_init(&text, ERR_TEXT_MAX);
    buf_addf(&text, "%s", before);
    buf_add_go_quoted(&text, str_first(quoted, 512));
    buf_addf(&text, "%s", between);
    buf_add_str(&text, str_first(last, 512));
    err_set_str(err, ERR_BAD_DATA, buf_str(&text));
    buf_deinit(&text);
    return false;
}

static void tell(struct parse_protobuf *parser, enum text_kind kind)
{
    static const enum metric_type types[PROTOBUF_TYPE_COUNT] = {
        [PROTOBUF_COUNTER] = METRIC_COUNTER,     [PROTOBUF_GAUGE] = METRIC_GAUGE,
        [PROTOBUF_SUMMARY] = METRIC_SUMMARY,     [PROTOBUF_UNTYPED] = METRIC_UNKNOWN,
        [PROTOBUF_HISTOGRAM] = METRIC_HISTOGRAM, [PROTOBUF_GAUGE_HISTOGRAM] = METRIC_GAUGEHISTOGRAM,
    };
    struct text_line *line = &parser->line;

    text_line_reset(line);
    line->kind = kind;
    line->name = buf_str(&parser->name);
    line->help = buf_str(&parser->help);
    line->help_plain = true;
    line->type = types[parser->type];
    line->unit = buf_str(&parser->unit);
    parser->sink->metadata(parser->sink->ctx, line);
}

/* Before the first metric; a family without any is passed over. */
static bool family_check(struct parse_protobuf *parser, struct err *err)
{
    struct str name = buf_str(&parser->name), help = buf_str(&parser->help);

    if (name.len == 0 || !str_is_utf8(name))
        return err_set(err, ERR_BAD_DATA, "invalid metric name: " STR_FMT,
                       STR_ARG(str_first(name, 512)));
    if (!str_is_utf8(help))
        return quoted_error(err, "invalid help for metric ", name, ": ", help);
    if (parser->type < PROTOBUF_TYPE_COUNT)
        return true;
    char number[24];
    snprintf(number, sizeof(number), "%d", (int)(int32_t)(uint32_t)parser->type);
    return quoted_error(err, "unknown metric type for metric ", name, ": ", str_of(number));
}

static bool take_metric(struct parse_protobuf *parser, struct str bytes, struct err *err)
{
    enum protobuf_type type =
        parser->type < PROTOBUF_TYPE_COUNT ? (enum protobuf_type)parser->type : PROTOBUF_TYPE_COUNT;

    if (!protobuf_metric_read(&parser->metric, bytes, type, err))
        return false;
    if (!parser->has_metric) {
        if (!family_check(parser, err))
            return false;
        parser->has_metric = true;
        tell(parser, TEXT_HELP);
        tell(parser, TEXT_TYPE);
    }
    return protobuf_metric_check_labels(&parser->metric, err) && protobuf_series_emit(parser, err);
}

static void family_begin(struct parse_protobuf *parser)
{
    buf_clear(&parser->name);
    buf_clear(&parser->help);
    buf_clear(&parser->unit);
    parser->type = PROTOBUF_COUNTER; /* What is zero need not be on the wire. */
    parser->has_metric = false;
}

static void family_end(struct parse_protobuf *parser)
{
    parser->in_message = false;
    if (parser->has_metric && parser->unit.len > 0)
        tell(parser, TEXT_UNIT);
}

static bool set_text(struct parse_protobuf *parser, struct buf *out, struct str bytes,
                     const char *what, struct err *err)
{
    if (parser->has_metric && out != &parser->unit && !str_eq(buf_str(out), bytes))
        return err_set(err, ERR_BAD_DATA, "the %s of a metric family stands behind its metrics",
                       what);
    buf_clear(out);
    buf_add_str(out, bytes);
    return true;
}

static bool take_field(struct parse_protobuf *parser, uint64_t number, struct str bytes,
                       struct err *err)
{
    switch (number) {
    case FIELD_NAME:
        return set_text(parser, &parser->name, bytes, "name", err);
    case FIELD_HELP:
        return set_text(parser, &parser->help, bytes, "help", err);
    case FIELD_UNIT:
        return set_text(parser, &parser->unit, bytes, "unit", err);
    default:
        return take_metric(parser, bytes, err);
    }
}

/* --- items --- */

/* One look at the bytes: how many of them are done (0: not before there are `wanted`). */
struct look {
    const char *at;
    size_t len;
    size_t used, wanted;
};

/* A varint at an offset. False: the bytes end inside it, or (bad) it has more than `bytes_max`. */
static bool look_varint(const struct look *look, size_t *offset, size_t len, size_t bytes_max,
                        uint64_t *out, bool *bad)
{
    *bad = false;
    *out = 0;
    for (size_t i = 0; *offset + i < len; i++) {
        unsigned char c = (unsigned char)look->at[*offset + i];
        if (i == bytes_max || (i == VARINT_BYTES_MAX - 1 && c > 1)) {
            *bad = true;
            return false;
        }
        *out |= (uint64_t)(c & 0x7f) << (7 * i);
        if (c < 0x80) {
            *offset += i + 1;
            return true;
        }
    }
    *bad = len - *offset >= bytes_max;
    return false;
}

static bool look_length(struct parse_protobuf *parser, struct look *look, struct err *err)
{
    uint64_t len;
    bool bad;

    if (!look_varint(look, &look->used, look->len, LENGTH_BYTES_MAX, &len, &bad)) {
        look->wanted = look->len + 1;
        return !bad || err_set(err, ERR_BAD_DATA, "clientpb: invalid varint encountered");
    }
    parser->in_message = true;
    parser->message_start = parser->done;
    parser->message_left = len;
    parser->message_len = look->used + len;
    family_begin(parser);
    if (len == 0)
        family_end(parser);
    return true;
}

/* A number or a payload of fixed length; the type of the family is the only one that is wanted. */
static bool look_scalar(struct parse_protobuf *parser, struct look *look, size_t offset,
                        struct wire_field field, struct err *err)
{
    size_t limit = look->len < parser->message_left ? look->len : (size_t)parser->message_left;
    uint64_t value = 0;
    bool bad = false;

    if (field.type == WIRE_VARINT) {
        if (!look_varint(look, &offset, limit, VARINT_BYTES_MAX, &value, &bad)) {
            look->wanted = limit + 1;
            return (!bad && limit < parser->message_left) || wire_cut(err);
        }
    } else {
        offset += field.type == WIRE_FIXED64 ? 8 : 4;
        if (offset > limit) {
            look->wanted = offset;
            return offset <= parser->message_left || wire_cut(err);
        }
    }
    look->used = offset;
    if (field.number != FIELD_TYPE || field.type != WIRE_VARINT)
        return true;
    if (parser->has_metric && parser->type != value)
        return err_set(err, ERR_BAD_DATA, "the type of a metric family stands behind its metrics");
    parser->type = value;
    return true;
}

static bool look_bytes(struct parse_protobuf *parser, struct look *look, size_t offset,
                       struct wire_field field, struct err *err)
{
    size_t limit = look->len < parser->message_left ? look->len : (size_t)parser->message_left;
    bool is_wanted = field.number <= FIELD_UNIT && field.number != FIELD_TYPE;
    uint64_t len;
    bool bad;

    if (!look_varint(look, &offset, limit, VARINT_BYTES_MAX, &len, &bad)) {
        look->wanted = limit + 1;
        return (!bad && limit < parser->message_left) || wire_cut(err);
    }
    if (len > parser->message_left - offset)
        return wire_cut(err);
    if (!is_wanted) {
        look->used = offset;
        parser->skip = len;
        return true;
    }
    if (len > PROTOBUF_FIELD_BYTES_MAX)
        return err_set(err, ERR_LIMIT, "a field of a metric family is longer than %zu bytes",
                       PROTOBUF_FIELD_BYTES_MAX);
    if (len > look->len - offset) {
        look->wanted = offset + (size_t)len;
        return true;
    }
    look->used = offset + (size_t)len;
    return take_field(parser, field.number, str_from(look->at + offset, (size_t)len), err);
}

static bool wrong_type(struct wire_field field, struct err *err)
{
    static const char *const names[] = {"", "Name", "Help", "Type", "Metric", "Unit"};
    if (field.number < COUNT_OF(names))
        return err_set(err, ERR_BAD_DATA, "proto: wrong wireType = %u for field %s", field.type,
                       names[field.number]);
    return err_set(err, ERR_BAD_DATA, "proto: illegal wireType %u", field.type);
}

static bool field_is_sound(struct wire_field field, struct err *err)
{
    bool is_text = field.number <= FIELD_UNIT && field.number != FIELD_TYPE;
    bool is_wrong = (is_text && field.type != WIRE_BYTES) ||
                    (field.number == FIELD_TYPE && field.type != WIRE_VARINT);
    if (is_wrong || field.type == WIRE_GROUP || field.type > WIRE_FIXED32)
        return wrong_type(field, err);
    return true;
}

static bool look_field(struct parse_protobuf *parser, struct look *look, struct err *err)
{
    size_t limit = look->len < parser->message_left ? look->len : (size_t)parser->message_left;
    size_t offset = 0;
    uint64_t key;
    bool bad;

    if (!look_varint(look, &offset, limit, VARINT_BYTES_MAX, &key, &bad)) {
        look->wanted = limit + 1;
        return (!bad && limit < parser->message_left) || wire_cut(err);
    }
    struct wire_field field;
    if (!wire_key(key, "MetricFamily", &field, err) || !field_is_sound(field, err))
        return false;
    return field.type == WIRE_BYTES ? look_bytes(parser, look, offset, field, err)
                                    : look_scalar(parser, look, offset, field, err);
}

static bool look_at(struct parse_protobuf *parser, struct look *look, struct err *err)
{
    if (!parser->in_message) {
        bool ok = look_length(parser, look, err);
        parser->done += look->used;
        return ok;
    }
    if (parser->skip > 0) {
        look->used = parser->skip < look->len ? (size_t)parser->skip : look->len;
        parser->skip -= look->used;
    } else if (!look_field(parser, look, err)) {
        return false;
    }
    parser->done += look->used;
    parser->message_left -= look->used;
    if (parser->message_left == 0 && parser->skip == 0)
        family_end(parser);
    return true;
}

/* Completes the carried item as far as the bytes go. NULL after an error. */
static const char *carry_take(struct parse_protobuf *parser, const char *at, const char *end,
                              struct err *err)
{
    size_t missing = parser->wanted - parser->carry.len;
    size_t len = missing < (size_t)(end - at) ? missing : (size_t)(end - at);

    buf_add(&parser->carry, at, len);
    if (len < missing)
        return at + len;
    struct look look = {.at = parser->carry.ptr, .len = parser->carry.len};
    if (!look_at(parser, &look, err))
        return NULL;
    parser->wanted = look.wanted;
    if (look.used > 0) {
        ENSURE(look.used == parser->carry.len);
        buf_clear(&parser->carry);
    }
    return at + len;
}

static const char *items_take(struct parse_protobuf *parser, const char *at, const char *end,
                              struct err *err)
{
    while (at < end) {
        struct look look = {.at = at, .len = (size_t)(end - at)};
        if (!look_at(parser, &look, err))
            return NULL;
        at += look.used;
        if (look.used > 0)
            continue;
        ENSURE(look.wanted > look.len);
        parser->wanted = look.wanted;
        buf_add(&parser->carry, at, look.len);
        return end;
    }
    return at;
}

bool parse_protobuf_feed(struct parse_protobuf *parser, struct str bytes, struct err *err)
{
    const char *at = bytes.ptr, *end = bytes.ptr + bytes.len;

    while (at && at < end)
        at = parser->carry.len > 0 ? carry_take(parser, at, end, err)
                                   : items_take(parser, at, end, err);
    return bytes.len == 0 || at != NULL;
}

static bool message_cut(const struct parse_protobuf *parser, uint64_t bytes, struct err *err)
{
    return err_set(
        err, ERR_BAD_DATA,
        "clientpb: insufficient length of buffer, expected at least %llu bytes, got %llu "
        "bytes",
        (unsigned long long)parser->message_len, (unsigned long long)bytes);
}

bool parse_protobuf_was_cut(const struct parse_protobuf *parser, uint64_t body_bytes,
                            struct err *err)
{
    uint64_t bytes = body_bytes - parser->message_start;

    if (!parser->in_message || bytes >= parser->message_len)
        return false;
    (void)message_cut(parser, bytes, err);
    return true;
}

bool parse_protobuf_end(struct parse_protobuf *parser, struct err *err)
{
    if (parser->in_message)
        return message_cut(parser, parser->done - parser->message_start + parser->carry.len, err);
    return parser->carry.len == 0 ||
           err_set(err, ERR_BAD_DATA, "clientpb: invalid varint encountered");
}
