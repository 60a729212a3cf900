/* Implementation of time.h: the calendar, reading and writing times. Zones are in tz.c.
 *
 * The calendar functions are H. Hinnant's days_from_civil and civil_from_days: years start in March
 * there, so that the leap day comes last and month lengths follow a line.
 *
 * Layers: uses time.h, str.h. Threads: pure functions. Limits: years 1 to 9999.
 */
#include "base/time.h"

static const int64_t FIRST_MS = INT64_C(-62135596800000); /* 0001-01-01T00:00:00Z      */
static const int64_t LAST_MS = INT64_C(253402300799999);  /* 9999-12-31T23:59:59.999Z  */

/* ---- calendar ---- */

int32_t day_from_civil(int year, int month, int day) {
    int64_t y = (int64_t)year - (month <= 2);
    int64_t era = (y >= 0 ? y : y - 399) / 400;
    int64_t year_of_era = y - era * 400;
    int64_t day_of_year = (153 * (int64_t)(month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
    int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return (int32_t)(era * 146097 + day_of_era - 719468);
}

void civil_from_day(int32_t day, int *year, int *month, int *day_of_month) {
    int64_t z = (int64_t)day + 719468;
    int64_t era = (z >= 0 ? z : z - 146096) / 146097;
    uint32_t day_of_era = (uint32_t)(z - era * 146097);
    uint32_t year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    uint32_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    uint32_t month_from_march = (5 * day_of_year + 2) / 153;
    *day_of_month = (int)(day_of_year - (153 * month_from_march + 2) / 5 + 1);
    *month = (int)(month_from_march < 10 ? month_from_march + 3 : month_from_march - 9);
    *year = (int)(era * 400 + year_of_era + (*month <= 2));
}

static bool is_leap(int year) { return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0); }

static int month_days(int year, int month) {
    static const uint8_t DAYS[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    return month == 2 && is_leap(year) ? 29 : DAYS[month - 1];
}

int32_t day_week_start(int32_t day) {
    int32_t since_monday = (int32_t)(((int64_t)day + 3) % 7); /* 1970-01-01 was a Thursday */
    return day - (since_monday < 0 ? since_monday + 7 : since_monday);
}

int32_t day_month_start(int32_t day) {
    int year, month, day_of_month;
    civil_from_day(day, &year, &month, &day_of_month);
    return day - day_of_month + 1;
}

int32_t day_quarter_start(int32_t day) {
    int year, month, day_of_month;
    civil_from_day(day, &year, &month, &day_of_month);
    return day_from_civil(year, (month - 1) / 3 * 3 + 1, 1);
}

int32_t day_year_start(int32_t day) {
    int year, month, day_of_month;
    civil_from_day(day, &year, &month, &day_of_month);
    return day_from_civil(year, 1, 1);
}

int32_t day_add_months(int32_t day, int months) {
    int year, month, day_of_month;
    civil_from_day(day, &year, &month, &day_of_month);
    int64_t total = (int64_t)year * 12 + month - 1 + months;
    int64_t new_year = (total >= 0 ? total : total - 11) / 12;
    int new_month = (int)(total - new_year * 12) + 1, most = month_days((int)new_year, new_month);
    return day_from_civil((int)new_year, new_month, day_of_month < most ? day_of_month : most);
}

/* ---- reading ---- */

struct scan {
    const char *p, *end;
};

struct fields {
    int year, month, day, hour, minute, second, ms;
    int day_of_year; /* 0: month and day count */
    int pm;          /* -1: no AM or PM; with 12-hour clock hour is 1..12 */
    bool hour12;
    bool has_offset;
    int offset_s;
    bool has_epoch;
    int64_t epoch_ms;
};

static bool at_digit(const struct scan *s) { return s->p < s->end && *s->p >= '0' && *s->p <= '9'; }

/* From least to most digits; as many as there are. */
static bool scan_digits(struct scan *s, int least, int most, int *out) {
    int v = 0, n = 0;
    for (; n < most && at_digit(s); n++) v = v * 10 + (*s->p++ - '0');
    *out = v;
    return n >= least;
}

static bool scan_char(struct scan *s, char c) {
    if (s->p == s->end || *s->p != c) return false;
    s->p++;
    return true;
}

/* Z, +hh, +hhmm or +hh:mm */
static bool scan_offset(struct scan *s, struct fields *f) {
    f->has_offset = true;
    if (scan_char(s, 'Z') || scan_char(s, 'z')) return true;
    bool minus = scan_char(s, '-');
    int hours, minutes = 0;
    if (!minus && !scan_char(s, '+')) return false;
    if (!scan_digits(s, 2, 2, &hours)) return false;
    if ((scan_char(s, ':') || at_digit(s)) && !scan_digits(s, 2, 2, &minutes)) return false;
    if (hours > 23 || minutes > 59) return false;
    f->offset_s = (hours * 3600 + minutes * 60) * (minus ? -1 : 1);
    return true;
}

/* .fraction: milliseconds; further digits are cut. */
static bool scan_fraction(struct scan *s, int *out_ms) {
    int ms = 0, scale = 100;
    if (!at_digit(s)) return false;
    for (; at_digit(s); s->p++, scale /= 10) ms += (*s->p - '0') * scale;
    *out_ms = ms;
    return true;
}

/* Checks the ranges and makes a moment of the fields. */
static bool to_moment(const struct fields *f, const struct time_zone *zone, int64_t *out_ms) {
    int64_t ms = f->epoch_ms;
    if (!f->has_epoch) {
        int month = f->month, day = f->day;
        if (f->year < 1 || f->year > 9999) return false;
        if (f->day_of_year) {
            if (f->day_of_year > 365 + is_leap(f->year)) return false;
            month = 1;
            day = f->day_of_year; /* day_from_civil counts on */
        } else if (month < 1 || month > 12 || day < 1 || day > month_days(f->year, month)) {
            return false;
        }
        if (f->hour > 23 || f->minute > 59 || f->second > 59) return false;
        ms = time_from_local(f->has_offset ? NULL : zone, f->year, month, day, f->hour, f->minute,
                             f->second, f->ms) -
             f->offset_s * INT64_C(1000);
    }
    if (ms < FIRST_MS || ms > LAST_MS) return false;
    *out_ms = ms;
    return true;
}

/* The 24 characters of Date.toISOString, which every SDK sends. */
static bool parse_24(const char *p, int64_t *out_ms) {
    static const char SHAPE[] = "0000-00-00T00:00:00.000Z";
    int d[24];
    bool good = true;
    for (int i = 0; i < 24; i++) {
        d[i] = p[i] - '0';
        good &= SHAPE[i] == '0' ? (unsigned)d[i] < 10 : p[i] == SHAPE[i];
    }
    if (!good) return false;
    struct fields f = {.year = d[0] * 1000 + d[1] * 100 + d[2] * 10 + d[3],
                       .month = d[5] * 10 + d[6],
                       .day = d[8] * 10 + d[9],
                       .hour = d[11] * 10 + d[12],
                       .minute = d[14] * 10 + d[15],
                       .second = d[17] * 10 + d[18],
                       .ms = d[20] * 100 + d[21] * 10 + d[22],
                       .has_offset = true};
    return to_moment(&f, NULL, out_ms);
}

bool time_parse(struct str text, const struct time_zone *zone, int64_t *out_ms) {
    if (text.n == 24 && parse_24(text.p, out_ms)) return true;
    struct scan s = {text.p, text.p + text.n};
    struct fields f = {0};
    if (text.n < 10 || !scan_digits(&s, 4, 4, &f.year) || !scan_char(&s, '-') ||
        !scan_digits(&s, 2, 2, &f.month) || !scan_char(&s, '-') || !scan_digits(&s, 2, 2, &f.day))
        return false;
    if (s.p < s.end) {
        if (!scan_char(&s, 'T') && !scan_char(&s, 't') && !scan_char(&s, ' ')) return false;
        if (!scan_digits(&s, 2, 2, &f.hour) || !scan_char(&s, ':') ||
            !scan_digits(&s, 2, 2, &f.minute))
            return false;
        if (scan_char(&s, ':')) {
            if (!scan_digits(&s, 2, 2, &f.second)) return false;
            if (scan_char(&s, '.') && !scan_fraction(&s, &f.ms)) return false;
        }
        if (s.p < s.end && !scan_offset(&s, &f)) return false;
    }
    return s.p == s.end && to_moment(&f, zone, out_ms);
}

/* English names, in full or by their first three letters, in any case: 1..12, or 0. */
static int scan_month(struct scan *s) {
    static const char *const NAMES[] = {"january",   "february", "march",    "april",
                                        "may",       "june",     "july",     "august",
                                        "september", "october",  "november", "december"};
    for (int i = 0; i < 12; i++) {
        struct str name = str_from(NAMES[i]), left = {s->p, (size_t)(s->end - s->p)};
        if (left.n >= name.n && str_eq_nocase(name, (struct str){left.p, name.n})) {
            s->p += name.n;
            return i + 1;
        }
        if (left.n >= 3 && str_eq_nocase((struct str){name.p, 3}, (struct str){left.p, 3})) {
            s->p += 3;
            return i + 1;
        }
    }
    return 0;
}

static bool scan_am_pm(struct scan *s, struct fields *f) {
    if (s->end - s->p < 2 || (s->p[1] | 32) != 'm') return false;
    char c = (char)(s->p[0] | 32);
    if (c != 'a' && c != 'p') return false;
    f->pm = c == 'p';
    s->p += 2;
    return true;
}

/* A whole number of 1 / per_unit seconds since 1970. */
static bool scan_epoch(struct scan *s, int64_t unit_ms, struct fields *f) {
    const char *start = s->p;
    if (s->p < s->end && *s->p == '-') s->p++;
    while (at_digit(s)) s->p++;
    f->has_epoch = true;
    return str_to_i64((struct str){start, (size_t)(s->p - start)}, &f->epoch_ms) &&
           !__builtin_mul_overflow(f->epoch_ms, unit_ms, &f->epoch_ms);
}

static bool scan_field(struct scan *s, char field, struct fields *f) {
    switch (field) {
    case 'Y': return scan_digits(s, 4, 4, &f->year);
    case 'y':
        if (!scan_digits(s, 2, 2, &f->year)) return false;
        f->year += f->year < 69 ? 2000 : 1900; /* as POSIX */
        return true;
    case 'm': return scan_digits(s, 1, 2, &f->month);
    case 'd': return scan_digits(s, 1, 2, &f->day);
    case 'H': return scan_digits(s, 1, 2, &f->hour);
    case 'I': f->hour12 = true; return scan_digits(s, 1, 2, &f->hour);
    case 'M': return scan_digits(s, 2, 2, &f->minute);
    case 'S': return scan_digits(s, 2, 2, &f->second);
    case 'p': return scan_am_pm(s, f);
    case 'b':
    case 'B': return (f->month = scan_month(s)) != 0;
    case 'j': return scan_digits(s, 3, 3, &f->day_of_year) && f->day_of_year > 0;
    case 'z': return scan_offset(s, f);
    case 's': return scan_epoch(s, MS_PER_SECOND, f);
    case 'Q': return scan_epoch(s, 1, f);
    case '%': return scan_char(s, '%');
    default: return false;
    }
}

bool time_parse_format(struct str text, struct str format, const struct time_zone *zone,
                       int64_t *out_ms) {
    struct scan s = {text.p, text.p + text.n};
    struct fields f = {.month = 1, .day = 1, .pm = -1};
    for (size_t i = 0; i < format.n; i++) {
        char c = format.p[i];
        if (c == ' ') {
            while (scan_char(&s, ' ')) continue;
        } else if (c != '%') {
            if (!scan_char(&s, c)) return false;
        } else if (++i == format.n || !scan_field(&s, format.p[i], &f)) {
            return false;
        }
    }
    if (s.p != s.end) return false;
    if (f.hour12) {
        if (f.hour < 1 || f.hour > 12) return false;
        f.hour = f.hour % 12 + (f.pm == 1 ? 12 : 0);
    }
    return to_moment(&f, zone, out_ms);
}

/* ---- writing ---- */

static char *put_digits(char *to, int v, int digits) {
    for (int i = digits - 1; i >= 0; i--, v /= 10) to[i] = (char)('0' + v % 10);
    return to + digits;
}

/* Years beyond 9999 (a local time may reach one day further) take five digits. */
static char *put_date(char *to, int32_t day) {
    int year, month, day_of_month;
    civil_from_day(day, &year, &month, &day_of_month);
    to = put_digits(to, year, year > 9999 ? 5 : 4);
    *to++ = '-';
    to = put_digits(to, month, 2);
    *to++ = '-';
    return put_digits(to, day_of_month, 2);
}

static int32_t clamp_day(int32_t day) {
    const int32_t first = (int32_t)(FIRST_MS / MS_PER_DAY), last = (int32_t)(LAST_MS / MS_PER_DAY);
    return day < first ? first : day > last ? last : day;
}

size_t day_format(int32_t day, char *out) {
    char *end = put_date(out, clamp_day(day));
    *end = 0;
    return (size_t)(end - out);
}

size_t time_format(const struct time_zone *zone, int64_t ms, char *out) {
    ms = ms < FIRST_MS ? FIRST_MS : ms > LAST_MS ? LAST_MS : ms;
    /* Local mean times have seconds in their offset, which the text cannot say: the offset is cut
     * to minutes, and the wall time with it, so that the text reads back as the same moment. */
    int32_t minutes = time_zone_offset(zone, ms) / 60;
    int64_t local = ms + minutes * (int64_t)MS_PER_MINUTE;
    int64_t day = local / MS_PER_DAY - (local % MS_PER_DAY < 0);
    int of_day = (int)(local - day * MS_PER_DAY);
    char *to = put_date(out, (int32_t)day);
    *to++ = 'T';
    to = put_digits(to, of_day / MS_PER_HOUR, 2);
    *to++ = ':';
    to = put_digits(to, of_day / MS_PER_MINUTE % 60, 2);
    *to++ = ':';
    to = put_digits(to, of_day / MS_PER_SECOND % 60, 2);
    if (of_day % MS_PER_SECOND) {
        *to++ = '.';
        to = put_digits(to, of_day % MS_PER_SECOND, 3);
    }
    if (!zone || str_is(STR("UTC"), time_zone_name(zone))) {
        *to++ = 'Z';
    } else {
        *to++ = minutes < 0 ? '-' : '+';
        to = put_digits(to, (minutes < 0 ? -minutes : minutes) / 60, 2);
        *to++ = ':';
        to = put_digits(to, (minutes < 0 ? -minutes : minutes) % 60, 2);
    }
    *to = 0;
    return (size_t)(to - out);
}
