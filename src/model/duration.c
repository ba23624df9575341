/* duration: durations, byte sizes, and the two inputs of the API that are times.
 *
 * Durations are summed in nanoseconds, so that they overflow just where Go's do (about 292 years).
 */
#include "model/duration.h"

#include <math.h>

#include "base/ensure.h"
#include "base/number.h"
#include "base/timetext.h"
#include "quoted.h"

#define NS_PER_MS INT64_C(1000000)
#define NS_PER_S  INT64_C(1000000000)

/* Durations and times at or above this do not fit in an int64. */
#define TWO_POW_63 9223372036854775808.0

/* Go's time.Unix(math.MinInt64/1000+62135596801, 0) and its counterpart: what Go clients send for
 * "no bound". */
#define TIME_MIN_TEXT STR("-292273086-05-16T16:47:06Z")
#define TIME_MAX_TEXT STR("292277025-08-18T07:12:54.999999999Z")
#define TIME_MIN_MS   INT64_C(-9223309901257974000)
#define TIME_MAX_MS   INT64_C(9223309901257974999)

struct duration_unit {
    struct str name;
    int64_t ms;
    bool exact; /* Printed only when nothing is left over: 90d reads better than 12w6d. */
};

/* From big to small. */
static const struct duration_unit duration_units[] = {
    {{"y", 1}, INT64_C(365) * 24 * 3600 * 1000, true},
    {{"w", 1}, INT64_C(7) * 24 * 3600 * 1000, true},
    {{"d", 1}, INT64_C(24) * 3600 * 1000, false},
    {{"h", 1}, INT64_C(3600) * 1000, false},
    {{"m", 1}, INT64_C(60) * 1000, false},
    {{"s", 1}, INT64_C(1000), false},
    {{"ms", 2}, INT64_C(1), false},
};

static size_t digits_len(struct str s)
{
    size_t len = 0;
    while (len < s.len && s.ptr[len] >= '0' && s.ptr[len] <= '9')
        len++;
    return len;
}

static bool duration_invalid(struct str s, struct err *err)
{
    return err_set_quoted(err, ERR_BAD_DATA, "not a valid duration string: ", s, "");
}

static bool duration_unknown_unit(struct str unit, struct str s, struct err *err)
{
    struct err rest;

    err_set_quoted(&rest, ERR_BAD_DATA, " in duration ", s, "");
    return err_set_quoted(err, ERR_BAD_DATA, "unknown unit ", unit, rest.text);
}

bool duration_parse(struct str s, int64_t *out_ms, struct err *err)
{
    uint64_t total_ns = 0;
    size_t unit_next = 0; /* Units before this one are no longer allowed. */
    struct str rest = s;

    *out_ms = 0;
    if (s.len == 0)
        return err_set(err, ERR_BAD_DATA, "empty duration string");
    if (str_eq(s, STR("0")))
        return true;
    while (rest.len > 0) {
        uint64_t number;
        size_t len = digits_len(rest);
        if (len == 0 || !str_to_u64(str_first(rest, len), &number))
            return duration_invalid(s, err);
        rest = str_after(rest, len);

        for (len = 0; len < rest.len && digits_len(str_after(rest, len)) == 0;)
            len++;
        if (len == 0)
            return duration_invalid(s, err);
        struct str name = str_first(rest, len);
        rest = str_after(rest, len);

        size_t unit = 0;
        while (unit < COUNT_OF(duration_units) && !str_eq(duration_units[unit].name, name))
            unit++;
        if (unit == COUNT_OF(duration_units))
            return duration_unknown_unit(name, s, err);
        if (unit < unit_next)
            return duration_invalid(s, err);
        unit_next = unit + 1;

        /* Each part is at most 2^63 and the sum before it below that, so the sum cannot wrap. */
        uint64_t unit_ns = (uint64_t)(duration_units[unit].ms * NS_PER_MS);
        if (number > (UINT64_C(1) << 63) / unit_ns)
            return err_set(err, ERR_BAD_DATA, "duration out of range");
        total_ns += number * unit_ns;
        if (total_ns > INT64_MAX)
            return err_set(err, ERR_BAD_DATA, "duration out of range");
    }
    *out_ms = (int64_t)total_ns / NS_PER_MS;
    return true;
}

void duration_print(struct buf *buf, int64_t ms)
{
    uint64_t left = ms < 0 ? 0 - (uint64_t)ms : (uint64_t)ms;

    if (ms == 0) {
        BUF_ADD(buf, "0s");
        return;
    }
    if (ms < 0)
        buf_add_char(buf, '-');
    for (size_t i = 0; i < COUNT_OF(duration_units); i++) {
        uint64_t unit_ms = (uint64_t)duration_units[i].ms;
        if (left < unit_ms || (duration_units[i].exact && left % unit_ms != 0))
            continue;
        buf_add_u64(buf, left / unit_ms);
        buf_add_str(buf, duration_units[i].name);
        left %= unit_ms;
    }
}

/* Sizes: Go's units.ParseBase2Bytes: numbers with units, summed: 1GB512MB, 1.5GiB. KB and KiB are
 * both 1024 bytes, but one size keeps to one of the two spellings. */

static const char size_prefixes[] = "KMGTPE";

/* The power of 1024 of a unit, or -1. */
static int size_unit_power(struct str unit, bool binary_spelling)
{
    if (str_eq(unit, STR("B")))
        return 0;
    if (!str_eq(str_after(unit, 1), binary_spelling ? STR("iB") : STR("B")))
        return -1;
    for (int i = 0; size_prefixes[i]; i++) {
        if (size_prefixes[i] == unit.ptr[0])
            return i + 1;
    }
    return -1;
}

static bool size_invalid(struct str s, struct err *err)
{
    return err_set(err, ERR_BAD_DATA, "units: invalid " STR_FMT,
                   STR_ARG(str_first(s, ERR_TEXT_MAX)));
}

/* Reads "12" or "1.5" or ".5" off the front. False: there is no number, or it has too many digits.
 */
static bool size_number(struct str *rest, double *out)
{
    size_t whole_len = digits_len(*rest);
    struct str whole = str_first(*rest, whole_len);
    struct str fraction = STR_EMPTY;
    uint64_t number = 0;

    *rest = str_after(*rest, whole_len);
    if (rest->len > 0 && rest->ptr[0] == '.') {
        *rest = str_after(*rest, 1);
        fraction = str_first(*rest, digits_len(*rest));
        *rest = str_after(*rest, fraction.len);
    }
    if (whole.len == 0 && fraction.len == 0)
        return false;
    if (whole.len > 0 && (!str_to_u64(whole, &number) || number > INT64_MAX))
        return false;
    *out = (double)number;
    if (fraction.len > 0) {
        if (!str_to_u64(fraction, &number) || number > INT64_MAX)
            return false;
        *out += (double)number / pow(10, (double)fraction.len);
    }
    return true;
}

static bool size_parse_spelling(struct str s, bool binary_spelling, uint64_t *out_bytes,
                                struct err *err)
{
    struct str rest = s;
    bool negative = false;
    double sum = 0;

    if (rest.len > 0 && (rest.ptr[0] == '-' || rest.ptr[0] == '+')) {
        negative = rest.ptr[0] == '-';
        rest = str_after(rest, 1);
    }
    *out_bytes = 0;
    if (str_eq(rest, STR("0")))
        return true;
    if (rest.len == 0)
        return size_invalid(s, err);
    while (rest.len > 0) {
        double number;
        if (!size_number(&rest, &number))
            return size_invalid(s, err);
        size_t len = 0;
        while (len < rest.len && rest.ptr[len] != '.' && digits_len(str_after(rest, len)) == 0)
            len++;
        struct str unit = str_first(rest, len);
        rest = str_after(rest, len);
        int power = size_unit_power(unit, binary_spelling);
        if (power < 0)
            return err_set(err, ERR_BAD_DATA, "units: unknown unit " STR_FMT " in " STR_FMT,
                           STR_ARG(str_first(unit, ERR_TEXT_MAX)),
                           STR_ARG(str_first(s, ERR_TEXT_MAX)));
        sum += ldexp(number, 10 * power);
    }
    if (negative && sum > 0)
        return size_invalid(s, err);
    if (!(sum < TWO_POW_63))
        return err_set(err, ERR_BAD_DATA, "units: overflow parsing unit");
    *out_bytes = (uint64_t)sum;
    return true;
}

bool size_parse(struct str s, uint64_t *out_bytes, struct err *err)
{
    struct err ignored;

    return size_parse_spelling(s, true, out_bytes, &ignored) ||
           size_parse_spelling(s, false, out_bytes, err);
}

void size_print(struct buf *buf, uint64_t bytes)
{
    if (bytes == 0) {
        BUF_ADD(buf, "0B");
        return;
    }
    for (int power = (int)COUNT_OF(size_prefixes) - 1; power >= 0; power--) {
        uint64_t part = bytes >> (10 * power) & 1023;
        if (part == 0)
            continue;
        buf_add_u64(buf, part);
        if (power > 0) {
            buf_add_char(buf, size_prefixes[power - 1]);
            buf_add_char(buf, 'i');
        }
        buf_add_char(buf, 'B');
    }
}

/* Go's conversion on amd64. */
static int64_t int_of(double value)
{
    return fabs(value) < TWO_POW_63 ? (int64_t)value : INT64_MIN;
}

/* Seconds as a float, step by step as Go does it, so that the last millisecond is the same; what is beyond its times
 * wraps as it does there. */
static int64_t time_from_seconds(double value)
{
    double seconds;
    double fraction = isinf(value) ? NAN : modf(value, &seconds);

    if (isinf(value))
        seconds = value;
    fraction = round(fraction * 1000) / 1000;
    int64_t ns = int_of(fraction * (double)NS_PER_S);
    uint64_t whole = (uint64_t)int_of(seconds) + (uint64_t)(ns / NS_PER_S);
    ns %= NS_PER_S;
    if (ns < 0) {
        ns += NS_PER_S;
        whole--;
    }
    return (int64_t)(whole * 1000 + (uint64_t)(ns / NS_PER_MS));
}

bool api_time_parse(struct str s, int64_t *out_ms, struct err *err)
{
    double seconds;

    *out_ms = 0;
    if (number_parse_go(s, &seconds)) {
        *out_ms = time_from_seconds(seconds);
        return true;
    } else if (time_parse_rfc3339(s, out_ms)) {
        return true;
    } else if (str_eq(s, TIME_MIN_TEXT)) {
        *out_ms = TIME_MIN_MS;
        return true;
    } else if (str_eq(s, TIME_MAX_TEXT)) {
        *out_ms = TIME_MAX_MS;
        return true;
    }
    return err_set_quoted(err, ERR_BAD_DATA, "cannot parse ", s, " to a valid timestamp");
}

bool api_duration_parse(struct str s, int64_t *out_ms, struct err *err)
{
    struct err ignored;
    double seconds;

    *out_ms = 0;
    if (number_parse_go(s, &seconds)) {
        double ns = seconds * (double)NS_PER_S;
        if (ns > TWO_POW_63 || ns < -TWO_POW_63)
            return err_set_quoted(err, ERR_BAD_DATA, "cannot parse ", s,
                                  " to a valid duration. It overflows int64");
        /* NaN and 2^63 itself become the smallest duration in Go, which callers then refuse as
         * negative. */
        *out_ms = (ns < TWO_POW_63 ? (int64_t)ns : INT64_MIN) / NS_PER_MS;
        return true;
    }
    if (duration_parse(s, out_ms, &ignored))
        return true;
    return err_set_quoted(err, ERR_BAD_DATA, "cannot parse ", s, " to a valid duration");
}
