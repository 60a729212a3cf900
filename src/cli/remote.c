/* Implementation of remote.h. */
#include "cli/remote.h"

#include <curl/curl.h>
#include <stdio.h>

#include "base/json.h"
#include "base/os.h"

enum { HEALTH_MS = 5000, PROBLEM_BYTES = 1 << 20, SOCKET_PATH_MOST = 107 };

struct remote {
    CURL *curl;
    struct curl_slist *headers;
    char *dir, *socket;
    int folder; /* -1, or open while `socket` goes through /proc/self/fd */
    /* of the call under way */
    int (*each)(void *ctx, struct str piece, struct keel_error *err);
    void *ctx;
    struct buf *out, problem;
    struct keel_error *err;
    int stopped;
    long patience_ms; /* 0: a reply may take as long as it takes */
};

/* ---- opening ---- */

/* A unix socket's path is short; a longer one is reached through its folder's descriptor. */
static int name_socket(struct remote *r, struct keel_error *err) {
    char path[64];
    struct buf text;
    buf_init(&text, 1 << 16);
    TRY(buf_printf(&text, "%s/keel.sock%c", r->dir, 0));
    if (text.n - 1 > SOCKET_PATH_MOST) {
        int code = file_open(r->dir, FILE_READ, &r->folder, err);
        if (code < 0) {
            buf_release(&text);
            return code;
        }
        snprintf(path, sizeof path, "/proc/self/fd/%d/keel.sock", r->folder);
        r->socket = k_strdup(path);
    } else {
        r->socket = k_strdup((const char *)text.p);
    }
    buf_release(&text);
    return 0;
}

void remote_close(struct remote *r) {
    if (!r) return;
    if (r->curl) curl_easy_cleanup(r->curl);
    curl_slist_free_all(r->headers);
    file_close(r->folder);
    buf_release(&r->problem);
    k_free(r->dir);
    k_free(r->socket);
    k_free(r);
}

int remote_open(const char *dir, struct remote **out, struct keel_error *err) {
    struct remote *r = k_zalloc(sizeof *r);
    struct buf ready;
    r->folder = -1;
    r->dir = k_strdup(dir);
    buf_init(&r->problem, PROBLEM_BYTES);
    buf_init(&ready, PROBLEM_BYTES);
    int code = name_socket(r, err);
    if (code == 0 && !(r->curl = curl_easy_init()))
        code = error_set(err, KEEL_E_NO_MEMORY, "no memory to ask the server");
    r->patience_ms = HEALTH_MS;
    if (code == 0 && (remote_call(r, "GET", "/healthz", (struct str){0}, &ready, NULL)) < 0)
        code = error_set(err, KEEL_E_BUSY,
                         "%s is in use by another keel process that is no server (or one that does "
                         "not answer at %s/keel.sock); stop it or wait",
                         dir, dir);
    r->patience_ms = 0;
    buf_release(&ready);
    if (code == 0)
        *out = r;
    else
        remote_close(r);
    return code;
}

void remote_header(struct remote *r, const char *line) {
    struct curl_slist *longer = curl_slist_append(r->headers, line);
    if (longer) r->headers = longer;
}

/* ---- calls ---- */

static size_t receive(const char *p, size_t size, size_t n, void *ctx) {
    struct remote *r = ctx;
    struct str piece = {p, size * n};
    long status = 0;
    curl_easy_getinfo(r->curl, CURLINFO_RESPONSE_CODE, &status);
    if (status >= 400) {
        (void)!buf_add_str(&r->problem, piece);
        return piece.n;
    }
    if (r->each)
        r->stopped = r->each(r->ctx, piece, r->err);
    else
        r->stopped = buf_add_str(r->out, piece);
    return r->stopped == 0 ? piece.n : 0;
}

static int code_of(struct str name) {
    static const struct {
        const char *name;
        int number;
    } NAMES[] = {
#define KEEL_ERROR(name, number, exit_code, http, text) {#name, number},
#include "base/errors.def"
#undef KEEL_ERROR
    };
    for (size_t i = 0; i < sizeof NAMES / sizeof NAMES[0]; i++)
        if (str_eq_nocase(name, str_from(NAMES[i].name))) return NAMES[i].number;
    return KEEL_E_IO;
}

/* The problem document as the error it was made from. */
static int problem(struct remote *r, long status, struct keel_error *err) {
    struct json_parser *parser = json_parser_new(PROBLEM_BYTES);
    struct json_value root;
    struct str detail = {0}, name = {0};
    int code;
    if (json_parse(parser, buf_str(&r->problem), &root, NULL) == 0 &&
        json_str(json_get(root, "detail"), &detail)) {
        (void)json_str(json_get(root, "code"), &name);
        code = error_set(err, (enum keel_code)code_of(name), "%.*s", STR_ARG(detail));
    } else {
        code = error_set(err, KEEL_E_IO, "the server of %s answers %ld", r->dir, status);
    }
    json_parser_free(parser);
    return code;
}

static int perform(struct remote *r, const char *method, const char *path, struct str body,
                   struct keel_error *err) {
    struct buf url;
    struct curl_slist *with_type = NULL;
    buf_init(&url, 1 << 20);
    TRY(buf_printf(&url, "http://keel%s%c", path, 0));
    for (struct curl_slist *h = r->headers; h; h = h->next)
        with_type = curl_slist_append(with_type, h->data);
    with_type = curl_slist_append(with_type, "Content-Type: application/json");
    with_type = curl_slist_append(with_type, "Expect:"); /* no wait for "100 Continue" */
    buf_clear(&r->problem);
    r->stopped = 0;
    r->err = err;
    curl_easy_reset(r->curl);
    curl_easy_setopt(r->curl, CURLOPT_UNIX_SOCKET_PATH, r->socket);
    curl_easy_setopt(r->curl, CURLOPT_URL, (const char *)url.p);
    curl_easy_setopt(r->curl, CURLOPT_PROXY, "");
    curl_easy_setopt(r->curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(r->curl, CURLOPT_TIMEOUT_MS, r->patience_ms);
    curl_easy_setopt(r->curl, CURLOPT_CUSTOMREQUEST, method);
    curl_easy_setopt(r->curl, CURLOPT_HTTPHEADER, with_type);
    curl_easy_setopt(r->curl, CURLOPT_WRITEFUNCTION, receive);
    curl_easy_setopt(r->curl, CURLOPT_WRITEDATA, r);
    if (body.p) {
        curl_easy_setopt(r->curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body.n);
        curl_easy_setopt(r->curl, CURLOPT_POSTFIELDS, body.p);
    }
    CURLcode result = curl_easy_perform(r->curl);
    long status = 0;
    curl_easy_getinfo(r->curl, CURLINFO_RESPONSE_CODE, &status);
    curl_slist_free_all(with_type);
    buf_release(&url);
    if (r->stopped) {
        if (r->out && r->stopped < 0) FAIL(err, LIMIT, "the server's answer is too large");
        return r->stopped;
    }
    if (result != CURLE_OK)
        FAIL(err, IO, "the server of %s: %s", r->dir, curl_easy_strerror(result));
    return status >= 400 ? problem(r, status, err) : 0;
}

int remote_call(struct remote *r, const char *method, const char *path, struct str body,
                struct buf *out, struct keel_error *err) {
    r->each = NULL;
    r->out = out;
    return perform(r, method, path, body, err);
}

int remote_follow(struct remote *r, const char *path,
                  int (*each)(void *ctx, struct str piece, struct keel_error *err), void *ctx,
                  struct keel_error *err) {
    r->each = each;
    r->ctx = ctx;
    r->out = NULL;
    return perform(r, "GET", path, (struct str){0}, err);
}

void remote_escape(struct buf *path, struct str text) {
    for (size_t i = 0; i < text.n; i++) {
        unsigned char c = (unsigned char)text.p[i];
        bool plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                     c == '-' || c == '.' || c == '_' || c == '~';
        if (plain)
            (void)!buf_add(path, &c, 1);
        else
            (void)!buf_printf(path, "%%%02X", c);
    }
}
