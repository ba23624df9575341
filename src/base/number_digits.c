/* number_digits: shortest digits by Giulietti's Schubfach.
 *
 * A double c * 2^q stands for all reals that round to it. The power of ten k is the largest whose multiples are at least
 * one in that interval; candidates are the two multiples of 10^k around the value, and the one or two of 10^(k + 1).
 * One 128-bit power of ten and three multiplications, kept exact enough by "rounding to odd" (the lowest bit says that
 * something was cut off), decide between them. to_chars gives the same digits in three times the time. */
#include "number_digits.h"

#include <stdbool.h>
#include <string.h>

#include "base/ensure.h"
#include "number_powers.h"

#define MANTISSA_BITS 52
#define MANTISSA_MASK ((UINT64_C(1) << MANTISSA_BITS) - 1)
#define HIDDEN_BIT    (UINT64_C(1) << MANTISSA_BITS)
#define EXPONENT_BIAS 1075

__extension__ typedef unsigned __int128 wide;

/* floor(log10(2^e)), or of 3/4 2^e. */
static inline int log10_pow2(int e, bool three_quarters)
{
    return (e * 1262611 - (three_quarters ? 524031 : 0)) >> 22;
}

/* floor(log2(10^k)) */
static inline int log2_pow10(int k)
{
    return (k * 1741647) >> 19;
}

/* The upper 64 bits of power * factor; what is cut off sets the lowest. */
static inline uint64_t multiply_to_odd(const uint64_t power[2], uint64_t factor)
{
    wide low = (wide)power[1] * factor;
    wide high = (wide)power[0] * factor + (uint64_t)(low >> 64);
    return (uint64_t)(high >> 64) | ((uint64_t)high > 1);
}

struct short_decimal short_decimal_of(double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof(bits));
    uint64_t mantissa = bits & MANTISSA_MASK;
    int biased = (int)(bits >> MANTISSA_BITS);
    uint64_t c = biased ? mantissa | HIDDEN_BIT : mantissa;
    int q = (biased ? biased : 1) - EXPONENT_BIAS;
    bool is_even = c % 2 == 0;
    bool closer_below = mantissa == 0 && biased > 1; /* Below a power of two doubles are denser. */

    int k = log10_pow2(q, closer_below);
    int h = q + log2_pow10(-k) + 1;
    ENSURE(-k >= DIGITS_POWER_MIN && -k <= DIGITS_POWER_MAX && h >= 1 && h <= 4);
    const uint64_t *power = digits_powers[-k - DIGITS_POWER_MIN];
    uint64_t at = 4 * c;
    uint64_t below = multiply_to_odd(power, (at - 2 + closer_below) << h);
    uint64_t middle = multiply_to_odd(power, at << h);
    uint64_t above = multiply_to_odd(power, (at + 2) << h);
    uint64_t lower = below + !is_even, upper = above - !is_even;

    uint64_t s = middle / 4;
    if (s >= 10) {
        uint64_t shorter = s / 10;
        bool has_lower = lower <= 40 * shorter, has_upper = 40 * shorter + 40 <= upper;
        if (has_lower != has_upper)
            return (struct short_decimal){shorter + has_upper, k + 1};
    }
    bool has_lower = lower <= 4 * s, has_upper = 4 * s + 4 <= upper;
    if (has_lower != has_upper)
        return (struct short_decimal){s + has_upper, k};
    uint64_t half = 4 * s + 2;
    bool up = middle > half || (middle == half && s % 2 == 1);
    return (struct short_decimal){s + up, k};
}
