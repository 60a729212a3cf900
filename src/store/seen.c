/* The dedup: was an event with this key taken before?
 *
 * The rule is store_seen's (store.h): parts and heads of the months near the event say exactly. Of
 * most events they would all say no, at three misses of the cache a part. So each month that is
 * asked often has a sieve (sieve.h) of all its keys, and only what passes it is looked up. A sieve
 * is made of the month's parts and heads, and gets each key that is taken from then on; merging
 * parts changes nothing of it. When it is full it is dropped, and made anew at twice the size.
 *
 * A month's sieve is made when as many keys were looked up without it as make up for reading all
 * that the month has (LOOKED_UP_ONE_IN). So events in any order cost a bounded share more, also
 * where more months come by turns than there are sieves.
 *
 * Layers: store_int.h, sieve.h. Threads: the ingesting one (`ingest`). Limits: STORE_SIEVES months;
 * SIEVES_MOST_BYTES, of which those asked longest ago leave first.
 */
#include "base/time.h"
#include "store/store_int.h"

enum {
    LOOKED_UP_LEAST = 16,
    LOOKED_UP_ONE_IN = 8,
    ROOM_LEAST = 1 << 10,
    SIEVES_MOST_BYTES = 256 << 20,
};

void store_refresh_seen(struct store *s) {
    struct store_version *old = s->seen;
    s->seen = version_ref(s);
    s->near.to_ms = s->near.from_ms = 0;
    version_unref(old);
}

void store_forget_sieves(struct store *s) {
    for (uint32_t i = 0; i < STORE_SIEVES; i++) sieve_drop(&s->months[i].sieve);
}

/* ---- months ---- */

/* The entry of a month; that asked longest ago becomes it. */
static struct asked_month *month_of(struct store *s, int32_t bucket) {
    struct asked_month *m = &s->months[0];
    for (uint32_t i = 0; i < STORE_SIEVES; i++) {
        struct asked_month *at = &s->months[i];
        if (at->known && at->bucket == bucket) {
            m = at;
            break;
        }
        if (at->last_asked < m->last_asked) m = at;
    }
    if (!m->known || m->bucket != bucket) {
        sieve_drop(&m->sieve);
        *m = (struct asked_month){.bucket = bucket, .known = true};
    }
    m->last_asked = ++s->asked;
    return m;
}

static uint64_t month_rows(const struct store *s, const struct near *n, int32_t bucket) {
    uint64_t rows = 0;
    for (uint32_t i = n->first_part; i < n->end_part; i++) {
        const struct source *part = part_source(s->seen->set->parts[i]->part);
        if (part->bucket == bucket) rows += part->rows;
    }
    return rows;
}

/* The months that an event of this moment is compared with, and their parts. The same for most of
 * the events that follow. */
static const struct near *near_of(struct store *s, int64_t time_ms) {
    const int64_t reach = (int64_t)STORE_DEDUP_DAYS * MS_PER_DAY;
    struct near *n = &s->near;
    if (time_ms >= n->from_ms && time_ms < n->to_ms) return n;
    int32_t first = bucket_of(time_ms - reach), last = bucket_of(time_ms + reach);
    int64_t from[] = {bucket_start(first) + reach, bucket_start(last) - reach};
    int64_t to[] = {bucket_start(first + 1) + reach, bucket_start(last + 1) - reach};
    *n = (struct near){.from_ms = from[0] > from[1] ? from[0] : from[1],
                       .to_ms = to[0] < to[1] ? to[0] : to[1],
                       .first_ms = bucket_start(first),
                       .end_ms = bucket_start(last + 1),
                       .last_ms = bucket_start(last),
                       .month = {month_of(s, first), month_of(s, last)}};
    const struct part_set *set = s->seen->set;
    while (n->first_part < set->count &&
           part_source(set->parts[n->first_part]->part)->bucket < first)
        n->first_part++;
    n->end_part = n->first_part;
    while (n->end_part < set->count && part_source(set->parts[n->end_part]->part)->bucket <= last)
        n->end_part++;
    for (uint32_t i = 0; i < 2; i++)
        n->month[i]->enough =
            LOOKED_UP_LEAST + month_rows(s, n, n->month[i]->bucket) / LOOKED_UP_ONE_IN;
    return n;
}

/* ---- sieves ---- */

static void put_key(void *ctx, struct event_key key) {
    struct sieve *sieve = ctx;
    sieve_put(sieve, key.lo);
}

/* Makes room for one more sieve of any size. */
static void drop_oldest(struct store *s, const struct asked_month *but) {
    size_t bytes = SIEVE_MOST_BYTES;
    for (uint32_t i = 0; i < STORE_SIEVES; i++) bytes += sieve_bytes(&s->months[i].sieve);
    while (bytes > SIEVES_MOST_BYTES) {
        struct asked_month *oldest = NULL;
        for (uint32_t i = 0; i < STORE_SIEVES; i++) {
            struct asked_month *m = &s->months[i];
            if (m == but || !m->sieve.words) continue;
            if (!oldest || m->last_asked < oldest->last_asked) oldest = m;
        }
        if (!oldest) return;
        bytes -= sieve_bytes(&oldest->sieve);
        sieve_drop(&oldest->sieve);
        oldest->answered = 0;
    }
}

static int make_sieve(struct store *s, const struct near *n, struct asked_month *m,
                      struct keel_error *err) {
    const struct store_version *v = s->seen;
    uint64_t keys = month_rows(s, n, m->bucket);
    for (uint32_t i = 0; i < v->view_count; i++) keys += head_rows(v->views[i]->head->head);
    drop_oldest(s, m);
    sieve_make(&m->sieve, ROOM_LEAST + keys * 2);
    int code = 0;
    for (uint32_t i = n->first_part; i < n->end_part && code == 0; i++)
        if (part_source(v->set->parts[i]->part)->bucket == m->bucket)
            code = part_each_key(v->set->parts[i]->part, put_key, &m->sieve, err);
    const int64_t from = bucket_start(m->bucket), to = bucket_start(m->bucket + 1);
    for (uint32_t i = 0; i < v->view_count && code == 0; i++)
        head_each_key(v->views[i]->head->head, from, to, put_key, &m->sieve);
    if (code < 0) sieve_drop(&m->sieve);
    return code;
}

/* Behind a question that the months themselves had to answer. */
static int note_question(struct store *s, const struct near *n, struct keel_error *err) {
    for (uint32_t i = 0; i < 2; i++) {
        struct asked_month *m = n->month[i];
        if (!m->sieve.words && ++m->answered >= m->enough) TRY(make_sieve(s, n, m, err));
    }
    return 0;
}

static void add_key(struct store *s, struct asked_month *m, struct event_key key) {
    head_add_key(s->head->head, key);
    if (!m->sieve.words) return;
    sieve_put(&m->sieve, key.lo);
    if (m->sieve.keys < m->sieve.room) return;
    sieve_drop(&m->sieve);
    m->answered = UINT64_MAX / 2; /* it has paid: the next question makes a larger one */
}

/* ---- questions ---- */

static bool have_sieves(const struct near *n) {
    return n->month[0] && n->month[0]->sieve.words && n->month[1]->sieve.words;
}

void store_prefetch_seen(const struct store *s, struct event_key key) {
    const struct near *n = &s->near; /* most likely also of the event that comes */
    if (have_sieves(n)) {
        sieve_prefetch(&n->month[0]->sieve, key.lo);
        sieve_prefetch(&n->month[1]->sieve, key.lo);
        head_prefetch_key(s->head->head, key);
        return;
    }
    for (uint32_t i = 0; i < s->seen->view_count; i++)
        head_prefetch_key(s->seen->views[i]->head->head, key);
}

static int look_up(const struct store *s, const struct near *n, struct event_key key,
                   struct keel_error *err) {
    const struct store_version *v = s->seen; /* its last head is the one that takes rows */
    for (uint32_t i = 0; i < v->view_count; i++)
        if (head_has_key(v->views[i]->head->head, key, n->first_ms, n->end_ms)) return 1;
    for (uint32_t i = n->first_part; i < n->end_part; i++) {
        int found = part_has_key(v->set->parts[i]->part, key, err);
        if (found) return found;
    }
    return 0;
}

int store_seen(struct store *s, struct event_key key, int64_t time_ms, struct keel_error *err) {
    const struct near *n = near_of(s, time_ms);
    if (!have_sieves(n) || sieve_passes(&n->month[0]->sieve, key.lo) ||
        sieve_passes(&n->month[1]->sieve, key.lo)) {
        int found = look_up(s, n, key, err);
        if (found) return found;
        TRY(note_question(s, n, err));
    }
    add_key(s, n->month[time_ms >= n->last_ms], key);
    return 0;
}
