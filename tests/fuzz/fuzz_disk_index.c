/* Suspect bytes as the sections of an index, with checksums that are right: whatever passes those must still be borne.
 *
 *     u16 series  u16 names  6 * (u16 length, bytes): values, series, groups, postings, restarts, names */
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/hash.h"
#include "base/mem.h"
#include "disk_index_private.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define SERIES_MAX 4096u
#define LABELS_MAX 64u

static void check(bool good)
{
    if (!good)
        abort();
}

/* A section in a heap block of its own size, so that a read past its end is seen. */
static struct str section_make(struct str data, uint32_t *section_len, uint32_t *crc)
{
    struct buf buf;
    buf_init(&buf, UINT32_MAX);
    buf_add_str(&buf, data);
    check(section_seal(&buf, section_len, crc));
    struct str exact = {mem_dup(buf.ptr, buf.len), buf.len};
    buf_deinit(&buf);
    return exact;
}

static void sections_make(struct reader *in, struct str sections[DISK_INDEX_SECTIONS])
{
    uint32_t series = read_u16(in) % SERIES_MAX, names = read_u16(in);
    uint32_t lens[SECTION_HEAD], crcs[SECTION_HEAD];
    uint64_t restarts = 0;
    struct buf head, hashes;
    for (unsigned i = 0; i < SECTION_HASHES; i++) {
        size_t len = read_u16(in);
        struct str data = read_bytes(in, len < reader_left(in) ? len : reader_left(in));
        if (i == SECTION_RESTARTS)
            restarts = data.len / RESTART_BYTES;
        sections[i] = section_make(data, &lens[i], &crcs[i]);
    }
    buf_init(&hashes, UINT32_MAX);
    for (uint32_t i = 0; i < series; i++)
        write_u64(&hashes, i);
    sections[SECTION_HASHES] =
        section_make(buf_str(&hashes), &lens[SECTION_HASHES], &crcs[SECTION_HASHES]);
    buf_deinit(&hashes);
    buf_init(&head, HEAD_BYTES);
    write_u32(&head, HEAD_MAGIC);
    write_u32(&head, HEAD_VERSION);
    write_u32(&head, series);
    write_u32(&head, names);
    write_u32(&head, restarts > 0 ? (uint32_t)restarts - 1 : 0);
    for (unsigned i = 0; i < SECTION_HEAD; i++) {
        write_u32(&head, lens[i]);
        write_u32(&head, crcs[i]);
    }
    write_u32(&head, hash_crc32c(0, buf_str(&head)));
    sections[SECTION_HEAD] = (struct str){mem_dup(head.ptr, head.len), head.len};
    buf_deinit(&head);
}

static bool tell(void *ctx, struct str text, struct err *err)
{
    (void)err;
    *(uint64_t *)ctx ^= hash64(text);
    return true;
}

static void tell_pair(void *ctx, struct str name, struct str value, uint32_t series_count)
{
    *(uint64_t *)ctx ^= hash64(name) ^ hash64(value) ^ series_count;
}

static void use_matchers(const struct disk_index *index)
{
    static const struct {
        enum matcher_type type;
        const char *name, *value;
    } conditions[] = {
        {MATCH_EQUAL, "__name__", "metric_1"},
        {MATCH_REGEX, "pod", "web-.*"},
        {MATCH_REGEX, "pod", ".*foo.*[a-z]"},
        {MATCH_NOT_EQUAL, "zone", "api-"},
        {MATCH_NOT_REGEX, "uid", "[0-7].*"},
        {MATCH_REGEX, "__name__", "metric_1|metric_2|x"},
        {MATCH_REGEX, "a", ".+"},
        {MATCH_EQUAL, "le", ""},
    };
    struct err err;
    for (size_t i = 0; i < COUNT_OF(conditions); i++) {
        struct matcher matchers[2];
        struct ordinal_vec found = {0};
        uint64_t sum = 0;
        for (size_t m = 0; m < 2; m++) {
            size_t at = (i + 3 * m) % COUNT_OF(conditions);
            check(matcher_init(&matchers[m], conditions[at].type, str_of(conditions[at].name),
                               str_of(conditions[at].value), &err));
        }
        for (size_t count = 1; count <= 2; count++) {
            VEC_CLEAR(&found);
            if (!disk_index_match(index, matchers, count, &found, &err)) {
                check(err.code == ERR_CORRUPT);
                continue;
            }
            for (size_t j = 0; j < found.count; j++)
                check(found.items[j] < disk_index_count(index) &&
                      (j == 0 || found.items[j - 1] < found.items[j]));
            if (!disk_index_names(index, &found, tell, &sum, &err))
                check(err.code == ERR_CORRUPT);
            if (!disk_index_values(index, STR("pod"), &found, tell, &sum, &err))
                check(err.code == ERR_CORRUPT);
        }
        VEC_FREE(&found);
        matcher_deinit(&matchers[0]);
        matcher_deinit(&matchers[1]);
    }
}

static void use(const struct disk_index *index)
{
    struct label labels[LABELS_MAX];
    struct arena arena;
    struct err err;
    uint64_t sum = 0;
    arena_init(&arena, 0);
    use_matchers(index);
    for (uint32_t i = 0; i < disk_index_count(index); i++) {
        size_t count;
        bool found;
        uint32_t ordinal;
        arena_reset(&arena);
        sum ^= disk_index_hash(index, i);
        if (!disk_index_labels(index, i, &arena, labels, LABELS_MAX, &count, &err)) {
            check(err.code == ERR_CORRUPT && count <= LABELS_MAX);
            break;
        }
        sum ^= labels_hash(labels, count);
        if (i % 16 == 0 && !disk_index_find(index, labels, count, &found, &ordinal, &err))
            check(err.code == ERR_CORRUPT);
    }
    if (!disk_index_names(index, NULL, tell, &sum, &err) ||
        !disk_index_values(index, STR("pod"), NULL, tell, &sum, &err) ||
        !disk_index_pairs(index, tell_pair, &sum, &err))
        check(err.code == ERR_CORRUPT);
    arena_deinit(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct reader in = {.at = data, .end = data + len, .begin = data};
    struct str sections[DISK_INDEX_SECTIONS];
    struct disk_index *index;
    struct err err;
    sections_make(&in, sections);
    if (disk_index_open(&index, sections, &err))
        use(index);
    else
        check(err.code == ERR_CORRUPT && !index);
    disk_index_close(index);
    for (unsigned i = 0; i < DISK_INDEX_SECTIONS; i++)
        mem_free((char *)(uintptr_t)sections[i].ptr);
    return 0;
}
