/* metadata: the names of the metric types. */
#include "model/metadata.h"

#include "base/ensure.h"

const char *metric_type_text(enum metric_type type)
{
    static const char *const texts[] = {
#define X(type, text) [type] = text,
        METRIC_TYPES(X)
#undef X
    };

    ENSURE((size_t)type < COUNT_OF(texts));
    return texts[type];
}
