/* math_go_trig: angles and hyperbolic functions, with the polynomials of Cephes that Go uses. See math_go.c. */
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "model/math_go.h"

#define PI   3.14159265358979323846264338327950288
#define HUGE 0x1p29 /* From here on, all digits of 4/pi are needed. */

/* --- reduction to an eighth of a turn --- */

struct octant {
    uint64_t index; /* Even. */
    double rest;    /* In [-pi/4, pi/4] */
};

/* 4/pi in binary: the digit before the point, then 19 times 64 behind it. */
static const uint64_t FOUR_OVER_PI[] = {
    0x0000000000000001, 0x45f306dc9c882a53, 0xf84eafa3ea69bb81, 0xb6c52b3278872083,
    0xfca2c757bd778ac3, 0x6e48dc74849ba5c0, 0x0c925dd413a32439, 0xfc3bd63962534e7d,
    0xd1046bea5d768909, 0xd338e04d68befc82, 0x7323ac7306a673e9, 0x3908bf177bf25076,
    0x3ff12fffbc0b301f, 0xde5e2316b414da3e, 0xda6cfd9e4f96136e, 0x9e8c7ecd3cbfd45a,
    0xea4f758fd7cbe2f6, 0x7a0e73ef14a525d4, 0xd7f6bf623f1aba10, 0xac06608df8f6d757,
};

/* 64 binary digits of 4/pi from the given one on. */
static uint64_t digits_at(size_t digit, unsigned shift)
{
    uint64_t high = FOUR_OVER_PI[digit] << shift;
    return shift ? high | FOUR_OVER_PI[digit + 1] >> (64 - shift) : high;
}

/* x * 4/pi, of which only the last bits before the point and those behind it are worked out. */
static struct octant reduce_huge(double x)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof(bits));
    int exponent = (int)(bits >> 52) - 1023 - 52;
    uint64_t fraction = (bits & UINT64_C(0x000fffffffffffff)) | UINT64_C(1) << 52;
    size_t digit = (size_t)(exponent + 61) / 64;
    unsigned shift = (unsigned)(exponent + 61) % 64;
    unsigned __int128 middle = (unsigned __int128)digits_at(digit + 1, shift) * fraction;
    unsigned __int128 last = (unsigned __int128)digits_at(digit + 2, shift) * fraction;
    unsigned __int128 sum =
        ((unsigned __int128)(digits_at(digit, shift) * fraction) << 64) + middle + (last >> 64);
    uint64_t high = (uint64_t)(sum >> 64), low = (uint64_t)sum;

    struct octant octant = {.index = high >> 61};
    high = high << 3 | low >> 61;
    unsigned zeros = high ? (unsigned)__builtin_clzll(high) : 64;
    /* As a shift by 64 gives 0 in Go. */
    uint64_t left = zeros + 1 < 64 ? high << (zeros + 1) : 0;
    uint64_t right = zeros < 64 ? low >> (64 - (zeros + 1)) : low;
    uint64_t rest = (left | right) >> 12 | (uint64_t)(1023 - (zeros + 1)) << 52;
    memcpy(&octant.rest, &rest, sizeof(rest));
    if (octant.index & 1) {
        octant.index = (octant.index + 1) & 7;
        octant.rest--;
    }
    octant.rest *= PI / 4;
    return octant;
}

/* Of a number that is not negative. */
static struct octant reduce(double x)
{
    struct octant octant;
    if (x >= HUGE)
        return reduce_huge(x);
    octant.index = (uint64_t)(x * (4 / PI));
    octant.index += octant.index & 1;
    double y = (double)octant.index;
    octant.rest = ((x - y * 7.85398125648498535156e-1) - y * 3.77489470793079817668e-8) -
                  y * 2.69515142907905952645e-15;
    return octant;
}

/* --- sine, cosine, tangent --- */

static double sine_near_zero(double z)
{
    double zz = z * z;
    return z + z * zz *
                   ((((((1.58962301576546568060e-10 * zz) + -2.50507477628578072866e-8) * zz +
                       2.75573136213857245213e-6) *
                          zz +
                      -1.98412698295895385996e-4) *
                         zz +
                     8.33333333332211858878e-3) *
                        zz +
                    -1.66666666666666307295e-1);
}

static double cosine_near_zero(double z)
{
    double zz = z * z;
    return 1.0 - 0.5 * zz +
           zz * zz *
               ((((((-1.13585365213876817300e-11 * zz) + 2.08757008419747316778e-9) * zz +
                   -2.75573141792967388112e-7) *
                      zz +
                  2.48015872888517045348e-5) *
                     zz +
                 -1.38888888888730564116e-3) *
                    zz +
                4.16666666666665929218e-2);
}

double go_sin(double x)
{
    if (x == 0 || isnan(x))
        return x;
    if (isinf(x))
        return (double)NAN;
    struct octant octant = reduce(fabs(x));
    bool negative = (x < 0) != ((octant.index & 7) > 3);
    unsigned quarter = octant.index & 3;
    double y =
        quarter == 1 || quarter == 2 ? cosine_near_zero(octant.rest) : sine_near_zero(octant.rest);
    return negative ? -y : y;
}

double go_cos(double x)
{
    if (isnan(x) || isinf(x))
        return (double)NAN;
    struct octant octant = reduce(fabs(x));
    unsigned quarter = octant.index & 3;
    bool negative = ((octant.index & 7) > 3) != (quarter > 1);
    double y =
        quarter == 1 || quarter == 2 ? sine_near_zero(octant.rest) : cosine_near_zero(octant.rest);
    return negative ? -y : y;
}

double go_tan(double x)
{
    if (x == 0 || isnan(x))
        return x;
    if (isinf(x))
        return (double)NAN;
    struct octant octant = reduce(fabs(x));
    double z = octant.rest, zz = z * z, y = z;
    if (zz > 1e-14) {
        double above = ((-1.30936939181383777646e4 * zz) + 1.15351664838587416140e6) * zz +
                       -1.79565251976484877988e7;
        double below = (((zz + 1.36812963470692954678e4) * zz + -1.32089234440210967447e6) * zz +
                        2.50083801823357915839e7) *
                           zz +
                       -5.38695755929454629881e7;
        y = z + z * (zz * above / below);
    }
    if (octant.index & 2)
        y = -1 / y;
    return x < 0 ? -y : y;
}

/* --- their inverses --- */

static double atan_near_zero(double x)
{
    double z = x * x;
    double above = (((-8.750608600031904122785e-01 * z + -1.615753718733365076637e+01) * z +
                     -7.500855792314704667340e+01) *
                        z +
                    -1.228866684490136173410e+02) *
                       z +
                   -6.485021904942025371773e+01;
    double below = ((((z + 2.485846490142306297962e+01) * z + 1.650270098316988542046e+02) * z +
                     4.328810604912902668951e+02) *
                        z +
                    4.853903996359136964868e+02) *
                       z +
                   1.945506571482613964425e+02;
    z = z * above / below;
    return x * z + x;
}

/* Of a number that is not negative. */
static double atan_positive(double x)
{
    const double more = 6.123233995736765886130e-17; /* pi/2 minus what a double has of it. */
    if (x <= 0.66)
        return atan_near_zero(x);
    if (x > 2.41421356237309504880)
        return PI / 2 - atan_near_zero(1 / x) + more;
    return PI / 4 + atan_near_zero((x - 1) / (x + 1)) + 0.5 * more;
}

double go_atan(double x)
{
    if (x == 0)
        return x;
    return x > 0 ? atan_positive(x) : -atan_positive(-x);
}

double go_atan2(double y, double x)
{
    if (isnan(y) || isnan(x))
        return (double)NAN;
    if (y == 0)
        return copysign(x >= 0 && !signbit(x) ? 0 : PI, y);
    if (x == 0)
        return copysign(PI / 2, y);
    if (isinf(x) && x > 0)
        return copysign(isinf(y) ? PI / 4 : 0, y);
    if (isinf(x))
        return copysign(isinf(y) ? 3 * PI / 4 : PI, y);
    if (isinf(y))
        return copysign(PI / 2, y);
    double angle = go_atan(y / x);
    if (x < 0)
        return angle <= 0 ? angle + PI : angle - PI;
    return angle;
}

double go_asin(double x)
{
    double size = fabs(x);
    if (x == 0)
        return x;
    if (!(size <= 1))
        return (double)NAN;
    double other = sqrt(1 - size * size);
    double angle = size > 0.7 ? PI / 2 - atan_positive(other / size) : atan_positive(size / other);
    return x < 0 ? -angle : angle;
}

double go_acos(double x)
{
    return PI / 2 - go_asin(x);
}

/* --- hyperbolic functions --- */

double go_sinh(double x)
{
    double size = x < 0 ? -x : x, result;
    if (size > 21) {
        result = go_exp(size) * 0.5;
    } else if (size > 0.5) {
        double power = go_exp(size);
        result = (power - 1 / power) * 0.5;
    } else {
        double square = size * size;
        result = (((-0.2630563213397497062819489e+2 * square + -0.2894211355989563807284660366e+4) *
                       square +
                   -0.8991272022039509355398013511e+5) *
                      square +
                  -0.6307673640497716991184787251e+6) *
                 size;
        result = result / (((square + -0.173678953558233699533450911e+3) * square +
                            0.1521517378790019070696485176e+5) *
                               square +
                           -0.6307673640497716991212077277e+6);
    }
    return x < 0 ? -result : result;
}

double go_cosh(double x)
{
    double power = go_exp(fabs(x));
    return fabs(x) > 21 ? power * 0.5 : (power + 1 / power) * 0.5;
}

double go_tanh(double x)
{
    double size = fabs(x);
    if (size > 0.5 * 8.8029691931113054295988e+01)
        return x < 0 ? -1 : 1;
    if (size >= 0.625) {
        double z = 1 - 2 / (go_exp(2 * size) + 1);
        return x < 0 ? -z : z;
    }
    if (x == 0)
        return x;
    double s = x * x;
    double above = (-9.64399179425052238628e-1 * s + -9.92877231001918586564e1) * s +
                   -1.61468768441708447952e3;
    double below = ((s + 1.12811678491632931402e2) * s + 2.23548839060100448583e3) * s +
                   4.84406305325125486048e3;
    return x + x * s * above / below;
}

double go_asinh(double x)
{
    double size = fabs(x), result;
    if (isnan(x) || isinf(x))
        return x;
    if (size > 0x1p28)
        result = go_log(size) + 6.93147180559945286227e-01;
    else if (size > 2)
        result = go_log(2 * size + 1 / (sqrt(size * size + 1) + size));
    else if (size < 0x1p-28)
        result = size;
    else
        result = go_log1p(size + size * size / (1 + sqrt(1 + size * size)));
    return x < 0 ? -result : x == 0 ? x : result;
}

double go_acosh(double x)
{
    if (x < 1 || isnan(x))
        return (double)NAN;
    if (x == 1)
        return 0;
    if (x >= 0x1p28)
        return go_log(x) + 0.693147180559945309417232121458176568;
    if (x > 2)
        return go_log(2 * x - 1 / (x + sqrt(x * x - 1)));
    double t = x - 1;
    return go_log1p(t + sqrt(2 * t + t * t));
}

double go_atanh(double x)
{
    double size = fabs(x), result;
    if (!(size <= 1))
        return (double)NAN;
    if (size == 1)
        return x > 0 ? INFINITY : -INFINITY;
    if (size < 0x1p-28) {
        result = size;
    } else if (size < 0.5) {
        result = size + size;
        result = 0.5 * go_log1p(result + result * size / (1 - size));
    } else {
        result = 0.5 * go_log1p((size + size) / (1 - size));
    }
    return x < 0 ? -result : x == 0 ? x : result;
}
