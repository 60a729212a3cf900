/* Implementation of touchpoint.h: a ranking of the channels, then two funnels for each.
 *
 * The parts of a definition are written in the language, so they are put together as text, parsed,
 * and checked to be what was meant: one start, one end, one property. From then on the tree alone
 * is used.
 */
#include "desk/kpi/touchpoint.h"

#include "base/time.h"
#include "desk/kpi/kpi_int.h"
#include "desk/kpi/run.h"
#include "query/language/check.h"
#include "query/language/parse.h"
#include "query/language/query_print.h"
#include "query/people.h"

struct task {
    struct str id, name;
    struct str property, start, end, within, fallback_within; /* as written */
    struct str staff[TOUCHPOINT_MAX_STAFF];
    uint32_t n_staff;
    struct query *completion, *fallback;
};

/* ---- definitions ---- */

static int read_staff(struct toml_reader *r, const struct toml_node *node, struct task *t) {
    if (node->type != TOML_ARRAY || node->count == 0 || node->count > TOUCHPOINT_MAX_STAFF)
        return toml_refuse(r, node,
                           "staff is a list of 1 to %d channels, as [\"store\", \"phone\"]",
                           TOUCHPOINT_MAX_STAFF);
    t->n_staff = 0;
    for (const struct toml_node *s = node->first; s; s = s->next) {
        if (s->type != TOML_STRING || s->text.n == 0 || s->text.n > KPI_MAX_NAME)
            return toml_refuse(r, s, "a channel of staff is a text");
        t->staff[t->n_staff++] = str_dup(r->arena, s->text);
    }
    return 0;
}

static int read_members(struct toml_reader *r, const struct toml_node *node, struct task *t) {
    const struct {
        const char *name;
        struct str *to;
    } texts[] = {{"name", &t->name},     {"property", &t->property},
                 {"start", &t->start},   {"end", &t->end},
                 {"within", &t->within}, {"fallback_within", &t->fallback_within}};
    for (const struct toml_node *m = node->first; m; m = m->next) {
        size_t i = 0, n = sizeof texts / sizeof *texts;
        while (i < n && !str_is(m->key, texts[i].name)) i++;
        if (i < n) {
            TRY(toml_read_text(r, m, texts[i].to));
            if (texts[i].to->n > TOUCHPOINT_MAX_TEXT)
                return toml_refuse(r, m, "%s is longer than %d bytes", texts[i].name,
                                   TOUCHPOINT_MAX_TEXT);
        } else if (str_is(m->key, "staff")) {
            TRY(read_staff(r, m, t));
        } else {
            return toml_refuse(r, m,
                               "\"%.*s\" is nothing that a touchpoint has: name, property, start, "
                               "end, within, staff, fallback_within",
                               (int)(m->key.n < KPI_MAX_NAME ? m->key.n : KPI_MAX_NAME), m->key.p);
        }
    }
    return 0;
}

/* The text as a funnel of two steps with one split and nothing else. */
static int parse_funnel(struct toml_reader *r, const struct toml_node *node, const struct buf *text,
                        struct query **out) {
    struct keel_error why = {0};
    struct query *q = NULL;
    int code = text->failed;
    if (code == 0) code = ask_read(str_dup(r->arena, buf_str(text)), r->arena, &q, &why);
    if (code < 0)
        return toml_refuse(r, node, "start, end, within and property do not make a funnel: %s",
                           why.message);
    K_ASSERT(q);
    if (q->form != QUERY_FUNNEL || q->funnel.any_order || q->funnel.n_steps != 2 ||
        q->n_splits != 1 || q->where || q->splits[0].kind != QUERY_TERM_PROP ||
        q->range.kind != QUERY_RANGE_ALL)
        return toml_refuse(r, node,
                           "start and end are one event each, as \"\\\"Cart Viewed\\\"\", "
                           "and property is one property, without clauses");
    *out = q;
    return 0;
}

static int build_funnels(struct toml_reader *r, const struct toml_node *node, struct task *t) {
    struct buf text;
    buf_init(&text, QUERY_MAX_TEXT);
    (void)buf_printf(&text, "funnel %.*s, %.*s within %.*s by %.*s", STR_ARG(t->start),
                     STR_ARG(t->end), STR_ARG(t->within), STR_ARG(t->property));
    int code = parse_funnel(r, node, &text, &t->completion);
    if (code == 0 && (t->completion->funnel.n_same || t->completion->funnel.n_without))
        code = toml_refuse(r, node, "start and end are one event each, without clauses");
    buf_clear(&text);
    if (code == 0) { /* from the tree, which is known to be whole */
        const struct query *q = t->completion;
        (void)!buf_add_text(&text, "funnel ");
        (void)!query_print_event(&q->funnel.steps[0], &text);
        (void)!buf_add_text(&text, ", any event where ");
        (void)!query_print_prop(&q->splits[0].prop, &text);
        for (uint32_t i = 0; i < t->n_staff; i++) {
            (void)!buf_add_text(&text, i ? ", " : " in (");
            (void)!buf_add_json_str(&text, t->staff[i]);
        }
        (void)!buf_add_text(&text, ") without ");
        (void)!query_print_event(&q->funnel.steps[1], &text);
        (void)buf_printf(&text, " within %.*s by ", STR_ARG(t->fallback_within));
        (void)!query_print_prop(&q->splits[0].prop, &text);
        code = parse_funnel(r, node, &text, &t->fallback);
    }
    buf_release(&text);
    return code;
}

static int read_task(struct toml_reader *r, const struct toml_node *node, struct task *t) {
    *t = (struct task){.id = r->within, .name = r->within, .property = STR("channel")};
    t->within = STR("7 days");
    t->fallback_within = STR("7 days");
    t->staff[0] = STR("store");
    t->staff[1] = STR("phone");
    t->n_staff = 2;
    if (node->type != TOML_TABLE)
        return toml_refuse(r, node, "a touchpoint is a table, not %s", toml_type_text(node->type));
    if (!kpi_id_fits(t->id))
        return toml_refuse(r, node, "an id is 1 to %d letters a-z, digits, \"_\" and \"-\"",
                           KPI_MAX_ID);
    TRY(read_members(r, node, t));
    if (t->start.n == 0) return toml_refuse(r, node, "start is missing: the event it begins with");
    if (t->end.n == 0) return toml_refuse(r, node, "end is missing: the event that completes it");
    return build_funnels(r, node, t);
}

static void put_text(struct buf *b, const char *name, struct str text) {
    (void)buf_printf(b, "%s\"%s\":", b->n > 1 ? "," : "", name);
    (void)!buf_add_json_str(b, text);
}

static void put_event(struct buf *b, const char *name, const struct query_event *e) {
    struct buf text;
    buf_init(&text, QUERY_MAX_TEXT);
    (void)!query_print_event(e, &text);
    put_text(b, name, buf_str(&text));
    buf_release(&text);
}

static void put_body(struct buf *b, const struct task *t) {
    struct buf text;
    K_ASSERT(t->completion);
    buf_init(&text, QUERY_MAX_TEXT);
    (void)!buf_add_char(b, '{');
    put_text(b, "name", t->name);
    (void)!query_print_prop(&t->completion->splits[0].prop, &text);
    put_text(b, "property", buf_str(&text));
    put_event(b, "start", &t->completion->funnel.steps[0]);
    put_event(b, "end", &t->completion->funnel.steps[1]);
    put_text(b, "within", t->within);
    (void)!buf_add_text(b, ",\"staff\":");
    for (uint32_t i = 0; i < t->n_staff; i++) {
        (void)!buf_add_char(b, i ? ',' : '[');
        (void)!buf_add_json_str(b, t->staff[i]);
    }
    (void)!buf_add_char(b, ']');
    put_text(b, "fallback_within", t->fallback_within);
    (void)!buf_add_char(b, '}');
    buf_release(&text);
}

int touchpoint_read(struct toml_reader *r, const struct toml_node *node,
                    const struct kpi_change *change, struct str *out_body) {
    struct task t;
    struct buf body;
    TRY(read_task(r, node, &t));
    TRY(kpi_admit(change, t.completion, r->err));
    buf_init(&body, 4 * QUERY_MAX_TEXT);
    put_body(&body, &t);
    int code = body.failed ? error_set(r->err, KEEL_E_LIMIT, "%s: \"%.*s\" is too long", r->name,
                                       STR_ARG(t.id))
                           : 0;
    if (code == 0) *out_body = str_dup(r->arena, buf_str(&body));
    buf_release(&body);
    return code;
}

int touchpoint_remove(struct sql *desk, struct str id, const struct kpi_change *change,
                      struct keel_error *err) {
    const struct kpi_change removal = {
        .who = change->who, .at_ms = change->at_ms, .how = KPI_REPLACE};
    bool added, changed;
    TRY(sql_begin(desk, err));
    int code = kpi_note_edit(desk, KPI_KIND_TOUCHPOINT, id, (struct str){NULL, 0}, &removal, &added,
                             &changed, err);
    return sql_end(desk, code, err);
}

/* ---- the report ---- */

enum { COLUMN_STEP, COLUMN_EVENT, COLUMN_CUSTOMERS, COLUMN_RATE, COLUMN_MEDIAN };

struct report {
    struct db *db;
    const struct touchpoint_ask *ask;
    struct arena *arena;
    struct buf *out;
};

static int ask_question(const struct report *r, struct query *q, struct result **out,
                        struct keel_error *err) {
    const struct ask_options options = {.threads = r->ask->threads, .cancel = r->ask->cancel};
    TRY(query_seal(q, r->arena, err));
    return r->ask->run ? r->ask->run(r->ask->run_ctx, q, &options, out, err)
                       : ask_run(r->db, q, &options, out, err);
}

/* The channels where most started; one more than is shown, to know of it. */
static struct query channels_question(const struct report *r, const struct task *t) {
    K_ASSERT(t->completion && t->fallback); /* of a task that was read */
    struct query q = {.form = QUERY_TOP,
                      .range = kpi_range(r->ask->from, r->ask->to),
                      .limit = TOUCHPOINT_CHANNELS + 1};
    q.top.event = t->completion->funnel.steps[0];
    q.top.prop = t->completion->splits[0].prop;
    q.top.rank = QUERY_RANK_CUSTOMERS;
    return q;
}

/* An event, of this channel: what a ranking of its channels says of a row. */
static int at_channel(const struct report *r, const struct query *channels,
                      const struct datum *channel, struct query_event *event,
                      struct keel_error *err) {
    struct query of_event = *channels;
    const struct query_cond *did;
    of_event.top.event = *event;
    const struct people row = {.query = &of_event,
                               .zone = db_zone(r->db),
                               .schema = store_schema(db_store(r->db)),
                               .at_ms = now_ms(),
                               .row = channel,
                               .n_row = 1};
    TRY(people_condition(&row, r->arena, &did, err));
    *event = did->event;
    return 0;
}

/* The funnel of those who started at the channel; n of its steps are of the channel. */
static int channel_question(const struct report *r, const struct query *funnel,
                            const struct query *channels, const struct datum *channel, uint32_t n,
                            struct query *out, struct keel_error *err) {
    *out = *funnel;
    out->range = channels->range;
    out->n_splits = 0;
    out->funnel.steps = arena_alloc(r->arena, funnel->funnel.n_steps * sizeof *out->funnel.steps);
    memcpy(out->funnel.steps, funnel->funnel.steps,
           funnel->funnel.n_steps * sizeof *out->funnel.steps);
    for (uint32_t i = 0; i < n; i++)
        TRY(at_channel(r, channels, channel, &out->funnel.steps[i], err));
    return 0;
}

static bool is_staff(const struct task *t, const struct datum *channel) {
    for (uint32_t i = 0; i < t->n_staff; i++)
        if (channel->type == DATUM_STRING && str_eq(channel->str, t->staff[i])) return true;
    return false;
}

static void put_cell(struct buf *b, const char *name, const struct result *r, uint64_t row,
                     uint32_t column) {
    (void)buf_printf(b, ",\"%s\":", name);
    if (r && row < r->n_rows)
        (void)!datum_print_json(result_cell(r, row, column), b);
    else
        (void)!buf_add_text(b, "null");
}

static bool is_hidden(const struct result *r) {
    for (uint64_t row = 0; r && row < r->n_rows; row++)
        if (result_cell(r, row, COLUMN_CUSTOMERS)->type == DATUM_NULL) return true;
    return false;
}

/* `back`, `fallback`: NULL for a channel of staff. */
static void put_channel(struct buf *b, const struct datum *channel, const struct result *done,
                        const struct result *back, const struct query *completion,
                        const struct query *fallback) {
    (void)!buf_add_text(b, "{\"channel\":");
    (void)!datum_print_json(channel, b);
    (void)buf_printf(b, ",\"staff\":%s", fallback ? "false" : "true");
    put_cell(b, "started", done, 0, COLUMN_CUSTOMERS);
    put_cell(b, "completed", done, 1, COLUMN_CUSTOMERS);
    put_cell(b, "completion_rate", done, 1, COLUMN_RATE);
    put_cell(b, "median_seconds", done, 1, COLUMN_MEDIAN);
    put_cell(b, "fell_back", back, 1, COLUMN_CUSTOMERS);
    put_cell(b, "fallback_rate", back, 1, COLUMN_RATE);
    if (is_hidden(done) || is_hidden(back)) (void)!buf_add_text(b, ",\"hidden\":true");
    (void)!buf_add_text(b, ",\"questions\":{\"completion\":");
    (void)!buf_add_json_str(b, completion->text);
    if (fallback) {
        (void)!buf_add_text(b, ",\"fallback\":");
        (void)!buf_add_json_str(b, fallback->text);
    }
    (void)!buf_add_text(b, "}}");
}

static int report_channel(const struct report *r, const struct task *t,
                          const struct query *channels, const struct datum *channel,
                          struct keel_error *err) {
    struct query completion, fallback;
    struct result *done = NULL, *back = NULL;
    bool staff = is_staff(t, channel);
    TRY(channel_question(r, t->completion, channels, channel, 2, &completion, err));
    TRY(channel_question(r, t->fallback, channels, channel, 1, &fallback, err));
    TRY(ask_question(r, &completion, &done, err));
    int code = staff ? 0 : ask_question(r, &fallback, &back, err);
    if (code == 0) put_channel(r->out, channel, done, back, &completion, staff ? NULL : &fallback);
    result_free(back);
    result_free(done);
    return code;
}

static void put_note(struct buf *b, bool *first, struct str note) {
    if (!*first) (void)!buf_add_char(b, ',');
    *first = false;
    (void)!buf_add_json_str(b, note);
}

static int report_task(const struct report *r, const struct task *t, struct str body,
                       struct keel_error *err) {
    struct query channels = channels_question(r, t);
    struct result *started = NULL;
    struct keel_error why = {0};
    bool first = true;
    int code = ask_question(r, &channels, &started, &why);
    if (code < 0 && code != -KEEL_E_FORBIDDEN)
        return error_set(err, (enum keel_code) - code, "%s", why.message);
    uint64_t n = started ? started->n_rows : 0;
    bool more = n > TOUCHPOINT_CHANNELS;
    (void)buf_printf(r->out, "{\"id\":\"%.*s\",%.*s,\"channels\":[", STR_ARG(t->id),
                     (int)body.n - 2, body.p + 1);
    code = 0;
    for (uint64_t row = 0; row < (more ? TOUCHPOINT_CHANNELS : n) && code == 0; row++) {
        if (row) (void)!buf_add_char(r->out, ',');
        code = report_channel(r, t, &channels, result_cell(started, row, 0), err);
    }
    (void)!buf_add_text(r->out, "],\"notes\":[");
    if (why.code) put_note(r->out, &first, str_from(why.message));
    if (more) put_note(r->out, &first, STR("channels where fewer started are left out"));
    for (uint32_t i = 0; started && i < started->n_notes; i++)
        put_note(r->out, &first, started->notes[i]);
    (void)!buf_add_text(r->out, "]}");
    result_free(started);
    return code;
}

/* Read first, asked afterwards: the rows hold the connection's lock. */
struct stored {
    struct str id, body;
};

static int load(struct sql *desk, struct arena *arena, struct stored *out, uint32_t *n,
                struct keel_error *err) {
    struct sql_rows rows;
    int code;
    TRY(sql_ask(desk, &rows, err,
                "SELECT e.id, e.body FROM kpi_edit e WHERE e.kind = 2 AND e.body IS NOT NULL"
                " AND e.version = (SELECT max(version) FROM kpi_edit n WHERE n.kind = 2 AND"
                "  n.id = e.id)"
                " ORDER BY (SELECT min(f.rowid) FROM kpi_edit f WHERE f.kind = 2 AND f.id = e.id)",
                ""));
    while ((code = sql_next(&rows, err)) == 1 && *n < TOUCHPOINT_MAX)
        out[(*n)++] =
            (struct stored){str_dup(arena, sql_str(&rows, 0)), str_dup(arena, sql_str(&rows, 1))};
    sql_done(&rows);
    return code < 0 ? code : 0;
}

static int report_stored(const struct report *report, const struct stored *stored,
                         struct keel_error *err) {
    struct toml_reader r = {.name = "desk.db: kpi_edit", .arena = report->arena, .err = err};
    const struct toml_node *root;
    struct task t;
    r.within = stored->id;
    int code = toml_reader_open(&r, stored->body, KPI_MAX_BYTES, &root);
    if (code == 0) code = read_task(&r, root, &t);
    if (code == 0) code = report_task(report, &t, stored->body, err);
    toml_reader_close(&r);
    return code;
}

int touchpoint_report(struct db *db, struct sql *desk, const struct touchpoint_ask *ask,
                      struct buf *out, struct keel_error *err) {
    char from[TIME_TEXT_MAX], to[TIME_TEXT_MAX];
    struct stored stored[TOUCHPOINT_MAX];
    struct arena arena;
    struct report report = {db, ask, &arena, out};
    uint32_t n = 0;
    int from_n = (int)day_format(ask->from, from), to_n = (int)day_format(ask->to, to);
    (void)buf_printf(out, "{\"from\":\"%.*s\",\"to\":\"%.*s\",\"touchpoints\":[", from_n, from,
                     to_n, to);
    arena_init(&arena, KPI_ARENA_BYTES);
    int code = load(desk, &arena, stored, &n, err);
    for (uint32_t i = 0; i < n && code == 0; i++) {
        if (i) (void)!buf_add_char(out, ',');
        code = report_stored(&report, &stored[i], err);
    }
    arena_release(&arena);
    if (code == 0) (void)!buf_add_text(out, "]}");
    return code;
}
