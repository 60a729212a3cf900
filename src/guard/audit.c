/* Implementation of audit.h: writing, listing. Verification is in audit_verify.c. */
#include "guard/audit.h"

#include <pthread.h>
#include <sodium.h>
#include <stdio.h>
#include <unistd.h>

#include "base/os.h"
#include "base/time.h"
#include "guard/audit_int.h"
#include "guard/secret.h"

enum { LIST_BYTES = 256 << 10, LOCK_TRIES = 5000, LOCK_PAUSE_US = 1000 };

struct audit {
    pthread_mutex_t lock;
    char *path, *head_path;
    int fd, head_fd;
    uint64_t size; /* of the file when `last` was its last record */
    struct audit_link last;
    unsigned char key[SECRET_HASH];
};

/* ---- records ---- */

void audit_hash(struct str text, char out[AUDIT_HASH_TEXT + 1]) {
    struct secret_hash h = secret_hash(text);
    sodium_bin2hex(out, AUDIT_HASH_TEXT + 1, h.bytes, sizeof h.bytes);
}

static bool is_hex(struct str s) {
    for (size_t i = 0; i < s.n; i++)
        if (!((s.p[i] >= '0' && s.p[i] <= '9') || (s.p[i] >= 'a' && s.p[i] <= 'f'))) return false;
    return true;
}

/* `line` without its newline. */
bool audit_read_link(struct str line, struct audit_link *out) {
    struct str hash_name = STR(AUDIT_HASH_NAME), previous_name = STR(AUDIT_PREVIOUS_NAME);
    size_t tail = hash_name.n + AUDIT_HASH_TEXT + 2;
    size_t before = previous_name.n + AUDIT_HASH_TEXT + 1;
    if (line.n < sizeof AUDIT_HEAD + before + tail || !str_starts(line, STR(AUDIT_HEAD)))
        return false;
    const char *at = line.p + line.n - tail, *previous = at - before;
    if (memcmp(at, hash_name.p, hash_name.n) != 0 || memcmp(line.p + line.n - 2, "\"}", 2) != 0 ||
        memcmp(previous, previous_name.p, previous_name.n) != 0 || at[-1] != '"')
        return false;
    struct str number = {line.p + sizeof AUDIT_HEAD - 1, 0};
    while (number.p[number.n] >= '0' && number.p[number.n] <= '9') number.n++;
    if (!str_to_u64(number, &out->n)) return false;
    memcpy(out->hash, at + hash_name.n, AUDIT_HASH_TEXT);
    memcpy(out->previous, previous + previous_name.n, AUDIT_HASH_TEXT);
    out->hash[AUDIT_HASH_TEXT] = out->previous[AUDIT_HASH_TEXT] = 0;
    out->hashed = (struct str){line.p, (size_t)(at - line.p)};
    return is_hex(str_from(out->hash)) && is_hex(str_from(out->previous));
}

static void add_text(struct buf *b, const char *name, struct str text) {
    if (text.n > AUDIT_TEXT_MAX) text.n = AUDIT_TEXT_MAX;
    while (text.n && !str_is_utf8(text)) text.n--;
    (void)!buf_printf(b, ",\"%s\":", name);
    (void)!buf_add_json_str(b, text);
}

static int write_record(const struct audit_act *act, const struct audit_link *last, struct buf *b,
                        struct audit_link *out, struct keel_error *err) {
    char at[TIME_TEXT_MAX];
    struct str time = {at, time_format(NULL, now_ms(), at)};
    *out = (struct audit_link){.n = last->n + 1};
    (void)!buf_printf(b, AUDIT_HEAD "%llu,\"at\":\"%.*s\"", (unsigned long long)out->n,
                      STR_ARG(time));
    add_text(b, "who", act->who);
    add_text(b, "from", act->from);
    add_text(b, "act", act->act);
    add_text(b, "object", act->object);
    (void)!buf_printf(b, ",\"outcome\":%d" AUDIT_PREVIOUS_NAME "%s\"", act->outcome, last->hash);
    if (b->failed) FAIL(err, LIMIT, "a record of the audit log is too long");
    audit_hash(buf_str(b), out->hash);
    (void)!buf_printf(b, AUDIT_HASH_NAME "%s\"}\n", out->hash);
    return b->failed;
}

/* ---- the end of the file ---- */

static const struct audit_link NOTHING = {
    .hash = "0000000000000000000000000000000000000000000000000000000000000000"};

struct audit_link audit_nothing(void) {
    return NOTHING;
}

bool audit_read_head(const char *path, struct audit_link *out) {
    struct buf text;
    buf_init(&text, AUDIT_HEAD_FILE + 1);
    bool fine = file_exists(path) && file_read(path, &text, NULL) == 0 && text.n == AUDIT_HEAD_FILE;
    struct str line = buf_str(&text);
    fine = fine && str_to_u64((struct str){line.p, AUDIT_HEAD_NUMBER}, &out->n) &&
           is_hex((struct str){line.p + AUDIT_HEAD_NUMBER + 1, AUDIT_HASH_TEXT}) &&
           line.p[AUDIT_HEAD_NUMBER] == ' ' && line.p[AUDIT_HEAD_FILE - 1] == '\n';
    if (fine) {
        memcpy(out->hash, line.p + AUDIT_HEAD_NUMBER + 1, AUDIT_HASH_TEXT);
        out->hash[AUDIT_HASH_TEXT] = 0;
    }
    buf_release(&text);
    return fine;
}

void audit_head_text(uint64_t n, const char *hash, char out[AUDIT_HEAD_FILE + 1]) {
    snprintf(out, AUDIT_HEAD_FILE + 1, "%0*llu %s\n", AUDIT_HEAD_NUMBER, (unsigned long long)n,
             hash);
}

/* Not synced: it may lag behind the log, which is no harm, but is never before it. */
static int write_head(const struct audit *a, struct keel_error *err) {
    char line[AUDIT_HEAD_FILE + 1];
    audit_head_text(a->last.n, a->last.hash, line);
    return file_pwrite_all(a->head_fd, line, AUDIT_HEAD_FILE, 0, a->head_path, err);
}

/* The last whole record, and where it ends. */
static int read_end(struct audit *a, uint64_t size, struct keel_error *err) {
    char text[2 * AUDIT_RECORD_MAX];
    size_t n = size < sizeof text ? (size_t)size : sizeof text;
    uint64_t from = size - n;
    TRY(file_pread_all(a->fd, text, n, from, a->path, err));
    size_t end = n;
    while (end > 0 && text[end - 1] != '\n') end--;
    a->last = NOTHING;
    if (end > 0) {
        size_t begin = end - 1;
        while (begin > 0 && text[begin - 1] != '\n') begin--;
        if (!audit_read_link((struct str){text + begin, end - 1 - begin}, &a->last))
            FAIL(err, CORRUPT, "%s: its last line is no record; see keel audit verify", a->path);
    } else if (from > 0) {
        FAIL(err, CORRUPT, "%s: it does not end in a record; see keel audit verify", a->path);
    }
    a->size = from + end;
    return 0;
}

static int check_head(const struct audit *a, struct keel_error *err) {
    struct audit_link head;
    if (!audit_read_head(a->head_path, &head) || head.n <= a->last.n) return 0;
    FAIL(err, CORRUPT,
         "%s ends with record %llu, but record %llu was written; see keel audit verify", a->path,
         (unsigned long long)a->last.n, (unsigned long long)head.n);
}

/* Has another process written since? The file is locked. */
static int catch_up(struct audit *a, struct keel_error *err) {
    uint64_t size;
    TRY(file_size(a->fd, a->path, &size, err));
    if (size == a->size && size > 0) return 0;
    int code = read_end(a, size, err);
    if (code == 0) code = check_head(a, err); /* before anything is cut */
    if (code == 0 && a->size < size) code = file_truncate(a->fd, a->size, a->path, err);
    if (code < 0) a->size = 0; /* the next one looks again */
    return code;
}

static int append(struct audit *a, const struct audit_act *act, struct keel_error *err) {
    struct buf line;
    struct audit_link next;
    TRY(catch_up(a, err));
    buf_init(&line, AUDIT_RECORD_MAX);
    int code = write_record(act, &a->last, &line, &next, err);
    if (code == 0) code = file_pwrite_all(a->fd, line.p, line.n, a->size, a->path, err);
    if (code == 0) code = file_sync_data(a->fd, a->path, err);
    if (code == 0) {
        a->last = next;
        a->size += line.n;
        code = write_head(a, err);
    } else {
        a->size = 0; /* what stands there is looked at before the next one */
    }
    buf_release(&line);
    return code;
}

/* A lock belongs to an open file: one a call, so that threads and processes take turns. A turn is
 * one record and its sync. */
int audit_lock(const char *path, int *out_fd, struct keel_error *err) {
    int fd, code = 0;
    TRY(file_open(path, FILE_READ, &fd, err));
    for (int tries = 0; tries < LOCK_TRIES; tries++) {
        code = file_lock(fd, false, path, err);
        if (code != -KEEL_E_BUSY) break;
        usleep(LOCK_PAUSE_US);
    }
    if (code < 0)
        file_close(fd);
    else
        *out_fd = fd;
    return code;
}

/* act NULL: only looks whether it could. */
static int in_turn(struct audit *a, const struct audit_act *act, struct keel_error *err) {
    int locked = -1;
    pthread_mutex_lock(&a->lock);
    int code = audit_lock(a->path, &locked, err);
    if (code == 0) code = act ? append(a, act, err) : catch_up(a, err);
    file_close(locked);
    pthread_mutex_unlock(&a->lock);
    return code < 0 ? error_context(err, code, "the audit log cannot be written") : 0;
}

int audit_ready(struct audit *a, struct keel_error *err) { return in_turn(a, NULL, err); }

int audit_append(struct audit *a, const struct audit_act *act, struct keel_error *err) {
    return in_turn(a, act, err);
}

/* ---- opening ---- */

static int make_key(const char *path, struct keel_error *err) {
    char text[SECRET_TEXT + 1];
    int fd;
    secret_make(text);
    TRY(file_open(path, FILE_WRITE | FILE_CREATE | FILE_EXCLUSIVE | FILE_PRIVATE, &fd, err));
    int code = file_write_all(fd, text, SECRET_TEXT, path, err);
    if (code == 0) code = file_sync(fd, path, err);
    file_close(fd);
    if (code < 0) (void)!file_remove(path, NULL);
    return code;
}

/* The log is locked: who comes second finds a whole key. */
static int open_key(struct audit *a, const char *path, struct keel_error *err) {
    struct buf got;
    if (!file_exists(path)) TRY(make_key(path, err));
    buf_init(&got, 4096);
    int code = file_read(path, &got, err);
    struct str key = code == 0 ? str_trim(buf_str(&got)) : STR("");
    if (code == 0 && key.n < SECRET_TEXT)
        code =
            error_set(err, KEEL_E_INVALID, "%s holds no key of %d characters", path, SECRET_TEXT);
    struct secret_hash hash = secret_hash(key);
    memcpy(a->key, hash.bytes, sizeof a->key);
    if (got.p) sodium_memzero(got.p, got.cap);
    buf_release(&got);
    return code;
}

static int open_files(struct audit *a, const char *dir, struct arena *names,
                      struct keel_error *err) {
    a->path = arena_printf(names, "%s/audit.log", dir);
    a->head_path = arena_printf(names, "%s/audit.head", dir);
    int locked;
    TRY(file_open(a->path, FILE_WRITE | FILE_CREATE | FILE_PRIVATE, &a->fd, err));
    TRY(file_open(a->head_path, FILE_WRITE | FILE_CREATE | FILE_PRIVATE, &a->head_fd, err));
    TRY(audit_lock(a->path, &locked, err));
    int code = open_key(a, arena_printf(names, "%s/audit.key", dir), err);
    file_close(locked);
    return code;
}

int audit_open(const char *dir, struct audit **out, struct keel_error *err) {
    struct arena names;
    TRY(secret_ready(err));
    struct audit *a = k_zalloc(sizeof *a);
    pthread_mutex_init(&a->lock, NULL);
    a->fd = a->head_fd = -1;
    arena_init(&names, 1 << 20);
    int code = open_files(a, dir, &names, err);
    a->path = a->path ? k_strdup(a->path) : NULL;
    a->head_path = a->head_path ? k_strdup(a->head_path) : NULL;
    arena_release(&names);
    if (code == 0)
        *out = a;
    else
        audit_close(a);
    return code;
}

void audit_close(struct audit *a) {
    if (!a) return;
    file_close(a->fd);
    file_close(a->head_fd);
    pthread_mutex_destroy(&a->lock);
    sodium_memzero(a->key, sizeof a->key);
    k_free(a->path);
    k_free(a->head_path);
    k_free(a);
}

void audit_mark(const struct audit *a, struct str what, char out[AUDIT_MARK_TEXT + 1]) {
    unsigned char hash[AUDIT_MARK_TEXT / 2];
    crypto_generichash(hash, sizeof hash, (const unsigned char *)what.p, what.n, a->key,
                       sizeof a->key);
    sodium_bin2hex(out, AUDIT_MARK_TEXT + 1, hash, sizeof hash);
}

/* ---- listing ---- */

struct listing {
    struct str contains;
    uint32_t left;
    int (*each)(void *ctx, struct str line);
    void *ctx;
};

/* Lines of text[0..n) from the last one down; *out_begin: where the first that was looked at
 * begins. The first line is left alone if it may begin before the text. */
static int list_lines(struct listing *l, const char *text, size_t n, bool whole,
                      size_t *out_begin) {
    size_t end = n;
    while (end > 0 && l->left) {
        size_t begin = end - 1;
        while (begin > 0 && text[begin - 1] != '\n') begin--;
        if (begin == 0 && !whole) break;
        struct str line = {text + begin, end - 1 - begin};
        end = begin;
        if (l->contains.n && !str_contains(line, l->contains)) continue;
        l->left--;
        TRY(l->each(l->ctx, line));
    }
    *out_begin = end;
    return 0;
}

static int list_from(struct audit *a, int fd, struct listing *l, uint64_t *at,
                     struct keel_error *err) {
    char *text = k_alloc(LIST_BYTES);
    int code = 0;
    while (*at > 0 && l->left && code == 0) {
        size_t n = *at < LIST_BYTES ? (size_t)*at : LIST_BYTES, begin = 0;
        code = file_pread_all(fd, text, n, *at - n, a->path, err);
        if (code == 0) code = list_lines(l, text, n, *at == n, &begin);
        if (code == 0 && begin == n)
            code = error_set(err, KEEL_E_CORRUPT, "%s: no record ends at byte %llu", a->path,
                             (unsigned long long)*at);
        *at -= n - begin;
    }
    k_free(text);
    return code;
}

int audit_list(struct audit *a, uint64_t before, uint32_t limit, struct str contains,
               int (*each)(void *ctx, struct str line), void *ctx, uint64_t *out_next,
               struct keel_error *err) {
    struct listing l = {contains, limit, each, ctx};
    uint64_t size;
    char last = '\n';
    int fd;
    TRY(file_open(a->path, FILE_READ, &fd, err));
    int code = file_size(fd, a->path, &size, err);
    uint64_t at = before && before < size ? before : size;
    if (code == 0 && at > 0) code = file_pread_all(fd, &last, 1, at - 1, a->path, err);
    if (code == 0 && last != '\n' && at == before)
        code = error_set(err, KEEL_E_INVALID, "this cursor is none of this log");
    while (code == 0 && at > 0 && last != '\n') { /* a record that is being written */
        at--;
        if (at > 0) code = file_pread_all(fd, &last, 1, at - 1, a->path, err);
    }
    if (code == 0) code = list_from(a, fd, &l, &at, err);
    file_close(fd);
    if (code == 0) *out_next = at;
    return code;
}
