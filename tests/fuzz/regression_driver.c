/* Runs a fuzz target without libFuzzer: fuzz_NAME [-n MUTATIONS] [-s SEED] FILE_OR_FOLDER...
 *
 * Each input is run as it is and then in MUTATIONS (default 300) damaged forms: bits flipped, bytes
 * overwritten, ranges cut, doubled or moved, inputs spliced with one another. The same seed gives
 * the same inputs on every machine, so this can stand in CTest. The empty input and a set of short
 * random ones always run, so that a target without a corpus is exercised too.
 *
 * The input is handed over in a block of exactly its size: AddressSanitizer sees the first byte
 * read too many. On a crash the offending input is written to crash-<target> in the working folder
 * and its origin printed.
 *
 * Layers: stands alone; uses no room. Threads: none.
 */
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv) __attribute__((weak));
void __sanitizer_set_death_callback(void (*callback)(void)) __attribute__((weak));

enum { INPUT_MAX_BYTES = 1 << 20, INPUTS_MAX = 1 << 16, SHORT_INPUTS = 200 };

struct input {
    char *origin;
    uint8_t *bytes;
    size_t size;
};

static struct input *inputs;
static size_t n_inputs;
static uint64_t random_state;

/* What runs now, for the crash report. */
static const uint8_t *running;
static size_t running_size;
static char running_name[4200];
static char crash_path[256];

static void report_crash(void) {
    dprintf(STDERR_FILENO, "\nfuzz: failed on %s (%zu bytes)\n", running_name, running_size);
    FILE *file = fopen(crash_path, "wb");
    if (file) {
        fwrite(running, 1, running_size, file);
        fclose(file);
        dprintf(STDERR_FILENO, "fuzz: input written to %s\n", crash_path);
    }
}

static void on_signal(int number) {
    signal(number, SIG_DFL);
    report_crash();
    raise(number);
}

static uint64_t next_random(void) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state * 0x2545f4914f6cdd1dULL;
}

static size_t random_below(size_t limit) {
    return limit ? (size_t)(next_random() >> 11) % limit : 0;
}

static void *must(void *block) {
    if (!block) {
        fprintf(stderr, "fuzz: out of memory\n");
        exit(1);
    }
    return block;
}

static void run(const uint8_t *bytes, size_t size, const char *origin, unsigned long mutation) {
    uint8_t *exact = must(malloc(size ? size : 1));
    memcpy(exact, bytes, size);
    running = exact;
    running_size = size;
    snprintf(running_name, sizeof running_name, "%s, mutation %lu", origin, mutation);
    LLVMFuzzerTestOneInput(exact, size);
    free(exact);
}

static void add_file(const char *path) {
    FILE *file = fopen(path, "rb");
    if (!file || n_inputs == INPUTS_MAX) {
        fprintf(stderr, "fuzz: cannot take %s: %s\n", path, file ? "too many" : strerror(errno));
        exit(1);
    }
    uint8_t *bytes = must(malloc(INPUT_MAX_BYTES));
    size_t size = fread(bytes, 1, INPUT_MAX_BYTES, file);
    fclose(file);
    inputs[n_inputs++] = (struct input){must(strdup(path)), bytes, size};
}

static int by_name(const struct dirent **a, const struct dirent **b) {
    return strcmp((*a)->d_name, (*b)->d_name); /* independent of the locale */
}

static void add_path(const char *path) {
    struct stat status;
    if (stat(path, &status) != 0) return; /* no corpus yet */
    if (!S_ISDIR(status.st_mode)) {
        add_file(path);
        return;
    }
    struct dirent **entries;
    int n = scandir(path, &entries, NULL, by_name);
    for (int i = 0; i < n; i++) {
        char child[4096];
        snprintf(child, sizeof child, "%s/%s", path, entries[i]->d_name);
        if (entries[i]->d_name[0] != '.') add_path(child);
        free(entries[i]);
    }
    if (n >= 0) free(entries);
}

/* Applies one damage to bytes[0..size), whose block holds 2 * INPUT_MAX_BYTES; returns the size. */
static size_t damage(uint8_t *bytes, size_t size) {
    static const uint8_t telling[] = {0x00, 0xff, 0x7f, 0x80, '"', '\\',
                                      '\n', '{',  '[',  '(',  ',', '9'};
    size_t at = random_below(size + 1);
    size_t length = random_below(size - at + 1);
    switch (random_below(8)) {
    case 0: /* flip a bit */
        if (at < size) bytes[at] ^= (uint8_t)(1u << random_below(8));
        return size;
    case 1: /* overwrite with a telling byte */
        if (at < size) bytes[at] = telling[random_below(sizeof telling)];
        return size;
    case 2: /* overwrite with any byte */
        if (at < size) bytes[at] = (uint8_t)next_random();
        return size;
    case 3: /* truncate */ return at;
    case 4: /* cut a range */
        memmove(bytes + at, bytes + at + length, size - at - length);
        return size - length;
    case 5: /* double a range */
        if (size + length > INPUT_MAX_BYTES) return size;
        memmove(bytes + at + length, bytes + at, size - at);
        return size + length;
    case 6: /* insert a telling byte */
        if (size + 1 > INPUT_MAX_BYTES) return size;
        memmove(bytes + at + 1, bytes + at, size - at);
        bytes[at] = telling[random_below(sizeof telling)];
        return size + 1;
    default: { /* take the tail of another input */
        if (n_inputs == 0) return size;
        const struct input *other = &inputs[random_below(n_inputs)];
        size_t from = random_below(other->size + 1);
        size_t n = other->size - from;
        if (at + n > INPUT_MAX_BYTES) n = INPUT_MAX_BYTES - at;
        memcpy(bytes + at, other->bytes + from, n);
        return at + n;
    }
    }
}

int main(int argc, char **argv) {
    unsigned long mutations = 300, runs = 0;
    uint64_t seed = 1;
    if (LLVMFuzzerInitialize) LLVMFuzzerInitialize(&argc, &argv);
    inputs = must(calloc(INPUTS_MAX, sizeof *inputs));

    int option;
    while ((option = getopt(argc, argv, "n:s:")) != -1) {
        if (option == 'n')
            mutations = strtoul(optarg, NULL, 10);
        else if (option == 's')
            seed = strtoull(optarg, NULL, 10);
        else
            return 2;
    }
    for (int i = optind; i < argc; i++) add_path(argv[i]);

    const char *base = strrchr(argv[0], '/');
    snprintf(crash_path, sizeof crash_path, "crash-%s", base ? base + 1 : argv[0]);
    if (__sanitizer_set_death_callback) {
        __sanitizer_set_death_callback(report_crash);
    } else {
        static const int deadly[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE};
        for (size_t i = 0; i < sizeof deadly / sizeof *deadly; i++) signal(deadly[i], on_signal);
    }
    signal(SIGABRT, on_signal);

    uint8_t *bytes = must(malloc(2 * INPUT_MAX_BYTES));
    random_state = seed * 0x9e3779b97f4a7c15ULL + 1;
    run(bytes, 0, "the empty input", 0);
    for (unsigned long k = 1; k <= SHORT_INPUTS; k++, runs++) {
        size_t size = random_below(64);
        for (size_t i = 0; i < size; i++) bytes[i] = (uint8_t)next_random();
        run(bytes, size, "random bytes", k);
    }
    for (size_t i = 0; i < n_inputs; i++) {
        run(inputs[i].bytes, inputs[i].size, inputs[i].origin, 0);
        for (unsigned long k = 1; k <= mutations; k++, runs++) {
            size_t size = inputs[i].size;
            memcpy(bytes, inputs[i].bytes, size);
            for (size_t n = 1 + random_below(4); n > 0; n--) size = damage(bytes, size);
            run(bytes, size, inputs[i].origin, k);
        }
    }
    printf("%zu inputs, %lu damaged or random ones, seed %llu: ok\n", n_inputs, runs,
           (unsigned long long)seed);

    for (size_t i = 0; i < n_inputs; i++) {
        free(inputs[i].origin);
        free(inputs[i].bytes);
    }
    free(inputs);
    free(bytes);
    return 0;
}
