/* Which folders of backups still need a journal's files: told by DIR/journal/backups, so that it
 * holds in every process. Text, one line a folder:
 *
 *     <position> <bytes> <folder>
 *
 * The newest backup in `folder` has all below `position`; what lies behind is kept for the next
 * one, up to `bytes` behind the journal's end. A folder's line goes with its next backup's; of more
 * than JOURNAL_NOTES_MOST folders, the one that is furthest behind is forgotten.
 *
 * Layers: base. Threads: one writer at a time (journal.h). */
#pragma once

#include <stdint.h>

#include "base/error.h"

enum { JOURNAL_NOTES_MOST = 16, JOURNAL_NOTE_NAME_BYTES = 1024 };

struct journal_note {
    uint64_t position, bytes;
    char folder[JOURNAL_NOTE_NAME_BYTES];
};

struct journal_notes {
    struct journal_note *note; /* [JOURNAL_NOTES_MOST], or NULL: none */
    size_t n;
};

/* Lines that cannot be read are left out: what they kept can be copied no more, and a restore says
 * so. */
void journal_notes_read(const char *dir, struct journal_notes *out);
void journal_notes_release(struct journal_notes *notes);
/* bytes 0: the folder is forgotten. */
void journal_notes_set(struct journal_notes *notes, const char *folder, uint64_t position,
                       uint64_t bytes);
int journal_notes_write(const char *dir, const struct journal_notes *notes,
                        struct keel_error *err) K_CHECKED;
/* Nothing at or behind this is to be trimmed from a journal that ends at `end`; UINT64_MAX: no
 * folder needs any of it. */
uint64_t journal_notes_hold(const struct journal_notes *notes, uint64_t end);
