/* identity.index against identity.log: whatever is asked of one is answered as by the other, for
 * random people, whatever was saved when; and under damage. A directory is read through it. Several
 * threads ask it while one of them loads the tables (meant for the TSan build).
 *
 * KEEL_SEED=n repeats one run. ctest: timeout=300 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/os.h"
#include "base/rand.h"
#include "customer/identity.h"
#include "fault_os.h"
#include "history.h"

enum { PATH_BYTES = TEMP_PATH_MAX + 64, ROUNDS = 40, EDGES_MOST = 4096 };
enum { ASKING = 4, ASKING_ROUNDS = 10, LOOKS = 400 };
enum { FEW_USERS = 6, FEW_DEVICES = 8, FEW_EVENTS = 30 };

static const uint8_t STORE[16] = "an index's store";

/* ---- people ---- */

struct people {
    char dir[TEMP_PATH_MAX];
    struct redirects *redirects;
    struct identity *g;
    uint64_t bytes;
    uint32_t users, devices;
};

static void people_new(struct people *p, uint32_t users, uint32_t devices) {
    *p = (struct people){.users = users, .devices = devices};
    temp_make(p->dir);
    p->redirects = redirects_new();
    p->g = identity_new(p->redirects, STORE);
}

static void people_free(struct people *p) {
    identity_free(p->g);
    redirects_free(p->redirects);
    temp_remove(p->dir);
}

static void come(struct people *p, struct rand *r, uint32_t events) {
    char user[32], device[32], former[32];
    for (uint32_t i = 0; i < events; i++) {
        uint32_t how = rand_below(r, 10);
        snprintf(user, sizeof user, "u%u", rand_below(r, p->users));
        snprintf(device, sizeof device, "a%u", rand_below(r, p->devices));
        snprintf(former, sizeof former, "%c%u", how == 9 ? 'u' : 'a', rand_below(r, p->users));
        struct event_head head = {.type = how >= 8 ? EVENT_ALIAS : EVENT_TRACK,
                                  .time_ms = 1300000000000 + rand_below(r, 50),
                                  .key = {.lo = i, .hi = how}};
        if (how >= 3) head.user_id = str_from(user);
        if (how < 8) head.anonymous_id = str_from(device);
        if (how >= 8) head.related_id = str_from(former);
        struct identity_ask ask;
        identity_ask(p->g, &head, &ask);
        (void)identity_resolve(p->g, &head, &ask);
    }
}

static void save(struct people *p) {
    struct keel_error err;
    identity_seal(p->g);
    assert_int_equal(identity_save(p->g, p->dir, &p->bytes, &err), 0);
    identity_saved(p->g, p->bytes);
}

/* Loaded again, by the log or by the index. */
struct loaded {
    struct redirects *redirects;
    struct identity *g;
};

static int load(const char *dir, uint64_t bytes, bool index, struct loaded *out,
                struct keel_error *err) {
    out->redirects = redirects_new();
    out->g = identity_new(out->redirects, STORE);
    return index ? identity_load_index(out->g, dir, bytes, err)
                 : identity_load(out->g, dir, bytes, err);
}

static void loaded_free(struct loaded *l) {
    identity_free(l->g);
    redirects_free(l->redirects);
}

/* ---- the same answers ---- */

struct answer {
    uint32_t n;
    struct edge edges[EDGES_MOST];
};

static void on_edge(void *ctx, const struct edge *edge) {
    struct answer *a = ctx;
    assert_int_not_equal(a->n, EDGES_MOST);
    a->edges[a->n++] = *edge;
}

static bool same_edges(struct identity *a, struct identity *b, enum id_kind kind, struct str id) {
    static struct answer x, y;
    x.n = y.n = 0;
    identity_edges(a, kind, id, on_edge, &x);
    identity_edges(b, kind, id, on_edge, &y);
    bool same = x.n == y.n;
    for (uint32_t i = 0; i < x.n && same; i++) {
        const struct edge *e = &x.edges[i], *f = &y.edges[i];
        same = e->kind == f->kind && str_eq(e->anonymous_id, f->anonymous_id) &&
               str_eq(e->user_id, f->user_id) && e->time_ms == f->time_ms &&
               e->key.lo == f->key.lo && e->key.hi == f->key.hi;
    }
    return same;
}

static bool same_redirects(const struct redirects *a, const struct redirects *b) {
    if (redirects_numbers(a) != redirects_numbers(b)) return false;
    if (redirects_version(a) != redirects_version(b)) return false;
    for (uint32_t i = 0; i < redirects_numbers(a); i++)
        if (redirects_root(a, i) != redirects_root(b, i)) return false;
    return true;
}

static bool same_moves(struct redirects *a, struct redirects *b) {
    struct redirect_view x, y;
    redirects_view(a, &x);
    redirects_view(b, &y);
    bool same =
        x.move_count == y.move_count &&
        (x.move_count == 0 || memcmp(x.moves, y.moves, x.move_count * sizeof *x.moves) == 0);
    redirect_view_release(&x);
    redirect_view_release(&y);
    return same;
}

static bool same_identifier(struct identity *a, struct identity *b, struct str id) {
    for (enum id_kind kind = ID_USER; kind <= ID_ANONYMOUS; kind++)
        if (identity_find(a, kind, id) != identity_find(b, kind, id) || !same_edges(a, b, kind, id))
            return false;
    return true;
}

/* Asks both for everything. */
static bool same_answers(const struct people *p, const struct loaded *a, const struct loaded *b) {
    char id[32];
    if (!same_redirects(a->redirects, b->redirects) || !same_moves(a->redirects, b->redirects))
        return false;
    for (uint32_t i = 0; i < redirects_numbers(a->redirects); i++) {
        enum id_kind kind, other;
        struct str x = identity_id(a->g, i, &kind), y = identity_id(b->g, i, &other);
        if (kind != other || !str_eq(x, y) || identity_kind(b->g, i) != kind) return false;
    }
    for (uint32_t i = 0; i <= p->users; i++) {
        snprintf(id, sizeof id, "u%u", i);
        if (!same_identifier(a->g, b->g, str_from(id))) return false;
    }
    for (uint32_t i = 0; i <= p->devices; i++) {
        snprintf(id, sizeof id, "a%u", i);
        if (!same_identifier(a->g, b->g, str_from(id))) return false;
    }
    return true;
}

static struct rand rand_of_run(void) {
    struct rand r;
    const char *set = getenv("KEEL_SEED");
    uint64_t seed = set ? strtoull(set, NULL, 10) : (uint64_t)now_us();
    print_message("KEEL_SEED=%llu\n", (unsigned long long)seed);
    rand_init(&r, seed);
    return r;
}

static void test_same_answers(void **state) {
    (void)state;
    struct rand r = rand_of_run();
    struct keel_error err;
    for (uint32_t round = 0; round < ROUNDS; round++) {
        struct people p;
        struct loaded by_log, by_index;
        people_new(&p, 1 + rand_below(&r, round * 8 + 2), 1 + rand_below(&r, round * 8 + 2));
        for (uint32_t i = rand_below(&r, 3); i < 3; i++) {
            come(&p, &r, 1 + rand_below(&r, 1000));
            save(&p);
            if (rand_below(&r, 2)) /* which is of an older log then */
                assert_int_equal(identity_write_index(p.g, p.dir, &err), 0);
        }
        if (rand_below(&r, 2)) come(&p, &r, 100); /* not saved: not in the index */
        assert_int_equal(identity_write_index(p.g, p.dir, &err), 0);
        assert_int_equal(load(p.dir, p.bytes, false, &by_log, &err), 0);
        assert_int_equal(load(p.dir, p.bytes, true, &by_index, &err), 0);
        assert_true(same_answers(&p, &by_log, &by_index));
        assert_int_equal(identity_sound(by_index.g, &err), 0);
        assert_int_equal(identity_check_index(p.dir, STORE, p.bytes, &err), 0);
        assert_int_equal(identity_whole(by_index.g, &err), 0);
        assert_true(same_answers(&p, &by_log, &by_index));
        loaded_free(&by_log);
        loaded_free(&by_index);
        people_free(&p);
    }
}

/* More devices than a look-up in the index holds: the tables answer. */
static void test_many_devices(void **state) {
    (void)state;
    struct rand r = rand_of_run();
    struct keel_error err;
    struct people p;
    struct loaded by_log, by_index;
    people_new(&p, 2, 1500);
    come(&p, &r, 4000);
    save(&p);
    assert_int_equal(identity_write_index(p.g, p.dir, &err), 0);
    assert_int_equal(load(p.dir, p.bytes, false, &by_log, &err), 0);
    assert_int_equal(load(p.dir, p.bytes, true, &by_index, &err), 0);
    assert_true(same_answers(&p, &by_log, &by_index));
    loaded_free(&by_log);
    loaded_free(&by_index);
    people_free(&p);
}

/* ---- damage ---- */

static void read_file(const char *dir, const char *name, struct buf *out) {
    char path[PATH_BYTES];
    struct keel_error err;
    snprintf(path, sizeof path, "%s/%s", dir, name);
    buf_init(out, 1 << 24);
    assert_int_equal(file_read(path, out, &err), 0);
}

static void write_file(const char *dir, const char *name, const void *p, size_t n) {
    char path[PATH_BYTES];
    struct keel_error err;
    int fd;
    snprintf(path, sizeof path, "%s/%s", dir, name);
    assert_int_equal(file_open(path, FILE_WRITE | FILE_CREATE | FILE_TRUNCATE, &fd, &err), 0);
    assert_int_equal(file_write_all(fd, p, n, path, &err), 0);
    file_close(fd);
}

static void few_people(struct people *p, struct loaded *by_log) {
    struct rand r;
    struct keel_error err;
    rand_init(&r, 7);
    people_new(p, FEW_USERS, FEW_DEVICES);
    come(p, &r, FEW_EVENTS);
    save(p);
    assert_int_equal(identity_write_index(p->g, p->dir, &err), 0);
    assert_int_equal(load(p->dir, p->bytes, false, by_log, &err), 0);
}

static void index_answers_right(const struct people *p, const struct loaded *by_log,
                                const char *what, size_t at) {
    struct keel_error err;
    struct loaded by_index;
    if (load(p->dir, p->bytes, true, &by_index, &err) < 0 || !same_answers(p, by_log, &by_index) ||
        identity_sound(by_index.g, &err) < 0)
        fail_msg("identity.index, %s at byte %zu", what, at);
    loaded_free(&by_index);
}

/* Whatever became of the index, the answers are those of the log. */
static void test_damaged_index(void **state) {
    (void)state;
    struct people p;
    struct loaded by_log;
    struct buf file;
    struct keel_error err;
    few_people(&p, &by_log);
    read_file(p.dir, "identity.index", &file);
    for (size_t n = 0; n < file.n; n++) {
        write_file(p.dir, "identity.index", file.p, n);
        index_answers_right(&p, &by_log, "cut", n);
    }
    for (size_t i = 0; i < file.n; i++) {
        uint8_t bit = (uint8_t)(1u << (i * 5 % 8));
        file.p[i] ^= bit;
        write_file(p.dir, "identity.index", file.p, file.n);
        index_answers_right(&p, &by_log, "a flipped bit", i);
        int code = identity_check_index(p.dir, STORE, p.bytes, &err);
        if (code == 0) fail_msg("the doctor takes a flipped bit at byte %zu", i);
        assert_non_null(strstr(err.message, "identity.index"));
        file.p[i] ^= bit;
    }
    print_message("%zu bytes of identity.index\n", file.n);
    buf_release(&file);
    loaded_free(&by_log);
    people_free(&p);
}

/* A damaged log beside a good index: an error that names it, or what was there. */
static void test_damaged_log(void **state) {
    (void)state;
    struct people p;
    struct loaded by_log;
    struct buf file;
    struct keel_error err;
    size_t noticed = 0;
    few_people(&p, &by_log);
    read_file(p.dir, "identity.log", &file);
    for (size_t n = 0; n < file.n; n++) {
        struct loaded l;
        write_file(p.dir, "identity.log", file.p, n);
        assert_true(load(p.dir, p.bytes, true, &l, &err) < 0);
        assert_non_null(strstr(err.message, "identity.log"));
        loaded_free(&l);
    }
    for (size_t i = 0; i < file.n; i++) {
        struct loaded l;
        uint8_t bit = (uint8_t)(1u << (i * 5 % 8));
        file.p[i] ^= bit;
        write_file(p.dir, "identity.log", file.p, file.n);
        int code = load(p.dir, p.bytes, true, &l, &err);
        bool same = code == 0 && same_answers(&p, &by_log, &l);
        if (code == 0) code = identity_sound(l.g, &err);
        if (code == 0 && !same) fail_msg("a flipped bit at byte %zu of identity.log", i);
        if (code < 0) assert_non_null(strstr(err.message, "identity.log"));
        noticed += code < 0;
        loaded_free(&l);
        file.p[i] ^= bit;
    }
    assert_true(noticed >= file.n - 2); /* the minor version may differ */
    buf_release(&file);
    loaded_free(&by_log);
    people_free(&p);
}

/* The index of another log of the same store, and of the same length. */
static void test_other_log(void **state) {
    (void)state;
    struct people p, q;
    struct loaded by_log;
    struct buf file;
    struct rand r;
    struct keel_error err;
    few_people(&p, &by_log);
    for (uint64_t seed = 100;; seed++) {
        rand_init(&r, seed);
        people_new(&q, FEW_USERS, FEW_DEVICES);
        come(&q, &r, FEW_EVENTS);
        save(&q);
        if (q.bytes == p.bytes) break;
        assert_true(seed < 5000);
        people_free(&q);
    }
    assert_int_equal(identity_write_index(q.g, q.dir, &err), 0);
    read_file(q.dir, "identity.index", &file);
    write_file(p.dir, "identity.index", file.p, file.n);
    index_answers_right(&p, &by_log, "of another log", 0);
    assert_int_equal(identity_check_index(p.dir, STORE, p.bytes, &err), -KEEL_E_NOT_FOUND);
    buf_release(&file);
    loaded_free(&by_log);
    people_free(&p);
    people_free(&q);
}

/* ---- several threads ---- */

/* What the log says of every identifier, for threads that only compare. */
struct expected {
    uint32_t users, devices;
    uint32_t *numbers, *edges; /* of users, then of devices */
};

struct asking {
    struct identity *g;
    const struct redirects *redirects;
    const struct expected *expected;
    pthread_barrier_t begin;
    _Atomic uint32_t next, wrong;
};

static void count_edge(void *ctx, const struct edge *edge) {
    uint32_t *n = ctx;
    *n += edge->user_id.n > 0 && edge->anonymous_id.n > 0;
}

static struct str identifier(const struct expected *x, uint32_t i, char text[32]) {
    bool user = i < x->users;
    snprintf(text, 32, "%c%u", user ? 'u' : 'a', user ? i : i - x->users);
    return str_from(text);
}

static enum id_kind kind_of(const struct expected *x, uint32_t i) {
    return i < x->users ? ID_USER : ID_ANONYMOUS;
}

static void expect(struct expected *x, const struct people *p, struct identity *by_log) {
    char text[32];
    uint32_t n = p->users + p->devices;
    *x = (struct expected){p->users, p->devices, k_zalloc(n * sizeof *x->numbers),
                           k_zalloc(n * sizeof *x->edges)};
    for (uint32_t i = 0; i < n; i++) {
        struct str id = identifier(x, i, text);
        x->numbers[i] = identity_find(by_log, kind_of(x, i), id);
        identity_edges(by_log, kind_of(x, i), id, count_edge, &x->edges[i]);
    }
}

static bool answers_right(const struct asking *a, uint32_t i) {
    const struct expected *x = a->expected;
    char text[32];
    enum id_kind kind;
    uint32_t edges = 0;
    struct str id = identifier(x, i, text);
    uint32_t number = identity_find(a->g, kind_of(x, i), id);
    identity_edges(a->g, kind_of(x, i), id, count_edge, &edges);
    if (number != x->numbers[i] || edges != x->edges[i]) return false;
    if (number == NUMBER_NONE) return true;
    struct str name = identity_id(a->g, number, &kind);
    return identity_find(a->g, kind, name) == number && identity_kind(a->g, number) == kind &&
           redirects_root(a->redirects, number) < redirects_numbers(a->redirects);
}

/* Each thread walks all identifiers from a place of its own; half of the way through, they all want
 * the tables at once. */
static void *ask_all(void *ctx) {
    struct asking *a = ctx;
    const struct expected *x = a->expected;
    struct keel_error err;
    uint32_t n = x->users + x->devices, at = atomic_fetch_add(&a->next, 1) * n / ASKING;
    pthread_barrier_wait(&a->begin);
    for (uint32_t k = 0; k < LOOKS; k++, at++) {
        if (!answers_right(a, at % n)) atomic_fetch_add(&a->wrong, 1);
        if (k == LOOKS / 2 && identity_whole(a->g, &err) < 0) atomic_fetch_add(&a->wrong, 1);
    }
    if (identity_sound(a->g, &err) < 0) atomic_fetch_add(&a->wrong, 1);
    return NULL;
}

static void test_threads(void **state) {
    (void)state;
    struct rand r = rand_of_run();
    struct keel_error err;
    for (uint32_t round = 0; round < ASKING_ROUNDS; round++) {
        struct people p;
        struct loaded by_log, by_index;
        struct expected expected;
        pthread_t threads[ASKING];
        /* With two users, their edges are more than the index answers. */
        people_new(&p, round % 2 ? 2 : 100, 900);
        come(&p, &r, 2500);
        save(&p);
        assert_int_equal(identity_write_index(p.g, p.dir, &err), 0);
        assert_int_equal(load(p.dir, p.bytes, false, &by_log, &err), 0);
        assert_int_equal(load(p.dir, p.bytes, true, &by_index, &err), 0);
        expect(&expected, &p, by_log.g);
        struct asking a = {.g = by_index.g, .redirects = by_index.redirects, .expected = &expected};
        pthread_barrier_init(&a.begin, NULL, ASKING);
        for (int i = 0; i < ASKING; i++)
            assert_int_equal(pthread_create(&threads[i], NULL, ask_all, &a), 0);
        for (int i = 0; i < ASKING; i++) pthread_join(threads[i], NULL);
        assert_int_equal(a.wrong, 0);
        pthread_barrier_destroy(&a.begin);
        k_free(expected.numbers);
        k_free(expected.edges);
        loaded_free(&by_log);
        loaded_free(&by_index);
        people_free(&p);
    }
}

/* ---- a directory ---- */

static const struct history HISTORY = {
    .seed = 3, .users = 40, .devices = 60, .batch_events = 60, .months = 2};

static void ingest(struct db *db, uint32_t from, uint32_t to) {
    struct buf batch;
    struct keel_error err;
    struct ingest_counts counts = {0};
    buf_init(&batch, BATCH_MAX_BYTES);
    for (uint32_t k = from; k < to; k++) {
        buf_clear(&batch);
        (void)history_batch(&HISTORY, k, &batch);
        assert_int_equal(db_ingest(db, buf_str(&batch), &counts, &err), 0);
    }
    buf_release(&batch);
}

static void reads_right(const char *dir, uint32_t batches, int must_check) {
    struct keel_error err;
    struct db *db;
    struct db_options options = {.store = {.read_only = true}};
    uint8_t must[64];
    memset(must, 1, sizeof must);
    assert_int_equal(db_open(dir, &options, &db, &err), 0);
    if (history_check(&HISTORY, db, must, batches, NULL, &err) < 0) fail_msg("%s", err.message);
    assert_int_equal(db_check_identity(db, &err), must_check);
    assert_int_equal(identity_sound(db_identity(db), &err), 0);
    assert_int_equal(db_close(db, &err), 0);
}

static void test_directory(void **state) {
    (void)state;
    char root[TEMP_PATH_MAX], dir[PATH_BYTES], path[PATH_BYTES + 32];
    struct keel_error err;
    struct db *db;
    struct db_options options = {0};
    temp_make(root);
    snprintf(dir, sizeof dir, "%s/data", root);
    snprintf(path, sizeof path, "%s/identity.index", dir);
    assert_int_equal(db_init(dir, STR("Europe/London"), STR("GBP"), &err), 0);
    assert_false(file_exists(path)); /* of nobody */
    assert_int_equal(db_open(dir, &options, &db, &err), 0);
    ingest(db, 0, 10);
    assert_int_equal(db_flush(db, &err), 0);
    assert_int_equal(db_close(db, &err), 0);
    assert_true(file_exists(path));
    reads_right(dir, 10, 0);
    assert_int_equal(db_open(dir, &options, &db, &err), 0);
    ingest(db, 10, 14); /* in the journal only: what it names joins what the index knows */
    assert_int_equal(db_close(db, &err), 0);
    reads_right(dir, 14, 0);
    assert_int_equal(db_open(dir, &options, &db, &err), 0);
    ingest(db, 14, 16);
    assert_int_equal(db_flush(db, &err), 0);
    assert_int_equal(db_close(db, &err), 0);
    reads_right(dir, 16, 0);
    assert_int_equal(file_remove(path, &err), 0);
    reads_right(dir, 16, -KEEL_E_NOT_FOUND);
    assert_int_equal(db_open(dir, &options, &db, &err), 0);
    assert_int_equal(db_close(db, &err), 0);
    reads_right(dir, 16, 0);
    temp_remove(root);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_answers),  cmocka_unit_test(test_many_devices),
        cmocka_unit_test(test_damaged_index), cmocka_unit_test(test_damaged_log),
        cmocka_unit_test(test_other_log),     cmocka_unit_test(test_threads),
        cmocka_unit_test(test_directory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
