/* Unit tests of base/compress. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "base/compress.h"
#include "base/mem.h"

static struct str text_make(char *text, size_t len)
{
    uint64_t random = 88172645463325252u;
    for (size_t i = 0; i < len; i++) {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        text[i] = (char)('a' + (i % 97 < 60 ? i % 13 : random % 20));
    }
    return (struct str){text, len};
}

static void test_snappy_decode__gives_back_what_was_encoded(void **state)
{
    (void)state;
    static char text[300000];
    size_t lens[] = {0, 1, 100, 65536, sizeof(text)};

    for (size_t i = 0; i < COUNT_OF(lens); i++) {
        struct str in = text_make(text, lens[i]);
        struct buf packed, out;
        struct err err = {0};
        buf_init(&packed, 1 << 20);
        buf_init(&out, lens[i]);
        snappy_encode(in, &packed);
        assert_false(packed.overflow);
        assert_true(snappy_decode(buf_str(&packed), &out, &err));
        assert_true(str_eq(buf_str(&out), in));
        buf_deinit(&packed);
        buf_deinit(&out);
    }
}

/* Nine bytes may claim four gigabytes: no memory may be taken for a claim. */
static void test_snappy_decode__refuses_claims(void **state)
{
    (void)state;
    struct buf out;
    struct err err = {0};

    buf_init(&out, 1000);
    assert_false(snappy_decode(STR("\xff\xff\xff\xff\x0f"
                                   "abcd"),
                               &out, &err));
    assert_int_equal(err.code, ERR_LIMIT);
    assert_null(out.ptr);
    out.len_max = SIZE_MAX;
    assert_false(snappy_decode(STR("\xff\xff\xff\xff\x0f"
                                   "abcd"),
                               &out, &err));
    assert_int_equal(err.code, ERR_BAD_DATA);
    assert_null(out.ptr);
    assert_false(snappy_decode(STR(""), &out, &err));
    assert_false(snappy_decode(STR("\x05"
                                   "\xf0"),
                               &out, &err));
    assert_string_equal(err.text, "snappy: corrupt input");
    assert_int_equal(out.len, 0);
    buf_deinit(&out);
}

static void test_snappy_encode__fits_an_exact_maximum(void **state)
{
    (void)state;
    struct buf packed, exact;

    buf_init(&packed, 1000);
    snappy_encode(STR("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"), &packed);
    buf_init(&exact, packed.len);
    snappy_encode(STR("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"), &exact);
    assert_false(exact.overflow);
    assert_true(str_eq(buf_str(&packed), buf_str(&exact)));
    buf_deinit(&packed);
    buf_deinit(&exact);
}

static void test_deflate_decode__gives_back_both_formats(void **state)
{
    (void)state;
    static char text[500000];
    enum deflate_format formats[] = {DEFLATE_GZIP, DEFLATE_ZLIB};
    size_t lens[] = {0, 1, 40000, sizeof(text)};

    for (size_t i = 0; i < 8; i++) {
        struct str in = text_make(text, lens[i / 2]);
        struct buf packed, out;
        struct err err = {0};
        buf_init(&packed, 1 << 20);
        buf_init(&out, lens[i / 2]);
        deflate_encode(formats[i % 2], in, &packed);
        assert_false(packed.overflow);
        assert_true(deflate_decode(formats[i % 2], buf_str(&packed), &out, &err));
        assert_true(str_eq(buf_str(&out), in));
        assert_false(deflate_decode(formats[1 - i % 2], buf_str(&packed), &out, &err));
        buf_deinit(&packed);
        buf_deinit(&out);
    }
}

/* A scraped target may send a bomb: only the buf's maximum may come out of it. */
static void test_deflate_decode__is_bounded_by_its_output(void **state)
{
    (void)state;
    size_t len = 64 << 20;
    char *zeroes = mem_zalloc(len);
    struct buf packed, out;
    struct err err = {0};

    buf_init(&packed, 1 << 20);
    buf_init(&out, 100000);
    deflate_encode(DEFLATE_GZIP, (struct str){zeroes, len}, &packed);
    assert_false(packed.overflow);
    assert_false(deflate_decode(DEFLATE_GZIP, buf_str(&packed), &out, &err));
    assert_int_equal(err.code, ERR_LIMIT);
    assert_true(out.capacity <= 100000);
    buf_deinit(&packed);
    buf_deinit(&out);
    mem_free(zeroes);
}

static void test_deflate_encode__overflows_a_small_buf(void **state)
{
    (void)state;
    static char text[100000];
    struct buf out;

    buf_init(&out, 50);
    deflate_encode(DEFLATE_GZIP, text_make(text, sizeof(text)), &out);
    assert_true(out.overflow);
    assert_true(out.len <= 50);
    buf_deinit(&out);
}

static bool add_to_buf(void *ctx, struct str bytes, struct err *err)
{
    (void)err;
    assert_true(bytes.len > 0 && bytes.len <= 32 * 1024);
    buf_add_str(ctx, bytes);
    return true;
}

/* Bytes arrive in any pieces; members may be concatenated anywhere. */
static void test_inflate_feed__takes_bytes_one_by_one(void **state)
{
    (void)state;
    struct buf packed, out;
    struct err err = {0};
    struct inflate_stream *stream = inflate_new(DEFLATE_GZIP);

    buf_init(&packed, 1000);
    buf_init(&out, 1000);
    deflate_encode(DEFLATE_GZIP, STR("first,"), &packed);
    deflate_encode(DEFLATE_GZIP, STR("second"), &packed);
    assert_false(inflate_finish(stream, &err));
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < packed.len; i++) {
            assert_true(
                inflate_feed(stream, (struct str){packed.ptr + i, 1}, add_to_buf, &out, &err));
            if (i == 2 || i + 2 == packed.len)
                assert_false(inflate_finish(stream, &err));
        }
        assert_true(inflate_finish(stream, &err));
        assert_true(str_eq(buf_str(&out), STR("first,second")));
        buf_clear(&out);
        inflate_restart(stream);
    }
    inflate_free(stream);
    inflate_free(NULL);
    buf_deinit(&packed);
    buf_deinit(&out);
}

static bool refuse(void *ctx, struct str bytes, struct err *err)
{
    (void)ctx;
    (void)bytes;
    return err_set(err, ERR_CANCELED, "enough");
}

static void test_inflate_feed__keeps_the_sinks_error(void **state)
{
    (void)state;
    struct buf packed;
    struct err err = {0};
    struct inflate_stream *stream = inflate_new(DEFLATE_ZLIB);

    buf_init(&packed, 1000);
    deflate_encode(DEFLATE_ZLIB, STR("text"), &packed);
    assert_false(inflate_feed(stream, buf_str(&packed), refuse, NULL, &err));
    assert_int_equal(err.code, ERR_CANCELED);
    assert_false(inflate_finish(stream, &err));
    inflate_free(stream);
    buf_deinit(&packed);
}

static void test_deflate_decode__names_the_damage(void **state)
{
    (void)state;
    struct buf packed, out;
    struct err err = {0};

    buf_init(&packed, 1000);
    buf_init(&out, 1000);
    assert_false(deflate_decode(DEFLATE_GZIP, STR("not gzip at all"), &out, &err));
    assert_string_equal(err.text, "gzip: invalid header");
    deflate_encode(DEFLATE_GZIP, STR("some text"), &packed);
    assert_false(
        deflate_decode(DEFLATE_GZIP, str_first(buf_str(&packed), packed.len - 1), &out, &err));
    assert_string_equal(err.text, "unexpected EOF");
    packed.ptr[packed.len - 6] ^= 1;
    assert_false(deflate_decode(DEFLATE_GZIP, buf_str(&packed), &out, &err));
    assert_string_equal(err.text, "gzip: invalid checksum");
    buf_deinit(&packed);
    buf_deinit(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_snappy_decode__gives_back_what_was_encoded),
        cmocka_unit_test(test_snappy_decode__refuses_claims),
        cmocka_unit_test(test_snappy_encode__fits_an_exact_maximum),
        cmocka_unit_test(test_deflate_decode__gives_back_both_formats),
        cmocka_unit_test(test_deflate_decode__is_bounded_by_its_output),
        cmocka_unit_test(test_deflate_encode__overflows_a_small_buf),
        cmocka_unit_test(test_inflate_feed__takes_bytes_one_by_one),
        cmocka_unit_test(test_inflate_feed__keeps_the_sinks_error),
        cmocka_unit_test(test_deflate_decode__names_the_damage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
