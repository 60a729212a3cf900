/* Rendering: what emit.c, fields.c and context.c share.
 *
 * A line is copied together from pieces that were rendered before; only numbers, ids and times are
 * made afresh. Pieces are slices of one text buffer.
 * Layers: sim.h. Threads: none. Limits: a line has at most LINE_ROOM bytes.
 */
#pragma once

#include "cli/simulate/names.h"
#include "cli/simulate/sim.h"

enum {
    LINE_ROOM = 8192,
    TIME_TEXT = 24,
    SECONDS_TAIL_MAX = 160,
    CAMPAIGNS = AD_CAMPAIGNS + MAIL_CAMPAIGNS
};

struct piece {
    uint32_t at, n;
};

struct emitter {
    const struct market *m;
    struct output *out;
    struct buf text;                           /* the pieces */
    struct piece context[PROFILES][COUNTRIES]; /* "context":{… without the closing brace */
    struct piece campaign[CAMPAIGNS + 1];      /* ,"campaign":{…} */
    struct piece head[KINDS][2];               /* {"type":…,"messageId":" for browser and app */
    struct piece event[KINDS];                 /* ","event":"…","properties":{ */
    struct piece page[CATEGORIES + 1][2]; /* ","name":…,"properties":{…} for browser and app */
    uint32_t tail_second;                 /* of the cached tail: times of an ordinary event */
    uint32_t tail_n;
    char tail[SECONDS_TAIL_MAX];
};

static inline char *put_bytes(char *p, const void *from, size_t n) {
    memcpy(p, from, n);
    return p + n;
}
#define PUT(p, literal) put_bytes((p), literal, sizeof(literal) - 1)
static inline char *put_text(char *p, const char *s) { return put_bytes(p, s, strlen(s)); }
static inline char *put_piece(char *p, const struct emitter *e, struct piece piece) {
    return put_bytes(p, e->text.p + piece.at, piece.n);
}

/* "07" and friends; the decimal digits of a number. */
extern const char TWO_DIGITS[201];
static inline char *put_two(char *p, uint32_t v) { return put_bytes(p, TWO_DIGITS + 2 * v, 2); }
char *put_u32(char *p, uint32_t v);
char *put_money(char *p, uint32_t cents); /* 4995 -> 49.95, 5000 -> 50, as JSON numbers print */

/* fields.c: from after the ids to before the context: event, properties or traits. */
char *put_fields(char *p, const struct emitter *e, const struct record *r,
                 const struct line *lines);

/* context.c */
int emitter_prepare(struct emitter *e) K_CHECKED; /* renders the pieces */
