/* number: floats as Go reads and writes them. Shortest round-trip digits come from <charconv>. */
#ifndef BASE_NUMBER_H
#define BASE_NUMBER_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/str.h"

#define NUMBER_TEXT_MAX 400 /* 'f' of the largest double, with room. */

/* Go's strconv.ParseFloat(s, 64) without hex floats and underscores: decimal, fraction, exponent, an
 * optional sign, inf/infinity/nan in any case. The whole of s. Out of range yields +-Inf and is false. */
bool number_parse(struct str s, double *out);

/* With these, too: 0x1p-2, 1_000. */
bool number_parse_go(struct str s, double *out);

enum number_form {
    NUMBER_API, /* The HTTP API's: 'f', but 'e' when 0 < abs < 1e-6 or abs >= 1e21. */
    NUMBER_F,   /* strconv.FormatFloat(v, 'f', -1, 64) */
    NUMBER_E,   /* 'e', -1: 1e+00 */
    NUMBER_G,   /* 'g', -1, also fmt's %v and %g: 1e+06; the exponent form when it is < -4 or >= 6. */
};

/* Writes NaN, +Inf, -Inf and -0 as Go does. Not NUL-terminated; returns the length. */
size_t number_format(char out[NUMBER_TEXT_MAX], double value, enum number_form form);
void buf_add_number(struct buf *buf, double value, enum number_form form);
/* Fixed digits after the point (3: fmt's "%.3f") or, when negative, of the mantissa (-4: "%.4g"). */
void buf_add_number_fixed(struct buf *buf, double value, int digits);
/* Milliseconds as the API's seconds: 1435781451.781, 1435781451, 1.005. */
void buf_add_time_ms(struct buf *buf, int64_t time_ms);

#endif
