/* result_json: a result as the API answers it. */
#include "base/number.h"

#include "eval.h"

#define TIME_TEXT_MAX    32
#define TIME_TEXTS_WORTH 64 /* Points of the first two series. */
#define VALUE_TEXT_MAX   32 /* NUMBER_API's longest is 26; with what follows it. */
#define POINT_TEXT_MAX   (TIME_TEXT_MAX + VALUE_TEXT_MAX + 1)
#define POINTS_AT_ONCE   64

static void add_point(struct buf *out, int64_t time_ms, double value)
{
    buf_add_char(out, '[');
    buf_add_time_ms(out, time_ms);
    BUF_ADD(out, ",\"");
    buf_add_number(out, value, NUMBER_API);
    BUF_ADD(out, "\"]");
}

static void add_histogram_point(struct buf *out, int64_t time_ms, const struct histogram *histogram)
{
    buf_add_char(out, '[');
    buf_add_time_ms(out, time_ms);
    buf_add_char(out, ',');
    histogram_print_json(out, histogram);
    buf_add_char(out, ']');
}

static const struct histogram *histogram_at(const struct query_series *series, size_t k)
{
    return series->histogram ? series->histogram[k] : NULL;
}

/* The series of a matrix share their times, so what stands before a value is printed once: [1435781451.781," */
struct time_text {
    int64_t time_ms;
    char text[TIME_TEXT_MAX];
    uint8_t len; /* 0: none yet. */
};
#define TIME_TEXTS 4096 /* By time; a power of 2. */

static void time_text_print(struct time_text *text, int64_t time_ms)
{
    if (text->len && text->time_ms == time_ms)
        return;
    struct buf printed;
    buf_init(&printed, TIME_TEXT_MAX);
    buf_add_char(&printed, '[');
    buf_add_time_ms(&printed, time_ms);
    BUF_ADD(&printed, ",\"");
    text->time_ms = time_ms;
    text->len = (uint8_t)printed.len;
    memcpy(text->text, printed.ptr, printed.len);
    buf_deinit(&printed);
}

static const struct time_text *time_text_of(struct time_text *texts, int64_t time_ms)
{
    uint64_t hash = (uint64_t)time_ms * UINT64_C(0x9e3779b97f4a7c15);
    struct time_text *text = &texts[hash >> 40 & (TIME_TEXTS - 1)];
    time_text_print(text, time_ms);
    return text;
}

/* What was printed last of a series: values often stay. */
struct value_text {
    uint64_t bits;
    size_t len; /* 0: none yet. */
    char text[VALUE_TEXT_MAX];
};

/* [1435781451.781,"12.5"] */
static char *put_known_point(char *at, const struct time_text *text, struct value_text *last,
                             double value)
{
    memcpy(at, text->text, TIME_TEXT_MAX);
    at += text->len;
    if (last->len && last->bits == sample_bits(value)) {
        memcpy(at, last->text, VALUE_TEXT_MAX);
        return at + last->len;
    }
    size_t len = number_format(at, value, NUMBER_API);
    memcpy(at + len, "\"]", 2);
    last->len = len + 2 <= VALUE_TEXT_MAX ? len + 2 : 0;
    last->bits = sample_bits(value);
    memcpy(last->text, at, VALUE_TEXT_MAX);
    return at + len + 2;
}

/* A part of a series without histograms; *any: something stands before it. */
static void add_known_points(struct buf *out, const struct query_series *series, size_t first,
                             size_t end, struct time_text *texts, struct value_text *last)
{
    char *begin = buf_reserve(out, (end - first) * POINT_TEXT_MAX + NUMBER_TEXT_MAX), *at = begin;
    for (size_t k = first; begin && k < end; k++) {
        if (k > 0)
            *at++ = ',';
        at = put_known_point(at, time_text_of(texts, series->time_ms[k]), last, series->value[k]);
    }
    if (begin)
        buf_commit(out, (size_t)(at - begin));
}

static void add_known_floats(struct buf *out, const struct query_series *series,
                             struct time_text *texts)
{
    struct value_text last = {0};
    if (series->count == 0)
        return;
    BUF_ADD(out, ",\"values\":[");
    for (size_t k = 0; k < series->count; k += POINTS_AT_ONCE)
        add_known_points(out, series, k,
                         series->count - k < POINTS_AT_ONCE ? series->count : k + POINTS_AT_ONCE,
                         texts, &last);
    buf_add_char(out, ']');
}

/* The one point of a vector's series; all have the same time. */
static void add_one(struct buf *out, const struct query_series *series, struct time_text *text,
                    struct value_text *last)
{
    static const char key[] = ",\"value\":";
    const struct histogram *histogram = histogram_at(series, 0);
    if (histogram) {
        BUF_ADD(out, ",\"histogram\":");
        add_histogram_point(out, series->time_ms[0], histogram);
        return;
    }
    char *begin = buf_reserve(out, sizeof(key) + POINT_TEXT_MAX + NUMBER_TEXT_MAX);
    if (!begin)
        return;
    memcpy(begin, key, sizeof(key) - 1);
    time_text_print(text, series->time_ms[0]);
    char *end = put_known_point(begin + sizeof(key) - 1, text, last, series->value[0]);
    buf_commit(out, (size_t)(end - begin));
}

/* `texts` NULL: there are few points. */
static void add_floats(struct buf *out, const struct query_series *series, struct time_text *texts)
{
    bool any = false;
    if (texts && !series->histogram) {
        add_known_floats(out, series, texts);
        return;
    }
    for (size_t k = 0; k < series->count; k++) {
        if (histogram_at(series, k))
            continue;
        if (any)
            buf_add_char(out, ',');
        else
            BUF_ADD(out, ",\"values\":[");
        add_point(out, series->time_ms[k], series->value[k]);
        any = true;
    }
    if (any)
        buf_add_char(out, ']');
}

static void add_histograms(struct buf *out, const struct query_series *series)
{
    bool any = false;
    for (size_t k = 0; series->histogram && k < series->count; k++) {
        if (!series->histogram[k] || out->overflow)
            continue;
        buf_add_str(out, any ? STR(",") : STR(",\"histograms\":["));
        add_histogram_point(out, series->time_ms[k], series->histogram[k]);
        any = true;
    }
    if (any)
        buf_add_char(out, ']');
}

static void add_series(struct buf *out, const struct query_result *result, size_t count,
                       struct time_text *texts)
{
    struct time_text one = {0};
    struct value_text last = {0};
    for (size_t i = 0; i < count; i++) {
        const struct query_series *series = &result->series[i];
        if (i > 0)
            buf_add_char(out, ',');
        BUF_ADD(out, "{\"metric\":");
        labels_print_json(out, series->labels);
        if (result->type == QUERY_VECTOR) {
            add_one(out, series, &one, &last);
        } else {
            add_floats(out, series, texts);
            add_histograms(out, series);
        }
        buf_add_char(out, '}');
        if (out->overflow)
            return;
    }
}

static void add_all_series(struct buf *out, const struct query_result *result, size_t count)
{
    bool shares = result->type == QUERY_MATRIX && count > 1 &&
                  result->series[0].count + result->series[1].count > TIME_TEXTS_WORTH;
    struct time_text *texts = shares ? mem_zalloc(TIME_TEXTS * sizeof(*texts)) : NULL;
    add_series(out, result, count, texts);
    mem_free(texts);
}

/* A float as Go's encoding/json writes it: like the API's values, but 3e-8 instead of 3e-08. */
static void add_json_float(struct buf *out, double value)
{
    char text[NUMBER_TEXT_MAX];
    size_t len = number_format(text, value, NUMBER_API);
    if (len > 4 && text[len - 4] == 'e' && text[len - 3] == '-' && text[len - 2] == '0') {
        text[len - 2] = text[len - 1];
        len--;
    }
    buf_add(out, text, len);
}

static void add_data(struct buf *out, const struct query_result *result, size_t count)
{
    buf_addf(out, "\"resultType\":\"%s\",\"result\":[", query_value_type_text(result->type));
    switch (result->type) {
    case QUERY_SCALAR: /* Prometheus writes these two through its plain JSON encoder. */
        add_json_float(out, (double)result->time_ms / 1000);
        BUF_ADD(out, ",\"");
        buf_add_number(out, result->scalar, NUMBER_F);
        buf_add_char(out, '"');
        break;
    case QUERY_STRING:
        add_json_float(out, (double)result->time_ms / 1000);
        buf_add_char(out, ',');
        buf_add_json_string(out, result->string);
        break;
    default:
        add_all_series(out, result, count);
    }
    buf_add_char(out, ']');
}

static void add_seconds(struct buf *out, const char *name, double seconds)
{
    buf_addf(out, "\"%s\":", name);
    add_json_float(out, seconds);
}

static void add_steps(struct buf *out, const char *name, const struct query_stats *stats,
                      const uint64_t *samples)
{
    for (size_t t = 0; t < stats->step_count; t++) {
        buf_addf(out, t == 0 ? "\"%s\":[[" : ",[", name);
        add_json_float(out, (double)(stats->step_start_ms + (int64_t)t * stats->step_ms) / 1000);
        buf_addf(out, ",%llu]", (unsigned long long)samples[t]);
    }
    if (stats->step_count > 0)
        BUF_ADD(out, "],");
}

void query_stats_json(const struct query_stats *stats, struct buf *out)
{
    double inside = stats->prepare_seconds + stats->eval_seconds + stats->sort_seconds;
    BUF_ADD(out, ",\"stats\":{\"timings\":{");
    add_seconds(out, "evalTotalTime", inside);
    buf_add_char(out, ',');
    add_seconds(out, "resultSortTime", stats->sort_seconds);
    buf_add_char(out, ',');
    add_seconds(out, "queryPreparationTime", stats->prepare_seconds);
    buf_add_char(out, ',');
    add_seconds(out, "innerEvalTime", stats->eval_seconds);
    buf_add_char(out, ',');
    add_seconds(out, "execQueueTime", stats->queue_seconds);
    buf_add_char(out, ',');
    add_seconds(out, "execTotalTime", inside + stats->queue_seconds);
    BUF_ADD(out, "},\"samples\":{");
    add_steps(out, "totalQueryableSamplesPerStep", stats, stats->step_total);
    buf_addf(out, "\"totalQueryableSamples\":%llu,", (unsigned long long)stats->samples_total);
    add_steps(out, "samplesReadPerStep", stats, stats->step_read);
    buf_addf(out, "\"samplesRead\":%llu,\"peakSamples\":%llu}}",
             (unsigned long long)stats->samples_read, (unsigned long long)stats->samples_peak);
}

static void add_texts(struct buf *out, const char *name, const struct str *texts, size_t count,
                      bool truncated)
{
    if (count == 0 && !truncated)
        return;
    buf_addf(out, ",\"%s\":[", name);
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            buf_add_char(out, ',');
        buf_add_json_string(out, texts[i]);
    }
    if (truncated)
        buf_addf(out, "%s\"results truncated due to limit\"", count ? "," : "");
    buf_add_char(out, ']');
}

void query_result_json(const struct query_result *result, size_t limit, bool with_stats,
                       struct buf *out)
{
    bool has_series = result->type == QUERY_VECTOR || result->type == QUERY_MATRIX;
    bool truncated = has_series && limit && result->count > limit;
    BUF_ADD(out, "{\"status\":\"success\",\"data\":{");
    add_data(out, result, truncated ? limit : result->count);
    if (with_stats)
        query_stats_json(&result->stats, out);
    buf_add_char(out, '}');
    add_texts(out, "warnings", result->warnings, result->warning_count, truncated);
    add_texts(out, "infos", result->infos, result->info_count, false);
    buf_add_char(out, '}');
}
