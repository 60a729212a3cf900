/* The tables of saved segments: see audience.h.
 *
 * `audience` has those of now, `audience_version` every version there ever was, also of those that
 * were removed: numbers are not given again. Layers: audience/book.c. Threads: any. */
#include "desk/audience/audience.h"

#include <stdio.h>

#include "desk/saved/name.h"
#include "query/language/parse.h"

static const char *const STEPS[] = {
    "CREATE TABLE audience(id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE,"
    "  version INTEGER NOT NULL, created_ms INTEGER NOT NULL);"
    "CREATE TABLE audience_version(audience INTEGER NOT NULL, version INTEGER NOT NULL,"
    "  name TEXT NOT NULL, query TEXT NOT NULL, hash TEXT NOT NULL, description TEXT NOT NULL,"
    "  purpose TEXT NOT NULL, owner_marketing TEXT NOT NULL, owner_it TEXT NOT NULL,"
    "  who TEXT NOT NULL, at_ms INTEGER NOT NULL, removed INTEGER NOT NULL,"
    "  PRIMARY KEY(audience, version)) WITHOUT ROWID;",
};

enum { ARENA_BYTES = 2 * QUERY_ARENA_BYTES, LISTED_NAMES = 3 };

int audience_tables(struct sql *desk, struct keel_error *err) {
    return sql_migrate(desk, "audience", STEPS, sizeof STEPS / sizeof *STEPS, err);
}

/* ---- reading ---- */

static struct audience_row row_of(const struct sql_rows *rows) {
    return (struct audience_row){.id = sql_i64(rows, 0),
                                 .version = sql_i64(rows, 1),
                                 .created_ms = sql_i64(rows, 2),
                                 .changed_ms = sql_i64(rows, 3),
                                 .name = sql_str(rows, 4),
                                 .query = sql_str(rows, 5),
                                 .hash = sql_str(rows, 6),
                                 .description = sql_str(rows, 7),
                                 .purpose = sql_str(rows, 8),
                                 .owner_marketing = sql_str(rows, 9),
                                 .owner_it = sql_str(rows, 10),
                                 .who = sql_str(rows, 11),
                                 .removed = sql_i64(rows, 12) != 0};
}

static int each_row(struct sql_rows *rows, uint64_t *found, audience_each *each, void *ctx,
                    struct keel_error *err) {
    int code;
    while ((code = sql_next(rows, err)) == 1) {
        struct audience_row row = row_of(rows);
        ++*found;
        code = each(ctx, &row);
        if (code < 0) break;
    }
    sql_done(rows);
    return code;
}

static int none(int64_t id, struct keel_error *err) {
    FAIL(err, NOT_FOUND, "there is no segment %lld", (long long)id);
}

int audience_list(struct sql *desk, int64_t only, audience_each *each, void *ctx,
                  struct keel_error *err) {
    struct sql_rows rows;
    uint64_t found = 0;
    TRY(sql_ask(desk, &rows, err,
                "SELECT a.id, a.version, a.created_ms, v.at_ms, v.name, v.query, v.hash,"
                "  v.description, v.purpose, v.owner_marketing, v.owner_it, v.who, v.removed"
                "  FROM audience a JOIN audience_version v"
                "    ON v.audience = a.id AND v.version = a.version"
                "  WHERE ? = 0 OR a.id = ? ORDER BY a.id",
                "ii", only, only));
    int code = each_row(&rows, &found, each, ctx, err);
    return code == 0 && only && !found ? none(only, err) : code;
}

int audience_versions(struct sql *desk, int64_t id, audience_each *each, void *ctx,
                      struct keel_error *err) {
    struct sql_rows rows;
    uint64_t found = 0;
    TRY(sql_ask(desk, &rows, err,
                "SELECT audience, version, (SELECT min(at_ms) FROM audience_version f"
                "    WHERE f.audience = v.audience), at_ms, name, query, hash, description,"
                "  purpose, owner_marketing, owner_it, who, removed FROM audience_version v"
                "  WHERE audience = ? ORDER BY version DESC",
                "i", id));
    int code = each_row(&rows, &found, each, ctx, err);
    return code == 0 && !found ? none(id, err) : code;
}

int audience_find(struct sql *desk, struct str which, int64_t *out_id, struct keel_error *err) {
    struct sql_rows rows;
    int64_t id = 0;
    TRY(sql_number(desk, 0, &id, err, "SELECT id FROM audience WHERE name = ?", "s", which));
    if (id == 0 && str_to_i64(which, &id))
        TRY(sql_number(desk, 0, &id, err, "SELECT id FROM audience WHERE id = ?", "i", id));
    if (id == 0) {
        TRY(sql_ask(desk, &rows, err, "SELECT name FROM audience", ""));
        return name_missing(which, "segment", &rows, err);
    }
    *out_id = id;
    return 0;
}

/* ---- who names whom ---- */

struct mention {
    struct str name;
    bool found;
};

static int is_mention(void *ctx, struct str name) {
    struct mention *m = ctx;
    m->found |= str_eq(m->name, name);
    return 0;
}

struct users {
    struct str name;
    uint32_t n;
    char text[3 * NAME_BYTES + 40];
    size_t used;
};

static int note_user(void *ctx, const struct audience_row *row) {
    struct users *u = ctx;
    struct arena arena;
    struct mention m = {.name = u->name};
    const struct query_cond *cond;
    struct str text;
    arena_init(&arena, ARENA_BYTES);
    int code = audience_read(row->query, &arena, &cond, &text, NULL);
    if (code == 0) code = audience_names(cond, is_mention, &m);
    arena_release(&arena);
    if (code < 0 || !m.found || u->n++ >= LISTED_NAMES) return code;
    if (u->n > 1) u->text[u->used++] = ',', u->text[u->used++] = ' ';
    u->text[u->used++] = '"';
    memcpy(u->text + u->used, row->name.p, row->name.n);
    u->used += row->name.n;
    u->text[u->used++] = '"';
    return 0;
}

static int refuse_if_used(struct sql *desk, struct str name, const char *what,
                          struct keel_error *err) {
    struct users u = {.name = name};
    TRY(audience_list(desk, 0, note_user, &u, err));
    if (u.n == 0) return 0;
    char more[32] = "";
    if (u.n > LISTED_NAMES) snprintf(more, sizeof more, " and %u more", u.n - LISTED_NAMES);
    FAIL(err, CONFLICT, "segment \"%.*s\" is named by %.*s%s; change these before it is %s",
         STR_ARG(name), (int)u.used, u.text, more, what);
}

/* ---- writing ---- */

struct others {
    struct audience_book *book;
    int64_t id;
    struct keel_error *err;
};

static int check_other(void *ctx, const struct audience_row *row) {
    struct others *o = ctx;
    const struct query_cond *cond;
    if (row->id == o->id) return 0;
    TRY(audience_book_find(o->book, row->name, &cond, o->err));
    return audience_book_check(o->book, row->name, cond, o->err);
}

/* Also what others mean that name it. */
static int check_row(struct sql *desk, const struct audience_row *row,
                     const struct query_cond *cond, struct keel_error *err) {
    struct audience_book book;
    struct others others = {&book, row->id, err};
    TRY(name_check(row->name, "segment", err));
    TRY(name_check_text(row->description, "description", NAME_TEXT_BYTES, err));
    TRY(name_check_text(row->purpose, "purpose", NAME_TEXT_BYTES, err));
    TRY(name_check_text(row->owner_marketing, "owner in marketing", NAME_TEXT_BYTES, err));
    TRY(name_check_text(row->owner_it, "owner in IT", NAME_TEXT_BYTES, err));
    audience_book_init(&book, desk);
    int code = audience_book_check(&book, row->name, cond, err);
    if (code == 0 && row->id) code = audience_list(desk, 0, check_other, &others, err);
    audience_book_release(&book);
    return code;
}

static int write_version(struct sql *desk, const struct audience_row *row, struct keel_error *err) {
    return sql_run(desk, err,
                   "INSERT INTO audience_version(audience, version, name, query, hash,"
                   "  description, purpose, owner_marketing, owner_it, who, at_ms, removed)"
                   "  VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                   "iissssssssii", row->id, row->version, row->name, row->query, row->hash,
                   row->description, row->purpose, row->owner_marketing, row->owner_it, row->who,
                   row->changed_ms, (int64_t)row->removed);
}

static int name_taken(int code, struct str name, struct keel_error *err) {
    if (code != -KEEL_E_EXISTS) return code;
    FAIL(err, EXISTS, "there is a segment \"%.*s\" already", STR_ARG(name));
}

static void put(struct str *to, struct str from) {
    if (from.p) *to = from;
    if (!to->p) *to = STR("");
}

static void put_spec(struct audience_row *row, const struct audience_spec *spec) {
    put(&row->name, spec->name);
    put(&row->description, spec->description);
    put(&row->purpose, spec->purpose);
    put(&row->owner_marketing, spec->owner_marketing);
    put(&row->owner_it, spec->owner_it);
    row->who = spec->who.p ? spec->who : STR("");
}

/* The condition of a spec, canonical, and its hash. */
static int put_query(struct audience_row *row, struct str query, struct arena *arena,
                     char hash[AUDIENCE_HASH_TEXT], const struct query_cond **out_cond,
                     struct keel_error *err) {
    TRY(audience_read(query, arena, out_cond, &row->query, err));
    audience_hash(row->query, hash);
    row->hash = str_from(hash);
    return 0;
}

static int insert(struct sql *desk, struct audience_row *row, struct keel_error *err) {
    int64_t count = 0;
    TRY(sql_number(desk, 0, &count, err, "SELECT count(*) FROM audience", ""));
    if (count >= AUDIENCE_MOST) FAIL(err, LIMIT, "there are %d segments already", AUDIENCE_MOST);
    int code = sql_run(desk, err, "INSERT INTO audience(name, version, created_ms) VALUES(?, 1, ?)",
                       "si", row->name, row->created_ms);
    TRY(name_taken(code, row->name, err));
    row->id = sql_last_id(desk);
    row->version = 1;
    return write_version(desk, row, err);
}

int audience_add(struct sql *desk, const struct audience_spec *spec, int64_t now_ms,
                 int64_t *out_id, struct keel_error *err) {
    struct audience_row row = {.created_ms = now_ms, .changed_ms = now_ms};
    char hash[AUDIENCE_HASH_TEXT];
    struct arena arena;
    const struct query_cond *cond;
    if (!spec->query.p) FAIL(err, INVALID, "the segment has no condition");
    put_spec(&row, spec);
    arena_init(&arena, ARENA_BYTES);
    int code = put_query(&row, spec->query, &arena, hash, &cond, err);
    if (code == 0) code = sql_begin(desk, err);
    if (code == 0) {
        code = check_row(desk, &row, cond, err);
        if (code == 0) code = insert(desk, &row, err);
        code = sql_end(desk, code, err);
    }
    arena_release(&arena);
    if (code == 0) *out_id = row.id;
    return code;
}

struct found {
    struct arena *arena;
    struct audience_row row;
};

static int copy_row(void *ctx, const struct audience_row *row) {
    struct found *f = ctx;
    f->row = *row;
    struct str *texts[] = {&f->row.name,     &f->row.query,      &f->row.hash,
                           &f->row.who,      &f->row.purpose,    &f->row.owner_marketing,
                           &f->row.owner_it, &f->row.description};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        *texts[i] = str_dup(f->arena, *texts[i]);
    return 0;
}

static bool same_rows(const struct audience_row *a, const struct audience_row *b) {
    return str_eq(a->name, b->name) && str_eq(a->query, b->query) &&
           str_eq(a->description, b->description) && str_eq(a->purpose, b->purpose) &&
           str_eq(a->owner_marketing, b->owner_marketing) && str_eq(a->owner_it, b->owner_it);
}

/* In a transaction. */
static int update(struct sql *desk, int64_t id, const struct audience_spec *spec, int64_t now_ms,
                  struct arena *arena, struct keel_error *err) {
    struct found f = {.arena = arena};
    char hash[AUDIENCE_HASH_TEXT];
    const struct query_cond *cond;
    TRY(audience_list(desk, id, copy_row, &f, err));
    if (spec->if_version && spec->if_version != f.row.version)
        FAIL(err, CONFLICT, "segment %lld has version %lld by now, not %lld: look at it again",
             (long long)id, (long long)f.row.version, (long long)spec->if_version);
    struct audience_row row = f.row;
    put_spec(&row, spec);
    TRY(put_query(&row, spec->query.p ? spec->query : row.query, arena, hash, &cond, err));
    if (same_rows(&row, &f.row)) return 0;
    if (!str_eq(row.name, f.row.name)) TRY(refuse_if_used(desk, f.row.name, "renamed", err));
    TRY(check_row(desk, &row, cond, err));
    row.version++;
    row.changed_ms = now_ms;
    int code = sql_run(desk, err, "UPDATE audience SET name = ?, version = ? WHERE id = ?", "sii",
                       row.name, row.version, id);
    TRY(name_taken(code, row.name, err));
    return write_version(desk, &row, err);
}

int audience_change(struct sql *desk, int64_t id, const struct audience_spec *spec, int64_t now_ms,
                    struct keel_error *err) {
    struct arena arena;
    TRY(sql_begin(desk, err));
    arena_init(&arena, ARENA_BYTES);
    int code = update(desk, id, spec, now_ms, &arena, err);
    arena_release(&arena);
    return sql_end(desk, code, err);
}

static int take_away(struct sql *desk, int64_t id, struct str who, int64_t now_ms,
                     struct arena *arena, struct keel_error *err) {
    struct found f = {.arena = arena};
    TRY(audience_list(desk, id, copy_row, &f, err));
    TRY(refuse_if_used(desk, f.row.name, "removed", err));
    f.row.version++;
    f.row.changed_ms = now_ms;
    f.row.who = who.p ? who : STR("");
    f.row.removed = true;
    TRY(write_version(desk, &f.row, err));
    return sql_run(desk, err, "DELETE FROM audience WHERE id = ?", "i", id);
}

int audience_remove(struct sql *desk, int64_t id, struct str who, int64_t now_ms,
                    struct keel_error *err) {
    struct arena arena;
    TRY(sql_begin(desk, err));
    arena_init(&arena, 1 << 20);
    int code = take_away(desk, id, who, now_ms, &arena, err);
    arena_release(&arena);
    return sql_end(desk, code, err);
}
