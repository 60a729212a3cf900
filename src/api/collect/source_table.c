/* Sources in DIR/desk.db: what commands and the API change. See source.h.
 *
 *   source      one row a source; numbers are never given twice, so counters of a source stay its
 * own source_key  its write keys; until_ms NULL: the one in force, else a rotated one in its grace
 *
 * Write keys are no secrets: those of websites can be read in their pages. They say where an event
 * comes from, and a lost one is rotated.
 *
 * Layers: base. Threads: as sql.h.
 */
#include <stdio.h>
#include <sys/random.h>

#include "api/collect/source.h"

enum { NEW_KEY_BYTES = 32 };

static const char *const STEPS[] = {
    "CREATE TABLE source("
    " id INTEGER PRIMARY KEY AUTOINCREMENT,"
    " name TEXT NOT NULL UNIQUE,"
    " enabled INTEGER NOT NULL DEFAULT 1,"
    " origins TEXT NOT NULL DEFAULT '',"
    " rate INTEGER NOT NULL DEFAULT 0,"
    " burst INTEGER NOT NULL DEFAULT 0,"
    " strict INTEGER NOT NULL DEFAULT 0,"
    " ip INTEGER NOT NULL DEFAULT 0,"
    " archive INTEGER NOT NULL DEFAULT 0,"
    " created_ms INTEGER NOT NULL);"
    "CREATE TABLE source_key("
    " key TEXT PRIMARY KEY,"
    " source INTEGER NOT NULL REFERENCES source(id),"
    " created_ms INTEGER NOT NULL,"
    " until_ms INTEGER) WITHOUT ROWID;"
    "CREATE INDEX source_key_source ON source_key(source)",
};

int source_tables(struct sql *desk, struct keel_error *err) {
    return sql_migrate(desk, "source", STEPS, sizeof STEPS / sizeof *STEPS, err);
}

const char *source_ip_text(enum client_ip policy) {
    static const char *const texts[] = {"keep", "truncate", "drop"};
    return texts[policy];
}

/* ---- checks ---- */

static int check_name(struct str name, struct keel_error *err) {
    if (name.n == 0 || name.n > SOURCE_MAX_NAME || !str_is_utf8(name))
        FAIL(err, INVALID, "a source's name has 1 to %d bytes", SOURCE_MAX_NAME);
    for (size_t i = 0; i < name.n; i++)
        if ((unsigned char)name.p[i] < ' ')
            FAIL(err, INVALID, "a source's name has no control characters");
    return 0;
}

/* A colon ends the key in "id:secret"; the others would have to be escaped somewhere. */
static int check_key(struct str key, struct keel_error *err) {
    if (key.n > SOURCE_MAX_KEY)
        FAIL(err, INVALID, "a write key has at most %d characters", SOURCE_MAX_KEY);
    for (size_t i = 0; i < key.n; i++)
        if (key.p[i] <= ' ' || key.p[i] > '~' || strchr(":\"\\,;&%#?<>", key.p[i]))
            FAIL(err, INVALID,
                 "a write key has letters, digits and marks such as - _ . ~, not \"%c\"",
                 key.p[i] >= ' ' && key.p[i] <= '~' ? key.p[i] : '?');
    return 0;
}

static int check_origins(struct str origins, struct keel_error *err) {
    if (origins.n > SOURCE_MAX_ORIGINS)
        FAIL(err, INVALID, "allowed origins have at most %d bytes", SOURCE_MAX_ORIGINS);
    while ((origins = str_trim(origins)).n) {
        const char *space = memchr(origins.p, ' ', origins.n);
        struct str one = {origins.p, space ? (size_t)(space - origins.p) : origins.n};
        if (!str_is(one, "*") && !str_contains(one, STR("://")))
            FAIL(err, INVALID, "\"%.*s\" is no origin such as https://shop.example or *",
                 STR_ARG(one));
        origins = (struct str){origins.p + one.n, origins.n - one.n};
    }
    return 0;
}

static int check_settings(const struct source_settings *s, struct keel_error *err) {
    TRY(check_name(s->name, err));
    TRY(check_key(s->key, err));
    TRY(check_origins(s->origins, err));
    if (s->rate < 0 || s->rate > SOURCE_MAX_RATE || s->burst < 0 || s->burst > SOURCE_MAX_RATE)
        FAIL(err, INVALID, "a source's rate and burst are 0 to %d events", SOURCE_MAX_RATE);
    if (s->burst && !s->rate) FAIL(err, INVALID, "a source's burst needs a rate");
    return 0;
}

/* ---- keys ---- */

/* 190 bits by chance, in letters and digits. */
static int new_key(char *out, struct keel_error *err) {
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    uint8_t bytes[64];
    size_t n = 0;
    while (n < NEW_KEY_BYTES) {
        if (getrandom(bytes, sizeof bytes, 0) != (ssize_t)sizeof bytes)
            FAIL(err, IO, "the system gives no random numbers");
        for (size_t i = 0; i < sizeof bytes && n < NEW_KEY_BYTES; i++)
            if (bytes[i] < 248) out[n++] = letters[bytes[i] % 62]; /* 248 = 4 * 62: all alike */
    }
    out[n] = '\0';
    return 0;
}

static int add_key(struct sql *desk, int64_t source, const char *key, int64_t now_ms,
                   struct keel_error *err) {
    int code = sql_run(desk, err, "INSERT INTO source_key(key, source, created_ms) VALUES(?, ?, ?)",
                       "zii", key, source, now_ms);
    if (code == -KEEL_E_EXISTS)
        FAIL(err, EXISTS, "the write key \"%s\" belongs to a source already", key);
    return code;
}

/* ---- changes ---- */

static int add(struct sql *desk, const struct source_settings *s, int64_t now_ms, int64_t *out_id,
               const char *key, struct keel_error *err) {
    int64_t count;
    TRY(sql_number(desk, 0, &count, err, "SELECT count(*) FROM source", ""));
    if (count >= SOURCE_MAX) FAIL(err, LIMIT, "there are %d sources already", SOURCE_MAX);
    int code = sql_run(desk, err,
                       "INSERT INTO source(name, origins, rate, burst, strict, ip, archive,"
                       " created_ms) VALUES(?, ?, ?, ?, ?, ?, ?, ?)",
                       "ssiiiiii", s->name, s->origins.p ? s->origins : STR(""), s->rate, s->burst,
                       (int64_t)s->strict, (int64_t)s->ip, (int64_t)s->archive, now_ms);
    if (code == -KEEL_E_EXISTS)
        FAIL(err, EXISTS, "there is a source \"%.*s\" already", STR_ARG(s->name));
    TRY(code);
    *out_id = sql_last_id(desk);
    return add_key(desk, *out_id, key, now_ms, err);
}

int source_add(struct sql *desk, const struct source_settings *settings, int64_t now_ms,
               int64_t *out_id, char *key, struct keel_error *err) {
    TRY(check_settings(settings, err));
    if (settings->key.n) {
        memcpy(key, settings->key.p, settings->key.n);
        key[settings->key.n] = '\0';
    } else {
        TRY(new_key(key, err));
    }
    TRY(sql_begin(desk, err));
    return sql_end(desk, add(desk, settings, now_ms, out_id, key, err), err);
}

/* The number of a source by its name, or by the number itself. */
static int find(struct sql *desk, struct str source, int64_t *out, struct keel_error *err) {
    int64_t number = -1;
    TRY(sql_number(desk, -1, out, err, "SELECT id FROM source WHERE name = ?", "s", source));
    if (*out < 0 && str_to_i64(source, &number))
        TRY(sql_number(desk, -1, out, err, "SELECT id FROM source WHERE id = ?", "i", number));
    if (*out < 0)
        FAIL(err, NOT_FOUND, "there is no source \"%.*s\"; see: keel source list",
             (int)(source.n < 200 ? source.n : 200), source.p);
    return 0;
}

static int rotate(struct sql *desk, struct str source, int64_t grace_ms, int64_t now_ms,
                  const char *key, struct keel_error *err) {
    int64_t id, keys;
    TRY(find(desk, source, &id, err));
    TRY(sql_run(desk, err, "DELETE FROM source_key WHERE source = ? AND until_ms <= ?", "ii", id,
                now_ms));
    TRY(sql_number(desk, 0, &keys, err, "SELECT count(*) FROM source_key WHERE source = ?", "i",
                   id));
    if (keys >= SOURCE_MAX_KEYS)
        FAIL(err, LIMIT, "the source has %d keys that still work; end one with a shorter grace",
             SOURCE_MAX_KEYS);
    TRY(sql_run(desk, err,
                "UPDATE source_key SET until_ms = min(coalesce(until_ms, ?), ?) WHERE source = ?",
                "iii", now_ms + grace_ms, now_ms + grace_ms, id));
    return add_key(desk, id, key, now_ms, err);
}

int source_rotate(struct sql *desk, struct str source, int64_t grace_ms, int64_t now_ms, char *key,
                  struct keel_error *err) {
    if (grace_ms < 0 || grace_ms / 1000 > SOURCE_MOST_GRACE_S)
        FAIL(err, INVALID, "a grace is 0 to %d days", SOURCE_MOST_GRACE_S / 24 / 3600);
    TRY(new_key(key, err));
    TRY(sql_begin(desk, err));
    return sql_end(desk, rotate(desk, source, grace_ms, now_ms, key, err), err);
}

int source_enable(struct sql *desk, struct str source, bool enabled, struct keel_error *err) {
    int64_t id;
    TRY(find(desk, source, &id, err));
    return sql_run(desk, err, "UPDATE source SET enabled = ? WHERE id = ?", "ii", (int64_t)enabled,
                   id);
}

/* ---- reading ---- */

int source_list(struct sql *desk, int64_t now_ms,
                int (*each)(void *ctx, const struct source_row *row), void *ctx,
                struct keel_error *err) {
    struct sql_rows rows;
    int code;
    TRY(sql_ask(desk, &rows, err,
                "SELECT s.id, s.name, s.enabled, s.origins, s.rate, s.burst, s.strict, s.ip,"
                " s.archive, s.created_ms, coalesce((SELECT key FROM source_key k"
                "   WHERE k.source = s.id AND k.until_ms IS NULL), ''),"
                " (SELECT count(*) FROM source_key k WHERE k.source = s.id AND k.until_ms > ?)"
                " FROM source s ORDER BY s.id",
                "i", now_ms));
    while ((code = sql_next(&rows, err)) == 1) {
        int64_t ip = sql_i64(&rows, 7);
        struct source_row row = {
            .source = {.id = sql_i64(&rows, 0),
                       .name = sql_str(&rows, 1),
                       .enabled = sql_i64(&rows, 2) != 0,
                       .origins = sql_str(&rows, 3),
                       .rate = sql_i64(&rows, 4),
                       .burst = sql_i64(&rows, 5),
                       .strict = sql_i64(&rows, 6) != 0,
                       /* a policy that this version does not know keeps nothing */
                       .ip =
                           ip >= 0 && ip < CLIENT_IP_POLICIES ? (enum client_ip)ip : CLIENT_IP_DROP,
                       .archive = sql_i64(&rows, 8) != 0,
                       .created_ms = sql_i64(&rows, 9)},
            .key = sql_str(&rows, 10),
            .old_keys = sql_i64(&rows, 11),
        };
        code = each(ctx, &row);
        if (code < 0) break;
    }
    sql_done(&rows);
    return code;
}

void source_json(const struct source_row *row, struct buf *out) {
    const struct event_source *s = &row->source;
    (void)!buf_printf(out, "{\"id\":%lld,\"name\":", (long long)s->id);
    (void)!buf_add_json_str(out, s->name);
    (void)!buf_add_text(out, ",\"write_key\":");
    (void)!buf_add_json_str(out, row->key);
    (void)!buf_printf(out,
                      ",\"state\":\"%s\",\"rate\":%lld,\"burst\":%lld,\"ip\":\"%s\","
                      "\"strict\":%s,\"archive\":%s,\"old_keys\":%lld,\"origins\":",
                      s->enabled ? "on" : "off", (long long)s->rate, (long long)s->burst,
                      source_ip_text(s->ip), s->strict ? "true" : "false",
                      s->archive ? "true" : "false", (long long)row->old_keys);
    (void)!buf_add_json_str(out, s->origins);
    (void)!buf_add_char(out, '}');
}
