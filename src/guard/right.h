/* What somebody may do: named rights, and sets of them.
 *
 * The first names of the enum are no rights that anybody can have: they say what a route asks of
 * who calls it. RIGHT_NONE is what a route has that declares nothing: a server with such a route
 * does not start.
 *
 * Layers: base. Threads: constant data. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"

enum right {
    RIGHT_NONE,      /* not declared: an error at the start                       */
    RIGHT_PUBLIC,    /* nobody need be known: health, signing in                  */
    RIGHT_WRITE_KEY, /* collectors: the handler asks for the write key            */
    RIGHT_SIGNED_IN, /* whoever is known: what concerns the caller alone          */
#define RIGHT(name, text, what) RIGHT_##name,
#include "guard/rights.def"
#undef RIGHT
    RIGHTS
};

typedef uint32_t right_set; /* 1 << enum right */

static inline right_set right_bit(enum right right) { return (right_set)1 << right; }
static inline bool right_in(right_set set, enum right right) { return set & right_bit(right); }

/* Nobody need be known, or the handler itself asks for a write key. */
static inline bool right_is_open(enum right right) {
    return right == RIGHT_PUBLIC || right == RIGHT_WRITE_KEY;
}

right_set right_all(void); /* every right that somebody can have */
const char *
right_text(enum right right); /* "personal.read"; of the first four "none", "public", … */
const char *right_what(enum right right);             /* what it allows, in words             */
bool right_by_text(struct str text, enum right *out); /* of those that somebody can have */
/* ["query","kpi.read"] */
void right_json(right_set set, struct buf *out);
