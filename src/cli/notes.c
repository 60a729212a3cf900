/* Implementation of notes.h. */
#include "cli/notes.h"

#include "base/output.h"

enum { STANDARD_ERROR = 2 };

void notes_print(struct buf *lines) {
    struct keel_error ignored;
    struct output words;
    if (lines->n) {
        output_over(&words, STANDARD_ERROR, "standard error");
        output_str(&words, buf_str(lines));
        (void)!output_close(&words, &ignored);
    }
    buf_release(lines);
}
