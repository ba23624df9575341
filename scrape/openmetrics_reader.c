/* openmetrics_reader: see scrape/openmetrics_reader.h: the scraper's parser and label rules, with no cache, no target and
 * no limits. */
#include "scrape/openmetrics_reader.h"

#include "parse_text.h"
#include "sample_labels.h"

struct openmetrics_reader {
    struct parse_text parser;
    struct parse_text_sink sink;
    struct line_cache cache; /* Stays empty. */
    struct config_scrape options;
    struct labels *target;
    struct arena arena;
    struct sample_labels labels;
    openmetrics_sample_fn fn;
    void *ctx;
};

static void on_known(void *ctx, uint32_t index, double value, const int64_t *time_ms)
{
    (void)ctx, (void)index, (void)value, (void)time_ms;
    UNREACHABLE();
}

static bool on_sample(void *ctx, const struct text_line *line, enum metric_type type,
                      struct err *err)
{
    struct openmetrics_reader *reader = ctx;
    bool over_limit;
    arena_reset(&reader->arena);
    if (!sample_labels_build(&reader->labels, line, type, &over_limit, err))
        return false;
    struct openmetrics_sample sample = {.labels = reader->labels.builder.items,
                                        .label_count = reader->labels.builder.count,
                                        .value = line->value,
                                        .time_ms = line->time_ms,
                                        .has_time = line->has_time};
    return reader->fn(reader->ctx, &sample, err);
}

static void on_metadata(void *ctx, const struct text_line *line)
{
    (void)ctx, (void)line;
}

struct openmetrics_reader *openmetrics_reader_new(openmetrics_sample_fn fn, void *ctx)
{
    struct openmetrics_reader *reader = MEM_NEW(struct openmetrics_reader);
    reader->fn = fn;
    reader->ctx = ctx;
    reader->sink = (struct parse_text_sink){
        .known = on_known, .sample = on_sample, .metadata = on_metadata, .ctx = reader};
    line_cache_init(&reader->cache, 1);
    parse_text_init(&reader->parser, &reader->cache, &reader->sink, PARSE_LINE_BYTES_MAX);
    parse_text_set_format(&reader->parser, TEXT_OPENMETRICS);
    arena_init(&reader->arena, 0);
    reader->target = labels_empty();
    sample_labels_init(&reader->labels, &reader->options, reader->target, &reader->arena);
    return reader;
}

void openmetrics_reader_free(struct openmetrics_reader *reader)
{
    if (!reader)
        return;
    sample_labels_deinit(&reader->labels);
    parse_text_deinit(&reader->parser);
    line_cache_deinit(&reader->cache);
    labels_unref(reader->target);
    arena_deinit(&reader->arena);
    mem_free(reader);
}

bool openmetrics_reader_feed(struct openmetrics_reader *reader, struct str bytes, struct err *err)
{
    return parse_text_feed(&reader->parser, bytes, err);
}

bool openmetrics_reader_end(struct openmetrics_reader *reader, struct err *err)
{
    return parse_text_end(&reader->parser, err);
}

uint64_t openmetrics_reader_line(const struct openmetrics_reader *reader)
{
    return parse_text_line(&reader->parser);
}
