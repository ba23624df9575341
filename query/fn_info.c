/* fn_info: info(v, {matchers}): adds the labels of info series, like target_info, to the series of
 * the same job and instance.
 *
 * Which info series belong to which series is worked out once; which of them is the newest at a
 * step, and so the labels of the result, may change from step to step. A series of the result is
 * therefore built in pieces, a new one whenever its labels change, that are merged in the end. */
#include "base/hash.h"

#include "eval.h"

static const struct expr *selector_of(const struct expr *call)
{
    return call->as.call.arg_count > 1 ? call_arg(call, 1) : NULL;
}

static bool is_positive(const struct matcher *matcher)
{
    return matcher->type == MATCH_EQUAL || matcher->type == MATCH_REGEX;
}

static bool is_name(const struct matcher *matcher)
{
    return str_eq(matcher->name, LABEL_NAME);
}

/* Without a name that is wanted: target_info, or anything that ends like it when some are not. */
bool info_matchers(struct query *query, const struct expr *call, struct matchers *out,
                   struct err *err)
{
    const struct expr *selector = selector_of(call);
    const struct matchers *given = selector ? &selector->as.vector.matchers : NULL;
    size_t count = given ? given->count : 0;
    bool any_name = false, any_positive = false;
    out->items = arena_alloc_array(&query->arena, count + 1, sizeof(struct matcher));
    out->count = 0;
    for (size_t i = 0; i < count; i++) {
        any_name = any_name || is_name(&given->items[i]);
        any_positive = any_positive || (is_name(&given->items[i]) && is_positive(&given->items[i]));
        out->items[out->count++] = given->items[i];
    }
    if (any_positive)
        return true;
    if (!any_name) {
        out->items[out->count++] =
            (struct matcher){.type = MATCH_EQUAL, .name = LABEL_NAME, .value = STR("target_info")};
        return true;
    }
    if (!query->has_info_names &&
        !matcher_init(&query->info_names, MATCH_REGEX, LABEL_NAME, STR(".+_info"), err))
        return false;
    query->has_info_names = true;
    out->items[out->count++] = query->info_names;
    return true;
}

struct info_call {
    const struct frame *frame;
    const struct matchers *data; /* The selector's matchers; NULL: all labels are wanted. */
    bool any_data;               /* Is one of them about another label than the name? */
    struct vector base, infos;
    uint32_t *base_ids, *info_ids; /* Of job and instance. */
    uint32_t *first, *next;        /* The info series of an id as a list. */
    uint32_t *picked, *picked_before;
};

static bool is_info_series(const struct matchers *matchers, const struct labels *labels)
{
    struct str name = labels_get(labels, LABEL_NAME);
    for (size_t i = 0; i < matchers->count; i++)
        if (is_name(&matchers->items[i]) && !matcher_matches(&matchers->items[i], name))
            return false;
    return true;
}

/* The values that a label has among the series to be enriched. */
struct known_values {
    struct str label;
    VEC(struct str) values;
    struct map by_value;
};

static bool value_equal(const void *ctx, const void *key, uint32_t value)
{
    const struct known_values *known = ctx;
    return str_eq(known->values.items[value], *(const struct str *)key);
}

static void known_values_add(struct known_values *known, struct str value)
{
    uint64_t hash = hash64(value);
    if (value.len == 0 || map_find(&known->by_value, hash, &value, value_equal, known) != MAP_NONE)
        return;
    map_insert(&known->by_value, hash, (uint32_t)known->values.count);
    VEC_PUSH(&known->values, value);
}

static bool known_values_allow(const struct known_values *known, const struct labels *labels)
{
    struct str value = labels_get(labels, known->label);
    return known->values.count == 0 ||
           map_find(&known->by_value, hash64(value), &value, value_equal, known) != MAP_NONE;
}

/* An info series counts only when its job and its instance are those of some series. */
static void drop_foreign(struct info_call *call, const bool *ignored)
{
    struct known_values known[] = {{.label = STR("instance")}, {.label = STR("job")}};
    size_t kept = 0;
    for (size_t k = 0; k < COUNT_OF(known); k++) {
        map_init(&known[k].by_value);
        for (size_t i = 0; i < call->base.count; i++)
            if (!ignored[i])
                known_values_add(&known[k], labels_get(call->base.items[i].labels, known[k].label));
    }
    bool any = known[0].values.count > 0 || known[1].values.count > 0;
    for (size_t i = 0; i < call->infos.count; i++) {
        const struct labels *labels = call->infos.items[i].labels;
        if (any && known_values_allow(&known[0], labels) && known_values_allow(&known[1], labels))
            call->infos.items[kept++] = call->infos.items[i];
    }
    call->infos.count = kept;
    for (size_t k = 0; k < COUNT_OF(known); k++) {
        VEC_FREE(&known[k].values);
        map_deinit(&known[k].by_value);
    }
}

static void match_infos(struct info_call *call)
{
    struct arena *arena = &call->frame->query->arena;
    struct str names[] = {STR("instance"), STR("job")};
    struct vector_matching matching = {.on = true, .labels = names, .label_count = 2};
    size_t groups = match_groups(call->frame, &matching, &call->base, &call->infos, &call->base_ids,
                                 &call->info_ids);
    call->first = arena_alloc_array(arena, groups + 1, sizeof(uint32_t));
    call->next = arena_alloc_array(arena, call->infos.count + 1, sizeof(uint32_t));
    call->picked = arena_alloc_array(arena, call->infos.count + 1, sizeof(uint32_t));
    call->picked_before = arena_alloc_array(arena, call->infos.count + 1, sizeof(uint32_t));
    for (size_t g = 0; g < groups; g++)
        call->first[g] = MAP_NONE;
    for (size_t i = call->infos.count; i-- > 0;) {
        call->next[i] = call->first[call->info_ids[i]];
        call->first[call->info_ids[i]] = (uint32_t)i;
    }
}

/* --- one series at one step --- */

static bool fail_duplicate(const struct info_call *call, uint32_t a, uint32_t b, size_t t,
                           struct err *err)
{
    struct buf text;
    long long time_ms = llround(*series_at(&call->infos.items[a], t) * 1000);
    buf_init(&text, ERR_TEXT_MAX);
    BUF_ADD(&text, "found duplicate series for info metric: existing ");
    labels_print(&text, call->infos.items[a].labels);
    buf_addf(&text, " @ %lld, new ", time_ms);
    labels_print(&text, call->infos.items[b].labels);
    buf_addf(&text, " @ %lld", time_ms);
    err_set_str(err, ERR_EXECUTION, buf_str(&text));
    buf_deinit(&text);
    return false;
}

/* The newest of each name, as indexes in call->picked. */
static bool pick_infos(const struct info_call *call, uint32_t id, size_t t, size_t *count,
                       struct err *err)
{
    *count = 0;
    for (uint32_t i = call->first[id]; i != MAP_NONE; i = call->next[i]) {
        const struct series *info = &call->infos.items[i];
        size_t at = 0;
        if (!series_has(info, t))
            continue;
        struct str name = labels_get(info->labels, LABEL_NAME);
        while (at < *count &&
               !str_eq(labels_get(call->infos.items[call->picked[at]].labels, LABEL_NAME), name))
            at++;
        if (at == *count) {
            call->picked[(*count)++] = i;
            continue;
        }
        double other = *series_at(&call->infos.items[call->picked[at]], t);
        if (other == *series_at(info, t))
            return fail_duplicate(call, call->picked[at], i, t, err);
        if (other < *series_at(info, t))
            call->picked[at] = i;
    }
    return true;
}

static bool wants_label(const struct info_call *call, struct str name)
{
    if (str_eq(name, LABEL_NAME))
        return false;
    if (!call->any_data)
        return true;
    for (size_t i = 0; i < call->data->count; i++)
        if (str_eq(call->data->items[i].name, name))
            return true;
    return false;
}

/* Without an info series: only when the matchers allow that their labels are missing. */
static bool may_lack(const struct info_call *call)
{
    for (size_t i = 0; call->data && i < call->data->count; i++)
        if (!is_name(&call->data->items[i]) && !matcher_matches_empty(&call->data->items[i]))
            return false;
    return true;
}

static bool add_labels(const struct info_call *call, const struct labels *base, size_t count,
                       struct labels_builder *builder, struct err *err)
{
    for (size_t k = 0; k < count; k++) {
        const struct labels *info = call->infos.items[call->picked[k]].labels;
        for (uint32_t i = 0; i < info->count; i++) {
            const struct label *label = &info->items[i];
            if (!wants_label(call, label->name))
                continue;
            for (size_t j = 0; j < k; j++) {
                struct str other =
                    labels_get(call->infos.items[call->picked[j]].labels, label->name);
                bool in_base = labels_get(base, label->name).len;
                if (!in_base && other.len && !str_eq(other, label->value))
                    return err_set(err, ERR_EXECUTION, "conflicting label: " STR_FMT,
                                   STR_ARG(label->name));
            }
            if (labels_get(base, label->name).len == 0)
                labels_builder_set(builder, label->name, label->value);
        }
    }
    return true;
}

/* --- one series over all steps --- */

struct pieces {
    struct steps steps;
    struct labels_builder builder;
    struct labels *labels; /* Of the piece being built. */
    VEC(struct series) done;
};

static void end_piece(const struct info_call *call, struct pieces *pieces)
{
    struct series series;
    if (steps_take(&pieces->steps, call->frame, pieces->labels, &series))
        VEC_PUSH(&pieces->done, series);
}

static bool begin_piece(const struct info_call *call, struct labels *base, size_t count,
                        struct pieces *pieces, struct err *err)
{
    end_piece(call, pieces);
    pieces->labels = base;
    if (count == 0)
        return true;
    labels_builder_load(&pieces->builder, base);
    if (!add_labels(call, base, count, &pieces->builder, err))
        return false;
    pieces->labels = query_own(call->frame->query, labels_build(&pieces->builder));
    return query_check(call->frame->query, err);
}

static bool enrich(const struct info_call *call, size_t index, struct pieces *pieces,
                   struct err *err)
{
    const struct series *base = &call->base.items[index];
    size_t before = SIZE_MAX, count;
    for (size_t t = base->from; t < base->to; t++) {
        if (!series_has(base, t))
            continue;
        if (!pick_infos(call, call->base_ids[index], t, &count, err))
            return false;
        bool same = count == before &&
                    memcmp(call->picked, call->picked_before, count * sizeof(*call->picked)) == 0;
        if (!same && !begin_piece(call, base->labels, count, pieces, err))
            return false;
        memcpy(call->picked_before, call->picked, count * sizeof(*call->picked));
        before = count;
        if (count || may_lack(call))
            steps_set_from(&pieces->steps, t, base);
    }
    end_piece(call, pieces);
    return query_check(call->frame->query, err);
}

/* Prometheus reads those only that may match. */
static void count_infos(const struct frame *frame, const struct vector *infos)
{
    struct query_stats *stats = &frame->query->result.stats;
    for (size_t i = 0; i < infos->count; i++) {
        const struct series *series = &infos->items[i];
        for (size_t t = series->from; t < series->to; t++) {
            if (!series_has(series, t))
                continue;
            stats->samples_total++;
            stats->samples_read++;
            step_stats_add(frame, t, 1, 1);
        }
    }
}

bool fn_info(const struct frame *frame, struct expr *expr, struct vector *out, struct err *err)
{
    struct query *query = frame->query;
    struct info_call call = {.frame = frame};
    struct matchers names;
    struct pieces pieces = {0};
    if (!eval_vector(frame, call_arg(expr, 0), &call.base, err) ||
        !info_matchers(query, expr, &names, err) ||
        !eval_selection_times(frame, query->selections[expr->as.call.info_index], &call.infos, err))
        return false;
    if (selector_of(expr))
        call.data = &selector_of(expr)->as.vector.matchers;
    for (size_t i = 0; call.data && i < call.data->count; i++)
        call.any_data = call.any_data || !is_name(&call.data->items[i]);
    bool *ignored = arena_zalloc(&query->arena, call.base.count + 1);
    for (size_t i = 0; i < call.base.count; i++)
        ignored[i] = is_info_series(&names, call.base.items[i].labels);
    drop_foreign(&call, ignored);
    count_infos(frame, &call.infos);
    if (!query_hold(query, vector_samples(&call.infos), err))
        return false;
    struct value infos = {.type = TYPE_VECTOR, .vector = call.infos};
    tally_gather(query->tally, frame, &infos);
    match_infos(&call);
    steps_init(&pieces.steps, frame);
    labels_builder_init(&pieces.builder);
    bool ok = true;
    for (size_t i = 0; ok && i < call.base.count; i++) {
        if (ignored[i])
            VEC_PUSH(&pieces.done, call.base.items[i]);
        else
            ok = enrich(&call, i, &pieces, err);
    }
    *out = vector_new(frame, pieces.done.count);
    for (size_t i = 0; ok && i < pieces.done.count; i++)
        out->items[out->count++] = pieces.done.items[i];
    for (size_t i = 0; i < out->count; i++)
        out->items[i].drop_name = false; /* As Prometheus: it forgets about names to be dropped. */
    labels_builder_deinit(&pieces.builder);
    VEC_FREE(&pieces.done);
    return ok && vector_merge_same(frame, out, err);
}
