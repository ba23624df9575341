/* paths: relative paths in a configuration start at its file's directory. */
#include "sections.h"

struct str path_dir(struct str path)
{
    size_t end = path.len;
    while (end > 0 && path.ptr[end - 1] != '/')
        end--;
    if (end == 0)
        return STR(".");
    while (end > 1 && path.ptr[end - 1] == '/')
        end--;
    return str_first(path, end);
}

/* Removes the last part of the clean path in out[0..len); false when there is none that may go. */
static bool drop_last(const char *out, size_t *len, size_t root_len)
{
    size_t end = *len;
    while (end > root_len && out[end - 1] != '/')
        end--;
    struct str last = {out + end, *len - end};
    if (last.len == 0 || str_eq(last, STR("..")))
        return false;
    *len = end > root_len ? end - 1 : root_len;
    return true;
}

/* Lexically shortest form, as Go's filepath.Clean: no "//", no "/./", "a/.." gone. */
static struct str path_clean(struct arena *arena, struct str path)
{
    bool rooted = path.len > 0 && path.ptr[0] == '/';
    size_t root_len = rooted ? 1 : 0;
    char *out = arena_alloc(arena, path.len + 2);
    size_t len = root_len;

    out[0] = '/';
    for (struct str rest = path; rest.ptr;) {
        struct str part = str_cut(rest, '/', &rest);
        bool up = str_eq(part, STR(".."));
        if (part.len == 0 || str_eq(part, STR(".")))
            continue;
        if (up && (drop_last(out, &len, root_len) || rooted))
            continue;
        if (len > root_len)
            out[len++] = '/';
        memcpy(out + len, part.ptr, part.len);
        len += part.len;
    }
    return len ? str_from(out, len) : STR(".");
}

struct str path_join(struct arena *arena, struct str dir, struct str path)
{
    if (path.len == 0 || path.ptr[0] == '/')
        return path;
    return path_clean(arena, arena_strf(arena, STR_FMT "/" STR_FMT, STR_ARG(dir), STR_ARG(path)));
}

static void value_join(struct arena *arena, const struct field *field, struct value *value,
                       struct str dir)
{
    if (field->type == T_PATH)
        value->as.text = path_join(arena, dir, value->as.text);
    for (size_t i = 0; field->type == T_PATHS && i < value->as.texts.count; i++)
        value->as.texts.items[i] = path_join(arena, dir, value->as.texts.items[i]);
    for (size_t i = 0; field->type == T_HEADERS && i < value->as.pairs.count; i++)
        section_join_paths(arena, value->as.pairs.items[i].section, dir);
    for (size_t i = 0; field->type == T_SECTIONS && i < value->as.sections.count; i++)
        section_join_paths(arena, value->as.sections.items[i], dir);
    if (field_kind(field->type) == KIND_SECTION)
        section_join_paths(arena, value->as.section, dir);
}

void section_join_paths(struct arena *arena, struct section *section, struct str dir)
{
    if (!section)
        return;
    const struct section_type *type = section_type(section->id);
    for (size_t i = 0; i < type->field_count; i++)
        value_join(arena, &type->fields[i], &section->values[i], dir);
}
