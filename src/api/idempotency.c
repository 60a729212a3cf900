/* Implementation of idempotency.h. The key is stored as it is; requests are compared by a hash of
 * who asks, method, path, query and body. */
#include "api/idempotency.h"

#include "base/hash.h"

static const char *const STEPS[] = {
    "CREATE TABLE idempotency(key TEXT PRIMARY KEY, request BLOB NOT NULL, created_ms INTEGER NOT "
    "NULL, status INTEGER NOT NULL, type TEXT, body BLOB) WITHOUT ROWID;"
    "CREATE INDEX idempotency_age ON idempotency(created_ms)",
};

int idempotency_open(struct sql *desk, struct keel_error *err) {
    TRY(sql_migrate(desk, "idempotency", STEPS, sizeof STEPS / sizeof STEPS[0], err));
    return sql_run(desk, err, "DELETE FROM idempotency WHERE status = 0", "");
}

static void add_part(struct buf *b, struct str s) {
    (void)!buf_add_u64(b, s.n); /* lengths, so that parts cannot run into one another */
    (void)!buf_add_str(b, s);
}

static struct hash128 fingerprint(const struct request *r) {
    struct buf b;
    struct hash128 body = hash128(r->body.p, r->body.n);
    buf_init(&b, 1 << 20);
    actor_text(&r->actor, &b); /* nobody gets the reply that was made for another one's rights */
    add_part(&b, str_from(request_method_text(r)));
    add_part(&b, r->path);
    add_part(&b, r->query);
    (void)!buf_add(&b, &body, sizeof body);
    struct hash128 h = hash128(b.p, b.n);
    buf_release(&b);
    return h;
}

static struct str key_of(const struct request *r) { return request_header(r, "Idempotency-Key"); }

/* The row of a key that was used before. */
static int replay(struct sql *desk, struct request *r, struct str request, struct keel_error *err) {
    struct sql_rows rows;
    TRY(sql_ask(desk, &rows, err,
                "SELECT request, status, type, body FROM idempotency WHERE key = ?", "s",
                key_of(r)));
    int code = sql_next(&rows, err);
    if (code == 0) {
        code =
            error_set(err, KEEL_E_BUSY, "the first request with this key just failed; try again");
    } else if (code == 1 && !str_eq(sql_str(&rows, 0), request)) {
        r->reply.status = 422;
        code = error_set(err, KEEL_E_INVALID,
                         "this Idempotency-Key was used for another request; choose a new key");
    } else if (code == 1 && sql_i64(&rows, 1) == 0) {
        r->reply.status = 409;
        code = error_set(err, KEEL_E_BUSY, "the first request with this key is under way");
    } else if (code == 1) {
        struct str type = sql_str(&rows, 2);
        r->reply.status = (int)sql_i64(&rows, 1);
        if (type.p) r->reply.content_type = arena_strndup(&r->arena, type.p, type.n);
        (void)!buf_add_str(&r->reply.body, sql_str(&rows, 3));
        reply_header(r, "Idempotent-Replayed", STR("true"));
    }
    sql_done(&rows);
    return code;
}

int idempotency_recall(struct sql *desk, struct request *r, struct keel_error *err) {
    struct str key = key_of(r);
    if (key.n == 0 || key.n > IDEMPOTENCY_KEY_MAX)
        FAIL(err, INVALID, "Idempotency-Key has 1 to %d characters", IDEMPOTENCY_KEY_MAX);
    struct hash128 h = fingerprint(r);
    struct str request = {(const char *)&h, sizeof h};
    TRY(sql_run(desk, err, "DELETE FROM idempotency WHERE created_ms < ?", "i",
                r->received_ms - IDEMPOTENCY_KEEP_MS));
    int code = sql_run(desk, err,
                       "INSERT INTO idempotency(key, request, created_ms, status) "
                       "VALUES (?, ?, ?, 0)",
                       "sbi", key, request, r->received_ms);
    return code == -KEEL_E_EXISTS ? replay(desk, r, request, err) : code;
}

void idempotency_keep(struct sql *desk, struct request *r) {
    struct keel_error ignored; /* then the same request is done again, as without a key */
    const struct reply *reply = &r->reply;
    int status = reply->status ? reply->status : 200;
    bool keep = status < 500 && status != 429 && reply->body.n <= IDEMPOTENCY_BODY_BYTES &&
                !reply->body.failed && !reply->stream;
    if (keep)
        (void)!sql_run(
            desk, &ignored, "UPDATE idempotency SET status = ?, type = ?, body = ? WHERE key = ?",
            "izbs", (int64_t)status, reply->content_type, buf_str(&reply->body), key_of(r));
    else
        (void)!sql_run(desk, &ignored, "DELETE FROM idempotency WHERE key = ?", "s", key_of(r));
}
