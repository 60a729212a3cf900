/* Progress of long work, on standard error: a bar with rate and time left on a terminal, a plain
 * line every few seconds elsewhere, nothing when quiet.
 *
 *     struct progress p;
 *     progress_start(&p, "importing", "event", total, quiet);   total 0: unknown
 *     progress_update(&p, done);                                 as often as convenient
 *     progress_finish(&p, done);                                 clears the bar, prints the sum
 *
 * Layers: uses os.h. Threads: one owner. progress_update costs a comparison most of the time: it
 * reads the clock only after another 1/64 of what was done in the last tenth of a second.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct progress {
    const char *what, *noun;
    uint64_t total;       /* 0: unknown */
    uint64_t look_at;     /* read the clock when done reaches this */
    uint64_t looked_done; /* done at the last look at the clock */
    int64_t started_us, shown_us, looked_us;
    bool quiet, terminal, bar_shown;
};

void progress_start(struct progress *p, const char *what, const char *noun, uint64_t total,
                    bool quiet);
void progress_show(struct progress *p, uint64_t done); /* looks at the clock, perhaps draws */
static inline void progress_update(struct progress *p, uint64_t done) {
    if (done >= p->look_at) progress_show(p, done);
}
/* The closing line: "importing: 1,200,000 events in 2.1 s, 570,000/s". */
void progress_finish(struct progress *p, uint64_t done);
/* Removes the bar without a closing line, before an error message. */
void progress_stop(struct progress *p);
