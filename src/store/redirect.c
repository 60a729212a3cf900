/* Implementation of redirect.h: pages of 16,384 roots in a table; a view shares the table. Before
 * the writer changes a root it copies the table that a view holds, and the page that another table
 * holds. A table grows behind what its views see. The log of moves is shared the same way: it only
 * grows, in a buffer that a view keeps alive. */
#include "store/redirect.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "base/mem.h"

struct redirect_move_log {
    _Atomic uint32_t refs;
    uint32_t capacity;
    struct redirect_move moves[];
};

struct redirect_table {
    _Atomic uint32_t refs;
    uint32_t count, capacity; /* the writer's, until the last hold is given up */
    struct redirect_page *pages[];
};

struct redirects {
    uint32_t numbers, version;
    struct redirect_table *table;
    struct redirect_move_log *log;
    uint32_t move_count;
};

enum { FIRST_MOVES = 64, FIRST_PAGES = 16 };

static struct redirect_move_log *log_new(uint32_t capacity) {
    struct redirect_move_log *log =
        k_alloc(sizeof *log + (size_t)capacity * sizeof(struct redirect_move));
    log->refs = 1;
    log->capacity = capacity;
    return log;
}

static void log_unref(struct redirect_move_log *log) {
    if (log && atomic_fetch_sub(&log->refs, 1) == 1) k_free(log);
}

static void page_unref(struct redirect_page *page) {
    if (__atomic_sub_fetch(&page->refs, 1, __ATOMIC_ACQ_REL) == 0) k_free(page);
}

static struct redirect_table *table_new(uint32_t capacity) {
    struct redirect_table *table =
        k_alloc(sizeof *table + (size_t)capacity * sizeof table->pages[0]);
    table->refs = 1;
    table->count = 0;
    table->capacity = capacity;
    return table;
}

static void table_unref(struct redirect_table *table) {
    if (!table || atomic_fetch_sub(&table->refs, 1) != 1) return;
    for (uint32_t i = 0; i < table->count; i++) page_unref(table->pages[i]);
    k_free(table);
}

/* The writer goes on in a table of its own with the same pages. */
static void copy_table(struct redirects *r, uint32_t capacity) {
    struct redirect_table *old = r->table, *table = table_new(capacity);
    for (uint32_t i = 0; i < old->count; i++) {
        __atomic_add_fetch(&old->pages[i]->refs, 1, __ATOMIC_ACQ_REL);
        table->pages[i] = old->pages[i];
    }
    table->count = old->count;
    r->table = table;
    table_unref(old);
}

struct redirects *redirects_new(void) {
    struct redirects *r = k_zalloc(sizeof *r);
    r->log = log_new(FIRST_MOVES);
    r->table = table_new(FIRST_PAGES);
    return r;
}

void redirects_free(struct redirects *r) {
    if (!r) return;
    table_unref(r->table);
    log_unref(r->log);
    k_free(r);
}

/* The page of a number, private to the writer: copied first if another table holds it. */
static struct redirect_page *own_page(struct redirects *r, uint32_t index) {
    if (atomic_load(&r->table->refs) != 1) copy_table(r, r->table->capacity);
    struct redirect_page *page = r->table->pages[index];
    if (__atomic_load_n(&page->refs, __ATOMIC_ACQUIRE) == 1) return page;
    struct redirect_page *copy = k_alloc(sizeof *copy);
    copy->refs = 1; /* not by copying: a view may release the old page at this moment */
    copy->identity = page->identity;
    memcpy(copy->root, page->root, sizeof copy->root);
    page_unref(page);
    return r->table->pages[index] = copy;
}

uint32_t redirects_add_number(struct redirects *r) {
    uint32_t number = r->numbers;
    K_ASSERT_OP(number, <, UINT32_MAX - 1);
    uint32_t index = number >> REDIRECT_PAGE_BITS;
    if (index == r->table->count) {
        if (index == r->table->capacity) copy_table(r, r->table->capacity * 2);
        /* A new page maps every number to itself, so adding a number inside it changes nothing. */
        struct redirect_page *page = k_alloc(sizeof *page);
        page->refs = 1;
        page->identity = true;
        for (uint32_t i = 0; i < REDIRECT_PAGE; i++)
            page->root[i] = (index << REDIRECT_PAGE_BITS) + i;
        r->table->pages[r->table->count++] = page;
    }
    r->numbers++;
    return number;
}

void redirects_set(struct redirects *r, uint32_t number, uint32_t root) {
    uint32_t from = redirects_root(r, number);
    if (from == root) return;
    struct redirect_page *page = own_page(r, number >> REDIRECT_PAGE_BITS);
    page->root[number & (REDIRECT_PAGE - 1)] = root;
    page->identity = false;
    if (r->move_count == r->log->capacity) {
        struct redirect_move_log *log = log_new(r->log->capacity * 2);
        memcpy(log->moves, r->log->moves, r->move_count * sizeof log->moves[0]);
        log_unref(r->log);
        r->log = log;
    }
    r->version++;
    r->log->moves[r->move_count++] =
        (struct redirect_move){.number = number, .from = from, .version = r->version};
}

uint32_t redirects_root(const struct redirects *r, uint32_t number) {
    K_ASSERT_OP(number, <, r->numbers);
    return r->table->pages[number >> REDIRECT_PAGE_BITS]->root[number & (REDIRECT_PAGE - 1)];
}

uint32_t redirects_numbers(const struct redirects *r) { return r->numbers; }
uint32_t redirects_version(const struct redirects *r) { return r->version; }

void redirects_view(struct redirects *r, struct redirect_view *out) {
    *out = (struct redirect_view){.numbers = r->numbers,
                                  .version = r->version,
                                  .pages = r->table->pages,
                                  .moves = r->log->moves,
                                  .move_count = r->move_count,
                                  .table = r->table,
                                  .log = r->log};
    atomic_fetch_add(&r->table->refs, 1);
    atomic_fetch_add(&r->log->refs, 1);
}

void redirect_view_copy(const struct redirect_view *v, struct redirect_view *out) {
    *out = *v;
    if (v->table) atomic_fetch_add(&v->table->refs, 1);
    if (v->log) atomic_fetch_add(&v->log->refs, 1);
}

void redirect_view_release(struct redirect_view *v) {
    table_unref(v->table);
    log_unref(v->log);
    *v = (struct redirect_view){0};
}

/* One byte a number, which vectorises, then eight bytes to eight bits by a multiplication. */
static uint64_t own_roots(const uint32_t *root, uint32_t number, uint32_t n) {
    uint8_t own[64] = {0};
    uint64_t word = 0;
    for (uint32_t j = 0; j < n; j++) own[j] = root[j] == number + j;
    for (uint32_t k = 0; k < 8; k++) {
        uint64_t eight;
        memcpy(&eight, own + k * 8, 8);
        word |= (eight * 0x0102040810204080u >> 56) << (k * 8);
    }
    return word;
}

void redirect_roots(const struct redirect_view *v, uint32_t first, uint32_t count, uint64_t *bits) {
    for (uint32_t i = 0; i < count; i += 64) {
        uint32_t number = first + i, n = count - i < 64 ? count - i : 64;
        const struct redirect_page *page = v->pages[number >> REDIRECT_PAGE_BITS];
        uint32_t at = number & (REDIRECT_PAGE - 1);
        if (at + n > REDIRECT_PAGE) { /* a range that begins anywhere */
            bits[i / 64] = 0;
            for (uint32_t j = 0; j < n; j++)
                bits[i / 64] |= (uint64_t)(redirect_root(v, number + j) == number + j) << j;
        } else if (page->identity) {
            bits[i / 64] = n == 64 ? UINT64_MAX : ((uint64_t)1 << n) - 1;
        } else {
            bits[i / 64] = own_roots(page->root + at, number, n);
        }
    }
}
