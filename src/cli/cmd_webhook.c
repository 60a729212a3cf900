/* `keel webhook`: where accepted events are sent, what became of them, dead letters.
 * Layers: reach/webhook.h, acts.h, options.h. Threads: none. A running server takes a change within
 * a second: both use DIR/desk.db. */
#include <stdio.h>

#include "base/os.h"
#include "base/output.h"
#include "cli/acts.h"
#include "cli/desk.h"
#include "cli/options.h"
#include "desk/audience/audience.h"
#include "reach/webhook.h"

enum { FORMAT_TEXT, FORMAT_JSON, LETTERS = 100 };

struct args {
    const char *data, *events, *segments;
    struct option_words event;
    int64_t letter, after, limit;
    int format;
    bool allow_private;
};

static const struct option OPTIONS[] = {
    {"data", OPTION_TEXT, offsetof(struct args, data), "DIR", "the data directory", NULL, true, 0,
     0},
    {"events", OPTION_TEXT, offsetof(struct args, events), "NAMES",
     "add: only these, with commas between them; default all, or none with --segments", NULL, false,
     0, 0},
    {"event", OPTION_WORDS, offsetof(struct args, event), "NAME",
     "add: also this one, whose name may have commas; may be repeated", NULL, false, 0, 0},
    {"segments", OPTION_TEXT, offsetof(struct args, segments), "NAMES",
     "add: who enters and leaves these segments, with commas between them; \"\": all", NULL, false,
     0, 0},
    {"letter", OPTION_INTEGER, offsetof(struct args, letter), "N",
     "replay: this dead letter only; default all of the webhook", NULL, false, 1, INT64_MAX},
    {"after", OPTION_INTEGER, offsetof(struct args, after), "N", "dead: begin behind this letter",
     NULL, false, 0, INT64_MAX},
    {"limit", OPTION_INTEGER, offsetof(struct args, limit), "N", "dead: how many; default 100",
     NULL, false, 1, 100000},
    {"allow-private", OPTION_FLAG, offsetof(struct args, allow_private), NULL,
     "test: also an address of this machine or a private network", NULL, false, 0, 0},
    {"format", OPTION_CHOICE, offsetof(struct args, format), "F", "text or json; default text",
     "text|json", false, 0, 0},
    {0},
};

static int run(int argc, char **argv, struct keel_error *err);

const struct command cmd_webhook = {
    .name = "webhook",
    .summary = "send accepted events to other systems",
    .changes = "add|test|enable|disable|remove|replay",
    .operands = "add URL|list|test ID|enable ID|disable ID|remove ID|dead ID|replay ID",
    .min_operands = 1,
    .max_operands = 2,
    .options = OPTIONS,
    .description =
        "A running server sends every accepted event that a webhook asks for, at least\n"
        "once, signed. A change here takes it a second.\n"
        "\n"
        "add      from now on; prints the number and the secret to check signatures with\n"
        "list     all, with what was delivered and what was not\n"
        "test     sends a test event now and prints what was answered\n"
        "disable  sends nothing; enable begins again with what comes then\n"
        "dead     events that were given up after 72 hours, one a line\n"
        "replay   gives them another 72 hours\n",
    .examples = "  keel webhook add https://crm.example/in --data data --events 'Order Completed'\n"
                "  keel webhook add https://mail.example/in --data data --segments 'Big baskets'\n"
                "  keel webhook list --data data\n"
                "  keel webhook replay 1 --data data\n",
    .run = run,
};

struct printing {
    struct output *out;
    struct buf line;
    int format;
    uint64_t rows;
};

static int print_row(void *ctx, const struct webhook_row *row) {
    struct printing *p = ctx;
    buf_clear(&p->line);
    if (p->format == FORMAT_JSON) {
        if (p->rows++) (void)!buf_add_text(&p->line, ",\n ");
        webhook_json(row, &p->line);
    } else {
        (void)buf_printf(&p->line,
                         "%lld  %-4s  %.*s  delivered %lld, to be retried %lld, dead %lld",
                         (long long)row->id, webhook_state_text(row->state), STR_ARG(row->url),
                         (long long)row->delivered, (long long)row->retrying, (long long)row->dead);
        if (row->missed_bytes)
            (void)buf_printf(&p->line, ", missed %lld bytes of the journal",
                             (long long)row->missed_bytes);
        if (row->reason.n) (void)buf_printf(&p->line, " (%.*s)", STR_ARG(row->reason));
        (void)!buf_add_char(&p->line, '\n');
    }
    output_str(p->out, buf_str(&p->line));
    return p->line.failed;
}

static int print_secret(void *ctx, const struct webhook_row *row) {
    struct printing *p = ctx;
    if (p->format == FORMAT_JSON) return print_row(ctx, row);
    output_printf(p->out, "webhook %lld, secret ", (long long)row->id);
    output_str(p->out, row->secret);
    output_char(p->out, '\n');
    return 0;
}

static int print_letter(void *ctx, const struct webhook_letter *letter) {
    struct printing *p = ctx;
    char time[TIME_TEXT_MAX];
    time[time_format(NULL, letter->dead_ms, time)] = 0;
    buf_clear(&p->line);
    if (p->format == FORMAT_JSON)
        (void)buf_printf(&p->line, "{\"id\":%lld,\"event\":%.*s}\n", (long long)letter->id,
                         STR_ARG(letter->body));
    else
        (void)buf_printf(&p->line, "%lld  %s  %lld tries, %.*s  %.*s\n", (long long)letter->id,
                         time, (long long)letter->tries, STR_ARG(letter->error),
                         STR_ARG(letter->body));
    output_str(p->out, buf_str(&p->line));
    return p->line.failed;
}

/* ---- verbs ---- */

/* Names or numbers to numbers; NULL: no segments. */
static int find_segments(struct sql *desk, const char *list, struct arena *arena, struct str *out,
                         struct keel_error *err) {
    struct str left = str_from(list ? list : "");
    char *text = list ? arena_printf(arena, "%s", "") : NULL;
    while (left.n) {
        const char *comma = memchr(left.p, ',', left.n);
        size_t n = comma ? (size_t)(comma - left.p) : left.n;
        int64_t id;
        TRY(audience_find(desk, str_trim((struct str){left.p, n}), &id, err));
        text = arena_printf(arena, "%s%s%lld", text, *text ? "," : "", (long long)id);
        n += comma != NULL;
        left = (struct str){left.p + n, left.n - n};
    }
    if (text) *out = str_from(text);
    return 0;
}

static int find_events(const struct args *args, struct buf *out, struct keel_error *err) {
    if (args->events) TRY(webhook_add_names(out, str_from(args->events), err));
    for (size_t i = 0; i < args->event.n; i++)
        TRY(webhook_add_name(out, str_from(args->event.word[i]), err));
    if (out->failed)
        FAIL(err, INVALID, "the names of events are longer than %d bytes", WEBHOOK_EVENTS_MAX);
    return 0;
}

static int add(struct sql *desk, const char *what, const struct args *args, struct printing *p,
               struct keel_error *err) {
    int64_t id;
    struct webhook_wish wish = {.no_events = args->segments && !args->events && !args->event.n};
    struct arena arena;
    struct buf events;
    arena_init(&arena, 1 << 20);
    buf_init(&events, 2 * WEBHOOK_EVENTS_MAX);
    int code = find_segments(desk, args->segments, &arena, &wish.segments, err);
    if (code >= 0) code = find_events(args, &events, err);
    wish.events = buf_str(&events);
    if (code >= 0) code = webhook_add(desk, str_from(what), &wish, now_ms(), &id, err);
    buf_release(&events);
    arena_release(&arena);
    TRY(code);
    TRY(webhook_list(desk, id, print_secret, p, err));
    if (p->format == FORMAT_JSON) output_char(p->out, '\n');
    return 0;
}

static int list(struct sql *desk, struct printing *p, struct keel_error *err) {
    if (p->format == FORMAT_JSON) output_char(p->out, '[');
    TRY(webhook_list(desk, 0, print_row, p, err));
    if (p->format == FORMAT_JSON) output_text(p->out, "]\n");
    return 0;
}

static int with_id(struct sql *desk, const char *verb, int64_t id, const struct args *args,
                   struct printing *p, struct keel_error *err) {
    if (strcmp(verb, "test") == 0) {
        long status = 0;
        TRY(webhook_test(desk, id, args->allow_private, &status, err));
        output_printf(p->out, "answered %ld\n", status);
        return 0;
    }
    if (strcmp(verb, "enable") == 0) return webhook_enable(desk, id, true, err);
    if (strcmp(verb, "disable") == 0) return webhook_enable(desk, id, false, err);
    if (strcmp(verb, "remove") == 0) return webhook_remove(desk, id, err);
    if (strcmp(verb, "dead") == 0)
        return webhook_dead(desk, id, args->after, args->limit, print_letter, p, err);
    int64_t count;
    TRY(webhook_replay(desk, id, args->letter, now_ms(), &count, err));
    output_printf(p->out, "%lld dead letters are tried again\n", (long long)count);
    return 0;
}

/* The host: what stands around it may be a password or a token. */
static struct str host_of(const char *url) {
    const char *slashes = strstr(url, "://"), *at = slashes ? slashes + 3 : url;
    size_t n = strcspn(at, "/?#");
    for (size_t i = n; i-- > 0;)
        if (at[i] == '@') return (struct str){at + i + 1, n - i - 1};
    return (struct str){at, n};
}

static const struct verb {
    const char *name, *act; /* act: in the audit log; NULL: it changes nothing */
} VERBS[] = {{"add", "keel webhook add"},
             {"list", NULL},
             {"test", "keel webhook test"},
             {"enable", "keel webhook enable"},
             {"disable", "keel webhook disable"},
             {"remove", "keel webhook remove"},
             {"dead", NULL},
             {"replay", "keel webhook replay"}};

static int act(struct sql *desk, const struct verb *verb, const char *what, const struct args *args,
               struct printing *p, struct keel_error *err) {
    bool adds = strcmp(verb->name, "add") == 0;
    struct act noted;
    int64_t id = 0;
    if (strcmp(verb->name, "list") == 0) return list(desk, p, err);
    if (adds && !what) FAIL(err, INVALID, "webhook add: say where to, as https://crm.example/in");
    if (!adds && (!what || !str_to_i64(str_from(what), &id) || id <= 0))
        FAIL(err, INVALID, "webhook %s: say which one, by its number in keel webhook list",
             verb->name);
    if (!verb->act) return with_id(desk, verb->name, id, args, p, err);
    TRY(act_begin(&noted, args->data, verb->act, err));
    if (adds) return act_end(&noted, host_of(what), add(desk, what, args, p, err), err);
    return act_end(&noted, str_from(what), with_id(desk, verb->name, id, args, p, err), err);
}

static int open_tables(const char *dir, struct sql **out, struct keel_error *err) {
    TRY(desk_open(dir, out, err));
    int code = webhook_tables(*out, err);
    if (code == 0) code = audience_tables(*out, err);
    if (code < 0) sql_close(*out);
    return code;
}

static int run(int argc, char **argv, struct keel_error *err) {
    struct args args = {.limit = LETTERS};
    struct operands words;
    struct output out;
    struct sql *desk;
    size_t i = 0, n = sizeof VERBS / sizeof *VERBS;
    TRY(options_parse(&cmd_webhook, argc, argv, &args, &words, err));
    while (i < n && strcmp(VERBS[i].name, words.word[0]) != 0) i++;
    if (i == n)
        FAIL(err, INVALID, "webhook: unknown word \"%.100s\"; see: keel webhook --help",
             words.word[0]);
    TRY(open_tables(args.data, &desk, err));
    int code = output_open(&out, NULL, err);
    if (code == 0) {
        struct printing p = {.out = &out, .format = args.format};
        buf_init(&p.line, EVENT_MAX_BYTES * 8);
        code = act(desk, &VERBS[i], words.n > 1 ? words.word[1] : NULL, &args, &p, err);
        buf_release(&p.line);
        int closed = output_close(&out, code < 0 ? NULL : err);
        if (code == 0) code = closed;
    }
    sql_close(desk);
    return code;
}
