/* `keel kpi`: the company's KPIs: definitions, values, what changed them; touchpoints.
 *
 * Definitions are changed in DIR/desk.db, with or without a server. Numbers come from the data
 * directory, or from the server that has it open: both give the same JSON.
 *
 * Layers: desk/kpi/report.h, desk/kpi/touchpoint.h, remote.h, acts.h, kpi_show.h. Threads: none.
 */
#include <stdio.h>

#include "base/input.h"
#include "base/os.h"
#include "cli/acts.h"
#include "cli/desk.h"
#include "cli/kpi_show.h"
#include "cli/options.h"
#include "cli/remote.h"
#include "desk/kpi/report.h"
#include "desk/kpi/touchpoint.h"

enum { STANDARD_ERROR = 2, REPLY_BYTES = 64 << 20, TOUCHPOINT_DAYS = 28 };

struct args {
    const char *data, *who, *from, *to, *grain, *as_of, *against_from, *against_to;
    int64_t depth;
    bool refresh, replace, raw;
    const char *name, *description, *query, *sum, *product, *ratio, *currency, *target, *by, *low,
        *high, *owner_marketing, *owner_it;
    int unit, direction, format;
};

static const struct option OPTIONS[] = {
    {"data", OPTION_TEXT, offsetof(struct args, data), "DIR", "the data directory", NULL, true, 0,
     0},
    {"from", OPTION_TEXT, offsetof(struct args, from), "DAY",
     "series, attribute, touchpoints: the first day", NULL, false, 0, 0},
    {"to", OPTION_TEXT, offsetof(struct args, to), "DAY", "the day behind the last", NULL, false, 0,
     0},
    {"against-from", OPTION_TEXT, offsetof(struct args, against_from), "DAY",
     "attribute: the first day of the range before", NULL, false, 0, 0},
    {"against-to", OPTION_TEXT, offsetof(struct args, against_to), "DAY",
     "attribute: the day behind its last", NULL, false, 0, 0},
    {"depth", OPTION_INTEGER, offsetof(struct args, depth), "N",
     "attribute: levels of the tree; default down to the leaves", NULL, false, 1, KPI_MAX_DEPTH},
    {"grain", OPTION_TEXT, offsetof(struct args, grain), "G",
     "series: day, week or month; add: how it is usually looked at", NULL, false, 0, 0},
    {"as-of", OPTION_TEXT, offsetof(struct args, as_of), "TIME",
     "series: as it was known then, and what differs now", NULL, false, 0, 0},
    {"refresh", OPTION_FLAG, offsetof(struct args, refresh), NULL,
     "list: bring all up to date first; series: compute all of it anew", NULL, false, 0, 0},
    {"query", OPTION_TEXT, offsetof(struct args, query), "Q", "add: a question with one number",
     NULL, false, 0, 0},
    {"sum", OPTION_TEXT, offsetof(struct args, sum), "IDS", "add: a + b, as a,b; a,-b subtracts",
     NULL, false, 0, 0},
    {"product", OPTION_TEXT, offsetof(struct args, product), "IDS", "add: a x b, as a,b", NULL,
     false, 0, 0},
    {"ratio", OPTION_TEXT, offsetof(struct args, ratio), "IDS", "add: a / b, as a,b", NULL, false,
     0, 0},
    {"name", OPTION_TEXT, offsetof(struct args, name), "TEXT", "add: what people call it", NULL,
     false, 0, 0},
    {"description", OPTION_TEXT, offsetof(struct args, description), "TEXT", "add: in a sentence",
     NULL, false, 0, 0},
    {"unit", OPTION_CHOICE, offsetof(struct args, unit), "U",
     "add: count, money, percent or duration; default count", "count|money|percent|duration", false,
     0, 0},
    {"currency", OPTION_TEXT, offsetof(struct args, currency), "CODE",
     "add: of money; default the company's", NULL, false, 0, 0},
    {"direction", OPTION_CHOICE, offsetof(struct args, direction), "D",
     "add: what is good, up or down; default up", "up|down", false, 0, 0},
    {"target", OPTION_TEXT, offsetof(struct args, target), "N", "add: to be reached, with --by",
     NULL, false, 0, 0},
    {"by", OPTION_TEXT, offsetof(struct args, by), "DAY", "add: the day of the target", NULL, false,
     0, 0},
    {"low", OPTION_TEXT, offsetof(struct args, low), "N", "add: lower guardrail", NULL, false, 0,
     0},
    {"high", OPTION_TEXT, offsetof(struct args, high), "N", "add: upper guardrail", NULL, false, 0,
     0},
    {"owner-marketing", OPTION_TEXT, offsetof(struct args, owner_marketing), "NAME",
     "add: who answers for it in marketing", NULL, false, 0, 0},
    {"owner-it", OPTION_TEXT, offsetof(struct args, owner_it), "NAME", "add: and in IT", NULL,
     false, 0, 0},
    {"replace", OPTION_FLAG, offsetof(struct args, replace), NULL,
     "add: change it if it is there already", NULL, false, 0, 0},
    {"who", OPTION_TEXT, offsetof(struct args, who), "NAME",
     "add, apply, remove: who changes it; default the user that runs this", NULL, false, 0, 0},
    {"format", OPTION_CHOICE, offsetof(struct args, format), "F",
     "table, json or csv; default table", TABLE_STYLES, false, 0, 0},
    {"raw", OPTION_FLAG, offsetof(struct args, raw), NULL,
     "csv: texts that look like formulas as they are", NULL, false, 0, 0},
    {0},
};

static int run(int argc, char **argv, struct keel_error *err);

const struct command cmd_kpi = {
    .name = "kpi",
    .summary = "the company's KPIs: definitions, values, what changed them",
    .changes = "add|apply|remove",
    .operands = "list|tree|show ID|series ID|attribute ID|touchpoints|add ID|apply FILE|remove ID",
    .min_operands = 1,
    .max_operands = 2,
    .options = OPTIONS,
    .description = "A KPI is a question with one number a period, or a sum, product or ratio of\n"
                   "others. Values are kept, so that a number that was quoted can be shown again.\n"
                   "\n"
                   "list         all, with their last values\n"
                   "tree         what is made of what\n"
                   "show         one, with its versions\n"
                   "series       its values, with what its history lets expect\n"
                   "attribute    which of its parts changed it between two ranges; sums exactly\n"
                   "touchpoints  completion, time and fall-back to staff, by touchpoint\n"
                   "add          a new one\n"
                   "apply        adds or changes all KPIs of FILE (TOML or JSON); others stay\n"
                   "remove       its values and versions are kept\n",
    .examples =
        "  keel kpi apply examples/kpis/marketplace.toml --data data\n"
        "  keel kpi series net --data data --from 2026-11-01 --as-of 2026-11-20T17:00\n"
        "  keel kpi attribute gross --data data --depth 1 --from 2026-11-01 --to 2026-12-01 "
        "--against-from 2026-10-01 --against-to 2026-11-01\n",
    .run = run,
};

/* ---- where numbers come from ---- */

struct place {
    const struct args *args;
    struct sql *desk;
    struct db *db;         /* or */
    struct remote *remote; /* a server has the directory open */
};

static int place_open(struct place *p, struct keel_error *err) {
    struct db_options options = {.store = {.read_only = true}};
    int code = db_open(p->args->data, &options, &p->db, err);
    return code == -KEEL_E_BUSY ? remote_open(p->args->data, &p->remote, err) : code;
}

static int place_close(struct place *p, int code, struct keel_error *err) {
    remote_close(p->remote);
    if (!p->db) return code;
    int closed = db_close(p->db, code < 0 ? NULL : err);
    return code < 0 ? code : closed;
}

static struct str text_of(const char *s) { return s ? str_from(s) : (struct str){"", 0}; }

static void add_param(struct buf *path, const char *name, const char *value) {
    if (!value) return;
    bool first = true;
    for (size_t i = 0; i < path->n; i++) first &= path->p[i] != '?';
    (void)buf_printf(path, "%c%s=", first ? '?' : '&', name);
    remote_escape(path, str_from(value));
}

/* The path of a report on a server. */
static void report_path(const struct args *a, const char *verb, const char *id, struct buf *path) {
    char depth[24];
    bool series = strcmp(verb, "series") == 0, attribute = strcmp(verb, "attribute") == 0;
    bool touchpoints = strcmp(verb, "touchpoints") == 0;
    (void)!buf_add_text(path, touchpoints ? "/api/v1/touchpoints" : "/api/v1/kpis");
    if (strcmp(verb, "tree") == 0) (void)!buf_add_text(path, "/tree");
    if (id) {
        (void)!buf_add_char(path, '/');
        remote_escape(path, str_from(id));
    }
    if (series) (void)!buf_add_text(path, "/series");
    if (attribute) (void)!buf_add_text(path, "/attribution");
    if (series || attribute || touchpoints) {
        add_param(path, "from", a->from);
        add_param(path, "to", a->to);
    }
    if (series) {
        add_param(path, "grain", a->grain);
        add_param(path, "as_of", a->as_of);
    }
    if (series || strcmp(verb, "list") == 0) add_param(path, "refresh", a->refresh ? "true" : NULL);
    if (!attribute) return;
    add_param(path, "against_from", a->against_from);
    add_param(path, "against_to", a->against_to);
    snprintf(depth, sizeof depth, "%lld", (long long)a->depth);
    add_param(path, "depth", a->depth ? depth : NULL);
}

static int touchpoints_here(struct place *p, struct buf *out, struct keel_error *err) {
    const struct args *a = p->args;
    struct touchpoint_ask ask = {.to = time_day(db_zone(p->db), now_ms()) + 1};
    if (a->to) TRY(kpi_read_day(text_of(a->to), "to", &ask.to, err));
    ask.from = ask.to - TOUCHPOINT_DAYS;
    if (a->from) TRY(kpi_read_day(text_of(a->from), "from", &ask.from, err));
    if (ask.from >= ask.to) FAIL(err, INVALID, "the range is empty: from must be before to");
    return touchpoint_report(p->db, p->desk, &ask, out, err);
}

static int report_here(struct place *p, const char *verb, const char *id, struct buf *out,
                       struct keel_error *err) {
    const struct args *a = p->args;
    const struct kpi_ask ask = {.now_ms = now_ms(), .refresh = a->refresh};
    struct str which = text_of(id);
    if (strcmp(verb, "list") == 0) {
        TRY(kpi_report_list(p->db, p->desk, &ask, out, err));
        return buf_add_text(out, "}\n");
    }
    if (strcmp(verb, "tree") == 0) return kpi_report_tree(p->db, p->desk, &ask, out, err);
    if (strcmp(verb, "show") == 0) return kpi_report_one(p->db, p->desk, which, &ask, out, err);
    if (strcmp(verb, "touchpoints") == 0) return touchpoints_here(p, out, err);
    if (strcmp(verb, "series") == 0) {
        const struct kpi_series_words words = {text_of(a->from), text_of(a->to), text_of(a->grain),
                                               text_of(a->as_of), a->refresh};
        return kpi_report_series(p->db, p->desk, which, &words, &ask, out, err);
    }
    const struct kpi_ranges ranges = {text_of(a->from), text_of(a->to), text_of(a->against_from),
                                      text_of(a->against_to), (uint32_t)a->depth};
    return kpi_report_attribution(p->db, p->desk, which, &ranges, &ask, out, err);
}

static int fetch(struct place *p, const char *verb, const char *id, struct buf *out,
                 struct keel_error *err) {
    TRY(place_open(p, err));
    if (p->db) return report_here(p, verb, id, out, err);
    struct buf path;
    buf_init(&path, 1 << 16);
    report_path(p->args, verb, id, &path);
    (void)!buf_add_char(&path, 0);
    int code = path.failed ? error_set(err, KEEL_E_LIMIT, "the options are too long")
                           : remote_call(p->remote, "GET", (const char *)path.p,
                                         (struct str){NULL, 0}, out, err);
    buf_release(&path);
    return code;
}

static int show(const char *verb, struct str reply, enum table_style style, struct output *out,
                struct keel_error *err) {
    struct json_parser *parser = json_parser_new(REPLY_BYTES);
    struct json_value root;
    struct output words;
    int code = json_parse(parser, reply, &root, err);
    output_over(&words, STANDARD_ERROR, "standard error");
    if (code == 0) {
        if (strcmp(verb, "list") == 0)
            code = kpi_show_list(out, root, style, err);
        else if (strcmp(verb, "tree") == 0)
            kpi_show_tree(out, root);
        else if (strcmp(verb, "show") == 0)
            kpi_show_one(out, root);
        else if (strcmp(verb, "series") == 0)
            code = kpi_show_series(out, root, style, err);
        else if (strcmp(verb, "attribute") == 0)
            code = kpi_show_attribution(out, &words, root, style, err);
        else
            code = kpi_show_touchpoints(out, root, style, err);
    }
    if (code == 0) kpi_show_notes(&words, root);
    struct keel_error ignored; /* the answer is out; nobody may be there for the words beside it */
    (void)!output_close(&words, &ignored);
    json_parser_free(parser);
    return code;
}

static int report(struct place *p, const char *verb, const char *id, struct keel_error *err) {
    enum table_style style = table_style_of(p->args->format, p->args->raw);
    struct output out;
    struct buf reply;
    buf_init(&reply, REPLY_BYTES);
    int code = place_close(p, fetch(p, verb, id, &reply, err), err);
    if (code == 0) code = output_open(&out, NULL, err);
    if (code == 0) {
        if (style == TABLE_JSON)
            output_str(&out, buf_str(&reply));
        else
            code = show(verb, buf_str(&reply), style, &out, err);
        int closed = output_close(&out, code < 0 ? NULL : err);
        if (code == 0) code = closed;
    }
    buf_release(&reply);
    return code;
}

/* ---- changes ---- */

static struct kpi_change change_of(const struct args *a, unsigned how, char user[ACT_WHO_BYTES]) {
    return (struct kpi_change){
        .who = str_from(a->who ? a->who : act_who(user)), .at_ms = now_ms(), .how = how};
}

static void put_text(struct buf *b, const char *name, const char *text) {
    if (!text) return;
    (void)buf_printf(b, "%s\"%s\":", b->n > 1 ? "," : "", name);
    (void)!buf_add_json_str(b, str_from(text));
}

/* "a,b" as a list. */
static void put_list(struct buf *b, const char *name, const char *text) {
    if (!text) return;
    (void)buf_printf(b, "%s\"%s\":[", b->n > 1 ? "," : "", name);
    for (const char *at = text; *at;) {
        size_t n = strcspn(at, ",");
        if (at > text) (void)!buf_add_char(b, ',');
        (void)!buf_add_json_str(b, str_trim((struct str){at, n}));
        at += n + (at[n] == ',');
    }
    (void)!buf_add_char(b, ']');
}

static int put_number(struct buf *b, const char *name, const char *text, const char *before,
                      struct keel_error *err) {
    double number;
    if (!text) return 0;
    if (!str_to_f64(str_from(text), &number))
        FAIL(err, INVALID, "--%s %.100s: not a number", name, text);
    (void)buf_printf(b, "%s\"%s\":", before, name);
    return buf_add_json_f64(b, number);
}

static int put_definition(struct buf *b, const struct args *a, struct keel_error *err) {
    static const char *const units[] = {"count", "money", "percent", "duration"};
    (void)!buf_add_char(b, '{');
    put_text(b, "unit", units[a->unit]);
    put_text(b, "direction", a->direction ? "down" : "up");
    put_text(b, "name", a->name);
    put_text(b, "description", a->description);
    put_text(b, "query", a->query);
    put_list(b, "sum", a->sum);
    put_list(b, "product", a->product);
    put_list(b, "ratio", a->ratio);
    put_text(b, "currency", a->currency);
    put_text(b, "grain", a->grain);
    put_text(b, "owner_marketing", a->owner_marketing);
    put_text(b, "owner_it", a->owner_it);
    if (a->target || a->by) {
        (void)!buf_add_text(b, ",\"target\":{");
        if (a->by) (void)!buf_add_text(b, "\"by\":");
        if (a->by) (void)!buf_add_json_str(b, str_from(a->by));
        if (a->target) {
            double value;
            if (!str_to_f64(str_from(a->target), &value))
                FAIL(err, INVALID, "--target %.100s: not a number", a->target);
            (void)!buf_add_text(b, a->by ? ",\"value\":" : "\"value\":");
            (void)!buf_add_json_f64(b, value);
        }
        (void)!buf_add_char(b, '}');
    }
    if (a->low || a->high) {
        (void)!buf_add_text(b, ",\"guardrail\":{");
        TRY(put_number(b, "low", a->low, "", err));
        TRY(put_number(b, "high", a->high, a->low ? "," : "", err));
        (void)!buf_add_char(b, '}');
    }
    (void)!buf_add_char(b, '}');
    if (b->failed) FAIL(err, LIMIT, "the definition is too long");
    return 0;
}

static int say(const char *format, const char *id, struct keel_error *err) {
    struct output out;
    TRY(output_open(&out, NULL, err));
    output_printf(&out, format, id);
    return output_close(&out, err);
}

static int add(struct sql *desk, const struct args *a, const char *id, struct keel_error *err) {
    char user[ACT_WHO_BYTES];
    struct kpi_change change = change_of(a, a->replace ? KPI_ADD | KPI_REPLACE : KPI_ADD, user);
    struct arena arena;
    struct buf body;
    arena_init(&arena, (size_t)KPI_MAX_BYTES * 256);
    buf_init(&body, KPI_MAX_BYTES);
    int code = put_definition(&body, a, err);
    if (code == 0) code = kpi_put(desk, buf_str(&body), str_from(id), &change, &arena, NULL, err);
    buf_release(&body);
    arena_release(&arena);
    return code < 0 ? code : say("%s is defined\n", id, err);
}

static int apply(struct sql *desk, const struct args *a, const char *path, struct keel_error *err) {
    char user[ACT_WHO_BYTES];
    struct kpi_change change = change_of(a, KPI_ADD | KPI_REPLACE, user);
    struct kpi_applied done = {0};
    struct output out;
    struct buf text;
    buf_init(&text, KPI_MAX_BYTES);
    int code = input_read_all(path, &text, err);
    if (code == 0)
        code = kpi_apply(desk, buf_str(&text), strcmp(path, "-") ? path : "standard input", &change,
                         &done, err);
    buf_release(&text);
    if (code < 0) return code;
    TRY(output_open(&out, NULL, err));
    output_printf(&out, "%u KPIs are new, %u changed, %u the same; %u touchpoints\n", done.added,
                  done.changed, done.same, done.touchpoints);
    return output_close(&out, err);
}

static int take_away(struct sql *desk, const struct args *a, const char *id,
                     struct keel_error *err) {
    char user[ACT_WHO_BYTES];
    struct kpi_change change = change_of(a, KPI_REPLACE, user);
    TRY(kpi_remove(desk, str_from(id), &change, err));
    return say("%s is removed; its versions and values are kept\n", id, err);
}

/* ---- the command ---- */

static const struct verb {
    const char *name, *what; /* what: the operand it needs, or NULL       */
    const char *act;         /* in the audit log; NULL: it changes nothing */
    int (*change)(struct sql *desk, const struct args *a, const char *what, struct keel_error *err);
} VERBS[] = {
    {"list", NULL, NULL, NULL},
    {"tree", NULL, NULL, NULL},
    {"show", "ID", NULL, NULL},
    {"series", "ID", NULL, NULL},
    {"attribute", "ID", NULL, NULL},
    {"touchpoints", NULL, NULL, NULL},
    {"add", "ID", "keel kpi add", add},
    {"apply", "FILE", "keel kpi apply", apply},
    {"remove", "ID", "keel kpi remove", take_away},
};

static int act(struct sql *desk, const struct args *args, const struct verb *verb, const char *what,
               struct keel_error *err) {
    struct place place = {.args = args, .desk = desk};
    struct act noted;
    TRY(kpi_tables(desk, err));
    TRY(audience_tables(desk, err));
    if (!verb->act) return report(&place, verb->name, what, err);
    TRY(act_begin(&noted, args->data, verb->act, err));
    return act_end(&noted, str_from(what), verb->change(desk, args, what, err), err);
}

static int run(int argc, char **argv, struct keel_error *err) {
    struct args args = {0};
    struct operands words;
    struct sql *desk;
    size_t i = 0, n = sizeof VERBS / sizeof *VERBS;
    TRY(options_parse(&cmd_kpi, argc, argv, &args, &words, err));
    while (i < n && strcmp(VERBS[i].name, words.word[0]) != 0) i++;
    if (i == n)
        FAIL(err, INVALID,
             "kpi: \"%.100s\" is none of list, tree, show, series, attribute, "
             "touchpoints, add, apply, remove",
             words.word[0]);
    const char *what = words.n > 1 ? words.word[1] : NULL;
    if (VERBS[i].what && !what)
        FAIL(err, INVALID, "kpi %s: which one? keel kpi %s %s", VERBS[i].name, VERBS[i].name,
             VERBS[i].what);
    if (!VERBS[i].what && what)
        FAIL(err, INVALID, "kpi %s: \"%.100s\" is too much", VERBS[i].name, what);
    TRY(desk_open(args.data, &desk, err));
    int code = act(desk, &args, &VERBS[i], what, err);
    sql_close(desk);
    return code;
}
