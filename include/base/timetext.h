/* timetext: times as texts: RFC 3339 both ways, for the API, logs and templates. UTC. */
#ifndef BASE_TIMETEXT_H
#define BASE_TIMETEXT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/str.h"

/* 2006-01-02T15:04:05[.fraction](Z|+hh:mm), as Go's time.RFC3339Nano. */
bool time_parse_rfc3339(struct str s, int64_t *out_ms);
void buf_add_rfc3339_ms(struct buf *buf, int64_t time_ms);  /* .000Z, three digits always. */
void buf_add_rfc3339_nano(struct buf *buf, int64_t time_ns); /* Go's RFC3339Nano: trailing zeros cut. */

struct time_civil {
    int64_t year;
    int month, day, hour, minute, second; /* month and day from 1 */
    int weekday;                          /* 0 is Sunday */
    int yearday;                          /* from 1 */
};
/* Howard Hinnant's civil_from_days, proleptic Gregorian, any int64 second. */
struct time_civil time_civil_utc(int64_t unix_seconds);
int time_days_in_month(int64_t year, int month);

#endif
