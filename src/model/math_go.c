/* math_go: exponentials, logarithms and powers; math_go_trig.c has the angles.
 *
 * What decides the last bit is how the argument is reduced, which polynomial follows and in which order it is summed. These
 * are the well-known ones that Go uses: Remez polynomials of FreeBSD's libm for logarithms and 2^x, a Taylor series with
 * fused steps for e^x, repeated squaring for powers. No step here may be fused or reordered but those written as fma. */
#include "model/math_go.h"

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define LN2_HIGH 6.93147180369123816490e-01
#define LN2_LOW  1.90821492927058770002e-10
#define FRACTION UINT64_C(0x000fffffffffffff)

static uint64_t bits_of(double x)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof(bits));
    return bits;
}

static double from_bits(uint64_t bits)
{
    double x;
    memcpy(&x, &bits, sizeof(x));
    return x;
}

/* --- logarithms --- */

/* Subnormal numbers are not scaled before they are taken apart, as in Go's assembler. */
double go_log(double x)
{
    if (x == 0)
        return -INFINITY;
    if (isnan(x) || (isinf(x) && x > 0))
        return x;
    if (x < 0)
        return (double)NAN;
    uint64_t bits = bits_of(x);
    double part = from_bits((bits & FRACTION) | UINT64_C(0x3fe0000000000000));
    double k = (double)((int)(bits >> 52) - 0x3fe);
    if (!(7.07106781186547524401e-01 < part)) {
        part *= 2;
        k -= 1;
    }
    double f = part - 1, s = f / (2 + f), s2 = s * s, s4 = s2 * s2;
    double odd = s2 * (6.666666666666735130e-01 +
                       s4 * (2.857142874366239149e-01 +
                             s4 * (1.818357216161805012e-01 + s4 * 1.479819860511658591e-01)));
    double even = s4 * (3.999999999940941908e-01 +
                        s4 * (2.222219843214978396e-01 + s4 * 1.531383769920937332e-01));
    double rest = odd + even, half_square = 0.5 * f * f;
    return k * LN2_HIGH - ((half_square - (s * (half_square + rest) + k * LN2_LOW)) - f);
}

double go_log10(double x)
{
    return go_log(x) * 0.434294481903251827651128918916605082;
}

double go_log2(double x)
{
    int exponent = 0;
    double fraction = frexp(x, &exponent);
    if (isnan(x) || isinf(x))
        exponent = 0;
    if (fraction == 0.5)
        return (double)(exponent - 1);
    return go_log(fraction) * 1.44269504088896340735992468100189214 + (double)exponent;
}

/* 1 + x as 2^k * (1 + f), and what was lost in the sum. */
struct log1p_parts {
    int k;
    double f, lost;
    bool is_near_one; /* f is below 2^-20. */
};

static struct log1p_parts log1p_split(double x)
{
    struct log1p_parts parts = {.k = 1};
    double u = x;
    if (fabs(x) < 0x1p53) {
        u = 1.0 + x;
        parts.k = (int)(bits_of(u) >> 52) - 1023;
        parts.lost = (parts.k > 0 ? 1.0 - (u - x) : x - (u - 1.0)) / u;
    } else {
        parts.k = (int)(bits_of(u) >> 52) - 1023;
    }
    uint64_t fraction = bits_of(u) & FRACTION;
    if (fraction < UINT64_C(0x0006a09e667f3bcd)) {
        u = from_bits(fraction | UINT64_C(0x3ff0000000000000));
        parts.is_near_one = fraction == 0;
    } else {
        parts.k++;
        u = from_bits(fraction | UINT64_C(0x3fe0000000000000));
        parts.is_near_one = (UINT64_C(0x0010000000000000) - fraction) >> 2 == 0;
    }
    parts.f = u - 1.0;
    return parts;
}

double go_log1p(double x)
{
    if (x < -1 || isnan(x))
        return (double)NAN;
    if (x == -1)
        return -INFINITY;
    if (isinf(x))
        return x;
    struct log1p_parts parts = {.f = x};
    if (fabs(x) < 4.142135623730950488017e-01) {
        if (fabs(x) < 0x1p-54)
            return x;
        if (fabs(x) < 0x1p-29)
            return x - x * x * 0.5;
    }
    bool is_small = fabs(x) < 4.142135623730950488017e-01 && x > -2.928932188134524755992e-01;
    if (!is_small)
        parts = log1p_split(x);
    double f = parts.f, k = (double)parts.k, half_square = 0.5 * f * f;
    if (parts.is_near_one) {
        if (f == 0)
            return parts.k == 0 ? 0 : k * LN2_HIGH + (parts.lost + k * LN2_LOW);
        double rest = half_square * (1.0 - 0.66666666666666666 * f);
        if (parts.k == 0)
            return f - rest;
        return k * LN2_HIGH - ((rest - (k * LN2_LOW + parts.lost)) - f);
    }
    double s = f / (2.0 + f), z = s * s;
    double rest =
        z * (6.666666666666735130e-01 +
             z * (3.999999999940941908e-01 +
                  z * (2.857142874366239149e-01 +
                       z * (2.222219843214978396e-01 +
                            z * (1.818357216161805012e-01 +
                                 z * (1.531383769920937332e-01 + z * 1.479819860511658591e-01))))));
    if (parts.k == 0)
        return f - (half_square - s * (half_square + rest));
    return k * LN2_HIGH -
           ((half_square - (s * (half_square + rest) + (k * LN2_LOW + parts.lost))) - f);
}

/* --- exponentials --- */

/* x * 2^exponent, where a subnormal result is rounded once. */
static double scale(double x, int exponent)
{
    int biased = exponent + 0x3ff;
    if (biased >= 0x7ff)
        return INFINITY;
    if (biased > 0)
        return x * from_bits((uint64_t)biased << 52);
    if (biased < -52)
        return 0;
    return x * from_bits((uint64_t)(biased + 0x3fe) << 52) * from_bits(UINT64_C(1) << 52);
}

/* e^x = 2^k * (e^(r/16))^16; squares are taken of e^y - 1, which is y (y + 2) for the next y. */
double go_exp(double x)
{
    if (isnan(x) || isinf(x))
        return isinf(x) && x < 0 ? 0 : x;
    if (x > 7.09782712893384e+02)
        return INFINITY;
    double turns = x * 1.4426950408889634073599246810018920;
    if (turns < -2000)
        return 0;
    double k = rint(turns);
    double y = fma(-k, 0.69314718055966295651160180568695068359375, x);
    y = fma(-k, 0.28235290563031577122588448175013436025525412068e-12, y) * 0.0625;
    double series = 2.4801587301587301587e-5;
    series = fma(y, series, 1.9841269841269841270e-4);
    series = fma(y, series, 1.3888888888888888889e-3);
    series = fma(y, series, 8.3333333333333333333e-3);
    series = fma(y, series, 4.1666666666666666667e-2);
    series = fma(y, series, 1.6666666666666666667e-1);
    series = fma(y, series, 0.5);
    series = fma(y, series, 1.0);
    y *= series;
    y *= y + 2;
    y *= y + 2;
    y *= y + 2;
    return scale(fma(y + 2, y, 1.0), (int)k);
}

double go_exp2(double x)
{
    if (isnan(x))
        return x;
    if (x > 1.0239999999999999e+03)
        return INFINITY;
    if (x < -1.0740e+03)
        return 0;
    int k = x > 0 ? (int)(x + 0.5) : x < 0 ? (int)(x - 0.5) : 0;
    double t = x - (double)k;
    double high = t * LN2_HIGH, low = -t * LN2_LOW;
    double r = high - low;
    double square = r * r;
    double c = r - square * (1.66666666666666657415e-01 +
                             square * (-2.77777777770155933842e-03 +
                                       square * (6.61375632143793436117e-05 +
                                                 square * (-1.65339022054652515390e-06 +
                                                           square * 4.13813679705723846039e-08))));
    return ldexp(1 - ((low - (r * c) / (2 - c)) - high), k);
}

/* --- powers --- */

static bool is_odd(double x)
{
    return fabs(x) < 0x1p53 && fmod(x, 2) != 0 && trunc(x) == x;
}

/* What pow is at its edges; false: nothing special. */
static bool pow_is_special(double x, double y, double *out)
{
    if (y == 0 || x == 1)
        *out = 1;
    else if (y == 1)
        *out = x;
    else if (isnan(x) || isnan(y))
        *out = (double)NAN;
    else if (x == 0 && y < 0)
        *out = signbit(x) && is_odd(y) ? -INFINITY : INFINITY;
    else if (x == 0)
        *out = signbit(x) && is_odd(y) ? x : 0;
    else if (isinf(y))
        *out = x == -1 ? 1 : (fabs(x) < 1) == (y > 0) ? 0 : INFINITY;
    else if (isinf(x) && x < 0)
        *out = go_pow(1 / x, -y);
    else if (isinf(x))
        *out = y < 0 ? 0 : INFINITY;
    else if (y == 0.5)
        *out = sqrt(x);
    else if (y == -0.5)
        *out = 1 / sqrt(x);
    else
        return false;
    return true;
}

double go_pow(double x, double y)
{
    double result, whole;
    if (pow_is_special(x, y, &result))
        return result;
    double part = modf(fabs(y), &whole);
    if (part != 0 && x < 0)
        return (double)NAN;
    if (whole >= 0x1p63)
        return x == -1 ? 1 : (fabs(x) < 1) == (y > 0) ? 0 : INFINITY;
    result = 1;
    if (part != 0) {
        if (part > 0.5) {
            part--;
            whole++;
        }
        result = go_exp(part * go_log(x));
    }
    int exponent = 0, step;
    double square = frexp(x, &step);
    for (uint64_t i = (uint64_t)whole; i != 0; i >>= 1) {
        if (step < -(1 << 12) || step > 1 << 12) { /* Far beyond what a double holds. */
            exponent += step;
            break;
        }
        if (i & 1) {
            result *= square;
            exponent += step;
        }
        square *= square;
        step *= 2;
        if (square < 0.5) {
            square += square;
            step--;
        }
    }
    return y < 0 ? ldexp(1 / result, -exponent) : ldexp(result, exponent);
}
