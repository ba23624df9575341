/* budget: see the header.
 *
 * The kernel's figure and not our own sum: the heap's gaps, the caches of scrapes and what queries hold count for the
 * kernel's limit like everything else. */
#include "budget.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/cgroup.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "store.h"

#define READ_MS         1000
#define QUERY_READ_MS   100
#define TRIM_MS         10000
#define TELL_MS         60000
#define SERIES_ESTIMATE 512 /* Beside its texts: entry, postings, cache of the scrape, first run. */

static const char *const REFUSAL_NAMES[STORAGE_REFUSAL_COUNT] = {
#define X(id, name) name,
    STORAGE_REFUSALS(X)
#undef X
};

void budget_init(struct budget *budget)
{
    *budget = (struct budget){0};
    atomic_init(&budget->selection_bytes_max, UINT64_MAX);
    map_init(&budget->job_of_pair);
}

void budget_deinit(struct budget *budget)
{
    map_deinit(&budget->job_of_pair);
    VEC_FREE(&budget->jobs);
    VEC_FREE(&budget->jobs_free);
}

/* --- memory --- */

static uint64_t memory_now(const struct storage *storage)
{
    struct resident resident;
    if (storage->options.memory_used)
        return storage->options.memory_used(storage->options.memory_ctx);
    (void)resident_read(&resident);
    return resident.anonymous_bytes;
}

/* Between the budget and the limit that it was made from lies a quarter of the budget: half of that is for queries
 * while series have used up the rest, so that one can see what happened. */
static void set_share(struct storage *storage)
{
    struct budget *budget = &storage->budget;
    uint64_t used = budget->used_bytes + budget->grown_bytes,
             bytes = storage->options.memory_budget;
    uint64_t edge = bytes + bytes / 8, room = used < edge ? edge - used : 0;
    atomic_store_explicit(&budget->selection_bytes_max,
                          room / (budget->query_count ? budget->query_count : 1),
                          memory_order_relaxed);
}

static void read_memory(struct storage *storage, int64_t now_mono_ms)
{
    struct budget *budget = &storage->budget;
    budget->used_bytes = memory_now(storage);
    budget->grown_bytes = 0;
    budget->read_mono_ms = now_mono_ms ? now_mono_ms : 1;
    if (storage->options.memory_budget)
        set_share(storage);
}

/* What the heap keeps for later counts for the limit: before anything is refused it goes back. */
static void trim(struct storage *storage, int64_t now_mono_ms)
{
    struct budget *budget = &storage->budget;
    if (budget->trimmed_mono_ms && now_mono_ms - budget->trimmed_mono_ms < TRIM_MS)
        return;
    budget->trimmed_mono_ms = now_mono_ms ? now_mono_ms : 1;
    mem_trim();
    read_memory(storage, now_mono_ms);
}

static void begin_or_end(struct storage *storage, int64_t now_mono_ms)
{
    struct budget *budget = &storage->budget;
    uint64_t bytes = storage->options.memory_budget;
    uint64_t edge = budget->refusing ? bytes - bytes / 16 : bytes;
    bool over = budget->used_bytes >= edge;
    if (over) {
        trim(storage, now_mono_ms);
        over = budget->used_bytes >= edge;
    }
    if (over == budget->refusing)
        return;
    budget->refusing = over;
    const char *used = log_fmt("%" PRIu64, budget->used_bytes), *limit = log_fmt("%" PRIu64, bytes);
    if (over)
        LOG_W("The memory budget is used up: new series are refused until memory is freed",
              "anonymous_bytes", used, "budget_bytes", limit, "series",
              log_fmt("%" PRIu64, storage->live));
    else
        LOG_I("There is memory again: new series are taken", "anonymous_bytes", used,
              "budget_bytes", limit, "refused",
              log_fmt("%" PRIu64, storage->stats.refused[STORAGE_REFUSED_MEMORY]));
}

void budget_tick(struct storage *storage, int64_t now_mono_ms)
{
    struct budget *budget = &storage->budget;
    if (!storage->options.memory_budget ||
        (budget->read_mono_ms && now_mono_ms - budget->read_mono_ms < READ_MS))
        return;
    read_memory(storage, now_mono_ms);
    begin_or_end(storage, now_mono_ms);
}

static bool memory_has_room(struct storage *storage, uint64_t series_bytes)
{
    struct budget *budget = &storage->budget;
    uint64_t bytes = storage->options.memory_budget;
    int64_t now = clock_mono_ms();
    if (!bytes)
        return true;
    budget_tick(storage, now);
    uint64_t used = budget->used_bytes + budget->grown_bytes;
    if (!budget->refusing && (budget->grown_bytes >= bytes / 64 || used >= bytes)) {
        read_memory(storage, now);
        begin_or_end(storage, now);
    }
    if (budget->refusing)
        return false;
    budget->grown_bytes += series_bytes + SERIES_ESTIMATE;
    return true;
}

uint64_t storage_memory_share(struct storage *storage, unsigned query_count)
{
    struct budget *budget = &storage->budget;
    int64_t now = clock_mono_ms();
    if (!storage->options.memory_budget)
        return UINT64_MAX;
    budget->query_count = query_count ? query_count : 1;
    if (!budget->read_mono_ms || now - budget->read_mono_ms >= QUERY_READ_MS) {
        read_memory(storage, now);
        begin_or_end(storage, now);
    }
    set_share(storage);
    return atomic_load_explicit(&budget->selection_bytes_max, memory_order_relaxed);
}

/* --- series of a job --- */

static bool job_equal(const void *ctx, const void *key, uint32_t value)
{
    const struct budget *budget = ctx;
    return budget->jobs.items[value].pair == *(const uint32_t *)key;
}

static uint32_t job_find(const struct budget *budget, uint32_t pair)
{
    return map_find(&budget->job_of_pair, hash64_mix(pair, 7), &pair, job_equal, budget);
}

static uint32_t job_new(struct budget *budget, uint32_t pair)
{
    uint32_t at = (uint32_t)budget->jobs.count;
    if (budget->jobs_free.count > 0)
        at = VEC_POP(&budget->jobs_free);
    else
        VEC_PUSH(&budget->jobs, (struct budget_job){0});
    budget->jobs.items[at] = (struct budget_job){.pair = pair};
    map_insert(&budget->job_of_pair, hash64_mix(pair, 7), at);
    return at;
}

void budget_note_live(struct storage *storage, const struct series *series, bool is_live)
{
    struct budget *budget = &storage->budget;
    if (!storage->options.job_series_max)
        return;
    uint32_t name = index_name_find(storage->index, LABEL_JOB);
    struct series_set set = series_pairs(storage, series);
    for (uint32_t i = 0; name != INDEX_NONE && i < set.count; i++) {
        uint32_t pair = series_pair_next(&set.pairs);
        if (index_pair_name(storage->index, pair) != name)
            continue;
        uint32_t at = job_find(budget, pair);
        if (at == MAP_NONE) {
            ENSURE(is_live);
            at = job_new(budget, pair);
        }
        struct budget_job *job = &budget->jobs.items[at];
        job->count += is_live ? 1 : UINT32_MAX;
        if (job->count == 0) {
            bool removed = map_remove(&budget->job_of_pair, hash64_mix(job->pair, 7), at);
            ENSURE(removed);
            VEC_PUSH(&budget->jobs_free, at);
        }
        return;
    }
}

static uint32_t job_series(const struct storage *storage, struct str job)
{
    uint32_t name = index_name_find(storage->index, LABEL_JOB);
    uint32_t pair = name == INDEX_NONE ? INDEX_NONE : index_pair_find(storage->index, name, job);
    uint32_t at = pair == INDEX_NONE ? MAP_NONE : job_find(&storage->budget, pair);
    return at == MAP_NONE ? 0 : storage->budget.jobs.items[at].count;
}

bool budget_take(struct storage *storage, const struct label *labels, size_t count, struct err *err)
{
    const struct storage_options *options = &storage->options;
    struct str job = {0};
    size_t bytes = 0;
    for (size_t i = 0; i < count; i++) {
        bytes += labels[i].name.len + labels[i].value.len;
        if (str_eq(labels[i].name, LABEL_JOB))
            job = labels[i].value;
    }
    if (options->series_max && storage->live >= options->series_max) {
        err_set(err, ERR_LIMIT, "series limit of %u is reached: new series are refused",
                options->series_max);
        budget_refused(storage, STORAGE_REFUSED_SERIES_LIMIT, err);
        return false;
    }
    if (options->job_series_max && job.ptr && job_series(storage, job) >= options->job_series_max) {
        err_set(err, ERR_LIMIT,
                "job \"" STR_FMT "\" has reached its series limit of %u: new series are refused",
                STR_ARG(str_first(job, 256)), options->job_series_max);
        budget_refused(storage, STORAGE_REFUSED_JOB_LIMIT, err);
        return false;
    }
    if (!memory_has_room(storage, bytes)) {
        err_set(err, ERR_LIMIT,
                "memory budget of %" PRIu64 " bytes is used up: new series are refused",
                options->memory_budget);
        budget_refused(storage, STORAGE_REFUSED_MEMORY, err);
        return false;
    }
    return true;
}

/* --- who it was --- */

static void keep_text(struct str text, char out[STORAGE_GUILTY_TEXT_MAX])
{
    struct str kept = str_first(text, STORAGE_GUILTY_TEXT_MAX - 1);
    while (kept.len > 0 && kept.len < text.len && !str_is_utf8(kept))
        kept.len--;
    memcpy(out, kept.ptr, kept.len);
    out[kept.len] = '\0';
}

/* The job with most series, and the label name with most values. Walks all pairs: seldom. */
static void find_guilty(const struct storage *storage, struct storage_guilty *out)
{
    const struct index *index = storage->index;
    uint32_t names = index_name_bound(index), job_name = index_name_find(index, LABEL_JOB);
    struct ref_vec pairs = {0};
    *out = (struct storage_guilty){.known = true};
    for (uint32_t name = 0; name < names; name++) {
        pairs.count = 0;
        index_name_pairs(index, name, &pairs);
        if (pairs.count > out->label_values) {
            out->label_values = pairs.count;
            keep_text(index_name_text(index, name), out->label);
        }
        for (size_t i = 0; name == job_name && i < pairs.count; i++) {
            uint32_t count = index_postings_count(index, pairs.items[i]);
            if (count <= out->job_series)
                continue;
            out->job_series = count;
            keep_text(index_pair_value(index, pairs.items[i]), out->job);
        }
    }
    VEC_FREE(&pairs);
}

void budget_refused(struct storage *storage, enum storage_refusal why, const struct err *err)
{
    struct budget *budget = &storage->budget;
    uint64_t total = ++storage->stats.refused[why];
    int64_t now = clock_mono_ms();
    storage->stats.series_refused++;
    if (budget->told_mono_ms[why] && now - budget->told_mono_ms[why] < TELL_MS)
        return;
    if (why != STORAGE_REFUSED_INVALID)
        find_guilty(storage, &budget->guilty);
    LOG_W("New series are refused", "reason", REFUSAL_NAMES[why], "err", err->text, "refused",
          log_fmt("%" PRIu64, total - budget->told_count[why]), "series",
          log_fmt("%" PRIu64, storage->live), "largest_job", budget->guilty.job, "its_series",
          log_fmt("%" PRIu64, budget->guilty.job_series), "largest_label", budget->guilty.label,
          "its_values", log_fmt("%" PRIu64, budget->guilty.label_values));
    budget->told_mono_ms[why] = now ? now : 1;
    budget->told_count[why] = total;
}
