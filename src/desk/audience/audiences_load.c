/* The table of segments against what is live: see audiences_int.h.
 *
 * A segment's meaning is a hash of its condition and of the conditions that it names. Whatever
 * changed in the table, what is filled anew are the segments whose meaning is another one. */
#include <roaring/roaring.h>

#include "base/hash.h"
#include "desk/audience/audiences_int.h"
#include "query/language/query_print.h"

enum { NUMBER_FROM_TABLE = -1 };

/* ---- meaning ---- */

struct meaning {
    struct audience_book *book;
    uint64_t hash;
    struct keel_error *err;
};

static int meaning_of(struct audience_book *book, const struct query_cond *cond, struct str text,
                      uint64_t *out, struct keel_error *err);

static int add_meaning(void *ctx, struct str name) {
    struct meaning *m = ctx;
    const struct query_cond *cond;
    uint64_t hash;
    TRY(audience_book_find(m->book, name, &cond, m->err));
    TRY(meaning_of(m->book, cond, name, &hash, m->err));
    m->hash = hash_mix(m->hash + hash);
    return 0;
}

/* text: what stands for the condition itself; of a named one its name, since the text behind it is
 * in its own meaning. */
static int meaning_of(struct audience_book *book, const struct query_cond *cond, struct str text,
                      uint64_t *out, struct keel_error *err) {
    struct buf print;
    buf_init(&print, QUERY_MAX_TEXT);
    int code = query_print_cond(cond, &print);
    struct meaning m = {book, hash_mix(hash_str(text) + hash64(print.p, print.n)), err};
    buf_release(&print);
    TRY(code);
    TRY(audience_names(cond, add_meaning, &m));
    *out = m.hash;
    return 0;
}

/* ---- the table ---- */

struct loading {
    struct audiences *a;
    struct audience_book book;
};

void audiences_set_state(struct audiences *a, struct saved *s, enum audience_state state,
                         const struct keel_error *err) {
    pthread_mutex_lock(&a->lock);
    s->state = state;
    k_free(s->error);
    s->error = err ? k_strdup(err->message) : NULL;
    pthread_cond_broadcast(&a->settled);
    pthread_mutex_unlock(&a->lock);
}

static struct saved *add_saved(struct audiences *a, int64_t id) {
    struct saved *s = k_zalloc(sizeof *s), **last = &a->list;
    s->id = id;
    s->slot = NO_SLOT;
    s->number = NUMBER_FROM_TABLE;
    s->noted_size = -1;
    s->first = true;
    s->members = roaring_bitmap_create();
    pthread_mutex_lock(&a->lock);
    while (*last) last = &(*last)->next;
    *last = s;
    pthread_mutex_unlock(&a->lock);
    return s;
}

static int load_row(void *ctx, const struct audience_row *row) {
    struct loading *l = ctx;
    struct audiences *a = l->a;
    struct keel_error err = {0};
    const struct query_cond *cond;
    uint64_t meaning = 0;
    struct saved *s = audiences_find(a, row->id);
    if (!s) s = add_saved(a, row->id);
    s->listed = true;
    int code = audience_book_find(&l->book, row->name, &cond, &err);
    if (code == 0) code = meaning_of(&l->book, cond, STR(""), &meaning, &err);
    pthread_mutex_lock(&a->lock);
    k_free(s->name);
    s->name = k_zalloc(row->name.n + 1);
    memcpy(s->name, row->name.p, row->name.n);
    s->version = row->version;
    s->meaning = meaning;
    s->waits = code == 0 && meaning != s->filled;
    bool as_it_was = code == 0 && !s->waits && s->slot != NO_SLOT && !a->starting;
    if (as_it_was) { /* its words about itself, or what it says in other words */
        s->live_version = s->version;
        s->state = AUDIENCE_LIVE;
    }
    pthread_cond_broadcast(&a->settled);
    pthread_mutex_unlock(&a->lock);
    if (code < 0)
        audiences_set_state(a, s, AUDIENCE_FAILED, &err);
    else if (s->waits)
        audiences_set_state(a, s, AUDIENCE_FILLING, NULL);
    return 0;
}

static void forget(struct audiences *a, struct saved *s) {
    struct write *w = k_zalloc(sizeof *w);
    w->kind = WRITE_FORGET;
    w->segment = s->id;
    audiences_enqueue(a, w);
    if (s->slot != NO_SLOT) {
        a->by_slot[s->slot] = NULL;
        live_remove(a->live, s->slot);
    }
    audiences_drop(s);
}

static void forget_unlisted(struct audiences *a) {
    for (struct saved **at = &a->list; *at;) {
        struct saved *s = *at;
        if (s->listed) {
            at = &s->next;
            continue;
        }
        pthread_mutex_lock(&a->lock);
        *at = s->next;
        pthread_cond_broadcast(&a->settled);
        pthread_mutex_unlock(&a->lock);
        forget(a, s);
    }
}

/* Changes with everything that anybody writes into the table. */
static int stamp_of(struct sql *desk, int64_t *out, struct keel_error *err) {
    int64_t versions;
    TRY(sql_number(desk, 0, &versions, err, "SELECT total(version) FROM audience", ""));
    TRY(sql_number(desk, 0, out, err, "SELECT count(*) FROM audience_version", ""));
    *out = (int64_t)(hash_mix((uint64_t)*out) + (uint64_t)versions);
    return 0;
}

int audiences_load(struct audiences *a, struct keel_error *err) {
    struct loading l = {.a = a};
    int64_t stamp;
    TRY(stamp_of(a->desk, &stamp, err));
    if (a->loaded && stamp == a->stamp) return 0;
    for (struct saved *s = a->list; s; s = s->next) s->listed = false;
    audience_book_init(&l.book, a->desk);
    int code = audience_list(a->desk, 0, load_row, &l, err);
    audience_book_release(&l.book);
    if (code == 0) forget_unlisted(a);
    a->loaded = code == 0;
    a->stamp = stamp;
    return code;
}

/* ---- the start ---- */

/* A number that means somebody else by now (the journal of its making was lost) is left out. */
static int replay(void *ctx, const struct outbox_change *c) {
    struct audiences *a = ctx;
    enum id_kind kind;
    struct saved *s = audiences_find(a, c->segment);
    if (!s || s->number < 0 || c->number <= s->number) return 0;
    struct store_version *v = store_version_hold(db_store(a->options.db));
    bool known = c->customer < store_version_redirects(v)->numbers;
    store_version_release(v);
    if (!known || !str_eq(identity_id(db_identity(a->options.db), c->customer, &kind), c->id) ||
        kind != c->kind)
        return 0;
    if (c->entered)
        roaring_bitmap_add(s->members, c->customer);
    else
        roaring_bitmap_remove(s->members, c->customer);
    return 0;
}

static int load_members(struct audiences *a, struct saved *s, uint32_t numbers, int64_t *oldest,
                        struct keel_error *err) {
    roaring_bitmap_t *members;
    TRY(outbox_members(a->desk, s->id, &s->live_version, &s->number, &members, err));
    TRY(sql_number(a->desk, -1, &s->noted_size, err,
                   "SELECT size FROM audience_size WHERE audience = ? ORDER BY at_ms DESC LIMIT 1",
                   "i", s->id));
    if (!members) return 0;
    s->first = false;
    roaring_bitmap_remove_range(members, numbers, (uint64_t)UINT32_MAX + 1);
    roaring_bitmap_free(s->members);
    s->members = members;
    if (s->number < *oldest) *oldest = s->number;
    return 0;
}

uint32_t audiences_place(struct audiences *a, struct saved *s) {
    struct keel_error err = {0};
    const struct query_cond *cond;
    uint32_t slot = NO_SLOT;
    int code = audience_book_find(&a->book, str_from(s->name), &cond, &err);
    if (code == 0)
        code = a->starting ? live_expect(a->live, cond, s->first ? NULL : s->members, &slot, &err)
                           : live_start(a->live, cond, &slot, &err);
    if (code == 0) return slot;
    s->waits = false; /* until it is changed, or the server starts again */
    audiences_set_state(a, s, AUDIENCE_FAILED, &err);
    return NO_SLOT;
}

int audiences_begin(struct audiences *a, struct keel_error *err) {
    struct store_version *v = store_version_hold(db_store(a->options.db));
    uint32_t numbers = store_version_redirects(v)->numbers;
    int64_t oldest = INT64_MAX;
    int code = 0;
    store_version_release(v);
    for (struct saved *s = a->list; s && code == 0; s = s->next)
        code = load_members(a, s, numbers, &oldest, err);
    if (code == 0 && oldest != INT64_MAX)
        code = outbox_read(a->desk, oldest, UINT32_MAX, replay, a, NULL, err);
    TRY(code);
    audience_book_init(&a->book, a->desk);
    for (struct saved *s = a->list; s; s = s->next) {
        if (!s->waits) continue;
        s->slot = audiences_place(a, s);
        if (s->slot == NO_SLOT) continue;
        roaring_bitmap_free(s->members);
        s->members = NULL;
        a->by_slot[s->slot] = s;
        s->filled = s->meaning;
        s->waits = false;
    }
    audience_book_release(&a->book);
    return 0;
}
