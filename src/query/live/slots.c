/* Implementation of slots.h. */
#include "query/live/slots.h"

#include <stddef.h>
#include <string.h>

#include "base/mem.h"

enum { PAGE_WORDS = SLOT_PAGE / 64 };

struct slot_page {
    uint64_t there[PAGE_WORDS];
    uint16_t before[PAGE_WORDS]; /* values of the words before */
    uint16_t n, cap;             /* values */
    _Alignas(max_align_t) uint8_t values[];
};

struct place { /* where a number's value is, or would be */
    uint32_t word, index;
    uint64_t mask;
    bool there;
};

void slots_init(struct slots *t, uint32_t value_bytes) {
    *t = (struct slots){.value_bytes = value_bytes};
}

void slots_release(struct slots *t) {
    for (uint32_t i = 0; i < t->n_pages; i++) k_free(t->pages[i]);
    k_free(t->pages);
    slots_init(t, t->value_bytes);
}

static struct place place_of(const struct slot_page *page, uint32_t number) {
    uint32_t at = number % SLOT_PAGE, word = at / 64;
    uint64_t mask = (uint64_t)1 << (at % 64), there = page->there[word];
    uint32_t index = page->before[word] + (uint32_t)__builtin_popcountll(there & (mask - 1));
    return (struct place){word, index, mask, (there & mask) != 0};
}

static uint8_t *value_at(const struct slots *t, struct slot_page *page, uint32_t index) {
    return page->values + (size_t)index * t->value_bytes;
}

static size_t page_bytes(const struct slots *t, uint32_t cap) {
    return sizeof(struct slot_page) + (size_t)cap * t->value_bytes;
}

void *slots_find(const struct slots *t, uint32_t number) {
    uint32_t i = number / SLOT_PAGE;
    if (i >= t->n_pages || !t->pages[i]) return NULL;
    struct place at = place_of(t->pages[i], number);
    return at.there ? value_at(t, t->pages[i], at.index) : NULL;
}

static void add_pages(struct slots *t, uint32_t wanted) {
    uint32_t n = t->n_pages + t->n_pages / 4 + 1;
    if (n < wanted) n = wanted;
    t->pages = k_realloc(t->pages, n * sizeof(struct slot_page *));
    memset(t->pages + t->n_pages, 0, (n - t->n_pages) * sizeof(struct slot_page *));
    t->bytes += (n - t->n_pages) * sizeof(struct slot_page *);
    t->n_pages = n;
}

/* Room for one more value; an eighth more, so that a full page has grown some forty times. */
static struct slot_page *with_room(struct slots *t, struct slot_page *page) {
    if (page && page->n < page->cap) return page;
    uint32_t cap = page ? page->cap + page->cap / 8 + 2u : 2;
    if (cap > SLOT_PAGE) cap = SLOT_PAGE;
    struct slot_page *room = k_realloc(page, page_bytes(t, cap));
    if (!page) memset(room, 0, sizeof *room);
    t->bytes += page_bytes(t, cap) - (page ? page_bytes(t, room->cap) : 0);
    room->cap = (uint16_t)cap;
    return room;
}

/* The values behind a number's place move up or down by one. */
static void shift(const struct slots *t, struct slot_page *page, struct place at, bool up) {
    size_t behind = (size_t)(page->n - at.index - !up) * t->value_bytes;
    uint8_t *value = value_at(t, page, at.index);
    memmove(value + (up ? t->value_bytes : 0), value + (up ? 0 : t->value_bytes), behind);
    page->there[at.word] ^= at.mask;
    page->n = (uint16_t)(up ? page->n + 1 : page->n - 1);
    for (uint32_t w = at.word + 1; w < PAGE_WORDS; w++)
        page->before[w] = (uint16_t)(up ? page->before[w] + 1 : page->before[w] - 1);
}

void *slots_add(struct slots *t, uint32_t number, bool *out_new) {
    uint32_t i = number / SLOT_PAGE;
    if (i >= t->n_pages) add_pages(t, i + 1);
    struct slot_page *page = t->pages[i];
    struct place at = {0};
    if (page) at = place_of(page, number);
    *out_new = !at.there;
    if (at.there) return value_at(t, page, at.index);
    page = t->pages[i] = with_room(t, page);
    at = place_of(page, number);
    shift(t, page, at, true);
    return memset(value_at(t, page, at.index), 0, t->value_bytes);
}

bool slots_next(const struct slots *t, uint32_t from, uint32_t *out_number) {
    uint32_t word = from % SLOT_PAGE / 64;
    uint64_t behind = UINT64_MAX << (from % 64);
    for (uint32_t i = from / SLOT_PAGE; i < t->n_pages; i++, word = 0, behind = UINT64_MAX) {
        const struct slot_page *page = t->pages[i];
        for (; page && word < PAGE_WORDS; word++, behind = UINT64_MAX) {
            uint64_t there = page->there[word] & behind;
            if (!there) continue;
            *out_number = i * SLOT_PAGE + word * 64 + (uint32_t)__builtin_ctzll(there);
            return true;
        }
    }
    return false;
}

void slots_remove(struct slots *t, uint32_t number) {
    uint32_t i = number / SLOT_PAGE;
    if (i >= t->n_pages || !t->pages[i]) return;
    struct place at = place_of(t->pages[i], number);
    if (at.there) shift(t, t->pages[i], at, false);
}
