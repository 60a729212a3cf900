/* Random events and random conditions over one small world, for tests that compare the engine with
 * the naive evaluator: few people, names, colours and moments, so that things meet.
 *
 * Layers: naive.h, customer. Threads: none. Failures are CMocka's.
 */
#pragma once

#include "base/rand.h"
#include "customer/db.h"
#include "naive.h"

#define RANDOM_BASE_MS INT64_C(1300924800000) /* 2011-03-24, days before London's clocks change */

/* An event of sixty days from there on. grain: times are multiples of so many steps of six hours,
 * so that many events share one. */
void random_event(struct rand *r, uint32_t grain, struct naive_event *e);
void write_naive_event(struct batch_writer *w, const struct naive_event *e);
void ingest_written(struct db *db, struct batch_writer *w);

/* A question in the making. */
struct ask {
    struct rand *r;
    struct buf text;
};
void say(struct ask *a, const char *s);
uint32_t dice(struct ask *a, uint32_t n);
#define ONE_OF(a, ...)                                                                             \
    say(a, ((const char *const[]){__VA_ARGS__})[dice(                                              \
               a, sizeof((const char *const[]){__VA_ARGS__}) / sizeof(const char *))])

/* Saved segments "S1" to "S3": a segment_lookup. */
int random_segment(void *ctx, struct str name, const struct query_cond **out,
                   struct keel_error *err);

void say_test(struct ask *a);
void say_event(struct ask *a);
void say_tracks(struct ask *a, uint32_t n); /* different events, so that none matches two */
void say_events(struct ask *a, uint32_t most);
void say_range(struct ask *a);
void say_within(struct ask *a);
void say_measure(struct ask *a, bool customer);
void say_cond(struct ask *a, uint32_t depth);
