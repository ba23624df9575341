/* fn_label: functions that look at labels: label_replace, label_join, the sorts, absent. */
#include "base/regex.h"

#include "eval.h"

#define LABEL_LEN_MAX (16 << 20)

static bool fail_label(struct err *err, const char *what, const char *function, struct str label)
{
    return err_set(err, ERR_EXECUTION, "invalid %s in %s(): " STR_FMT, what, function,
                   STR_ARG(label));
}

static struct labels *with_label(struct query *query, struct labels_builder *builder,
                                 struct labels *labels, struct str name, struct str value)
{
    labels_builder_load(builder, labels);
    labels_builder_set(builder, name, value);
    return query_own(query, labels_build(builder));
}

static bool replace_all(const struct frame *frame, struct expr *call, const struct regex *regex,
                        struct vector *vector, struct err *err)
{
    struct str to = call_string(call, 1), replacement = call_string(call, 2);
    struct str from = call_string(call, 3);
    struct labels_builder builder;
    struct buf value;
    bool ok = true;

    labels_builder_init(&builder);
    buf_init(&value, LABEL_LEN_MAX);
    for (size_t i = 0; ok && i < vector->count; i++) {
        struct series *series = &vector->items[i];
        buf_clear(&value);
        if (!regex_expand(regex, labels_get(series->labels, from), replacement, &value))
            continue;
        series->labels = with_label(frame->query, &builder, series->labels, to, buf_str(&value));
        if (str_eq(to, LABEL_NAME))
            series->drop_name = false;
        ok = query_check(frame->query, err);
    }
    buf_deinit(&value);
    labels_builder_deinit(&builder);
    return ok && vector_merge_same(frame, vector, err);
}

bool fn_label_replace(const struct frame *frame, struct expr *call, struct vector *out,
                      struct err *err)
{
    struct str pattern = call_string(call, 4);
    struct regex *regex = NULL;
    struct err ignored;
    if (!regex_new(&regex, pattern, &ignored))
        return fail_label(err, "regular expression", "label_replace", pattern);
    bool ok = label_name_is_valid(call_string(call, 1)) ||
              fail_label(err, "destination label name", "label_replace", call_string(call, 1));
    ok = ok && eval_vector(frame, call_arg(call, 0), out, err) &&
         replace_all(frame, call, regex, out, err);
    regex_free(regex);
    return ok;
}

bool fn_label_join(const struct frame *frame, struct expr *call, struct vector *out,
                   struct err *err)
{
    struct str to = call_string(call, 1), separator = call_string(call, 2);
    struct labels_builder builder;
    struct buf value;
    bool ok = true;

    for (size_t i = 3; i < call->as.call.arg_count; i++)
        if (!label_name_is_valid(call_string(call, i)))
            return fail_label(err, "source label name", "label_join", call_string(call, i));
    if (!label_name_is_valid(to))
        return fail_label(err, "destination label name", "label_join", to);
    if (!eval_vector(frame, call_arg(call, 0), out, err))
        return false;
    labels_builder_init(&builder);
    buf_init(&value, LABEL_LEN_MAX);
    for (size_t i = 0; ok && i < out->count; i++) {
        struct series *series = &out->items[i];
        buf_clear(&value);
        for (size_t j = 3; j < call->as.call.arg_count; j++) {
            if (j > 3)
                buf_add_str(&value, separator);
            buf_add_str(&value, labels_get(series->labels, call_string(call, j)));
        }
        series->labels = with_label(frame->query, &builder, series->labels, to, buf_str(&value));
        if (str_eq(to, LABEL_NAME))
            series->drop_name = false;
        ok = query_check(frame->query, err);
    }
    buf_deinit(&value);
    labels_builder_deinit(&builder);
    return ok && vector_merge_same(frame, out, err);
}

/* --- sorting --- */

struct sorter {
    const struct vector *vector;
    const struct expr *call;
    bool descends;
};

/* NaN comes last either way. */
static bool value_before(const void *ctx, uint32_t a, uint32_t b)
{
    const struct sorter *sorter = ctx;
    double left = sorter->vector->items[a].values[0], right = sorter->vector->items[b].values[0];
    if (isnan(right))
        return true;
    return sorter->descends ? left > right : left < right;
}

static struct str next_chunk(struct str text, size_t *at, bool *is_number)
{
    size_t start = *at;
    *is_number = start < text.len && text.ptr[start] >= '0' && text.ptr[start] <= '9';
    while (*at < text.len && (text.ptr[*at] >= '0' && text.ptr[*at] <= '9') == *is_number)
        (*at)++;
    return str_from(text.ptr + start, *at - start);
}

/* Natural order: runs of digits compare as numbers. The texts differ. As in Prometheus, nothing is before no text, nor is it
 * the other way round. */
static bool natural_before(struct str a, struct str b)
{
    size_t a_at = 0, b_at = 0;
    if (a.len == 0)
        return false;
    while (a_at < a.len) {
        bool a_digits, b_digits;
        int64_t a_number, b_number;
        if (b_at >= b.len)
            return false;
        struct str in_a = next_chunk(a, &a_at, &a_digits), in_b = next_chunk(b, &b_at, &b_digits);
        bool numbers =
            a_digits && b_digits && str_to_i64(in_a, &a_number) && str_to_i64(in_b, &b_number);
        if (numbers && a_number != b_number)
            return a_number < b_number;
        if (!numbers && !str_eq(in_a, in_b))
            return str_cmp(in_a, in_b) < 0;
    }
    return true;
}

static bool labels_before(const void *ctx, uint32_t a, uint32_t b)
{
    const struct sorter *sorter = ctx;
    const struct labels *left = sorter->vector->items[a].labels;
    const struct labels *right = sorter->vector->items[b].labels;
    for (size_t i = 1; i < sorter->call->as.call.arg_count; i++) {
        struct str name = call_string(sorter->call, i);
        struct str in_left = labels_get(left, name), in_right = labels_get(right, name);
        if (!str_eq(in_left, in_right))
            return natural_before(in_left, in_right) != sorter->descends;
    }
    int order = labels_cmp(left, right);
    return sorter->descends ? order > 0 : order < 0;
}

#define FEW 12

/* Go sorts so few by insertion, which shows where an order is none: labels that are missing stay where they are. */
static void sort_few(uint32_t *order, size_t count,
                     bool (*before)(const void *, uint32_t, uint32_t), const struct sorter *sorter)
{
    for (size_t i = 1; i < count; i++) {
        for (size_t j = i; j > 0 && before(sorter, order[j], order[j - 1]); j--) {
            uint32_t swap = order[j];
            order[j] = order[j - 1];
            order[j - 1] = swap;
        }
    }
}

bool fn_sort(const struct frame *frame, struct expr *call, struct vector *out, struct err *err)
{
    enum function_id id = call->as.call.function->id;
    struct arena *arena = &frame->query->arena;
    bool by_label = id == FN_SORT_BY_LABEL || id == FN_SORT_BY_LABEL_DESC;
    struct sorter sorter = {.call = call,
                            .descends = id == FN_SORT_DESC || id == FN_SORT_BY_LABEL_DESC};

    if (!eval_vector(frame, call_arg(call, 0), out, err))
        return false;
    if (frame->is_range) /* Of several sorts the outer one is told. */
        annotate(frame->query, true, call,
                 STR("PromQL warning: sort is ineffective for range queries since results are "
                     "always ordered by labels"));
    if (!by_label)
        vector_split(frame, out, NULL);
    if (frame->steps > 1)
        return true;
    sorter.vector = out;
    uint32_t *order = arena_alloc_array(arena, out->count + 1, sizeof(uint32_t));
    uint32_t *scratch = arena_alloc_array(arena, out->count + 1, sizeof(uint32_t));
    for (uint32_t i = 0; i < out->count; i++)
        order[i] = i;
    if (by_label && out->count <= FEW)
        sort_few(order, out->count, labels_before, &sorter);
    else
        sort_stable(order, out->count, scratch, by_label ? labels_before : value_before, &sorter);
    struct vector sorted = vector_new(frame, out->count);
    for (size_t i = 0; i < out->count; i++)
        sorted.items[sorted.count++] = out->items[order[i]];
    *out = sorted;
    return true;
}

/* --- absent --- */

struct labels *absent_labels(struct query *query, const struct expr *argument)
{
    struct labels_builder builder;
    const struct expr *selector = argument;
    if (selector->kind == EXPR_MATRIX_SELECTOR)
        selector = selector->as.matrix.vector;
    labels_builder_init(&builder);
    size_t count = selector->kind == EXPR_VECTOR_SELECTOR ? selector->as.vector.matchers.count : 0;
    for (size_t i = 0; i < count; i++) {
        const struct matcher *matcher = &selector->as.vector.matchers.items[i];
        bool seen = false;
        if (str_eq(matcher->name, LABEL_NAME))
            continue;
        for (size_t j = 0; j < i; j++) {
            const struct matcher *other = &selector->as.vector.matchers.items[j];
            seen = seen || (other->type == MATCH_EQUAL && str_eq(other->name, matcher->name));
        }
        if (matcher->type == MATCH_EQUAL && !seen)
            labels_builder_set(&builder, matcher->name, matcher->value);
        else
            labels_builder_del(&builder, matcher->name);
    }
    struct labels *labels = query_own(query, labels_build(&builder));
    labels_builder_deinit(&builder);
    return labels;
}

void vector_absent(const struct frame *frame, const struct vector *in, struct labels *labels,
                   struct vector *out)
{
    struct steps steps;
    uint64_t *taken =
        arena_zalloc(&frame->query->arena, bitmap_words(frame->steps) * sizeof(uint64_t));
    for (size_t i = 0; i < in->count; i++)
        for (size_t t = in->items[i].from; t < in->items[i].to; t++)
            if (series_has(&in->items[i], t))
                bitmap_add(taken, t);
    steps_init(&steps, frame);
    for (size_t t = 0; t < frame->steps; t++)
        if (!bitmap_has(taken, t))
            steps_set(&steps, t, 1);
    *out = vector_new(frame, 1);
    if (steps_take(&steps, frame, labels, &out->items[0]))
        out->count = 1;
}

bool fn_absent(const struct frame *frame, struct expr *call, struct vector *out, struct err *err)
{
    struct vector in;
    struct expr *arg = call_arg(call, 0);
    if (!eval_vector(frame, arg, &in, err))
        return false;
    vector_absent(frame, &in, absent_labels(frame->query, arg), out);
    return true;
}
