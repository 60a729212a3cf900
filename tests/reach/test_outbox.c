/* The outbox: what is written is read, from every place, in any shape that a release has written;
 * what nobody needs is trimmed, and only that; damage is an error that names the row.
 *
 * KEEL_SEED=n repeats one run. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>
#include <roaring/roaring.h>

#include "base/rand.h"
#include "fault_os.h"
#include "reach/outbox.h"

enum { CHANGES = 400, SEGMENTS = 6, CUSTOMERS = 5 };

static const char *const IDS[CUSTOMERS] = {"u0", "a visitor", "u2", "", "u4"};

static char dir[TEMP_PATH_MAX];

static struct sql *open_desk(const char *name) {
    struct keel_error err = {0};
    struct sql *desk;
    char path[TEMP_PATH_MAX + 40];
    snprintf(path, sizeof path, "%s/%s.db", dir, name);
    if (sql_open(path, SQL_CREATE, &desk, &err) < 0 || outbox_tables(desk, &err) < 0)
        fail_msg("%s", err.message);
    return desk;
}

static struct outbox_change some_change(struct rand *r, uint32_t customer) {
    static const char *const names[SEGMENTS] = {"A", "B", "C", "D", "E", "F"};
    uint32_t segment = rand_below(r, SEGMENTS);
    return (struct outbox_change){.segment = 1 + segment * 4096, /* all want one place */
                                  .version = 7,
                                  .name = str_from(names[segment]),
                                  .customer = customer,
                                  .kind = customer == 1 ? ID_ANONYMOUS : ID_USER,
                                  .id = str_from(IDS[customer]),
                                  .entered = rand_below(r, 2),
                                  .cause = (enum outbox_cause)rand_below(r, OUTBOX_CAUSES)};
}

/* ---- reading what was written ---- */

struct reading {
    const struct outbox_change *wanted; /* [CHANGES], number 1 first */
    int64_t next;
    uint32_t read, most;
};

static int compare(void *ctx, const struct outbox_change *c) {
    struct reading *r = ctx;
    const struct outbox_change *w = &r->wanted[c->number - 1];
    if (r->read == r->most) return 1;
    assert_int_equal(c->number, r->next++);
    assert_int_equal(c->at_ms, w->at_ms);
    assert_int_equal(c->segment, w->segment);
    assert_int_equal(c->version, w->version);
    assert_true(str_eq(c->name, w->name));
    assert_int_equal(c->customer, w->customer);
    assert_int_equal(c->kind, w->kind);
    assert_true(str_eq(c->id, w->id));
    assert_int_equal(c->entered, w->entered);
    assert_int_equal(c->cause, w->cause);
    r->read++;
    return 0;
}

/* Rows of any length, runs of one customer of any length, identifiers asked only where they are. */
static void write_changes(struct sql *desk, struct rand *r, struct outbox_change *changes) {
    struct keel_error err = {0};
    for (uint32_t i = 0, n; i < CHANGES; i += n) {
        struct outbox_batch b;
        n = 1 + rand_below(r, 60);
        if (i + n > CHANGES) n = CHANGES - i;
        outbox_batch_init(&b, i + 1, 1000 + i);
        uint32_t customer = rand_below(r, CUSTOMERS);
        for (uint32_t k = i; k < i + n; k++) {
            if (rand_below(r, 4) == 0) customer = rand_below(r, CUSTOMERS);
            changes[k] = some_change(r, customer);
            changes[k].at_ms = 1000 + i;
            struct outbox_change c = changes[k];
            if (outbox_batch_goes_on(&b, customer)) c.id = (struct str){0};
            outbox_batch_add(&b, &c);
        }
        assert_int_equal(outbox_write(desk, &b, &err), 0);
        outbox_batch_release(&b);
    }
}

static void read_as_written(void **state) {
    (void)state;
    static struct outbox_change changes[CHANGES];
    const char *given = getenv("KEEL_SEED");
    struct keel_error err = {0};
    struct rand r;
    int64_t last, first;
    rand_init(&r, given ? strtoull(given, NULL, 10) : 1);
    struct sql *desk = open_desk("written");
    write_changes(desk, &r, changes);
    assert_int_equal(outbox_end(desk, &last, &first, &err), 0);
    assert_int_equal(last, CHANGES);
    assert_int_equal(first, 1);
    for (int64_t after = 0; after <= CHANGES; after++) {
        struct reading all = {changes, after + 1, 0, CHANGES};
        assert_int_equal(outbox_read(desk, after, CHANGES, compare, &all, &last, &err), 0);
        assert_int_equal(last, CHANGES);
        struct reading some = {changes, after + 1, 0, rand_below(&r, 9)};
        assert_int_equal(outbox_read(desk, after, CHANGES, compare, &some, &last, &err), 0);
        assert_int_equal(last, after + some.read);
    }
    sql_close(desk);
}

/* A row as the first release wrote it: each change with its customer. */
static const char OLD_ROW[] = "\x01\x05\x02\x01"
                              "A"
                              "\x01\x00\x03\x00\x00\x00\x02u3"
                              "\x0a\x00\x03\x00\x00\x00\x02u3";

static void put_row(struct sql *desk, int64_t last, const char *bytes, size_t n) {
    struct keel_error err = {0};
    assert_int_equal(sql_run(desk, &err,
                             "INSERT INTO outbox(last, first, at_ms, changes) VALUES(?, ?, 5, ?)",
                             "iib", last, last - 1, (struct str){bytes, n}),
                     0);
}

static void rows_of_old_are_read(void **state) {
    (void)state;
    struct keel_error err = {0};
    const struct outbox_change changes[2] = {{.at_ms = 5,
                                              .segment = 5,
                                              .version = 2,
                                              .name = STR("A"),
                                              .customer = 3,
                                              .id = STR("u3"),
                                              .kind = ID_USER,
                                              .entered = true,
                                              .cause = OUTBOX_EVENT},
                                             {.at_ms = 5,
                                              .segment = 5,
                                              .version = 2,
                                              .name = STR("A"),
                                              .customer = 3,
                                              .id = STR("u3"),
                                              .kind = ID_ANONYMOUS,
                                              .entered = false,
                                              .cause = OUTBOX_MERGED}};
    struct sql *desk = open_desk("old");
    put_row(desk, 2, OLD_ROW, sizeof OLD_ROW - 1);
    struct reading all = {changes, 1, 0, 2};
    assert_int_equal(outbox_read(desk, 0, 9, compare, &all, NULL, &err), 0);
    assert_int_equal(all.read, 2);
    sql_close(desk);
}

static int take_any(void *ctx, const struct outbox_change *c) {
    (void)ctx, (void)c;
    return 0;
}

static void damage_is_named(void **state) {
    (void)state;
    struct keel_error err = {0};
    char row[sizeof OLD_ROW - 1];
    static const struct {
        size_t at;
        char byte;
    } damages[] = {{0, 0x7f}, {5, 0x40}, {5, 0x21}, {5, 0x15}, {6, 0x01}, {11, 0x7f}};
    struct sql *desk = open_desk("damaged");
    for (size_t i = 0; i < sizeof damages / sizeof *damages; i++) {
        memcpy(row, OLD_ROW, sizeof row);
        row[damages[i].at] = damages[i].byte;
        put_row(desk, 2, row, sizeof row);
        assert_int_equal(outbox_read(desk, 0, 9, take_any, NULL, NULL, &err), -KEEL_E_CORRUPT);
        assert_non_null(strstr(err.message, "desk.db"));
        assert_int_equal(sql_run(desk, &err, "DELETE FROM outbox", ""), 0);
    }
    sql_close(desk);
}

/* ---- trimming ---- */

static int64_t oldest(struct sql *desk) {
    struct keel_error err = {0};
    int64_t last, first;
    assert_int_equal(outbox_end(desk, &last, &first, &err), 0);
    assert_int_equal(last, 50);
    return first;
}

static void save(struct sql *desk, int64_t segment, int64_t number) {
    struct keel_error err = {0};
    roaring_bitmap_t *members = roaring_bitmap_create();
    roaring_bitmap_add(members, 9);
    assert_int_equal(outbox_save_members(desk, segment, 1, number, members, &err), 0);
    roaring_bitmap_free(members);
}

/* Fifty rows of one change and 10 bytes: what is kept, and what a membership is behind, stays. */
static void only_what_nobody_needs_is_trimmed(void **state) {
    (void)state;
    enum { ROWS = 50, ROW = 10 };
    struct keel_error err = {0};
    struct rand r;
    rand_init(&r, 1);
    struct sql *desk = open_desk("trimmed");
    for (int64_t i = 1; i <= ROWS; i++) {
        struct outbox_batch b;
        struct outbox_change c = some_change(&r, 3);
        c.segment = 1;
        outbox_batch_init(&b, i, i);
        outbox_batch_add(&b, &c);
        assert_int_equal(outbox_write(desk, &b, &err), 0);
        outbox_batch_release(&b);
    }
    int64_t bytes;
    assert_int_equal(
        sql_number(desk, 0, &bytes, &err, "SELECT max(length(changes)) FROM outbox", ""), 0);
    save(desk, 1, 30);
    save(desk, 2, 20);
    assert_int_equal(outbox_trim(desk, ROWS * bytes, &err), 0);
    assert_int_equal(oldest(desk), 1); /* all of it may be kept */
    assert_int_equal(outbox_trim(desk, 0, &err), 0);
    assert_int_equal(oldest(desk), 21); /* segment 2 begins again there */
    assert_int_equal(outbox_touch_members(desk, 2, 45, &err), 0);
    assert_int_equal(outbox_trim(desk, 0, &err), 0);
    assert_int_equal(oldest(desk), 31); /* now segment 1 */
    save(desk, 1, 50);
    assert_int_equal(outbox_trim(desk, 15 * bytes, &err), 0);
    assert_in_range(oldest(desk), 34, 36); /* fifteen rows are kept for who is behind */
    assert_int_equal(outbox_forget_members(desk, 2, &err), 0);
    assert_int_equal(outbox_trim(desk, 0, &err), 0);
    assert_in_range(oldest(desk), 49, 50); /* the newest row stays whatever it weighs */
    sql_close(desk);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(read_as_written),
        cmocka_unit_test(rows_of_old_are_read),
        cmocka_unit_test(damage_is_named),
        cmocka_unit_test(only_what_nobody_needs_is_trimmed),
    };
    temp_make(dir);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    temp_remove(dir);
    return failed;
}
