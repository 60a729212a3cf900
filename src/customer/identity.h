/* The identity graph, first form: which identifiers are one person.
 *
 * Every user_id is a known customer with a number of its own. An anonymous_id gets a number with
 * its first event that carries no user_id. An *edge* (anonymous, user, time) is recorded whenever
 * one event carries both, or an alias names them. The owner of an anonymous_id is the user of its
 * earliest edge (time, then user_id byte order): a function of the set of edges, whatever order
 * they arrived in. The store's redirects follow the owner, so past anonymous events join the
 * customer at once, and nothing is rewritten. Two users are never merged: an alias between two
 * known users is kept as an edge of kind CONFLICT and changes nothing.
 *
 * On disk: DIR/identity.log, append-only, the truth (identity_log.h), and DIR/identity.index, made
 * from it, so that readers need not load it (identity_index.h).
 *
 * Layers: store. Threads: the ingesting thread writes; readers take a lock for look-ups by text;
 * look-ups by number are lock-free for numbers of a snapshot.
 */
#pragma once

#include "store/store.h"

enum id_kind { ID_USER = 0, ID_ANONYMOUS = 1 };
enum edge_kind { EDGE_SEEN_TOGETHER = 0, EDGE_ALIAS = 1, EDGE_CONFLICT = 2 };
enum { NUMBER_NONE = UINT32_MAX };

struct edge {
    enum edge_kind kind;
    struct str anonymous_id; /* or the previous id of an alias */
    struct str user_id;
    int64_t time_ms;
    struct event_key key; /* the event that said so */
};

struct identity;

struct identity *identity_new(struct redirects *redirects, const uint8_t *store_id); /* 16 bytes */
void identity_free(struct identity *g);

/* The number of an identifier, or NUMBER_NONE. */
uint32_t identity_find(struct identity *g, enum id_kind kind, struct str id);
/* The number that an event's row belongs to, made if new; records the edge if it has both ids.
 * `ask` is identity_ask's, of the same head. */
struct identity_ask {
    uint32_t user_hash, anonymous_hash;
    uint32_t user, anonymous; /* guesses of identity_fetch, + 1; 0: none */
};
uint32_t identity_resolve(struct identity *g, const struct event_head *head,
                          const struct identity_ask *ask);
/* Identifiers lie all over the memory, three waits deep. Whoever reads events ahead asks for each
 * as soon as it is read, and some events before its turn fetches what the tables say, then the
 * texts. The ingesting thread. */
void identity_ask(const struct identity *g, const struct event_head *head,
                  struct identity_ask *out);
void identity_fetch(const struct identity *g, struct identity_ask *ask);
void identity_fetch_texts(const struct identity *g, const struct identity_ask *ask);
/* What a number was made for. */
struct str identity_id(struct identity *g, uint32_t number, enum id_kind *out_kind);
enum id_kind identity_kind(const struct identity *g, uint32_t number);

/* Edges that name an identifier: callback per edge; the newest pair first. */
void identity_edges(struct identity *g, enum id_kind kind, struct str id,
                    void (*each)(void *ctx, const struct edge *edge), void *ctx);
/* All anonymous ids owned by a user: callback per id. */
void identity_owned(struct identity *g, struct str user_id,
                    void (*each)(void *ctx, struct str anonymous_id), void *ctx);

/* Persistence: load up to `bytes` of the log in `dir`. */
int identity_load(struct identity *g, const char *dir, uint64_t bytes,
                  struct keel_error *err) K_CHECKED;
/* The same, but for look-ups alone, by identity.index if there is a good one: identity_find, _id,
 * _kind and _edges. Nothing is resolved before identity_whole. What these meet they cannot report:
 * whoever made look-ups asks identity_sound before the answer is believed. Any thread. */
int identity_load_index(struct identity *g, const char *dir, uint64_t bytes,
                        struct keel_error *err) K_CHECKED;
int identity_whole(struct identity *g, struct keel_error *err) K_CHECKED;
int identity_sound(struct identity *g, struct keel_error *err) K_CHECKED;

/* A flush: the ingesting thread seals what is new; then, by any thread, identity_save appends that
 * and syncs, giving the file's new length, again if need be; and once the manifest has noted that
 * length, identity_saved forgets that it was new. */
void identity_seal(struct identity *g);
int identity_save(struct identity *g, const char *dir, uint64_t *out_bytes,
                  struct keel_error *err) K_CHECKED;
void identity_saved(struct identity *g, uint64_t bytes);

/* Makes identity.index if it is not that of the log as it was saved last. Nobody else uses g. */
int identity_write_index(struct identity *g, const char *dir, struct keel_error *err) K_CHECKED;
/* Is it what the log says? KEEL_E_NOT_FOUND: there is none of this log. */
int identity_check_index(const char *dir, const uint8_t *store_id, uint64_t bytes,
                         struct keel_error *err) K_CHECKED;
