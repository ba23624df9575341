/* disk_index_write: builds the sections of an index.
 *
 *     add:     texts -> temporary numbers (by first appearance); each GROUP_ROWS series -> one group of these numbers
 *     finish:  texts sorted -> values; groups written anew with ranks -> series, groups; one pass per few names over them
 *              -> postings, restarts; then names, hashes, head
 *
 * The groups are as small with temporary numbers as with final ones, so that memory stays near the size of the result.
 * Nothing is allocated per series; texts lie in an arena, once each. */
#include <stdlib.h>

#include "base/bytes.h"
#include "base/hash.h"
#include "base/mem.h"
#include "disk_index_writer.h"

#define TEXT_BLOCK_BYTES (64u * 1024)
#define GROUPS_BYTES_MAX (UINT64_C(1) << 40)
#define NUMBER_NONE      UINT32_MAX

struct disk_index_writer *disk_index_writer_new(void)
{
    struct disk_index_writer *writer = MEM_NEW(struct disk_index_writer);
    arena_init(&writer->arena, 0);
    arena_init(&writer->name_arena, 0);
    map_init(&writer->name_map);
    buf_init(&writer->groups, GROUPS_BYTES_MAX);
    buf_init(&writer->hashes, SECTION_BYTES_MAX);
    return writer;
}

static void texts_free(struct disk_index_writer *writer)
{
    VEC_EACH (name, &writer->names) {
        VEC_FREE(&name->values);
        map_deinit(&name->map);
    }
    arena_deinit(&writer->arena);
    writer->text_left = 0;
}

void disk_index_writer_free(struct disk_index_writer *writer)
{
    if (!writer)
        return;
    texts_free(writer);
    VEC_EACH (name, &writer->names)
        mem_free(name->ranks);
    VEC_EACH (column, &writer->columns)
        mem_free(*column);
    VEC_FREE(&writer->names);
    VEC_FREE(&writer->last);
    VEC_FREE(&writer->last_names);
    VEC_FREE(&writer->columns);
    VEC_FREE(&writer->sorted);
    VEC_FREE(&writer->group_lens);
    VEC_FREE(&writer->restarts);
    VEC_FREE(&writer->order);
    map_deinit(&writer->name_map);
    buf_deinit(&writer->groups);
    buf_deinit(&writer->hashes);
    arena_deinit(&writer->name_arena);
    mem_free(writer);
}

/* ---- Texts ---- */

static struct str text_str(struct text text)
{
    return str_from(text.ptr, text.len);
}

static struct text text_keep(struct disk_index_writer *writer, struct str s)
{
    ENSURE(s.len < UINT32_MAX);
    if (s.len > writer->text_left) {
        size_t bytes = s.len > TEXT_BLOCK_BYTES / 4 ? s.len : TEXT_BLOCK_BYTES;
        char *block = arena_alloc(&writer->arena, bytes);
        if (bytes == s.len) {
            memcpy(block, s.ptr, s.len);
            return (struct text){block, (uint32_t)s.len};
        }
        writer->text_at = block;
        writer->text_left = bytes;
    }
    char *at = writer->text_at;
    memcpy(at, s.ptr, s.len);
    writer->text_at += s.len;
    writer->text_left -= s.len;
    return (struct text){at, (uint32_t)s.len};
}

static bool name_is(const void *ctx, const void *key, uint32_t value)
{
    const struct disk_index_writer *writer = ctx;
    return str_eq(text_str(writer->names.items[value].text), *(const struct str *)key);
}

static uint32_t name_intern(struct disk_index_writer *writer, struct str text)
{
    uint64_t hash = hash64(text);
    uint32_t number = map_find(&writer->name_map, hash, &text, name_is, writer);
    if (number != MAP_NONE)
        return number;
    struct str kept = arena_str(&writer->name_arena, text);
    ENSURE(kept.len < UINT32_MAX);
    struct name name = {
        .text = {kept.ptr, (uint32_t)kept.len}, .column = NUMBER_NONE, .last = NUMBER_NONE};
    map_init(&name.map);
    number = (uint32_t)writer->names.count;
    VEC_PUSH(&writer->names, name);
    map_insert(&writer->name_map, hash, number);
    return number;
}

static bool value_is(const void *ctx, const void *key, uint32_t value)
{
    const struct name *name = ctx;
    return str_eq(text_str(name->values.items[value]), *(const struct str *)key);
}

static uint32_t value_intern(struct disk_index_writer *writer, struct name *name, struct str text)
{
    if (name->last != NUMBER_NONE && str_eq(text_str(name->values.items[name->last]), text))
        return name->last;
    uint64_t hash = hash64(text);
    uint32_t number = map_find(&name->map, hash, &text, value_is, name);
    if (number == MAP_NONE) {
        number = (uint32_t)name->values.count;
        ENSURE(number < MAP_VALUE_LIMIT - 1);
        VEC_PUSH(&name->values, text_keep(writer, text));
        map_insert(&name->map, hash, number);
    }
    name->last = number;
    return number;
}

/* ---- Adding ---- */

static struct group_column *column_open(struct disk_index_writer *writer, uint32_t name)
{
    if (writer->column_count == writer->columns.count)
        VEC_PUSH(&writer->columns, mem_alloc(sizeof(struct group_column)));
    struct group_column *column = writer->columns.items[writer->column_count++];
    memset(column, 0, sizeof(*column));
    column->name = name;
    return column;
}

static int column_compare(const void *a, const void *b)
{
    const struct group_column *x = *(const struct group_column *const *)a;
    const struct group_column *y = *(const struct group_column *const *)b;
    return (x->name > y->name) - (x->name < y->name);
}

/* Writes the columns that are open and closes them. */
static void columns_write(struct disk_index_writer *writer, struct buf *out, uint32_t rows)
{
    VEC_CLEAR(&writer->sorted);
    for (size_t i = 0; i < writer->column_count; i++)
        VEC_PUSH(&writer->sorted, writer->columns.items[i]);
    VEC_SORT(&writer->sorted, column_compare);
    group_write(out, writer->sorted.items, (uint32_t)writer->column_count, rows);
    writer->column_count = 0;
}

static void group_close(struct disk_index_writer *writer)
{
    if (writer->rows == 0)
        return;
    size_t before = writer->groups.len;
    for (size_t i = 0; i < writer->column_count; i++)
        writer->names.items[writer->columns.items[i]->name].column = NUMBER_NONE;
    columns_write(writer, &writer->groups, writer->rows);
    ENSURE(!writer->groups.overflow && writer->groups.len - before < UINT32_MAX);
    VEC_PUSH(&writer->group_lens, (uint32_t)(writer->groups.len - before));
    writer->rows = 0;
}

void disk_index_writer_add(struct disk_index_writer *writer, const struct label *labels,
                           size_t count)
{
    ENSURE(writer->series_count < UINT32_MAX - GROUP_ROWS);
    ENSURE(writer->series_count == 0 ||
           series_order(writer->last.items, writer->last.count, labels, count) < 0);
    size_t known = writer->last.count < count ? writer->last.count : count;
    VEC_CLEAR(&writer->last);
    VEC_RESERVE(&writer->last, count);
    VEC_RESERVE(&writer->last_names, count);
    for (size_t i = 0; i < count; i++) {
        ENSURE(labels[i].value.len > 0);
        ENSURE(i == 0 || str_cmp(labels[i - 1].name, labels[i].name) < 0);
        uint32_t number = i < known ? writer->last_names.items[i] : NUMBER_NONE;
        if (number == NUMBER_NONE ||
            !str_eq(text_str(writer->names.items[number].text), labels[i].name))
            number = name_intern(writer, labels[i].name);
        struct name *name = &writer->names.items[number];
        uint32_t value = value_intern(writer, name, labels[i].value);
        if (name->column == NUMBER_NONE) {
            name->column = (uint32_t)writer->column_count;
            column_open(writer, number);
        }
        writer->columns.items[name->column]->values[writer->rows] = value + 1;
        writer->last_names.items[i] = number;
        VEC_PUSH(&writer->last,
                 ((struct label){text_str(name->text), text_str(name->values.items[value])}));
    }
    writer->last_names.count = count;
    write_u64(&writer->hashes, labels_hash(labels, count));
    writer->series_count++;
    if (++writer->rows == GROUP_ROWS)
        group_close(writer);
}

/* ---- Sorting the texts ---- */

struct sort_item {
    uint64_t key; /* The 8 bytes behind what all have in common. */
    uint32_t number;
};

struct sort_texts {
    const struct text *texts;
    uint32_t common;
};

static uint64_t key_of(struct text text, uint32_t from)
{
    uint8_t bytes[8] = {0};
    uint32_t len = text.len > from ? text.len - from : 0;
    uint64_t key;
    if (len > 0)
        memcpy(bytes, text.ptr + from, len < 8 ? len : 8);
    memcpy(&key, bytes, 8);
    return be64toh(key);
}

static int item_compare(const void *a, const void *b, void *ctx)
{
    const struct sort_item *x = a, *y = b;
    const struct sort_texts *sort = ctx;
    if (x->key != y->key)
        return x->key < y->key ? -1 : 1;
    return str_cmp(text_str(sort->texts[x->number]), text_str(sort->texts[y->number]));
}

static uint32_t common_len(struct text a, struct text b, uint32_t max)
{
    uint32_t len = 0;
    while (len < max && len < a.len && len < b.len && a.ptr[len] == b.ptr[len])
        len++;
    return len;
}

static struct sort_item *texts_sort(const struct text *texts, size_t count)
{
    struct sort_item *items = mem_alloc_array(count + 1, sizeof(*items));
    struct sort_texts sort = {.texts = texts, .common = UINT32_MAX};
    for (size_t i = 0; i < count; i++)
        sort.common = common_len(texts[0], texts[i], sort.common);
    for (size_t i = 0; i < count; i++) {
        items[i].key = key_of(texts[i], sort.common);
        items[i].number = (uint32_t)i;
    }
    qsort_r(items, count, sizeof(*items), item_compare, &sort);
    return items;
}

static void names_sort(struct disk_index_writer *writer)
{
    size_t count = writer->names.count;
    VEC(struct text) texts = {0};
    VEC_EACH (name, &writer->names)
        VEC_PUSH(&texts, name->text);
    struct sort_item *items = texts_sort(texts.items, count);
    for (uint32_t i = 0; i < count; i++) {
        VEC_PUSH(&writer->order, items[i].number);
        writer->names.items[items[i].number].final = i;
    }
    mem_free(items);
    VEC_FREE(&texts);
}

/* ---- Sections ---- */

struct output {
    disk_index_section_fn fn;
    void *ctx;
};

static bool section_put(struct disk_index_writer *writer, const struct output *output,
                        enum section_kind kind, struct buf *buf, struct err *err)
{
    if (!section_seal(buf, &writer->lens[kind], &writer->crcs[kind]))
        return err_set(err, ERR_LIMIT, "index: a section would be larger than 4 GiB");
    return output->fn(output->ctx, kind, buf_str(buf), err);
}

static void values_write(struct disk_index_writer *writer, struct name *name, struct buf *out)
{
    struct sort_item *items = texts_sort(name->values.items, name->values.count);
    struct text before = {"", 0};
    name->value_count = (uint32_t)name->values.count;
    name->restart = (uint32_t)writer->restarts.count;
    name->ranks = mem_alloc_array(name->value_count, sizeof(uint32_t));
    for (uint32_t rank = 0; rank < name->value_count; rank++) {
        struct text text = name->values.items[items[rank].number];
        uint32_t prefix = 0;
        name->ranks[items[rank].number] = rank;
        if (rank % VALUES_PER_RESTART == 0) {
            VEC_PUSH(&writer->restarts, ((struct restart){.values_at = (uint32_t)out->len}));
        } else {
            prefix = common_len(before, text, UINT32_MAX);
            write_varint(out, prefix);
        }
        write_varint_str(out, str_after(text_str(text), prefix));
        before = text;
    }
    mem_free(items);
}

static bool put_values(struct disk_index_writer *writer, const struct output *output,
                       struct err *err)
{
    struct buf out;
    buf_init(&out, SECTION_BYTES_MAX);
    names_sort(writer);
    VEC_EACH (number, &writer->order)
        values_write(writer, &writer->names.items[*number], &out);
    VEC_PUSH(&writer->restarts, ((struct restart){.values_at = (uint32_t)out.len}));
    bool good = section_put(writer, output, SECTION_VALUES, &out, err);
    buf_deinit(&out);
    return good;
}

/* Our own bytes: anything wrong with them is a bug. */
static void group_load(struct disk_index_writer *writer, struct group_walk *walk)
{
    struct column column;
    while (group_walk_next(walk, &column)) {
        struct name *name = &writer->names.items[column.name];
        struct group_column *out = column_open(writer, name->final);
        for (uint32_t row = 0; row < walk->rows; row++) {
            uint32_t number = column_rank(&column, partition_entry(&column.partition, row));
            out->values[row] = number == RANK_ABSENT ? 0 : name->ranks[number] + 1;
        }
    }
    ENSURE(!walk->bad);
}

/* Groups anew, with final names and ranks. */
static void groups_rewrite(struct disk_index_writer *writer, struct buf *series, struct buf *starts)
{
    static const char zeros[PAD_BYTES];
    const uint8_t *at;
    uint32_t left = writer->series_count;
    buf_add(&writer->groups, zeros, PAD_BYTES);
    at = (const uint8_t *)writer->groups.ptr;
    VEC_EACH (len, &writer->group_lens) {
        struct group_walk walk;
        uint32_t rows = left < GROUP_ROWS ? left : GROUP_ROWS;
        group_walk_start(&walk, at, at + *len, rows);
        group_load(writer, &walk);
        write_u32(starts, (uint32_t)series->len);
        columns_write(writer, series, rows);
        at += *len;
        left -= rows;
    }
    write_u32(starts, (uint32_t)series->len);
    ENSURE(left == 0);
}

static bool put_postings(struct disk_index_writer *writer, const struct output *output,
                         const struct buf *series, const struct buf *starts, struct err *err)
{
    struct buf out;
    buf_init(&out, SECTION_BYTES_MAX);
    writer_lists(writer, series, starts, &out);
    bool good = section_put(writer, output, SECTION_POSTINGS, &out, err);
    buf_deinit(&out);
    return good;
}

static bool put_series_and_postings(struct disk_index_writer *writer, const struct output *output,
                                    struct err *err)
{
    struct buf series, starts;
    buf_init(&series, SECTION_BYTES_MAX);
    buf_init(&starts, SECTION_BYTES_MAX);
    groups_rewrite(writer, &series, &starts);
    buf_deinit(&writer->groups);
    VEC_EACH (name, &writer->names) {
        mem_free(name->ranks);
        name->ranks = NULL;
    }
    bool good = section_put(writer, output, SECTION_SERIES, &series, err) &&
                section_put(writer, output, SECTION_GROUPS, &starts, err) &&
                put_postings(writer, output, &series, &starts, err);
    buf_deinit(&series);
    buf_deinit(&starts);
    return good;
}

static bool put_restarts(struct disk_index_writer *writer, const struct output *output,
                         struct err *err)
{
    struct buf out;
    buf_init(&out, SECTION_BYTES_MAX);
    VEC_EACH (restart, &writer->restarts) {
        write_u32(&out, restart->values_at);
        write_u32(&out, restart->postings_at);
    }
    bool good = section_put(writer, output, SECTION_RESTARTS, &out, err);
    buf_deinit(&out);
    return good;
}

static bool put_names(struct disk_index_writer *writer, const struct output *output,
                      struct err *err)
{
    struct buf out;
    uint32_t text_at = (uint32_t)writer->names.count * NAME_BYTES;
    buf_init(&out, SECTION_BYTES_MAX);
    VEC_EACH (number, &writer->order) {
        const struct name *name = &writer->names.items[*number];
        write_u32(&out, text_at);
        write_u32(&out, name->text.len);
        write_u32(&out, name->value_count);
        write_u32(&out, name->restart);
        write_u32(&out, name->postings_at);
        text_at += name->text.len;
    }
    VEC_EACH (number, &writer->order)
        buf_add_str(&out, text_str(writer->names.items[*number].text));
    bool good = section_put(writer, output, SECTION_NAMES, &out, err);
    buf_deinit(&out);
    return good;
}

static bool put_head(struct disk_index_writer *writer, const struct output *output, struct err *err)
{
    struct buf out;
    buf_init(&out, HEAD_BYTES);
    write_u32(&out, HEAD_MAGIC);
    write_u32(&out, HEAD_VERSION);
    write_u32(&out, writer->series_count);
    write_u32(&out, (uint32_t)writer->names.count);
    write_u32(&out, (uint32_t)writer->restarts.count - 1);
    for (unsigned i = 0; i < SECTION_HEAD; i++) {
        write_u32(&out, writer->lens[i]);
        write_u32(&out, writer->crcs[i]);
    }
    write_u32(&out, hash_crc32c(0, buf_str(&out)));
    ENSURE(out.len == HEAD_BYTES && !out.overflow);
    bool good = output->fn(output->ctx, SECTION_HEAD, buf_str(&out), err);
    buf_deinit(&out);
    return good;
}

bool disk_index_writer_finish(struct disk_index_writer *writer, disk_index_section_fn fn, void *ctx,
                              struct err *err)
{
    struct output output = {.fn = fn, .ctx = ctx};
    group_close(writer);
    bool good = put_values(writer, &output, err);
    texts_free(writer);
    return good && put_series_and_postings(writer, &output, err) &&
           put_restarts(writer, &output, err) && put_names(writer, &output, err) &&
           section_put(writer, &output, SECTION_HASHES, &writer->hashes, err) &&
           put_head(writer, &output, err);
}
