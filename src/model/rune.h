/* rune: one code point: its UTF-8 form, and its upper and lower case, independent of the process'
 * locale. */
#ifndef MODEL_RUNE_H
#define MODEL_RUNE_H

#include <stddef.h>
#include <stdint.h>

#define RUNE_BYTES_MAX 4

uint32_t rune_upper(uint32_t rune);
uint32_t rune_lower(uint32_t rune);
size_t rune_put(char *out, uint32_t rune); /* Writes 1 to RUNE_BYTES_MAX bytes; returns how many. */

#endif
