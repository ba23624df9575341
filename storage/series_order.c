/* series_order: the order of series in files. A histogram's buckets stand side by side, the one with the
 * highest bound first: each can be coded against the one before it, and +Inf, which is the count of all, stands alone. */
#include <math.h>

#include "base/number.h"
#include "disk_index.h"

enum bound_class { BOUND_NONE, BOUND_NUMBER, BOUND_TEXT };

static const struct label *label_find(const struct label *labels, size_t count, struct str name)
{
    for (size_t i = 0; i < count; i++) {
        if (str_eq(labels[i].name, name))
            return &labels[i];
    }
    return NULL;
}

static struct str value_of(const struct label *label)
{
    return label ? label->value : STR_EMPTY;
}

static enum bound_class bound_read(const struct label *label, double *number)
{
    *number = 0;
    if (!label)
        return BOUND_NONE;
    return number_parse(label->value, number) && !isnan(*number) ? BOUND_NUMBER : BOUND_TEXT;
}

static int bound_order(const struct label *a, const struct label *b)
{
    double x, y;
    if (str_eq(value_of(a), value_of(b)) && !a == !b)
        return 0;
    enum bound_class class_a = bound_read(a, &x), class_b = bound_read(b, &y);
    if (class_a != class_b)
        return class_a < class_b ? -1 : 1;
    if (class_a == BOUND_NUMBER && (x < y || x > y))
        return x > y ? -1 : 1;
    return str_cmp(value_of(a), value_of(b));
}

int series_order(const struct label *a, size_t a_count, const struct label *b, size_t b_count)
{
    const struct label *a_metric = label_find(a, a_count, LABEL_NAME);
    const struct label *b_metric = label_find(b, b_count, LABEL_NAME);
    const struct label *a_bound = NULL, *b_bound = NULL;
    int order = str_cmp(value_of(a_metric), value_of(b_metric));
    size_t i = 0, j = 0;

    if (order)
        return order;
    for (;; i++, j++) {
        for (; i < a_count && (&a[i] == a_metric || str_eq(a[i].name, LABEL_LE)); i++)
            a_bound = &a[i] == a_metric ? a_bound : &a[i];
        for (; j < b_count && (&b[j] == b_metric || str_eq(b[j].name, LABEL_LE)); j++)
            b_bound = &b[j] == b_metric ? b_bound : &b[j];
        if (i == a_count || j == b_count)
            break;
        order = str_cmp(a[i].name, b[j].name);
        if (order == 0)
            order = str_cmp(a[i].value, b[j].value);
        if (order)
            return order;
    }
    if (i < a_count || j < b_count)
        return j < b_count ? -1 : 1;
    return bound_order(a_bound, b_bound);
}
