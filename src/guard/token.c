/* Implementation of token.h. What is compared are hashes of equal length, so that neither the place
 * of the first difference nor the length of the right token shows in the time. */
#include "guard/token.h"

#include <sodium.h>

#include "base/os.h"

enum { TOKEN_BYTES = 32 };

static int make(const char *path, struct token *out, struct keel_error *err) {
    uint8_t secret[TOKEN_BYTES];
    char line[TOKEN_MAX + 1];
    int fd;
    randombytes_buf(secret, sizeof secret);
    sodium_bin2base64(out->text, sizeof out->text, secret, sizeof secret,
                      sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    sodium_memzero(secret, sizeof secret);
    out->n = strlen(out->text);
    memcpy(line, out->text, out->n);
    line[out->n] = '\n';
    TRY(file_open(path, FILE_WRITE | FILE_CREATE | FILE_EXCLUSIVE | FILE_PRIVATE, &fd, err));
    int code = file_write_all(fd, line, out->n + 1, path, err);
    if (code == 0) code = file_sync(fd, path, err);
    file_close(fd);
    sodium_memzero(line, sizeof line);
    if (code < 0) (void)!file_remove(path, NULL); /* half a token would be refused for ever */
    return code;
}

static int load(const char *path, struct token *out, struct keel_error *err) {
    struct buf text;
    buf_init(&text, 2 * TOKEN_MAX);
    int code = file_read(path, &text, err);
    struct str s = code == 0 ? str_trim(buf_str(&text)) : STR("");
    if (code == 0 && (s.n < TOKEN_MIN || s.n > TOKEN_MAX))
        code = error_set(err, KEEL_E_INVALID,
                         "%s holds no token of %d to %d characters; remove it for a new one", path,
                         TOKEN_MIN, TOKEN_MAX);
    if (code == 0) {
        memcpy(out->text, s.p, s.n);
        out->text[s.n] = 0;
        out->n = s.n;
    }
    if (text.p) sodium_memzero(text.p, text.cap);
    buf_release(&text);
    return code;
}

int token_open(const char *dir, struct token *out, bool *out_made, struct keel_error *err) {
    if (sodium_init() < 0) FAIL(err, INTERNAL, "the system gives no random numbers");
    struct arena arena;
    arena_init(&arena, 1 << 16);
    const char *path = arena_printf(&arena, "%s/admin.token", dir);
    *out_made = !file_exists(path);
    int code = *out_made ? make(path, out, err) : load(path, out, err);
    arena_release(&arena);
    return code;
}

bool token_is(const struct token *token, struct str given) {
    uint8_t a[crypto_generichash_BYTES], b[crypto_generichash_BYTES];
    crypto_generichash(a, sizeof a, (const uint8_t *)token->text, token->n, NULL, 0);
    crypto_generichash(b, sizeof b, (const uint8_t *)given.p, given.n, NULL, 0);
    return sodium_memcmp(a, b, sizeof a) == 0;
}

bool token_bears(const struct token *token, struct str authorization) {
    struct str scheme = STR("Bearer ");
    if (authorization.n < scheme.n) return false;
    struct str head = {authorization.p, scheme.n};
    if (!str_eq_nocase(head, scheme)) return false;
    return token_is(token,
                    str_trim((struct str){authorization.p + scheme.n, authorization.n - scheme.n}));
}
