/* target: from what discovery says to what is scraped, and the life of a target. The order is
 * Prometheus': own labels before group labels before the job's defaults, then relabelling, then
 * checks, then the hidden labels go. */
#include <stdlib.h>

#include "base/clock.h"
#include "base/hash.h"
#include "model/duration.h"
#include "scraper.h"

static const struct str label_address = {"__address__", 11};
static const struct str label_scheme = {"__scheme__", 10};
static const struct str label_path = {"__metrics_path__", 16};
static const struct str label_interval = {"__scrape_interval__", 19};
static const struct str label_timeout = {"__scrape_timeout__", 18};
static const struct str label_native = {"__scrape_native_histograms__", 28};
static const struct str label_classic = {"__always_scrape_classic_histograms__", 36};
static const struct str label_convert = {"__convert_classic_histograms_to_nhcb__", 38};
static const struct str param_prefix = {"__param_", 8};

static struct str duration_text(struct arena *arena, int64_t ms)
{
    struct buf text;

    buf_init(&text, 64);
    duration_print(&text, ms);
    struct str copy = arena_str(arena, buf_str(&text));
    buf_deinit(&text);
    return copy;
}

static void set_default(struct labels_builder *builder, struct str name, struct str value)
{
    if (labels_builder_get(builder, name).len == 0)
        labels_builder_set(builder, name, value);
}

static struct str bool_text(bool value)
{
    return value ? STR("true") : STR("false");
}

static void discovered_load(struct labels_builder *builder, const struct config_scrape *options,
                            const struct target_group *group, size_t index, struct arena *arena)
{
    target_group_load(group, index, builder);
    set_default(builder, LABEL_JOB, options->job_name);
    set_default(builder, label_interval, duration_text(arena, options->interval_ms));
    set_default(builder, label_timeout, duration_text(arena, options->timeout_ms));
    set_default(builder, label_path, options->metrics_path);
    set_default(builder, label_scheme, options->scheme);
    set_default(builder, label_native, bool_text(options->native_histograms));
    set_default(builder, label_classic, bool_text(options->always_classic_histograms));
    set_default(builder, label_convert, bool_text(options->classic_to_native));
    for (size_t i = 0; i < options->param_count; i++) {
        const struct config_param *param = &options->params[i];
        if (param->values.count > 0)
            set_default(builder, arena_strf(arena, "__param_" STR_FMT, STR_ARG(param->name)),
                        param->values.items[0]);
    }
}

/* As Go escapes a URL's path. */
static void add_path(struct buf *url, struct str path)
{
    static const char hex[] = "0123456789ABCDEF";

    if (path.len > 0 && path.ptr[0] != '/')
        buf_add_char(url, '/');
    for (size_t i = 0; i < path.len; i++) {
        unsigned char c = (unsigned char)path.ptr[i];
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                     (c && strchr("-_.~$&+,/:;=@", c));
        if (plain) {
            buf_add_char(url, (char)c);
            continue;
        }
        buf_add_char(url, '%');
        buf_add_char(url, hex[c >> 4]);
        buf_add_char(url, hex[c & 15]);
    }
}

static int param_compare(const void *a, const void *b)
{
    return str_cmp(((const struct config_param *)a)->name, ((const struct config_param *)b)->name);
}

static void add_query_pair(struct buf *url, struct str name, struct str value, char *separator)
{
    buf_add_char(url, *separator);
    *separator = '&';
    buf_add_url_escaped(url, name);
    buf_add_char(url, '=');
    buf_add_url_escaped(url, value);
}

/* The job's params, the first value of each as the labels have it, and what labels add; sorted by
 * name. */
static void add_query(struct buf *url, const struct config_scrape *options,
                      const struct labels_builder *builder, struct arena *arena)
{
    VEC(struct config_param) params = {0};
    char separator = '?';

    for (size_t i = 0; i < options->param_count; i++)
        VEC_PUSH(&params, options->params[i]);
    for (size_t i = 0; i < builder->count; i++) {
        struct str name = builder->items[i].name;
        bool known = false;
        if (!str_starts(name, param_prefix))
            continue;
        name = str_after(name, param_prefix.len);
        VEC_EACH (param, &params)
            known = known || (str_eq(param->name, name) && param->values.count > 0);
        if (known)
            continue;
        struct config_param added = {.name = name, .values = {.count = 1}};
        added.values.items = arena_alloc(arena, sizeof(struct str));
        added.values.items[0] = builder->items[i].value;
        VEC_PUSH(&params, added);
    }
    VEC_SORT(&params, param_compare);
    VEC_EACH (param, &params) {
        struct str label = arena_strf(arena, "__param_" STR_FMT, STR_ARG(param->name));
        struct str first = labels_builder_get(builder, label);
        for (size_t i = 0; i < param->values.count; i++)
            add_query_pair(url, param->name,
                           i == 0 && first.len > 0 ? first : param->values.items[i], &separator);
    }
    VEC_FREE(&params);
}

static char *url_build(const struct config_scrape *options, const struct labels_builder *builder,
                       struct arena *arena)
{
    struct buf url;

    buf_init(&url, (size_t)64 << 10);
    buf_add_str(&url, labels_builder_get(builder, label_scheme));
    BUF_ADD(&url, "://");
    buf_add_str(&url, labels_builder_get(builder, label_address));
    add_path(&url, labels_builder_get(builder, label_path));
    add_query(&url, options, builder, arena);
    char *text = str_dup(buf_str(&url));
    buf_deinit(&url);
    return text;
}

static bool time_label(const struct labels_builder *builder, struct str name, const char *what,
                       int64_t *out, struct err *err)
{
    if (!duration_parse(labels_builder_get(builder, name), out, err))
        return err_wrap(err, "error parsing scrape %s", what);
    if (*out == 0)
        return err_set(err, ERR_BAD_DATA, "scrape %s cannot be 0", what);
    return true;
}

/* As Go's strconv.ParseBool. */
static bool bool_label(const struct labels_builder *builder, struct str name, const char *what,
                       bool *out, struct err *err)
{
    static const char *const words[] = {"1", "t", "T", "TRUE",  "true",  "True",
                                        "0", "f", "F", "FALSE", "false", "False"};
    struct str text = labels_builder_get(builder, name);

    for (size_t i = 0; i < COUNT_OF(words); i++) {
        if (!str_eq(text, str_of(words[i])))
            continue;
        *out = i < COUNT_OF(words) / 2;
        return true;
    }
    return err_set(err, ERR_BAD_DATA, "error parsing %s: \"" STR_FMT "\" is not a boolean", what,
                   STR_ARG(str_first(text, 100)));
}

static bool switches_check(struct target_switches *out, const struct labels_builder *builder,
                           struct err *err)
{
    return bool_label(builder, label_native, "scrape_native_histograms", &out->native, err) &&
           bool_label(builder, label_classic, "always_scrape_classic_histograms",
                      &out->always_classic, err) &&
           bool_label(builder, label_convert, "convert_classic_histograms_to_nhcb",
                      &out->classic_to_native, err);
}

static bool check(struct target_spec *spec, const struct labels_builder *builder, struct err *err)
{
    struct str address = labels_builder_get(builder, label_address);

    if (address.len == 0)
        return err_set(err, ERR_BAD_DATA, "no address");
    if (memchr(address.ptr, '/', address.len))
        return err_set(err, ERR_BAD_DATA, "\"" STR_FMT "\" is not a valid hostname",
                       STR_ARG(address));
    if (!time_label(builder, label_interval, "interval", &spec->interval_ms, err) ||
        !time_label(builder, label_timeout, "timeout", &spec->timeout_ms, err))
        return false;
    if (spec->timeout_ms > spec->interval_ms) {
        struct str interval = labels_builder_get(builder, label_interval);
        struct str timeout = labels_builder_get(builder, label_timeout);
        return err_set(err, ERR_BAD_DATA,
                       "scrape timeout cannot be greater than scrape interval (\"" STR_FMT
                       "\" > \"" STR_FMT "\")",
                       STR_ARG(timeout), STR_ARG(interval));
    }
    if (!switches_check(&spec->switches, builder, err))
        return false;
    for (size_t i = 0; i < builder->count; i++)
        if (!str_is_utf8(builder->items[i].value))
            return err_set(err, ERR_BAD_DATA, "invalid label value for \"" STR_FMT "\"",
                           STR_ARG(builder->items[i].name));
    return true;
}

static void drop_prefix(struct labels_builder *builder, struct str prefix)
{
    size_t kept = 0;

    for (size_t i = 0; i < builder->count; i++)
        if (!str_starts(builder->items[i].name, prefix))
            builder->items[kept++] = builder->items[i];
    builder->count = kept;
}

/* What series carry: all but the reserved names. */
static struct labels *public_labels(struct labels_builder *builder)
{
    drop_prefix(builder, STR("__"));
    return labels_build(builder);
}

bool scrape_target_labels(struct labels **discovered, struct labels **labels,
                          const struct config_scrape *options, const struct target_group *group,
                          size_t index, struct err *err)
{
    struct labels_builder builder;
    struct target_spec spec = {0};
    struct arena arena;

    arena_init(&arena, 0);
    labels_builder_init(&builder);
    discovered_load(&builder, options, group, index, &arena);
    *discovered = labels_build(&builder);
    bool kept = relabel_apply(&options->relabel, &builder, &arena) && builder.count > 0;
    bool good = !kept || check(&spec, &builder, err);
    if (kept && good)
        set_default(&builder, LABEL_INSTANCE, labels_builder_get(&builder, label_address));
    else
        labels_builder_clear(&builder);
    drop_prefix(&builder, STR("__meta_"));
    *labels = labels_build(&builder);
    labels_builder_deinit(&builder);
    arena_deinit(&arena);
    return good;
}

static enum target_verdict finish_build(struct target_spec *out,
                                        const struct config_scrape *options,
                                        struct labels_builder *builder, struct arena *arena,
                                        struct err *err)
{
    if (!relabel_apply(&options->relabel, builder, arena) || builder->count == 0)
        return TARGET_DROP;
    if (!check(out, builder, err))
        return TARGET_BAD;
    set_default(builder, LABEL_INSTANCE, labels_builder_get(builder, label_address));
    out->url = url_build(options, builder, arena);
    out->labels = public_labels(builder);
    out->key = hash64_mix(hash64_mix(hash64(options->job_name), out->labels->hash),
                          hash64(str_of(out->url)));
    return TARGET_KEEP;
}

enum target_verdict target_build(struct target_spec *out, const struct config_scrape *options,
                                 const struct target_group *group, size_t index,
                                 struct arena *arena, struct err *err)
{
    struct labels_builder builder;

    *out = (struct target_spec){0};
    labels_builder_init(&builder);
    discovered_load(&builder, options, group, index, arena);
    enum target_verdict verdict = finish_build(out, options, &builder, arena, err);
    labels_builder_deinit(&builder);
    return verdict;
}

void target_spec_deinit(struct target_spec *spec)
{
    labels_unref(spec->labels);
    mem_free(spec->url);
    *spec = (struct target_spec){0};
}

struct labels *target_discovered(const struct config_scrape *options,
                                 const struct target_group *group, size_t index)
{
    struct labels_builder builder;
    struct arena arena;

    arena_init(&arena, 0);
    labels_builder_init(&builder);
    discovered_load(&builder, options, group, index, &arena);
    struct labels *labels = labels_build(&builder);
    labels_builder_deinit(&builder);
    arena_deinit(&arena);
    return labels;
}

static struct found_target found_ref(struct found_target found)
{
    return (struct found_target){target_group_ref(found.group), found.index};
}

struct target *target_new(struct pool *pool, struct target_spec *spec, struct found_target found)
{
    struct target *target = MEM_NEW(struct target);

    target->scraper = pool->scraper;
    target->pool = pool;
    target->found = found_ref(found);
    target->labels = spec->labels;
    target->url = spec->url;
    target->key = spec->key;
    target->interval_ms = spec->interval_ms;
    target->timeout_ms = spec->timeout_ms;
    target->switches = spec->switches;
    target->last_good_ms = clock_mono_ms();
    for (size_t i = 0; i < REPORT_SERIES_MAX; i++)
        target->reports[i] = SERIES_REF_NONE;
    line_cache_init(&target->cache, pool->scraper->hash_seed);
    *spec = (struct target_spec){0};
    return target;
}

struct storage_group *target_group(struct target *target)
{
    if (!target->group)
        target->group = storage_group_open(target->scraper->storage, target->key);
    return target->group;
}

bool target_is(const struct target *target, const struct target_spec *spec)
{
    return target->key == spec->key && labels_eq(target->labels, spec->labels) &&
           strcmp(target->url, spec->url) == 0;
}

void target_update(struct target *target, struct target_spec *spec, struct found_target found)
{
    bool timing = target->interval_ms != spec->interval_ms;

    struct found_target before = target->found;
    target->found = found_ref(found);
    target_group_unref(before.group);
    target->interval_ms = spec->interval_ms;
    target->timeout_ms = spec->timeout_ms;
    target->switches = spec->switches;
    target_spec_deinit(spec);
    if (timing)
        schedule_target(target);
}

static void on_release(void *ctx, series_ref ref)
{
    struct target *target = ctx;

    storage_series_release(target->scraper->storage, ref);
}

const struct line_cache_ops *target_release_ops(struct target *target, struct line_cache_ops *ops)
{
    *ops = (struct line_cache_ops){.release = on_release, .ctx = target};
    return ops;
}

void target_free(struct target *target)
{
    struct line_cache_ops ops;

    ENSURE(!target->fetch);
    line_cache_drain(&target->cache, target_release_ops(target, &ops));
    line_cache_deinit(&target->cache);
    report_release(target);
    storage_group_close(target->group);
    family_list_deinit(&target->families, &target->scraper->families);
    target_group_unref(target->found.group);
    labels_unref(target->labels);
    mem_free(target->url);
    mem_free(target->error);
    mem_free(target);
}

void target_set_error(struct target *target, const char *text)
{
    mem_free(target->error);
    target->error = text && *text ? str_dup(str_of(text)) : NULL;
}

const char *target_health_text(enum target_health health)
{
    static const char *const texts[] = {"unknown", "up", "down"};

    return texts[health];
}
