/* redis_test: what the tests of redis share: the text of metrics, and replies from RESP text. */
#ifndef REDIS_TEST_H
#define REDIS_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>

#include "base/buf.h"
#include "base/mem.h"
#include "metrics.h"
#include "resp.h"

#define TEXT_BYTES_MAX ((size_t)4 << 20)

/* All that was added, without HELP and TYPE. The caller deinits *out. */
static inline void sample_lines(struct metrics *metrics, struct buf *out)
{
    struct buf text;
    buf_init(&text, TEXT_BYTES_MAX);
    buf_init(out, TEXT_BYTES_MAX);
    metrics_write(metrics, &text);
    for (struct str rest = buf_str(&text); rest.ptr;) {
        struct str line = str_cut(rest, '\n', &rest);
        if (line.len > 0 && line.ptr[0] != '#') {
            buf_add_str(out, line);
            buf_add_char(out, '\n');
        }
    }
    buf_deinit(&text);
}

static inline void assert_text(struct str got, struct str wanted)
{
    if (!str_eq(got, wanted))
        fail_msg("got:\n" STR_FMT "\nwanted:\n" STR_FMT, STR_ARG(got), STR_ARG(wanted));
}

static inline void assert_lines(struct metrics *metrics, const char *wanted)
{
    struct buf lines;
    sample_lines(metrics, &lines);
    assert_text(buf_str(&lines), str_of(wanted));
    buf_deinit(&lines);
}

/* One line is among those written. */
static inline void assert_line(struct metrics *metrics, const char *wanted)
{
    struct buf lines;
    sample_lines(metrics, &lines);
    for (struct str rest = buf_str(&lines); rest.ptr;) {
        if (str_eq(str_cut(rest, '\n', &rest), str_of(wanted))) {
            buf_deinit(&lines);
            return;
        }
    }
    fail_msg("no line %s in:\n" STR_FMT, wanted, STR_ARG(buf_str(&lines)));
}

static inline void assert_no_name(struct metrics *metrics, const char *name)
{
    VEC_EACH (metric, &metrics->items) {
        if (str_eq(metric->name, str_of(name)))
            fail_msg("%s is there", name);
    }
}

/* The one reply of a RESP text; it lives as long as the reader. */
static inline const struct resp *reply_of(struct resp_reader *reader, const char *text)
{
    static struct err err;
    const struct resp *reply = NULL;
    if (!resp_reader_feed(reader, str_of(text), &err) || !resp_reader_next(reader, &reply, &err))
        fail_msg("%s", err.text);
    assert_non_null(reply);
    return reply;
}

#endif
