/* Any bytes as a selector: refused, or matchers that PromQL reads and JSON that parses. */
#include <stdint.h>

#include "base/json.h"
#include "query.h"
#include "selector.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct label labels[] = {{STR("a"), STR("b")}, {STR("c"), STR("")}};
    struct str text = {(const char *)data, len};
    struct selector selector;
    struct matchers matchers;
    struct json *json;
    struct arena arena;
    struct buf out;
    struct err err = {0};
    bool first = true;

    if (!str_is_utf8(text))
        return 0; /* Parameters of requests are, or are refused before. */
    arena_init(&arena, 0);
    buf_init(&out, 16 << 20);
    if (selector_parse(&selector, text, &arena, &err)) {
        (void)selector_matches(&selector, labels, 2);
        BUF_ADD(&out, "[");
        selector_add_json(&selector, &out);
        BUF_ADD(&out, "]");
        ENSURE(json_parse(&json, buf_str(&out), &err));
        json_free(json);
        buf_clear(&out);
        BUF_ADD(&out, "{__name__=\"x\"");
        first = false;
        if (selector_add_matchers(&selector, NULL, &out, &first, &err)) {
            BUF_ADD(&out, "}");
            if (query_parse_selector(buf_str(&out), &matchers, &err)) {
                ENSURE(matchers.count == selector.count + 1);
                matchers_deinit(&matchers);
            }
        }
    }
    buf_deinit(&out);
    arena_deinit(&arena);
    return 0;
}
