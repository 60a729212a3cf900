/* Implementation of kpi/report.h. */
#include "desk/kpi/report.h"

#include <math.h>

#include "base/time.h"
#include "desk/kpi/attribute.h"
#include "query/language/query_print.h"

enum { LATEST_BACK = 40, EDITS = 100 };

int kpi_read_day(struct str text, const char *name, int32_t *out, struct keel_error *err) {
    int64_t ms;
    if (text.n == 0) FAIL(err, INVALID, "%s is missing: a day, as 2026-12-31", name);
    if (text.n != sizeof "2026-12-31" - 1 || !time_parse(text, NULL, &ms))
        FAIL(err, INVALID, "%s=\"%.*s\" is no day; write 2026-12-31", name,
             (int)(text.n < 100 ? text.n : 100), text.p);
    *out = time_day(NULL, ms);
    return 0;
}

/* ---- pieces ---- */

static void put_number(struct buf *b, const char *name, double v) {
    (void)buf_printf(b, ",\"%s\":", name);
    if (isfinite(v))
        (void)!buf_add_json_f64(b, v);
    else
        (void)!buf_add_text(b, "null");
}

static void put_time(struct buf *b, const char *name, int64_t ms) {
    char text[TIME_TEXT_MAX];
    int n = (int)time_format(NULL, ms, text);
    (void)buf_printf(b, ",\"%s\":\"%.*s\"", name, n, text);
}

static void put_day(struct buf *b, const char *before, int32_t day) {
    char text[TIME_TEXT_MAX];
    int n = (int)day_format(day, text);
    (void)buf_printf(b, "%s\"%.*s\"", before, n, text);
}

static const char *guardrail(const struct kpi *k, double value) {
    if ((!k->has_low && !k->has_high) || isnan(value)) return KPI_VERDICT_NAMES[KPI_UNKNOWN];
    enum kpi_verdict v = k->has_low && value < k->low     ? KPI_BELOW
                         : k->has_high && value > k->high ? KPI_ABOVE
                                                          : KPI_INSIDE;
    return KPI_VERDICT_NAMES[v];
}

static const char *target_met(const struct kpi *k, double value) {
    if (!k->has_target || isnan(value)) return "null";
    return (k->direction == KPI_UP ? value >= k->target : value <= k->target) ? "true" : "false";
}

static void put_unit(struct buf *b, const struct db *db, const struct kpi *k) {
    struct str currency = k->currency.n ? k->currency : db_currency(db);
    (void)buf_printf(b, ",\"unit\":\"%s\"", KPI_UNIT_NAMES[k->unit]);
    if (k->unit != KPI_MONEY) return;
    (void)!buf_add_text(b, ",\"currency\":");
    (void)!buf_add_json_str(b, currency);
}

/* Also where only what it is compared with is: the difference would tell. */
static bool is_hidden(const struct kpi_point *p, const struct kpi_ask *ask) {
    return kpi_point_hidden(p, ask->hide_below) ||
           (p->compared && p->compared_fewest < ask->hide_below);
}

/* A leaf's question as it is asked for [from, to), or, with periods, for each of them. */
static void put_question(struct buf *b, const struct kpi *k, enum kpi_grain grain, int32_t from,
                         int32_t to, bool periods) {
    static const enum query_unit UNIT[] = {QUERY_DAY, QUERY_WEEK, QUERY_MONTH};
    struct buf text;
    if (k->form != KPI_QUERY || !k->query) return;
    struct query q = *k->query;
    if (q.form != QUERY_COUNT) q.range = kpi_range(from, to);
    if (q.form == QUERY_TREND && periods) {
        q.has_period = true;
        q.period = UNIT[grain];
    }
    buf_init(&text, QUERY_MAX_TEXT);
    if (query_print(&q, &text) == 0) {
        (void)!buf_add_text(b, ",\"question\":");
        (void)!buf_add_json_str(b, buf_str(&text));
    }
    buf_release(&text);
}

static void put_point(struct buf *b, const struct kpi *k, const struct kpi_point *p,
                      const struct kpi_ask *ask) {
    bool hidden = is_hidden(p, ask);
    put_day(b, "{\"period\":", p->day);
    put_number(b, "value", hidden ? NAN : p->value);
    if (hidden) (void)!buf_add_text(b, ",\"hidden\":true");
    if (!p->stored) return;
    (void)buf_printf(b, ",\"complete\":%s", p->complete ? "true" : "false");
    /* when a hidden number last changed is hidden, too */
    put_time(b, "computed_at", hidden ? p->checked_ms : p->computed_ms);
    put_time(b, "checked_at", p->checked_ms);
    put_time(b, "asked_at", p->asked_ms);
    double judged =
        p->complete && !hidden ? p->value : NAN; /* half a day's sales are below every guardrail */
    (void)buf_printf(b, ",\"version\":%lld,\"query_hash\":\"%s\",\"guardrail\":\"%s\"",
                     (long long)p->version, p->query_hash, guardrail(k, judged));
    (void)buf_printf(b, ",\"target_met\":%s", target_met(k, judged));
}

/* ---- latest ---- */

static void put_latest_point(struct buf *b, const struct kpi *k, const struct kpi_point *p,
                             const struct kpi_ask *ask) {
    put_point(b, k, p, ask);
    put_question(b, k, k->grain, p->day, kpi_period_add(k->grain, p->day, 1), false);
}

/* The newest complete period with a value, and the running one, of what is kept. */
static int put_latest(struct sql *desk, const struct db *db, const struct kpi *k,
                      const struct kpi_ask *ask, struct buf *b, struct keel_error *err) {
    struct kpi_point p[LATEST_BACK];
    int32_t today = time_day(db_zone(db), ask->now_ms);
    int32_t start = kpi_period_add(k->grain, kpi_period_start(k->grain, today), 1 - LATEST_BACK);
    const struct kpi_point *latest = NULL, *running = &p[LATEST_BACK - 1];
    TRY(kpi_stored(desk, k, k->grain, start, LATEST_BACK, KPI_NOW, p, err));
    for (uint32_t i = 0; i < LATEST_BACK; i++)
        if (p[i].stored && p[i].complete && !isnan(p[i].value)) latest = &p[i];
    (void)!buf_add_text(b, ",\"latest\":");
    if (latest) put_latest_point(b, k, latest, ask);
    (void)!buf_add_text(b, latest ? "},\"running\":" : "null,\"running\":");
    bool runs = running->stored && !running->complete;
    if (runs) put_latest_point(b, k, running, ask);
    (void)!buf_add_text(b, runs ? "}" : "null");
    return 0;
}

static int put_kpi(struct sql *desk, const struct db *db, const struct kpi *k,
                   const struct kpi_ask *ask, struct buf *b, struct keel_error *err) {
    kpi_json_open(k, b);
    (void)buf_printf(b, ",\"form\":\"%s\"", KPI_FORM_NAMES[k->form]);
    if (k->unit == KPI_MONEY && k->currency.n == 0) {
        (void)!buf_add_text(b, ",\"currency\":");
        (void)!buf_add_json_str(b, db_currency(db));
    }
    return put_latest(desk, db, k, ask, b, err);
}

/* ---- definitions ---- */

/* One that cannot be computed says why, and does not hide the others. */
static int refresh(struct kpi_run *run, struct sql *desk, const struct kpi_set *set, int kpi,
                   struct buf *problem) {
    struct keel_error why = {0};
    int code = kpi_bring_up_to_date(run, desk, set, kpi, &why);
    if (code == -KEEL_E_CANCELLED) return code;
    if (code < 0) {
        (void)!buf_add_text(problem, ",\"problem\":");
        (void)!buf_add_json_str(problem, str_from(why.message));
    }
    return 0;
}

static int list_set(struct db *db, struct sql *desk, const struct kpi_set *set, struct kpi_run *run,
                    const struct kpi_ask *ask, struct buf *b, struct keel_error *err) {
    struct buf problem;
    int code = 0;
    buf_init(&problem, 16 * KEEL_ERROR_MAX);
    (void)!buf_add_text(b, "{\"kpis\":[");
    for (uint32_t i = 0; i < set->n && code == 0; i++) {
        buf_clear(&problem);
        if (run) code = refresh(run, desk, set, (int)i, &problem);
        if (code < 0) {
            (void)error_set(err, KEEL_E_CANCELLED, "cancelled");
            break;
        }
        if (i) (void)!buf_add_char(b, ',');
        code = put_kpi(desk, db, &set->kpi[i], ask, b, err);
        (void)!buf_add_str(b, buf_str(&problem));
        (void)!buf_add_char(b, '}');
    }
    (void)!buf_add_char(b, ']');
    buf_release(&problem);
    return code;
}

static int open_run(struct db *db, struct sql *desk, const struct kpi_ask *ask,
                    struct kpi_run **out, struct keel_error *err) {
    const struct kpi_run_options options = {
        .desk = desk, .now_ms = ask->now_ms, .threads = ask->threads, .cancel = ask->cancel};
    return kpi_run_open(db, &options, out, err);
}

int kpi_report_list(struct db *db, struct sql *desk, const struct kpi_ask *ask, struct buf *out,
                    struct keel_error *err) {
    struct kpi_set set;
    struct kpi_run *run = NULL;
    int code = kpi_set_load(desk, KPI_NOW, &set, err);
    if (code == 0 && ask->refresh) code = open_run(db, desk, ask, &run, err);
    if (code == 0) code = list_set(db, desk, &set, run, ask, out, err);
    kpi_run_close(run);
    kpi_set_free(&set);
    return code;
}

struct edits {
    struct buf *out;
    uint32_t n;
};

static int put_edit(void *ctx, const struct kpi_edit *edit) {
    struct edits *e = ctx;
    (void)buf_printf(e->out, "%s{\"version\":%lld", e->n++ ? "," : "", (long long)edit->version);
    put_time(e->out, "at", edit->at_ms);
    (void)!buf_add_text(e->out, ",\"who\":");
    (void)!buf_add_json_str(e->out, edit->who);
    (void)!buf_add_text(e->out, ",\"definition\":");
    if (edit->body.p)
        (void)!buf_add_str(e->out, edit->body);
    else
        (void)!buf_add_text(e->out, "null"); /* removed */
    (void)!buf_add_char(e->out, '}');
    return e->out->failed;
}

int kpi_report_one(struct db *db, struct sql *desk, struct str id, const struct kpi_ask *ask,
                   struct buf *out, struct keel_error *err) {
    struct kpi_set set;
    struct edits edits = {.out = out};
    int which, code = kpi_set_load(desk, KPI_NOW, &set, err);
    if (code == 0) code = kpi_need(&set, id, &which, err);
    if (code == 0) code = put_kpi(desk, db, &set.kpi[which], ask, out, err);
    if (code == 0) {
        (void)!buf_add_text(out, ",\"edits\":[");
        code = kpi_edits(desk, id, EDITS, put_edit, &edits, err);
        (void)!buf_add_text(out, "]}\n");
    }
    kpi_set_free(&set);
    return code;
}

static int put_node(struct db *db, struct sql *desk, const struct kpi_set *set, int kpi, bool minus,
                    const struct kpi_ask *ask, struct buf *b, struct keel_error *err) {
    const struct kpi *k = &set->kpi[kpi];
    (void)buf_printf(b, "{\"id\":\"%.*s\",\"name\":", STR_ARG(k->id));
    (void)!buf_add_json_str(b, k->name);
    (void)buf_printf(b, ",\"form\":\"%s\",\"minus\":%s", KPI_FORM_NAMES[k->form],
                     minus ? "true" : "false");
    put_unit(b, db, k);
    TRY(put_latest(desk, db, k, ask, b, err));
    (void)!buf_add_text(b, ",\"parts\":[");
    for (uint32_t i = 0; i < k->n_parts; i++) {
        if (i) (void)!buf_add_char(b, ',');
        TRY(put_node(db, desk, set, k->parts[i].kpi, k->parts[i].minus, ask, b, err));
        if (b->failed) FAIL(err, LIMIT, "the tree is too large to be written out");
    }
    (void)!buf_add_text(b, "]}");
    return 0;
}

static int tree_of(struct db *db, struct sql *desk, const struct kpi_set *set,
                   const struct kpi_ask *ask, struct buf *b, struct keel_error *err) {
    bool first = true;
    (void)!buf_add_text(b, "{\"roots\":[");
    for (uint32_t i = 0; i < set->n; i++) {
        if (!kpi_is_root(set, (int)i)) continue;
        if (!first) (void)!buf_add_char(b, ',');
        TRY(put_node(db, desk, set, (int)i, false, ask, b, err));
        first = false;
    }
    (void)!buf_add_text(b, "]}\n");
    return 0;
}

int kpi_report_tree(struct db *db, struct sql *desk, const struct kpi_ask *ask, struct buf *out,
                    struct keel_error *err) {
    struct kpi_set set;
    int code = kpi_set_load(desk, KPI_NOW, &set, err);
    if (code == 0) code = tree_of(db, desk, &set, ask, out, err);
    kpi_set_free(&set);
    return code;
}

/* ---- series ---- */

static int read_words(const struct kpi_series_words *words, const struct kpi *k, struct db *db,
                      int64_t now_ms, struct kpi_series_ask *out, struct keel_error *err) {
    const struct time_zone *zone = db_zone(db);
    *out =
        (struct kpi_series_ask){.grain = k->grain, .as_of_ms = KPI_NOW, .refresh = words->refresh};
    if (words->grain.n) {
        int g = 0;
        while (g < KPI_GRAINS && !str_is(words->grain, KPI_GRAIN_NAMES[g])) g++;
        if (g == KPI_GRAINS)
            FAIL(err, INVALID, "grain=\"%.*s\" is none of day, week, month",
                 (int)(words->grain.n < 100 ? words->grain.n : 100), words->grain.p);
        out->grain = (enum kpi_grain)g;
    }
    if (words->as_of.n) {
        struct str t = words->as_of;
        if (!time_parse(t, zone, &out->as_of_ms))
            FAIL(err, INVALID, "as_of=\"%.*s\" is no time; write 2026-12-31 or 2026-12-31T17:00",
                 (int)(t.n < 100 ? t.n : 100), t.p);
        if (t.n == sizeof "2026-12-31" - 1)
            out->as_of_ms = time_day_start(zone, time_day(zone, out->as_of_ms) + 1) - 1;
    }
    int64_t seen_ms = out->as_of_ms < now_ms ? out->as_of_ms : now_ms;
    out->to = time_day(zone, seen_ms) + 1;
    if (words->to.n) TRY(kpi_read_day(words->to, "to", &out->to, err));
    out->from = kpi_period_add(out->grain, kpi_period_start(out->grain, out->to - 1),
                               1 - kpi_usual_periods(out->grain));
    if (words->from.n) TRY(kpi_read_day(words->from, "from", &out->from, err));
    return 0;
}

static void put_because(struct buf *b, unsigned because) {
    static const char *const NAMES[] = {"definition", "unfinished", "late_events", "merges",
                                        "other"};
    bool first = true;
    (void)!buf_add_text(b, ",\"because\":[");
    for (unsigned i = 0; i < sizeof NAMES / sizeof *NAMES; i++) {
        if (!(because & 1u << i)) continue;
        (void)buf_printf(b, "%s\"%s\"", first ? "" : ",", NAMES[i]);
        first = false;
    }
    (void)!buf_add_char(b, ']');
}

static void put_series_point(struct buf *b, const struct kpi *k, const struct kpi_point *p,
                             const struct kpi_ask *ask) {
    put_point(b, k, p, ask);
    (void)!buf_add_text(b, ",\"band\":");
    if (isnan(p->band.middle)) {
        (void)!buf_add_text(b, "null");
    } else {
        (void)!buf_add_text(b, "{\"low\":");
        (void)!buf_add_json_f64(b, p->band.low);
        put_number(b, "middle", p->band.middle);
        put_number(b, "high", p->band.high);
        (void)!buf_add_char(b, '}');
    }
    bool hidden = is_hidden(p, ask);
    (void)buf_printf(b, ",\"verdict\":\"%s\"",
                     KPI_VERDICT_NAMES[hidden ? KPI_UNKNOWN : p->verdict]);
    if (p->compared && !hidden) {
        (void)!buf_add_text(b, ",\"now\":{\"value\":");
        if (isfinite(p->now))
            (void)!buf_add_json_f64(b, p->now);
        else
            (void)!buf_add_text(b, "null");
        put_number(b, "difference", p->now - p->value);
        put_number(b, "from_definition", p->from_definition);
        put_number(b, "from_data", p->from_data);
        (void)buf_printf(b, ",\"late_events\":%lld,\"merged\":%lld", (long long)p->late_events,
                         (long long)p->merged);
        put_because(b, p->because);
        (void)!buf_add_char(b, '}');
    }
    (void)!buf_add_char(b, '}');
}

static void put_notes(struct buf *b, const struct kpi_run *run) {
    const struct str *notes;
    uint32_t n = kpi_run_notes(run, &notes);
    (void)!buf_add_text(b, ",\"notes\":[");
    for (uint32_t i = 0; i < n; i++) {
        if (i) (void)!buf_add_char(b, ',');
        (void)!buf_add_json_str(b, notes[i]);
    }
    (void)!buf_add_text(b, "]}\n");
}

static int series_of(struct kpi_run *run, struct db *db, struct sql *desk,
                     const struct kpi_set *set, int which, const struct kpi_series_words *words,
                     const struct kpi_ask *asking, struct buf *b, struct keel_error *err) {
    const struct kpi *k = &set->kpi[which];
    struct kpi_series_ask ask;
    struct kpi_series series;
    TRY(read_words(words, k, db, kpi_run_now(run), &ask, err));
    ask.hide_below = asking->hide_below;
    TRY(kpi_series(run, desk, set, which, &ask, &series, err));
    (void)buf_printf(b, "{\"id\":\"%.*s\",\"version\":%lld,\"query_hash\":\"%s\",\"grain\":\"%s\"",
                     STR_ARG(k->id), (long long)k->version, k->query_hash,
                     KPI_GRAIN_NAMES[ask.grain]);
    put_unit(b, db, k);
    put_day(b, ",\"from\":", ask.from);
    put_day(b, ",\"to\":", ask.to);
    if (ask.as_of_ms != KPI_NOW) put_time(b, "as_of", ask.as_of_ms);
    if (series.n)
        put_question(b, k, ask.grain, series.points[0].day,
                     kpi_period_add(ask.grain, series.points[series.n - 1].day, 1), true);
    (void)!buf_add_text(b, ",\"points\":[");
    for (uint32_t i = 0; i < series.n; i++) {
        if (i) (void)!buf_add_char(b, ',');
        put_series_point(b, k, &series.points[i], asking);
    }
    (void)!buf_add_char(b, ']');
    put_notes(b, run);
    k_free(series.points);
    return 0;
}

/* Opens what a computation needs, and closes it again. */
struct computing {
    struct kpi_set set;
    struct kpi_run *run;
    int which;
};

static int begin(struct db *db, struct sql *desk, struct str id, const struct kpi_ask *ask,
                 struct computing *c, struct keel_error *err) {
    c->run = NULL;
    int code = kpi_set_load(desk, KPI_NOW, &c->set, err);
    if (code == 0) code = kpi_need(&c->set, id, &c->which, err);
    if (code == 0) code = open_run(db, desk, ask, &c->run, err);
    return code;
}

static void end(struct computing *c) {
    kpi_run_close(c->run);
    kpi_set_free(&c->set);
}

int kpi_report_series(struct db *db, struct sql *desk, struct str id,
                      const struct kpi_series_words *words, const struct kpi_ask *ask,
                      struct buf *out, struct keel_error *err) {
    struct computing c;
    int code = begin(db, desk, id, ask, &c, err);
    if (code == 0) code = series_of(c.run, db, desk, &c.set, c.which, words, ask, out, err);
    end(&c);
    return code;
}

/* ---- attribution ---- */

struct days {
    int32_t from, to, against_from, against_to;
};

static int read_ranges(const struct kpi_ranges *r, struct days *d, struct keel_error *err) {
    TRY(kpi_read_day(r->from, "from", &d->from, err));
    TRY(kpi_read_day(r->to, "to", &d->to, err));
    TRY(kpi_read_day(r->against_from, "against_from", &d->against_from, err));
    TRY(kpi_read_day(r->against_to, "against_to", &d->against_to, err));
    if (d->from >= d->to || d->against_from >= d->against_to)
        FAIL(err, INVALID, "a range is empty: from must be before to");
    return 0;
}

/* all_hidden: some leaf is. Then nobody's share is shown: they sum to a change that is not, and a
 * share of a product is made of the other factors. */
static void put_leaf(struct buf *b, const struct kpi_set *set, const struct kpi_attribution *a,
                     uint32_t i, const bool *hides, bool all_hidden) {
    const struct kpi_leaf *leaf = &a->leaf[i];
    const struct kpi *k = &set->kpi[leaf->kpi];
    double all = a->after - a->before;
    bool hidden = hides[i];
    (void)buf_printf(b, "{\"id\":\"%.*s\",\"name\":", STR_ARG(k->id));
    (void)!buf_add_json_str(b, k->name);
    (void)buf_printf(b, ",\"unit\":\"%s\"", KPI_UNIT_NAMES[k->unit]);
    put_number(b, "value", hidden ? NAN : leaf->after);
    put_number(b, "against", hidden ? NAN : leaf->before);
    put_number(b, "contribution", a->unknown || all_hidden ? NAN : leaf->shown);
    put_number(b, "share", a->unknown || all_hidden || all == 0 ? NAN : leaf->exact / all);
    (void)!buf_add_char(b, '}');
}

static void put_attribution(struct buf *b, struct db *db, const struct kpi_set *set, int root,
                            const struct days *d, const struct kpi_attribution *a,
                            const bool *hides) {
    const struct kpi *k = &set->kpi[root];
    bool hidden = false;
    for (uint32_t i = 0; i < a->n; i++) hidden |= hides[i];
    (void)buf_printf(b, "{\"id\":\"%.*s\",\"query_hash\":\"%s\"", STR_ARG(k->id), k->query_hash);
    put_unit(b, db, k);
    put_day(b, ",\"from\":", d->from);
    put_day(b, ",\"to\":", d->to);
    put_day(b, ",\"against_from\":", d->against_from);
    put_day(b, ",\"against_to\":", d->against_to);
    put_number(b, "value", hidden ? NAN : a->after);
    put_number(b, "against", hidden ? NAN : a->before);
    put_number(b, "change", hidden ? NAN : a->change);
    if (hidden) (void)!buf_add_text(b, ",\"hidden\":true");
    (void)buf_printf(b, ",\"method\":\"%s\",\"digits\":%d", KPI_METHOD_NAMES[a->method], k->digits);
    if (a->unknown) {
        (void)!buf_add_text(b, ",\"unknown\":");
        (void)!buf_add_json_str(b, str_from(a->unknown));
    }
    (void)!buf_add_text(b, ",\"contributions\":[");
    for (uint32_t i = 0; i < a->n; i++) {
        if (i) (void)!buf_add_char(b, ',');
        put_leaf(b, set, a, i, hides, hidden);
    }
    (void)!buf_add_char(b, ']');
}

/* Is one of the numbers that a leaf is made of not to be shown, in one of the ranges? */
static int leaf_hides(struct computing *c, int leaf, const struct days *d,
                      const struct kpi_ask *ask, bool *out, struct keel_error *err) {
    double after = KPI_NO_CUSTOMERS, before = KPI_NO_CUSTOMERS;
    if (ask->hide_below > 0) {
        TRY(kpi_run_span_fewest(c->run, &c->set, leaf, d->from, d->to, &after, err));
        TRY(kpi_run_span_fewest(c->run, &c->set, leaf, d->against_from, d->against_to, &before,
                                err));
    }
    *out = after < ask->hide_below || before < ask->hide_below;
    return 0;
}

static int attribute(struct computing *c, struct db *db, const struct kpi_ranges *ranges,
                     const struct kpi_ask *ask, struct kpi_attribution *a, struct buf *out,
                     struct keel_error *err) {
    bool hides[sizeof a->leaf / sizeof *a->leaf];
    struct days d;
    TRY(read_ranges(ranges, &d, err));
    TRY(kpi_attribute_leaves(&c->set, c->which, ranges->depth, a, err));
    for (uint32_t i = 0; i < a->n; i++) {
        struct kpi_leaf *leaf = &a->leaf[i];
        TRY(kpi_run_span(c->run, &c->set, leaf->kpi, d.from, d.to, &leaf->after, err));
        TRY(kpi_run_span(c->run, &c->set, leaf->kpi, d.against_from, d.against_to, &leaf->before,
                         err));
        TRY(leaf_hides(c, leaf->kpi, &d, ask, &hides[i], err));
    }
    kpi_attribute(&c->set, c->which, ranges->depth, a);
    put_attribution(out, db, &c->set, c->which, &d, a, hides);
    put_notes(out, c->run);
    return 0;
}

int kpi_report_attribution(struct db *db, struct sql *desk, struct str id,
                           const struct kpi_ranges *ranges, const struct kpi_ask *ask,
                           struct buf *out, struct keel_error *err) {
    struct computing c;
    struct kpi_attribution *a = k_zalloc(sizeof *a);
    int code = begin(db, desk, id, ask, &c, err);
    if (code == 0) code = attribute(&c, db, ranges, ask, a, out, err);
    end(&c);
    k_free(a);
    return code;
}
