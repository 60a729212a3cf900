/* Rows that lie under another customer than today's root.
 *
 * A part was written at some version of the redirects; a number that moved since has its rows, if
 * it has any in that part, under the root it had then: the `from` of its first later move.
 * Candidates are sorted by that root, so that the part's blocks are decoded once, in order, however
 * many moved.
 */
#include <stdlib.h>

#include "store/scan_int.h"

struct candidate {
    uint32_t placed, number;
};

static int by_number(const void *a, const void *b) {
    const struct redirect_move *x = a, *y = b;
    if (x->number != y->number) return x->number < y->number ? -1 : 1;
    return (x->version > y->version) - (x->version < y->version);
}

static int by_placed(const void *a, const void *b) {
    const struct candidate *x = a, *y = b;
    if (x->placed != y->placed) return x->placed < y->placed ? -1 : 1;
    return (x->number > y->number) - (x->number < y->number);
}

static int by_root(const void *a, const void *b) {
    const struct moved *x = a, *y = b;
    if (x->root != y->root) return x->root < y->root ? -1 : 1;
    if (x->source != y->source) return x->source < y->source ? -1 : 1;
    return (x->number > y->number) - (x->number < y->number);
}

static int by_value(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static uint32_t list_candidates(const struct redirect_view *redirects, uint32_t version,
                                struct candidate **out) {
    uint32_t from = 0, n = 0;
    while (from < redirects->move_count && redirects->moves[from].version <= version) from++;
    uint32_t count = redirects->move_count - from;
    struct redirect_move *moves = k_alloc_array(count, sizeof *moves);
    memcpy(moves, redirects->moves + from, count * sizeof *moves);
    qsort(moves, count, sizeof *moves, by_number);
    *out = k_alloc_array(count, sizeof **out);
    for (uint32_t i = 0; i < count; i++) {
        if (i && moves[i].number == moves[i - 1].number) continue;
        if (redirect_root(redirects, moves[i].number) == moves[i].from) continue; /* and back */
        (*out)[n++] = (struct candidate){.placed = moves[i].from, .number = moves[i].number};
    }
    k_free(moves);
    qsort(*out, n, sizeof **out, by_placed);
    return n;
}

static bool in_block(const struct row_block *b, const struct candidate *c) {
    uint32_t lo = 0, hi = b->n;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        if (b->customer[mid] < c->placed)
            lo = mid + 1;
        else
            hi = mid;
    }
    for (; lo < b->n && b->customer[lo] == c->placed; lo++)
        if (b->number[lo] == c->number) return true;
    return false;
}

/* Which candidates have rows in the source: those stay, in place; returns how many. */
static int keep_present(const struct source *s, struct candidate *c, uint32_t n, uint32_t *kept,
                        struct keel_error *err) {
    struct row_block *block = k_alloc(sizeof *block);
    uint32_t decoded = UINT32_MAX;
    int code = 0;
    *kept = 0;
    for (uint32_t i = 0; i < n && code == 0; i++) {
        uint32_t b = source_find_block(s, c[i].placed);
        for (; b < s->blocks && s->block_first[b] <= c[i].placed && code == 0; b++) {
            if (b != decoded) code = s->ops->rows(s, b, ROWS_CUSTOMER | ROWS_NUMBER, block, err);
            decoded = b;
            if (code == 0 && in_block(block, &c[i])) {
                c[(*kept)++] = c[i];
                break;
            }
        }
    }
    k_free(block);
    return code;
}

static void note_disturbed(struct group *g) {
    uint32_t *d = k_alloc_array((size_t)g->moved_count * 2, sizeof *d), n = 0;
    for (uint32_t i = 0; i < g->moved_count; i++) {
        d[n++] = g->moved[i].root;
        d[n++] = g->moved[i].placed;
    }
    qsort(d, n, sizeof *d, by_value);
    for (uint32_t i = 0; i < n; i++)
        if (i == 0 || d[i] != d[i - 1]) d[g->disturbed_count++] = d[i];
    g->disturbed = d;
}

int group_find_moved(struct group *g, const struct redirect_view *redirects,
                     struct keel_error *err) {
    uint32_t capacity = 0;
    for (uint32_t k = 0; k < g->count; k++) {
        const struct source *s = g->sources[k];
        if (s->identity_version >= redirects->version) continue;
        struct candidate *c;
        uint32_t kept, n = list_candidates(redirects, s->identity_version, &c);
        int code = keep_present(s, c, n, &kept, err);
        if (code == 0 && g->moved_count + kept > capacity) {
            capacity = (g->moved_count + kept) * 2;
            g->moved = k_realloc(g->moved, capacity * sizeof *g->moved);
        }
        for (uint32_t i = 0; i < kept && code == 0; i++)
            g->moved[g->moved_count++] =
                (struct moved){.root = redirect_root(redirects, c[i].number),
                               .placed = c[i].placed,
                               .number = c[i].number,
                               .source = k};
        k_free(c);
        TRY(code);
    }
    if (g->moved_count) {
        qsort(g->moved, g->moved_count, sizeof *g->moved, by_root);
        note_disturbed(g);
    }
    return 0;
}
