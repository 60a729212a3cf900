/* `keel question`: questions that are saved to be asked again.
 *
 * What is saved lies in DIR/desk.db, with or without a server.
 *
 * Layers: desk/saved/question.h, query/ask.h, acts.h, options.h. Threads: none. */
#include "base/os.h"
#include "base/output.h"
#include "base/table.h"
#include "base/time.h"
#include "cli/acts.h"
#include "cli/desk.h"
#include "cli/options.h"
#include "desk/saved/question.h"
#include "query/ask.h"
#include "query/language/parse.h"

enum { FORMAT_TEXT, FORMAT_JSON, FORMAT_QUERY };
enum { ROW_BYTES = 1 << 20 };

struct args {
    const char *data, *name, *description, *owner, *side;
    bool replace;
    int format;
};

static const struct option OPTIONS[] = {
    {"data", OPTION_TEXT, offsetof(struct args, data), "DIR", "the data directory", NULL, true, 0,
     0},
    {"description", OPTION_TEXT, offsetof(struct args, description), "TEXT", "save: in words", NULL,
     false, 0, 0},
    {"owner", OPTION_TEXT, offsetof(struct args, owner), "WHO", "save: who answers for it", NULL,
     false, 0, 0},
    {"side", OPTION_TEXT, offsetof(struct args, side), "SIDE",
     "save: for whom it is asked: marketing, it or neither", NULL, false, 0, 0},
    {"replace", OPTION_FLAG, offsetof(struct args, replace), NULL,
     "save: change one that is there; what is left out stays", NULL, false, 0, 0},
    {"name", OPTION_TEXT, offsetof(struct args, name), "NAME", "save --replace: another name", NULL,
     false, 0, 0},
    {"format", OPTION_CHOICE, offsetof(struct args, format), "F",
     "list: text or json; show: also query, its text alone; default text", "text|json|query", false,
     0, 0},
    {0},
};

static int run(int argc, char **argv, struct keel_error *err);

const struct command cmd_question = {
    .name = "question",
    .summary = "saved questions",
    .changes = "save|delete",
    .operands = "list|save NAME [QUERY]|show NAME|delete NAME",
    .min_operands = 1,
    .max_operands = 3,
    .options = OPTIONS,
    .description = "A saved question has a name, a description, an owner and a side. NAME may be\n"
                   "its number, QUERY is any question of docs/query-language.md.\n"
                   "\n"
                   "list    all\n"
                   "save    saves one; with --replace changes what is given\n"
                   "show    one; with --format query what `keel query` takes\n"
                   "delete  removes it\n",
    .examples =
        "  keel question save 'Buyers a week' --data data --owner Loyalty --side marketing \\\n"
        "    'trend of unique customers of \"Order Completed\" over 8 weeks by week'\n"
        "  keel question list --data data\n"
        "  keel query --data data \\\n"
        "    \"$(keel question show 'Buyers a week' --data data --format query)\"\n",
    .run = run,
};

struct work {
    const struct args *args;
    const struct operands *words;
    struct sql *desk;
    struct output out;
    struct table table; /* of list */
    struct buf line;
    uint64_t rows;
};

/* ---- showing ---- */

static const struct column COLUMNS[] = {{"id", CELL_INTEGER},
                                        {"name", CELL_STRING},
                                        {"side", CELL_STRING},
                                        {"owner", CELL_STRING},
                                        {"query", CELL_STRING}};
enum { COLUMN_COUNT = sizeof COLUMNS / sizeof *COLUMNS };

static int list_row(void *ctx, const struct question_row *row) {
    struct work *w = ctx;
    const struct cell cells[COLUMN_COUNT] = {
        {.integer = row->id},
        {.text = row->name},
        {.is_null = row->side == SIDE_NEITHER, .text = str_from(side_text(row->side))},
        {.is_null = row->owner.n == 0, .text = row->owner},
        {.text = row->query},
    };
    table_row(&w->table, cells);
    return 0;
}

static int json_row(void *ctx, const struct question_row *row) {
    struct work *w = ctx;
    buf_clear(&w->line);
    if (w->rows++) output_text(&w->out, ",\n ");
    question_json(row, &w->line);
    output_str(&w->out, buf_str(&w->line));
    return w->line.failed;
}

static void field(struct output *o, const char *name, struct str value) {
    if (!value.n) return;
    output_printf(o, "%-16s", name);
    output_str(o, value);
    output_char(o, '\n');
}

static int show_row(void *ctx, const struct question_row *row) {
    struct work *w = ctx;
    char text[TIME_TEXT_MAX];
    struct output *o = &w->out;
    if (w->args->format == FORMAT_QUERY) {
        output_str(o, row->query);
        output_char(o, '\n');
        return 0;
    }
    output_printf(o, "%-16s%lld, version %lld\n", "question", (long long)row->id,
                  (long long)row->version);
    field(o, "name", row->name);
    field(o, "query", row->query);
    field(o, "description", row->description);
    field(o, "owner", row->owner);
    if (row->side != SIDE_NEITHER) field(o, "side", str_from(side_text(row->side)));
    field(o, "changed", (struct str){text, time_format(NULL, row->changed_ms, text)});
    field(o, "by", row->who);
    return 0;
}

static int list(struct work *w, struct keel_error *err) {
    if (w->args->format == FORMAT_JSON) {
        output_char(&w->out, '[');
        int code = question_list(w->desk, 0, QUESTION_MOST, json_row, w, err);
        output_text(&w->out, "]\n");
        return code;
    }
    TRY(table_start(&w->table, &w->out, &(struct table_format){.style = TABLE_TEXT}, COLUMNS,
                    COLUMN_COUNT, err));
    int code = question_list(w->desk, 0, QUESTION_MOST, list_row, w, err);
    if (code == 0) return table_finish(&w->table, STR(""), err);
    table_discard(&w->table);
    return code;
}

static int show(struct work *w, struct keel_error *err) {
    int64_t id;
    TRY(question_find(w->desk, str_from(w->words->word[1]), &id, err));
    int code =
        question_get(w->desk, id, w->args->format == FORMAT_JSON ? json_row : show_row, w, err);
    if (w->args->format == FORMAT_JSON) output_char(&w->out, '\n');
    return code;
}

/* ---- changing ---- */

static struct str given(const char *text) { return text ? str_from(text) : (struct str){NULL, 0}; }

static int put(struct work *w, struct question_spec *spec, struct str name, int64_t *id,
               struct keel_error *err) {
    int code = w->args->replace ? question_find(w->desk, name, id, NULL) : -KEEL_E_NOT_FOUND;
    if (code == 0) return question_change(w->desk, *id, spec, now_ms(), err);
    spec->name = name; /* a new one */
    return question_add(w->desk, spec, now_ms(), id, err);
}

static int save(struct work *w, struct keel_error *err) {
    const struct args *args = w->args;
    char user[ACT_WHO_BYTES];
    struct question_spec spec = {.name = given(args->name),
                                 .description = given(args->description),
                                 .owner = given(args->owner),
                                 .side = given(args->side),
                                 .who = str_from(act_who(user))};
    struct arena arena;
    struct query *q;
    int64_t id = 0;
    int code = 0;
    arena_init(&arena, 2 * (size_t)QUERY_ARENA_BYTES);
    if (w->words->n > 2) {
        code = ask_read(str_from(w->words->word[2]), &arena, &q, err);
        if (code == 0) spec.query = q;
    }
    if (code == 0) code = put(w, &spec, str_from(w->words->word[1]), &id, err);
    arena_release(&arena);
    if (code == 0) output_printf(&w->out, "question %lld\n", (long long)id);
    return code;
}

static int take_away(struct work *w, struct keel_error *err) {
    int64_t id;
    TRY(question_find(w->desk, str_from(w->words->word[1]), &id, err));
    return question_remove(w->desk, id, err);
}

/* ---- the command ---- */

static const struct verb {
    const char *name;
    const char *act; /* in the audit log; NULL: it changes nothing */
    int (*run)(struct work *w, struct keel_error *err);
} VERBS[] = {
    {"list", NULL, list},
    {"save", "keel question save", save},
    {"show", NULL, show},
    {"delete", "keel question delete", take_away},
};

static int act(struct work *w, const struct verb *verb, struct keel_error *err) {
    struct act noted;
    TRY(question_tables(w->desk, err));
    if (!verb->act) return verb->run(w, err);
    TRY(act_begin(&noted, w->args->data, verb->act, err));
    return act_end(&noted, str_from(w->words->word[1]), verb->run(w, err), err);
}

static int run(int argc, char **argv, struct keel_error *err) {
    struct args args = {0};
    struct operands words;
    struct work w = {.args = &args, .words = &words};
    size_t i = 0, n = sizeof VERBS / sizeof *VERBS;
    TRY(options_parse(&cmd_question, argc, argv, &args, &words, err));
    while (i < n && strcmp(VERBS[i].name, words.word[0]) != 0) i++;
    if (i == n)
        FAIL(err, INVALID, "question: \"%.100s\" is none of list, save, show, delete",
             words.word[0]);
    if (VERBS[i].run != list && words.n < 2)
        FAIL(err, INVALID, "question %s: which one? say its name", VERBS[i].name);
    TRY(desk_open(args.data, &w.desk, err));
    buf_init(&w.line, ROW_BYTES);
    int code = output_open(&w.out, NULL, err);
    if (code == 0) {
        code = act(&w, &VERBS[i], err);
        int closed = output_close(&w.out, code < 0 ? NULL : err);
        if (code == 0) code = closed;
    }
    buf_release(&w.line);
    sql_close(w.desk);
    return code;
}
