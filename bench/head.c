/* Views of a head that takes rows: what it costs to have all of them in order, again and again.
 *
 *   bench_head [--rows 500000] [--every 1000] [--customers 100000] [--moves 0] [--seed 1]
 *
 * Fills a head with rows of eight events, nearly in the order of time, and makes a view of all of
 * them behind every --every rows, --moves of whose customers got another root. Prints one line of
 * JSON: CPU of a row in ns for the appending alone, and for the views; the runs of the last view.
 *
 * Threads: none. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/rand.h"
#include "store/head/head.h"

enum { EVENTS = 8 };

struct options {
    uint32_t rows, every, customers, moves;
    uint64_t seed;
};

static int64_t cpu_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static struct lexicon *no_lexicon(void *ctx, uint32_t column) {
    (void)ctx, (void)column;
    return NULL;
}

static void add_rows(struct head *h, const struct options *o, struct rand *dice, uint32_t first,
                     const uint32_t *events) {
    for (uint32_t i = first; i < first + o->every && i < o->rows; i++) {
        int64_t time = 1700000000000 + i - rand_below(dice, 50);
        head_add_key(h, (struct event_key){hash_mix(i + 1), i + 1});
        head_row(h, rand_below(dice, o->customers), time, events[rand_below(dice, EVENTS)]);
    }
    head_publish(h);
}

static void run(const struct options *o) {
    struct rand dice = {0};
    struct schema *schema = schema_new();
    struct redirects *redirects = redirects_new();
    struct head *h = head_new(schema, no_lexicon, NULL, o->rows, UINT64_MAX, 0);
    struct head_view *view = NULL;
    uint32_t events[EVENTS];
    int64_t adding = 0, viewing = 0;
    rand_init(&dice, o->seed);
    for (uint32_t i = 0; i < EVENTS; i++) {
        char name[16];
        snprintf(name, sizeof name, "Event %u", i);
        events[i] = (uint32_t)schema_add_event(schema, str_from(name));
    }
    for (uint32_t i = 0; i < o->customers; i++) redirects_add_number(redirects);
    for (uint32_t first = 0; first < o->rows; first += o->every) {
        struct redirect_view now;
        int64_t t0 = cpu_ns();
        add_rows(h, o, &dice, first, events);
        for (uint32_t i = 0; i < o->moves; i++)
            redirects_set(redirects, rand_below(&dice, o->customers),
                          rand_below(&dice, o->customers));
        redirects_view(redirects, &now);
        int64_t t1 = cpu_ns();
        struct head_view *next = head_view_new(h, 0, head_rows(h), &now, false);
        head_view_free(view);
        view = next;
        viewing += cpu_ns() - t1;
        adding += t1 - t0;
        redirect_view_release(&now);
    }
    struct source **sources;
    uint32_t runs = view ? head_view_sources(view, &sources) : 0;
    printf("{\"rows\":%u,\"every\":%u,\"adding_ns\":%.1f,\"views_ns\":%.1f,\"runs\":%u}\n", o->rows,
           o->every, (double)adding / o->rows, (double)viewing / o->rows, runs);
    head_view_free(view);
    head_free(h);
    redirects_free(redirects);
    schema_free(schema);
}

int main(int argc, char **argv) {
    struct options o = {500000, 1000, 100000, 0, 1};
    for (int i = 1; i + 1 < argc; i += 2) {
        unsigned long value = strtoul(argv[i + 1], NULL, 10);
        if (!strcmp(argv[i], "--rows")) o.rows = (uint32_t)value;
        if (!strcmp(argv[i], "--every")) o.every = (uint32_t)value;
        if (!strcmp(argv[i], "--customers")) o.customers = (uint32_t)value;
        if (!strcmp(argv[i], "--moves")) o.moves = (uint32_t)value;
        if (!strcmp(argv[i], "--seed")) o.seed = value;
    }
    if (!o.rows || !o.every || !o.customers) {
        fprintf(stderr, "bench_head: --rows, --every and --customers must be above 0\n");
        return 2;
    }
    run(&o);
    return 0;
}
