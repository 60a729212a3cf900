/* Implementation of part_keys.h. */
#include "store/part_keys.h"

#include <stdlib.h>

enum { HEAD = 8 };

static uint16_t high(struct event_key k) { return (uint16_t)k.hi; }

static int compare(const void *a, const void *b) {
    const struct event_key *x = a, *y = b;
    if (high(*x) != high(*y)) return high(*x) < high(*y) ? -1 : 1;
    return (x->lo > y->lo) - (x->lo < y->lo);
}

static unsigned directory_bits(uint32_t count) {
    return count < 4096 ? 0 : count < (1u << 20) ? 8 : 16;
}

/* Counting sort by the 16 high bits, then each short run by qsort. */
static int sort(struct event_key *keys, uint32_t count) {
    if (count < 4096) {
        qsort(keys, count, sizeof *keys, compare);
        return 0;
    }
    uint32_t *ends = k_zalloc(65537 * sizeof *ends);
    struct event_key *sorted = k_try_alloc_array(count, sizeof *sorted);
    if (!sorted) {
        k_free(ends);
        return -KEEL_E_NO_MEMORY;
    }
    for (uint32_t i = 0; i < count; i++) ends[high(keys[i]) + 1]++;
    for (uint32_t d = 0; d < 65536; d++) ends[d + 1] += ends[d];
    for (uint32_t i = 0; i < count; i++) sorted[ends[high(keys[i])]++] = keys[i];
    for (uint32_t d = 0, from = 0; d < 65536; from = ends[d++])
        if (ends[d] - from > 1) qsort(sorted + from, ends[d] - from, sizeof *sorted, compare);
    memcpy(keys, sorted, (size_t)count * sizeof *keys);
    k_free(sorted);
    k_free(ends);
    return 0;
}

int part_keys_encode(struct event_key *keys, uint32_t count, struct buf *out) {
    unsigned d = directory_bits(count), kept = 2 - d / 8;
    size_t start = out->n;
    TRY(sort(keys, count));
    TRY(buf_add_u32(out, count));
    TRY(buf_add_u32(out, d));
    TRY(buf_reserve(out, ((size_t)4 << d) + 8 + (size_t)count * (8 + kept)));
    uint32_t at = 0;
    for (uint32_t slot = 0; slot < (1u << d); slot++) {
        while (at < count && (uint32_t)high(keys[at]) >> (16 - d) < slot) at++;
        TRY(buf_add_u32(out, at));
    }
    TRY(buf_add_u32(out, count));
    for (uint32_t i = 0; i < count; i++) {
        uint16_t hi = high(keys[i]);
        TRY(buf_add(out, &hi, kept));
        TRY(buf_add_u64(out, keys[i].lo));
    }
    return buf_add_u32(out, (uint32_t)hash64(out->p + start, out->n - start));
}

struct view {
    uint32_t count;
    unsigned bits, kept;
    const uint8_t *directory, *entries;
};

static int open_table(struct str table, struct view *v) {
    struct reader r = reader_over(table.p, table.n);
    v->count = reader_u32(&r);
    v->bits = reader_u32(&r);
    if (r.bad || (v->bits != 0 && v->bits != 8 && v->bits != 16)) return -KEEL_E_CORRUPT;
    v->kept = 2 - v->bits / 8;
    v->directory = reader_take(&r, ((size_t)4 << v->bits) + 4);
    v->entries = reader_take(&r, (size_t)v->count * (8 + v->kept));
    return r.bad || reader_left(&r) != 4 ? -KEEL_E_CORRUPT : 0;
}

static uint32_t slot_at(const struct view *v, uint32_t slot) {
    uint32_t at;
    memcpy(&at, v->directory + (size_t)slot * 4, 4);
    return at;
}

static struct event_key entry(const struct view *v, uint32_t i, uint32_t slot) {
    const uint8_t *p = v->entries + (size_t)i * (8 + v->kept);
    uint16_t hi = 0;
    struct event_key key;
    memcpy(&hi, p, v->kept);
    memcpy(&key.lo, p + v->kept, 8);
    key.hi = v->bits ? (slot << (16 - v->bits) | hi) & UINT16_MAX : hi;
    return key;
}

int part_keys_find(struct str table, struct event_key key) {
    struct view v;
    TRY(open_table(table, &v));
    uint32_t slot = v.bits ? (uint32_t)high(key) >> (16 - v.bits) : 0;
    uint32_t lo = slot_at(&v, slot), hi = slot_at(&v, slot + 1);
    if (lo > hi || hi > v.count) return -KEEL_E_CORRUPT;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        struct event_key at = entry(&v, mid, slot);
        int order = compare(&at, &key);
        if (order == 0) return 1;
        if (order < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return 0;
}

int part_keys_check(struct str table, uint32_t count) {
    struct view v;
    TRY(open_table(table, &v));
    uint32_t sum;
    memcpy(&sum, table.p + table.n - 4, 4);
    if (v.count != count || sum != (uint32_t)hash64(table.p, table.n - 4)) return -KEEL_E_CORRUPT;
    /* Look-ups divide by two: slots and entries must ascend and be complete. */
    struct event_key last = {0};
    uint32_t i = 0;
    if (slot_at(&v, 0) != 0) return -KEEL_E_CORRUPT;
    for (uint32_t slot = 0; slot < (1u << v.bits); slot++) {
        uint32_t end = slot_at(&v, slot + 1);
        if (end > v.count || end < i) return -KEEL_E_CORRUPT;
        for (; i < end; i++) {
            struct event_key key = entry(&v, i, slot);
            if (compare(&last, &key) > 0) return -KEEL_E_CORRUPT;
            last = key;
        }
    }
    return i == v.count ? 0 : -KEEL_E_CORRUPT;
}

int part_keys_decode(struct str table, struct event_key *out, uint32_t count) {
    struct view v;
    TRY(part_keys_check(table, count));
    TRY(open_table(table, &v));
    for (uint32_t slot = 0, i = 0; slot < (1u << v.bits); slot++)
        for (uint32_t end = slot_at(&v, slot + 1); i < end; i++) out[i] = entry(&v, i, slot);
    return 0;
}
