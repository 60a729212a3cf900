/* Implementation of body.h. */
#include "api/body.h"

static bool is_known(const char *known, struct str name) {
    while (*known) {
        size_t n = strcspn(known, " ");
        if (str_eq((struct str){known, n}, name)) return true;
        known += n + (known[n] == ' ');
    }
    return false;
}

int body_open(struct request *r, const char *known, struct body *out, struct keel_error *err) {
    struct json_value member;
    struct str name;
    out->parser = json_parser_new(BODY_OBJECT_MAX);
    TRY(json_parse(out->parser, r->body, &out->root, err));
    if (json_type(out->root) != JSON_OBJECT)
        FAIL(err, INVALID, "the body is %s, not an object", json_type_text(json_type(out->root)));
    struct json_each each = json_each(out->root);
    while (json_next(&each, &name, &member))
        if (!is_known(known, name))
            FAIL(err, INVALID, "\"%.*s\" is none of: %s", (int)(name.n < 40 ? name.n : 40), name.p,
                 known);
    return 0;
}

void body_close(struct body *b) { json_parser_free(b->parser); }

static int wrong_type(struct json_value v, const char *name, enum json_type wanted,
                      struct keel_error *err) {
    FAIL(err, INVALID, "\"%s\" is %s, not %s", name, json_type_text(json_type(v)),
         json_type_text(wanted));
}

int body_text(const struct body *b, const char *name, struct str *out, struct keel_error *err) {
    struct json_value v = json_get(b->root, name);
    if (json_type(v) == JSON_ABSENT || json_type(v) == JSON_NULL) return 0;
    return json_str(v, out) ? 0 : wrong_type(v, name, JSON_STRING, err);
}

int body_flag(const struct body *b, const char *name, bool *out, struct keel_error *err) {
    struct json_value v = json_get(b->root, name);
    if (json_type(v) == JSON_ABSENT || json_type(v) == JSON_NULL) return 0;
    return json_bool(v, out) ? 0 : wrong_type(v, name, JSON_BOOL, err);
}

int body_needs(const struct body *b, const char *name, struct str *out, struct keel_error *err) {
    struct json_value v = json_get(b->root, name);
    if (json_type(v) == JSON_ABSENT) FAIL(err, INVALID, "\"%s\" is missing", name);
    return json_str(v, out) ? 0 : wrong_type(v, name, JSON_STRING, err);
}
