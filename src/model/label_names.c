/* label_names: see label_names.h. Texts stand in blocks that never move, so that who has a reference reads without the
 * lock. */
#include "label_names.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "base/ensure.h"
#include "base/hash.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/vec.h"

#define BLOCK_NAMES 1024
#define BLOCKS_MAX  16384 /* Sixteen million names are more than the labels of any cluster. */

struct held_name {
    uint32_t refs, len;
    char text[];
};

struct name_block {
    struct held_name *names[BLOCK_NAMES];
};

static struct {
    pthread_mutex_t lock;
    _Atomic(struct name_block *) blocks[BLOCKS_MAX];
    uint32_t count; /* Numbers that were ever given. */
    VEC(uint32_t) free;
    struct map map; /* Text to number. */
} names = {.lock = PTHREAD_MUTEX_INITIALIZER};

static struct held_name **place_of(uint32_t number)
{
    struct name_block *block =
        atomic_load_explicit(&names.blocks[number / BLOCK_NAMES], memory_order_acquire);
    return &block->names[number % BLOCK_NAMES];
}

static bool has_text(const void *ctx, const void *key, uint32_t number)
{
    const struct str *text = key;

    (void)ctx;
    return str_eq(label_name_text(number), *text);
}

static uint32_t number_new(void)
{
    if (names.free.count > 0)
        return VEC_POP(&names.free);
    uint32_t number = names.count++;
    ENSURE(number < BLOCK_NAMES * BLOCKS_MAX);
    if (number % BLOCK_NAMES == 0)
        atomic_store_explicit(&names.blocks[number / BLOCK_NAMES], MEM_NEW(struct name_block),
                              memory_order_release);
    return number;
}

uint32_t label_name_ref(struct str name)
{
    uint64_t hash = hash64(name);

    pthread_mutex_lock(&names.lock);
    uint32_t number = map_find(&names.map, hash, &name, has_text, NULL);
    if (number == MAP_NONE) {
        struct held_name *held = mem_alloc(sizeof(*held) + name.len);
        *held = (struct held_name){.len = (uint32_t)name.len};
        memcpy(held->text, name.ptr, name.len);
        number = number_new();
        *place_of(number) = held;
        map_insert(&names.map, hash, number);
    }
    (*place_of(number))->refs++;
    pthread_mutex_unlock(&names.lock);
    return number;
}

void label_name_unref(uint32_t number)
{
    pthread_mutex_lock(&names.lock);
    struct held_name **place = place_of(number), *held = *place;
    ENSURE(held->refs > 0);
    if (--held->refs == 0) {
        ENSURE(map_remove(&names.map, hash64(label_name_text(number)), number));
        VEC_PUSH(&names.free, number);
        *place = NULL;
        mem_free(held);
    }
    pthread_mutex_unlock(&names.lock);
}

struct str label_name_text(uint32_t number)
{
    const struct held_name *held = *place_of(number);
    return str_from(held->text, held->len);
}
