/* info_line: see info_line.h. */
#include "info_line.h"

#include "info.h"

bool info_line_parse(struct str text, struct info_line *out)
{
    if (text.len < 2)
        return false;
    out->field = str_cut(text, ':', &out->value);
    return out->value.ptr != NULL;
}

struct str info_pair(struct str list, struct str key)
{
    while (list.ptr) {
        struct str value, name = str_cut(str_cut(list, ',', &list), '=', &value);
        if (value.ptr && str_eq(name, key))
            return value;
    }
    return (struct str){NULL, 0};
}

bool info_pairs_valid(struct str list)
{
    while (list.ptr) {
        struct str part = str_cut(list, ',', &list);
        if (str_find_char(part, '=') == part.len)
            return false;
    }
    return true;
}

struct str info_field(struct str info, struct str field)
{
    struct str found = {NULL, 0};
    while (info.ptr) {
        struct info_line line;
        if (info_line_parse(str_trim(str_cut(info, '\n', &info)), &line) &&
            str_eq(line.field, field))
            found = line.value;
    }
    return found;
}
