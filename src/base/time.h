/* Moments and days.
 *
 * A moment is int64 milliseconds since 1970-01-01T00:00:00Z (proleptic Gregorian, no leap seconds);
 * the range is years 0001 to 9999. A day is an int32 count of days since 1970-01-01 in some zone.
 * A zone is read from the system's TZif files (RFC 8536) and covers future dates by the footer's
 * POSIX rule; "UTC" and fixed offsets ("+05:30") need no files.
 *
 * Layers: uses error.h, str.h, os.h. Threads: a zone is immutable after time_zone_load.
 */
#pragma once

#include "base/error.h"
#include "base/str.h"

enum { MS_PER_SECOND = 1000, MS_PER_MINUTE = 60000, MS_PER_HOUR = 3600000, MS_PER_DAY = 86400000 };

struct time_zone;

/* Loads a zone by IANA name ("Europe/London"), "UTC" or a fixed offset. Caller frees. */
int time_zone_load(struct str name, struct time_zone **out, struct keel_error *err) K_CHECKED;
void time_zone_free(struct time_zone *zone);
const char *time_zone_name(const struct time_zone *zone);
/* Seconds east of UTC at a moment. */
int32_t time_zone_offset(const struct time_zone *zone, int64_t ms);

/* Civil fields to and from day numbers (H. Hinnant, days_from_civil). month 1..12, day 1..31. */
int32_t day_from_civil(int year, int month, int day);
void civil_from_day(int32_t day, int *year, int *month, int *day_of_month);

/* Local wall time to a moment: in a gap the moment after it, in an overlap the first one. */
int64_t time_from_local(const struct time_zone *zone, int year, int month, int day, int hour,
                        int minute, int second, int ms);
int32_t time_day(const struct time_zone *zone, int64_t ms);        /* local day of a moment      */
int64_t time_day_start(const struct time_zone *zone, int32_t day); /* first moment of a local day */
int32_t day_week_start(int32_t day);                               /* the Monday on or before    */
int32_t day_month_start(int32_t day);
int32_t day_quarter_start(int32_t day);
int32_t day_year_start(int32_t day);
int32_t day_add_months(int32_t day, int months); /* clipped to the month's last day */

/* ISO 8601 / RFC 3339, whole slice: YYYY-MM-DD, with [T or space]hh:mm[:ss[.fraction]] and an
 * optional Z or ±hh[:]mm; without an offset the wall time is of `zone` (NULL: UTC). Digits behind
 * milliseconds are cut. Fast path for the 24 characters that SDKs send. False if it is no time. */
bool time_parse(struct str text, const struct time_zone *zone, int64_t *out_ms);

/* By a pattern of strptime-like fields: %Y %y %m %d %H %I %M %S %p %b %B %j %z %s (epoch seconds)
 * %Q (epoch milliseconds) %%; %d %m %H may have one digit; other characters match themselves, a
 * space any run of spaces. False if the text does not match in whole. */
bool time_parse_format(struct str text, struct str format, const struct time_zone *zone,
                       int64_t *out_ms);

/* "2011-12-09T12:50:00Z", with ".123" only if not whole seconds; local form with offset for a zone
 * other than UTC. out holds at least TIME_TEXT_MAX bytes; returns its length. */
enum { TIME_TEXT_MAX = 40 };
size_t time_format(const struct time_zone *zone, int64_t ms, char *out);
size_t day_format(int32_t day, char *out); /* "2011-12-09" */
