/* parse_table: reads tests/golden/parse/<name>.txt. The head says what its lines are:
 *
 *     # comment
 *     %mode expr|pretty|json|selector|metric
 *     %features none|all
 *     text => expected
 *
 * After the head every line is a case, split at its last " => ". U+23CE stands for a newline. */
#ifndef TESTS_PARSE_TABLE_H
#define TESTS_PARSE_TABLE_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "query.h"

struct parse_table {
    char *content;
    char *at;
    char mode[16];
    unsigned features;
    size_t rows;
};

struct parse_row {
    struct str text, expected;
};

#define PARSE_TABLE_FEATURES_ALL                                                                   \
    (QUERY_EXPERIMENTAL_FUNCTIONS | QUERY_FILL_MODIFIERS | QUERY_EXTENDED_RANGES)

static inline void parse_table_fail(const char *name, const char *why)
{
    fprintf(stderr, "%s: %s\n", name, why);
    abort();
}

static inline void parse_table_open(struct parse_table *table, const char *name)
{
    char path[4096];
    *table = (struct parse_table){0};
    snprintf(path, sizeof(path), "%s/golden/parse/%s.txt", TEST_SOURCE_DIR, name);
    FILE *file = fopen(path, "rb");
    if (!file)
        parse_table_fail(path, "cannot be read");
    table->content = calloc(1, 1 << 20);
    if (!table->content || fread(table->content, 1, (1 << 20) - 1, file) == 0)
        parse_table_fail(path, "is empty");
    fclose(file);
    table->at = table->content;
    while (*table->at == '#' || *table->at == '%') {
        char value[16] = "";
        if (sscanf(table->at, "%%mode %15s", table->mode) != 1 &&
            sscanf(table->at, "%%features %15s", value) == 1)
            table->features = strcmp(value, "all") == 0 ? PARSE_TABLE_FEATURES_ALL : 0;
        bool last = value[0] != '\0';
        table->at = strchr(table->at, '\n') + 1;
        if (last)
            break;
    }
}

static inline void parse_table_close(struct parse_table *table)
{
    free(table->content);
}

/* Puts newlines in, in place. */
static inline struct str parse_table_unescape(char *begin, char *end)
{
    static const char mark[] = "\xe2\x8f\x8e";
    char *out = begin;
    for (char *in = begin; in < end;) {
        if (end - in >= 3 && memcmp(in, mark, 3) == 0) {
            *out++ = '\n';
            in += 3;
        } else {
            *out++ = *in++;
        }
    }
    return str_from(begin, (size_t)(out - begin));
}

static inline bool parse_table_next(struct parse_table *table, struct parse_row *row)
{
    char *line = table->at, *end = strchr(line, '\n'), *split = NULL;
    if (!end)
        return false;
    for (char *at = line; at + 4 <= end; at++) {
        if (memcmp(at, " => ", 4) == 0)
            split = at;
    }
    if (!split)
        parse_table_fail(line, "a case without =>");
    table->at = end + 1;
    table->rows++;
    row->text = parse_table_unescape(line, split);
    row->expected = parse_table_unescape(split + 4, end);
    return true;
}

#endif
