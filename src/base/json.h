/* JSON text as a read-only tree, for configuration and the JSON form of queries. (Events come in by
 * a streaming reader of their own.)
 *
 * A value is a small handle into its parser's last document: copy it freely; it is valid until the
 * next json_parse or json_parser_free of that parser. What is missing or of another type is
 * JSON_ABSENT or false, never an abort, so look-ups chain: json_get(json_get(v, "a"), "b").
 *
 *   struct json_parser *parser = json_parser_new(1 << 20);
 *   struct json_value root, step;
 *   TRY(json_parse(parser, text, &root, err));
 *   struct json_each each = json_each(json_get(root, "steps"));
 *   while (json_next(&each, NULL, &step)) …
 *
 * Layers: uses str.h, error.h; simdjson (DOM). Threads: a parser and its values belong to one
 * thread at a time. Limits: bytes as given to json_parser_new, nesting JSON_MAX_DEPTH, integers 64
 * bits.
 */
#pragma once

#include "base/error.h"
#include "base/str.h"

enum { JSON_MAX_DEPTH = 128 };

enum json_type {
    JSON_ABSENT, /* no such member: not in any text */
    JSON_NULL,
    JSON_BOOL,
    JSON_NUMBER,
    JSON_STRING,
    JSON_ARRAY,
    JSON_OBJECT,
};

struct json_parser;

struct json_value {
    const void *document; /* NULL: absent */
    size_t at;
};

struct json_parser *json_parser_new(size_t max_bytes); /* never NULL */
void json_parser_free(struct json_parser *parser);

/* Parses a whole text (copied; it need not outlive the call). KEEL_E_SYNTAX names line, column and
 * what is wrong; KEEL_E_LIMIT: too large or too deep. */
int json_parse(struct json_parser *parser, struct str text, struct json_value *root,
               struct keel_error *err) K_CHECKED;

enum json_type json_type(struct json_value v);
const char *json_type_text(enum json_type type); /* "a string", for messages */

/* Member of an object; the first, if several have the key. */
struct json_value json_get(struct json_value object, const char *key);
struct json_value json_get_str(struct json_value object, struct str key);
static inline bool json_has(struct json_value object, const char *key) {
    return json_get(object, key).document != NULL;
}
size_t json_count(struct json_value v); /* elements or members; else 0 */

/* False, and *out unchanged, if the value is of another type. Text is unescaped UTF-8. */
bool json_str(struct json_value v, struct str *out);
bool json_bool(struct json_value v, bool *out);
bool json_f64(struct json_value v, double *out);
bool json_i64(struct json_value v, int64_t *out); /* a whole number, 2.0 included, that fits */

/* Elements of an array (key is set to "") or members of an object, in order; none of other types.
 */
struct json_each {
    struct json_value at;
    size_t end;
    bool object;
};
struct json_each json_each(struct json_value v);
bool json_next(struct json_each *each, struct str *key,
               struct json_value *value); /* key: or NULL */
