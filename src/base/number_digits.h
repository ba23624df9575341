/* number_digits: the shortest decimal that reads back as a double, and of the shortest the nearest. Private to base. */
#ifndef BASE_NUMBER_DIGITS_H
#define BASE_NUMBER_DIGITS_H

#include <stdint.h>

/* value is digits * 10^exponent; digits may end in zeroes. */
struct short_decimal {
    uint64_t digits; /* At most 17 of them. */
    int exponent;
};

/* Of a finite value above zero. */
struct short_decimal short_decimal_of(double value);

#endif
