/* Any bytes as a rules file: refused, or a set whose every rule can be used. */
#include <stdint.h>

#include "rules.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void use_rule(const struct rule *rule)
{
    const struct template_values values = {
        .series = STR("s"), .group_by = {STR("pod")}, .group_by_count = 1};
    const struct str names[] = {STR("up"), STR("http_requests_total"), STR("redis_db_keys")};
    const struct resource *resource;
    struct arena arena;
    struct err err = {0};
    struct buf metric, again;
    struct str series, label;

    arena_init(&arena, 0);
    buf_init(&metric, 1 << 16);
    buf_init(&again, 1 << 16);
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        buf_clear(&metric);
        buf_clear(&again);
        if (!rule_name_metric(&rule->name, names[i], &metric) || metric.overflow)
            continue;
        /* The way back leads to the one name that it came from. */
        if (rule_name_series(&rule->name, buf_str(&metric), &arena, &series))
            ENSURE(str_eq(series, names[i]));
        (void)rule_metric(rule, names[i], &again);
    }
    for (size_t i = 0; (resource = resource_at(i)) != NULL; i++)
        (void)resource_map_label(&rule->resources, resource, &arena, &label);
    buf_clear(&metric);
    (void)!template_render(&rule->query, &values, &metric, &err);
    buf_deinit(&metric);
    buf_deinit(&again);
    arena_deinit(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct rule_set *set;
    struct err err = {0};

    if (!rule_set_parse(&set, (struct str){(const char *)data, len}, &err)) {
        ENSURE(!set && err.code != ERR_NONE);
        return 0;
    }
    for (size_t i = 0; i < set->rule_count; i++)
        use_rule(&set->rules[i]);
    for (size_t i = 0; i < set->external_count; i++)
        use_rule(&set->external[i]);
    rule_set_unref(set);
    return 0;
}
