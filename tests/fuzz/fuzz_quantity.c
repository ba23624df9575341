/* Eight bytes as a double: what is written is a quantity, and as near as a quantity gets. */
#include <math.h>
#include <stdint.h>

#include "quantity.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void check(bool (*add)(struct buf *out, double value), double value, double unit)
{
    struct buf out;
    int64_t whole;

    buf_init(&out, 64);
    if (!add(&out, value)) {
        ENSURE(out.len == 0);
        ENSURE(!(fabs(value) * unit < 0x1p62));
        buf_deinit(&out);
        return;
    }
    struct str text = buf_str(&out);
    double scale = 1;
    if (str_ends(text, STR("Ki")))
        scale = 1024;
    else if (str_ends(text, STR("m")))
        scale = 1e-3;
    else if (str_ends(text, STR("n")))
        scale = 1e-9;
    size_t suffix = scale == 1024 ? 2 : scale < 1;
    ENSURE(str_to_i64(str_first(text, text.len - suffix), &whole));
    ENSURE(fabs((double)whole * scale - value) <= 1 / unit + fabs(value) * 1e-12);
    buf_deinit(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    double value;

    if (len < sizeof(value))
        return 0;
    memcpy(&value, data, sizeof(value));
    check(quantity_add_milli, value, 1e3);
    check(quantity_add_nano, value, 1e9);
    check(quantity_add_bytes, value, 1);
    return 0;
}
