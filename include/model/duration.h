/* duration: Prometheus' durations: 1y2w3d4h5m6s7ms, each unit once, big to small; "0" needs no unit.
 * Also its byte sizes: 512MB, powers of 1024. */
#ifndef MODEL_DURATION_H
#define MODEL_DURATION_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

/* Errors: `empty duration string`, `not a valid duration string: "x"`, `duration out of range`. */
MUST_CHECK bool duration_parse(struct str s, int64_t *out_ms, struct err *err);
/* 1m30s, 1h, 0s; as Go's model.Duration prints. */
void duration_print(struct buf *buf, int64_t ms);

/* B KB MB GB TB PB EB; a unit is needed; 0 may stand alone. */
MUST_CHECK bool size_parse(struct str s, uint64_t *out_bytes, struct err *err);
void size_print(struct buf *buf, uint64_t bytes); /* As Go's units.Base2Bytes: 10GiB, 0B, 512MiB. */

/* The API's inputs. Time: float seconds (rounded to ms) or RFC 3339, or Go clients' minimum and maximum times.
 * Error: cannot parse "x" to a valid timestamp. Duration: float seconds or a Prometheus duration.
 * Errors: cannot parse "x" to a valid duration[. It overflows int64]. */
MUST_CHECK bool api_time_parse(struct str s, int64_t *out_ms, struct err *err);
MUST_CHECK bool api_duration_parse(struct str s, int64_t *out_ms, struct err *err);

#endif
