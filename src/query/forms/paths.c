/* The form PATHS: which events follow one another.
 *
 * In a batch the events stand customer by customer, in order: where the customer changes or a pause
 * is too long a run breaks, and an event ends a path if none of the breaks lies among the asked
 * number of events up to it. Both are bits, found for the whole batch without a look at single
 * events; only the ends are looked at, none of which waits for another. What a customer's run has
 * in common with his last one of an earlier batch is kept as a shift register of the labels of his
 * last events, `bits` each. Labels are numbers of the worker's dictionary.
 *
 * Layers: form_tools.h, visits.h, store/scan/spine.h. Threads: see form.h. Limits: PATHS_MAX
 * different paths a worker; labels as fit into 128 bits.
 */
#include <stdlib.h>

#include "query/forms/form_tools.h"
#include "query/pairs.h"
#include "query/visits.h"
#include "store/scan/spine.h"

enum { PATHS_MAX = 1 << 22, SEEN_WORDS = 16 }; /* 1,024 paths have a bit each a customer */

typedef unsigned __int128 path_key;

struct path_machine {
    struct machine machine;
    bool all;
    uint32_t n;
    struct match alphabet[QUERY_MAX_EVENTS];
    struct match start, end;
    bool has_start, has_end;
    struct field label;
    int64_t within_ms;
    uint32_t length, bits;
    path_key mask; /* of `length` labels */
};

struct path_customer {
    path_key labels;
    int64_t last;
    uint16_t starts; /* bit i: the event i steps back can start a run */
    uint16_t run;    /* unbroken events, up to length                 */
};

struct path {
    path_key key;
    uint64_t count, customers;
};

/* The matching rows of a batch, side by side. */
struct run_rows {
    struct chosen_rows rows;
    uint32_t ids[CHUNK_ROWS];     /* their labels                                   */
    uint64_t start[BITS_WORDS];   /* which may begin a path                         */
    uint64_t end[BITS_WORDS];     /* which may end one                              */
    uint64_t segment[BITS_WORDS]; /* where a customer begins                        */
    uint64_t broken[BITS_WORDS];  /* the same, and where a pause before is too long */
};

struct path_state {
    const struct path_machine *m;
    struct worker *worker;
    struct path_customer *customers;
    struct dict dict;
    struct field_reader reader;
    struct path *paths;
    uint32_t n_paths, cap_paths;
    uint32_t *slots; /* path + 1, 0 is free */
    uint32_t mask;
    struct run_rows *rows;
    uint64_t *seen;       /* [slots × SEEN_WORDS] the customer has run the path */
    struct pairs counted; /* (slot, path) of the paths behind */
};

static int state_open(const struct machine *m, struct worker *w, void *state,
                      struct keel_error *err) {
    struct path_state *s = state;
    s->m = (const struct path_machine *)m;
    s->worker = w;
    dict_init(&s->dict);
    pairs_init(&s->counted);
    field_reader_init(&s->reader, &s->m->label, w, &s->dict);
    s->mask = 1023;
    s->slots = k_zalloc(1024 * sizeof *s->slots);
    s->customers = k_try_alloc_array(w->plan->range_size, sizeof *s->customers);
    s->seen = k_try_alloc_array(w->plan->range_size, SEEN_WORDS * sizeof *s->seen);
    s->rows = k_alloc(sizeof *s->rows);
    if (!s->customers || !s->seen) FAIL(err, NO_MEMORY, "too little memory for paths");
    return 0;
}

static void state_close(void *state) {
    struct path_state *s = state;
    field_reader_release(&s->reader);
    dict_release(&s->dict);
    pairs_release(&s->counted);
    k_free(s->customers);
    k_free(s->seen);
    k_free(s->rows);
    k_free(s->paths);
    k_free(s->slots);
}

static int state_begin(void *state, struct range r, struct keel_error *err) {
    (void)err;
    struct path_state *s = state;
    memset(s->customers, 0, r.count * sizeof *s->customers);
    memset(s->seen, 0, (size_t)r.count * SEEN_WORDS * sizeof *s->seen);
    pairs_clear(&s->counted);
    return 0;
}

static uint64_t path_hash(path_key key) {
    uint64_t h = (uint64_t)key * 0x9e3779b97f4a7c15u ^ (uint64_t)(key >> 64) * 0xc2b2ae3d27d4eb4fu;
    return h ^ h >> 32;
}

static int paths_grow(struct path_state *s, struct keel_error *err) {
    uint32_t cap = s->cap_paths ? s->cap_paths * 2 : 512, mask = cap * 2 - 1;
    struct path *paths = cap <= PATHS_MAX ? k_try_realloc(s->paths, cap * sizeof *paths) : NULL;
    if (!paths)
        FAIL(err, LIMIT, "too many different paths: ask for shorter ones, or of fewer events");
    s->paths = paths;
    s->cap_paths = cap;
    uint32_t *slots = k_try_zalloc((mask + 1) * sizeof *slots);
    if (!slots) FAIL(err, NO_MEMORY, "too little memory for paths");
    for (uint32_t i = 0; i < s->n_paths; i++) {
        uint64_t j = path_hash(paths[i].key) & mask;
        while (slots[j]) j = (j + 1) & mask;
        slots[j] = i + 1;
    }
    k_free(s->slots);
    s->slots = slots;
    s->mask = mask;
    return 0;
}

static __attribute__((noinline)) int add_path(struct path_state *s, path_key key, uint32_t *out,
                                              struct keel_error *err) {
    uint64_t i = path_hash(key) & s->mask;
    while (s->slots[i]) i = (i + 1) & s->mask;
    if (s->n_paths == s->cap_paths) {
        TRY(paths_grow(s, err));
        for (i = path_hash(key) & s->mask; s->slots[i];) i = (i + 1) & s->mask;
    }
    s->paths[s->n_paths] = (struct path){.key = key};
    s->slots[i] = s->n_paths + 1;
    *out = s->n_paths++;
    return 0;
}

static inline int find_path(struct path_state *s, path_key key, uint32_t *out,
                            struct keel_error *err) {
    for (uint64_t i = path_hash(key) & s->mask; s->slots[i]; i = (i + 1) & s->mask)
        if (s->paths[s->slots[i] - 1].key == key) {
            *out = s->slots[i] - 1;
            return 0;
        }
    return add_path(s, key, out, err);
}

static inline int count_path(struct path_state *s, uint32_t slot, path_key labels,
                             struct keel_error *err) {
    uint32_t at;
    TRY(find_path(s, labels & s->m->mask, &at, err));
    struct path *path = &s->paths[at];
    path->count++;
    if (at < SEEN_WORDS * 64) {
        uint64_t *seen = s->seen + (size_t)slot * SEEN_WORDS;
        path->customers += !bit_get(seen, at);
        bit_set(seen, at);
        return 0;
    }
    bool is_new;
    if (!pairs_at(&s->counted, pair_key(slot, at), &is_new))
        FAIL(err, LIMIT, "too many different paths: ask for shorter ones, or of fewer events");
    path->customers += is_new;
    return 0;
}

static int matched(struct path_state *s, struct feed *f, uint64_t *bits, uint64_t *start,
                   uint64_t *end, struct keel_error *err) {
    const struct path_machine *m = s->m;
    memcpy(bits, f->live, sizeof f->live);
    if (!m->all) memset(bits, 0, sizeof f->live);
    for (uint32_t i = 0; i < m->n; i++) {
        uint64_t one[BITS_WORDS];
        TRY(match_rows(&m->alphabet[i], s->worker, f, one, err));
        for (uint32_t k = 0; k < BITS_WORDS; k++) bits[k] |= one[k];
    }
    memset(start, 0xff, sizeof f->live);
    memset(end, 0xff, sizeof f->live);
    if (m->has_start) TRY(match_rows(&m->start, s->worker, f, start, err));
    if (m->has_end) TRY(match_rows(&m->end, s->worker, f, end, err));
    return 0;
}

/* Bits of rows to bits of their places among the n chosen ones. */
static void choose_bits(const uint64_t *bits, const uint16_t *rows, uint32_t n, uint64_t *out) {
    memset(out, 0, BITS_WORDS * sizeof *out);
    for (uint32_t k = 0; k < n; k++) out[k >> 6] |= (uint64_t)bit_get(bits, rows[k]) << (k & 63);
}

static int find_runs(struct path_state *s, struct feed *f, struct run_rows *r,
                     struct keel_error *err) {
    const struct path_machine *m = s->m;
    const struct spine_kernels *kernels = spine_kernels();
    uint64_t bits[BITS_WORDS], start[BITS_WORDS], end[BITS_WORDS];
    uint16_t rows[CHUNK_ROWS];
    TRY(matched(s, f, bits, start, end, err));
    uint32_t n = bits_to_index(bits, rows);
    TRY(field_ids(&s->reader, f, rows, n, r->ids, err));
    if (m->bits < 32 && s->dict.count > 1u << m->bits)
        FAIL(err, LIMIT, "more than %u different events in paths of %u: name the events",
             1u << m->bits, m->length);
    choose_rows(f, bits, &r->rows);
    memset(r->segment, 0, sizeof r->segment);
    if (n == 0) return 0;
    memcpy(r->start, start, sizeof start); /* all */
    memcpy(r->end, end, sizeof end);
    if (m->has_start) choose_bits(start, rows, n, r->start);
    if (m->has_end) choose_bits(end, rows, n, r->end);
    kernels->changes(r->rows.customer, n, r->segment);
    memcpy(r->broken, r->segment, sizeof r->broken);
    if (m->within_ms != INT64_MAX) kernels->pauses(r->rows.time, n, m->within_ms, r->broken);
    return 0;
}

/* Bits from .. to, at most 64; bit 0 is `from`. */
static uint64_t bits_between(const uint64_t *bits, uint32_t from, uint32_t to) {
    uint64_t word = bits[from >> 6] >> (from & 63);
    if (to >> 6 != from >> 6) word |= bits[to >> 6] << (64 - (from & 63));
    return word & ~(uint64_t)0 >> ((63 - (to - from)) & 63);
}

static inline path_key labels_up_to(const struct path_machine *m, const struct run_rows *r,
                                    uint32_t k) {
    path_key labels = 0;
    uint32_t i = k + 1 < m->length ? 0 : k + 1 - m->length;
    if (m->bits == 32) /* up to four: a shift by a constant is a move */
        for (; i <= k; i++) labels = labels << 32 | r->ids[i];
    for (; i <= k; i++) labels = labels << m->bits | r->ids[i];
    return labels;
}

/* What a later batch must know of the run that row k is in, if it began in this batch. */
static void leave(const struct path_machine *m, const struct run_rows *r, uint32_t k,
                  struct path_customer *c) {
    uint32_t length = m->length, from = k + 1 < length ? 0 : k + 1 - length;
    uint64_t broken = bits_between(r->broken, from, k); /* row 0 breaks, so there is one if cut */
    uint32_t run = broken ? k - from - (63 - (uint32_t)__builtin_clzll(broken)) + 1 : length;
    uint64_t start = bits_between(r->start, from, k); /* bit i of `starts`: i steps back */
    uint16_t starts = 0;
    if (!m->has_start) starts = UINT16_MAX;
    for (uint32_t i = 0; m->has_start && i <= k - from; i++)
        starts |= (uint16_t)((start >> (k - from - i) & 1) << i);
    *c = (struct path_customer){.labels = labels_up_to(m, r, k),
                                .last = r->rows.time[k],
                                .starts = starts,
                                .run = (uint16_t)run};
}

/* The first rows of a customer, from .. to, whose run began in an earlier batch: as far as paths
 * begin there. */
static int go_on(struct path_state *s, uint32_t slot, const struct run_rows *r, uint32_t from,
                 uint32_t to, struct keel_error *err) {
    const struct path_machine *m = s->m;
    struct path_customer c = s->customers[slot];
    for (uint32_t k = from; k <= to; k++) {
        if (k - from == m->length - 1 || (k > from && bit_get(r->broken, k))) {
            leave(m, r, to, &s->customers[slot]);
            return 0;
        }
        c.last = r->rows.time[k];
        c.labels = c.labels << m->bits | r->ids[k];
        c.starts = (uint16_t)(c.starts << 1 | bit_get(r->start, k));
        if (c.run < m->length) c.run++;
        if (c.run == m->length && (c.starts >> (m->length - 1) & 1) && bit_get(r->end, k))
            TRY(count_path(s, slot, c.labels, err));
    }
    s->customers[slot] = c;
    return 0;
}

/* Bit k: row k ends a path that lies in this batch. */
static void find_ends(const struct path_machine *m, const struct run_rows *r, uint64_t *out) {
    uint64_t broken = 0, start = 0;
    bits_first(out, r->rows.n);
    for (uint32_t w = 0; w * 64 < r->rows.n; w++) {
        uint64_t breaks = r->broken[w];
        uint32_t back = m->length - 1;
        for (uint32_t i = 0; i < back; i++) {
            out[w] &= ~breaks;
            breaks = breaks << 1 | (i < 63 ? broken >> (63 - i) & 1 : 0);
        }
        broken = r->broken[w];
        out[w] &= r->end[w];
        if (m->has_start) out[w] &= back ? r->start[w] << back | start >> (64 - back) : r->start[w];
        start = r->start[w];
    }
}

static int state_feed(void *state, struct feed *f, struct keel_error *err) {
    struct path_state *s = state;
    struct run_rows *r = s->rows;
    uint64_t ends[BITS_WORDS];
    uint16_t at[CHUNK_ROWS + 1];
    TRY(find_runs(s, f, r, err));
    uint32_t segments = bits_to_index(r->segment, at);
    at[segments] = (uint16_t)r->rows.n;
    for (uint32_t i = 0; i < segments; i++) {
        uint32_t slot = r->rows.customer[at[i]] - f->first;
        struct path_customer *c = &s->customers[slot];
        if (c->run > 0 && r->rows.time[at[i]] - c->last <= s->m->within_ms)
            TRY(go_on(s, slot, r, at[i], at[i + 1] - 1u, err));
        else
            leave(s->m, r, at[i + 1] - 1u, c);
    }
    find_ends(s->m, r, ends);
    uint32_t n = bits_to_index(ends, at);
    for (uint32_t i = 0; i < n; i++)
        TRY(count_path(s, r->rows.customer[at[i]] - f->first, labels_up_to(s->m, r, at[i]), err));
    return 0;
}

static const struct machine_ops OPS = {
    .state_bytes = sizeof(struct path_state),
    .open = state_open,
    .begin = state_begin,
    .feed = state_feed,
    .close = state_close,
};

/* ---- the form ---- */

struct path_form {
    struct form form;
    struct path_machine *machine;
};

static int form_plan(struct form *form, struct plan *p, struct keel_error *err) {
    struct path_form *f = (struct path_form *)form;
    const struct query *q = p->q;
    struct span span = range_span(p->zone, &q->range, p->at_ms);
    struct path_machine *m = arena_zalloc(&p->arena, sizeof *m);
    f->machine = m;
    m->machine =
        (struct machine){.ops = &OPS, .stage = 1, .ordered = true, .span = {INT64_MAX, INT64_MIN}};
    m->machine.bytes_per_customer = sizeof(struct path_customer) + SEEN_WORDS * 8;
    m->length = q->paths.length;
    m->bits = 128 / m->length < 32 ? 128 / m->length : 32;
    m->mask = ~(path_key)0 >> (128 - m->length * m->bits);
    m->within_ms = duration_ms(q->paths.within);
    m->all = q->paths.n_alphabet == 0;
    m->n = q->paths.n_alphabet;
    m->has_start = q->paths.has_start;
    m->has_end = q->paths.has_end;
    TRY(match_alphabet(p, q->paths.alphabet, m->n, span, m->alphabet, &m->machine, err));
    struct match *edges[] = {&m->start, &m->end};
    for (int i = 0; i < 2; i++) {
        if (!(i == 0 ? m->has_start : m->has_end)) continue;
        TRY(match_compile(p, i == 0 ? &q->paths.start : &q->paths.end, span, edges[i], err));
        match_needs(p, edges[i], &m->machine);
    }
    struct event_set of = {.all = true};
    if (!m->all) match_union(p, m->alphabet, m->n, &of);
    struct query_prop label = {.scope = QUERY_SCOPE_EVENT, .path = STR("event")};
    TRY(field_resolve(p, &label, &of, &m->label, err));
    field_needs(p, &m->label, &m->machine);
    return plan_add(p, &m->machine, err);
}

/* A path under the merged labels. */
struct merged_path {
    uint32_t labels[QUERY_MAX_PATH];
    uint64_t count, customers;
};

struct path_order { /* for sorting */
    const struct dict *dict;
    uint32_t length;
};

static int by_labels(const struct merged_path *x, const struct merged_path *y,
                     const struct path_order *o) {
    for (uint32_t i = 0; i < o->length; i++) {
        if (x->labels[i] == y->labels[i]) continue;
        return datum_cmp(dict_get(o->dict, x->labels[i]), dict_get(o->dict, y->labels[i]));
    }
    return 0;
}

static int compare_labels(const void *a, const void *b, void *ctx) { return by_labels(a, b, ctx); }

static int compare_counts(const void *a, const void *b, void *ctx) {
    const struct merged_path *x = a, *y = b;
    if (x->count != y->count) return x->count > y->count ? -1 : 1;
    return by_labels(x, y, ctx);
}

static int collect(const struct path_form *f, struct worker *workers, uint32_t n, struct dict *dict,
                   struct merged_path *all, struct keel_error *err) {
    uint64_t at = 0;
    const struct path_machine *m = f->machine;
    for (uint32_t i = 0; i < n; i++) {
        const struct path_state *s = machine_state(&workers[i], &m->machine);
        uint32_t *ids;
        TRY(dict_merge(dict, &s->dict, &ids, err));
        for (uint32_t k = 0; k < s->n_paths; k++, at++) {
            all[at].count = s->paths[k].count;
            all[at].customers = s->paths[k].customers;
            path_key key = s->paths[k].key, mask = ((path_key)1 << m->bits) - 1;
            for (uint32_t j = m->length; j-- > 0; key >>= m->bits)
                all[at].labels[j] = ids[(uint32_t)(key & mask)];
        }
        k_free(ids);
    }
    return 0;
}

static int show(const struct path_form *f, struct merged_path *all, uint64_t n,
                const struct dict *dict, struct result *out, struct keel_error *err) {
    struct path_order order = {dict, f->machine->length};
    uint64_t kept = 0;
    if (n > 0) qsort_r(all, n, sizeof *all, compare_labels, &order);
    for (uint64_t i = 0; i < n; i++) { /* workers count different customers: add up */
        if (kept > 0 && by_labels(&all[kept - 1], &all[i], &order) == 0) {
            all[kept - 1].count += all[i].count;
            all[kept - 1].customers += all[i].customers;
        } else {
            all[kept++] = all[i];
        }
    }
    if (kept > 0) qsort_r(all, kept, sizeof *all, compare_counts, &order);
    uint32_t limit = query_limit(f->form.plan->q);
    out->cut |= kept > limit;
    for (uint64_t i = 0; i < kept && i < limit; i++) {
        struct datum cells[QUERY_MAX_PATH + 2];
        for (uint32_t j = 0; j < f->machine->length; j++)
            cells[j] = *dict_get(dict, all[i].labels[j]);
        cells[f->machine->length] = datum_integer(all[i].count);
        cells[f->machine->length + 1] = datum_integer(all[i].customers);
        TRY(result_row(out, cells, err));
    }
    return 0;
}

static int form_answer(const struct form *form, struct worker *workers, uint32_t n,
                       struct result *out, struct keel_error *err) {
    const struct path_form *f = (const struct path_form *)form;
    for (uint32_t j = 1; j <= f->machine->length; j++) {
        struct buf name;
        buf_init(&name, 32);
        (void)!buf_printf(&name, "event_%u", j);
        int code = result_column(out, buf_str(&name), DATUM_STRING, err);
        buf_release(&name);
        TRY(code);
    }
    TRY(result_column(out, STR("count"), DATUM_INTEGER, err));
    TRY(result_column(out, STR("customers"), DATUM_INTEGER, err));
    uint64_t total = 0;
    for (uint32_t i = 0; i < n; i++)
        total +=
            ((const struct path_state *)machine_state(&workers[i], &f->machine->machine))->n_paths;
    struct merged_path *all = k_try_alloc_array(total + 1, sizeof *all);
    if (!all) FAIL(err, NO_MEMORY, "too little memory for paths");
    struct dict dict;
    dict_init(&dict);
    int code = collect(f, workers, n, &dict, all, err);
    if (code == 0) code = show(f, all, total, &dict, out, err);
    dict_release(&dict);
    k_free(all);
    return code;
}

const struct form_ops FORM_PATHS = {
    .form_bytes = sizeof(struct path_form),
    .plan = form_plan,
    .answer = form_answer,
};
