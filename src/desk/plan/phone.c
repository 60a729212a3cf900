/* Implementation of phone.h.
 *
 * One walk: to the next digit or +, over its run, which is judged as a whole. Most texts have
 * neither and cost the search alone. */
#include "desk/plan/phone.h"

enum { GROUPS_MOST = 8, DIGITS_MOST = 17, SIGNS_BETWEEN = 3 };

struct run {
    struct str text; /* all of the text it stands in */
    size_t from, to; /* in it: the first sign (+, bracket or digit), behind the last digit */
    unsigned digits, groups, size[GROUPS_MOST];
    char digit[DIGITS_MOST];
    char between[GROUPS_MOST]; /* what stood before a group: its last sign; ' ' for all spaces */
    unsigned dots;
    bool plus, too_long;
    bool area; /* the first group stands in brackets */
};

static bool is_digit(char c) { return c >= '0' && c <= '9'; }
static bool is_letter(char c) { return ((c | 32) >= 'a' && (c | 32) <= 'z') || c == '_'; }

/* A sign that may stand between digits, as one of " -./()", and its bytes; 0: none. */
static char sign_at(struct str s, size_t i, size_t *bytes) {
    static const struct {
        const char *text;
        char sign;
    } WIDE[] = {{"\xc2\xa0", ' '},
                {"\xe2\x80\xaf", ' '},
                {"\xe2\x80\x90", '-'},
                {"\xe2\x80\x91", '-'},
                {"\xe2\x80\x93", '-'}};
    *bytes = 1;
    if (i < s.n && s.p[i] && strchr(" -./()", s.p[i])) return s.p[i];
    if (i >= s.n || (unsigned char)s.p[i] < 0x80) return 0;
    for (size_t k = 0; k < sizeof WIDE / sizeof *WIDE; k++) {
        struct str wide = str_from(WIDE[k].text);
        *bytes = wide.n;
        if (str_starts((struct str){s.p + i, s.n - i}, wide)) return WIDE[k].sign;
    }
    return 0;
}

static void add_group(struct run *r, char before) {
    if (r->groups == GROUPS_MOST) r->too_long = true;
    if (r->too_long) return;
    r->between[r->groups] = before;
    r->size[r->groups++] = 0;
}

static void add_digit(struct run *r, char c) {
    if (r->digits == DIGITS_MOST) r->too_long = true;
    if (r->too_long) return;
    r->digit[r->digits++] = c;
    r->size[r->groups - 1]++;
}

/* The signs from i on, if a digit follows them: where it stands; else i. */
static size_t skip_signs(struct run *r, size_t i, char *out_sign) {
    size_t at = i, bytes;
    unsigned n = 0, dots = 0;
    char sign, last = 0;
    for (; (sign = sign_at(r->text, at, &bytes)) && sign != last && n < SIGNS_BETWEEN; n++) {
        *out_sign = last = sign;
        dots += sign == '.';
        at += bytes;
    }
    if (at >= r->text.n || !is_digit(r->text.p[at])) return i;
    r->dots += dots;
    return at;
}

/* The run that begins at i: with a +, or a digit, before which a bracket may stand. */
static struct run run_at(struct str text, size_t i) {
    struct run r = {.text = text, .from = i, .plus = text.p[i] == '+'};
    char sign = 0;
    i += r.plus;
    while (i < text.n && is_digit(text.p[i])) {
        add_group(&r, sign);
        while (i < text.n && is_digit(text.p[i])) add_digit(&r, text.p[i++]);
        r.to = i;
        i = skip_signs(&r, i, &sign);
    }
    size_t behind = r.from + r.size[0];
    if (r.from > 0 && text.p[r.from - 1] == '(' && behind < text.n && text.p[behind] == ')') {
        r.from--;
        r.area = true;
    }
    return r;
}

/* ---- what touches it: part of something longer, a word, a number, a sum ---- */

static bool is_money(struct str s, size_t i) {
    static const char *const SIGNS[] = {"$", "%", "#", "\xe2\x82\xac", "\xc2\xa3", "\xc2\xa5"};
    for (size_t k = 0; k < sizeof SIGNS / sizeof *SIGNS && i < s.n; k++)
        if (str_starts((struct str){s.p + i, s.n - i}, str_from(SIGNS[k]))) return true;
    return false;
}

static bool money_ends_at(struct str s, size_t end) {
    for (size_t bytes = 1; bytes <= 3 && bytes <= end; bytes++)
        if (is_money((struct str){s.p, end}, end - bytes)) return true;
    return false;
}

static bool is_part_before(const struct run *r) {
    struct str s = r->text;
    if (r->from == 0) return false;
    char before = s.p[r->from - 1];
    if (is_letter(before) || is_digit(before) || before == '+') return true;
    if (r->plus) return false;
    if (memchr("-./,&", before, 5)) return true;
    if (before == ':' && r->from > 1 && is_digit(s.p[r->from - 2])) return true;
    return money_ends_at(s, r->from - (before == ' '));
}

static bool is_part_behind(const struct run *r) {
    struct str s = r->text;
    if (r->to == s.n) return false;
    char behind = s.p[r->to], next = r->to + 1 < s.n ? s.p[r->to + 1] : ' ';
    if (is_letter(behind)) return true;
    if (r->plus) return false;
    if (memchr(",:", behind, 2) && is_digit(next)) return true;
    if (memchr("-/", behind, 2) && is_letter(next)) return true;
    return is_money(s, r->to + (behind == ' '));
}

static bool has_groups(const struct run *r, const char *sizes) {
    unsigned g = 0;
    while (g < r->groups && sizes[g] && r->size[g] == (unsigned)(sizes[g] - '0')) g++;
    return g == r->groups && !sizes[g];
}

static unsigned value_of(const char *digits, unsigned n) {
    unsigned v = 0;
    for (unsigned i = 0; i < n; i++) v = v * 10 + (unsigned)(digits[i] - '0');
    return v;
}

static bool is_day(unsigned year, unsigned month, unsigned day) {
    return year >= 1900 && year < 2100 && month >= 1 && month <= 12 && day >= 1 && day <= 31;
}

/* 20240131 */
static bool is_short_date(const char *digits) {
    return is_day(value_of(digits, 4), value_of(digits + 4, 2), value_of(digits + 6, 2));
}

static bool holds_date(const struct run *r) {
    unsigned at = 0;
    if (has_groups(r, "422")) return true; /* of any year, and with slips: 0850-01-81 */
    for (unsigned g = 0; g < r->groups; at += r->size[g++]) {
        if (r->size[g] == 8 && is_short_date(r->digit + at)) return true;
        if (g + 2 >= r->groups) continue;
        unsigned a = r->size[g], b = r->size[g + 1], c = r->size[g + 2];
        if (a > 4 || b > 2 || c > 4) continue;
        unsigned x = value_of(r->digit + at, a), y = value_of(r->digit + at + a, b);
        unsigned z = value_of(r->digit + at + a + b, c);
        if (a == 4 && c <= 2 && is_day(x, y, z)) return true;
        if (a <= 2 && c == 4 && (is_day(z, y, x) || is_day(z, x, y))) return true;
    }
    return false;
}

/* 192.168.100.100 */
static bool is_computer(const struct run *r) {
    bool small = r->groups == 4 && r->dots == 3;
    for (unsigned g = 0; g < r->groups; g++) small = small && r->size[g] <= 3;
    return small;
}

/* ---- the forms ---- */

static const struct {
    const char *groups, *first; /* digits of each; what the first one may be    */
    char between;               /* '-': before the last group; 'n': no dots; 0: any */
} FORMS[] = {
    {"334", "23456789", 0}, {"1334", "1", 0},          {"333", "679", 'n'},       {"37", "3", 'n'},
    {"55", "6789", 0},      {"254", "123456789", '-'}, {"244", "123456789", '-'}, {"13322", "8", 0},
};

/* 010-10231-01 is a part: dashes alone, and a short end behind a long group. */
static bool is_article(const struct run *r) {
    unsigned last = r->groups - 1, dashes = 0;
    for (unsigned g = 1; g < r->groups; g++) dashes += r->between[g] == '-';
    return dashes == last && r->size[last] < 3 && r->size[last - 1] > 3;
}

static bool is_trunk(const struct run *r) {
    bool pairs = true;
    if (r->digit[0] != '0' || r->digit[1] == '0') return false;
    if (r->size[0] < 2 || r->size[0] > 6 || r->groups > 5 || is_article(r)) return false;
    for (unsigned g = 0; g < r->groups; g++) pairs = pairs && r->size[g] == 2;
    return !pairs || r->groups == 5;
}

static bool is_national(const struct run *r, unsigned fewest) {
    if (r->groups < 2 || r->digits < fewest || r->digits > 12) return false;
    if (r->dots == 1 && r->groups == 2) return false; /* a decimal */
    if (is_trunk(r)) return true;
    if (r->area) return r->size[0] >= 2 && r->size[0] <= 5;
    for (size_t i = 0; i < sizeof FORMS / sizeof *FORMS; i++) {
        bool signs = FORMS[i].between == 0 ||
                     (FORMS[i].between == '-' ? r->between[r->groups - 1] == '-' : !r->dots);
        if (signs && has_groups(r, FORMS[i].groups) && strchr(FORMS[i].first, r->digit[0]))
            return true;
    }
    return has_groups(r, "344") && r->digit[0] == '1' && r->digit[1] >= '3';
}

static bool is_international(const struct run *r, unsigned fewest) {
    bool zeros = r->digit[0] == '0' && r->digit[1] == '0' && r->groups > 1 && r->size[0] > 1;
    unsigned prefix = r->plus ? 0 : 2, n = r->digits - prefix;
    if (!r->plus && !zeros) return false;
    char first = r->digit[prefix];
    return n >= fewest && n <= 15 && first != '0' && (first != '1' || n == 11);
}

static bool is_phone(const struct run *r) {
    bool whole = r->from == 0 && r->to == r->text.n;
    unsigned fewest = whole ? 8 : 9;
    if (r->too_long || r->digits < fewest || is_part_before(r) || is_part_behind(r)) return false;
    if (r->plus) return is_international(r, fewest);
    if (holds_date(r) || is_computer(r)) return false;
    return is_international(r, fewest) || is_national(r, fewest);
}

bool phone_in(struct str text) {
    text = str_trim(text);
    for (size_t i = 0; i < text.n;) {
        char c = text.p[i];
        if (!is_digit(c) && (c != '+' || i + 1 == text.n || !is_digit(text.p[i + 1]))) {
            i++;
            continue;
        }
        struct run r = run_at(text, i);
        if (is_phone(&r)) return true;
        i = r.to;
    }
    return false;
}
