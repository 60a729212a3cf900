/* The raw archive: accepted events with the JSON that was sent, for replays and for evidence.
 *
 *   DIR/archive/<hour>-<start>.ndjson.zst    hour in UTC ("2026-11-22T02"), start of the process in
 *                                            ms; a zstd frame for each write, one line a request:
 *   {"receivedAt":T,"source":NAME,"type":T,"connection":{…},"sentAt":T,"context":{…},
 *    "batch":[EVENT,…]}
 *
 * sentAt, context and batch are the sender's own bytes (line breaks become spaces); type stands
 * there if the path of the request said it. A line is a Segment batch, so other tools read it too.
 * Only what was accepted is kept: what was refused was not taken, what is in quarantine is kept
 * there. connection is what is needed to take the events again as they were taken:
 *   {"ip":"203.0.113.0","userAgent":"…","own":true,"policy":1,"sentMs":0}
 * the address as the policy keeps it (enum client_ip), the agent if the connection is the
 * customer's own. Lines of before lack it.
 *
 * DURABILITY. The archive trails the store: an event is acknowledged when the store has it, and
 * reaches the archive's file, synced, up to ARCHIVE_WRITE_MS later. A process that dies loses that
 * last moment of the archive, never of the store. A sync in step with the acknowledgement was
 * rejected: it would double the syncs of every commit, for a copy. archive_close writes what waits.
 * If the disk refuses, or is slower than what comes in, lines are dropped and counted: the archive
 * never holds up the collectors.
 *
 * Layers: collect.h, base, zstd. Threads: archive_tell from any; one of its own. Limits:
 * ARCHIVE_WAITING_BYTES. */
#pragma once

#include "api/collect/collect.h"

enum {
    ARCHIVE_WRITE_MS = 1000,
    ARCHIVE_WRITE_BYTES = 1 << 20,    /* written at once when so much waits           */
    ARCHIVE_WAITING_BYTES = 64 << 20, /* lines that find no room are dropped, counted */
};

struct archive;

struct archive_options {
    const char *dir;    /* the data directory                                       */
    bool all;           /* every source; else those that ask for it (source.archive) */
    uint32_t keep_days; /* older files are removed; 0: never                         */
};

int archive_open(const struct archive_options *options, struct archive **out,
                 struct keel_error *err) K_CHECKED;
void archive_close(struct archive *a); /* NULL is fine */

/* A collect_hooks.tell. Copies; does not wait for the disk. */
void archive_tell(struct archive *a, const struct collect_outcome *outcome);

struct archive_stats {
    uint64_t lines, events, bytes; /* written */
    uint64_t dropped_lines;
    struct keel_error last_error; /* code 0: none */
};
void archive_stats(struct archive *a, struct archive_stats *out);

/* ---- reading ---- */

struct archive_line {
    int64_t received_ms;
    struct str source;    /* JSON text, with its quotes */
    int type;             /* enum event_type, or SEGMENT_ANY_TYPE */
    bool has_client;      /* false: a line of before              */
    struct client client; /* texts live during the call          */
    struct str text; /* the line: a document for segment_read_body; a newline stands behind it */
};

struct archive_sums {
    uint64_t files, lines;
    uint64_t torn; /* files that end in the middle of a frame: their process died */
};

/* Lines of requests received in [from_ms, to_ms), file by file in the order of their names. A
 * negative result of each() ends it. KEEL_E_NOT_FOUND: there is no archive. */
int archive_read(const char *dir, int64_t from_ms, int64_t to_ms,
                 int (*each)(void *ctx, const struct archive_line *line, struct keel_error *err),
                 void *ctx, struct archive_sums *out, struct keel_error *err) K_CHECKED;
