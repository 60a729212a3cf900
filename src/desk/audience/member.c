/* Implementation of audience/member.h. */
#include "desk/audience/member.h"

#include <roaring/roaring.h>

#include "base/csv.h"

void audience_member_json(struct identity *identity, uint32_t customer, struct buf *out) {
    enum id_kind kind;
    struct str id = identity_id(identity, customer, &kind);
    (void)!buf_printf(out, "\"customer\":%u,\"%s\":", customer,
                      kind == ID_USER ? "user_id" : "anonymous_id");
    (void)!buf_add_json_str(out, id);
}

static enum csv_texts texts_of(enum audience_form form) {
    return form == AUDIENCE_CSV_RAW ? CSV_RAW : CSV_SAFE;
}

struct owned {
    struct buf *out;
    uint32_t n;
};

static void add_owned(void *ctx, struct str anonymous_id) {
    struct owned *o = ctx;
    (void)!buf_add_text(o->out, o->n++ ? "," : ",\"anonymous_ids\":[");
    (void)!buf_add_json_str(o->out, anonymous_id);
}

void audience_member_head(enum audience_form form, const struct audience_traits *traits,
                          struct buf *out) {
    if (form == AUDIENCE_NDJSON) return;
    (void)!buf_add_text(out, "customer,user_id,anonymous_id");
    for (uint32_t i = 0; traits && i < traits->n; i++) {
        (void)!buf_add_char(out, ',');
        csv_add_text(out, traits->name[i], texts_of(form));
    }
    (void)!buf_add_char(out, '\n');
}

static const struct datum *value_of(const struct audience_traits *t, uint64_t row, uint32_t i,
                                    const char **out_sign) {
    const struct datum *v = result_cell(t->values, row, 1 + i);
    *out_sign = t->mask && v->type != DATUM_NULL ? t->mask(t->ctx, t->name[i], v) : NULL;
    return v;
}

/* Numbers and times stay as they are: only a text can be a formula. */
static void csv_traits(const struct audience_traits *t, uint64_t row, enum csv_texts texts,
                       struct buf *out) {
    struct buf text;
    buf_init(&text, RESULT_MAX_TEXT);
    for (uint32_t i = 0; i < t->n; i++) {
        const char *sign;
        const struct datum *v = value_of(t, row, i, &sign);
        (void)!buf_add_char(out, ',');
        if (v->type == DATUM_NULL) continue;
        buf_clear(&text);
        if (sign)
            (void)!buf_add(&text, sign + 1, strlen(sign) - 2); /* without its quotes */
        else
            (void)!datum_print(v, NULL, &text);
        bool typed = !sign && v->type != DATUM_STRING && v->type != DATUM_JSON;
        csv_add_text(out, buf_str(&text), typed ? CSV_RAW : texts);
    }
    buf_release(&text);
}

static void json_traits(const struct audience_traits *t, uint64_t row, struct buf *out) {
    bool first = true;
    (void)!buf_add_text(out, ",\"traits\":{");
    for (uint32_t i = 0; i < t->n; i++) {
        const char *sign;
        const struct datum *v = value_of(t, row, i, &sign);
        if (v->type == DATUM_NULL) continue;
        if (!first) (void)!buf_add_char(out, ',');
        first = false;
        (void)!buf_add_json_str(out, t->name[i]);
        (void)!buf_add_char(out, ':');
        if (sign)
            (void)!buf_add_text(out, sign);
        else
            (void)!datum_print_json(v, out);
    }
    (void)!buf_add_char(out, '}');
}

void audience_member_line(struct identity *identity, uint32_t customer, enum audience_form form,
                          const struct audience_traits *traits, uint64_t row, struct buf *out) {
    enum id_kind kind;
    struct str id = identity_id(identity, customer, &kind);
    struct owned owned = {.out = out};
    if (form != AUDIENCE_NDJSON) {
        (void)!buf_printf(out, "%u,", customer);
        if (kind == ID_ANONYMOUS) (void)!buf_add_char(out, ',');
        csv_add_text(out, id, texts_of(form));
        if (kind == ID_USER) (void)!buf_add_char(out, ',');
        if (traits) csv_traits(traits, row, texts_of(form), out);
        (void)!buf_add_char(out, '\n');
        return;
    }
    (void)!buf_add_char(out, '{');
    audience_member_json(identity, customer, out);
    if (kind == ID_USER) identity_owned(identity, id, add_owned, &owned);
    if (owned.n) (void)!buf_add_char(out, ']');
    if (traits) json_traits(traits, row, out);
    (void)!buf_add_text(out, "}\n");
}

/* ---- traits ---- */

static int read_names(struct str list, struct query_term *terms, uint32_t *n,
                      struct keel_error *err) {
    for (*n = 0; list.n;) {
        const char *comma = memchr(list.p, ',', list.n);
        size_t bytes = comma ? (size_t)(comma - list.p) : list.n;
        struct str name = str_trim((struct str){list.p, bytes});
        if (!name.n) FAIL(err, INVALID, "traits are names with commas between them");
        if (*n == AUDIENCE_TRAITS_MOST)
            FAIL(err, LIMIT, "more than %d traits; choose fewer", AUDIENCE_TRAITS_MOST);
        terms[(*n)++] = (struct query_term){.kind = QUERY_TERM_TRAIT,
                                            .prop = {.scope = QUERY_SCOPE_TRAIT, .path = name}};
        bytes += comma != NULL;
        list = (struct str){list.p + bytes, list.n - bytes};
    }
    if (!*n) FAIL(err, INVALID, "traits are names with commas between them");
    return 0;
}

static int ask(struct db *db, const struct snapshot *snap, struct query *q,
               const struct query_options *options, struct audience_traits *out,
               struct keel_error *err) {
    struct query_options all = *options;
    all.members = k_try_zalloc((snap->redirects.numbers / 64 + 1) * sizeof *all.members);
    if (!all.members) FAIL(err, NO_MEMORY, "too little memory for the members of a segment");
    int code = query_run(db, snap, q, &all, &out->values, err);
    if (code == 0) out->members = audience_member_set(all.members, snap->redirects.numbers);
    k_free(all.members);
    return code;
}

int audience_traits_ask(struct db *db, const struct snapshot *snap, struct str segment,
                        struct str traits, const struct query_options *options,
                        struct audience_traits *out, struct keel_error *err) {
    struct query_cond in = {.kind = QUERY_COND_SEGMENT, .segment = segment, .depth = 1};
    struct query_term terms[AUDIENCE_TRAITS_MOST];
    struct query q = {.form = QUERY_LIST, .where = &in, .limit = RESULT_MAX_ROWS};
    TRY(read_names(traits, terms, &q.list.n_columns, err));
    q.list.columns = terms;
    TRY(ask(db, snap, &q, options, out, err));
    out->n = q.list.n_columns;
    for (uint32_t i = 0; i < out->n; i++)
        out->name[i] = str_dup(&out->values->text, terms[i].prop.path);
    int code = 0;
    if (roaring_bitmap_get_cardinality(out->members) != out->values->n_rows)
        code = error_set(err, KEEL_E_LIMIT, "more than %d members; export them without traits",
                         RESULT_MAX_ROWS);
    for (uint32_t i = 0; i < out->values->n_notes && code == 0; i++) /* with what might be meant */
        if (str_starts(out->values->notes[i], STR("no trait ")))
            code = error_set(err, KEEL_E_NOT_FOUND, "%.*s", STR_ARG(out->values->notes[i]));
    if (code < 0) audience_traits_release(out);
    return code;
}

void audience_traits_release(struct audience_traits *t) {
    if (t->members) roaring_bitmap_free(t->members);
    result_free(t->values);
    *t = (struct audience_traits){0};
}

struct roaring_bitmap_s *audience_member_set(const uint64_t *bits, uint32_t count) {
    roaring_bitmap_t *set = roaring_bitmap_create();
    uint32_t values[1024], n = 0;
    for (uint32_t w = 0; w * 64 < count; w++)
        for (uint64_t m = bits[w]; m; m &= m - 1) {
            values[n++] = w * 64 + (uint32_t)__builtin_ctzll(m);
            if (n < sizeof values / sizeof *values) continue;
            roaring_bitmap_add_many(set, n, values);
            n = 0;
        }
    roaring_bitmap_add_many(set, n, values);
    return set;
}
