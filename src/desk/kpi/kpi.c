/* KPIs in desk.db: versions, the definitions in force, their tree. See kpi.h.
 *
 *   kpi_edit(kind, id, version, at_ms, who, body)   body NULL: removed. Never changed, only added
 * to.
 *
 * The definitions of a moment are the newest versions up to it, so nothing is kept twice.
 *
 * Layers: base/sql.h, toml_reader.h. Threads: as kpi.h says; one transaction a change.
 */
#include "desk/kpi/kpi_int.h"

#include "desk/kpi/touchpoint.h"

static const char *const STEPS[] = {
    "CREATE TABLE kpi_edit("
    " kind INTEGER NOT NULL, id TEXT NOT NULL, version INTEGER NOT NULL, at_ms INTEGER NOT NULL,"
    " who TEXT NOT NULL, body TEXT, PRIMARY KEY(kind, id, version))",
    /* kpi/history.h */
    "CREATE TABLE kpi_value("
    " id TEXT NOT NULL, grain INTEGER NOT NULL, day INTEGER NOT NULL, computed_ms INTEGER NOT NULL,"
    " checked_ms INTEGER NOT NULL, asked_ms INTEGER NOT NULL, value REAL, complete INTEGER NOT "
    "NULL,"
    " version INTEGER NOT NULL, query_hash TEXT NOT NULL, events INTEGER, merged INTEGER NOT NULL,"
    " merge_mark INTEGER NOT NULL, PRIMARY KEY(id, grain, day, computed_ms)) WITHOUT ROWID",
    "ALTER TABLE kpi_value ADD COLUMN fewest REAL", /* NULL, of old rows: not known */
};

int kpi_tables(struct sql *desk, struct keel_error *err) {
    return sql_migrate(desk, "kpi", STEPS, sizeof STEPS / sizeof *STEPS, err);
}

/* ---- the set ---- */

int kpi_find(const struct kpi_set *set, struct str id) {
    for (uint32_t i = 0; i < set->n; i++)
        if (str_eq(set->kpi[i].id, id)) return (int)i;
    return KPI_NONE;
}

int kpi_need(const struct kpi_set *set, struct str id, int *out, struct keel_error *err) {
    *out = kpi_find(set, id);
    if (*out != KPI_NONE) return 0;
    FAIL(err, NOT_FOUND, "there is no KPI \"%.*s\"", (int)(id.n < 100 ? id.n : 100), id.p);
}

bool kpi_is_root(const struct kpi_set *set, int kpi) {
    for (uint32_t i = 0; i < set->n; i++)
        for (uint32_t k = 0; k < set->kpi[i].n_parts; k++)
            if (set->kpi[i].parts[k].kpi == kpi) return false;
    return true;
}

void kpi_set_free(struct kpi_set *set) { arena_release(&set->arena); }

static int too_deep(const struct kpi *k, struct keel_error *err) {
    FAIL(err, INVALID, "the KPI \"%.*s\" is made of itself, or its tree is deeper than %d levels",
         STR_ARG(k->id), KPI_MAX_DEPTH);
}

/* Hashes of what is computed, from the leaves up; `depth` bounds the recursion and finds circles.
 */
static int settle_tree(struct kpi_set *set, struct kpi *k, int depth, struct keel_error *err) {
    struct buf text;
    if (k->query_hash[0]) return 0;
    if (depth > KPI_MAX_DEPTH) return too_deep(k, err);
    buf_init(&text, QUERY_MAX_TEXT + 4096);
    if (k->form == KPI_QUERY) {
        (void)!buf_add_str(&text, k->query ? k->query->text : k->body);
    } else {
        (void)!buf_add_text(&text, KPI_FORM_NAMES[k->form]);
        for (uint32_t i = 0; i < k->n_parts; i++) {
            struct kpi_part *part = &k->parts[i];
            part->kpi = kpi_find(set, part->id);
            int code = 0;
            if (part->kpi == KPI_NONE)
                code = error_set(err, KEEL_E_INVALID,
                                 "the KPI \"%.*s\" is made of \"%.*s\", which does not exist",
                                 STR_ARG(k->id), STR_ARG(part->id));
            else
                code = settle_tree(set, &set->kpi[part->kpi], depth + 1, err);
            if (code < 0) {
                buf_release(&text);
                return code;
            }
            if (k->levels <= set->kpi[part->kpi].levels) k->levels = set->kpi[part->kpi].levels + 1;
            (void)buf_printf(&text, " %s%s", part->minus ? "-" : "",
                             set->kpi[part->kpi].query_hash);
        }
    }
    kpi_hash(buf_str(&text), k->query_hash);
    buf_release(&text);
    return k->levels >= KPI_MAX_DEPTH ? too_deep(k, err) : 0;
}

/* A definition that an older or newer program wrote, and this one does not understand, must not
 * hide the others. */
static void read_stored(struct kpi_set *set, struct kpi *k, struct str id, struct str body) {
    struct keel_error why = {0};
    struct toml_reader r = {.name = "desk.db: kpi_edit", .arena = &set->arena, .err = &why};
    const struct toml_node *root;
    r.within = str_dup(&set->arena, id);
    int code = toml_reader_open(&r, body, KPI_MAX_BYTES, &root);
    if (code == 0) code = kpi_read(&r, root, k);
    toml_reader_close(&r);
    if (code == 0) return;
    struct str none = {"", 0};
    *k = (struct kpi){.id = r.within, .name = r.within, .description = none, .who = none};
    k->owner_marketing = k->owner_it = k->currency = none;
    k->body = str_dup(&set->arena, body);
    k->broken = str_dup(&set->arena, str_from(why.message));
    kpi_hash(k->body, k->hash);
}

static int read_rows(struct kpi_set *set, struct sql_rows *rows, struct keel_error *err) {
    int code;
    while ((code = sql_next(rows, err)) == 1) {
        if (set->n == KPI_MAX) FAIL(err, LIMIT, "there are more than %d KPIs", KPI_MAX);
        struct kpi *k = &set->kpi[set->n++];
        read_stored(set, k, sql_str(rows, 0), sql_str(rows, 4));
        k->version = sql_i64(rows, 1);
        k->changed_ms = sql_i64(rows, 2);
        k->who = str_dup(&set->arena, sql_str(rows, 3));
    }
    return code;
}

int kpi_set_load(struct sql *desk, int64_t at_ms, struct kpi_set *out, struct keel_error *err) {
    struct sql_rows rows;
    *out = (struct kpi_set){0};
    arena_init(&out->arena, KPI_ARENA_BYTES);
    out->kpi = arena_zalloc(&out->arena, KPI_MAX * sizeof *out->kpi);
    TRY(sql_ask(desk, &rows, err,
                "SELECT e.id, e.version, e.at_ms, e.who, e.body FROM kpi_edit e"
                " WHERE e.kind = 1 AND e.body IS NOT NULL AND e.version = (SELECT max(version)"
                "  FROM kpi_edit n WHERE n.kind = 1 AND n.id = e.id AND n.at_ms <= ?)"
                " ORDER BY (SELECT min(f.rowid) FROM kpi_edit f WHERE f.kind = 1 AND f.id = e.id)",
                "i", at_ms));
    int code = read_rows(out, &rows, err);
    sql_done(&rows);
    for (uint32_t i = 0; i < out->n && code == 0; i++)
        code = settle_tree(out, &out->kpi[i], 1, err);
    return code;
}

/* ---- changes ---- */

int kpi_admit(const struct kpi_change *change, const struct query *q, struct keel_error *err) {
    return change->admit && q ? change->admit(change->admit_ctx, q, err) : 0;
}

int kpi_note_edit(struct sql *desk, enum kpi_kind kind, struct str id, struct str body,
                  const struct kpi_change *change, bool *added, bool *changed,
                  struct keel_error *err) {
    struct sql_rows rows;
    int64_t version = 0;
    bool there = false, same = false;
    TRY(sql_ask(desk, &rows, err,
                "SELECT version, body FROM kpi_edit WHERE kind = ? AND id = ?"
                " ORDER BY version DESC LIMIT 1",
                "is", (int64_t)kind, id));
    int code = sql_next(&rows, err);
    if (code == 1) {
        version = sql_i64(&rows, 0);
        there = !sql_is_null(&rows, 1);
        same = body.p && there && str_eq(sql_str(&rows, 1), body);
    }
    sql_done(&rows);
    if (code < 0) return code;
    *added = !there;
    *changed = !same;
    if (there && !(change->how & KPI_REPLACE))
        FAIL(err, EXISTS, "there is a \"%.*s\" already", STR_ARG(id));
    if (!there && !(change->how & KPI_ADD))
        FAIL(err, NOT_FOUND, "there is no \"%.*s\"", STR_ARG(id));
    if (change->must_be && (!there || change->must_be != version))
        FAIL(err, CONFLICT, "\"%.*s\" was changed meanwhile: it has version %lld, not %lld",
             STR_ARG(id), (long long)version, (long long)change->must_be);
    if (same) return 0;
    return sql_run(desk, err,
                   "INSERT INTO kpi_edit(kind, id, version, at_ms, who, body)"
                   " VALUES(?, ?, ?, ?, ?, ?)",
                   "isiiss", (int64_t)kind, id, version + 1, change->at_ms, change->who, body);
}

/* What is in force after the change must hold together; else the transaction is rolled back. */
static int check_all(struct sql *desk, struct keel_error *err) {
    struct kpi_set set;
    int code = kpi_set_load(desk, KPI_NOW, &set, err);
    kpi_set_free(&set);
    return code;
}

int kpi_put(struct sql *desk, struct str text, struct str id, const struct kpi_change *change,
            struct arena *arena, struct str *out_id, struct keel_error *err) {
    struct toml_reader r = {.name = "the KPI", .arena = arena, .err = err, .within = id};
    const struct toml_node *root;
    struct kpi k;
    bool added, changed;
    TRY(toml_reader_open(&r, text, KPI_MAX_BYTES, &root));
    int code = 0;
    const struct toml_node *own = toml_get(root, "id");
    if (own) {
        struct str given;
        code = toml_read_text(&r, own, &given);
        if (code == 0 && id.n && !str_eq(given, id))
            code = toml_refuse(&r, own, "the id is \"%.*s\" here and \"%.*s\" in the address",
                               STR_ARG(given), STR_ARG(id));
        if (code == 0) r.within = given;
    }
    if (code == 0 && r.within.n == 0) code = toml_refuse(&r, root, "id is missing");
    if (code == 0) code = kpi_read(&r, root, &k);
    toml_reader_close(&r);
    if (code == 0) code = kpi_admit(change, k.query, err);
    TRY(code);
    TRY(sql_begin(desk, err));
    code = kpi_note_edit(desk, KPI_KIND_KPI, k.id, k.body, change, &added, &changed, err);
    if (code == 0) code = check_all(desk, err);
    if (code == 0 && out_id) *out_id = k.id;
    return sql_end(desk, code, err);
}

/* ---- files ---- */

static int apply_table(struct sql *desk, struct toml_reader *r, const struct toml_node *table,
                       enum kpi_kind kind, const struct kpi_change *change,
                       struct kpi_applied *out) {
    if (table->type != TOML_TABLE)
        return toml_refuse(r, table, "%.*s is a table by id", STR_ARG(table->key));
    for (const struct toml_node *node = table->first; node; node = node->next) {
        bool added = false, changed = false;
        struct str body;
        struct kpi k;
        r->within = str_dup(r->arena, node->key);
        if (kind == KPI_KIND_KPI) {
            TRY(kpi_read(r, node, &k));
            TRY(kpi_admit(change, k.query, r->err));
            body = k.body;
        } else {
            TRY(touchpoint_read(r, node, change, &body));
            out->touchpoints++;
        }
        TRY(kpi_note_edit(desk, kind, r->within, body, change, &added, &changed, r->err));
        if (kind != KPI_KIND_KPI) continue;
        out->added += added;
        out->changed += changed && !added;
        out->same += !changed;
    }
    r->within = (struct str){"", 0};
    return 0;
}

static int apply_tree(struct sql *desk, struct toml_reader *r, const struct toml_node *root,
                      const struct kpi_change *change, struct kpi_applied *out) {
    if (root->type != TOML_TABLE) return toml_refuse(r, root, "a file of KPIs is an object");
    for (const struct toml_node *m = root->first; m; m = m->next) {
        if (str_is(m->key, "kpi"))
            TRY(apply_table(desk, r, m, KPI_KIND_KPI, change, out));
        else if (str_is(m->key, "touchpoint"))
            TRY(apply_table(desk, r, m, KPI_KIND_TOUCHPOINT, change, out));
        else
            return toml_refuse(r, m, "\"%.*s\" is nothing that a file of KPIs has: kpi, touchpoint",
                               (int)(m->key.n < KPI_MAX_NAME ? m->key.n : KPI_MAX_NAME), m->key.p);
    }
    return check_all(desk, r->err);
}

int kpi_apply(struct sql *desk, struct str text, const char *name, const struct kpi_change *change,
              struct kpi_applied *out, struct keel_error *err) {
    struct arena arena;
    struct toml_reader r = {.name = name, .arena = &arena, .err = err, .within = {"", 0}};
    const struct toml_node *root;
    *out = (struct kpi_applied){0};
    arena_init(&arena, KPI_ARENA_BYTES);
    int code = toml_reader_open(&r, text, (size_t)KPI_MAX_BYTES * 4, &root);
    if (code == 0) code = sql_begin(desk, err);
    if (code == 0) code = sql_end(desk, apply_tree(desk, &r, root, change, out), err);
    toml_reader_close(&r);
    arena_release(&arena);
    return code;
}

int kpi_remove(struct sql *desk, struct str id, const struct kpi_change *change,
               struct keel_error *err) {
    const struct kpi_change removal = {
        .who = change->who, .at_ms = change->at_ms, .how = KPI_REPLACE, .must_be = change->must_be};
    bool added, changed;
    TRY(sql_begin(desk, err));
    int code = kpi_note_edit(desk, KPI_KIND_KPI, id, (struct str){NULL, 0}, &removal, &added,
                             &changed, err);
    if (code == 0) {
        code = check_all(desk, err);
        if (code == -KEEL_E_INVALID) {
            code = -KEEL_E_CONFLICT;
            if (err) err->code = code;
            code = error_context(err, code, "\"%.*s\" cannot be removed", STR_ARG(id));
        }
    }
    return sql_end(desk, code, err);
}

int kpi_edits(struct sql *desk, struct str id, uint32_t limit,
              int (*each)(void *ctx, const struct kpi_edit *edit), void *ctx,
              struct keel_error *err) {
    struct sql_rows rows;
    int code;
    TRY(sql_ask(desk, &rows, err,
                "SELECT version, at_ms, who, body FROM kpi_edit WHERE kind = 1 AND id = ?"
                " ORDER BY version DESC LIMIT ?",
                "si", id, (int64_t)limit));
    while ((code = sql_next(&rows, err)) == 1) {
        const struct kpi_edit edit = {sql_i64(&rows, 0), sql_i64(&rows, 1), sql_str(&rows, 2),
                                      sql_str(&rows, 3)};
        code = each(ctx, &edit);
        if (code < 0) break;
    }
    sql_done(&rows);
    return code;
}
