/* What the programs that run an engine for bench/run share: the protocol and the measuring.
 *
 * A request on standard input is a line "COMMAND BYTES" and so many bytes of text. The reply on
 * standard output is one line of JSON,
 *     {"wall_ms":…,"cpu_ms":…,"before_kb":…,"peak_kb":…,"bytes":…,"error":…}
 * and so many bytes of answer: one JSON array a row, every value a text or null.
 *
 * wall and cpu are taken around the engine's own call; cpu is the whole process's, all threads.
 * peak_kb is the highest resident memory during the call (the kernel's mark is reset before it),
 * before_kb the resident memory before. All three may be those of another process, a server's.
 * Threads: one reads requests.
 */
#pragma once

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

struct measured {
    double wall_ms, cpu_ms;
    long before_kb, peak_kb;
    pid_t pid; /* whose; 0: of this process */
};

struct answer { /* grows as rows are written */
    char *text;
    size_t n, cap;
};

static inline double engine_clock_ms(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

static inline FILE *engine_proc(pid_t pid, const char *name, const char *mode) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/%s", (int)(pid ? pid : getpid()), name);
    return fopen(path, mode);
}

/* "VmHWM:" or "VmRSS:" of a process. */
static inline long engine_memory_kb(pid_t pid, const char *name) {
    char line[256];
    long kb = -1;
    FILE *f = engine_proc(pid, "status", "r");
    if (!f) return kb;
    while (kb < 0 && fgets(line, sizeof line, f))
        if (strncmp(line, name, strlen(name)) == 0) kb = strtol(line + strlen(name), NULL, 10);
    fclose(f);
    return kb;
}

static inline double engine_cpu_ms(pid_t pid) {
    clockid_t clock = CLOCK_PROCESS_CPUTIME_ID;
    if (pid && clock_getcpuclockid(pid, &clock) != 0) return 0;
    return engine_clock_ms(clock);
}

static inline void engine_start(struct measured *m) {
    FILE *f = engine_proc(m->pid, "clear_refs", "w");
    if (f) {
        fputs("5", f); /* resets VmHWM */
        fclose(f);
    }
    m->before_kb = engine_memory_kb(m->pid, "VmRSS:");
    m->cpu_ms = engine_cpu_ms(m->pid);
    m->wall_ms = engine_clock_ms(CLOCK_MONOTONIC);
}

static inline void engine_stop(struct measured *m) {
    m->wall_ms = engine_clock_ms(CLOCK_MONOTONIC) - m->wall_ms;
    m->cpu_ms = engine_cpu_ms(m->pid) - m->cpu_ms;
    m->peak_kb = engine_memory_kb(m->pid, "VmHWM:");
}

static inline void answer_put(struct answer *a, const char *p, size_t n) {
    if (!a->text || a->n + n > a->cap) {
        a->cap = (a->n + n) * 2 + 4096;
        a->text = realloc(a->text, a->cap);
        if (!a->text) {
            fputs("out of memory\n", stderr);
            exit(1);
        }
    }
    memcpy(a->text + a->n, p, n);
    a->n += n;
}

static inline void answer_text(struct answer *a, const char *text) {
    answer_put(a, text, strlen(text));
}

static inline void answer_json_text(struct answer *a, const char *p, size_t n) {
    answer_text(a, "\"");
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)p[i];
        char escaped[8];
        if (c == '"' || c == '\\') {
            answer_text(a, "\\");
            answer_put(a, p + i, 1);
        } else if (c < 0x20) {
            snprintf(escaped, sizeof escaped, "\\u%04x", c);
            answer_text(a, escaped);
        } else {
            answer_put(a, p + i, 1);
        }
    }
    answer_text(a, "\"");
}

/* The next request: its text ends in NUL and is valid until the next call; 0 at the end. */
static inline int engine_request(char command[16], char **text) {
    static char *held;
    char line[64];
    if (!fgets(line, sizeof line, stdin)) return 0;
    char *space = strchr(line, ' ');
    if (!space || space - line > 15) return 0;
    memcpy(command, line, (size_t)(space - line));
    command[space - line] = 0;
    size_t n = strtoul(space + 1, NULL, 10);
    free(held);
    held = malloc(n + 1);
    if (!held || fread(held, 1, n, stdin) != n) return 0;
    held[n] = 0;
    *text = held;
    return 1;
}

/* error == NULL: it went well. */
static inline void engine_reply(const struct measured *m, const struct answer *a,
                                const char *error) {
    struct answer head = {0};
    char numbers[256];
    snprintf(numbers, sizeof numbers,
             "{\"wall_ms\":%.4f,\"cpu_ms\":%.4f,\"before_kb\":%ld,\"peak_kb\":%ld,\"bytes\":%zu,"
             "\"error\":",
             m->wall_ms, m->cpu_ms, m->before_kb, m->peak_kb, error ? 0 : a->n);
    answer_text(&head, numbers);
    if (error)
        answer_json_text(&head, error, strlen(error));
    else
        answer_text(&head, "null");
    answer_text(&head, "}\n");
    fwrite(head.text, 1, head.n, stdout);
    if (!error) fwrite(a->text, 1, a->n, stdout);
    fflush(stdout);
    free(head.text);
}
