/* report: the series that tell of the scrape itself. They carry the target's labels, without metric
 * relabelling. */
#include "base/log.h"
#include "scraper.h"

enum report_kind {
    REPORT_UP,
    REPORT_DURATION,
    REPORT_SCRAPED,
    REPORT_POST_RELABELING,
    REPORT_SERIES_ADDED,
    REPORT_TIMEOUT, /* From here on: extra_scrape_metrics. */
    REPORT_SAMPLE_LIMIT,
    REPORT_BODY_SIZE,
    REPORT_COUNT,
};
_Static_assert(REPORT_COUNT == REPORT_SERIES_MAX, "one ref for each report series");

static const char *const report_names[REPORT_COUNT] = {
    [REPORT_UP] = "up",
    [REPORT_DURATION] = "scrape_duration_seconds",
    [REPORT_SCRAPED] = "scrape_samples_scraped",
    [REPORT_POST_RELABELING] = "scrape_samples_post_metric_relabeling",
    [REPORT_SERIES_ADDED] = "scrape_series_added",
    [REPORT_TIMEOUT] = "scrape_timeout_seconds",
    [REPORT_SAMPLE_LIMIT] = "scrape_sample_limit",
    [REPORT_BODY_SIZE] = "scrape_body_size_bytes",
};

static series_ref report_ref(struct target *target, enum report_kind kind)
{
    struct labels_builder builder;
    struct err err;

    if (target->reports[kind] != SERIES_REF_NONE)
        return target->reports[kind];
    labels_builder_init(&builder);
    labels_builder_load(&builder, target->labels);
    labels_builder_set(&builder, LABEL_NAME, str_of(report_names[kind]));
    target->reports[kind] =
        storage_series(target->scraper->storage, target_group(target), builder.items, builder.count,
                       labels_hash(builder.items, builder.count), &err);
    if (target->reports[kind] == SERIES_REF_NONE && kind == REPORT_UP)
        LOG_W("Report series refused", "target", target->url, "err", err.text);
    labels_builder_deinit(&builder);
    return target->reports[kind];
}

static void add(struct append *append, enum report_kind kind, double value)
{
    series_ref ref = report_ref(append->target, kind);

    if (ref != SERIES_REF_NONE)
        batch_add(&append->batch, ref, append->time_ms, value);
}

void report_add(struct append *append, const struct append_summary *summary)
{
    const struct target *target = append->target;
    const struct config_scrape *options = target->pool->options;

    add(append, REPORT_UP, summary->ok ? 1 : 0);
    add(append, REPORT_DURATION, summary->duration_seconds);
    add(append, REPORT_SCRAPED, (double)append->lines);
    add(append, REPORT_POST_RELABELING, (double)append->added);
    add(append, REPORT_SERIES_ADDED, (double)append->series_added);
    if (!options->extra_scrape_metrics)
        return;
    add(append, REPORT_TIMEOUT, (double)target->timeout_ms / 1000);
    add(append, REPORT_SAMPLE_LIMIT, (double)options->limits.samples);
    add(append, REPORT_BODY_SIZE, (double)summary->body_bytes);
}

void report_add_stale(struct append *append)
{
    for (size_t i = 0; i < REPORT_COUNT; i++)
        if (append->target->reports[i] != SERIES_REF_NONE)
            batch_add(&append->batch, append->target->reports[i], append->time_ms, sample_stale());
}

void report_release(struct target *target)
{
    for (size_t i = 0; i < REPORT_COUNT; i++) {
        if (target->reports[i] != SERIES_REF_NONE)
            storage_series_release(target->scraper->storage, target->reports[i]);
        target->reports[i] = SERIES_REF_NONE;
    }
}
