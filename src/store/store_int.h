/* Private state of the store, shared by store.c (open, ingest, snapshots) and compact.c (flush and
 * compaction: what turns sources into parts). */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "store/manifest.h"
#include "store/part.h"
#include "store/store.h"

/* A part in force, or still held by a snapshot; its file goes with the last reference once it is
 * doomed. */
struct held_part {
    _Atomic uint32_t refs;
    uint64_t id;
    struct part *part;
    _Atomic bool doomed;
};

/* Times between which a part may hold the key of an event: parts that one merge wrote share its
 * keys in any order, so all of them have the span of all. */
struct key_span {
    int64_t min_time, max_time;
};

/* An immutable list of parts, by bucket, then first arrival. Replaced as a whole. */
struct part_set {
    _Atomic uint32_t refs;
    uint32_t count;
    struct key_span *key_spans; /* [count] */
    struct held_part *parts[];
};

/* A head, or a view of it, kept alive by snapshots. */
struct held_head {
    _Atomic uint32_t refs;
    struct head *head;
};

struct held_view {
    _Atomic uint32_t refs;
    struct held_head *head;
    struct head_view *view;
    uint32_t rows, version; /* what it was made from */
};

/* What part holds under another customer than today's root, at one version of the redirects: found
 * by the first scan that asks, kept while parts and redirects stay as they are (scan_moved.c). */
struct held_moves {
    _Atomic uint32_t refs;
    struct part_set *set;
    uint32_t version;
    pthread_mutex_t lock; /* the finding */
    struct moves *found;  /* NULL until then */
};

struct snapshot_holds {
    struct part_set *set;
    struct held_view *view;
    struct held_moves *moves;
};

void moves_free(struct moves *m);
void held_moves_unref(struct store *s, struct held_moves *m);

struct store {
    char *dir;
    struct store_options options;
    struct store_client client;
    int lock_fd;
    struct manifest manifest;
    struct schema *schema;
    struct redirects *redirects;
    struct journal *journal;
    uint64_t applied_position; /* ingest: end of the last applied journal record */
    int64_t clock_ms;          /* ingest: of the last clock record */
    bool recovering;
    _Atomic bool failed;       /* no change any more, until the store is opened again */
    struct keel_error failure; /* why; written once, before `failed` */

    pthread_mutex_t ingest;
    pthread_mutex_t compacting; /* one compaction at a time                                  */
    pthread_mutex_t changing;   /* the manifest: ids of new parts, transactions              */
    pthread_mutex_t state;      /* set, head, view, moves, flushed, wake, stopping           */
    struct part_set *set;
    struct held_head *head;
    struct held_view *view; /* the last ones made, reused while nothing changed */
    struct held_moves *moves;
    struct part_set *seen_in;     /* ingest: the parts that store_seen asks, held */
    struct redirect_view flushed; /* as of the last flush: what compaction may place rows by */

    pthread_t compactor; /* with options.background */
    bool has_compactor, wake, stopping;
    pthread_cond_t woken;

    pthread_mutex_t lexicons_lock;
    struct lexicon **lexicons; /* by column id */
    uint32_t lexicon_capacity;
};

struct part_env store_part_env(struct store *s);
void store_part_path(const struct store *s, uint64_t id, char *out, size_t size);

/* 0, or the failure that ended all changes. */
int store_usable(struct store *s, struct keel_error *err) K_CHECKED;

struct part_set *part_set_ref(struct part_set *set);
void part_set_unref(struct store *s, struct part_set *set);
/* A new set: `from` without the ids in `without`, with `add` (whose references it takes). */
struct part_set *part_set_change(const struct part_set *from, const uint64_t *without,
                                 uint32_t without_count, struct held_part *const *add,
                                 uint32_t add_count);
/* The background thread: started and stopped with the store. */
void compactor_start(struct store *s);
void compactor_stop(struct store *s);
/* Lets store_seen ask the parts of now. The ingesting thread. */
void store_refresh_seen(struct store *s);
struct held_part *held_part_new(uint64_t id, struct part *part);
void held_head_unref(struct held_head *h);
void held_view_unref(struct held_view *v);
struct held_head *held_head_new(struct store *s);
