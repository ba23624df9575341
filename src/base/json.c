/* json: JSON that comes in, parsed by jansson and then laid out as our own tree in one arena.
 *
 * Why not jansson's tree itself: its objects have no position, so walking one by index would be
 * quadratic. Here an array or object is one run of nodes in the text's order.
 * jansson recurses; the depth is bounded by a scan over the text first. */
#include "base/json.h"

/* jansson has names that are ours, too: its own are set aside while its header is read. */
#define json_type    jansson_type
#define JSON_OBJECT  JANSSON_OBJECT
#define JSON_ARRAY   JANSSON_ARRAY
#define JSON_STRING  JANSSON_STRING
#define JSON_INTEGER JANSSON_INTEGER
#define JSON_REAL    JANSSON_REAL
#define JSON_TRUE    JANSSON_TRUE
#define JSON_FALSE   JANSSON_FALSE
#define JSON_NULL    JANSSON_NULL
#include <jansson.h>
#undef json_type
#undef JSON_OBJECT
#undef JSON_ARRAY
#undef JSON_STRING
#undef JSON_INTEGER
#undef JSON_REAL
#undef JSON_TRUE
#undef JSON_FALSE
#undef JSON_NULL

#include "base/arena.h"
#include "base/mem.h"

#define JSON_DEPTH_MAX 64

struct json {
    enum json_type type;
    bool boolean;
    double number;
    struct str text;
    struct json *items; /* Arrays and objects. */
    struct str *keys;   /* Objects: of items[i]. */
    size_t count;
};

struct json_root {
    struct json node; /* First: what json_parse gives out is this. */
    struct arena arena;
};

/* ---- Parsing ---- */

static bool depth_fault(struct str text, size_t at, struct err *err)
{
    size_t line = 1, column = 1;
    for (size_t i = 0; i < at; i++) {
        column = text.ptr[i] == '\n' ? 1 : column + 1;
        line += text.ptr[i] == '\n';
    }
    return err_set(err, ERR_BAD_DATA, "line %zu, column %zu: nested deeper than %d", line, column,
                   JSON_DEPTH_MAX);
}

static bool depth_check(struct str text, struct err *err)
{
    bool quoted = false;
    int depth = 0;

    for (size_t at = 0; at < text.len; at++) {
        char c = text.ptr[at];
        if (quoted && c == '\\')
            at++;
        else if (c == '"')
            quoted = !quoted;
        else if (!quoted && (c == '[' || c == '{') && ++depth > JSON_DEPTH_MAX)
            return depth_fault(text, at, err);
        else if (!quoted && (c == ']' || c == '}'))
            depth--;
    }
    return true;
}

static void node_take(struct json *node, json_t *from, struct arena *arena);

static void array_take(struct json *node, json_t *from, struct arena *arena)
{
    node->type = JSON_ARRAY;
    node->count = json_array_size(from);
    node->items = arena_alloc_array(arena, node->count, sizeof(struct json));
    for (size_t i = 0; i < node->count; i++)
        node_take(&node->items[i], json_array_get(from, i), arena);
}

static void object_take(struct json *node, json_t *from, struct arena *arena)
{
    size_t index = 0;

    node->type = JSON_OBJECT;
    node->count = json_object_size(from);
    node->items = arena_alloc_array(arena, node->count, sizeof(struct json));
    node->keys = arena_alloc_array(arena, node->count, sizeof(struct str));
    for (void *at = json_object_iter(from); at; at = json_object_iter_next(from, at)) {
        ENSURE(index < node->count);
        node->keys[index] = arena_str(arena, str_of(json_object_iter_key(at)));
        node_take(&node->items[index], json_object_iter_value(at), arena);
        index++;
    }
    ENSURE(index == node->count);
}

static void node_take(struct json *node, json_t *from, struct arena *arena)
{
    *node = (struct json){.type = JSON_NULL, .text = STR_EMPTY};
    switch (json_typeof(from)) {
    case JANSSON_OBJECT:
        object_take(node, from, arena);
        break;
    case JANSSON_ARRAY:
        array_take(node, from, arena);
        break;
    case JANSSON_STRING:
        node->type = JSON_STRING;
        node->text =
            arena_str(arena, (struct str){json_string_value(from), json_string_length(from)});
        break;
    case JANSSON_INTEGER:
    case JANSSON_REAL:
        node->type = JSON_NUMBER;
        node->number = json_number_value(from);
        break;
    case JANSSON_TRUE:
    case JANSSON_FALSE:
        node->type = JSON_BOOL;
        node->boolean = json_typeof(from) == JANSSON_TRUE;
        break;
    case JANSSON_NULL:
        break;
    }
}

bool json_parse(struct json **out, struct str text, struct err *err)
{
    json_error_t error;
    /* Integers as reals: a number past 2^63 is no fault of its sender. */
    size_t flags =
        JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL;

    *out = NULL;
    if (!depth_check(text, err))
        return false;
    json_t *tree = json_loadb(text.len ? text.ptr : "", text.len, flags, &error);
    if (!tree)
        return err_set(err, ERR_BAD_DATA, "line %d, column %d: %s", error.line, error.column,
                       error.text);
    struct json_root *root = MEM_NEW(struct json_root);
    arena_init(&root->arena, 0);
    node_take(&root->node, tree, &root->arena);
    json_decref(tree);
    *out = &root->node;
    return true;
}

void json_free(struct json *root)
{
    if (!root)
        return;
    struct json_root *owner = CONTAINER_OF(root, struct json_root, node);
    arena_deinit(&owner->arena);
    mem_free(owner);
}

/* ---- Reading ---- */

enum json_type json_type(const struct json *node)
{
    return node ? node->type : JSON_NULL;
}

struct str json_str(const struct json *node)
{
    return node ? node->text : STR_EMPTY;
}

double json_number(const struct json *node)
{
    return node ? node->number : 0;
}

bool json_bool(const struct json *node)
{
    return node && node->boolean;
}

size_t json_count(const struct json *node)
{
    return node ? node->count : 0;
}

const struct json *json_at(const struct json *node, size_t index)
{
    return node && index < node->count ? &node->items[index] : NULL;
}

const struct json *json_get(const struct json *node, const char *key)
{
    if (!node || node->type != JSON_OBJECT)
        return NULL;
    struct str wanted = str_of(key);
    for (size_t i = 0; i < node->count; i++)
        if (str_eq(node->keys[i], wanted))
            return &node->items[i];
    return NULL;
}

const struct json *json_entry(const struct json *node, size_t index, struct str *key)
{
    if (!node || node->type != JSON_OBJECT || index >= node->count)
        return NULL;
    *key = node->keys[index];
    return &node->items[index];
}
