/* Implementation of config.h: reading and showing, by the table in config_options.c. */
#include "api/config.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/suggest.h"
#include "base/toml.h"
#include "base/units.h"

enum { CONFIG_ARENA_BYTES = 8 << 20, NAME_MAX_BYTES = 64, WRAP = 96 };

extern char **environ;

static void *field_of(struct config *c, const struct config_option *o) {
    return (char *)c + o->offset;
}
static const void *value_of(const struct config *c, const struct config_option *o) {
    return (const char *)c + o->offset;
}

static const char *expectation(const struct config_option *o) {
    switch (o->type) {
    case CONFIG_TEXT: return "a text";
    case CONFIG_INTEGER: return "a whole number";
    case CONFIG_SIZE: return "a size such as \"64KiB\", \"512MiB\" or \"2GiB\"";
    case CONFIG_DURATION: return "a duration such as \"500ms\", \"10s\" or \"5m\"";
    case CONFIG_FLAG: return "true or false";
    case CONFIG_CHOICE: return o->choices;
    }
    return "";
}

/* ---- values ---- */

static bool set_choice(int *field, const char *choices, struct str text) {
    for (int i = 0; *choices; i++) {
        size_t n = strcspn(choices, "|");
        if (str_eq(text, (struct str){choices, n})) {
            *field = i;
            return true;
        }
        choices += n + (choices[n] == '|');
    }
    return false;
}

static bool set_number(const struct config_option *o, int64_t *field, int64_t v) {
    if (v < o->min || v > o->max) return false;
    *field = v;
    return true;
}

/* From the text of a default, of the environment or of a TOML string. */
static bool set_text(struct config *c, const struct config_option *o, struct str text) {
    void *field = field_of(c, o);
    int64_t v;
    switch (o->type) {
    case CONFIG_TEXT:
        *(const char **)field = arena_strndup(&c->arena, text.p, text.n);
        return memchr(text.p, 0, text.n) == NULL;
    case CONFIG_CHOICE: return set_choice(field, o->choices, text);
    case CONFIG_FLAG:
        *(bool *)field = str_is(text, "true");
        return str_is(text, "true") || str_is(text, "false");
    case CONFIG_INTEGER: return str_to_i64(text, &v) && set_number(o, field, v);
    case CONFIG_SIZE: return units_parse(text, UNITS_SIZE, &v) && set_number(o, field, v);
    case CONFIG_DURATION: return units_parse(text, UNITS_DURATION, &v) && set_number(o, field, v);
    }
    return false;
}

static bool set_node(struct config *c, const struct config_option *o,
                     const struct toml_node *node) {
    if (node->type == TOML_BOOL && o->type == CONFIG_FLAG) {
        *(bool *)field_of(c, o) = node->boolean;
        return true;
    }
    if (node->type == TOML_INTEGER && (o->type == CONFIG_INTEGER || o->type == CONFIG_SIZE))
        return set_number(o, field_of(c, o), node->integer);
    bool quoted = o->type != CONFIG_FLAG && o->type != CONFIG_INTEGER;
    return node->type == TOML_STRING && quoted && set_text(c, o, node->text);
}

static void add_number(const struct config_option *o, int64_t v, char *out, size_t n) {
    static const struct {
        int64_t factor;
        const char *name;
    } SIZES[] = {{1 << 30, "GiB"}, {1 << 20, "MiB"}, {1 << 10, "KiB"}, {1, "B"}},
      TIMES[] = {{3600000, "h"}, {60000, "m"}, {1000, "s"}, {1, "ms"}};
    if (o->type == CONFIG_INTEGER) {
        snprintf(out, n, "%lld", (long long)v);
        return;
    }
    for (int i = 0; i < 4; i++) {
        int64_t factor = o->type == CONFIG_SIZE ? SIZES[i].factor : TIMES[i].factor;
        if (v % factor != 0 || (v == 0 && factor > 1)) continue;
        snprintf(out, n, "%lld%s", (long long)(v / factor),
                 o->type == CONFIG_SIZE ? SIZES[i].name : TIMES[i].name);
        return;
    }
}

/* What may stand there, with the range of numbers. */
static const char *describe(const struct config_option *o, char *out, size_t n) {
    char low[32], high[32];
    if (o->type != CONFIG_INTEGER && o->type != CONFIG_SIZE && o->type != CONFIG_DURATION) {
        snprintf(out, n, "%s%s", o->type == CONFIG_CHOICE ? "one of " : "", expectation(o));
        return out;
    }
    add_number(o, o->min, low, sizeof low);
    add_number(o, o->max, high, sizeof high);
    snprintf(out, n, "%s, from %s to %s", expectation(o), low, high);
    return out;
}

/* ---- names ---- */

static const struct config_option *find(struct str section, struct str name) {
    for (const struct config_option *o = CONFIG_OPTIONS; o->name; o++)
        if (str_is(section, o->section) && str_is(name, o->name)) return o;
    return NULL;
}

static bool is_section(struct str section) {
    for (const struct config_option *o = CONFIG_OPTIONS; o->name; o++)
        if (str_is(section, o->section)) return true;
    return false;
}

static const char *next_section(const void *ctx, size_t i) {
    (void)ctx;
    return CONFIG_OPTIONS[i].section;
}

/* Names of one section; those of others are passed over as words that resemble nothing. */
static const char *next_name(const void *ctx, size_t i) {
    const struct config_option *o = &CONFIG_OPTIONS[i];
    if (!o->name) return NULL;
    return strcmp(o->section, ctx) == 0 ? o->name : "";
}

/* Any section: an option that stands under the wrong heading. */
static const struct config_option *find_anywhere(struct str name) {
    for (const struct config_option *o = CONFIG_OPTIONS; o->name; o++)
        if (str_is(name, o->name)) return o;
    return NULL;
}

/* "; did you mean …?", or an empty text. */
static void advise(struct str section, struct str name, char *out, size_t n) {
    char word[NAME_MAX_BYTES], heading[NAME_MAX_BYTES];
    snprintf(word, sizeof word, "%.*s", (int)(name.n < 60 ? name.n : 60), name.p);
    snprintf(heading, sizeof heading, "%.*s", (int)(section.n < 60 ? section.n : 60), section.p);
    const char *near =
        name.n ? suggest(word, next_name, heading) : suggest(heading, next_section, NULL);
    const struct config_option *other = name.n ? find_anywhere(name) : NULL;
    out[0] = 0;
    if (near)
        snprintf(out, n, "; did you mean %s?", near);
    else if (other)
        snprintf(out, n, "; it belongs under [%s]", other->section);
    else
        snprintf(out, n, "; see: keel config show");
}

/* ---- the file ---- */

static int read_option(struct config *c, const struct toml_doc *doc, const struct toml_node *table,
                       const struct toml_node *node, struct keel_error *err) {
    char text[256];
    const struct config_option *o = find(table->key, node->key);
    if (!o) {
        advise(table->key, node->key, text, sizeof text);
        return toml_fail(doc, node, err, "[%.*s] has no option \"%.*s\"%s",
                         (int)(table->key.n < 60 ? table->key.n : 60), table->key.p,
                         (int)(node->key.n < 60 ? node->key.n : 60), node->key.p, text);
    }
    if (set_node(c, o, node)) return 0;
    bool number = o->type == CONFIG_INTEGER || o->type == CONFIG_SIZE;
    const char *what = node->type == TOML_STRING              ? "not understood"
                       : number && node->type == TOML_INTEGER ? "out of range"
                                                              : toml_type_text(node->type);
    return toml_fail(doc, node, err, "%s.%s is %s; expected %s", o->section, o->name, what,
                     describe(o, text, sizeof text));
}

static int read_document(struct config *c, const struct toml_doc *doc, struct keel_error *err) {
    int code = 0;
    for (const struct toml_node *t = toml_root(doc)->first; t && code == 0; t = t->next) {
        char text[128];
        struct str key = {t->key.p, t->key.n < 60 ? t->key.n : 60};
        if (!is_section(t->key)) {
            advise(t->key, STR(""), text, sizeof text);
            code = toml_fail(doc, t, err, "there is no section [%.*s]%s", STR_ARG(key), text);
        } else if (t->type != TOML_TABLE) {
            code = toml_fail(doc, t, err, "\"%.*s\" is a section: write [%.*s]", STR_ARG(key),
                             STR_ARG(key));
        } else {
            for (const struct toml_node *n = t->first; n && code == 0; n = n->next)
                code = read_option(c, doc, t, n, err);
        }
    }
    if (code == 0) {
        const char *name = toml_name(doc);
        c->file = arena_strndup(&c->arena, name, strlen(name));
    }
    return code;
}

/* ---- the environment ---- */

static void environment_name(const struct config_option *o, char *out, size_t n) {
    int end = snprintf(out, n, "KEEL_%s_%s", o->section, o->name);
    for (int i = 0; i < end; i++)
        if (out[i] >= 'a' && out[i] <= 'z') out[i] = (char)(out[i] - 'a' + 'A');
}

/* KEEL_SERVER_LISTN=… : a section of ours, but no option. */
static int refuse_unknown(const char *entry, struct keel_error *err) {
    const char *equals = strchr(entry, '=');
    struct str name = {entry, equals ? (size_t)(equals - entry) : strlen(entry)};
    char known[2 * NAME_MAX_BYTES];
    bool ours = false;
    for (const struct config_option *o = CONFIG_OPTIONS; o->name; o++) {
        environment_name(o, known, sizeof known);
        if (str_is(name, known)) return 0;
        size_t prefix = strlen("KEEL_") + strlen(o->section) + 1;
        ours = ours || (name.n > prefix && memcmp(name.p, known, prefix) == 0);
    }
    if (!ours) return 0;
    FAIL(err, INVALID,
         "the environment has %.*s, but there is no such option; see: keel config show",
         (int)(name.n < 100 ? name.n : 100), name.p);
}

static int read_environment(struct config *c, struct keel_error *err) {
    char name[2 * NAME_MAX_BYTES], text[256];
    for (char **entry = environ; *entry; entry++)
        if (strncmp(*entry, "KEEL_", 5) == 0) TRY(refuse_unknown(*entry, err));
    for (const struct config_option *o = CONFIG_OPTIONS; o->name; o++) {
        environment_name(o, name, sizeof name);
        const char *value = getenv(name);
        if (!value || set_text(c, o, str_from(value))) continue;
        FAIL(err, INVALID, "the environment's %s is not understood; expected %s", name,
             describe(o, text, sizeof text));
    }
    return 0;
}

/* ---- the whole ---- */

static int check(const struct config *c, struct keel_error *err) {
    if (!*c->server.cert != !*c->server.key)
        FAIL(err, INVALID, "TLS needs both server.cert and server.key");
    return 0;
}

static struct config *config_new(void) {
    struct config *c = k_zalloc(sizeof *c);
    arena_init(&c->arena, CONFIG_ARENA_BYTES);
    for (const struct config_option *o = CONFIG_OPTIONS; o->name; o++) {
        bool fits = set_text(c, o, str_from(o->preset));
        K_ASSERT(fits); /* the table's own defaults */
    }
    return c;
}

/* Takes doc, which may be NULL. */
static int make(struct toml_doc *doc, bool environment, struct config **out,
                struct keel_error *err) {
    struct config *c = config_new();
    int code = doc ? read_document(c, doc, err) : 0;
    toml_free(doc);
    if (code == 0 && environment) code = read_environment(c, err);
    if (code == 0) code = check(c, err);
    if (code == 0)
        *out = c;
    else
        config_free(c);
    return code;
}

int config_load(const char *path, struct config **out, struct keel_error *err) {
    struct toml_doc *doc = NULL;
    if (path) TRY(toml_load(path, &doc, err));
    return make(doc, true, out, err);
}

int config_parse(struct str text, const char *name, struct config **out, struct keel_error *err) {
    struct toml_doc *doc;
    TRY(toml_parse(text, name, &doc, err));
    return make(doc, false, out, err);
}

void config_free(struct config *c) {
    if (!c) return;
    arena_release(&c->arena);
    k_free(c);
}

/* ---- showing ---- */

static void add_value(const struct config *c, const struct config_option *o, struct buf *b) {
    const void *value = value_of(c, o);
    char text[64];
    const char *word = o->choices;
    switch (o->type) {
    case CONFIG_TEXT: (void)!buf_add_json_str(b, str_from(*(const char *const *)value)); break;
    case CONFIG_FLAG: (void)!buf_add_text(b, *(const bool *)value ? "true" : "false"); break;
    case CONFIG_CHOICE:
        for (int i = *(const int *)value; i > 0; i--) word += strcspn(word, "|") + 1;
        (void)!buf_add_json_str(b, (struct str){word, strcspn(word, "|")});
        break;
    default:
        add_number(o, *(const int64_t *)value, text, sizeof text);
        if (o->type == CONFIG_INTEGER)
            (void)!buf_add_text(b, text);
        else
            (void)!buf_add_json_str(b, str_from(text));
    }
}

/* A comment of lines of at most WRAP columns. */
void config_differences(const struct config *c, struct buf *out) {
    struct config *presets = config_new();
    struct buf value, preset;
    buf_init(&value, 1 << 20);
    buf_init(&preset, 1 << 20);
    for (const struct config_option *o = CONFIG_OPTIONS; o->name; o++) {
        buf_clear(&value);
        buf_clear(&preset);
        add_value(c, o, &value);
        add_value(presets, o, &preset);
        if (str_eq(buf_str(&value), buf_str(&preset))) continue;
        (void)!buf_printf(out, "%s%s.%s=%.*s", out->n ? " " : "", o->section, o->name,
                          STR_ARG(buf_str(&value)));
    }
    buf_release(&value);
    buf_release(&preset);
    config_free(presets);
}

static void output_comment(struct output *o, const char *text) {
    size_t used = 0;
    while (*text) {
        size_t n = strcspn(text, " ");
        if (used && used + 1 + n > WRAP) {
            output_char(o, '\n');
            used = 0;
        }
        output_text(o, used ? " " : "# ");
        output_add(o, text, n);
        used += n + (used ? 1 : 2);
        text += n;
        text += strspn(text, " ");
    }
    output_char(o, '\n');
}

void config_show(const struct config *c, struct output *out) {
    const char *section = "";
    char name[2 * NAME_MAX_BYTES], text[256];
    struct buf value;
    buf_init(&value, 1 << 20);
    for (const struct config_option *o = CONFIG_OPTIONS; o->name; o++) {
        if (strcmp(section, o->section) != 0)
            output_printf(out, "%s[%s]\n", *section ? "\n" : "", o->section);
        section = o->section;
        environment_name(o, name, sizeof name);
        output_comment(out, o->doc);
        output_printf(out, "# %s: %s; default %s\n", name, describe(o, text, sizeof text),
                      *o->preset ? o->preset : "\"\"");
        buf_clear(&value);
        add_value(c, o, &value);
        output_printf(out, "%s = ", o->name);
        output_str(out, buf_str(&value));
        output_char(out, '\n');
    }
    buf_release(&value);
}

void config_reference(struct output *out) {
    const char *section = "";
    char text[256];
    for (const struct config_option *o = CONFIG_OPTIONS; o->name; o++) {
        if (strcmp(section, o->section) != 0)
            output_printf(out, "\n### [%s]\n\n| option | default | what it does |\n|---|---|---|\n",
                          o->section);
        section = o->section;
        describe(o, text, sizeof text);
        for (char *c = text; *c; c++)
            if (*c == '|') *c = '/'; /* a bar would end the cell */
        output_printf(out, "| `%s` | `%s` | %s Takes %s. |\n", o->name,
                      *o->preset ? o->preset : "\"\"", o->doc, text);
    }
}
