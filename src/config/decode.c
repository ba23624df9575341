/* decode: YAML nodes into sections, in go-yaml's manner and words.
 *
 * Two sorts of failure, as there: a problem of one field (unknown name, wrong type, written twice)
 * is noted with its line and the rest goes on, so that a user sees all of them at once; a value
 * that its type refuses (a duration, a URL, a broken rule of a block) ends the work at once with
 * its own text. */
#include <stdlib.h>

#include "base/number.h"
#include "model/duration.h"
#include "sections.h"

#define PROBLEMS_BYTES_MAX (ERR_TEXT_MAX * 2)

void decoder_init(struct decoder *decoder, struct arena *arena, struct err *err)
{
    *decoder = (struct decoder){.arena = arena, .err = err};
    buf_init(&decoder->problems, PROBLEMS_BYTES_MAX);
}

void decoder_deinit(struct decoder *decoder)
{
    buf_deinit(&decoder->problems);
    VEC_FREE(&decoder->rules);
}

bool decoder_finish(struct decoder *decoder)
{
    if (decoder->problem_count == 0)
        return true;
    struct err all = {0};
    err_set_str(&all, ERR_BAD_DATA, buf_str(&decoder->problems));
    return err_set(decoder->err, ERR_BAD_DATA, "yaml: unmarshal errors:%s", all.text);
}

void decoder_add_type_problem(struct decoder *decoder, const struct yaml_node *node,
                              const char *go_type)
{
    struct buf *out = &decoder->problems;
    decoder->problem_count++;
    buf_addf(out, "\n  line %u: cannot unmarshal ", node->line);
    buf_add_str(out, node->tag);
    if (node->kind == YAML_SCALAR) {
        struct str text = node->encoded.len > 0 ? node->encoded : node->text;
        BUF_ADD(out, " `");
        buf_add_str(out, str_first(text, text.len > 10 ? 7 : 10));
        if (text.len > 10)
            BUF_ADD(out, "...");
        BUF_ADD(out, "`");
    }
    buf_addf(out, " into %s", go_type);
}

static void add_name_problem(struct decoder *decoder, const struct yaml_node *name,
                             const char *what, const char *go_type)
{
    decoder->problem_count++;
    buf_addf(&decoder->problems, "\n  line %u: field ", name->line);
    buf_add_str(&decoder->problems, name->text);
    buf_addf(&decoder->problems, " %s in type %s", what, go_type);
}

static bool regex_text_check(struct str pattern, struct err *err)
{
    struct regex *regex;
    if (!regex_new(&regex, pattern, err))
        return false;
    regex_free(regex);
    return true;
}

/* Texts whose type allows only some. */
static bool text_check(enum field_type type, struct str text, struct err *err)
{
    enum relabel_action action;
    switch (type) {
    case T_URL:
        return url_check(text, err);
    case T_REGEX:
        return regex_text_check(text, err);
    case T_ACTION:
        if (relabel_action_parse(text, &action))
            return true;
        return quoted_error(err, "unknown relabel action ", text, "");
    case T_TLS_VERSION:
        if (text.len == 5 && str_starts(text, STR("TLS1")) && text.ptr[4] >= '0' &&
            text.ptr[4] <= '3')
            return true;
        return err_set(err, ERR_BAD_DATA, "unknown TLS version: " STR_FMT, STR_ARG(text));
    case T_NAME_SCHEME:
        if (text.len == 0 || str_eq(text, STR("utf8")) || str_eq(text, STR("legacy")))
            return true;
        return quoted_error(err, "unrecognized ValidationScheme: ", text, "");
    case T_CLIENT_TYPE:
        if (str_eq(text, STR("http")) || str_eq(text, STR("grpc")))
            return true;
        return err_set(err, ERR_BAD_DATA,
                       "expected tracing client type to be to be http or grpc, but got " STR_FMT,
                       STR_ARG(text));
    case T_API_VERSION:
        if (str_eq(text, STR("v2")))
            return true;
        return err_set(err, ERR_BAD_DATA,
                       "expected Alertmanager api version to be one of [v2] but got " STR_FMT,
                       STR_ARG(text));
    default:
        return true;
    }
}

bool scalar_decode(struct arena *arena, const struct field *field, struct str text,
                   struct value *out, struct err *err)
{
    struct yaml_node node = {.kind = YAML_SCALAR, .text = text};
    switch (field->type) {
    case T_DURATION:
        return duration_parse(text, &out->as.integer, err);
    case T_SIZE:
        return size_parse(text, &out->as.number, err);
    default:
        break;
    }
    if (field_kind(field->type) == KIND_TEXT) {
        enum relabel_action action;
        out->as.text = arena_str(arena, text);
        if (field->type == T_ACTION && relabel_action_parse(text, &action))
            out->as.text = str_of(relabel_action_text(action)); /* In lower case. */
        return text_check(field->type, text, err);
    }
    /* Only defaults come here; the decoder proper types numbers by node. */
    yaml_scalar_type(&node);
    if (field_kind(field->type) == KIND_BOOL)
        out->as.boolean = node.as.boolean;
    else if (field_kind(field->type) == KIND_FLOAT)
        out->as.real = (double)node.as.integer;
    else if (field_kind(field->type) == KIND_INT)
        out->as.integer = node.as.integer;
    else
        out->as.number = (uint64_t)node.as.integer;
    return true;
}

static bool int_fits(const struct yaml_node *node, int64_t *out)
{
    if (node->type == YAML_INT) {
        *out = node->as.integer;
        return true;
    }
    if (node->type != YAML_FLOAT || !(node->as.real >= -0x1p63 && node->as.real < 0x1p63))
        return false;
    *out = (int64_t)node->as.real;
    return true;
}

static bool uint_fits(const struct yaml_node *node, uint64_t *out)
{
    if (node->type == YAML_INT && node->as.integer >= 0) {
        *out = (uint64_t)node->as.integer;
        return true;
    }
    if (node->type == YAML_UINT) {
        *out = node->as.number;
        return true;
    }
    if (node->type != YAML_FLOAT || !(node->as.real >= 0 && node->as.real < 0x1p64))
        return false;
    *out = (uint64_t)node->as.real;
    return true;
}

static bool float_fits(const struct yaml_node *node, double *out)
{
    if (node->type == YAML_FLOAT)
        *out = node->as.real;
    else if (node->type == YAML_INT)
        *out = (double)node->as.integer;
    else if (node->type == YAML_UINT)
        *out = (double)node->as.number;
    else
        return false;
    return true;
}

static bool decode_scalar(struct decoder *decoder, const struct field *field, struct value *value,
                          const struct yaml_node *node)
{
    bool fits = false;
    if (node->kind == YAML_SCALAR) {
        switch (field_kind(field->type)) {
        case KIND_BOOL:
            fits = node->type == YAML_BOOL;
            value->as.boolean = fits && node->as.boolean;
            break;
        case KIND_FLOAT:
            fits = float_fits(node, &value->as.real);
            break;
        case KIND_INT:
            fits = field->type == T_DURATION || int_fits(node, &value->as.integer);
            break;
        case KIND_UINT:
            fits = field->type == T_SIZE || uint_fits(node, &value->as.number);
            break;
        default:
            fits = true;
            break;
        }
    }
    if (!fits) {
        decoder_add_type_problem(decoder, node, field_go_type(field));
        return true;
    }
    if (field_kind(field->type) == KIND_TEXT || field->type == T_DURATION || field->type == T_SIZE)
        return scalar_decode(decoder->arena, field, node->text, value, decoder->err);
    return true;
}

static bool label_name_check(struct str name, struct err *err)
{
    return label_name_is_valid(name) || quoted_error(err, "", name, " is not a valid label name");
}

static bool decode_texts(struct decoder *decoder, const char *go_type, const char *go_item,
                         bool label_names, struct str_list *out, const struct yaml_node *node)
{
    *out = (struct str_list){0};
    if (yaml_is_null(node))
        return true;
    if (node->kind != YAML_SEQUENCE) {
        decoder_add_type_problem(decoder, node, go_type);
        return true;
    }
    out->items = arena_alloc_array(decoder->arena, node->count, sizeof(struct str));
    for (size_t i = 0; i < node->count; i++) {
        const struct yaml_node *item = node->as.items[i];
        if (item->kind != YAML_SCALAR) {
            decoder_add_type_problem(decoder, item, go_item);
            continue;
        }
        struct str text = yaml_is_null(item) ? STR_EMPTY : item->text;
        if (label_names && !yaml_is_null(item) && !label_name_check(text, decoder->err))
            return false;
        out->items[out->count++] = arena_str(decoder->arena, text);
    }
    return true;
}

static bool is_digit(uint32_t rune)
{
    return rune >= '0' && rune <= '9';
}

static bool is_letter(uint32_t rune)
{
    return (rune >= 'a' && rune <= 'z') || (rune >= 'A' && rune <= 'Z') || rune >= 0x80;
}

/* The number whose digits surround `at`; *len is the length of its text from `at` on. */
static uint64_t number_around(struct str s, size_t at, size_t *len)
{
    uint64_t number = 0;
    size_t from = at, to = at;
    while (from > 0 && is_digit((uint8_t)s.ptr[from - 1]))
        from--;
    while (to < s.len && is_digit((uint8_t)s.ptr[to]))
        to++;
    for (size_t i = from; i < to; i++)
        number = number * 10 + (uint64_t)(s.ptr[i] - '0');
    *len = to - at;
    return number;
}

/* go-yaml's order of keys: symbols, then digits by the number that they make, then letters. Unlike
 * there, a number is compared whole, so that this is an order in the strict sense. */
static int name_order(struct str a, struct str b)
{
    size_t at = 0, a_len, b_len;
    while (at < a.len && at < b.len && a.ptr[at] == b.ptr[at])
        at++;
    if (at == a.len || at == b.len)
        return (a.len > b.len) - (a.len < b.len);
    uint8_t x = (uint8_t)a.ptr[at], y = (uint8_t)b.ptr[at];
    bool in_number = at > 0 && is_digit((uint8_t)a.ptr[at - 1]);
    if ((is_digit(x) && is_digit(y)) || (in_number && is_digit(x) != is_digit(y))) {
        uint64_t m = number_around(a, at, &a_len), n = number_around(b, at, &b_len);
        if (m != n)
            return m < n ? -1 : 1;
        if (a_len != b_len)
            return a_len < b_len ? -1 : 1;
    }
    if (is_letter(x) != is_letter(y))
        return is_letter(x) ? 1 : -1;
    if (!is_letter(x) && is_digit(x) != is_digit(y))
        return is_digit(x) ? 1 : -1;
    return x < y ? -1 : 1;
}

static int pair_order(const void *a, const void *b)
{
    return name_order(((const struct pair *)a)->name, ((const struct pair *)b)->name);
}

static bool decode_pair_value(struct decoder *decoder, const struct field *field, struct pair *pair,
                              const struct yaml_node *node)
{
    const char *go_item = field_go_item(field);
    switch (field->type) {
    case T_VALUES:
        return decode_texts(decoder, go_item, "string", false, &pair->texts, node);
    case T_PROXY_HEADER:
        return decode_texts(decoder, go_item, "config.plain", false, &pair->texts, node);
    case T_HEADERS:
        pair->section = section_new(decoder->arena, SECTION_HEADER);
        return yaml_is_null(node) || section_decode(decoder, pair->section, node);
    case T_ANY:
        return true;
    default:
        break;
    }
    if (node->kind != YAML_SCALAR)
        decoder_add_type_problem(decoder, node, go_item);
    else if (!yaml_is_null(node))
        pair->text = arena_str(decoder->arena, node->text);
    return true;
}

static void add_key_problem(struct decoder *decoder, const struct yaml_pair *pair)
{
    decoder->problem_count++;
    buf_addf(&decoder->problems, "\n  line %u: key ", pair->value->line);
    buf_add_go_quoted(&decoder->problems, pair->name->text);
    BUF_ADD(&decoder->problems, " already set in map");
}

static bool decode_pairs(struct decoder *decoder, const struct field *field, struct value *value,
                         const struct yaml_node *node)
{
    value->as.pairs.items = NULL;
    value->as.pairs.count = 0;
    if (node->kind != YAML_MAPPING) {
        decoder_add_type_problem(decoder, node, field_go_type(field));
        return true;
    }
    struct pair *pairs = arena_alloc_array(decoder->arena, node->count, sizeof(*pairs));
    size_t count = 0;
    for (size_t i = 0; i < node->count; i++) {
        const struct yaml_pair *from = &node->as.pairs[i];
        if (from->name->kind != YAML_SCALAR) {
            decoder_add_type_problem(decoder, from->name, "string");
            continue;
        }
        struct pair pair = {.name = arena_str(decoder->arena, from->name->text)};
        if (field->type == T_LABEL_SET && !label_name_check(pair.name, decoder->err))
            return false;
        if (!decode_pair_value(decoder, field, &pair, from->value))
            return false;
        if (from->duplicate)
            add_key_problem(decoder, from);
        else
            pairs[count++] = pair;
    }
    if (count > 1)
        qsort(pairs, count, sizeof(*pairs), pair_order);
    value->as.pairs.items = pairs;
    value->as.pairs.count = count;
    return true;
}

static bool decode_sections(struct decoder *decoder, const struct field *field, struct value *value,
                            const struct yaml_node *node)
{
    value->as.sections.items = NULL;
    value->as.sections.count = 0;
    if (node->kind != YAML_SEQUENCE) {
        decoder_add_type_problem(decoder, node, field_go_type(field));
        return true;
    }
    value->as.sections.items =
        arena_alloc_array(decoder->arena, node->count, sizeof(struct section *));
    for (size_t i = 0; i < node->count; i++) {
        const struct yaml_node *item = node->as.items[i];
        struct section *section = NULL;
        if (!yaml_is_null(item)) {
            section = section_new(decoder->arena, field->nested);
            if (!section_decode(decoder, section, item))
                return false;
        }
        value->as.sections.items[value->as.sections.count++] = section;
    }
    return true;
}

static bool sd_missing(struct decoder *decoder, const struct yaml_pair *pair)
{
    const struct yaml_node *node = pair->value;
    if (yaml_is_null(node) || (node->kind == YAML_SEQUENCE && node->count == 0))
        return true;
    return err_set(decoder->err, ERR_BAD_DATA,
                   "line %u: " STR_FMT " is not supported by this version; service discovery "
                   "available: static_configs, file_sd_configs, http_sd_configs, dns_sd_configs, "
                   "kubernetes_sd_configs",
                   pair->name->line, STR_ARG(pair->name->text));
}

/* Null zeroes a field, defaults included; a block loses even the defaults of its fields. */
static void decode_null(struct decoder *decoder, const struct field *field, struct value *value)
{
    memset(&value->as, 0, sizeof(value->as));
    if (field->type != T_SECTION)
        return;
    value->as.section = section_new(decoder->arena, field->nested);
    const struct section_type *type = section_type(field->nested);
    for (size_t i = 0; i < type->field_count; i++)
        decode_null(decoder, &type->fields[i], &value->as.section->values[i]);
}

static bool decode_field(struct decoder *decoder, const struct field *field, struct value *value,
                         const struct yaml_pair *pair)
{
    const struct yaml_node *node = pair->value;
    value->written = true;
    value->line = pair->name->line;
    if (field->type == T_SD_MISSING)
        return sd_missing(decoder, pair);
    if (yaml_is_null(node)) {
        decode_null(decoder, field, value);
        return true;
    }
    value->set = true;
    switch (field_kind(field->type)) {
    case KIND_TEXTS:
        return decode_texts(decoder, field_go_type(field), field_go_item(field),
                            field->type == T_LABEL_NAMES, &value->as.texts, node);
    case KIND_PAIRS:
        return decode_pairs(decoder, field, value, node);
    case KIND_SECTION:
        if (!value->as.section)
            value->as.section = section_new(decoder->arena, field->nested);
        return section_decode(decoder, value->as.section, node);
    case KIND_SECTIONS:
        return decode_sections(decoder, field, value, node);
    default:
        return decode_scalar(decoder, field, value, node);
    }
}

static size_t field_index(const struct section_type *type, struct str name)
{
    size_t i = 0;
    while (i < type->field_count && !str_eq(name, str_of(type->fields[i].name)))
        i++;
    return i;
}

bool section_decode(struct decoder *decoder, struct section *section, const struct yaml_node *node)
{
    const struct section_type *type = section_type(section->id);
    size_t problems_before = decoder->problem_count;

    section->line = node->line;
    if (node->kind != YAML_MAPPING) {
        decoder_add_type_problem(decoder, node, type->go_type);
        return true;
    }
    for (size_t i = 0; i < node->count; i++) {
        const struct yaml_pair *pair = &node->as.pairs[i];
        if (pair->name->kind != YAML_SCALAR) {
            decoder_add_type_problem(decoder, pair->name, "string");
            continue;
        }
        size_t index = field_index(type, pair->name->text);
        if (index == type->field_count)
            add_name_problem(decoder, pair->name, "not found", type->go_type);
        else if (pair->duplicate)
            add_name_problem(decoder, pair->name, "already set", type->go_type);
        else if (!decode_field(decoder, &type->fields[index], &section->values[index], pair))
            return false;
    }
    if (decoder->problem_count > problems_before || !type->check)
        return true;
    return type->check(decoder, section);
}
