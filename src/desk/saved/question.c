/* Implementation of question.h. */
#include "desk/saved/question.h"

#include "base/buf.h"
#include "base/time.h"
#include "desk/saved/name.h"

static const char *const STEPS[] = {
    "CREATE TABLE question(id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE,"
    "  version INTEGER NOT NULL, query TEXT NOT NULL, description TEXT NOT NULL,"
    "  owner TEXT NOT NULL, side TEXT NOT NULL, who TEXT NOT NULL, created_ms INTEGER NOT NULL,"
    "  changed_ms INTEGER NOT NULL);",
};

int question_tables(struct sql *desk, struct keel_error *err) {
    return sql_migrate(desk, "question", STEPS, sizeof STEPS / sizeof *STEPS, err);
}

/* ---- reading ---- */

static struct question_row row_of(const struct sql_rows *rows) {
    struct question_row row = {.id = sql_i64(rows, 0),
                               .version = sql_i64(rows, 1),
                               .created_ms = sql_i64(rows, 2),
                               .changed_ms = sql_i64(rows, 3),
                               .name = sql_str(rows, 4),
                               .query = sql_str(rows, 5),
                               .description = sql_str(rows, 6),
                               .owner = sql_str(rows, 7),
                               .who = sql_str(rows, 9)};
    (void)side_by_text(sql_str(rows, 8), &row.side); /* one of a newer keel: neither */
    return row;
}

static int each_row(struct sql_rows *rows, uint64_t *found, question_each *each, void *ctx,
                    struct keel_error *err) {
    int code;
    while ((code = sql_next(rows, err)) == 1) {
        struct question_row row = row_of(rows);
        ++*found;
        code = each(ctx, &row);
        if (code < 0) break;
    }
    sql_done(rows);
    return code;
}

int question_list(struct sql *desk, int64_t after, int64_t limit, question_each *each, void *ctx,
                  struct keel_error *err) {
    struct sql_rows rows;
    uint64_t found = 0;
    TRY(sql_ask(desk, &rows, err,
                "SELECT id, version, created_ms, changed_ms, name, query, description, owner,"
                "  side, who FROM question WHERE id > ? ORDER BY id LIMIT ?",
                "ii", after, limit));
    return each_row(&rows, &found, each, ctx, err);
}

static int none(int64_t id, struct keel_error *err) {
    FAIL(err, NOT_FOUND, "there is no question %lld", (long long)id);
}

int question_get(struct sql *desk, int64_t id, question_each *each, void *ctx,
                 struct keel_error *err) {
    struct sql_rows rows;
    uint64_t found = 0;
    TRY(sql_ask(desk, &rows, err,
                "SELECT id, version, created_ms, changed_ms, name, query, description, owner,"
                "  side, who FROM question WHERE id = ?",
                "i", id));
    TRY(each_row(&rows, &found, each, ctx, err));
    return found ? 0 : none(id, err);
}

int question_find(struct sql *desk, struct str which, int64_t *out_id, struct keel_error *err) {
    struct sql_rows rows;
    int64_t id = 0;
    TRY(sql_number(desk, 0, &id, err, "SELECT id FROM question WHERE name = ?", "s", which));
    if (id == 0 && str_to_i64(which, &id))
        TRY(sql_number(desk, 0, &id, err, "SELECT id FROM question WHERE id = ?", "i", id));
    if (id == 0) {
        TRY(sql_ask(desk, &rows, err, "SELECT name FROM question", ""));
        return name_missing(which, "question", &rows, err);
    }
    *out_id = id;
    return 0;
}

/* ---- writing ---- */

static int check_row(const struct question_row *row, struct keel_error *err) {
    TRY(name_check(row->name, "question", err));
    TRY(name_check_text(row->description, "description", NAME_TEXT_BYTES, err));
    return name_check_text(row->owner, "owner", NAME_TEXT_BYTES, err);
}

static void put(struct str *to, struct str from) {
    if (from.p) *to = from;
    if (!to->p) *to = STR("");
}

static int put_spec(struct question_row *row, const struct question_spec *spec,
                    struct keel_error *err) {
    put(&row->name, spec->name);
    put(&row->description, spec->description);
    put(&row->owner, spec->owner);
    row->who = spec->who.p ? spec->who : STR("");
    if (spec->query) row->query = spec->query->text;
    if (spec->side.p && spec->side.n == 0) row->side = SIDE_NEITHER;
    if (spec->side.n && !side_by_text(spec->side, &row->side))
        FAIL(err, INVALID, "a question is of the side marketing, it or neither, not \"%.*s\"",
             (int)(spec->side.n < 40 ? spec->side.n : 40), spec->side.p);
    return check_row(row, err);
}

static int name_taken(int code, struct str name, struct keel_error *err) {
    if (code != -KEEL_E_EXISTS) return code;
    FAIL(err, EXISTS, "there is a question \"%.*s\" already", STR_ARG(name));
}

static int insert(struct sql *desk, const struct question_row *row, struct keel_error *err) {
    int64_t count = 0;
    TRY(sql_number(desk, 0, &count, err, "SELECT count(*) FROM question", ""));
    if (count >= QUESTION_MOST) FAIL(err, LIMIT, "there are %d questions already", QUESTION_MOST);
    int code = sql_run(desk, err,
                       "INSERT INTO question(name, version, query, description, owner, side, who,"
                       "  created_ms, changed_ms) VALUES(?, 1, ?, ?, ?, ?, ?, ?, ?)",
                       "sssszsii", row->name, row->query, row->description, row->owner,
                       side_text(row->side), row->who, row->created_ms, row->changed_ms);
    return name_taken(code, row->name, err);
}

int question_add(struct sql *desk, const struct question_spec *spec, int64_t now_ms,
                 int64_t *out_id, struct keel_error *err) {
    struct question_row row = {.created_ms = now_ms, .changed_ms = now_ms};
    if (!spec->query) FAIL(err, INVALID, "there is no question to be saved");
    TRY(put_spec(&row, spec, err));
    TRY(sql_begin(desk, err));
    int code = insert(desk, &row, err);
    int64_t id = sql_last_id(desk);
    TRY(sql_end(desk, code, err));
    *out_id = id;
    return 0;
}

struct found {
    struct arena *arena;
    struct question_row row;
};

static int copy_row(void *ctx, const struct question_row *row) {
    struct found *f = ctx;
    f->row = *row;
    struct str *texts[] = {&f->row.name, &f->row.query, &f->row.description, &f->row.owner,
                           &f->row.who};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        *texts[i] = str_dup(f->arena, *texts[i]);
    return 0;
}

static bool same_rows(const struct question_row *a, const struct question_row *b) {
    return str_eq(a->name, b->name) && str_eq(a->query, b->query) &&
           str_eq(a->description, b->description) && str_eq(a->owner, b->owner) &&
           a->side == b->side;
}

/* In a transaction. */
static int update(struct sql *desk, int64_t id, const struct question_spec *spec, int64_t now_ms,
                  struct arena *arena, struct keel_error *err) {
    struct found f = {.arena = arena};
    TRY(question_get(desk, id, copy_row, &f, err));
    if (spec->if_version && spec->if_version != f.row.version)
        FAIL(err, CONFLICT, "question %lld has version %lld by now, not %lld: look at it again",
             (long long)id, (long long)f.row.version, (long long)spec->if_version);
    struct question_row row = f.row;
    TRY(put_spec(&row, spec, err));
    if (same_rows(&row, &f.row)) return 0;
    int code =
        sql_run(desk, err,
                "UPDATE question SET name = ?, version = version + 1, query = ?, description = ?,"
                "  owner = ?, side = ?, who = ?, changed_ms = ? WHERE id = ?",
                "sssszsii", row.name, row.query, row.description, row.owner, side_text(row.side),
                row.who, now_ms, id);
    return name_taken(code, row.name, err);
}

int question_change(struct sql *desk, int64_t id, const struct question_spec *spec, int64_t now_ms,
                    struct keel_error *err) {
    struct arena arena;
    TRY(sql_begin(desk, err));
    arena_init(&arena, 1 << 20);
    int code = update(desk, id, spec, now_ms, &arena, err);
    arena_release(&arena);
    return sql_end(desk, code, err);
}

int question_remove(struct sql *desk, int64_t id, struct keel_error *err) {
    TRY(sql_begin(desk, err)); /* keeps the count of changes ours */
    int code = sql_run(desk, err, "DELETE FROM question WHERE id = ?", "i", id);
    if (code == 0 && sql_changes(desk) == 0) code = none(id, err);
    return sql_end(desk, code, err);
}

/* ---- showing ---- */

static void member(const char *name, struct str text, struct buf *out) {
    (void)!buf_printf(out, ",\"%s\":", name);
    (void)!buf_add_json_str(out, text);
}

static void member_ms(const char *name, int64_t ms, struct buf *out) {
    char text[TIME_TEXT_MAX];
    member(name, (struct str){text, time_format(NULL, ms, text)}, out);
}

void question_json(const struct question_row *row, struct buf *out) {
    (void)!buf_printf(out, "{\"id\":%lld", (long long)row->id);
    member("name", row->name, out);
    member("description", row->description, out);
    member("owner", row->owner, out);
    member("side", str_from(side_text(row->side)), out);
    (void)!buf_printf(out, ",\"version\":%lld", (long long)row->version);
    member("query", row->query, out);
    member_ms("created_at", row->created_ms, out);
    member_ms("changed_at", row->changed_ms, out);
    member("changed_by", row->who, out);
    (void)!buf_add_char(out, '}');
}
