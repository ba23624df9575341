/* functions: the table of PromQL functions: name, types, and who evaluates them.
 *
 * functions.def holds one row each; the parser reads the types, the evaluator the implementation. */
#ifndef QUERY_FUNCTIONS_H
#define QUERY_FUNCTIONS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/str.h"
#include "ast.h"

#define FUNCTION_ARGS_MAX 5

/* Every function has an id FN_<NAME in capitals>, in the order of functions.def. */
enum function_id {
#define FUNCTION(id, name, returns, arg_count, variadic, experimental, ...) FN_##id,
#include "functions.def"
#undef FUNCTION
    FN_COUNT,
};

struct function {
    enum function_id id;
    const char *name;
    enum value_type returns;
    enum value_type args[FUNCTION_ARGS_MAX];
    int arg_count; /* Declared types. */
    int variadic;  /* As Go's Variadic: 0 takes exactly arg_count; n > 0 takes arg_count-1 up to arg_count-1+n of the last type; -1 the last repeats, 0 or more times. */
    bool experimental;
};

const struct function *function_find(struct str name); /* NULL when unknown. */
const struct function *function_of(enum function_id id);

#endif
