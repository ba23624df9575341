/* Suspect records in the log of a store, each with a checksum that is right: the store opens, seals what it found, and has
 * the same samples after its next start.
 *
 * Input: (u16 length, payload of a record)*. */
#include <ftw.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/hash.h"
#include "log_format.h"
#include "store.h"
#include "store_fixture.h"

#define HOUR      (INT64_C(3600) * 1000)
#define BYTES_MAX 16384

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int remove_one(const char *path, const struct stat *info, int kind, struct FTW *walk)
{
    (void)info;
    (void)kind;
    (void)walk;
    return remove(path);
}

static void write_log(const struct store_fixture *f, struct reader *in)
{
    char path[128];
    struct buf bytes;
    buf_init(&bytes, 1 << 20);
    buf_add_str(&bytes, STR(LOG_MAGIC));
    write_u32(&bytes, STORE_VERSION);
    write_u64(&bytes, 1);
    while (reader_left(in) >= 2) {
        size_t len = read_u8(in);
        len |= (size_t)read_u8(in) << 8;
        len = len < reader_left(in) ? len : reader_left(in);
        struct str payload = read_bytes(in, len);
        write_u32(&bytes, (uint32_t)payload.len);
        write_u32(&bytes, hash_crc32c(0, payload));
        buf_add_str(&bytes, payload);
    }
    snprintf(path, sizeof(path), "%s/narthex", f->dir);
    ENSURE(mkdir(path, 0755) == 0);
    snprintf(path, sizeof(path), "%s/narthex/log", f->dir);
    ENSURE(mkdir(path, 0755) == 0);
    snprintf(path, sizeof(path), "%s/narthex/log/00000001", f->dir);
    FILE *file = fopen(path, "wb");
    ENSURE(file && fwrite(bytes.ptr, 1, bytes.len, file) == bytes.len && fclose(file) == 0);
    buf_deinit(&bytes);
}

/* Of all series; the times of each ascend. */
static size_t count_samples(const struct store_fixture *f)
{
    struct selection *selection;
    struct sample_block block;
    struct err err = {0};
    size_t count = 0;
    ENSURE(storage_select(f->storage, NULL, 0, INT64_MIN, INT64_MAX, &selection, &err));
    struct cursor *cursor = cursor_new(selection);
    for (size_t i = 0; i < selection_count(selection); i++) {
        int64_t last_ms = INT64_MIN;
        cursor_seek(cursor, i);
        do {
            ENSURE(cursor_next(cursor, &block, &err));
            for (size_t k = 0; k < block.count; k++) {
                ENSURE(block.time_ms[k] > last_ms);
                last_ms = block.time_ms[k];
            }
            count += block.count;
        } while (block.count > 0);
    }
    cursor_free(cursor);
    selection_free(selection);
    return count;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct store_fixture f = {.one_thread = true};
    struct reader in = reader_over(str_from((const char *)data, size));
    struct err err = {0};
    if (size > BYTES_MAX)
        return 0;
    snprintf(f.dir, sizeof(f.dir), "/tmp/narthex-fuzz-XXXXXX");
    ENSURE(mkdtemp(f.dir) != NULL);
    write_log(&f, &in);
    storage_options_init(&f.options);
    f.options.build_delay_ms = INT64_MAX / 4;
    f.options.retention_ms = 0;
    lane_now_init(&f.lane);
    if (store_try_open(&f, &err)) {
        size_t before = count_samples(&f);
        store_tick(&f, HOUR);
        store_tick(&f, 2 * HOUR);
        ENSURE(count_samples(&f) == before);
        store_close(&f);
        store_open(&f);
        ENSURE(count_samples(&f) == before);
        store_close(&f);
    }
    ENSURE(nftw(f.dir, remove_one, 16, FTW_DEPTH | FTW_PHYS) == 0);
    return 0;
}
