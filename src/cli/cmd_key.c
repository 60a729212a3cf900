/* `keel key`: API keys for programs. Those made here belong to the installation, not to a person.
 * Layers: guard/guard.h, acts.h, options.h. Threads: none. */
#include <stdio.h>

#include "base/os.h"
#include "base/output.h"
#include "base/table.h"
#include "base/time.h"
#include "cli/acts.h"
#include "cli/desk.h"
#include "cli/options.h"
#include "guard/guard.h"

struct args {
    const char *data;
    struct option_words scopes;
    int64_t expires_ms;
    int format;
};

enum { FORMAT_TEXT, FORMAT_JSON };

static const struct option OPTIONS[] = {
    {"data", OPTION_TEXT, offsetof(struct args, data), "DIR", "the data directory", NULL, true, 0,
     0},
    {"scope", OPTION_WORDS, offsetof(struct args, scopes), "RIGHT",
     "add: what the key may do, such as query; may be repeated", NULL, false, 0, 0},
    {"expires", OPTION_DATE, offsetof(struct args, expires_ms), "DATE",
     "add: when it ends; default never", NULL, false, 0, 0},
    {"format", OPTION_CHOICE, offsetof(struct args, format), "F",
     "list: text or json; default text", "text|json", false, 0, 0},
    {0},
};

static int run(int argc, char **argv, struct keel_error *err);

const struct command cmd_key = {
    .name = "key",
    .summary = "API keys: what programs may do over HTTP",
    .changes = "add|revoke",
    .operands = "add|list|revoke [NAME|NUMBER]",
    .min_operands = 1,
    .max_operands = 2,
    .options = OPTIONS,
    .description =
        "A program sends its key as \"Authorization: Bearer KEY\". The key is shown once;\n"
        "the data directory holds a hash of it. A running server takes a change from its\n"
        "next request on. The rights that a key can have: docs/security.md.\n"
        "\n"
        "add     makes a key and prints it\n"
        "list    shows all keys: their first characters, scopes, last use\n"
        "revoke  ends a key, by its number\n",
    .examples = "  keel key add dashboard --data data --scope query --scope kpi.read\n"
                "  keel key list --data data\n"
                "  keel key revoke 3 --data data\n",
    .run = run,
};

static const struct column COLUMNS[] = {{"id", CELL_INTEGER},   {"name", CELL_STRING},
                                        {"user", CELL_STRING},  {"prefix", CELL_STRING},
                                        {"used", CELL_STRING},  {"expires", CELL_STRING},
                                        {"scopes", CELL_STRING}};
enum { COLUMN_COUNT = sizeof COLUMNS / sizeof *COLUMNS };

static int print_row(void *ctx, const struct key_row *row) {
    struct table *table = ctx;
    struct buf scopes;
    char used[TIME_TEXT_MAX], until[TIME_TEXT_MAX];
    struct str u = {used, row->used_ms ? time_format(NULL, row->used_ms, used) : 0};
    struct str e = {until, row->until_ms ? time_format(NULL, row->until_ms, until) : 0};
    buf_init(&scopes, 4096);
    right_json(row->scopes, &scopes);
    const struct cell cells[COLUMN_COUNT] = {
        {.integer = row->id},
        {.text = row->name},
        {.is_null = !row->login.p, .text = row->login},
        {.text = row->prefix},
        {.is_null = u.n == 0, .text = u},
        {.is_null = e.n == 0, .text = e},
        {.text = buf_str(&scopes)},
    };
    table_row(table, cells);
    buf_release(&scopes);
    return 0;
}

static int list(struct guard *g, const struct args *args, struct output *out,
                struct keel_error *err) {
    struct table table;
    enum table_style style = args->format == FORMAT_JSON ? TABLE_JSON : TABLE_TEXT;
    TRY(table_start(&table, out, &(struct table_format){.style = style}, COLUMNS, COLUMN_COUNT,
                    err));
    int code = key_list(g, 0, 0, print_row, &table, err);
    if (code == 0) return table_finish(&table, STR(""), err);
    table_discard(&table);
    return code;
}

static int unknown_right(const char *word, struct keel_error *err) {
    struct buf all;
    buf_init(&all, 4096);
    for (int i = RIGHT_SIGNED_IN + 1; i < RIGHTS; i++)
        (void)!buf_printf(&all, "%s%s", all.n ? ", " : "", right_text((enum right)i));
    int code = error_set(err, KEEL_E_INVALID, "key add: \"%.40s\" is no right; there are %.*s",
                         word, STR_ARG(buf_str(&all)));
    buf_release(&all);
    return code;
}

static int add(struct guard *g, const struct args *args, const char *name, struct output *out,
               struct keel_error *err) {
    struct key_new key = {.name = str_from(name), .until_ms = args->expires_ms};
    char text[KEY_TEXT + 1];
    int64_t id;
    for (size_t i = 0; i < args->scopes.n; i++) {
        enum right right;
        if (!right_by_text(str_from(args->scopes.word[i]), &right))
            return unknown_right(args->scopes.word[i], err);
        key.scopes |= right_bit(right);
    }
    TRY(key_add(g, &key, &id, text, err));
    output_printf(out, "%s\n", text);
    return 0;
}

static int revoke(struct guard *g, const char *number, struct keel_error *err) {
    int64_t id;
    if (!str_to_i64(str_from(number), &id) || id <= 0)
        FAIL(err, INVALID, "key revoke: \"%.40s\" is no number of a key; see keel key list",
             number);
    return key_revoke(g, id, 0, err);
}

static int act(struct guard *g, const struct args *args, struct operands words, struct output *out,
               struct keel_error *err) {
    struct str verb = str_from(words.word[0]);
    struct act noted;
    if (str_is(verb, "list")) return list(g, args, out, err);
    if (words.n < 2)
        FAIL(err, INVALID, "key %s: which? keel key %s %s", words.word[0], words.word[0],
             str_is(verb, "add") ? "NAME" : "NUMBER");
    bool adds = str_is(verb, "add");
    TRY(act_begin(&noted, args->data, adds ? "keel key add" : "keel key revoke", err));
    int code = adds ? add(g, args, words.word[1], out, err) : revoke(g, words.word[1], err);
    return act_end(&noted, str_from(words.word[1]), code, err);
}

static int run(int argc, char **argv, struct keel_error *err) {
    struct args args = {0};
    struct operands words;
    struct output out;
    struct guard *g;
    TRY(options_parse(&cmd_key, argc, argv, &args, &words, err));
    struct str verb = str_from(words.word[0]);
    if (!str_is(verb, "add") && !str_is(verb, "list") && !str_is(verb, "revoke"))
        FAIL(err, INVALID, "key: \"%.40s\" is none of add, list, revoke", words.word[0]);
    TRY(desk_check(args.data, err));
    TRY(guard_open(args.data, false, &g, err));
    int code = output_open(&out, NULL, err);
    if (code == 0) {
        code = act(g, &args, words, &out, err);
        int closed = output_close(&out, code < 0 ? NULL : err);
        if (code == 0) code = closed;
    }
    guard_close(g);
    return code;
}
