/* Histories for tests of the whole store: batches that any process can make again from a seed, and
 * a plain model that says what a data directory must hold once it has taken some of them.
 *
 * Batch k is a function of (seed, k) alone, event i of it of (seed, k, i). So a child that was
 * killed, its parent, and a later run agree on every event without talking about it; each event
 * carries its own number in the context, which a scan reads back. Batches repeat events of earlier
 * ones, come late, share devices between users, and carry line items, texts, booleans, traits.
 *
 * Layers: customer. Threads: none.
 */
#pragma once

#include "customer/db.h"

enum {
    HISTORY_BATCH_MOST = 120, /* own events of a batch                                 */
    HISTORY_ID_STEP = 128,    /* event i of batch k has the number k * this + i        */
};

struct history {
    uint64_t seed;
    uint32_t users, devices;
    uint32_t batch_events; /* a batch has 1 .. this many of its own, at most HISTORY_BATCH_MOST */
    uint32_t months;       /* moments are drawn from so many                       */
};

/* Appends batch k as db_ingest takes it; returns how many events are in it, repeated ones
 * included. `out` has room for BATCH_MAX_BYTES. */
uint32_t history_batch(const struct history *h, uint32_t k, struct buf *out);
uint32_t history_own_events(const struct history *h, uint32_t k);

/* What a directory held when it was looked at. */
struct history_found {
    uint8_t *stored; /* [batches] 1: the batch is there */
    uint64_t events;
};

/* Reads everything back and compares with the model: every event at most once, under the right
 * customer, in order, with its values; batches all or nothing; batches with must[k] there (must
 * NULL: none). Batches from `batches` on must be absent. 0, or a negative number and one sentence
 * in *err. found may be NULL; else found->stored has room for `batches`. */
int history_check(const struct history *h, struct db *db, const uint8_t *must, uint32_t batches,
                  struct history_found *found, struct keel_error *err) K_CHECKED;

/* Opens `dir` with the doctor: 0, or the first fault. */
int history_doctor(const char *dir, struct keel_error *err) K_CHECKED;
