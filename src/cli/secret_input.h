/* A secret that somebody types or a program pipes in: never an argument, which every user of the
 * machine could read.
 * Layers: base/os.h. Threads: none. Limits: SECRET_INPUT_MAX bytes. */
#pragma once

#include "base/buf.h"

enum { SECRET_INPUT_MAX = 2048 };

/* On a terminal asks twice without showing it; else reads the first line of standard input. The
 * buffer is the caller's: secret_input_clear when done. */
int secret_input(const char *what, struct buf *out, struct keel_error *err) K_CHECKED;
void secret_input_clear(struct buf *b);
