/* day_build_chunks: one series to the bytes of its entry.
 *
 *     samples -> pieces of at most CODEC_VALUES_MAX, cut at halves of the partition's time (so that the series of a
 *     target are cut alike) -> chunks: values, histograms, or a reference
 *
 * The buckets of a histogram are neighbours: each is offered the one before it (the codec takes it when that is shorter),
 * with a fresh start every DAY_FAMILY_RESTART columns. x_count comes after all of x_bucket: the +Inf buckets are remembered by
 * their labels and by 128 bits over their times and values, and an equal x_count is written as a reference. */
#include <string.h>

#include "base/hash.h"
#include "day_build_private.h"
#include "model/sample.h"
#include "series_labels.h"

#define BUF_MAX             ((size_t)1 << 30)
#define HISTOGRAM_BYTES_AIM ((size_t)256 << 10)

static const struct str SUFFIX_BUCKET = {"_bucket", 7}, SUFFIX_COUNT = {"_count", 6};

bool day_chunks_open(struct day_chunks *chunks, const char *stem, struct err *err)
{
    *chunks = (struct day_chunks){.encoder = codec_encoder_new()};
    map_init(&chunks->infinity_map);
    buf_init(&chunks->before.labels, BUF_MAX);
    buf_init(&chunks->now.labels, BUF_MAX);
    buf_init(&chunks->base, BUF_MAX);
    buf_init(&chunks->entry, BUF_MAX);
    buf_init(&chunks->bytes, BUF_MAX);
    buf_init(&chunks->key, BUF_MAX);
    buf_init(&chunks->pending_bytes, BUF_MAX);
    return day_times_open(&chunks->times, stem, err);
}

static void bucket_series_free(struct day_bucket_series *series)
{
    for (size_t i = 0; i < DAY_FAMILY_CHUNKS; i++)
        mem_free(series->chunks[i].column);
    buf_deinit(&series->labels);
}

void day_chunks_close(struct day_chunks *chunks)
{
    day_times_close(&chunks->times);
    codec_encoder_free(chunks->encoder);
    bucket_series_free(&chunks->before);
    bucket_series_free(&chunks->now);
    map_deinit(&chunks->infinity_map);
    VEC_FREE(&chunks->infinities);
    buf_deinit(&chunks->base);
    buf_deinit(&chunks->entry);
    buf_deinit(&chunks->bytes);
    buf_deinit(&chunks->key);
    buf_deinit(&chunks->pending_bytes);
}

/* What a series is in its histogram. */
struct role {
    bool is_bucket, is_infinity, is_count;
    struct str base; /* The metric's name without its suffix. */
};

static struct role role_of(const struct label *labels, size_t count)
{
    struct role role = {0};
    struct str name = STR_EMPTY, le = STR_EMPTY;
    for (size_t i = 0; i < count; i++) {
        if (str_eq(labels[i].name, LABEL_NAME))
            name = labels[i].value;
        else if (str_eq(labels[i].name, LABEL_LE))
            le = labels[i].value;
    }
    role.is_bucket = le.len > 0 && str_ends(name, SUFFIX_BUCKET);
    role.is_infinity = role.is_bucket && str_eq(le, STR("+Inf"));
    role.is_count = !role.is_bucket && str_ends(name, SUFFIX_COUNT);
    size_t suffix = role.is_bucket ? SUFFIX_BUCKET.len : role.is_count ? SUFFIX_COUNT.len : 0;
    role.base = str_first(name, name.len - suffix);
    return role;
}

/* The labels without `le`, and with `name` in place of the metric's. */
static void write_family(struct buf *out, const struct label *labels, size_t count, struct str name)
{
    buf_clear(out);
    for (size_t i = 0; i < count; i++) {
        if (str_eq(labels[i].name, LABEL_LE))
            continue;
        write_varint_str(out, labels[i].name);
        write_varint_str(out, str_eq(labels[i].name, LABEL_NAME) ? name : labels[i].value);
    }
}

/* --- chunks of the entry --- */

/* Chunks are written one behind: each says whether another follows. */
static void push_chunk(struct day_chunks *chunks, const struct day_chunk *chunk)
{
    if (chunks->has_pending)
        day_chunk_write(&chunks->entry, &chunks->pending, true);
    buf_clear(&chunks->pending_bytes);
    buf_add_str(&chunks->pending_bytes, chunk->bytes);
    chunks->pending = *chunk;
    chunks->pending.bytes = buf_str(&chunks->pending_bytes);
    chunks->has_pending = true;
}

/* `rows` rows from `first` on of a list of ranges. */
static struct day_times slice_times(const struct day_times *times, uint32_t first, uint32_t rows)
{
    struct day_times slice = {.column = times->column};
    if (first == 0 && rows == day_times_rows(times))
        return *times;
    for (uint32_t i = 0; i < times->range_count && rows > 0; i++) {
        struct day_range range = times->ranges[i];
        if (first >= range.rows) {
            first -= range.rows;
            continue;
        }
        range.first += first;
        range.rows -= first;
        range.rows = range.rows < rows ? range.rows : rows;
        slice.ranges[slice.range_count++] = range;
        rows -= range.rows;
        first = 0;
    }
    return slice;
}

struct encoding {
    struct day_chunks *chunks;
    const struct day_gather *gather;
    struct role role;
    uint64_t group_key;
    bool has_family;       /* The series before is the bucket before. */
    uint32_t reference;    /* Distance to the +Inf bucket with the same samples; 0: none. */
    uint32_t chunk_number; /* Of the next chunk. */
};

static void encode_histograms(struct encoding *encoding, const struct day_times *times,
                              size_t first, uint32_t rows)
{
    struct day_chunks *chunks = encoding->chunks;
    uint32_t done = 0;
    while (done < rows) {
        buf_clear(&chunks->bytes);
        uint32_t wrote = day_histograms_write(encoding->gather->result, first + done, rows - done,
                                              HISTOGRAM_BYTES_AIM, &chunks->bytes);
        struct day_chunk chunk = {.kind = DAY_HISTOGRAMS,
                                  .times = slice_times(times, done, wrote),
                                  .bytes = buf_str(&chunks->bytes)};
        push_chunk(chunks, &chunk);
        encoding->chunk_number++;
        done += wrote;
    }
}

static void encode_values(struct encoding *encoding, const struct day_times *times, size_t first,
                          uint32_t rows)
{
    struct day_chunks *chunks = encoding->chunks;
    uint32_t number = encoding->chunk_number++;
    struct day_chunk chunk = {.kind = DAY_VALUES, .times = *times};
    struct day_column_state *now = NULL;
    const struct codec_column *previous = NULL;
    if (encoding->reference > 0) {
        chunk.kind = DAY_REFERENCE;
        chunk.distance = encoding->reference;
        push_chunk(chunks, &chunk);
        return;
    }
    if (encoding->role.is_bucket && number < DAY_FAMILY_CHUNKS) {
        struct day_column_state *before = &chunks->before.chunks[number];
        now = &chunks->now.chunks[number];
        if (!now->column)
            now->column = mem_alloc(sizeof(*now->column));
        if (encoding->has_family && number < chunks->before.chunk_count && before->is_values &&
            before->chain + 1 < DAY_FAMILY_RESTART && day_times_equal(&before->times, times))
            previous = before->column;
    }
    buf_clear(&chunks->bytes);
    codec_encode(chunks->encoder, encoding->gather->result->value + first, rows, previous,
                 now ? now->column : NULL, &chunks->bytes);
    chunk.bytes = buf_str(&chunks->bytes);
    if (now) {
        now->times = *times;
        now->is_values = true;
        now->chain =
            codec_needs_previous(chunk.bytes) ? chunks->before.chunks[number].chain + 1 : 0;
    }
    push_chunk(chunks, &chunk);
}

static bool piece_has_histograms(const struct samples *samples, size_t first, size_t count)
{
    for (size_t i = first; samples->histogram && i < first + count; i++) {
        if (samples->histogram[i])
            return true;
    }
    return false;
}

static bool encode_piece(struct encoding *encoding, size_t first, size_t count, int64_t from_ms,
                         int64_t to_ms, struct err *err)
{
    const struct samples *samples = encoding->gather->result;
    struct day_times times;
    if (count == 0)
        return true;
    if (count > CODEC_VALUES_MAX) {
        int64_t middle_ms = from_ms + (to_ms - from_ms) / 2;
        size_t low = first, high = first + count;
        while (low < high) {
            size_t middle = low + (high - low) / 2;
            if (samples->time_ms[middle] < middle_ms)
                low = middle + 1;
            else
                high = middle;
        }
        return encode_piece(encoding, first, low - first, from_ms, middle_ms, err) &&
               encode_piece(encoding, low, first + count - low, middle_ms, to_ms, err);
    }
    uint64_t key = hash64_mix(hash64_mix(encoding->group_key, (uint64_t)from_ms), (uint64_t)to_ms);
    if (!day_times_find(&encoding->chunks->times, key, samples->time_ms + first, (uint32_t)count,
                        &times, err))
        return false;
    if (piece_has_histograms(samples, first, count))
        encode_histograms(encoding, &times, first, (uint32_t)count);
    else
        encode_values(encoding, &times, first, (uint32_t)count);
    return true;
}

/* --- +Inf buckets and counts --- */

static bool same_infinity(const void *ctx, const void *key, uint32_t value)
{
    const struct day_chunks *chunks = ctx;
    return chunks->infinities.items[value].key == *(const uint64_t *)key;
}

/* Key and content of a +Inf bucket or count; forgets those of another metric. */
static struct day_infinity infinity_of(struct day_chunks *chunks, const struct day_gather *gather,
                                       const struct role *role, const struct label *labels,
                                       size_t count)
{
    const struct samples *samples = gather->result;
    struct str times =
        str_from((const char *)(samples->time_ms + gather->first), gather->count * sizeof(int64_t));
    struct str values =
        str_from((const char *)(samples->value + gather->first), gather->count * sizeof(double));
    struct day_infinity infinity = {0};
    write_family(&chunks->key, labels, count, role->base);
    infinity.key = hash64(buf_str(&chunks->key));
    for (uint64_t i = 0; i < 2; i++)
        infinity.content[i] = hash64_seed(values, hash64_seed(times, i + 1));
    if (role->is_bucket && !str_eq(buf_str(&chunks->base), role->base)) {
        buf_clear(&chunks->base);
        buf_add_str(&chunks->base, role->base);
        map_clear(&chunks->infinity_map);
        VEC_CLEAR(&chunks->infinities);
    }
    return infinity;
}

static void find_reference(struct encoding *encoding, const struct day_infinity *wanted,
                           uint32_t ordinal)
{
    struct day_chunks *chunks = encoding->chunks;
    uint32_t at = map_find(&chunks->infinity_map, wanted->key, &wanted->key, same_infinity, chunks);
    if (at == MAP_NONE)
        return;
    const struct day_infinity *infinity = &chunks->infinities.items[at];
    if (memcmp(infinity->content, wanted->content, sizeof(wanted->content)) == 0)
        encoding->reference = ordinal - infinity->ordinal;
}

/* A few bytes are not worth a reader's detour. */
static bool is_constant(const struct day_gather *gather)
{
    const double *values = gather->result->value + gather->first;
    size_t at = 1;
    while (at < gather->count && sample_bits(values[at]) == sample_bits(values[0]))
        at++;
    return at >= gather->count;
}

static void remember_infinity(struct encoding *encoding, struct day_infinity infinity,
                              uint32_t ordinal)
{
    struct day_chunks *chunks = encoding->chunks;
    if (is_constant(encoding->gather))
        return;
    infinity.ordinal = ordinal;
    map_insert(&chunks->infinity_map, infinity.key, (uint32_t)chunks->infinities.count);
    VEC_PUSH(&chunks->infinities, infinity);
}

static void begin_family(struct encoding *encoding, const struct label *labels, size_t count)
{
    struct day_chunks *chunks = encoding->chunks;
    struct day_bucket_series swap = chunks->before;
    chunks->before = chunks->now;
    chunks->now = swap;
    chunks->now.chunk_count = 0;
    for (size_t i = 0; i < DAY_FAMILY_CHUNKS; i++) {
        chunks->now.chunks[i].is_values = false;
        chunks->now.chunks[i].chain = 0;
    }
    buf_clear(&chunks->now.labels);
    if (!encoding->role.is_bucket)
        return;
    write_family(&chunks->now.labels, labels, count, encoding->role.base);
    encoding->has_family = str_eq(buf_str(&chunks->now.labels), buf_str(&chunks->before.labels));
}

bool day_chunks_encode(struct day_chunks *chunks, const struct day_gather *gather,
                       const struct label *labels, size_t label_count, uint32_t ordinal,
                       int64_t from_ms, int64_t to_ms, struct err *err)
{
    struct encoding encoding = {.chunks = chunks,
                                .gather = gather,
                                .role = role_of(labels, label_count),
                                .group_key = gather->group_key};
    const struct role *role = &encoding.role;
    struct day_infinity infinity = {0};
    bool is_plain = !piece_has_histograms(gather->result, gather->first, gather->count);
    ENSURE(gather->count > 0);
    begin_family(&encoding, labels, label_count);
    if (is_plain && (role->is_infinity || (role->is_count && chunks->infinities.count > 0))) {
        infinity = infinity_of(chunks, gather, role, labels, label_count);
        if (role->is_count)
            find_reference(&encoding, &infinity, ordinal);
    }
    buf_clear(&chunks->entry);
    chunks->has_pending = false;
    if (!encode_piece(&encoding, gather->first, gather->count, from_ms, to_ms, err))
        return false;
    day_chunk_write(&chunks->entry, &chunks->pending, false);
    chunks->now.chunk_count = encoding.chunk_number;
    if (is_plain && role->is_infinity)
        remember_infinity(&encoding, infinity, ordinal);
    if (chunks->entry.overflow)
        return err_set(err, ERR_LIMIT, "a series is too large for one entry");
    return true;
}
