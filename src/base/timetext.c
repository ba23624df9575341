/* timetext: RFC 3339 both ways, and the civil calendar beneath it.
 *
 * The calendar counts eras of 400 years from 0000-03-01, so that the leap day is a year's last
 * (Howard Hinnant, "chrono-compatible low-level date algorithms"). */
#include "base/timetext.h"

#include <stdio.h>

#include "base/ensure.h"

#define SECONDS_PER_DAY 86400
#define DAYS_PER_ERA    146097
#define DAYS_TO_EPOCH   719468 /* From 0000-03-01 to 1970-01-01. */

static int64_t floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

static int64_t floor_mod(int64_t a, int64_t b)
{
    return a % b < 0 ? a % b + b : a % b;
}

static bool is_leap(int64_t year)
{
    return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

int time_days_in_month(int64_t year, int month)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    ENSURE(month >= 1 && month <= 12);
    return month == 2 && is_leap(year) ? 29 : days[month - 1];
}

struct time_civil time_civil_utc(int64_t unix_seconds)
{
    static const int days_before[] = {0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334};
    int64_t days = floor_div(unix_seconds, SECONDS_PER_DAY);
    int64_t second = floor_mod(unix_seconds, SECONDS_PER_DAY);
    int64_t shifted = days + DAYS_TO_EPOCH;
    int64_t era = floor_div(shifted, DAYS_PER_ERA);
    int64_t day_of_era = shifted - era * DAYS_PER_ERA;
    int64_t year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t month_from_march = (5 * day_of_year + 2) / 153;
    struct time_civil civil = {
        .day = (int)(day_of_year - (153 * month_from_march + 2) / 5 + 1),
        .month = (int)(month_from_march < 10 ? month_from_march + 3 : month_from_march - 9),
        .hour = (int)(second / 3600),
        .minute = (int)(second / 60 % 60),
        .second = (int)(second % 60),
        .weekday = (int)floor_mod(days + 4, 7),
    };
    civil.year = year_of_era + era * 400 + (civil.month <= 2);
    civil.yearday =
        days_before[civil.month - 1] + civil.day + (civil.month > 2 && is_leap(civil.year) ? 1 : 0);
    return civil;
}

static int64_t days_from_civil(int64_t year, int month, int day)
{
    int64_t shifted = month <= 2 ? year - 1 : year;
    int64_t era = floor_div(shifted, 400);
    int64_t year_of_era = shifted - era * 400;
    int64_t month_from_march = month > 2 ? month - 3 : month + 9;
    int64_t day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return era * DAYS_PER_ERA + day_of_era - DAYS_TO_EPOCH;
}

/* ---- Reading ---- */

/* A cursor with a sticky fault, so that a time is read straight through. */
struct scan {
    struct str rest;
    bool bad;
};

static bool scan_is(struct scan *scan, char c)
{
    if (scan->rest.len == 0 || scan->rest.ptr[0] != c)
        return false;
    scan->rest = str_after(scan->rest, 1);
    return true;
}

static void scan_expect(struct scan *scan, char c)
{
    if (!scan_is(scan, c))
        scan->bad = true;
}

static int scan_number(struct scan *scan, size_t digits, int low, int high)
{
    uint64_t value = 0;
    if (scan->rest.len < digits || !str_to_u64(str_first(scan->rest, digits), &value)) {
        scan->bad = true;
        return low;
    }
    scan->rest = str_after(scan->rest, digits);
    if (value < (uint64_t)low || value > (uint64_t)high)
        scan->bad = true;
    return (int)value;
}

/* Any number of digits; those past the third are cut off. */
static int64_t scan_fraction_ms(struct scan *scan)
{
    int64_t ms = 0, unit = 100;
    size_t len = 0;
    while (len < scan->rest.len && scan->rest.ptr[len] >= '0' && scan->rest.ptr[len] <= '9') {
        ms += unit * (scan->rest.ptr[len] - '0');
        unit /= 10;
        len++;
    }
    if (len == 0)
        scan->bad = true;
    scan->rest = str_after(scan->rest, len);
    return ms;
}

static int64_t scan_offset_seconds(struct scan *scan)
{
    if (scan_is(scan, 'Z'))
        return 0;
    bool west = scan_is(scan, '-');
    if (!west)
        scan_expect(scan, '+');
    int hours = scan_number(scan, 2, 0, 24);
    scan_expect(scan, ':');
    int minutes = scan_number(scan, 2, 0, 59);
    int64_t seconds = hours * 3600 + minutes * 60;
    return west ? -seconds : seconds;
}

bool time_parse_rfc3339(struct str s, int64_t *out_ms)
{
    struct scan scan = {.rest = s};
    int64_t ms = 0;

    int year = scan_number(&scan, 4, 0, 9999);
    scan_expect(&scan, '-');
    int month = scan_number(&scan, 2, 1, 12);
    scan_expect(&scan, '-');
    int day = scan_number(&scan, 2, 1, 31);
    scan_expect(&scan, 'T');
    /* As Go, whose time.Parse is laxer than RFC 3339 in two places: 1:00:00 and seconds after a comma. */
    bool short_hour = scan.rest.len > 1 && scan.rest.ptr[1] == ':';
    int hour = scan_number(&scan, short_hour ? 1 : 2, 0, 23);
    scan_expect(&scan, ':');
    int minute = scan_number(&scan, 2, 0, 59);
    scan_expect(&scan, ':');
    int second = scan_number(&scan, 2, 0, 59);
    if (scan_is(&scan, '.') || scan_is(&scan, ','))
        ms = scan_fraction_ms(&scan);
    int64_t offset = scan_offset_seconds(&scan);
    if (scan.bad || scan.rest.len > 0 || day > time_days_in_month(year, month))
        return false;
    int64_t seconds = days_from_civil(year, month, day) * SECONDS_PER_DAY + hour * 3600 +
                      minute * 60 + second - offset;
    *out_ms = seconds * 1000 + ms;
    return true;
}

/* ---- Writing ---- */

static void seconds_add(struct buf *buf, int64_t seconds)
{
    struct time_civil t = time_civil_utc(seconds);
    buf_addf(buf, "%s%04llu-%02d-%02dT%02d:%02d:%02d", t.year < 0 ? "-" : "",
             (unsigned long long)(t.year < 0 ? -t.year : t.year), t.month, t.day, t.hour, t.minute,
             t.second);
}

void buf_add_rfc3339_ms(struct buf *buf, int64_t time_ms)
{
    seconds_add(buf, floor_div(time_ms, 1000));
    buf_addf(buf, ".%03dZ", (int)floor_mod(time_ms, 1000));
}

void buf_add_rfc3339_nano(struct buf *buf, int64_t time_ns)
{
    char fraction[16];
    int64_t ns = floor_mod(time_ns, 1000000000);

    seconds_add(buf, floor_div(time_ns, 1000000000));
    if (ns != 0) {
        size_t len = (size_t)snprintf(fraction, sizeof(fraction), ".%09d", (int)ns);
        while (fraction[len - 1] == '0')
            len--;
        buf_add(buf, fraction, len);
    }
    buf_add_char(buf, 'Z');
}
