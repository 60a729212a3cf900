/* The text of a syntax error. Duty: see expect.h.
 *
 * The grammar is asked for every kind of token whether it could go on with it. What people think of
 * as one thing (a value, an event, a comparison, a condition) is named once; words are named as
 * they are written; clauses that the form does not have are left out. A misspelt word is compared
 * with the words that were possible. Layers: build.h, words. Threads: pure.
 */
#include "query/language/expect.h"

#include <stdarg.h>
#include <stdio.h>

#include "query/language/build.h"
#include "query/language/grammar.h"

enum { CODES = 128, SHOWN = 9, WORD_MAX = 24 };

struct set {
    bool has[CODES];
};

struct writer {
    char *p;
    size_t n, max;
    unsigned items; /* written so far */
    unsigned total;
};

static void add(struct writer *w, const char *format, ...) K_PRINTF(2, 3);
static void add(struct writer *w, const char *format, ...) {
    va_list args;
    va_start(args, format);
    int n = vsnprintf(w->p + w->n, w->max - w->n, format, args);
    va_end(args);
    if (n > 0) w->n = w->n + (size_t)n < w->max ? w->n + (size_t)n : w->max - 1;
}

/* ---- groups: one name for tokens that stand for the same thing ---- */

static const struct group {
    const char *name;
    uint8_t needs[4];   /* all of these are possible …        */
    uint8_t covers[16]; /* … then these need not be named    */
} GROUPS[] = {
    {"a condition (did \"…\", trait …, sum(…), identified, not …)",
     {QT_DID, QT_TRAIT, QT_NOT},
     {QT_DID, QT_TRAIT, QT_NOT, QT_LP, QT_COUNT, QT_AGGREGATE, QT_FIRST, QT_LAST, QT_UNIQUE,
      QT_IDENTIFIED, QT_ANONYMOUS, QT_IN, QT_REACHED, QT_STOPPED}},
    {"an event in quotes, page, screen, identify, group, alias or any event",
     {QT_STRING, QT_PAGE, QT_ANY},
     {QT_STRING, QT_PAGE, QT_SCREEN, QT_IDENTIFY, QT_GROUP, QT_ALIAS, QT_ANY}},
    {"what to count (events, unique customers, sum(…), …)",
     {QT_CUSTOMERS, QT_EVENTS, QT_UNIQUE, QT_AGGREGATE},
     {QT_CUSTOMERS, QT_EVENTS, QT_UNIQUE, QT_AGGREGATE, QT_COUNT, QT_FIRST, QT_LAST}},
    {"last, first, linear, decay, position, shapley or markov",
     {QT_FIRST, QT_LAST, QT_MODEL},
     {QT_FIRST, QT_LAST, QT_MODEL}},
    {"a property, a trait, a segment or a measure (sum(…))",
     {QT_NAME, QT_TRAIT, QT_AGGREGATE},
     {QT_NAME, QT_TRAIT, QT_SEGMENT, QT_AGGREGATE, QT_COUNT, QT_FIRST, QT_LAST, QT_UNIQUE}},
    {"a value (\"text\", 12.5, 2011-09-10, true)",
     {QT_STRING, QT_NUMBER, QT_MOMENT},
     {QT_STRING, QT_NUMBER, QT_MOMENT, QT_BOOLEAN}},
    {"a comparison (=, !=, <, <=, >, >=, in, between, contains, starts with, ends with, matches, "
     "exists, is missing)",
     {QT_EQ, QT_CONTAINS, QT_EXISTS},
     {QT_EQ, QT_NE, QT_LT, QT_LE, QT_GT, QT_GE, QT_IN, QT_NOT, QT_BETWEEN, QT_CONTAINS, QT_STARTS,
      QT_ENDS, QT_MATCHES, QT_EXISTS, QT_IS}},
    {"a property or its condition",
     {QT_NAME, QT_ALL, QT_NOT},
     {QT_NAME, QT_ANY, QT_ALL, QT_NOT, QT_LP}},
    {"a time range (since, before, from, during last, on, in)",
     {QT_SINCE, QT_BEFORE, QT_DURING},
     {QT_SINCE, QT_BEFORE, QT_FROM, QT_DURING, QT_ON, QT_IN}},
    {"how often (at least, at most, exactly, between)",
     {QT_AT, QT_EXACTLY, QT_BETWEEN},
     {QT_AT, QT_EXACTLY, QT_BETWEEN}},
    {"a date such as 2011-09-10", {QT_MOMENT, QT_MONTH}, {QT_MOMENT, QT_MONTH}},
};

static const char *token_text(int code, char *out, size_t n) {
    static const struct {
        uint8_t code;
        const char *text;
    } others[] = {
        {QT_NAME, "a property"},
        {QT_STRING, "a text in quotes"},
        {QT_NUMBER, "a number"},
        {QT_MOMENT, "a day such as 2011-09-10"},
        {QT_UNIT, "a unit of time (hours, days, weeks, …)"},
        {QT_MONTH, "a month such as 2011-09"},
        {QT_DOTNAME, "a dot and a property"},
        {QT_LP, "\"(\""},
        {QT_RP, "\")\""},
        {QT_COMMA, "\",\""},
        {QT_AND_IN, "\"and\""},
        {QT_OR_IN, "\"or\""},
        {QT_AGGREGATE, "sum, avg, min or max"},
        {QT_BOOLEAN, "true or false"},
        {0, "the end"},
    };
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (others[i].code == code) return others[i].text;
    for (unsigned i = 0; i < query_word_count; i++) {
        if (query_words[i].code != code) continue;
        snprintf(out, n, "\"%s\"", query_words[i].text);
        return out;
    }
    return NULL;
}

/* ---- clauses: those of other forms are no help ---- */

static const struct {
    uint8_t code;
    enum build_clause clauses[5];
    uint8_t n;
} CLAUSE_WORDS[] = {
    {QT_BY, {CLAUSE_PERIOD, CLAUSE_SPLIT, CLAUSE_RANK}, 3},
    {QT_SPLIT, {CLAUSE_SPLIT}, 1},
    {QT_WITHIN, {CLAUSE_WITHIN}, 1},
    {QT_LIMIT, {CLAUSE_LIMIT}, 1},
    {QT_AMONG, {CLAUSE_AMONG}, 1},
    {QT_OVER, {CLAUSE_OVER}, 1},
    {QT_WITH, {CLAUSE_GAP, CLAUSE_SAME, CLAUSE_COLUMNS, CLAUSE_HALF_LIFE, CLAUSE_SUPPORT}, 5},
    {QT_ORDER, {CLAUSE_ORDER}, 1},
    {QT_PERCENTILES, {CLAUSE_PERCENTILES}, 1},
    {QT_WITHOUT, {CLAUSE_WITHOUT}, 1},
    {QT_STARTING, {CLAUSE_STARTING, CLAUSE_CHANGE}, 2},
    {QT_ENDING, {CLAUSE_ENDING}, 1},
    {QT_RECENCY, {CLAUSE_RECENCY}, 1},
    {QT_FREQUENCY, {CLAUSE_FREQUENCY}, 1},
    {QT_VALUE, {CLAUSE_VALUE}, 1},
};

/* The form that the first words say, before the grammar has seen its end; -1: none. */
static int form_of(const struct query_token *t) {
    static const struct {
        uint8_t code;
        enum query_form form;
    } forms[] = {
        {QT_LIST, QUERY_LIST},
        {QT_FUNNEL, QUERY_FUNNEL},
        {QT_RETENTION, QUERY_RETENTION},
        {QT_REPEAT, QUERY_REPEAT},
        {QT_TREND, QUERY_TREND},
        {QT_TOTAL, QUERY_TREND},
        {QT_TIME, QUERY_TIME},
        {QT_PATHS, QUERY_PATHS},
        {QT_ATTRIBUTE, QUERY_ATTRIBUTE},
        {QT_SESSIONS, QUERY_SESSIONS},
        {QT_RFM, QUERY_RFM},
        {QT_TOP, QUERY_TOP},
        {QT_LIFECYCLE, QUERY_LIFECYCLE},
        {QT_COMPARE, QUERY_COMPARE},
    };
    if (t[0].code == QT_COUNT) return t[1].code == QT_EVENTS ? QUERY_TREND : QUERY_COUNT;
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++)
        if (forms[i].code == t[0].code) return (int)forms[i].form;
    return -1;
}

static void drop_foreign_clauses(struct set *set, const struct query_token *tokens, uint32_t i) {
    static const uint8_t ranges[] = {QT_SINCE, QT_BEFORE, QT_FROM, QT_DURING, QT_ON, QT_IN};
    int form = form_of(tokens);
    bool unranged = form >= 0 && !(build_clause_forms[CLAUSE_RANGE] >> form & 1);
    if (unranged && i == 2) /* count customers …: no condition yet that could take a range */
        for (size_t k = 0; k < sizeof ranges; k++) set->has[ranges[k]] = false;
    if (form < 0 || !set->has[0] || !set->has[QT_LIMIT]) return; /* not between clauses */
    for (size_t c = 0; c < sizeof CLAUSE_WORDS / sizeof *CLAUSE_WORDS; c++) {
        bool taken = false;
        for (uint8_t k = 0; k < CLAUSE_WORDS[c].n; k++)
            taken |= build_clause_forms[CLAUSE_WORDS[c].clauses[k]] >> form & 1;
        if (!taken) set->has[CLAUSE_WORDS[c].code] = false;
    }
}

/* ---- the sentence ---- */

static void add_item(struct writer *w, const char *name) {
    if (w->items) add(w, w->items + 1 == w->total ? " or " : ", ");
    add(w, "%s", name);
    w->items++;
}

static void write_set(struct writer *w, const struct set *possible) {
    struct set set = *possible;
    const char *names[CODES + sizeof GROUPS / sizeof *GROUPS];
    char words[CODES][WORD_MAX];
    unsigned n = 0;
    for (size_t g = 0; g < sizeof GROUPS / sizeof *GROUPS; g++) {
        bool all = true;
        for (int k = 0; k < 4 && GROUPS[g].needs[k]; k++) all &= set.has[GROUPS[g].needs[k]];
        if (!all) continue;
        names[n++] = GROUPS[g].name;
        for (int k = 0; k < 16 && GROUPS[g].covers[k]; k++) set.has[GROUPS[g].covers[k]] = false;
    }
    bool end = set.has[0];
    set.has[0] = false;
    if (set.has[QT_AND]) set.has[QT_AND_IN] = false; /* written alike */
    if (set.has[QT_OR]) set.has[QT_OR_IN] = false;
    for (int code = 1; code < CODES; code++) {
        if (!set.has[code]) continue;
        const char *name = token_text(code, words[code], sizeof words[code]);
        if (name) names[n++] = name;
    }
    if (end) names[n++] = "the end";
    bool cut = n > SHOWN + 6; /* all forms are shown */
    w->total = cut ? 0 : n;
    for (unsigned i = 0; i < (cut ? SHOWN : n); i++) add_item(w, names[i]);
    if (cut) add(w, ", …");
}

static void write_found(struct writer *w, const char *text, const struct query_token *t) {
    int n = t->length > 40 ? 40 : (int)t->length;
    while (n > 0 && n < (int)t->length &&
           ((unsigned char)text[t->offset + (uint32_t)n] & 0xc0) == 0x80)
        n--; /* not inside a character */
    const char *more = (int)t->length > n ? "…" : "";
    if (t->code == 0)
        add(w, "the end of the query");
    else if (t->code == QT_STRING)
        add(w, "the text %.*s%s", n, text + t->offset, more);
    else
        add(w, "\"%.*s%s\"", n, text + t->offset, more);
}

/* Optimal string alignment distance (insert, delete, replace, swap of neighbours), ASCII case
 * folded; both at most WORD_MAX bytes. */
static unsigned distance(struct str a, struct str b) {
    unsigned row[3][WORD_MAX + 2];
    unsigned *before = row[0], *last = row[1], *now = row[2];
    for (unsigned j = 0; j <= b.n; j++) last[j] = before[j] = j;
    for (unsigned i = 1; i <= a.n; i++) {
        now[0] = i;
        for (unsigned j = 1; j <= b.n; j++) {
            bool same = (a.p[i - 1] | 0x20) == (b.p[j - 1] | 0x20);
            unsigned best = last[j - 1] + !same;
            if (last[j] + 1 < best) best = last[j] + 1;
            if (now[j - 1] + 1 < best) best = now[j - 1] + 1;
            if (i > 1 && j > 1 && (a.p[i - 1] | 0x20) == (b.p[j - 2] | 0x20) &&
                (a.p[i - 2] | 0x20) == (b.p[j - 1] | 0x20) && before[j - 2] + 1 < best)
                best = before[j - 2] + 1;
            now[j] = best;
        }
        unsigned *spare = before;
        before = last;
        last = now;
        now = spare;
    }
    return last[b.n];
}

static void write_suggestion(struct writer *w, const char *text, const struct query_token *t,
                             const struct set *possible) {
    struct str found = {text + t->offset, t->length};
    const char *best = NULL;
    if (t->code != QT_NAME || found.n < 2 || found.n > WORD_MAX) return;
    unsigned best_distance = found.n <= 4 ? 2 : 3; /* one or two slips */
    for (unsigned i = 0; i < query_word_count; i++) {
        if (!possible->has[query_words[i].code]) continue;
        unsigned d = distance(found, str_from(query_words[i].text));
        if (d >= best_distance) continue;
        best = query_words[i].text;
        best_distance = d;
    }
    if (best) add(w, "; did you mean \"%s\"?", best);
}

void query_expected(const void *parser, const char *text, const struct query_token *tokens,
                    uint32_t i, char *out, size_t out_bytes) {
    struct writer w = {.p = out, .max = out_bytes};
    struct set possible = {0};
    K_ASSERT_OP(query_grammar_codes(), <=, CODES);
    for (int code = 0; code < query_grammar_codes(); code++)
        possible.has[code] = query_grammar_accepts(parser, code);
    drop_foreign_clauses(&possible, tokens, i);
    out[0] = '\0';
    add(&w, "expected ");
    write_set(&w, &possible);
    if (i > 0) {
        add(&w, " after ");
        write_found(&w, text, &tokens[i - 1]);
    }
    add(&w, ", found ");
    write_found(&w, text, &tokens[i]);
    write_suggestion(&w, text, &tokens[i], &possible);
}
