/* Implementation of limit.h. */
#include "guard/limit.h"

#include <pthread.h>

#include "base/hash.h"

enum { NEIGHBOURS = 8 };

struct slot {
    uint64_t name; /* its hash; 0: free */
    int64_t began_ms;
    unsigned tries;
};

struct limit {
    pthread_mutex_t lock;
    unsigned tries;
    int64_t window_ms;
    struct slot slots[LIMIT_SLOTS];
};

_Static_assert((LIMIT_SLOTS & (LIMIT_SLOTS - 1)) == 0, "a power of two");

struct limit *limit_new(unsigned tries, int64_t window_ms) {
    struct limit *l = k_zalloc(sizeof *l);
    pthread_mutex_init(&l->lock, NULL);
    l->tries = tries;
    l->window_ms = window_ms;
    return l;
}

void limit_free(struct limit *l) {
    if (!l) return;
    pthread_mutex_destroy(&l->lock);
    k_free(l);
}

/* The slot of a name, or that which gives way. The lock is held. */
static struct slot *find(struct limit *l, uint64_t name) {
    struct slot *oldest = NULL;
    for (uint64_t i = 0; i < NEIGHBOURS; i++) {
        struct slot *s = &l->slots[(name + i) & (LIMIT_SLOTS - 1)];
        if (s->name == name) return s;
        if (!oldest || s->began_ms < oldest->began_ms) oldest = s;
    }
    return oldest;
}

unsigned limit_take(struct limit *l, struct str name, int64_t now_ms) {
    uint64_t hash = hash_str(name) | 1;
    unsigned wait = 0;
    pthread_mutex_lock(&l->lock);
    struct slot *s = find(l, hash);
    /* a clock that steps back begins a new window, too */
    if (s->name != hash || now_ms - s->began_ms >= l->window_ms || now_ms < s->began_ms)
        *s = (struct slot){hash, now_ms, 0};
    if (s->tries >= l->tries)
        wait = (unsigned)((s->began_ms + l->window_ms - now_ms + 999) / 1000);
    else
        s->tries++;
    pthread_mutex_unlock(&l->lock);
    return wait;
}

void limit_give_back(struct limit *l, struct str name) {
    uint64_t hash = hash_str(name) | 1;
    pthread_mutex_lock(&l->lock);
    struct slot *s = find(l, hash);
    if (s->name == hash && s->tries > 0) s->tries--;
    pthread_mutex_unlock(&l->lock);
}

void limit_forgive(struct limit *l, struct str name) {
    uint64_t hash = hash_str(name) | 1;
    pthread_mutex_lock(&l->lock);
    struct slot *s = find(l, hash);
    if (s->name == hash) *s = (struct slot){0};
    pthread_mutex_unlock(&l->lock);
}
