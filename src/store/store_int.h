/* Private state of the store, shared by store.c (open, ingest), version.c (what snapshots see),
 * change.c (parts appear and disappear), flush.c, compact.c, background.c (their threads), seen.c
 * (the dedup). */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "store/manifest.h"
#include "store/part/part.h"
#include "store/sieve.h"
#include "store/store.h"

/* A part in force, or still held by a snapshot; its file goes with the last reference once it is
 * doomed. */
struct held_part {
    _Atomic uint32_t refs;
    uint64_t id;
    struct part *part;
    _Atomic bool doomed;
};

/* An immutable list of parts, by bucket, then first arrival. Replaced as a whole. */
struct part_set {
    _Atomic uint32_t refs;
    uint32_t count;
    struct held_part *parts[];
};

/* A head, kept alive by versions. It keeps the ones behind it alive: whoever holds a version can
 * follow what came after it, wherever that has been flushed to meanwhile. */
struct held_head {
    _Atomic uint32_t refs;
    struct head *head;
    struct held_head *next; /* held; state: set once, when the next head takes rows */
};

/* Rows [first, rows) of a head under one version of the redirects. */
struct held_view {
    _Atomic uint32_t refs;
    struct held_head *head;
    uint32_t first, rows, version;
    pthread_mutex_t lock;   /* the making; the count */
    uint32_t asked;         /* by snapshots */
    struct head_view *view; /* NULL until a snapshot asks for it */
    struct head_view
        *whole; /* NULL until HELD_VIEW_SETTLED have; then the first may be in use still */
};

/* What parts hold under another customer than today's root, at one version of the redirects: found
 * bucket by bucket by the first scan that asks, kept while parts and redirects stay as they are
 * (scan/moved.c). */
struct held_moves {
    _Atomic uint32_t refs;
    struct part_set *set;
    uint32_t version;
    pthread_mutex_t lock;      /* the making */
    struct moves *buckets;     /* NULL until a scan asks */
    struct held_moves *before; /* held until then: the newest one of the same set that has them */
};

/* What a snapshot sees: parts, rows in memory and redirects of one moment. Immutable, but for what
 * is made when it is first asked for; replaced as a whole. */
struct store_version {
    _Atomic uint32_t refs;
    struct part_set *set;
    struct redirect_view redirects;
    struct held_moves *moves;
    uint32_t view_count;
    struct held_view *views[]; /* by arrival; the last is of the head that takes rows */
};

/* A head that takes no more rows, on its way into parts, and what belongs to its end. */
struct sealed {
    struct held_head *head; /* NULL: there is none */
    struct redirect_view redirects;
    uint64_t position, arrivals; /* of the journal; of rows */
};

/* Work in the background that failed. */
struct trouble {
    uint32_t failures; /* one after another */
    int64_t retry_us;  /* monotonic: not before */
    int64_t asked_us;  /* but from then on, if somebody asks for it: trouble_ask */
    struct keel_error err;
};

/* A month that the dedup asks; see seen.c. */
struct asked_month {
    struct sieve sieve;
    int32_t bucket;
    bool known;                /* `bucket` is one */
    uint64_t last_asked;       /* of store.asked: when */
    uint64_t answered, enough; /* questions without a sieve; so many make one worth while */
};

/* Months that the dedup of an event asks, for events of [from_ms, to_ms). */
struct near {
    int64_t from_ms, to_ms;
    int64_t first_ms, end_ms; /* of the months */
    int64_t last_ms;          /* of the last one */
    uint32_t first_part, end_part;
    struct asked_month *month[2]; /* the same twice, if there is one */
};

void moves_free(struct moves *m);
void held_moves_unref(struct held_moves *m); /* NULL is fine */

/* A thread of the store's own: see background.c. */
struct background {
    struct store *store;
    int64_t (*due)(const struct store *s); /* `state` held. Monotonic; 0: at once; INT64_MAX: when
                                              something changes */
    void (*work)(struct store *s);         /* what fails is kept: change_result */
    pthread_t thread;
    bool running;
};

struct store {
    char *dir;
    struct store_options options;
    struct store_client client;
    int lock_fd;
    struct manifest manifest; /* open to all; its counters: changing */
    struct schema *schema;
    struct redirects *redirects;
    struct journal *journal;

    pthread_mutex_t ingest;
    bool torn;                  /* ingest: a batch was applied in part; see store_fail */
    uint64_t applied_position;  /* ingest: end of the last applied journal record */
    int64_t clock_ms;           /* ingest: of the last clock record */
    struct store_version *seen; /* ingest: whose parts and heads store_seen asks, held */
    struct near near;           /* ingest: in them */
    struct asked_month months[STORE_SIEVES]; /* ingest */
    uint64_t asked;                          /* ingest: counts the months asked */

    pthread_mutex_t compacting; /* one compaction at a time                                  */
    pthread_mutex_t flushing;   /* one flush at a time                                       */
    pthread_mutex_t changing;   /* ids of new parts, what the manifest says                  */
    bool trouble_noted;         /* changing: keel.db has a note of it                        */

    pthread_mutex_t state; /* all below; held for moments                               */
    struct store_version *version;
    struct held_head *head; /* takes rows; the ingesting thread reads it without the lock  */
    struct held_head *older[STORE_HEADS_MOST];
    uint32_t older_count;
    uint32_t visible_rows; /* of head */
    struct sealed sealed;  /* the head is older[0]; set by the ingesting thread, cleared by flush */
    struct redirect_view flushed; /* as of the last flush: what compaction may place rows by */
    struct trouble flush_trouble, compact_trouble;
    bool failed;               /* no change any more, until the store is opened again */
    struct keel_error failure; /* why; written once, before `failed` */
    bool wake, stopping;
    pthread_cond_t work;      /* for the two threads: sealed, wake or stopping changed */
    pthread_cond_t published; /* version changed */

    struct background flusher, compactor; /* with options.background */

    pthread_mutex_t lexicons_lock;
    struct lexicon **lexicons; /* by column id */
    uint32_t lexicon_capacity;
};

struct part_env store_part_env(struct store *s);
void store_part_path(const struct store *s, uint64_t id, char *out, size_t size);

/* Ends all changes, until the store is opened again. */
void store_stop(struct store *s, const struct keel_error *why);
/* 0, or the failure that ended all changes. */
int store_usable(struct store *s, struct keel_error *err) K_CHECKED;

/* ---- version.c ---- */

struct part_set *part_set_ref(struct part_set *set);
void part_set_unref(struct part_set *set);
/* A new set: `from` without the ids in `without`, with `add` (whose references it takes). */
struct part_set *part_set_change(const struct part_set *from, const uint64_t *without,
                                 uint32_t without_count, struct held_part *const *add,
                                 uint32_t add_count);
struct held_part *held_part_new(uint64_t id, struct part *part);
struct held_head *held_head_new(struct store *s, uint64_t first_arrival, uint32_t events);
void held_head_unref(struct held_head *h);
/* `state` held: `next` takes the rows from now on. */
void held_head_follow(struct held_head *head, struct held_head *next);

/* `state` held. Makes the next version: of these parts (NULL: as before) and redirects (NULL: as
 * before), and of the heads as they stand. Returns the one before: version_unref without the lock.
 */
struct store_version *version_publish(struct store *s, struct part_set *set,
                                      const struct redirect_view *redirects);
struct store_version *version_ref(struct store *s); /* takes `state` */
void version_unref(struct store_version *v);        /* NULL is fine */
/* The parts of now, held. */
struct part_set *current_parts(struct store *s);

/* ---- change.c: parts appear and disappear ---- */

enum { CHANGE_PARTS_MOST = 4096 };

/* A change in the making. */
struct change {
    struct store *store;
    bool unsure; /* the transaction failed at its end: it may be on disk all the same */
    struct held_part *added[CHANGE_PARTS_MOST];
    struct manifest_part entries[CHANGE_PARTS_MOST];
    uint32_t count;
};

/* Writes the rows of sources of one bucket into new parts, and reads them back. */
int change_write(struct change *c, struct source *const *sources, uint32_t count,
                 struct part_span span, const struct redirect_view *redirects,
                 struct keel_error *err) K_CHECKED;
/* Ends it: the new parts stand in for the ids in `gone`, in keel.db, then for snapshots. With
 * `flushed`, that head is in them: readers find it there from now on. */
int change_commit(struct change *c, const uint64_t *gone, uint32_t gone_count,
                  const struct sealed *flushed, struct keel_error *err) K_CHECKED;
/* Or gives it up: the new files go. */
void change_abandon(struct change *c);
/* Keeps what became of a flush or compaction, for store_stats, and a note in keel.db for the
 * doctor; a failed fsync ends all changes. It began at begun_us (monotonic). Returns code. */
int change_result(struct store *s, struct trouble *trouble, const char *what, int code,
                  int64_t begun_us, const struct keel_error *why);

/* `state` held. Somebody waits for an end of the trouble: the next try is made soon, not when its
 * pause is over. */
void trouble_ask(struct store *s, struct trouble *trouble);

/* ---- flush.c, compact.c: the threads, started and stopped with the store ---- */

/* The head that takes rows takes no more: an empty one with room for `events` stands in. No other
 * is sealed. The ingesting thread. */
void store_seal(struct store *s, uint32_t events);
/* Writes the sealed head into parts, or waits until the other thread has. Nothing sealed: 0. */
int store_flush_sealed(struct store *s, struct keel_error *err) K_CHECKED;
int64_t flush_due(const struct store *s);
void flush_work(struct store *s);
int64_t compact_due(const struct store *s);
void compact_work(struct store *s);
/* The functions above, in a thread; one that cannot be made leaves the work to whoever ingests. */
void background_start(struct background *b, struct store *s, int64_t (*due)(const struct store *s),
                      void (*work)(struct store *s));
void background_stop(struct background *b);
/* ---- seen.c ---- */

/* Lets store_seen ask the parts and heads of now. The ingesting thread. */
void store_refresh_seen(struct store *s);
/* At the end of the store. */
void store_forget_sieves(struct store *s);
