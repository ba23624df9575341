/* Reads bytes as a number, and eight of them as a double: what is written must read back the same.
 */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/number.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void check(bool good)
{
    if (!good)
        abort();
}

static bool same(double a, double b)
{
    return memcmp(&a, &b, sizeof(a)) == 0;
}

static void check_round_trip(double value)
{
    for (int form = NUMBER_API; form <= NUMBER_G; form++) {
        char text[NUMBER_TEXT_MAX];
        double back = 0;
        size_t text_len = number_format(text, value, (enum number_form)form);
        check(text_len > 0 && text_len <= NUMBER_TEXT_MAX);
        check(number_parse((struct str){text, text_len}, &back));
        check(isnan(value) ? isnan(back) : same(value, back));
    }
}

/* from_chars and the fast path against the C library, where all three know the grammar. */
static void check_strtod(const uint8_t *data, size_t len, double value)
{
    char text[512];
    char *end;

    if (len >= sizeof(text))
        return;
    memcpy(text, data, len);
    text[len] = '\0';
    double wanted = strtod(text, &end);
    check(end == text + len);
    check(isnan(value) ? isnan(wanted) : same(value, wanted));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct buf buf;
    double value = 0;

    if (number_parse((struct str){(const char *)data, len}, &value)) {
        check_strtod(data, len, value);
        check_round_trip(value);
    }
    if (len < sizeof(value))
        return 0;
    memcpy(&value, data, sizeof(value));
    check_round_trip(value);
    buf_init(&buf, 1024);
    buf_add_number_fixed(&buf, value, 3);
    buf_add_number_fixed(&buf, value, -4);
    int64_t time_ms;
    memcpy(&time_ms, data, sizeof(time_ms));
    buf_add_time_ms(&buf, time_ms);
    check(!buf.overflow);
    buf_deinit(&buf);
    return 0;
}
