/* histogram_walk: the buckets of a histogram with their bounds, in order; and their text forms. */
#include "base/number.h"
#include "histogram_internal.h"

#define INDEX_MAX  (1 << 29) /* Far beyond any float, and two of them fit into a span's offset. */
#define DOUBLE_MAX 1.7976931348623157e308

/* --- bounds --- */

double histogram_exponential_bound(int32_t index, int32_t schema)
{
    static const double fractions[256] = {
#include "histogram_bounds.def"
    };
    if (schema > HISTOGRAM_SCHEMA_MAX)
        schema = HISTOGRAM_SCHEMA_MAX;
    if (schema < 0) {
        if (schema < -9)
            schema = -9;
        int64_t exponent = (int64_t)index * (INT64_C(1) << -schema);
        if (exponent == 1024) /* The bucket before that of the infinities. */
            return DOUBLE_MAX;
        return ldexp(1, exponent > 2000 ? 2000 : exponent < -2000 ? -2000 : (int)exponent);
    }
    uint32_t within = (uint32_t)index & ((1u << schema) - 1);
    double fraction = fractions[within << (HISTOGRAM_SCHEMA_MAX - schema)];
    int exponent = (index >> schema) + 1;
    if (within == 0 && exponent == 1025)
        return DOUBLE_MAX;
    return ldexp(fraction, exponent);
}

double histogram_bound(const struct histogram *histogram, int32_t index)
{
    if (!histogram_is_custom(histogram))
        return histogram_exponential_bound(index, histogram->schema);
    if (index < 0)
        return -INFINITY;
    return (uint32_t)index < histogram->bound_count ? histogram->bounds[index] : INFINITY;
}

/* --- one sign --- */

void histogram_span_walk_init(struct histogram_span_walk *walk, const struct histogram *histogram,
                              bool positive, bool backward)
{
    *walk = (struct histogram_span_walk){
        .spans = positive ? histogram->positive_spans : histogram->negative_spans,
        .span_count = positive ? histogram->positive_span_count : histogram->negative_span_count,
        .values = positive ? histogram->positive : histogram->negative,
        .value_count = positive ? histogram->positive_count : histogram->negative_count,
        .backward = backward,
    };
    if (walk->span_count == 0)
        return;
    if (!backward) {
        walk->index = walk->spans[0].offset;
        return;
    }
    for (uint32_t i = 0; i < walk->span_count; i++)
        walk->index += (int64_t)walk->spans[i].offset + walk->spans[i].length;
    walk->index--;
    walk->span = walk->span_count - 1;
    walk->in_span = walk->spans[walk->span].length;
    walk->at = walk->value_count;
}

static bool next_backward(struct histogram_span_walk *walk)
{
    while (walk->in_span == 0) {
        if (walk->span == 0)
            return false;
        walk->index -= walk->spans[walk->span].offset;
        walk->in_span = walk->spans[--walk->span].length;
    }
    return walk->at > 0;
}

static bool next_forward(struct histogram_span_walk *walk)
{
    while (walk->span < walk->span_count && walk->in_span >= walk->spans[walk->span].length) {
        walk->in_span = 0;
        if (++walk->span < walk->span_count)
            walk->index += walk->spans[walk->span].offset;
    }
    return walk->span < walk->span_count && walk->at < walk->value_count;
}

bool histogram_span_walk_next(struct histogram_span_walk *walk, int32_t *index, double *count)
{
    if (walk->span_count == 0 || !(walk->backward ? next_backward(walk) : next_forward(walk)))
        return false;
    int64_t near = walk->index;
    near = near > INDEX_MAX ? INDEX_MAX : near < -INDEX_MAX ? -INDEX_MAX : near;
    *index = (int32_t)near;
    if (walk->backward) {
        *count = walk->values[--walk->at];
        walk->in_span--;
        walk->index--;
    } else {
        *count = walk->values[walk->at++];
        walk->in_span++;
        walk->index++;
    }
    return true;
}

/* --- all buckets --- */

static void enter_part(struct histogram_walk *walk)
{
    bool positive = (walk->part == 0) == walk->backward;
    /* Away from zero is upwards for positive ones, downwards for negative ones. */
    if (walk->part != 1)
        histogram_span_walk_init(&walk->spans, walk->histogram, positive,
                                 positive == walk->backward);
}

void histogram_walk_init(struct histogram_walk *walk, const struct histogram *histogram,
                         bool backward)
{
    *walk = (struct histogram_walk){.histogram = histogram, .backward = backward};
    enter_part(walk);
}

static struct histogram_bucket bucket_of(const struct histogram *histogram, int32_t index,
                                         double count, bool positive)
{
    struct histogram_bucket bucket = {.count = count};
    double outer = histogram_bound(histogram, index), inner = histogram_bound(histogram, index - 1);
    double threshold = histogram->zero_threshold;
    bucket.upper = positive ? outer : -inner;
    bucket.lower = positive ? inner : -outer;
    bool is_custom = histogram_is_custom(histogram);
    bucket.has_lower = is_custom ? index == 0 : bucket.lower < 0;
    bucket.has_upper = is_custom || bucket.upper > 0;
    if (bucket.upper < 0 && bucket.upper > -threshold)
        bucket.upper = -threshold;
    else if (bucket.lower > 0 && bucket.lower < threshold)
        bucket.lower = threshold;
    return bucket;
}

bool histogram_walk_next(struct histogram_walk *walk, struct histogram_bucket *out)
{
    const struct histogram *histogram = walk->histogram;
    while (walk->part < 3) {
        int32_t index;
        double count;
        if (walk->part == 1) {
            walk->part = 2;
            enter_part(walk);
            if (!(histogram->zero_count > 0))
                continue;
            *out = (struct histogram_bucket){.lower = -histogram->zero_threshold,
                                             .upper = histogram->zero_threshold,
                                             .count = histogram->zero_count,
                                             .has_lower = true,
                                             .has_upper = true};
            return true;
        }
        if (histogram_span_walk_next(&walk->spans, &index, &count)) {
            *out = bucket_of(histogram, index, count, (walk->part == 0) == walk->backward);
            return true;
        }
        walk->part++;
    }
    return false;
}

/* --- text --- */

static void print_bucket(struct buf *out, const struct histogram_bucket *bucket)
{
    BUF_ADD(out, ", ");
    buf_add_char(out, bucket->has_lower ? '[' : '(');
    buf_add_number(out, bucket->lower, NUMBER_G);
    buf_add_char(out, ',');
    buf_add_number(out, bucket->upper, NUMBER_G);
    buf_add_char(out, bucket->has_upper ? ']' : ')');
    buf_add_char(out, ':');
    buf_add_number(out, bucket->count, NUMBER_G);
}

void histogram_print(struct buf *out, const struct histogram *histogram)
{
    struct histogram_walk walk;
    struct histogram_bucket bucket;
    struct histogram uncut =
        *histogram; /* Text has whole buckets, also where the zero bucket reaches into them. */
    uncut.zero_threshold = 0;
    uncut.zero_count = 1; /* So that the walk stops there. */
    BUF_ADD(out, "{count:");
    buf_add_number(out, histogram->count, NUMBER_G);
    BUF_ADD(out, ", sum:");
    buf_add_number(out, histogram->sum, NUMBER_G);
    histogram_walk_init(&walk, &uncut, false);
    while (histogram_walk_next(&walk, &bucket)) {
        if (bucket.has_lower && bucket.has_upper && bucket.lower == 0 && bucket.upper == 0) {
            bucket.lower = -histogram->zero_threshold;
            bucket.upper = histogram->zero_threshold;
            bucket.count = histogram->zero_count;
        }
        if (bucket.count != 0)
            print_bucket(out, &bucket);
    }
    buf_add_char(out, '}');
}

static void print_quoted(struct buf *out, double value)
{
    buf_add_char(out, '"');
    buf_add_number(out, value, NUMBER_API);
    buf_add_char(out, '"');
}

void histogram_print_json(struct buf *out, const struct histogram *histogram)
{
    struct histogram_walk walk;
    struct histogram_bucket bucket;
    bool any = false;
    BUF_ADD(out, "{\"count\":");
    print_quoted(out, histogram->count);
    BUF_ADD(out, ",\"sum\":");
    print_quoted(out, histogram->sum);
    histogram_walk_init(&walk, histogram, false);
    while (histogram_walk_next(&walk, &bucket)) {
        if (bucket.count == 0)
            continue;
        int rule = bucket.has_lower ? (bucket.has_upper ? 3 : 1) : (bucket.has_upper ? 0 : 2);
        buf_addf(out, "%s[%d,", any ? "," : ",\"buckets\":[", rule);
        print_quoted(out, bucket.lower);
        buf_add_char(out, ',');
        print_quoted(out, bucket.upper);
        buf_add_char(out, ',');
        print_quoted(out, bucket.count);
        buf_add_char(out, ']');
        any = true;
    }
    if (any)
        buf_add_char(out, ']');
    buf_add_char(out, '}');
}
