/* Runs Keel in this process for bench/run, through the interface that the program itself uses.
 *
 *   keel_bench DIR THREADS
 *
 * Protocol: engine.h. Commands:
 *   at        the moment of asking, in milliseconds since 1970, for all that follows
 *   query     a question; measured from its text to its rows: parsing, planning, a snapshot of its
 *             own, the answer. The first row of the reply names the columns
 *   timeline  "user_id=…": finding the customer, and his newest 100 events with all they carried
 *
 * The data directory is open as a server would have it: journal on, identity resolved at each
 * question. There is no cache of answers in Keel. Threads: a pool of THREADS.
 */
#include "engine.h"

#include "customer/timeline.h"
#include "query/exec.h"
#include "query/language/parse.h"

enum { TIMELINE_EVENTS = 100, QUERY_ARENA_MAX = 64 << 20 };

struct bench {
    struct db *db;
    struct pool *pool;
    int64_t at_ms;
};

static int put_row(const struct result *r, uint64_t row, const struct time_zone *zone,
                   struct answer *a, struct keel_error *err) {
    struct buf text;
    buf_init(&text, 1 << 20);
    int code = 0;
    for (uint32_t c = 0; c < r->n_columns && code == 0; c++) {
        const struct datum *v = result_cell(r, row, c);
        answer_text(a, c ? "," : "[");
        if (v->type == DATUM_NULL) {
            answer_text(a, "null");
            continue;
        }
        buf_clear(&text);
        code = datum_print(v, zone, &text);
        if (code == 0) answer_json_text(a, (const char *)text.p, text.n);
    }
    answer_text(a, "]\n");
    buf_release(&text);
    if (code < 0) FAIL(err, NO_MEMORY, "no memory for an answer");
    return 0;
}

static int put_answer(const struct bench *b, const struct result *r, struct answer *a,
                      struct keel_error *err) {
    for (uint32_t c = 0; c < r->n_columns; c++) {
        answer_text(a, c ? "," : "[");
        answer_json_text(a, r->columns[c].name.p, r->columns[c].name.n);
    }
    answer_text(a, "]\n");
    for (uint64_t row = 0; row < r->n_rows; row++) TRY(put_row(r, row, db_zone(b->db), a, err));
    return 0;
}

static int ask(const struct bench *b, const char *text, struct result **out,
               struct keel_error *err) {
    struct arena arena;
    struct query *q;
    struct snapshot *snap = NULL;
    struct query_options options = {.at_ms = b->at_ms, .pool = b->pool};
    arena_init(&arena, QUERY_ARENA_MAX);
    int code = query_parse(str_from(text), &arena, &q, NULL, err);
    if (code == 0) code = snapshot_open(db_store(b->db), &snap, err);
    if (code == 0) {
        code = query_run(b->db, snap, q, &options, out, err);
        snapshot_close(snap);
    }
    arena_release(&arena);
    return code;
}

static int run_query(const struct bench *b, const char *text, struct measured *m, struct answer *a,
                     struct keel_error *err) {
    struct result *r = NULL;
    engine_start(m);
    int code = ask(b, text, &r, err);
    engine_stop(m);
    if (code == 0) code = put_answer(b, r, a, err);
    result_free(r);
    return code;
}

static int run_timeline(const struct bench *b, const char *text, struct measured *m,
                        struct answer *a, struct keel_error *err) {
    struct arena arena;
    struct timeline timeline = {0};
    struct snapshot *snap = NULL;
    char row[64];
    arena_init(&arena, QUERY_ARENA_MAX);
    engine_start(m);
    uint32_t customer = db_find_customer(b->db, str_from(text));
    int code = snapshot_open(db_store(b->db), &snap, err);
    if (code == 0 && customer == NUMBER_NONE)
        code = error_set(err, KEEL_E_NOT_FOUND, "no customer %s", text);
    if (code == 0)
        code =
            timeline_read(b->db, snap, customer, b->at_ms, TIMELINE_EVENTS, &arena, &timeline, err);
    if (snap) snapshot_close(snap);
    engine_stop(m);
    for (uint32_t i = timeline.count; i-- > 0;) {
        int n = snprintf(row, sizeof row, "[\"%lld\"]\n",
                         (long long)(timeline.events[i].time_ms / 1000));
        answer_put(a, row, (size_t)n);
    }
    arena_release(&arena);
    return code;
}

static int run_command(struct bench *b, const char *command, const char *text, struct measured *m,
                       struct answer *a, struct keel_error *err) {
    if (strcmp(command, "query") == 0) return run_query(b, text, m, a, err);
    if (strcmp(command, "timeline") == 0) return run_timeline(b, text, m, a, err);
    if (strcmp(command, "at") != 0) FAIL(err, INVALID, "no command named %s", command);
    b->at_ms = strtoll(text, NULL, 10);
    return 0;
}

int main(int argc, char **argv) {
    char command[16], *text;
    struct keel_error err = {0};
    struct bench b = {.at_ms = QUERY_AT_NOW};
    struct db_options options = {0};
    if (argc != 3) {
        fputs("usage: keel_bench DIR THREADS\n", stderr);
        return 64;
    }
    if (db_open(argv[1], &options, &b.db, &err) < 0) {
        fprintf(stderr, "keel_bench: %s\n", err.message);
        return 1;
    }
    b.pool = pool_new((unsigned)strtoul(argv[2], NULL, 10));
    while (engine_request(command, &text)) {
        struct measured m = {0};
        struct answer a = {0};
        int code = run_command(&b, command, text, &m, &a, &err);
        engine_reply(&m, &a, code < 0 ? err.message : NULL);
        free(a.text);
    }
    pool_free(b.pool);
    return db_close(b.db, &err) < 0;
}
