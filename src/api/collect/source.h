/* Sources: who may send events. A source is a website, an app or a server; its write keys stand in
 * the SDKs, and what it may do stands here.
 *
 * Kept in DIR/desk.db, tables `source` and `source_key`: the commands and the API write them there,
 * with or without a running server. A server keeps a read-only copy in memory. A key is looked up
 * in it by one probe of a hash table and no lock: `struct sources` points at a table that never
 * changes; a reload makes a new one, keeps what has not changed, and swaps the pointer. What was
 * replaced is freed by sources_close only, because a reader may still hold it: a change that a
 * person makes costs some 300 bytes, and 60 bytes a key.
 *
 * A reload happens within SOURCE_RELOAD_MS of a change, and at once when an unknown key comes.
 *
 * Layers: base, client.h. Threads: sources_* may be called by all threads; source_* (the tables) by
 * all that may use the connection. Limits: SOURCE_MAX_*.
 */
#pragma once

#include <stdatomic.h>

#include "api/collect/client.h"
#include "base/buf.h"
#include "base/sql.h"

enum {
    SOURCE_RELOAD_MS = 1000,
    SOURCE_MAX = 10000,          /* sources            */
    SOURCE_MAX_KEYS = 32,        /* keys of one source */
    SOURCE_MAX_NAME = 100,       /* bytes              */
    SOURCE_MAX_KEY = 200,        /* bytes              */
    SOURCE_MAX_ORIGINS = 4000,   /* bytes              */
    SOURCE_MAX_RATE = 100000000, /* events a second    */
};
enum { SOURCE_MOST_GRACE_S = 3650 * 24 * 3600 };
#define SOURCE_GRACE_MS (INT64_C(30) * 24 * 3600 * 1000) /* how long a rotated key still works */

const char *source_ip_text(enum client_ip policy); /* "keep", "truncate", "drop" */

/* How much a source has sent: changes all the time, and outlives changes of the source. */
struct source_meter {
    _Atomic int64_t free_us; /* monotonic: when what was sent is paid for by its rate */
};

struct event_source {
    int64_t id;
    struct str name;
    struct str origins; /* allowed, with spaces between; "": any. one star may stand for any text */
    int64_t rate;       /* events a second; 0: no limit                                    */
    int64_t burst;      /* events at once beyond it; 0: rate                               */
    enum client_ip ip;  /* of the address that an event came from, or names */
    bool enabled, strict, archive;
    int64_t created_ms;
    struct source_meter *meter;
};

struct sources;

/* Opens a connection of its own to DIR/desk.db, loads the table, starts the thread that watches. */
int sources_open(const char *dir, struct sources **out, struct keel_error *err) K_CHECKED;
void sources_close(struct sources *s); /* NULL is fine; nobody may hold a source any more */

/* The source of a write key, or NULL: unknown, or past its grace. Valid until sources_close. */
const struct event_source *sources_find(struct sources *s, struct str key, int64_t now_ms);
/* By number or name, for the API; NULL: none. */
const struct event_source *sources_by_id(struct sources *s, int64_t id);
const struct event_source *sources_by_name(struct sources *s, struct str name);
/* Calls each(ctx, source) for all, in the order of their numbers. */
void sources_each(struct sources *s, void (*each)(void *ctx, const struct event_source *source),
                  void *ctx);
int sources_reload(struct sources *s, struct keel_error *err) K_CHECKED;

/* May a page of this origin send? True if the source names none. */
bool source_allows_origin(const struct event_source *source, struct str origin);
/* Takes `events` from the source's allowance. 0, or in how many milliseconds to try again. A
 * request may overdraw by what it brings: the next ones wait for it. */
int64_t source_take(const struct event_source *source, uint32_t events, int64_t now_us);
/* The same question without taking anything: for before the body is read. */
int64_t source_wait_ms(const struct event_source *source, int64_t now_us);

/* ---- the tables ---- */

/* Opens DIR/desk.db and brings these tables up to date. */
int source_tables(struct sql *desk, struct keel_error *err) K_CHECKED;

struct source_settings {
    struct str name, key; /* key "": a new random one */
    struct str origins;
    int64_t rate, burst;
    enum client_ip ip; /* of the address that an event came from, or names */
    bool strict, archive;
};
/* KEEL_E_EXISTS: the name or the key is taken. KEEL_E_INVALID says what is wrong. *key (at least
 * SOURCE_MAX_KEY + 1 bytes) receives the write key. */
int source_add(struct sql *desk, const struct source_settings *settings, int64_t now_ms,
               int64_t *out_id, char *key, struct keel_error *err) K_CHECKED;
/* A new key; those before it work for grace_ms more. `source` is a name or a number. */
int source_rotate(struct sql *desk, struct str source, int64_t grace_ms, int64_t now_ms, char *key,
                  struct keel_error *err) K_CHECKED;
int source_enable(struct sql *desk, struct str source, bool enabled,
                  struct keel_error *err) K_CHECKED;

struct source_row {
    struct event_source source; /* meter NULL */
    struct str key;             /* the newest */
    int64_t old_keys;           /* others that still work */
};
/* Calls each(ctx, row) for all, in the order of their numbers; a negative result ends it. */
int source_list(struct sql *desk, int64_t now_ms,
                int (*each)(void *ctx, const struct source_row *row), void *ctx,
                struct keel_error *err) K_CHECKED;
/* One row as a JSON object; a failure sticks in *out. */
void source_json(const struct source_row *row, struct buf *out);
