/* functions: the table, and how to find a row in it. */
#include "functions.h"

#include "query.h"

#include "base/ensure.h"

static const struct function functions[] = {
#define FUNCTION(id, name, returns, arg_count, variadic, experimental, ...)                        \
    {FN_##id, name, returns, {__VA_ARGS__}, arg_count, variadic, experimental},
#include "functions.def"
#undef FUNCTION
};

const struct function *function_find(struct str name)
{
    size_t low = 0, high = COUNT_OF(functions);

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = str_cmp(name, str_of(functions[middle].name));
        if (order == 0)
            return &functions[middle];
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

const struct function *function_of(enum function_id id)
{
    ENSURE(id < FN_COUNT);
    return &functions[id];
}

const char *query_function_name(size_t index, bool *experimental)
{
    if (index >= COUNT_OF(functions))
        return NULL;
    *experimental = functions[index].experimental;
    return functions[index].name;
}
