/* histogram_sum: see histogram_math.h.
 *
 * The order of additions and roundings is that of Prometheus, so that results agree to the last bit. */
#include "base/mem.h"
#include "histogram_internal.h"

/* --- one side: sorted buckets --- */

static void side_reserve(struct histogram_side *side, size_t capacity)
{
    if (capacity <= side->capacity)
        return;
    if (capacity < side->capacity * 2)
        capacity = side->capacity * 2;
    side->index = mem_realloc(side->index, capacity * sizeof(*side->index));
    side->count = mem_realloc(side->count, capacity * sizeof(*side->count));
    side->rest = mem_realloc(side->rest, capacity * sizeof(*side->rest));
    side->capacity = capacity;
}

static void side_deinit(struct histogram_side *side)
{
    mem_free(side->index);
    mem_free(side->count);
    mem_free(side->rest);
}

static void side_push(struct histogram_side *side, int32_t index, double count, double rest)
{
    side->index[side->len] = index;
    side->count[side->len] = count;
    side->rest[side->len++] = rest;
}

static void side_swap(struct histogram_side *a, struct histogram_side *b)
{
    struct histogram_side swap = *a;
    *a = *b;
    *b = swap;
}

static void side_copy(struct histogram_side *to, const struct histogram_side *from)
{
    side_reserve(to, from->len);
    to->len = from->len;
    if (from->len == 0)
        return;
    memcpy(to->index, from->index, from->len * sizeof(*to->index));
    memcpy(to->count, from->count, from->len * sizeof(*to->count));
    memcpy(to->rest, from->rest, from->len * sizeof(*to->rest));
}

static void side_load(struct histogram_side *side, const struct histogram *histogram, bool positive,
                      double divisor)
{
    struct histogram_span_walk walk;
    int32_t index;
    double count;
    histogram_span_walk_init(&walk, histogram, positive, false);
    side->len = 0;
    side_reserve(side, walk.value_count);
    while (histogram_span_walk_next(&walk, &index, &count)) {
        if (side->len && side->index[side->len - 1] == index)
            side->count[side->len - 1] += count / divisor;
        else
            side_push(side, index, count / divisor, 0);
    }
}

static void side_reduce(struct histogram_side *side, int shift, bool kahan)
{
    size_t kept = 0;
    for (size_t i = 0; i < side->len; i++) {
        int32_t index = histogram_target_index(side->index[i], shift);
        if (kept == 0 || side->index[kept - 1] != index) {
            side->index[kept] = index;
            side->count[kept] = side->count[i];
            side->rest[kept++] = side->rest[i];
        } else if (kahan) {
            kahan_add(side->count[i], &side->count[kept - 1], &side->rest[kept - 1]);
            kahan_add(side->rest[i], &side->count[kept - 1], &side->rest[kept - 1]);
        } else {
            side->count[kept - 1] += side->count[i];
        }
    }
    side->len = kept;
}

enum adding { ADD_PLAIN, ADD_KAHAN, ADD_NEGATIVE };

static inline void add_to(double *count, double *rest, double add, double add_rest,
                          enum adding adding)
{
    if (adding == ADD_KAHAN) {
        kahan_add(add, count, rest);
        kahan_add(add_rest, count, rest);
        return;
    }
    *count += adding == ADD_NEGATIVE ? -add : add;
}

/* Adds `other`, whose indexes ascend but may repeat. */
static void side_merge(struct histogram_sum *sum, struct histogram_side *side,
                       const struct histogram_side *other, enum adding adding)
{
    struct histogram_side *merged = &sum->merged;
    if (other->len == 0)
        return;
    if (side->len == other->len &&
        memcmp(side->index, other->index, side->len * sizeof(*side->index)) == 0) {
        for (size_t i = 0; i < side->len; i++)
            add_to(&side->count[i], &side->rest[i], other->count[i], other->rest[i], adding);
        return;
    }
    merged->len = 0;
    side_reserve(merged, side->len + other->len);
    size_t i = 0, j = 0;
    while (i < side->len || j < other->len) {
        bool from_side = j == other->len || (i < side->len && side->index[i] <= other->index[j]);
        if (from_side) {
            side_push(merged, side->index[i], side->count[i], side->rest[i]);
            i++;
        } else {
            side_push(merged, other->index[j],
                      adding == ADD_NEGATIVE ? -other->count[j] : other->count[j], other->rest[j]);
            j++;
        }
        size_t at = merged->len - 1;
        for (; j < other->len && other->index[j] == merged->index[at]; j++)
            add_to(&merged->count[at], &merged->rest[at], other->count[j], other->rest[j], adding);
    }
    side_swap(side, merged);
}

/* --- life --- */

void histogram_sum_deinit(struct histogram_sum *sum)
{
    side_deinit(&sum->positive);
    side_deinit(&sum->negative);
    side_deinit(&sum->other);
    side_deinit(&sum->merged);
    mem_free(sum->kept[0]);
    mem_free(sum->kept[1]);
    *sum = (struct histogram_sum){0};
}

void histogram_sum_set(struct histogram_sum *sum, const struct histogram *histogram)
{
    sum->head = *histogram;
    sum->zero_rest = sum->count_rest = sum->sum_rest = 0;
    side_load(&sum->positive, histogram, true, 1);
    side_load(&sum->negative, histogram, false, 1);
    sum->is_set = true;
}

static double *keep_room(struct histogram_sum *sum, size_t which, size_t count)
{
    if (count > sum->kept_capacity[which]) {
        sum->kept[which] = mem_realloc(sum->kept[which], count * sizeof(double));
        sum->kept_capacity[which] = count;
    }
    return sum->kept[which];
}

void histogram_sum_copy(struct histogram_sum *to, const struct histogram_sum *from)
{
    to->head = from->head;
    to->zero_rest = from->zero_rest;
    to->count_rest = from->count_rest;
    to->sum_rest = from->sum_rest;
    to->is_set = from->is_set;
    side_copy(&to->positive, &from->positive);
    side_copy(&to->negative, &from->negative);
    bool is_kept = from->head.bounds &&
                   (from->head.bounds == from->kept[0] || from->head.bounds == from->kept[1]);
    if (is_kept && from->head.bound_count) {
        double *bounds = keep_room(to, 0, from->head.bound_count);
        memcpy(bounds, from->head.bounds, from->head.bound_count * sizeof(double));
        to->head.bounds = bounds;
    }
}

static void reduce_to(struct histogram_sum *sum, int32_t schema, bool kahan)
{
    if (histogram_is_custom(&sum->head) || schema >= sum->head.schema)
        return;
    side_reduce(&sum->positive, histogram_shift(sum->head.schema, schema), kahan);
    side_reduce(&sum->negative, histogram_shift(sum->head.schema, schema), kahan);
    sum->head.schema = schema;
}

void histogram_sum_reduce(struct histogram_sum *sum, int32_t schema)
{
    reduce_to(sum, schema, false);
}

/* --- zero buckets --- */

static void absorb(const struct histogram_side *side, size_t i, double *zero, double *rest)
{
    kahan_add(side->count[i], zero, rest);
    kahan_add(side->rest[i], zero, rest);
}

/* Adds the buckets of one side that begin below the threshold. True when the last of them ends beyond it and is
 * populated: then the threshold is moved to its end. */
static bool absorb_side(const struct histogram_side *side, int32_t schema, double *threshold,
                        double *zero, double *rest)
{
    for (size_t i = 0; i < side->len; i++) {
        if (histogram_exponential_bound(side->index[i] - 1, schema) >= *threshold)
            return false;
        double upper = histogram_exponential_bound(side->index[i], schema);
        absorb(side, i, zero, rest);
        if (upper > *threshold && side->count[i] != 0) {
            *threshold = upper;
            return true;
        }
        if (upper > *threshold)
            return false;
    }
    return false;
}

double histogram_sum_zero_count(const struct histogram_sum *sum, double *threshold, double *rest)
{
    double zero;
    if (*threshold == sum->head.zero_threshold) {
        *rest = sum->zero_rest;
        return sum->head.zero_count;
    }
    do {
        zero = sum->head.zero_count;
        *rest = sum->zero_rest;
        absorb_side(&sum->positive, sum->head.schema, threshold, &zero, rest);
    } while (absorb_side(&sum->negative, sum->head.schema, threshold, &zero, rest));
    return zero;
}

static void drop_inside(struct histogram_side *side, int32_t schema, double threshold)
{
    size_t inside = 0;
    while (inside < side->len &&
           histogram_exponential_bound(side->index[inside] - 1, schema) < threshold)
        inside++;
    side->len -= inside;
    if (inside == 0 || side->len == 0)
        return;
    memmove(side->index, side->index + inside, side->len * sizeof(*side->index));
    memmove(side->count, side->count + inside, side->len * sizeof(*side->count));
    memmove(side->rest, side->rest + inside, side->len * sizeof(*side->rest));
}

static void widen(struct histogram_sum *sum, double threshold)
{
    double rest, zero = histogram_sum_zero_count(sum, &threshold, &rest);
    sum->head.zero_count = zero;
    sum->zero_rest = rest;
    sum->head.zero_threshold = threshold;
    drop_inside(&sum->positive, sum->head.schema, threshold);
    drop_inside(&sum->negative, sum->head.schema, threshold);
}

/* Brings both to the same zero threshold. Returns what `other` has in its zero bucket then. */
static double reconcile_zero(struct histogram_sum *sum, const struct histogram *other,
                             double divisor)
{
    double zero = other->zero_count / divisor, threshold = other->zero_threshold, rest;
    if (threshold == sum->head.zero_threshold || isnan(threshold) ||
        isnan(sum->head.zero_threshold))
        return zero;
    struct histogram_sum wide = {.head = *other};
    wide.head.zero_count = zero;
    side_load(&wide.positive, other, true, divisor);
    side_load(&wide.negative, other, false, divisor);
    while (threshold != sum->head.zero_threshold) {
        if (sum->head.zero_threshold > threshold) {
            threshold = sum->head.zero_threshold;
            zero = histogram_sum_zero_count(&wide, &threshold, &rest);
        }
        if (threshold > sum->head.zero_threshold)
            widen(sum, threshold);
    }
    histogram_sum_deinit(&wide);
    return zero;
}

/* --- custom bounds --- */

static bool same_bounds(const struct histogram *a, const struct histogram *b)
{
    if (a->bound_count != b->bound_count)
        return false;
    for (uint32_t i = 0; a->bounds != b->bounds && i < a->bound_count; i++)
        if (a->bounds[i] != b->bounds[i])
            return false;
    return true;
}

static uint32_t shared_bounds(const struct histogram *a, const struct histogram *b, double *out)
{
    uint32_t count = 0;
    for (uint32_t i = 0, j = 0; i < a->bound_count && j < b->bound_count;) {
        if (a->bounds[i] == b->bounds[j]) {
            out[count++] = a->bounds[i];
            i++;
            j++;
        } else if (a->bounds[i] < b->bounds[j]) {
            i++;
        } else {
            j++;
        }
    }
    return count;
}

/* Gives each bucket the index that it has among `bounds`; indexes may repeat then. */
static void side_map(struct histogram_side *side, const struct histogram *from,
                     const double *bounds, uint32_t bound_count)
{
    uint32_t target = 0;
    for (size_t i = 0; i < side->len; i++) {
        double bound = histogram_bound(from, side->index[i]);
        while (target < bound_count && bounds[target] < bound)
            target++;
        side->index[i] = (int32_t)target;
    }
}

static void add_custom(struct histogram_sum *sum, const struct histogram *other, enum adding adding,
                       bool *reconciled)
{
    *reconciled = !same_bounds(&sum->head, other);
    if (!*reconciled) {
        side_merge(sum, &sum->positive, &sum->other, adding);
        return;
    }
    size_t which = sum->kept[0] && sum->head.bounds == sum->kept[0] ? 1 : 0;
    double *bounds = keep_room(sum, which, sum->head.bound_count + (size_t)1);
    uint32_t count = shared_bounds(&sum->head, other, bounds);
    side_map(&sum->positive, &sum->head, bounds, count);
    side_map(&sum->other, other, bounds, count);
    side_reduce(&sum->positive, 0, adding == ADD_KAHAN); /* Only unites what has the same index. */
    side_merge(sum, &sum->positive, &sum->other, adding);
    sum->head.bounds = bounds;
    sum->head.bound_count = count;
}

/* --- adding --- */

/* What the sum is then: gauges make gauges, and what is unknown stays so. True for reset against no reset. */
static bool adjust_hint(struct histogram *head, uint8_t other)
{
    if (other == head->hint || head->hint == HISTOGRAM_GAUGE)
        return false;
    if (other == HISTOGRAM_GAUGE) {
        head->hint = HISTOGRAM_GAUGE;
        return false;
    }
    bool collides = head->hint != HISTOGRAM_UNKNOWN_RESET && other != HISTOGRAM_UNKNOWN_RESET;
    head->hint = HISTOGRAM_UNKNOWN_RESET;
    return collides;
}

/* The other's buckets of one sign in the sum's resolution, without those that its zero bucket holds. */
static void load_other(struct histogram_sum *sum, const struct histogram *other, bool positive,
                       double divisor, bool kahan)
{
    side_load(&sum->other, other, positive, divisor);
    if (histogram_is_custom(other))
        return;
    if (other->schema > sum->head.schema)
        side_reduce(&sum->other, histogram_shift(other->schema, sum->head.schema), kahan);
    double threshold = sum->head.zero_threshold;
    size_t inside = 0;
    while (inside < sum->other.len &&
           histogram_exponential_bound(sum->other.index[inside], sum->head.schema) <= threshold)
        inside++;
    if (inside == 0)
        return;
    sum->other.len -= inside;
    for (size_t i = 0; i < sum->other.len; i++) {
        sum->other.index[i] = sum->other.index[i + inside];
        sum->other.count[i] = sum->other.count[i + inside];
        sum->other.rest[i] = sum->other.rest[i + inside];
    }
}

static bool add_histogram(struct histogram_sum *sum, const struct histogram *other, double divisor,
                          enum adding adding, struct histogram_added *out)
{
    struct histogram_added ignored;
    struct histogram *head = &sum->head;
    bool is_custom = histogram_is_custom(head), kahan = adding == ADD_KAHAN;
    out = out ? out : &ignored;
    *out = (struct histogram_added){0};
    if (is_custom != histogram_is_custom(other))
        return false;
    out->reset_collision = adjust_hint(head, other->hint);
    if (!is_custom) {
        double zero = reconcile_zero(sum, other, divisor);
        add_to(&head->zero_count, &sum->zero_rest, zero, 0, adding);
    }
    add_to(&head->count, &sum->count_rest, other->count / divisor, 0, adding);
    add_to(&head->sum, &sum->sum_rest, other->sum / divisor, 0, adding);
    if (is_custom) {
        load_other(sum, other, true, divisor, kahan);
        add_custom(sum, other, adding, &out->bounds_reconciled);
        return true;
    }
    reduce_to(sum, other->schema, kahan);
    load_other(sum, other, true, divisor, kahan);
    side_merge(sum, &sum->positive, &sum->other, adding);
    load_other(sum, other, false, divisor, kahan);
    side_merge(sum, &sum->negative, &sum->other, adding);
    return true;
}

bool histogram_sum_add(struct histogram_sum *sum, const struct histogram *other,
                       struct histogram_added *out)
{
    return add_histogram(sum, other, 1, ADD_PLAIN, out);
}

bool histogram_sum_subtract(struct histogram_sum *sum, const struct histogram *other,
                            struct histogram_added *out)
{
    return add_histogram(sum, other, 1, ADD_NEGATIVE, out);
}

bool histogram_sum_add_kahan(struct histogram_sum *sum, const struct histogram *other,
                             double divisor, struct histogram_added *out)
{
    return add_histogram(sum, other, divisor, ADD_KAHAN, out);
}

/* --- by a number --- */

void histogram_sum_multiply(struct histogram_sum *sum, double factor)
{
    struct histogram_side *sides[] = {&sum->positive, &sum->negative};
    sum->head.zero_count *= factor;
    sum->head.count *= factor;
    sum->head.sum *= factor;
    sum->zero_rest *= factor;
    sum->count_rest *= factor;
    sum->sum_rest *= factor;
    for (size_t s = 0; s < 2; s++) {
        for (size_t i = 0; i < sides[s]->len; i++) {
            sides[s]->count[i] *= factor;
            sides[s]->rest[i] *= factor;
        }
    }
    if (factor < 0)
        sum->head.hint = HISTOGRAM_GAUGE;
}

void histogram_sum_divide(struct histogram_sum *sum, double divisor)
{
    struct histogram_side *sides[] = {&sum->positive, &sum->negative};
    sum->head.zero_count /= divisor;
    sum->head.count /= divisor;
    sum->head.sum /= divisor;
    sum->zero_rest /= divisor;
    sum->count_rest /= divisor;
    sum->sum_rest /= divisor;
    if (divisor == 0)
        sum->positive.len = sum->negative.len = 0;
    for (size_t s = 0; s < 2; s++) {
        for (size_t i = 0; i < sides[s]->len; i++) {
            sides[s]->count[i] /= divisor;
            sides[s]->rest[i] /= divisor;
        }
    }
    if (divisor < 0)
        sum->head.hint = HISTOGRAM_GAUGE;
}

void histogram_sum_settle(struct histogram_sum *sum)
{
    struct histogram_side *sides[] = {&sum->positive, &sum->negative};
    sum->head.zero_count += sum->zero_rest;
    sum->head.count += sum->count_rest;
    sum->head.sum += sum->sum_rest;
    sum->zero_rest = sum->count_rest = sum->sum_rest = 0;
    for (size_t s = 0; s < 2; s++) {
        for (size_t i = 0; i < sides[s]->len; i++) {
            sides[s]->count[i] += sides[s]->rest[i];
            sides[s]->rest[i] = 0;
        }
    }
}

bool histogram_sum_overflows(const struct histogram_sum *sum)
{
    const struct histogram_side *sides[] = {&sum->positive, &sum->negative};
    if (isinf(sum->head.zero_count) || isinf(sum->head.count) || isinf(sum->head.sum))
        return true;
    for (size_t s = 0; s < 2; s++)
        for (size_t i = 0; i < sides[s]->len; i++)
            if (isinf(sides[s]->count[i]))
                return true;
    return false;
}

/* --- the result --- */

static bool is_kept(const struct histogram_side *side, size_t i, bool keep_empty)
{
    return keep_empty || side->count[i] != 0 || side->rest[i] != 0;
}

static void take_side(const struct histogram_side *side, bool keep_empty, struct arena *arena,
                      const struct histogram_span **spans_out, uint32_t *span_count,
                      const double **values_out, uint32_t *value_count)
{
    uint32_t kept = 0, spans_needed = 0;
    int64_t next = INT64_MIN;
    for (size_t i = 0; i < side->len; i++) {
        if (!is_kept(side, i, keep_empty))
            continue;
        kept++;
        spans_needed += side->index[i] != next;
        next = (int64_t)side->index[i] + 1;
    }
    *value_count = kept;
    *span_count = spans_needed;
    *values_out = NULL;
    *spans_out = NULL;
    if (kept == 0)
        return;
    double *values = arena_alloc_array(arena, kept, sizeof(*values));
    struct histogram_span *spans = arena_alloc_array(arena, spans_needed, sizeof(*spans));
    size_t at = 0, span = 0;
    next = 0;
    for (size_t i = 0; i < side->len; i++) {
        if (!is_kept(side, i, keep_empty))
            continue;
        if (at == 0 || side->index[i] != next)
            spans[span++] =
                (struct histogram_span){.offset = (int32_t)(side->index[i] - next), .length = 0};
        spans[span - 1].length++;
        values[at++] = side->count[i];
        next = (int64_t)side->index[i] + 1;
    }
    *values_out = values;
    *spans_out = spans;
}

struct histogram *histogram_sum_take(const struct histogram_sum *sum, bool keep_empty,
                                     struct arena *arena)
{
    struct histogram *out = arena_alloc(arena, sizeof(*out));
    *out = sum->head;
    out->is_integer = false;
    if (histogram_is_custom(out))
        out->zero_count = out->zero_threshold = 0;
    take_side(&sum->positive, keep_empty, arena, &out->positive_spans, &out->positive_span_count,
              &out->positive, &out->positive_count);
    take_side(&sum->negative, keep_empty, arena, &out->negative_spans, &out->negative_span_count,
              &out->negative, &out->negative_count);
    out->bounds = NULL;
    if (out->bound_count) {
        double *bounds = arena_alloc_array(arena, out->bound_count, sizeof(double));
        memcpy(bounds, sum->head.bounds, out->bound_count * sizeof(double));
        out->bounds = bounds;
    }
    return out;
}

struct histogram *histogram_scaled(struct arena *arena, const struct histogram *histogram,
                                   double factor)
{
    struct histogram *out = histogram_copy(arena, histogram);
    double *positive = (double *)out->positive, *negative = (double *)out->negative;
    for (uint32_t i = 0; i < out->positive_count; i++)
        positive[i] *= factor;
    for (uint32_t i = 0; i < out->negative_count; i++)
        negative[i] *= factor;
    out->zero_count *= factor;
    out->count *= factor;
    out->sum *= factor;
    out->is_integer = false;
    if (factor < 0)
        out->hint = HISTOGRAM_GAUGE;
    return out;
}
