/* A seeded simulation: random batches, commits, time jumps, seals, retention and selects against a
 * simple model, and a kill between any two system calls.
 *
 *     parent: the model  --fork-->  child: opens the directory, checks it against the model, works
 * on it, ^                            dies at a random system call (a write may be half done)
 *             '------ what the child did, over a pipe ------'
 *
 * The model: every sample that storage took *may* be there after the kill, one that a commit has
 * told of *must* be there with its exact value, and nothing else is. Write, sync, cut, rename and
 * unlink are this program's own (LMDB's too), so that they can fail or kill. A failing seed is
 * printed; TEST_SEED=<n> runs that one alone; TEST_SEEDS=<n> so many. TEST_COUNTS=1 prints what was done how often. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <inttypes.h>

#include "base/log.h"
#include "sim_calls.h"
#include "store_fixture.h"

#define T0           INT64_C(1700000000000)
#define HOUR         (INT64_C(60) * 60 * 1000)
#define LIVES        5 /* Children one after the other on one directory. */
#define SERIES_COUNT 14
#define GROUP_COUNT  4

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SEED_COUNT 80 /* Sanitizers take their time. */
#else
#define SEED_COUNT 300
#endif

/* --- the model --- */

struct model_sample {
    int64_t time_ms;
    double value;
    bool must;        /* Told by a commit, or seen after a start. */
    bool may_be_gone; /* A delete of it has been asked for. */
    bool gone;        /* ... and told to be in force. */
};
/* Of what is there when it is asked for. */
struct model_delete {
    uint32_t series; /* SERIES_COUNT: all. */
    int64_t from_ms, to_ms;
    size_t counts[SERIES_COUNT];
};
struct model_series {
    VEC(struct model_sample) samples; /* Ascending. */
};

struct model {
    struct model_series series[SERIES_COUNT];
    int64_t newest_ms;
    double next_value;
    VEC(struct model_delete) deletes;
};

static struct model model;

enum message_kind {
    MESSAGE_TAKEN,
    MESSAGE_COMMITTED,
    MESSAGE_OPENED,
    MESSAGE_DELETE, /* series, time_ms to count. */
    MESSAGE_DELETED /* count: its number in this life. */
};
struct message {
    uint32_t kind;
    uint32_t series;
    int64_t time_ms;
    double value;
    uint64_t count; /* Committed: so many of the taken ones. */
};

static void model_add(uint32_t series, int64_t time_ms, double value, bool must)
{
    struct model_sample sample = {.time_ms = time_ms, .value = value, .must = must};
    VEC_PUSH(&model.series[series].samples, sample);
    model.newest_ms = time_ms > model.newest_ms ? time_ms : model.newest_ms;
    model.next_value = value >= model.next_value ? value + 1 : model.next_value;
}

/* Before the delete is in force (`is_done` false), and from then on. */
static void model_mark(const struct model_delete *deleted, bool is_done)
{
    for (uint32_t i = 0; i < SERIES_COUNT; i++) {
        if (deleted->series != SERIES_COUNT && deleted->series != i)
            continue;
        for (size_t k = 0; k < deleted->counts[i]; k++) {
            struct model_sample *sample = &model.series[i].samples.items[k];
            if (sample->time_ms < deleted->from_ms || sample->time_ms > deleted->to_ms)
                continue;
            sample->may_be_gone = true;
            sample->gone = sample->gone || is_done;
        }
    }
}

static void model_delete(uint32_t series, int64_t from_ms, int64_t to_ms)
{
    struct model_delete deleted = {.series = series, .from_ms = from_ms, .to_ms = to_ms};
    for (uint32_t i = 0; i < SERIES_COUNT; i++)
        deleted.counts[i] = model.series[i].samples.count;
    model_mark(&deleted, false);
    VEC_PUSH(&model.deletes, deleted);
}

static void model_clear(void)
{
    for (int i = 0; i < SERIES_COUNT; i++)
        VEC_FREE(&model.series[i].samples);
    VEC_FREE(&model.deletes);
    model = (struct model){.newest_ms = INT64_MIN};
}

/* --- the child --- */

struct life {
    struct store_fixture fixture;
    struct storage_group *groups[GROUP_COUNT];
    int report_fd;
    uint64_t taken; /* Of this life, as in the messages. */
    int64_t ahead_ms;
    int64_t retention_ms;
    uint64_t seed;
    uint64_t commits[4096]; /* For each commit: taken when it was asked. */
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

static void series_labels(uint32_t series, char text[16], struct label out[3])
{
    snprintf(text, 16, "%u", series);
    out[0] = (struct label){LABEL_NAME, STR("sim")};
    out[1] = (struct label){STR("i"), str_of(text)};
    out[2] = (struct label){STR("job"), STR("sim")};
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

/* Older samples may have been dropped. With a partition of two hours the edge is where storage may
 * begin to drop. */
static int64_t kept_from(void)
{
    return life.retention_ms > 0 && model.newest_ms != INT64_MIN
               ? model.newest_ms - life.retention_ms
               : INT64_MIN;
}

/* One series as selected against the model. Exact: what may be there must be there. */
static void check_series(struct cursor *cursor, uint32_t number, int64_t from_ms, int64_t to_ms,
                         bool exact)
{
    const struct model_series *wanted = &model.series[number];
    struct sample_block block;
    struct err err = {0};
    size_t at = 0;
    do {
        REQUIRE(cursor_next(cursor, &block, &err), "%s", err.text);
        for (size_t i = 0; i < block.count; i++, at++) {
            for (;
                 at < wanted->samples.count && wanted->samples.items[at].time_ms < block.time_ms[i];
                 at++) {
                const struct model_sample *missed = &wanted->samples.items[at];
                REQUIRE(missed->time_ms < from_ms || missed->time_ms < kept_from() ||
                            missed->may_be_gone || !(exact || missed->must),
                        "series %u lost time %" PRId64 " value %g", number, missed->time_ms - T0,
                        missed->value);
            }
            REQUIRE(at < wanted->samples.count &&
                        wanted->samples.items[at].time_ms == block.time_ms[i] &&
                        wanted->samples.items[at].value == block.value[i],
                    "series %u shows time %" PRId64 " value %g, which was never written", number,
                    block.time_ms[i] - T0, block.value[i]);
            REQUIRE(!wanted->samples.items[at].gone, "series %u shows time %" PRId64 ", deleted",
                    number, block.time_ms[i] - T0);
            REQUIRE(block.time_ms[i] >= from_ms && block.time_ms[i] <= to_ms, "out of range");
        }
    } while (block.count);
    for (; at < wanted->samples.count; at++) {
        const struct model_sample *missed = &wanted->samples.items[at];
        REQUIRE(missed->time_ms < from_ms || missed->time_ms > to_ms || missed->may_be_gone ||
                    missed->time_ms < kept_from() || !(exact || missed->must),
                "series %u lost time %" PRId64 " value %g at its end", number, missed->time_ms - T0,
                missed->value);
    }
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
        for (size_t k = 0; !seen[i] && k < model.series[i].samples.count; k++) {
            const struct model_sample *missed = &model.series[i].samples.items[k];
            REQUIRE(missed->time_ms < from_ms || missed->time_ms > to_ms || missed->may_be_gone ||
                        missed->time_ms < kept_from() || !(exact || missed->must),
                    "series %u is not there, with time %" PRId64 " value %g", i,
                    missed->time_ms - T0, missed->value);
        }
    }
    cursor_free(cursor);
    selection_free(selection);
}

/* What is there after the start is what must be there from now on: it has come from files. */
static void adopt_what_is_there(void)
{
    struct model before = model;
    struct selection *selection;
    struct sample_block block;
    struct err err = {0};
    memset(model.series, 0, sizeof(model.series));
    VEC_CLEAR(&model.deletes);
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
                model_add(number, block.time_ms[k], block.value[k], true);
                report((struct message){.kind = MESSAGE_TAKEN,
                                        .series = number,
                                        .time_ms = block.time_ms[k],
                                        .value = block.value[k]});
                life.taken++;
            }
        } while (block.count);
    }
    report((struct message){.kind = MESSAGE_COMMITTED, .count = life.taken});
    cursor_free(cursor);
    selection_free(selection);
    for (int i = 0; i < SERIES_COUNT; i++)
        VEC_FREE(&before.series[i].samples);
}

static void on_commit(void *ctx, const struct err *err)
{
    const uint64_t *taken = ctx;
    if (err->code == ERR_NONE)
        report((struct message){.kind = MESSAGE_COMMITTED, .count = *taken});
}

static void step_commit(void)
{
    if (life.commit_count == COUNT_OF(life.commits))
        return;
    life.commits[life.commit_count] = life.taken;
    storage_commit(life.fixture.storage, on_commit, &life.commits[life.commit_count++]);
}

static void on_deleted(void *ctx, const struct err *err)
{
    size_t number = (size_t)(uintptr_t)ctx;
    if (err->code != ERR_NONE)
        return; /* It may be in force after the next start. */
    model_mark(&model.deletes.items[number], true);
    report((struct message){.kind = MESSAGE_DELETED, .count = number});
}

/* Only what is too old to be written again, so that the model's order stays. */
static void step_delete(void)
{
    struct matchers set = {.items = mem_zalloc(sizeof(struct matcher)), .count = 1};
    struct err err = {0};
    uint32_t series = (uint32_t)random_below(SERIES_COUNT + 2);
    int64_t newest = INT64_MIN, from, to;
    char text[16];
    for (uint32_t i = 0; i < SERIES_COUNT; i++) {
        const struct model_series *one = &model.series[i];
        if (one->samples.count && one->samples.items[one->samples.count - 1].time_ms > newest)
            newest = one->samples.items[one->samples.count - 1].time_ms;
    }
    series = series < SERIES_COUNT ? series : SERIES_COUNT;
    snprintf(text, sizeof(text), "%u", series);
    REQUIRE(matcher_init(&set.items[0], MATCH_EQUAL, series < SERIES_COUNT ? STR("i") : LABEL_NAME,
                         series < SERIES_COUNT ? str_of(text) : STR("sim"), &err),
            "%s", err.text);
    if (newest != INT64_MIN) {
        to = newest - HOUR - 1 - (int64_t)random_below(4 * (uint64_t)HOUR);
        from = random_below(4) ? to - (int64_t)random_below(3 * (uint64_t)HOUR) : -T0;
        report((struct message){
            .kind = MESSAGE_DELETE, .series = series, .time_ms = from, .count = (uint64_t)to});
        model_delete(series, from, to);
        REQUIRE(storage_delete(life.fixture.storage, &set, 1, from, to, on_deleted,
                               (void *)(uintptr_t)(model.deletes.count - 1), &err),
                "%s", err.text);
    }
    matchers_deinit(&set);
}

static void on_clean(void *ctx, const struct err *err)
{
    (void)ctx, (void)err;
}

static void step_append(void)
{
    struct storage *storage = life.fixture.storage;
    struct storage_group *group = life.groups[random_below(GROUP_COUNT)];
    struct append_options options = {.now_ms = INT64_MAX};
    struct append_result result;
    struct batch batch = {0};
    struct err err = {0};
    uint32_t numbers[SERIES_COUNT];
    uint64_t rows = 1 + random_below(30);
    uint32_t first = (uint32_t)random_below(SERIES_COUNT), count = 1 + (uint32_t)random_below(6);
    int64_t base = model.newest_ms == INT64_MIN ? T0 : model.newest_ms;
    if (random_below(20) == 0)
        base += (int64_t)random_below(5 * (uint64_t)HOUR);
    series_ref refs[SERIES_COUNT];
    uint32_t made = 0;
    for (uint32_t i = 0; i < count; i++) {
        struct label labels[3];
        char text[16];
        numbers[made] = (first + i) % SERIES_COUNT;
        series_labels(numbers[made], text, labels);
        refs[made] = storage_series(storage, group, labels, 3, labels_hash(labels, 3), &err);
        made += refs[made] != SERIES_REF_NONE;
    }
    for (uint64_t row = 0; row < rows && made; row++) {
        base += 1 + (int64_t)random_below(15000);
        for (uint32_t i = 0; i < made; i++)
            batch_add(&batch, refs[i], base - (random_below(50) == 0 ? 20000 : 0),
                      model.next_value++);
    }
    if (made && storage_append(storage, group, &batch, &options, &result, &err)) {
        for (size_t i = 0; i < batch.samples.count; i++) {
            const struct batch_sample *sample = &batch.samples.items[i];
            uint32_t number = numbers[i % made];
            const struct model_series *series = &model.series[number];
            int64_t last = series->samples.count
                               ? series->samples.items[series->samples.count - 1].time_ms
                               : INT64_MIN;
            if (sample->outcome != SAMPLE_STORED) {
                REQUIRE(sample->time_ms <= last || sample->time_ms < model.newest_ms - HOUR,
                        "series %u refused time %" PRId64, number, sample->time_ms - T0);
                continue;
            }
            REQUIRE(sample->time_ms > last, "series %u took time %" PRId64 " behind its newest",
                    number, sample->time_ms - T0);
            model_add(number, sample->time_ms, sample->value, false);
            report((struct message){.kind = MESSAGE_TAKEN,
                                    .series = number,
                                    .time_ms = sample->time_ms,
                                    .value = sample->value});
            life.taken++;
        }
    }
    for (uint32_t i = 0; i < made; i++)
        storage_series_release(storage, refs[i]);
    batch_deinit(&batch);
}

static void step_tick(void)
{
    static const int64_t jumps[] = {0,       30, 100, 1500, 6000, 6 * 60 * 1000, 40 * 60 * 1000,
                                    2 * HOUR};
    life.ahead_ms += jumps[random_below(COUNT_OF(jumps))];
    storage_tick(life.fixture.storage, clock_mono_ms() + life.ahead_ms);
    if (random_below(4))
        lane_now_run(&life.fixture.lane);
    else
        (void)lane_now_run_one(&life.fixture.lane);
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
    REQUIRE(store_try_open(&life.fixture, &err), "%s", err.text);
    check_all(INT64_MIN, INT64_MAX, false);
    adopt_what_is_there();
    for (size_t i = 0; i < GROUP_COUNT; i++)
        life.groups[i] = storage_group_open(life.fixture.storage, 1 + i);
    calls_begin(250);
    for (int step = 0; step < 150; step++) {
        if (step % 10 == 0)
            fail_per_1000 = random_below(6) == 0 ? 150 : 0;
        uint64_t what = random_below(20);
        if (what < 8)
            step_append();
        else if (what < 16)
            step_tick();
        else if (what < 18)
            step_commit();
        else if (what < 19)
            step_select();
        else if (random_below(2))
            step_group();
        else if (random_below(3))
            step_delete();
        else
            storage_clean_tombstones(life.fixture.storage, on_clean, NULL);
    }
    if (random_below(3) == 0) { /* A clean end. */
        fail_per_1000 = 0;
        step_commit();
        lane_now_run(&life.fixture.lane);
        for (size_t i = 0; i < GROUP_COUNT; i++)
            storage_group_close(life.groups[i]);
        store_close(&life.fixture);
    }
    syscall(SYS_exit_group, EXIT_KILLED);
}

/* --- the parent --- */

/* The taken ones in the order of the messages: which one a commit covers. */
struct taken {
    uint32_t series;
    size_t index;
};

static void follow(int fd)
{
    struct message message;
    VEC(struct taken) taken = {0};
    size_t committed = 0;
    for (ssize_t got; (got = read(fd, &message, sizeof(message))) == sizeof(message);) {
        if (message.kind == MESSAGE_OPENED) {
            for (int i = 0; i < SERIES_COUNT; i++)
                VEC_CLEAR(&model.series[i].samples);
            VEC_CLEAR(&model.deletes);
        } else if (message.kind == MESSAGE_DELETE) {
            model_delete(message.series, message.time_ms, (int64_t)message.count);
        } else if (message.kind == MESSAGE_DELETED) {
            model_mark(&model.deletes.items[message.count], true);
        } else if (message.kind == MESSAGE_TAKEN) {
            struct taken one = {message.series, model.series[message.series].samples.count};
            VEC_PUSH(&taken, one);
            model_add(message.series, message.time_ms, message.value, false);
        } else {
            for (; committed < message.count; committed++)
                model.series[taken.items[committed].series]
                    .samples.items[taken.items[committed].index]
                    .must = true;
        }
    }
    VEC_FREE(&taken);
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
        live();
    }
    close(ends[1]);
    follow(ends[0]);
    close(ends[0]);
    return waitpid(child, &status, 0) == child && WIFEXITED(status) &&
           WEXITSTATUS(status) == EXIT_KILLED;
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
    storage_options_init(&life.fixture.options);
    lane_now_init(&life.fixture.lane);
    life.retention_ms = random_below(3) == 0 ? 6 * HOUR : 0;
    life.fixture.options.retention_ms = life.retention_ms;
    life.fixture.options.partition_ms = 2 * HOUR;
    for (int number = 1; number <= LIVES && good; number++)
        good = run_life(seed, number);
    snprintf(folder, sizeof(folder), "%s/narthex", life.fixture.dir);
    good = nothing_looks_damaged(folder, "-") && good;
    snprintf(folder, sizeof(folder), "%s/narthex/log", life.fixture.dir);
    good = nothing_looks_damaged(folder, "-") && good;
    store_remove_dir(&life.fixture);
    model_clear();
    return good;
}

/* Whatever happens, what was acknowledged is there with its exact values, and nothing that was
 * never written. */
static void test_storage__keeps_what_it_acknowledged(void **state)
{
    (void)state;
    const char *only = getenv("TEST_SEED"), *many = getenv("TEST_SEEDS");
    uint64_t first = 1, last = SEED_COUNT;
    log_setup(only && !many ? LOG_INFO : (enum log_level)(LOG_ERROR + 1),
              LOG_LOGFMT); /* Failures are made by the thousand here. */
    if (only) {
        (void)str_to_u64(str_of(only), &first);
        last = first;
    }
    if (many)
        (void)str_to_u64(str_of(many), &last);
    if (only && many)
        last += first - 1;
    injections_begin();
    for (uint64_t seed = first; seed <= last; seed++) {
        if (!run_seed(seed))
            fail_msg("TEST_SEED=%" PRIu64, seed);
    }
    if (last - first + 1 >= 80)
        injections_check();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_storage__keeps_what_it_acknowledged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
