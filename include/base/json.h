/* json: JSON that comes in, as an immutable tree. Writing needs no tree: buf_add_json_string. */
#ifndef BASE_JSON_H
#define BASE_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"

struct json; /* One node; the root owns the tree. */

enum json_type { JSON_NULL, JSON_BOOL, JSON_NUMBER, JSON_STRING, JSON_ARRAY, JSON_OBJECT };

/* Depth at most 64. Duplicate keys are an error. The error names line and column. */
MUST_CHECK bool json_parse(struct json **out, struct str text, struct err *err);
void json_free(struct json *root);

enum json_type json_type(const struct json *node); /* NULL counts as JSON_NULL in all of these. */
struct str json_str(const struct json *node);       /* Empty unless a string. Borrowed from the tree. */
double json_number(const struct json *node);
bool json_bool(const struct json *node);
size_t json_count(const struct json *node); /* Items of an array or object. */
const struct json *json_at(const struct json *node, size_t index);
const struct json *json_get(const struct json *node, const char *key); /* NULL when absent. */
/* Walks an object: *key and the value at `index`, in the text's order. NULL past the end. */
const struct json *json_entry(const struct json *node, size_t index, struct str *key);

#endif
