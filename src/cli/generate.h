/* The table of commands for other programs: completion for bash, a manual page.
 * Layers: output.h. Threads: none. */
#pragma once

#include "base/output.h"

void generate_completion(struct output *o); /* to be sourced */
/* roff; `errors` prints the exit statuses, as text. */
void generate_man(struct output *o, void (*errors)(struct output *));
