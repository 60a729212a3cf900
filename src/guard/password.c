/* Implementation of password.h. Who has no password is compared with that of nobody, made at the
 * start, so that the time of an answer does not tell which logins exist. */
#include "guard/password.h"

#include <pthread.h>
#include <sodium.h>

#include "guard/secret.h"

_Static_assert(PASSWORD_STORED == crypto_pwhash_STRBYTES, "libsodium's form");

struct passwords {
    pthread_mutex_t lock;
    pthread_cond_t free_place;
    unsigned running, waiting;
    char nobody[PASSWORD_STORED];
};

static int hash(struct str password, char out[PASSWORD_STORED], struct keel_error *err) {
    if (crypto_pwhash_str_alg(out, password.p, password.n, PASSWORD_PASSES, PASSWORD_MEMORY_BYTES,
                              crypto_pwhash_ALG_ARGON2ID13) != 0)
        FAIL(err, NO_MEMORY, "no memory to hash a password: %d MiB are needed",
             PASSWORD_MEMORY_BYTES >> 20);
    return 0;
}

int passwords_new(struct passwords **out, struct keel_error *err) {
    char secret[SECRET_TEXT + 1];
    TRY(secret_ready(err));
    struct passwords *p = k_zalloc(sizeof *p);
    secret_make(secret);
    int code = hash(str_from(secret), p->nobody, err);
    sodium_memzero(secret, sizeof secret);
    if (code < 0) {
        k_free(p);
        return code;
    }
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->free_place, NULL);
    *out = p;
    return 0;
}

void passwords_free(struct passwords *p) {
    if (!p) return;
    pthread_mutex_destroy(&p->lock);
    pthread_cond_destroy(&p->free_place);
    k_free(p);
}

int password_check(struct str password, struct keel_error *err) {
    size_t characters = 0;
    if (password.n > PASSWORD_MAX_BYTES)
        FAIL(err, INVALID, "the password has more than %d bytes", PASSWORD_MAX_BYTES);
    if (!str_is_utf8(password)) FAIL(err, INVALID, "the password is not UTF-8");
    for (size_t i = 0; i < password.n; i++) characters += (password.p[i] & 0xc0) != 0x80;
    if (characters < PASSWORD_MIN)
        FAIL(err, INVALID, "the password has %zu characters; it needs %d. Any will do: a few words",
             characters, PASSWORD_MIN);
    return 0;
}

static int enter(struct passwords *p, struct keel_error *err) {
    pthread_mutex_lock(&p->lock);
    bool full = p->running == PASSWORD_AT_ONCE && p->waiting == PASSWORD_WAITING;
    if (!full) {
        p->waiting++;
        while (p->running == PASSWORD_AT_ONCE) pthread_cond_wait(&p->free_place, &p->lock);
        p->waiting--;
        p->running++;
    }
    pthread_mutex_unlock(&p->lock);
    if (full) FAIL(err, BUSY, "too many passwords are being checked; try again");
    return 0;
}

static void leave(struct passwords *p) {
    pthread_mutex_lock(&p->lock);
    p->running--;
    pthread_cond_signal(&p->free_place);
    pthread_mutex_unlock(&p->lock);
}

int password_hash(struct passwords *p, struct str password, char out[PASSWORD_STORED],
                  struct keel_error *err) {
    TRY(password_check(password, err));
    TRY(enter(p, err));
    int code = hash(password, out, err);
    leave(p);
    return code;
}

int password_verify(struct passwords *p, struct str stored, struct str given, bool *out_right,
                    struct keel_error *err) {
    char text[PASSWORD_STORED];
    bool known = stored.n > 0 && stored.n < sizeof text && given.n <= PASSWORD_MAX_BYTES;
    if (given.n > PASSWORD_MAX_BYTES) given = STR("");
    memcpy(text, p->nobody, sizeof text);
    if (known) {
        memcpy(text, stored.p, stored.n);
        text[stored.n] = 0;
    }
    TRY(enter(p, err));
    bool same = crypto_pwhash_str_verify(text, given.p ? given.p : "", given.n) == 0;
    leave(p);
    *out_right = known && same;
    return 0;
}
