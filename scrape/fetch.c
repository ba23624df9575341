/* fetch: one scrape, from the request to its samples in storage.
 *
 *     fetch_start -> on_head -> on_bytes -> take_slices ... -> on_done -> fetch_finish
 *                                  '-> budget spent: pause -> fetch_drain_waiting -> resume
 *
 * Bytes that a turn of the loop has no time for wait in `pending`; the transfer is paused
 * meanwhile, so they are never more than what one read brought. fetch_cancel lets go of the target
 * at once: what comes later only cleans up.
 *
 * While the storage is being opened, a fetch keeps all bytes as they come in `pending`, and is held
 * when it has ended, well or not. fetch_release_held puts them in a row: each is parsed to its end
 * before the next, when nobody else waits, so that there is one parser and one inflater at work. */
#include "base/clock.h"
#include "base/compress.h"
#include "base/log.h"
#include "request.h"
#include "scraper.h"

/* Between two looks at the clock. Compressed bytes can grow a thousandfold. */
#define SLICE_PLAIN_BYTES  ((size_t)16 << 10)
#define SLICE_PACKED_BYTES ((size_t)1 << 10)
/* What comes while the turn's budget is spent is parsed nevertheless as far as this: to put it aside costs more than lines
 * that are known. The answers of a whole step come in one turn, and after other rules none of their lines is known. */
#define TURN_DEBT_NS      (4 * 1000 * 1000)
#define COUNTED_BYTES_MAX ((uint64_t)256 << 20) /* Of a bad body: no bomb is worth more. */
#define INTERVALS_MAX     64                    /* Different ones that figures are kept of. */
#define PENDING_BYTES_MAX ((size_t)4 << 20)
#define HELD_BYTES_MAX    ((size_t)64 << 20) /* Of all fetches together. */

struct fetch {
    struct list_node node;      /* scraper->fetches */
    struct list_node wait_node; /* scraper->waiting */
    struct scraper *scraper;    /* Borrowed. */
    struct target *target;      /* Borrowed; NULL once cancelled. */
    struct config *config;      /* Reference: options live in it. */
    const struct config_scrape *options;
    struct http_fetch *http; /* NULL before and after the transfer. */
    struct append append;
    enum text_format format; /* Which parser it is: */
    struct parse_text parser;
    struct parse_protobuf *protobuf; /* Large, both: only when they are needed. */
    struct nhcb *nhcb; /* Between the text parser and the sink, when classic_to_native. */
    struct parse_text_sink sink;
    bool packed;
    struct inflate_stream *inflate; /* From the first packed bytes on. */
    struct buf pending;
    size_t held_bytes; /* Its part of the scraper's. */
    size_t pending_at;
    uint64_t body_bytes;
    int64_t start_ns, end_ns; /* 0: not held, it ends when it is finished. */
    bool paused, transferred, failed, over_body_limit;
    bool unreadable; /* It failed for what the answer says: not one for the failure log. */
    bool counting;   /* ... and the rest of the body is read for its length and thrown away. */
    bool skipped;    /* No room to hold it: it never was. */
    char *error;     /* Owned; NULL unless failed. */
};

static void fail(struct fetch *fetch, const struct err *err)
{
    if (fetch->failed)
        return;
    fetch->failed = true;
    fetch->error = str_dup(str_of(err->text));
}

/* Of an answer that came and cannot be used: the connection stays, and the report has its whole length. */
static void fail_and_count(struct fetch *fetch, struct err *err)
{
    fail(fetch, err);
    fetch->unreadable = fetch->counting = true;
    *err = (struct err){0}; /* The transfer goes on. */
}

/* What all of the body says goes before what a part of it said. */
static void fail_again(struct fetch *fetch, const struct err *err)
{
    mem_free(fetch->error);
    fetch->error = str_dup(str_of(err->text));
}

/* That the transfer failed goes before what its first part said. */
static void fail_transfer(struct fetch *fetch, const struct err *err)
{
    if (fetch->counting) {
        mem_free(fetch->error);
        fetch->error = NULL;
        fetch->failed = fetch->unreadable = fetch->counting = false;
    }
    fail(fetch, err);
}

static bool sink_bytes(void *ctx, struct str bytes, struct err *err)
{
    struct fetch *fetch = ctx;
    uint64_t limit = fetch->options->limits.body_bytes;

    fetch->body_bytes += bytes.len;
    if (limit > 0 && fetch->body_bytes >= limit) {
        fetch->over_body_limit = true;
        return err_set(err, ERR_LIMIT, "body size limit exceeded");
    }
    if (fetch->counting && fetch->body_bytes > COUNTED_BYTES_MAX) {
        fetch->counting = false;
        return err_set(err, ERR_LIMIT, "enough has been counted");
    }
    if (fetch->counting)
        return true;
    if (!(fetch->format == PROTOBUF_DELIMITED ? parse_protobuf_feed(fetch->protobuf, bytes, err)
                                              : parse_text_feed(&fetch->parser, bytes, err)))
        fail_and_count(fetch, err);
    return true;
}

/* Tens of kilobytes that are dear to set up. */
static struct inflate_stream *take_inflate(struct scraper *scraper)
{
    if (scraper->spare_inflate_count == 0)
        return inflate_new(DEFLATE_GZIP);
    struct inflate_stream *inflate = scraper->spare_inflates[--scraper->spare_inflate_count];
    inflate_restart(inflate);
    return inflate;
}

/* Parses until the end or the turn's budget; at least one slice. *taken bytes are done. */
static bool take_slices(struct fetch *fetch, struct str bytes, size_t *taken, struct err *err)
{
    struct scraper *scraper = fetch->scraper;
    size_t slice_len = fetch->packed ? SLICE_PACKED_BYTES : SLICE_PLAIN_BYTES;
    int64_t from_ns = clock_mono_ns();
    bool ok = true;

    *taken = 0;
    if (fetch->packed && !fetch->inflate)
        fetch->inflate = take_inflate(scraper);
    do {
        struct str slice = str_first(str_after(bytes, *taken), slice_len);
        ok = fetch->inflate ? inflate_feed(fetch->inflate, slice, sink_bytes, fetch, err)
                            : sink_bytes(fetch, slice, err);
        *taken += slice.len;
        int64_t now_ns = clock_mono_ns();
        scraper->turn_left_ns -= now_ns - from_ns;
        from_ns = now_ns;
    } while (ok && *taken < bytes.len && scraper->turn_left_ns > 0);
    return ok;
}

static void spare_inflate(struct scraper *scraper, struct inflate_stream *inflate)
{
    if (inflate && scraper->spare_inflate_count < SPARE_INFLATE_MAX)
        scraper->spare_inflates[scraper->spare_inflate_count++] = inflate;
    else
        inflate_free(inflate);
}

static void drop_parsers(struct fetch *fetch)
{
    if (fetch->protobuf)
        parse_protobuf_deinit(fetch->protobuf);
    mem_free(fetch->protobuf);
    fetch->protobuf = NULL;
    if (fetch->nhcb)
        nhcb_deinit(fetch->nhcb);
    mem_free(fetch->nhcb);
    fetch->nhcb = NULL;
}

static void fetch_free(struct fetch *fetch)
{
    list_remove(&fetch->node);
    list_remove(&fetch->wait_node);
    parse_text_deinit(&fetch->parser);
    drop_parsers(fetch);
    append_deinit(&fetch->append);
    spare_inflate(fetch->scraper, fetch->inflate);
    buf_deinit(&fetch->pending);
    mem_free(fetch->error);
    config_unref(fetch->config);
    struct scraper *scraper = fetch->scraper;
    scraper->held_bytes -= fetch->held_bytes;
    mem_free(fetch);
    if (scraper->stopping && list_empty(&scraper->fetches))
        schedule_tell_stopped(scraper);
}

static bool parse_end(struct fetch *fetch, struct err *err)
{
    if (fetch->format == PROTOBUF_DELIMITED)
        return parse_protobuf_end(fetch->protobuf, err);
    return parse_text_end(&fetch->parser, err) && (!fetch->nhcb || nhcb_end(fetch->nhcb, err));
}

/* What is right only when all bytes are there. */
static void check_complete(struct fetch *fetch)
{
    struct err err;

    if (fetch->failed && !fetch->counting)
        return;
    if (fetch->packed && !fetch->inflate)
        fetch->inflate = take_inflate(fetch->scraper);
    if (fetch->packed && !inflate_finish(fetch->inflate, &err)) {
        fail_transfer(fetch, &err);
        return;
    }
    if (fetch->failed && fetch->format == PROTOBUF_DELIMITED && fetch->protobuf &&
        parse_protobuf_was_cut(fetch->protobuf, fetch->body_bytes, &err))
        fail_again(fetch, &err);
    if (fetch->failed)
        return;
    fetch->unreadable = true;
    if (!parse_end(fetch, &err)) {
        fail(fetch, &err);
        return;
    }
    if (fetch->append.limit_exceeded)
        (void)err_set(&err, ERR_LIMIT, "sample limit exceeded");
    else if (fetch->append.bucket_limit_exceeded)
        (void)err_set(&err, ERR_LIMIT, "histogram bucket limit exceeded");
    else
        return;
    fail(fetch, &err);
}

static void count_end(struct fetch *fetch)
{
    struct scraper_stats *stats = &fetch->scraper->stats;

    stats->scrape_seconds += (double)(clock_mono_ns() - fetch->start_ns) / 1e9;
    stats->scrapes++;
    stats->scrape_failures += fetch->failed;
    stats->exceeded_sample_limit += fetch->append.limit_exceeded;
    stats->exceeded_body_size_limit += fetch->over_body_limit;
    stats->exceeded_label_limits += fetch->append.label_limit_exceeded;
    stats->exceeded_bucket_limit += fetch->append.bucket_limit_exceeded;
}

/* Who has not answered for longer than this is not waited for. */
#define QUIET_AFTER_NS (20 * 1000 * 1000)

static void tell_quiet(struct scraper *scraper)
{
    const struct list_node *newest = list_last(&scraper->fetches);
    const struct fetch *fetch = newest ? CONTAINER_OF(newest, struct fetch, node) : NULL;

    if (scraper->on_quiet && (!fetch || clock_mono_ns() - fetch->start_ns > QUIET_AFTER_NS))
        scraper->on_quiet(scraper->quiet_ctx);
}

/* --- without a storage --- */

/* False: there is no room for all that is held. */
static bool hold_count(struct fetch *fetch)
{
    struct scraper *scraper = fetch->scraper;
    size_t bytes = sizeof(*fetch) + fetch->pending.capacity;

    scraper->held_bytes += bytes - fetch->held_bytes;
    fetch->held_bytes = bytes;
    if (scraper->held_bytes <= HELD_BYTES_MAX && !fetch->pending.overflow)
        return true;
    if (!scraper->held_full)
        LOG_W("Scrapes are skipped until the storage is open: what is held takes too much memory");
    scraper->held_full = true;
    fetch->skipped = true;
    return false;
}

static bool hold_bytes(struct fetch *fetch, struct str bytes, struct err *err)
{
    buf_add_str(&fetch->pending, bytes);
    return hold_count(fetch) || err_set(err, ERR_LIMIT, "no room until the storage is open");
}

/* As if it had not been. */
static void forget(struct fetch *fetch)
{
    line_cache_abort(&fetch->target->cache);
    fetch->target->fetch = NULL;
    fetch->target = NULL;
    fetch_free(fetch);
}

/* All of it has come: what is kept is made as small as it can be. */
static void hold(struct fetch *fetch)
{
    struct arena *arena = &fetch->append.arena;

    fetch->end_ns = clock_mono_ns();
    fetch->transferred = true;
    arena_deinit(arena);
    arena_init(arena, 0);
    if (fetch->failed && !fetch->counting)
        buf_deinit(&fetch->pending);
    else
        buf_shrink(&fetch->pending);
    if (!hold_count(fetch))
        forget(fetch);
}

static void fetch_finish(struct fetch *fetch)
{
    struct scraper *scraper = fetch->scraper;
    struct target *target = fetch->target;

    if (target && !scraper->storage) {
        hold(fetch);
        return;
    }
    if (target) {
        check_complete(fetch);
        if (fetch->failed && !fetch->unreadable)
            fetch->append.lines = fetch->append.added = 0; /* As if nothing of it had been read. */
        if (fetch->failed)
            fetch->append.series_added = 0;
        count_end(fetch);
        int64_t end_ns = fetch->end_ns ? fetch->end_ns : clock_mono_ns();
        struct append_summary summary = {
            .ok = !fetch->failed,
            .duration_seconds = (double)(end_ns - fetch->start_ns) / 1e9,
            .body_bytes = fetch->over_body_limit                ? -1
                          : fetch->failed && !fetch->unreadable ? 0
                                                                : (int64_t)fetch->body_bytes,
        };
        target->fetch = NULL;
        target->health = summary.ok ? TARGET_UP : TARGET_DOWN;
        target->last_duration_seconds = summary.duration_seconds;
        target->last_scrape_ms = fetch->append.time_ms;
        target_set_error(target, fetch->error);
        if (!summary.ok)
            LOG_D("Scrape failed", "scrape_pool", target->pool->name, "target", target->url, "err",
                  fetch->error);
        if (!summary.ok && !fetch->unreadable)
            failure_logs_write(&fetch->scraper->failure_logs, fetch->options, target->url,
                               fetch->error);
        append_finish(&fetch->append, &summary);
    }
    fetch_free(fetch);
    if (target)
        tell_quiet(scraper);
}

/* The parser that the head and the target's switches ask for. What the cache knows holds for one
 * format: the other may refuse the same text. */
static void set_format(struct fetch *fetch, enum text_format format)
{
    struct target *target = fetch->target;
    struct target_switches switches = target->switches;
    struct parse_protobuf_options options = {switches.native, switches.always_classic,
                                             switches.classic_to_native};
    struct arena *kept = &fetch->append.kept;
    struct line_cache_ops ops;

    drop_parsers(fetch);
    fetch->format = format;
    if (format == PROTOBUF_DELIMITED) {
        fetch->protobuf = mem_alloc(sizeof(*fetch->protobuf));
        parse_protobuf_init(fetch->protobuf, &target->cache, &fetch->sink, kept, &options);
    } else {
        parse_text_set_format(&fetch->parser, format);
    }
    if (format != PROTOBUF_DELIMITED && switches.classic_to_native) {
        fetch->nhcb = mem_alloc(sizeof(*fetch->nhcb));
        nhcb_init(fetch->nhcb, &fetch->sink, &target->cache, kept, switches.always_classic);
        fetch->nhcb->is_openmetrics = format == TEXT_OPENMETRICS;
        fetch->parser.sink = &fetch->nhcb->sink;
        parse_text_set_uncached(&fetch->parser);
    }
    if (target->format == format)
        return;
    target->format = format;
    line_cache_invalidate(&target->cache, target_release_ops(target, &ops));
    line_cache_begin(&target->cache);
}

static bool on_head(void *ctx, const struct http_fetch_head *head, struct err *err)
{
    struct fetch *fetch = ctx;
    enum text_format format;

    if (!fetch->target)
        return err_set(err, ERR_CANCELED, "canceled");
    if (request_check_head(head, fetch->options->fallback_scrape_protocol, &format, err))
        set_format(fetch, format);
    else if (head->status == 200)
        fail_and_count(fetch, err);
    else
        return false;
    fetch->packed |= str_eq_nocase(head->content_encoding, STR("gzip"));
    return true;
}

static void wait_for_turn(struct fetch *fetch);

static bool on_bytes(void *ctx, struct str bytes, struct err *err)
{
    struct fetch *fetch = ctx;
    size_t taken = 0;

    if (!fetch->target || (fetch->failed && !fetch->counting))
        return err_set(err, ERR_CANCELED, "canceled");
    if (bytes.len == 0)
        return true;
    if (!fetch->scraper->storage)
        return hold_bytes(fetch, bytes, err);
    bool queued = list_linked(&fetch->wait_node);
    bool late = fetch->scraper->turn_left_ns < -TURN_DEBT_NS;
    if (!queued && !late && !take_slices(fetch, bytes, &taken, err)) {
        fail_transfer(fetch, err);
        return false;
    }
    if (taken == bytes.len)
        return true;
    buf_add_str(&fetch->pending, str_after(bytes, taken));
    if (fetch->pending.overflow)
        return err_set(err, ERR_LIMIT, "too many bytes at once");
    if (!queued)
        wait_for_turn(fetch);
    return true;
}

static void on_done(void *ctx, const struct err *err)
{
    struct fetch *fetch = ctx;

    fetch->http = NULL;
    fetch->transferred = true;
    if (fetch->skipped && fetch->target) {
        forget(fetch);
        return;
    }
    if (err->code != ERR_NONE)
        fail_transfer(fetch, err);
    if (list_linked(&fetch->wait_node) && (!fetch->failed || fetch->counting))
        return; /* fetch_drain_waiting ends it. */
    fetch_finish(fetch);
}

static void on_idle(uv_idle_t *idle)
{
    fetch_drain_waiting(CONTAINER_OF(idle, struct scraper, drain_idle));
}

static void wait_in(struct fetch *fetch, struct list *list)
{
    list_push_back(list, &fetch->wait_node);
    uv_idle_start(&fetch->scraper->drain_idle, on_idle);
    if (fetch->http && !fetch->paused) {
        fetch->paused = true;
        http_fetch_pause(fetch->http);
    }
}

static void wait_for_turn(struct fetch *fetch)
{
    wait_in(fetch, &fetch->scraper->waiting);
}

void fetch_release_held(struct scraper *scraper)
{
    LIST_EACH (node, &scraper->fetches) {
        struct fetch *fetch = CONTAINER_OF(node, struct fetch, node);
        if (fetch->target && !fetch->skipped && (fetch->transferred || fetch->pending.len > 0))
            wait_in(fetch, &scraper->released);
    }
}

static struct fetch *next_waiting(struct scraper *scraper)
{
    struct list_node *node = list_pop_front(&scraper->waiting);

    if (!node)
        node = list_pop_front(&scraper->released);
    return node ? CONTAINER_OF(node, struct fetch, wait_node) : NULL;
}

/* Its bytes are all parsed: on with the transfer, or the end. */
static void drained(struct fetch *fetch)
{
    fetch->pending_at = 0;
    buf_clear(&fetch->pending);
    if (fetch->transferred) {
        fetch_finish(fetch);
        return;
    }
    if (fetch->paused && fetch->http) {
        fetch->paused = false;
        http_fetch_resume(fetch->http);
    }
}

static void drain(struct fetch *fetch)
{
    struct err err;
    size_t taken = 0;
    struct str bytes = str_after(buf_str(&fetch->pending), fetch->pending_at);

    if (fetch->failed && !fetch->counting) { /* It was held. */
        fetch_finish(fetch);
        return;
    }
    if (bytes.len > 0 && !take_slices(fetch, bytes, &taken, &err)) {
        fail_transfer(fetch, &err);
        if (fetch->http)
            http_fetch_cancel(fetch->http); /* on_done ends it. */
        else
            fetch_finish(fetch);
        return;
    }
    fetch->pending_at += taken;
    if (taken < bytes.len)
        list_push_back(&fetch->scraper->waiting, &fetch->wait_node);
    else
        drained(fetch);
}

void fetch_drain_waiting(struct scraper *scraper)
{
    struct fetch *fetch;

    while (scraper->turn_left_ns > 0 && (fetch = next_waiting(scraper)) != NULL) {
        int64_t left_ns = scraper->turn_left_ns, from_ns = clock_mono_ns();
        drain(fetch);
        scraper->turn_left_ns = left_ns - (clock_mono_ns() - from_ns);
    }
    if (list_empty(&scraper->waiting) && list_empty(&scraper->released))
        uv_idle_stop(&scraper->drain_idle);
}

/* Lines that were known under other rules are not any more. */
static void cache_renew(struct target *target)
{
    struct line_cache_ops ops;

    if (target->rules_round == target->pool->rules_round)
        return;
    target->rules_round = target->pool->rules_round;
    line_cache_invalidate(&target->cache, target_release_ops(target, &ops));
}

static void note_interval(const struct target *target, double seconds)
{
    struct scraper *scraper = target->scraper;
    struct interval_length *found = NULL;

    VEC_EACH (each, &scraper->intervals)
        found = each->interval_ms == target->interval_ms ? each : found;
    if (!found && scraper->intervals.count < INTERVALS_MAX) {
        struct interval_length added = {.interval_ms = target->interval_ms};
        VEC_PUSH(&scraper->intervals, added);
        found = &scraper->intervals.items[scraper->intervals.count - 1];
    }
    if (found)
        summary_add(&found->length, seconds, clock_mono_ms());
}

static struct fetch *fetch_new(struct target *target, int64_t time_ms)
{
    struct fetch *fetch = MEM_NEW(struct fetch);
    struct scraper *scraper = target->scraper;
    int64_t now_ns = clock_mono_ns();

    cache_renew(target);
    fetch->scraper = scraper;
    fetch->target = target;
    fetch->config = config_ref(target->pool->config);
    fetch->options = target->pool->options;
    fetch->start_ns = now_ns;
    buf_init(&fetch->pending, scraper->storage ? PENDING_BYTES_MAX : HELD_BYTES_MAX);
    append_init(&fetch->append, target, schedule_snap(target, time_ms));
    fetch->sink = append_sink;
    fetch->sink.ctx = &fetch->append;
    parse_text_init(&fetch->parser, &target->cache, &fetch->sink, PARSE_LINE_BYTES_MAX);
    list_push_back(&scraper->fetches, &fetch->node);
    target->fetch = fetch;
    if (target->last_start_ns > 0)
        note_interval(target, (double)(now_ns - target->last_start_ns) / 1e9);
    target->last_start_ns = now_ns;
    return fetch;
}

void fetch_start(struct target *target, int64_t now_wall_ms)
{
    struct scraper *scraper = target->scraper;
    struct fetch *fetch = fetch_new(target, now_wall_ms);
    struct http_fetch_options options;
    struct err err;

    if (target->pool->forced_error) {
        (void)err_set_str(&err, ERR_LIMIT, str_of(target->pool->forced_error));
        fetch->unreadable = true;
        fail(fetch, &err);
        fetch_finish(fetch);
        return;
    }
    if (!request_build(&options, fetch->options, str_of(target->pool->request_lines),
                       target->timeout_ms, &fetch->append.arena, &err)) {
        (void)err_wrap(&err, "Get \"%s\"", target->url);
        fail(fetch, &err);
        fetch_finish(fetch);
        return;
    }
    options.url = str_of(target->url);
    options.dialer = target->pool->dialer;
    options.on_head = on_head;
    options.on_bytes = on_bytes;
    options.on_done = on_done;
    options.ctx = fetch;
    fetch->http = http_fetch(scraper->client, &options);
}

void fetch_cancel(struct target *target)
{
    struct fetch *fetch = target->fetch;

    if (!fetch)
        return;
    target->fetch = NULL;
    fetch->target = NULL;
    list_remove(&fetch->wait_node);
    line_cache_abort(&target->cache);
    if (fetch->http)
        http_fetch_cancel(fetch->http);
    else
        fetch_free(fetch);
}
