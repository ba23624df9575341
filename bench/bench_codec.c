/* bench: storage */
/* What the codec of day files takes and how fast it is: each kind of series alone, the two mixes of mix.h, times. Bytes
 * a sample count the times too: one column of a scrape target's 250 series. */
#include "base/mem.h"
#include "codec_private.h"
#include "mix.h"

#define SERIES_OF_KIND    20
#define SERIES_PER_TARGET 250
#define ROUNDS            9
#define CHUNK_BYTES_MAX   (16 * CODEC_VALUES_MAX)

static uint64_t random_state = 1;
static struct codec_encoder *encoder;

struct bench_set {
    struct buf bytes;
    uint32_t series_count, family; /* Columns of a family, 1 if there are none. */
    size_t *ends;
    int64_t encode_ns;
    double *values;
};

static void set_init(struct bench_set *set, uint32_t series_count, uint32_t family)
{
    *set = (struct bench_set){.series_count = series_count, .family = family};
    set->values = mem_alloc_array((size_t)series_count * MIX_SAMPLES, sizeof(double));
    set->ends = mem_alloc_array(series_count, sizeof(size_t));
    buf_init(&set->bytes, (size_t)series_count * CHUNK_BYTES_MAX);
}

static void set_deinit(struct bench_set *set)
{
    mem_free(set->values);
    mem_free(set->ends);
    buf_deinit(&set->bytes);
}

static void set_encode(struct bench_set *set)
{
    static struct codec_column columns[2];
    int64_t start = bench_cpu_ns();
    for (uint32_t i = 0; i < set->series_count; i++) {
        const struct codec_column *previous = i % set->family ? &columns[(i + 1) % 2] : NULL;
        codec_encode(encoder, set->values + (size_t)i * MIX_SAMPLES, MIX_SAMPLES, previous,
                     set->family > 1 ? &columns[i % 2] : NULL, &set->bytes);
        set->ends[i] = set->bytes.len;
    }
    set->encode_ns = bench_cpu_ns() - start;
}

static void set_decode(const struct bench_set *set)
{
    static struct codec_column columns[2];
    size_t begin = 0;
    for (uint32_t i = 0; i < set->series_count; i++) {
        struct str bytes = str_from(set->bytes.ptr + begin, set->ends[i] - begin);
        const struct codec_column *previous = i % set->family ? &columns[(i + 1) % 2] : NULL;
        ENSURE(codec_decode(bytes, MIX_SAMPLES, previous, &columns[i % 2]));
        begin = set->ends[i];
    }
}

static void print(const char *set, const char *what, double value, const char *unit)
{
    char name[64];
    snprintf(name, sizeof(name), "codec_%s_%s", set, what);
    bench_print(name, value, unit);
}

/* Times of the targets that the set's series belong to. */
static struct buf encode_times(uint32_t target_count, size_t *ends)
{
    static int64_t times[MIX_SAMPLES];
    struct buf bytes;
    buf_init(&bytes, (size_t)target_count * CHUNK_BYTES_MAX);
    for (uint32_t i = 0; i < target_count; i++) {
        mix_times(&random_state, times);
        codec_times_encode(times, MIX_SAMPLES, &bytes);
        ends[i] = bytes.len;
    }
    return bytes;
}

static double decode_all_ns(const struct bench_set *set, const struct buf *times_bytes,
                            const size_t *ends, uint32_t target_count)
{
    static int64_t times[CODEC_VALUES_MAX];
    struct bench_rounds rounds = {.count = 0};
    for (int round = 0; round < ROUNDS; round++) {
        int64_t start = bench_cpu_ns();
        set_decode(set);
        for (uint32_t i = 0; i < target_count; i++) {
            size_t begin = i ? ends[i - 1] : 0;
            ENSURE(codec_times_decode(str_from(times_bytes->ptr + begin, ends[i] - begin),
                                      MIX_SAMPLES, times));
        }
        bench_round(&rounds, (double)(bench_cpu_ns() - start));
    }
    return bench_median(&rounds);
}

static void measure(const char *name, struct bench_set *set)
{
    double samples = (double)set->series_count * MIX_SAMPLES;
    uint32_t target_count = (set->series_count + SERIES_PER_TARGET - 1) / SERIES_PER_TARGET;
    size_t *ends = mem_alloc_array(target_count, sizeof(*ends));
    struct buf times = encode_times(target_count, ends);
    bool is_mix = set->series_count > SERIES_OF_KIND;
    set_encode(set);
    double bytes = (double)set->bytes.len + (is_mix ? (double)times.len : 0);
    print(name, "size", bytes / samples, "B/sample");
    print(name, "encode", samples * 1e3 / (double)set->encode_ns, "M/s");
    print(name, "decode",
          samples * 1e3 / decode_all_ns(set, &times, ends, is_mix ? target_count : 0), "M/s");
    if (is_mix) {
        codec_kernels_force_portable(true);
        print(name, "decode_portable",
              samples * 1e3 / decode_all_ns(set, &times, ends, target_count), "M/s");
        codec_kernels_force_portable(false);
        print(name, "times", (double)times.len / target_count, "B/column");
    }
    buf_deinit(&times);
    mem_free(ends);
}

static void measure_kind(enum mix_kind kind)
{
    struct bench_set set;
    set_init(&set, SERIES_OF_KIND, 1);
    for (uint32_t i = 0; i < set.series_count; i++)
        mix_series(kind, &random_state, set.values + (size_t)i * MIX_SAMPLES);
    measure(MIX_KINDS[kind].name, &set);
    set_deinit(&set);
}

static void measure_d1(void)
{
    struct bench_set set;
    uint32_t at = 0;
    set_init(&set, 1000, 1);
    for (uint32_t kind = 0; kind < MIX_KIND_COUNT; kind++) {
        for (uint32_t i = 0; i < MIX_KINDS[kind].d1_series; i++)
            mix_series((enum mix_kind)kind, &random_state, set.values + (size_t)at++ * MIX_SAMPLES);
    }
    measure("d1", &set);
    set_deinit(&set);
}

static void measure_d2(uint32_t family, const char *name)
{
    struct bench_set set;
    static double columns[MIX_FAMILY_COLUMNS][MIX_SAMPLES];
    uint64_t state = 1;
    set_init(&set, MIX_D2_FAMILIES * MIX_FAMILY_COLUMNS, family);
    for (uint32_t i = 0; i < MIX_D2_FAMILIES; i++) {
        mix_family(&state, columns);
        memcpy(set.values + (size_t)i * MIX_FAMILY_COLUMNS * MIX_SAMPLES, columns, sizeof(columns));
    }
    measure(name, &set);
    set_deinit(&set);
}

int main(void)
{
    encoder = codec_encoder_new();
    measure_d1();
    measure_d2(MIX_FAMILY_COLUMNS, "d2");
    measure_d2(1, "d2_no_family");
    for (uint32_t kind = 0; kind < MIX_KIND_COUNT; kind++)
        measure_kind((enum mix_kind)kind);
    codec_encoder_free(encoder);
    return 0;
}
