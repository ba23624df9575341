/* histogram_parts: see histogram_parts.h. */
#include "model/histogram_parts.h"

/* Finer than HISTOGRAM_SCHEMA_MAX, but known to exist: reduced, not refused. */
#define SCHEMA_FINEST 52

static void side_deinit(struct histogram_side_parts *side)
{
    VEC_FREE(&side->spans);
    VEC_FREE(&side->from_deltas);
    VEC_FREE(&side->counts);
}

static void side_reset(struct histogram_side_parts *side)
{
    VEC_CLEAR(&side->spans);
    VEC_CLEAR(&side->from_deltas);
    VEC_CLEAR(&side->counts);
    side->last = 0;
}

void histogram_parts_deinit(struct histogram_parts *parts)
{
    side_deinit(&parts->positive);
    side_deinit(&parts->negative);
    VEC_FREE(&parts->bounds);
    histogram_sum_deinit(&parts->scratch);
    *parts = (struct histogram_parts){0};
}

void histogram_parts_reset(struct histogram_parts *parts)
{
    parts->schema = 0;
    parts->hint = HISTOGRAM_UNKNOWN_RESET;
    parts->is_float = false;
    parts->zero_threshold = parts->zero_count = parts->count = parts->sum = 0;
    side_reset(&parts->positive);
    side_reset(&parts->negative);
    VEC_CLEAR(&parts->bounds);
}

static bool too_many(const char *name, struct err *err)
{
    return err_set(err, ERR_BAD_DATA, "a histogram has more than %d items in %s",
                   HISTOGRAM_BUCKETS_MAX, name);
}

bool histogram_parts_span(struct histogram_side_parts *side, struct reader *in,
                          struct wire_field field, const char *name, struct err *err)
{
    struct histogram_span span = {0};
    struct reader inner;

    if (!wire_message(in, field, name, &inner, err))
        return false;
    if (side->spans.count >= HISTOGRAM_BUCKETS_MAX)
        return too_many(name, err);
    while (reader_left(&inner) > 0) {
        uint64_t length = 0;
        if (!wire_next(&inner, "BucketSpan", &field, err))
            return false;
        bool ok = field.number == 1   ? wire_zigzag32(&inner, field, "Offset", &span.offset, err)
                  : field.number == 2 ? wire_u64(&inner, field, "Length", &length, err)
                                      : wire_skip(&inner, field, err);
        if (!ok)
            return false;
        if (field.number == 2)
            span.length = (uint32_t)length;
    }
    VEC_PUSH(&side->spans, span);
    return true;
}

bool histogram_parts_deltas(struct histogram_side_parts *side, struct reader *in,
                            struct wire_field field, const char *name, struct err *err)
{
    struct reader numbers;

    if (!wire_numbers(in, field, name, WIRE_VARINT, &numbers, err))
        return false;
    while (reader_left(&numbers) > 0) {
        int64_t delta = read_zigzag(&numbers);
        if (numbers.bad)
            return wire_cut(err);
        if (side->from_deltas.count >= HISTOGRAM_BUCKETS_MAX)
            return too_many(name, err);
        side->last = (int64_t)((uint64_t)side->last + (uint64_t)delta);
        VEC_PUSH(&side->from_deltas, (double)side->last);
    }
    return true;
}

static bool read_doubles(double **items, size_t *count, size_t *capacity, struct reader *numbers,
                         const char *name, struct err *err)
{
    size_t more = reader_left(numbers) / 8;

    if (reader_left(numbers) % 8 != 0)
        return wire_cut(err);
    if (*count + more > HISTOGRAM_BUCKETS_MAX)
        return too_many(name, err);
    vec_reserve((void **)items, capacity, *count + more, sizeof(double));
    for (size_t i = 0; i < more; i++)
        (*items)[(*count)++] = sample_from_bits(read_u64(numbers));
    return true;
}

bool histogram_parts_counts(struct histogram_side_parts *side, struct reader *in,
                            struct wire_field field, const char *name, struct err *err)
{
    struct reader numbers;

    return wire_numbers(in, field, name, WIRE_FIXED64, &numbers, err) &&
           read_doubles(&side->counts.items, &side->counts.count, &side->counts.capacity, &numbers,
                        name, err);
}

bool histogram_parts_bounds(struct histogram_parts *parts, struct reader *in,
                            struct wire_field field, const char *name, struct err *err)
{
    struct reader numbers;

    return wire_numbers(in, field, name, WIRE_FIXED64, &numbers, err) &&
           read_doubles(&parts->bounds.items, &parts->bounds.count, &parts->bounds.capacity,
                        &numbers, name, err);
}

static struct histogram parts_view(const struct histogram_parts *parts)
{
    const struct histogram_side_parts *positive = &parts->positive, *negative = &parts->negative;
    bool is_float = parts->is_float;

    return (struct histogram){
        .schema = parts->schema,
        .hint = parts->hint,
        .is_integer = !is_float,
        .zero_threshold = parts->zero_threshold,
        .zero_count = parts->zero_count,
        .count = parts->count,
        .sum = parts->sum,
        .positive_spans = positive->spans.items,
        .positive_span_count = (uint32_t)positive->spans.count,
        .negative_spans = negative->spans.items,
        .negative_span_count = (uint32_t)negative->spans.count,
        .positive = is_float ? positive->counts.items : positive->from_deltas.items,
        .positive_count =
            (uint32_t)(is_float ? positive->counts.count : positive->from_deltas.count),
        .negative = is_float ? negative->counts.items : negative->from_deltas.items,
        .negative_count =
            (uint32_t)(is_float ? negative->counts.count : negative->from_deltas.count),
        .bounds = parts->bounds.items,
        .bound_count = (uint32_t)parts->bounds.count,
    };
}

bool histogram_parts_take(struct histogram_parts *parts, struct arena *arena,
                          const struct histogram **out, struct err *err)
{
    struct histogram view = parts_view(parts);
    bool is_finer = view.schema > HISTOGRAM_SCHEMA_MAX && view.schema <= SCHEMA_FINEST;

    if (is_finer)
        view.schema = HISTOGRAM_SCHEMA_MAX;
    if (!histogram_validate(&view, err))
        return false;
    view.schema = parts->schema;
    histogram_sum_set(&parts->scratch, &view);
    if (is_finer)
        histogram_sum_reduce(&parts->scratch, HISTOGRAM_SCHEMA_MAX);
    struct histogram *taken = histogram_sum_take(&parts->scratch, false, arena);
    taken->is_integer = view.is_integer;
    *out = taken;
    return true;
}
