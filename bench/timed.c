/* Runs a program and writes what it cost: bench_timed FILE PROGRAM [ARGUMENT]...
 *
 * FILE gets {"wall_ms":…,"cpu_ms":…,"peak_kb":…,"status":…}: cpu of all its threads, from wait4.
 * Standard input and output are the program's. Threads: none. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double ms_of(struct timeval t) { return (double)t.tv_sec * 1e3 + (double)t.tv_usec * 1e-3; }

int main(int argc, char **argv) {
    struct timespec from, to;
    struct rusage used;
    int status = 0;
    if (argc < 3) {
        fputs("usage: bench_timed FILE PROGRAM [ARGUMENT]...\n", stderr);
        return 64;
    }
    clock_gettime(CLOCK_MONOTONIC, &from);
    pid_t child = fork();
    if (child == 0) {
        execvp(argv[2], argv + 2);
        fprintf(stderr, "bench_timed: %s: %s\n", argv[2], strerror(errno));
        _exit(127);
    }
    if (child < 0 || wait4(child, &status, 0, &used) < 0) {
        perror("bench_timed");
        return 1;
    }
    clock_gettime(CLOCK_MONOTONIC, &to);
    FILE *f = fopen(argv[1], "w");
    if (!f) {
        perror(argv[1]);
        return 1;
    }
    int code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    fprintf(f, "{\"wall_ms\":%.1f,\"cpu_ms\":%.1f,\"peak_kb\":%ld,\"status\":%d}\n",
            (double)(to.tv_sec - from.tv_sec) * 1e3 + (double)(to.tv_nsec - from.tv_nsec) * 1e-6,
            ms_of(used.ru_utime) + ms_of(used.ru_stime), used.ru_maxrss, code);
    return fclose(f) ? 1 : code;
}
