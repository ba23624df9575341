/* evaluate: see evaluate.h.
 *
 * A result's own time is the moment of the query. What a scaler wants to know is how old the samples
 * are, and whether their series has ended: so the series of the query's first selector are read once
 * more, their last samples only. */
#include "evaluate.h"

#include <math.h>

#include "base/mem.h"
#include "model/duration.h"
#include "model/sample.h"

int64_t query_text_range_ms(struct str text)
{
    int64_t longest = 0;

    for (;;) {
        struct err err = {0};
        int64_t ms;
        size_t open = str_find_char(text, '[');
        if (open == text.len)
            return longest;
        text = str_after(text, open + 1);
        struct str inside = str_first(text, str_find_char(text, ']'));
        inside = str_trim(str_first(inside, str_find_char(inside, ':')));
        if (inside.len < 32 && duration_parse(inside, &ms, &err) && ms > longest)
            longest = ms;
    }
}

static bool read_last(struct cursor *cursor, size_t index, struct last_sample *out, struct err *err)
{
    struct sample_block block;

    cursor_seek(cursor, index);
    out->time_ms = INT64_MIN;
    for (;;) {
        if (!cursor_next(cursor, &block, err))
            return false;
        if (block.count == 0)
            return true;
        size_t last = block.count - 1;
        out->time_ms = block.time_ms[last];
        out->stale =
            (!block.histogram || !block.histogram[last]) && sample_is_stale(block.value[last]);
    }
}

static bool read_all_last(const struct evaluator *evaluator, struct evaluation *out,
                          struct err *err)
{
    struct cursor *cursor = cursor_new(out->selection);
    size_t count = selection_count(out->selection);
    bool good = true;

    out->last = mem_alloc_array(count + 1, sizeof(*out->last));
    for (size_t i = 0; good && i < count; i++) {
        struct last_sample *last = &out->last[out->last_count];
        *last = (struct last_sample){.labels = selection_labels(out->selection, i)};
        good = read_last(cursor, i, last, err);
        out->last_count += good && last->time_ms != INT64_MIN;
        if (atomic_load(evaluator->canceled))
            good = err_set(err, ERR_CANCELED, "query was canceled");
    }
    cursor_free(cursor);
    return good;
}

static bool select_last(const struct evaluator *evaluator, struct str text, struct evaluation *out,
                        struct err *err)
{
    struct matchers *selectors;
    size_t count;
    int64_t back_ms =
        out->range_ms > evaluator->lookback_ms ? out->range_ms : evaluator->lookback_ms;
    bool good = true;

    if (!query_selectors(text, 0, &selectors, &count, err))
        return false;
    if (count > 0)
        good = storage_select(evaluator->storage, selectors[0].items, selectors[0].count,
                              evaluator->now_ms - back_ms + 1, evaluator->now_ms, &out->selection,
                              err) &&
               read_all_last(evaluator, out, err);
    query_selectors_free(selectors, count);
    return good;
}

bool evaluate(const struct evaluator *evaluator, struct str text, struct evaluation *out,
              struct err *err)
{
    struct query_options options;

    *out = (struct evaluation){.range_ms = query_text_range_ms(text)};
    query_options_init(&options);
    options.start_ms = options.end_ms = evaluator->now_ms;
    options.lookback_ms = evaluator->lookback_ms;
    options.timeout_ms = evaluator->timeout_ms;
    options.samples_max = evaluator->samples_max;
    options.bytes_max = evaluator->bytes_max;
    options.canceled = evaluator->canceled;
    if (!query_new(&out->query, text, &options, err))
        return false;
    if (query_run(out->query, evaluator->storage, err) && select_last(evaluator, text, out, err)) {
        out->result = query_result(out->query);
        return true;
    }
    evaluation_deinit(out);
    return false;
}

void evaluation_deinit(struct evaluation *evaluation)
{
    query_free(evaluation->query);
    selection_free(evaluation->selection);
    mem_free(evaluation->last);
    *evaluation = (struct evaluation){0};
}
