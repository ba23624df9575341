/* text_lex: one line of the text exposition format 0.0.4 / 1.0.0, taken apart.
 *
 *     [name]{"quoted name",label="value",...} value [timestamp]\n
 *     # HELP name text\n      # TYPE name type\n      # anything else\n
 *
 * Follows the tokens of Prometheus' own lexer, so that a bad line yields the same error text. Pure.
 * Nothing is copied: names and values point into the line and keep their escapes until
 * text_unescape. */
#ifndef SCRAPE_TEXT_LEX_H
#define SCRAPE_TEXT_LEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"
#include "base/vec.h"
#include "model/histogram.h"
#include "model/metadata.h"

struct text_label {
    struct str name;
    struct str value;
    bool name_quoted; /* May hold any bytes and escapes. */
    bool name_escaped;
    bool value_escaped;
};

/* Stands behind a sample, or comes with one in protobuf. Labels in any order, with their escapes. */
struct text_exemplar {
    const struct text_label *labels;
    size_t label_count;
    double value;
    int64_t time_ms;
    bool has_time;
};

/* TEXT_UNIT and TEXT_EOF are OpenMetrics'. */
enum text_kind {
    TEXT_BLANK,
    TEXT_COMMENT,
    TEXT_HELP,
    TEXT_TYPE,
    TEXT_UNIT,
    TEXT_EOF,
    TEXT_SAMPLE,
};

/* What a line says. `labels` keeps its memory from line to line. */
struct text_line {
    enum text_kind kind;
    struct str metric; /* Sample: its bytes from the name to the last brace. */
    struct str name;
    bool name_quoted, name_escaped;
    VEC(struct text_label) labels;
    double value;
    int64_t time_ms;
    bool has_time;
    const struct histogram *histogram; /* Instead of value; NULL in texts. */
    bool has_exemplar;
    struct text_exemplar exemplar;
    VEC(struct text_label) exemplar_labels;
    struct str help;       /* With escapes. */
    bool help_quotes;      /* ... of which \" is one. */
    bool help_plain;       /* No escapes: every byte is itself. */
    enum metric_type type; /* TYPE */
    struct str unit;
};

enum text_result {
    TEXT_OK,
    TEXT_BAD,     /* err says why. */
    TEXT_OPEN,    /* The bytes end inside a quoted string: the line goes on after this newline. */
    TEXT_TRAILED, /* OpenMetrics: a sample, and then something that may not follow; err says what. */
    TEXT_BROKEN,  /* The same where a blank ends the line: err comes with openmetrics_broken. */
};

/* `bytes` is one line with its newline at the end. When `last` nothing can follow: never TEXT_OPEN.
 */
enum text_result text_lex(struct text_line *line, struct str bytes, bool last, struct err *err);
void text_line_reset(struct text_line *line); /* Keeps the memory. */
void text_line_deinit(struct text_line *line);

/* \\ \n, and \" where `quotes`; other escapes stay as they are. In the arena when something
 * changed. */
struct str text_unescape(struct arena *arena, struct str s, bool quotes);

#endif
