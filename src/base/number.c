/* number: floats as Go reads and writes them.
 *
 * Reading: one scan checks the grammar and gathers up to 19 digits. When the mantissa is below 2^53
 * and the power of ten at most 22, both are exact doubles and one multiplication or division rounds
 * once, so the result is exact (Clinger's fast path); all else goes to from_chars.
 * Writing: shortest digits (exact short ways for integers and few decimals, else number_digits.c), then
 * laid out as strconv does: digits d1 d2 ... dn stand for 0.d1d2...dn * 10^point. */
#include "base/number.h"

#include <ctype.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "decimal.h"
#include "number_digits.h"
#include "shim.h"

#define EXACT_MAX    (UINT64_C(1) << 53)
#define EXPONENT_CAP 1000000 /* Beyond this only the sign of an exponent matters. */
#define DIGITS_MAX   24
#define FIXED_MAX    60

static const double powers_of_ten[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                       1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                       1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

/* ---- Reading ---- */

struct decimal {
    uint64_t mantissa; /* The first 19 significant digits. */
    int64_t exponent;  /* Of the mantissa. */
    int64_t magnitude; /* The value is below 10^magnitude and not below a tenth of it. */
    bool cut;          /* There were more digits. */
};

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Reads the exponent after 'e'; all of it must be digits. */
static bool exponent_scan(const char *at, const char *end, int64_t *out)
{
    bool negative = at < end && *at == '-';
    int64_t value = 0;

    if (at < end && (*at == '-' || *at == '+'))
        at++;
    if (at == end)
        return false;
    for (; at < end; at++) {
        if (!is_digit(*at))
            return false;
        if (value < EXPONENT_CAP)
            value = value * 10 + (*at - '0');
    }
    *out = negative ? -value : value;
    return true;
}

/* No sign, no words: digits with an optional point and exponent. */
static bool decimal_scan(const char *at, const char *end, struct decimal *out)
{
    uint64_t mantissa = 0;
    int64_t fraction = 0, digits = 0, dropped = 0, exponent = 0;
    bool any = false, point = false;

    for (; at < end; at++) {
        if (*at == '.' && !point) {
            point = true;
            continue;
        }
        if (!is_digit(*at))
            break;
        any = true;
        fraction += point;
        if (digits == 0 && *at == '0')
            continue;
        digits++;
        if (digits <= 19)
            mantissa = mantissa * 10 + (uint64_t)(*at - '0');
        else
            dropped++;
    }
    if (!any)
        return false;
    if (at < end && ((*at != 'e' && *at != 'E') || !exponent_scan(at + 1, end, &exponent)))
        return false;
    *out = (struct decimal){.mantissa = mantissa,
                            .exponent = exponent - fraction + dropped,
                            .magnitude = exponent - fraction + digits,
                            .cut = dropped > 0};
    return true;
}

/* Go's NaN, so that it is bit for bit the one that Prometheus stores. */
static double nan_normal(void)
{
    uint64_t bits = UINT64_C(0x7ff8000000000001);
    double value;
    memcpy(&value, &bits, sizeof(value));
    return value;
}

static bool word_parse(struct str s, bool sign, bool negative, double *out)
{
    if (str_eq_nocase(s, STR("inf")) || str_eq_nocase(s, STR("infinity"))) {
        *out = negative ? -INFINITY : INFINITY;
        return true;
    }
    if (!sign && str_eq_nocase(s, STR("nan"))) {
        *out = nan_normal();
        return true;
    }
    return false;
}

static bool slow_parse(struct str s, const struct decimal *decimal, bool negative, double *out)
{
    double value = 0;
    enum shim_parse parse = shim_double_parse((struct shim_span){s.ptr, s.len}, &value);

    if (parse == SHIM_PARSE_BAD)
        return false;
    if (parse == SHIM_PARSE_RANGE) /* from_chars does not say which end of the range it was. */
        value = decimal->mantissa != 0 && decimal->magnitude > 0 ? INFINITY : 0;
    *out = negative ? -value : value;
    return !isinf(value);
}

bool number_parse(struct str s, double *out)
{
    struct decimal decimal;

    if (s.len == 0)
        return false;
    bool negative = s.ptr[0] == '-';
    bool sign = negative || s.ptr[0] == '+';
    s = str_after(s, sign ? 1 : 0);
    if (s.len == 0)
        return false;
    if (!is_digit(s.ptr[0]) && s.ptr[0] != '.')
        return word_parse(s, sign, negative, out);
    if (!decimal_scan(s.ptr, s.ptr + s.len, &decimal))
        return false;
    if (decimal.cut || decimal.mantissa > EXACT_MAX || decimal.exponent < -22 ||
        decimal.exponent > 22)
        return slow_parse(s, &decimal, negative, out);
    double value = (double)decimal.mantissa;
    if (decimal.exponent < 0)
        value /= powers_of_ten[-decimal.exponent];
    else
        value *= powers_of_ten[decimal.exponent];
    *out = negative ? -value : value;
    return true;
}

/* Underscores stand between digits, or between 0x and a digit. */
static bool underscore_is_good(struct str s, size_t at)
{
    char before = at > 0 ? s.ptr[at - 1] : '_', after = at + 1 < s.len ? s.ptr[at + 1] : '_';
    bool begins = at >= 2 && (before == 'x' || before == 'X') && s.ptr[at - 2] == '0';
    return (begins || isxdigit((unsigned char)before)) && isxdigit((unsigned char)after);
}

/* Go wants an exponent (p) in a hex float, strtod does not; and no blanks or words. */
static bool hex_parse(const char *text, double *out)
{
    const char *digits = text + (text[0] == '-' || text[0] == '+');
    char *end;
    if (digits[0] != '0' || (digits[1] | 0x20) != 'x' || !strpbrk(digits, "pP"))
        return false;
    *out = strtod(text, &end);
    return *end == '\0' && isxdigit((unsigned char)end[-1]) && isfinite(*out);
}

bool number_parse_go(struct str s, double *out)
{
    char text[400];
    size_t len = 0;
    if (number_parse(s, out))
        return true;
    if (s.len >= sizeof(text))
        return false;
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] == '_' ? !underscore_is_good(s, i) : s.ptr[i] == '\0')
            return false;
        if (s.ptr[i] != '_')
            text[len++] = s.ptr[i];
    }
    text[len] = '\0';
    return hex_parse(text, out) || (len < s.len && number_parse(str_from(text, len), out));
}

/* ---- Writing ---- */

struct digits {
    char text[2 * DIGITS_MAX]; /* The second half is room: copies have a fixed size. */
    int count;                 /* 0 for zero. No trailing zeroes. */
    int point;
};

/* Exactly eight digits, the first in the lowest byte, as numbers 0 to 9: halves, quarters and eighths of the number side
 * by side in one register (Khuong, "How to print integers really fast", 2017). */
static inline uint64_t eight_digits(uint32_t value)
{
    uint64_t fours = value / 10000 | (uint64_t)(value % 10000) << 32;
    uint64_t hundreds = (fours * 10486 >> 20) & UINT64_C(0x0000007f0000007f);
    uint64_t twos = hundreds | (fours - 100 * hundreds) << 16;
    uint64_t tens = (twos * 103 >> 10) & UINT64_C(0x000f000f000f000f);
    return tens | (twos - 10 * tens) << 8;
}

static inline void eight_put(char *at, uint64_t digits)
{
    digits |= UINT64_C(0x3030303030303030);
    memcpy(at, &digits, 8);
}

/* Not of zero. */
static inline int first_digit(uint64_t digits)
{
    return __builtin_ctzll(digits) / 8;
}

static inline int last_zeroes(uint64_t digits)
{
    return __builtin_clzll(digits) / 8;
}

/* Below 10^16. Up to seven bytes behind the end are written, too. */
static char *integer_put(char *at, uint64_t value)
{
    if (value >= 100000000) {
        at = integer_put(at, value / 100000000);
        eight_put(at, eight_digits((uint32_t)(value % 100000000)));
        return at + 8;
    }
    uint64_t digits = eight_digits((uint32_t)value);
    int skipped = first_digit(digits | UINT64_C(1) << 56); /* Of zero, the last one stays. */
    eight_put(at, digits >> 8 * skipped);
    return at + 8 - skipped;
}

/* Below 10^17, as all digits that are shortest: one digit, eight, and eight. */
static void digits_of_integer(struct digits *digits, uint64_t value)
{
    char text[2 * DIGITS_MAX];
    uint64_t upper = value / 100000000, most = upper / 100000000;
    uint64_t high = eight_digits((uint32_t)(upper % 100000000));
    uint64_t low = eight_digits((uint32_t)(value % 100000000));

    digits->count = digits->point = 0;
    if (value == 0)
        return;
    text[0] = (char)('0' + most);
    eight_put(text + 1, high);
    eight_put(text + 9, low);
    int begin = most ? 0 : high ? 1 + first_digit(high) : 9 + first_digit(low);
    int end = low ? 17 - last_zeroes(low) : high ? 9 - last_zeroes(high) : 1;
    memcpy(digits->text, text + begin, DIGITS_MAX);
    digits->point = 17 - begin;
    digits->count = end - begin;
}

/* Values with few decimals. No two decimals of at most 15 digits are the same double, so one of
 * them that rounds to the value is the shortest; the division of two exact doubles rounds as
 * reading does. */
static bool digits_of_decimal(struct digits *digits, double value)
{
    int decimals = value < 1e9 ? 6 : 3;
    double scale = powers_of_ten[decimals];

    if (value < 1e-6 || value >= 1e12)
        return false;
    uint64_t scaled = (uint64_t)(value * scale + 0.5);
    if (scaled == 0 || scaled > UINT64_C(999999999999999) || (double)scaled / scale != value)
        return false;
    digits_of_integer(digits, scaled);
    digits->point -= decimals;
    return true;
}

/* value is finite and not negative. */
static void digits_of(struct digits *digits, double value)
{
    if (value < (double)EXACT_MAX && value == (double)(uint64_t)value) {
        digits_of_integer(digits, (uint64_t)value);
        return;
    }
    if (digits_of_decimal(digits, value))
        return;
    struct short_decimal decimal = short_decimal_of(value);
    digits_of_integer(digits, decimal.digits);
    digits->point += decimal.exponent;
}

static char *zeroes_put(char *at, int count)
{
    if (count > 0)
        memset(at, '0', (size_t)count);
    return count > 0 ? at + count : at;
}

static char *digits_put(char *at, const char *digits, int count)
{
    if (count > 0)
        memcpy(at, digits, (size_t)count);
    return count > 0 ? at + count : at;
}

static char *layout_f(char *at, const struct digits *digits)
{
    if (digits->point <= 0) {
        *at++ = '0';
        if (digits->count == 0)
            return at;
        *at++ = '.';
        at = zeroes_put(at, -digits->point);
        return digits_put(at, digits->text, digits->count);
    }
    if (digits->point < digits->count) { /* Most: copies of a fixed size, there is room. */
        memcpy(at, digits->text, DIGITS_MAX);
        at[digits->point] = '.';
        memcpy(at + digits->point + 1, digits->text + digits->point, DIGITS_MAX - 1);
        return at + digits->count + 1;
    }
    int whole = digits->count < digits->point ? digits->count : digits->point;
    at = digits_put(at, digits->text, whole);
    at = zeroes_put(at, digits->point - whole);
    if (digits->count > whole) {
        *at++ = '.';
        at = digits_put(at, digits->text + whole, digits->count - whole);
    }
    return at;
}

static char *layout_e(char *at, const struct digits *digits)
{
    int exponent = digits->count ? digits->point - 1 : 0;

    *at++ = digits->count ? digits->text[0] : '0';
    if (digits->count > 1) {
        *at++ = '.';
        at = digits_put(at, digits->text + 1, digits->count - 1);
    }
    *at++ = 'e';
    *at++ = exponent < 0 ? '-' : '+';
    if (exponent < 0)
        exponent = -exponent;
    if (exponent >= 100)
        *at++ = (char)('0' + exponent / 100);
    memcpy(at, decimal_pairs + 2 * (exponent % 100), 2);
    return at + 2;
}

static bool exponent_wanted(enum number_form form, const struct digits *digits, double value)
{
    switch (form) {
    case NUMBER_API:
        return value != 0 && (value < 1e-6 || value >= 1e21);
    case NUMBER_E:
        return true;
    case NUMBER_G:
        return digits->point - 1 < -4 || digits->point - 1 >= 6;
    case NUMBER_F:
        break;
    }
    return false;
}

static size_t text_put(char *out, struct str text)
{
    memcpy(out, text.ptr, text.len);
    return text.len;
}

size_t number_format(char out[NUMBER_TEXT_MAX], double value, enum number_form form)
{
    struct digits digits;
    char *at = out;

    if (isnan(value))
        return text_put(out, STR("NaN"));
    if (isinf(value))
        return text_put(out, value > 0 ? STR("+Inf") : STR("-Inf"));
    if (signbit(value)) {
        *at++ = '-';
        value = -value;
    }
    if ((form == NUMBER_API || form == NUMBER_F) && value < (double)EXACT_MAX &&
        value == (double)(uint64_t)value)
        return (size_t)(integer_put(at, (uint64_t)value) - out);
    digits_of(&digits, value);
    at = exponent_wanted(form, &digits, value) ? layout_e(at, &digits) : layout_f(at, &digits);
    ENSURE(at - out <= NUMBER_TEXT_MAX);
    return (size_t)(at - out);
}

void buf_add_number(struct buf *buf, double value, enum number_form form)
{
    char text[NUMBER_TEXT_MAX];
    buf_add(buf, text, number_format(text, value, form));
}

void buf_add_number_fixed(struct buf *buf, double value, int digits)
{
    ENSURE(digits >= -FIXED_MAX && digits <= FIXED_MAX);
    if (!isfinite(value))
        buf_add_number(buf, value, NUMBER_F);
    else if (digits < 0)
        buf_addf(buf, "%.*g", -digits, value);
    else
        buf_addf(buf, "%.*f", digits, value);
}

void buf_add_time_ms(struct buf *buf, int64_t time_ms)
{
    uint64_t magnitude = time_ms < 0 ? 0 - (uint64_t)time_ms : (uint64_t)time_ms;

    if (time_ms < 0)
        buf_add_char(buf, '-');
    buf_add_u64(buf, magnitude / 1000);
    unsigned fraction = (unsigned)(magnitude % 1000);
    if (fraction) {
        char text[4] = {'.', (char)('0' + fraction / 100)};
        memcpy(text + 2, decimal_pairs + 2 * (fraction % 100), 2);
        buf_add(buf, text, sizeof(text));
    }
}
