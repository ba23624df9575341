/* ast: names of the tree's enums, and its end. */
#include "ast.h"

const char *value_type_text(enum value_type type)
{
    switch (type) {
    case TYPE_NONE:
        return "none";
    case TYPE_SCALAR:
        return "scalar";
    case TYPE_VECTOR:
        return "instant vector";
    case TYPE_MATRIX:
        return "range vector";
    case TYPE_STRING:
        return "string";
    }
    UNREACHABLE();
}

const char *binary_op_text(enum binary_op op)
{
    static const char *const texts[] = {
#define X(name, text) [name] = text,
        BINARY_OPS(X)
#undef X
    };
    ENSURE((size_t)op < COUNT_OF(texts));
    return texts[op];
}

const char *aggregate_op_text(enum aggregate_op op)
{
    static const char *const texts[] = {
#define X(name, text) [name] = text,
        AGGREGATE_OPS(X)
#undef X
    };
    ENSURE((size_t)op < COUNT_OF(texts));
    return texts[op];
}

const char *match_cardinality_text(enum match_cardinality card)
{
    switch (card) {
    case CARD_ONE_TO_ONE:
        return "one-to-one";
    case CARD_MANY_TO_ONE:
        return "many-to-one";
    case CARD_ONE_TO_MANY:
        return "one-to-many";
    case CARD_MANY_TO_MANY:
        return "many-to-many";
    }
    UNREACHABLE();
}

void expr_deinit(struct expr *expr)
{
    if (!expr)
        return;
    switch (expr->kind) {
    case EXPR_VECTOR_SELECTOR:
        for (size_t i = 0; i < expr->as.vector.matchers.count; i++)
            matcher_deinit(&expr->as.vector.matchers.items[i]);
        expr->as.vector.matchers.count = 0;
        break;
    case EXPR_MATRIX_SELECTOR:
        expr_deinit(expr->as.matrix.vector);
        break;
    case EXPR_SUBQUERY:
        expr_deinit(expr->as.subquery.expr);
        break;
    case EXPR_PAREN:
        expr_deinit(expr->as.paren.expr);
        break;
    case EXPR_UNARY:
        expr_deinit(expr->as.unary.expr);
        break;
    case EXPR_BINARY:
        expr_deinit(expr->as.binary.lhs);
        expr_deinit(expr->as.binary.rhs);
        break;
    case EXPR_CALL:
        for (size_t i = 0; i < expr->as.call.arg_count; i++)
            expr_deinit(expr->as.call.args[i]);
        break;
    case EXPR_AGGREGATE:
        expr_deinit(expr->as.aggregate.expr);
        expr_deinit(expr->as.aggregate.param);
        break;
    case EXPR_NUMBER:
    case EXPR_STRING:
    case EXPR_DURATION:
        break;
    }
}
