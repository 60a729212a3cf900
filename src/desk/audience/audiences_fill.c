/* Filling what is new, or means something else now, by steps of a few milliseconds between two
 * advances of the following thread: what is live goes on meanwhile, and waits no longer than a step
 * for its events. A segment that was edited keeps its old members until its new ones are all there;
 * then the difference is told.
 *
 * Threads: the following one. Locks: audiences.lock around what others read. Limits: a step is as
 * many customers as STEP_US allows by the one before, STEP_LEAST to STEP_MOST. */
#include <roaring/roaring.h>

#include "base/os.h"
#include "desk/audience/audiences_int.h"

enum { STEP_US = 4000, STEP_FIRST = 256, STEP_LEAST = 16, STEP_MOST = 1 << 20 };

bool audiences_filling(const struct audiences *a) { return a->filling.n > 0; }

/* ---- what is filled ---- */

struct settling {
    struct audiences *a;
    const struct saved *s;
    bool entered;
};

static bool tell_one(uint32_t customer, void *ctx) {
    struct settling *t = ctx;
    audiences_tell(t->a, t->s, customer, t->entered, OUTBOX_EDITED, t->a->clock_ms);
    return true;
}

static void tell_difference(struct audiences *a, struct saved *s, const roaring_bitmap_t *now) {
    const roaring_bitmap_t *before = audiences_members_of(a, s);
    roaring_bitmap_t *entered = roaring_bitmap_andnot(now, before);
    roaring_bitmap_t *left = roaring_bitmap_andnot(before, now);
    struct settling t = {a, s, false};
    (void)roaring_iterate(left, tell_one, &t);
    t.entered = true;
    (void)roaring_iterate(entered, tell_one, &t);
    pthread_mutex_lock(&a->lock);
    a->stats.entered += roaring_bitmap_get_cardinality(entered);
    a->stats.left += roaring_bitmap_get_cardinality(left);
    pthread_mutex_unlock(&a->lock);
    roaring_bitmap_free(entered);
    roaring_bitmap_free(left);
}

/* What was filled for it takes the place of what it had. */
static void settle(struct audiences *a, struct saved *s, uint32_t slot) {
    uint32_t before = s->slot;
    if (!s->first) tell_difference(a, s, live_members(a->live, slot));
    s->filled = s->meaning;
    s->waits = s->first = false;
    pthread_mutex_lock(&a->lock);
    if (s->members) roaring_bitmap_free(s->members);
    s->members = NULL;
    s->slot = slot;
    s->live_version = s->version;
    s->share = 0;
    pthread_mutex_unlock(&a->lock);
    a->by_slot[slot] = s;
    if (before != NO_SLOT) {
        a->by_slot[before] = NULL;
        live_remove(a->live, before);
    }
    audiences_send_batch(a);
    audiences_save_members(a, s);
    audiences_note_size(a, s);
    audiences_set_state(a, s, AUDIENCE_LIVE, NULL);
}

/* ---- steps ---- */

static void begin(struct audiences *a) {
    struct filling *f = &a->filling;
    uint32_t n = 0;
    for (const struct saved *s = a->list; s; s = s->next) n += s->waits;
    if (n == 0) return;
    f->wanted = k_alloc_array(n, sizeof *f->wanted);
    f->step = STEP_FIRST;
    audience_book_init(&a->book, a->desk);
    for (struct saved *s = a->list; s; s = s->next) {
        uint32_t slot = s->waits ? audiences_place(a, s) : NO_SLOT;
        if (slot != NO_SLOT) f->wanted[f->n++] = (struct wanted){s->id, s->meaning, slot};
    }
    audience_book_release(&a->book);
}

static void end(struct filling *f) {
    k_free(f->wanted);
    *f = (struct filling){0};
}

/* NULL: it was changed or removed meanwhile. */
static struct saved *still_wanted(struct audiences *a, const struct wanted *w) {
    struct saved *s = audiences_find(a, w->id);
    return s && s->meaning == w->meaning && s->waits ? s : NULL;
}

static void drop_unwanted(struct audiences *a) {
    struct filling *f = &a->filling;
    uint32_t n = 0;
    for (uint32_t i = 0; i < f->n; i++)
        if (still_wanted(a, &f->wanted[i]))
            f->wanted[n++] = f->wanted[i];
        else
            live_remove(a->live, f->wanted[i].slot);
    f->n = n;
}

static void fail_all(struct audiences *a, const struct keel_error *err) {
    for (uint32_t i = 0; i < a->filling.n; i++) {
        const struct wanted *w = &a->filling.wanted[i];
        struct saved *s = still_wanted(a, w);
        live_remove(a->live, w->slot);
        s->waits = false; /* until it is changed, or the server starts again */
        audiences_set_state(a, s, AUDIENCE_FAILED, err);
    }
    audiences_note_error(a, err);
}

/* So many customers that the next step takes its time, whatever the conditions cost. */
static uint32_t next_step(uint32_t step, int64_t took_us) {
    int64_t next = took_us * 2 < STEP_US ? (int64_t)step * 2 : step * STEP_US / (took_us + 1);
    return next < STEP_LEAST ? STEP_LEAST : next > STEP_MOST ? STEP_MOST : (uint32_t)next;
}

static void note_share(struct audiences *a) {
    double share = live_filled(a->live);
    pthread_mutex_lock(&a->lock);
    for (uint32_t i = 0; i < a->filling.n; i++)
        still_wanted(a, &a->filling.wanted[i])->share = share;
    pthread_mutex_unlock(&a->lock);
}

static void go_on(struct audiences *a) {
    struct filling *f = &a->filling;
    struct keel_error err = {0};
    int64_t begun = monotonic_us();
    K_ASSERT(f->wanted);
    int code = live_fill(a->live, f->step, &err);
    if (code > 0) {
        f->step = next_step(f->step, monotonic_us() - begun);
        note_share(a);
        return;
    }
    if (code < 0) fail_all(a, &err);
    for (uint32_t i = 0; i < f->n && code == 0; i++)
        settle(a, still_wanted(a, &f->wanted[i]), f->wanted[i].slot);
    end(f);
}

void audiences_fill(struct audiences *a) {
    if (a->starting) return; /* the first scan fills everything */
    if (a->filling.wanted) drop_unwanted(a);
    if (a->filling.wanted && a->filling.n == 0) end(&a->filling);
    if (!a->filling.wanted) begin(a);
    if (a->filling.n > 0) go_on(a);
}
