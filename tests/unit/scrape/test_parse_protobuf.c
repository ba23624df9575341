/* Golden files: <name>.pbtxt is what a target says (see proto_text.h), <name>.options the job's
 * switches, <name>.want what the parser must make of it; those that begin with bad_ end in an
 * error. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

#include "proto_text.h"
#include "text_dump.h"

static bool load(struct arena *arena, const char *path, struct str *out)
{
    FILE *file = fopen(path, "rb");
    if (!file)
        return false;
    char *bytes = arena_alloc(arena, 1 << 20);
    size_t len = fread(bytes, 1, 1 << 20, file);
    fclose(file);
    *out = str_from(bytes, len);
    return true;
}

static size_t one_byte(void *ctx)
{
    (void)ctx;
    return 1;
}

static size_t seven_bytes(void *ctx)
{
    (void)ctx;
    return 7;
}

static void dump_open(struct text_dump *dump, struct str options)
{
    text_dump_init(dump);
    dump->format = PROTOBUF_DELIMITED;
    dump->protobuf = (struct parse_protobuf_options){
        .native = str_find(options, STR("native")) < options.len,
        .always_classic = str_find(options, STR("always_classic")) < options.len,
        .classic_to_native = str_find(options, STR("nhcb")) < options.len,
    };
}

static void expect_dump(struct text_dump *dump, struct str bytes, struct str want, bool good,
                        size_t (*cut)(void *ctx), const char *path)
{
    buf_clear(&dump->out);
    bool ok = text_dump_run(dump, bytes, PARSE_LINE_BYTES_MAX, cut, NULL);
    if (!str_eq(buf_str(&dump->out), want))
        fail_msg("%s\n--- got\n" STR_FMT "--- want\n" STR_FMT, path, STR_ARG(buf_str(&dump->out)),
                 STR_ARG(want));
    assert_int_equal(ok, good);
}

static void run_file(struct arena *arena, const char *name, bool good)
{
    char path[4096];
    struct str text, want, options = STR_EMPTY;
    struct text_dump whole, cut;
    struct buf bytes;

    snprintf(path, sizeof(path), "%s/golden/protobuf/%s.options", TEST_SOURCE_DIR, name);
    (void)load(arena, path, &options);
    snprintf(path, sizeof(path), "%s/golden/protobuf/%s.want", TEST_SOURCE_DIR, name);
    assert_true(load(arena, path, &want));
    snprintf(path, sizeof(path), "%s/golden/protobuf/%s.pbtxt", TEST_SOURCE_DIR, name);
    assert_true(load(arena, path, &text));
    buf_init(&bytes, 1 << 20);
    proto_text_encode(&bytes, text, false);
    dump_open(&whole, options);
    dump_open(&cut, options);
    expect_dump(&whole, buf_str(&bytes), want, good, NULL, path);
    expect_dump(&whole, buf_str(&bytes), want, good, seven_bytes, path);
    expect_dump(&whole, buf_str(&bytes), want, good, NULL, path);
    expect_dump(&cut, buf_str(&bytes), want, good, one_byte, path);
    expect_dump(&cut, buf_str(&bytes), want, good, one_byte, path);
    text_dump_deinit(&whole);
    text_dump_deinit(&cut);
    buf_deinit(&bytes);
}

/* Each file whole, in sevens, in bytes, and again with a warm cache. */
static void test_parse_protobuf__golden(void **state)
{
    struct arena arena;
    char path[4096], name[256];
    size_t count = 0;

    (void)state;
    arena_init(&arena, 0);
    snprintf(path, sizeof(path), "%s/golden/protobuf", TEST_SOURCE_DIR);
    DIR *dir = opendir(path);
    assert_non_null(dir);
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        struct str file = str_of(entry->d_name);
        if (!str_ends(file, STR(".pbtxt")))
            continue;
        snprintf(name, sizeof(name), "%.*s", (int)file.len - 6, entry->d_name);
        run_file(&arena, name, !str_starts(file, STR("bad_")));
        arena_reset(&arena);
        count++;
    }
    closedir(dir);
    arena_deinit(&arena);
    assert_true(count >= 25);
}

/* The second time every series must be found in the cache, without the map. */
static void test_parse_protobuf__knows_series_again(void **state)
{
    struct text_dump dump;
    struct buf bytes;

    (void)state;
    buf_init(&bytes, 1 << 20);
    proto_text_encode(&bytes,
                      STR("{ 1 \"h\" 3 u 4 4 { 7 { 1 u 1 2 d 2 3 { 1 u 1 2 d 1 } } } } "
                          "{ 1 \"g\" 3 u 1 4 { 1 { 1 \"a\" 2 \"b\" } 2 { 1 d 1 } } }"),
                      false);
    dump_open(&dump, STR("native"));
    assert_true(text_dump_run(&dump, buf_str(&bytes), PARSE_LINE_BYTES_MAX, NULL, NULL));
    assert_int_equal(dump.known_count, 0);
    dump.cache.map_used = false;
    assert_true(text_dump_run(&dump, buf_str(&bytes), PARSE_LINE_BYTES_MAX, NULL, NULL));
    assert_int_equal(dump.known_count, 5);
    assert_false(dump.cache.map_used);
    text_dump_deinit(&dump);
    buf_deinit(&bytes);
}

/* A field that claims more than fits is refused by its length, before its bytes have come; unknown
 * fields may be of any length. */
static void test_parse_protobuf__bounds_fields(void **state)
{
    struct text_dump dump;
    struct buf bytes;

    (void)state;
    buf_init(&bytes, 16 << 20);
    write_varint(&bytes, 1 << 30);
    write_varint(&bytes, 99 << 3 | 2);
    write_varint(&bytes, 5 << 20);
    for (int i = 0; i < 5 << 20; i++)
        buf_add_char(&bytes, 'x');
    write_varint(&bytes, 4 << 3 | 2);
    write_varint(&bytes, PROTOBUF_FIELD_BYTES_MAX + 1);
    dump_open(&dump, STR_EMPTY);
    assert_false(text_dump_run(&dump, buf_str(&bytes), PARSE_LINE_BYTES_MAX, NULL, NULL));
    assert_true(str_eq(buf_str(&dump.out),
                       STR("a field of a metric family is longer than 4194304 bytes\n")));
    text_dump_deinit(&dump);
    buf_deinit(&bytes);
}

/* Every sample has a copy of its labels: many buckets of long labels must not become gigabytes. */
static void test_parse_protobuf__bounds_copies_of_labels(void **state)
{
    struct buf bytes, metric, histogram, label;
    struct text_dump dump;

    (void)state;
    buf_init(&bytes, 16 << 20);
    buf_init(&metric, 16 << 20);
    buf_init(&histogram, 16 << 20);
    buf_init(&label, 16 << 20);
    BUF_ADD(&label, "\x0a\x01l\x12");
    write_varint(&label, 1 << 20);
    for (int i = 0; i < 1 << 20; i++)
        buf_add_char(&label, 'x');
    BUF_ADD(&metric, "\x0a");
    write_varint_str(&metric, buf_str(&label));
    for (int i = 0; i < 50000; i++)
        BUF_ADD(&histogram, "\x1a\x00");
    BUF_ADD(&metric, "\x3a");
    write_varint_str(&metric, buf_str(&histogram));
    buf_clear(&label);
    BUF_ADD(&label, "\x0a\x01h\x18\x04\x22");
    write_varint_str(&label, buf_str(&metric));
    write_varint_str(&bytes, buf_str(&label));
    dump_open(&dump, STR_EMPTY);
    assert_false(text_dump_run(&dump, buf_str(&bytes), PARSE_LINE_BYTES_MAX, NULL, NULL));
    assert_true(str_ends(buf_str(&dump.out), STR("bytes of labels and 50000 buckets\n")));
    text_dump_deinit(&dump);
    buf_deinit(&bytes);
    buf_deinit(&metric);
    buf_deinit(&histogram);
    buf_deinit(&label);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse_protobuf__golden),
        cmocka_unit_test(test_parse_protobuf__knows_series_again),
        cmocka_unit_test(test_parse_protobuf__bounds_fields),
        cmocka_unit_test(test_parse_protobuf__bounds_copies_of_labels),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
