/* The audit log: whatever is changed in it is found, whoever writes to it at once, and a crash
 * leaves it usable. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <pthread.h>

#include "base/os.h"
#include "guard/audit.h"

enum { RECORDS = 5, LOG_BYTES = 1 << 20 };

struct place {
    char dir[64], log[96], head[96];
};

static void place_make(struct place *p) {
    snprintf(p->dir, sizeof p->dir, "/tmp/keel-audit-XXXXXX");
    assert_non_null(mkdtemp(p->dir));
    snprintf(p->log, sizeof p->log, "%s/audit.log", p->dir);
    snprintf(p->head, sizeof p->head, "%s/audit.head", p->dir);
}

static void place_remove(const struct place *p) {
    char key[96];
    snprintf(key, sizeof key, "%s/audit.key", p->dir);
    unlink(p->log);
    unlink(p->head);
    unlink(key);
    assert_int_equal(rmdir(p->dir), 0);
}

static int act(struct audit *a, const char *who, struct keel_error *err) {
    struct audit_act noted = {str_from(who), STR("192.0.2.0"), STR("PUT /api/v1/plan"),
                              STR("/api/v1/plan"), 200};
    return audit_append(a, &noted, err);
}

static void fill_by(const struct place *p, int n, const char *who) {
    struct keel_error err;
    struct audit *a;
    assert_int_equal(audit_open(p->dir, &a, &err), 0);
    for (int i = 0; i < n; i++) assert_int_equal(act(a, who, &err), 0);
    audit_close(a);
}

static void fill(const struct place *p, int n) { fill_by(p, n, "user anna"); }

static void read_log(const char *path, struct buf *out) {
    struct keel_error err;
    buf_init(out, LOG_BYTES);
    assert_int_equal(file_read(path, out, &err), 0);
}

static void write_log(const char *path, const void *p, size_t n) {
    struct keel_error err;
    int fd;
    assert_int_equal(file_open(path, FILE_WRITE | FILE_CREATE | FILE_TRUNCATE, &fd, &err), 0);
    assert_int_equal(file_write_all(fd, p, n, path, &err), 0);
    file_close(fd);
}

static struct audit_verdict verify(const struct place *p, const char *head) {
    struct keel_error err = {0};
    struct audit_verdict v;
    int code = audit_verify(p->dir, str_from(head), &v, &err);
    if (code < 0) print_error("%s\n", err.message);
    assert_int_equal(code, 0);
    return v;
}

static void intact(void **state) {
    (void)state;
    struct place p;
    char old[AUDIT_HASH_TEXT + 1];
    place_make(&p);
    struct audit_verdict v = verify(&p, "");
    assert_false(v.broken);
    assert_int_equal(v.records, 0);
    fill(&p, RECORDS);
    v = verify(&p, "");
    assert_false(v.broken);
    assert_false(v.torn);
    assert_false(v.no_head);
    assert_int_equal(v.records, RECORDS);
    memcpy(old, v.head, sizeof old);
    fill(&p, 2);
    v = verify(&p, old);
    assert_false(v.broken);
    assert_true(v.head_found);
    assert_int_equal(v.records, RECORDS + 2);
    assert_string_not_equal(v.head, old);
    assert_false(verify(&p, "d4086b9d").head_found);
    place_remove(&p);
}

static void changed_at_every_byte(void **state) {
    (void)state;
    struct place p;
    struct buf log;
    place_make(&p);
    fill(&p, RECORDS);
    read_log(p.log, &log);
    for (size_t i = 0; i < log.n; i++) {
        log.p[i] ^= 1;
        write_log(p.log, log.p, log.n);
        struct audit_verdict v = verify(&p, "");
        if (!v.broken) print_error("byte %zu of %zu\n", i, log.n);
        assert_true(v.broken);
        assert_true(v.bytes <= i); /* it says where: behind what is intact */
        assert_true(i - v.bytes < AUDIT_RECORD_MAX);
        log.p[i] ^= 1;
    }
    buf_release(&log);
    place_remove(&p);
}

static size_t line_at(const struct buf *log, int n) {
    size_t at = 0;
    for (int i = 0; i < n; i++)
        at = (size_t)((const uint8_t *)memchr(log->p + at, '\n', log->n - at) - log->p) + 1;
    return at;
}

static void cut_at_every_byte(void **state) {
    (void)state;
    struct place p;
    struct buf log;
    struct keel_error err;
    struct audit *a;
    place_make(&p);
    fill(&p, RECORDS);
    read_log(p.log, &log);
    for (size_t n = 0; n < log.n; n++) {
        write_log(p.log, log.p, n);
        assert_true(verify(&p, "").broken);
    }
    assert_int_equal(audit_open(p.dir, &a, &err), 0); /* it lacks its last byte */
    for (int i = 0; i < 2; i++) {                     /* and goes on doing so */
        assert_int_equal(act(a, "user anna", &err), -KEEL_E_CORRUPT);
        assert_non_null(strstr(err.message, "record 5 was written"));
    }
    write_log(p.log, log.p, line_at(&log, RECORDS - 1));
    for (int i = 0; i < 2; i++) assert_int_equal(act(a, "user anna", &err), -KEEL_E_CORRUPT);
    audit_close(a);
    write_log(p.log, log.p, log.n);
    assert_int_equal(unlink(p.head), 0);
    assert_true(verify(&p, "").no_head);
    buf_release(&log);
    place_remove(&p);
}

/* Lines that are each whole, but are missing, doubled, out of place, or of another log. */
static void lines_moved(void **state) {
    (void)state;
    struct place p, q;
    struct buf log, other;
    place_make(&p);
    place_make(&q);
    fill(&p, RECORDS);
    fill_by(&q, RECORDS, "user bert"); /* in one millisecond the same acts make the same log */
    read_log(p.log, &log);
    read_log(q.log, &other);
    for (int i = 0; i < RECORDS; i++) {
        size_t from = line_at(&log, i), to = line_at(&log, i + 1);
        struct buf less, more;
        buf_init(&less, LOG_BYTES);
        buf_init(&more, LOG_BYTES);
        assert_int_equal(buf_add(&less, log.p, from), 0);
        assert_int_equal(buf_add(&less, log.p + to, log.n - to), 0);
        assert_int_equal(buf_add(&more, log.p, to), 0);
        assert_int_equal(buf_add(&more, log.p + from, log.n - from), 0);
        write_log(p.log, less.p, less.n);
        assert_true(verify(&p, "").broken);
        write_log(p.log, more.p, more.n);
        assert_true(verify(&p, "").broken);
        buf_release(&less);
        buf_release(&more);
    }
    write_log(p.log, other.p, other.n); /* a whole chain, but not that of audit.head */
    assert_true(verify(&p, "").broken);
    buf_release(&log);
    buf_release(&other);
    place_remove(&p);
    place_remove(&q);
}

/* Half a record that nobody was told of. */
static void crash(void **state) {
    (void)state;
    struct place p;
    struct buf log;
    place_make(&p);
    fill(&p, RECORDS);
    read_log(p.log, &log);
    size_t last = line_at(&log, RECORDS - 1), n = log.n;
    assert_int_equal(buf_add(&log, log.p + last, 20), 0);
    write_log(p.log, log.p, log.n);
    struct audit_verdict v = verify(&p, "");
    assert_false(v.broken);
    assert_true(v.torn);
    fill(&p, 1);
    v = verify(&p, "");
    assert_false(v.broken);
    assert_false(v.torn);
    assert_int_equal(v.records, RECORDS + 1);
    buf_clear(&log);
    write_log(p.log, log.p, n); /* and none that it was: cut back, the new record is missed */
    assert_true(verify(&p, "").broken);
    buf_release(&log);
    place_remove(&p);
}

static void head_is_a_witness(void **state) {
    (void)state;
    struct place p;
    struct buf head;
    place_make(&p);
    fill(&p, RECORDS);
    read_log(p.head, &head);
    for (size_t i = 0; i < head.n;
         i++) { /* the log is as it was: never a clean bill with a wrong head */
        head.p[i] ^= 1;
        write_log(p.head, head.p, head.n);
        struct audit_verdict v = verify(&p, "");
        assert_true(v.broken || v.no_head);
        head.p[i] ^= 1;
    }
    buf_release(&head);
    place_remove(&p);
}

struct writer {
    const struct place *p;
    int n;
};

static void *write_many(void *arg) {
    const struct writer *w = arg;
    struct keel_error err;
    struct audit *a;
    if (audit_open(w->p->dir, &a, &err) < 0) return arg;
    for (int i = 0; i < w->n; i++)
        if (act(a, "token", &err) < 0) return arg;
    audit_close(a);
    return NULL;
}

static void many_at_once(void **state) {
    (void)state;
    enum { WRITERS = 4, EACH = 25 };
    struct place p;
    pthread_t threads[WRITERS];
    void *failed;
    place_make(&p);
    fill(&p, 1); /* the key is made by one */
    struct writer w = {&p, EACH};
    for (int i = 0; i < WRITERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, write_many, &w), 0);
    for (int i = 0; i < WRITERS; i++) {
        pthread_join(threads[i], &failed);
        assert_null(failed);
    }
    struct audit_verdict v = verify(&p, "");
    assert_false(v.broken);
    assert_int_equal(v.records, 1 + WRITERS * EACH);
    place_remove(&p);
}

/* Processes, the first of which finds nothing there yet: not even the key. */
static void many_processes(void **state) {
    (void)state;
    enum { PROCESSES = 6, EACH = 20 };
    struct place p;
    struct keel_error err;
    struct buf log;
    pid_t child[PROCESSES];
    int status, gate[2];
    char byte, who[32];
    place_make(&p);
    assert_int_equal(pipe(gate), 0);
    for (int i = 0; i < PROCESSES; i++) {
        child[i] = fork();
        assert_true(child[i] >= 0);
        if (child[i] > 0) continue;
        struct audit *a;
        close(gate[1]);
        snprintf(who, sizeof who, "process %d", i);
        bool fine = read(gate[0], &byte, 1) == 0; /* all begin at once */
        fine = fine && audit_open(p.dir, &a, &err) == 0;
        for (int n = 0; fine && n < EACH; n++) fine = act(a, who, &err) == 0;
        _exit(fine ? 0 : 1);
    }
    close(gate[0]);
    close(gate[1]);
    for (int i = 0; i < PROCESSES; i++) {
        assert_int_equal(waitpid(child[i], &status, 0), child[i]);
        assert_int_equal(status, 0);
    }
    struct audit_verdict v = verify(&p, "");
    assert_false(v.broken);
    assert_int_equal(v.records, PROCESSES * EACH);
    read_log(p.log, &log);
    assert_int_equal(buf_add_char(&log, 0), 0);
    for (int i = 0; i < PROCESSES; i++) {
        int n = 0;
        snprintf(who, sizeof who, "process %d", i);
        for (const char *at = (const char *)log.p; (at = strstr(at, who)); at++) n++;
        assert_int_equal(n, EACH);
    }
    buf_release(&log);
    place_remove(&p);
}

/* What cannot be noted is found out before it is done. */
static void ready(void **state) {
    (void)state;
    struct place p;
    struct buf log;
    struct keel_error err;
    struct audit *a;
    place_make(&p);
    assert_int_equal(audit_open(p.dir, &a, &err), 0);
    assert_int_equal(audit_ready(a, &err), 0);
    assert_int_equal(verify(&p, "").records, 0);
    assert_int_equal(act(a, "user anna", &err), 0);
    assert_int_equal(act(a, "user anna", &err), 0);
    assert_int_equal(audit_ready(a, &err), 0);
    read_log(p.log, &log);
    write_log(p.log, log.p, log.n / 2);
    assert_int_equal(audit_ready(a, &err), -KEEL_E_CORRUPT);
    write_log(p.log, log.p, log.n);
    assert_int_equal(audit_ready(a, &err), 0);
    assert_int_equal(act(a, "user anna", &err), 0);
    assert_int_equal(verify(&p, "").records, 3);
    audit_close(a);
    buf_release(&log);
    place_remove(&p);
}

struct seen {
    int n;
    char last[AUDIT_RECORD_MAX];
};

static int see(void *ctx, struct str line) {
    struct seen *s = ctx;
    s->n++;
    snprintf(s->last, sizeof s->last, "%.*s", STR_ARG(line));
    return 0;
}

static void pages(void **state) {
    (void)state;
    enum { MANY = 1200, PAGE = 100 }; /* more than is read at once */
    struct place p;
    struct keel_error err;
    struct audit *a;
    struct seen seen = {0};
    uint64_t next = 0;
    char want[32], mark[AUDIT_MARK_TEXT + 1], same[AUDIT_MARK_TEXT + 1];
    place_make(&p);
    fill(&p, MANY);
    assert_int_equal(audit_open(p.dir, &a, &err), 0);
    for (int page = 0; page < MANY / PAGE; page++) {
        assert_int_equal(audit_list(a, next, PAGE, STR(""), see, &seen, &next, &err), 0);
        assert_int_equal(seen.n, (page + 1) * PAGE);
        snprintf(want, sizeof want, "{\"n\":%d,", MANY - (page + 1) * PAGE + 1);
        assert_int_equal(strncmp(seen.last, want, strlen(want)), 0);
    }
    assert_int_equal(next, 0);
    seen.n = 0;
    assert_int_equal(audit_list(a, 0, MANY, STR("\"n\":777,"), see, &seen, &next, &err), 0);
    assert_int_equal(seen.n, 1);
    assert_int_equal(audit_list(a, 17, PAGE, STR(""), see, &seen, &next, &err), -KEEL_E_INVALID);
    audit_mark(a, STR("user_id=17"), mark);
    audit_mark(a, STR("user_id=17"), same);
    assert_string_equal(mark, same);
    audit_mark(a, STR("user_id=18"), same);
    assert_string_not_equal(mark, same);
    audit_close(a);
    place_remove(&p);
}

/* Texts that would end a record, begin one, or are no text. */
static void odd_texts(void **state) {
    (void)state;
    struct place p;
    struct keel_error err;
    struct audit *a;
    struct seen seen = {0};
    uint64_t next;
    char longer[2 * AUDIT_TEXT_MAX];
    place_make(&p);
    memset(longer, 0xc3, sizeof longer);
    assert_int_equal(audit_open(p.dir, &a, &err), 0);
    struct audit_act odd = {STR("x\",\"hash\":\"0000\"}\n{\"n\":9"),
                            {longer, sizeof longer},
                            STR("\0\x1f</script>"),
                            {0},
                            0};
    assert_int_equal(audit_append(a, &odd, &err), 0);
    memset(longer, '"', sizeof longer);
    odd.object = odd.act = odd.who = odd.from;
    assert_int_equal(audit_append(a, &odd, &err), 0);
    struct audit_verdict v = verify(&p, "");
    assert_false(v.broken);
    assert_int_equal(v.records, 2);
    assert_int_equal(audit_list(a, 0, 10, STR(""), see, &seen, &next, &err), 0);
    assert_int_equal(seen.n, 2);
    audit_close(a);
    place_remove(&p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(intact),
        cmocka_unit_test(changed_at_every_byte),
        cmocka_unit_test(cut_at_every_byte),
        cmocka_unit_test(lines_moved),
        cmocka_unit_test(crash),
        cmocka_unit_test(head_is_a_witness),
        cmocka_unit_test(many_at_once),
        cmocka_unit_test(many_processes),
        cmocka_unit_test(ready),
        cmocka_unit_test(pages),
        cmocka_unit_test(odd_texts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
