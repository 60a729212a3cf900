/* Redirects: whose timeline a customer number's rows belong to, now.
 *
 * The identity graph (src/customer) hands every identifier a number and decides which numbers are
 * one person; the store only follows: root(n) is the number that n's rows are read under. Rows keep
 * the number they came with, so a merge writes one redirect and can be undone.
 *
 * Versions: each change makes the version grow and is logged, so that a part written at version v
 * knows which of its rows have moved since. A view shares the table of pages: taking one costs
 * nothing, the first change behind it copies the table (8 bytes a page) and each page it touches.
 *
 * Layers: base. Threads: one writer (the ingesting thread, under the store's lock); a
 * `struct redirect_view` is immutable and may be read anywhere until released.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct redirects;

struct redirect_move {
    uint32_t number;  /* whose root changed               */
    uint32_t from;    /* its root until then              */
    uint32_t version; /* the version that the change made */
};

struct redirect_view {
    uint32_t numbers; /* numbers 0..numbers-1 are in use */
    uint32_t version;
    struct redirect_page *const *pages;
    const struct redirect_move *moves; /* the log, oldest first; stable     */
    uint32_t move_count;
    struct redirect_table *table; /* kept alive: pages, moves */
    struct redirect_move_log *log;
};

enum { REDIRECT_PAGE_BITS = 14, REDIRECT_PAGE = 1 << REDIRECT_PAGE_BITS };

struct redirect_page {
    uint32_t refs; /* atomic */
    bool identity; /* every number of the page is its own root */
    uint32_t root[REDIRECT_PAGE];
};

struct redirects *redirects_new(void);
void redirects_free(struct redirects *r);
uint32_t redirects_add_number(struct redirects *r); /* the next number; its own root */
void redirects_set(struct redirects *r, uint32_t number, uint32_t root);
uint32_t redirects_root(const struct redirects *r, uint32_t number);
uint32_t redirects_numbers(const struct redirects *r);
uint32_t redirects_version(const struct redirects *r);
void redirects_view(struct redirects *r, struct redirect_view *out);
/* Another hold on the same view. */
void redirect_view_copy(const struct redirect_view *v, struct redirect_view *out);
void redirect_view_release(struct redirect_view *v);

/* Bits of the numbers first … first + count - 1 that are their own root; count <= numbers - first.
 * Writes whole words. */
void redirect_roots(const struct redirect_view *v, uint32_t first, uint32_t count, uint64_t *bits);

static inline uint32_t redirect_root(const struct redirect_view *v, uint32_t number) {
    const struct redirect_page *page = v->pages[number >> REDIRECT_PAGE_BITS];
    return page->root[number & (REDIRECT_PAGE - 1)];
}
