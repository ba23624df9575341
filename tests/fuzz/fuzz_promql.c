/* PromQL: whatever parses prints, and the print parses and prints as itself, on one line and over
 * several. */
#include <stdint.h>

#include "ast.h"
#include "base/ensure.h"
#include "query.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define PRINT_BYTES_MAX ((size_t)8 << 20)

static bool print_of(struct str text, unsigned features, struct buf *line, struct buf *lines)
{
    struct parse_options options = {.features = features};
    struct arena arena;
    struct expr *expr;
    struct err err;

    arena_init(&arena, 0);
    bool good = parse_expr(text, &options, &arena, &expr, &err);
    if (good) {
        ENSURE(expr->start <= expr->end && expr->end <= text.len);
        ENSURE(expr->depth <= EXPR_DEPTH_MAX);
        expr_print(line, expr);
        if (lines)
            expr_pretty(lines, expr);
    } else {
        ENSURE(err.code == ERR_BAD_DATA && err.text[0] != '\0');
    }
    expr_deinit(expr);
    arena_deinit(&arena);
    return good;
}

/* Ranges and offsets below a millisecond are kept and printed as 0s, which cannot be read back. */
static bool has_tiny_duration(struct str line)
{
    static const char *const forms[] = {"[0s", "offset 0s", "offset -0s"};
    for (size_t i = 0; i < COUNT_OF(forms); i++) {
        if (str_find(line, str_of(forms[i])) < line.len)
            return true;
    }
    return false;
}

static void check_stable(struct str text, unsigned features)
{
    struct buf once, again, lines;

    buf_init(&once, PRINT_BYTES_MAX);
    buf_init(&again, PRINT_BYTES_MAX);
    buf_init(&lines, PRINT_BYTES_MAX);
    if (print_of(text, features, &once, &lines) && !once.overflow && !lines.overflow &&
        !has_tiny_duration(buf_str(&once))) {
        ENSURE(print_of(buf_str(&once), features, &again, NULL));
        ENSURE(str_eq(buf_str(&once), buf_str(&again)));
        buf_clear(&again);
        ENSURE(print_of(buf_str(&lines), features, &again, NULL));
        ENSURE(str_eq(buf_str(&once), buf_str(&again)));
    }
    buf_deinit(&once);
    buf_deinit(&again);
    buf_deinit(&lines);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct str text = str_from((const char *)data, len);
    struct matchers matchers;
    struct labels *labels;
    struct err err;
    struct buf json;

    check_stable(text, 0);
    check_stable(text, QUERY_EXPERIMENTAL_FUNCTIONS | QUERY_FILL_MODIFIERS | QUERY_EXTENDED_RANGES);
    buf_init(&json, PRINT_BYTES_MAX);
    if (!query_ast_json(text, 0, &json, &err))
        ENSURE(err.text[0] != '\0');
    buf_deinit(&json);
    if (query_parse_selector(text, &matchers, &err))
        matchers_deinit(&matchers);
    if (query_parse_metric(text, &labels, &err))
        labels_unref(labels);
    return 0;
}
