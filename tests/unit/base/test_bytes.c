/* Unit tests of base/bytes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/bytes.h"

static void test_read__gives_back_what_was_written(void **state)
{
    (void)state;
    struct buf buf;
    uint64_t values[] = {0, 1, 127, 128, 16383, 16384, UINT32_MAX, INT64_MAX, UINT64_MAX};

    buf_init(&buf, 4096);
    write_u8(&buf, 0xfe);
    write_u16(&buf, 0x1234);
    write_u32(&buf, 0x12345678);
    write_u64(&buf, UINT64_C(0x123456789abcdef0));
    for (size_t i = 0; i < COUNT_OF(values); i++) {
        write_varint(&buf, values[i]);
        write_zigzag(&buf, (int64_t)values[i]);
    }
    write_varint_str(&buf, STR("text"));

    struct reader in = reader_over(buf_str(&buf));
    assert_int_equal(read_u8(&in), 0xfe);
    assert_int_equal(read_u16(&in), 0x1234);
    assert_int_equal(read_u32(&in), 0x12345678);
    assert_true(read_u64(&in) == UINT64_C(0x123456789abcdef0));
    for (size_t i = 0; i < COUNT_OF(values); i++) {
        assert_true(read_varint(&in) == values[i]);
        assert_true(read_zigzag(&in) == (int64_t)values[i]);
    }
    assert_true(str_eq(read_varint_str(&in), STR("text")));
    assert_int_equal(reader_left(&in), 0);
    assert_false(in.bad);
    assert_int_equal((unsigned char)buf.ptr[1], 0x34); /* Little-endian on every machine. */
    buf_deinit(&buf);
}

/* Decoders read straight through: after the end all must be zero and no byte be touched. */
static void test_read__stays_bad_past_the_end(void **state)
{
    (void)state;
    struct reader in = reader_over(STR("\x01\x02\x03"));

    assert_int_equal(read_u32(&in), 0);
    assert_true(in.bad);
    assert_int_equal(read_u8(&in), 0);
    assert_true(read_varint(&in) == 0);
    assert_int_equal(read_bytes(&in, 0).len, 0);
    assert_int_equal(reader_left(&in), 0);
}

static void test_read_varint__refuses_what_is_too_long(void **state)
{
    (void)state;
    struct reader in = reader_over(STR("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02"));
    assert_true(read_varint(&in) == 0);
    assert_true(in.bad);
    in = reader_over(STR("\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x00"));
    read_varint(&in);
    assert_true(in.bad);
    in = reader_over(STR("\x80"));
    read_varint(&in);
    assert_true(in.bad);
    in = reader_over(STR("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"));
    assert_true(read_varint(&in) == UINT64_MAX);
    assert_false(in.bad);
}

/* A claimed length of nearly 2^64 must not overflow a pointer. */
static void test_read_varint_str__refuses_a_length_past_the_end(void **state)
{
    (void)state;
    struct reader in = reader_over(STR("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"
                                       "abc"));
    assert_int_equal(read_varint_str(&in).len, 0);
    assert_true(in.bad);
    in = reader_over((struct str){NULL, 0});
    assert_int_equal(read_bytes(&in, 0).len, 0);
    assert_false(in.bad);
    assert_int_equal(read_bytes(&in, 1).len, 0);
    assert_true(in.bad);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_read__gives_back_what_was_written),
        cmocka_unit_test(test_read__stays_bad_past_the_end),
        cmocka_unit_test(test_read_varint__refuses_what_is_too_long),
        cmocka_unit_test(test_read_varint_str__refuses_a_length_past_the_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
