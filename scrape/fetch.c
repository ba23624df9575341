/* fetch: one scrape, from the request to its samples in storage.
 *
 *     fetch_start -> on_head -> on_bytes -> take_slices ... -> on_done -> fetch_finish
 *                                  '-> budget spent: pause -> fetch_drain_waiting -> resume
 *
 * Bytes that a turn of the loop has no time for wait in `pending`; the transfer is paused
 * meanwhile, so they are never more than what one read brought. fetch_cancel lets go of the target
 * at once: what comes later only cleans up. */
#include "base/clock.h"
#include "base/compress.h"
#include "base/log.h"
#include "request.h"
#include "scraper.h"

/* Between two looks at the clock. Compressed bytes can grow a thousandfold. */
#define SLICE_PLAIN_BYTES  ((size_t)16 << 10)
#define SLICE_PACKED_BYTES ((size_t)1 << 10)
#define PENDING_BYTES_MAX  ((size_t)4 << 20)

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
    struct parse_protobuf protobuf;
    struct nhcb nhcb; /* Between the text parser and the sink, when classic_to_native. */
    struct parse_text_sink sink;
    struct inflate_stream *inflate; /* NULL: plain. */
    struct buf pending;
    size_t pending_at;
    uint64_t body_bytes;
    int64_t start_ns;
    bool paused, transferred, failed, over_body_limit;
    bool unreadable; /* It failed for what the answer says: not one for the failure log. */
    struct err err;  /* Valid when failed. Last: it is large, and left as it is until then. */
};

static bool sink_bytes(void *ctx, struct str bytes, struct err *err)
{
    struct fetch *fetch = ctx;
    uint64_t limit = fetch->options->limits.body_bytes;

    fetch->body_bytes += bytes.len;
    if (limit > 0 && fetch->body_bytes >= limit) {
        fetch->over_body_limit = true;
        return err_set(err, ERR_LIMIT, "body size limit exceeded");
    }
    if (fetch->format == PROTOBUF_DELIMITED ? parse_protobuf_feed(&fetch->protobuf, bytes, err)
                                            : parse_text_feed(&fetch->parser, bytes, err))
        return true;
    fetch->unreadable = true;
    return false;
}

/* Parses until the end or the turn's budget; at least one slice. *taken bytes are done. */
static bool take_slices(struct fetch *fetch, struct str bytes, size_t *taken, struct err *err)
{
    struct scraper *scraper = fetch->scraper;
    size_t slice_len = fetch->inflate ? SLICE_PACKED_BYTES : SLICE_PLAIN_BYTES;
    int64_t from_ns = clock_mono_ns();
    bool ok = true;

    *taken = 0;
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

static void fail(struct fetch *fetch, const struct err *err)
{
    if (fetch->failed)
        return;
    fetch->failed = true;
    fetch->err = *err;
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

static void spare_inflate(struct scraper *scraper, struct inflate_stream *inflate)
{
    if (inflate && scraper->spare_inflate_count < SPARE_INFLATE_MAX)
        scraper->spare_inflates[scraper->spare_inflate_count++] = inflate;
    else
        inflate_free(inflate);
}

static void fetch_free(struct fetch *fetch)
{
    list_remove(&fetch->node);
    list_remove(&fetch->wait_node);
    parse_text_deinit(&fetch->parser);
    parse_protobuf_deinit(&fetch->protobuf);
    nhcb_deinit(&fetch->nhcb);
    append_deinit(&fetch->append);
    spare_inflate(fetch->scraper, fetch->inflate);
    buf_deinit(&fetch->pending);
    config_unref(fetch->config);
    struct scraper *scraper = fetch->scraper;
    mem_free(fetch);
    if (scraper->stopping && list_empty(&scraper->fetches))
        schedule_tell_stopped(scraper);
}

static bool parse_end(struct fetch *fetch, struct err *err)
{
    if (fetch->format == PROTOBUF_DELIMITED)
        return parse_protobuf_end(&fetch->protobuf, err);
    return parse_text_end(&fetch->parser, err) &&
           (!fetch->parser.uncached || nhcb_end(&fetch->nhcb, err));
}

/* What is right only when all bytes are there. */
static void check_complete(struct fetch *fetch)
{
    struct err err;

    if (fetch->failed)
        return;
    if (fetch->inflate && !inflate_finish(fetch->inflate, &err)) {
        fail(fetch, &err);
        return;
    }
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

static void fetch_finish(struct fetch *fetch)
{
    struct scraper *scraper = fetch->scraper;
    struct target *target = fetch->target;

    if (target) {
        check_complete(fetch);
        count_end(fetch);
        struct append_summary summary = {
            .ok = !fetch->failed,
            .duration_seconds = (double)(clock_mono_ns() - fetch->start_ns) / 1e9,
            .body_bytes = fetch->over_body_limit                ? -1
                          : fetch->failed && !fetch->unreadable ? 0
                                                                : (int64_t)fetch->body_bytes,
        };
        target->fetch = NULL;
        target->health = summary.ok ? TARGET_UP : TARGET_DOWN;
        target->last_duration_seconds = summary.duration_seconds;
        target->last_scrape_ms = fetch->append.time_ms;
        target_set_error(target, summary.ok ? NULL : fetch->err.text);
        if (!summary.ok)
            LOG_D("Scrape failed", "scrape_pool", target->pool->name, "target", target->url, "err",
                  fetch->err.text);
        if (!summary.ok && !fetch->unreadable)
            failure_logs_write(&fetch->scraper->failure_logs, fetch->options, target->url,
                               fetch->err.text);
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

    fetch->format = format;
    if (format == PROTOBUF_DELIMITED) {
        parse_protobuf_deinit(&fetch->protobuf);
        parse_protobuf_init(&fetch->protobuf, &target->cache, &fetch->sink, kept, &options);
    } else {
        parse_text_set_format(&fetch->parser, format);
    }
    if (format != PROTOBUF_DELIMITED && switches.classic_to_native) {
        nhcb_deinit(&fetch->nhcb);
        nhcb_init(&fetch->nhcb, &fetch->sink, &target->cache, kept, switches.always_classic);
        fetch->parser.sink = &fetch->nhcb.sink;
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
    if (!request_check_head(head, fetch->options->fallback_scrape_protocol, &format, err)) {
        fetch->unreadable = head->status == 200;
        return false;
    }
    set_format(fetch, format);
    if (str_eq_nocase(head->content_encoding, STR("gzip")) && !fetch->inflate)
        fetch->inflate = take_inflate(fetch->scraper);
    return true;
}

static void wait_for_turn(struct fetch *fetch);

static bool on_bytes(void *ctx, struct str bytes, struct err *err)
{
    struct fetch *fetch = ctx;
    size_t taken = 0;

    if (!fetch->target || fetch->failed)
        return err_set(err, ERR_CANCELED, "canceled");
    if (bytes.len == 0)
        return true;
    bool queued = list_linked(&fetch->wait_node);
    if (!queued && !take_slices(fetch, bytes, &taken, err)) {
        fail(fetch, err);
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
    if (err->code != ERR_NONE)
        fail(fetch, err);
    if (list_linked(&fetch->wait_node) && !fetch->failed)
        return; /* fetch_drain_waiting ends it. */
    fetch_finish(fetch);
}

static void on_idle(uv_idle_t *idle)
{
    fetch_drain_waiting(CONTAINER_OF(idle, struct scraper, drain_idle));
}

static void wait_for_turn(struct fetch *fetch)
{
    list_push_back(&fetch->scraper->waiting, &fetch->wait_node);
    uv_idle_start(&fetch->scraper->drain_idle, on_idle);
    if (fetch->http && !fetch->paused) {
        fetch->paused = true;
        http_fetch_pause(fetch->http);
    }
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

void fetch_drain_waiting(struct scraper *scraper)
{
    while (!list_empty(&scraper->waiting) && scraper->turn_left_ns > 0) {
        struct list_node *node = list_pop_front(&scraper->waiting);
        struct fetch *fetch = CONTAINER_OF(node, struct fetch, wait_node);
        struct err err;
        size_t taken;
        struct str bytes = str_after(buf_str(&fetch->pending), fetch->pending_at);
        if (!take_slices(fetch, bytes, &taken, &err)) {
            fail(fetch, &err);
            if (fetch->http)
                http_fetch_cancel(fetch->http); /* on_done ends it. */
            else
                fetch_finish(fetch);
            continue;
        }
        fetch->pending_at += taken;
        if (taken < bytes.len)
            list_push_back(&scraper->waiting, &fetch->wait_node);
        else
            drained(fetch);
    }
    if (list_empty(&scraper->waiting))
        uv_idle_stop(&scraper->drain_idle);
}

static struct fetch *fetch_new(struct target *target, int64_t time_ms)
{
    struct fetch *fetch = mem_alloc(sizeof(*fetch));
    struct scraper *scraper = target->scraper;
    int64_t now_ns = clock_mono_ns();

    memset(fetch, 0, offsetof(struct fetch, err));
    fetch->scraper = scraper;
    fetch->target = target;
    fetch->config = config_ref(target->pool->config);
    fetch->options = target->pool->options;
    fetch->start_ns = now_ns;
    buf_init(&fetch->pending, PENDING_BYTES_MAX);
    append_init(&fetch->append, target, schedule_snap(target, time_ms));
    fetch->sink = append_sink;
    fetch->sink.ctx = &fetch->append;
    parse_text_init(&fetch->parser, &target->cache, &fetch->sink, PARSE_LINE_BYTES_MAX);
    list_push_back(&scraper->fetches, &fetch->node);
    target->fetch = fetch;
    if (target->last_start_ns > 0) {
        scraper->stats.interval_count++;
        scraper->stats.interval_seconds_sum += (double)(now_ns - target->last_start_ns) / 1e9;
    }
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
