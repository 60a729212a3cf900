/* Implementation of csv.h. */
#include "base/csv.h"

/* Some locales take the full-width forms, U+FF1D and the like, for the signs themselves. */
static bool begins_formula(struct str s) {
    static const char *const WIDE[] = {"\xef\xbc\x9d", "\xef\xbc\x8b", "\xef\xbc\x8d",
                                       "\xef\xbc\xa0"};
    if (s.n && memchr("=+-@\t\r\n", s.p[0], 7)) return true;
    for (size_t i = 0; i < sizeof WIDE / sizeof *WIDE; i++)
        if (str_starts(s, str_from(WIDE[i]))) return true;
    return false;
}

static bool needs_guard(struct str s) {
    double number;
    size_t quotes = 0;
    while (quotes < s.n && s.p[quotes] == '\'') quotes++;
    if (!begins_formula((struct str){s.p + quotes, s.n - quotes})) return false;
    return quotes || (s.n > 1 && !str_to_f64(s, &number));
}

static bool needs_quotes(struct str s) {
    if (s.n == 0 || s.p[0] == ' ' || s.p[s.n - 1] == ' ') return true;
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] == '"' || s.p[i] == ',' || s.p[i] == '\n' || s.p[i] == '\r') return true;
    return false;
}

void csv_add_text(struct buf *out, struct str text, enum csv_texts texts) {
    bool quotes = needs_quotes(text), guard = texts == CSV_SAFE && needs_guard(text);
    if (quotes) (void)!buf_add_char(out, '"');
    if (guard) (void)!buf_add_char(out, '\'');
    while (quotes && text.n) {
        const char *quote = memchr(text.p, '"', text.n);
        size_t n = quote ? (size_t)(quote - text.p) + 1 : text.n;
        (void)!buf_add(out, text.p, n);
        if (quote) (void)!buf_add_char(out, '"');
        text = (struct str){text.p + n, text.n - n};
    }
    (void)!buf_add_str(out, text);
    if (quotes) (void)!buf_add_char(out, '"');
}
