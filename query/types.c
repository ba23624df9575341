/* types: what the grammar allows but makes no sense: wrong types, argument counts, matching
 * clauses, selectors that would match every series. The children of a node are checked before the
 * node, and the first error is the answer. */
#include "ast.h"
#include "functions.h"
#include "lex.h"

struct checker {
    struct str text;
    struct arena arena; /* For quoted error texts only. */
    struct err *err;
};

static bool check(struct checker *checker, struct expr *expr);

#define CHECK_FAIL(checker, position, ...)                                                         \
    parse_error((checker)->err, (checker)->text, (position), __VA_ARGS__)

static bool check_selector(struct checker *checker, const struct expr *expr, bool may_match_all)
{
    const struct matchers *matchers = &expr->as.vector.matchers;
    struct str name = expr->as.vector.name;

    if (name.len > 0) {
        /* The last matcher is made from the name before the braces. */
        for (size_t i = 0; i + 1 < matchers->count; i++) {
            const struct matcher *matcher = &matchers->items[i];
            if (str_eq(matcher->name, LABEL_NAME))
                return CHECK_FAIL(checker, expr->start,
                                  "metric name must not be set twice: %s or %s",
                                  text_quoted(&checker->arena, name),
                                  text_quoted(&checker->arena, matcher->value));
        }
        return true;
    }
    for (size_t i = 0; i < matchers->count; i++)
        may_match_all = may_match_all || !matcher_matches_empty(&matchers->items[i]);
    if (!may_match_all)
        return CHECK_FAIL(checker, expr->start,
                          "vector selector must contain at least one non-empty matcher");
    return true;
}

/* --- binary operators --- */

static bool is_operand(enum value_type type)
{
    return type == TYPE_SCALAR || type == TYPE_VECTOR;
}

/* Where the operator stands, as far as the end of the left side shows it. */
static size_t operator_position(const struct checker *checker, const struct expr *expr)
{
    struct str text = checker->text;
    size_t at = expr->as.binary.lhs->end;
    while (at < text.len && (text.ptr[at] == ' ' || text.ptr[at] == '\t' || text.ptr[at] == '\n' ||
                             text.ptr[at] == '\r'))
        at++;
    return at;
}

static bool check_on_and_group(struct checker *checker, const struct expr *expr)
{
    const struct vector_matching *matching = &expr->as.binary.matching;

    if (!matching->on)
        return true;
    for (size_t i = 0; i < matching->label_count; i++) {
        for (size_t j = 0; j < matching->include_count; j++) {
            if (str_eq(matching->labels[i], matching->include[j]))
                return CHECK_FAIL(checker, operator_position(checker, expr),
                                  "label %s must not occur in ON and GROUP clause at once",
                                  text_quoted(&checker->arena, matching->labels[i]));
        }
    }
    return true;
}

static bool check_matching(struct checker *checker, struct expr *expr)
{
    enum binary_op op = expr->as.binary.op;
    struct vector_matching *matching = &expr->as.binary.matching;
    bool fills = matching->has_fill_left || matching->has_fill_right;
    bool vectors =
        expr->as.binary.lhs->type == TYPE_VECTOR && expr->as.binary.rhs->type == TYPE_VECTOR;

    if (!vectors) {
        if (matching->label_count > 0)
            return CHECK_FAIL(checker, expr->start,
                              "vector matching only allowed between instant vectors");
        if (fills)
            return CHECK_FAIL(checker, expr->start,
                              "filling in missing series only allowed between instant vectors");
        *matching = (struct vector_matching){0};
        if (binary_op_is_set(op))
            return CHECK_FAIL(checker, expr->start,
                              "set operator \"%s\" not allowed in binary scalar expression",
                              binary_op_text(op));
        return true;
    }
    if (!binary_op_is_set(op))
        return true;
    if (matching->card != CARD_MANY_TO_MANY)
        return CHECK_FAIL(checker, expr->start, "no grouping allowed for \"%s\" operation",
                          binary_op_text(op));
    if (fills)
        return CHECK_FAIL(checker, expr->start,
                          "filling in missing series not allowed for set operators");
    return true;
}

static bool check_binary(struct checker *checker, struct expr *expr)
{
    enum binary_op op = expr->as.binary.op;
    const struct expr *lhs = expr->as.binary.lhs, *rhs = expr->as.binary.rhs;
    struct vector_matching *matching = &expr->as.binary.matching;

    if (!check(checker, expr->as.binary.lhs) || !check(checker, expr->as.binary.rhs))
        return false;
    if (expr->as.binary.return_bool && !binary_op_is_comparison(op))
        return CHECK_FAIL(checker, operator_position(checker, expr),
                          "bool modifier can only be used on comparison operators");
    if (binary_op_is_comparison(op) && !expr->as.binary.return_bool && lhs->type == TYPE_SCALAR &&
        rhs->type == TYPE_SCALAR)
        return CHECK_FAIL(checker, operator_position(checker, expr),
                          "comparisons between scalars must use BOOL modifier");
    if (binary_op_is_set(op) && matching->card == CARD_ONE_TO_ONE)
        matching->card = CARD_MANY_TO_MANY;
    if (!check_on_and_group(checker, expr))
        return false;
    if (!is_operand(lhs->type) || !is_operand(rhs->type))
        return CHECK_FAIL(checker, is_operand(lhs->type) ? rhs->start : lhs->start,
                          "binary expression must contain only scalar and instant vector types");
    return check_matching(checker, expr);
}

/* --- calls and aggregations --- */

static bool check_arg_count(struct checker *checker, const struct expr *expr)
{
    const struct function *function = expr->as.call.function;
    size_t declared = (size_t)function->arg_count, count = expr->as.call.arg_count;

    if (function->variadic == 0) {
        if (count != declared)
            return CHECK_FAIL(checker, expr->start,
                              "expected %zu argument(s) in call to \"%s\", got %zu", declared,
                              function->name, count);
        return true;
    }
    size_t least = declared - 1;
    if (count < least)
        return CHECK_FAIL(checker, expr->start,
                          "expected at least %zu argument(s) in call to \"%s\", got %zu", least,
                          function->name, count);
    if (function->variadic > 0 && count > least + (size_t)function->variadic)
        return CHECK_FAIL(checker, expr->start,
                          "expected at most %zu argument(s) in call to \"%s\", got %zu",
                          least + (size_t)function->variadic, function->name, count);
    return true;
}

static bool check_arg_type(struct checker *checker, const struct expr *expr, size_t position,
                           enum value_type wanted, enum value_type got)
{
    if (got == wanted)
        return true;
    return CHECK_FAIL(checker, position, "expected type %s in call to function \"%s\", got %s",
                      value_type_text(wanted), expr->as.call.function->name, value_type_text(got));
}

/* The second argument of info() is label matchers written as a selector: no name, and empty ones
 * are fine. */
static bool check_info_matchers(struct checker *checker, const struct expr *expr)
{
    const struct expr *arg = expr->as.call.args[1];

    if (!check_arg_type(checker, expr, expr->start, TYPE_VECTOR, arg->type))
        return false;
    if (arg->kind != EXPR_VECTOR_SELECTOR)
        return CHECK_FAIL(checker, arg->start, "expected label selectors only");
    if (arg->as.vector.name.len > 0)
        return CHECK_FAIL(checker, arg->start,
                          "expected label selectors only, got vector selector instead");
    return true;
}

static bool check_call(struct checker *checker, struct expr *expr)
{
    const struct function *function = expr->as.call.function;
    bool is_info = function->id == FN_INFO;

    if (!check_arg_count(checker, expr))
        return false;
    if (is_info && expr->as.call.arg_count > 1 && !check_info_matchers(checker, expr))
        return false;
    for (size_t i = 0; i < expr->as.call.arg_count; i++) {
        struct expr *arg = expr->as.call.args[i];
        size_t declared = i < (size_t)function->arg_count ? i : (size_t)function->arg_count - 1;
        if (is_info && i == 1)
            continue;
        if (!check(checker, arg) ||
            !check_arg_type(checker, expr, arg->start, function->args[declared], arg->type))
            return false;
    }
    return true;
}

static bool check_aggregate_part(struct checker *checker, struct expr *expr, enum value_type wanted,
                                 const char *context)
{
    if (!check(checker, expr))
        return false;
    if (expr->type == wanted)
        return true;
    return CHECK_FAIL(checker, expr->start, "expected type %s in %s, got %s",
                      value_type_text(wanted), context, value_type_text(expr->type));
}

static bool check_aggregate(struct checker *checker, struct expr *expr)
{
    enum value_type param_type =
        expr->as.aggregate.op == AGG_COUNT_VALUES ? TYPE_STRING : TYPE_SCALAR;

    if (!check_aggregate_part(checker, expr->as.aggregate.expr, TYPE_VECTOR,
                              "aggregation expression"))
        return false;
    return !expr->as.aggregate.param || check_aggregate_part(checker, expr->as.aggregate.param,
                                                             param_type, "aggregation parameter");
}

/* --- the rest --- */

static bool check_unary(struct checker *checker, struct expr *expr)
{
    struct expr *operand = expr->as.unary.expr;

    if (!check(checker, operand))
        return false;
    if (is_operand(operand->type))
        return true;
    return CHECK_FAIL(checker, expr->start,
                      "unary expression only allowed on expressions of type scalar or instant "
                      "vector, got \"%s\"",
                      value_type_text(operand->type));
}

static bool check_subquery(struct checker *checker, struct expr *expr)
{
    static const char *const names[] = {"none", "scalar", "vector", "matrix", "string"};
    struct expr *inner = expr->as.subquery.expr;

    if (!check(checker, inner))
        return false;
    if (inner->type == TYPE_VECTOR)
        return true;
    return CHECK_FAIL(checker, expr->start,
                      "subquery is only allowed on instant vector, got %s instead",
                      names[inner->type]);
}

static bool check(struct checker *checker, struct expr *expr)
{
    switch (expr->kind) {
    case EXPR_NUMBER:
    case EXPR_STRING:
    case EXPR_DURATION:
        return true;
    case EXPR_VECTOR_SELECTOR:
        return check_selector(checker, expr, false);
    case EXPR_MATRIX_SELECTOR:
        return check_selector(checker, expr->as.matrix.vector, false);
    case EXPR_SUBQUERY:
        return check_subquery(checker, expr);
    case EXPR_PAREN:
        return check(checker, expr->as.paren.expr);
    case EXPR_UNARY:
        return check_unary(checker, expr);
    case EXPR_BINARY:
        return check_binary(checker, expr);
    case EXPR_CALL:
        return check_call(checker, expr);
    case EXPR_AGGREGATE:
        return check_aggregate(checker, expr);
    }
    UNREACHABLE();
}

bool types_check(struct str text, struct expr *expr, const struct parse_options *options,
                 struct err *err)
{
    struct checker checker = {.text = text, .err = err};

    (void)options; /* What is experimental has been refused by the parser. */
    arena_init(&checker.arena, 0);
    bool good = check(&checker, expr);
    arena_deinit(&checker.arena);
    return good;
}
