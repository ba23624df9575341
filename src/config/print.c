/* print: sections as YAML, the way Prometheus shows its configuration: defaults filled in, secrets
 * hidden.
 *
 * The same text, with secrets, serves as a key: two blocks are equal exactly when their texts are.
 */
#include "base/number.h"
#include "model/duration.h"
#include "sections.h"

#define SECRET STR("<secret>")

struct printer {
    struct yaml_writer *writer;
    bool mask;
};

static void print_section(struct printer *p, const struct section *section, size_t from, size_t to);

/* user:password@ in a URL becomes user:xxxxx@. */
static void print_url(struct printer *p, struct str url)
{
    size_t start = str_find(url, STR("//")), end;
    struct buf masked;

    if (!p->mask || start == url.len) {
        yaml_write_text(p->writer, url);
        return;
    }
    start += 2;
    for (end = start; end < url.len && !strchr("/?#", url.ptr[end]);)
        end++;
    size_t at = end;
    while (at > start && url.ptr[at - 1] != '@')
        at--;
    struct str user = {url.ptr + start, at > start ? at - 1 - start : 0};
    size_t colon = str_find_char(user, ':');
    if (colon == user.len) {
        yaml_write_text(p->writer, url);
        return;
    }
    buf_init(&masked, url.len + 16);
    buf_add_str(&masked, str_first(url, start + colon + 1));
    BUF_ADD(&masked, "xxxxx");
    buf_add_str(&masked, str_after(url, at - 1));
    yaml_write_text(p->writer, buf_str(&masked));
    buf_deinit(&masked);
}

static void print_number(struct printer *p, const struct field *field, const struct value *value)
{
    struct buf text;
    buf_init(&text, NUMBER_TEXT_MAX);
    if (field->type == T_DURATION)
        duration_print(&text, value->as.integer);
    else if (field->type == T_SIZE)
        size_print(&text, value->as.number);
    else if (field_kind(field->type) == KIND_INT)
        buf_add_i64(&text, value->as.integer);
    else if (field_kind(field->type) == KIND_UINT)
        buf_add_u64(&text, value->as.number);
    else
        buf_add_number(&text, value->as.real, NUMBER_G);
    yaml_write_plain(p->writer, buf_str(&text));
    buf_deinit(&text);
}

static void print_secret(struct printer *p, struct str secret)
{
    yaml_write_text(p->writer, p->mask && secret.len > 0 ? SECRET : secret);
}

static void print_texts(struct printer *p, const struct str_list *texts, bool flow, bool secret)
{
    yaml_write_sequence(p->writer, flow);
    for (size_t i = 0; i < texts->count; i++) {
        if (secret)
            print_secret(p, texts->items[i]);
        else
            yaml_write_text(p->writer, texts->items[i]);
    }
    yaml_write_sequence_end(p->writer);
}

static void print_pairs(struct printer *p, const struct field *field, const struct value *value)
{
    yaml_write_mapping(p->writer);
    for (size_t i = 0; i < value->as.pairs.count; i++) {
        const struct pair *pair = &value->as.pairs.items[i];
        yaml_write_text(p->writer, pair->name);
        if (field->type == T_VALUES || field->type == T_PROXY_HEADER)
            print_texts(p, &pair->texts, false, field->type == T_PROXY_HEADER);
        else if (field->type == T_HEADERS)
            print_section(p, pair->section, 0, HEADER_COUNT);
        else
            yaml_write_text(p->writer, pair->text);
    }
    yaml_write_mapping_end(p->writer);
}

static void print_sections(struct printer *p, const struct value *value)
{
    yaml_write_sequence(p->writer, false);
    for (size_t i = 0; i < value->as.sections.count; i++) {
        const struct section *section = value->as.sections.items[i];
        print_section(p, section, 0, section_type(section->id)->field_count);
    }
    yaml_write_sequence_end(p->writer);
}

static void print_value(struct printer *p, const struct field *field, const struct value *value)
{
    switch (field_kind(field->type)) {
    case KIND_BOOL:
        yaml_write_plain(p->writer, value->as.boolean ? STR("true") : STR("false"));
        break;
    case KIND_TEXT:
        if (field->type == T_SECRET)
            print_secret(p, value->as.text);
        else if (field->type == T_URL)
            print_url(p, value->as.text);
        else
            yaml_write_text(p->writer, value->as.text);
        break;
    case KIND_TEXTS:
        print_texts(p, &value->as.texts, field->type == T_LABEL_NAMES, field->type == T_SECRETS);
        break;
    case KIND_PAIRS:
        print_pairs(p, field, value);
        break;
    case KIND_SECTION:
        print_section(p, value->as.section, 0, section_type(value->as.section->id)->field_count);
        break;
    case KIND_SECTIONS:
        print_sections(p, value);
        break;
    default:
        print_number(p, field, value);
        break;
    }
}

/* The default regex is not shown, however it came about; an empty one is. */
static bool is_shown(const struct field *field, const struct value *value)
{
    if (field->type == T_REGEX)
        return !str_eq(value->as.text, str_of(field->fallback));
    if (field->type == T_ANY)
        return false; /* Its values are not kept. */
    return field->shown || !value_is_zero(field, value);
}

static void print_section(struct printer *p, const struct section *section, size_t from, size_t to)
{
    const struct section_type *type = section_type(section->id);
    yaml_write_mapping(p->writer);
    for (size_t i = from; i < to; i++) {
        if (!is_shown(&type->fields[i], &section->values[i]))
            continue;
        yaml_write_plain(p->writer, str_of(type->fields[i].name));
        print_value(p, &type->fields[i], &section->values[i]);
    }
    yaml_write_mapping_end(p->writer);
}

void section_print_fields(struct buf *out, const struct section *section, size_t from, size_t to,
                          bool mask)
{
    struct printer p = {.writer = yaml_writer_new(out), .mask = mask};
    print_section(&p, section, from, to);
    yaml_writer_free(p.writer);
}

void section_print(struct buf *out, const struct section *section, bool mask)
{
    section_print_fields(out, section, 0, section_type(section->id)->field_count, mask);
}
