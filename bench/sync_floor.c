/* What the disk itself takes to make a little durable: bench_sync_floor FILE SECONDS
 *
 * Appends 4 KiB to FILE and calls fdatasync, again and again, and prints
 *     {"syncs_per_s":…,"p50_us":…,"p99_us":…}
 * A measure, no bound: the file grows with each, which a journal may avoid. It is removed. Limits:
 * SYNCS of them. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { SYNCS = 100000, BLOCK = 4096 };

static double now_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec * 1e-3;
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

int main(int argc, char **argv) {
    static double took[SYNCS];
    static char block[BLOCK];
    double seconds = argc == 3 ? strtod(argv[2], NULL) : 0;
    if (seconds <= 0) {
        fputs("usage: bench_sync_floor FILE SECONDS\n", stderr);
        return 64;
    }
    int fd = open(argv[1], O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);
    double from = now_us(), at = from;
    int n = 0;
    memset(block, 'x', sizeof block);
    while (fd >= 0 && n < SYNCS && at < from + seconds * 1e6) {
        if (write(fd, block, sizeof block) != BLOCK || fdatasync(fd)) break;
        double then = now_us();
        took[n++] = then - at;
        at = then;
    }
    if (fd < 0 || !n) {
        fprintf(stderr, "bench_sync_floor: %s: %s\n", argv[1], strerror(errno));
        return 1;
    }
    close(fd);
    unlink(argv[1]);
    qsort(took, (size_t)n, sizeof *took, ascending);
    printf("{\"syncs_per_s\":%.0f,\"p50_us\":%.0f,\"p99_us\":%.0f}\n", n / ((at - from) * 1e-6),
           took[n / 2], took[n - 1 - n / 100]);
    return 0;
}
