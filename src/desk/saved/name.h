/* What people write beside what they save: a name to find it by, and texts.
 *
 * Layers: base. Threads: pure. Limits: NAME_BYTES, NAME_TEXT_BYTES. */
#pragma once

#include "base/sql.h"

enum {
    NAME_BYTES = 200,
    NAME_TEXT_BYTES = 4000, /* a description, a purpose, an owner */
};

/* A name: one line of text that is no number, since things are found by either. `what` is the
 * thing: "segment". */
int name_check(struct str name, const char *what, struct keel_error *err) K_CHECKED;
/* A text: UTF-8 of at most `most` bytes without control characters but line breaks and tabs.
 * `what`: "description". */
int name_check_text(struct str text, const char *what, size_t most,
                    struct keel_error *err) K_CHECKED;
/* KEEL_E_NOT_FOUND, which proposes the nearest of the names in the first column of `rows`. */
int name_missing(struct str name, const char *what, struct sql_rows *rows,
                 struct keel_error *err) K_CHECKED;
