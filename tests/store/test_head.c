/* Views of a head, made while it takes rows and its customers are merged and parted, against the
 * order that sorting all rows at once gives. Earlier views stay as they were. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/rand.h"
#include "store/head/head.h"

enum { MOST = 6000, CUSTOMERS = 40, EVENTS = 5, HELD = 6, MONTH_MS = 1 << 30 };

struct row {
    uint32_t customer, number, event, arrival;
    int64_t time;
    int32_t bucket;
};

struct life {
    struct schema *schema;
    struct redirects *redirects;
    struct head *head;
    struct row rows[MOST];
    uint32_t n, events[EVENTS];
    struct rand dice;
};

struct held {
    struct head_view *view;
    struct row *rows;
    uint32_t n;
};

static struct lexicon *no_lexicon(void *ctx, uint32_t column) {
    (void)ctx, (void)column;
    return NULL;
}

static int by_place(const void *a, const void *b) {
    const struct row *x = a, *y = b;
    if (x->bucket != y->bucket) return x->bucket < y->bucket ? -1 : 1;
    if (x->customer != y->customer) return x->customer < y->customer ? -1 : 1;
    if (x->time != y->time) return x->time < y->time ? -1 : 1;
    if (x->number != y->number) return x->number < y->number ? -1 : 1;
    return (x->arrival > y->arrival) - (x->arrival < y->arrival);
}

/* Time and number of some rows of a block are those of all. */
static void check_moments(const struct source *s, uint32_t block, const struct row_block *all) {
    struct row_block *some = k_zalloc(sizeof *some);
    uint32_t from = all->n / 3, to = all->n - all->n / 4;
    struct keel_error err;
    assert_int_equal(s->ops->moments(s, block, ROWS_TIME | ROWS_NUMBER, from, to, some, &err), 0);
    for (uint32_t i = from; i < to; i++) {
        assert_int_equal(some->time[i], all->time[i]);
        assert_int_equal(some->number[i], all->number[i]);
    }
    assert_true(to == CHUNK_ROWS || some->time[to] == 0);
    k_free(some);
}

/* Rows of one source, checked to be in order, and each event's stream with them. */
static uint32_t read_source(const struct source *s, struct row *out) {
    struct row_block *b = k_alloc(sizeof *b);
    struct event_key *keys = k_alloc_array(s->rows, sizeof *keys);
    struct keel_error err = {0};
    uint32_t n = 0, ordinals[EVENTS + 1] = {0};
    assert_int_equal(s->ops->keys(s, keys, &err), 0);
    for (uint32_t block = 0; block < s->blocks; block++) {
        assert_int_equal(s->ops->rows(s, block, ROWS_ALL, b, &err), 0);
        assert_int_equal(s->block_first[block], b->customer[0]);
        assert_int_equal(s->block_last[block], b->customer[b->n - 1]);
        for (uint32_t id = 1; id <= EVENTS; id++)
            assert_int_equal(s->ops->stream_base(s, id, block), ordinals[id]);
        check_moments(s, block, b);
        for (uint32_t i = 0; i < b->n; i++, n++) {
            out[n] = (struct row){b->customer[i],       b->number[i], b->event[i],
                                  (uint32_t)keys[n].hi, b->time[i],   s->bucket};
            assert_true(b->time[i] >= s->min_time && b->time[i] <= s->max_time);
            assert_true(out[n].arrival >= s->first_arrival && out[n].arrival < s->last_arrival);
            assert_true(s->block_events[block] & event_bit(b->event[i]));
            if (n > 0) assert_true(by_place(&out[n - 1], &out[n]) < 0);
            ordinals[b->event[i]]++;
        }
    }
    assert_int_equal(n, s->rows);
    for (uint32_t c = 0; c < CUSTOMERS; c++) {
        bool has = false;
        for (uint32_t i = 0; i < n; i++) has |= out[i].customer - c < 2;
        assert_int_equal(s->ops->has_customers(s, c, 2), has);
    }
    k_free(keys);
    k_free(b);
    return n;
}

static void check_view(const struct head_view *view, const struct row *expected, uint32_t n) {
    struct source **sources;
    uint32_t count = head_view_sources(view, &sources), got = 0;
    struct row *rows = k_alloc_array(n, sizeof *rows);
    for (uint32_t i = 0; i < count; i++) got += read_source(sources[i], rows + got);
    assert_int_equal(got, n);
    for (uint32_t i = 1; i < count; i++) {
        assert_true(sources[i - 1]->bucket <= sources[i]->bucket);
        if (sources[i - 1]->bucket != sources[i]->bucket) continue;
        assert_true(sources[i - 1]->last_arrival <= sources[i]->first_arrival);
        assert_true(sources[i - 1]->rows / 4 >= sources[i]->rows);
    }
    qsort(rows, n, sizeof *rows, by_place);
    for (uint32_t i = 0; i < n; i++) {
        assert_int_equal(by_place(&rows[i], &expected[i]), 0);
        assert_int_equal(rows[i].event, expected[i].event);
    }
    k_free(rows);
}

static void add_rows(struct life *l, uint32_t count) {
    for (uint32_t i = 0; i < count && l->n < MOST; i++) {
        struct row *r = &l->rows[l->n];
        int64_t time = (int64_t)50 * MONTH_MS + l->n * 2 - rand_below(&l->dice, 20);
        if (rand_below(&l->dice, 50) == 0) time -= (int64_t)rand_below(&l->dice, 3) * MONTH_MS * 3;
        *r = (struct row){.number = rand_below(&l->dice, CUSTOMERS),
                          .event = l->events[rand_below(&l->dice, EVENTS)],
                          .arrival = l->n,
                          .time = time,
                          .bucket = bucket_of(time)};
        head_add_key(l->head, (struct event_key){l->n, l->n});
        head_row(l->head, r->number, r->time, r->event);
        l->n++;
    }
    head_publish(l->head);
}

static struct row *expect(const struct life *l, const struct redirect_view *redirects) {
    struct row *rows = k_alloc_array(l->n, sizeof *rows);
    memcpy(rows, l->rows, l->n * sizeof *rows);
    for (uint32_t i = 0; i < l->n; i++) rows[i].customer = redirect_root(redirects, rows[i].number);
    qsort(rows, l->n, sizeof *rows, by_place);
    return rows;
}

static void live(struct life *l) {
    struct held held[HELD] = {0};
    for (uint32_t step = 0; l->n < MOST; step++) {
        struct redirect_view now;
        struct held *h = &held[step % HELD];
        if (h->view) check_view(h->view, h->rows, h->n);
        head_view_free(h->view);
        k_free(h->rows);
        add_rows(l, 1 + rand_below(&l->dice, rand_below(&l->dice, 8) ? 60 : 900));
        for (uint32_t i = rand_below(&l->dice, 3); i > 0; i--)
            redirects_set(l->redirects, rand_below(&l->dice, CUSTOMERS),
                          rand_below(&l->dice, CUSTOMERS));
        redirects_view(l->redirects, &now);
        struct row *rows = expect(l, &now);
        *h = (struct held){head_view_new(l->head, 0, l->n, &now, false), rows, l->n};
        check_view(h->view, h->rows, h->n);
        if (rand_below(&l->dice, 10) == 0) {
            struct head_view *whole = head_view_new(l->head, 0, l->n, &now, true);
            assert_true(head_view_whole(whole));
            check_view(whole, h->rows, h->n);
            head_view_free(whole);
        }
        redirect_view_release(&now);
    }
    for (uint32_t i = 0; i < HELD; i++) {
        if (held[i].view) check_view(held[i].view, held[i].rows, held[i].n);
        head_view_free(held[i].view);
        k_free(held[i].rows);
    }
}

static void test_views_of_a_growing_head(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 6; seed++) {
        struct life *l = k_zalloc(sizeof *l);
        l->schema = schema_new();
        l->redirects = redirects_new();
        l->head = head_new(l->schema, no_lexicon, NULL, MOST, UINT64_MAX, 0);
        rand_init(&l->dice, seed);
        for (uint32_t i = 0; i < EVENTS; i++) {
            char name[16];
            snprintf(name, sizeof name, "Event %u", i);
            l->events[i] = (uint32_t)schema_add_event(l->schema, str_from(name));
            assert_true(l->events[i] >= 1 && l->events[i] <= EVENTS);
        }
        for (uint32_t i = 0; i < CUSTOMERS; i++) redirects_add_number(l->redirects);
        live(l);
        head_free(l->head);
        redirects_free(l->redirects);
        schema_free(l->schema);
        k_free(l);
    }
}

/* A view of fewer rows, or as of redirects before, than the newest shares nothing with it. */
static void test_a_view_behind_the_newest(void **state) {
    (void)state;
    struct life *l = k_zalloc(sizeof *l);
    struct redirect_view before, after;
    l->schema = schema_new();
    l->redirects = redirects_new();
    l->head = head_new(l->schema, no_lexicon, NULL, MOST, UINT64_MAX, 0);
    rand_init(&l->dice, 7);
    for (uint32_t i = 0; i < EVENTS; i++) {
        char name[16];
        snprintf(name, sizeof name, "Event %u", i);
        l->events[i] = (uint32_t)schema_add_event(l->schema, str_from(name));
    }
    for (uint32_t i = 0; i < CUSTOMERS; i++) redirects_add_number(l->redirects);
    add_rows(l, 1500);
    redirects_view(l->redirects, &before);
    struct row *rows = expect(l, &before);
    uint32_t n = l->n;
    add_rows(l, 300);
    redirects_set(l->redirects, 3, 4);
    redirects_view(l->redirects, &after);
    struct row *more = expect(l, &after), *unmoved = expect(l, &before);
    struct head_view *newest = head_view_new(l->head, 0, l->n, &after, false);
    struct head_view *late = head_view_new(l->head, 0, n, &before, false);
    struct head_view *whole = head_view_new(l->head, 0, n, &before, true);
    check_view(newest, more, l->n);
    struct head_view *old = head_view_new(l->head, 0, l->n, &before, false);
    check_view(old, unmoved, l->n);
    head_view_free(old);
    k_free(unmoved);
    check_view(late, rows, n);
    check_view(whole, rows, n);
    head_view_free(newest);
    head_view_free(late);
    head_view_free(whole);
    k_free(rows);
    k_free(more);
    redirect_view_release(&before);
    redirect_view_release(&after);
    head_free(l->head);
    redirects_free(l->redirects);
    schema_free(l->schema);
    k_free(l);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_views_of_a_growing_head),
        cmocka_unit_test(test_a_view_behind_the_newest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
