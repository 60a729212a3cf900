/* What the files of the pipeline share:
 *
 *   collect.c         queue, applier, committer, back-pressure, the collector's life
 *   collect_read.c    a request's body into a job: source, batch, plan
 *
 * A job is one request on its way: made by the thread of its connection, then owned by the queue,
 * the applier, the committer, each in turn.
 */
#pragma once

#include <pthread.h>

#include "api/collect/collect.h"

struct job {
    struct job *next;
    struct request *request; /* NULL: of collect_again, which waits for `waiter`   */
    struct waiter *waiter;
    const struct dialect *dialect;
    struct collect_outcome outcome;
    struct collect_item *items; /* outcome.items, to be written                    */
    struct arena arena;         /* items, details, fates                           */
    struct buf batch;           /* empty: nothing to be stored                     */
    uint32_t stored;            /* events in the batch                             */
    uint8_t *fates;             /* enum ingest_fate of them                        */
    uint32_t held;              /* items with COLLECT_QUARANTINED                  */
    size_t bytes;               /* counted against the queue's bound               */
    uint64_t position;          /* of its record in the journal; 0: none           */
    int code;                   /* why it was not stored, or 0                     */
};

/* The tools of a thread that reads a body; a few are kept for the next one. */
struct desk_tools {
    struct desk_tools *next;
    struct segment_reader *reader;
    struct batch_writer writer;
    struct arena arena; /* names of a batch that is checked */
    struct buf details;
    /* The body at hand. */
    struct job *job;
    struct collector *collector;
    uint32_t room;                   /* in job->items */
    uint64_t nonce;                  /* of the request, or of what is taken again */
    const struct collect_past *past; /* or NULL */
    bool no_memory;
    const char *broken; /* why the body is no JSON, static; NULL: it is       */
    uint64_t broken_at; /* byte of it, from 1; 0: not known                   */
};

struct queue {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct job *first, **last;
    bool stopping;
};

struct collector {
    struct collect_options options;
    struct sources *sources;
    struct db *db;
    struct collect_hooks hooks;
    struct queue to_apply, to_commit;
    pthread_t applier, committer;
    bool has_applier, has_committer;
    _Atomic uint64_t nonce; /* of the last request: microseconds, and never the same one twice */
    _Atomic uint64_t waiting_requests, waiting_bytes, requests, events, commits;
    pthread_mutex_t lock; /* tools, failure */
    struct desk_tools *tools;
    _Atomic bool failed;
    struct keel_error failure; /* written once, before `failed` */
    _Atomic bool blocked;      /* the last batch found no room, which is tried again      */
};

enum { DETAILS_BYTES = 64 << 10, JOB_ARENA_BYTES = 256 << 20 };

/* ---- collect_read.c ---- */

/* How a request is turned away. */
struct refusal {
    int status;
    const char *code, *message; /* static */
    const char *detail;         /* the message with what and where, of the job; NULL: none */
    unsigned retry_seconds;     /* of 429 and 503 */
};

struct reading {
    struct str body;
    struct client client; /* ip: what the request asks for; the stricter of it and the source's */
    const struct event_source *source; /* known already, or NULL: the body's key says */
    struct str origin;                 /* of the page that sent, or empty             */
    int type;
    bool strict;
    const struct collect_past *past; /* collect_again: no limits of rate and origin; or NULL */
    unsigned flags;
    struct str violations; /* out: of strict mode, a JSON array, the job's */
};

/* Fills the job from a body: its source, items, batch. False: *why, and nothing is to be stored. */
bool collect_read(struct collector *c, struct job *job, struct reading *reading,
                  struct refusal *why);

struct desk_tools *tools_take(struct collector *c); /* NULL: no memory */
void tools_put(struct collector *c, struct desk_tools *t);
void tools_free(struct desk_tools *t);

/* ---- collect.c ---- */

struct job *job_new(const struct dialect *dialect, int64_t received_ms); /* NULL: no memory */
void job_free(struct job *job);
