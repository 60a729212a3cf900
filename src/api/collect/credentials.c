/* Implementation of credentials.h. */
#include "api/collect/credentials.h"

#include <sodium.h>

#include "base/os.h"

/* What SDKs send beside the headers that need no permission. */
#define SDK_HEADERS                                                                                \
    "authorization, content-type, content-encoding, x-retry-count, x-strict-mode, x-write-key, "   \
    "x-ip-policy, x-enable-debug, anonymousid, sentat, rsa-recovered, rsa-retry-attempt, "         \
    "rsa-retry-timestamp, rsa-retry-reason, rsa-initiated-by"

bool credentials_base64(struct arena *a, struct str text, struct str *out) {
    text = str_trim(text);
    while (text.n && text.p[text.n - 1] == '=') text.n--;
    bool url = text.n && (memchr(text.p, '-', text.n) || memchr(text.p, '_', text.n));
    unsigned char *bytes = arena_try_alloc(a, text.n + 1);
    size_t n = 0;
    if (!bytes) return false;
    if (sodium_base642bin(bytes, text.n, text.p, text.n, NULL, &n, NULL,
                          url ? sodium_base64_VARIANT_URLSAFE_NO_PADDING
                              : sodium_base64_VARIANT_ORIGINAL_NO_PADDING) != 0)
        return false;
    bytes[n] = '\0';
    *out = (struct str){(const char *)bytes, n};
    return true;
}

static struct str without_secret(struct str key) {
    const char *colon = key.n ? memchr(key.p, ':', key.n) : NULL;
    return str_trim((struct str){key.p, colon ? (size_t)(colon - key.p) : key.n});
}

const struct event_source *credentials_find(struct sources *sources, struct str key,
                                            int64_t now_ms) {
    key = without_secret(key);
    return key.n ? sources_find(sources, key, now_ms) : NULL;
}

/* The rest of a header that begins with a word and a space; empty if it does not. */
static struct str behind_word(struct str value, struct str word) {
    if (value.n <= word.n || !str_eq_nocase((struct str){value.p, word.n}, word) ||
        value.p[word.n] != ' ')
        return STR("");
    return str_trim((struct str){value.p + word.n, value.n - word.n});
}

const struct event_source *credentials_source(struct request *r, struct sources *sources) {
    struct str authorization = request_header(r, "Authorization");
    struct str basic = STR(""), key;
    const struct event_source *found = NULL;
    int64_t now = r->received_ms;
    if (authorization.n && authorization.n <= CREDENTIALS_MAX) {
        key = behind_word(authorization, STR("Basic"));
        if (key.n && credentials_base64(&r->arena, key, &basic))
            found = credentials_find(sources, basic, now);
        key = behind_word(authorization, STR("Bearer"));
        if (!found && key.n) found = credentials_find(sources, key, now);
    }
    key = found ? STR("") : request_header(r, "X-Write-Key");
    if (key.n) found = credentials_find(sources, key, now);
    if (!found && r->query.n &&
        (request_param(r, "writeKey", &key) || request_param(r, "writekey", &key)))
        found = credentials_find(sources, key, now);
    return found;
}

/* ---- browsers ---- */

static bool is_header_list(struct str text) {
    for (size_t i = 0; i < text.n; i++) {
        char c = text.p[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!letter && !strchr("-_, ", c)) return false;
    }
    return text.n <= 1000;
}

void cors_allow(struct request *r) {
    struct str origin = request_header(r, "Origin");
    if (origin.n == 0 || origin.n > 1000) return;
    reply_header(r, "Access-Control-Allow-Origin", origin);
    reply_header(r, "Access-Control-Allow-Credentials", STR("true"));
    reply_header(r, "Access-Control-Expose-Headers", STR("Retry-After, X-RateLimit-Reset"));
    reply_header(r, "Vary", STR("Origin"));
}

int cors_preflight(struct request *r) {
    struct str asked = request_header(r, "Access-Control-Request-Headers");
    const char *headers = SDK_HEADERS;
    cors_allow(r);
    /* SDKs add headers of their own with each version: what is asked for is allowed, too. */
    if (asked.n && is_header_list(asked))
        headers = arena_printf(&r->arena, "%s, %.*s", SDK_HEADERS, STR_ARG(asked));
    reply_header(r, "Access-Control-Allow-Headers", str_from(headers));
    reply_header(r, "Access-Control-Allow-Methods", STR("GET, POST, OPTIONS"));
    reply_header(r, "Access-Control-Max-Age", STR("86400"));
    r->reply.status = 200;
    r->reply.content_type = "text/plain";
    return 0;
}
