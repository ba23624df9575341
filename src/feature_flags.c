/* feature_flags: see feature_flags.h. Names and, where they are active, messages are those of Prometheus 3.14. */
#include "feature_flags.h"

#include "base/log.h"
#include "query.h"

#define NO_OP "This option for --enable-feature is now permanently enabled and therefore a no-op."

enum feature_effect { ENABLED, DISCOURAGED, WITHOUT_EFFECT, LATER };

static const struct feature {
    const char *name;
    enum feature_effect effect;
    const char *message; /* Of the first two. */
    unsigned query_bit;
} features[] = {
    {"exemplar-storage", ENABLED, "Experimental in-memory exemplar storage enabled", 0},
    {"promql-per-step-stats", ENABLED, "Experimental per-step statistics reporting",
     QUERY_PER_STEP_STATS},
    {"promql-experimental-functions", ENABLED, "Experimental PromQL functions enabled.",
     QUERY_EXPERIMENTAL_FUNCTIONS},
    {"promql-delayed-name-removal", ENABLED, "Experimental PromQL delayed name removal enabled.",
     QUERY_DELAYED_NAMES},
    {"promql-extended-range-selectors", ENABLED,
     "Experimental PromQL extended range selectors enabled.", QUERY_EXTENDED_RANGES},
    {"promql-binop-fill-modifiers", ENABLED,
     "Experimental PromQL binary operator fill modifiers enabled.", QUERY_FILL_MODIFIERS},
    {"extra-scrape-metrics", DISCOURAGED,
     "This option for --enable-feature is being phased out. It currently changes the default for "
     "the extra_scrape_metrics config setting to true, but will become a no-op in a future "
     "version. Stop using this option and set extra_scrape_metrics in the config instead.",
     0},
    {"auto-reload-config", DISCOURAGED,
     "This option for --enable-feature is deprecated. Use --config.auto-reload instead.", 0},
    {"promql-duration-expr", DISCOURAGED, NO_OP, 0},
    {"ooo-native-histograms", DISCOURAGED, NO_OP, 0},
    {"native-histograms", DISCOURAGED,
     "This option for --enable-feature is a no-op. To scrape native histograms, set the "
     "scrape_native_histograms scrape config setting to true.",
     0},
    {"memory-snapshot-on-shutdown", WITHOUT_EFFECT, NULL, 0},
    {"metadata-wal-records", WITHOUT_EFFECT, NULL, 0},
    {"xor2-encoding", WITHOUT_EFFECT, NULL, 0},
    {"histograms-st-encoding", WITHOUT_EFFECT, NULL, 0},
    {"delayed-compaction", WITHOUT_EFFECT, NULL, 0},
    {"use-uncached-io", WITHOUT_EFFECT, NULL, 0},
    {"fast-startup", WITHOUT_EFFECT, NULL, 0},
    {"old-ui", WITHOUT_EFFECT, NULL, 0},
    {"concurrent-rule-eval", LATER, NULL, 0},
    {"created-timestamp-zero-ingestion", LATER, NULL, 0},
    {"st-storage", LATER, NULL, 0},
    {"st-synthesis", LATER, NULL, 0},
    {"use-start-timestamps", LATER, NULL, 0},
    {"otlp-deltatocumulative", LATER, NULL, 0},
    {"otlp-native-delta-ingestion", LATER, NULL, 0},
    {"type-and-unit-labels", LATER, NULL, 0},
    {"search-api", LATER, NULL, 0},
};

bool feature_is_on(const struct options *options, const char *wanted)
{
    for (size_t i = 0; i < option_count(options, "enable-feature"); i++) {
        struct str rest = option_at(options, "enable-feature", i);
        while (rest.ptr)
            if (str_eq(str_cut(rest, ',', &rest), str_of(wanted)))
                return true;
    }
    return false;
}

unsigned features_of_queries(const struct options *options)
{
    unsigned bits = 0;

    for (size_t i = 0; i < COUNT_OF(features); i++)
        if (features[i].query_bit != 0 && feature_is_on(options, features[i].name))
            bits |= features[i].query_bit;
    return bits;
}

static void feature_tell(struct str name)
{
    const struct feature *feature = features, *end = features + COUNT_OF(features);

    while (feature < end && !str_eq(name, str_of(feature->name)))
        feature++;
    if (feature == end)
        LOG_W("Unknown option for --enable-feature", "option", log_str(name));
    else if (feature->effect == ENABLED)
        LOG_I(feature->message);
    else if (feature->effect == DISCOURAGED)
        LOG_W(feature->message, "option", feature->name);
    else
        LOG_W(feature->effect == WITHOUT_EFFECT
                  ? "Feature is accepted and has no effect in this server"
                  : "Feature is accepted; what it is about is not active yet",
              "option", feature->name);
}

void features_tell(const struct options *options)
{
    for (size_t i = 0; i < option_count(options, "enable-feature"); i++) {
        struct str rest = option_at(options, "enable-feature", i);
        do
            feature_tell(str_cut(rest, ',', &rest));
        while (rest.ptr);
    }
}
