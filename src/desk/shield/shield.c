/* Implementation of shield.h: the memory of sets, and asking.
 *
 * A sketch: each customer's hash is entered into one cell of each of three parts of the table; a
 * cell counts its entries and keeps the sum (xor) of their hashes. Of the difference of two
 * sketches, a cell with a single entry names it; taking that out of its other cells may leave
 * others single, and so on. If everything can be taken out, that was the whole difference. */
#include "desk/shield/shield_int.h"

#include <pthread.h>

#include "base/hash.h"
#include "base/os.h"
#include "query/language/parse.h"
#include "query/language/query_print.h"

enum { PARTS = 3, PART_CELLS = SHIELD_CELLS / PARTS, TOP_KNOWN = 100000 };

_Static_assert(SHIELD_CELLS % PARTS == 0, "parts are alike");

struct sketch_cell {
    int64_t count;
    uint64_t sum, check; /* of hashes, and of what follows from each */
};

struct set {
    uint64_t condition; /* hash of its canonical text */
    int64_t asked_ms;   /* 0: free                    */
    uint64_t size;
    struct sketch_cell cells[SHIELD_CELLS];
};

struct person {
    int64_t who, seen_ms; /* seen 0: free */
    uint32_t next;        /* where the next set goes */
    struct set *sets[SHIELD_SETS];
};

struct shield {
    pthread_mutex_t lock; /* never held while a question is asked */
    unsigned k;
    struct person people[SHIELD_PEOPLE];
};

struct shield *shield_new(unsigned k) {
    struct shield *s = k_zalloc(sizeof *s);
    pthread_mutex_init(&s->lock, NULL);
    s->k = k;
    return s;
}

static void forget(struct person *p) {
    for (uint32_t i = 0; i < SHIELD_SETS; i++) k_free(p->sets[i]);
    *p = (struct person){0};
}

void shield_free(struct shield *s) {
    if (!s) return;
    for (uint32_t i = 0; i < SHIELD_PEOPLE; i++) forget(&s->people[i]);
    pthread_mutex_destroy(&s->lock);
    k_free(s);
}

/* ---- sketches ---- */

static uint64_t check_of(uint64_t hash) { return hash64(&hash, sizeof hash); }

static struct sketch_cell *cell_of(struct sketch_cell *cells, uint64_t hash, unsigned part) {
    uint64_t mixed = (hash ^ (part * UINT64_C(0x9e3779b97f4a7c15))) * UINT64_C(0xff51afd7ed558ccd);
    return &cells[part * PART_CELLS + (mixed >> 33) % PART_CELLS];
}

static void enter(struct sketch_cell *cells, uint64_t hash, int64_t count) {
    uint64_t check = check_of(hash);
    for (unsigned part = 0; part < PARTS; part++) {
        struct sketch_cell *c = cell_of(cells, hash, part);
        c->count += count;
        c->sum ^= hash;
        c->check ^= check;
    }
}

/* Is one entry alone in this cell? */
static bool is_single(const struct sketch_cell *c) {
    return (c->count == 1 || c->count == -1) && check_of(c->sum) == c->check;
}

/* How many customers two sets differ by; UINT64_MAX: more than can be read out. */
static uint64_t difference(const struct set *a, const struct set *b) {
    struct sketch_cell left[SHIELD_CELLS];
    uint64_t n = 0;
    for (unsigned i = 0; i < SHIELD_CELLS; i++)
        left[i] = (struct sketch_cell){a->cells[i].count - b->cells[i].count,
                                       a->cells[i].sum ^ b->cells[i].sum,
                                       a->cells[i].check ^ b->cells[i].check};
    for (bool found = true; found && n <= SHIELD_CELLS;) {
        found = false;
        for (unsigned i = 0; i < SHIELD_CELLS; i++) {
            if (!is_single(&left[i])) continue;
            enter(left, left[i].sum, -left[i].count);
            found = true;
            n++;
        }
    }
    for (unsigned i = 0; i < SHIELD_CELLS; i++)
        if (left[i].count || left[i].sum) return UINT64_MAX;
    return n;
}

/* ---- memory ---- */

static struct person *person_of(struct shield *s, int64_t who, int64_t now) {
    struct person *oldest = &s->people[0];
    for (uint32_t i = 0; i < SHIELD_PEOPLE; i++) {
        struct person *p = &s->people[i];
        if (p->seen_ms && p->who == who) {
            p->seen_ms = now;
            return p;
        }
        if (p->seen_ms < oldest->seen_ms) oldest = p;
    }
    forget(oldest);
    oldest->who = who;
    oldest->seen_ms = now;
    return oldest;
}

/* Compares with what the person asked before, and remembers. The set is taken. */
static int compare(struct shield *s, int64_t who, struct set *set, struct keel_error *err) {
    bool known = false;
    int code = 0;
    pthread_mutex_lock(&s->lock);
    struct person *p = person_of(s, who, set->asked_ms);
    for (uint32_t i = 0; i < SHIELD_SETS && code == 0; i++) {
        struct set *before = p->sets[i];
        if (!before || set->asked_ms - before->asked_ms > SHIELD_KEEP_MS) continue;
        if (before->condition == set->condition) { /* the same as time goes on: it replaces it */
            p->sets[i] = set;
            set = before;
            known = true;
            break;
        }
        uint64_t by = difference(set, before);
        if (by > 0 && by < s->k)
            code = error_set(err, KEEL_E_FORBIDDEN,
                             "this differs by fewer than %u customers from another question of "
                             "yours: the difference would show single customers. It needs the "
                             "right personal.read",
                             s->k);
    }
    if (code == 0 && !known) {
        struct set *gone = p->sets[p->next];
        p->sets[p->next] = set;
        p->next = (p->next + 1) % SHIELD_SETS;
        set = gone;
    }
    pthread_mutex_unlock(&s->lock);
    k_free(set);
    return code;
}

/* ---- sets ---- */

/* Who meets the condition, as bits by root number. */
static int members(const struct shield_question *q, struct db *db, const struct snapshot *snap,
                   uint64_t *bits, struct keel_error *err) {
    struct query own = {.form = QUERY_COUNT, .where = q->query->where};
    struct result *r;
    struct query_options how = {.at_ms = QUERY_AT_NOW,
                                .threads = q->options->threads,
                                .cancel = q->options->cancel,
                                .segment = q->options->segment,
                                .segment_ctx = q->options->segment_ctx,
                                .members = bits};
    if (q->options->at.n && !time_parse(q->options->at, db_zone(db), &how.at_ms))
        FAIL(err, INVALID, "the moment of asking is no time");
    TRY(query_run(db, snap, &own, &how, &r, err));
    result_free(r);
    return 0;
}

static int make_set(const struct shield_question *q, struct db *db, const struct snapshot *snap,
                    struct set *set, struct keel_error *err) {
    struct buf text;
    size_t words = snap->redirects.numbers / 64 + 1;
    uint64_t *bits = k_try_zalloc(words * sizeof *bits);
    if (!bits) FAIL(err, NO_MEMORY, "too little memory to compare questions");
    int code = members(q, db, snap, bits, err);
    for (size_t w = 0; w < words && code == 0; w++)
        for (uint64_t m = bits[w]; m; m &= m - 1) {
            uint64_t number = w * 64 + (uint64_t)__builtin_ctzll(m);
            enter(set->cells, hash64(&number, sizeof number), 1);
            set->size++;
        }
    k_free(bits);
    buf_init(&text, QUERY_MAX_TEXT);
    if (code == 0) code = query_print_cond(q->query->where, &text);
    set->condition = hash64(text.p, text.n) ^ hash_str(q->options->at);
    set->asked_ms = now_ms();
    buf_release(&text);
    return code;
}

static int everybody(const struct shield_question *q, struct db *db, uint64_t *out,
                     struct keel_error *err) {
    struct query all = {.form = QUERY_COUNT};
    struct result *r;
    TRY(ask_run(db, &all, q->options, &r, err));
    *out = (uint64_t)result_cell(r, 0, 0)->integer;
    result_free(r);
    return 0;
}

static int check_difference(struct shield *s, const struct shield_question *q, struct db *db,
                            struct keel_error *err) {
    struct snapshot *snap;
    uint64_t all = 0;
    if (!q->query->where) return 0; /* everybody, with whom every set is compared */
    TRY(snapshot_open(db_store(db), &snap, err));
    struct set *set = k_zalloc(sizeof *set);
    int code = make_set(q, db, snap, set, err);
    snapshot_close(snap);
    if (code == 0) code = everybody(q, db, &all, err);
    if (code == 0 && all > set->size && all - set->size < s->k)
        code = error_set(err, KEEL_E_FORBIDDEN,
                         "these are all customers but fewer than %u: the difference would show "
                         "single customers. It needs the right personal.read",
                         s->k);
    if (code == 0) return compare(s, q->who, set, err);
    k_free(set);
    return code;
}

/* "count customers where CONDITION", in the arena. */
static int read_condition(struct str condition, struct arena *arena, struct query **out,
                          struct keel_error *err) {
    struct buf text;
    buf_init(&text, QUERY_MAX_TEXT + 256);
    (void)!buf_add_text(&text, "count customers where ");
    (void)!buf_add_str(&text, condition);
    int code = text.failed ? error_set(err, KEEL_E_LIMIT, "the condition is too long")
                           : query_parse(buf_str(&text), arena, out, NULL, err);
    buf_release(&text);
    return code;
}

int shield_admit_condition(const struct plan_form *form, struct str condition,
                           struct keel_error *err) {
    struct arena arena;
    struct query *q;
    arena_init(&arena, 2 * (size_t)QUERY_ARENA_BYTES);
    int code = read_condition(condition, &arena, &q, err);
    if (code == 0) code = shield_admit(form, q, err);
    arena_release(&arena);
    return code;
}

int shield_condition(struct shield *s, const struct shield_question *q, struct db *db,
                     struct str condition, struct keel_error *err) {
    struct shield_question own = *q;
    struct query *query;
    TRY(read_condition(condition, q->arena, &query, err));
    TRY(shield_admit(q->form, query, err));
    own.query = query;
    return check_difference(s, &own, db, err);
}

/* ---- asking ---- */

/* A top list that is ranked by something else needs to know its customers. */
static int ask_people(const struct shield_question *q, struct db *db, struct result **out,
                      struct keel_error *err) {
    if (q->query->form != QUERY_TOP || q->query->top.rank == QUERY_RANK_CUSTOMERS) return 0;
    struct query people = *q->query;
    people.top.rank = QUERY_RANK_CUSTOMERS;
    people.limit = TOP_KNOWN;
    return ask_run(db, &people, q->options, out, err);
}

/* Those of the question who are, or are not, in a set of its own. */
static int check_part(struct shield *s, const struct shield_question *q, struct db *db,
                      const struct query_cond *part, bool in, struct keel_error *err) {
    K_ASSERT(part);
    struct shield_question own = *q;
    struct query whose = {.form = QUERY_COUNT};
    struct query_cond not = {.kind = QUERY_COND_NOT, .n_items = 1, .depth = part->depth + 1};
    struct query_cond *inner = arena_alloc(q->arena, sizeof *inner), *both[2];
    struct query_cond and = {.kind = QUERY_COND_AND, .items = both, .n_items = 2};
    *inner = *part;
    not .items = &inner;
    both[0] = in ? inner : &not ;
    both[1] = q->query->where;
    whose.where = q->query->where ? &and : both[0];
    own.query = &whose;
    return check_difference(s, &own, db, err);
}

/* The sets of customers that a question is about: that of its condition, and those that it sets
 * apart from one another. */
static int check_differences(struct shield *s, const struct shield_question *q, struct db *db,
                             struct keel_error *err) {
    const struct query *query = q->query;
    uint32_t segments = 0;
    TRY(check_difference(s, q, db, err));
    for (uint32_t i = 0; i < query->n_splits; i++) {
        const struct query_term *t = &query->splits[i];
        if (t->kind != QUERY_TERM_SEGMENT) continue;
        if (++segments > 1)
            FAIL(err, FORBIDDEN, "splitting by several segments needs the right personal.read");
        struct query_cond in = {.kind = QUERY_COND_SEGMENT, .segment = t->segment, .depth = 1};
        TRY(check_part(s, q, db, &in, true, err));
        TRY(check_part(s, q, db, &in, false, err));
    }
    if (query->form != QUERY_COMPARE) return 0;
    if (query->compare.a) TRY(check_part(s, q, db, query->compare.a, true, err));
    if (query->compare.others) TRY(check_part(s, q, db, query->compare.a, false, err));
    return query->compare.b ? check_part(s, q, db, query->compare.b, true, err) : 0;
}

int shield_run(struct shield *s, const struct shield_question *q, struct db *db,
               struct result **out, struct keel_error *err) {
    struct shield_hiding h = {.form = q->form, .query = q->query, .k = s->k};
    const struct query *wide;
    struct result *people = NULL, *r = NULL;
    TRY(shield_admit(q->form, q->query, err));
    TRY(check_differences(s, q, db, err));
    TRY(shield_widen(q->query, q->arena, &wide, &h.added, err));
    TRY(ask_people(q, db, &people, err));
    int code = ask_run(db, wide, q->options, &r, err);
    h.people = people;
    if (code == 0) code = shield_hide(&h, r, err);
    result_free(people);
    if (code == 0)
        *out = r;
    else
        result_free(r);
    return code;
}
