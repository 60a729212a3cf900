/* GET /, /assets/… and the pages' addresses: the screens.
 *
 * The pages are one document; which of them is shown is decided in the browser by the address, so
 * every address of a page answers with index.html. Names below assets/ carry a hash of their
 * content and are kept by browsers for a year; index.html is asked for again, mostly for a 304.
 * Files are packed compressed; who takes brotli gets that, else gzip, else the plain bytes.
 *
 * What a page may do is said by the policy below: scripts and styles of this host only, none in the
 * document, requests to this host only, in no frame. Texts of events that are shown can name what
 * they like: nothing of it is run or fetched.
 *
 * Layers: server.h, web_files.h. Threads: those of the server; constant data. Limits: a file is
 * copied into the reply, the largest is held to 150 kB by the build's budget.
 */
#include "api/routes.h"
#include "api/web_files.h"

#define POLICY                                                                                     \
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "              \
    "connect-src 'self'; font-src 'self'; manifest-src 'self'; base-uri 'none'; "                  \
    "form-action 'self'; frame-ancestors 'none'"

static const struct web_file *file_named(struct str name) {
    for (const struct web_file *f = WEB_FILES; f->name; f++)
        if (str_is(name, f->name)) return f;
    return NULL;
}

/* Is a coding among those of Accept-Encoding, and not with q=0? */
static bool accepts(struct str accept, struct str coding) {
    for (size_t at = 0; at < accept.n;) {
        size_t end = at;
        while (end < accept.n && accept.p[end] != ',') end++;
        struct str item = str_trim((struct str){accept.p + at, end - at});
        const char *semicolon = item.n ? memchr(item.p, ';', item.n) : NULL;
        struct str name = item, quality = STR("");
        if (semicolon) {
            name.n = (size_t)(semicolon - item.p);
            quality = (struct str){semicolon + 1, item.n - name.n - 1};
            name = str_trim(name);
            quality = str_trim(quality);
        }
        if (str_eq_nocase(name, coding))
            return !(str_is(quality, "q=0") || str_is(quality, "q=0.0") ||
                     str_is(quality, "q=0.00") || str_is(quality, "q=0.000"));
        at = end + 1;
    }
    return false;
}

static enum web_coding choose(struct request *r, const struct web_file *f) {
    struct str accept = request_header(r, "Accept-Encoding");
    if (f->coding[WEB_BROTLI].from && accepts(accept, STR("br"))) return WEB_BROTLI;
    if (f->coding[WEB_GZIP].from && accepts(accept, STR("gzip"))) return WEB_GZIP;
    return WEB_PLAIN;
}

/* The server itself adds nosniff to every reply. */
static void guard_headers(struct request *r) {
    reply_header(r, "Content-Security-Policy", STR(POLICY));
    reply_header(r, "X-Frame-Options", STR("DENY"));
    reply_header(r, "Referrer-Policy", STR("no-referrer"));
    reply_header(r, "Cross-Origin-Opener-Policy", STR("same-origin"));
    reply_header(r, "Cross-Origin-Resource-Policy", STR("same-origin"));
    reply_header(r, "Permissions-Policy", STR("camera=(), geolocation=(), microphone=()"));
}

static int serve(struct request *r, const struct web_file *f) {
    static const char *const NAMES[WEB_CODINGS] = {"", "gzip", "br"};
    enum web_coding coding = choose(r, f);
    struct buf tag; /* another coding is another representation, with a tag of its own */
    buf_init(&tag, 64);
    (void)!buf_printf(&tag, "\"%s%s%s\"", f->tag, coding ? "-" : "", NAMES[coding]);
    struct str known = request_header(r, "If-None-Match"), text = buf_str(&tag);
    guard_headers(r);
    reply_header(r, "ETag", text);
    reply_header(r, "Vary", STR("Accept-Encoding"));
    reply_header(r, "Cache-Control",
                 f->hashed ? STR("public, max-age=31536000, immutable") : STR("no-cache"));
    bool same = str_contains(known, text) || str_is(known, "*");
    buf_release(&tag);
    if (same) {
        r->reply.status = 304;
        return 0;
    }
    r->reply.content_type = f->type;
    if (coding) reply_header(r, "Content-Encoding", str_from(NAMES[coding]));
    const struct web_bytes *bytes = &f->coding[coding];
    (void)!buf_add(&r->reply.body, bytes->from, (size_t)(bytes->end - bytes->from));
    return 0;
}

static int page(struct request *r, void *ctx, struct keel_error *err) {
    (void)ctx;
    const struct web_file *f = file_named(STR("index.html"));
    if (!f) FAIL(err, NOT_FOUND, "this build has no screens");
    return serve(r, f);
}

static int asset(struct request *r, void *ctx, struct keel_error *err) {
    (void)ctx;
    struct str name = {r->path.p + 1, r->path.n - 1}; /* without its slash: as in the table */
    const struct web_file *f = file_named(name);
    if (!f) FAIL(err, NOT_FOUND, "there is no such file in the screens; load the page again");
    return serve(r, f);
}

#define FILES(path, handler)                                                                       \
    {                                                                                              \
        .methods = HTTP_GET, .pattern = path, .handle = handler, .flags = ROUTE_HIDDEN,            \
        .right = RIGHT_PUBLIC, .tag = "screens", .summary = "The screens"                          \
    }
/* A page's address and what lies below it; web/src/pages/index.ts has the same names. */
#define PAGE(name) FILES("/" name, page), FILES("/" name "/{rest...}", page)

const struct route routes_static[] = {
    FILES("/", page),
    FILES("/assets/{name...}", asset),
    FILES("/icon.svg", asset),
    PAGE("today"),
    PAGE("customers"),
    PAGE("audiences"),
    PAGE("explore"),
    PAGE("kpis"),
    PAGE("sources"),
    PAGE("setup"),
    PAGE("login"),
    {0},
};
