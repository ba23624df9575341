/* disk_index: opening an index, its names and values, and the labels of a series.
 *
 * Open checks the head and the tables of checksums, nothing else: a chunk is checked when it is first looked into. Even
 * so nothing that is read is trusted: each offset, count and length is held against its section, and every loop is
 * bounded by the bytes that it walks. */
#include "base/bytes.h"
#include "base/hash.h"
#include "base/mem.h"
#include "disk_index_private.h"

static const char *const section_names[SECTION_COUNT] = {
    [SECTION_VALUES] = "values",     [SECTION_SERIES] = "series",     [SECTION_GROUPS] = "groups",
    [SECTION_POSTINGS] = "postings", [SECTION_RESTARTS] = "restarts", [SECTION_NAMES] = "names",
    [SECTION_HASHES] = "hashes",     [SECTION_HEAD] = "head",
};

bool index_corrupt(struct err *err, const char *what)
{
    return err_set(err, ERR_CORRUPT, "index: %s", what);
}

/* ---- Sections ---- */

static uint32_t chunk_count(uint64_t padded_len)
{
    return (uint32_t)((padded_len + CHUNK_BYTES - 1) / CHUNK_BYTES);
}

static uint32_t chunk_crc(const uint8_t *data, uint64_t padded_len, uint64_t chunk)
{
    uint64_t from = chunk * CHUNK_BYTES;
    uint64_t len = padded_len - from < CHUNK_BYTES ? padded_len - from : CHUNK_BYTES;
    return hash_crc32c(0, str_from((const char *)data + from, len));
}

bool section_check_slow(const struct section *section, uint64_t from, uint64_t to, struct err *err)
{
    uint64_t padded = (uint64_t)section->len + PAD_BYTES;
    if (from > to || to > section->len)
        return index_corrupt(err, "an offset is out of bounds");
    for (uint64_t chunk = from / CHUNK_BYTES; chunk * CHUNK_BYTES < to; chunk++) {
        _Atomic uint64_t *good = &section->good[chunk / 64];
        uint64_t bit = UINT64_C(1) << (chunk % 64);
        if (atomic_load_explicit(good, memory_order_acquire) & bit)
            continue;
        if (chunk_crc(section->data, padded, chunk) != load_u32(section->crcs + 4 * chunk))
            return index_corrupt(err, "a checksum is wrong");
        atomic_fetch_or_explicit(good, bit, memory_order_release);
    }
    return true;
}

bool section_seal(struct buf *buf, uint32_t *data_len, uint32_t *crc)
{
    static const char zeros[PAD_BYTES];
    size_t len = buf->len;
    buf_add(buf, zeros, PAD_BYTES);
    size_t padded = buf->len;
    for (uint32_t chunk = 0; !buf->overflow && chunk < chunk_count(padded); chunk++)
        write_u32(buf, chunk_crc((const uint8_t *)buf->ptr, padded, chunk));
    if (buf->overflow)
        return false;
    *data_len = (uint32_t)len;
    *crc = hash_crc32c(0, str_after(buf_str(buf), padded));
    return true;
}

/* ---- Opening ---- */

static bool section_open(struct section *section, struct str bytes, uint32_t len, uint32_t crc)
{
    uint64_t padded = (uint64_t)len + PAD_BYTES;
    uint64_t crc_bytes = 4 * (uint64_t)chunk_count(padded);
    if (bytes.len != padded + crc_bytes || hash_crc32c(0, str_after(bytes, padded)) != crc)
        return false;
    section->data = (const uint8_t *)bytes.ptr;
    section->len = len;
    section->crcs = section->data + padded;
    return true;
}

static bool head_read(struct disk_index *index, const struct str *sections, struct err *err)
{
    struct str head = sections[SECTION_HEAD];
    struct reader in = reader_over(head);
    if (head.len != HEAD_BYTES || load_u32((const uint8_t *)head.ptr + HEAD_BYTES - 4) !=
                                      hash_crc32c(0, str_first(head, HEAD_BYTES - 4)))
        return index_corrupt(err, "the head is damaged");
    uint32_t magic = read_u32(&in), version = read_u32(&in);
    if (magic != HEAD_MAGIC)
        return index_corrupt(err, "the head is of something else");
    if (version != HEAD_VERSION)
        return err_set(err, ERR_CORRUPT, "index: format version %u is not known", version);
    index->series_count = read_u32(&in);
    index->name_count = read_u32(&in);
    index->restart_count = read_u32(&in);
    for (unsigned i = 0; i < SECTION_HEAD; i++) {
        uint32_t len = read_u32(&in), crc = read_u32(&in);
        if (!section_open(&index->sections[i], sections[i], len, crc))
            return err_set(err, ERR_CORRUPT, "index: section %s is damaged", section_names[i]);
    }
    return true;
}

static bool counts_fit(const struct disk_index *index)
{
    const struct section *sections = index->sections;
    return (uint64_t)index->series_count * 8 == sections[SECTION_HASHES].len &&
           ((uint64_t)index->group_count + 1) * 4 == sections[SECTION_GROUPS].len &&
           ((uint64_t)index->restart_count + 1) * RESTART_BYTES == sections[SECTION_RESTARTS].len &&
           (uint64_t)index->name_count * NAME_BYTES <= sections[SECTION_NAMES].len;
}

bool disk_index_open(struct disk_index **out, const struct str sections[DISK_INDEX_SECTIONS],
                     struct err *err)
{
    struct disk_index *index = MEM_NEW(struct disk_index);
    size_t words = 0;

    *out = NULL;
    if (!head_read(index, sections, err))
        goto fail;
    index->group_count = (uint32_t)(((uint64_t)index->series_count + GROUP_ROWS - 1) / GROUP_ROWS);
    if (!counts_fit(index)) {
        index_corrupt(err, "its counts do not fit its sections");
        goto fail;
    }
    for (unsigned i = 0; i < SECTION_HEAD; i++)
        words += chunk_count((uint64_t)index->sections[i].len + PAD_BYTES) / 64 + 1;
    index->good = mem_zalloc(words * sizeof(*index->good));
    index->heap_bytes = sizeof(*index) + words * sizeof(*index->good);
    words = 0;
    for (unsigned i = 0; i < SECTION_HEAD; i++) {
        index->sections[i].good = index->good + words;
        words += chunk_count((uint64_t)index->sections[i].len + PAD_BYTES) / 64 + 1;
    }
    *out = index;
    return true;

fail:
    disk_index_close(index);
    return false;
}

bool disk_index_verify(const struct disk_index *index, struct err *err)
{
    for (unsigned i = 0; i < SECTION_HEAD; i++) {
        if (!section_check(&index->sections[i], 0, index->sections[i].len, err))
            return false;
    }
    return true;
}

void disk_index_close(struct disk_index *index)
{
    if (!index)
        return;
    mem_free(index->good);
    mem_free(index);
}

uint32_t disk_index_count(const struct disk_index *index)
{
    return index->series_count;
}

uint64_t disk_index_heap_bytes(const struct disk_index *index)
{
    return index->heap_bytes;
}

/* ---- Names ---- */

bool name_read(const struct disk_index *index, uint32_t number, struct name_view *out,
               struct err *err)
{
    const struct section *names = &index->sections[SECTION_NAMES];
    uint64_t at = (uint64_t)number * NAME_BYTES;
    if (number >= index->name_count)
        return index_corrupt(err, "there is no such name");
    if (!section_check(names, at, at + NAME_BYTES, err))
        return false;
    const uint8_t *entry = names->data + at;
    uint64_t text_at = load_u32(entry), text_len = load_u32(entry + 4);
    *out = (struct name_view){.number = number,
                              .text = {(const char *)names->data + text_at, text_len},
                              .value_count = load_u32(entry + 8),
                              .restart = load_u32(entry + 12),
                              .postings_at = load_u32(entry + 16)};
    uint64_t restarts = ((uint64_t)out->value_count + VALUES_PER_RESTART - 1) / VALUES_PER_RESTART;
    if (out->restart > index->restart_count || restarts > index->restart_count - out->restart)
        return index_corrupt(err, "a name's values are out of bounds");
    if (text_len == 0) {
        out->text = STR_EMPTY;
        return true;
    }
    return section_check(names, text_at, text_at + text_len, err);
}

bool name_find(const struct disk_index *index, struct str text, bool *found, struct name_view *out,
               struct err *err)
{
    uint32_t low = 0, high = index->name_count;
    *found = false;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (!name_read(index, middle, out, err))
            return false;
        int order = str_cmp(out->text, text);
        if (order == 0) {
            *found = true;
            return true;
        }
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return true;
}

/* ---- Values ---- */

bool restart_read(const struct disk_index *index, uint32_t restart, uint32_t *values_at,
                  uint32_t *postings_at, struct err *err)
{
    const struct section *restarts = &index->sections[SECTION_RESTARTS];
    uint64_t at = (uint64_t)restart * RESTART_BYTES;
    if (!section_check(restarts, at, at + RESTART_BYTES, err))
        return false;
    *values_at = load_u32(restarts->data + at);
    *postings_at = load_u32(restarts->data + at + 4);
    return true;
}

/* The bytes of a restart's values, checked. */
static bool restart_values(const struct disk_index *index, uint32_t restart, struct reader *out,
                           struct err *err)
{
    const struct section *values = &index->sections[SECTION_VALUES];
    uint32_t from, to, postings;
    if (!restart_read(index, restart, &from, &postings, err) ||
        !restart_read(index, restart + 1, &to, &postings, err))
        return false;
    if (from >= to)
        return index_corrupt(err, "values are out of order");
    if (!section_check(values, from, to, err))
        return false;
    *out = (struct reader){
        .at = values->data + from, .end = values->data + to, .begin = values->data + from};
    return true;
}

static uint64_t varint_fast(struct reader *in)
{
    if (LIKELY(in->at < in->end && *in->at < 0x80))
        return *in->at++;
    return read_varint(in);
}

/* The next text: all but its first `prefix` bytes. The prefix is that of the text before, which has `len_before`. */
static bool entry_read(struct reader *in, bool head, uint64_t len_before, uint64_t *prefix,
                       struct str *suffix)
{
    *prefix = head ? 0 : varint_fast(in);
    *suffix = read_bytes(in, varint_fast(in));
    return !in->bad && *prefix <= len_before;
}

bool value_read(const struct disk_index *index, const struct name_view *name, uint32_t rank,
                struct value_view *out, struct err *err)
{
    struct reader in;
    uint64_t len = 0, prefix;
    struct str suffix;
    uint32_t count = 0;
    if (rank >= name->value_count)
        return index_corrupt(err, "there is no such value");
    if (!restart_values(index, name->restart + rank / VALUES_PER_RESTART, &in, err))
        return false;
    for (uint32_t i = 0; i <= rank % VALUES_PER_RESTART; i++) {
        if (!entry_read(&in, i == 0, len, &prefix, &suffix))
            return index_corrupt(err, "a value is cut short");
        while (count > 0 && out->prefixes[count - 1] >= prefix)
            count--; /* All of its bytes are replaced. */
        out->prefixes[count] = (uint32_t)prefix;
        out->pieces[count++] = suffix.ptr;
        len = prefix + suffix.len;
    }
    out->len = (uint32_t)len;
    out->piece_count = count;
    return true;
}

void value_fill(const struct value_view *value, char *out)
{
    for (uint32_t i = 0; i < value->piece_count; i++) {
        uint32_t from = value->prefixes[i];
        uint32_t to = i + 1 < value->piece_count ? value->prefixes[i + 1] : value->len;
        if (to > from)
            memcpy(out + from, value->pieces[i], to - from);
    }
}

/* The first text of a restart stands there whole. */
static bool restart_head(const struct disk_index *index, uint32_t restart, struct str *out,
                         struct err *err)
{
    struct reader in;
    uint64_t prefix;
    if (!restart_values(index, restart, &in, err))
        return false;
    return entry_read(&in, true, 0, &prefix, out) || index_corrupt(err, "a value is cut short");
}

bool value_find(const struct disk_index *index, const struct name_view *name, struct str text,
                uint32_t *rank, bool *equal, struct err *err)
{
    /* The last restart whose head is not above the text; then a walk. */
    uint32_t low = 0, high = (name->value_count + VALUES_PER_RESTART - 1) / VALUES_PER_RESTART;
    struct str head;
    *rank = 0;
    *equal = false;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (!restart_head(index, name->restart + middle, &head, err))
            return false;
        if (str_cmp(head, text) <= 0)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == 0)
        return true;
    struct value_scan scan;
    value_scan_init(&scan, index, name, (low - 1) * VALUES_PER_RESTART, name->value_count);
    bool good = true;
    *rank = scan.rank;
    for (uint32_t i = 0; i < VALUES_PER_RESTART && scan.rank < scan.end; i++) {
        good = value_scan_next(&scan, err);
        if (!good)
            break;
        int order = str_cmp(buf_str(&scan.text), text);
        *equal = order == 0;
        *rank = order >= 0 ? scan.rank - 1 : scan.rank;
        if (order >= 0)
            break;
    }
    value_scan_deinit(&scan);
    return good;
}

void value_scan_init(struct value_scan *scan, const struct disk_index *index,
                     const struct name_view *name, uint32_t from, uint32_t to)
{
    *scan = (struct value_scan){.index = index,
                                .name = name,
                                .rank = from - from % VALUES_PER_RESTART,
                                .end = to < name->value_count ? to : name->value_count};
    buf_init(&scan->text, SECTION_BYTES_MAX);
    struct err ignored;
    while (scan->rank < from && scan->rank < scan->end && value_scan_next(scan, &ignored))
        continue;
}

void value_scan_deinit(struct value_scan *scan)
{
    buf_deinit(&scan->text);
}

/* Restarts do not overlap, and within one a text can come back at most VALUES_PER_RESTART times: that is how much more
 * than the section a scan can yield. */
bool value_scan_next(struct value_scan *scan, struct err *err)
{
    struct reader in;
    uint64_t prefix;
    struct str suffix;
    if (scan->bad)
        return index_corrupt(err, "a value is cut short");
    if (scan->rank >= scan->end)
        return false;
    bool head = scan->rank % VALUES_PER_RESTART == 0;
    if (head) {
        uint32_t restart = scan->name->restart + scan->rank / VALUES_PER_RESTART;
        scan->bad = true; /* Until all is good. */
        if (!restart_values(scan->index, restart, &in, err))
            return false;
    } else {
        in = (struct reader){.at = scan->at, .end = scan->limit, .begin = scan->at};
    }
    scan->bad = !entry_read(&in, head, scan->text.len, &prefix, &suffix);
    if (scan->bad)
        return index_corrupt(err, "a value is cut short");
    scan->text.len = (size_t)prefix;
    buf_add_str(&scan->text, suffix);
    scan->at = in.at;
    scan->limit = in.end;
    scan->rank++;
    return true;
}

/* ---- Series ---- */

bool group_read(const struct disk_index *index, uint32_t group, struct group_walk *walk,
                struct err *err)
{
    const struct section *groups = &index->sections[SECTION_GROUPS];
    const struct section *series = &index->sections[SECTION_SERIES];
    uint64_t at = (uint64_t)group * 4;
    if (group >= index->group_count)
        return index_corrupt(err, "there is no such series");
    if (!section_check(groups, at, at + 8, err))
        return false;
    uint32_t from = load_u32(groups->data + at), to = load_u32(groups->data + at + 4);
    if (from >= to)
        return index_corrupt(err, "series are out of order");
    if (!section_check(series, from, to, err))
        return false;
    group_walk_start(walk, series->data + from, series->data + to, group_rows(index, group));
    return true;
}

static bool value_text(const struct disk_index *index, uint32_t name, uint32_t rank,
                       struct arena *arena, struct label *out, struct err *err)
{
    struct name_view view;
    struct value_view value;
    if (!name_read(index, name, &view, err) || !value_read(index, &view, rank, &value, err))
        return false;
    out->name = view.text;
    if (value.piece_count == 1) {
        out->value = str_from(value.pieces[0], value.len);
        return true;
    }
    char *text = arena_alloc(arena, value.len);
    value_fill(&value, text);
    out->value = str_from(text, value.len);
    return true;
}

bool disk_index_labels(const struct disk_index *index, uint32_t ordinal, struct arena *arena,
                       struct label *out, size_t count_max, size_t *count, struct err *err)
{
    struct group_walk walk;
    struct column column;
    uint32_t name_before = 0;
    *count = 0;
    if (ordinal >= index->series_count)
        return index_corrupt(err, "there is no such series");
    if (!group_read(index, ordinal / GROUP_ROWS, &walk, err))
        return false;
    while (group_walk_next(&walk, &column)) {
        uint32_t rank =
            column_rank(&column, partition_entry(&column.partition, ordinal % GROUP_ROWS));
        if (rank == RANK_ABSENT)
            continue;
        if (*count == count_max)
            return index_corrupt(err, "a series has too many labels");
        if (!value_text(index, column.name, rank, arena, &out[*count], err))
            return false;
        if (out[*count].value.len == 0 || (*count > 0 && column.name <= name_before))
            return index_corrupt(err, "a label set is none");
        name_before = column.name;
        (*count)++;
    }
    return !walk.bad || index_corrupt(err, "series are cut short");
}

/* As disk_index_labels, whatever their number. */
static bool labels_read(const struct disk_index *index, uint32_t ordinal, struct arena *arena,
                        struct label **out, size_t *count, struct err *err)
{
    struct group_walk walk;
    if (!group_read(index, ordinal / GROUP_ROWS, &walk, err))
        return false;
    size_t room = walk.columns_left;
    *out = arena_alloc_array(arena, room ? room : 1, sizeof(struct label));
    return disk_index_labels(index, ordinal, arena, *out, room, count, err);
}

/* A chunk of hashes that is damaged is no loss: they come from the labels. Where those are damaged, too, the hash is 0,
 * and who asks for the labels is told. */
uint64_t disk_index_hash(const struct disk_index *index, uint32_t ordinal)
{
    const struct section *hashes = &index->sections[SECTION_HASHES];
    struct err err;
    struct arena arena;
    struct label *labels;
    size_t count;
    uint64_t hash = 0;
    ENSURE(ordinal < index->series_count);
    if (LIKELY(section_check(hashes, (uint64_t)ordinal * 8, (uint64_t)ordinal * 8 + 8, &err)))
        return load_u64(hashes->data + (size_t)ordinal * 8);
    arena_init(&arena, 0);
    if (labels_read(index, ordinal, &arena, &labels, &count, &err))
        hash = labels_hash(labels, count);
    arena_deinit(&arena);
    return hash;
}

static bool ordinal_order(const struct disk_index *index, uint32_t ordinal, struct arena *arena,
                          const struct label *labels, size_t count, int *order, struct err *err)
{
    struct label *read;
    size_t read_count;
    arena_reset(arena);
    if (!labels_read(index, ordinal, arena, &read, &read_count, err))
        return false;
    *order = series_order(read, read_count, labels, count);
    return true;
}

bool disk_index_find(const struct disk_index *index, const struct label *labels, size_t count,
                     bool *found, uint32_t *ordinal, struct err *err)
{
    uint32_t low = 0, high = index->series_count;
    struct arena arena;
    bool good = true;
    *found = false;
    arena_init(&arena, 0);
    while (good && low < high && !*found) {
        uint32_t middle = low + (high - low) / 2;
        int order = 0;
        good = ordinal_order(index, middle, &arena, labels, count, &order, err);
        if (!good)
            break;
        *found = order == 0;
        *ordinal = middle;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    arena_deinit(&arena);
    return good;
}
