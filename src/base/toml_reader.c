/* Implementation of toml_reader.h. */
#include "base/toml_reader.h"

#include <math.h>
#include <stdio.h>

int toml_refuse(struct toml_reader *r, const struct toml_node *at, const char *format, ...) {
    char why[KEEL_ERROR_MAX / 2];
    va_list args;
    va_start(args, format);
    vsnprintf(why, sizeof why, format, args);
    va_end(args);
    if (r->toml) return toml_fail(r->toml, at, r->err, "%s", why);
    FAIL(r->err, SYNTAX, "%s: %s%.*s%s%s", r->name, r->within.n ? "\"" : "", STR_ARG(r->within),
         r->within.n ? "\": " : "", why);
}

/* ---- JSON as a tree of TOML ---- */

static int from_json(struct toml_reader *r, struct json_value v, struct toml_node *node);

static int members_from_json(struct toml_reader *r, struct json_value v, struct toml_node *node) {
    struct json_each each = json_each(v);
    struct json_value value;
    struct str key;
    struct toml_node *last = NULL;
    while (json_next(&each, &key, &value)) {
        if (json_type(value) == JSON_NULL) continue;
        struct toml_node *child = arena_zalloc(r->arena, sizeof *child);
        child->key = str_dup(r->arena, key);
        TRY(from_json(r, value, child));
        if (last)
            last->next = child;
        else
            node->first = child;
        last = child;
        node->count++;
    }
    return 0;
}

static int from_json(struct toml_reader *r, struct json_value v, struct toml_node *node) {
    switch (json_type(v)) {
    case JSON_OBJECT: node->type = TOML_TABLE; return members_from_json(r, v, node);
    case JSON_ARRAY: node->type = TOML_ARRAY; return members_from_json(r, v, node);
    case JSON_STRING:
        node->type = TOML_STRING;
        json_str(v, &node->text);
        node->text = str_dup(r->arena, node->text);
        return 0;
    case JSON_BOOL:
        node->type = TOML_BOOL;
        json_bool(v, &node->boolean);
        return 0;
    case JSON_NUMBER:
        node->type = json_i64(v, &node->integer) ? TOML_INTEGER : TOML_FLOAT;
        json_f64(v, &node->number);
        return 0;
    case JSON_NULL:
    case JSON_ABSENT: break;
    }
    return toml_refuse(r, node, "a value is missing");
}

int toml_reader_json(struct toml_reader *r, struct json_value v, const struct toml_node **root) {
    struct toml_node *tree = arena_zalloc(r->arena, sizeof *tree);
    r->toml = NULL;
    TRY(from_json(r, v, tree));
    *root = tree;
    return 0;
}

int toml_reader_open(struct toml_reader *r, struct str text, size_t max_json_bytes,
                     const struct toml_node **root) {
    struct json_value value;
    r->toml = NULL;
    if (!str_starts(str_trim(text), STR("{"))) {
        TRY(toml_parse(text, r->name, &r->toml, r->err));
        *root = toml_root(r->toml);
        return 0;
    }
    struct json_parser *parser = json_parser_new(max_json_bytes);
    int code = json_parse(parser, text, &value, r->err);
    if (code < 0) code = error_context(r->err, code, "%s", r->name);
    if (code == 0) code = toml_reader_json(r, value, root);
    json_parser_free(parser);
    return code;
}

void toml_reader_close(struct toml_reader *r) {
    toml_free(r->toml);
    r->toml = NULL;
}

/* ---- members ---- */

int toml_read_word(struct toml_reader *r, const struct toml_node *node, const char *const *names,
                   int n, int *out) {
    char list[200];
    size_t used = 0;
    for (int i = 0; i < n; i++) {
        if (node->type == TOML_STRING && str_is(node->text, names[i])) {
            *out = i;
            return 0;
        }
        int wrote = snprintf(list + used, sizeof list - used, "%s%s", i ? ", " : "", names[i]);
        used += (size_t)wrote;
        K_ASSERT(used < sizeof list);
    }
    return toml_refuse(r, node, "%.*s is one of %s", STR_ARG(node->key), list);
}

int toml_read_text(struct toml_reader *r, const struct toml_node *node, struct str *out) {
    if (node->type != TOML_STRING)
        return toml_refuse(r, node, "%.*s is a text, not %s", STR_ARG(node->key),
                           toml_type_text(node->type));
    *out = str_dup(r->arena, node->text);
    return 0;
}

int toml_read_bool(struct toml_reader *r, const struct toml_node *node, bool *out) {
    if (node->type != TOML_BOOL)
        return toml_refuse(r, node, "%.*s is true or false", STR_ARG(node->key));
    *out = node->boolean;
    return 0;
}

int toml_read_number(struct toml_reader *r, const struct toml_node *node, double *out) {
    if ((node->type != TOML_INTEGER && node->type != TOML_FLOAT) || !isfinite(node->number))
        return toml_refuse(r, node, "%.*s is a number", STR_ARG(node->key));
    *out = node->number;
    return 0;
}
