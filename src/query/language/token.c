/* What a token's slice says: strings without their escapes, names without their quotes, times.
 * Duty: see token.h. Layers: token.h. Threads: pure.
 */
#include "query/language/token.h"

/* Four hex digits, or -1. */
static int hex4(const char *p, const char *end) {
    int v = 0;
    if (end - p < 4) return -1;
    for (int i = 0; i < 4; i++) {
        char c = p[i];
        int digit = c >= '0' && c <= '9'   ? c - '0'
                    : c >= 'a' && c <= 'f' ? c - 'a' + 10
                    : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                           : -1;
        if (digit < 0) return -1;
        v = v * 16 + digit;
    }
    return v;
}

static char *put_utf8(char *out, uint32_t c) {
    if (c < 0x80) {
        *out++ = (char)c;
    } else if (c < 0x800) {
        *out++ = (char)(0xc0 | c >> 6);
        *out++ = (char)(0x80 | (c & 0x3f));
    } else if (c < 0x10000) {
        *out++ = (char)(0xe0 | c >> 12);
        *out++ = (char)(0x80 | (c >> 6 & 0x3f));
        *out++ = (char)(0x80 | (c & 0x3f));
    } else {
        *out++ = (char)(0xf0 | c >> 18);
        *out++ = (char)(0x80 | (c >> 12 & 0x3f));
        *out++ = (char)(0x80 | (c >> 6 & 0x3f));
        *out++ = (char)(0x80 | (c & 0x3f));
    }
    return out;
}

/* \uXXXX, or two of them for a character beyond U+FFFF. *p stands behind the u. */
static bool put_unicode(const char **p, const char *end, char **out) {
    int first = hex4(*p, end);
    if (first <= 0) return false;
    *p += 4;
    uint32_t c = (uint32_t)first;
    if (c >= 0xdc00 && c <= 0xdfff) return false;
    if (c >= 0xd800 && c <= 0xdbff) {
        if (end - *p < 6 || (*p)[0] != '\\' || (*p)[1] != 'u') return false;
        int second = hex4(*p + 2, end);
        if (second < 0xdc00 || second > 0xdfff) return false;
        *p += 6;
        c = 0x10000 + ((c - 0xd800) << 10) + ((uint32_t)second - 0xdc00);
    }
    *out = put_utf8(*out, c);
    return true;
}

struct str query_token_string(const char *text, const struct query_token *t, struct arena *a,
                              const char **reason) {
    static const char plain[] = "\"'\\/nrt", meant[] = "\"'\\/\n\r\t";
    const char *p = text + t->offset + 1, *end = text + t->offset + t->length - 1;
    char *start = arena_alloc(a, t->length), *out = start;
    while (p < end) {
        if (*p != '\\') {
            *out++ = *p++;
            continue;
        }
        p++;
        const char *known = strchr(plain, *p);
        if (known) {
            *out++ = meant[known - plain];
            p++;
        } else if (*p != 'u' || (p++, !put_unicode(&p, end, &out))) {
            *reason = "has an escape that is none of \\\" \\\\ \\n \\r \\t \\uXXXX";
            break;
        }
    }
    return (struct str){start, (size_t)(out - start)};
}

struct str query_token_name(const char *text, const struct query_token *t, struct arena *a) {
    const char *p = text + t->offset, *end = p + t->length;
    char *start = arena_alloc(a, t->length), *out = start;
    for (bool quoted = false; p < end; p++) {
        if (*p == '`' && quoted && p + 1 < end && p[1] == '`')
            *out++ = *p++; /* a doubled one inside stands for itself */
        else if (*p == '`')
            quoted = !quoted;
        else
            *out++ = *p;
    }
    return (struct str){start, (size_t)(out - start)};
}

static bool day_exists(const struct query_time *t) {
    static const uint8_t days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    if (t->year < 1 || t->year > 9999 || t->month < 1 || t->month > 12) return false;
    bool leap = (t->year % 4 == 0 && t->year % 100 != 0) || t->year % 400 == 0;
    return t->day >= 1 && t->day <= days[t->month - 1] + (t->month == 2 && leap);
}

bool query_time_valid(const struct query_time *t) {
    if (!day_exists(t) || t->hour > 23 || t->minute > 59 || t->second > 59) return false;
    if (t->ms < 0 || t->ms > 999) return false;
    if (t->offset_minutes < -18 * 60 || t->offset_minutes > 18 * 60) return false;
    bool clock = t->hour || t->minute || t->second || t->ms;
    switch (t->kind) { /* what the kind does not say is not said */
    case QUERY_TIME_YEAR: return !clock && !t->offset_minutes && t->month == 1 && t->day == 1;
    case QUERY_TIME_MONTH: return !clock && !t->offset_minutes && t->day == 1;
    case QUERY_TIME_DAY: return !clock && !t->offset_minutes;
    case QUERY_TIME_LOCAL: return !t->offset_minutes;
    case QUERY_TIME_ZONED: return true;
    }
    return false;
}

static int digits(const char **p, int n) {
    int v = 0;
    while (n-- > 0) v = v * 10 + (*(*p)++ - '0');
    return v;
}

/* The lexer has checked the shape, so only the fields' values can be wrong. */
bool query_token_time(const char *text, const struct query_token *t, struct query_time *out) {
    const char *p = text + t->offset, *end = p + t->length;
    *out = (struct query_time){.kind = QUERY_TIME_YEAR, .month = 1, .day = 1};
    out->year = (int16_t)digits(&p, 4);
    if (p < end) {
        out->kind = QUERY_TIME_MONTH;
        p++;
        out->month = (uint8_t)digits(&p, 2);
    }
    if (p < end) {
        out->kind = QUERY_TIME_DAY;
        p++;
        out->day = (uint8_t)digits(&p, 2);
    }
    if (p < end) {
        out->kind = QUERY_TIME_LOCAL;
        p++;
        out->hour = (uint8_t)digits(&p, 2);
        p++;
        out->minute = (uint8_t)digits(&p, 2);
    }
    if (p < end && *p == ':') {
        p++;
        out->second = (uint8_t)digits(&p, 2);
    }
    if (p < end && *p == '.') {
        int scale = 100;
        for (p++; p < end && *p >= '0' && *p <= '9'; p++, scale /= 10)
            out->ms = (int16_t)(out->ms + (*p - '0') * scale); /* cut behind milliseconds */
    }
    if (p < end) {
        out->kind = QUERY_TIME_ZONED;
        if (*p != 'Z' && *p != 'z') {
            int sign = *p++ == '-' ? -1 : 1;
            int hours = digits(&p, 2);
            p += *p == ':';
            out->offset_minutes = (int16_t)(sign * (hours * 60 + digits(&p, 2)));
        }
    }
    return query_time_valid(out);
}
