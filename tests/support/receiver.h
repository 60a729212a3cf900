/* An HTTP receiver for tests of webhooks: it answers as the path asks, and remembers what came.
 *
 *   /ok          200                            /slow     200 after 50 ms
 *   /flaky       500 for the first try of an id, then 200
 *   /down        500 until receiver_up          /busy     429 with Retry-After: 1 once, then 200
 *   /gone        410                            /bad      400
 *   /hang        never answers                  /redirect 302 to /ok
 *
 * Every request's signature is checked against the secret. Threads: its own; the functions from any
 * one. Limits: RECEIVER_IDS ids. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum { RECEIVER_IDS = 20000 };

struct receiver;

struct receiver *receiver_start(void); /* on a free port of 127.0.0.1 */
void receiver_stop(struct receiver *r);
unsigned receiver_port(const struct receiver *r);
void receiver_secret(struct receiver *r, const char *secret); /* to check with */
void receiver_up(struct receiver *r, bool up);

unsigned receiver_ids(struct receiver *r);      /* different ids answered 2xx                 */
unsigned receiver_requests(struct receiver *r); /* requests in all                            */
unsigned receiver_most_at_once(struct receiver *r);
unsigned receiver_bad_signatures(struct receiver *r);
/* Calls each for every body that was answered 2xx the first time, in order of arrival. */
void receiver_each(struct receiver *r, void (*each)(void *ctx, const char *body), void *ctx);
