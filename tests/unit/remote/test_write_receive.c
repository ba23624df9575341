/* write_receive: what is stored, what is answered and when, over a storage that only remembers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "base/compress.h"
#include "base/mem.h"
#include "model/histogram_math.h"
#include "model/sample.h"
#include "proto_text.h"
#include "remote.h"

#define NOW_MS 1700000000000

/* --- a storage that remembers --- */

struct storage_group {
    uint64_t key;
    bool closed;
};

static struct fake {
    struct storage_group groups[64];
    size_t group_count, groups_open;
    struct buf labels[16]; /* As printed, by ref. */
    size_t series_count;
    int pins;
    struct batch_sample appended[64];
    size_t appended_count, append_calls;
    bool all_or_nothing;
    struct storage_group *append_group;
    struct err append_err, series_err;
    struct str refuse;       /* Series with this text in their labels get series_err. Empty: all. */
    struct hash128 keys[16]; /* Of known series. */
    series_ref known[16];
    size_t known_count, known_hits;
    uint8_t outcomes[4]; /* Of the first samples. */
    struct buf histograms, exemplars;
    enum exemplar_outcome exemplar_outcome;
    storage_commit_fn commit_done;
    void *commit_ctx;
} fake;

struct storage_group *storage_group_open(struct storage *storage, uint64_t key)
{
    (void)storage;
    assert_true(fake.group_count < 64);
    struct storage_group *group = &fake.groups[fake.group_count++];
    *group = (struct storage_group){.key = key};
    fake.groups_open++;
    return group;
}

void storage_group_close(struct storage_group *group)
{
    assert_false(group->closed);
    group->closed = true;
    fake.groups_open--;
}

series_ref storage_series(struct storage *storage, struct storage_group *group,
                          const struct label *labels, size_t label_count, uint64_t hash,
                          struct err *err)
{
    (void)storage;
    assert_non_null(group);
    assert_true(hash == labels_hash(labels, label_count));
    assert_true(fake.series_count < 16);
    struct buf *text = &fake.labels[fake.series_count];
    buf_init(text, 1 << 16);
    struct labels *built = labels_new(labels, label_count);
    labels_print(text, built);
    labels_unref(built);
    if (fake.series_err.code != ERR_NONE &&
        (!fake.refuse.ptr || str_find(buf_str(text), fake.refuse) < text->len)) {
        *err = fake.series_err;
        buf_deinit(text);
        return SERIES_REF_NONE;
    }
    fake.pins++;
    return (series_ref)fake.series_count++;
}

void storage_series_know(struct storage *storage, struct hash128 key, series_ref ref)
{
    (void)storage;
    fake.keys[fake.known_count] = key;
    fake.known[fake.known_count++] = ref;
}

series_ref storage_series_known(struct storage *storage, struct hash128 key)
{
    (void)storage;
    for (size_t i = 0; i < fake.known_count; i++) {
        if (fake.keys[i].low == key.low && fake.keys[i].high == key.high) {
            fake.known_hits++;
            return fake.known[i];
        }
    }
    return SERIES_REF_NONE;
}

void storage_series_release(struct storage *storage, series_ref ref)
{
    (void)storage;
    assert_true(ref < fake.series_count);
    fake.pins--;
}

bool storage_append(struct storage *storage, struct storage_group *group, struct batch *batch,
                    const struct append_options *options, struct append_result *result,
                    struct err *err)
{
    (void)storage;
    (void)result;
    assert_true(fake.pins + (int)fake.known_hits > 0);
    fake.append_calls++;
    fake.append_group = group;
    fake.all_or_nothing = options->all_or_nothing;
    assert_int_equal(options->now_ms, NOW_MS);
    if (fake.append_err.code != ERR_NONE) {
        *err = fake.append_err;
        return false;
    }
    for (size_t i = 0; i < batch->samples.count; i++) {
        struct batch_sample *sample = &batch->samples.items[i];
        fake.appended[fake.appended_count++] = *sample;
        sample->outcome = i < COUNT_OF(fake.outcomes) ? fake.outcomes[i] : SAMPLE_STORED;
        if (sample->kind == SAMPLE_HISTOGRAM)
            histogram_print(&fake.histograms, sample->histogram);
    }
    return true;
}

struct labels *storage_series_labels(struct storage *storage, series_ref ref)
{
    struct label label = {LABEL_NAME, STR("s")};
    (void)storage;
    assert_true(ref < fake.series_count);
    return labels_new(&label, 1);
}

enum exemplar_outcome storage_exemplar_add(struct storage *storage, series_ref ref,
                                           const struct exemplar *exemplar)
{
    (void)storage;
    assert_true(ref < fake.series_count && fake.pins + (int)fake.known_hits > 0);
    struct labels *labels = labels_new(exemplar->labels, exemplar->label_count);
    labels_print(&fake.exemplars, labels);
    labels_unref(labels);
    buf_addf(&fake.exemplars, " %g @%lld;", exemplar->value, (long long)exemplar->time_ms);
    return fake.exemplar_outcome;
}

void storage_commit(struct storage *storage, storage_commit_fn done, void *ctx)
{
    (void)storage;
    assert_null(fake.commit_done);
    fake.commit_done = done;
    fake.commit_ctx = ctx;
}

static void commit(struct err err)
{
    storage_commit_fn done = fake.commit_done;
    assert_non_null(done);
    fake.commit_done = NULL;
    done(fake.commit_ctx, &err);
}

/* --- the answer --- */

static struct {
    int count, status;
    char text[2048];
    bool has_written;
    struct write_written written;
} answer;

static void remember_answer(void *ctx, int status, struct str text,
                            const struct write_written *written)
{
    assert_ptr_equal(ctx, &answer);
    answer.has_written = written != NULL;
    if (written)
        answer.written = *written;
    answer.count++;
    answer.status = status;
    snprintf(answer.text, sizeof(answer.text), STR_FMT, STR_ARG(text));
}

/* --- requests --- */

static void add_field(struct buf *out, unsigned number, struct str bytes)
{
    write_varint(out, (uint64_t)number << 3 | 2);
    write_varint_str(out, bytes);
}

static void add_series(struct buf *request, const struct label *labels, size_t label_count,
                       int64_t time_ms, double value)
{
    struct buf series, inner;
    buf_init(&series, 1 << 16);
    buf_init(&inner, 1 << 16);
    for (size_t i = 0; i < label_count; i++) {
        buf_clear(&inner);
        add_field(&inner, 1, labels[i].name);
        add_field(&inner, 2, labels[i].value);
        add_field(&series, 1, buf_str(&inner));
    }
    buf_clear(&inner);
    write_varint(&inner, 1 << 3 | 1);
    write_u64(&inner, sample_bits(value));
    write_varint(&inner, 2 << 3);
    write_varint(&inner, (uint64_t)time_ms);
    add_field(&series, 2, buf_str(&inner));
    add_field(request, 1, buf_str(&series));
    buf_deinit(&series);
    buf_deinit(&inner);
}

#define ADD_SERIES(request, time_ms, value, ...)                                                   \
    add_series((request), (const struct label[]){__VA_ARGS__},                                     \
               sizeof((const struct label[]){__VA_ARGS__}) / sizeof(struct label), (time_ms),      \
               (value))
#define LABEL(name, value)                                                                         \
    {                                                                                              \
        STR(name), STR(value)                                                                      \
    }

static struct write_receiver *receiver;
static struct buf request;

static int set_up(void **state)
{
    (void)state;
    fake = (struct fake){0};
    buf_init(&fake.histograms, 1 << 16);
    buf_init(&fake.exemplars, 1 << 16);
    memset(&answer, 0, sizeof(answer));
    receiver = write_receiver_open(NULL, WRITE_ACCEPT_V1 | WRITE_ACCEPT_V2);
    buf_init(&request, 1 << 20);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    write_receiver_close(receiver);
    assert_int_equal(fake.groups_open, 0);
    assert_int_equal(fake.pins, 0);
    for (size_t i = 0; i < fake.series_count; i++)
        buf_deinit(&fake.labels[i]);
    buf_deinit(&fake.histograms);
    buf_deinit(&fake.exemplars);
    buf_deinit(&request);
    return 0;
}

static void receive(struct write_headers headers)
{
    struct buf packed;
    buf_init(&packed, 1 << 20);
    snappy_encode(buf_str(&request), &packed);
    write_receive(receiver, &headers, buf_str(&packed), NOW_MS, remember_answer, &answer);
    buf_deinit(&packed);
}

static const struct write_headers VERSION_2 = {
    STR("application/x-protobuf;proto=io.prometheus.write.v2.Request"), STR("snappy")};
static const struct write_headers USUAL = {STR("application/x-protobuf"), STR("snappy")};

static struct write_stats stats_now(void)
{
    struct write_stats stats;
    write_receiver_get_stats(receiver, &stats);
    return stats;
}

/* 204 promises that a kill loses nothing: it may not come before the log has the samples. */
static void test_write_receive__answers_after_the_commit(void **state)
{
    (void)state;
    ADD_SERIES(&request, 1000, 2.5, LABEL("__name__", "up"), LABEL("job", "a"));
    receive(USUAL);
    assert_int_equal(answer.count, 0);
    assert_int_equal(fake.appended_count, 1);
    assert_int_equal(fake.pins, 0);
    assert_true(fake.all_or_nothing);
    commit((struct err){0});
    assert_int_equal(answer.count, 1);
    assert_int_equal(answer.status, 204);
    assert_string_equal(answer.text, "");
    assert_int_equal(fake.appended[0].time_ms, 1000);
    assert_true(fake.appended[0].value == 2.5);
    assert_int_equal(stats_now().samples, 1);
}

static void expect_text(const struct buf *buf, const char *want)
{
    if (!str_eq(buf_str(buf), str_of(want)))
        fail_msg("got " STR_FMT ", not %s", STR_ARG(buf_str(buf)), want);
}

/* Integer and float histograms beside floats; exemplars follow their samples, labels sorted. */
static void test_write_receive__takes_histograms_and_exemplars(void **state)
{
    (void)state;
    proto_text_encode(
        &request,
        STR("{ 1 { 1 { 1 \"__name__\" 2 \"h\" } "
            "4 { 1 u 3 3 d 5 4 z 0 5 d 0.5 6 u 1 11 { 1 z 1 2 u 2 } 12 pz 1 0 ; 14 u 3 15 u 7 } "
            "4 { 2 d 1.5 3 d 5 4 z -53 11 { 1 z 0 2 u 2 } 13 pd 1 0.5 ; 16 pd 10 ; 15 u 8 } "
            "4 { 1 u 0 3 d stale 15 u 9 } "
            "3 { 1 { 1 \"z\" 2 \"1\" } 1 { 1 \"a\" 2 \"2\" } 2 d 0.25 3 u 7 } } "
            "1 { 1 { 1 \"__name__\" 2 \"f\" } 2 { 1 d 1 2 u 1 } 3 { 2 d 4 3 u 1 } } }"),
        true);
    receive(USUAL);
    assert_int_equal(answer.count, 0);
    commit((struct err){0});
    assert_int_equal(answer.status, 204);
    assert_false(answer.has_written);
    assert_int_equal(fake.appended_count, 4);
    assert_int_equal(fake.appended[0].kind, SAMPLE_HISTOGRAM);
    assert_int_equal(fake.appended[1].time_ms, 8);
    assert_int_equal(fake.appended[3].kind, SAMPLE_FLOAT);
    expect_text(&fake.histograms, "{count:3, sum:5, [-0.5,0.5]:1, (1,2]:1, (2,4]:1}"
                                  "{count:1.5, sum:5, [-Inf,10]:1, (10,+Inf]:0.5}"
                                  "{count:0, sum:NaN}");
    expect_text(&fake.exemplars, "{a=\"2\", z=\"1\"} 0.25 @7;{} 4 @1;");
    struct write_stats stats = stats_now();
    assert_int_equal(stats.samples, 1);
    assert_int_equal(stats.histograms, 3);
    assert_int_equal(stats.exemplars, 2);
}

/* Version 1 fails as a whole, with the words of the check. */
static void test_write_receive__refuses_bad_histograms(void **state)
{
    (void)state;
    proto_text_encode(&request,
                      STR("{ 1 { 1 { 1 \"__name__\" 2 \"h\" } 2 { 1 d 1 2 u 1 } "
                          "4 { 1 u 3 11 { 1 z 1 2 u 2 } 12 pz 1 ; 15 u 7 } } }"),
                      true);
    receive(USUAL);
    assert_int_equal(answer.status, 400);
    assert_string_equal(answer.text,
                        "positive side: spans need 2 buckets, have 1 buckets: histogram spans "
                        "specify different number of buckets than provided");
    assert_int_equal(fake.append_calls, 0);
}

/* An exemplar that is too old or has too many labels fails nothing. */
static void test_write_receive__exemplars_fail_nothing(void **state)
{
    (void)state;
    proto_text_encode(
        &request, STR("{ 1 { 1 { 1 \"__name__\" 2 \"f\" } 2 { 1 d 1 2 u 1 } 3 { 2 d 4 3 u 1 } } }"),
        true);
    fake.exemplar_outcome = EXEMPLAR_OUT_OF_ORDER;
    receive(USUAL);
    commit((struct err){0});
    assert_int_equal(answer.status, 204);
    assert_int_equal(stats_now().exemplars, 0);
    assert_int_equal(stats_now().exemplars_out_of_order, 1);
}

#define V2_SYMBOLS "4 \"\" 4 \"__name__\" 4 \"up\" 4 \"job\" 4 \"j\" 4 \"trace\" 4 \"t\" "

/* Labels by number, all kinds of samples, and the headers say what was stored. */
static void test_write_receive__reads_version_2(void **state)
{
    (void)state;
    proto_text_encode(&request,
                      STR("{ " V2_SYMBOLS "5 { 1 pu 1 2 3 4 ; 2 { 1 d 1 2 u 5 } 2 { 1 d 2 2 u 6 } "
                          "3 { 1 u 1 3 d 2 6 u 1 15 u 9 } "
                          "4 { 1 pu 5 6 ; 2 d 3 3 u 5 } 5 { 1 u 1 } } }"),
                      true);
    receive(VERSION_2);
    assert_false(fake.all_or_nothing);
    commit((struct err){0});
    assert_int_equal(answer.status, 204);
    assert_true(answer.has_written);
    assert_int_equal(answer.written.samples, 2);
    assert_int_equal(answer.written.histograms, 1);
    assert_int_equal(answer.written.exemplars, 1);
    expect_text(&fake.labels[0], "{__name__=\"up\", job=\"j\"}");
    expect_text(&fake.exemplars, "{trace=\"t\"} 3 @5;");
}

/* What is good is stored, the rest is told line by line: the sender must not send it again. */
static void test_write_receive__version_2_stores_what_is_good(void **state)
{
    (void)state;
    proto_text_encode(
        &request,
        STR("{ 5 { 1 pu 1 2 ; 2 { 1 d 1 2 u 5 } 2 { 1 d 2 2 u 6 } } "
            "5 { 1 pu 1 99 ; 2 { 1 d 1 2 u 5 } } "
            "5 { 1 pu 3 4 ; 2 { 1 d 1 2 u 5 } } "
            "5 { 1 pu 1 2 3 4 3 2 ; 2 { 1 d 1 2 u 5 } } "
            "5 { 1 pu 1 2 ; } "
            "5 { 1 pu 1 2 1 ; 2 { 1 d 1 2 u 5 } } "
            "5 { 1 pu 1 2 ; 2 { 1 d 1 2 u 9000000000000 } 3 { 1 u 5 15 u 1 } } " V2_SYMBOLS "}"),
        true);
    fake.outcomes[1] = SAMPLE_OUT_OF_ORDER;
    receive(VERSION_2);
    commit((struct err){0});
    assert_int_equal(answer.status, 400);
    assert_string_equal(
        answer.text,
        "parsing labels for series: labelRefs 1 (name) = 99 (value) outside of symbols table "
        "(size 7)\n"
        "invalid metric name or labels, got {job=\"j\"}\n"
        "invalid labels for series, labels {__name__=\"up\", job=\"up\"}, duplicated label job\n"
        "TimeSeries must contain at least one sample or histogram for series {__name__=\"up\"}\n"
        "parsing labels for series: invalid labelRefs length 3\n"
        "out of bounds: timestamp is too far in the future for series {__name__=\"up\"}\n"
        "invalid histogram for series {__name__=\"up\"}: 0 observations found in buckets, but the "
        "Count field is 5: histogram's observation count should equal the number of observations "
        "found in the buckets (in absence of NaN)\n"
        "out of order sample for series {__name__=\"s\"}");
    assert_int_equal(answer.written.samples, 1);
    assert_int_equal(stats_now().invalid_label_series, 4);
    assert_int_equal(stats_now().requests_failed, 1);
}

/* A log that cannot be written is our fault, so the sender must come again: 5xx. */
static void test_write_receive__answers_500_when_the_log_fails(void **state)
{
    (void)state;
    ADD_SERIES(&request, 1000, 2.5, LABEL("__name__", "up"));
    receive(USUAL);
    struct err err = {0};
    err_set(&err, ERR_NO_SPACE, "no room");
    commit(err);
    assert_int_equal(answer.status, 500);
    assert_string_equal(answer.text, "no room");
    assert_int_equal(stats_now().requests_failed, 1);
    assert_int_equal(stats_now().samples, 0);
}

/* Senders must sort; some do not, and empty values mean absent. */
static void test_write_receive__sorts_labels_and_drops_empty_ones(void **state)
{
    (void)state;
    ADD_SERIES(&request, 1, 1, LABEL("z", "1"), LABEL("a", "2"), LABEL("m", ""),
               LABEL("__name__", "up"));
    receive(USUAL);
    commit((struct err){0});
    buf_add_char(&fake.labels[0], '\0');
    assert_string_equal(fake.labels[0].ptr, "{__name__=\"up\", a=\"2\", z=\"1\"}");
}

/* One batch for all series whatever their groups, or it could not be all or nothing. */
static void test_write_receive__appends_several_groups_as_one_batch(void **state)
{
    (void)state;
    ADD_SERIES(&request, 1, 1, LABEL("__name__", "a"), LABEL("instance", "i"), LABEL("job", "x"));
    ADD_SERIES(&request, 1, 1, LABEL("__name__", "b"), LABEL("instance", "i"), LABEL("job", "y"));
    ADD_SERIES(&request, 1, 1, LABEL("__name__", "c"), LABEL("instance", "i"), LABEL("job", "x"));
    receive(USUAL);
    commit((struct err){0});
    assert_int_equal(fake.append_calls, 1);
    assert_int_equal(fake.appended_count, 3);
    assert_int_equal(fake.group_count, 2);
    assert_null(fake.append_group);
    assert_true(fake.groups[0].key != fake.groups[1].key);

    receive(USUAL); /* The groups are open still. */
    commit((struct err){0});
    assert_int_equal(fake.group_count, 2);
}

/* As Prometheus: a nameless or invalid series is left out and counted, the others are stored. */
static void test_write_receive__skips_invalid_series(void **state)
{
    (void)state;
    ADD_SERIES(&request, 1, 1, LABEL("job", "x"));
    ADD_SERIES(&request, 1, 1, LABEL("__name__", ""));
    ADD_SERIES(&request, 1, 1, LABEL("__name__", "bad\xff"));
    ADD_SERIES(&request, 1, 1, LABEL("", "x"), LABEL("__name__", "up"));
    ADD_SERIES(&request, 1, 1, LABEL("\xff", "x"), LABEL("__name__", "up"));
    ADD_SERIES(&request, 1, 1, LABEL("__name__", "good"));
    receive(USUAL);
    commit((struct err){0});
    assert_int_equal(answer.status, 204);
    assert_int_equal(fake.appended_count, 1);
    assert_int_equal(stats_now().invalid_label_series, 5);
}

/* Nothing left to store is a success at once: there is no commit to wait for. */
static void test_write_receive__answers_an_empty_request(void **state)
{
    (void)state;
    receive(USUAL);
    assert_int_equal(answer.status, 204);
    assert_null(fake.commit_done);
}

static void test_write_receive__refuses_repeated_label_names(void **state)
{
    (void)state;
    ADD_SERIES(&request, 1, 1, LABEL("__name__", "first"));
    ADD_SERIES(&request, 1, 1, LABEL("x", "1"), LABEL("__name__", "up"), LABEL("x", "2"));
    receive(USUAL);
    assert_int_equal(answer.status, 400);
    assert_string_equal(answer.text, "label name \"x\" is not unique: invalid sample");
    assert_int_equal(fake.append_calls, 0);
}

/* A clock that runs ahead would keep later, true samples out. */
static void test_write_receive__refuses_the_far_future(void **state)
{
    (void)state;
    ADD_SERIES(&request, NOW_MS + 600001, 1, LABEL("__name__", "up"));
    receive(USUAL);
    assert_int_equal(answer.status, 400);
    assert_string_equal(answer.text, "out of bounds: timestamp is too far in the future");
    assert_int_equal(fake.append_calls, 0);
}

static void test_write_receive__passes_on_the_texts_of_storage(void **state)
{
    (void)state;
    ADD_SERIES(&request, 1, 1, LABEL("__name__", "up"));
    err_set(&fake.append_err, ERR_BAD_DATA, "out of order sample");
    receive(USUAL);
    assert_int_equal(answer.status, 400);
    assert_string_equal(answer.text, "out of order sample");

    err_set(&fake.append_err, ERR_NO_SPACE, "the log is full");
    receive(USUAL);
    assert_int_equal(answer.status, 500);
    assert_string_equal(answer.text, "the log is full");

    fake.known_count = 0;
    err_set(&fake.series_err, ERR_NO_SPACE, "the log cannot be written");
    receive(USUAL);
    assert_int_equal(answer.status, 500);
    assert_string_equal(answer.text, "the log cannot be written");
    assert_int_equal(stats_now().requests_failed, 3);
}

/* Old series must go on while new ones are refused, and the sender must not come again with them. */
static void test_write_receive__stores_the_rest_when_new_series_are_refused(void **state)
{
    (void)state;
    ADD_SERIES(&request, 1, 1, LABEL("__name__", "new"), LABEL("job", "x"));
    ADD_SERIES(&request, 1, 2, LABEL("__name__", "old"));
    ADD_SERIES(&request, 1, 3, LABEL("__name__", "new"), LABEL("job", "y"));
    ADD_SERIES(&request, 1, 4, LABEL("__name__", "new"), LABEL("job", "z"));
    err_set(&fake.series_err, ERR_LIMIT, "series limit of 1 is reached");
    fake.refuse = STR("new");
    receive(USUAL);
    assert_int_equal(fake.appended_count, 1);
    assert_true(fake.appended[0].value == 2);
    commit((struct err){0});
    assert_int_equal(answer.status, 400);
    assert_string_equal(answer.text, "{__name__=\"new\", job=\"x\"}: series limit of 1 is reached\n"
                                     "and 2 more new series");
    assert_int_equal(stats_now().samples, 1);
    assert_int_equal(stats_now().requests_failed, 1);
}

static void test_write_receive__answers_at_once_when_all_series_are_refused(void **state)
{
    (void)state;
    ADD_SERIES(&request, 1, 1, LABEL("__name__", "new"));
    err_set(&fake.series_err, ERR_LIMIT, "no more");
    receive(USUAL);
    assert_int_equal(fake.append_calls, 0);
    assert_int_equal(answer.status, 400);
    assert_string_equal(answer.text, "{__name__=\"new\"}: no more");
}

/* What version 2 has stored is told beside the refusal; a series that is itself wrong fails alone. */
static void test_write_receive__version_2_tells_what_was_stored_beside_refusals(void **state)
{
    (void)state;
    proto_text_encode(&request,
                      STR("{ 5 { 1 pu 1 2 ; 2 { 1 d 1 2 u 5 } } "
                          "5 { 1 pu 1 2 3 4 ; 2 { 1 d 1 2 u 5 } } " V2_SYMBOLS "}"),
                      true);
    err_set(&fake.series_err, ERR_LIMIT, "no more");
    fake.refuse = STR("job");
    receive(VERSION_2);
    commit((struct err){0});
    assert_int_equal(answer.status, 400);
    assert_string_equal(answer.text, "{__name__=\"up\", job=\"j\"}: no more");
    assert_int_equal(answer.written.samples, 1);

    err_set(&fake.series_err, ERR_BAD_DATA, "too long");
    receive(VERSION_2);
    commit((struct err){0});
    assert_int_equal(answer.status, 400);
    assert_string_equal(answer.text, "{__name__=\"up\", job=\"j\"}: too long");
    assert_int_equal(answer.written.samples, 1);
}

/* The second time the bytes are enough: same series, same samples, exemplars too. */
static void test_write_receive__knows_series_by_their_bytes(void **state)
{
    (void)state;
    ADD_SERIES(&request, 1, 1, LABEL("__name__", "a"), LABEL("job", "x"));
    ADD_SERIES(&request, 1, 2, LABEL("__name__", "b"), LABEL("job", "x"));
    receive(USUAL);
    commit((struct err){0});
    assert_int_equal(fake.known_count, 2);
    assert_int_equal(fake.known_hits, 0);
    buf_clear(&request);
    ADD_SERIES(&request, 2, 0, LABEL("__name__", "b"), LABEL("job", "x"));
    ADD_SERIES(&request, 0, 4, LABEL("__name__", "a"), LABEL("job", "x"));
    ADD_SERIES(&request, 2, 5, LABEL("__name__", "c"), LABEL("job", "x"));
    receive(USUAL);
    commit((struct err){0});
    assert_int_equal(fake.known_hits, 2);
    assert_int_equal(fake.series_count, 3);
    assert_int_equal(fake.appended_count, 5);
    assert_int_equal(fake.appended[2].ref, 1);
    assert_int_equal(fake.appended[2].time_ms, 2);
    assert_true(fake.appended[2].value == 0);
    assert_int_equal(fake.appended[3].ref, 0);
    assert_int_equal(fake.appended[3].time_ms, 0);
    assert_int_equal(fake.appended[4].ref, 2);
}

/* Labels behind the samples are labels too: the bytes before them are another series' name. */
static void test_write_receive__looks_at_labels_that_stand_apart(void **state)
{
    (void)state;
    ADD_SERIES(&request, 1, 1, LABEL("__name__", "a"));
    receive(USUAL);
    commit((struct err){0});
    for (int i = 0; i < 2; i++) {
        buf_clear(&request);
        proto_text_encode(&request,
                          STR("{ 1 { 1 { 1 \"__name__\" 2 \"a\" } 2 { 1 d 1 2 u 2 } "
                              "1 { 1 \"job\" 2 \"late\" } } }"),
                          true);
        receive(USUAL);
        commit((struct err){0});
        assert_int_equal(fake.known_count, 1);
        expect_text(&fake.labels[1 + i], "{__name__=\"a\", job=\"late\"}");
        assert_int_equal(fake.appended[1 + i].ref, 1 + i);
    }
    assert_int_equal(fake.appended_count, 3);
    buf_clear(&request);
    proto_text_encode(&request,
                      STR("{ 1 { 1 { 1 \"__name__\" 2 \"b\" } 2 { 1 d 1 2 u 2 } "
                          "1 { 1 \"job\" 2 \"late\" } } }"),
                      true);
    receive(USUAL);
    commit((struct err){0});
    assert_int_equal(fake.known_count, 1);
}

static void test_write_receive__checks_the_headers(void **state)
{
    (void)state;
    static const struct {
        struct write_headers headers;
        int status;
        const char *text;
    } cases[] = {
        {{STR_EMPTY, STR_EMPTY}, 204, ""},
        {{STR("application/x-protobuf;proto=prometheus.WriteRequest"), STR("snappy")}, 204, ""},
        {{STR("text/plain"), STR("snappy")},
         415,
         "expected application/x-protobuf as the first (media) part, got text/plain content-type"},
        {{STR("application/x-protobuf;proto=io.prometheus.write.v2.Request"), STR("snappy")},
         204,
         ""},
        {{STR("application/x-protobuf;proto=x"), STR("snappy")},
         415,
         "got application/x-protobuf;proto=x content type; unknown type for remote write protobuf "
         "message x, "
         "supported: prometheus.WriteRequest, io.prometheus.write.v2.Request"},
        {{STR("application/x-protobuf;a"), STR("snappy")},
         415,
         "as per https://www.rfc-editor.org/rfc/rfc9110#parameter expected parameters to be "
         "key-values, got a "
         "in application/x-protobuf;a content-type"},
        {{STR("application/x-protobuf"), STR("zstd")},
         415,
         "zstd encoding (compression) is not accepted by this server; only snappy is acceptable"},
    };

    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        receive(cases[i].headers);
        assert_int_equal(answer.count, i + 1);
        assert_int_equal(answer.status, cases[i].status);
        assert_string_equal(answer.text, cases[i].text);
    }
}

/* A sender of the other version is told so, and nothing of it is stored. */
static void test_write_receive__takes_the_messages_that_are_accepted(void **state)
{
    (void)state;
    static const struct write_headers
        v1 = {STR("application/x-protobuf"), STR("snappy")},
        v2 = {STR("application/x-protobuf;proto=io.prometheus.write.v2.Request"), STR("snappy")};

    write_receiver_close(receiver);
    receiver = write_receiver_open(NULL, WRITE_ACCEPT_V1);
    receive(v2);
    assert_int_equal(answer.status, 415);
    assert_string_equal(answer.text,
                        "io.prometheus.write.v2.Request protobuf message is not accepted by this "
                        "server; only accepts prometheus.WriteRequest");
    receive(v1);
    assert_int_equal(answer.status, 204);
    write_receiver_close(receiver);
    receiver = write_receiver_open(NULL, WRITE_ACCEPT_V2);
    receive(v1);
    assert_int_equal(answer.status, 415);
    assert_string_equal(
        answer.text,
        "prometheus.WriteRequest protobuf message is not accepted by this server; only "
        "accepts io.prometheus.write.v2.Request");
    receive(v2);
    assert_int_equal(answer.status, 204);
}

/* Bytes that are not snappy, and snappy that claims more than we are ready to hold. */
static void test_write_receive__refuses_bad_compression(void **state)
{
    (void)state;
    static const struct str bodies[] = {STR(""), STR("\xff\xff\xff\xff\x0f"), STR("\x05zzzz"),
                                        STR("\x80\x80\x80\x80\x01")};

    for (size_t i = 0; i < COUNT_OF(bodies); i++) {
        write_receive(receiver, &USUAL, bodies[i], NOW_MS, remember_answer, &answer);
        assert_int_equal(answer.count, i + 1);
        assert_int_equal(answer.status, 400);
        assert_true(answer.text[0] != '\0');
    }
}

/* At shutdown the receiver goes before the last commit comes in. */
static void test_write_receiver_close__leaves_writes_in_flight_to_answer(void **state)
{
    (void)state;
    ADD_SERIES(&request, 1, 1, LABEL("__name__", "up"));
    receive(USUAL);
    write_receiver_close(receiver);
    receiver = NULL;
    commit((struct err){0});
    assert_int_equal(answer.status, 204);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_write_receive__answers_after_the_commit),
        TEST(test_write_receive__takes_histograms_and_exemplars),
        TEST(test_write_receive__refuses_bad_histograms),
        TEST(test_write_receive__exemplars_fail_nothing),
        TEST(test_write_receive__reads_version_2),
        TEST(test_write_receive__version_2_stores_what_is_good),
        TEST(test_write_receive__answers_500_when_the_log_fails),
        TEST(test_write_receive__sorts_labels_and_drops_empty_ones),
        TEST(test_write_receive__appends_several_groups_as_one_batch),
        TEST(test_write_receive__skips_invalid_series),
        TEST(test_write_receive__answers_an_empty_request),
        TEST(test_write_receive__refuses_repeated_label_names),
        TEST(test_write_receive__refuses_the_far_future),
        TEST(test_write_receive__passes_on_the_texts_of_storage),
        TEST(test_write_receive__stores_the_rest_when_new_series_are_refused),
        TEST(test_write_receive__answers_at_once_when_all_series_are_refused),
        TEST(test_write_receive__version_2_tells_what_was_stored_beside_refusals),
        TEST(test_write_receive__knows_series_by_their_bytes),
        TEST(test_write_receive__looks_at_labels_that_stand_apart),
        TEST(test_write_receive__checks_the_headers),
        TEST(test_write_receive__takes_the_messages_that_are_accepted),
        TEST(test_write_receive__refuses_bad_compression),
        TEST(test_write_receiver_close__leaves_writes_in_flight_to_answer),
    };
#undef TEST
    return cmocka_run_group_tests(tests, NULL, NULL);
}
