/* measure: see measure.h.
 *
 *     rule_find -> matchers -> the rule's template -> evaluate -> one item for each object
 *
 * An object without a value is left out, never 0: a scaler that is told 0 scales down. Also one whose
 * series have all ended is left out, though a rate over the last minutes would still give a value. */
#include "measure.h"

#include <math.h>
#include <stdlib.h>

#include "base/vec.h"
#include "model/duration.h"
#include "quantity.h"

#define QUERY_BYTES_MAX ((size_t)4 << 20)
#define OTHERS_MAX      5

/* --- the query --- */

/* The label of series that a key of an object selector may stand in: app.kubernetes.io/name is
 * app_kubernetes_io_name by labelmap, label_app_kubernetes_io_name by kube-state-metrics' habit. */
static bool series_label_of(struct measurement *m, struct str key, struct str *names,
                            size_t name_count, struct str *out)
{
    char *text = arena_alloc(m->finder.arena, key.len + 1);

    for (size_t i = 0; i < key.len; i++) {
        char c = key.ptr[i];
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        text[i] = plain ? c : '_';
    }
    struct str plain = {text, key.len};
    struct str prefixed = arena_strf(m->finder.arena, "label_" STR_FMT, STR_ARG(plain));
    for (size_t i = 0; i < name_count; i++) {
        if (str_eq(names[i], plain) || str_eq(names[i], prefixed)) {
            *out = names[i];
            return true;
        }
    }
    return false;
}

static bool label_names_of_series(struct measurement *m, struct str **out, size_t *count,
                                  struct err *err)
{
    struct matcher items[2];
    struct matchers set = {.items = items};
    bool cut, good = matcher_init(&items[0], MATCH_EQUAL, LABEL_NAME, m->found.series, err);

    set.count += good;
    if (good && m->found.namespace_label.len > 0) {
        good = matcher_init(&items[1], MATCH_EQUAL, m->found.namespace_label,
                            m->ask->namespace_name, err);
        set.count += good;
    }
    good = good && storage_label_names(m->finder.storage, &set, 1, m->finder.from_ms,
                                       m->finder.to_ms, 0, m->finder.arena, out, count, &cut, err);
    for (size_t i = 0; i < set.count; i++)
        matcher_deinit(&items[i]);
    return good;
}

/* Nobody watches the objects, so their labels are looked for on the series. */
static bool add_object_selector(struct measurement *m, struct buf *out, bool *first,
                                struct err *err)
{
    const struct selector *selector = &m->ask->objects;
    struct str *names, *mapped;
    size_t count;

    if (!label_names_of_series(m, &names, &count, err))
        return false;
    mapped = arena_alloc_array(m->finder.arena, selector->count + 1, sizeof(*mapped));
    for (size_t i = 0; i < selector->count; i++) {
        struct str key = selector->parts[i].key;
        if (!series_label_of(m, key, names, count, &mapped[i]))
            return err_set(err, ERR_NOT_FOUND,
                           STR_FMT " are not watched (there is no kubernetes_sd_configs for them), "
                                   "and series " STR_FMT " carry no label for \"" STR_FMT "\"",
                           STR_ARG(m->ask->resource.plural), STR_ARG(m->found.series),
                           STR_ARG(key));
    }
    return selector_add_matchers(selector, mapped, out, first, err);
}

static bool add_object_matcher(struct measurement *m, struct buf *out, bool *first,
                               struct str *joined, struct err *err)
{
    const struct objects *objects = m->objects;
    struct arena *arena = m->finder.arena;
    struct buf text;

    *joined = STR_EMPTY;
    if (objects->source == OBJECTS_UNWATCHED) {
        if (!add_object_selector(m, out, first, err))
            return false;
        buf_addf(out, "%s" STR_FMT "!=\"\"", *first ? "" : ",", STR_ARG(m->found.label));
        *first = false;
        return true;
    }
    struct str *names = arena_alloc_array(arena, objects->count + 1, sizeof(*names));
    buf_init(&text, QUERY_BYTES_MAX);
    for (size_t i = 0; i < objects->count; i++) {
        names[i] = objects->items[i].name;
        buf_addf(&text, "%s" STR_FMT, i ? "|" : "", STR_ARG(names[i]));
    }
    matcher_add_values(out, first, m->found.label, "=", "=~", names, objects->count);
    *joined = arena_str(arena, buf_str(&text));
    buf_deinit(&text);
    return true;
}

static bool add_matchers(struct measurement *m, struct buf *out, struct template_values *values,
                         struct err *err)
{
    bool first = true;
    struct str joined;

    if (!selector_add_matchers(&m->ask->series, NULL, out, &first, err))
        return false;
    if (m->found.namespace_label.len > 0) {
        matcher_add_values(out, &first, m->found.namespace_label, "=", "=~",
                           &m->ask->namespace_name, 1);
        values->values[values->value_count++] =
            (struct label){m->found.namespace_label, m->ask->namespace_name};
    }
    if (!m->objects)
        return true;
    if (!add_object_matcher(m, out, &first, &joined, err))
        return false;
    values->values[values->value_count++] = (struct label){m->found.label, joined};
    values->group_by[values->group_by_count++] = m->found.label;
    return true;
}

static bool render_query(struct measurement *m, struct err *err)
{
    struct template_values values = {.series = m->found.series};
    struct buf matchers, query;

    buf_init(&matchers, QUERY_BYTES_MAX);
    buf_init(&query, QUERY_BYTES_MAX);
    bool good = add_matchers(m, &matchers, &values, err);
    values.matchers = buf_str(&matchers);
    good = good && template_render(&m->found.rule->query, &values, &query, err);
    if (good && (query.overflow || matchers.overflow))
        good = err_set(err, ERR_LIMIT, "the query for %zu objects is too long",
                       m->objects ? m->objects->count : 0);
    if (good)
        m->query = arena_str(m->finder.arena, buf_str(&query));
    buf_deinit(&matchers);
    buf_deinit(&query);
    return good;
}

/* --- items of objects --- */

static int compare_items(const void *a, const void *b)
{
    return str_cmp(((const struct item *)a)->name, ((const struct item *)b)->name);
}

static struct item *item_find(struct measurement *m, struct str name)
{
    struct item wanted = {.name = name};

    return m->count ? bsearch(&wanted, m->items, m->count, sizeof(wanted), compare_items) : NULL;
}

static void items_from_objects(struct measurement *m)
{
    m->items = arena_zalloc(m->finder.arena, (m->objects->count + 1) * sizeof(*m->items));
    m->count = m->objects->count;
    for (size_t i = 0; i < m->count; i++) {
        m->items[i].namespace_name = m->objects->items[i].namespace_name;
        m->items[i].name = m->objects->items[i].name;
    }
    qsort(m->items, m->count, sizeof(*m->items), compare_items);
}

/* The objects are those that series tell of. */
static void items_from_series(struct measurement *m)
{
    const struct evaluation *e = &m->evaluation;
    size_t kept = 0;

    m->items = arena_zalloc(m->finder.arena, (e->last_count + 1) * sizeof(*m->items));
    for (size_t i = 0; i < e->last_count; i++) {
        struct str name = labels_get(e->last[i].labels, m->found.label);
        if (name.len > 0)
            m->items[kept++] =
                (struct item){.namespace_name = m->ask->namespace_name, .name = name};
    }
    qsort(m->items, kept, sizeof(*m->items), compare_items);
    for (size_t i = 0; i < kept; i++)
        if (m->count == 0 || !str_eq(m->items[m->count - 1].name, m->items[i].name))
            m->items[m->count++] = m->items[i];
}

static void note_times(struct measurement *m)
{
    const struct evaluation *e = &m->evaluation;

    for (size_t i = 0; i < e->last_count; i++) {
        const struct last_sample *last = &e->last[i];
        struct item *item = item_find(m, labels_get(last->labels, m->found.label));
        if (!item)
            continue;
        bool alive = item->has_series && item->state != ITEM_STALE;
        item->has_series = true;
        if (last->stale && alive)
            continue;
        if (last->stale) {
            item->state = ITEM_STALE;
            item->time_ms = last->time_ms > item->time_ms ? last->time_ms : item->time_ms;
            continue;
        }
        item->time_ms = alive && item->time_ms > last->time_ms ? item->time_ms : last->time_ms;
        item->state = ITEM_GOOD;
    }
}

static void note_value(struct item *item, double value)
{
    item->state = item->has_value ? ITEM_AMBIGUOUS : item->state;
    item->has_value = true;
    item->value = value;
    if (item->state == ITEM_GOOD && !quantity_is_possible(value))
        item->state = ITEM_NOT_A_NUMBER;
}

static void note_values(struct measurement *m)
{
    const struct query_result *result = m->evaluation.result;

    if (result->type == QUERY_SCALAR && m->count == 1) {
        note_value(&m->items[0], result->scalar);
        return;
    }
    if (result->type != QUERY_VECTOR)
        return;
    for (size_t i = 0; i < result->count; i++) {
        const struct query_series *series = &result->series[i];
        struct str name = labels_get(series->labels, m->found.label);
        struct item *item = item_find(m, name);
        if (!item && name.len == 0 && result->count == 1 && m->count == 1)
            item = &m->items[0]; /* A sum over the one object that is asked for. */
        if (item)
            note_value(item, series->histogram && series->histogram[0] ? NAN : series->value[0]);
    }
}

/* Of a query whose series do not carry the object's label (a join, an offset): the newest of all. */
static int64_t newest_of_all(const struct measurement *m)
{
    const struct evaluation *e = &m->evaluation;
    int64_t newest = INT64_MIN;

    for (size_t i = 0; i < e->last_count; i++)
        if (!e->last[i].stale && e->last[i].time_ms > newest)
            newest = e->last[i].time_ms;
    return newest == INT64_MIN ? m->evaluator.now_ms : newest;
}

static bool series_have_label(const struct measurement *m)
{
    const struct evaluation *e = &m->evaluation;

    for (size_t i = 0; i < e->last_count; i++)
        if (labels_has(e->last[i].labels, m->found.label))
            return true;
    return e->selection != NULL && e->result->count == 0;
}

static void settle_states(struct measurement *m)
{
    bool labelled = series_have_label(m);

    for (size_t i = 0; i < m->count; i++) {
        struct item *item = &m->items[i];
        if (item->state == ITEM_AMBIGUOUS || item->state == ITEM_NOT_A_NUMBER)
            continue;
        if (!labelled && item->has_value)
            item->time_ms = newest_of_all(m);
        else if (!item->has_series)
            item->state = ITEM_NO_SERIES;
        else if (item->state == ITEM_GOOD && !item->has_value)
            item->state = ITEM_NO_VALUE;
        m->good_count += item->state == ITEM_GOOD;
    }
}

/* --- items of external metrics --- */

static bool labels_agree(const struct labels *result, const struct labels *series)
{
    for (size_t i = 0; i < result->count; i++)
        if (!str_eq(result->items[i].name, LABEL_NAME) &&
            labels_has(series, result->items[i].name) &&
            !str_eq(labels_get(series, result->items[i].name), result->items[i].value))
            return false;
    return true;
}

/* The newest sample behind a result. Of very many results and series the oldest of all newest ones. */
static void time_external(struct measurement *m, struct item *item, bool exact)
{
    const struct evaluation *e = &m->evaluation;
    bool any = false;

    item->time_ms = e->selection ? 0 : m->evaluator.now_ms;
    item->has_series = !e->selection;
    for (size_t i = 0; i < e->last_count; i++) {
        if (exact && item->labels && !labels_agree(item->labels, e->last[i].labels))
            continue;
        item->has_series = true;
        if (e->last[i].stale)
            continue;
        bool newer =
            exact ? e->last[i].time_ms > item->time_ms : e->last[i].time_ms < item->time_ms;
        if (!any || newer)
            item->time_ms = e->last[i].time_ms;
        any = true;
    }
    if (e->selection && item->has_series && !any)
        item->state = ITEM_STALE;
    if (!item->has_series)
        item->state = ITEM_NO_SERIES;
}

static void items_external(struct measurement *m)
{
    const struct query_result *result = m->evaluation.result;
    size_t count = result->type == QUERY_VECTOR ? result->count : result->type == QUERY_SCALAR;
    bool exact = count * m->evaluation.last_count <= 1000000;

    m->items = arena_zalloc(m->finder.arena, (count + 1) * sizeof(*m->items));
    m->count = count;
    for (size_t i = 0; i < count; i++) {
        struct item *item = &m->items[i];
        bool scalar = result->type == QUERY_SCALAR;
        const struct query_series *series = scalar ? NULL : &result->series[i];
        item->labels = series ? series->labels : NULL;
        time_external(m, item, exact);
        note_value(item, scalar                                      ? result->scalar
                         : series->histogram && series->histogram[0] ? NAN
                                                                     : series->value[0]);
        m->good_count += item->state == ITEM_GOOD;
    }
}

/* --- what is said when there is nothing --- */

/* The objects that do have such series: mostly the answer to why the others have none. */
static bool find_others(struct measurement *m, struct err *err)
{
    struct matcher items[3];
    struct matchers set = {.items = items};
    bool cut, good = matcher_init(&items[0], MATCH_EQUAL, LABEL_NAME, m->found.series, err);
    struct str *names;
    size_t count = 0;

    set.count += good;
    if (good && m->found.namespace_label.len > 0) {
        good = matcher_init(&items[1], MATCH_EQUAL, m->found.namespace_label,
                            m->ask->namespace_name, err);
        set.count += good;
    }
    good = good && storage_label_values(m->finder.storage, m->found.label, &set, 1,
                                        m->finder.from_ms, m->finder.to_ms, m->count + OTHERS_MAX,
                                        m->finder.arena, &names, &count, &cut, err);
    for (size_t i = 0; i < set.count; i++)
        matcher_deinit(&items[i]);
    m->others = arena_alloc_array(m->finder.arena, OTHERS_MAX, sizeof(*m->others));
    for (size_t i = 0; good && i < count && m->other_count < OTHERS_MAX; i++)
        if (!item_find(m, names[i]))
            m->others[m->other_count++] = names[i];
    return good;
}

const char *item_state_text(enum item_state state)
{
    switch (state) {
    case ITEM_GOOD:
        return "ok";
    case ITEM_NO_SERIES:
        return "there is no series with its name";
    case ITEM_STALE:
        return "its series have ended (stale)";
    case ITEM_NO_VALUE:
        return "the query gives no value for it";
    case ITEM_NOT_A_NUMBER:
        return "its value is NaN, infinite or too large for a quantity";
    case ITEM_AMBIGUOUS:
        return "the query gives several values for it: metricsQuery should aggregate by "
               "<<.GroupBy>>";
    }
    UNREACHABLE();
}

static void add_others(const struct measurement *m, struct buf *text)
{
    if (m->other_count == 0)
        return;
    buf_addf(text, "; series " STR_FMT " belong to ", STR_ARG(m->found.series));
    for (size_t i = 0; i < m->other_count; i++)
        buf_addf(text, "%s" STR_FMT, i ? ", " : "", STR_ARG(m->others[i]));
    if (str_eq(m->ask->resource.plural, STR("pods")))
        BUF_ADD(text, " (to scale others on it, use a metric of type Object or External)");
}

/* Of many the one that says most: series that are there and of no use are news, none at all are not. */
static const struct item *telling_item(const struct measurement *m)
{
    for (size_t i = 0; i < m->count; i++)
        if (m->items[i].state != ITEM_NO_SERIES)
            return &m->items[i];
    return &m->items[0];
}

static void add_state(const struct measurement *m, struct buf *text)
{
    const struct item *item = telling_item(m);

    if (m->count > 1 && item->name.len > 0 && item->state != ITEM_NO_SERIES)
        buf_addf(text, STR_FMT ": ", STR_ARG(item->name));
    buf_addf(text, "%s", item_state_text(item->state));
    if (item->state == ITEM_NO_SERIES && m->ask->series.count > 0)
        BUF_ADD(text, " that fits the metric's label selector");
    if (m->objects && item->state == ITEM_NO_SERIES)
        add_others(m, text);
}

static void add_nobody(const struct measurement *m, struct buf *text)
{
    buf_addf(text, "none of %zu " STR_FMT " fits the label selector", m->objects->watched_count,
             STR_ARG(m->ask->resource.plural));
    if (m->objects->source == OBJECTS_PARTIAL)
        buf_addf(text, " (%s)", object_source_text(OBJECTS_PARTIAL));
}

static bool say_nothing_good(struct measurement *m, struct err *err)
{
    struct buf text;

    buf_init(&text, 3000);
    if (m->objects && !find_others(m, err))
        return false;
    if (m->objects && m->count == 0 && m->objects->source != OBJECTS_UNWATCHED)
        add_nobody(m, &text);
    else if (m->count == 0)
        buf_addf(&text, "the query gives nothing: " STR_FMT, STR_ARG(m->query));
    else
        add_state(m, &text);
    if (m->objects && m->count == 0)
        add_others(m, &text);
    err_set_str(err, ERR_NOT_FOUND, buf_str(&text));
    buf_deinit(&text);
    return false;
}

/* A value of several is worse than none: an HPA would scale on whichever comes first. */
static bool check_ambiguous(const struct measurement *m, struct err *err)
{
    for (size_t i = 0; i < m->count; i++)
        if (m->items[i].state == ITEM_AMBIGUOUS)
            return err_set(err, ERR_INTERNAL, "unable to fetch metrics: " STR_FMT ": %s",
                           STR_ARG(m->items[i].name), item_state_text(ITEM_AMBIGUOUS));
    return true;
}

static bool measure_found(struct measurement *m, struct err *err)
{
    if (m->objects && m->objects->source == OBJECTS_SYNCING)
        return err_set(err, ERR_BUSY, STR_FMT " are not listed yet",
                       STR_ARG(m->ask->resource.plural));
    bool nobody = m->objects && m->objects->source != OBJECTS_UNWATCHED && m->objects->count == 0;
    if (nobody)
        return say_nothing_good(m, err);
    if (!render_query(m, err))
        return false;
    if (!evaluate(&m->evaluator, m->query, &m->evaluation, err)) {
        bool known = err->code == ERR_CANCELED || err->code == ERR_TIMEOUT;
        err->code = known ? err->code : ERR_INTERNAL;
        return err_wrap(err, "unable to fetch metrics: " STR_FMT,
                        STR_ARG(str_first(m->query, 500)));
    }
    m->window_ms = m->evaluation.range_ms;
    if (!m->objects) {
        items_external(m);
    } else {
        if (m->objects->source == OBJECTS_UNWATCHED)
            items_from_series(m);
        else
            items_from_objects(m);
        note_times(m);
        note_values(m);
        settle_states(m);
    }
    return check_ambiguous(m, err) && (m->good_count > 0 || say_nothing_good(m, err));
}

bool measure(struct measurement *m, struct err *err)
{
    if (!rule_find(&m->finder, m->ask, &m->found, m->trials, err))
        return false;
    if (!m->found.rule)
        return err_set(err, ERR_NOT_FOUND, "no rule finds series for it");
    return measure_found(m, err);
}

void measurement_deinit(struct measurement *m)
{
    evaluation_deinit(&m->evaluation);
}
