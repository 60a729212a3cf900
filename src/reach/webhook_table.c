/* The tables of webhooks: see webhook.h. `position` and `skip` are the cursor: the begin of a
 * record of the journal, and how many of its events are settled; NULL: begin at the end. */
#include <curl/curl.h>
#include <sodium.h>
#include <stdio.h>

#include "base/os.h"
#include "reach/webhook_send.h"

static const char *const STEPS[] = {
    "CREATE TABLE webhook(id INTEGER PRIMARY KEY AUTOINCREMENT, url TEXT NOT NULL,"
    "  events TEXT NOT NULL, secret TEXT NOT NULL, state INTEGER NOT NULL DEFAULT 0,"
    "  reason TEXT NOT NULL DEFAULT '', created_ms INTEGER NOT NULL, position INTEGER,"
    "  skip INTEGER NOT NULL DEFAULT 0, delivered INTEGER NOT NULL DEFAULT 0,"
    "  failed INTEGER NOT NULL DEFAULT 0, missed_bytes INTEGER NOT NULL DEFAULT 0);"
    "CREATE TABLE webhook_retry(webhook INTEGER NOT NULL, message_id TEXT NOT NULL,"
    "  body TEXT NOT NULL, tries INTEGER NOT NULL, first_ms INTEGER NOT NULL,"
    "  next_ms INTEGER NOT NULL, error TEXT NOT NULL, PRIMARY KEY(webhook, message_id))"
    "  WITHOUT ROWID;"
    "CREATE INDEX webhook_retry_due ON webhook_retry(webhook, next_ms);"
    "CREATE TABLE webhook_dead(id INTEGER PRIMARY KEY AUTOINCREMENT, webhook INTEGER NOT NULL,"
    "  message_id TEXT NOT NULL, body TEXT NOT NULL, tries INTEGER NOT NULL,"
    "  first_ms INTEGER NOT NULL, dead_ms INTEGER NOT NULL, error TEXT NOT NULL);"
    "CREATE INDEX webhook_dead_of ON webhook_dead(webhook, id);",
    /* `change`: the last change of the outbox that is settled; NULL: begin at the end. */
    "ALTER TABLE webhook ADD COLUMN no_events INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE webhook ADD COLUMN segments TEXT;"
    "ALTER TABLE webhook ADD COLUMN change INTEGER;",
};

int webhook_tables(struct sql *desk, struct keel_error *err) {
    return sql_migrate(desk, "webhook", STEPS, sizeof STEPS / sizeof *STEPS, err);
}

const char *webhook_state_text(enum webhook_state state) {
    static const char *const texts[WEBHOOK_STATES] = {"on", "off", "gone"};
    return texts[state];
}

/* ---- adding ---- */

static int check_url(struct str url, struct keel_error *err) {
    char text[WEBHOOK_URL_MAX + 1];
    CURLU *parsed = NULL;
    if (url.n > WEBHOOK_URL_MAX)
        FAIL(err, INVALID, "the URL is longer than %d bytes", WEBHOOK_URL_MAX);
    if (!str_is_utf8(url) || memchr(url.p, 0, url.n)) FAIL(err, INVALID, "the URL is no text");
    snprintf(text, sizeof text, "%.*s", STR_ARG(url));
    bool http = str_starts(url, STR("https://")) || str_starts(url, STR("http://"));
    parsed = http ? curl_url() : NULL;
    bool good = parsed && curl_url_set(parsed, CURLUPART_URL, text, 0) == CURLUE_OK;
    char *user = NULL;
    bool named = good && curl_url_get(parsed, CURLUPART_USER, &user, 0) == CURLUE_OK;
    curl_free(user);
    curl_url_cleanup(parsed);
    if (!good) FAIL(err, INVALID, "\"%.200s\" is no URL; write https://host/path", text);
    if (named) FAIL(err, INVALID, "a URL with a name and password would be stored in the open");
    return 0;
}

/* The next of a list with commas between its items; what is empty is passed over. */
static bool next_item(struct str *list, struct str *out) {
    *out = STR("");
    while (list->n && out->n == 0) {
        const char *comma = memchr(list->p, ',', list->n);
        size_t n = comma ? (size_t)(comma - list->p) : list->n;
        *out = str_trim((struct str){list->p, n});
        n += comma != NULL;
        *list = (struct str){list->p + n, list->n - n};
    }
    return out->n > 0;
}

int webhook_add_name(struct buf *events, struct str name, struct keel_error *err) {
    if (name.n == 0) FAIL(err, INVALID, "an event's name is empty");
    if (memchr(name.p, '\n', name.n)) FAIL(err, INVALID, "an event's name has a line break");
    if (events->n) (void)!buf_add_char(events, '\n');
    (void)!buf_add_str(events, name);
    return 0;
}

int webhook_add_names(struct buf *events, struct str list, struct keel_error *err) {
    struct str name;
    while (next_item(&list, &name)) TRY(webhook_add_name(events, name, err));
    return 0;
}

static int check_names(struct str names, struct keel_error *err) {
    if (names.n > WEBHOOK_EVENTS_MAX)
        FAIL(err, INVALID, "the names of events are longer than %d bytes", WEBHOOK_EVENTS_MAX);
    if (!str_is_utf8(names)) FAIL(err, INVALID, "the names of events are not UTF-8");
    return 0;
}

static int join_numbers(struct str list, struct buf *out, struct keel_error *err) {
    struct str text;
    int64_t number;
    while (next_item(&list, &text)) {
        if (!str_to_i64(text, &number) || number <= 0)
            FAIL(err, INVALID, "what is no number stands among those of segments");
        (void)buf_printf(out, "%s%lld", out->n ? "\n" : "", (long long)number);
    }
    if (out->failed)
        FAIL(err, INVALID, "the numbers of segments are longer than %d bytes", WEBHOOK_EVENTS_MAX);
    return 0;
}

static int insert(struct sql *desk, struct str url, const struct webhook_wish *wish,
                  struct buf *numbers, int64_t now_ms, struct keel_error *err) {
    char secret[WEBHOOK_SECRET_TEXT];
    webhook_new_secret(secret);
    struct str names = wish->events.p ? wish->events : STR("");
    TRY(check_names(names, err));
    TRY(join_numbers(wish->segments, numbers, err));
    struct str segments = wish->segments.p ? buf_str(numbers) : (struct str){NULL, 0};
    return sql_run(desk, err,
                   "INSERT INTO webhook(url, events, no_events, segments, secret, created_ms)"
                   "  VALUES(?, ?, ?, ?, ?, ?)",
                   "ssiszi", url, names, (int64_t)wish->no_events, segments, secret, now_ms);
}

int webhook_add(struct sql *desk, struct str url, const struct webhook_wish *wish, int64_t now_ms,
                int64_t *out_id, struct keel_error *err) {
    struct buf numbers;
    int64_t count = 0;
    TRY(check_url(url, err));
    if (wish->no_events && !wish->segments.p)
        FAIL(err, INVALID, "the webhook asks for nothing: neither events nor segments");
    if (sodium_init() < 0) FAIL(err, INTERNAL, "the system gives no random numbers");
    TRY(sql_number(desk, 0, &count, err, "SELECT count(*) FROM webhook", ""));
    if (count >= WEBHOOK_MOST) FAIL(err, LIMIT, "there are %d webhooks already", WEBHOOK_MOST);
    buf_init(&numbers, WEBHOOK_EVENTS_MAX + 1);
    (void)!buf_reserve(&numbers, 1); /* empty is not NULL */
    int code = insert(desk, url, wish, &numbers, now_ms, err);
    if (code == 0) *out_id = sql_last_id(desk);
    buf_release(&numbers);
    return code;
}

/* ---- listing ---- */

int webhook_list(struct sql *desk, int64_t only,
                 int (*each)(void *ctx, const struct webhook_row *row), void *ctx,
                 struct keel_error *err) {
    struct sql_rows rows;
    int64_t found = 0;
    TRY(sql_ask(desk, &rows, err,
                "SELECT id, url, events, secret, state, reason, created_ms, delivered, failed,"
                "  missed_bytes, (SELECT count(*) FROM webhook_retry r WHERE r.webhook = w.id),"
                "  (SELECT count(*) FROM webhook_dead d WHERE d.webhook = w.id),"
                "  no_events, segments"
                "  FROM webhook w WHERE ? = 0 OR id = ? ORDER BY id",
                "ii", only, only));
    int code;
    while ((code = sql_next(&rows, err)) == 1) {
        int64_t state = sql_i64(&rows, 4);
        struct webhook_row row = {
            .id = sql_i64(&rows, 0),
            .url = sql_str(&rows, 1),
            .events = sql_str(&rows, 2),
            .secret = sql_str(&rows, 3),
            .state = state > 0 && state < WEBHOOK_STATES ? (enum webhook_state)state : WEBHOOK_ON,
            .reason = sql_str(&rows, 5),
            .created_ms = sql_i64(&rows, 6),
            .delivered = sql_i64(&rows, 7),
            .failed = sql_i64(&rows, 8),
            .missed_bytes = sql_i64(&rows, 9),
            .retrying = sql_i64(&rows, 10),
            .dead = sql_i64(&rows, 11),
            .no_events = sql_i64(&rows, 12) != 0,
            .segments = sql_str(&rows, 13)};
        found++;
        code = each(ctx, &row);
        if (code < 0) break;
    }
    sql_done(&rows);
    if (code == 0 && only && !found)
        FAIL(err, NOT_FOUND, "there is no webhook %lld", (long long)only);
    return code;
}

static void list_json(struct str left, bool numbers, struct buf *out) {
    (void)!buf_add_char(out, '[');
    for (bool first = true; left.n; first = false) {
        const char *end = memchr(left.p, '\n', left.n);
        size_t n = end ? (size_t)(end - left.p) : left.n;
        struct str item = {left.p, n};
        if (!first) (void)!buf_add_char(out, ',');
        (void)!(numbers ? buf_add_str(out, item) : buf_add_json_str(out, item));
        n += end != NULL;
        left = (struct str){left.p + n, left.n - n};
    }
    (void)!buf_add_char(out, ']');
}

void webhook_json(const struct webhook_row *row, struct buf *out) {
    (void)buf_printf(out, "{\"id\":%lld,\"url\":", (long long)row->id);
    (void)!buf_add_json_str(out, row->url);
    if (!row->no_events) {
        (void)!buf_add_text(out, ",\"events\":");
        list_json(row->events, false, out);
    }
    if (row->segments.p) {
        (void)!buf_add_text(out, ",\"segments\":");
        list_json(row->segments, true, out);
    }
    (void)!buf_add_text(out, ",\"secret\":");
    (void)!buf_add_json_str(out, row->secret);
    (void)buf_printf(out, ",\"state\":\"%s\",\"reason\":", webhook_state_text(row->state));
    (void)!buf_add_json_str(out, row->reason);
    (void)buf_printf(out,
                     ",\"delivered\":%lld,\"failed\":%lld,\"retrying\":%lld,\"dead\":%lld,"
                     "\"missed_bytes\":%lld}",
                     (long long)row->delivered, (long long)row->failed, (long long)row->retrying,
                     (long long)row->dead, (long long)row->missed_bytes);
}

/* ---- changing ---- */

static int changed(struct sql *desk, int64_t id, struct keel_error *err) {
    if (sql_changes(desk)) return 0;
    FAIL(err, NOT_FOUND, "there is no webhook %lld", (long long)id);
}

int webhook_enable(struct sql *desk, int64_t id, bool on, struct keel_error *err) {
    TRY(sql_run(
        desk, err,
        "UPDATE webhook SET state = ?, reason = '', position = NULL, skip = 0, change = NULL"
        "  WHERE id = ?",
        "ii", (int64_t)(on ? WEBHOOK_ON : WEBHOOK_OFF), id));
    return changed(desk, id, err);
}

int webhook_remove(struct sql *desk, int64_t id, struct keel_error *err) {
    TRY(sql_begin(desk, err));
    int code = sql_run(desk, err, "DELETE FROM webhook_retry WHERE webhook = ?", "i", id);
    if (code == 0) code = sql_run(desk, err, "DELETE FROM webhook_dead WHERE webhook = ?", "i", id);
    if (code == 0) code = sql_run(desk, err, "DELETE FROM webhook WHERE id = ?", "i", id);
    if (code == 0) code = changed(desk, id, err);
    return sql_end(desk, code, err);
}

int webhook_dead(struct sql *desk, int64_t webhook, int64_t after, int64_t limit,
                 int (*each)(void *ctx, const struct webhook_letter *letter), void *ctx,
                 struct keel_error *err) {
    struct sql_rows rows;
    TRY(sql_ask(desk, &rows, err,
                "SELECT id, webhook, tries, first_ms, dead_ms, message_id, error, body"
                "  FROM webhook_dead WHERE (? = 0 OR webhook = ?) AND id > ? ORDER BY id LIMIT ?",
                "iiii", webhook, webhook, after, limit));
    int code;
    while ((code = sql_next(&rows, err)) == 1) {
        struct webhook_letter letter = {.id = sql_i64(&rows, 0),
                                        .webhook = sql_i64(&rows, 1),
                                        .tries = sql_i64(&rows, 2),
                                        .first_ms = sql_i64(&rows, 3),
                                        .dead_ms = sql_i64(&rows, 4),
                                        .message_id = sql_str(&rows, 5),
                                        .error = sql_str(&rows, 6),
                                        .body = sql_str(&rows, 7)};
        code = each(ctx, &letter);
        if (code < 0) break;
    }
    sql_done(&rows);
    return code;
}

int webhook_replay(struct sql *desk, int64_t webhook, int64_t letter, int64_t now_ms,
                   int64_t *out_count, struct keel_error *err) {
    TRY(sql_begin(desk, err));
    int code =
        sql_run(desk, err,
                "INSERT OR REPLACE INTO webhook_retry(webhook, message_id, body, tries,"
                "  first_ms, next_ms, error) SELECT webhook, message_id, body, 0, ?, ?, error"
                "  FROM webhook_dead WHERE webhook = ? AND (? = 0 OR id = ?)",
                "iiiii", now_ms, now_ms, webhook, letter, letter);
    if (code == 0)
        code =
            sql_run(desk, err, "DELETE FROM webhook_dead WHERE webhook = ? AND (? = 0 OR id = ?)",
                    "iii", webhook, letter, letter);
    int64_t count = code == 0 ? sql_changes(desk) : 0;
    if (code == 0 && letter && !count)
        code = error_set(err, KEEL_E_NOT_FOUND, "webhook %lld has no dead letter %lld",
                         (long long)webhook, (long long)letter);
    TRY(sql_end(desk, code, err));
    *out_count = count;
    return 0;
}

/* ---- trying ---- */

struct target {
    char url[WEBHOOK_URL_MAX + 1], secret[WEBHOOK_SECRET_TEXT];
};

static int copy_target(void *ctx, const struct webhook_row *row) {
    struct target *t = ctx;
    snprintf(t->url, sizeof t->url, "%.*s", STR_ARG(row->url));
    snprintf(t->secret, sizeof t->secret, "%.*s", STR_ARG(row->secret));
    return 0;
}

int webhook_test(struct sql *desk, int64_t id, bool allow_private, long *status,
                 struct keel_error *err) {
    const struct str body =
        STR("{\"type\":\"track\",\"event\":\"Webhook Test\",\"messageId\":\"evt_test\","
            "\"anonymousId\":\"nobody\",\"properties\":{}}");
    struct webhook_request q;
    struct target target;
    struct buf why;
    TRY(webhook_list(desk, id, copy_target, &target, err));
    TRY(webhook_request_init(&q, target.url, target.secret, "evt_test", body, allow_private,
                             WEBHOOK_TIMEOUT_MS, err));
    buf_init(&why, KEEL_ERROR_MAX);
    CURLcode code = curl_easy_perform(q.easy);
    *status = 0;
    (void)curl_easy_getinfo(q.easy, CURLINFO_RESPONSE_CODE, status);
    webhook_request_why(&q, code, *status, &why);
    int result = why.n ? error_set(err, KEEL_E_IO, "webhook %lld: %.*s", (long long)id, (int)why.n,
                                   (const char *)why.p)
                       : 0;
    buf_release(&why);
    webhook_request_release(&q);
    return result;
}
