/* proto: WriteRequests as senders write them, and as nobody should. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/bytes.h"
#include "proto.h"

static void add_key(struct buf *out, unsigned number, unsigned wire)
{
    write_varint(out, (uint64_t)number << 3 | wire);
}

static void add_message(struct buf *out, unsigned number, struct buf *inner)
{
    add_key(out, number, 2);
    write_varint_str(out, buf_str(inner));
    buf_deinit(inner);
}

static void add_label(struct buf *series, struct str name, struct str value)
{
    struct buf label;
    buf_init(&label, 1 << 20);
    add_key(&label, 1, 2);
    write_varint_str(&label, name);
    add_key(&label, 2, 2);
    write_varint_str(&label, value);
    add_message(series, 1, &label);
}

static void add_sample(struct buf *series, int64_t time_ms, double value)
{
    struct buf sample;
    buf_init(&sample, 1 << 20);
    add_key(&sample, 1, 1);
    write_u64(&sample, sample_bits(value));
    add_key(&sample, 2, 0);
    write_varint(&sample, (uint64_t)time_ms);
    add_message(series, 2, &sample);
}

static void assert_str(struct str actual, const char *wanted)
{
    assert_int_equal(actual.len, strlen(wanted));
    assert_memory_equal(actual.ptr, wanted, actual.len);
}

/* The plain case: two series, each with what belongs to it. */
static void test_proto_write_next__reads_series_one_by_one(void **state)
{
    (void)state;
    struct buf request, series;
    buf_init(&request, 1 << 20);
    buf_init(&series, 1 << 20);
    add_label(&series, STR("__name__"), STR("up"));
    add_label(&series, STR("job"), STR("x"));
    add_sample(&series, 1000, 1.5);
    add_sample(&series, -2000, -0.0);
    add_message(&request, 1, &series);
    add_label(&series, STR("__name__"), STR("down"));
    add_sample(&series, 7, sample_stale());
    add_message(&request, 1, &series);

    struct proto_write write;
    struct err err = {0};
    proto_write_init(&write, buf_str(&request));
    assert_true(proto_write_next(&write, &err));
    assert_int_equal(write.labels.count, 2);
    assert_str(write.labels.items[1].name, "job");
    assert_str(write.labels.items[1].value, "x");
    assert_int_equal(write.samples.count, 2);
    assert_int_equal(write.samples.items[1].time_ms, -2000);
    assert_true(sample_bits(write.samples.items[1].value) == sample_bits(-0.0));
    assert_true(proto_write_next(&write, &err));
    assert_int_equal(write.labels.count, 1);
    assert_int_equal(write.samples.count, 1);
    assert_true(sample_is_stale(write.samples.items[0].value));
    assert_false(proto_write_next(&write, &err));
    assert_int_equal(err.code, ERR_NONE);
    proto_write_deinit(&write);
    buf_deinit(&request);
}

/* Newer senders add fields; old protobuf has groups. Neither may stop us. */
static void test_proto_write_next__skips_what_it_does_not_know(void **state)
{
    (void)state;
    struct buf request, series, metadata;
    buf_init(&request, 1 << 20);
    buf_init(&series, 1 << 20);
    buf_init(&metadata, 1 << 20);
    add_key(&request, 99, 0);
    write_varint(&request, UINT64_MAX);
    add_key(&request, 98, 3); /* A group with a nested one inside. */
    add_key(&request, 98, 3);
    add_key(&request, 4, 5);
    write_u32(&request, 7);
    add_key(&request, 98, 4);
    add_key(&request, 98, 4);
    BUF_ADD(&metadata, "anything");
    add_message(&request, 3, &metadata);
    add_label(&series, STR("__name__"), STR("up"));
    add_key(&series, 50, 1);
    write_u64(&series, 1);
    add_key(&series, 3, 2); /* An exemplar and two histograms. */
    write_varint_str(&series, STR(""));
    add_key(&series, 4, 2);
    write_varint_str(&series, STR(""));
    add_key(&series, 4, 2);
    write_varint_str(&series, STR(""));
    add_message(&request, 1, &series);

    struct proto_write write;
    struct err err = {0};
    proto_write_init(&write, buf_str(&request));
    assert_true(proto_write_next(&write, &err));
    assert_int_equal(write.labels.count, 1);
    assert_int_equal(write.exemplars.count, 1);
    assert_int_equal(write.histograms.count, 2);
    assert_int_equal(write.metadata_count, 1);
    assert_false(proto_write_next(&write, &err));
    assert_int_equal(err.code, ERR_NONE);
    proto_write_deinit(&write);
    buf_deinit(&request);
}

/* Each of these is damage and must be told from the end of the request. */
static void test_proto_write_next__refuses_damage(void **state)
{
    (void)state;
    static const struct {
        struct str bytes;
        const char *text;
    } cases[] = {
        {STR("\x0a\x05\x0a"), "unexpected EOF"}, /* A length past the end. */
        {STR("\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), "unexpected EOF"},
        {STR("\x0a\x04\x0a\x09\x0a\x01"), "unexpected EOF"}, /* A label past its series. */
        {STR("\x08\x01"), "proto: wrong wireType = 0 for field Timeseries"},
        {STR("\x0a\x02\x08\x01"), "proto: wrong wireType = 0 for field Labels"},
        {STR("\x0a\x04\x12\x02\x08\x01"), "proto: wrong wireType = 0 for field Value"},
        {STR("\x02\x01"), "proto: WriteRequest: illegal tag 0 (wire type 2)"},
        {STR("\x17\x01"), "proto: illegal wireType 7"},
        {STR("\x14"), "proto: WriteRequest: wiretype end group for non-group"},
        {STR("\x13\x13\x13"), "unexpected EOF"}, /* Groups that never end. */
        {STR("\x80"), "unexpected EOF"},
    };

    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct proto_write write;
        struct err err = {0};
        proto_write_init(&write, cases[i].bytes);
        assert_false(proto_write_next(&write, &err));
        assert_int_equal(err.code, ERR_BAD_DATA);
        assert_string_equal(err.text, cases[i].text);
        proto_write_deinit(&write);
    }
}

/* Two bytes of wire make a label: the maximum keeps a small request from growing big in memory. */
static void test_proto_write_next__bounds_labels(void **state)
{
    (void)state;
    struct buf request, series;
    buf_init(&request, 1 << 20);
    buf_init(&series, 1 << 20);
    for (size_t i = 0; i <= PROTO_LABELS_MAX; i++)
        BUF_ADD(&series, "\x0a\x00");
    add_message(&request, 1, &series);

    struct proto_write write;
    struct err err = {0};
    proto_write_init(&write, buf_str(&request));
    assert_false(proto_write_next(&write, &err));
    assert_int_equal(err.code, ERR_BAD_DATA);
    assert_string_equal(err.text, "a series has more than 1024 labels");
    proto_write_deinit(&write);
    buf_deinit(&request);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_proto_write_next__reads_series_one_by_one),
        cmocka_unit_test(test_proto_write_next__skips_what_it_does_not_know),
        cmocka_unit_test(test_proto_write_next__refuses_damage),
        cmocka_unit_test(test_proto_write_next__bounds_labels),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
