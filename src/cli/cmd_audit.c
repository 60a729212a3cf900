/* `keel audit`: the audit log, and whether its chain holds.
 * Layers: guard/audit.h, options.h. Threads: none. Works beside a running server. */
#include "base/output.h"
#include "cli/desk.h"
#include "cli/options.h"
#include "guard/audit.h"

struct args {
    const char *data, *head, *customer;
    int64_t limit;
};

static const struct option OPTIONS[] = {
    {"data", OPTION_TEXT, offsetof(struct args, data), "DIR", "the data directory", NULL, true, 0,
     0},
    {"head", OPTION_TEXT, offsetof(struct args, head), "HASH",
     "verify: a head that was noted before must be in the chain", NULL, false, 0, 0},
    {"limit", OPTION_INTEGER, offsetof(struct args, limit), "N", "list: newest records; default 50",
     NULL, false, 1, 1000000},
    {"customer", OPTION_TEXT, offsetof(struct args, customer), "ID",
     "list: only what was about this one, as \"user_id=17\"", NULL, false, 0, 0},
    {0},
};

static int run(int argc, char **argv, struct keel_error *err);

const struct command cmd_audit = {
    .name = "audit",
    .summary = "who did what: show the audit log, verify its chain",
    .changes = COMMAND_READS,
    .operands = "verify|list",
    .min_operands = 1,
    .max_operands = 1,
    .options = OPTIONS,
    .description =
        "verify  reads the whole log: OK with the number of records and the head's hash, or\n"
        "        where the chain breaks (exit status 65). Keep heads elsewhere: who can write\n"
        "        the data directory could write the whole log anew, but not with an old head\n"
        "        in it (--head).\n"
        "list    the newest records, one JSON object a line\n",
    .examples = "  keel audit verify --data data\n"
                "  keel audit list --data data --limit 20\n",
    .run = run,
};

static int verify(const struct args *args, struct output *out, struct keel_error *err) {
    struct audit_verdict v;
    struct str head = args->head ? str_from(args->head) : STR("");
    TRY(audit_verify(args->data, head, &v, err));
    if (v.broken)
        FAIL(err, CORRUPT, "the audit log of %s breaks at %s; %llu records before it are intact",
             args->data, v.why, (unsigned long long)v.records);
    if (head.n && !v.head_found)
        FAIL(err, CORRUPT,
             "no record of the audit log of %s has the hash %.64s: it is not the log that this "
             "head was noted from",
             args->data, args->head);
    output_printf(out, "OK, ");
    output_count(out, v.records, "record");
    output_printf(out, ", head %s\n", v.head);
    if (v.no_head)
        output_text(out,
                    "audit.head is missing: records that are missing at the end cannot be told\n");
    if (v.torn)
        output_text(out, "a crash left half a record behind it, which nobody was told of\n");
    return 0;
}

static int print_line(void *ctx, struct str line) {
    struct output *out = ctx;
    output_str(out, line);
    output_char(out, '\n');
    return output_failed(out);
}

static int list(const struct args *args, struct output *out, struct keel_error *err) {
    struct audit *audit;
    char mark[AUDIT_MARK_TEXT + 1] = "";
    uint64_t next;
    TRY(audit_open(args->data, &audit, err));
    if (args->customer) audit_mark(audit, str_from(args->customer), mark);
    int code =
        audit_list(audit, 0, (uint32_t)args->limit, str_from(mark), print_line, out, &next, err);
    audit_close(audit);
    return code;
}

static int run(int argc, char **argv, struct keel_error *err) {
    struct args args = {.limit = 50};
    struct operands words;
    struct output out;
    TRY(options_parse(&cmd_audit, argc, argv, &args, &words, err));
    struct str verb = str_from(words.word[0]);
    if (!str_is(verb, "verify") && !str_is(verb, "list"))
        FAIL(err, INVALID, "audit: \"%.40s\" is none of verify, list", words.word[0]);
    TRY(desk_check(args.data, err));
    TRY(output_open(&out, NULL, err));
    int code = str_is(verb, "verify") ? verify(&args, &out, err) : list(&args, &out, err);
    int closed = output_close(&out, code < 0 ? NULL : err);
    return code < 0 ? code : closed;
}
