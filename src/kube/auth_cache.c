/* auth_cache: a fixed table of sets of four. A new entry takes the place of a free or old one of its set, else of the one
 * that ends first: so whatever callers make up, memory stays what it is. */
#include "auth_parts.h"
#include "base/mem.h"

#define SET_COUNT      1024
#define SET_ENTRIES    4
#define TEXT_BYTES_MAX 4096

void kube_auth_cache_init(struct kube_auth_cache *cache)
{
    cache->entries = mem_zalloc(sizeof(struct kube_auth_entry) * SET_COUNT * SET_ENTRIES);
}

static void entry_clear(struct kube_auth_entry *entry)
{
    mem_free(entry->user);
    mem_free(entry->text);
    *entry = (struct kube_auth_entry){0};
}

void kube_auth_cache_deinit(struct kube_auth_cache *cache)
{
    for (size_t i = 0; cache->entries && i < SET_COUNT * SET_ENTRIES; i++)
        entry_clear(&cache->entries[i]);
    mem_free(cache->entries);
    cache->entries = NULL;
}

struct kube_auth_key kube_auth_key_of(struct str text)
{
    struct kube_auth_key key;
    hash_sha256(text, key.bytes);
    return key;
}

static struct kube_auth_entry *set_of(const struct kube_auth_cache *cache,
                                      const struct kube_auth_key *key)
{
    size_t set = (size_t)(key->bytes[0] | key->bytes[1] << 8) % SET_COUNT;
    return cache->entries + set * SET_ENTRIES;
}

static bool key_same(const struct kube_auth_key *a, const struct kube_auth_key *b)
{
    return memcmp(a->bytes, b->bytes, sizeof(a->bytes)) == 0;
}

const struct kube_auth_entry *kube_auth_cache_find(const struct kube_auth_cache *cache,
                                                   const struct kube_auth_key *key, int64_t now_ms)
{
    struct kube_auth_entry *set = set_of(cache, key);
    for (size_t i = 0; i < SET_ENTRIES; i++)
        if (set[i].until_ms > now_ms && key_same(&set[i].key, key))
            return &set[i];
    return NULL;
}

void kube_auth_cache_put(struct kube_auth_cache *cache, const struct kube_auth_entry *entry,
                         struct str user, struct str text)
{
    struct kube_auth_entry *set = set_of(cache, &entry->key), *place = &set[0];
    if (user.len > TEXT_BYTES_MAX || text.len > TEXT_BYTES_MAX)
        return;
    for (size_t i = 0; i < SET_ENTRIES; i++) {
        if (set[i].until_ms != 0 && key_same(&set[i].key, &entry->key)) {
            place = &set[i];
            break;
        }
        if (set[i].until_ms < place->until_ms)
            place = &set[i];
    }
    entry_clear(place);
    *place = *entry;
    place->user = str_dup(user);
    place->text = str_dup(text);
}
