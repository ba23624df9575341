/* text_dump: parses an exposition and writes what the parser said, one line each: for comparing
 * runs.
 *
 *     {__name__="a", b="c"} 1 @123        type a counter       help a "some text"
 *     unit a_b "b"                        exemplar {trace="x"} 1 @17
 *     {__name__="h"} {count:3, sum:5, (1,2]:3} @123
 *
 * Included by the test (static functions only). The cache is kept, so that a second run takes the
 * fast path. */
#ifndef TESTS_TEXT_DUMP_H
#define TESTS_TEXT_DUMP_H

#include "base/number.h"
#include "model/histogram_math.h"
#include "parse_protobuf.h"
#include "parse_text.h"
#include "sample_labels.h"

struct text_dump {
    struct line_cache cache;
    struct arena kept;
    bool nhcb, keep_classic; /* Texts: through the converter. */
    struct parse_protobuf_options protobuf;
    VEC(char *) texts; /* By entry of the cache. */
    struct buf out;
    struct arena arena;
    struct config_scrape options;
    struct sample_labels labels;
    enum text_format format;
    uint64_t line;
    size_t known_count;
};

static void text_dump_init(struct text_dump *dump)
{
    *dump = (struct text_dump){.options = {.honor_timestamps = true}};
    line_cache_init(&dump->cache, 42);
    buf_init(&dump->out, (size_t)64 << 20);
    arena_init(&dump->arena, 0);
    arena_init(&dump->kept, 0);
    sample_labels_init(&dump->labels, &dump->options, labels_empty(), &dump->arena);
}

static void text_dump_deinit(struct text_dump *dump)
{
    VEC_EACH (text, &dump->texts)
        mem_free(*text);
    VEC_FREE(&dump->texts);
    line_cache_deinit(&dump->cache);
    buf_deinit(&dump->out);
    sample_labels_deinit(&dump->labels);
    labels_unref((struct labels *)dump->labels.target);
    arena_deinit(&dump->arena);
    arena_deinit(&dump->kept);
}

static void dump_value(struct text_dump *dump, uint32_t index, double value,
                       const struct histogram *histogram, const int64_t *time_ms)
{
    dump->known_count++;
    (void)line_cache_mark(&dump->cache, index, true);
    buf_add_str(&dump->out, str_of(dump->texts.items[index]));
    buf_add_char(&dump->out, ' ');
    if (histogram)
        histogram_print(&dump->out, histogram);
    else
        buf_add_number(&dump->out, value, NUMBER_G);
    if (time_ms)
        buf_addf(&dump->out, " @%lld", (long long)*time_ms);
    buf_add_char(&dump->out, '\n');
}

static void dump_known(void *ctx, uint32_t index, double value, const int64_t *time_ms)
{
    dump_value(ctx, index, value, NULL, time_ms);
}

static void dump_known_histogram(void *ctx, uint32_t index, const struct histogram *histogram,
                                 const int64_t *time_ms)
{
    dump_value(ctx, index, 0, histogram, time_ms);
}

static void dump_exemplar(void *ctx, const struct text_exemplar *exemplar)
{
    struct text_dump *dump = ctx;
    struct labels_builder builder;

    labels_builder_init(&builder);
    for (size_t i = 0; i < exemplar->label_count; i++) {
        const struct text_label *label = &exemplar->labels[i];
        labels_builder_set(
            &builder,
            label->name_escaped ? text_unescape(&dump->arena, label->name, true) : label->name,
            label->value_escaped ? text_unescape(&dump->arena, label->value, true) : label->value);
    }
    struct labels *labels = labels_build(&builder);
    BUF_ADD(&dump->out, "exemplar ");
    labels_print(&dump->out, labels);
    labels_unref(labels);
    labels_builder_deinit(&builder);
    buf_add_char(&dump->out, ' ');
    buf_add_number(&dump->out, exemplar->value, NUMBER_G);
    if (exemplar->has_time)
        buf_addf(&dump->out, " @%lld", (long long)exemplar->time_ms);
    buf_add_char(&dump->out, '\n');
}

static bool dump_sample(void *ctx, const struct text_line *line, enum metric_type type,
                        struct err *err)
{
    struct text_dump *dump = ctx;
    struct buf text;
    bool over;

    if (!sample_labels_build(&dump->labels, line, type, &over, err))
        return false;
    struct labels *labels = labels_build(&dump->labels.builder);
    buf_init(&text, (size_t)8 << 20);
    labels_print(&text, labels);
    labels_unref(labels);
    uint32_t index = line_cache_add(&dump->cache, line->metric, 7, LINE_TRACKED);
    ENSURE(index == dump->texts.count);
    VEC_PUSH(&dump->texts, str_dup(buf_str(&text)));
    buf_deinit(&text);
    dump_value(ctx, index, line->value, line->histogram, line->has_time ? &line->time_ms : NULL);
    dump->known_count--;
    arena_reset(&dump->arena);
    return true;
}

static void dump_metadata(void *ctx, const struct text_line *line)
{
    struct text_dump *dump = ctx;
    struct str name = line->name;

    if (line->name_escaped)
        name = text_unescape(&dump->arena, name, true);
    if (line->kind == TEXT_TYPE) {
        buf_addf(&dump->out, "type " STR_FMT " %s\n", STR_ARG(name), metric_type_text(line->type));
        return;
    }
    bool is_unit = line->kind == TEXT_UNIT;
    buf_addf(&dump->out, "%s " STR_FMT " ", is_unit ? "unit" : "help", STR_ARG(name));
    struct str help =
        line->help_plain ? line->help : text_unescape(&dump->arena, line->help, line->help_quotes);
    buf_add_go_quoted(&dump->out, is_unit ? line->unit : help);
    buf_add_char(&dump->out, '\n');
}

static const struct parse_text_sink dump_sink = {
    .known = dump_known,
    .sample = dump_sample,
    .metadata = dump_metadata,
    .exemplar = dump_exemplar,
    .known_histogram = dump_known_histogram,
};

/* The parser of the dump's format, whichever it is. */
struct dump_parser {
    struct parse_text_sink sink;
    struct parse_text text;
    struct parse_protobuf protobuf;
    struct nhcb nhcb;
    bool is_protobuf, is_nhcb;
};

static void dump_parser_init(struct dump_parser *parser, struct text_dump *dump,
                             size_t line_bytes_max)
{
    *parser = (struct dump_parser){.sink = dump_sink,
                                   .is_protobuf = dump->format == PROTOBUF_DELIMITED,
                                   .is_nhcb = dump->nhcb};
    parser->sink.ctx = dump;
    if (parser->is_protobuf) {
        parse_protobuf_init(&parser->protobuf, &dump->cache, &parser->sink, &dump->kept,
                            &dump->protobuf);
        return;
    }
    parse_text_init(&parser->text, &dump->cache, &parser->sink, line_bytes_max);
    parse_text_set_format(&parser->text, dump->format);
    if (!parser->is_nhcb)
        return;
    nhcb_init(&parser->nhcb, &parser->sink, &dump->cache, &dump->kept, dump->keep_classic);
    parser->nhcb.is_openmetrics = dump->format == TEXT_OPENMETRICS;
    parser->text.sink = &parser->nhcb.sink;
    parse_text_set_uncached(&parser->text);
}

static void dump_parser_deinit(struct dump_parser *parser)
{
    parse_text_deinit(&parser->text);
    parse_protobuf_deinit(&parser->protobuf);
    nhcb_deinit(&parser->nhcb);
}

static bool dump_parser_feed(struct dump_parser *parser, struct str bytes, struct err *err)
{
    return parser->is_protobuf ? parse_protobuf_feed(&parser->protobuf, bytes, err)
                               : parse_text_feed(&parser->text, bytes, err);
}

static bool dump_parser_end(struct dump_parser *parser, struct err *err)
{
    if (parser->is_protobuf)
        return parse_protobuf_end(&parser->protobuf, err);
    return parse_text_end(&parser->text, err) && (!parser->is_nhcb || nhcb_end(&parser->nhcb, err));
}

/* Feeds the pieces that `next_len` cuts (0: the rest) and appends what comes to dump->out; an error
 * is written, too. Each piece is its own heap block, so that a sanitizer sees a read beyond it. */
static bool text_dump_run(struct text_dump *dump, struct str text, size_t line_bytes_max,
                          size_t (*next_len)(void *ctx), void *ctx)
{
    struct dump_parser parser;
    struct err err;
    bool ok = true;

    line_cache_begin(&dump->cache);
    dump_parser_init(&parser, dump, line_bytes_max);
    while (ok && text.len > 0) {
        size_t len = next_len ? next_len(ctx) : 0;
        struct str piece = len > 0 ? str_first(text, len) : text;
        char *copy = mem_dup(piece.ptr, piece.len);
        ok = dump_parser_feed(&parser, str_from(copy, piece.len), &err);
        mem_free(copy);
        text = str_after(text, piece.len);
    }
    ok = ok && dump_parser_end(&parser, &err);
    dump->line = parser.is_protobuf ? 0 : parse_text_line(&parser.text);
    if (!ok && parser.is_protobuf)
        buf_addf(&dump->out, "%s\n", err.text);
    else if (!ok)
        buf_addf(&dump->out, "line %llu: %s\n", (unsigned long long)dump->line, err.text);
    dump_parser_deinit(&parser);
    arena_reset(&dump->kept);
    return ok;
}

#endif
