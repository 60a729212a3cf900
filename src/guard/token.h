/* The admin token: who knows it may do everything over the network.
 *
 *   DIR/admin.token   one line, 43 characters (256 random bits as base64url), mode 0600
 *
 * Made at the first start, by whoever owns the data. To change it: put another one into the file,
 * or remove the file, and start again. Accounts and roles come on top of it.
 *
 * Layers: base, libsodium. Threads: immutable once open.
 */
#pragma once

#include "base/error.h"
#include "base/str.h"

enum { TOKEN_MAX = 200, TOKEN_MIN = 32 };

struct token {
    char text[TOKEN_MAX + 1];
    size_t n;
};

/* Reads the token of a data directory; makes one if there is none (*out_made). KEEL_E_INVALID: the
 * file holds no token of TOKEN_MIN to TOKEN_MAX characters. */
int token_open(const char *dir, struct token *out, bool *out_made,
               struct keel_error *err) K_CHECKED;
/* In a time that does not depend on how much of it is right. */
bool token_is(const struct token *token, struct str given);
/* The token in a header's value: "Bearer TOKEN". */
bool token_bears(const struct token *token, struct str authorization);
