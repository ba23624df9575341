/* annotations: warnings and infos of one query, each text once.
 *
 * A text that comes again keeps its place and takes the newest position. The monotonicity info of
 * histogram_quantile sums up instead: its shown text tells the span of buckets and times of all
 * that were merged. */
#include "base/hash.h"
#include "base/number.h"
#include "base/timetext.h"

#include "eval.h"

#define SHOWN_MAX    10
#define TEXT_LEN_MAX 65536
#define MONOTONICITY_URL                                                                           \
    "https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile"

void annotations_init(struct annotations *annotations)
{
    *annotations = (struct annotations){0};
    map_init(&annotations->by_text);
}

void annotations_deinit(struct annotations *annotations)
{
    VEC_FREE(&annotations->items);
    map_deinit(&annotations->by_text);
}

static bool text_equal(const void *ctx, const void *key, uint32_t value)
{
    const struct annotations *annotations = ctx;
    return str_eq(annotations->items.items[value].text, *(const struct str *)key);
}

/* The annotation with this text; *made says whether it is new. */
static struct annotation *find_or_add(struct query *query, struct str text, bool *made)
{
    struct annotations *all = &query->annotations;
    uint64_t hash = hash64(text);
    uint32_t found = map_find(&all->by_text, hash, &text, text_equal, all);
    *made = found == MAP_NONE;
    if (*made) {
        struct annotation fresh = {.text = arena_str(&query->arena, text)};
        found = (uint32_t)all->items.count;
        VEC_PUSH(&all->items, fresh);
        map_insert(&all->by_text, hash, found);
    }
    return &all->items.items[found];
}

void annotate(struct query *query, bool is_warning, const struct expr *where, struct str text)
{
    bool made;
    struct annotation *annotation = find_or_add(query, text, &made);
    annotation->is_warning = is_warning;
    annotation->position = where ? where->start : 0;
}

void annotations_merge(struct query *query, struct annotations *later)
{
    VEC_EACH (from, &later->items) {
        bool made;
        struct annotation *annotation = find_or_add(query, from->text, &made);
        annotation->is_warning = from->is_warning;
        annotation->position = from->position;
    }
}

static void annotate_with_name(struct query *query, bool is_warning, const struct expr *where,
                               const char *text, const char *between, struct str name)
{
    struct buf all;
    buf_init(&all, TEXT_LEN_MAX);
    buf_addf(&all, "PromQL %s: %s", is_warning ? "warning" : "info", text);
    if (between) {
        buf_addf(&all, "%s ", between);
        buf_add_go_quoted(&all, name);
    }
    annotate(query, is_warning, where, buf_str(&all));
    buf_deinit(&all);
}

void annotate_text(struct query *query, bool is_warning, const struct expr *where, const char *text)
{
    annotate_with_name(query, is_warning, where, text, NULL, STR_EMPTY);
}

void annotate_named(struct query *query, bool is_warning, const struct expr *where,
                    const char *text, struct str name)
{
    annotate_with_name(query, is_warning, where, text, "", name);
}

void annotate_maybe_named(struct query *query, bool is_warning, const struct expr *where,
                          const char *text, struct str name)
{
    annotate_with_name(query, is_warning, where, text, name.len ? " for metric name" : NULL, name);
}

void annotate_quantile(struct query *query, const struct expr *where, double quantile)
{
    struct buf text;
    buf_init(&text, TEXT_LEN_MAX);
    BUF_ADD(&text, "PromQL warning: quantile value should be between 0 and 1, got ");
    buf_add_number(&text, quantile, NUMBER_G);
    annotate(query, true, where, buf_str(&text));
    buf_deinit(&text);
}

static void add_metric_name(struct buf *text, struct str name)
{
    if (name.len == 0)
        return;
    BUF_ADD(text, " for metric name ");
    buf_add_go_quoted(text, name);
}

void annotate_bad_bucket(struct query *query, const struct expr *where, struct str name,
                         struct str le)
{
    struct buf text;
    buf_init(&text, TEXT_LEN_MAX);
    BUF_ADD(&text, "PromQL warning: bucket label \"le\" is missing or has a malformed value of ");
    buf_add_go_quoted(&text, le);
    add_metric_name(&text, name);
    annotate(query, true, where, buf_str(&text));
    buf_deinit(&text);
}

void leveled_add(struct leveled **all, const struct frame *frame, struct str name, size_t step,
                 struct leveled one)
{
    struct leveled *leveled = *all;
    while (leveled && !str_eq(leveled->name, name))
        leveled = leveled->next;
    if (!leveled) {
        struct arena *arena = &frame->query->arena;
        leveled = arena_alloc(arena, sizeof(*leveled));
        *leveled = one;
        leveled->next = *all;
        leveled->name = name;
        leveled->time_min_ms = leveled->time_max_ms = frame_time(frame, step);
        leveled->by_step = arena_zalloc(arena, frame->steps * sizeof(uint64_t));
        *all = leveled;
    }
    leveled->by_step[step]++;
    int64_t time_ms = frame_time(frame, step);
    leveled->time_min_ms = time_ms < leveled->time_min_ms ? time_ms : leveled->time_min_ms;
    leveled->time_max_ms = time_ms > leveled->time_max_ms ? time_ms : leveled->time_max_ms;
    leveled->bucket_min = fmin(one.bucket_min, leveled->bucket_min);
    leveled->bucket_max = fmax(one.bucket_max, leveled->bucket_max);
    leveled->diff_max = fmax(one.diff_max, leveled->diff_max);
}

/* Prometheus merges what a call has told so far into itself at each further step: its count doubles. */
static uint64_t leveled_count(const struct frame *frame, const struct leveled *leveled)
{
    uint64_t count = 0;
    for (size_t t = 0; t < frame->steps; t++)
        count = count ? 2 * (count + leveled->by_step[t]) : leveled->by_step[t];
    return count;
}

static void annotate_leveled(const struct frame *frame, const struct expr *where,
                             const struct leveled *leveled)
{
    struct buf text;
    bool made;
    buf_init(&text, TEXT_LEN_MAX);
    BUF_ADD(&text, "PromQL info: input to histogram_quantile needed to be fixed for monotonicity "
                   "(see " MONOTONICITY_URL ")");
    add_metric_name(&text, leveled->name);
    struct annotation *annotation = find_or_add(frame->query, buf_str(&text), &made);
    buf_deinit(&text);
    annotation->is_monotonicity = true;
    if (made) {
        annotation->position = where->start; /* The place stays that of the first. */
        annotation->time_min_ms = leveled->time_min_ms;
        annotation->time_max_ms = leveled->time_max_ms;
        annotation->bucket_min = leveled->bucket_min;
        annotation->bucket_max = leveled->bucket_max;
        annotation->diff_max = leveled->diff_max;
    }
    annotation->count += leveled_count(frame, leveled);
    if (leveled->time_min_ms < annotation->time_min_ms)
        annotation->time_min_ms = leveled->time_min_ms;
    if (leveled->time_max_ms > annotation->time_max_ms)
        annotation->time_max_ms = leveled->time_max_ms;
    annotation->bucket_min = fmin(leveled->bucket_min, annotation->bucket_min);
    annotation->bucket_max = fmax(leveled->bucket_max, annotation->bucket_max);
    annotation->diff_max = fmax(leveled->diff_max, annotation->diff_max);
}

void leveled_annotate(const struct leveled *all, const struct frame *frame,
                      const struct expr *where)
{
    for (; all; all = all->next)
        annotate_leveled(frame, where, all);
}

static void print_monotonicity(struct buf *out, const struct annotation *annotation)
{
    BUF_ADD(out, ", from buckets ");
    buf_add_number(out, annotation->bucket_min, NUMBER_G);
    BUF_ADD(out, " to ");
    buf_add_number(out, annotation->bucket_max, NUMBER_G);
    buf_addf(out, ", with a max diff of %.2g, over %lld samples from ", annotation->diff_max,
             (long long)annotation->count);
    buf_add_rfc3339_nano(out, annotation->time_min_ms / 1000 * 1000000000);
    BUF_ADD(out, " to ");
    buf_add_rfc3339_nano(out, annotation->time_max_ms / 1000 * 1000000000);
}

/* The text with its position as line and column, both from 1. */
static struct str print_annotation(struct query *query, const struct annotation *annotation)
{
    size_t line = 1, line_start = 0;
    for (size_t i = 0; i < annotation->position && i < query->text.len; i++) {
        if (query->text.ptr[i] == '\n') {
            line++;
            line_start = i + 1;
        }
    }
    struct buf out;
    buf_init(&out, 2 * TEXT_LEN_MAX);
    buf_add_str(&out, annotation->text);
    if (annotation->is_monotonicity)
        print_monotonicity(&out, annotation);
    buf_addf(&out, " (%zu:%zu)", line, annotation->position - line_start + 1);
    struct str text = arena_str(&query->arena, buf_str(&out));
    buf_deinit(&out);
    return text;
}

static void finish_kind(struct query *query, bool warnings, struct str **texts, size_t *count)
{
    size_t omitted = 0;
    *texts = arena_alloc_array(&query->arena, SHOWN_MAX + 1, sizeof(struct str));
    *count = 0;
    VEC_EACH (annotation, &query->annotations.items) {
        if (annotation->is_warning != warnings)
            continue;
        if (*count == SHOWN_MAX)
            omitted++;
        else
            (*texts)[(*count)++] = print_annotation(query, annotation);
    }
    if (omitted)
        (*texts)[(*count)++] = arena_strf(&query->arena, "%zu more %s annotations omitted", omitted,
                                          warnings ? "warning" : "info");
}

void annotations_finish(struct query *query)
{
    struct query_result *result = &query->result;
    finish_kind(query, true, &result->warnings, &result->warning_count);
    finish_kind(query, false, &result->infos, &result->info_count);
}
