/* `keel profile`: one customer: identifiers, traits, totals, timeline.
 * When a server has the data open, it is asked.
 * Layers: profile.h, remote.h, options.h. Threads: none. */
#include "base/fold.h"
#include "cli/options.h"
#include "cli/remote.h"
#include "customer/profile.h"
#include "customer/timeline.h"

enum { FORMAT_TEXT, FORMAT_JSON };

struct args {
    const char *data, *at;
    int format;
    int64_t limit, width;
};

static const struct option OPTIONS[] = {
    {"data", OPTION_TEXT, offsetof(struct args, data), "DIR", "the data directory", NULL, true, 0,
     0},
    {"at", OPTION_TEXT, offsetof(struct args, at), "TIME",
     "as of that moment, as 2011-12-10 or a time; default now", NULL, false, 0, 0},
    {"format", OPTION_CHOICE, offsetof(struct args, format), "F", "form of the page; default text",
     "text|json", false, 0, 0},
    {"limit", OPTION_INTEGER, offsetof(struct args, limit), "N",
     "newest events of the timeline; default 20", NULL, false, 0, TIMELINE_MAX},
    {"width", OPTION_INTEGER, offsetof(struct args, width), "N",
     "fold lines of text at N columns; default the terminal's width, else whole lines", NULL, false,
     FOLD_WIDTH_MIN, 10000},
    {0},
};

static int run(int argc, char **argv, struct keel_error *err);

const struct command cmd_profile = {
    .name = "profile",
    .summary = "show one customer: identifiers, traits, totals, timeline",
    .changes = COMMAND_READS,
    .operands = "user_id=ID|anonymous_id=ID",
    .min_operands = 1,
    .max_operands = 1,
    .options = OPTIONS,
    .description = "Finds the customer that an identifier belongs to now, and shows the single\n"
                   "view: all identifiers and what joined them, the latest traits, how often each\n"
                   "event happened, and the newest events of the timeline.\n",
    .examples = "  keel profile --data data user_id=17850\n"
                "  keel profile --data data anonymous_id=9f2c --format json --limit 100\n",
    .run = run,
};

/* ---- here, or by the server that has the data open ---- */

static int show_here(struct db *db, const char *who, const struct args *args, unsigned width,
                     struct output *out, struct keel_error *err) {
    struct profile *profile;
    struct buf json;
    TRY(profile_load(db, str_from(who), str_from(args->at), &profile, err));
    buf_init(&json, (size_t)1 << 30);
    int code = 0;
    if (args->format == FORMAT_TEXT)
        profile_text(profile, (uint32_t)args->limit, width, out);
    else
        profile_json(profile, (uint32_t)args->limit, NULL, &json);
    if (json.failed) code = error_set(err, KEEL_E_NO_MEMORY, "no memory for the profile");
    if (code == 0) output_str(out, buf_str(&json));
    buf_release(&json);
    profile_free(profile);
    return code;
}

static int show_remote(const char *who, const struct args *args, unsigned width, struct output *out,
                       struct keel_error *err) {
    struct remote *server;
    struct buf path, reply;
    TRY(remote_open(args->data, &server, err));
    buf_init(&path, 1 << 16);
    buf_init(&reply, REMOTE_MAX_BYTES);
    (void)!buf_add_text(&path, "/api/v1/profiles/");
    remote_escape(&path, str_from(who));
    (void)!buf_printf(&path, "?format=%s&limit=%lld&width=%u&at=",
                      args->format == FORMAT_TEXT ? "text" : "json", (long long)args->limit, width);
    remote_escape(&path, str_from(args->at));
    int code = buf_add_char(&path, 0);
    if (code < 0)
        code = error_set(err, KEEL_E_LIMIT, "the identifier is too long");
    else
        code = remote_call(server, "GET", (const char *)path.p, (struct str){0}, &reply, err);
    if (code == 0) output_str(out, buf_str(&reply));
    buf_release(&path);
    buf_release(&reply);
    remote_close(server);
    return code;
}

static int run(int argc, char **argv, struct keel_error *err) {
    struct args args = {.limit = 20, .at = ""};
    struct operands who;
    TRY(options_parse(&cmd_profile, argc, argv, &args, &who, err));
    struct db_options options = {.store = {.read_only = true}};
    struct db *db = NULL;
    struct output out;
    int code = db_open(args.data, &options, &db, err);
    if (code < 0 && code != -KEEL_E_BUSY) return code;
    bool busy = code != 0;
    code = output_open(&out, NULL, err);
    if (code == 0) {
        unsigned width = args.width ? (unsigned)args.width : fold_width(&out);
        code = busy ? show_remote(who.word[0], &args, width, &out, err)
                    : show_here(db, who.word[0], &args, width, &out, err);
        int closed = output_close(&out, code < 0 ? NULL : err);
        if (code == 0) code = closed;
    }
    if (busy) return code;
    int closed = db_close(db, code < 0 ? NULL : err);
    return code < 0 ? code : closed;
}
