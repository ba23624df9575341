/* label_names: names of labels that many target groups have, each held once and counted. Any thread. */
#ifndef MODEL_LABEL_NAMES_H
#define MODEL_LABEL_NAMES_H

#include <stdint.h>

#include "base/str.h"

/* The number of a name, with a reference; small numbers are used again. */
uint32_t label_name_ref(struct str name);
void label_name_unref(uint32_t number);
struct str label_name_text(uint32_t number); /* Lives as long as the reference. */

#endif
