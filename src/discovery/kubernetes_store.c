/* kubernetes_store: the objects of a watch by their keys.
 *
 * A list is a round: what it brings is marked with its number, and what is not marked at its end is
 * gone. An object that is as before stays as it is. */
#include "base/hash.h"
#include "base/mem.h"
#include "kubernetes.h"

void kube_store_init(struct kube_store *store, kube_store_fn on_changed, void *ctx)
{
    *store = (struct kube_store){.on_changed = on_changed, .ctx = ctx};
    map_init(&store->map);
}

void kube_store_deinit(struct kube_store *store)
{
    VEC_EACH (object, &store->slots)
        kube_object_free(*object);
    VEC_FREE(&store->slots);
    VEC_FREE(&store->free);
    map_deinit(&store->map);
}

static bool slot_has_key(const void *ctx, const void *key, uint32_t value)
{
    const struct kube_store *store = ctx;

    return str_eq(kube_object_key(store->slots.items[value]), *(const struct str *)key);
}

static uint32_t slot_find(const struct kube_store *store, struct str key)
{
    return map_find(&store->map, hash64(key), &key, slot_has_key, store);
}

static size_t object_bytes(const struct kube_object *object)
{
    return sizeof(*object) + object->key_len + object->text_len;
}

static void slot_fill(struct kube_store *store, uint32_t slot, struct kube_object *object)
{
    struct kube_object *before = store->slots.items[slot];

    if (before)
        store->bytes -= object_bytes(before);
    store->bytes += object_bytes(object);
    store->slots.items[slot] = object;
    kube_object_free(before);
}

void kube_store_put(struct kube_store *store, struct kube_object *object)
{
    struct str key = kube_object_key(object);
    uint32_t slot = slot_find(store, key);
    bool fresh = slot == MAP_NONE;

    object->round = store->round;
    if (!fresh && str_eq(kube_object_text(store->slots.items[slot]), kube_object_text(object))) {
        store->slots.items[slot]->round = store->round;
        store->on_changed(store->ctx, key, KUBERNETES_UPDATE, false);
        kube_object_free(object);
        return;
    }
    if (fresh) {
        slot = store->free.count > 0 ? VEC_POP(&store->free) : (uint32_t)store->slots.count;
        if (slot == store->slots.count)
            VEC_PUSH(&store->slots, NULL);
        map_insert(&store->map, hash64(key), slot);
    }
    slot_fill(store, slot, object);
    store->on_changed(store->ctx, key, fresh ? KUBERNETES_ADD : KUBERNETES_UPDATE, true);
}

static void slot_remove(struct kube_store *store, uint32_t slot)
{
    struct kube_object *object = store->slots.items[slot];
    struct str key = kube_object_key(object);

    map_remove(&store->map, hash64(key), slot);
    store->slots.items[slot] = NULL;
    VEC_PUSH(&store->free, slot);
    store->bytes -= object_bytes(object);
    store->on_changed(store->ctx, key, KUBERNETES_DELETE, true);
    kube_object_free(object);
}

void kube_store_remove(struct kube_store *store, struct str key)
{
    uint32_t slot = slot_find(store, key);

    if (slot != MAP_NONE)
        slot_remove(store, slot);
}

void kube_store_sweep(struct kube_store *store)
{
    for (size_t i = 0; i < store->slots.count; i++)
        if (store->slots.items[i] && store->slots.items[i]->round != store->round)
            slot_remove(store, (uint32_t)i);
}

const struct kube_object *kube_store_find(const struct kube_store *store, struct str key)
{
    uint32_t slot = slot_find(store, key);

    return slot == MAP_NONE ? NULL : store->slots.items[slot];
}

const struct kube_object *kube_store_next(const struct kube_store *store, size_t *at)
{
    while (*at < store->slots.count) {
        const struct kube_object *object = store->slots.items[(*at)++];
        if (object)
            return object;
    }
    return NULL;
}

size_t kube_store_bytes(const struct kube_store *store)
{
    size_t maps = map_bytes(&store->map);

    return store->bytes + store->slots.capacity * sizeof(void *) + maps;
}
