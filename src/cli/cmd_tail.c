/* `keel tail`: events as they arrive, and what becomes of each.
 * Layers: remote.h, json.h, options.h. Threads: none. Limits: one event of LINE_BYTES. */
#include <stdio.h>

#include "base/json.h"
#include "base/output.h"
#include "cli/options.h"
#include "cli/remote.h"

enum { FORMAT_TEXT, FORMAT_JSON, LINE_BYTES = 2 << 20 };

struct args {
    const char *data, *fate, *event, *user;
    int64_t history;
    int format;
};

static const struct option OPTIONS[] = {
    {"data", OPTION_TEXT, offsetof(struct args, data), "DIR", "the data directory of a server",
     NULL, true, 0, 0},
    {"fate", OPTION_TEXT, offsetof(struct args, fate), "LIST",
     "only accepted, duplicate, quarantined, refused (with commas)", NULL, false, 0, 0},
    {"event", OPTION_TEXT, offsetof(struct args, event), "NAME",
     "only events of this name, or of a type such as identify", NULL, false, 0, 0},
    {"user", OPTION_TEXT, offsetof(struct args, user), "ID", "only of this user id or anonymous id",
     NULL, false, 0, 0},
    {"history", OPTION_INTEGER, offsetof(struct args, history), "N",
     "events that are shown at once; default 20", NULL, false, 0, 1000},
    {"format", OPTION_CHOICE, offsetof(struct args, format), "F", "text or json; default text",
     "text|json", false, 0, 0},
    {0},
};

static int run(int argc, char **argv, struct keel_error *err);

const struct command cmd_tail = {
    .name = "tail",
    .summary = "show events as they arrive, with what becomes of each",
    .changes = COMMAND_READS,
    .operands = "[SOURCE]",
    .max_operands = 1,
    .options = OPTIONS,
    .description =
        "Follows the events of one source, or of all, through a running server: a line an\n"
        "event, with its fate and the reason. Personal values are masked, by their class in\n"
        "the tracking plan or because they look personal. A terminal that is too slow is\n"
        "told how many lines it has missed. Ends with Ctrl-C.\n",
    .examples = "  keel tail --data data\n"
                "  keel tail web --data data --fate quarantined,refused\n"
                "  keel tail web --data data --user u-17 --format json\n",
    .run = run,
};

struct following {
    struct output out;
    struct json_parser *parser;
    struct buf text; /* what has arrived of the next message */
    int format;
};

/* ---- one event ---- */

static void word(struct following *f, struct json_value v, const char *name, const char *before) {
    struct str text;
    if (json_str(json_get(v, name), &text)) output_printf(&f->out, "%s%.*s", before, STR_ARG(text));
}

static void details(struct following *f, struct json_value list) {
    struct json_each each = json_each(list);
    struct json_value v;
    struct str text;
    const char *before = "  ! ";
    while (json_next(&each, NULL, &v)) {
        if (!json_str(json_get(v, "message"), &text)) continue;
        output_printf(&f->out, "%s%.*s", before, STR_ARG(text));
        before = "; ";
    }
}

/* The masked JSON stands last in the message. */
static struct str json_of(struct str data) {
    static const char mark[] = ",\"json\":";
    const char *at = memmem(data.p, data.n, mark, sizeof mark - 1);
    if (!at) return STR("");
    at += sizeof mark - 1;
    return (struct str){at, (size_t)(data.p + data.n - 1 - at)};
}

static void event_line(struct following *f, struct json_value v, struct str data) {
    struct str text;
    bool flag;
    if (json_str(json_get(v, "at"), &text) && text.n > 11) /* without the day */
        output_str(&f->out, (struct str){text.p + 11, text.n - 11});
    word(f, v, "source", "  ");
    word(f, v, "fate", "  ");
    if (json_bool(json_get(v, "repaired"), &flag)) output_text(&f->out, " (repaired)");
    if (json_bool(json_get(v, "replayed"), &flag)) output_text(&f->out, " (replayed)");
    word(f, v, "type", "  ");
    word(f, v, "name", "  ");
    word(f, v, "user", "  user=");
    word(f, v, "anonymous", "  anonymous=");
    if (json_has(v, "details"))
        details(f, json_get(v, "details"));
    else
        word(f, v, "reason", "  ! ");
    output_text(&f->out, "  ");
    output_str(&f->out, json_of(data));
    output_char(&f->out, '\n');
}

/* Data cannot move the cursor: JSON has control characters escaped, but names are unescaped. */
static bool has_control(struct str s) {
    for (size_t i = 0; i + 1 < s.n; i++)
        if (s.p[i] == '\\' && s.p[i + 1] == 'u' && i + 4 < s.n && s.p[i + 2] == '0' &&
            s.p[i + 3] == '0' && (s.p[i + 4] == '0' || s.p[i + 4] == '1'))
            return true;
    return false;
}

static int message(struct following *f, struct str data, bool lost, struct keel_error *err) {
    struct json_value v;
    int64_t n = 0;
    if (f->format == FORMAT_JSON || has_control(data)) {
        output_str(&f->out, data);
        output_char(&f->out, '\n');
        return 0;
    }
    TRY(json_parse(f->parser, data, &v, err));
    if (!lost) {
        event_line(f, v, data);
    } else if (json_i64(json_get(v, "lost"), &n)) {
        output_printf(&f->out, "…  %lld events", (long long)n);
        word(f, v, "source", " of ");
        output_text(&f->out, " were not shown\n");
    }
    return 0;
}

/* ---- the stream: messages end with an empty line ---- */

static struct str line_after(struct str message, const char *name) {
    size_t n = strlen(name);
    while (message.n) {
        const char *end = memchr(message.p, '\n', message.n);
        struct str line = {message.p, end ? (size_t)(end - message.p) : message.n};
        if (line.n >= n && memcmp(line.p, name, n) == 0)
            return (struct str){line.p + n, line.n - n};
        size_t used = line.n + (end != NULL);
        message = (struct str){message.p + used, message.n - used};
    }
    return STR("");
}

static int take(void *ctx, struct str piece, struct keel_error *err) {
    struct following *f = ctx;
    if (buf_add_str(&f->text, piece) < 0)
        FAIL(err, LIMIT, "a message of the server is larger than %d bytes", LINE_BYTES);
    for (;;) {
        struct str all = buf_str(&f->text);
        const char *end = memmem(all.p, all.n, "\n\n", 2);
        if (!end) break;
        struct str text = {all.p, (size_t)(end - all.p)};
        struct str data = line_after(text, "data: ");
        if (data.n) TRY(message(f, data, str_is(line_after(text, "event: "), "lost"), err));
        size_t used = text.n + 2;
        memmove(f->text.p, f->text.p + used, f->text.n - used);
        f->text.n -= used;
    }
    output_flush(&f->out);
    return output_failed(&f->out) ? -KEEL_E_CANCELLED : 0; /* a closed pipe ends it */
}

static void add_param(struct buf *path, const char *name, const char *value) {
    if (!value) return;
    (void)!buf_printf(path, "&%s=", name);
    remote_escape(path, str_from(value));
}

static int follow(const struct args *args, const char *source, struct following *f,
                  struct keel_error *err) {
    struct remote *remote;
    struct buf path;
    buf_init(&path, 1 << 16);
    (void)!buf_add_text(&path, "/api/v1/");
    if (source) {
        (void)!buf_add_text(&path, "sources/");
        remote_escape(&path, str_from(source));
        (void)!buf_add_char(&path, '/');
    }
    (void)!buf_printf(&path, "tail?history=%lld", (long long)args->history);
    add_param(&path, "fate", args->fate);
    add_param(&path, "event", args->event);
    add_param(&path, "user", args->user);
    (void)!buf_add_char(&path, 0);
    int code = path.failed ? error_set(err, KEEL_E_LIMIT, "tail: the filters are too long") : 0;
    if (code == 0) code = remote_open(args->data, &remote, err);
    if (code == 0) {
        code = remote_follow(remote, (const char *)path.p, take, f, err);
        remote_close(remote);
    }
    buf_release(&path);
    return code == -KEEL_E_CANCELLED ? 0 : code;
}

static int run(int argc, char **argv, struct keel_error *err) {
    struct args args = {.history = 20};
    struct operands words;
    struct following f = {.parser = NULL};
    TRY(options_parse(&cmd_tail, argc, argv, &args, &words, err));
    TRY(output_open(&f.out, NULL, err));
    f.format = args.format;
    f.parser = json_parser_new(LINE_BYTES);
    buf_init(&f.text, LINE_BYTES);
    int code = follow(&args, words.n ? words.word[0] : NULL, &f, err);
    buf_release(&f.text);
    json_parser_free(f.parser);
    if (code == 0) return output_close(&f.out, err);
    output_discard(&f.out);
    return code;
}
