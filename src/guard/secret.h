/* Random secrets that are shown once and stored as hashes: of sessions, one-time links, API keys.
 *
 * 256 random bits as 43 characters of base64url. Such a secret cannot be guessed, so that a fast
 * hash of it is enough; what people choose is for password.h.
 *
 * Layers: base, libsodium. Threads: pure. */
#pragma once

#include "base/error.h"
#include "base/str.h"

enum { SECRET_TEXT = 43, SECRET_HASH = 32 };

struct secret_hash {
    unsigned char bytes[SECRET_HASH];
};

int secret_ready(struct keel_error *err) K_CHECKED; /* once, before anything else */
void secret_make(char out[SECRET_TEXT + 1]);
struct secret_hash secret_hash(struct str secret);
/* Another secret that follows from one: who knows the second does not learn the first. */
void secret_derive(struct str secret, const char *purpose, char out[SECRET_TEXT + 1]);
/* In a time that does not depend on where they differ. */
bool secret_same(struct str a, struct str b);
static inline struct str secret_hash_str(const struct secret_hash *h) {
    return (struct str){(const char *)h->bytes, SECRET_HASH};
}
