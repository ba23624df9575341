/* text_dump: parses an exposition and writes what the parser said, one line each: for comparing
 * runs.
 *
 *     {__name__="a", b="c"} 1 @123        type a counter       help a "some text"
 *     unit a_b "b"                        exemplars 2
 *
 * Included by the test (static functions only). The cache is kept, so that a second run takes the
 * fast path. */
#ifndef TESTS_TEXT_DUMP_H
#define TESTS_TEXT_DUMP_H

#include "base/number.h"
#include "parse_text.h"
#include "sample_labels.h"

struct text_dump {
    struct line_cache cache;
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
}

static void dump_known(void *ctx, uint32_t index, double value, const int64_t *time_ms)
{
    struct text_dump *dump = ctx;

    dump->known_count++;
    (void)line_cache_mark(&dump->cache, index, true);
    buf_add_str(&dump->out, str_of(dump->texts.items[index]));
    buf_add_char(&dump->out, ' ');
    buf_add_number(&dump->out, value, NUMBER_G);
    if (time_ms)
        buf_addf(&dump->out, " @%lld", (long long)*time_ms);
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
    dump_known(ctx, index, line->value, line->has_time ? &line->time_ms : NULL);
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
    struct str help = text_unescape(&dump->arena, line->help, line->help_quotes);
    buf_add_go_quoted(&dump->out, is_unit ? line->unit : help);
    buf_add_char(&dump->out, '\n');
}

/* Feeds the pieces that `next_len` cuts (0: the rest) and appends what comes to dump->out; an error
 * is written, too. Each piece is its own heap block, so that a sanitizer sees a read beyond it. */
static bool text_dump_run(struct text_dump *dump, struct str text, size_t line_bytes_max,
                          size_t (*next_len)(void *ctx), void *ctx)
{
    struct parse_text_sink sink = {dump_known, dump_sample, dump_metadata, dump};
    struct parse_text parser;
    struct err err;
    bool ok = true;

    line_cache_begin(&dump->cache);
    parse_text_init(&parser, &dump->cache, &sink, line_bytes_max);
    parse_text_set_format(&parser, dump->format);
    while (ok && text.len > 0) {
        size_t len = next_len ? next_len(ctx) : 0;
        struct str piece = len > 0 ? str_first(text, len) : text;
        char *copy = mem_dup(piece.ptr, piece.len);
        ok = parse_text_feed(&parser, str_from(copy, piece.len), &err);
        mem_free(copy);
        text = str_after(text, piece.len);
    }
    ok = ok && parse_text_end(&parser, &err);
    dump->line = parse_text_line(&parser);
    if (parser.exemplar_count > 0)
        buf_addf(&dump->out, "exemplars %llu\n", (unsigned long long)parser.exemplar_count);
    if (!ok)
        buf_addf(&dump->out, "line %llu: %s\n", (unsigned long long)dump->line, err.text);
    parse_text_deinit(&parser);
    return ok;
}

#endif
