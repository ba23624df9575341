/* feature_flags: see feature_flags.h. */
#include "feature_flags.h"

#include "base/log.h"
#include "query.h"

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
    static const struct {
        const char *name;
        unsigned bit;
    } features[] = {
        {"promql-experimental-functions", QUERY_EXPERIMENTAL_FUNCTIONS},
        {"promql-binop-fill-modifiers", QUERY_FILL_MODIFIERS},
        {"promql-extended-range-selectors", QUERY_EXTENDED_RANGES},
        {"promql-delayed-name-removal", QUERY_DELAYED_NAMES},
        {"promql-per-step-stats", QUERY_PER_STEP_STATS},
    };
    unsigned bits = 0;
    for (size_t i = 0; i < option_count(options, "enable-feature"); i++) {
        struct str rest = option_at(options, "enable-feature", i);
        while (rest.ptr) {
            struct str name = str_cut(rest, ',', &rest);
            bool known = name.len == 0 || str_eq(name, STR("exemplar-storage")) ||
                         str_eq(name, STR("auto-reload-config")) ||
                         str_eq(name, STR("extra-scrape-metrics"));
            for (size_t f = 0; f < COUNT_OF(features); f++) {
                if (str_eq(name, str_of(features[f].name))) {
                    bits |= features[f].bit;
                    known = true;
                }
            }
            if (!known)
                LOG_W("Feature is not known here and has no effect", "feature", log_str(name));
        }
    }
    return bits;
}
