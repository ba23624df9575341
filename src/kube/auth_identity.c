/* auth_identity: a user in the words of a SubjectAccessReview, which is all that is ever done with one. */
#include "auth_parts.h"

#define IDENTITY_BYTES_MAX ((size_t)256 << 10)

static bool groups_have(const struct kube_identity_builder *builder, struct str group)
{
    for (size_t i = 0; i < builder->groups.count; i++)
        if (str_eq(builder->groups.items[i], group))
            return true;
    return false;
}

static void write_groups(const struct kube_identity_builder *builder, struct buf *out)
{
    BUF_ADD(out, ",\"groups\":[");
    for (size_t i = 0; i < builder->groups.count; i++) {
        if (i > 0)
            buf_add_char(out, ',');
        buf_add_json_string(out, builder->groups.items[i]);
    }
    buf_add_char(out, ']');
}

static bool is_first_of_name(const struct kube_identity_builder *builder, size_t index)
{
    for (size_t i = 0; i < index; i++)
        if (str_eq(builder->extra.items[i].name, builder->extra.items[index].name))
            return false;
    return true;
}

static void write_extra(const struct kube_identity_builder *builder, struct buf *out)
{
    const char *between = "";
    BUF_ADD(out, ",\"extra\":{");
    for (size_t i = 0; i < builder->extra.count; i++) {
        if (!is_first_of_name(builder, i))
            continue;
        buf_addf(out, "%s", between);
        buf_add_json_string(out, builder->extra.items[i].name);
        BUF_ADD(out, ":[");
        for (size_t k = i; k < builder->extra.count; k++) {
            if (!str_eq(builder->extra.items[k].name, builder->extra.items[i].name))
                continue;
            if (k > i)
                buf_add_char(out, ',');
            buf_add_json_string(out, builder->extra.items[k].value);
        }
        buf_add_char(out, ']');
        between = ",";
    }
    buf_add_char(out, '}');
}

void kube_identity_build(struct kube_identity_builder *builder, struct arena *arena,
                         struct kube_identity *out)
{
    struct buf text;
    bool is_anonymous = groups_have(builder, STR("system:unauthenticated")) ||
                        str_eq(builder->user, STR("system:anonymous"));
    if (!is_anonymous && !groups_have(builder, STR("system:authenticated")))
        VEC_PUSH(&builder->groups, STR("system:authenticated"));
    buf_init(&text, IDENTITY_BYTES_MAX);
    BUF_ADD(&text, "\"user\":");
    buf_add_json_string(&text, builder->user);
    if (builder->uid.len > 0) {
        BUF_ADD(&text, ",\"uid\":");
        buf_add_json_string(&text, builder->uid);
    }
    write_groups(builder, &text);
    if (builder->extra.count > 0)
        write_extra(builder, &text);
    *out = (struct kube_identity){
        .user = arena_str(arena, builder->user),
        .json = arena_str(arena, text.overflow ? STR("\"user\":\"\"") : buf_str(&text)),
        .is_master = !text.overflow && groups_have(builder, STR("system:masters")),
    };
    buf_deinit(&text);
    VEC_FREE(&builder->groups);
    VEC_FREE(&builder->extra);
}

void kube_identity_from_json(const struct json *user, struct arena *arena,
                             struct kube_identity *out)
{
    struct kube_identity_builder builder = {.user = json_str(json_get(user, "username")),
                                            .uid = json_str(json_get(user, "uid"))};
    const struct json *groups = json_get(user, "groups"), *extra = json_get(user, "extra"), *values;
    struct str name;
    for (size_t i = 0; i < json_count(groups); i++)
        VEC_PUSH(&builder.groups, json_str(json_at(groups, i)));
    for (size_t i = 0; (values = json_entry(extra, i, &name)) != NULL; i++) {
        for (size_t k = 0; k < json_count(values); k++) {
            struct http_header item = {name, json_str(json_at(values, k))};
            VEC_PUSH(&builder.extra, item);
        }
    }
    kube_identity_build(&builder, arena, out);
}
