/* Long lines for people: folded at the width of the terminal, elsewhere left whole, so that a line
 * stays a line for grep and cut.
 *
 * A line breaks behind a comma or a space, words longer than a line anywhere; what follows is
 * indented. Control characters are shown as escapes, so that data cannot move the cursor.
 * Layers: output.h, table.h. Threads: one owner. Limits: FOLD_LINE_BYTES a line.
 */
#pragma once

#include "base/buf.h"
#include "base/output.h"

enum { FOLD_LINE_BYTES = 64 << 20, FOLD_WIDTH_MIN = 40 };

/* Cells of the terminal that the output is shown on; 0: it is no terminal. */
unsigned fold_width(const struct output *o);

/* Writes the line and its end. width 0: whole; other widths are at least FOLD_WIDTH_MIN. */
void fold_line(struct output *o, struct str line, unsigned width, unsigned indent);
