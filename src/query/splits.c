/* Implementation of splits.h. */
#include "query/splits.h"

#include <stdlib.h>

#include "base/hash.h"
#include "query/pairs.h"

enum { GROUPS_FIRST = 64 };

void groups_init(struct groups *g, uint32_t n_terms) {
    *g = (struct groups){.n_terms = n_terms, .cap = GROUPS_FIRST, .mask = 2 * GROUPS_FIRST - 1};
    g->ids = k_alloc_array(g->cap, sizeof *g->ids);
    g->slots = k_zalloc((g->mask + 1) * sizeof *g->slots);
    for (uint32_t t = 0; t < n_terms; t++) dict_init(&g->dict[t]);
    if (n_terms == 0) {
        memset(g->ids[0], 0, sizeof g->ids[0]);
        g->count = 1;
    }
}

void groups_release(struct groups *g) {
    for (uint32_t t = 0; t < g->n_terms; t++) dict_release(&g->dict[t]);
    k_free(g->ids);
    k_free(g->slots);
    k_free(g->by_id);
    *g = (struct groups){0};
}

static uint64_t tuple_hash(const uint32_t *ids) {
    uint64_t a = pair_key(ids[0], ids[1]), b = pair_key(ids[2], ids[3]);
    return hash_mix(a * 0x9e3779b97f4a7c15u + hash_mix(b));
}

static int groups_grow(struct groups *g, struct keel_error *err) {
    if (g->count >= GROUPS_MAX)
        FAIL(err, LIMIT,
             "the splits make more than %d groups: split by fewer or coarser values, or narrow the "
             "question by a filter",
             GROUPS_MAX);
    uint32_t cap = g->cap * 2, mask = cap * 2 - 1;
    void *ids = k_try_realloc(g->ids, cap * sizeof *g->ids);
    if (ids) g->ids = ids;
    uint32_t *slots = k_try_zalloc((mask + 1) * sizeof *slots);
    if (!ids || !slots) {
        k_free(slots);
        FAIL(err, NO_MEMORY, "too little memory for %u groups", cap);
    }
    for (uint32_t i = 0; i < g->count; i++) {
        uint64_t j = tuple_hash(g->ids[i]) & mask;
        while (slots[j]) j = (j + 1) & mask;
        slots[j] = i + 1;
    }
    k_free(g->slots);
    g->slots = slots;
    g->mask = mask;
    g->cap = cap;
    return 0;
}

static int find_by_id(struct groups *g, uint32_t id, uint32_t *out, struct keel_error *err) {
    if (id >= g->by_id_cap) {
        uint32_t cap = id < 64 ? 64 : id * 2;
        uint32_t *map = k_try_realloc(g->by_id, (size_t)cap * sizeof *map);
        if (!map) FAIL(err, NO_MEMORY, "too little memory for groups");
        memset(map + g->by_id_cap, 0, (size_t)(cap - g->by_id_cap) * sizeof *map);
        g->by_id = map;
        g->by_id_cap = cap;
    }
    if (!g->by_id[id]) {
        if (g->count == g->cap || g->count >= GROUPS_MAX) TRY(groups_grow(g, err));
        memset(g->ids[g->count], 0, sizeof g->ids[0]);
        g->ids[g->count][0] = id;
        g->by_id[id] = ++g->count;
    }
    *out = g->by_id[id] - 1;
    return 0;
}

int groups_find(struct groups *g, const uint32_t *ids, uint32_t *out, struct keel_error *err) {
    if (g->n_terms == 0) {
        *out = 0;
        return 0;
    }
    if (g->n_terms == 1) return find_by_id(g, ids[0], out, err);
    uint32_t key[QUERY_MAX_SPLITS] = {0};
    memcpy(key, ids, g->n_terms * sizeof key[0]);
    uint64_t hash = tuple_hash(key), i = hash & g->mask;
    for (; g->slots[i]; i = (i + 1) & g->mask)
        if (memcmp(g->ids[g->slots[i] - 1], key, sizeof key) == 0) {
            *out = g->slots[i] - 1;
            return 0;
        }
    if (g->count == g->cap || g->count >= GROUPS_MAX) {
        TRY(groups_grow(g, err));
        for (i = hash & g->mask; g->slots[i];) i = (i + 1) & g->mask;
    }
    memcpy(g->ids[g->count], key, sizeof key);
    g->slots[i] = g->count + 1;
    *out = g->count++;
    return 0;
}

int groups_merge(struct groups *to, const struct groups *from, uint32_t **out_map,
                 struct keel_error *err) {
    uint32_t *id_map[QUERY_MAX_SPLITS] = {0};
    uint32_t *map = k_try_alloc_array(from->count, sizeof *map);
    int code = 0;
    if (!map) code = error_set(err, KEEL_E_NO_MEMORY, "too little memory to merge groups");
    for (uint32_t t = 0; code == 0 && t < from->n_terms; t++)
        code = dict_merge(&to->dict[t], &from->dict[t], &id_map[t], err);
    for (uint32_t i = 0; code == 0 && i < from->count; i++) {
        uint32_t ids[QUERY_MAX_SPLITS] = {0};
        for (uint32_t t = 0; t < from->n_terms; t++) ids[t] = id_map[t][from->ids[i][t]];
        code = groups_find(to, ids, &map[i], err);
    }
    for (uint32_t t = 0; t < QUERY_MAX_SPLITS; t++) k_free(id_map[t]);
    if (code < 0)
        k_free(map);
    else
        *out_map = map;
    return code;
}

static int by_values(const void *a, const void *b, void *ctx) {
    const struct groups *g = ctx;
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    for (uint32_t t = 0; t < g->n_terms; t++) {
        int sign = datum_cmp(groups_value(g, x, t), groups_value(g, y, t));
        if (sign) return sign;
    }
    return 0;
}

int groups_sorted(const struct groups *g, uint32_t **out_order, struct keel_error *err) {
    uint32_t *order = k_try_alloc_array(g->count, sizeof *order);
    if (!order) FAIL(err, NO_MEMORY, "too little memory to sort groups");
    for (uint32_t i = 0; i < g->count; i++) order[i] = i;
    struct groups *ctx = (struct groups *)(uintptr_t)g; /* qsort_r's context has no const */
    qsort_r(order, g->count, sizeof *order, by_values, ctx);
    *out_order = order;
    return 0;
}

/* ---- terms ---- */

static int split_segment(struct plan *p, const struct query_term *from, struct split_term *to,
                         struct keel_error *err) {
    struct query_cond *in = arena_zalloc(&p->arena, sizeof *in);
    *in = (struct query_cond){
        .kind = QUERY_COND_SEGMENT, .segment = from->segment, .depth = 1, .at = from->at};
    to->members = arena_zalloc(&p->arena, sizeof *to->members);
    return customers_compile(p, in, /* all_needed= */ false, to->members, err);
}

int splits_compile(struct plan *p, const struct event_set *of, struct splits *out,
                   struct keel_error *err) {
    *out = (struct splits){.n = p->q->n_splits};
    for (uint32_t i = 0; i < out->n; i++) {
        const struct query_term *from = &p->q->splits[i];
        struct split_term *to = &out->terms[i];
        switch (from->kind) {
        case QUERY_TERM_TRAIT: TRY(account_trait(p, &from->prop, &to->account, err)); break;
        case QUERY_TERM_MEASURE: TRY(account_measure(p, &from->measure, &to->account, err)); break;
        case QUERY_TERM_SEGMENT: TRY(split_segment(p, from, to, err)); break;
        case QUERY_TERM_PROP:
            TRY(field_resolve(p, &from->prop, of, &to->field, err));
            to->by_event = out->by_event = true;
            break;
        }
    }
    return 0;
}

void splits_needs(struct plan *p, const struct splits *s, struct machine *m) {
    for (uint32_t i = 0; i < s->n; i++)
        if (s->terms[i].by_event) field_needs(p, &s->terms[i].field, m);
}

bool splits_blind(const struct splits *s) {
    for (uint32_t i = 0; i < s->n; i++)
        if (s->terms[i].by_event && !field_blind(&s->terms[i].field)) return false;
    return true;
}

int splitter_open(struct splitter *s, const struct splits *splits, struct worker *w,
                  struct keel_error *err) {
    *s = (struct splitter){.splits = splits, .worker = w};
    groups_init(&s->groups, splits->n);
    uint32_t n = w->plan->range_size;
    bool ok = true;
    for (uint32_t i = 0; i < splits->n; i++) {
        if (splits->terms[i].by_event)
            field_reader_init(&s->readers[i], &splits->terms[i].field, w, &s->groups.dict[i]);
        else
            ok = ok && (s->customer_ids[i] = k_try_alloc_array(n, sizeof(uint32_t)));
    }
    if (!ok) FAIL(err, NO_MEMORY, "too little memory for %u customers at a time", n);
    return 0;
}

void splitter_close(struct splitter *s) {
    for (uint32_t i = 0; s->splits && i < s->splits->n; i++) {
        k_free(s->customer_ids[i]);
        k_free(s->known[i]);
        if (s->splits->terms[i].by_event) field_reader_release(&s->readers[i]);
    }
    if (s->splits) groups_release(&s->groups);
}

/* The id of a customer's value. Values by id in the account's own dictionary, as traits are, are
 * translated once each. */
static int customer_id(struct splitter *s, uint32_t term, uint32_t slot, uint32_t *out,
                       struct keel_error *err) {
    const struct account *account = s->splits->terms[term].account;
    uint32_t own = account_id(s->worker, account, slot);
    if (own != DICT_NONE && own < s->n_known[term] && s->known[term][own]) {
        *out = s->known[term][own] - 1;
        return 0;
    }
    struct datum v = account_datum(s->worker, account, slot);
    *out = dict_add(&s->groups.dict[term], v, /* stable= */ false);
    if (*out == DICT_NONE) FAIL(err, LIMIT, "too many distinct values to split by");
    if (own == DICT_NONE) return 0;
    if (own >= s->n_known[term]) {
        uint32_t n = own * 2 + 64;
        uint32_t *known = k_try_realloc(s->known[term], (size_t)n * sizeof *known);
        if (!known) FAIL(err, NO_MEMORY, "too little memory to split by a trait");
        memset(known + s->n_known[term], 0, (size_t)(n - s->n_known[term]) * sizeof *known);
        s->known[term] = known;
        s->n_known[term] = n;
    }
    s->known[term][own] = *out + 1;
    return 0;
}

/* Members are true, others false; whoever is asked for is one of them. */
static int begin_members(struct splitter *s, uint32_t term, struct range r,
                         struct keel_error *err) {
    struct dict *dict = &s->groups.dict[term];
    uint32_t yes = dict_add(dict, datum_bool(true), true);
    uint32_t no = dict_add(dict, datum_bool(false), true);
    uint64_t *bits = k_try_alloc_array(r.count / 64 + 1, sizeof *bits);
    if (!bits || yes == DICT_NONE || no == DICT_NONE) {
        k_free(bits);
        FAIL(err, NO_MEMORY, "too little memory to split by a segment");
    }
    int code = customers_eval(s->splits->terms[term].members, s->worker, r, bits, err);
    for (uint32_t slot = 0; slot < r.count && code == 0; slot++)
        s->customer_ids[term][slot] = bit_get(bits, slot) ? yes : no;
    k_free(bits);
    return code;
}

int splitter_begin(struct splitter *s, struct range r, const uint64_t *members,
                   struct keel_error *err) {
    const struct splits *splits = s->splits;
    bool accounts = false;
    for (uint32_t i = 0; i < splits->n; i++) {
        accounts |= splits->terms[i].account != NULL;
        if (splits->terms[i].members) TRY(begin_members(s, i, r, err));
    }
    for (uint32_t from = 0; accounts && from < r.count; from += 64) {
        uint64_t in = r.count - from < 64 ? ((uint64_t)1 << (r.count - from)) - 1 : ~(uint64_t)0;
        for (uint64_t m = members ? members[from / 64] & in : in; m; m &= m - 1) {
            uint32_t slot = from + (uint32_t)__builtin_ctzll(m);
            for (uint32_t i = 0; i < splits->n; i++) {
                if (!splits->terms[i].account) continue;
                TRY(customer_id(s, i, slot, &s->customer_ids[i][slot], err));
            }
        }
    }
    return 0;
}

int splitter_customer(struct splitter *s, uint32_t slot, uint32_t *out, struct keel_error *err) {
    uint32_t key[QUERY_MAX_SPLITS] = {0};
    for (uint32_t i = 0; i < s->splits->n; i++) key[i] = s->customer_ids[i][slot];
    return groups_find(&s->groups, key, out, err);
}

/* One term: ids to groups by the table, in place. */
static int groups_of_ids(struct groups *g, uint32_t *ids, uint32_t n, struct keel_error *err) {
    for (uint32_t k = 0; k < n; k++) {
        uint32_t known = ids[k] < g->by_id_cap ? g->by_id[ids[k]] : 0;
        if (__builtin_expect(known != 0, 1))
            ids[k] = known - 1;
        else
            TRY(find_by_id(g, ids[k], &ids[k], err));
    }
    return 0;
}

/* The ids of one term's values. */
static int term_ids(struct splitter *s, uint32_t term, struct feed *f, const uint16_t *rows,
                    uint32_t n, uint32_t *out, struct keel_error *err) {
    if (s->splits->terms[term].by_event) return field_ids(&s->readers[term], f, rows, n, out, err);
    const uint32_t *ids = s->customer_ids[term];
    for (uint32_t k = 0; k < n; k++) out[k] = ids[f->customer[rows[k]] - f->first];
    return 0;
}

int splitter_changes(struct splitter *s, struct feed *f, uint64_t *bits, struct keel_error *err) {
    for (uint32_t i = 0; i < s->splits->n; i++)
        if (s->splits->terms[i].by_event)
            TRY(field_changes(&s->splits->terms[i].field, f, bits, err));
    return 0;
}

int splitter_rows(struct splitter *s, struct feed *f, const uint16_t *rows, uint32_t n,
                  uint32_t *out, struct keel_error *err) {
    const struct splits *splits = s->splits;
    memset(out, 0, n * sizeof *out);
    if (splits->n == 0) return 0;
    if (splits->n == 1) {
        TRY(term_ids(s, 0, f, rows, n, out, err));
        return groups_of_ids(&s->groups, out, n, err);
    }
    uint32_t keys[CHUNK_ROWS][QUERY_MAX_SPLITS], ids[CHUNK_ROWS];
    memset(keys, 0, n * sizeof keys[0]);
    for (uint32_t i = 0; i < splits->n; i++) {
        TRY(term_ids(s, i, f, rows, n, ids, err));
        for (uint32_t k = 0; k < n; k++) keys[k][i] = ids[k];
    }
    for (uint32_t k = 0; k < n; k++) {
        if (k > 0 && memcmp(keys[k], keys[k - 1], sizeof keys[k]) == 0)
            out[k] = out[k - 1]; /* neighbours are often alike */
        else
            TRY(groups_find(&s->groups, keys[k], &out[k], err));
    }
    return 0;
}
