/* The audit log: who did what, when, from where and how it ended. Append-only, each record chained
 * to the one before.
 *
 *   DIR/audit.log    one record a line, JSON, at most AUDIT_RECORD_MAX bytes:
 *     {"n":7,"at":"2026-03-01T09:30:00.125Z","who":"user anna","from":"192.0.2.0",
 *      "act":"PUT /api/v1/plan","object":"/api/v1/plan","outcome":200,
 *      "previous":"<64 hex>","hash":"<64 hex>"}
 *   DIR/audit.head   number and hash of the last record, written behind each record
 *   DIR/audit.key    a secret: customers stand in the log under a mark made with it
 *
 * `hash` is BLAKE2b-256 of the line's bytes before `,"hash"`; `previous` is the hash of the record
 * before, zeros for the first. A changed, moved, inserted or removed byte breaks the chain where it
 * is; records missing at the end are known by audit.head. Who may write the folder can also write
 * all of it anew: against him helps only a head that was noted elsewhere (audit_verify takes one).
 *
 * A record is on disk before audit_append returns. An end without a newline is what a crash left of
 * a record that nobody was told of, and is cut; a log that lacks records that audit.head knows is
 * refused.
 *
 * No secrets, no personal data: an object is a path of the API, a login, the name of a thing, or a
 * mark of a customer. Erasing a customer leaves marks behind that nobody can trace without
 * audit.key and the id.
 *
 * Layers: base, libsodium. Threads: any; processes: any number, by a lock on the file. Limits:
 * AUDIT_TEXT_MAX of a text, longer ones are cut.
 */
#pragma once

#include "base/buf.h"
#include "base/error.h"
#include "base/str.h"

enum { AUDIT_RECORD_MAX = 4096, AUDIT_TEXT_MAX = 300, AUDIT_HASH_TEXT = 64, AUDIT_MARK_TEXT = 32 };

struct audit;

/* Opens, or makes, the log of a data directory. */
int audit_open(const char *dir, struct audit **out, struct keel_error *err) K_CHECKED;
void audit_close(struct audit *a); /* NULL is fine */

/* Could a record be added now? For what must not be done without being noted: the log is whole as
 * far as it can be seen at its end. What stands there of a crash is cut. */
int audit_ready(struct audit *a, struct keel_error *err) K_CHECKED;

struct audit_act {
    struct str who, from, act, object;
    int outcome; /* HTTP status, or of a command 0 or its negative error code */
};
int audit_append(struct audit *a, const struct audit_act *act, struct keel_error *err) K_CHECKED;

/* What stands for a customer (or for a text that may name one) in the log. */
void audit_mark(const struct audit *a, struct str what, char out[AUDIT_MARK_TEXT + 1]);

/* Records from the newest down, as they stand in the file. before: 0, or *out_next of the page
 * before; contains: only lines with this text. *out_next 0: there are no more. */
int audit_list(struct audit *a, uint64_t before, uint32_t limit, struct str contains,
               int (*each)(void *ctx, struct str line), void *ctx, uint64_t *out_next,
               struct keel_error *err) K_CHECKED;

struct audit_verdict {
    uint64_t records, bytes; /* that are whole and in order                        */
    char head[AUDIT_HASH_TEXT + 1];
    bool broken;     /* then: behind those records                         */
    char why[256];   /* what is wrong, where                               */
    bool no_head;    /* audit.head is missing: missing records cannot be told */
    bool torn;       /* a crash left half a record that nobody was told of     */
    bool head_found; /* the head that was asked for is one of the chain    */
};
/* Reads the whole log. Broken is an answer, not an error; errors are those of reading. head: noted
 * elsewhere before, or empty. */
int audit_verify(const char *dir, struct str head, struct audit_verdict *out,
                 struct keel_error *err) K_CHECKED;

/* What of the log belongs into a backup: whole records that were just verified, and the audit.head
 * that goes with them. Nothing (bytes 0) where there is no log. A broken one is KEEL_E_CORRUPT. */
enum { AUDIT_HEAD_FILE = 20 + 1 + AUDIT_HASH_TEXT + 1 };
struct audit_copy {
    uint64_t bytes;
    char head[AUDIT_HEAD_FILE + 1];
};
int audit_for_backup(const char *dir, struct audit_copy *out, struct keel_error *err) K_CHECKED;
