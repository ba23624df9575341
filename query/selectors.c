/* selectors: the series selectors inside an expression, for those who want its series and not its
 * value (exemplars). */
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
static void take(struct selector_list *list, struct expr *selector)
{
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

static void collect(struct selector_list *list, struct expr *expr)
{
    if (!expr)
        return;
    switch (expr->kind) {
    case EXPR_VECTOR_SELECTOR:
        take(list, expr);
        break;
    case EXPR_MATRIX_SELECTOR:
        collect(list, expr->as.matrix.vector);
        break;
    case EXPR_SUBQUERY:
        collect(list, expr->as.subquery.expr);
        break;
    case EXPR_PAREN:
        collect(list, expr->as.paren.expr);
        break;
    case EXPR_UNARY:
        collect(list, expr->as.unary.expr);
        break;
    case EXPR_BINARY:
        collect(list, expr->as.binary.lhs);
        collect(list, expr->as.binary.rhs);
        break;
    case EXPR_CALL:
        for (size_t i = 0; i < expr->as.call.arg_count; i++)
            collect(list, expr->as.call.args[i]);
        break;
    case EXPR_AGGREGATE:
        collect(list, expr->as.aggregate.param);
        collect(list, expr->as.aggregate.expr);
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
        collect(&list, expr);
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
