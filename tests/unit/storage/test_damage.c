/* Damage: each kind of file, damaged in every way that a disk or a person can. Whatever is done to one of them: no crash, no
 * hang, no unbounded memory; what is shown was written; what lies in the other files is shown; and the store goes on,
 * today, after its files have been built into days, and after another start.
 *
 * Each case is a child. TEST_SEED=<n> runs one case alone; TEST_SEEDS=<n> so many; TEST_DAMAGE=<text> only files
 * whose names have it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <inttypes.h>
#include <signal.h>
#include <sys/resource.h>

#include "base/hash.h"
#include "base/log.h"
#include "damage_world.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SEED_COUNT 24
#define IS_SLOW    1
#else
#define SEED_COUNT 96
#define IS_SLOW    0
#endif
#define PAGE           4096
#define SECONDS_MAX    120
#define MEMORY_MAX     (UINT64_C(1) << 30)
#define NO_FILE        SIZE_MAX
#define RESIDENT_MAX   (600 * 1024) /* KiB */
#define STATUS_WRONG   3
#define STATUS_REFUSED 4

static uint64_t random_state;
static uint64_t random_below(uint64_t limit)
{
    return hash64_mix(++random_state, 99) % limit;
}

/* --- damage --- */

#define DAMAGES(X)                                                                                 \
    X(FLIP, "a flipped byte")                                                                      \
    X(FLIP_HEAD, "a flipped byte in a page's head")                                                \
    X(FLIP_BIT, "a flipped bit")                                                                   \
    X(CUT, "cut short")                                                                            \
    X(ZERO_PAGE, "a page of zeros")                                                                \
    X(SWAP_PAGES, "two pages swapped")                                                             \
    X(COPY_PAGE, "a page over another one")                                                        \
    X(FOREIGN_PAGE, "a page of another file")                                                      \
    X(FOREIGN_FILE, "another file's bytes")                                                        \
    X(RUBBISH, "a run of rubbish")                                                                 \
    X(RUBBISH_PAGE, "a page of rubbish")                                                           \
    X(GROW, "rubbish at the end")                                                                  \
    X(CUT_AND_GROW, "its end lost and rubbish there")
enum damage {
#define X(id, text) DAMAGE_##id,
    DAMAGES(X)
#undef X
        DAMAGE_COUNT
};
static const char *const damage_names[] = {
#define X(id, text) text,
    DAMAGES(X)
#undef X
};

struct damaged {
    char *bytes;
    size_t len;
    char text[320];
};

static void fill_random(char *to, size_t len)
{
    for (size_t i = 0; i < len; i++)
        to[i] = (char)random_below(256);
}

static size_t random_page(size_t len)
{
    return len < PAGE ? 0 : random_below(len / PAGE) * PAGE;
}

static size_t page_len(size_t len, size_t at)
{
    return len - at < PAGE ? len - at : PAGE;
}

static void flip(struct damaged *damaged, size_t at, uint8_t mask)
{
    if (at < damaged->len)
        damaged->bytes[at] = (char)((uint8_t)damaged->bytes[at] ^ mask);
}

static void swap_pages(struct damaged *damaged, bool both)
{
    char page[PAGE];
    size_t a = random_page(damaged->len), b = random_page(damaged->len);
    size_t len = page_len(damaged->len, a > b ? a : b);
    memcpy(page, damaged->bytes + a, len);
    memcpy(damaged->bytes + a, damaged->bytes + b, len);
    if (both)
        memcpy(damaged->bytes + b, page, len);
}

static void take_foreign_page(struct damaged *damaged, const struct world *world)
{
    const struct world_file *other = &world->files[random_below(world->count)];
    size_t to = random_page(damaged->len), from = random_page(other->len);
    size_t len = page_len(damaged->len, to), have = page_len(other->len, from);
    memcpy(damaged->bytes + to, other->bytes + from, len < have ? len : have);
}

static void resize(struct damaged *damaged, size_t len)
{
    damaged->bytes = mem_realloc(damaged->bytes, len + 1);
    if (len > damaged->len)
        fill_random(damaged->bytes + damaged->len, len - damaged->len);
    damaged->len = len;
}

static void damage_bytes(struct damaged *damaged, const struct world *world, enum damage how)
{
    size_t len = damaged->len, at = len ? random_below(len) : 0;
    const struct world_file *other;
    switch (how) {
    case DAMAGE_FLIP:
        flip(damaged, at, (uint8_t)(1 + random_below(255)));
        break;
    case DAMAGE_FLIP_HEAD: /* Of LMDB: its own and the offsets of the nodes. */
        flip(damaged, random_page(len) + random_below(random_below(2) ? 32 : 160),
             (uint8_t)(1 + random_below(255)));
        break;
    case DAMAGE_FLIP_BIT:
        flip(damaged, at, (uint8_t)(1u << random_below(8)));
        break;
    case DAMAGE_CUT:
        resize(damaged, random_below(4) == 0 ? random_page(len) : at);
        break;
    case DAMAGE_ZERO_PAGE:
        at = random_page(len);
        memset(damaged->bytes + at, 0, page_len(len, at));
        break;
    case DAMAGE_SWAP_PAGES:
    case DAMAGE_COPY_PAGE:
        swap_pages(damaged, how == DAMAGE_SWAP_PAGES);
        break;
    case DAMAGE_FOREIGN_PAGE:
        take_foreign_page(damaged, world);
        break;
    case DAMAGE_FOREIGN_FILE:
        other = &world->files[random_below(world->count)];
        resize(damaged, other->len);
        memcpy(damaged->bytes, other->bytes, other->len);
        break;
    case DAMAGE_RUBBISH:
        fill_random(damaged->bytes + at, page_len(len, at) < 64 ? page_len(len, at) : 64);
        break;
    case DAMAGE_RUBBISH_PAGE:
        at = random_page(len);
        fill_random(damaged->bytes + at, page_len(len, at));
        break;
    case DAMAGE_GROW:
        resize(damaged, len + 1 + random_below(3 * PAGE));
        break;
    default:
        resize(damaged, at);
        resize(damaged, len);
        break;
    }
}

/* --- one case, in a child --- */

struct verdict {
    struct world_seen before, after, built, again;
    char step[64];
};

struct plan {
    const struct world *world;
    struct verdict *verdict;
    const struct verdict *whole; /* Of a world without damage. */
    size_t file;
    uint64_t seed;
    char name[400];
    bool damages; /* Else the file is not there at all. */
    bool refused; /* The start ended in clear words. */
    bool running; /* The damage comes while the store has the file open. */
    struct damaged damaged;
};

static void end_wrong(struct plan *plan, const char *what)
{
    fprintf(stderr, "TEST_SEED=%" PRIu64 " %s: at %s: %s\n", plan->seed, plan->name,
            plan->verdict->step, what);
    _exit(STATUS_WRONG);
}

/* Of the damaged file, or of one that is made of it. */
static bool names_a_file(const char *text)
{
    return strstr(text, "mdb") || strstr(text, "/log/") || strstr(text, ".idx");
}

static void read_all(struct plan *plan, const struct world *world, struct store_fixture *f,
                     struct world_seen *seen, const char *step)
{
    snprintf(plan->verdict->step, sizeof(plan->verdict->step), "%s", step);
    world_read(world, f, seen);
    if (seen->wrong[0])
        end_wrong(plan, seen->wrong);
    if (seen->errors && plan->damages && !names_a_file(seen->text))
        end_wrong(plan, seen->text);
}

static void open_again(struct plan *plan, struct store_fixture *f, bool builds)
{
    struct err err = {0};
    snprintf(plan->verdict->step, sizeof(plan->verdict->step), "open");
    world_options(f, builds);
    if (!store_try_open(f, &err)) {
        if (!names_a_file(err.text))
            end_wrong(plan, err.text);
        if (!strstr(err.text, "format version"))
            end_wrong(plan, err.text);
        fprintf(stderr, "TEST_SEED=%" PRIu64 " %s: refused: %s\n", plan->seed, plan->name,
                err.text);
        _exit(STATUS_REFUSED);
    }
}

static void live(struct plan *plan, struct store_fixture *f)
{
    struct world *world = MEM_NEW(struct world);
    struct verdict *verdict = plan->verdict;
    int64_t ahead_ms = 0;
    *world = *plan->world;
    open_again(plan, f, false);
    if (plan->running) {
        if (random_below(2))
            read_all(plan, world, f, &verdict->before, "read what is whole");
        world_overwrite_file(f->dir, world->files[plan->file].name, plan->damaged.bytes,
                             plan->damaged.len);
    }
    read_all(plan, world, f, &verdict->before, "read");
    snprintf(verdict->step, sizeof(verdict->step), "append");
    store_tick(f, 0);
    for (uint32_t at = 2900; at < 2960; at++) {
        if (!world_scrape(world, f, 0, 47, at))
            end_wrong(plan, "samples are refused");
    }
    (void)world_scrape(world, f, 8, 9, 303); /* Late ones of a day. */
    (void)world_scrape(world, f, 8, 9, 2405);
    snprintf(verdict->step, sizeof(verdict->step), "seal");
    world_wait(f, &ahead_ms, 3);
    read_all(plan, world, f, &verdict->after, "read after a seal");
    store_close(f);
    open_again(plan, f, true);
    snprintf(verdict->step, sizeof(verdict->step), "build");
    for (uint32_t at = 5000; at < 5060; at++)
        (void)world_scrape(world, f, 0, 47, at);
    world_wait(f, &ahead_ms, 3);
    read_all(plan, world, f, &verdict->built, "read what is built");
    store_close(f);
    open_again(plan, f, false);
    read_all(plan, world, f, &verdict->again, "read after another start");
    store_close(f);
    for (uint32_t at = 2900; at < 2960; at++) {
        for (uint32_t n = 0; n < 48; n++) {
            if (!verdict->again.shown[n][at])
                end_wrong(plan, "what came after the damage is not there");
        }
    }
    mem_free(world);
}

static void child(struct plan *plan, struct store_fixture *f)
{
    const struct world_file *file = plan->file == NO_FILE ? NULL : &plan->world->files[plan->file];
    struct rlimit memory = {MEMORY_MAX, MEMORY_MAX};
    struct damaged *damaged = &plan->damaged;
    (void)signal(SIGBUS, SIG_DFL); /* Not cmocka's. */
    (void)signal(SIGSEGV, SIG_DFL);
    alarm(SECONDS_MAX * (1 + IS_SLOW));
    if (!IS_SLOW)
        (void)setrlimit(RLIMIT_DATA, &memory);
    world_lay_down(plan->world, f, plan->running ? NO_FILE : plan->file);
    if (plan->damages) {
        enum damage how = (enum damage)random_below(DAMAGE_COUNT);
        /* No disk does that. Ids of an index segment are only checked at a start. */
        bool is_foreign = how == DAMAGE_FOREIGN_FILE || how == DAMAGE_FOREIGN_PAGE ||
                          how == DAMAGE_COPY_PAGE || how == DAMAGE_SWAP_PAGES;
        if (plan->running && is_foreign)
            how = DAMAGE_RUBBISH_PAGE;
        resize(damaged, file->len);
        memcpy(damaged->bytes, file->bytes, file->len);
        damage_bytes(damaged, plan->world, how);
        snprintf(plan->name, sizeof(plan->name), "%s: %s", file->name, damage_names[how]);
        if (!plan->running)
            world_write_file(f->dir, file->name, damaged->bytes, damaged->len);
    }
    if (getenv("TEST_KEEP"))
        fprintf(stderr, "%s in %s\n", plan->name, f->dir);
    live(plan, f);
    mem_free(damaged->bytes);
    _exit(0);
}

/* --- the parent --- */

/* True when it came through (or was refused in the right words). */
static bool run_child(struct plan *plan)
{
    int status = 0;
    plan->refused = false;
    struct rusage usage;
    struct store_fixture f = {0};
    world_make_dir(&f);
    snprintf(plan->verdict->step, sizeof(plan->verdict->step), "begin");
    random_state = plan->seed * 1000003;
    pid_t pid = fork();
    if (pid == 0)
        child(plan, &f);
    if (pid < 0 || wait4(pid, &status, 0, &usage) != pid)
        return false;
    if (!getenv("TEST_KEEP"))
        store_remove_dir(&f);
    if (WIFEXITED(status) && (WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == STATUS_REFUSED)) {
        plan->refused = WEXITSTATUS(status) == STATUS_REFUSED;
        if (IS_SLOW || usage.ru_maxrss <= RESIDENT_MAX)
            return true;
        fprintf(stderr, "%ld KiB: ", usage.ru_maxrss);
    }
    fprintf(stderr, "TEST_SEED=%" PRIu64 " %s: status %x at %s\n", plan->seed,
            plan->world->files[plan->file].name, (unsigned)status, plan->verdict->step);
    return false;
}

/* What is shown without the file at all is shown with a damaged one. What was deleted may come back with neither. */
static bool has_the_rest(const struct plan *plan, const struct world_seen *base,
                         const struct world_seen *seen, bool may_fail, const char *when)
{
    if (!may_fail && seen->errors) {
        fprintf(stderr, "TEST_SEED=%" PRIu64 " %s: %s: %s\n", plan->seed,
                plan->world->files[plan->file].name, when, seen->text);
        return false;
    }
    for (uint32_t n = 0; n < WORLD_SERIES; n++) {
        for (uint32_t at = 0; at < WORLD_TIMES; at++) {
            bool is_asked = base->shown[n][at] && plan->whole->before.shown[n][at];
            if (!is_asked || seen->shown[n][at] ||
                (may_fail && (seen->failed[n] || seen->select_failed)))
                continue;
            fprintf(stderr, "TEST_SEED=%" PRIu64 " %s: %s: series %u lost step %u\n", plan->seed,
                    plan->world->files[plan->file].name, when, n, at);
            return false;
        }
    }
    return true;
}

/* A read may fail once: what it has found damaged is set aside. Bundles of an open partition stay until it is built. */
static bool has_all_the_rest(const struct plan *plan, const struct verdict *base)
{
    const struct verdict *seen = plan->verdict;
    if (plan->refused)
        return true;
    bool is_open = strstr(plan->world->files[plan->file].name, "o.mdb") ||
                   strstr(plan->world->files[plan->file].name, "open.mdb");
    return has_the_rest(plan, &base->before, &seen->before, true, "at first") &&
           has_the_rest(plan, &base->after, &seen->after, is_open, "after a seal") &&
           has_the_rest(plan, &base->built, &seen->built, false, "when built") &&
           has_the_rest(plan, &base->again, &seen->again, false, "at last");
}

struct bench {
    struct world *world;
    struct verdict *bases; /* By file: without it. */
    struct verdict *verdict, *whole;
};

static struct bench bench;

static int begin(void **state)
{
    (void)state;
    log_setup(getenv("TEST_SEED") ? LOG_INFO : (enum log_level)(LOG_ERROR + 1), LOG_LOGFMT);
    bench.world = world_new();
    size_t bytes = (bench.world->count + 2) * sizeof(struct verdict);
    bench.bases = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(bench.bases != MAP_FAILED);
    bench.verdict = bench.bases + bench.world->count;
    bench.whole = bench.verdict + 1;
    return 0;
}

static int end(void **state)
{
    (void)state;
    munmap(bench.bases, (bench.world->count + 2) * sizeof(struct verdict));
    world_free(bench.world);
    return 0;
}

static size_t shown_count(const struct world_seen *seen)
{
    size_t count = 0;
    for (size_t i = 0; i < sizeof(seen->shown); i++)
        count += (&seen->shown[0][0])[i];
    return count;
}

static size_t file_count(const char *part)
{
    size_t count = 0;
    for (size_t i = 0; i < bench.world->count; i++)
        count += strstr(bench.world->files[i].name, part) != NULL;
    return count;
}

/* The world has all kinds of files, and all of it is shown when nothing is damaged. */
static void test_world__is_shown_as_a_whole(void **state)
{
    (void)state;
    struct plan plan = {.world = bench.world, .verdict = bench.whole, .file = NO_FILE};
    for (size_t i = 0; i < bench.world->count && getenv("TEST_COUNTS"); i++)
        fprintf(stderr, "%s %zu\n", bench.world->files[i].name, bench.world->files[i].len);
    assert_true(file_count(".open.mdb") >= 1);
    assert_true(file_count(".ooo.mdb") >= 1);
    assert_true(file_count(".idx") >= 1);
    assert_true(file_count("log/") >= 2);
    assert_true(file_count("head.mdb") == 1);
    assert_true(file_count("T") >= 5); /* Days as well. */
    assert_true(run_child(&plan));
    struct verdict *verdict = bench.whole;
    assert_int_equal(verdict->before.errors, 0);
    assert_true(verdict->before.exemplars > 0);
    size_t written = 0;
    for (size_t i = 0; i < sizeof(bench.world->written); i++)
        written += (&bench.world->written[0][0])[i];
    if (getenv("TEST_COUNTS"))
        fprintf(stderr, "written %zu, shown %zu, again %zu\n", written,
                shown_count(&verdict->before), shown_count(&verdict->again));
    assert_true(shown_count(&verdict->before) > written * 9 / 10); /* Without what is deleted. */
    assert_true(shown_count(&verdict->again) > shown_count(&verdict->before));
}

static bool is_day(const char *name)
{
    return !strstr(name, "head.mdb") && !strstr(name, "o.mdb") && !strstr(name, "open.mdb");
}

static void run_seeds(bool running, uint64_t count)
{
    const char *only = getenv("TEST_SEED"), *many = getenv("TEST_SEEDS");
    const char *part = getenv("TEST_DAMAGE");
    uint64_t first = 1, last = count, failed = 0;
    struct world *world = bench.world;
    if (many)
        (void)str_to_u64(str_of(many), &last);
    if (only) {
        (void)str_to_u64(str_of(only), &first);
        last = many ? first + last - 1 : first;
    }
    for (uint64_t seed = first; seed <= last && failed < 20; seed++) {
        struct plan plan = {.world = world,
                            .verdict = bench.verdict,
                            .whole = bench.whole,
                            .file = (size_t)(seed % world->count),
                            .seed = seed,
                            .damages = true,
                            .running = running};
        struct verdict *base = &bench.bases[plan.file];
        /* Those that LMDB writes are checked at a start. */
        if (running && strstr(world->files[plan.file].name, ".mdb") &&
            !is_day(world->files[plan.file].name))
            continue;
        if (part && !strstr(world->files[plan.file].name, part))
            continue;
        memset(bench.verdict, 0, sizeof(*bench.verdict));
        failed += !(run_child(&plan) && has_all_the_rest(&plan, base));
    }
    assert_int_equal(failed, 0);
}

/* What a start finds. */
static void test_storage__bears_any_damage(void **state)
{
    (void)state;
    for (size_t i = 0; i < bench.world->count; i++) {
        struct plan plan = {.world = bench.world, .verdict = &bench.bases[i], .file = i};
        assert_true(run_child(&plan));
    }
    run_seeds(false, SEED_COUNT);
}

/* What comes while the store runs, into files that it has mapped. */
static void test_storage__bears_damage_while_it_runs(void **state)
{
    (void)state;
    run_seeds(true, SEED_COUNT / 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_world__is_shown_as_a_whole),
        cmocka_unit_test(test_storage__bears_any_damage),
        cmocka_unit_test(test_storage__bears_damage_while_it_runs),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
