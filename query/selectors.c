/* selectors: the series selectors inside an expression: for those who want its series and not its value (exemplars), and to
 * change their matchers. */
#include <string.h>

#include "ast.h"
#include "base/mem.h"
#include "base/vec.h"
#include "query.h"

#define SELECTORS_BYTES_MAX ((size_t)1 << 30)

struct selector_list {
    struct matchers *items;
    size_t count, capacity;
};

/* The matchers move out of the tree; their array was the arena's. */
static void take(void *ctx, struct expr *selector)
{
    struct selector_list *list = ctx;
    struct matchers *matchers = &selector->as.vector.matchers;
    struct matchers taken = {.count = matchers->count};

    if (taken.count > 0) {
        taken.items = mem_alloc_array(taken.count, sizeof(*taken.items));
        memcpy(taken.items, matchers->items, taken.count * sizeof(*taken.items));
    }
    matchers->count = 0;
    vec_reserve((void **)&list->items, &list->capacity, list->count + 1, sizeof(*list->items));
    list->items[list->count++] = taken;
}

typedef void (*selector_fn)(void *ctx, struct expr *selector);

static void walk(struct expr *expr, selector_fn fn, void *ctx)
{
    if (!expr)
        return;
    switch (expr->kind) {
    case EXPR_VECTOR_SELECTOR:
        fn(ctx, expr);
        break;
    case EXPR_MATRIX_SELECTOR:
        walk(expr->as.matrix.vector, fn, ctx);
        break;
    case EXPR_SUBQUERY:
        walk(expr->as.subquery.expr, fn, ctx);
        break;
    case EXPR_PAREN:
        walk(expr->as.paren.expr, fn, ctx);
        break;
    case EXPR_UNARY:
        walk(expr->as.unary.expr, fn, ctx);
        break;
    case EXPR_BINARY:
        walk(expr->as.binary.lhs, fn, ctx);
        walk(expr->as.binary.rhs, fn, ctx);
        break;
    case EXPR_CALL:
        for (size_t i = 0; i < expr->as.call.arg_count; i++)
            walk(expr->as.call.args[i], fn, ctx);
        break;
    case EXPR_AGGREGATE:
        walk(expr->as.aggregate.param, fn, ctx);
        walk(expr->as.aggregate.expr, fn, ctx);
        break;
    default:
        break;
    }
}

bool query_selectors(struct str text, unsigned features, struct matchers **out, size_t *count,
                     struct err *err)
{
    struct parse_options options = {.features = features};
    struct selector_list list = {0};
    struct arena arena;
    struct expr *expr;

    arena_init(&arena, SELECTORS_BYTES_MAX);
    bool good = parse_expr(text, &options, &arena, &expr, err);
    if (good) {
        walk(expr, take, &list);
        expr_deinit(expr);
    }
    arena_deinit(&arena);
    *out = list.items;
    *count = list.count;
    return good;
}

void query_selectors_free(struct matchers *selectors, size_t count)
{
    for (size_t i = 0; i < count; i++)
        matchers_deinit(&selectors[i]);
    mem_free(selectors);
}

/* --- editing --- */

struct edit {
    struct arena *arena;
    struct str name;
    const struct matcher *matcher; /* NULL: those of the name go. */
};

static void set_matcher(struct edit *edit, struct matchers *matchers)
{
    struct err err = {0};
    bool found = false;
    for (size_t i = 0; i < matchers->count; i++) {
        struct matcher *matcher = &matchers->items[i];
        if (!str_eq(matcher->name, edit->name))
            continue;
        found = true;
        matcher_deinit(matcher);
        (void)!matcher_init(matcher, edit->matcher->type, edit->name, edit->matcher->value, &err);
    }
    if (found)
        return;
    struct matcher *items = arena_alloc_array(edit->arena, matchers->count + 1, sizeof(*items));
    if (matchers->count > 0)
        memcpy(items, matchers->items, matchers->count * sizeof(*items));
    (void)!matcher_init(&items[matchers->count], edit->matcher->type, edit->name,
                        edit->matcher->value, &err);
    matchers->items = items;
    matchers->count++;
}

static void edit_selector(void *ctx, struct expr *selector)
{
    struct edit *edit = ctx;
    struct matchers *matchers = &selector->as.vector.matchers;
    size_t kept = 0;
    if (edit->matcher) {
        set_matcher(edit, matchers);
        return;
    }
    for (size_t i = 0; i < matchers->count; i++) {
        if (!str_eq(matchers->items[i].name, edit->name)) {
            matchers->items[kept++] = matchers->items[i];
            continue;
        }
        matcher_deinit(&matchers->items[i]);
        /* As promtool: the one behind a removed one is not looked at. */
        if (i + 1 < matchers->count)
            matchers->items[kept++] = matchers->items[++i];
    }
    matchers->count = kept;
}

bool query_edit_matchers(struct str text, unsigned features, struct str name,
                         const struct matcher *matcher, struct buf *out, struct err *err)
{
    struct parse_options options = {.features = features};
    struct arena arena;
    struct edit edit = {.arena = &arena, .name = name, .matcher = matcher};
    struct expr *expr;

    arena_init(&arena, SELECTORS_BYTES_MAX);
    bool good = parse_expr(text, &options, &arena, &expr, err);
    if (good) {
        walk(expr, edit_selector, &edit);
        expr_pretty(out, expr);
        expr_deinit(expr);
    }
    arena_deinit(&arena);
    return good;
}
