/* The crash simulation of test_sim.c, wider: late samples, histograms, series that come and go by the dozen and are spilled,
 * days that are built at once on a lane of their own, batches of many times, a head.mdb that is lost between two lives, a
 * wall clock that jumps by a year and comes back, or goes back by an hour or two.
 *
 * The model is looser where the store is: of several samples of one series and time that were taken any one may be shown.
 * TEST_SEED=<n> runs one seed alone; TEST_SEEDS=<n> so many; TEST_COUNTS=1 prints what was done how often. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <inttypes.h>

#include "base/log.h"
#define SIM_CALLS_ROOM
#include "sim_calls.h"
#include "store_fixture.h"

#define T0           INT64_C(1700000000000)
#define MINUTE       (INT64_C(60) * 1000)
#define HOUR         (60 * MINUTE)
#define DAY          (24 * HOUR)
#define JUMP_MS      (400 * DAY)
#define JUMP_STEPS   12 /* A few minutes of samples: less than retention trusts. */
#define LIVES        5
#define SERIES_COUNT 160
#define GROUP_COUNT  4
#define HELD_MAX     40

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SEED_COUNT 8
#else
#define SEED_COUNT 30
#endif

/* --- the model --- */

struct model_sample {
    int64_t time_ms;
    double value;
    bool is_histogram;
    bool must;
};
struct model_series {
    VEC(struct model_sample) samples; /* By time when sorted. */
    bool sorted;
};
struct model {
    struct model_series series[SERIES_COUNT];
    int64_t newest_ms; /* Without those that a wrong clock made. */
    double next_value;
};
static struct model model;

enum message_kind { MESSAGE_TAKEN, MESSAGE_COMMITTED, MESSAGE_OPENED };
struct message {
    uint32_t kind;
    uint32_t series;
    int64_t time_ms;
    double value;
    uint64_t count;
    bool is_histogram;
};

static void model_add(uint32_t series, struct model_sample sample)
{
    VEC_PUSH(&model.series[series].samples, sample);
    model.series[series].sorted = false;
    if (sample.time_ms < T0 + JUMP_MS / 2)
        model.newest_ms = sample.time_ms > model.newest_ms ? sample.time_ms : model.newest_ms;
    model.next_value = sample.value >= model.next_value ? sample.value + 1 : model.next_value;
}

static int compare_sample(const void *a, const void *b)
{
    const struct model_sample *x = a, *y = b;
    return (x->time_ms > y->time_ms) - (x->time_ms < y->time_ms);
}

static struct model_series *model_sorted(uint32_t number)
{
    struct model_series *series = &model.series[number];
    if (!series->sorted)
        VEC_SORT(&series->samples, compare_sample);
    series->sorted = true;
    return series;
}

static void model_clear(void)
{
    for (int i = 0; i < SERIES_COUNT; i++)
        VEC_FREE(&model.series[i].samples);
    model = (struct model){.newest_ms = INT64_MIN};
}

/* --- the child --- */

struct life {
    struct store_fixture fixture;
    struct lane_now build_lane;
    struct storage_group *groups[GROUP_COUNT];
    series_ref held[HELD_MAX]; /* Pinned beyond their append. */
    size_t held_count;
    int report_fd;
    uint64_t taken;
    int64_t ahead_ms;
    int64_t retention_ms;
    bool lossy; /* Retention by size: what is old may go. */
    bool loses_head;
    bool jumps;            /* The wall clock does. */
    int number;            /* Of this life. */
    int64_t off_ms;        /* So far is it from the right time now, */
    int jump_left;         /* for so many steps. */
    bool jumped;           /* On by a year: once a life. */
    uint32_t first_series; /* The window of series that live now. */
    uint64_t seed;
    uint64_t commits[4096];
    size_t commit_count;
};
static struct life life;

#define REQUIRE(x, ...)                                                                            \
    do {                                                                                           \
        if (!(x)) {                                                                                \
            fprintf(stderr, "seed %" PRIu64 ": %s: ", life.seed, #x);                              \
            fprintf(stderr, __VA_ARGS__);                                                          \
            fprintf(stderr, "\n");                                                                 \
            syscall(SYS_exit_group, 1);                                                            \
        }                                                                                          \
    } while (0)

static void report(struct message message)
{
    if (syscall(SYS_write, life.report_fd, &message, sizeof(message)) != sizeof(message))
        syscall(SYS_exit_group, 1);
}

static series_ref make_series(struct storage_group *group, uint32_t number)
{
    char text[16];
    struct err err = {0};
    snprintf(text, sizeof(text), "%u", number);
    struct label labels[3] = {
        {LABEL_NAME, STR("sim")}, {STR("i"), str_of(text)}, {STR("job"), STR("sim")}};
    return storage_series(life.fixture.storage, group, labels, 3, labels_hash(labels, 3), &err);
}

static uint32_t series_number(const struct labels *labels)
{
    uint64_t number = SERIES_COUNT;
    for (size_t i = 0; i < labels->count; i++) {
        if (str_eq(labels->items[i].name, STR("i")))
            (void)str_to_u64(labels->items[i].value, &number);
    }
    REQUIRE(number < SERIES_COUNT, "a series that was never made");
    return (uint32_t)number;
}

/* A histogram that its value decides. */
static struct histogram *histogram_of(double value, struct arena *arena)
{
    uint32_t count = 1 + (uint32_t)((uint64_t)value % 7);
    struct histogram *histogram = arena_alloc(arena, sizeof(*histogram));
    struct histogram_span *span = arena_alloc(arena, sizeof(*span));
    double *buckets = arena_alloc_array(arena, count, sizeof(*buckets));
    double total = 1;
    *span = (struct histogram_span){(int32_t)((uint64_t)value % 5), count};
    for (uint32_t i = 0; i < count; i++)
        total += buckets[i] = value + i;
    *histogram = (struct histogram){.schema = 3,
                                    .is_integer = true,
                                    .zero_threshold = 0.001,
                                    .zero_count = 1,
                                    .count = total,
                                    .sum = value,
                                    .positive_spans = span,
                                    .positive_span_count = 1,
                                    .positive = buckets,
                                    .positive_count = count};
    return histogram;
}

static bool is_shown(const struct model_sample *sample, double value, const struct histogram *shown)
{
    if (sample->is_histogram != (shown != NULL))
        return false;
    if (!shown)
        return sample->value == value;
    struct arena arena;
    arena_init(&arena, 0);
    struct histogram *wanted = histogram_of(sample->value, &arena);
    wanted->hint = shown->hint;
    bool same = histogram_same(wanted, shown);
    arena_deinit(&arena);
    return same;
}

/* Beside samples of the future the newest one is taken to be as far ahead as samples may be. */
#define AHEAD_MS (10 * 60 * 1000)

static bool may_miss(const struct model_sample *sample, int64_t from_ms, int64_t to_ms, bool exact)
{
    bool past = life.retention_ms > 0 && model.newest_ms != INT64_MIN &&
                sample->time_ms < model.newest_ms - life.retention_ms + AHEAD_MS;
    return sample->time_ms < from_ms || sample->time_ms > to_ms || past || life.lossy ||
           !(exact || sample->must);
}

static void check_series(struct cursor *cursor, uint32_t number, int64_t from_ms, int64_t to_ms,
                         bool exact)
{
    const struct model_series *wanted = model_sorted(number);
    struct sample_block block;
    struct err err = {0};
    size_t at = 0, count = wanted->samples.count;
    int64_t before = INT64_MIN;
    do {
        REQUIRE(cursor_next(cursor, &block, &err), "%s", err.text);
        for (size_t i = 0; i < block.count; i++) {
            int64_t time_ms = block.time_ms[i];
            const struct histogram *histogram = block.histogram ? block.histogram[i] : NULL;
            bool good = false;
            REQUIRE(time_ms > before && time_ms >= from_ms && time_ms <= to_ms, "order or range");
            before = time_ms;
            for (; at < count && wanted->samples.items[at].time_ms < time_ms; at++)
                REQUIRE(may_miss(&wanted->samples.items[at], from_ms, to_ms, exact),
                        "series %u lost time %" PRId64 " value %g", number,
                        wanted->samples.items[at].time_ms - T0, wanted->samples.items[at].value);
            for (; at < count && wanted->samples.items[at].time_ms == time_ms; at++)
                good = good || is_shown(&wanted->samples.items[at], block.value[i], histogram);
            REQUIRE(good, "series %u shows time %" PRId64 " value %g (histogram %d), never written",
                    number, time_ms - T0, histogram ? histogram->sum : block.value[i],
                    histogram != NULL);
        }
    } while (block.count);
    for (; at < count; at++)
        REQUIRE(may_miss(&wanted->samples.items[at], from_ms, to_ms, exact),
                "series %u lost time %" PRId64 " value %g at its end", number,
                wanted->samples.items[at].time_ms - T0, wanted->samples.items[at].value);
}

static void check_all(int64_t from_ms, int64_t to_ms, bool exact)
{
    struct selection *selection;
    struct err err = {0};
    bool seen[SERIES_COUNT] = {false};
    REQUIRE(storage_select(life.fixture.storage, NULL, 0, from_ms, to_ms, &selection, &err), "%s",
            err.text);
    struct cursor *cursor = cursor_new(selection);
    for (size_t i = 0; i < selection_count(selection); i++) {
        uint32_t number = series_number(selection_labels(selection, i));
        REQUIRE(!seen[number], "series %u is there twice", number);
        seen[number] = true;
        cursor_seek(cursor, i);
        check_series(cursor, number, from_ms, to_ms, exact);
    }
    for (uint32_t i = 0; i < SERIES_COUNT; i++) {
        for (size_t k = 0; !seen[i] && k < model.series[i].samples.count; k++)
            REQUIRE(may_miss(&model.series[i].samples.items[k], from_ms, to_ms, exact),
                    "series %u is not there, with time %" PRId64 " value %g", i,
                    model.series[i].samples.items[k].time_ms - T0,
                    model.series[i].samples.items[k].value);
    }
    cursor_free(cursor);
    selection_free(selection);
}

static void taken(uint32_t series, int64_t time_ms, double value, bool is_histogram, bool must)
{
    model_add(series, (struct model_sample){time_ms, value, is_histogram, must});
    report((struct message){.kind = MESSAGE_TAKEN,
                            .series = series,
                            .time_ms = time_ms,
                            .value = value,
                            .is_histogram = is_histogram});
    life.taken++;
}

/* What is there after the start has come from files: it stays. */
static void adopt_what_is_there(void)
{
    struct model before = model;
    struct selection *selection;
    struct sample_block block;
    struct err err = {0};
    memset(model.series, 0, sizeof(model.series));
    report((struct message){.kind = MESSAGE_OPENED});
    REQUIRE(storage_select(life.fixture.storage, NULL, 0, INT64_MIN, INT64_MAX, &selection, &err),
            "%s", err.text);
    struct cursor *cursor = cursor_new(selection);
    for (size_t i = 0; i < selection_count(selection); i++) {
        uint32_t number = series_number(selection_labels(selection, i));
        cursor_seek(cursor, i);
        do {
            REQUIRE(cursor_next(cursor, &block, &err), "%s", err.text);
            for (size_t k = 0; k < block.count; k++) {
                const struct histogram *shown = block.histogram ? block.histogram[k] : NULL;
                taken(number, block.time_ms[k], shown ? shown->sum : block.value[k], shown != NULL,
                      true);
            }
        } while (block.count);
    }
    cursor_free(cursor);
    selection_free(selection);
    /* Of a sample that another one of the same time hides either may be shown later. */
    for (uint32_t i = 0; i < SERIES_COUNT; i++) {
        VEC_EACH (sample, &before.series[i].samples) {
            const struct model_series *now = model_sorted(i);
            bool hidden = false;
            for (size_t k = 0; k < now->samples.count && !hidden; k++)
                hidden = now->samples.items[k].time_ms == sample->time_ms &&
                         now->samples.items[k].value != sample->value;
            if (hidden)
                taken(i, sample->time_ms, sample->value, sample->is_histogram, true);
        }
        VEC_FREE(&before.series[i].samples);
    }
    report((struct message){.kind = MESSAGE_COMMITTED, .count = life.taken});
}

static void on_commit(void *ctx, const struct err *err)
{
    const uint64_t *count = ctx;
    if (err->code == ERR_NONE)
        report((struct message){.kind = MESSAGE_COMMITTED, .count = *count});
}

static void step_commit(void)
{
    if (life.commit_count == COUNT_OF(life.commits))
        return;
    life.commits[life.commit_count] = life.taken;
    storage_commit(life.fixture.storage, on_commit, &life.commits[life.commit_count++]);
}

static void release_held(size_t keep)
{
    while (life.held_count > keep)
        storage_series_release(life.fixture.storage, life.held[--life.held_count]);
}

/* The times of the rows of a batch: a scrape, a few rows, or a backfill. */
static uint64_t row_count(uint32_t *series_count)
{
    switch (random_below(12)) {
    case 0:
        *series_count = 1 + (uint32_t)random_below(2);
        return 1000 + random_below(3000);
    case 1:
    case 2:
    case 3:
        *series_count = 1 + (uint32_t)random_below(6);
        return 1 + random_below(30);
    default:
        *series_count = 1 + (uint32_t)random_below(24);
        return 1;
    }
}

static void fill_batch(struct batch *batch, const series_ref *refs, uint32_t count, uint64_t rows,
                       struct arena *arena)
{
    int64_t base = model.newest_ms == INT64_MIN ? T0 : model.newest_ms;
    int64_t step = rows > 100 ? 3000 : 15000;
    if (random_below(20) == 0 && life.off_ms == 0)
        base += (int64_t)random_below(5 * (uint64_t)HOUR);
    bool old = random_below(6) == 0 && life.off_ms <= 0; /* Retention would trust half a day. */
    base += life.off_ms;
    if (old)
        base -= (int64_t)random_below(12 * (uint64_t)HOUR);
    for (uint64_t row = 0; row < rows; row++) {
        base += 1 + (int64_t)random_below((uint64_t)step);
        for (uint32_t i = 0; i < count; i++) {
            int64_t time_ms = base - (random_below(50) == 0 ? 20000 : 0);
            double value = model.next_value;
            model.next_value += 1;
            bool is_histogram = refs[i] % 4 == 0 ? random_below(20) != 0 : random_below(200) == 0;
            if (is_histogram)
                batch_add_histogram(batch, refs[i], time_ms, histogram_of(value, arena));
            else
                batch_add(batch, refs[i], time_ms, value);
        }
    }
}

/* To the newest of what is to be appended, or what the clock showed before. */
static int64_t set_wall_clock(const struct batch *batch)
{
    int64_t now_ms = model.newest_ms == INT64_MIN ? T0 : model.newest_ms + life.off_ms;
    for (size_t i = 0; i < batch->samples.count; i++) {
        if (batch->samples.items[i].time_ms > now_ms)
            now_ms = batch->samples.items[i].time_ms;
    }
    clock_set_wall_ms(now_ms);
    return now_ms;
}

static void step_jump(void)
{
    if (life.jump_left > 0 && --life.jump_left == 0)
        life.off_ms = 0;
    if (!life.jumps || life.jump_left > 0 || random_below(40) != 0)
        return;
    life.jump_left = 1 + (int)random_below(JUMP_STEPS);
    life.off_ms = -(int64_t)random_below(2 * (uint64_t)HOUR);
    if (!life.jumped && life.number < 4 && random_below(2)) {
        life.jumped = true;
        life.off_ms = JUMP_MS;
    }
}

static void step_append(void)
{
    struct storage *storage = life.fixture.storage;
    struct storage_group *group = life.groups[random_below(GROUP_COUNT)];
    struct append_options options = {.now_ms = INT64_MAX, .all_or_nothing = random_below(8) == 0};
    struct append_result result;
    struct batch batch = {0};
    struct arena arena;
    struct err err = {0};
    uint32_t numbers[SERIES_COUNT], count, made = 0;
    series_ref refs[SERIES_COUNT];
    uint64_t rows = row_count(&count);
    if (random_below(4) == 0)
        life.first_series += (uint32_t)random_below(20);
    for (uint32_t i = 0; i < count; i++) {
        numbers[made] = (life.first_series + i) % SERIES_COUNT;
        refs[made] = make_series(group, numbers[made]);
        made += refs[made] != SERIES_REF_NONE;
    }
    arena_init(&arena, 0);
    if (life.off_ms > 0 && rows > 30)
        rows = 1;
    if (made)
        fill_batch(&batch, refs, made, rows, &arena);
    if (life.jumps)
        options.now_ms = set_wall_clock(&batch);
    if (made && storage_append(storage, group, &batch, &options, &result, &err)) {
        for (size_t i = 0; i < batch.samples.count; i++) {
            const struct batch_sample *sample = &batch.samples.items[i];
            bool is_histogram = sample->kind == SAMPLE_HISTOGRAM;
            if (sample->outcome == SAMPLE_STORED || sample->outcome == SAMPLE_LATE)
                taken(numbers[i % made], sample->time_ms,
                      is_histogram ? sample->histogram->sum : sample->value, is_histogram, false);
        }
    }
    for (uint32_t i = 0; i < made; i++) {
        if (life.held_count < HELD_MAX && random_below(8) == 0)
            life.held[life.held_count++] = refs[i];
        else
            storage_series_release(storage, refs[i]);
    }
    if (random_below(10) == 0)
        release_held(random_below(1 + life.held_count));
    arena_deinit(&arena);
    batch_deinit(&batch);
}

static void run_lanes(void)
{
    while (lane_now_run_one(&life.fixture.lane) || lane_now_run_one(&life.build_lane))
        ;
}

static void step_tick(void)
{
    static const int64_t jumps[] = {0,      30,         100,         1500,    6000,
                                    MINUTE, 6 * MINUTE, 40 * MINUTE, 2 * HOUR};
    life.ahead_ms += jumps[random_below(COUNT_OF(jumps))];
    storage_tick(life.fixture.storage, clock_mono_ms() + life.ahead_ms);
    uint64_t how = random_below(6);
    if (how == 0)
        (void)lane_now_run_one(&life.fixture.lane);
    else if (how == 1)
        (void)lane_now_run_one(&life.build_lane);
    else if (how == 2)
        lane_now_run(&life.fixture.lane);
    else
        run_lanes();
}

static void step_select(void)
{
    int64_t from = INT64_MIN, to = INT64_MAX;
    if (random_below(2) && model.newest_ms != INT64_MIN) {
        from = model.newest_ms - (int64_t)random_below(8 * (uint64_t)HOUR);
        to = from + (int64_t)random_below(4 * (uint64_t)HOUR);
    }
    check_all(from, to, true);
}

static void step_group(void)
{
    size_t at = random_below(GROUP_COUNT);
    storage_group_close(life.groups[at]);
    life.groups[at] = storage_group_open(life.fixture.storage, 1 + random_below(GROUP_COUNT + 2));
}

static void live(void)
{
    struct err err = {0};
    lane_now_init(&life.build_lane);
    life.fixture.options.submit_build = lane_now_submit;
    life.fixture.options.build_ctx = &life.build_lane;
    if (life.jumps && life.number < 4 && random_below(4) == 0) { /* A start with a wrong clock. */
        life.jumped = true;
        life.off_ms = JUMP_MS;
        life.jump_left = JUMP_STEPS;
    }
    if (life.jumps)
        clock_set_wall_ms((model.newest_ms == INT64_MIN ? T0 : model.newest_ms) + life.off_ms);
    REQUIRE(store_try_open(&life.fixture, &err), "%s", err.text);
    check_all(INT64_MIN, INT64_MAX, false);
    adopt_what_is_there();
    for (size_t i = 0; i < GROUP_COUNT; i++)
        life.groups[i] = storage_group_open(life.fixture.storage, 1 + i);
    calls_begin(500);
    for (int step = 0; step < 200; step++) {
        step_jump();
        if (step % 10 == 0)
            fail_per_1000 = random_below(8) == 0 ? 150 : 0;
        uint64_t what = random_below(20);
        if (what < 7)
            step_append();
        else if (what < 16)
            step_tick();
        else if (what < 18)
            step_commit();
        else if (what < 19)
            step_select();
        else
            step_group();
    }
    check_all(INT64_MIN, INT64_MAX, true);
    if (random_below(3) == 0) { /* A clean end. */
        fail_per_1000 = 0;
        step_commit();
        storage_stop(life.fixture.storage);
        run_lanes();
        release_held(0);
        for (size_t i = 0; i < GROUP_COUNT; i++)
            storage_group_close(life.groups[i]);
        store_close(&life.fixture);
    }
    syscall(SYS_exit_group, EXIT_KILLED);
}

/* --- the parent --- */

struct place {
    uint32_t series;
    size_t index;
};

static void follow(int fd)
{
    struct message message;
    VEC(struct place) places = {0};
    size_t committed = 0;
    for (ssize_t got; (got = read(fd, &message, sizeof(message))) == sizeof(message);) {
        if (message.kind == MESSAGE_OPENED) {
            for (int i = 0; i < SERIES_COUNT; i++)
                VEC_CLEAR(&model.series[i].samples);
        } else if (message.kind == MESSAGE_TAKEN) {
            struct place place = {message.series, model.series[message.series].samples.count};
            struct model_sample sample = {message.time_ms, message.value, message.is_histogram,
                                          false};
            VEC_PUSH(&places, place);
            model_add(message.series, sample);
        } else {
            for (; committed < message.count; committed++)
                model.series[places.items[committed].series]
                    .samples.items[places.items[committed].index]
                    .must = true;
        }
    }
    VEC_FREE(&places);
}

/* Another length from one life to the next: what is open keeps its own. */
static void choose_partition(void)
{
    static const int64_t hours[] = {2, 2, 2, 4, 8, 24};
    life.fixture.options.partition_ms = hours[random_below(COUNT_OF(hours))] * HOUR;
}

static bool run_life(uint64_t seed, int number)
{
    int ends[2], status;
    if (pipe(ends) != 0)
        return false;
    pid_t child = fork();
    if (child == 0) {
        close(ends[0]);
        random_state = seed * 1000 + (uint64_t)number;
        life.report_fd = ends[1];
        life.seed = seed;
        life.number = number;
        choose_partition();
        live();
    }
    close(ends[1]);
    follow(ends[0]);
    close(ends[0]);
    return waitpid(child, &status, 0) == child && WIFEXITED(status) &&
           WEXITSTATUS(status) == EXIT_KILLED;
}

/* head.mdb is gone or damaged: the start sets it aside and takes what the files and the log tell. */
static void lose_head(void)
{
    char path[128];
    snprintf(path, sizeof(path), "%s/narthex/head.mdb", life.fixture.dir);
    if (access(path, F_OK) != 0 || random_below(3) != 0)
        return;
    if (random_below(2)) {
        syscall(SYS_unlinkat, AT_FDCWD, path, 0);
        return;
    }
    store_poke(path, 0, "damaged in its first page", 25);
    store_poke(path, 4096, "damaged in its second page", 26);
}

static void choose_options(void)
{
    static const int64_t windows[] = {0, 0, 30 * MINUTE, 3 * HOUR, 10 * HOUR};
    struct storage_options *options = &life.fixture.options;
    storage_options_init(options);
    life.retention_ms = random_below(4) == 0 ? 16 * HOUR : 0;
    life.lossy = random_below(5) == 0;
    life.jumps = random_below(3) == 0;
    life.loses_head = random_below(3) == 0 && !getenv("TEST_KEEP_HEAD");
    options->retention_ms = life.retention_ms;
    options->retention_bytes = life.lossy ? 100000 + random_below(1000000) : 0;
    options->partition_ms = 2 * HOUR;
    options->slot_ms = random_below(2) ? 30 * MINUTE : 2 * MINUTE;
    options->out_of_order_ms = windows[random_below(COUNT_OF(windows))];
    options->spill_min = random_below(6);
    options->build_delay_ms = random_below(3) == 0 ? INT64_MAX / 4 : 0;
}

static bool run_seed(uint64_t seed)
{
    char folder[128];
    bool good = true;
    random_state = seed;
    calls_left = -1;
    fail_per_1000 = 0;
    model_clear();
    memset(&life, 0, sizeof(life));
    snprintf(life.fixture.dir, sizeof(life.fixture.dir), "%s/narthex-sim-XXXXXX",
             access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    if (!mkdtemp(life.fixture.dir))
        return false;
    lane_now_init(&life.fixture.lane);
    choose_options();
    for (int number = 1; number <= LIVES && good; number++) {
        good = run_life(seed, number);
        random_state = seed * 1000 + (uint64_t)number + 500;
        if (life.loses_head)
            lose_head();
    }
    snprintf(folder, sizeof(folder), "%s/narthex", life.fixture.dir);
    good = nothing_looks_damaged(folder, "head.mdb") && good;
    snprintf(folder, sizeof(folder), "%s/narthex/log", life.fixture.dir);
    good = nothing_looks_damaged(folder, "head.mdb") && good;
    store_remove_dir(&life.fixture);
    model_clear();
    return good;
}

/* What was acknowledged is there, whatever kind it is of and whichever way it went to its file. */
static void test_storage__keeps_all_kinds_of_samples(void **state)
{
    (void)state;
    const char *only = getenv("TEST_SEED"), *many = getenv("TEST_SEEDS");
    uint64_t first = 1, last = SEED_COUNT, failed = 0;
    log_setup(only && !many ? LOG_INFO : (enum log_level)(LOG_ERROR + 1), LOG_LOGFMT);
    if (many)
        (void)str_to_u64(str_of(many), &last);
    if (only) {
        (void)str_to_u64(str_of(only), &first);
        last = many ? first + last - 1 : first;
    }
    injections_begin();
    for (uint64_t seed = first; seed <= last; seed++) {
        if (run_seed(seed))
            continue;
        fprintf(stderr, "TEST_SEED=%" PRIu64 "\n", seed);
        if (++failed == 8)
            break;
    }
    assert_int_equal(failed, 0);
    if (last - first + 1 >= 30)
        injections_check();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_storage__keeps_all_kinds_of_samples),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
