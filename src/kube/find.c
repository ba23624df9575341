/* find: see find.h.
 *
 * The metric's name is turned into the series' where the rule allows it, else all names that the rule
 * selects are tried. Conditions of the rule on a label whose value is known already are checked here:
 * an index lookup by name and namespace remains, whatever patterns the rule has. */
#include "find.h"

#include "base/vec.h"

#define CONSTRAINTS_MAX  4
#define METRIC_BYTES_MAX 65536

/* A label whose value is known. */
static const struct constraint *known_value(const struct constraint *constraints, size_t count,
                                            struct str name)
{
    for (size_t i = 0; i < count; i++)
        if (!constraints[i].not_empty && str_eq(constraints[i].name, name))
            return &constraints[i];
    return NULL;
}

/* The rule's matchers, borrowed, but for those that hold anyway. False: one cannot hold. */
static bool keep_matchers(const struct rule *rule, const struct constraint *constraints,
                          size_t count, struct matcher *out, size_t *out_count)
{
    for (size_t i = 0; i < rule->matchers.count; i++) {
        const struct matcher *matcher = &rule->matchers.items[i];
        const struct constraint *known = known_value(constraints, count, matcher->name);
        if (known && !matcher_matches(matcher, known->value))
            return false;
        if (!known)
            out[(*out_count)++] = *matcher;
    }
    return true;
}

bool rule_series_names(const struct finder *finder, const struct rule *rule,
                       const struct constraint *constraints, size_t count, size_t limit,
                       struct str **out, size_t *out_count, struct err *err)
{
    struct matcher *all =
        arena_alloc_array(finder->arena, rule->matchers.count + CONSTRAINTS_MAX, sizeof(*all));
    struct matchers set = {.items = all};
    size_t kept = 0;
    bool good = true, cut;

    ENSURE(count <= CONSTRAINTS_MAX);
    *out = NULL;
    *out_count = 0;
    if (!keep_matchers(rule, constraints, count, all, &kept))
        return true;
    set.count = kept;
    for (size_t i = 0; good && i < count; i++) {
        good = matcher_init(
            &all[set.count], constraints[i].not_empty ? MATCH_NOT_EQUAL : MATCH_EQUAL,
            constraints[i].name, constraints[i].not_empty ? STR_EMPTY : constraints[i].value, err);
        set.count += good;
    }
    good = good &&
           storage_label_values(finder->storage, LABEL_NAME, &set, 1, finder->from_ms,
                                finder->to_ms, limit, finder->arena, out, out_count, &cut, err);
    for (size_t i = kept; i < set.count; i++)
        matcher_deinit(&all[i]);
    return good;
}

static bool gives_metric(const struct rule *rule, struct str series, struct str metric)
{
    struct buf text;

    buf_init(&text, METRIC_BYTES_MAX);
    bool same = rule_metric(rule, series, &text) && str_eq(buf_str(&text), metric);
    buf_deinit(&text);
    return same;
}

struct lookup {
    const struct finder *finder;
    const struct ask *ask;
    const struct rule *rule;
    struct constraint constraints[CONSTRAINTS_MAX];
    size_t constraint_count;
};

/* Is there a series of this name? */
static bool has_series(struct lookup *lookup, struct str name, bool *found, struct err *err)
{
    struct constraint constraints[CONSTRAINTS_MAX];
    struct str *names;
    size_t count;

    for (size_t i = 0; i < lookup->constraint_count; i++)
        constraints[i] = lookup->constraints[i];
    constraints[lookup->constraint_count] = (struct constraint){LABEL_NAME, name, false};
    if (!rule_series_names(lookup->finder, lookup->rule, constraints, lookup->constraint_count + 1,
                           1, &names, &count, err))
        return false;
    *found = count > 0;
    return true;
}

/* The series that a rule makes the metric of; empty: none. *candidate: what it would be. */
static bool find_series(struct lookup *lookup, struct str *out, struct str *candidate,
                        struct err *err)
{
    const struct rule *rule = lookup->rule;
    struct str metric = lookup->ask->metric, *names;
    size_t count;
    bool found = false;

    *out = *candidate = STR_EMPTY;
    if (rule->pinned.len > 0)
        *candidate = rule->pinned;
    if (rule->pinned.len > 0 ||
        rule_name_series(&rule->name, metric, lookup->finder->arena, candidate)) {
        if (candidate->len == 0 || !gives_metric(rule, *candidate, metric)) {
            *candidate = STR_EMPTY;
            return true;
        }
        if (!has_series(lookup, *candidate, &found, err))
            return false;
        *out = found ? *candidate : STR_EMPTY;
        return true;
    }
    if (!rule_series_names(lookup->finder, rule, lookup->constraints, lookup->constraint_count, 0,
                           &names, &count, err))
        return false;
    for (size_t i = 0; i < count && out->len == 0; i++)
        if (gives_metric(rule, names[i], metric))
            *out = *candidate = names[i];
    return true;
}

/* The labels of what is asked for; false with a reason in *why: the rule has none. */
static bool set_constraints(struct lookup *lookup, struct found *found, struct str *why)
{
    const struct ask *ask = lookup->ask;
    struct arena *arena = lookup->finder->arena;
    const struct resource_map *map = &lookup->rule->resources;
    struct resource namespaces = resource_find(STR("namespaces"), STR_EMPTY, arena);
    bool about_namespace = resource_eq(&ask->resource, &namespaces);

    if (!found->external) {
        if (!resource_map_label(map, &ask->resource, arena, &found->label)) {
            *why = arena_strf(arena, "its resources name no label for " STR_FMT,
                              STR_ARG(ask->resource.plural));
            return false;
        }
        struct constraint object = {found->label, ask->name, ask->name.len == 0};
        if (!about_namespace) /* Series of other objects are of use to who asks why. */
            object = (struct constraint){found->label, STR_EMPTY, true};
        lookup->constraints[lookup->constraint_count++] = object;
    }
    if (ask->namespace_name.len == 0 || !map->namespaced || about_namespace)
        return true;
    if (!resource_map_label(map, &namespaces, arena, &found->namespace_label)) {
        *why = STR("its resources name no label for the namespace");
        return false;
    }
    lookup->constraints[lookup->constraint_count++] =
        (struct constraint){found->namespace_label, ask->namespace_name, false};
    return true;
}

static struct str why_not(const struct lookup *lookup, struct str candidate)
{
    struct arena *arena = lookup->finder->arena;
    struct buf text;

    if (candidate.len == 0)
        return STR("it gives no metric of this name");
    buf_init(&text, 4096);
    buf_addf(&text, "there is no series " STR_FMT " that it selects%s", STR_ARG(candidate),
             lookup->constraint_count ? " with " : "");
    for (size_t i = 0; i < lookup->constraint_count; i++) {
        const struct constraint *constraint = &lookup->constraints[i];
        buf_addf(&text, "%s" STR_FMT, i ? ", " : "", STR_ARG(constraint->name));
        if (constraint->not_empty)
            BUF_ADD(&text, "!=\"\"");
        else
            buf_addf(&text, "=\"" STR_FMT "\"", STR_ARG(constraint->value));
    }
    struct str why = arena_str(arena, buf_str(&text));
    buf_deinit(&text);
    return why;
}

static bool try_rule(const struct finder *finder, const struct ask *ask, const struct rule *rule,
                     struct found *found, struct trial *trial, struct err *err)
{
    struct lookup lookup = {.finder = finder, .ask = ask, .rule = rule};
    struct str candidate;

    *trial = (struct trial){.rule = rule};
    if (!set_constraints(&lookup, found, &trial->why))
        return true;
    if (!find_series(&lookup, &found->series, &candidate, err))
        return false;
    trial->series = candidate;
    if (found->series.len == 0)
        trial->why = why_not(&lookup, candidate);
    else
        found->rule = rule;
    return true;
}

bool rule_find(const struct finder *finder, const struct ask *ask, struct found *out,
               struct trials *trials, struct err *err)
{
    bool external = ask->kind == ASK_EXTERNAL;
    const struct rule *rules = external ? finder->rules->external : finder->rules->rules;
    size_t count = external ? finder->rules->external_count : finder->rules->rule_count;

    *out = (struct found){.external = external};
    for (size_t i = count; i > 0; i--) {
        struct found found = {.external = external};
        struct trial trial;
        if (!try_rule(finder, ask, &rules[i - 1], &found, &trial, err))
            return false;
        if (found.rule && !out->rule)
            *out = found;
        else if (found.rule)
            trial.why = STR("a later rule serves the metric");
        if (trials && trials->items)
            trials->items[trials->count++] = trial;
        else if (out->rule)
            break;
    }
    return true;
}
