/* target: the life of a target group. Plain counting: groups stay on the loop thread once they are made. */
#include "model/target.h"

#include <string.h>

#include "base/bytes.h"
#include "base/ensure.h"
#include "base/mem.h"
#include "label_names.h"

#define GROUP_BYTES_MAX UINT32_MAX /* Of all labels; offsets are 32 bits. */

/* --- labels in their packed form --- */

static void labels_pack(struct buf *out, const struct labels_builder *labels)
{
    for (size_t i = 0; i < labels->count; i++) {
        write_varint(out, label_name_ref(labels->items[i].name));
        write_varint_str(out, labels->items[i].value);
    }
    ENSURE(!out->overflow);
}

static bool label_next(struct reader *in, struct label *out)
{
    if (reader_left(in) == 0)
        return false;
    out->name = label_name_text((uint32_t)read_varint(in));
    out->value = read_varint_str(in);
    return true;
}

static void labels_forget(struct str packed)
{
    struct reader in = reader_over(packed);

    while (reader_left(&in) > 0) {
        label_name_unref((uint32_t)read_varint(&in));
        (void)read_varint_str(&in);
    }
}

/* --- writing --- */

void group_writer_init(struct group_writer *writer)
{
    *writer = (struct group_writer){0};
    buf_init(&writer->targets, GROUP_BYTES_MAX);
}

void group_writer_add(struct group_writer *writer, const struct labels_builder *own)
{
    labels_pack(&writer->targets, own);
    VEC_PUSH(&writer->ends, (uint32_t)writer->targets.len);
}

static char *put(char *at, struct str bytes)
{
    if (bytes.len > 0)
        memcpy(at, bytes.ptr, bytes.len);
    return at + bytes.len;
}

struct target_group *group_writer_end(struct group_writer *writer, struct str source,
                                      const struct labels_builder *common)
{
    struct buf packed;
    size_t count = writer->ends.count;

    buf_init(&packed, GROUP_BYTES_MAX);
    labels_pack(&packed, common);
    size_t bytes = packed.len + writer->targets.len;
    ENSURE(bytes <= GROUP_BYTES_MAX && count < UINT32_MAX - 2);
    struct target_group *group =
        mem_alloc(sizeof(*group) + (count + 2) * sizeof(uint32_t) + bytes + source.len + 1);
    group->refs = 1;
    group->target_count = (uint32_t)count;
    group->offsets[0] = 0;
    group->offsets[1] = (uint32_t)packed.len;
    for (size_t i = 0; i < count; i++)
        group->offsets[2 + i] = (uint32_t)packed.len + writer->ends.items[i];
    char *at = put((char *)(group->offsets + count + 2), buf_str(&packed));
    at = put(at, buf_str(&writer->targets));
    group->source = at;
    *put(at, source) = 0;
    buf_deinit(&packed);
    buf_deinit(&writer->targets);
    VEC_FREE(&writer->ends);
    return group;
}

void group_writer_deinit(struct group_writer *writer)
{
    labels_forget(buf_str(&writer->targets));
    buf_deinit(&writer->targets);
    VEC_FREE(&writer->ends);
}

/* --- life --- */

struct target_group *target_group_ref(struct target_group *group)
{
    ENSURE(group->refs > 0 && group->refs < UINT32_MAX);
    group->refs++;
    return group;
}

static struct str all_labels(const struct target_group *group)
{
    return str_from((const char *)(group->offsets + group->target_count + 2),
                    group->offsets[group->target_count + 1]);
}

void target_group_unref(struct target_group *group)
{
    if (!group)
        return;
    ENSURE(group->refs > 0);
    if (--group->refs > 0)
        return;
    labels_forget(all_labels(group));
    mem_free(group);
}

/* The same names have the same numbers while somebody has them. */
bool target_group_eq(const struct target_group *a, const struct target_group *b)
{
    if (!a || !b)
        return a == b;
    return strcmp(a->source, b->source) == 0 && a->target_count == b->target_count &&
           memcmp(a->offsets, b->offsets, (a->target_count + 2) * sizeof(a->offsets[0])) == 0 &&
           str_eq(all_labels(a), all_labels(b));
}

/* --- reading --- */

static struct reader labels_at(const struct target_group *group, size_t place)
{
    struct str all = all_labels(group);
    uint32_t begin = group->offsets[place], end = group->offsets[place + 1];

    return reader_over(str_first(str_after(all, begin), end - begin));
}

void target_group_load_part(const struct target_group *group, size_t part,
                            struct labels_builder *out)
{
    struct reader in = labels_at(group, part);
    struct label label;

    ENSURE(part <= group->target_count);
    labels_builder_clear(out);
    while (label_next(&in, &label))
        labels_builder_set(out, label.name, label.value);
}

void target_group_load(const struct target_group *group, size_t index, struct labels_builder *out)
{
    struct reader in = labels_at(group, 0);
    struct label label;

    target_group_load_part(group, 1 + index, out);
    while (label_next(&in, &label))
        if (!labels_builder_has(out, label.name))
            labels_builder_set(out, label.name, label.value);
}
