/* bench: base
 *
 * The sender of the benchmarks that stand beside other servers: the same samples to each, by remote write as
 * Prometheus sends it.
 *
 *     load_sender make <set> <start ms> <file>      set: d1, d2 or a kind of mix.h; a day of 15 s from start
 *     load_sender send <file> <port> <rows> [<rows> <ms>]   so many rows of each series a request, with pauses; those
 *                                                           that lie ahead when their time comes
 *     load_sender stream <port> <series> <start ms> <interval ms> <rows a request> <samples a request> <churn> <spread>
 *
 * `stream` sends as many rows as the number in each line of its input says, and answers each line with samples and
 * bytes sent so far. Series are pods of 500 with 9 or 10 labels and d1's values. Churn is how many rows a pod lives (0: for ever): pods
 * end at different times, with stale markers, and another with the same metrics takes the place. Spread is the number of
 * rows over which pods begin, one after the other: so that they do not all fill a slot at the same row.
 */
#include <stdarg.h>

#include "base/clock.h"
#include "load_wire.h"

#define POD_SERIES 500

static void send_series(struct load_wire *wire, const struct load_set *set, struct str labels,
                        uint32_t number, uint32_t from, uint32_t to)
{
    const int64_t *times_ms =
        set->times_ms + (size_t)set->series[number].column * set->head.row_count;
    const double *values = set->values + (size_t)number * set->head.row_count;
    uint32_t count = 0;
    for (uint32_t row = from; row < to; row++)
        count += sample_bits(values[row]) != LOAD_MISSING_BITS;
    if (count == 0)
        return;
    load_add_series(wire, labels, count);
    for (uint32_t row = from; row < to; row++) {
        if (sample_bits(values[row]) != LOAD_MISSING_BITS)
            load_add_sample(wire, times_ms[row], values[row]);
    }
}

/* After so many rows the sender waits, so that a server that works by its own clock has time for what it does with them;
 * 0: it does not. */
struct send_pause {
    uint32_t rows, ms;
};

static void sleep_ms(int64_t ms)
{
    struct timespec left = {ms / 1000, ms % 1000 * 1000000};
    if (ms > 0)
        nanosleep(&left, NULL);
}

/* Where a request that begins with row `from` ends. What has been is told of before the first row that lies ahead. */
static uint32_t request_end(struct load_wire *wire, const struct load_set *set, uint32_t from,
                            uint32_t rows, bool *ahead)
{
    uint32_t to = from;
    int64_t now_ms = clock_wall_ms();
    while (to < set->head.row_count && to < from + rows && set->times_ms[to] <= now_ms)
        to++;
    if (to > from)
        return to;
    if (!*ahead) {
        load_wire_wait(wire);
        printf("%" PRIu64 " %" PRIu64 "\n", wire->samples, wire->bytes);
        fflush(stdout);
    }
    *ahead = true;
    sleep_ms(set->times_ms[from] - now_ms);
    return from + 1;
}

static void send_set(const char *path, const char *port, uint32_t rows, struct send_pause pause)
{
    struct load_set set;
    struct load_wire wire;
    struct buf labels;
    bool ahead = false;
    load_set_open(&set, path);
    load_wire_open(&wire, port);
    buf_init(&labels, LOAD_TEXT_MAX);
    size_t *offsets = mem_alloc((set.head.series_count + 1) * sizeof(*offsets));
    offsets[0] = 0;
    for (uint32_t i = 0; i < set.head.series_count; i++) {
        load_add_labels(&labels, set.text + set.series[i].offset, set.series[i].len);
        offsets[i + 1] = labels.len;
    }
    for (uint32_t from = 0, to; from < set.head.row_count; from = to) {
        to = request_end(&wire, &set, from, rows, &ahead);
        for (uint32_t i = 0; i < set.head.series_count; i++) {
            struct str text = {labels.ptr + offsets[i], offsets[i + 1] - offsets[i]};
            send_series(&wire, &set, text, i, from, to);
            if (wire.request.len > 200000)
                load_wire_send(&wire);
        }
        load_wire_send(&wire);
        if (!ahead && pause.rows > 0 && to / pause.rows > from / pause.rows) {
            load_wire_wait(&wire);
            sleep_ms(pause.ms);
        }
    }
    load_wire_wait(&wire);
    if (!ahead)
        printf("%" PRIu64 " %" PRIu64 "\n", wire.samples, wire.bytes);
}

struct stream {
    struct load_wire wire;
    uint32_t series_count, rows_per_request, samples_per_request, life_rows, spread_rows;
    int64_t start_ms, interval_ms;
    uint64_t row;
    struct load_maker mix;
    uint32_t *births; /* Of each pod: how often its place was taken anew. */
    size_t *offsets;  /* Of each series' labels within its pod's. */
    struct buf *labels;
};

static void add_label(struct buf *text, const char *name, const char *format, ...)
{
    char value[96];
    va_list args;
    va_start(args, format);
    vsnprintf(value, sizeof(value), format, args);
    va_end(args);
    buf_add(text, name, strlen(name) + 1);
    buf_add(text, value, strlen(value) + 1);
}

static void make_pod(struct stream *stream, uint32_t pod)
{
    struct buf text;
    uint32_t birth = stream->births[pod];
    uint64_t name = (uint64_t)pod << 32 | birth;
    uint64_t hash = bench_random(&name);
    buf_init(&text, 4096);
    buf_clear(&stream->labels[pod]);
    for (uint32_t k = 0; k < POD_SERIES && pod * POD_SERIES + k < stream->series_count; k++) {
        buf_clear(&text);
        add_label(&text, "__name__", "kube_node_family_%02u_seconds_total", k / 10);
        add_label(&text, "container", "container-%u", pod % 8);
        add_label(&text, "cpu", "%u", k % 10);
        add_label(&text, "instance", "10.%u.%u.%u:9100", birth % 200, pod / 256, pod % 256);
        add_label(&text, "job", "kubernetes-pods");
        add_label(&text, "mode", "mode-%u", k % 7);
        add_label(&text, "namespace", "namespace-%u", pod % 20);
        add_label(&text, "node", "node-%u", pod / 10);
        add_label(&text, "pod", "workload-%u-%05x-%05x", pod % 40, pod % 65536,
                  (uint32_t)(hash >> 44));
        if (k % 3 > 1)
            add_label(&text, "zone", "eu-central-1a");
        stream->offsets[pod * POD_SERIES + k] = stream->labels[pod].len;
        load_add_labels(&stream->labels[pod], text.ptr, text.len);
    }
    buf_deinit(&text);
}

static struct str series_labels(const struct stream *stream, uint32_t number)
{
    const struct buf *labels = &stream->labels[number / POD_SERIES];
    size_t from = stream->offsets[number], to = labels->len;
    if (number + 1 < stream->series_count && (number + 1) % POD_SERIES > 0)
        to = stream->offsets[number + 1];
    return (struct str){labels->ptr + from, to - from};
}

/* A family's ten series take the values of ten neighbours in d1, which is sorted by kind; each pod from another row on. */
static double next_value(const struct stream *stream, uint32_t number, uint64_t row)
{
    uint32_t pod = number / POD_SERIES, k = number % POD_SERIES;
    uint64_t place = (uint64_t)pod << 32 | stream->births[pod];
    const double *values = stream->mix.values.items[k / 10 * 20 + k % 10 * 2 + pod % 2];
    return values[(row + bench_random(&place)) % MIX_SAMPLES];
}

static void stream_open(struct stream *stream, char **args)
{
    *stream = (struct stream){0};
    bool made = load_make(&stream->mix, "d1");
    ENSURE(made && stream->mix.values.count == 2 * POD_SERIES);
    load_wire_open(&stream->wire, args[0]);
    stream->series_count = (uint32_t)strtoul(args[1], NULL, 10);
    stream->start_ms = strtoll(args[2], NULL, 10);
    stream->interval_ms = strtoll(args[3], NULL, 10);
    stream->rows_per_request = (uint32_t)strtoul(args[4], NULL, 10);
    stream->samples_per_request = (uint32_t)strtoul(args[5], NULL, 10);
    stream->life_rows = (uint32_t)strtoul(args[6], NULL, 10);
    stream->spread_rows = (uint32_t)strtoul(args[7], NULL, 10);
    size_t pods = (stream->series_count + POD_SERIES - 1) / POD_SERIES;
    stream->offsets = mem_alloc(stream->series_count * sizeof(size_t));
    stream->births = mem_alloc(pods * sizeof(uint32_t));
    stream->labels = mem_alloc(pods * sizeof(struct buf));
    for (uint32_t pod = 0; pod < pods; pod++) {
        stream->births[pod] = 0;
        buf_init(&stream->labels[pod], LOAD_TEXT_MAX);
        make_pod(stream, pod);
    }
}

/* Pods whose life ends at a row between these two are said to be stale, and others take their places. */
static void replace_pods(struct stream *stream, uint64_t from, uint64_t to)
{
    uint32_t pods = (stream->series_count + POD_SERIES - 1) / POD_SERIES;
    for (uint32_t pod = 0; stream->life_rows > 0 && pod < pods; pod++) {
        uint64_t shift = (uint64_t)pod * stream->life_rows / pods;
        if ((from + shift) / stream->life_rows == (to + shift) / stream->life_rows)
            continue;
        for (uint32_t k = 0; k < POD_SERIES && pod * POD_SERIES + k < stream->series_count; k++) {
            uint32_t number = pod * POD_SERIES + k;
            load_add_series(&stream->wire, series_labels(stream, number), 1);
            load_add_sample(&stream->wire, stream->start_ms + (int64_t)to * stream->interval_ms,
                            sample_stale());
        }
        load_wire_send(&stream->wire);
        stream->births[pod]++;
        make_pod(stream, pod);
    }
}

static void stream_rows(struct stream *stream, uint32_t rows)
{
    uint32_t waiting = 0, pods = (stream->series_count + POD_SERIES - 1) / POD_SERIES;
    for (uint32_t i = 0; i < stream->series_count; i++) {
        if (stream->row * pods < (uint64_t)(i / POD_SERIES) * stream->spread_rows)
            continue;
        load_add_series(&stream->wire, series_labels(stream, i), rows);
        for (uint32_t k = 0; k < rows; k++) {
            int64_t at = stream->start_ms + (int64_t)(stream->row + k) * stream->interval_ms;
            load_add_sample(&stream->wire, at, next_value(stream, i, stream->row + k));
        }
        waiting += rows;
        if (waiting >= stream->samples_per_request) {
            load_wire_send(&stream->wire);
            waiting = 0;
        }
    }
    load_wire_send(&stream->wire);
    replace_pods(stream, stream->row, stream->row + rows);
    stream->row += rows;
}

static void stream_run(char **args)
{
    struct stream stream;
    char line[64];
    stream_open(&stream, args);
    printf("0 0\n");
    fflush(stdout);
    while (fgets(line, sizeof(line), stdin)) {
        uint32_t left = (uint32_t)strtoul(line, NULL, 10);
        while (left > 0) {
            uint32_t rows = left < stream.rows_per_request ? left : stream.rows_per_request;
            stream_rows(&stream, rows);
            left -= rows;
        }
        load_wire_wait(&stream.wire);
        printf("%" PRIu64 " %" PRIu64 "\n", stream.wire.samples, stream.wire.bytes);
        fflush(stdout);
    }
}

int main(int argc, char **argv)
{
    const char *command = argc > 1 ? argv[1] : "";
    struct load_maker maker = {0};
    if (strcmp(command, "make") == 0 && argc == 5 && load_make(&maker, argv[2]))
        load_write(&maker, strtoll(argv[3], NULL, 10), argv[4]);
    else if (strcmp(command, "send") == 0 && (argc == 5 || argc == 7))
        send_set(argv[2], argv[3], (uint32_t)strtoul(argv[4], NULL, 10),
                 (struct send_pause){argc == 7 ? (uint32_t)strtoul(argv[5], NULL, 10) : 0,
                                     argc == 7 ? (uint32_t)strtoul(argv[6], NULL, 10) : 0});
    else if (strcmp(command, "stream") == 0 && argc == 10)
        stream_run(argv + 2);
    else {
        fprintf(stderr, "usage: see the head of load_sender.c\n");
        return 2;
    }
    return 0;
}
