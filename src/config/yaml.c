/* yaml: the fence around libyaml: its events become our tree, our tree's events become text.
 *
 * The tree is built by an explicit walk over events with a depth limit. An anchor's node is shared,
 * not copied: each node knows its expanded size, so that a small text which would expand to
 * billions of nodes is refused before anybody walks it. Messages and line numbers follow go-yaml
 * v2, because operators search the web for these: a scanner error's line counts from 1, a parser
 * error's from 0, and line 0 is left out. */
#include "base/hash.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/vec.h"
#include "config/yaml_tree.h"

#include <yaml.h>

struct anchor {
    struct str name;
    struct yaml_node *node;
};

struct builder {
    yaml_parser_t parser;
    yaml_event_t event;
    bool has_event;
    struct arena *arena;
    struct err *err;
    VEC(struct anchor) anchors;
    struct map anchor_by_name; /* hash of the name -> index in anchors */
    uint64_t written;          /* Nodes in the text. */
    uint64_t expanded;         /* Nodes that aliases and merges add. */
    size_t depth;
};

static bool fail_parse(struct builder *b)
{
    const yaml_parser_t *parser = &b->parser;
    const char *problem =
        parser->problem ? parser->problem : "unknown problem parsing YAML content";
    size_t line = 0;

    if (parser->problem_mark.line != 0)
        line = parser->problem_mark.line + (parser->error == YAML_SCANNER_ERROR);
    else if (parser->context_mark.line != 0)
        line = parser->context_mark.line;
    if (line > 0)
        return err_set(b->err, ERR_BAD_DATA, "line %zu: %s", line, problem);
    return err_set(b->err, ERR_BAD_DATA, "%s", problem);
}

static bool event_next(struct builder *b)
{
    if (b->has_event)
        yaml_event_delete(&b->event);
    b->has_event = false;
    if (!yaml_parser_parse(&b->parser, &b->event))
        return fail_parse(b);
    b->has_event = true;
    return true;
}

static struct str text_of(const yaml_char_t *text)
{
    return text ? str_of((const char *)text) : STR_EMPTY;
}

/* tag:yaml.org,2002:int -> !!int, in the arena. */
static struct str tag_short(struct builder *b, const yaml_char_t *written)
{
    struct str tag = text_of(written), prefix = STR("tag:yaml.org,2002:");
    if (str_eq(tag, STR("!")))
        return STR("!!str");
    if (str_starts(tag, prefix))
        return arena_strf(b->arena, "!!" STR_FMT, STR_ARG(str_after(tag, prefix.len)));
    return tag.len ? arena_str(b->arena, tag) : tag;
}

static bool anchor_equal(const void *ctx, const void *key, uint32_t index)
{
    const struct builder *b = ctx;
    return str_eq(b->anchors.items[index].name, *(const struct str *)key);
}

static struct anchor *anchor_find(struct builder *b, struct str name)
{
    uint32_t index = map_find(&b->anchor_by_name, hash64(name), &name, anchor_equal, b);
    return index == MAP_NONE ? NULL : &b->anchors.items[index];
}

static struct yaml_node *node_new(struct builder *b, enum yaml_kind kind, const yaml_char_t *anchor)
{
    struct yaml_node *node = ARENA_NEW(b->arena, struct yaml_node);
    node->kind = kind;
    node->line = (uint32_t)b->event.start_mark.line + 1;
    node->column = (uint32_t)b->event.start_mark.column + 1;
    node->expanded = 1;
    b->written++;
    if (!anchor)
        return node;
    struct str name = text_of(anchor);
    struct anchor *known = anchor_find(b, name);
    if (known) {
        known->node = node;
        return node;
    }
    struct anchor fresh = {arena_str(b->arena, name), node};
    map_insert(&b->anchor_by_name, hash64(name), (uint32_t)b->anchors.count);
    VEC_PUSH(&b->anchors, fresh);
    return node;
}

static bool add_expanded(struct builder *b, struct yaml_node *to, uint64_t nodes)
{
    to->expanded += nodes;
    if (to->expanded > YAML_EXPANDED_BASE + YAML_EXPANDED_RATIO * b->written)
        return err_set(b->err, ERR_LIMIT, "document contains excessive aliasing");
    return true;
}

static bool build_scalar(struct builder *b, struct yaml_node **out)
{
    struct yaml_node *node = node_new(b, YAML_SCALAR, b->event.data.scalar.anchor);
    struct str text = {(const char *)b->event.data.scalar.value, b->event.data.scalar.length};
    struct str tag = tag_short(b, b->event.data.scalar.tag);

    node->text = arena_str(b->arena, text);
    node->type = YAML_TEXT;
    node->tag = STR("!!str");
    *out = node;
    if (tag.len == 0 && !b->event.data.scalar.plain_implicit)
        return true;
    node->plain_merge_name = str_eq(node->text, STR("<<"));
    return yaml_scalar_resolve(node, tag, b->arena, b->err);
}

static bool build_alias(struct builder *b, struct yaml_node **out)
{
    struct str name = text_of(b->event.data.alias.anchor);
    const struct anchor *anchor = anchor_find(b, name);
    if (!anchor)
        return err_set(b->err, ERR_BAD_DATA, "unknown anchor '" STR_FMT "' referenced",
                       STR_ARG(name));
    if (anchor->node->open)
        return err_set(b->err, ERR_BAD_DATA, "anchor '" STR_FMT "' value contains itself",
                       STR_ARG(name));
    *out = anchor->node;
    return true;
}

static bool build_node(struct builder *b, struct yaml_node **out);

static bool build_sequence(struct builder *b, struct yaml_node **out)
{
    struct yaml_node *node = node_new(b, YAML_SEQUENCE, b->event.data.sequence_start.anchor);
    struct str tag = tag_short(b, b->event.data.sequence_start.tag);
    VEC(struct yaml_node *) items = {0};
    bool done = false;

    node->tag = tag.len ? tag : STR("!!seq");
    node->open = true;
    while (event_next(b)) {
        struct yaml_node *item;
        if (b->event.type == YAML_SEQUENCE_END_EVENT) {
            done = true;
            break;
        }
        if (!build_node(b, &item) || !add_expanded(b, node, item->expanded))
            break;
        VEC_PUSH(&items, item);
    }
    node->open = false;
    node->count = items.count;
    node->as.items = arena_alloc_array(b->arena, items.count, sizeof(*items.items));
    if (items.count)
        memcpy(node->as.items, items.items, items.count * sizeof(*items.items));
    VEC_FREE(&items);
    *out = node;
    return done;
}

/* A mapping while it grows: pairs in order and an index over scalar names. */
struct pairs {
    VEC(struct yaml_pair) list;
    struct map by_name;
};

static bool pair_has_name(const void *ctx, const void *key, uint32_t value)
{
    const struct pairs *pairs = ctx;
    return str_eq(pairs->list.items[value].name->text, *(const struct str *)key);
}

static bool pairs_have(const struct pairs *pairs, struct str name)
{
    return map_find(&pairs->by_name, hash64(name), &name, pair_has_name, pairs) != MAP_NONE;
}

static void pairs_add(struct pairs *pairs, struct yaml_node *name, struct yaml_node *value)
{
    struct yaml_pair pair = {.name = name, .value = value};
    if (name->kind == YAML_SCALAR) {
        pair.duplicate = pairs_have(pairs, name->text);
        if (!pair.duplicate)
            map_insert(&pairs->by_name, hash64(name->text), (uint32_t)pairs->list.count);
    }
    VEC_PUSH(&pairs->list, pair);
}

static bool merge_mapping(struct builder *b, struct yaml_node *into, struct pairs *pairs,
                          const struct yaml_node *from)
{
    if (from->kind != YAML_MAPPING)
        return err_set(b->err, ERR_BAD_DATA,
                       "map merge requires map or sequence of maps as the value");
    for (size_t i = 0; i < from->count; i++) {
        const struct yaml_pair *pair = &from->as.pairs[i];
        b->expanded++;
        if (b->expanded > YAML_EXPANDED_BASE + YAML_EXPANDED_RATIO * b->written)
            return err_set(b->err, ERR_LIMIT, "document contains excessive aliasing");
        if (pair->name->kind == YAML_SCALAR && pairs_have(pairs, pair->name->text))
            continue;
        pairs_add(pairs, pair->name, pair->value);
        if (!add_expanded(b, into, 1 + pair->value->expanded))
            return false;
    }
    return true;
}

/* Merged names never win over written ones, wherever the << stands. */
static bool merge_all(struct builder *b, struct yaml_node *into, struct pairs *pairs,
                      struct yaml_node *const *merges, size_t merge_count)
{
    for (size_t i = 0; i < merge_count; i++) {
        const struct yaml_node *from = merges[i];
        if (from->kind != YAML_SEQUENCE) {
            if (!merge_mapping(b, into, pairs, from))
                return false;
            continue;
        }
        for (size_t k = 0; k < from->count; k++)
            if (!merge_mapping(b, into, pairs, from->as.items[k]))
                return false;
    }
    return true;
}

static bool build_mapping(struct builder *b, struct yaml_node **out)
{
    struct yaml_node *node = node_new(b, YAML_MAPPING, b->event.data.mapping_start.anchor);
    struct str tag = tag_short(b, b->event.data.mapping_start.tag);
    struct pairs pairs = {0};
    VEC(struct yaml_node *) merges = {0};
    bool done = false;

    map_init(&pairs.by_name);
    node->tag = tag.len ? tag : STR("!!map");
    node->open = true;
    while (event_next(b)) {
        struct yaml_node *name, *value;
        if (b->event.type == YAML_MAPPING_END_EVENT) {
            done = merge_all(b, node, &pairs, merges.items, merges.count);
            break;
        }
        if (!build_node(b, &name) || !event_next(b) || !build_node(b, &value))
            break;
        if (name->plain_merge_name) {
            VEC_PUSH(&merges, value);
            continue;
        }
        if (!add_expanded(b, node, name->expanded + value->expanded))
            break;
        pairs_add(&pairs, name, value);
    }
    node->open = false;
    node->count = pairs.list.count;
    node->as.pairs = arena_alloc_array(b->arena, node->count, sizeof(struct yaml_pair));
    if (node->count)
        memcpy(node->as.pairs, pairs.list.items, node->count * sizeof(struct yaml_pair));
    VEC_FREE(&pairs.list);
    VEC_FREE(&merges);
    map_deinit(&pairs.by_name);
    *out = node;
    return done;
}

/* Builds the node whose first event is the current one. */
static bool build_node(struct builder *b, struct yaml_node **out)
{
    bool good = false;
    if (b->depth >= YAML_DEPTH_MAX)
        return err_set(b->err, ERR_LIMIT, "exceeded max depth of %d", YAML_DEPTH_MAX);
    b->depth++;
    switch (b->event.type) {
    case YAML_SCALAR_EVENT:
        good = build_scalar(b, out);
        break;
    case YAML_ALIAS_EVENT:
        good = build_alias(b, out);
        break;
    case YAML_SEQUENCE_START_EVENT:
        good = build_sequence(b, out);
        break;
    case YAML_MAPPING_START_EVENT:
        good = build_mapping(b, out);
        break;
    default: /* libyaml's grammar yields nothing else here; stay safe if it ever does. */
        err_set(b->err, ERR_BAD_DATA, "unexpected event %d", (int)b->event.type);
        break;
    }
    b->depth--;
    return good;
}

static bool build_document(struct builder *b, struct yaml_node **out)
{
    if (!event_next(b) || !event_next(b)) /* Stream start, then a document or the end. */
        return false;
    if (b->event.type != YAML_DOCUMENT_START_EVENT)
        return true;
    /* The event after the document is read too: it may be an error. */
    return event_next(b) && build_node(b, out) && event_next(b);
}

bool yaml_tree_parse(struct yaml_node **out, struct str text, struct arena *arena, struct err *err)
{
    struct builder b = {.arena = arena, .err = err};
    struct yaml_node *root = NULL;

    *out = NULL;
    if (text.len > YAML_TEXT_MAX)
        return err_set(err, ERR_LIMIT, "document of %zu bytes is over the limit of %u", text.len,
                       YAML_TEXT_MAX);
    ENSURE(yaml_parser_initialize(&b.parser));
    yaml_parser_set_input_string(&b.parser, (const unsigned char *)(text.len ? text.ptr : ""),
                                 text.len);
    bool good = build_document(&b, &root);
    if (b.has_event)
        yaml_event_delete(&b.event);
    yaml_parser_delete(&b.parser);
    VEC_FREE(&b.anchors);
    map_deinit(&b.anchor_by_name);
    if (good)
        *out = root;
    return good;
}

struct yaml_writer {
    yaml_emitter_t emitter;
    struct buf *out; /* Borrowed until yaml_writer_free. */
};

static int writer_append(void *ctx, unsigned char *bytes, size_t len)
{
    struct yaml_writer *writer = ctx;
    buf_add(writer->out, bytes, len);
    return 1;
}

/* Fails only when the caller's nesting is wrong. */
static void writer_emit(struct yaml_writer *writer, yaml_event_t *event)
{
    ENSURE(yaml_emitter_emit(&writer->emitter, event));
}

struct yaml_writer *yaml_writer_new(struct buf *out)
{
    struct yaml_writer *writer = MEM_NEW(struct yaml_writer);
    yaml_event_t event;

    writer->out = out;
    ENSURE(yaml_emitter_initialize(&writer->emitter));
    yaml_emitter_set_output(&writer->emitter, writer_append, writer);
    yaml_emitter_set_unicode(&writer->emitter, 1);
    ENSURE(yaml_stream_start_event_initialize(&event, YAML_UTF8_ENCODING));
    writer_emit(writer, &event);
    ENSURE(yaml_document_start_event_initialize(&event, NULL, NULL, NULL, 1));
    writer_emit(writer, &event);
    return writer;
}

void yaml_writer_free(struct yaml_writer *writer)
{
    yaml_event_t event;
    if (!writer)
        return;
    ENSURE(yaml_document_end_event_initialize(&event, 1));
    writer_emit(writer, &event);
    ENSURE(yaml_stream_end_event_initialize(&event));
    writer_emit(writer, &event);
    yaml_emitter_delete(&writer->emitter);
    mem_free(writer);
}

void yaml_write_mapping(struct yaml_writer *writer)
{
    yaml_event_t event;
    ENSURE(yaml_mapping_start_event_initialize(&event, NULL, NULL, 1, YAML_BLOCK_MAPPING_STYLE));
    writer_emit(writer, &event);
}

void yaml_write_sequence(struct yaml_writer *writer, bool flow)
{
    yaml_event_t event;
    yaml_sequence_style_t style = flow ? YAML_FLOW_SEQUENCE_STYLE : YAML_BLOCK_SEQUENCE_STYLE;
    ENSURE(yaml_sequence_start_event_initialize(&event, NULL, NULL, 1, style));
    writer_emit(writer, &event);
}

void yaml_write_mapping_end(struct yaml_writer *writer)
{
    yaml_event_t event;
    ENSURE(yaml_mapping_end_event_initialize(&event));
    writer_emit(writer, &event);
}

void yaml_write_sequence_end(struct yaml_writer *writer)
{
    yaml_event_t event;
    ENSURE(yaml_sequence_end_event_initialize(&event));
    writer_emit(writer, &event);
}

/* libyaml refuses bad UTF-8, which a path or an environment variable may hold: it becomes U+FFFD.
 */
static void write_scalar(struct yaml_writer *writer, struct str text, yaml_scalar_style_t style)
{
    yaml_event_t event;
    ENSURE(text.len <= INT32_MAX);
    if (!str_is_utf8(text)) {
        struct buf clean;
        buf_init(&clean, 3 * text.len);
        for (size_t at = 0; at < text.len;) {
            size_t from = at;
            uint32_t rune = str_next_rune(text, &at);
            if (rune == 0xFFFD)
                BUF_ADD(&clean, "\xef\xbf\xbd");
            else
                buf_add(&clean, text.ptr + from, at - from);
        }
        write_scalar(writer, buf_str(&clean), style);
        buf_deinit(&clean);
        return;
    }
    ENSURE(yaml_scalar_event_initialize(&event, NULL, NULL,
                                        (const yaml_char_t *)(text.len ? text.ptr : ""),
                                        (int)text.len, 1, 1, style));
    writer_emit(writer, &event);
}

void yaml_write_text(struct yaml_writer *writer, struct str text)
{
    yaml_scalar_style_t style = YAML_PLAIN_SCALAR_STYLE;
    if (str_find_char(text, '\n') < text.len)
        style = YAML_LITERAL_SCALAR_STYLE;
    else if (yaml_text_needs_quotes(text))
        style = YAML_DOUBLE_QUOTED_SCALAR_STYLE;
    write_scalar(writer, text, style);
}

void yaml_write_plain(struct yaml_writer *writer, struct str text)
{
    write_scalar(writer, text, YAML_PLAIN_SCALAR_STYLE);
}
