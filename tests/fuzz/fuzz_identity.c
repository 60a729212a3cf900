/* Fuzzes the reader of identity.log behind its checksums: the input is a sequence of records;
 * header and checksums are made right here. What is accepted is used: look-ups, owners, events, and
 * a save that loads again to as many people.
 *
 * Input: records as u16 bytes (little-endian) | payload.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/os.h"
#include "customer/identity.h"
#include "fault_os.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static const uint8_t STORE[16] = "fuzzed identity!";
static char dir[TEMP_PATH_MAX], path[TEMP_PATH_MAX + 32];

static void remove_dir(void) { temp_remove(dir); }

static void frame(struct buf *out, const uint8_t *bytes, size_t size) {
    uint8_t header[32] = "KEELIDS";
    struct reader r = reader_over(bytes, size);
    header[8] = 1;
    memcpy(header + 16, STORE, sizeof STORE);
    (void)!buf_add(out, header, sizeof header);
    while (reader_left(&r) >= 2) {
        size_t n = reader_u16(&r);
        if (n > reader_left(&r)) n = reader_left(&r);
        const uint8_t *payload = reader_take(&r, n);
        (void)!buf_add_u32(out, (uint32_t)n);
        (void)!buf_add_u32(out, (uint32_t)hash64(payload, n));
        (void)!buf_add(out, payload, n);
    }
    K_ASSERT_OP(out->failed, ==, 0);
}

static void on_id(void *ctx, struct str id) {
    size_t *bytes = ctx;
    *bytes += id.n;
}
static void on_edge(void *ctx, const struct edge *edge) {
    size_t *bytes = ctx;
    *bytes += edge->user_id.n + edge->anonymous_id.n;
}

static void look_up(struct identity *g, struct redirects *redirects) {
    size_t bytes = 0;
    for (uint32_t i = 0; i < redirects_numbers(redirects); i++) {
        enum id_kind kind;
        struct str id = identity_id(g, i, &kind);
        K_ASSERT_OP(identity_find(g, kind, id), ==, i);
        K_ASSERT_OP(redirects_root(redirects, i), <, redirects_numbers(redirects));
        identity_edges(g, kind, id, on_edge, &bytes);
        if (kind == ID_USER) identity_owned(g, id, on_id, &bytes);
    }
}

static void use(struct identity *g, struct redirects *redirects) {
    struct keel_error err;
    look_up(g, redirects);
    struct event_head head = {.type = EVENT_TRACK,
                              .time_ms = 1300000000000,
                              .name = STR("View"),
                              .user_id = STR("a new user"),
                              .anonymous_id = STR("a new device")};
    struct identity_ask ask;
    identity_ask(g, &head, &ask);
    identity_fetch(g, &ask);
    identity_fetch_texts(g, &ask);
    uint32_t number = identity_resolve(g, &head, &ask);
    K_ASSERT_OP(number, <, redirects_numbers(redirects));
    look_up(g, redirects);
    uint64_t bytes;
    identity_seal(g);
    int code = identity_save(g, dir, &bytes, &err);
    K_ASSERT_OP(code, ==, 0);
    struct redirects *others = redirects_new();
    struct identity *again = identity_new(others, STORE);
    code = identity_load(again, dir, bytes, &err);
    K_ASSERT_OP(code, ==, 0);
    K_ASSERT_OP(redirects_numbers(others), ==, redirects_numbers(redirects));
    K_ASSERT_OP(redirects_version(others), ==, redirects_version(redirects));
    for (uint32_t i = 0; i < redirects_numbers(others); i++)
        K_ASSERT_OP(redirects_root(others, i), ==, redirects_root(redirects, i));
    identity_free(again);
    redirects_free(others);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    struct buf out;
    struct keel_error err;
    int fd;
    if (size > 1 << 20) return 0;
    if (!dir[0]) {
        temp_make(dir);
        snprintf(path, sizeof path, "%s/identity.log", dir);
        atexit(remove_dir);
    }
    buf_init(&out, 16 << 20);
    frame(&out, bytes, size);
    int code = file_open(path, FILE_WRITE | FILE_CREATE | FILE_TRUNCATE, &fd, &err);
    if (code == 0) code = file_write_all(fd, out.p, out.n, path, &err);
    K_ASSERT_OP(code, ==, 0);
    file_close(fd);
    struct redirects *redirects = redirects_new();
    struct identity *g = identity_new(redirects, STORE);
    if (identity_load(g, dir, out.n, &err) == 0)
        use(g, redirects);
    else
        K_ASSERT(strstr(err.message, path) != NULL);
    identity_free(g);
    redirects_free(redirects);
    buf_release(&out);
    return 0;
}
