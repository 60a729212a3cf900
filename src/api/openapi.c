/* GET /openapi.json: every route as an OpenAPI 3.1 document, from the tables that dispatch.
 *
 * What a table does not say (aliases, ROUTE_HIDDEN) is not in the document; what it says is checked
 * by tests/api/test_openapi.py. Parameters stand in route->params, one a line: "name type text".
 *
 * Layers: server.h. Threads: workers. */
#include "api/app.h"
#include "api/routes.h"
#include "keel_version.h"

#define PROBLEM                                                                                    \
    "{\"type\":\"object\",\"required\":[\"type\",\"title\",\"status\"],\"properties\":{"           \
    "\"type\":{\"type\":\"string\"},\"title\":{\"type\":\"string\"},"                              \
    "\"status\":{\"type\":\"integer\"},"                                                           \
    "\"code\":{\"type\":\"string\",\"description\":\"stable name of the error\"},"                 \
    "\"detail\":{\"type\":\"string\",\"description\":\"what, where, what to do\"}}}"

static const struct {
    unsigned method;
    const char *name;
} METHODS[] = {{HTTP_GET, "get"},     {HTTP_POST, "post"},     {HTTP_PUT, "put"},
               {HTTP_PATCH, "patch"}, {HTTP_DELETE, "delete"}, {HTTP_OPTIONS, "options"}};

static void text(struct buf *b, const char *s) { (void)!buf_add_text(b, s); }
static void quoted(struct buf *b, const char *s) { (void)!buf_add_json_str(b, str_from(s)); }

/* The next {part} of a pattern, without its dots; false: there is none. */
static bool next_part(const char **pattern, struct str *out) {
    const char *open = strchr(*pattern, '{');
    if (!open) return false;
    const char *close = strchr(open, '}');
    *out = (struct str){open + 1, (size_t)(close - open) - 1};
    if (str_ends(*out, STR("..."))) out->n -= 3;
    *pattern = close + 1;
    return true;
}

static void path_key(struct buf *b, const char *pattern) {
    struct str part;
    (void)!buf_add_char(b, '"');
    for (const char *at = pattern; *at;) {
        const char *open = strchr(at, '{');
        size_t n = open ? (size_t)(open - at) : strlen(at);
        (void)!buf_add(b, at, n);
        at += n;
        if (!open || !next_part(&at, &part)) break;
        (void)!buf_printf(b, "{%.*s}", STR_ARG(part));
    }
    text(b, "\":{");
}

/* get_api_v1_profiles_id */
static void operation_id(struct buf *b, const char *method, const char *pattern) {
    bool gap = true;
    (void)!buf_printf(b, "\"operationId\":\"%s", method);
    for (const char *c = pattern; *c; c++) {
        bool word =
            (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') || (*c >= '0' && *c <= '9');
        if (word && gap) (void)!buf_add_char(b, '_');
        if (word) (void)!buf_add_char(b, *c);
        gap = !word;
    }
    text(b, "\"");
}

static struct str word_of(struct str *line) {
    size_t n = 0;
    while (n < line->n && line->p[n] != ' ') n++;
    struct str word = {line->p, n};
    *line = str_trim((struct str){line->p + n, line->n - n});
    return word;
}

static void query_params(struct buf *b, const char *lines, bool first) {
    while (lines && *lines) {
        size_t n = strcspn(lines, "\n");
        struct str line = {lines, n}, name = word_of(&line), type = word_of(&line);
        (void)!buf_printf(b, "%s{\"in\":\"query\",\"name\":\"%.*s\",\"schema\":{\"type\":\"%.*s\"}",
                          first ? "" : ",", STR_ARG(name), STR_ARG(type));
        text(b, ",\"description\":");
        (void)!buf_add_json_str(b, line);
        text(b, "}");
        first = false;
        lines += n + (lines[n] == '\n');
    }
}

static void parameters(struct buf *b, const struct route *r) {
    const char *pattern = r->pattern;
    struct str part;
    bool first = true;
    text(b, ",\"parameters\":[");
    while (next_part(&pattern, &part)) {
        (void)!buf_printf(b,
                          "%s{\"in\":\"path\",\"name\":\"%.*s\",\"required\":true,"
                          "\"schema\":{\"type\":\"string\"}}",
                          first ? "" : ",", STR_ARG(part));
        first = false;
    }
    query_params(b, r->params, first);
    text(b, "]");
}

static void operation(struct buf *b, const struct route *r, const char *method) {
    (void)!buf_printf(b, "\"%s\":{", method);
    operation_id(b, method, r->pattern);
    text(b, ",\"summary\":");
    quoted(b, r->summary ? r->summary : r->pattern);
    text(b, ",\"tags\":[");
    quoted(b, r->tag ? r->tag : "other");
    text(b, "]");
    parameters(b, r);
    if (r->body && strcmp(method, "get") != 0 && strcmp(method, "options") != 0) {
        text(b, ",\"requestBody\":{\"content\":{\"application/json\":{\"schema\":");
        text(b, r->body);
        text(b, "}}}");
    }
    text(b, ",\"responses\":{\"200\":{\"description\":\"done\"");
    if (r->answer) {
        text(b, ",\"content\":{\"application/json\":{\"schema\":");
        text(b, r->answer);
        text(b, "}}");
    }
    text(b, "},\"default\":{\"$ref\":\"#/components/responses/problem\"}},\"security\":[");
    text(b, right_is_open(r->right) ? "]" : "{\"token\":[]}]");
    (void)!buf_printf(b, ",\"x-keel-right\":\"%s\"}", right_text(r->right));
}

/* Is this the first route of its path? All of a path are written together. */
static bool first_of_path(const struct route *const *tables, const struct route *wanted) {
    for (; *tables; tables++)
        for (const struct route *r = *tables; r->pattern; r++)
            if (!(r->flags & ROUTE_HIDDEN) && strcmp(r->pattern, wanted->pattern) == 0)
                return r == wanted;
    return false;
}

static void path(struct buf *b, const struct route *const *tables, const char *pattern) {
    bool first = true;
    path_key(b, pattern);
    for (; *tables; tables++)
        for (const struct route *r = *tables; r->pattern; r++)
            for (size_t m = 0; m < sizeof METHODS / sizeof METHODS[0]; m++) {
                if (r->flags & ROUTE_HIDDEN || strcmp(r->pattern, pattern) != 0 ||
                    !(r->methods & METHODS[m].method))
                    continue;
                if (!first) text(b, ",");
                first = false;
                operation(b, r, METHODS[m].name);
            }
    text(b, "}");
}

static int document(struct request *r, void *ctx, struct keel_error *err) {
    (void)err;
    const struct app *app = ctx;
    const struct route *const *tables = server_tables(app->server);
    struct buf *b = &r->reply.body;
    bool first = true;
    text(b, "{\"openapi\":\"3.1.0\",\"info\":{\"title\":\"Keel\",\"version\":\"" KEEL_VERSION
            "\",\"license\":{\"name\":\"See LICENSE\"}},\"servers\":[{\"url\":\"/\"}],\"paths\":{");
    for (const struct route *const *t = tables; *t; t++)
        for (const struct route *route = *t; route->pattern; route++) {
            if (route->flags & ROUTE_HIDDEN || !first_of_path(tables, route)) continue;
            text(b, first ? "\n" : ",\n");
            first = false;
            path(b, tables, route->pattern);
        }
    text(b,
         "\n},\"components\":{\"securitySchemes\":{\"token\":{\"type\":\"http\","
         "\"scheme\":\"bearer\",\"description\":\"the token of admin.token\"}},"
         "\"responses\":{\"problem\":{\"description\":\"what went wrong (RFC 9457); the paths of "
         "SDKs answer as those "
         "expect\",\"content\":{\"application/problem+json\":{\"schema\":" PROBLEM "}}}}}}\n");
    return 0;
}

const struct route routes_openapi[] = {
    {.methods = HTTP_GET,
     .pattern = "/openapi.json",
     .handle = document,
     .right = RIGHT_PUBLIC,
     .flags = ROUTE_WORKER | ROUTE_ETAG,
     .tag = "server",
     .summary = "This document",
     .answer = "{\"type\":\"object\"}"},
    {0},
};
