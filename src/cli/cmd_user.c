/* `keel user`: accounts of people.
 * Layers: guard/guard.h, acts.h, options.h. Threads: none. A running server sees what is changed
 * here from its next request on: both use DIR/desk.db. */
#include <stdio.h>

#include "api/config.h"
#include "base/os.h"
#include "base/output.h"
#include "base/table.h"
#include "base/time.h"
#include "cli/acts.h"
#include "cli/desk.h"
#include "cli/link.h"
#include "cli/options.h"
#include "cli/secret_input.h"
#include "guard/guard.h"
#include "guard/password.h"

#define ROLE_WORDS "marketing|it|executive|privacy_officer|partner|admin"

struct args {
    const char *data, *name, *listen;
    int role, side, format;
    bool no_password;
};

enum { FORMAT_TEXT, FORMAT_JSON, NOT_GIVEN = -1 };

static const struct option OPTIONS[] = {
    {"data", OPTION_TEXT, offsetof(struct args, data), "DIR", "the data directory", NULL, true, 0,
     0},
    {"name", OPTION_TEXT, offsetof(struct args, name), "NAME",
     "add: the name that others see; default the login", NULL, false, 0, 0},
    {"role", OPTION_CHOICE, offsetof(struct args, role), "ROLE", "add, role: what he may do",
     ROLE_WORDS, false, 0, 0},
    {"side", OPTION_CHOICE, offsetof(struct args, side), "SIDE",
     "add, role: for whom he speaks; default that of the role", "neither|marketing|it", false, 0,
     0},
    {"no-password", OPTION_FLAG, offsetof(struct args, no_password), NULL,
     "add: without one; he signs in by login-link", NULL, false, 0, 0},
    {"listen", OPTION_TEXT, offsetof(struct args, listen), "ADDR:PORT",
     "login-link: where the server listens; default as configured", NULL, false, 0, 0},
    {"format", OPTION_CHOICE, offsetof(struct args, format), "F",
     "list: text or json; default text", "text|json", false, 0, 0},
    {0},
};

static int run(int argc, char **argv, struct keel_error *err);

const struct command cmd_user = {
    .name = "user",
    .summary = "accounts of people: who may sign in, and what they may do",
    .changes = "add|role|password|disable|enable|login-link",
    .operands = "add|list|role|password|disable|enable|login-link [LOGIN]",
    .min_operands = 1,
    .max_operands = 2,
    .options = OPTIONS,
    .description =
        "A running server takes a change from its next request on. Passwords have at least\n"
        "12 characters; they are asked for on the terminal, or are the first line of\n"
        "standard input.\n"
        "\n"
        "add         makes an account; --role is needed\n"
        "list        shows all accounts\n"
        "role        gives another role, or another side\n"
        "password    sets a new password and ends the sessions\n"
        "disable     ends the sessions and lets nobody in; enable undoes it\n"
        "login-link  prints a link that signs in once, within 15 minutes\n",
    .examples = "  keel user add anna --data data --role marketing --name \"Anna Berg\"\n"
                "  keel user list --data data\n"
                "  keel user role anna --data data --role executive\n"
                "  keel user login-link anna --data data\n",
    .run = run,
};

/* ---- list ---- */

struct printing {
    struct output *out;
    struct table *table;
};

static const struct column COLUMNS[] = {{"login", CELL_STRING}, {"name", CELL_STRING},
                                        {"side", CELL_STRING},  {"role", CELL_STRING},
                                        {"state", CELL_STRING}, {"signed_in", CELL_STRING}};
enum { COLUMN_COUNT = sizeof COLUMNS / sizeof *COLUMNS };

static int print_row(void *ctx, const struct user_account *row) {
    struct printing *p = ctx;
    char at[TIME_TEXT_MAX];
    struct str seen = {at, row->signed_in_ms ? time_format(NULL, row->signed_in_ms, at) : 0};
    struct str state = row->disabled ? STR("off") : STR("on");
    const struct cell cells[COLUMN_COUNT] = {
        {.text = row->login},
        {.text = row->name},
        {.text = str_from(side_text(row->side))},
        {.text = str_from(role_text(row->role))},
        {.text = state},
        {.is_null = seen.n == 0, .text = seen},
    };
    table_row(p->table, cells);
    return 0;
}

static int list(struct guard *g, const struct args *args, struct output *out,
                struct keel_error *err) {
    struct table table;
    struct printing p = {out, &table};
    enum table_style style = args->format == FORMAT_JSON ? TABLE_JSON : TABLE_TEXT;
    TRY(table_start(&table, out, &(struct table_format){.style = style}, COLUMNS, COLUMN_COUNT,
                    err));
    int code = account_list(g, 0, print_row, &p, err);
    if (code == 0) return table_finish(&table, STR(""), err);
    table_discard(&table);
    return code;
}

/* ---- changes ---- */

static enum side side_of(const struct args *args, enum role role) {
    if (args->side != NOT_GIVEN) return (enum side)args->side;
    return role == ROLE_MARKETING ? SIDE_MARKETING : role == ROLE_IT ? SIDE_IT : SIDE_NEITHER;
}

static int add(struct guard *g, const struct args *args, const char *login,
               struct keel_error *err) {
    struct user_account account = {.login = str_from(login),
                                   .name = str_from(args->name ? args->name : login)};
    struct buf password;
    int64_t id;
    if (args->role == NOT_GIVEN) FAIL(err, INVALID, "user add: which role? --role " ROLE_WORDS);
    account.role = (enum role)args->role;
    account.side = side_of(args, account.role);
    if (args->no_password) return account_add(g, &account, STR(""), &id, err);
    int code = secret_input("Password", &password, err);
    if (code == 0) code = password_check(buf_str(&password), err);
    if (code == 0) code = account_add(g, &account, buf_str(&password), &id, err);
    secret_input_clear(&password);
    return code;
}

static int set_password(struct guard *g, int64_t id, struct keel_error *err) {
    struct buf password;
    int code = secret_input("New password", &password, err);
    if (code == 0) code = account_password(g, id, buf_str(&password), 0, err);
    secret_input_clear(&password);
    return code;
}

static int keep_what_is_there(void *ctx, const struct user_account *row) {
    struct args *args = ctx;
    if (args->role == NOT_GIVEN)
        args->role = (int)row->role;
    else if (args->side == NOT_GIVEN)
        args->side = (int)side_of(args, (enum role)args->role);
    if (args->side == NOT_GIVEN) args->side = (int)row->side;
    return 0;
}

static int set_role(struct guard *g, const struct args *args, int64_t id, struct keel_error *err) {
    struct args all = *args;
    if (args->role == NOT_GIVEN && args->side == NOT_GIVEN)
        FAIL(err, INVALID, "user role: which? --role " ROLE_WORDS ", --side neither|marketing|it");
    TRY(account_list(g, id, keep_what_is_there, &all, err));
    return account_role(g, id, (enum role)all.role, (enum side)all.side, err);
}

static int login_link(struct guard *g, const struct args *args, int64_t id, struct output *out,
                      struct keel_error *err) {
    char secret[SECRET_TEXT + 1], path[4096];
    struct config *config;
    if (snprintf(path, sizeof path, "%s/keel.toml", args->data) >= (int)sizeof path)
        FAIL(err, INVALID, "the path of %.100s… is too long", args->data);
    TRY(config_load(file_exists(path) ? path : NULL, &config, err));
    int code = ticket_make(g, id, secret, err);
    if (code == 0)
        link_print(out, str_from(args->listen ? args->listen : config->server.listen),
                   *config->server.cert != 0, "login", secret);
    config_free(config);
    return code;
}

/* ---- the command ---- */

static const char *const VERBS[] = {"list",    "add",    "role",      "password",
                                    "disable", "enable", "login-link"};
enum verb { LIST, ADD, SET_ROLE, SET_PASSWORD, DISABLE, ENABLE, LOGIN_LINK, VERB_COUNT };

static int change(struct guard *g, enum verb verb, const struct args *args, const char *login,
                  struct output *out, struct keel_error *err) {
    int64_t id;
    if (verb == ADD) return add(g, args, login, err);
    TRY(account_find(g, str_from(login), &id, err));
    switch (verb) {
    case SET_ROLE: return set_role(g, args, id, err);
    case SET_PASSWORD: return set_password(g, id, err);
    case DISABLE: return account_disable(g, id, true, err);
    case ENABLE: return account_disable(g, id, false, err);
    default: return login_link(g, args, id, out, err);
    }
}

static int act(struct guard *g, enum verb verb, const struct args *args, const char *login,
               struct output *out, struct keel_error *err) {
    struct act noted;
    char name[32];
    if (verb == LIST) return list(g, args, out, err);
    if (!login) FAIL(err, INVALID, "user %s: who? keel user %s LOGIN", VERBS[verb], VERBS[verb]);
    snprintf(name, sizeof name, "keel user %s", VERBS[verb]);
    TRY(act_begin(&noted, args->data, name, err));
    return act_end(&noted, str_from(login), change(g, verb, args, login, out, err), err);
}

static int run(int argc, char **argv, struct keel_error *err) {
    struct args args = {.role = NOT_GIVEN, .side = NOT_GIVEN};
    struct operands words;
    struct output out;
    struct guard *g;
    int verb = 0;
    TRY(options_parse(&cmd_user, argc, argv, &args, &words, err));
    while (verb < VERB_COUNT && strcmp(VERBS[verb], words.word[0]) != 0) verb++;
    if (verb == VERB_COUNT)
        FAIL(err, INVALID,
             "user: \"%.40s\" is none of add, list, role, password, disable, enable, login-link",
             words.word[0]);
    TRY(desk_check(args.data, err));
    TRY(guard_open(args.data, false, &g, err));
    int code = output_open(&out, NULL, err);
    if (code == 0) {
        code = act(g, (enum verb)verb, &args, words.n > 1 ? words.word[1] : NULL, &out, err);
        int closed = output_close(&out, code < 0 ? NULL : err);
        if (code == 0) code = closed;
    }
    guard_close(g);
    return code;
}
