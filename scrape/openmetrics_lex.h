/* openmetrics_lex: one line of the OpenMetrics text format 1.0.0 / 0.0.1, taken apart.
 *
 *     [name]{"quoted name",label="value",...} value [timestamp] [# {label="value"} value [time]]\n
 *     # HELP name text\n      # TYPE name type\n      # UNIT name unit\n      # EOF\n
 *
 * One space stands where one may, and nowhere else. Pure; the line points into the bytes, as with
 * text_lex. Follows the tokens of Prometheus' lexer, so that a bad line yields the same text. */
#ifndef SCRAPE_OPENMETRICS_LEX_H
#define SCRAPE_OPENMETRICS_LEX_H

#include "text_lex.h"

#define OPENMETRICS_NO_EOF "data does not end with # EOF"

/* `bytes` is one line with its newline at the end. When `last` nothing can follow: the newline may
 * be missing, never TEXT_OPEN. */
enum text_result openmetrics_lex(struct text_line *line, struct str bytes, bool last,
                                 struct err *err);
/* What follows the first metric_len bytes, which are a metric that was lexed before. False when
 * anything is wrong with it. */
bool openmetrics_lex_known(struct text_line *line, struct str bytes, size_t metric_len);

/* The error of a line that a blank ends: it shows the first byte of the next one (-1: none). */
void openmetrics_broken(int next_byte, struct err *err);
/* After # EOF only zero bytes may come. */
MUST_CHECK bool openmetrics_check_tail(struct str bytes, struct err *err);

#endif
