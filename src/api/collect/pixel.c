/* Events in the address of an image: for e-mails and pages without scripts.
 *
 * Layers: dialect.h, credentials.h. Threads: those of the connections. Limits: the server's for a
 * head; PARAMS_MAX parameters.
 */
#include "api/app.h"
#include "api/collect/credentials.h"
#include "api/collect/dialect.h"

enum { PARAMS_MAX = 200, BODY_MAX = 256 << 10 };

/* ---- the body ---- */

enum place { PLACE_TOP, PLACE_PROPERTIES, PLACE_TRAITS, PLACE_CONTEXT, PLACES };

static const struct str PREFIXES[PLACES] = {
    [PLACE_TOP] = {"", 0},
    [PLACE_PROPERTIES] = {"properties.", 11},
    [PLACE_TRAITS] = {"traits.", 7},
    [PLACE_CONTEXT] = {"context.", 8},
};

static enum place place_of(struct str name) {
    for (enum place p = PLACE_PROPERTIES; p < PLACES; p++)
        if (str_starts(name, PREFIXES[p]) && name.n > PREFIXES[p].n) return p;
    return PLACE_TOP;
}

/* Names of parameters are plain: one that is percent-encoded is none that a pixel knows. */
static bool next_name(struct str *query, struct str *name) {
    while (query->n) {
        const char *end = memchr(query->p, '&', query->n);
        struct str pair = {query->p, end ? (size_t)(end - query->p) : query->n};
        size_t taken = pair.n + (end ? 1 : 0);
        *query = (struct str){query->p + taken, query->n - taken};
        const char *equals = pair.n ? memchr(pair.p, '=', pair.n) : NULL;
        if (!equals || equals == pair.p) continue;
        *name = (struct str){pair.p, (size_t)(equals - pair.p)};
        if (!memchr(name->p, '%', name->n) && !memchr(name->p, '+', name->n)) return true;
    }
    return false;
}

static bool write_params(struct request *r, enum place place, struct buf *b) {
    struct str query = r->query, name, value;
    const char *sep = "";
    unsigned params = 0;
    while (next_name(&query, &name) && params++ < PARAMS_MAX) {
        if (place_of(name) != place || str_eq_nocase(name, STR("writekey"))) continue;
        const char *zero = arena_strndup(&r->arena, name.p, name.n);
        if (!request_param(r, zero, &value)) continue;
        struct str key = {name.p + PREFIXES[place].n, name.n - PREFIXES[place].n};
        (void)!buf_add_text(b, sep);
        (void)!buf_add_json_str(b, key);
        (void)!buf_add_char(b, ':');
        (void)!buf_add_json_str(b, value);
        sep = ",";
    }
    return *sep != '\0';
}

static bool params_body(struct request *r, struct str *out) {
    static const char *const names[PLACES] = {NULL, "properties", "traits", "context"};
    struct buf b;
    buf_init(&b, BODY_MAX);
    (void)!buf_add_char(&b, '{');
    bool any = write_params(r, PLACE_TOP, &b);
    for (enum place p = PLACE_PROPERTIES; p < PLACES; p++) {
        (void)!buf_printf(&b, "%s\"%s\":{", any ? "," : "", names[p]);
        any = true;
        (void)write_params(r, p, &b);
        (void)!buf_add_char(&b, '}');
    }
    (void)!buf_add_text(&b, "}\n");
    char *text = b.failed ? NULL : arena_try_alloc(&r->arena, b.n);
    if (text) {
        memcpy(text, b.p, b.n);
        *out = (struct str){text, b.n - 1};
    }
    buf_release(&b);
    return text != NULL;
}

bool pixel_body(struct request *r, struct str *out) {
    struct str data;
    if (!request_param(r, "data", &data)) return params_body(r, out);
    data = str_trim(data);
    char *text = data.n ? arena_try_alloc(&r->arena, data.n + 1) : NULL;
    if (!text) return false;
    memcpy(text, data.p, data.n);
    text[data.n] = '\n';
    *out = (struct str){text, data.n};
    if (text[0] == '{' || text[0] == '[') return true;
    for (size_t i = 0; i < data.n; i++)
        if (text[i] == ' ') text[i] = '+'; /* what a query makes of base64 */
    return credentials_base64(&r->arena, *out, out);
}

/* ---- the reply ---- */

static void add_gif(struct request *r) {
    static const char gif[] = "GIF89a\1\0\1\0\x80\0\0\0\0\0\xff\xff\xff!\xf9\4\1\0\0\0\0,\0\0\0\0\1"
                              "\0\1\0\0\2\1D\0;";
    r->reply.content_type = "image/gif";
    reply_header(r, "Cache-Control", STR("no-store"));
    (void)!buf_add(&r->reply.body, gif, sizeof gif - 1);
}

static void done(struct request *r, const struct collect_outcome *outcome) {
    (void)outcome;
    r->reply.status = 200;
    add_gif(r);
}

static void failed(struct request *r, int status, const char *code, const char *message,
                   struct str violations) {
    (void)code, (void)message, (void)violations;
    r->reply.status = status == 429 || status == 503 ? status : 200;
    add_gif(r);
}

const struct dialect DIALECT_PIXEL = {.name = "pixel", .done = done, .failed = failed};

int pixel_collect(struct request *r, void *ctx, int type) {
    struct collect_ask ask = {.dialect = &DIALECT_PIXEL, .type = type, .client = true};
    if (r->method == HTTP_OPTIONS) return cors_preflight(r);
    if (!pixel_body(r, &ask.body)) {
        failed(r, 400, "", "", STR(""));
        return 0;
    }
    return collect(r, ctx, &ask);
}
