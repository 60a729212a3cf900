/* `keel backup`: copy a data directory into a folder of backups; list and verify what is there.
 *
 * A running server makes the backup itself; it is asked through DIR/keel.sock.
 *
 * Layers: backup.h, remote.h, options.h. Threads: main only. */
#include <errno.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "base/json.h"
#include "base/os.h"
#include "base/output.h"
#include "cli/acts.h"
#include "cli/desk.h"
#include "cli/options.h"
#include "cli/progress.h"
#include "cli/remote.h"
#include "customer/backup.h"
#include "guard/audit.h"

enum { PATH_BYTES = 4096, REPLY_BYTES = 64 << 10 };

struct args {
    const char *data, *to, *from;
    int64_t keep, generation, journal;
    bool full, quiet;
};

static const struct option OPTIONS[] = {
    {"data", OPTION_TEXT, offsetof(struct args, data), "DIR", "the data directory", NULL, false, 0,
     0},
    {"to", OPTION_TEXT, offsetof(struct args, to), "FOLDER", "where the backups lie", NULL, false,
     0, 0},
    {"from", OPTION_TEXT, offsetof(struct args, from), "FOLDER",
     "list, verify: where the backups lie", NULL, false, 0, 0},
    {"generation", OPTION_INTEGER, offsetof(struct args, generation), "G",
     "verify: this one only; default all", NULL, false, 1, INT64_MAX},
    {"keep", OPTION_INTEGER, offsetof(struct args, keep), "N",
     "generations to keep, the new one included; default all", NULL, false, 1,
     BACKUP_MAX_GENERATIONS},
    {"journal", OPTION_INTEGER, offsetof(struct args, journal), "GIB",
     "journal to keep for the next backup, so that any moment between can be restored; default 4",
     NULL, false, 0, 1024},
    {"full", OPTION_FLAG, offsetof(struct args, full), NULL,
     "read everything again, and mend damaged pieces", NULL, false, 0, 0},
    {"quiet", OPTION_FLAG, offsetof(struct args, quiet), NULL, "no progress", NULL, false, 0, 0},
    {0},
};

static int run(int argc, char **argv, struct keel_error *err);

const struct command cmd_backup = {
    .name = "backup",
    .summary = "copy a data directory into a folder of backups",
    .changes = COMMAND_ITSELF,
    .operands = "[list|verify]",
    .min_operands = 0,
    .max_operands = 1,
    .options = OPTIONS,
    .description =
        "Each run adds a generation: one moment of the data directory. Only what is\n"
        "new is copied; a run that is interrupted leaves the former generations as they\n"
        "were.\n"
        "\n"
        "list     shows the generations of a folder\n"
        "verify   reads all of it and names what is damaged\n",
    .examples = "  keel backup --data data --to backups --keep 30\n"
                "  keel backup list --from backups\n"
                "  keel backup verify --from backups\n",
    .run = run,
};

/* ---- make ---- */

static void show_progress(void *ctx, const struct backup_progress *p) {
    progress_update(ctx, p->bytes);
}

static void report(const struct backup_made *made, struct output *out) {
    output_printf(out, "generation %llu: %llu files, %llu bytes, of which %llu new\n",
                  (unsigned long long)made->generation, (unsigned long long)made->files,
                  (unsigned long long)made->bytes, (unsigned long long)made->copied_bytes);
    if (made->removed_generations)
        output_printf(out, "%llu old generations removed\n",
                      (unsigned long long)made->removed_generations);
}

static uint64_t member(struct json_value body, const char *name) {
    int64_t v = 0;
    (void)json_i64(json_get(body, name), &v);
    return (uint64_t)v;
}

/* 1: it is done, *made says what; 0: it goes on. */
static int ask_state(struct remote *server, struct json_parser *parser, struct progress *progress,
                     struct backup_made *made, struct keel_error *err) {
    struct json_value body = {0};
    struct buf reply;
    struct str state, error;
    buf_init(&reply, REPLY_BYTES);
    int code = remote_call(server, "GET", "/api/v1/backups", (struct str){0}, &reply, err);
    if (code == 0) code = json_parse(parser, buf_str(&reply), &body, err);
    buf_release(&reply);
    TRY(code);
    progress_update(progress, member(body, "bytes"));
    if (!json_str(json_get(body, "state"), &state)) FAIL(err, FORMAT, "the server said no state");
    if (str_is(state, "running")) return 0;
    if (json_str(json_get(body, "error"), &error)) {
        uint64_t number = member(body, "code");
        return error_set(err, number ? (enum keel_code)number : KEEL_E_INTERNAL, "%.*s",
                         STR_ARG(error));
    }
    *made = (struct backup_made){.generation = member(body, "generation"),
                                 .files = member(body, "files"),
                                 .bytes = member(body, "bytes"),
                                 .copied_bytes = member(body, "copied_bytes"),
                                 .removed_generations = member(body, "removed_generations")};
    return 1;
}

static int wait_for(struct remote *server, struct progress *progress, struct backup_made *made,
                    struct keel_error *err) {
    struct json_parser *parser = json_parser_new(REPLY_BYTES);
    const struct timespec pause = {.tv_nsec = 100000000};
    int code;
    while ((code = ask_state(server, parser, progress, made, err)) == 0) nanosleep(&pause, NULL);
    json_parser_free(parser);
    return code < 0 ? code : 0;
}

/* The server's folder is not ours: the path must be whole. */
static int add_path(const char *path, struct buf *out, struct keel_error *err) {
    char here[PATH_BYTES], whole[2 * PATH_BYTES];
    if (path[0] != '/' && !getcwd(here, sizeof here))
        return error_errno(err, errno, "cannot tell the working folder");
    snprintf(whole, sizeof whole, "%s%s%s", path[0] == '/' ? "" : here, path[0] == '/' ? "" : "/",
             path);
    (void)!buf_add_text(out, "{\"to\":");
    return buf_add_json_str(out, str_from(whole));
}

static int make_remote(const struct args *args, struct progress *progress, struct backup_made *made,
                       struct keel_error *err) {
    struct remote *server;
    struct buf body, reply;
    TRY(remote_open(args->data, &server, err));
    buf_init(&body, REPLY_BYTES);
    buf_init(&reply, REPLY_BYTES);
    int code = add_path(args->to, &body, err);
    (void)buf_printf(&body, ",\"keep\":%lld,\"journal_bytes\":%lld,\"full\":%s}",
                     (long long)args->keep, (long long)args->journal << 30,
                     args->full ? "true" : "false");
    if (code == 0)
        code = remote_call(server, "POST", "/api/v1/backups", buf_str(&body), &reply, err);
    if (code == 0) code = wait_for(server, progress, made, err);
    buf_release(&body);
    buf_release(&reply);
    remote_close(server);
    return code;
}

static int take(struct backup_options *options, struct backup_made *made, struct keel_error *err) {
    struct audit_copy audit;
    TRY(audit_for_backup(options->dir, &audit, err));
    options->audit_bytes = audit.bytes;
    options->audit_head = (struct str){audit.head, AUDIT_HEAD_FILE};
    return backup_take(options, made, err);
}

/* It changes what is kept of the journal, and who can read a copy of everything. */
static int make_here(struct backup_options *options, struct backup_made *made,
                     struct keel_error *err) {
    struct act noted;
    struct buf what;
    TRY(desk_check(options->dir, err));
    TRY(act_begin(&noted, options->dir, "keel backup", err));
    int code = take(options, made, err);
    buf_init(&what, 2 * PATH_BYTES);
    if (code == 0)
        (void)!buf_printf(&what, "generation %llu into ", (unsigned long long)made->generation);
    (void)!buf_add_text(&what, options->to);
    code = act_end(&noted, buf_str(&what), code, err);
    buf_release(&what);
    return code;
}

static int make(const struct args *args, struct output *out, struct keel_error *err) {
    struct progress progress;
    struct backup_made made = {0};
    char lock[PATH_BYTES];
    int fd;
    struct backup_options options = {.dir = args->data,
                                     .to = args->to,
                                     .keep = (uint32_t)args->keep,
                                     .journal_bytes = (uint64_t)args->journal << 30,
                                     .full = args->full,
                                     .progress = show_progress,
                                     .ctx = &progress};
    progress_start(&progress, "backing up", "bytes", 0, args->quiet);
    /* Is a server at work there? The folder of backups has a lock of its own. */
    snprintf(lock, sizeof lock, "%s/lock", args->data);
    bool busy = file_exists(lock) && file_open(lock, FILE_READ, &fd, NULL) == 0;
    if (busy) {
        busy = file_lock(fd, true, args->data, NULL) == -KEEL_E_BUSY;
        file_close(fd);
    }
    int code = busy ? make_remote(args, &progress, &made, err) : make_here(&options, &made, err);
    progress_stop(&progress);
    TRY(code);
    report(&made, out);
    return 0;
}

/* ---- list, verify ---- */

static void print_info(void *ctx, const struct backup_info *info) {
    char made[TIME_TEXT_MAX], from[TIME_TEXT_MAX];
    made[time_format(NULL, info->made_ms, made)] = 0;
    from[time_format(NULL, info->moments_from_ms, from)] = 0;
    output_printf(ctx, "%6llu  %-24s  %8llu files  %14llu bytes  any moment since %s\n",
                  (unsigned long long)info->generation, made, (unsigned long long)info->files,
                  (unsigned long long)info->bytes, from);
}

static void print_line(void *ctx, const char *text) {
    output_text(ctx, text);
    output_text(ctx, "\n");
}

static int verify(const struct args *args, struct output *out, struct keel_error *err) {
    struct backup_report report = {.ctx = out, .good = print_line, .fault = print_line};
    uint64_t faults;
    TRY(backup_verify(args->from, (uint64_t)args->generation, &report, &faults, err));
    if (!faults) return 0;
    output_flush(out);
    FAIL(err, CORRUPT, "%s is damaged in %llu places", args->from, (unsigned long long)faults);
}

static int act(const struct args *args, const char *verb, struct output *out,
               struct keel_error *err) {
    if (!verb) return make(args, out, err);
    if (strcmp(verb, "list") == 0) return backup_list(args->from, print_info, out, err);
    return verify(args, out, err);
}

static int check_words(const struct args *args, const char *verb, struct keel_error *err) {
    if (verb && strcmp(verb, "list") != 0 && strcmp(verb, "verify") != 0)
        FAIL(err, INVALID, "backup: unknown word \"%.100s\"; it is list, verify, or nothing", verb);
    if (verb && !args->from) FAIL(err, INVALID, "backup %s: say where, with --from FOLDER", verb);
    if (!verb && (!args->data || !args->to))
        FAIL(err, INVALID, "backup: say what and where, with --data DIR --to FOLDER");
    return 0;
}

static int run(int argc, char **argv, struct keel_error *err) {
    struct args args = {.journal = BACKUP_JOURNAL_BYTES >> 30};
    struct operands words;
    struct output out;
    TRY(options_parse(&cmd_backup, argc, argv, &args, &words, err));
    const char *verb = words.n ? words.word[0] : NULL;
    TRY(check_words(&args, verb, err));
    TRY(output_open(&out, NULL, err));
    int code = act(&args, verb, &out, err);
    int closed = output_close(&out, code < 0 ? NULL : err);
    return code < 0 ? code : closed;
}
