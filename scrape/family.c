/* family: interning of metadata and the per-target list. A steady exposition costs one comparison
 * of the name and one of the text per comment line: the cursor points at the family that comes
 * next. */
#include "family.h"

#include "base/hash.h"
#include "base/mem.h"

void family_table_init(struct family_table *table)
{
    *table = (struct family_table){0};
    map_init(&table->map);
}

void family_table_deinit(struct family_table *table)
{
    VEC_EACH (family, &table->families)
        mem_free(*family);
    VEC_FREE(&table->families);
    VEC_FREE(&table->free_ids);
    map_deinit(&table->map);
}

const struct metadata *family_table_get(const struct family_table *table, uint32_t id)
{
    ENSURE(id < table->families.count && table->families.items[id]);
    return &table->families.items[id]->metadata;
}

static uint64_t metadata_hash(const struct metadata *metadata)
{
    uint64_t hash = hash64_mix(hash64(metadata->metric), hash64(metadata->help));
    hash = hash64_mix(hash, hash64(metadata->unit));
    return hash64_mix(hash, (uint64_t)metadata->type);
}

static bool metadata_same(const void *ctx, const void *key, uint32_t value)
{
    const struct metadata *a = family_table_get(ctx, value), *b = key;
    return a->type == b->type && str_eq(a->metric, b->metric) && str_eq(a->help, b->help) &&
           str_eq(a->unit, b->unit);
}

static uint32_t table_take(struct family_table *table, const struct metadata *metadata)
{
    uint64_t hash = metadata_hash(metadata);
    uint32_t id = map_find(&table->map, hash, metadata, metadata_same, table);

    if (id != MAP_NONE) {
        table->families.items[id]->refs++;
        return id;
    }
    size_t name_len = metadata->metric.len, help_len = metadata->help.len;
    size_t unit_len = metadata->unit.len;
    struct family *family = mem_alloc(sizeof(*family) + name_len + help_len + unit_len);
    char *texts = (char *)(family + 1);
    memcpy(texts, metadata->metric.ptr, name_len);
    if (help_len)
        memcpy(texts + name_len, metadata->help.ptr, help_len);
    if (unit_len)
        memcpy(texts + name_len + help_len, metadata->unit.ptr, unit_len);
    family->refs = 1;
    family->metadata = (struct metadata){.metric = {texts, name_len},
                                         .type = metadata->type,
                                         .help = {texts + name_len, help_len},
                                         .unit = {texts + name_len + help_len, unit_len}};
    if (table->free_ids.count > 0) {
        id = VEC_POP(&table->free_ids);
        table->families.items[id] = family;
    } else {
        id = (uint32_t)table->families.count;
        VEC_PUSH(&table->families, family);
    }
    map_insert(&table->map, hash, id);
    return id;
}

static size_t texts_len(const struct metadata *metadata)
{
    return metadata->metric.len + metadata->help.len + metadata->unit.len;
}

static void list_release(struct family_list *list, struct family_table *table, uint32_t id)
{
    struct family *family = table->families.items[id];

    ENSURE(family && family->refs > 0);
    list->bytes -= texts_len(&family->metadata);
    if (--family->refs > 0)
        return;
    (void)map_remove(&table->map, metadata_hash(&family->metadata), id);
    table->families.items[id] = NULL;
    VEC_PUSH(&table->free_ids, id);
    mem_free(family);
}

void family_list_deinit(struct family_list *list, struct family_table *table)
{
    VEC_EACH (item, &list->items)
        list_release(list, table, item->id);
    VEC_FREE(&list->items);
}

/* Comparisons that one scrape may spend on families that are not where they were: a search is
 * linear. */
#define SEARCH_BUDGET 500000

/* The item of this family: at the cursor or just before it mostly (HELP and TYPE come together). */
static struct family_item *list_find(struct family_list *list, const struct family_table *table,
                                     struct str name)
{
    size_t count = list->items.count;
    size_t from = list->cursor > 0 ? list->cursor - 1 : 0;

    for (size_t step = 0; step < count && list->searched <= SEARCH_BUDGET; step++) {
        size_t at = from + step < count ? from + step : from + step - count;
        struct family_item *item = &list->items.items[at];
        list->searched++;
        if (str_eq(family_table_get(table, item->id)->metric, name)) {
            list->cursor = (uint32_t)at + 1;
            return item;
        }
    }
    return NULL;
}

/* Puts into *metadata what the line says. False when it said so already. */
static bool metadata_set(struct metadata *metadata, const struct text_line *line,
                         struct arena *arena)
{
    struct str help = str_first(line->help, FAMILY_HELP_MAX);
    struct metadata old = *metadata;

    if (line->kind == TEXT_TYPE)
        metadata->type = line->type;
    else if (line->kind == TEXT_UNIT)
        metadata->unit = str_first(line->unit, FAMILY_HELP_MAX);
    else
        metadata->help = line->help_plain ? help : text_unescape(arena, help, line->help_quotes);
    return old.type != metadata->type || !str_eq(old.unit, metadata->unit) ||
           !str_eq(old.help, metadata->help);
}

void family_list_note(struct family_list *list, struct family_table *table,
                      const struct text_line *line, struct arena *arena)
{
    struct str name = line->name_escaped ? text_unescape(arena, line->name, true) : line->name;
    struct metadata metadata = {
        .metric = name, .type = METRIC_UNKNOWN, .help = STR_EMPTY, .unit = STR_EMPTY};

    struct family_item *item = list_find(list, table, name);
    list->noted = UINT32_MAX;
    if (item) {
        list->noted = (uint32_t)(item - list->items.items);
        metadata = *family_table_get(table, item->id);
        item->round = list->round;
    } else if (list->items.count >= FAMILY_TARGET_MAX || list->searched > SEARCH_BUDGET) {
        return;
    }
    if (!metadata_set(&metadata, line, arena) && item)
        return;
    uint32_t id = table_take(table, &metadata);
    list->bytes += texts_len(&metadata);
    if (item) {
        list_release(list, table, item->id);
        item->id = id;
        return;
    }
    struct family_item added = {.id = id, .round = list->round};
    list->noted = (uint32_t)list->items.count;
    VEC_PUSH(&list->items, added);
    list->cursor = (uint32_t)list->items.count;
}

bool family_list_end(struct family_list *list, struct family_table *table)
{
    size_t kept = 0;

    for (size_t i = 0; i < list->items.count; i++) {
        struct family_item item = list->items.items[i];
        if (list->round - item.round > FAMILY_KEEP_ROUNDS)
            list_release(list, table, item.id);
        else
            list->items.items[kept++] = item;
    }
    bool moved = kept < list->items.count;
    list->items.count = kept;
    list->round++;
    list->cursor = list->searched = 0;
    return moved;
}
