/* parse: what the files of the parser share.
 *
 * Recursive descent with one token of lookahead, binary operators by precedence climbing. The first
 * error is the answer: it sticks in `failed`, the lookahead becomes TOKEN_ERROR, which nothing
 * accepts, so all loops end.
 *
 * When the lookahead is read decides which error comes first and where an aggregation or offset
 * ends, and users see both. So each step says whether it looks ahead before it acts, just as
 * Prometheus' generated parser does: it acts at once where only one continuation is possible. */
#ifndef QUERY_PARSE_H
#define QUERY_PARSE_H

#include <stdbool.h>
#include <stddef.h>

#include "ast.h"
#include "base/vec.h"
#include "lex.h"

/* Precedence, low to high. Unary + and - are as strong as PREC_MUL. */
enum precedence { PREC_NONE, PREC_OR, PREC_AND, PREC_COMPARE, PREC_ADD, PREC_MUL, PREC_POW };

struct parser {
    struct str text;
    struct lexer lexer;
    struct arena *arena;
    struct err *err;
    unsigned features;
    struct token token; /* The newest token read: the lookahead, or the one taken last. */
    bool ahead;         /* `token` has not been taken yet. */
    bool failed;
    size_t closing_end; /* Behind the newest ) ] } or literal that was read. */
    const char *duration_context, *duration_expected; /* For errors inside a duration expression. */
    unsigned nesting;                                 /* Of expressions being parsed. */
    unsigned aggregations;        /* Of these, how many are inside an aggregation: errors say so. */
    VEC(struct expr *) selectors; /* Made so far; freed when the parse fails. */
};

/* --- tokens --- */

enum token_kind parser_peek(struct parser *parser); /* Reads the lookahead if there is none. */
struct token parser_take(struct parser *parser);
bool parser_accept(struct parser *parser, enum token_kind kind, struct token *out);
/* Fails at a position; only the first failure counts. Returns NULL so that it can be returned. */
void *parser_fail(struct parser *parser, size_t position, const char *format, ...)
    PRINTF_LIKE(3, 4);
/* The lookahead is wrong. `context` and `expected` may be NULL. */
void *parser_unexpected(struct parser *parser, const char *context, const char *expected);
/* The same in the middle of an expression, where only an aggregation around it is named. */
void *parser_unexpected_in_expr(struct parser *parser);
bool parser_enter(struct parser *parser, size_t position); /* Counts the nesting. */
void parser_leave(struct parser *parser);

/* --- nodes --- */

struct expr *parser_node(struct parser *parser, enum expr_kind kind, enum value_type type,
                         size_t start, size_t end);
/* `parent` holds `child`: takes over its depth. False (and failed) when the tree gets too deep. */
bool parser_link(struct parser *parser, struct expr *parent, const struct expr *child);

/* A growing array in the arena. */
struct parser_list {
    void *items;
    size_t count, capacity;
};
void parser_list_add(struct parser *parser, struct parser_list *list, const void *item,
                     size_t item_bytes);

/* --- by topic; all return NULL when the parse has failed --- */

struct expr *parser_expr(struct parser *parser, enum precedence at_least); /* parse_expr.c */
bool parser_may_start_expr(enum token_kind kind);
struct expr *parser_call(struct parser *parser, struct token name); /* parse_call.c */
struct expr *parser_aggregate(struct parser *parser, struct token op);
bool parser_grouping(struct parser *parser, struct str **labels, size_t *count);
/* parse_selector.c: behind its name, or at '{' with name NULL. */
struct expr *parser_selector(struct parser *parser, const struct token *name);
bool parser_metric_name_is(enum token_kind kind);
struct labels_builder;
void parser_metric(struct parser *parser, struct labels_builder *builder);
struct expr *parser_number(struct parser *parser, struct token token); /* parse_literal.c */
struct expr *parser_string(struct parser *parser, struct token token);
struct str parser_unquote(struct parser *parser, struct token token);
struct expr *parser_range(struct parser *parser, struct expr *expr); /* parse_duration.c: at '[' */
struct expr *parser_offset_duration(struct parser *parser);
struct expr *parser_offset(struct parser *parser,
                           struct expr *expr); /* parse_modifier.c: at the word */
struct expr *parser_at(struct parser *parser, struct expr *expr);
struct expr *parser_extended(struct parser *parser, struct expr *expr);

/* A literal of seconds as Go's time.Duration: whole nanoseconds. It has been checked to fit. */
int64_t seconds_to_ns(double seconds);

#endif
