/* language: what query.h offers without running anything: formatting, the tree as JSON, selectors,
 * metrics. */
#include "ast.h"
#include "base/mem.h"
#include "query.h"

/* A tree of the longest text that we parse fits well; it only keeps one request from taking all
 * memory. */
#define LANGUAGE_BYTES_MAX ((size_t)1 << 30)

void query_options_init(struct query_options *options)
{
    *options = (struct query_options){
        .lookback_ms = 5 * 60 * 1000,
        .default_step_ms = 60 * 1000,
        .timeout_ms = 2 * 60 * 1000,
        .samples_max = 50 * 1000 * 1000,
    };
}

const char *query_value_type_text(enum query_value_type type)
{
    switch (type) {
    case QUERY_NONE:
        return "none";
    case QUERY_SCALAR:
        return "scalar";
    case QUERY_VECTOR:
        return "vector";
    case QUERY_MATRIX:
        return "matrix";
    case QUERY_STRING:
        return "string";
    }
    UNREACHABLE();
}

typedef void (*print_fn)(struct buf *out, const struct expr *expr);

static bool parse_and_print(struct str text, unsigned features, print_fn print, struct buf *out,
                            struct err *err)
{
    struct parse_options options = {.features = features};
    struct arena arena;
    struct expr *expr;

    arena_init(&arena, LANGUAGE_BYTES_MAX);
    bool good = parse_expr(text, &options, &arena, &expr, err);
    if (good) {
        print(out, expr);
        if (out->overflow)
            good = err_set(err, ERR_LIMIT, "the answer is too long");
        expr_deinit(expr);
    }
    arena_deinit(&arena);
    return good;
}

bool query_format(struct str text, unsigned features, struct buf *out, struct err *err)
{
    return parse_and_print(text, features, expr_pretty, out, err);
}

bool query_ast_json(struct str text, unsigned features, struct buf *out, struct err *err)
{
    return parse_and_print(text, features, expr_json, out, err);
}

bool query_parse_selector(struct str text, struct matchers *out, struct err *err)
{
    struct arena arena;
    struct expr *expr;

    *out = (struct matchers){0};
    arena_init(&arena, LANGUAGE_BYTES_MAX);
    bool good = parse_selector(text, &arena, &expr, err);
    if (good && expr->as.vector.matchers.count > 0) {
        /* The matchers move out of the tree; their array was the arena's. */
        struct matchers *matchers = &expr->as.vector.matchers;
        out->items = mem_alloc_array(matchers->count, sizeof(*out->items));
        memcpy(out->items, matchers->items, matchers->count * sizeof(*out->items));
        out->count = matchers->count;
    }
    arena_deinit(&arena);
    return good;
}

bool query_parse_metric(struct str text, struct labels **out, struct err *err)
{
    struct arena arena;

    arena_init(&arena, LANGUAGE_BYTES_MAX);
    bool good = parse_metric(text, &arena, out, err);
    arena_deinit(&arena);
    return good;
}
