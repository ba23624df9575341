/* sections: the tables that fields.def becomes, and sections filled with defaults. */
#include "sections.h"

#define SHOWN true
#define HIDE  false

#define SECTION(id, go_type, go_list, check) static const struct field fields_##id[] = {
#define FIELD(id, name, type, shown, fallback, nested, help)                                       \
    [id##_##name] = {#name, type, shown, fallback, SECTION_##nested, help},
#define SECTION_END(id)                                                                            \
    }                                                                                              \
    ;
#include "fields.def"

static const struct section_type section_types[SECTION_COUNT] = {
#define SECTION(id, go_type, go_list, check)                                                       \
    [SECTION_##id] = {go_type, go_list, check, fields_##id, COUNT_OF(fields_##id)},
#define FIELD(id, name, type, shown, fallback, nested, help)
#define SECTION_END(id)
#include "fields.def"
};

static const enum value_kind kinds[] = {
#define X(type, kind, go_type, go_item) [type] = kind,
    FIELD_TYPES(X)
#undef X
};

static const char *const go_types[] = {
#define X(type, kind, go_type, go_item) [type] = go_type,
    FIELD_TYPES(X)
#undef X
};

static const char *const go_items[] = {
#define X(type, kind, go_type, go_item) [type] = go_item,
    FIELD_TYPES(X)
#undef X
};

const struct section_type *section_type(enum section_id id)
{
    ENSURE(id > SECTION_NONE && id < SECTION_COUNT);
    return &section_types[id];
}

enum value_kind field_kind(enum field_type type)
{
    return kinds[type];
}

const char *field_go_type(const struct field *field)
{
    if (field->type == T_SECTIONS)
        return section_type(field->nested)->go_list;
    if (kinds[field->type] == KIND_SECTION)
        return section_type(field->nested)->go_type;
    return go_types[field->type];
}

const char *field_go_item(const struct field *field)
{
    return go_items[field->type];
}

struct section *section_new(struct arena *arena, enum section_id id)
{
    const struct section_type *type = section_type(id);
    struct section *section =
        arena_zalloc(arena, sizeof(*section) + type->field_count * sizeof(struct value));
    struct err err = {0};

    section->id = id;
    for (size_t i = 0; i < type->field_count; i++) {
        const struct field *field = &type->fields[i];
        if (field->type == T_SECTION)
            section->values[i].as.section = section_new(arena, field->nested);
        else if (field->fallback[0])
            ENSURE(scalar_decode(arena, field, str_of(field->fallback), &section->values[i], &err));
    }
    return section;
}

static bool section_is_zero(const struct section *section)
{
    const struct section_type *type = section_type(section->id);
    for (size_t i = 0; i < type->field_count; i++)
        if (!value_is_zero(&type->fields[i], &section->values[i]))
            return false;
    return true;
}

bool value_is_zero(const struct field *field, const struct value *value)
{
    switch (field_kind(field->type)) {
    case KIND_BOOL:
        return field->type == T_OPT_BOOL ? !value->set : !value->as.boolean;
    case KIND_INT:
        return value->as.integer == 0;
    case KIND_UINT:
        return value->as.number == 0;
    case KIND_FLOAT:
        return !(value->as.real < 0 || value->as.real > 0);
    case KIND_TEXT:
        return value->as.text.len == 0;
    case KIND_TEXTS:
        return value->as.texts.count == 0;
    case KIND_PAIRS:
        return value->as.pairs.count == 0;
    case KIND_SECTION:
        return !value->as.section ||
               (field->type == T_SECTION && section_is_zero(value->as.section));
    case KIND_SECTIONS:
        return value->as.sections.count == 0;
    case KIND_NOTHING:
        return true;
    }
    UNREACHABLE();
}
