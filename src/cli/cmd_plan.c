/* `keel plan`: the tracking plan: show, import, export, infer, check.
 * Layers: desk/plan/plan.h, plan/infer.h, segment_file.h, remote.h, acts.h. Threads: none. The plan
 * is in DIR/desk.db; a running server takes a change within a second. */
#include <stdio.h>

#include "api/collect/segment_file.h"
#include "base/input.h"
#include "base/os.h"
#include "base/output.h"
#include "base/table.h"
#include "cli/acts.h"
#include "cli/desk.h"
#include "cli/options.h"
#include "cli/remote.h"
#include "desk/plan/infer.h"
#include "desk/plan/plan.h"

enum { FORMAT_TOML, FORMAT_JSON, MOST_VERSIONS = 1000, MOST_FINDINGS = 1000 };

struct args {
    const char *data, *plan, *who;
    int64_t version;
    int format;
};

static const struct option OPTIONS[] = {
    {"data", OPTION_TEXT, offsetof(struct args, data), "DIR", "the data directory", NULL, true, 0,
     0},
    {"version", OPTION_INTEGER, offsetof(struct args, version), "N",
     "show, export: an older version", NULL, false, 1, INT64_MAX},
    {"plan", OPTION_TEXT, offsetof(struct args, plan), "FILE",
     "check: against this plan; default the one in force", NULL, false, 0, 0},
    {"who", OPTION_TEXT, offsetof(struct args, who), "NAME",
     "import: who changes it; default the user that runs this", NULL, false, 0, 0},
    {"format", OPTION_CHOICE, offsetof(struct args, format), "F",
     "show, export, infer: toml or json; default toml", "toml|json", false, 0, 0},
    {0},
};

static int run(int argc, char **argv, struct keel_error *err);

const struct command cmd_plan = {
    .name = "plan",
    .summary = "the tracking plan: what events must look like",
    .changes = "import",
    .operands = "show|versions|import|export|infer|check [FILE]",
    .min_operands = 1,
    .max_operands = 2,
    .options = OPTIONS,
    .description =
        "The plan says which events are meant to arrive, what each must carry, and how\n"
        "personal it is. Events that break it are kept in quarantine; an empty plan refuses\n"
        "nothing. A running server takes a change within a second.\n"
        "\n"
        "show      prints the plan in force\n"
        "versions  lists all versions: when, who\n"
        "import    makes FILE (TOML or JSON; - standard input) the plan in force\n"
        "export    writes the plan to FILE\n"
        "infer     proposes a plan from the events that are stored\n"
        "check     reads the events of FILE (one JSON object a line) and says which would be\n"
        "          quarantined, and why; exit status 65 if any\n",
    .examples = "  keel plan infer --data data > plan.toml\n"
                "  keel plan import plan.toml --data data\n"
                "  keel plan check events.ndjson --data data --plan plan.toml\n",
    .run = run,
};

/* ---- show, export, infer ---- */

static int print_form(const struct plan_form *form, const struct args *args, const char *path,
                      struct keel_error *err) {
    struct output out;
    struct buf text;
    buf_init(&text, (size_t)PLAN_MAX_BYTES * 8);
    int code =
        args->format == FORMAT_JSON ? plan_write_json(form, &text) : plan_write_toml(form, &text);
    if (code == 0 && args->format == FORMAT_JSON) code = buf_add_char(&text, '\n');
    if (code < 0) code = error_set(err, (enum keel_code) - code, "no room for the plan");
    if (code == 0) code = output_open(&out, path, err);
    if (code == 0) {
        output_str(&out, buf_str(&text));
        code = output_close(&out, err);
    }
    buf_release(&text);
    return code;
}

static int show(struct plan *plan, const struct args *args, const char *path,
                struct keel_error *err) {
    const struct plan_form *form;
    if (args->version)
        TRY(plan_read_version(plan, args->version, &form, err));
    else
        form = plan_take(plan);
    int code = print_form(form, args, path, err);
    plan_drop(form);
    return code;
}

static int infer_remotely(const struct args *args, struct keel_error *err) {
    struct remote *remote;
    struct output out;
    struct buf reply;
    TRY(remote_open(args->data, &remote, err));
    buf_init(&reply, REMOTE_MAX_BYTES);
    int code = remote_call(remote, "GET",
                           args->format == FORMAT_JSON ? "/api/v1/plan/infer?format=json"
                                                       : "/api/v1/plan/infer?format=toml",
                           (struct str){NULL, 0}, &reply, err);
    if (code == 0) code = output_open(&out, NULL, err);
    if (code == 0) {
        output_str(&out, buf_str(&reply));
        code = output_close(&out, err);
    }
    buf_release(&reply);
    remote_close(remote);
    return code;
}

static int infer(const struct args *args, struct keel_error *err) {
    struct db_options options = {.store = {.read_only = true}};
    const struct plan_form *form;
    struct db *db;
    int code = db_open(args->data, &options, &db, err);
    if (code == -KEEL_E_BUSY) return infer_remotely(args, err);
    if (code < 0) return code;
    code = plan_infer(db, &form, err);
    if (code == 0) {
        code = print_form(form, args, NULL, err);
        plan_drop(form);
    }
    int closed = db_close(db, code < 0 ? NULL : err);
    return code < 0 ? code : closed;
}

/* ---- versions, import ---- */

static void print_version(void *ctx, int64_t version, int64_t at_ms, struct str who,
                          int64_t events) {
    const struct cell cells[] = {
        {.integer = version}, {.time_ms = at_ms}, {.text = who}, {.integer = events}};
    table_row(ctx, cells);
}

static int versions(struct plan *plan, struct keel_error *err) {
    static const struct column columns[] = {{"version", CELL_INTEGER},
                                            {"at", CELL_TIME},
                                            {"who", CELL_STRING},
                                            {"events", CELL_INTEGER}};
    struct output out;
    struct table table;
    TRY(output_open(&out, NULL, err));
    int code =
        table_start(&table, &out, &(struct table_format){.style = TABLE_TEXT}, columns, 4, err);
    if (code == 0) {
        code = plan_versions(plan, MOST_VERSIONS, print_version, &table, err);
        if (code == 0)
            code = table_finish(&table, STR(""), err);
        else
            table_discard(&table);
    }
    int closed = output_close(&out, code < 0 ? NULL : err);
    return code < 0 ? code : closed;
}

static int import(struct plan *plan, const struct args *args, const char *path,
                  struct keel_error *err) {
    struct output out;
    struct buf text;
    struct act noted;
    char user[ACT_WHO_BYTES];
    int64_t version = 0;
    const char *who = args->who ? args->who : act_who(user);
    const char *name = strcmp(path, "-") ? path : "standard input";
    buf_init(&text, PLAN_MAX_BYTES);
    int code = input_read_all(path, &text, err);
    if (code == 0) code = act_begin(&noted, args->data, "keel plan import", err);
    if (code == 0) {
        code = plan_import(plan, buf_str(&text), name, str_from(who), now_ms(), &version, err);
        code = act_end(&noted, str_from(name), code, err);
    }
    buf_release(&text);
    if (code < 0) return code;
    TRY(output_open(&out, NULL, err));
    output_printf(&out, "version %lld of the plan is in force\n", (long long)version);
    return output_close(&out, err);
}

/* ---- check ---- */

/* The same finding of several events is one line. */
struct finding {
    char *event, *text;
    enum plan_violation_code code;
    uint64_t events;
};

struct checking {
    const struct plan_form *form;
    struct plan_checker *checker;
    struct plan_report report;
    struct arena names;
    struct finding findings[MOST_FINDINGS];
    uint32_t n;
    uint64_t events, bad, unlisted;
};

static void note(struct checking *c, struct str event, const struct plan_violation *v) {
    for (uint32_t i = 0; i < c->n; i++) {
        struct finding *f = &c->findings[i];
        if (f->code != v->code || !str_is(event, f->event) || !str_is(v->text, f->text)) continue;
        f->events++;
        return;
    }
    if (c->n == MOST_FINDINGS) {
        c->unlisted++;
        return;
    }
    struct finding *f = &c->findings[c->n++];
    *f = (struct finding){.code = v->code, .events = 1};
    f->event = arena_strndup(&c->names, event.p, event.n);
    f->text = arena_strndup(&c->names, v->text.p, v->text.n);
}

static int check_batch(void *ctx, struct str bytes, uint32_t events) {
    struct checking *c = ctx;
    struct arena arena;
    struct batch_reader batch;
    struct event_view event;
    (void)events;
    arena_init(&arena, SIZE_MAX / 2);
    int code = batch_open(&batch, bytes, &arena, NULL);
    while (code >= 0 && (code = batch_next(&batch, &event, NULL)) == 1) {
        enum plan_kind kind = plan_kind_of(event.head.type);
        struct str name = kind == PLAN_EVENT   ? event.head.name
                          : kind == PLAN_KINDS ? STR("alias")
                                               : str_from(PLAN_KIND_NAMES[kind]);
        c->events++;
        if (plan_check(c->checker, c->form, &batch, &event, &c->report) == 0) continue;
        c->bad++;
        for (uint32_t i = 0; i < c->report.count && i < PLAN_MAX_VIOLATIONS; i++)
            note(c, name, &c->report.violation[i]);
        plan_report_clear(&c->report);
    }
    arena_release(&arena);
    return code;
}

static int print_findings(const struct checking *c, const struct segment_file_counts *counts,
                          struct keel_error *err) {
    static const struct column columns[] = {{"event", CELL_STRING},
                                            {"code", CELL_STRING},
                                            {"events", CELL_INTEGER},
                                            {"finding", CELL_STRING}};
    struct output out;
    struct table table;
    TRY(output_open(&out, NULL, err));
    output_printf(&out, "%llu events, %llu would be quarantined, %llu cannot be read\n",
                  (unsigned long long)c->events, (unsigned long long)c->bad,
                  (unsigned long long)segment_refused_total(&counts->events));
    int code = 0;
    if (c->n)
        code =
            table_start(&table, &out, &(struct table_format){.style = TABLE_TEXT}, columns, 4, err);
    if (c->n && code == 0) {
        for (uint32_t i = 0; i < c->n; i++) {
            const struct finding *f = &c->findings[i];
            const struct cell cells[] = {{.text = str_from(f->event)},
                                         {.text = str_from(PLAN_VIOLATION_SLUGS[f->code])},
                                         {.integer = (int64_t)f->events},
                                         {.text = str_from(f->text)}};
            table_row(&table, cells);
        }
        code = table_finish(&table, STR(""), err);
    }
    if (c->unlisted)
        output_printf(&out, "and %llu more findings\n", (unsigned long long)c->unlisted);
    int closed = output_close(&out, code < 0 ? NULL : err);
    return code < 0 ? code : closed;
}

static int check_file(struct checking *c, const char *path, struct keel_error *err) {
    struct segment_file_counts counts = {0};
    struct segment_file file = {.options = {.type = SEGMENT_ANY_TYPE, .now_ms = now_ms()},
                                .take_batch = check_batch,
                                .ctx = c};
    struct input *in;
    TRY(input_open(path, &in, err));
    int code = segment_read_file(in, &file, &counts, err);
    input_close(in);
    if (code < 0) return code;
    TRY(print_findings(c, &counts, err));
    if (c->bad)
        FAIL(err, FORMAT, "%s: %llu of %llu events are against the plan", path,
             (unsigned long long)c->bad, (unsigned long long)c->events);
    return 0;
}

static int check(struct plan *plan, const struct args *args, const char *path,
                 struct keel_error *err) {
    struct buf text;
    const struct plan_form *form = NULL;
    if (args->plan) {
        buf_init(&text, PLAN_MAX_BYTES);
        int code = input_read_all(args->plan, &text, err);
        if (code == 0) code = plan_read(buf_str(&text), args->plan, &form, err);
        buf_release(&text);
        if (code < 0) return code;
    } else {
        form = plan_take(plan);
    }
    struct checking *c = k_zalloc(sizeof *c);
    c->form = form;
    c->checker = plan_checker_new();
    plan_report_init(&c->report);
    arena_init(&c->names, SIZE_MAX / 2);
    int code = check_file(c, path, err);
    arena_release(&c->names);
    plan_report_release(&c->report);
    plan_checker_free(c->checker);
    k_free(c);
    plan_drop(form);
    return code;
}

/* ---- the command ---- */

static int act(struct plan *plan, const struct args *args, struct operands words,
               struct keel_error *err) {
    struct str verb = str_from(words.word[0]);
    const char *path = words.n > 1 ? words.word[1] : NULL;
    if (str_is(verb, "show")) return show(plan, args, NULL, err);
    if (str_is(verb, "versions")) return versions(plan, err);
    if (!path)
        FAIL(err, INVALID, "plan %s: which file? keel plan %s FILE", words.word[0], words.word[0]);
    if (str_is(verb, "export")) return show(plan, args, path, err);
    if (str_is(verb, "import")) return import(plan, args, path, err);
    return check(plan, args, path, err);
}

static int run(int argc, char **argv, struct keel_error *err) {
    static const char *const verbs[] = {"show", "versions", "import", "export", "infer", "check"};
    struct args args = {0};
    struct operands words;
    struct sql *desk;
    struct plan *plan;
    size_t i = 0, n = sizeof verbs / sizeof *verbs;
    TRY(options_parse(&cmd_plan, argc, argv, &args, &words, err));
    while (i < n && strcmp(verbs[i], words.word[0]) != 0) i++;
    if (i == n)
        FAIL(err, INVALID,
             "plan: \"%.40s\" is none of show, versions, import, export, infer, check",
             words.word[0]);
    if (strcmp(words.word[0], "infer") == 0) return infer(&args, err);
    TRY(desk_open(args.data, &desk, err));
    int code = plan_open(desk, &plan, err);
    if (code == 0) {
        code = act(plan, &args, words, err);
        plan_close(plan);
    }
    sql_close(desk);
    return code;
}
