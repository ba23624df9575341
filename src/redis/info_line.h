/* info_line: the small syntax of Redis' texts: field:value lines and key=value,key=value lists. Private to redis. */
#ifndef REDIS_INFO_LINE_H
#define REDIS_INFO_LINE_H

#include <stdbool.h>

#include "base/str.h"

struct info_line {
    struct str field, value;
};

/* `text` is trimmed already. */
bool info_line_parse(struct str text, struct info_line *out);

/* The value of `key`; ptr NULL when the list does not have it. */
struct str info_pair(struct str list, struct str key);
/* Each part has a key and a value. */
bool info_pairs_valid(struct str list);

#endif
