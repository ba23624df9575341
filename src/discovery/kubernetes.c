/* kubernetes: a role's targets (kubernetes_sd_configs): one group for each object of the role's kind.
 *
 *     watches -> on_changed -> dirty entries -> a round, in slices: kube_group_begin, _step, _end
 *
 * Nothing is told before all watches of the role have had a whole list, as otherwise targets would
 * first come without the labels of the others. An entry remembers, as hashes, which other objects
 * its group was made from, known or not; when one of them changes, the group is made again. */
#include "kubernetes.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"

#define OWN_NAMESPACE_RETRY_MS 5000
#define BUILD_INTERVAL_MS      500 /* Groups of many pods are made again no more often. */

struct source {
    struct kube_listener listener;
    struct kube_sd *sd;
    enum kube_kind kind;
};

struct entry {
    char *key;                  /* Owned. NULL: a free slot. */
    struct target_group *group; /* NULL: none yet. */
    uint64_t *others;           /* Owned: hashes of the objects that the group was made from. */
    uint32_t other_count;
    bool dirty;
};

struct kube_sd {
    struct kube_lookup lookup; /* Groups in the making give it back. */
    const struct provider_env *env;
    struct config *owner; /* Borrowed, as is the block. */
    const struct config_kubernetes_sd *config;
    provider_changed_fn changed;
    void *ctx;
    enum kube_kind kind;
    VEC(struct source *) sources;
    VEC(struct entry) entries;
    VEC(uint32_t) free;
    VEC(uint32_t) dirty; /* What waits for the next round. */
    VEC(uint32_t) round; /* What is being made again. */
    struct map map;
    VEC(uint64_t) others;     /* Of the group that is being made. */
    struct kube_build *build; /* That group. NULL: none. */
    uint32_t build_index;
    struct timer *timer;
    bool joined, said, started, news;
    int64_t built_ms; /* Monotonic: when nothing was dirty any more. */
};

/* --- entries --- */

static bool entry_has_key(const void *ctx, const void *key, uint32_t value)
{
    const struct kube_sd *sd = ctx;

    return str_eq(str_of(sd->entries.items[value].key), *(const struct str *)key);
}

static uint32_t entry_find(const struct kube_sd *sd, struct str key)
{
    return map_find(&sd->map, hash64(key), &key, entry_has_key, sd);
}

static void work_soon(struct kube_sd *sd)
{
    timer_start(sd->timer, 1, 0);
}

static bool in_round(const struct kube_sd *sd)
{
    return sd->build || sd->round.count > 0;
}

static void entry_mark(struct kube_sd *sd, uint32_t index)
{
    if (sd->entries.items[index].dirty)
        return;
    sd->entries.items[index].dirty = true;
    VEC_PUSH(&sd->dirty, index);
    if (sd->dirty.count == 1 && !in_round(sd))
        timer_start(sd->timer, sd->built_ms + BUILD_INTERVAL_MS - clock_mono_ms(), 0);
}

static void entry_want(struct kube_sd *sd, struct str key)
{
    uint32_t index = entry_find(sd, key);
    struct entry fresh = {0};

    if (index == MAP_NONE) {
        index = sd->free.count > 0 ? VEC_POP(&sd->free) : (uint32_t)sd->entries.count;
        if (index == sd->entries.count)
            VEC_PUSH(&sd->entries, fresh);
        sd->entries.items[index].key = str_dup(key);
        map_insert(&sd->map, hash64(key), index);
    }
    entry_mark(sd, index);
}

static void entry_clear(struct entry *entry)
{
    target_group_unref(entry->group);
    mem_free(entry->others);
    mem_free(entry->key);
    *entry = (struct entry){0};
}

static void entry_remove(struct kube_sd *sd, uint32_t index)
{
    struct entry *entry = &sd->entries.items[index];

    sd->news |= entry->group && entry->group->target_count > 0;
    map_remove(&sd->map, hash64(str_of(entry->key)), index);
    entry_clear(entry);
    VEC_PUSH(&sd->free, index);
}

/* --- other objects --- */

static uint64_t other_hash(enum kube_kind kind, struct str key)
{
    return hash64_mix((uint64_t)kind + 1, hash64(key));
}

static const struct kube_object *object_find(const struct kube_sd *sd, enum kube_kind kind,
                                             struct str key)
{
    for (size_t i = 0; i < sd->sources.count; i++) {
        const struct source *source = sd->sources.items[i];
        const struct kube_object *object =
            source->kind == kind ? kube_store_find(kube_watch_store(source->listener.watch), key)
                                 : NULL;
        if (object)
            return object;
    }
    return NULL;
}

static bool has_other(const uint64_t *others, size_t count, uint64_t other)
{
    for (size_t i = 0; i < count; i++)
        if (others[i] == other)
            return true;
    return false;
}

static const struct kube_object *on_lookup(struct kube_lookup *lookup, enum kube_kind kind,
                                           struct str key)
{
    struct kube_sd *sd = CONTAINER_OF(lookup, struct kube_sd, lookup);
    uint64_t hash = other_hash(kind, key);

    if (!has_other(sd->others.items, sd->others.count, hash))
        VEC_PUSH(&sd->others, hash);
    return object_find(sd, kind, key);
}

static void other_changed(struct kube_sd *sd, enum kube_kind kind, struct str key)
{
    uint64_t hash = other_hash(kind, key);

    for (size_t i = 0; i < sd->entries.count; i++)
        if (has_other(sd->entries.items[i].others, sd->entries.items[i].other_count, hash))
            entry_mark(sd, (uint32_t)i);
    if (sd->build && has_other(sd->others.items, sd->others.count, hash))
        entry_mark(sd, sd->build_index);
}

/* --- groups --- */

static void build_begin(struct kube_sd *sd, uint32_t index)
{
    struct entry *entry = &sd->entries.items[index];
    const struct kube_object *object = object_find(sd, sd->kind, str_of(entry->key));

    entry->dirty = false;
    if (!object) {
        entry_remove(sd, index);
        return;
    }
    VEC_CLEAR(&sd->others);
    sd->build_index = index;
    sd->build = kube_group_begin(sd->kind, object, &sd->lookup);
}

static void build_end(struct kube_sd *sd)
{
    struct entry *entry = &sd->entries.items[sd->build_index];
    struct target_group *group = kube_group_end(sd->build);

    sd->build = NULL;
    mem_free(entry->others);
    entry->other_count = (uint32_t)sd->others.count;
    entry->others = sd->others.count > 0
                        ? mem_dup(sd->others.items, sd->others.count * sizeof(uint64_t))
                        : NULL;
    if (target_group_eq(entry->group, group)) {
        target_group_unref(group);
        return;
    }
    sd->news |= group->target_count > 0 || (entry->group && entry->group->target_count > 0);
    target_group_unref(entry->group);
    entry->group = group;
}

/* Always a step, so that a busy loop makes progress. What changes while a group is being made marks
 * its entry again, for the next round. */
static void build_some(struct kube_sd *sd)
{
    int64_t left_ns = kube_hub_left_ns(sd->env->kube), start_ns = clock_mono_ns();
    int64_t spent_ns = 0;

    if (!in_round(sd)) {
        VEC_EACH (index, &sd->dirty)
            VEC_PUSH(&sd->round, *index);
        VEC_CLEAR(&sd->dirty);
    }
    while (in_round(sd) && (spent_ns == 0 || spent_ns < left_ns)) {
        if (!sd->build)
            build_begin(sd, VEC_POP(&sd->round));
        else if (!kube_group_step(sd->build))
            build_end(sd);
        spent_ns = clock_mono_ns() - start_ns;
    }
    kube_hub_spend(sd->env->kube, spent_ns);
}

static void start_if_synced(struct kube_sd *sd)
{
    VEC_EACH (source, &sd->sources)
        if (!kube_watch_synced((*source)->listener.watch))
            return;
    sd->started = sd->news = true; /* That there is nothing is news, too. */
    VEC_EACH (source, &sd->sources) {
        const struct kube_object *object;
        for (size_t at = 0;
             (*source)->kind == sd->kind &&
             (object = kube_store_next(kube_watch_store((*source)->listener.watch), &at)) != NULL;)
            entry_want(sd, kube_object_key(object));
    }
    work_soon(sd);
}

/* --- what the watches say --- */

static void on_object_changed(struct kube_listener *listener, struct str key, bool gone)
{
    struct source *source = CONTAINER_OF(listener, struct source, listener);
    struct kube_sd *sd = source->sd;

    (void)gone; /* It is looked up when its turn comes. */
    if (!sd->started)
        return;
    if (source->kind == sd->kind)
        entry_want(sd, key);
    else
        other_changed(sd, source->kind, key);
}

static void on_watch_synced(struct kube_listener *listener)
{
    struct kube_sd *sd = CONTAINER_OF(listener, struct source, listener)->sd;

    if (!sd->started)
        start_if_synced(sd);
}

/* --- the watches of a role --- */

static const struct config_kubernetes_selector *
selector_of(const struct config_kubernetes_sd *config, enum kube_kind kind)
{
    for (size_t i = 0; i < config->selector_count; i++)
        if (str_eq(config->selectors[i].role, str_of(kube_kind_role(kind))))
            return &config->selectors[i];
    return NULL;
}

static void source_join(struct kube_sd *sd, enum kube_kind kind, struct str namespace)
{
    const struct config_kubernetes_selector *selector = selector_of(sd->config, kind);
    struct source *source = MEM_NEW(struct source);
    struct kube_watch_options options = {
        .config = sd->owner,
        .block = sd->config,
        .kind = kind,
        .namespace = kube_kind_is_namespaced(kind) ? namespace : STR_EMPTY,
        .label = selector ? selector->label : STR_EMPTY,
        .field = selector ? selector->field : STR_EMPTY,
    };

    source->sd = sd;
    source->kind = kind;
    source->listener.on_changed = on_object_changed;
    source->listener.on_synced = on_watch_synced;
    kube_watch_join(sd->env->kube, &options, &source->listener);
    VEC_PUSH(&sd->sources, source);
}

static void join_namespace(struct kube_sd *sd, struct str namespace)
{
    bool endpoints = sd->kind == KUBE_ENDPOINTS || sd->kind == KUBE_ENDPOINTSLICE;

    source_join(sd, sd->kind, namespace);
    if (endpoints) {
        source_join(sd, KUBE_SERVICE, namespace);
        source_join(sd, KUBE_POD, namespace);
    }
    if (sd->lookup.deployment)
        source_join(sd, KUBE_REPLICASET, namespace);
    if (sd->lookup.cronjob)
        source_join(sd, KUBE_JOB, namespace);
}

static bool join(struct kube_sd *sd, struct err *err)
{
    const struct str_list *names = &sd->config->namespaces;
    struct str own = STR_EMPTY;
    bool seen = false;
    struct arena arena;

    arena_init(&arena, 0);
    if (sd->config->own_namespace && !kube_api_own_namespace(&own, &arena, err)) {
        arena_deinit(&arena);
        return false;
    }
    if (sd->kind == KUBE_NODE || (names->count == 0 && own.len == 0))
        join_namespace(sd, STR_EMPTY);
    for (size_t i = 0; sd->kind != KUBE_NODE && i < names->count; i++) {
        seen |= str_eq(names->items[i], own);
        join_namespace(sd, names->items[i]);
    }
    if (sd->kind != KUBE_NODE && own.len > 0 && !seen)
        join_namespace(sd, own);
    if (sd->lookup.node)
        source_join(sd, KUBE_NODE, STR_EMPTY);
    if (sd->lookup.namespace)
        source_join(sd, KUBE_NAMESPACE, STR_EMPTY);
    arena_deinit(&arena);
    return true;
}

static void on_timer(void *ctx)
{
    struct kube_sd *sd = ctx;
    struct err err;

    if (!sd->joined) {
        sd->joined = join(sd, &err);
        if (!sd->joined) {
            if (!sd->said)
                LOG_E("Cannot create service discovery", "discovery", "kubernetes", "err",
                      err.text);
            sd->said = true; /* Once. */
            sd->env->stats->kubernetes_failures++;
            timer_start(sd->timer, OWN_NAMESPACE_RETRY_MS, 0);
            return;
        }
        start_if_synced(sd);
    }
    if (!sd->started)
        return;
    build_some(sd);
    if (in_round(sd)) {
        work_soon(sd);
        return;
    }
    sd->built_ms = clock_mono_ms();
    if (sd->dirty.count > 0)
        timer_start(sd->timer, BUILD_INTERVAL_MS, 0);
    if (sd->news) {
        sd->news = false;
        sd->changed(sd->ctx);
    }
}

struct kube_sd *kube_sd_open(const struct provider_env *env, struct config *owner,
                             const struct config_kubernetes_sd *config, provider_changed_fn changed,
                             void *ctx)
{
    struct kube_sd *sd = MEM_NEW(struct kube_sd);

    ENSURE(kube_kind_find(config->role, &sd->kind));
    bool pods =
        sd->kind == KUBE_POD || sd->kind == KUBE_ENDPOINTS || sd->kind == KUBE_ENDPOINTSLICE;
    sd->env = env;
    sd->owner = owner;
    sd->config = config;
    sd->changed = changed;
    sd->ctx = ctx;
    sd->lookup = (struct kube_lookup){
        .find = on_lookup,
        .node = pods && config->attach_node,
        .namespace = sd->kind != KUBE_NODE && config->attach_namespace,
        .deployment = pods && config->attach_deployment,
        .job = pods && config->attach_job,
        .cronjob = pods && config->attach_cronjob,
    };
    map_init(&sd->map);
    sd->timer = timer_new(env->loop, on_timer, sd);
    timer_start(sd->timer, 0, 0);
    return sd;
}

void kube_sd_collect(const struct kube_sd *sd, struct group_list *out)
{
    for (size_t i = 0; i < sd->entries.count; i++) {
        struct target_group *group = sd->entries.items[i].group;
        if (group && group->target_count > 0)
            VEC_PUSH(&out->groups, target_group_ref(group));
    }
}

void kube_sd_close(struct kube_sd *sd)
{
    if (!sd)
        return;
    timer_free(sd->timer);
    kube_group_cancel(sd->build);
    VEC_EACH (source, &sd->sources) {
        kube_watch_leave(&(*source)->listener);
        mem_free(*source);
    }
    VEC_EACH (entry, &sd->entries)
        entry_clear(entry);
    VEC_FREE(&sd->sources);
    VEC_FREE(&sd->entries);
    VEC_FREE(&sd->free);
    VEC_FREE(&sd->dirty);
    VEC_FREE(&sd->round);
    VEC_FREE(&sd->others);
    map_deinit(&sd->map);
    mem_free(sd);
}
