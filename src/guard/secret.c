/* Implementation of secret.h. */
#include "guard/secret.h"

#include <sodium.h>

_Static_assert(SECRET_HASH == crypto_generichash_BYTES, "BLAKE2b-256");

int secret_ready(struct keel_error *err) {
    if (sodium_init() < 0) FAIL(err, INTERNAL, "the system gives no random numbers");
    return 0;
}

static void encode(const unsigned char bytes[SECRET_HASH], char out[SECRET_TEXT + 1]) {
    sodium_bin2base64(out, SECRET_TEXT + 1, bytes, SECRET_HASH,
                      sodium_base64_VARIANT_URLSAFE_NO_PADDING);
}

void secret_make(char out[SECRET_TEXT + 1]) {
    unsigned char bytes[SECRET_HASH];
    randombytes_buf(bytes, sizeof bytes);
    encode(bytes, out);
    sodium_memzero(bytes, sizeof bytes);
}

struct secret_hash secret_hash(struct str secret) {
    struct secret_hash h;
    crypto_generichash(h.bytes, sizeof h.bytes, (const unsigned char *)secret.p, secret.n, NULL, 0);
    return h;
}

void secret_derive(struct str secret, const char *purpose, char out[SECRET_TEXT + 1]) {
    struct secret_hash key = secret_hash(secret), h;
    crypto_generichash_state state;
    crypto_generichash_init(&state, key.bytes, sizeof key.bytes, sizeof h.bytes);
    crypto_generichash_update(&state, (const unsigned char *)purpose, strlen(purpose));
    crypto_generichash_update(&state, (const unsigned char *)secret.p, secret.n);
    crypto_generichash_final(&state, h.bytes, sizeof h.bytes);
    encode(h.bytes, out);
}

bool secret_same(struct str a, struct str b) {
    struct secret_hash x = secret_hash(a), y = secret_hash(b);
    return sodium_memcmp(x.bytes, y.bytes, sizeof x.bytes) == 0;
}
