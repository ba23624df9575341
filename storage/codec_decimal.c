/* codec_decimal: doubles that are integer / 10^exponent, bit for bit.
 *
 * What exporters print is decimal text, so most floats of a cluster have a short exponent. The test is ALP's: scale,
 * round, divide again, compare the bits. Exponent 0 takes any integer that a double holds, up to 2^62. */
#include "codec_private.h"

#include <math.h>

#include "model/sample.h"

#define INTEGER_EXACT   9007199254740992.0    /* 2^53 */
#define INTEGER_MAX     4611686018427387904.0 /* 2^62: differences of two fit in 64 bits. */
#define PROBE_COUNT     256
#define ODD_SHARE_LIMIT 64 /* One value in so many may be odd before the exponent grows. */

const double CODEC_POWERS[CODEC_EXPONENT_MAX + 1] = {1e0, 1e1, 1e2, 1e3,  1e4,  1e5, 1e6,
                                                     1e7, 1e8, 1e9, 1e10, 1e11, 1e12};

/* Rounding by half a step spares a call; beyond 2^52 every double is an integer already. */
static inline bool decimal_of(double value, uint32_t exponent, int64_t *out)
{
    double scaled = value * CODEC_POWERS[exponent];
    double limit = exponent ? INTEGER_EXACT : INTEGER_MAX;
    if (!(scaled > -limit && scaled < limit))
        return false;
    bool has_fraction = exponent > 0 && fabs(scaled) < INTEGER_EXACT / 2;
    int64_t integer = (int64_t)(has_fraction ? scaled + copysign(0.5, scaled) : scaled);
    if (sample_bits((double)integer / CODEC_POWERS[exponent]) != sample_bits(value))
        return false;
    *out = integer;
    return true;
}

bool codec_decimal_of(double value, uint32_t exponent, int64_t *integer)
{
    return decimal_of(value, exponent, integer);
}

bool codec_decimal_near(double value, uint32_t exponent, int64_t *integer, int64_t *units)
{
    double scaled = value * CODEC_POWERS[exponent];
    if (!(fabs(scaled) < INTEGER_EXACT / 2))
        return false;
    *integer = (int64_t)(scaled + copysign(0.5, scaled));
    *units = (int64_t)((uint64_t)codec_bits_order(sample_bits(value)) -
                       (uint64_t)codec_bits_order(
                           sample_bits((double)*integer / CODEC_POWERS[exponent])));
    return true;
}

uint32_t codec_decimal_exponent(const double *values, uint32_t count)
{
    uint32_t failed[CODEC_EXPONENT_MAX + 2] = {0};
    uint32_t exponent = 0, limit = count / ODD_SHARE_LIMIT;
    int64_t integer;
    for (uint32_t i = 0; i < count; i++) {
        if (decimal_of(values[i], exponent, &integer))
            continue;
        uint32_t need = exponent + 1;
        while (need <= CODEC_EXPONENT_MAX && !decimal_of(values[i], need, &integer))
            need++;
        failed[need]++;
        /* The least exponent that leaves few odd ones; what no exponent takes is odd with all. */
        uint32_t beyond = 0, least = CODEC_EXPONENT_MAX;
        while (least > exponent && beyond + failed[least] <= limit)
            beyond += failed[least--];
        exponent = least;
        if (failed[CODEC_EXPONENT_MAX + 1] > PROBE_COUNT && failed[CODEC_EXPONENT_MAX + 1] > i / 2)
            break; /* True floats: no need to look on. */
    }
    return exponent;
}

uint32_t codec_decimal_convert(const double *values, uint32_t count, uint32_t exponent,
                               int64_t *integers, bool *is_odd)
{
    uint32_t odd_count = 0, first_good = count;
    int64_t last = 0;
    for (uint32_t i = 0; i < count; i++) {
        int64_t integer;
        is_odd[i] = !decimal_of(values[i], exponent, &integer);
        if (!is_odd[i])
            last = integer;
        else
            odd_count++;
        if (!is_odd[i] && first_good == count)
            first_good = i;
        integers[i] = last;
    }
    /* Odd ones at the front carry the first good integer, so that no jump is coded. */
    for (uint32_t i = 0; i < first_good && first_good < count; i++)
        integers[i] = integers[first_good];
    return odd_count;
}
