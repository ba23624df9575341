/* tsdb_cmd: tsdb list and tsdb dump.
 *
 *     {__name__="up", job="x"} 1 1700000000000          dump: labels, value, milliseconds
 *     up{job="x"} 1 1700000000.000                      dump-openmetrics, # EOF at its end */
#include <inttypes.h>
#include <stdlib.h>

#include "base/number.h"
#include "base/vec.h"
#include "commands.h"
#include "model/histogram_math.h"
#include "model/labels.h"
#include "query.h"
#include "tsdb.h"

#define OUT_BYTES ((size_t)1 << 16)
#define TIME_MIN  (-(INT64_C(1) << 61))
#define TIME_MAX  (INT64_C(1) << 61)

/* --- list --- */

struct listing {
    struct buf rows;
    bool for_people;
};

static void add_number_cell(struct buf *out, uint64_t number, bool known)
{
    if (known)
        buf_addf(out, "%" PRIu64 "\t", number);
    else
        BUF_ADD(out, "-\t");
}

static bool list_file(void *ctx, const struct storage_file *file)
{
    struct listing *listing = ctx;
    struct buf *out = &listing->rows;
    struct str name = file->name;
    if (str_ends(name, STR(".mdb")))
        name.len -= strlen(".mdb");
    int64_t min_ms = file->is_day ? file->time_min_ms : file->from_ms;
    int64_t max_ms = file->is_day ? file->time_max_ms + 1 : file->to_ms;
    buf_addf(out, STR_FMT "\t", STR_ARG(name));
    tsdb_add_time(out, min_ms, listing->for_people);
    buf_add_char(out, '\t');
    tsdb_add_time(out, max_ms, listing->for_people);
    buf_add_char(out, '\t');
    tsdb_add_duration(out, max_ms - min_ms);
    buf_add_char(out, '\t');
    add_number_cell(out, file->samples, file->is_day);
    add_number_cell(out, file->series, file->is_day);
    tsdb_add_bytes(out, file->bytes, listing->for_people);
    buf_add_char(out, '\t');
    if (file->is_day && file->samples > 0)
        buf_addf(out, "%.3f\n", (double)file->bytes / (double)file->samples);
    else
        BUF_ADD(out, "-\n");
    return true;
}

int command_tsdb_list(int argc, char **argv)
{
    struct command_flag flags[] = {{.name = "r"}, {.name = "human-readable"}};
    struct command_line line = {.flags = flags, .flag_count = COUNT_OF(flags)};
    struct listing listing = {0};
    struct storage *storage;
    struct err err = {0};
    if (!command_parse(&line, argc, argv, &err))
        return tsdb_usage(err.text);
    if (line.arg_count > 1)
        return tsdb_usage("list takes one directory");
    listing.for_people =
        command_flag_value(&line, "r").ptr || command_flag_value(&line, "human-readable").ptr;
    if (!tsdb_open(&storage, command_arg(&line, 0, "data/"), true, &err))
        return tsdb_fail(&err);
    buf_init(&listing.rows, (size_t)64 << 20);
    BUF_ADD(&listing.rows, "DAY\tMIN TIME\tMAX TIME\tDURATION\tNUM SAMPLES\tNUM SERIES\tSIZE\t"
                           "BYTES/SAMPLE\n");
    (void)storage_each_file(storage, list_file, &listing);
    tsdb_print_table(stdout, buf_str(&listing.rows));
    buf_deinit(&listing.rows);
    storage_close(storage);
    return 0;
}

/* --- dump --- */

struct dump {
    struct storage *storage;
    bool openmetrics;
    int64_t from_ms, to_ms;
    VEC(struct matchers) sets;
    VEC(struct selection *) selections;
    struct buf out;
};

struct dumped { /* One series of one of the selections. */
    const struct labels *labels;
    uint32_t selection, index;
};

static int compare_dumped(const void *a, const void *b)
{
    const struct dumped *x = a, *y = b;
    return labels_cmp(x->labels, y->labels);
}

static bool write_out(struct dump *dump, size_t at_least, struct err *err)
{
    if (dump->out.len < at_least)
        return true;
    bool good =
        dump->out.len == 0 || fwrite(dump->out.ptr, 1, dump->out.len, stdout) == dump->out.len;
    buf_clear(&dump->out);
    return good || err_set(err, ERR_IO, "write: the output is closed");
}

static void add_sample(struct dump *dump, struct str prefix, const struct sample_block *block,
                       size_t i)
{
    const struct histogram *histogram = block->histogram ? block->histogram[i] : NULL;
    if (histogram && dump->openmetrics)
        return; /* OpenMetrics has no words for them. */
    buf_add_str(&dump->out, prefix);
    buf_add_char(&dump->out, ' ');
    if (histogram)
        histogram_print(&dump->out, histogram);
    else
        buf_add_number(&dump->out, block->value[i], NUMBER_G);
    buf_add_char(&dump->out, ' ');
    if (dump->openmetrics)
        buf_add_number_fixed(&dump->out, (double)block->time_ms[i] / 1000, 3);
    else
        buf_addf(&dump->out, "%" PRId64, block->time_ms[i]);
    buf_add_char(&dump->out, '\n');
}

/* What stands before each sample: the labels, or the name and the others. */
static void add_prefix(const struct dump *dump, const struct labels *labels, struct buf *out)
{
    buf_clear(out);
    if (!dump->openmetrics) {
        labels_print(out, labels);
        return;
    }
    struct labels_builder builder;
    labels_builder_init(&builder);
    labels_builder_load(&builder, labels);
    labels_builder_del(&builder, LABEL_NAME);
    struct labels *others = labels_build(&builder);
    buf_add_str(out, labels_get(labels, LABEL_NAME));
    labels_print(out, others);
    labels_unref(others);
    labels_builder_deinit(&builder);
}

static bool dump_series(struct dump *dump, struct cursor *cursor, const struct dumped *dumped,
                        struct buf *prefix, struct err *err)
{
    struct sample_block block;
    add_prefix(dump, dumped->labels, prefix);
    cursor_seek(cursor, dumped->index);
    for (;;) {
        if (!cursor_next(cursor, &block, err))
            return false;
        if (block.count == 0)
            return true;
        for (size_t i = 0; i < block.count; i++)
            add_sample(dump, buf_str(prefix), &block, i);
        if (!write_out(dump, OUT_BYTES, err))
            return false;
    }
}

static bool dump_all(struct dump *dump, struct err *err)
{
    VEC(struct dumped) all = {0};
    VEC(struct cursor *) cursors = {0};
    struct buf prefix;
    bool good = true;
    buf_init(&prefix, (size_t)64 << 20);
    VEC_EACH (set, &dump->sets) {
        struct selection *selection = NULL;
        good = good && storage_select(dump->storage, set->items, set->count, dump->from_ms,
                                      dump->to_ms, &selection, err);
        if (!good)
            break;
        for (size_t i = 0; i < selection_count(selection); i++) {
            struct dumped dumped = {selection_labels(selection, i),
                                    (uint32_t)dump->selections.count, (uint32_t)i};
            VEC_PUSH(&all, dumped);
        }
        VEC_PUSH(&dump->selections, selection);
        VEC_PUSH(&cursors, cursor_new(selection));
    }
    VEC_SORT(&all, compare_dumped);
    for (size_t i = 0; good && i < all.count; i++) {
        if (i > 0 && labels_eq(all.items[i - 1].labels, all.items[i].labels))
            continue; /* Several sets have it. */
        good =
            dump_series(dump, cursors.items[all.items[i].selection], &all.items[i], &prefix, err);
    }
    if (good && dump->openmetrics)
        BUF_ADD(&dump->out, "# EOF\n");
    good = good && write_out(dump, 0, err);
    VEC_EACH (cursor, &cursors) {
        cursor_free(*cursor);
    }
    VEC_FREE(&cursors);
    VEC_FREE(&all);
    buf_deinit(&prefix);
    return good;
}

/* --match may be there several times: taken out of argv, which the rest is parsed from. */
static bool take_matches(struct dump *dump, int *argc, char **argv, struct err *err)
{
    int kept = 0;
    for (int i = 0; i < *argc; i++) {
        struct str arg = str_of(argv[i]), value = {NULL, 0};
        if (str_starts(arg, STR("--match="))) {
            value = str_after(arg, strlen("--match="));
        } else if (str_eq(arg, STR("--match")) && i + 1 < *argc) {
            value = str_of(argv[++i]);
        } else {
            argv[kept++] = argv[i];
            continue;
        }
        struct matchers set = {0};
        if (!query_parse_selector(value, &set, err))
            return false;
        VEC_PUSH(&dump->sets, set);
    }
    *argc = kept;
    if (dump->sets.count == 0)
        VEC_PUSH(&dump->sets, ((struct matchers){0}));
    return true;
}

static bool parse_bound(const struct command_line *line, const char *name, int64_t *out)
{
    struct str text = command_flag_value(line, name);
    int64_t time_ms;
    if (!text.ptr)
        return true;
    if (!str_to_i64(text, &time_ms))
        return false;
    *out = time_ms < TIME_MIN ? TIME_MIN : time_ms > TIME_MAX ? TIME_MAX : time_ms;
    return true;
}

static int dump(bool openmetrics, int argc, char **argv)
{
    struct command_flag flags[] = {{.name = "min-time", .takes_value = true},
                                   {.name = "max-time", .takes_value = true},
                                   {.name = "sandbox-dir-root", .takes_value = true}};
    struct command_line line = {.flags = flags, .flag_count = COUNT_OF(flags)};
    struct dump dump = {.openmetrics = openmetrics, .from_ms = TIME_MIN, .to_ms = TIME_MAX};
    struct err err = {0};
    int code = 0;
    buf_init(&dump.out, (size_t)1 << 31);
    if (!take_matches(&dump, &argc, argv, &err))
        code = tsdb_fail(&err);
    else if (!command_parse(&line, argc, argv, &err))
        code = tsdb_usage(err.text);
    else if (line.arg_count > 1)
        code = tsdb_usage("dump takes one directory");
    else if (!parse_bound(&line, "min-time", &dump.from_ms) ||
             !parse_bound(&line, "max-time", &dump.to_ms))
        code = tsdb_usage("a time is a number of milliseconds");
    else if (!tsdb_open(&dump.storage, command_arg(&line, 0, "data/"), false, &err) ||
             !dump_all(&dump, &err))
        code = tsdb_fail(&err);
    VEC_EACH (selection, &dump.selections) {
        selection_free(*selection);
    }
    VEC_FREE(&dump.selections);
    VEC_EACH (set, &dump.sets) {
        matchers_deinit(set);
    }
    VEC_FREE(&dump.sets);
    buf_deinit(&dump.out);
    storage_close(dump.storage);
    return code;
}

int command_tsdb_dump(int argc, char **argv)
{
    return dump(false, argc, argv);
}

int command_tsdb_dump_openmetrics(int argc, char **argv)
{
    return dump(true, argc, argv);
}
