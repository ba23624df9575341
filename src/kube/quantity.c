/* quantity: see quantity.h. */
#include "quantity.h"

#include <math.h>

#define INT64_LIMIT 0x1p63

/* value * scale toward zero. The product may be inexact: what is within one part in 2^50 of a whole
 * number is that number, so that 0.29 is 290m and not 289m. */
static bool scale_whole(double value, double scale, int64_t *out)
{
    double product = value * scale;
    double near = nearbyint(product);

    if (!isfinite(product) || product >= INT64_LIMIT || product <= -INT64_LIMIT)
        return false;
    if (fabs(product - near) <= fabs(product) * 0x1p-50)
        product = near;
    if (product >= INT64_LIMIT || product <= -INT64_LIMIT)
        return false;
    *out = (int64_t)product;
    return true;
}

bool quantity_is_possible(double value)
{
    int64_t whole;
    return scale_whole(value, 1000, &whole);
}

bool quantity_add_milli(struct buf *out, double value)
{
    int64_t milli;

    if (!scale_whole(value, 1000, &milli))
        return false;
    if (milli % 1000 == 0) {
        buf_add_i64(out, milli / 1000);
        return true;
    }
    buf_add_i64(out, milli);
    BUF_ADD(out, "m");
    return true;
}

bool quantity_add_nano(struct buf *out, double value)
{
    int64_t nano;

    if (!scale_whole(value, 1e9, &nano))
        return false;
    if (nano % 1000000000 == 0) {
        buf_add_i64(out, nano / 1000000000);
        return true;
    }
    buf_add_i64(out, nano);
    BUF_ADD(out, "n");
    return true;
}

bool quantity_add_bytes(struct buf *out, double value)
{
    int64_t bytes;

    if (!scale_whole(value, 1, &bytes))
        return false;
    if (bytes != 0 && bytes % 1024 == 0) {
        buf_add_i64(out, bytes / 1024);
        BUF_ADD(out, "Ki");
        return true;
    }
    buf_add_i64(out, bytes);
    return true;
}
