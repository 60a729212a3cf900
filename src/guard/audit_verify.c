/* Implementation of audit.h: reading the whole chain. */
#include <stdio.h>
#include <string.h>

#include "base/os.h"
#include "guard/audit_int.h"
#include "guard/secret.h"

enum { READ_BYTES = 1 << 20 };

struct verifying {
    struct audit_verdict *out;
    struct audit_link last, head;
    struct str wanted;
    const char *head_path;
    bool has_head, head_met;
};

static void broken(struct verifying *v, const char *what) {
    v->out->broken = true;
    snprintf(v->out->why, sizeof v->out->why, "record %llu, at byte %llu: %s",
             (unsigned long long)v->last.n + 1, (unsigned long long)v->out->bytes, what);
}

/* One line without its newline; false: the chain breaks here. */
static bool add_line(struct verifying *v, struct str line) {
    struct audit_link link;
    char hash[AUDIT_HASH_TEXT + 1];
    if (!audit_read_link(line, &link)) {
        broken(v, "this is no record");
        return false;
    }
    audit_hash(link.hashed, hash);
    if (strcmp(hash, link.hash) != 0)
        broken(v, "it was changed: its hash does not fit");
    else if (strcmp(link.previous, v->last.hash) != 0)
        broken(v, "it does not follow the record before: something was removed or put in");
    else if (link.n != v->last.n + 1)
        broken(v, "its number is not the next one");
    if (v->out->broken) return false;
    v->last = link;
    v->out->records++;
    v->out->bytes += line.n + 1;
    if (v->has_head && link.n == v->head.n) v->head_met = strcmp(hash, v->head.hash) == 0;
    if (str_is(v->wanted, hash)) v->out->head_found = true;
    return true;
}

static bool add_lines(struct verifying *v, const char *text, size_t n, size_t *used) {
    *used = 0;
    for (;;) {
        const char *begin = text + *used, *end = memchr(begin, '\n', n - *used);
        if (!end) return true;
        if (!add_line(v, (struct str){begin, (size_t)(end - begin)})) return false;
        *used += (size_t)(end - begin) + 1;
    }
}

static void check_end(struct verifying *v, size_t rest) {
    bool known = v->has_head && v->head.n > 0;
    if (known && v->head.n > v->out->records)
        broken(v, "it was written, but is missing or not whole");
    else if (known && !v->head_met)
        broken(v, "the records before are not those that audit.head knows");
    else if (rest && !v->has_head)
        broken(v, "it is not whole: its line does not end");
    else
        v->out->torn = rest > 0;
}

/* While nobody writes: whole records, and the head that belongs to them. */
static int read_extent(struct verifying *v, int fd, const char *path, uint64_t *out_size,
                       struct keel_error *err) {
    int locked;
    TRY(audit_lock(path, &locked, err));
    v->has_head = audit_read_head(v->head_path, &v->head);
    int code = file_size(fd, path, out_size, err);
    file_close(locked);
    return code;
}

static int read_all(struct verifying *v, int fd, const char *path, char *text,
                    struct keel_error *err) {
    uint64_t size, at = 0;
    size_t kept = 0, used = 0;
    TRY(read_extent(v, fd, path, &size, err));
    while (at < size) {
        size_t n = READ_BYTES - kept;
        if (n > size - at) n = (size_t)(size - at);
        TRY(file_pread_all(fd, text + kept, n, at, path, err));
        at += n;
        kept += n;
        if (!add_lines(v, text, kept, &used)) return 0;
        kept -= used;
        memmove(text, text + used, kept);
        if (kept > AUDIT_RECORD_MAX) break; /* no record is so long */
    }
    check_end(v, kept);
    return 0;
}

static int verify_file(struct verifying *v, const char *path, struct keel_error *err) {
    int fd;
    TRY(file_open(path, FILE_READ, &fd, err));
    char *text = k_alloc(READ_BYTES);
    int code = read_all(v, fd, path, text, err);
    k_free(text);
    file_close(fd);
    return code;
}

int audit_verify(const char *dir, struct str head, struct audit_verdict *out,
                 struct keel_error *err) {
    struct arena names;
    struct verifying v = {.out = out, .last = audit_nothing(), .wanted = head};
    *out = (struct audit_verdict){0};
    TRY(secret_ready(err));
    arena_init(&names, 1 << 20);
    const char *path = arena_printf(&names, "%s/audit.log", dir);
    v.head_path = arena_printf(&names, "%s/audit.head", dir);
    int code = 0;
    if (file_exists(path)) {
        code = verify_file(&v, path, err);
    } else {
        v.has_head = audit_read_head(v.head_path, &v.head);
        check_end(&v, 0);
    }
    out->no_head = !v.has_head;
    memcpy(out->head, v.last.hash, sizeof out->head);
    arena_release(&names);
    return code;
}

int audit_for_backup(const char *dir, struct audit_copy *out, struct keel_error *err) {
    struct audit_verdict v;
    TRY(audit_verify(dir, STR(""), &v, err));
    if (v.broken)
        FAIL(
            err, CORRUPT,
            "the audit log of %s breaks at %s; keep audit.log and audit.head elsewhere, then a new "
            "chain begins",
            dir, v.why);
    *out = (struct audit_copy){.bytes = v.bytes};
    audit_head_text(v.records, v.head, out->head);
    return 0;
}
