/* metric_text: see metric_text.h. */
#include "metric_text.h"

#include <math.h>
#include <string.h>

#include "base/clock.h"
#include "base/number.h"

const double metric_quantiles[3] = {0.5, 0.9, 0.99};
const double metric_quantiles_wide[5] = {0.01, 0.05, 0.5, 0.9, 0.99};

void metric_family(struct buf *out, const char *name, const char *type, const char *help)
{
    buf_addf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

void metric_value(struct buf *out, double value)
{
    BUF_ADD(out, " ");
    buf_add_number(out, value, NUMBER_G);
    BUF_ADD(out, "\n");
}

void metric_label_value(struct buf *out, struct str value)
{
    BUF_ADD(out, "\"");
    for (size_t i = 0; i < value.len; i++) {
        char c = value.ptr[i];
        if (c == '\\' || c == '"')
            buf_add_char(out, '\\');
        if (c == '\n')
            BUF_ADD(out, "\\n");
        else
            buf_add_char(out, c);
    }
    BUF_ADD(out, "\"");
}

void metric_add(struct buf *out, const char *name, const char *label, struct str value,
                double number)
{
    buf_addf(out, "%s{%s=", name, label);
    metric_label_value(out, value);
    BUF_ADD(out, "}");
    metric_value(out, number);
}

/* name_sum{a="b",c="d"; without the closing bracket, and without any when there are no labels. */
static bool begin(struct buf *out, const char *name, const char *suffix,
                  const struct metric_labels *labels, bool one_more)
{
    bool any = labels->name || labels->more;

    buf_addf(out, "%s%s%s", name, suffix, any || one_more ? "{" : "");
    if (labels->name) {
        buf_addf(out, "%s=", labels->name);
        metric_label_value(out, labels->value);
    }
    if (labels->more)
        buf_addf(out, "%s%s", labels->name ? "," : "", labels->more);
    if (any && one_more)
        BUF_ADD(out, ",");
    return any || one_more;
}

static void add(struct buf *out, const char *name, const char *suffix,
                const struct metric_labels *labels, double value)
{
    if (begin(out, name, suffix, labels, false))
        BUF_ADD(out, "}");
    metric_value(out, value);
}

void metric_summary(struct buf *out, const char *name, const struct metric_labels *labels,
                    const struct summary *summary, const double *quantiles, size_t count)
{
    double values[COUNT_OF(metric_quantiles_wide)];

    summary_quantiles(summary, clock_mono_ms(), quantiles, count, values);
    for (size_t i = 0; i < count; i++) {
        (void)begin(out, name, "", labels, true);
        BUF_ADD(out, "quantile=\"");
        buf_add_number(out, quantiles[i], NUMBER_G);
        BUF_ADD(out, "\"}");
        buf_addf(out, isnan(values[i]) ? " NaN\n" : " %.7g\n", values[i]);
    }
    add(out, name, "_sum", labels, summary->sum);
    add(out, name, "_count", labels, (double)summary->count);
}

void metric_histogram(struct buf *out, const char *name, const struct metric_labels *labels,
                      const struct summary *summary)
{
    uint64_t total = 0;

    for (size_t i = 0; i < SUMMARY_BUCKETS; i++) {
        total += summary->buckets[i];
        (void)begin(out, name, "_bucket", labels, true);
        BUF_ADD(out, "le=\"");
        buf_add_number(out, summary_bounds[i], NUMBER_G);
        BUF_ADD(out, "\"}");
        metric_value(out, (double)total);
    }
    (void)begin(out, name, "_bucket", labels, true);
    BUF_ADD(out, "le=\"+Inf\"}");
    metric_value(out, (double)summary->count);
    add(out, name, "_sum", labels, summary->sum);
    add(out, name, "_count", labels, (double)summary->count);
}

void metric_go_duration(struct buf *out, int64_t ms)
{
    int64_t hours = ms / 3600000, minutes = ms / 60000 % 60;

    if (ms < 1000) {
        buf_addf(out, ms ? "%lldms" : "0s", (long long)ms);
        return;
    }
    if (hours > 0)
        buf_addf(out, "%lldh", (long long)hours);
    if (hours > 0 || minutes > 0)
        buf_addf(out, "%lldm", (long long)minutes);
    buf_add_number(out, (double)(ms % 60000) / 1000, NUMBER_F);
    BUF_ADD(out, "s");
}
