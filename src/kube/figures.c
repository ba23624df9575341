/* figures: what the metrics APIs tell of themselves, and the lists of metrics that they have just made. */
#include "base/clock.h"
#include "base/mem.h"
#include "serve.h"

#define LIST_KEPT_MS     2000
#define LIST_KEPT_MS_MAX 60000
#define LIST_KEPT_TIMES  50 /* As long as it took. */
#define LIST_BYTES_MAX   ((size_t)1 << 20)

/* Of enum ask_kind, as the label has it. */
static const char *const handlers[] = {"unknown",
                                       "health",
                                       "discovery",
                                       GROUP_CUSTOM,
                                       GROUP_EXTERNAL,
                                       GROUP_RESOURCE "/pods",
                                       GROUP_RESOURCE "/nodes"};

void request_count(struct kube *kube, enum ask_kind kind, int status)
{
    struct request_figures *figures = &kube->requests[kind];
    size_t i = 0;

    while (i < figures->code_count && figures->codes[i].status != status)
        i++;
    if (i == REQUEST_CODES_MAX)
        return;
    if (i == figures->code_count)
        figures->codes[figures->code_count++].status = status;
    figures->codes[i].count++;
}

void kube_write_metrics(const struct kube *kube, struct buf *out)
{
    BUF_ADD(out, "# HELP narthex_kube_requests_total Requests to the metrics APIs of Kubernetes.\n"
                 "# TYPE narthex_kube_requests_total counter\n");
    for (size_t kind = 0; kind < COUNT_OF(handlers); kind++) {
        const struct request_figures *figures = &kube->requests[kind];
        for (size_t i = 0; i < figures->code_count; i++)
            buf_addf(out, "narthex_kube_requests_total{code=\"%d\",handler=\"%s\"} %llu\n",
                     figures->codes[i].status, handlers[kind],
                     (unsigned long long)figures->codes[i].count);
    }
}

static void list_cache_clear(struct list_cache *cache)
{
    if (!cache->path)
        return;
    mem_free(cache->path);
    rule_set_unref(cache->rules);
    buf_deinit(&cache->body);
    *cache = (struct list_cache){0};
}

void list_caches_clear(struct kube *kube)
{
    for (size_t i = 0; i < COUNT_OF(kube->lists); i++)
        list_cache_clear(&kube->lists[i]);
}

const struct buf *list_cache_find(const struct kube *kube, struct str path)
{
    for (size_t i = 0; i < COUNT_OF(kube->lists); i++) {
        const struct list_cache *cache = &kube->lists[i];
        if (cache->path && str_eq(str_of(cache->path), path) && cache->rules == kube->rules &&
            clock_mono_ms() < cache->until_ms)
            return &cache->body;
    }
    return NULL;
}

/* In the place of the same path, or of the oldest. */
void list_cache_put(struct kube *kube, struct str path, struct rule_set *rules,
                    const struct buf *body, int64_t took_ms)
{
    struct list_cache *place = &kube->lists[0];
    int64_t kept_ms = took_ms * LIST_KEPT_TIMES;

    if (body->len > LIST_BYTES_MAX)
        return;
    for (size_t i = 0; i < COUNT_OF(kube->lists); i++) {
        struct list_cache *cache = &kube->lists[i];
        if (cache->path && str_eq(str_of(cache->path), path)) {
            place = cache;
            break;
        }
        if (cache->until_ms < place->until_ms)
            place = cache;
    }
    list_cache_clear(place);
    place->path = str_dup(path);
    place->rules = rule_set_ref(rules);
    buf_init(&place->body, LIST_BYTES_MAX);
    buf_add_str(&place->body, buf_str(body));
    kept_ms = kept_ms < LIST_KEPT_MS ? LIST_KEPT_MS : kept_ms;
    place->until_ms = clock_mono_ms() + (kept_ms > LIST_KEPT_MS_MAX ? LIST_KEPT_MS_MAX : kept_ms);
}
