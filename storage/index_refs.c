/* index_refs: sorting what postings yield. Most lists are ascending already, for refs and pairs are numbered in the
 * order of appearance; the rest, and unions, go through a radix sort from the low digit up: 11 bits at a time, a digit
 * that all have in common costs nothing but its count. */
#include <stdbool.h>
#include <string.h>

#include "base/mem.h"
#include "index.h"
#include "index_list.h"

#define INSERTION_MAX 64 /* Below this the counts cost more than the sort. */
#define DIGIT_BITS    11
#define DIGIT_VALUES  (1U << DIGIT_BITS)
#define DIGIT_COUNT   3

static bool is_ascending(const uint32_t *numbers, size_t count)
{
    for (size_t i = 1; i < count; i++) {
        if (numbers[i - 1] >= numbers[i])
            return false;
    }
    return true;
}

static void sort_by_insertion(uint32_t *numbers, size_t count)
{
    for (size_t i = 1; i < count; i++) {
        uint32_t number = numbers[i];
        size_t at = i;
        for (; at > 0 && numbers[at - 1] > number; at--)
            numbers[at] = numbers[at - 1];
        numbers[at] = number;
    }
}

static uint32_t digit_of(uint32_t number, int digit)
{
    return number >> digit * DIGIT_BITS & (DIGIT_VALUES - 1);
}

/* Moves all to their digit's places; stable. */
static void sort_digit(const uint32_t *from, uint32_t *to, size_t count, int digit, size_t *places)
{
    size_t sum = 0;
    for (size_t value = 0; value < DIGIT_VALUES; value++) {
        size_t here = places[value];
        places[value] = sum;
        sum += here;
    }
    for (size_t i = 0; i < count; i++)
        to[places[digit_of(from[i], digit)]++] = from[i];
}

static void sort_by_radix(uint32_t *numbers, size_t count)
{
    size_t places[DIGIT_COUNT][DIGIT_VALUES] = {0};
    for (size_t i = 0; i < count; i++) {
        for (int digit = 0; digit < DIGIT_COUNT; digit++)
            places[digit][digit_of(numbers[i], digit)]++;
    }
    uint32_t *other = mem_alloc_array(count, sizeof(*other));
    uint32_t *from = numbers, *to = other;
    for (int digit = 0; digit < DIGIT_COUNT; digit++) {
        if (places[digit][digit_of(numbers[0], digit)] == count)
            continue;
        sort_digit(from, to, count, digit, places[digit]);
        uint32_t *swap = from;
        from = to;
        to = swap;
    }
    if (from != numbers)
        memcpy(numbers, from, count * sizeof(*numbers));
    mem_free(other);
}

size_t index_sort_unique(uint32_t *numbers, size_t count)
{
    if (is_ascending(numbers, count))
        return count;
    if (count <= INSERTION_MAX)
        sort_by_insertion(numbers, count);
    else
        sort_by_radix(numbers, count);
    size_t kept = 1;
    for (size_t i = 1; i < count; i++) {
        numbers[kept] = numbers[i];
        kept += numbers[i] != numbers[kept - 1];
    }
    return kept;
}

void refs_sort_unique(struct ref_vec *refs)
{
    refs->count = index_sort_unique(refs->items, refs->count);
}
