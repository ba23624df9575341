/* load_set: samples of a day that are made once and sent to several servers, as a file that is mapped.
 *
 *     "NXSET1\n\0"  u32 series  u32 columns  u32 rows  u32 text bytes     little-endian, as the machine has it
 *     i64 time_ms[columns][rows]                 one column for each target
 *     f64 value[series][rows]                    LOAD_MISSING_BITS where there is none
 *     { u32 column  u32 offset  u32 length } of each series, into
 *     text: name NUL value NUL ... sorted by name
 *
 * bench/record.py writes the same from recorded pages, and bench/side.py reads it to hold answers against. */
#ifndef LOAD_SET_H
#define LOAD_SET_H

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/vec.h"
#include "mix.h"

#define LOAD_MAGIC        "NXSET1\n"
#define LOAD_MISSING_BITS UINT64_C(0x7ff8000000000bad)
#define LOAD_TARGETS      10
#define LOAD_KIND_SERIES  500
#define LOAD_TEXT_MAX     (256U << 20)

struct load_head {
    char magic[8];
    uint32_t series_count, column_count, row_count, text_len;
};

struct load_series {
    uint32_t column, offset, len;
};

struct load_set {
    struct load_head head;
    const int64_t *times_ms; /* [column][row] */
    const double *values;    /* [series][row] */
    const struct load_series *series;
    const char *text;
};

static inline void load_fail(const char *what)
{
    perror(what);
    exit(1);
}

static inline void load_set_open(struct load_set *set, const char *path)
{
    struct stat info;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &info) != 0 || (size_t)info.st_size < sizeof(set->head))
        load_fail(path);
    const char *at = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (at == MAP_FAILED)
        load_fail(path);
    close(fd);
    memcpy(&set->head, at, sizeof(set->head));
    const struct load_head *head = &set->head;
    size_t times = (size_t)head->column_count * head->row_count * sizeof(int64_t);
    size_t values = (size_t)head->series_count * head->row_count * sizeof(double);
    size_t rows = head->series_count * sizeof(struct load_series);
    if (memcmp(head->magic, LOAD_MAGIC, sizeof(LOAD_MAGIC)) != 0 ||
        (size_t)info.st_size != sizeof(*head) + times + values + rows + head->text_len) {
        fprintf(stderr, "%s: not a set of samples\n", path);
        exit(1);
    }
    at += sizeof(*head);
    set->times_ms = (const int64_t *)(const void *)at;
    set->values = (const double *)(const void *)(at + times);
    set->series = (const struct load_series *)(const void *)(at + times + values);
    set->text = at + times + values + rows;
}

/* ---- making ---- */

struct load_maker {
    VEC(struct load_series) series;
    VEC(double *) values; /* Owned. */
    struct buf text;
};

static inline double *load_add(struct load_maker *maker, uint32_t column, const char *metric,
                               const char *le, uint32_t number)
{
    static const char *const containers[] = {"api", "worker", "proxy", "cache"};
    struct load_series series = {.column = column, .offset = (uint32_t)maker->text.len};
    char text[512];
    int len =
        snprintf(text, sizeof(text),
                 "__name__%c%s%ccontainer%c%s%cinstance%c10.0.3.%u:9100%cjob%ckubernetes-pods%c", 0,
                 metric, 0, 0, containers[number % 4], 0, 0, column, 0, 0, 0);
    buf_add(&maker->text, text, (size_t)len);
    if (le) {
        len = snprintf(text, sizeof(text), "le%c%s%c", 0, le, 0);
        buf_add(&maker->text, text, (size_t)len);
    }
    len = snprintf(text, sizeof(text),
                   "namespace%cnamespace-%u%cnode%cnode-%u%cpod%cworkload-%u-7f9c%04x%c", 0,
                   number % 7, 0, 0, column, 0, 0, number, number * 7919 % 65536, 0);
    buf_add(&maker->text, text, (size_t)len);
    series.len = (uint32_t)maker->text.len - series.offset;
    double *values = mem_alloc(MIX_SAMPLES * sizeof(double));
    VEC_PUSH(&maker->series, series);
    VEC_PUSH(&maker->values, values);
    return values;
}

static inline void load_make_kind(struct load_maker *maker, enum mix_kind kind, uint32_t count,
                                  uint64_t *random)
{
    char metric[64];
    for (uint32_t i = 0; i < count; i++) {
        snprintf(metric, sizeof(metric), "node_%s_%u_total", MIX_KINDS[kind].name,
                 i / LOAD_TARGETS % 5);
        mix_series(kind, random, load_add(maker, i % LOAD_TARGETS, metric, NULL, i));
    }
}

static inline void load_make_families(struct load_maker *maker, uint64_t *random)
{
    static const char *const les[MIX_FAMILY_COLUMNS - 1] = {
        "0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "5", "10", "+Inf"};
    static double columns[MIX_FAMILY_COLUMNS][MIX_SAMPLES];
    for (uint32_t family = 0; family < MIX_D2_FAMILIES; family++) {
        mix_family(random, columns);
        for (uint32_t k = 0; k < MIX_FAMILY_COLUMNS; k++) {
            bool is_count = k + 1 == MIX_FAMILY_COLUMNS;
            double *values = load_add(maker, family % LOAD_TARGETS,
                                      is_count ? "request_duration_seconds_count"
                                               : "request_duration_seconds_bucket",
                                      is_count ? NULL : les[k], family);
            memcpy(values, columns[k], sizeof(columns[k]));
        }
    }
}

/* d1, d2 or the name of one kind. */
static inline bool load_make(struct load_maker *maker, const char *name)
{
    uint64_t random = 1;
    buf_init(&maker->text, LOAD_TEXT_MAX);
    if (strcmp(name, "d2") == 0)
        load_make_families(maker, &random);
    for (int kind = 0; kind < MIX_KIND_COUNT; kind++) {
        if (strcmp(name, "d1") == 0)
            load_make_kind(maker, (enum mix_kind)kind, MIX_KINDS[kind].d1_series, &random);
        else if (strcmp(name, MIX_KINDS[kind].name) == 0)
            load_make_kind(maker, (enum mix_kind)kind, LOAD_KIND_SERIES, &random);
    }
    return maker->series.count > 0;
}

static inline void load_write(const struct load_maker *maker, int64_t start_ms, const char *path)
{
    static int64_t times_ms[MIX_SAMPLES];
    uint64_t random = 3;
    struct load_head head = {LOAD_MAGIC, (uint32_t)maker->series.count, LOAD_TARGETS, MIX_SAMPLES,
                             (uint32_t)maker->text.len};
    FILE *file = fopen(path, "wb");
    if (!file)
        load_fail(path);
    fwrite(&head, sizeof(head), 1, file);
    for (uint32_t column = 0; column < LOAD_TARGETS; column++) {
        mix_times(&random, times_ms);
        for (uint32_t i = 0; i < MIX_SAMPLES; i++)
            times_ms[i] += start_ms - MIX_START_MS;
        fwrite(times_ms, sizeof(times_ms), 1, file);
    }
    for (size_t i = 0; i < maker->values.count; i++)
        fwrite(maker->values.items[i], sizeof(double), MIX_SAMPLES, file);
    fwrite(maker->series.items, sizeof(struct load_series), maker->series.count, file);
    fwrite(maker->text.ptr, 1, maker->text.len, file);
    if (fclose(file) != 0)
        load_fail(path);
}

#endif
