/* One signed request: what the engine and webhook_test share. Private to src/reach.
 * Layers: libcurl, libsodium, base/net.h. Threads: a request has one owner. */
#pragma once

#include <curl/curl.h>

#include "reach/webhook.h"

enum { WEBHOOK_SECRET_BYTES = 32, WEBHOOK_SECRET_TEXT = 64, WEBHOOK_ANSWER_MOST = 64 << 10 };

/* "whsec_" and base64. */
void webhook_new_secret(char out[WEBHOOK_SECRET_TEXT]);

struct webhook_request {
    CURL *easy;
    struct curl_slist *headers;
    size_t answered; /* bytes of the answer's body, dropped */
    bool allow_private, refused;
    char error[CURL_ERROR_SIZE];
};

/* Sets up a POST; `body` is borrowed until webhook_request_release. KEEL_E_INVALID: the secret is
 * none. */
int webhook_request_init(struct webhook_request *q, const char *url, const char *secret,
                         const char *id, struct str body, bool allow_private, int64_t timeout_ms,
                         struct keel_error *err) K_CHECKED;
void webhook_request_release(struct webhook_request *q);
/* What went wrong, as a sentence without addresses; "" if it is a success. */
void webhook_request_why(const struct webhook_request *q, CURLcode code, long status,
                         struct buf *out);
