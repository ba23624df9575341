/* disk_index_match: from matchers to ordinals.
 *
 *     1. each matcher becomes the set of ranks (of its label's values) that it asks for: by search for texts and lists of
 *        texts, as a range for a prefix. What needs all values to be looked at waits.
 *     2. sets narrow the groups in question by their postings, the smallest first; a set of very many values by the list
 *        of groups that have the label at all
 *     3. what waited: when fewer series are left than values, each value is asked about as it is met; else all are
 *        looked at once, and narrow the groups, too
 *     4. in the groups that are left each column is tested by its distinct entries, 64 series at a time
 *
 * Series are in the order of metrics, so the groups between the first and the last one of a metric need no test. */
#include <stdlib.h>

#include "base/mem.h"
#include "base/regex.h"
#include "disk_index_private.h"

#define RANGES_LINEAR_MAX 8u
#define GROUP_COST_IN_BYTES                                                                        \
    32u /* Testing a group costs about as much as decoding so much of lists. */

struct rank_range {
    uint32_t from, to; /* To: past the last. */
};

struct question {
    const struct matcher *matcher;
    struct name_view name;
    bool absent_matches;
    bool negate;                   /* The matcher asks for ranks outside of the set. */
    bool waits;                    /* The set is not known yet; ranges are where to look. */
    VEC(struct rank_range) ranges; /* The set, ascending. */
    uint64_t *bits;                /* The set again, when it has many ranges; or answers. */
    uint64_t *asked;               /* Ranks that `bits` knows of; NULL: all. */
    struct regex_shape *shapes;    /* In the arena. */
    size_t shape_count;
    bool shapes_exact;
    bool inside;                        /* It asks for one metric, whose groups are a run: */
    uint32_t inside_first, inside_last; /* All series between those groups (not in them) pass. */
    struct buf text;
};

struct match {
    const struct disk_index *index;
    struct arena arena;
    struct question *questions;
    size_t count;
    uint64_t *candidates, *scratch; /* A bit per group. */
    size_t words;
    bool impossible;
    struct err *err;
};

/* ---- Sets of ranks ---- */

static bool bit_test(const uint64_t *bits, uint32_t at)
{
    return bits[at / 64] >> (at & 63) & 1;
}

static void bit_add(uint64_t *bits, uint32_t at)
{
    bits[at / 64] |= UINT64_C(1) << (at & 63);
}

static size_t bit_words(uint32_t count)
{
    return (size_t)count / 64 + 1;
}

static void question_add(struct question *question, uint32_t from, uint32_t to)
{
    struct rank_range *last =
        question->ranges.count ? &question->ranges.items[question->ranges.count - 1] : NULL;
    if (from >= to)
        return;
    if (last && last->to == from)
        last->to = to;
    else
        VEC_PUSH(&question->ranges, ((struct rank_range){from, to}));
}

static int range_compare(const void *a, const void *b)
{
    const struct rank_range *x = a, *y = b;
    return (x->from > y->from) - (x->from < y->from);
}

/* Sorts and joins. */
static void question_normalize(struct question *question)
{
    size_t kept = 0;
    VEC_SORT(&question->ranges, range_compare);
    VEC_EACH (range, &question->ranges) {
        struct rank_range *last = kept ? &question->ranges.items[kept - 1] : NULL;
        if (last && range->from <= last->to)
            last->to = range->to > last->to ? range->to : last->to;
        else
            question->ranges.items[kept++] = *range;
    }
    question->ranges.count = kept;
}

static uint64_t question_size(const struct question *question)
{
    uint64_t size = 0;
    for (size_t i = 0; i < question->ranges.count; i++)
        size += question->ranges.items[i].to - question->ranges.items[i].from;
    return size;
}

/* The set is known: makes it quick to ask. */
static void question_settle(struct question *question)
{
    question->waits = false;
    if (question->ranges.count <= RANGES_LINEAR_MAX)
        return;
    question->bits = mem_zalloc(bit_words(question->name.value_count) * 8);
    VEC_EACH (range, &question->ranges) {
        for (uint32_t rank = range->from; rank < range->to; rank++)
            bit_add(question->bits, rank);
    }
}

/* Is the text in the set (before `negate`)? */
static bool question_takes(const struct question *question, struct str text)
{
    bool fits = question->shape_count == 0;
    for (size_t i = 0; i < question->shape_count && !fits; i++)
        fits = regex_shape_fits(&question->shapes[i], text);
    if (!fits || question->shapes_exact)
        return fits;
    return regex_matches(question->matcher->regex, text);
}

static bool question_ask(struct match *match, struct question *question, uint32_t rank)
{
    struct value_view value;
    if (bit_test(question->asked, rank))
        return bit_test(question->bits, rank);
    if (!value_read(match->index, &question->name, rank, &value, match->err))
        return false;
    buf_clear(&question->text);
    value_fill(&value, buf_reserve(&question->text, value.len));
    buf_commit(&question->text, value.len);
    bit_add(question->asked, rank);
    if (!question_takes(question, buf_str(&question->text)))
        return false;
    bit_add(question->bits, rank);
    return true;
}

/* Does the matcher accept this value? Errors are left in match->err. */
static bool question_accepts(struct match *match, struct question *question, uint32_t rank)
{
    bool in = false;
    if (rank == RANK_ABSENT)
        return question->absent_matches;
    if (UNLIKELY(rank >= question->name.value_count)) {
        index_corrupt(match->err, "there is no such value");
        return false;
    }
    if (question->asked) {
        in = question_ask(match, question, rank);
    } else if (question->bits) {
        in = bit_test(question->bits, rank);
    } else {
        VEC_EACH (range, &question->ranges)
            in |= rank >= range->from && rank < range->to;
    }
    return in != question->negate;
}

/* ---- What a matcher asks for ---- */

static bool add_text(struct match *match, struct question *question, struct str text)
{
    uint32_t rank;
    bool equal;
    if (!value_find(match->index, &question->name, text, &rank, &equal, match->err))
        return false;
    if (equal)
        VEC_PUSH(&question->ranges, ((struct rank_range){rank, rank + 1}));
    return true;
}

/* Ranks of the values that start with `prefix`. */
static bool add_prefix(struct match *match, struct question *question, struct str prefix)
{
    uint32_t from, to = question->name.value_count;
    bool equal, good;
    struct buf next;
    if (!value_find(match->index, &question->name, prefix, &from, &equal, match->err))
        return false;
    buf_init(&next, prefix.len + 1);
    buf_add_str(&next, prefix);
    while (next.len > 0 && (uint8_t)next.ptr[next.len - 1] == 0xff)
        next.len--;
    good = true;
    if (next.len > 0) { /* The first text behind all that start so. */
        next.ptr[next.len - 1] = (char)(next.ptr[next.len - 1] + 1);
        good = value_find(match->index, &question->name, buf_str(&next), &to, &equal, match->err);
    }
    buf_deinit(&next);
    if (good && from < to)
        VEC_PUSH(&question->ranges, ((struct rank_range){from, to}));
    return good;
}

static bool is_prefix_only(const struct regex_shape *shape)
{
    return shape->exact && shape->open && shape->inner_count == 0 && shape->suffix.len == 0 &&
           shape->suffix_gap == 0;
}

static bool resolve_regex(struct match *match, struct question *question)
{
    const struct regex *regex = question->matcher->regex;
    struct str pattern = question->matcher->value, *literals;
    size_t literal_count;
    bool ranges_exact = true;

    if (str_eq(pattern, STR(".*")) || str_eq(pattern, STR(".+"))) {
        question_add(question, 0, question->name.value_count); /* No value is empty. */
        return true;
    }
    if (regex_literals(regex, &match->arena, &literals, &literal_count)) {
        for (size_t i = 0; i < literal_count; i++) {
            if (!add_text(match, question, literals[i]))
                return false;
        }
        return true;
    }
    if (!regex_shapes(regex, &match->arena, &question->shapes, &question->shape_count)) {
        question->shape_count = 0;
        question->waits = true;
        question_add(question, 0, question->name.value_count);
        return true;
    }
    question->shapes_exact = true;
    for (size_t i = 0; i < question->shape_count; i++) {
        const struct regex_shape *shape = &question->shapes[i];
        question->shapes_exact &= shape->exact;
        ranges_exact &= is_prefix_only(shape) || !shape->open;
        if (shape->open ? !add_prefix(match, question, shape->prefix)
                        : !add_text(match, question, shape->prefix))
            return false;
    }
    question->waits = !ranges_exact;
    return true;
}

static bool question_resolve(struct match *match, struct question *question)
{
    const struct matcher *matcher = question->matcher;
    bool good = matcher->type == MATCH_EQUAL || matcher->type == MATCH_NOT_EQUAL
                    ? add_text(match, question, matcher->value)
                    : resolve_regex(match, question);
    question->negate = matcher->type == MATCH_NOT_EQUAL || matcher->type == MATCH_NOT_REGEX;
    question_normalize(question);
    if (!question->waits)
        question_settle(question);
    return good;
}

/* Fills the set of one that waits by a look at all values that it may hold. */
static bool question_scan(struct match *match, struct question *question)
{
    struct question found = {0};
    bool good = true;
    match->err->code = ERR_NONE;
    for (size_t i = 0; i < question->ranges.count && good; i++) {
        struct value_scan scan;
        struct rank_range range = question->ranges.items[i];
        value_scan_init(&scan, match->index, &question->name, range.from, range.to);
        while (value_scan_next(&scan, match->err)) {
            if (question_takes(question, buf_str(&scan.text)))
                question_add(&found, scan.rank - 1, scan.rank);
        }
        good = scan.rank >= scan.end && !scan.bad;
        value_scan_deinit(&scan);
    }
    VEC_FREE(&question->ranges);
    question->ranges.items = found.ranges.items;
    question->ranges.count = found.ranges.count;
    question->ranges.capacity = found.ranges.capacity;
    question_settle(question);
    return good;
}

/* ---- Groups in question ---- */

static uint64_t candidate_count(const struct match *match)
{
    uint64_t count = 0;
    for (size_t i = 0; i < match->words; i++)
        count += (unsigned)__builtin_popcountll(match->candidates[i]);
    return count;
}

static void candidates_and(struct match *match)
{
    for (size_t i = 0; i < match->words; i++)
        match->candidates[i] &= match->scratch[i];
}

static bool lists_open(struct match *match, uint32_t from, uint32_t to, struct list_reader *out)
{
    const struct section *postings = &match->index->sections[SECTION_POSTINGS];
    if (!section_check(postings, from, to, match->err))
        return false;
    *out = (struct list_reader){.at = postings->data + from, .end = postings->data + to};
    return true;
}

/* Adds the groups of the values [from, to) of a name to scratch. */
static bool lists_or(struct match *match, struct question *question, struct rank_range range,
                     bool one_metric)
{
    const struct name_view *name = &question->name;
    struct list_reader in = {0};
    for (uint32_t rank = range.from - range.from % VALUES_PER_RESTART; rank < range.to; rank++) {
        uint32_t from, to, values_at, restart = name->restart + rank / VALUES_PER_RESTART;
        if (rank % VALUES_PER_RESTART == 0 &&
            (!restart_read(match->index, restart, &values_at, &from, match->err) ||
             !restart_read(match->index, restart + 1, &values_at, &to, match->err) ||
             !lists_open(match, from, to, &in)))
            return false;
        if (rank < range.from) {
            list_skip(&in);
            continue;
        }
        question->inside |=
            one_metric && list_is_run(&in, &question->inside_first, &question->inside_last);
        list_read(&in, match->scratch, match->index->group_count);
        if (in.bad)
            return index_corrupt(match->err, "a list of series is damaged");
    }
    return true;
}

/* The groups that have the label: the list in front of the values' lists. */
static bool presence_read(struct match *match, const struct name_view *name)
{
    uint32_t end, values_at;
    struct list_reader in;
    if (!restart_read(match->index, name->restart, &values_at, &end, match->err) ||
        !lists_open(match, name->postings_at, end, &in))
        return false;
    list_read(&in, match->scratch, match->index->group_count);
    return !in.bad || index_corrupt(match->err, "a list of series is damaged");
}

/* About how many bytes of lists a set has. */
static bool lists_cost(struct match *match, const struct question *question, uint64_t *cost)
{
    const struct name_view *name = &question->name;
    uint32_t from, to, values_at;
    uint32_t restarts = (name->value_count + VALUES_PER_RESTART - 1) / VALUES_PER_RESTART;
    if (!restart_read(match->index, name->restart, &values_at, &from, match->err) ||
        !restart_read(match->index, name->restart + restarts, &values_at, &to, match->err))
        return false;
    *cost = (uint64_t)(to > from ? to - from : 0) * question_size(question) /
                (name->value_count ? name->value_count : 1) +
            8 * question->ranges.count;
    return true;
}

static bool question_narrow(struct match *match, struct question *question)
{
    uint64_t cost;
    bool good = true;
    if (question->absent_matches)
        return true;
    if (!question->negate && question->ranges.count == 0) {
        match->impossible = true;
        return true;
    }
    if (!lists_cost(match, question, &cost))
        return false;
    memset(match->scratch, 0, match->words * 8);
    if (question->negate || cost > GROUP_COST_IN_BYTES * candidate_count(match)) {
        good = presence_read(match, &question->name);
    } else {
        bool one_metric =
            question->matcher->type == MATCH_EQUAL && str_eq(question->name.text, LABEL_NAME);
        for (size_t i = 0; i < question->ranges.count && good; i++)
            good = lists_or(match, question, question->ranges.items[i], one_metric);
    }
    if (good)
        candidates_and(match);
    return good;
}

/* ---- Groups into ordinals ---- */

static uint64_t column_test(struct match *match, struct question *question,
                            const struct column *column, uint32_t rows)
{
    uint64_t entries = 0;
    for (uint32_t i = 0; i < column->partition.count; i++)
        entries |= (uint64_t)question_accepts(match, question, column_rank(column, i)) << i;
    return partition_rows(&column->partition, entries, rows);
}

static bool is_inside(const struct question *question, uint32_t group)
{
    return question->inside && group > question->inside_first && group < question->inside_last;
}

/* The rows of a group that pass all questions; those are ascending by name. */
static bool group_test(struct match *match, uint32_t group, uint64_t *rows_out)
{
    uint32_t rows = group_rows(match->index, group);
    uint64_t mask = rows_mask(rows);
    struct group_walk walk;
    struct column column = {0};
    size_t left = 0, first = 0, i = 0;

    for (; left < match->count && is_inside(&match->questions[left], group); left++)
        first = left + 1;
    if (first == match->count) {
        *rows_out = mask;
        return true;
    }
    if (!group_read(match->index, group, &walk, match->err))
        return false;
    bool more = group_walk_next(&walk, &column);
    for (i = first; i < match->count && mask; i++) {
        struct question *question = &match->questions[i];
        while (more && column.name < question->name.number)
            more = group_walk_next(&walk, &column);
        if (walk.bad)
            break;
        if (is_inside(question, group))
            continue;
        if (more && column.name == question->name.number)
            mask &= column_test(match, question, &column, rows);
        else if (!question->absent_matches)
            mask = 0;
    }
    *rows_out = mask;
    return !walk.bad || index_corrupt(match->err, "series are cut short");
}

static void rows_add(struct ordinal_vec *out, uint32_t group, uint64_t rows)
{
    uint32_t first = group * GROUP_ROWS;
    VEC_RESERVE(out, GROUP_ROWS);
    uint32_t *at = out->items + out->count;
    if (rows == UINT64_MAX) {
        for (uint32_t i = 0; i < GROUP_ROWS; i++)
            at[i] = first + i;
        out->count += GROUP_ROWS;
        return;
    }
    for (; rows; rows &= rows - 1)
        *at++ = first + (uint32_t)__builtin_ctzll(rows);
    out->count = (size_t)(at - out->items);
}

static bool candidates_test(struct match *match, struct ordinal_vec *out)
{
    match->err->code = ERR_NONE;
    for (size_t i = 0; i < match->words; i++) {
        for (uint64_t word = match->candidates[i]; word; word &= word - 1) {
            uint32_t group = (uint32_t)(i * 64) + (uint32_t)__builtin_ctzll(word);
            uint64_t rows;
            if (!group_test(match, group, &rows) || match->err->code != ERR_NONE)
                return false;
            if (rows)
                rows_add(out, group, rows);
        }
    }
    return true;
}

/* ---- All together ---- */

static int question_compare(const void *a, const void *b)
{
    const struct question *x = a, *y = b;
    return (x->name.number > y->name.number) - (x->name.number < y->name.number);
}

static bool questions_make(struct match *match, const struct matcher *matchers, size_t count)
{
    for (size_t i = 0; i < count && !match->impossible; i++) {
        struct question *question = &match->questions[match->count];
        bool found;
        *question = (struct question){.matcher = &matchers[i],
                                      .absent_matches = matcher_matches_empty(&matchers[i])};
        if (!name_find(match->index, matchers[i].name, &found, &question->name, match->err))
            return false;
        if (!found) {
            match->impossible = !question->absent_matches;
            continue;
        }
        buf_init(&question->text, SECTION_BYTES_MAX);
        match->count++;
        if (!question_resolve(match, question))
            return false;
    }
    if (match->count > 1)
        qsort(match->questions, match->count, sizeof(*match->questions), question_compare);
    return true;
}

/* Narrows by the sets that are known: single values before larger sets. */
static bool narrow_known(struct match *match)
{
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < match->count && !match->impossible; i++) {
            struct question *question = &match->questions[i];
            bool single = question->matcher->type == MATCH_EQUAL;
            if (!question->waits && single == (round == 0) && !question_narrow(match, question))
                return false;
        }
    }
    return true;
}

static bool narrow_waiting(struct match *match)
{
    for (size_t i = 0; i < match->count && !match->impossible; i++) {
        struct question *question = &match->questions[i];
        if (!question->waits)
            continue;
        if (question_size(question) <= candidate_count(match) * GROUP_ROWS) {
            if (!question_scan(match, question) || !question_narrow(match, question))
                return false;
            continue;
        }
        size_t bytes = bit_words(question->name.value_count) * 8;
        question->bits = mem_zalloc(bytes);
        question->asked = mem_zalloc(bytes);
        memset(match->scratch, 0, match->words * 8);
        if (question->absent_matches)
            continue;
        if (!presence_read(match, &question->name))
            return false;
        candidates_and(match);
    }
    return true;
}

static void match_init(struct match *match, const struct disk_index *index, size_t count,
                       struct err *err)
{
    *match = (struct match){.index = index, .err = err};
    arena_init(&match->arena, 0);
    match->questions = mem_alloc_array(count + 1, sizeof(*match->questions));
    match->words = bit_words(index->group_count);
    match->candidates = mem_zalloc(match->words * 8);
    match->scratch = mem_alloc(match->words * 8);
    memset(match->candidates, 0xff, (size_t)index->group_count / 64 * 8);
    for (uint32_t group = index->group_count & ~63u; group < index->group_count; group++)
        bit_add(match->candidates, group);
}

static void match_deinit(struct match *match)
{
    for (size_t i = 0; i < match->count; i++) {
        VEC_FREE(&match->questions[i].ranges);
        mem_free(match->questions[i].bits);
        mem_free(match->questions[i].asked);
        buf_deinit(&match->questions[i].text);
    }
    mem_free(match->questions);
    mem_free(match->candidates);
    mem_free(match->scratch);
    arena_deinit(&match->arena);
}

bool disk_index_match(const struct disk_index *index, const struct matcher *matchers,
                      size_t matcher_count, struct ordinal_vec *out, struct err *err)
{
    struct match match;
    match_init(&match, index, matcher_count, err);
    bool good = questions_make(&match, matchers, matcher_count) && narrow_known(&match) &&
                narrow_waiting(&match);
    if (good && !match.impossible)
        good = candidates_test(&match, out);
    match_deinit(&match);
    return good;
}
