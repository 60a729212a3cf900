/* What is to be known beside an answer, such as a name that nobody used: for standard error.
 * Layers: base/output.h. Threads: none. */
#pragma once

#include "base/buf.h"

/* Whole lines; empties the buffer. Nobody may be there to read them: that is no error. */
void notes_print(struct buf *lines);
