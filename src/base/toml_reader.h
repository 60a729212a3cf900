/* Reading a form that people write as TOML and programs as JSON, of the same members.
 *
 *     struct toml_reader r = {.name = "plan", .arena = &arena, .err = err};
 *     TRY(toml_reader_open(&r, text, MAX_BYTES, &root));
 *     for (m = root->first; m; m = m->next)
 *         if (str_is(m->key, "name")) TRY(toml_read_text(&r, m, &name));
 *         else return toml_refuse(&r, m, "\"%.*s\" is nothing that …", STR_ARG(m->key));
 *     toml_reader_close(&r);
 *
 * JSON is turned into the tree that the TOML reader gives, without places, so that one reader reads
 * both and a mistake is told in the same words; it is placed by line where there is one, else by
 * `within`.
 *
 * Layers: toml.h, json.h. Threads: one owner. Limits: those of both readers.
 */
#pragma once

#include "base/json.h"
#include "base/toml.h"

struct toml_reader {
    const char *name;    /* of the text, for messages                               */
    struct arena *arena; /* what is read lives here                                 */
    struct str within;   /* whose member is being read: said in messages about JSON */
    struct keel_error *err;
    struct toml_doc *toml; /* NULL: JSON */
};

/* TOML, or JSON if it begins with a brace; *root is valid until toml_reader_close. */
int toml_reader_open(struct toml_reader *r, struct str text, size_t max_json_bytes,
                     const struct toml_node **root) K_CHECKED;
/* A JSON value that is parsed already; lives in the arena, nothing to close. */
int toml_reader_json(struct toml_reader *r, struct json_value v,
                     const struct toml_node **root) K_CHECKED;
void toml_reader_close(struct toml_reader *r);

/* Writes where and what into *err, returns -KEEL_E_SYNTAX. */
int toml_refuse(struct toml_reader *r, const struct toml_node *at, const char *format, ...)
    K_PRINTF(3, 4);

/* Index of the word among n names; an error lists them. */
int toml_read_word(struct toml_reader *r, const struct toml_node *node, const char *const *names,
                   int n, int *out) K_CHECKED;
int toml_read_text(struct toml_reader *r, const struct toml_node *node, struct str *out) K_CHECKED;
int toml_read_bool(struct toml_reader *r, const struct toml_node *node, bool *out) K_CHECKED;
int toml_read_number(struct toml_reader *r, const struct toml_node *node, double *out) K_CHECKED;
