/* value: series over steps, and what all operators do with their labels: drop names, merge equals,
 * group. */
#include <stdlib.h>

#include "base/hash.h"

#include "eval.h"

#define STACK_LABELS 64

/* --- building a series --- */

void steps_init(struct steps *steps, const struct frame *frame)
{
    struct arena *arena = &frame->query->arena;
    size_t room = frame->steps ? frame->steps : 1;
    *steps = (struct steps){
        .values = arena_alloc_array(arena, room, sizeof(double)),
        .present = arena_zalloc(arena, bitmap_words(room) * sizeof(uint64_t)),
        .arena = arena,
        .room = room,
    };
}

void steps_set_histogram(struct steps *steps, size_t step, const struct histogram *histogram)
{
    if (!steps->histograms)
        steps->histograms = arena_zalloc(steps->arena, steps->room * sizeof(*steps->histograms));
    steps_set(steps, step, 0);
    steps->histograms[step] = histogram;
    steps->histogram_count++;
    steps->histogram_samples += histogram_samples(histogram);
}

void steps_set_from(struct steps *steps, size_t step, const struct series *series)
{
    const struct histogram *histogram = series_histogram(series, step);
    if (histogram)
        steps_set_histogram(steps, step, histogram);
    else
        steps_set(steps, step, *series_at(series, step));
}

void steps_unset(struct steps *steps, size_t step)
{
    if (!steps_has(steps, step))
        return;
    bitmap_del(steps->present, step);
    steps->count--;
}

void steps_mark_all(struct steps *steps, size_t from, size_t to)
{
    for (size_t t = from; t < to;) {
        size_t bit = t % 64, len = to - t < 64 - bit ? to - t : 64 - bit;
        steps->present[t / 64] |= UINT64_MAX >> (64 - len) << bit;
        t += len;
    }
    steps->from = from;
    steps->to = to;
    steps->count = to - from;
}

void steps_reset(struct steps *steps)
{
    if (steps->count) {
        size_t first = steps->from / 64, last = (steps->to - 1) / 64;
        memset(steps->present + first, 0, (last - first + 1) * sizeof(uint64_t));
    }
    if (steps->histogram_count)
        memset(steps->histograms + steps->from, 0,
               (steps->to - steps->from) * sizeof(*steps->histograms));
    steps->from = steps->to = steps->count = steps->histogram_count = 0;
    steps->histogram_samples = 0;
}

bool steps_take(struct steps *steps, const struct frame *frame, struct labels *labels,
                struct series *out)
{
    struct arena *arena = &frame->query->arena;
    size_t len = steps->to - steps->from;
    if (steps->count == 0)
        return false;
    *out = (struct series){.labels = labels, .from = steps->from, .to = steps->to};
    if (len == steps->room) { /* It is taken as it is. */
        out->values = steps->values;
        steps->values = arena_alloc_array(arena, len, sizeof(double));
    } else {
        out->values = arena_alloc_array(arena, len, sizeof(double));
        memcpy(out->values, steps->values + steps->from, len * sizeof(double));
    }
    if (steps->count < len) {
        out->present = arena_zalloc(arena, bitmap_words(len) * sizeof(uint64_t));
        for (size_t i = 0; i < len; i++)
            if (bitmap_has(steps->present, steps->from + i))
                bitmap_add(out->present, i);
    }
    if (steps->histogram_count) {
        out->histograms = arena_alloc_array(arena, len, sizeof(*out->histograms));
        memcpy(out->histograms, steps->histograms + steps->from, len * sizeof(*out->histograms));
    }
    steps_reset(steps);
    return true;
}

struct vector vector_new(const struct frame *frame, size_t count_max)
{
    return (struct vector){
        .items = arena_alloc_array(&frame->query->arena, count_max + 1, sizeof(struct series))};
}

size_t series_count(const struct series *series)
{
    size_t len = series->to - series->from, count = 0;
    if (!series->present)
        return len;
    for (size_t i = 0; i < bitmap_words(len); i++)
        count += (size_t)__builtin_popcountll(series->present[i]);
    return count;
}

uint64_t vector_samples(const struct vector *vector)
{
    uint64_t count = 0;
    for (size_t i = 0; i < vector->count; i++) {
        const struct series *series = &vector->items[i];
        count += series_count(series);
        for (size_t t = series->from; series->histograms && t < series->to; t++)
            if (series_has(series, t) && series_histogram(series, t))
                count += histogram_samples(series_histogram(series, t)) - 1;
    }
    return count;
}

bool vector_split(const struct frame *frame, struct vector *vector, struct vector *histograms)
{
    size_t count = 0;
    for (size_t i = 0; i < vector->count; i++)
        count += vector->items[i].histograms != NULL;
    if (histograms)
        *histograms = vector_new(frame, count);
    if (count == 0)
        return false;
    bool any = false;
    for (size_t i = 0; i < vector->count; i++) {
        struct series *series = &vector->items[i];
        if (!series->histograms)
            continue;
        struct series native = *series;
        native.present = NULL;
        series_need_bitmap(frame, series);
        series_need_bitmap(frame, &native);
        for (size_t t = series->from; t < series->to; t++) {
            bool is_there = series_has(series, t);
            if (is_there && series_histogram(series, t)) {
                bitmap_del(series->present, t - series->from);
                any = true;
            } else {
                bitmap_del(native.present, t - native.from);
            }
        }
        series->histograms = NULL;
        if (histograms && series_count(&native))
            histograms->items[histograms->count++] = native;
    }
    vector_drop_empty(vector);
    return any;
}

void series_need_bitmap(const struct frame *frame, struct series *series)
{
    size_t len = series->to - series->from;
    if (series->present)
        return;
    series->present = arena_zalloc(&frame->query->arena, bitmap_words(len) * sizeof(uint64_t));
    for (size_t i = 0; i < len; i++)
        bitmap_add(series->present, i);
}

void vector_drop_empty(struct vector *vector)
{
    size_t kept = 0;
    for (size_t i = 0; i < vector->count; i++)
        if (series_count(&vector->items[i]))
            vector->items[kept++] = vector->items[i];
    vector->count = kept;
}

/* --- names --- */

static bool is_metadata(struct str name)
{
    return str_eq(name, LABEL_NAME) || str_eq(name, STR("__type__")) ||
           str_eq(name, STR("__unit__"));
}

struct labels *labels_without_name(struct query *query, struct labels *labels)
{
    struct label on_stack[STACK_LABELS], *kept = on_stack;
    size_t count = 0;
    if (labels->count > STACK_LABELS)
        kept = arena_alloc_array(&query->arena, labels->count, sizeof(*kept));
    for (size_t i = 0; i < labels->count; i++)
        if (!is_metadata(labels->items[i].name))
            kept[count++] = labels->items[i];
    if (count == labels->count)
        return labels;
    return query_own(query, count ? labels_new(kept, count) : labels_empty());
}

bool vector_drop_names(const struct frame *frame, struct vector *vector, struct err *err)
{
    bool changed = false;
    for (size_t i = 0; i < vector->count; i++) {
        struct series *series = &vector->items[i];
        if (frame->query->options.features & QUERY_DELAYED_NAMES) {
            series->drop_name = true;
            continue;
        }
        struct labels *without = labels_without_name(frame->query, series->labels);
        changed = changed || without != series->labels;
        series->labels = without;
    }
    return !changed || vector_merge_same(frame, vector, err);
}

/* --- equal label sets --- */

static bool labels_equal(const void *ctx, const void *key, uint32_t value)
{
    const struct vector *vector = ctx;
    return labels_eq(vector->items[value].labels, key);
}

static bool same_error(struct err *err)
{
    return err_set(err, ERR_EXECUTION, "vector cannot contain metrics with the same labelset");
}

/* For each series the index of the first with the same labels; NULL when all differ. */
static uint32_t *find_same(const struct vector *vector)
{
    struct map map;
    uint32_t *first = NULL;
    map_init(&map);
    for (uint32_t i = 0; i < vector->count; i++) {
        struct labels *labels = vector->items[i].labels;
        uint32_t found = map_find(&map, labels->hash, labels, labels_equal, vector);
        if (found == MAP_NONE) {
            map_insert(&map, labels->hash, i);
            found = i;
        } else if (!first) {
            first = mem_alloc_array(vector->count, sizeof(uint32_t));
            for (uint32_t j = 0; j < i; j++)
                first[j] = j;
        }
        if (first)
            first[i] = found;
    }
    map_deinit(&map);
    return first;
}

bool vector_refuse_same(const struct vector *vector, struct err *err)
{
    if (vector->count < 2)
        return true;
    uint32_t *first = find_same(vector);
    mem_free(first);
    return !first || same_error(err);
}

/* All series from `i` on whose first is `i`, as one. */
static bool merge_into(const struct frame *frame, struct vector *vector, const uint32_t *first,
                       uint32_t i, struct steps *steps, struct err *err)
{
    struct series *into = &vector->items[i];
    for (uint32_t j = i; j < vector->count; j++) {
        const struct series *series = &vector->items[j];
        if (first[j] != i)
            continue;
        for (size_t t = series->from; t < series->to; t++) {
            if (!series_has(series, t))
                continue;
            if (steps_has(steps, t))
                return same_error(err);
            steps_set_from(steps, t, series);
        }
    }
    bool drop_name = into->drop_name;
    if (!steps_take(steps, frame, into->labels, into))
        into->from = into->to = 0;
    into->drop_name = drop_name;
    return query_check(frame->query, err);
}

bool vector_merge_same(const struct frame *frame, struct vector *vector, struct err *err)
{
    if (vector->count < 2)
        return true;
    uint32_t *first = find_same(vector);
    if (!first)
        return true;
    bool ok = true;
    struct steps steps;
    uint8_t *shared = mem_zalloc(vector->count); /* Do others share this one's labels? */
    for (uint32_t i = 0; i < vector->count; i++)
        if (first[i] != i)
            shared[first[i]] = 1;
    steps_init(&steps, frame);
    for (uint32_t i = 0; ok && i < vector->count; i++)
        if (shared[i])
            ok = merge_into(frame, vector, first, i, &steps, err);
    size_t kept = 0;
    for (uint32_t i = 0; ok && i < vector->count; i++)
        if (first[i] == i)
            vector->items[kept++] = vector->items[i];
    if (ok)
        vector->count = kept;
    mem_free(shared);
    mem_free(first);
    return ok;
}

/* --- sorting --- */

void sort_stable(uint32_t *items, size_t count, uint32_t *scratch, before_fn before,
                 const void *ctx)
{
    if (count <= 12) {
        for (size_t i = 1; i < count; i++) {
            for (size_t j = i; j > 0 && before(ctx, items[j], items[j - 1]); j--) {
                uint32_t swap = items[j];
                items[j] = items[j - 1];
                items[j - 1] = swap;
            }
        }
        return;
    }
    size_t half = count / 2, left = 0, right = half, at = 0;
    sort_stable(items, half, scratch, before, ctx);
    sort_stable(items + half, count - half, scratch, before, ctx);
    memcpy(scratch, items, count * sizeof(*items));
    while (left < half && right < count)
        items[at++] =
            before(ctx, scratch[right], scratch[left]) ? scratch[right++] : scratch[left++];
    while (left < half)
        items[at++] = scratch[left++];
    while (right < count)
        items[at++] = scratch[right++];
}

/* --- grouping --- */

#define NAMES_WALKED 8

static int compare_names(const void *a, const void *b)
{
    return str_cmp(*(const struct str *)a, *(const struct str *)b);
}

void grouping_init(struct grouping *grouping, struct query *query, const struct str *names,
                   size_t name_count, bool by)
{
    *grouping = (struct grouping){.by = by};
    map_init(&grouping->map);
    grouping->names = arena_alloc_array(&query->arena, name_count + 1, sizeof(struct str));
    if (name_count)
        memcpy(grouping->names, names, name_count * sizeof(struct str));
    grouping->name_count = name_count;
    if (!by)
        grouping->names[grouping->name_count++] = LABEL_NAME;
    qsort(grouping->names, grouping->name_count, sizeof(struct str), compare_names);
}

void grouping_deinit(struct grouping *grouping)
{
    map_deinit(&grouping->map);
    VEC_FREE(&grouping->first);
}

/* The first name from `at` on that does not come before `name`. Many names are not walked for each series. */
static size_t skip_names(const struct grouping *grouping, size_t at, struct str name)
{
    size_t near = at + NAMES_WALKED, high = grouping->name_count;
    for (; at < high && at < near; at++)
        if (str_cmp(grouping->names[at], name) >= 0)
            return at;
    while (at < high) {
        size_t middle = at + (high - at) / 2;
        if (str_cmp(grouping->names[middle], name) < 0)
            at = middle + 1;
        else
            high = middle;
    }
    return at;
}

/* The next label from *at on that the grouping keeps; both lists are sorted, *name walks along. */
static const struct label *next_kept(const struct grouping *grouping, const struct labels *labels,
                                     size_t *at, size_t *name)
{
    while (*at < labels->count) {
        const struct label *label = &labels->items[(*at)++];
        *name = skip_names(grouping, *name, label->name);
        bool named = *name < grouping->name_count && str_eq(grouping->names[*name], label->name);
        if (named == grouping->by)
            return label;
    }
    return NULL;
}

static uint64_t kept_hash(const struct grouping *grouping, const struct labels *labels)
{
    uint64_t hash = 0;
    size_t at = 0, name = 0;
    const struct label *label;
    while ((label = next_kept(grouping, labels, &at, &name)) != NULL)
        hash = hash64_mix(hash, hash64_mix(hash64(label->name), hash64(label->value)));
    return hash;
}

static bool kept_equal(const void *ctx, const void *key, uint32_t value)
{
    const struct grouping *grouping = ctx;
    const struct labels *a = key, *b = grouping->first.items[value];
    size_t a_at = 0, a_name = 0, b_at = 0, b_name = 0;
    for (;;) {
        const struct label *in_a = next_kept(grouping, a, &a_at, &a_name);
        const struct label *in_b = next_kept(grouping, b, &b_at, &b_name);
        if (!in_a || !in_b)
            return in_a == in_b;
        if (!str_eq(in_a->name, in_b->name) || !str_eq(in_a->value, in_b->value))
            return false;
    }
}

uint32_t grouping_find(const struct grouping *grouping, const struct labels *labels)
{
    if (grouping->by && grouping->name_count == 0)
        return grouping->first.count ? 0 : MAP_NONE;
    return map_find(&grouping->map, kept_hash(grouping, labels), labels, kept_equal, grouping);
}

uint32_t grouping_id(struct grouping *grouping, struct labels *labels)
{
    uint32_t id = grouping_find(grouping, labels);
    if (id != MAP_NONE)
        return id;
    id = (uint32_t)grouping->first.count;
    VEC_PUSH(&grouping->first, labels);
    map_insert(&grouping->map, kept_hash(grouping, labels), id);
    return id;
}

struct labels *grouping_labels(const struct grouping *grouping, struct query *query,
                               const struct labels *labels)
{
    struct label on_stack[STACK_LABELS], *kept = on_stack;
    size_t at = 0, name = 0, count = 0;
    const struct label *label;
    if (labels->count > STACK_LABELS)
        kept = arena_alloc_array(&query->arena, labels->count, sizeof(*kept));
    while ((label = next_kept(grouping, labels, &at, &name)) != NULL)
        kept[count++] = *label;
    return query_own(query, count ? labels_new(kept, count) : labels_empty());
}
