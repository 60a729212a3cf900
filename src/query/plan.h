/* The plan of one query: names resolved against the schema, what to read, and how.
 *
 * A query is answered by *machines* (machine.h): accumulators over events that hold a small state
 * per customer. The plan knows which events and columns each machine needs and arranges them in
 * *passes*: scans over a range of customers. A rare event that is read for itself alone comes from
 * its posting copy; machines that need a customer's events in order share one ordered pass.
 *
 * Unknown events and properties are no errors: nobody did them. A note in the answer says so.
 *
 * Layers: ast.h, customer/db.h. Threads: built by one thread, then immutable while workers run.
 * Limits: PLAN_MAX_*; memory of the plan PLAN_ARENA_BYTES.
 */
#pragma once

#include "customer/db.h"
#include "query/feed.h"
#include "query/language/ast.h"
#include "query/moments.h"

enum {
    PLAN_MAX_MACHINES = 256,
    PLAN_MAX_PASSES = 64,
    PLAN_MAX_COLUMNS = 1024,
    PLAN_MAX_NOTES = 16
};
#define PLAN_ARENA_BYTES ((size_t)256 << 20)

struct machine;
struct test;

struct pass {
    unsigned stage; /* 0: who the customers are; 1: the answer */
    bool ordered, all_events;
    bool blind; /* no machine asks which event a row is of */
    uint32_t *events;
    uint32_t n_events;
    uint32_t *columns; /* ids, for the scan */
    uint32_t n_columns;
    int32_t slot_of[PLAN_MAX_COLUMNS]; /* handle -> index in columns, or -1 */
    struct span span;
    struct machine **machines;
    uint32_t n_machines;
};

struct plan {
    struct db *db;
    struct store *store;
    struct schema *schema;
    const struct snapshot *snap;
    const struct query *q;
    const struct time_zone *zone;
    int64_t at_ms;
    segment_lookup segment; /* NULL: there are no saved segments */
    void *segment_ctx;
    struct arena arena;
    struct machine *machines[PLAN_MAX_MACHINES];
    uint32_t n_machines;
    uint32_t columns[PLAN_MAX_COLUMNS]; /* handle -> column id */
    uint32_t n_columns;
    uint32_t range_size; /* customers of one range */
    uint32_t n_caches;   /* results of tests by lexicon code, one table each a worker */
    struct test **tests; /* to be released */
    uint32_t n_tests, tests_cap;
    struct pass passes[PLAN_MAX_PASSES];
    uint32_t n_passes;
    /* Changes when a property that is read from one place now (the context, for want of a property
     * of that name) is read from another one once the store knows more: for who compiles again. */
    uint64_t provisional;
    struct str notes[PLAN_MAX_NOTES];
    uint32_t n_notes;
};

void plan_init(struct plan *p, struct db *db, const struct snapshot *snap, const struct query *q,
               int64_t at_ms);
void plan_release(struct plan *p);

/* A test that lives in the arena: its pattern is freed with the plan. */
void plan_own_test(struct plan *p, struct test *t);
/* A span cut to where there are events: what periods are listed for. */
struct span plan_span(const struct plan *p, struct span span);
/* The handle of a column, given out on first use. */
int plan_column(struct plan *p, uint32_t column_id, uint32_t *out_handle,
                struct keel_error *err) K_CHECKED;
/* One sentence beside the answer; the same one once. */
void plan_note(struct plan *p, const char *format, ...) K_PRINTF(2, 3);
/* A note that a name is unknown, with the nearest known ones (notes.c). `event` is the stream of
 * the event that lacks the property, $identify for a trait; empty: several events. */
void plan_note_event(struct plan *p, struct str name);
void plan_note_property(struct plan *p, struct str event, struct str path);

/* Registers a machine; its needs must be complete. */
int plan_add(struct plan *p, struct machine *m, struct keel_error *err) K_CHECKED;
/* Arranges the machines in passes. */
int plan_passes(struct plan *p, struct keel_error *err) K_CHECKED;
/* What was planned, in words: one line a pass. */
int plan_explain(const struct plan *p, struct buf *out) K_CHECKED;
