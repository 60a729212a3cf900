/* Implementation of quarantine.h.
 *
 * The number of open events and their bytes stand in a table of one row that triggers keep, so they
 * are exact at every commit, whoever writes: the server, or a command beside it. Counting the rows
 * at need would take seconds when the quarantine is full.
 *
 * Locks: `acting` (replay, discard: one at a time) > the lock of the connection; `reading` guards
 * the reader of JSON.
 */
#include "api/collect/quarantine.h"

#include <pthread.h>

#include "base/os.h"
#include "base/time.h"

enum {
    PAGE_ROWS = 64, /* of a replay: read, given to take(), marked together */
    DOCUMENT_BYTES = EVENT_MAX_BYTES * 6,
    CODE_BYTES = 100,
};

const char *const QUARANTINE_STATE_NAMES[QUARANTINE_STATES] = {"open", "replayed", "discarded"};

struct quarantine {
    struct sql *sql;
    struct quarantine_limits limits;
    struct gist_reader *gists;
    pthread_mutex_t reading, acting;
};

static const char *const STEPS[] = {
    "CREATE TABLE quarantine("
    " id INTEGER PRIMARY KEY AUTOINCREMENT, key BLOB NOT NULL UNIQUE, state INTEGER NOT NULL,"
    " source INTEGER NOT NULL, received_ms INTEGER NOT NULL, changed_ms INTEGER NOT NULL,"
    " type INTEGER NOT NULL, name TEXT NOT NULL, user TEXT NOT NULL, code TEXT NOT NULL,"
    " reasons TEXT NOT NULL, bytes INTEGER NOT NULL, json TEXT, envelope TEXT);"
    "CREATE INDEX quarantine_by_state ON quarantine(state, id);"
    "CREATE TABLE quarantine_total(one INTEGER PRIMARY KEY CHECK(one = 1),"
    " events INTEGER NOT NULL, bytes INTEGER NOT NULL);"
    "INSERT INTO quarantine_total VALUES(1, 0, 0);"
    "CREATE TRIGGER quarantine_added AFTER INSERT ON quarantine WHEN new.state = 0 BEGIN"
    " UPDATE quarantine_total SET events = events + 1, bytes = bytes + new.bytes; END;"
    "CREATE TRIGGER quarantine_left AFTER UPDATE OF state ON quarantine"
    " WHEN old.state = 0 AND new.state <> 0 BEGIN"
    " UPDATE quarantine_total SET events = events - 1, bytes = bytes - old.bytes; END",
    "ALTER TABLE quarantine ADD COLUMN address TEXT NOT NULL DEFAULT '';"
    "ALTER TABLE quarantine ADD COLUMN agent TEXT NOT NULL DEFAULT '';"
    "ALTER TABLE quarantine ADD COLUMN own INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE quarantine ADD COLUMN sent_ms INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE quarantine ADD COLUMN ip INTEGER NOT NULL DEFAULT 0", /* enum client_ip */
};

/* ---- open ---- */

int quarantine_open(const char *desk_path, const struct quarantine_limits *limits,
                    struct quarantine **out, struct keel_error *err) {
    struct quarantine *q = k_zalloc(sizeof *q);
    if (limits) q->limits = *limits;
    if (!q->limits.events) q->limits.events = QUARANTINE_MAX_EVENTS;
    if (!q->limits.bytes) q->limits.bytes = QUARANTINE_MAX_BYTES;
    pthread_mutex_init(&q->reading, NULL);
    pthread_mutex_init(&q->acting, NULL);
    q->gists = gist_reader_new();
    int code = sql_open(desk_path, SQL_CREATE, &q->sql, err);
    if (code == 0)
        code = sql_migrate(q->sql, "quarantine", STEPS, sizeof STEPS / sizeof *STEPS, err);
    if (code < 0) {
        quarantine_close(q);
        return code;
    }
    *out = q;
    return 0;
}

void quarantine_close(struct quarantine *q) {
    if (!q) return;
    sql_close(q->sql);
    gist_reader_free(q->gists);
    pthread_mutex_destroy(&q->reading);
    pthread_mutex_destroy(&q->acting);
    k_free(q);
}

static struct str text_or_empty(struct str s) { return s.p ? s : STR(""); }

/* ---- keeping ---- */

/* 12 bytes: lo, hi, little-endian. */
static void key_bytes(struct event_key key, char out[12]) {
    for (int i = 0; i < 8; i++) out[i] = (char)(key.lo >> (8 * i));
    for (int i = 0; i < 4; i++) out[8 + i] = (char)(key.hi >> (8 * i));
}

struct str quarantine_code(struct str reasons) {
    static const char mark[] = "\"code\":\"";
    const char *at = memmem(reasons.p, reasons.n, mark, sizeof mark - 1);
    if (!at) return STR("");
    at += sizeof mark - 1;
    size_t n = 0, left = (size_t)(reasons.p + reasons.n - at);
    while (n < left && n < CODE_BYTES && at[n] != '"') n++;
    return (struct str){at, n};
}

/* Its reasons of today, for one that is still held. */
static int keep_again(struct quarantine *q, const struct quarantine_item *item, struct str key,
                      int64_t now_ms, struct keel_error *err) {
    return sql_run(q->sql, err,
                   "UPDATE quarantine SET reasons = ?, code = ?, changed_ms = ?"
                   " WHERE key = ? AND state = 0",
                   "ssib", item->reasons, quarantine_code(item->reasons), now_ms, key);
}

static int keep_item(struct quarantine *q, struct quarantine_item *item, int64_t now_ms,
                     struct keel_error *err) {
    char bytes[12];
    struct str key = {bytes, sizeof bytes};
    key_bytes(item->key, bytes);
    item->again = item->known;
    if (item->known) return keep_again(q, item, key, now_ms, err);
    struct gist gist = gist_read(q->gists, item->json, item->type); /* under `reading` */
    struct str user = gist.user.n ? gist.user : gist.anonymous;
    TRY(sql_run(q->sql, err,
                "INSERT INTO quarantine(key, state, source, received_ms, changed_ms, type, name,"
                " user, code, reasons, bytes, json, envelope, address, agent, own, sent_ms, ip)"
                " VALUES(?, 0, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
                " ON CONFLICT(key) DO NOTHING",
                "biiiissssissssiii", key, item->source, item->received_ms, now_ms,
                (int64_t)item->type, gist.name, user, quarantine_code(item->reasons), item->reasons,
                (int64_t)(item->json.n + item->envelope.n), item->json, item->envelope,
                text_or_empty(item->client.address), text_or_empty(item->client.user_agent),
                (int64_t)item->client.own, item->client.sent_ms, (int64_t)item->client.ip));
    item->again = sql_changes(q->sql) == 0;
    return item->again ? keep_again(q, item, key, now_ms, err) : 0;
}

static int total(struct quarantine *q, uint64_t *events, uint64_t *bytes, struct keel_error *err) {
    struct sql_rows rows;
    TRY(sql_ask(q->sql, &rows, err, "SELECT events, bytes FROM quarantine_total", ""));
    int code = sql_next(&rows, err);
    *events = code == 1 ? (uint64_t)sql_i64(&rows, 0) : 0;
    *bytes = code == 1 ? (uint64_t)sql_i64(&rows, 1) : 0;
    sql_done(&rows);
    return code < 0 ? code : 0;
}

static int keep_all(struct quarantine *q, struct quarantine_item *items, size_t n, int64_t now_ms,
                    struct keel_error *err) {
    uint64_t events, bytes;
    bool more = false;
    for (size_t i = 0; i < n; i++) {
        TRY(keep_item(q, &items[i], now_ms, err));
        more |= !items[i].again;
    }
    TRY(total(q, &events, &bytes, err));
    if (more && (events > q->limits.events || bytes > q->limits.bytes))
        FAIL(err, LIMIT,
             "the quarantine is full (%llu events, %llu bytes): replay or discard what it holds",
             (unsigned long long)q->limits.events, (unsigned long long)q->limits.bytes);
    return 0;
}

int quarantine_keep(struct quarantine *q, struct quarantine_item *items, size_t n, int64_t now_ms,
                    struct keel_error *err) {
    pthread_mutex_lock(&q->reading);
    int code = sql_begin(q->sql, err);
    if (code == 0) code = sql_end(q->sql, keep_all(q, items, n, now_ms, err), err);
    pthread_mutex_unlock(&q->reading);
    return code;
}

/* ---- what there is ---- */

int quarantine_stats(struct quarantine *q, struct quarantine_stats *out, struct keel_error *err) {
    *out = (struct quarantine_stats){.max_events = q->limits.events, .max_bytes = q->limits.bytes};
    return total(q, &out->open, &out->open_bytes, err);
}

void quarantine_metrics(void *quarantine, struct metric_text *text) {
    struct quarantine_stats s;
    if (quarantine_stats(quarantine, &s, NULL) < 0) return; /* unknown is not 0: no line */
    metric(text, METRIC_GAUGE, "keel_quarantine_events", "Events that wait for a decision",
           (double)s.open, (const char *)NULL);
    metric(text, METRIC_GAUGE, "keel_quarantine_bytes", "Their JSON", (double)s.open_bytes,
           (const char *)NULL);
    metric(text, METRIC_GAUGE, "keel_quarantine_max_events", "Beyond, events are answered 503",
           (double)s.max_events, (const char *)NULL);
    metric(text, METRIC_GAUGE, "keel_quarantine_max_bytes", "Beyond, events are answered 503",
           (double)s.max_bytes, (const char *)NULL);
}

int quarantine_sweep(struct quarantine *q, int64_t now_ms, struct keel_error *err) {
    return sql_run(q->sql, err, "DELETE FROM quarantine WHERE state > 0 AND changed_ms < ?", "i",
                   now_ms - (int64_t)QUARANTINE_STONE_DAYS * MS_PER_DAY);
}

/* ---- lists ---- */

static int ask_rows(struct quarantine *q, const struct quarantine_filter *f, struct sql_rows *rows,
                    struct keel_error *err) {
    return sql_ask(q->sql, rows, err,
                   "SELECT id, source, received_ms, changed_ms, state, type, name, user, code,"
                   " reasons, json, envelope, address, agent, own, sent_ms, ip, key FROM quarantine"
                   " WHERE id > ?1"
                   " AND (?2 = -1 OR state = ?2) AND (?3 = -1 OR source = ?3)"
                   " AND (?4 = 0 OR id = ?4) AND (?5 = '' OR name = ?5) AND (?6 = '' OR code = ?6)"
                   " ORDER BY id LIMIT ?7",
                   "iiiissi", f->after, (int64_t)f->state, f->source, f->id, f->name, f->code,
                   (int64_t)f->limit);
}

static struct event_key key_of(struct str bytes) {
    struct event_key key = {0};
    if (bytes.n != 12) return key;
    for (int i = 7; i >= 0; i--) key.lo = key.lo << 8 | (unsigned char)bytes.p[i];
    for (int i = 11; i >= 8; i--) key.hi = key.hi << 8 | (unsigned char)bytes.p[i];
    return key;
}

/* What is unknown is not kept. */
static enum client_ip ip_of(int64_t value) {
    return value >= 0 && value < CLIENT_IP_POLICIES ? (enum client_ip)value : CLIENT_IP_DROP;
}

static struct quarantine_row row_of(const struct sql_rows *rows) {
    return (struct quarantine_row){
        .id = sql_i64(rows, 0),
        .source = sql_i64(rows, 1),
        .received_ms = sql_i64(rows, 2),
        .changed_ms = sql_i64(rows, 3),
        .state = (enum quarantine_state)sql_i64(rows, 4),
        .type = (int)sql_i64(rows, 5),
        .name = sql_str(rows, 6),
        .user = sql_str(rows, 7),
        .code = sql_str(rows, 8),
        .reasons = sql_str(rows, 9),
        .json = text_or_empty(sql_str(rows, 10)),
        .envelope = text_or_empty(sql_str(rows, 11)),
        .client = {.address = sql_str(rows, 12),
                   .user_agent = sql_str(rows, 13),
                   .own = sql_i64(rows, 14) != 0,
                   .sent_ms = sql_i64(rows, 15),
                   .ip = ip_of(sql_i64(rows, 16))},
        .key = key_of(sql_str(rows, 17)),
    };
}

int quarantine_list(struct quarantine *q, const struct quarantine_filter *filter,
                    int (*each)(void *ctx, const struct quarantine_row *row), void *ctx,
                    struct keel_error *err) {
    struct sql_rows rows;
    int code;
    TRY(ask_rows(q, filter, &rows, err));
    while ((code = sql_next(&rows, err)) == 1) {
        struct quarantine_row row = row_of(&rows);
        code = each(ctx, &row);
        if (code < 0) break;
    }
    sql_done(&rows);
    return code;
}

/* The type goes in front: of two equal keys the first one wins. */
int quarantine_document(const struct quarantine_row *row, struct buf *out) {
    struct str json = str_trim(row->json);
    if (row->envelope.n) (void)!buf_add_text(out, "{\"batch\":[");
    if (row->type != SEGMENT_ANY_TYPE && json.n && json.p[0] == '{') {
        json = str_trim((struct str){json.p + 1, json.n - 1});
        (void)!buf_printf(out, "{\"type\":\"%s\"%s", gist_type_text(row->type),
                          json.n && json.p[0] == '}' ? "" : ",");
    }
    (void)!buf_add_str(out, json);
    if (row->envelope.n) {
        (void)!buf_add_text(out, "],");
        (void)!buf_add_str(out, row->envelope);
        (void)!buf_add_char(out, '}');
    }
    return out->failed;
}

/* ---- replaying and discarding ---- */

struct page {
    struct arena arena;
    struct quarantine_row rows[PAGE_ROWS];
    int outcomes[PAGE_ROWS];
    uint32_t n;
};

static int page_add(void *ctx, const struct quarantine_row *row) {
    struct page *p = ctx;
    struct quarantine_row *copy = &p->rows[p->n++];
    *copy = *row;
    copy->name = str_dup(&p->arena, row->name);
    copy->user = str_dup(&p->arena, row->user);
    copy->code = str_dup(&p->arena, row->code);
    copy->reasons = str_dup(&p->arena, row->reasons);
    copy->json = str_dup(&p->arena, row->json);
    copy->envelope = str_dup(&p->arena, row->envelope);
    copy->client.address = str_dup(&p->arena, row->client.address);
    copy->client.user_agent = str_dup(&p->arena, row->client.user_agent);
    return 0;
}

/* An open row becomes a stone. */
static int bury(struct quarantine *q, const struct quarantine_row *row, enum quarantine_state state,
                int64_t now_ms, struct keel_error *err) {
    TRY(sql_run(q->sql, err,
                "UPDATE quarantine SET state = ?, changed_ms = ?, json = NULL, envelope = NULL,"
                " address = '', agent = '', bytes = 0 WHERE id = ? AND state = 0",
                "iii", (int64_t)state, now_ms, row->id));
    return sql_changes(q->sql) > 0;
}

/* Marks what take() has taken: the rest stays as it is. */
static int mark_page(struct quarantine *q, const struct page *p, int64_t now_ms,
                     struct keel_error *err) {
    int code = 0;
    for (uint32_t i = 0; i < p->n && code >= 0; i++)
        if (p->outcomes[i] == QUARANTINE_TAKEN || p->outcomes[i] == QUARANTINE_DUPLICATE)
            code = bury(q, &p->rows[i], QUARANTINE_REPLAYED, now_ms, err);
    return code < 0 ? code : 0;
}

static int commit_page(struct quarantine *q, const struct page *p, int64_t now_ms,
                       struct keel_error *err) {
    TRY(sql_begin(q->sql, err));
    return sql_end(q->sql, mark_page(q, p, now_ms, err), err);
}

static int take_page(struct page *p, struct buf *document, quarantine_take *take, void *ctx,
                     struct quarantine_counts *counts, struct keel_error *err) {
    for (uint32_t i = 0; i < p->n; i++) p->outcomes[i] = -1;
    for (uint32_t i = 0; i < p->n; i++) {
        buf_clear(document);
        if (quarantine_document(&p->rows[i], document) < 0 || buf_add_char(document, '\n') < 0)
            FAIL(err, LIMIT, "quarantined event %lld is too large", (long long)p->rows[i].id);
        struct str text = {(const char *)document->p, document->n - 1};
        int outcome = take(ctx, &p->rows[i], text, err);
        if (outcome < 0) return outcome;
        p->outcomes[i] = outcome;
        counts->of[outcome]++;
        counts->last = p->rows[i].id;
    }
    return 0;
}

int quarantine_replay(struct quarantine *q, const struct quarantine_filter *filter,
                      quarantine_take *take, void *ctx, int64_t now_ms,
                      struct quarantine_counts *counts, struct keel_error *err) {
    struct quarantine_filter f = *filter;
    struct page *p = k_alloc(sizeof *p);
    struct buf document;
    uint32_t left = filter->limit;
    int code = 0;
    *counts = (struct quarantine_counts){.last = filter->after};
    f.state = QUARANTINE_OPEN;
    buf_init(&document, DOCUMENT_BYTES);
    pthread_mutex_lock(&q->acting);
    while (code == 0 && left > 0) {
        arena_init(&p->arena, SIZE_MAX / 2);
        p->n = 0;
        f.after = counts->last;
        f.limit = left < PAGE_ROWS ? left : PAGE_ROWS;
        code = quarantine_list(q, &f, page_add, p, err);
        bool end = p->n < f.limit;
        left -= p->n;
        if (code == 0) {
            code = take_page(p, &document, take, ctx, counts, err);
            int marked = commit_page(q, p, now_ms, code < 0 ? NULL : err);
            if (code == 0) code = marked;
        }
        arena_release(&p->arena);
        if (end) break;
    }
    pthread_mutex_unlock(&q->acting);
    buf_release(&document);
    k_free(p);
    return code;
}

static int discard_page(struct quarantine *q, const struct page *p, int64_t now_ms, uint64_t *out,
                        struct keel_error *err) {
    for (uint32_t i = 0; i < p->n; i++) {
        int buried = bury(q, &p->rows[i], QUARANTINE_DISCARDED, now_ms, err);
        if (buried < 0) return buried;
        *out += (uint64_t)buried;
    }
    return 0;
}

int quarantine_discard(struct quarantine *q, const struct quarantine_filter *filter, int64_t now_ms,
                       uint64_t *out, struct keel_error *err) {
    struct quarantine_filter f = *filter;
    struct page *p = k_alloc(sizeof *p);
    uint32_t left = filter->limit;
    int code = 0;
    *out = 0;
    f.state = QUARANTINE_OPEN;
    pthread_mutex_lock(&q->acting);
    while (code == 0 && left > 0) {
        uint64_t gone = 0;
        arena_init(&p->arena, SIZE_MAX / 2);
        p->n = 0;
        f.limit = left < PAGE_ROWS ? left : PAGE_ROWS;
        code = quarantine_list(q, &f, page_add, p, err);
        left -= p->n;
        if (code == 0) code = sql_begin(q->sql, err);
        if (code == 0) code = sql_end(q->sql, discard_page(q, p, now_ms, &gone, err), err);
        if (code == 0) *out += gone;
        bool end = p->n < f.limit;
        if (p->n) f.after = p->rows[p->n - 1].id;
        arena_release(&p->arena);
        if (end) break;
    }
    pthread_mutex_unlock(&q->acting);
    k_free(p);
    return code;
}
