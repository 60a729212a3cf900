/* `keel doctor DIR`: check every file of a data directory.
 * Layers: doctor.h, db.h. Threads: none. */
#include <stdlib.h>

#include "cli/options.h"
#include "customer/db.h"
#include "store/doctor.h"

struct args {
    bool verbose, sizes;
};

static const struct option OPTIONS[] = {
    {"verbose", OPTION_FLAG, offsetof(struct args, verbose), NULL, "also list what is sound", NULL,
     false, 0, 0},
    {"sizes", OPTION_FLAG, offsetof(struct args, sizes), NULL,
     "also show what each column of each event takes on disk", NULL, false, 0, 0},
    {0},
};

static int run(int argc, char **argv, struct keel_error *err);

const struct command cmd_doctor = {
    .name = "doctor",
    .summary = "verify every checksum and invariant of a data directory",
    .changes = COMMAND_READS,
    .operands = "DIR",
    .min_operands = 1,
    .max_operands = 1,
    .options = OPTIONS,
    .description = "Reads every file of DIR and says what is wrong and where; changes nothing.\n"
                   "Exit status 0: sound; 65: damaged.\n",
    .examples = "  keel doctor data\n  keel doctor data --verbose\n",
    .run = run,
};

enum { REGIONS_MAX = 100000 };

struct region {
    char *stream, *name;
    uint64_t bytes;
};

struct printing {
    struct output *out;
    bool verbose;
    struct region *regions; /* added up over the parts */
    size_t region_count;
};

static void good(void *ctx, const char *text) {
    struct printing *p = ctx;
    if (p->verbose) output_printf(p->out, "ok     %s\n", text);
}

static void fault(void *ctx, const char *text) {
    struct printing *p = ctx;
    output_printf(p->out, "FAULT  %s\n", text);
}

static void add_region(void *ctx, const char *stream, const char *name, uint64_t bytes) {
    struct printing *p = ctx;
    size_t i = 0;
    while (i < p->region_count &&
           (strcmp(p->regions[i].stream, stream) != 0 || strcmp(p->regions[i].name, name) != 0))
        i++;
    if (i == REGIONS_MAX) return;
    if (i == p->region_count) {
        p->regions = k_realloc(p->regions, (i + 1) * sizeof *p->regions);
        p->regions[p->region_count++] =
            (struct region){.stream = k_strdup(stream), .name = k_strdup(name)};
    }
    p->regions[i].bytes += bytes;
}

static int by_bytes(const void *a, const void *b) {
    const struct region *x = a, *y = b;
    return (x->bytes < y->bytes) - (x->bytes > y->bytes);
}

static void print_sizes(struct printing *p, uint64_t rows) {
    if (p->region_count) qsort(p->regions, p->region_count, sizeof *p->regions, by_bytes);
    output_text(p->out, "       bytes  bytes/event\n");
    for (size_t i = 0; i < p->region_count; i++) {
        struct region *r = &p->regions[i];
        output_printf(p->out, "%12llu  %11.3f  %s%s%s\n", (unsigned long long)r->bytes,
                      rows ? (double)r->bytes / (double)rows : 0,
                      *r->stream ? r->stream : "every event", ".", r->name);
        k_free(r->stream);
        k_free(r->name);
    }
    k_free(p->regions);
}

/* The identity log and the journal's events agree with the parts: shown by opening all of it. */
static void check_opening(const char *dir, struct doctor_sums *sums, struct printing *p) {
    struct db_options options = {.store = {.read_only = true}};
    struct keel_error err;
    struct db *db;
    if (db_open(dir, &options, &db, &err) < 0) {
        sums->faults++;
        fault(p, err.message);
        return;
    }
    uint32_t numbers = redirects_numbers(store_redirects(db_store(db)));
    if (sums->rows && sums->highest_number >= numbers) {
        sums->faults++;
        fault(p, "a part holds a customer that identity.log does not know; restore identity.log");
    }
    int code = db_check_identity(db, &err);
    if (code < 0 && code != -KEEL_E_NOT_FOUND) {
        sums->faults++;
        fault(p, err.message);
    } else if (code == 0) {
        good(p, "identity.index says what identity.log says");
    }
    if (db_close(db, &err) < 0) {
        sums->faults++;
        fault(p, err.message);
    }
}

static int run(int argc, char **argv, struct keel_error *err) {
    struct args args = {0};
    struct operands dirs;
    struct output out;
    struct doctor_sums sums;
    TRY(options_parse(&cmd_doctor, argc, argv, &args, &dirs, err));
    TRY(output_open(&out, NULL, err));
    struct printing printing = {.out = &out, .verbose = args.verbose};
    struct doctor_report report = {
        .ctx = &printing, .good = good, .fault = fault, .region = args.sizes ? add_region : NULL};
    int code = store_doctor(dirs.word[0], &report, &sums, err);
    if (code < 0) {
        output_discard(&out);
        return code;
    }
    if (!sums.faults) check_opening(dirs.word[0], &sums, &printing);
    if (args.sizes) print_sizes(&printing, sums.rows);
    output_printf(&out, "%s: ", dirs.word[0]);
    output_count(&out, sums.parts, "part");
    output_text(&out, ", ");
    output_count(&out, sums.rows, "event");
    output_text(&out, ", ");
    output_count(&out, sums.bytes, "byte");
    output_text(&out, "; ");
    output_count(&out, sums.journal_records, "journal record");
    output_text(&out, "; ");
    output_count(&out, sums.faults, "fault");
    output_char(&out, '\n');
    TRY(output_close(&out, err));
    if (sums.faults)
        FAIL(err, CORRUPT, "doctor: %llu fault%s in %s", (unsigned long long)sums.faults,
             sums.faults == 1 ? "" : "s", dirs.word[0]);
    return 0;
}
