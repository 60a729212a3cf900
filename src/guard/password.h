/* Passwords: Argon2id by libsodium, in PASSWORD_MEMORY_BYTES and PASSWORD_PASSES (RFC 9106's second
 * recommendation), stored as crypto_pwhash_str writes them.
 *
 * A hash takes about a tenth of a second and its memory, so at most PASSWORD_AT_ONCE run at a time
 * and PASSWORD_WAITING wait; beyond that KEEL_E_BUSY. Never in a thread of connections.
 *
 * What is asked of a password is its length alone: rules about kinds of characters make passwords
 * that are harder to remember and no harder to guess.
 *
 * Layers: base, libsodium. Threads: any. */
#pragma once

#include "base/error.h"
#include "base/str.h"

enum {
    PASSWORD_MIN = 12,         /* characters */
    PASSWORD_MAX_BYTES = 1024, /* more is no password */
    PASSWORD_STORED = 128,     /* with its NUL */
    PASSWORD_AT_ONCE = 2,
    PASSWORD_WAITING = 1,
    PASSWORD_PASSES = 3,
    PASSWORD_MEMORY_BYTES = 64 << 20,
};

struct passwords;

int passwords_new(struct passwords **out, struct keel_error *err) K_CHECKED;
void passwords_free(struct passwords *p); /* NULL is fine */

/* KEEL_E_INVALID: too short, too long, no UTF-8. */
int password_check(struct str password, struct keel_error *err) K_CHECKED;
int password_hash(struct passwords *p, struct str password, char out[PASSWORD_STORED],
                  struct keel_error *err) K_CHECKED;
/* `stored` empty: there is none, which takes as long and is never right. */
int password_verify(struct passwords *p, struct str stored, struct str given, bool *out_right,
                    struct keel_error *err) K_CHECKED;
