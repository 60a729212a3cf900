/* What the HTTP server reads itself, on any bytes: the first byte chooses.
 *
 *   q  a query: every parameter decodes within its bytes, and the same one is found again
 *   c  a configuration: read, shown and read again, it is the same
 *   otherwise a path: the route that is found has the path's parts, whatever the tree tried before
 */
#include <stdlib.h>

#include "api/config.h"
#include "api/server/server_int.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int nothing(struct request *r, void *ctx, struct keel_error *err) {
    (void)r, (void)ctx, (void)err;
    return 0;
}

static const struct route TABLE[] = {
    {.methods = HTTP_GET | HTTP_POST, .pattern = "/", .handle = nothing},
    {.methods = HTTP_GET, .pattern = "/a", .handle = nothing},
    {.methods = HTTP_POST, .pattern = "/a/{x}", .handle = nothing},
    {.methods = HTTP_GET, .pattern = "/a/{x}/b", .handle = nothing},
    {.methods = HTTP_GET, .pattern = "/a/b/{y}/c", .handle = nothing},
    {.methods = HTTP_GET, .pattern = "/a/{x}/b/{y...}", .handle = nothing},
    {0},
};
static const struct route *const TABLES[] = {TABLE, NULL};

static void query(struct str text) {
    struct request r = {.query = text};
    struct str value, again;
    arena_init(&r.arena, 1 << 26);
    static const char *const NAMES[] = {"a", "data", "", "writeKey"};
    for (size_t i = 0; i < sizeof NAMES / sizeof NAMES[0]; i++) {
        if (!request_param(&r, NAMES[i], &value)) continue;
        if (value.n > text.n) abort();
        if (!request_param(&r, NAMES[i], &again) || !str_eq(value, again)) abort();
    }
    struct str once = str_url_decode(&r.arena, text, true);
    if (once.n > text.n) abort();
    arena_release(&r.arena);
}

static void configuration(struct str text) {
    struct config *config, *again;
    struct keel_error err = {0};
    struct buf shown, twice;
    struct output o;
    int code = config_parse(text, "fuzz.toml", &config, &err);
    if (code < 0) {
        if (!err.message[0]) abort();
        return;
    }
    buf_init(&shown, 1 << 22);
    buf_init(&twice, 1 << 22);
    output_into(&o, &shown);
    config_show(config, &o);
    if (output_close(&o, &err) < 0) abort();
    if (config_parse(buf_str(&shown), "again.toml", &again, &err) < 0) abort();
    output_into(&o, &twice);
    config_show(again, &o);
    if (output_close(&o, &err) < 0 || !str_eq(buf_str(&shown), buf_str(&twice))) abort();
    config_free(config);
    config_free(again);
    buf_release(&shown);
    buf_release(&twice);
}

static void path(struct str text) {
    struct str parts[REQUEST_MAX_PARTS] = {0};
    unsigned methods;
    struct router *router = router_new(TABLES);
    const struct route *route = router_find(router, text, HTTP_GET, parts, &methods);
    if (route && !(methods & HTTP_GET)) abort();
    if (route && !(route->methods & HTTP_GET)) abort();
    for (unsigned i = 0; route && i < REQUEST_MAX_PARTS && parts[i].p; i++)
        if (parts[i].p < text.p || parts[i].p + parts[i].n > text.p + text.n) abort();
    router_free(router);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size == 0 || size > 65536) return 0;
    char *copy = malloc(size); /* its end is where reading beyond it is noticed */
    if (!copy) return 0;
    memcpy(copy, data, size);
    struct str text = {copy + 1, size - 1};
    if (copy[0] == 'q')
        query(text);
    else if (copy[0] == 'c')
        configuration(text);
    else
        path((struct str){copy, size});
    free(copy);
    return 0;
}
