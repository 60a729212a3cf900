/* The reject file: what an import refused, with its place, cause and raw text.
 *
 * Duty: nothing that was in the input is lost silently. Every refused row or line is counted by
 * cause and, when a path was given, written to a CSV file with the columns
 *     file, line, cause, detail, raw
 * quoted as RFC 4180 asks, so that it can be repaired and imported again. The file is created by
 * the first refusal; an import without refusals leaves none behind (and removes an older one).
 *
 * Layers: base. Used by the CSV and the NDJSON import. Threads: one owner.
 * Limits: raw text is what the reader kept of the row, at most 1 MiB.
 */
#pragma once

#include "base/buf.h"
#include "base/error.h"

enum reject_cause {
#define REJECT_CAUSE(name, text) REJECT_##name,
#include "cli/import/rejects.def"
#undef REJECT_CAUSE
    REJECT_CAUSES
};

const char *reject_text(enum reject_cause cause);

/* One refusal. The strings are borrowed for the call only. */
struct reject {
    enum reject_cause cause;
    uint64_t line;     /* 1-based line at which the row begins           */
    uint64_t rows;     /* rows it stands for: 1, or those of a group     */
    struct str detail; /* what exactly: column, value, rule; "" if clear */
    struct str raw;    /* the row as it stood in the file                */
};

struct rejects {
    const char *path; /* NULL: count only */
    int fd;           /* -1 until the first refusal */
    struct buf out;
    uint64_t total;
    uint64_t by_cause[REJECT_CAUSES];
};

/* `path` (borrowed, NULL allowed) must outlive the writer. */
int rejects_init(struct rejects *r, const char *path, struct keel_error *err) K_CHECKED;
/* Counts the refusal and writes it; `file` is the name of the source as the user gave it. */
int rejects_add(struct rejects *r, const char *file, const struct reject *reject,
                struct keel_error *err) K_CHECKED;
/* Writes what is still buffered. */
int rejects_flush(struct rejects *r, struct keel_error *err) K_CHECKED;
void rejects_release(struct rejects *r);
