/* vec: growth by doubling, so that pushing is amortised O(1). */
#include "base/vec.h"

#include <stdbool.h>
#include <stdint.h>

#include "base/ensure.h"

#define VEC_CAPACITY_MIN 8

void vec_reserve(void **items, size_t *capacity, size_t count_wanted, size_t item_bytes)
{
    size_t bytes;

    if (LIKELY(count_wanted <= *capacity))
        return;
    size_t grown = *capacity > SIZE_MAX / 2 ? SIZE_MAX : 2 * *capacity;
    if (grown < VEC_CAPACITY_MIN)
        grown = VEC_CAPACITY_MIN;
    if (grown < count_wanted)
        grown = count_wanted;
    bool overflow = __builtin_mul_overflow(grown, item_bytes, &bytes);
    ENSURE(!overflow);
    *items = mem_realloc(*items, bytes);
    *capacity = grown;
}
