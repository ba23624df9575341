/* ast: the tree of a PromQL expression, as the parser makes it and the evaluator walks it.
 *
 *     text --lex, parse--> tree --types_check--> typed tree --plan--> evaluation
 *
 * All nodes live in the query's arena. After types_check the tree is read-only but for the fields marked "plan", which the
 * engine fills before evaluation. Positions are byte offsets into the text, [start, end). */
#ifndef QUERY_AST_H
#define QUERY_AST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"
#include "model/labels.h"
#include "model/matcher.h"

enum expr_kind {
    EXPR_NUMBER,
    EXPR_STRING,
    EXPR_VECTOR_SELECTOR,
    EXPR_MATRIX_SELECTOR, /* Holds its vector selector. */
    EXPR_SUBQUERY,
    EXPR_PAREN,
    EXPR_UNARY,
    EXPR_BINARY,
    EXPR_CALL,
    EXPR_AGGREGATE,
    EXPR_DURATION, /* A duration expression inside [ ] or after offset. */
};

enum value_type { TYPE_NONE, TYPE_SCALAR, TYPE_VECTOR, TYPE_MATRIX, TYPE_STRING };
/* "scalar", "instant vector", "range vector", "string": as errors name them. */
const char *value_type_text(enum value_type type);

/* Precedence is the parser's; the text is what prints. */
#define BINARY_OPS(X)                                                                               \
    X(OP_OR, "or") X(OP_AND, "and") X(OP_UNLESS, "unless")                                          \
    X(OP_EQL, "==") X(OP_NEQ, "!=") X(OP_LTE, "<=") X(OP_LSS, "<") X(OP_GTE, ">=") X(OP_GTR, ">")   \
    X(OP_TRIM_UPPER, "</") X(OP_TRIM_LOWER, ">/")                                                   \
    X(OP_ADD, "+") X(OP_SUB, "-") X(OP_MUL, "*") X(OP_DIV, "/") X(OP_MOD, "%")                      \
    X(OP_ATAN2, "atan2") X(OP_POW, "^")
enum binary_op {
#define X(op, text) op,
    BINARY_OPS(X)
#undef X
};
const char *binary_op_text(enum binary_op op);
static inline bool binary_op_is_set(enum binary_op op) { return op <= OP_UNLESS; }
static inline bool binary_op_is_comparison(enum binary_op op) { return op >= OP_EQL && op <= OP_GTR; }

#define AGGREGATE_OPS(X)                                                                            \
    X(AGG_SUM, "sum") X(AGG_AVG, "avg") X(AGG_COUNT, "count") X(AGG_MIN, "min") X(AGG_MAX, "max")   \
    X(AGG_GROUP, "group") X(AGG_STDDEV, "stddev") X(AGG_STDVAR, "stdvar") X(AGG_TOPK, "topk")       \
    X(AGG_BOTTOMK, "bottomk") X(AGG_COUNT_VALUES, "count_values") X(AGG_QUANTILE, "quantile")       \
    X(AGG_LIMITK, "limitk") X(AGG_LIMIT_RATIO, "limit_ratio")
enum aggregate_op {
#define X(op, text) op,
    AGGREGATE_OPS(X)
#undef X
};
const char *aggregate_op_text(enum aggregate_op op);
/* topk(2, x): these take a parameter before the vector. */
static inline bool aggregate_op_has_param(enum aggregate_op op) { return op >= AGG_TOPK; }

enum match_cardinality { CARD_ONE_TO_ONE, CARD_MANY_TO_ONE, CARD_ONE_TO_MANY, CARD_MANY_TO_MANY };
const char *match_cardinality_text(enum match_cardinality card); /* one-to-one, many-to-one, ... */

struct vector_matching {
    enum match_cardinality card; /* group_left is many-to-one. */
    bool on;                     /* on(...) rather than ignoring(...). */
    bool present;                /* Was on/ignoring written? */
    struct str *labels;
    size_t label_count;
    struct str *include; /* group_left(...) */
    size_t include_count;
    bool has_fill_left, has_fill_right;
    double fill_left, fill_right;
};

enum at_kind { AT_NONE, AT_TIME, AT_START, AT_END };

/* offset and @ of a selector or subquery. */
struct modifiers {
    int64_t offset_ms;         /* As written (negative ok); from offset_expr once that is evaluated. */
    bool has_offset;           /* A literal other than 0 was written; it may still be 0 in ms. */
    bool offset_is_negative;   /* Of that literal. */
    struct expr *offset_expr;  /* Duration expression, or NULL for a literal. */
    enum at_kind at;
    int64_t at_ms;             /* AT_TIME; plan: start and end are resolved into it. */
};

struct function; /* functions.h */

/* Nesting and tree depth that the parser accepts, and bytes of text. */
#define EXPR_DEPTH_MAX     1000
#define EXPR_TEXT_BYTES_MAX ((size_t)1 << 20)

struct expr {
    enum expr_kind kind;
    enum value_type type; /* After types_check. */
    size_t start, end;    /* Byte positions in the text. */
    unsigned depth;       /* Levels of the tree from here down, at most EXPR_DEPTH_MAX: recursion over it is safe. */
    bool step_invariant;  /* plan: same value at every step (has @, or no selector and no time()). */
    bool parens_around;   /* Duration expressions: were they wrapped? */
    union {
        struct {
            double value;
            bool is_duration; /* Was written with units: prints so. */
        } number;
        struct {
            struct str value; /* Unquoted. */
        } string;
        struct {
            struct str name;          /* Metric name or empty; also a __name__ matcher in `matchers`. */
            struct matchers matchers; /* In the arena; the regexes are freed by expr_deinit. */
            struct modifiers mod;
            bool anchored, smoothed;
            size_t index;             /* plan: which of the query's selections. */
            bool no_buckets;          /* plan: nobody looks at the buckets of native histograms. */
        } vector;
        struct {
            struct expr *vector; /* EXPR_VECTOR_SELECTOR with the modifiers. */
            int64_t range_ms;
            struct expr *range_expr; /* Duration expression, or NULL. */
        } matrix;
        struct {
            struct expr *expr;
            int64_t range_ms, step_ms; /* step 0: the default. */
            struct expr *range_expr, *step_expr;
            struct modifiers mod;
        } subquery;
        struct {
            struct expr *expr;
        } paren;
        struct {
            bool minus; /* else plus */
            struct expr *expr;
        } unary;
        struct {
            enum binary_op op;
            struct expr *lhs, *rhs;
            struct vector_matching matching; /* Meaningful between two vectors; zeroed otherwise by types_check. */
            bool return_bool;
        } binary;
        struct {
            const struct function *function;
            struct expr **args;
            size_t arg_count;
            size_t info_index; /* plan: info()'s selection of info series. */
        } call;
        struct {
            enum aggregate_op op;
            struct expr *expr;
            struct expr *param; /* topk, quantile, ... else NULL. */
            struct str *grouping;
            size_t grouping_count;
            bool without;
        } aggregate;
        struct {
            /* Operators + - * / % ^, unary + and - (lhs NULL), calls step() range() min_of() max_of(). */
            enum duration_op { DUR_BINARY, DUR_UNARY, DUR_STEP, DUR_RANGE, DUR_MIN_OF, DUR_MAX_OF } what;
            enum binary_op op;
            struct expr *lhs, *rhs; /* EXPR_NUMBER or EXPR_DURATION. */
        } duration;
    } as;
};

struct parse_options {
    unsigned features;       /* enum query_feature */
};

/* Parses and type-checks. Error text `1:5: parse error: ...`. Regexes inside belong to the tree: expr_deinit. */
MUST_CHECK bool parse_expr(struct str text, const struct parse_options *options, struct arena *arena,
                           struct expr **out, struct err *err);
/* Only a selector without modifiers, as in match[]; may match everything. */
MUST_CHECK bool parse_selector(struct str text, struct arena *arena, struct expr **out, struct err *err);
/* A metric with labels, up{job="x"}, as rule tests write it. The caller owns the reference. */
MUST_CHECK bool parse_metric(struct str text, struct arena *arena, struct labels **out, struct err *err);
void expr_deinit(struct expr *expr); /* Frees what is not in the arena (regexes), through the whole tree. NULL is fine. */

/* types.c: called by parse_expr. */
MUST_CHECK bool types_check(struct str text, struct expr *expr, const struct parse_options *options,
                            struct err *err);
/* `line:col: parse error: message` for a byte position. Returns false. */
bool parse_error(struct err *err, struct str text, size_t position, const char *format, ...) PRINTF_LIKE(4, 5);

/* print.c */
void expr_print(struct buf *out, const struct expr *expr);  /* One line, as Go's String(). */
void expr_pretty(struct buf *out, const struct expr *expr); /* format_query */
void expr_json(struct buf *out, const struct expr *expr);   /* parse_query */

/* Strips parentheses. */
static inline struct expr *expr_unwrap(struct expr *expr)
{
    while (expr->kind == EXPR_PAREN)
        expr = expr->as.paren.expr;
    return expr;
}

#endif
