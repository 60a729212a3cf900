/* Implementation of webhook_send.h. */
#include "reach/webhook_send.h"

#include <sodium.h>
#include <stdio.h>
#include <sys/socket.h>

#include "base/net.h"
#include "base/os.h"

enum { HEADER_BYTES = 256, SIGNATURE_TEXT = 64, CONNECT_MS = 10000 };

static const char PREFIX[] = "whsec_";

void webhook_new_secret(char out[WEBHOOK_SECRET_TEXT]) {
    uint8_t bytes[WEBHOOK_SECRET_BYTES];
    randombytes_buf(bytes, sizeof bytes);
    snprintf(out, WEBHOOK_SECRET_TEXT, "%s", PREFIX);
    sodium_bin2base64(out + sizeof PREFIX - 1, WEBHOOK_SECRET_TEXT - sizeof PREFIX + 1, bytes,
                      sizeof bytes, sodium_base64_VARIANT_ORIGINAL);
    sodium_memzero(bytes, sizeof bytes);
}

/* base64 of HMAC-SHA256(secret, "id.timestamp.body"). */
static int sign(const char *secret, const char *id, long long timestamp, struct str body,
                char out[SIGNATURE_TEXT], struct keel_error *err) {
    crypto_auth_hmacsha256_state state;
    uint8_t key[WEBHOOK_SECRET_TEXT], mac[crypto_auth_hmacsha256_BYTES];
    char head[HEADER_BYTES];
    size_t key_bytes = 0;
    struct str text = str_from(secret);
    if (!str_starts(text, STR("whsec_")) ||
        sodium_base642bin(key, sizeof key, text.p + 6, text.n - 6, NULL, &key_bytes, NULL,
                          sodium_base64_VARIANT_ORIGINAL) != 0)
        FAIL(err, INVALID, "the secret of the webhook is none: whsec_ and base64");
    int n = snprintf(head, sizeof head, "%s.%lld.", id, timestamp);
    crypto_auth_hmacsha256_init(&state, key, key_bytes);
    crypto_auth_hmacsha256_update(&state, (const unsigned char *)head, (unsigned long long)n);
    crypto_auth_hmacsha256_update(&state, (const unsigned char *)body.p, body.n);
    crypto_auth_hmacsha256_final(&state, mac);
    sodium_memzero(key, sizeof key);
    sodium_bin2base64(out, SIGNATURE_TEXT, mac, sizeof mac, sodium_base64_VARIANT_ORIGINAL);
    return 0;
}

static size_t drop_answer(const char *p, size_t size, size_t n, void *ctx) {
    struct webhook_request *q = ctx;
    (void)p;
    q->answered += size * n;
    return q->answered > WEBHOOK_ANSWER_MOST ? 0 : size * n; /* enough: the status is known */
}

/* At the moment of connecting: whatever the name resolved to, now or a moment ago. */
static curl_socket_t open_socket(void *ctx, curlsocktype purpose, struct curl_sockaddr *address) {
    struct webhook_request *q = ctx;
    (void)purpose;
    if (!q->allow_private && net_is_private(&address->addr)) {
        q->refused = true;
        return CURL_SOCKET_BAD;
    }
    return net_socket(address->family, address->socktype, address->protocol);
}

static int add_header(struct webhook_request *q, const char *text) {
    struct curl_slist *longer = curl_slist_append(q->headers, text);
    if (!longer) return -KEEL_E_NO_MEMORY;
    q->headers = longer;
    return 0;
}

static int make_headers(struct webhook_request *q, const char *secret, const char *id,
                        struct str body, struct keel_error *err) {
    char text[HEADER_BYTES], signature[SIGNATURE_TEXT];
    long long timestamp = (long long)(now_ms() / 1000);
    TRY(sign(secret, id, timestamp, body, signature, err));
    int code = add_header(q, "Content-Type: application/json");
    snprintf(text, sizeof text, "webhook-id: %s", id);
    if (code == 0) code = add_header(q, text);
    snprintf(text, sizeof text, "webhook-timestamp: %lld", timestamp);
    if (code == 0) code = add_header(q, text);
    snprintf(text, sizeof text, "webhook-signature: v1,%s", signature);
    if (code == 0) code = add_header(q, text);
    if (code == 0) code = add_header(q, "Expect:");
    if (code < 0) FAIL(err, NO_MEMORY, "no memory for a webhook");
    return 0;
}

static bool set_options(struct webhook_request *q, const char *url, struct str body,
                        int64_t timeout_ms) {
    CURL *c = q->easy;
    long timeout = (long)timeout_ms;
    return curl_easy_setopt(c, CURLOPT_URL, url) == CURLE_OK &&
           curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https") == CURLE_OK &&
           curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 0L) == CURLE_OK &&
           curl_easy_setopt(c, CURLOPT_PROXY, "") == CURLE_OK &&
           curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L) == CURLE_OK &&
           curl_easy_setopt(c, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body.n) == CURLE_OK &&
           curl_easy_setopt(c, CURLOPT_POSTFIELDS, body.p) == CURLE_OK &&
           curl_easy_setopt(c, CURLOPT_HTTPHEADER, q->headers) == CURLE_OK &&
           curl_easy_setopt(c, CURLOPT_USERAGENT, "keel-webhooks/1") == CURLE_OK &&
           curl_easy_setopt(c, CURLOPT_TIMEOUT_MS, timeout) == CURLE_OK &&
           curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT_MS,
                            timeout < CONNECT_MS ? timeout : (long)CONNECT_MS) == CURLE_OK &&
           curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, drop_answer) == CURLE_OK &&
           curl_easy_setopt(c, CURLOPT_WRITEDATA, q) == CURLE_OK &&
           curl_easy_setopt(c, CURLOPT_OPENSOCKETFUNCTION, open_socket) == CURLE_OK &&
           curl_easy_setopt(c, CURLOPT_OPENSOCKETDATA, q) == CURLE_OK &&
           curl_easy_setopt(c, CURLOPT_ERRORBUFFER, q->error) == CURLE_OK;
}

int webhook_request_init(struct webhook_request *q, const char *url, const char *secret,
                         const char *id, struct str body, bool allow_private, int64_t timeout_ms,
                         struct keel_error *err) {
    *q = (struct webhook_request){.allow_private = allow_private};
    int code = make_headers(q, secret, id, body, err);
    if (code == 0) q->easy = curl_easy_init();
    if (code == 0 && (!q->easy || !set_options(q, url, body, timeout_ms)))
        code = error_set(err, KEEL_E_NO_MEMORY, "cannot set up a webhook's request");
    if (code < 0) webhook_request_release(q);
    return code;
}

void webhook_request_release(struct webhook_request *q) {
    if (q->easy) curl_easy_cleanup(q->easy);
    curl_slist_free_all(q->headers);
    q->easy = NULL;
    q->headers = NULL;
}

void webhook_request_why(const struct webhook_request *q, CURLcode code, long status,
                         struct buf *out) {
    if (q->refused)
        (void)!buf_add_text(out, "its address is private or local, which is not allowed");
    else if (status >= 200 && status < 300)
        return;
    else if (status)
        (void)buf_printf(out, "answered %ld", status);
    else
        (void)!buf_add_text(out, curl_easy_strerror(code));
}
