/* Buffered text to a file, to standard output or into memory.
 *
 * The first failed write sticks: later calls do nothing, output_close reports it. So a writer of
 * many small pieces checks once, and a long one may look at output_failed() now and then.
 * Layers: uses os.h. Threads: one owner. Limits: one piece of at most OUTPUT_BYTES for output_room.
 */
#pragma once

#include "base/buf.h"
#include "base/error.h"
#include "base/os.h"
#include "base/str.h"

enum { OUTPUT_BYTES = 1 << 20 };

struct output {
    int fd;
    bool owned; /* close fd at the end */
    const char *path;
    struct buf *into; /* instead of fd */
    char *p;
    size_t n;
    uint64_t flushed_bytes;
    struct keel_error error; /* error.code: first failure */
};

/* NULL or "-" is standard output; another path is created or overwritten. */
int output_open(struct output *o, const char *path, struct keel_error *err) K_CHECKED;
/* A writer for an open descriptor (standard error, a test's pipe); `path` names it in errors. */
void output_over(struct output *o, int fd, const char *path);
/* A writer that adds to a buffer: its maximum is the limit. */
void output_into(struct output *o, struct buf *into);
/* Flushes, closes, frees; returns the first failure. Must be called once for every open. */
int output_close(struct output *o, struct keel_error *err) K_CHECKED;
/* Closes and frees without flushing, after another error. */
void output_discard(struct output *o);

void output_add(struct output *o, const void *p, size_t n);
static inline void output_str(struct output *o, struct str s) { output_add(o, s.p, s.n); }
static inline void output_text(struct output *o, const char *s) { output_add(o, s, strlen(s)); }
static inline void output_char(struct output *o, char c) { output_add(o, &c, 1); }
void output_printf(struct output *o, const char *format, ...) K_PRINTF(2, 3);
/* "1 event", "2 events", "0 events": regular nouns. */
void output_count(struct output *o, uint64_t n, const char *noun);
void output_flush(struct output *o);
static inline int output_failed(const struct output *o) { return o->error.code; }
static inline uint64_t output_bytes(const struct output *o) { return o->flushed_bytes + o->n; }

/* Room for `bytes` at the end of the buffer, to be filled by hand and then announced. */
static inline char *output_room(struct output *o, size_t bytes) {
    if (OUTPUT_BYTES - o->n < bytes) output_flush(o);
    return o->p + o->n;
}
static inline void output_advance(struct output *o, const char *end) {
    o->n = (size_t)(end - o->p);
}
