/* relabel: applying rules to a label set.
 *
 * Values are borrowed wherever they can be: a copied label costs no bytes. A rule that would make a
 * text of more than RELABEL_TEXT_BYTES_MAX does nothing, and a joined source value is cut there:
 * rules that double a label again and again stay harmless. */
#include "model/relabel.h"

#include <inttypes.h>

#include "base/ensure.h"
#include "base/hash.h"
#include "relabel_plan.h"
#include "rune.h"

#define RELABEL_TEXT_BYTES_MAX (1024 * 1024)

/* What one relabel_apply works on. */
struct relabel_work {
    struct labels_builder *labels;
    struct arena *arena;
    struct buf scratch;
};

/* The source labels' values with the separator between them. */
static struct str rule_source(const struct relabel_rule *rule, const struct relabel_work *work)
{
    size_t count = rule->source_label_count;
    struct str first;
    size_t len;

    if (count == 0)
        return STR_EMPTY;
    first = labels_builder_get(work->labels, rule->source_labels[0]);
    if (count == 1)
        return first;

    len = (count - 1) * rule->separator.len;
    for (size_t i = 0; i < count; i++)
        len += labels_builder_get(work->labels, rule->source_labels[i]).len;
    if (len > RELABEL_TEXT_BYTES_MAX)
        len = RELABEL_TEXT_BYTES_MAX;

    char *text = arena_alloc(work->arena, len + 1);
    size_t used = 0;
    for (size_t i = 0; i < 2 * count - 1; i++) {
        struct str part =
            i % 2 ? rule->separator : labels_builder_get(work->labels, rule->source_labels[i / 2]);
        part = str_first(part, len - used);
        if (part.len)
            memcpy(text + used, part.ptr, part.len);
        used += part.len;
    }
    text[len] = '\0';
    return (struct str){text, len};
}

/* Fills a template from a value that matches. False when the text gets too long. */
static bool rule_expand(const struct relabel_rule *rule, struct relabel_work *work,
                        enum relabel_template kind, struct str text, struct str value,
                        struct str *out)
{
    switch (kind) {
    case RELABEL_TEMPLATE_PLAIN:
        *out = text;
        return true;
    case RELABEL_TEMPLATE_WHOLE:
        *out = value;
        return true;
    case RELABEL_TEMPLATE_REST:
        *out = str_after(value, rule->plan->prefix.len);
        return true;
    case RELABEL_TEMPLATE_REGEX:
        buf_clear(&work->scratch);
        if (!regex_expand(rule->regex, value, text, &work->scratch) || work->scratch.overflow)
            return false;
        *out = arena_str(work->arena, buf_str(&work->scratch));
        return true;
    }
    UNREACHABLE();
}

static void rule_replace(const struct relabel_rule *rule, struct relabel_work *work,
                         struct str value)
{
    const struct relabel_plan *plan = rule->plan;
    struct str target, text;

    if (!relabel_plan_matches(rule, value))
        return;
    if (!rule_expand(rule, work, plan->target, rule->target_label, value, &target))
        return;
    /* A plain target was checked when the rule was made. */
    if (plan->target != RELABEL_TEMPLATE_PLAIN &&
        !relabel_name_is_valid(target, plan->legacy_names))
        return;
    if (!rule_expand(rule, work, plan->replacement, rule->replacement, value, &text))
        return;
    labels_builder_set(work->labels, target, text); /* An empty text deletes. */
}

static void rule_labelmap(const struct relabel_rule *rule, struct relabel_work *work)
{
    size_t count = work->labels->count;
    struct label *items;

    if (count == 0)
        return;
    /* A copy: labels that this rule makes are not mapped again. */
    items = arena_alloc_array(work->arena, count, sizeof(*items));
    memcpy(items, work->labels->items, count * sizeof(*items));
    for (size_t i = 0; i < count; i++) {
        struct str name;
        if (relabel_plan_matches(rule, items[i].name) &&
            rule_expand(rule, work, rule->plan->replacement, rule->replacement, items[i].name,
                        &name))
            labels_builder_set(work->labels, name, items[i].value);
    }
}

/* Keeps the labels whose name matches, or those whose name does not. */
static void rule_filter_names(const struct relabel_rule *rule, struct labels_builder *labels,
                              bool keep_matching)
{
    size_t kept = 0;

    for (size_t i = 0; i < labels->count; i++) {
        if (relabel_plan_matches(rule, labels->items[i].name) == keep_matching)
            labels->items[kept++] = labels->items[i];
    }
    labels->count = kept;
}

static bool text_is_ascii(struct str s)
{
    unsigned char all = 0;
    for (size_t i = 0; i < s.len; i++)
        all |= (unsigned char)s.ptr[i];
    return all < 0x80;
}

/* Bad UTF-8 becomes U+FFFD, as in Go. */
static struct str text_map_case(struct arena *arena, struct str s, uint32_t (*map)(uint32_t rune))
{
    /* ASCII maps to ASCII. Else a byte becomes three at most: bad bytes become U+FFFD; real code
     * points of two bytes become three at most. */
    size_t len_max = text_is_ascii(s) ? s.len : 3 * s.len;
    char *out = arena_alloc(arena, len_max + RUNE_BYTES_MAX);
    size_t len = 0;

    for (size_t at = 0; at < s.len;)
        len += rune_put(out + len, map(str_next_rune(s, &at)));
    ENSURE(len <= len_max);
    return (struct str){out, len};
}

static void rule_hashmod(const struct relabel_rule *rule, struct relabel_work *work,
                         struct str value)
{
    uint8_t digest[16];
    uint64_t number = 0;

    hash_md5(value, digest);
    for (size_t i = 8; i < sizeof(digest); i++)
        number = number << 8 | digest[i];
    ENSURE(rule->modulus != 0);
    labels_builder_set(work->labels, rule->target_label,
                       arena_strf(work->arena, "%" PRIu64, number % rule->modulus));
}

/* False: the label set is dropped. */
static bool rule_apply(const struct relabel_rule *rule, struct relabel_work *work)
{
    struct labels_builder *labels = work->labels;
    struct str value = rule_source(rule, work);

    switch (rule->action) {
    case RELABEL_REPLACE:
        rule_replace(rule, work, value);
        return true;
    case RELABEL_KEEP:
        return relabel_plan_matches(rule, value);
    case RELABEL_DROP:
        return !relabel_plan_matches(rule, value);
    case RELABEL_KEEPEQUAL:
        return str_eq(labels_builder_get(labels, rule->target_label), value);
    case RELABEL_DROPEQUAL:
        return !str_eq(labels_builder_get(labels, rule->target_label), value);
    case RELABEL_HASHMOD:
        rule_hashmod(rule, work, value);
        return true;
    case RELABEL_LABELMAP:
        rule_labelmap(rule, work);
        return true;
    case RELABEL_LABELDROP:
        rule_filter_names(rule, labels, false);
        return true;
    case RELABEL_LABELKEEP:
        rule_filter_names(rule, labels, true);
        return true;
    case RELABEL_LOWERCASE:
        labels_builder_set(labels, rule->target_label,
                           text_map_case(work->arena, value, rune_lower));
        return true;
    case RELABEL_UPPERCASE:
        labels_builder_set(labels, rule->target_label,
                           text_map_case(work->arena, value, rune_upper));
        return true;
    }
    UNREACHABLE();
}

bool relabel_apply(const struct relabel_rules *rules, struct labels_builder *labels,
                   struct arena *arena)
{
    struct relabel_work work = {.labels = labels, .arena = arena};
    bool keep = true;

    buf_init(&work.scratch, RELABEL_TEXT_BYTES_MAX);
    for (size_t i = 0; keep && i < rules->count; i++) {
        ENSURE(rules->items[i].plan); /* relabel_rule_check has accepted it. */
        keep = rule_apply(&rules->items[i], &work);
    }
    buf_deinit(&work.scratch);
    return keep;
}
