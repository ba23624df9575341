/* labels: immutable label sets and the builder that makes them.
 *
 * One allocation holds the struct, the items and after them the texts of all pairs in order, each
 * followed by the byte 0xff. That run of bytes is also what the hash is taken over: 0xff is in no
 * UTF-8 text, so it separates. */
#include "model/labels.h"

#include <stdlib.h>

#include "base/ensure.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/vec.h"

#define TEXT_SEPARATOR   '\xff'
#define EMPTY_HASH       UINT64_C(0x2d06800538d394c2)
#define SCRATCH_BYTES    1024
#define LINEAR_COUNT_MAX 8

/* Shared by all; never freed, so its references are not counted. */
static struct labels empty_labels = {.refs = 1, .hash = EMPTY_HASH};

/* Bytes of all texts with their separators. */
static size_t pairs_text_len(const struct label *items, size_t count)
{
    size_t len = 0;
    for (size_t i = 0; i < count; i++)
        len += items[i].name.len + items[i].value.len + 2;
    return len;
}

static char *text_put(char *at, struct str s)
{
    if (s.len)
        memcpy(at, s.ptr, s.len);
    at[s.len] = TEXT_SEPARATOR;
    return at + s.len + 1;
}

struct labels *labels_new(const struct label *sorted, size_t count)
{
    if (count == 0)
        return labels_empty();
    ENSURE(count <= UINT32_MAX);

    size_t text_len = pairs_text_len(sorted, count);
    struct labels *labels =
        mem_alloc(sizeof(*labels) + count * sizeof(labels->items[0]) + text_len);
    char *text = (char *)(labels->items + count);
    char *at = text;

    atomic_init(&labels->refs, 1);
    labels->count = (uint32_t)count;
    for (size_t i = 0; i < count; i++) {
        ENSURE_SLOW(sorted[i].value.len > 0);
        ENSURE_SLOW(i == 0 || str_cmp(sorted[i - 1].name, sorted[i].name) < 0);
        labels->items[i].name = (struct str){at, sorted[i].name.len};
        at = text_put(at, sorted[i].name);
        labels->items[i].value = (struct str){at, sorted[i].value.len};
        at = text_put(at, sorted[i].value);
    }
    ENSURE((size_t)(at - text) == text_len);
    labels->hash = hash64((struct str){text, text_len});
    return labels;
}

struct labels *labels_ref(struct labels *labels)
{
    if (labels == &empty_labels)
        return labels;
    uint32_t before = atomic_fetch_add_explicit(&labels->refs, 1, memory_order_relaxed);
    ENSURE(before > 0 && before < UINT32_MAX);
    return labels;
}

void labels_unref(struct labels *labels)
{
    if (!labels || labels == &empty_labels)
        return;
    uint32_t before = atomic_fetch_sub_explicit(&labels->refs, 1, memory_order_acq_rel);
    ENSURE(before > 0);
    if (before == 1)
        mem_free(labels);
}

struct labels *labels_empty(void)
{
    return &empty_labels;
}

/* The first position whose name is not below `name`. */
static size_t items_find(const struct label *items, size_t count, struct str name)
{
    size_t low = 0, high = count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (str_cmp(items[middle].name, name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static const struct label *items_get(const struct label *items, size_t count, struct str name)
{
    /* Comparing for equality stops at the lengths mostly, so a short set is best walked. */
    if (count <= LINEAR_COUNT_MAX) {
        for (size_t i = 0; i < count; i++) {
            if (str_eq(items[i].name, name))
                return &items[i];
        }
        return NULL;
    }
    size_t index = items_find(items, count, name);
    return index < count && str_eq(items[index].name, name) ? &items[index] : NULL;
}

struct str labels_get(const struct labels *labels, struct str name)
{
    const struct label *label = items_get(labels->items, labels->count, name);
    return label ? label->value : STR_EMPTY;
}

bool labels_has(const struct labels *labels, struct str name)
{
    return items_get(labels->items, labels->count, name) != NULL;
}

bool labels_eq(const struct labels *a, const struct labels *b)
{
    if (a == b)
        return true;
    if (a->hash != b->hash || a->count != b->count)
        return false;
    for (uint32_t i = 0; i < a->count; i++) {
        if (!str_eq(a->items[i].name, b->items[i].name) ||
            !str_eq(a->items[i].value, b->items[i].value))
            return false;
    }
    return true;
}

int labels_cmp(const struct labels *a, const struct labels *b)
{
    uint32_t count = a->count < b->count ? a->count : b->count;

    for (uint32_t i = 0; i < count; i++) {
        int order = str_cmp(a->items[i].name, b->items[i].name);
        if (order == 0)
            order = str_cmp(a->items[i].value, b->items[i].value);
        if (order != 0)
            return order;
    }
    return (a->count > b->count) - (a->count < b->count);
}

uint64_t labels_hash(const struct label *sorted, size_t count)
{
    char scratch[SCRATCH_BYTES];

    if (count == 0)
        return EMPTY_HASH;
    size_t len = pairs_text_len(sorted, count);
    char *text = len <= sizeof(scratch) ? scratch : mem_alloc(len);
    char *at = text;
    for (size_t i = 0; i < count; i++)
        at = text_put(text_put(at, sorted[i].name), sorted[i].value);
    uint64_t hash = hash64((struct str){text, len});
    if (text != scratch)
        mem_free(text);
    return hash;
}

static void label_print(struct buf *buf, const struct label *label)
{
    if (label_name_is_legacy(label->name))
        buf_add_str(buf, label->name);
    else
        buf_add_go_quoted(buf, label->name);
    buf_add_char(buf, '=');
    buf_add_go_quoted(buf, label->value);
}

void labels_print(struct buf *buf, const struct labels *labels)
{
    buf_add_char(buf, '{');
    for (uint32_t i = 0; i < labels->count; i++) {
        if (i > 0)
            BUF_ADD(buf, ", ");
        label_print(buf, &labels->items[i]);
    }
    buf_add_char(buf, '}');
}

/* Go sorts the finished texts name="value", so the '=' takes part: a1="x" stands before a="x". */
static int label_text_cmp(const void *left, const void *right)
{
    struct str a = (*(const struct label *const *)left)->name;
    struct str b = (*(const struct label *const *)right)->name;
    size_t len = a.len < b.len ? a.len : b.len;
    int order = len ? memcmp(a.ptr, b.ptr, len) : 0;

    if (order != 0 || a.len == b.len)
        return order;
    return a.len < b.len ? '=' - (int)(unsigned char)b.ptr[len]
                         : (int)(unsigned char)a.ptr[len] - '=';
}

void labels_print_metric(struct buf *buf, const struct labels *labels)
{
    const struct label **items = mem_alloc_array(labels->count, sizeof(*items));
    struct str metric = STR_EMPTY;
    size_t count = 0;

    for (uint32_t i = 0; i < labels->count; i++) {
        if (str_eq(labels->items[i].name, LABEL_NAME))
            metric = labels->items[i].value;
        else
            items[count++] = &labels->items[i];
    }
    qsort(items, count, sizeof(*items), label_text_cmp);

    bool metric_outside = metric_name_is_legacy(metric);
    bool metric_inside = metric.len > 0 && !metric_outside;
    if (metric_outside)
        buf_add_str(buf, metric);
    if (count > 0 || !metric_outside) {
        buf_add_char(buf, '{');
        if (metric_inside)
            buf_add_go_quoted(buf, metric);
        for (size_t i = 0; i < count; i++) {
            if (i > 0 || metric_inside)
                BUF_ADD(buf, ", ");
            label_print(buf, items[i]);
        }
        buf_add_char(buf, '}');
    }
    mem_free(items);
}

void labels_print_json(struct buf *buf, const struct labels *labels)
{
    buf_add_char(buf, '{');
    for (uint32_t i = 0; i < labels->count; i++) {
        if (i > 0)
            buf_add_char(buf, ',');
        buf_add_json_plain(buf, labels->items[i].name);
        buf_add_char(buf, ':');
        buf_add_json_plain(buf, labels->items[i].value);
    }
    buf_add_char(buf, '}');
}

void labels_builder_init(struct labels_builder *builder)
{
    *builder = (struct labels_builder){0};
}

void labels_builder_deinit(struct labels_builder *builder)
{
    if (builder)
        VEC_FREE(builder);
}

void labels_builder_clear(struct labels_builder *builder)
{
    builder->count = 0;
}

void labels_builder_load(struct labels_builder *builder, const struct labels *labels)
{
    builder->count = 0;
    if (labels->count == 0)
        return;
    VEC_RESERVE(builder, labels->count);
    memcpy(builder->items, labels->items, labels->count * sizeof(labels->items[0]));
    builder->count = labels->count;
}

static void builder_remove(struct labels_builder *builder, size_t index)
{
    ENSURE(index < builder->count);
    builder->count--;
    memmove(&builder->items[index], &builder->items[index + 1],
            (builder->count - index) * sizeof(builder->items[0]));
}

void labels_builder_set(struct labels_builder *builder, struct str name, struct str value)
{
    struct label label = {name, value};
    size_t count = builder->count;

    if (value.len == 0) {
        labels_builder_del(builder, name);
        return;
    }
    /* Scrapes come sorted mostly: at the end nothing has to be searched or moved. */
    if (count == 0 || str_cmp(builder->items[count - 1].name, name) < 0) {
        VEC_PUSH(builder, label);
        return;
    }
    size_t index = items_find(builder->items, count, name);
    if (str_eq(builder->items[index].name, name)) {
        builder->items[index].value = value;
        return;
    }
    VEC_RESERVE(builder, 1);
    memmove(&builder->items[index + 1], &builder->items[index],
            (count - index) * sizeof(builder->items[0]));
    builder->items[index] = label;
    builder->count++;
}

void labels_builder_del(struct labels_builder *builder, struct str name)
{
    const struct label *label = items_get(builder->items, builder->count, name);
    if (label)
        builder_remove(builder, (size_t)(label - builder->items));
}

struct str labels_builder_get(const struct labels_builder *builder, struct str name)
{
    const struct label *label = items_get(builder->items, builder->count, name);
    return label ? label->value : STR_EMPTY;
}

bool labels_builder_has(const struct labels_builder *builder, struct str name)
{
    return items_get(builder->items, builder->count, name) != NULL;
}

struct labels *labels_build(const struct labels_builder *builder)
{
    return labels_new(builder->items, builder->count);
}
