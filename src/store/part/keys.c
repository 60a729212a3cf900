/* Implementation of part/keys.h. */
#include "store/part/keys.h"

#include "base/sort.h"

enum {
    LAYOUT = 64,     /* in place of the 0, 8 or 16 directory bits of format 1.0 */
    SLOT_BITS = 7,   /* e: a slot has 128 to 256 keys, 41 bytes of places       */
    COUNT_BITS = 18, /* most that one pass sorts by: its counters fit a cache   */
    PAD = 8,
};

static unsigned log2_of(uint32_t n) { return n < 2 ? 0 : 31 - (unsigned)__builtin_clz(n); }

/* Without shifting by 64. */
static uint64_t top_bits(uint64_t v, unsigned bits) { return bits ? v >> (64 - bits) : 0; }
static uint64_t low_bits(uint64_t v, unsigned bits) {
    return bits < 64 ? v & ((UINT64_C(1) << bits) - 1) : v;
}

/* Reads up to 64 bits at any place; 9 bytes must be there. */
static uint64_t bits_at(const uint8_t *p, uint64_t bit, unsigned width) {
    uint64_t word;
    memcpy(&word, p + bit / 8, sizeof word);
    word >>= bit % 8;
    if (bit % 8 + width > 64) word |= (uint64_t)p[bit / 8 + 8] << (64 - bit % 8);
    return low_bits(word, width);
}

/* Adds bits to a stream that is zero so far. */
static void add_bits(uint8_t *p, uint64_t bit, uint64_t v, unsigned width) {
    uint64_t word;
    memcpy(&word, p + bit / 8, sizeof word);
    word |= v << bit % 8;
    memcpy(p + bit / 8, &word, sizeof word);
    if (bit % 8 + width > 64) p[bit / 8 + 8] = (uint8_t)(v >> (64 - bit % 8));
}

/* ---- encoding ---- */

/* Deals the keys out by their top bits, then sorts what lies together: keys are hashes, so few
 * meet, and nobody gains by making them. */
static void sort(const struct event_key *keys, uint32_t count, unsigned bits, uint64_t *out) {
    const uint32_t runs = UINT32_C(1) << bits;
    uint32_t *ends = k_zalloc(((size_t)runs + 1) * sizeof *ends);
    for (uint32_t i = 0; i < count; i++) ends[top_bits(keys[i].lo, bits) + 1]++;
    for (uint32_t r = 0; r < runs; r++) ends[r + 1] += ends[r];
    for (uint32_t i = 0; i < count; i++) out[ends[top_bits(keys[i].lo, bits)]++] = keys[i].lo;
    for (uint32_t r = 0, from = 0; r < runs; from = ends[r++]) sort_u64(out + from, ends[r] - from);
    k_free(ends);
}

static size_t places_bytes(uint32_t count, unsigned high) {
    return ((size_t)count + ((size_t)1 << high) + 63) / 64 * 8;
}

static size_t lows_bytes(uint32_t count, unsigned low) { return ((uint64_t)count * low + 7) / 8; }

static void put_keys(const uint64_t *key, uint32_t count, unsigned b, unsigned e, uint8_t *slots,
                     uint8_t *places, uint8_t *lows) {
    const unsigned low = 64 - b - e;
    uint32_t slot = 0, none = 0;
    memcpy(slots, &none, 4);
    for (uint32_t i = 0; i < count; i++) {
        uint64_t place = i + top_bits(key[i], b + e);
        places[place / 8] |= (uint8_t)(1u << place % 8);
        add_bits(lows, (uint64_t)i * low, low_bits(key[i], low), low);
        for (; slot < top_bits(key[i], b); slot++) memcpy(slots + 4 * (slot + 1), &i, 4);
    }
    for (; slot < UINT32_C(1) << b; slot++) memcpy(slots + 4 * (slot + 1), &count, 4);
}

int part_keys_encode(const struct event_key *keys, uint32_t count, struct buf *out) {
    const unsigned high = log2_of(count), e = high < SLOT_BITS ? high : SLOT_BITS, b = high - e;
    const size_t start = out->n, slots = ((size_t)4 << b) + 4, places = places_bytes(count, high);
    const size_t lows = lows_bytes(count, 64 - high) + PAD;
    const uint8_t shape[4] = {LAYOUT, (uint8_t)b, (uint8_t)e, 0};
    uint64_t *sorted = k_try_alloc_array((size_t)count + 1, sizeof *sorted);
    if (!sorted) return -KEEL_E_NO_MEMORY;
    sort(keys, count, high < COUNT_BITS ? high : COUNT_BITS, sorted);
    int code = buf_add_u32(out, count);
    if (code == 0) code = buf_add(out, shape, sizeof shape);
    const size_t at = out->n;
    if (code == 0) code = buf_add_zero(out, slots + places + lows);
    if (code == 0)
        put_keys(sorted, count, b, e, out->p + at, out->p + at + slots,
                 out->p + at + slots + places);
    k_free(sorted);
    TRY(code);
    return buf_add_u32(out, (uint32_t)hash64(out->p + start, out->n - start));
}

/* ---- format 1.0: u32 directory bits | directory | entries of 10 bytes less what the directory
 * tells ---- */

static uint32_t u32_at(const uint8_t *p, size_t i) {
    uint32_t v;
    memcpy(&v, p + i * 4, sizeof v);
    return v;
}

struct old_view {
    uint32_t count;
    unsigned bits, kept;
    const uint8_t *directory, *entries;
};

static int open_old(struct str table, struct old_view *v) {
    struct reader r = reader_over(table.p, table.n);
    v->count = reader_u32(&r);
    v->bits = reader_u32(&r);
    if (r.bad || (v->bits != 0 && v->bits != 8 && v->bits != 16)) return -KEEL_E_CORRUPT;
    v->kept = 2 - v->bits / 8;
    v->directory = reader_take(&r, ((size_t)4 << v->bits) + 4);
    v->entries = reader_take(&r, (size_t)v->count * (8 + v->kept));
    return r.bad || reader_left(&r) != 4 ? -KEEL_E_CORRUPT : 0;
}

static int compare_old(struct event_key x, struct event_key y) {
    if (x.hi != y.hi) return x.hi < y.hi ? -1 : 1;
    return (x.lo > y.lo) - (x.lo < y.lo);
}

static struct event_key old_entry(const struct old_view *v, uint32_t i, uint32_t slot) {
    const uint8_t *p = v->entries + (size_t)i * (8 + v->kept);
    uint16_t hi = 0;
    struct event_key key;
    memcpy(&hi, p, v->kept);
    memcpy(&key.lo, p + v->kept, 8);
    key.hi = v->bits ? (slot << (16 - v->bits) | hi) & UINT16_MAX : hi;
    return key;
}

static int find_old(struct str table, struct event_key key) {
    struct old_view v;
    TRY(open_old(table, &v));
    key.hi &= UINT16_MAX;
    uint32_t slot = v.bits ? key.hi >> (16 - v.bits) : 0;
    uint32_t lo = u32_at(v.directory, slot), hi = u32_at(v.directory, slot + 1);
    if (lo > hi || hi > v.count) return -KEEL_E_CORRUPT;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        int order = compare_old(old_entry(&v, mid, slot), key);
        if (order == 0) return 1;
        if (order < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return 0;
}

/* Look-ups divide by two: slots and entries must ascend and be complete. */
static int walk_old(struct str table, part_keys_each_fn *each, void *ctx) {
    struct old_view v;
    struct event_key last = {0};
    uint32_t i = 0;
    TRY(open_old(table, &v));
    if (u32_at(v.directory, 0) != 0) return -KEEL_E_CORRUPT;
    for (uint32_t slot = 0; slot < UINT32_C(1) << v.bits; slot++) {
        uint32_t end = u32_at(v.directory, slot + 1);
        if (end > v.count || end < i) return -KEEL_E_CORRUPT;
        for (; i < end; i++) {
            struct event_key key = old_entry(&v, i, slot);
            if (compare_old(last, key) > 0) return -KEEL_E_CORRUPT;
            last = key;
            if (each) each(ctx, key);
        }
    }
    return i == v.count ? 0 : -KEEL_E_CORRUPT;
}

/* ---- decoding ---- */

struct view {
    uint32_t count;
    unsigned b, e, low;
    const uint8_t *slots, *places, *lows;
};

static bool is_old(struct str table) { return table.n < 8 || (uint8_t)table.p[4] != LAYOUT; }

static int open_table(struct str table, struct view *v) {
    struct reader r = reader_over(table.p, table.n);
    v->count = reader_u32(&r);
    const uint32_t shape = reader_u32(&r);
    v->b = shape >> 8 & 255;
    v->e = shape >> 16 & 255;
    if (shape >> 24 || v->e > SLOT_BITS || v->b + v->e != log2_of(v->count)) return -KEEL_E_CORRUPT;
    v->low = 64 - v->b - v->e;
    v->slots = reader_take(&r, ((size_t)4 << v->b) + 4);
    v->places = reader_take(&r, places_bytes(v->count, v->b + v->e));
    v->lows = reader_take(&r, lows_bytes(v->count, v->low) + PAD);
    return r.bad || reader_left(&r) != 4 ? -KEEL_E_CORRUPT : 0;
}

static bool place_taken(const struct view *v, uint64_t place) {
    return v->places[place / 8] >> place % 8 & 1;
}

/* The place behind the k-th 0 from `from` on; the low bits' bytes behind allow to read on. */
static uint64_t skip_zeros(const struct view *v, uint64_t from, unsigned k) {
    while (k > 0) {
        uint64_t empty = ~bits_at(v->places, from, 64);
        unsigned zeros = (unsigned)__builtin_popcountll(empty);
        if (zeros < k) {
            from += 64;
            k -= zeros;
            if (from / 64 * 8 >= (uint64_t)(v->lows - v->places)) break;
            continue;
        }
        while (--k > 0) empty &= empty - 1;
        from += (unsigned)__builtin_ctzll(empty) + 1;
    }
    return from;
}

int part_keys_find(struct str table, struct event_key key) {
    if (is_old(table)) return find_old(table, key);
    struct view v;
    TRY(open_table(table, &v));
    const uint64_t slot = top_bits(key.lo, v.b), low = low_bits(key.lo, v.low);
    const uint32_t from = u32_at(v.slots, slot), to = u32_at(v.slots, slot + 1);
    if (from > to || to > v.count) return -KEEL_E_CORRUPT;
    const unsigned skip = (unsigned)low_bits(top_bits(key.lo, v.b + v.e), v.e);
    uint64_t place = from + (slot << v.e), i = skip_zeros(&v, place, skip) - place - skip + from;
    for (place = i + top_bits(key.lo, v.b + v.e); i < to && place_taken(&v, place); i++, place++)
        if (bits_at(v.lows, i * v.low, v.low) == low) return 1;
    return 0;
}

/* All keys in order. */
static int walk(struct str table, part_keys_each_fn *each, void *ctx) {
    struct view v;
    TRY(open_table(table, &v));
    uint64_t high = 0, last = 0;
    uint32_t i = 0, slot = 0;
    const uint64_t end = (uint64_t)v.count + (UINT64_C(1) << (v.b + v.e));
    for (uint64_t place = 0; place < end; place++) {
        if (high % (UINT64_C(1) << v.e) == 0 && high >> v.e == slot) {
            if (u32_at(v.slots, slot++) != i) return -KEEL_E_CORRUPT;
        }
        if (!place_taken(&v, place)) {
            high++;
            continue;
        }
        if (i == v.count) return -KEEL_E_CORRUPT;
        uint64_t key = bits_at(v.lows, (uint64_t)i * v.low, v.low);
        if (v.low < 64) key |= high << v.low;
        if (key < last) return -KEEL_E_CORRUPT;
        last = key;
        if (each) each(ctx, (struct event_key){.lo = key});
        i++;
    }
    const uint32_t last_slot = u32_at(v.slots, (size_t)1 << v.b);
    return i == v.count && last_slot == i ? 0 : -KEEL_E_CORRUPT;
}

int part_keys_each(struct str table, uint32_t count, part_keys_each_fn *each, void *ctx) {
    uint32_t said, sum;
    if (table.n < 12) return -KEEL_E_CORRUPT;
    memcpy(&said, table.p, 4);
    memcpy(&sum, table.p + table.n - 4, 4);
    if (said != count || sum != (uint32_t)hash64(table.p, table.n - 4)) return -KEEL_E_CORRUPT;
    return is_old(table) ? walk_old(table, each, ctx) : walk(table, each, ctx);
}

static void put_next(void *ctx, struct event_key key) {
    struct event_key **to = ctx;
    *(*to)++ = key;
}

int part_keys_decode(struct str table, struct event_key *out, uint32_t count) {
    return part_keys_each(table, count, put_next, &out);
}

int part_keys_check(struct str table, uint32_t count) {
    return part_keys_each(table, count, NULL, NULL);
}
