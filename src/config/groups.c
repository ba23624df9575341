/* groups: target groups from elsewhere, a list of {targets, labels}: a file_sd file in YAML or JSON,
 * an http_sd answer in JSON.
 *
 * A tree takes many times its text: what a text of empty objects may cost is bounded by weighing its
 * marks before it is parsed. */
#include "base/json.h"
#include "base/mem.h"
#include "sections.h"

/* About as the nodes' memory is; all is room for some 200,000 groups of one target each. */
#define WEIGHT_MAX    ((size_t)8 << 20)
#define WEIGHT_OBJECT 8
#define WEIGHT_ITEM   4

struct groups {
    VEC(struct target_group *) list;
    struct str path; /* Of the file, or the URL. */
    const char *meta_name;
    struct arena arena;
};

static void groups_deinit(struct groups *groups)
{
    VEC_EACH (group, &groups->list)
        target_group_unref(*group);
    VEC_FREE(&groups->list);
    arena_deinit(&groups->arena);
}

static void group_add(struct groups *groups, const struct section *section)
{
    struct str source =
        arena_strf(&groups->arena, STR_FMT ":%zu", STR_ARG(groups->path), groups->list.count);
    struct label meta = {str_of(groups->meta_name), groups->path};
    VEC_PUSH(&groups->list, static_group_build(section, source, meta));
}

static bool yaml_groups_decode(struct groups *groups, struct decoder *decoder,
                               const struct yaml_node *root)
{
    VEC(struct section *) sections = {0};
    bool good = true;

    if (root->kind != YAML_SEQUENCE)
        decoder_add_type_problem(decoder, root, section_type(SECTION_STATIC)->go_list);
    for (size_t i = 0; good && root->kind == YAML_SEQUENCE && i < root->count; i++) {
        struct section *section = NULL;
        if (!yaml_is_null(root->as.items[i])) {
            section = section_new(&groups->arena, SECTION_STATIC);
            good = section_decode(decoder, section, root->as.items[i]);
        }
        VEC_PUSH(&sections, section);
    }
    good = good && decoder_finish(decoder);
    for (size_t i = 0; good && i < sections.count; i++) {
        if (sections.items[i])
            group_add(groups, sections.items[i]);
        else
            good = err_set(decoder->err, ERR_BAD_DATA, "nil target group item found");
    }
    VEC_FREE(&sections);
    return good;
}

static bool yaml_groups_parse(struct groups *groups, struct str text, struct err *err)
{
    struct decoder decoder;
    struct yaml_node *root;
    bool good;

    decoder_init(&decoder, &groups->arena, err);
    if (!yaml_tree_parse(&root, text, &groups->arena, err))
        good = err_wrap(err, "yaml");
    else
        good = !root || yaml_is_null(root) || yaml_groups_decode(groups, &decoder, root);
    decoder_deinit(&decoder);
    return good;
}

static const char *json_type_text(const struct json *node)
{
    static const char *const texts[] = {
        [JSON_NULL] = "null",     [JSON_BOOL] = "bool",   [JSON_NUMBER] = "number",
        [JSON_STRING] = "string", [JSON_ARRAY] = "array", [JSON_OBJECT] = "object",
    };
    return texts[json_type(node)];
}

static bool json_type_error(struct err *err, const struct json *node, const char *go_type)
{
    return err_set(err, ERR_BAD_DATA, "json: cannot unmarshal %s into Go value of type %s",
                   json_type_text(node), go_type);
}

static bool json_targets(struct arena *arena, const struct json *node, struct str_list *out,
                         struct err *err)
{
    if (json_type(node) != JSON_NULL && json_type(node) != JSON_ARRAY)
        return json_type_error(err, node, "[]string");
    size_t count = json_type(node) == JSON_ARRAY ? json_count(node) : 0;
    out->items = arena_alloc_array(arena, count, sizeof(struct str));
    for (size_t i = 0; i < count; i++) {
        const struct json *item = json_at(node, i);
        if (json_type(item) != JSON_STRING && json_type(item) != JSON_NULL)
            return json_type_error(err, item, "string");
        out->items[out->count++] = arena_str(arena, json_str(item));
    }
    return true;
}

static bool json_labels(struct arena *arena, const struct json *node, struct value *out,
                        struct err *err)
{
    if (json_type(node) != JSON_NULL && json_type(node) != JSON_OBJECT)
        return json_type_error(err, node, "model.LabelSet");
    size_t count = json_type(node) == JSON_OBJECT ? json_count(node) : 0;
    out->as.pairs.items = arena_alloc_array(arena, count, sizeof(struct pair));
    for (size_t i = 0; i < count; i++) {
        struct str name = STR_EMPTY;
        const struct json *value = json_entry(node, i, &name);
        if (json_type(value) != JSON_STRING && json_type(value) != JSON_NULL)
            return json_type_error(err, value, "model.LabelValue");
        if (!label_name_is_valid(name))
            return quoted_error(err, "", name, " is not a valid label name");
        out->as.pairs.items[out->as.pairs.count++] = (struct pair){
            .name = arena_str(arena, name), .text = arena_str(arena, json_str(value))};
    }
    return true;
}

static bool json_group_add(struct groups *groups, const struct json *node, struct err *err)
{
    struct section *section = section_new(&groups->arena, SECTION_STATIC);
    struct value *v = section->values;

    if (json_type(node) == JSON_NULL)
        return err_set(err, ERR_BAD_DATA, "nil target group item found");
    if (json_type(node) != JSON_OBJECT)
        return json_type_error(err, node, section_type(SECTION_STATIC)->go_type);
    for (size_t i = 0; i < json_count(node); i++) {
        struct str name = STR_EMPTY;
        const struct json *value = json_entry(node, i, &name);
        bool good;
        if (str_eq_nocase(name, STR("targets")))
            good = json_targets(&groups->arena, value, &v[STATIC_targets].as.texts, err);
        else if (str_eq_nocase(name, STR("labels")))
            good = json_labels(&groups->arena, value, &v[STATIC_labels], err);
        else
            good = quoted_error(err, "json: unknown field ", name, "");
        if (!good)
            return false;
    }
    group_add(groups, section);
    return true;
}

static bool json_weight_check(struct str text, struct err *err)
{
    bool quoted = false;
    size_t weight = 0;

    for (size_t at = 0; at < text.len; at++) {
        char c = text.ptr[at];
        if (quoted && c == '\\')
            at++;
        else if (c == '"')
            quoted = !quoted;
        else if (!quoted && c == '{')
            weight += WEIGHT_OBJECT;
        else if (!quoted && (c == '[' || c == ','))
            weight += WEIGHT_ITEM;
    }
    return weight <= WEIGHT_MAX ||
           err_set(err, ERR_LIMIT, "document of %zu bytes has too many items", text.len);
}

static bool json_groups_parse(struct groups *groups, struct str text, struct err *err)
{
    struct json *root;
    bool good = true;

    if (text.len > YAML_TEXT_MAX)
        return err_set(err, ERR_LIMIT, "document of %zu bytes is over the limit of %u", text.len,
                       YAML_TEXT_MAX);
    if (!json_weight_check(text, err) || !json_parse(&root, text, err))
        return false;
    if (json_type(root) != JSON_ARRAY && json_type(root) != JSON_NULL)
        good = json_type_error(err, root, section_type(SECTION_STATIC)->go_list);
    for (size_t i = 0; good && json_type(root) == JSON_ARRAY && i < json_count(root); i++)
        good = json_group_add(groups, json_at(root, i), err);
    json_free(root);
    return good;
}

static bool groups_parse(struct groups *parsed, bool json, struct str text,
                         struct target_group ***groups, size_t *count, struct err *err)
{
    *groups = NULL;
    *count = 0;
    arena_init(&parsed->arena, 0);
    bool good = json ? json_groups_parse(parsed, text, err) : yaml_groups_parse(parsed, text, err);
    if (good) {
        *groups = parsed->list.items ? parsed->list.items : mem_alloc(0);
        *count = parsed->list.count;
        parsed->list.items = NULL;
        parsed->list.count = parsed->list.capacity = 0;
    }
    groups_deinit(parsed);
    return good;
}

bool config_parse_target_groups(struct str text, struct str path, struct target_group ***groups,
                                size_t *count, struct err *err)
{
    struct groups parsed = {.path = path, .meta_name = "__meta_filepath"};
    struct str tail = str_after(path, path.len > 5 ? path.len - 5 : 0);

    return groups_parse(&parsed, str_eq_nocase(tail, STR(".json")), text, groups, count, err);
}

bool config_parse_http_groups(struct str text, struct str url, struct target_group ***groups,
                              size_t *count, struct err *err)
{
    struct groups parsed = {.path = url, .meta_name = "__meta_url"};

    return groups_parse(&parsed, true, text, groups, count, err);
}
