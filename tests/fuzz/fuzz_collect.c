/* Requests to the collectors, through a real server: heads, keys, pixels, bodies.
 *
 *     POST /v1/batch?writeKey=key      the first line of the input
 *     Content-Encoding: gzip           headers, up to an empty line
 *
 *     {"batch":[…                      the rest is the body
 *
 * Every reply has a status that its SDK knows how to take; what was answered 200 is an image or
 * JSON; every event of a request has one fate; what check() is given can be read to its end.
 */
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "collect_rig.h"

enum { REQUEST_MAX = 1 << 20 };

static struct rig rig;
static struct json_parser *parser;
static struct buf raw, reply;

/* A plan that is against every third event. */
static bool check(void *ctx, const struct collect_event *e, struct buf *details) {
    (void)ctx;
    struct event_view view = *e->view;
    struct field_view field;
    while (field_next(e->batch, &view, &field)) K_ASSERT(str_is_utf8(field.text));
    K_ASSERT(!view.r.bad && e->source && e->text.n);
    if (e->view->head.key.lo % 3) return true;
    (void)!buf_add_text(details, "[1]");
    return false;
}

static int keep(void *ctx, const struct collect_outcome *const *outcomes, uint32_t n,
                struct keel_error *err) {
    (void)ctx, (void)err;
    uint32_t held = 0;
    for (uint32_t k = 0; k < n; k++)
        for (uint32_t i = 0; i < outcomes[k]->n; i++)
            held += outcomes[k]->items[i].fate == COLLECT_QUARANTINED;
    K_ASSERT(held >= n);
    return 0;
}

static void tell(void *ctx, const struct collect_outcome *o) {
    (void)ctx;
    for (uint32_t i = 0; i < o->n; i++) {
        const struct collect_item *item = &o->items[i];
        K_ASSERT(item->fate < COLLECT_FATES);
        K_ASSERT(!o->refused == (item->fate != COLLECT_REFUSED));
        K_ASSERT(item->reason || item->fate == COLLECT_ACCEPTED || item->fate == COLLECT_DUPLICATE);
        K_ASSERT(item->text.p && str_is_utf8(item->details));
    }
}

static void stop(void) {
    rig_stop(&rig);
    rig_remove(&rig);
    json_parser_free(parser);
    buf_release(&raw);
    buf_release(&reply);
}

static void start(void) {
    rig_make(&rig);
    rig.hooks = (struct collect_hooks){.check = check, .keep = keep, .tell = tell};
    rig.server.idle_seconds = 1;
    rig.server.trust_proxy = true;
    rig_start(&rig);
    parser = json_parser_new(REQUEST_MAX);
    buf_init(&raw, 2 * REQUEST_MAX);
    buf_init(&reply, REQUEST_MAX);
    atexit(stop);
}

static struct str take_line(struct str *text) {
    const char *end = text->n ? memchr(text->p, '\n', text->n) : NULL;
    struct str line = {text->p, end ? (size_t)(end - text->p) : text->n};
    size_t taken = line.n + (end ? 1 : 0);
    *text = (struct str){text->p + taken, text->n - taken};
    return line;
}

/* Headers about the length of the message are ours: with others we would wait for each other. */
static bool is_framing(struct str line) {
    static const char *const names[] = {"content-length", "transfer-encoding", "expect",
                                        "connection", "upgrade"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct str name = str_from(names[i]);
        if (str_contains_nocase(line, name)) return true;
    }
    return line.n == 0 || line.p[0] == ' ' || line.p[0] == '\t';
}

static void check_reply(int status) {
    static const int known[] = {200, 400, 401, 403, 404, 405, 411, 413, 414, 415, 431, 501, 505};
    const char *head = (const char *)reply.p;
    bool fine = status == 0; /* the server hung up on what is no HTTP */
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) fine |= status == known[i];
    if (!fine) abort();
    const char *body = reply.n ? memmem(head, reply.n, "\r\n\r\n", 4) : NULL;
    if (status != 200 || !body) return;
    struct str text = {body + 4, reply.n - (size_t)(body + 4 - head)};
    struct json_value root;
    if (text.n == 0 || str_starts(text, STR("GIF89a"))) return;
    if (memmem(head, (size_t)(body - head), "application/json", 16))
        K_ASSERT(json_parse(parser, text, &root, NULL) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (!parser) start();
    struct str text = {(const char *)data, size};
    if (size > REQUEST_MAX) return 0;
    struct str line = take_line(&text);
    buf_clear(&raw);
    buf_clear(&reply);
    (void)!buf_printf(&raw, "%.*s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n", STR_ARG(line));
    while ((line = take_line(&text)).n)
        if (!is_framing(line)) (void)!buf_printf(&raw, "%.*s\r\n", STR_ARG(line));
    (void)!buf_printf(&raw, "Content-Length: %zu\r\n\r\n", text.n);
    (void)!buf_add_str(&raw, text);
    K_ASSERT(!raw.failed);
    check_reply(rig_send(&rig, buf_str(&raw), &reply));
    return 0;
}
