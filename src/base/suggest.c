/* "Did you mean …": the nearest known word by edit distance.
 *
 * Optimal string alignment distance (insert, delete, replace, swap of neighbours) on words of at
 * most 31 bytes; a candidate counts when it begins with the word, or differs in at most a third of
 * its letters. Longer words get no suggestion.
 * Layers: suggest.h. Threads: pure.
 */
#include "base/suggest.h"

#include <string.h>

enum { LONGEST = 31 };

static size_t min3(size_t a, size_t b, size_t c) {
    size_t ab = a < b ? a : b;
    return ab < c ? ab : c;
}

static size_t distance(const char *a, size_t na, const char *b, size_t nb) {
    size_t row[3][LONGEST + 2];
    size_t *before = row[0], *last = row[1], *now = row[2];
    for (size_t j = 0; j <= nb; j++) last[j] = j;
    for (size_t i = 1; i <= na; i++) {
        now[0] = i;
        for (size_t j = 1; j <= nb; j++) {
            now[j] = min3(last[j] + 1, now[j - 1] + 1, last[j - 1] + (a[i - 1] != b[j - 1]));
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
                before[j - 2] + 1 < now[j])
                now[j] = before[j - 2] + 1;
        }
        size_t *free_row = before;
        before = last;
        last = now;
        now = free_row;
    }
    return last[nb];
}

const char *suggest(const char *word, const char *(*next)(const void *ctx, size_t i),
                    const void *ctx) {
    const char *best = NULL, *name;
    size_t n = strlen(word), best_distance = LONGEST;
    if (n == 0 || n > LONGEST) return NULL;
    for (size_t i = 0; (name = next(ctx, i)); i++) {
        size_t length = strlen(name);
        if (length > LONGEST) continue;
        size_t d = strncmp(name, word, n) == 0 ? 1 : distance(word, n, name, length);
        if (d <= (length + 2) / 3 && d < best_distance) {
            best = name;
            best_distance = d;
        }
    }
    return best;
}
