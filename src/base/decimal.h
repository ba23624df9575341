/* decimal: unsigned integers as decimal text, two digits at a step. Private to base. */
#ifndef BASE_DECIMAL_H
#define BASE_DECIMAL_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define DECIMAL_U64_MAX 20

static const char decimal_pairs[201] = "00010203040506070809101112131415161718192021222324"
                                       "25262728293031323334353637383940414243444546474849"
                                       "50515253545556575859606162636465666768697071727374"
                                       "75767778798081828384858687888990919293949596979899";

/* Writes the digits of value so that they end before `end`; returns where they start. */
static inline char *decimal_u64_before(char *end, uint64_t value)
{
    while (value >= 100) {
        end -= 2;
        memcpy(end, decimal_pairs + 2 * (value % 100), 2);
        value /= 100;
    }
    if (value >= 10) {
        end -= 2;
        memcpy(end, decimal_pairs + 2 * value, 2);
    } else {
        *--end = (char)('0' + value);
    }
    return end;
}

#endif
