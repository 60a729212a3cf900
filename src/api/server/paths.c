/* Which route a path is: a tree of path segments made once from the tables.
 *
 * Text goes before {…}, {…} before {…...}; a branch that ends nowhere is left and the next one
 * tried, so /a/{id}/b and /a/x stand side by side. One slash at the end of a path is ignored: SDKs
 * send /v1/import/ and /v1/import.
 *
 * Layers: base. Threads: read-only once made. Limits: REQUEST_MAX_PARTS parts; two routes for one
 * path and method are a programmer's mistake.
 */
#include "api/server/server_int.h"

#include <stdio.h>

enum { METHODS = 6 };

struct node {
    struct str text; /* of this segment; parts have none */
    struct node *children, *next, *part;
    const struct route *at[METHODS], *rest[METHODS];
};

struct router {
    struct arena arena;
    struct node root;
};

static struct str next_segment(struct str *path) {
    const char *slash = memchr(path->p, '/', path->n);
    struct str segment = {path->p, slash ? (size_t)(slash - path->p) : path->n};
    size_t taken = segment.n + (slash ? 1 : 0);
    *path = (struct str){path->p + taken, path->n - taken};
    return segment;
}

static struct node *child(const struct node *at, struct str text) {
    for (struct node *c = at->children; c; c = c->next)
        if (str_eq(c->text, text)) return c;
    return NULL;
}

static void set(const struct route **slots, const struct route *route) {
    for (unsigned m = 0; m < METHODS; m++) {
        if (!(route->methods & 1u << m)) continue;
        K_ASSERT(slots[m] == NULL);
        slots[m] = route;
    }
}

static void add(struct router *router, const struct route *route) {
    struct node *at = &router->root;
    struct str left = str_from(route->pattern);
    unsigned parts = 0;
    K_ASSERT(left.n > 0 && left.p[0] == '/' && route->handle && route->methods);
    left = (struct str){left.p + 1, left.n - 1};
    while (left.n > 0) {
        struct str segment = next_segment(&left);
        bool is_part = segment.n > 2 && segment.p[0] == '{';
        if (is_part) K_ASSERT_OP(++parts, <=, REQUEST_MAX_PARTS);
        if (is_part && str_ends(segment, STR("...}"))) {
            K_ASSERT(left.n == 0);
            set(at->rest, route);
            return;
        }
        struct node *next = is_part ? at->part : child(at, segment);
        if (!next) {
            next = arena_zalloc(&router->arena, sizeof *next);
            if (is_part) {
                at->part = next;
            } else {
                next->text = segment;
                next->next = at->children;
                at->children = next;
            }
        }
        at = next;
    }
    set(at->at, route);
}

static int check(const struct route *route, bool audited, struct keel_error *err) {
    bool changes = route->methods & ~(unsigned)HTTP_GET && !(route->flags & ROUTE_READS);
    char methods[64];
    methods_text(route->methods, methods);
    if (route->right <= RIGHT_NONE || route->right >= RIGHTS)
        FAIL(err, INTERNAL,
             "the route %s %s declares no right: give it one of guard/rights.def, or RIGHT_PUBLIC",
             methods, route->pattern);
    if (audited && changes && route->right != RIGHT_WRITE_KEY && !(route->flags & ROUTE_WORKER))
        FAIL(err, INTERNAL,
             "the route %s %s changes something, but would not be noted: it needs ROUTE_WORKER, or "
             "ROUTE_READS",
             methods, route->pattern);
    return 0;
}

int routes_check(const struct route *const *tables, bool audited, struct keel_error *err) {
    for (; *tables; tables++)
        for (const struct route *route = *tables; route->pattern; route++)
            TRY(check(route, audited, err));
    return 0;
}

struct router *router_new(const struct route *const *tables) {
    struct router *router = k_zalloc(sizeof *router);
    arena_init(&router->arena, 64 << 20);
    for (; *tables; tables++)
        for (const struct route *route = *tables; route->pattern; route++) add(router, route);
    return router;
}

void router_free(struct router *router) {
    if (!router) return;
    arena_release(&router->arena);
    k_free(router);
}

static const struct route *pick(const struct route *const *slots, enum http_method method,
                                unsigned *methods) {
    const struct route *found = NULL;
    for (unsigned m = 0; m < METHODS; m++) {
        if (!slots[m]) continue;
        *methods |= 1u << m;
        if (method == 1u << m) found = slots[m];
    }
    return found;
}

static const struct route *find(const struct node *at, struct str left, enum http_method method,
                                struct str *parts, unsigned n, unsigned *methods) {
    const struct route *found;
    if (left.n == 0) {
        found = pick(at->at, method, methods);
        if (found) return found;
    } else {
        struct str rest = left, segment = next_segment(&rest);
        const struct node *c = child(at, segment);
        if (c && (found = find(c, rest, method, parts, n, methods))) return found;
        if (at->part && segment.n > 0) {
            parts[n] = segment;
            if ((found = find(at->part, rest, method, parts, n + 1, methods))) return found;
        }
    }
    if (!(found = pick(at->rest, method, methods))) return NULL;
    parts[n] = left;
    return found;
}

const struct route *router_find(const struct router *router, struct str path,
                                enum http_method method, struct str parts[REQUEST_MAX_PARTS],
                                unsigned *out_methods) {
    *out_methods = 0;
    if (path.n == 0 || path.p[0] != '/') return NULL;
    return find(&router->root, (struct str){path.p + 1, path.n - 1}, method, parts, 0, out_methods);
}

const char *request_method_text(const struct request *r) {
    switch (r->method) {
    case HTTP_GET: return "GET";
    case HTTP_POST: return "POST";
    case HTTP_PUT: return "PUT";
    case HTTP_PATCH: return "PATCH";
    case HTTP_DELETE: return "DELETE";
    case HTTP_OPTIONS: return "OPTIONS";
    }
    return "-";
}

void methods_text(unsigned methods, char out[64]) {
    static const char *const NAMES[METHODS] = {"GET, HEAD", "POST",   "PUT",
                                               "PATCH",     "DELETE", "OPTIONS"};
    int n = 0;
    out[0] = 0;
    for (unsigned m = 0; m < METHODS; m++)
        if (methods & 1u << m)
            n += snprintf(out + n, 64 - (size_t)n, "%s%s", n ? ", " : "", NAMES[m]);
}
