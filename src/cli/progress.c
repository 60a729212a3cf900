/* Implementation of progress.h. Writes to standard error may fail: progress is not worth an error.
 */
#include "cli/progress.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/os.h"

enum {
    BAR_CELLS = 24,
    TERMINAL_EVERY_US = 100000, /* ten pictures a second */
    PLAIN_EVERY_US = 5000000,
    LOOK_EVERY_US = 20000,
};

static void say(const char *text, size_t n) {
    struct keel_error ignored;
    (void)!file_write_all(STDERR_FILENO, text, n, "standard error", &ignored);
}

/* 1234567 -> "1,234,567"; out holds at least 32 bytes. */
static const char *grouped(uint64_t v, char *out) {
    char digits[24];
    int n = snprintf(digits, sizeof digits, "%llu", (unsigned long long)v), k = 0;
    for (int i = 0; i < n; i++) {
        if (i && (n - i) % 3 == 0) out[k++] = ',';
        out[k++] = digits[i];
    }
    out[k] = 0;
    return out;
}

static uint64_t rate(const struct progress *p, uint64_t done, int64_t now) {
    int64_t us = now - p->started_us;
    return us > 0 ? (uint64_t)((double)done * 1e6 / (double)us) : 0;
}

void progress_start(struct progress *p, const char *what, const char *noun, uint64_t total,
                    bool quiet) {
    int64_t now = monotonic_us();
    *p = (struct progress){.what = what,
                           .noun = noun,
                           .total = total,
                           .look_at = quiet ? UINT64_MAX : 1,
                           .started_us = now,
                           .shown_us = now,
                           .looked_us = now,
                           .quiet = quiet,
                           .terminal = isatty(STDERR_FILENO) == 1};
}

/* "12 s", "3 min 05 s", "2 h 10 min" */
static void time_left(char *out, size_t n, uint64_t seconds) {
    if (seconds < 60)
        snprintf(out, n, "%llu s", (unsigned long long)seconds);
    else if (seconds < 3600)
        snprintf(out, n, "%llu min %02llu s", (unsigned long long)(seconds / 60),
                 (unsigned long long)(seconds % 60));
    else
        snprintf(out, n, "%llu h %02llu min", (unsigned long long)(seconds / 3600),
                 (unsigned long long)(seconds / 60 % 60));
}

static void draw(struct progress *p, uint64_t done, int64_t now) {
    char line[256], count[32], speed[32], left[48], bar[BAR_CELLS + 1], percent[16] = "",
                                                                        eta[64] = "";
    uint64_t per_second = rate(p, done, now);
    bar[0] = 0;
    if (p->total) {
        uint64_t shown = done < p->total ? done : p->total;
        double part = (double)shown / (double)p->total;
        size_t full = (size_t)(part * BAR_CELLS);
        memset(bar, '.', BAR_CELLS);
        memset(bar, '#', full);
        bar[BAR_CELLS] = 0;
        snprintf(percent, sizeof percent, "%3.0f %%, ", part * 100);
        if (per_second) {
            time_left(left, sizeof left, (p->total - shown) / per_second);
            snprintf(eta, sizeof eta, ", %s left", left);
        }
    }
    int n = snprintf(line, sizeof line, "%s%s: %s%s%s%s%s %s%s, %s/s%s%s", p->terminal ? "\r" : "",
                     p->what, p->terminal && p->total ? "[" : "", p->terminal ? bar : "",
                     p->terminal && p->total ? "] " : "", percent, grouped(done, count), p->noun,
                     done == 1 ? "" : "s", grouped(per_second, speed), eta,
                     p->terminal ? "\x1b[K" : "\n");
    if (n > 0) say(line, (size_t)n < sizeof line ? (size_t)n : sizeof line - 1);
    p->bar_shown = p->terminal;
    p->shown_us = now;
}

void progress_show(struct progress *p, uint64_t done) {
    int64_t now = monotonic_us();
    if (now - p->shown_us >= (p->terminal ? TERMINAL_EVERY_US : PLAIN_EVERY_US)) draw(p, done, now);
    /* Look again after about LOOK_EVERY_US of work at the present speed. */
    int64_t us = now - p->looked_us > 0 ? now - p->looked_us : 1;
    double step = (double)(done - p->looked_done) * LOOK_EVERY_US / (double)us;
    p->look_at = done + 1 + (step < 1e9 ? (uint64_t)step : 1000000000u);
    p->looked_done = done;
    p->looked_us = now;
}

void progress_stop(struct progress *p) {
    static const char CLEAR[] = "\r\x1b[K";
    if (p->bar_shown) say(CLEAR, sizeof CLEAR - 1);
    p->bar_shown = false;
    p->look_at = UINT64_MAX;
}

void progress_finish(struct progress *p, uint64_t done) {
    char line[256], count[32], speed[32];
    int64_t now = monotonic_us();
    progress_stop(p);
    if (p->quiet) return;
    int n = snprintf(line, sizeof line, "%s: %s %s%s in %.1f s, %s/s\n", p->what,
                     grouped(done, count), p->noun, done == 1 ? "" : "s",
                     (double)(now - p->started_us) / 1e6, grouped(rate(p, done, now), speed));
    if (n > 0) say(line, (size_t)n < sizeof line ? (size_t)n : sizeof line - 1);
}
