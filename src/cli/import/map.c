/* Implementation of map.h: from the TOML tree to the form that rows.c executes.
 *
 * Every table is read by one function that first refuses keys it does not know (a misspelt key
 * must not pass as a default), then takes them one by one. All that is kept lives in the map's
 * arena; texts that the tree holds already are borrowed from it.
 */
#include "cli/import/map.h"

#include <stdio.h>

#include "base/os.h"

enum {
    DEFAULT_MEMORY_MIB = 2048,
    MAX_MEMORY_MIB = 1 << 20,
    MAP_ARENA_BYTES = 64 << 20, /* of a text of 1 MiB; far above what one needs */
    OPS_PER_COLUMN = 16,        /* more than there are operators                 */
};

struct map_zone {
    struct map_zone *next;
    struct str name;
    struct time_zone *zone;
};

struct loader {
    struct map *map;
    struct keel_error *err;
    const struct time_zone *zone; /* of times that name none */
};

/* The code is stated here so that analyzers see that it is negative. */
#define MAP_FAIL(l, at, ...)                                                                       \
    do {                                                                                           \
        toml_fail((l)->map->toml, (at), (l)->err, __VA_ARGS__);                                    \
        return -KEEL_E_SYNTAX;                                                                     \
    } while (0)

/* ---- reading the tree ---- */

static void *take(struct loader *l, size_t n, size_t size) {
    return arena_zalloc(&l->map->arena, n * size + 1);
}

static int expect(struct loader *l, const struct toml_node *node, enum toml_type type) {
    if (node->type == type) return 0;
    if (node->key.n == 0)
        MAP_FAIL(l, node, "this must be %s, not %s", toml_type_text(type),
                 toml_type_text(node->type));
    MAP_FAIL(l, node, "“%.*s” must be %s, not %s", STR_ARG(node->key), toml_type_text(type),
             toml_type_text(node->type));
}

/* `known` is a list of keys separated by spaces. */
static bool is_known(struct str key, const char *known) {
    while (*known) {
        size_t n = strcspn(known, " ");
        if (str_eq(key, (struct str){known, n})) return true;
        known += n + (known[n] == ' ');
    }
    return false;
}

static int check_keys(struct loader *l, const struct toml_node *table, const char *known) {
    TRY(expect(l, table, TOML_TABLE));
    for (const struct toml_node *n = table->first; n; n = n->next)
        if (!is_known(n->key, known))
            MAP_FAIL(l, n, "unknown key “%.*s”; known here: %s", STR_ARG(n->key), known);
    return 0;
}

/* An optional string; absent leaves *out alone. */
static int get_string(struct loader *l, const struct toml_node *table, const char *key,
                      struct str *out) {
    const struct toml_node *node = toml_get(table, key);
    if (!node) return 0;
    TRY(expect(l, node, TOML_STRING));
    *out = node->text;
    return 0;
}

static int get_name(struct loader *l, const struct toml_node *table, const char *key,
                    struct str *out) {
    const struct toml_node *node = toml_get(table, key);
    if (!node) MAP_FAIL(l, table, "“%s” is missing", key);
    TRY(expect(l, node, TOML_STRING));
    if (node->text.n == 0) MAP_FAIL(l, node, "“%s” must not be empty", key);
    *out = node->text;
    return 0;
}

static int get_bool(struct loader *l, const struct toml_node *table, const char *key, bool *out) {
    const struct toml_node *node = toml_get(table, key);
    if (!node) return 0;
    TRY(expect(l, node, TOML_BOOL));
    *out = node->boolean;
    return 0;
}

/* A string or an array of strings. */
static int get_strings(struct loader *l, const struct toml_node *node, const struct str **out,
                       uint32_t *out_n) {
    bool one = node->type == TOML_STRING;
    if (!one && node->type != TOML_ARRAY)
        MAP_FAIL(l, node, "expected a string or an array of them");
    uint32_t n = one ? 1 : node->count;
    struct str *texts = take(l, n, sizeof *texts);
    const struct toml_node *member = one ? node : node->first;
    for (uint32_t i = 0; i < n; i++, member = member->next) {
        TRY(expect(l, member, TOML_STRING));
        texts[i] = member->text;
    }
    *out = texts;
    *out_n = n;
    return 0;
}

/* ---- columns and zones ---- */

static int32_t find_text(const struct str *texts, uint32_t n, struct str text) {
    for (uint32_t i = 0; i < n; i++)
        if (str_eq(texts[i], text)) return (int32_t)i;
    return -1;
}

/* "name.column" if there is a lookup of that name, else a column of the imported file. */
static void split_lookup(const struct map *map, struct str *name, int32_t *out_lookup) {
    *out_lookup = -1;
    const char *dot = memchr(name->p, '.', name->n);
    if (!dot) return;
    struct str prefix = {name->p, (size_t)(dot - name->p)};
    for (uint32_t i = 0; i < map->n_lookups; i++) {
        if (!str_eq(map->lookups[i].name, prefix)) continue;
        *out_lookup = (int32_t)i;
        *name = (struct str){dot + 1, name->n - prefix.n - 1};
        return;
    }
}

static int add_column(struct loader *l, const struct toml_node *at, struct str name,
                      uint32_t *out) {
    struct map *map = l->map;
    int32_t lookup;
    if (name.n == 0) MAP_FAIL(l, at, "a column's name must not be empty");
    split_lookup(map, &name, &lookup);
    for (uint32_t i = 0; i < map->n_columns; i++) {
        if (map->columns[i].lookup != lookup || !str_eq(map->columns[i].name, name)) continue;
        *out = i;
        return 0;
    }
    if (lookup < 0 && map->n_file_columns > 0 &&
        find_text(map->file_columns, map->n_file_columns, name) < 0)
        MAP_FAIL(l, at, "there is no column “%.*s” in format.columns", STR_ARG(name));
    if (map->n_columns == MAP_MAX_COLUMNS) MAP_FAIL(l, at, "more than %d columns", MAP_MAX_COLUMNS);
    map->columns[map->n_columns] = (struct map_column){.name = name, .lookup = lookup, .at = at};
    *out = map->n_columns++;
    return 0;
}

static int load_zone(struct loader *l, const struct toml_node *at, struct str name,
                     const struct time_zone **out) {
    for (struct map_zone *z = l->map->zones; z; z = z->next)
        if (str_eq(z->name, name)) {
            *out = z->zone;
            return 0;
        }
    struct time_zone *zone;
    struct keel_error why = {0};
    if (time_zone_load(name, &zone, &why) < 0)
        MAP_FAIL(l, at, "“%.*s” is no time zone: %s", STR_ARG(name), why.message);
    struct map_zone *kept = take(l, 1, sizeof *kept);
    *kept = (struct map_zone){l->map->zones, name, zone};
    l->map->zones = kept;
    *out = zone;
    return 0;
}

static int get_zone(struct loader *l, const struct toml_node *table, const struct time_zone **out) {
    const struct toml_node *node = toml_get(table, "zone");
    if (!node) return 0;
    TRY(expect(l, node, TOML_STRING));
    return load_zone(l, node, node->text, out);
}

/* ---- templates ---- */

static uint32_t count_char(struct str s, char c) {
    uint32_t n = 0;
    for (size_t i = 0; i < s.n; i++) n += s.p[i] == c;
    return n;
}

/* The text up to the next brace, "{{" and "}}" standing for one, into *room. */
static struct str read_literal(struct str s, size_t *at, char **room) {
    struct str literal = {*room, 0};
    while (*at < s.n) {
        char c = s.p[*at];
        bool doubled = *at + 1 < s.n && s.p[*at + 1] == c;
        if ((c == '{' || c == '}') && !doubled) break;
        *at += c == '{' || c == '}' ? 2 : 1;
        *(*room)++ = c;
        literal.n++;
    }
    return literal;
}

static int read_template(struct loader *l, const struct toml_node *node, struct map_template *out) {
    TRY(expect(l, node, TOML_STRING));
    struct str s = node->text;
    struct map_piece *pieces = take(l, 2 * ((size_t)count_char(s, '{') + 1), sizeof *pieces);
    char *room = take(l, s.n, 1);
    uint32_t n = 0;
    for (size_t at = 0; at < s.n;) {
        struct str literal = read_literal(s, &at, &room);
        if (literal.n > 0) pieces[n++] = (struct map_piece){literal, -1};
        if (at == s.n) break;
        const char *end = s.p[at] == '{' ? memchr(s.p + at, '}', s.n - at) : NULL;
        if (!end)
            MAP_FAIL(l, node, "“%.*s”: a brace stands alone; double it to mean itself", STR_ARG(s));
        uint32_t column;
        size_t from = at + 1;
        at = (size_t)(end - s.p) + 1;
        TRY(add_column(l, node, (struct str){s.p + from, at - from - 1}, &column));
        pieces[n++] = (struct map_piece){.column = (int32_t)column};
    }
    if (n == 0) MAP_FAIL(l, node, "this text must not be empty");
    *out = (struct map_template){pieces, n};
    return 0;
}

/* ---- conditions ---- */

static const struct {
    const char *key;
    enum map_op op;
    bool number;
} operators[] = {
    {"equals", MAP_IN, false},
    {"not", MAP_NOT_IN, false},
    {"in", MAP_IN, false},
    {"not_in", MAP_NOT_IN, false},
    {"prefix", MAP_PREFIX, false},
    {"not_prefix", MAP_NOT_PREFIX, false},
    {"empty", MAP_EMPTY, false},
    {"below", MAP_LESS, true},
    {"at_most", MAP_AT_MOST, true},
    {"above", MAP_MORE, true},
    {"at_least", MAP_AT_LEAST, true},
};
static const char operator_keys[] =
    "equals not in not_in prefix not_prefix empty below at_most above at_least";

/* Numbers of a map are short decimals; going through their text keeps them exact. */
static int read_number(struct loader *l, const struct toml_node *node, struct decimal *out) {
    char text[64];
    if (node->type == TOML_INTEGER)
        snprintf(text, sizeof text, "%lld", (long long)node->integer);
    else if (node->type == TOML_FLOAT)
        snprintf(text, sizeof text, "%.15g", node->number);
    else
        MAP_FAIL(l, node, "expected a number, not %s", toml_type_text(node->type));
    if (!decimal_parse(str_from(text), out)) MAP_FAIL(l, node, "%s is no number to use here", text);
    return 0;
}

static int read_operator(struct loader *l, const struct toml_node *node,
                         struct map_condition *out) {
    size_t i = 0;
    while (!str_is(node->key, operators[i].key)) i++; /* check_keys has passed it */
    out->op = operators[i].op;
    if (out->op == MAP_EMPTY) {
        TRY(expect(l, node, TOML_BOOL));
        if (!node->boolean) out->op = MAP_NOT_EMPTY;
        return 0;
    }
    if (operators[i].number) return read_number(l, node, &out->number);
    return get_strings(l, node, &out->texts, &out->n_texts);
}

/* The conditions on one column, added behind *n. */
static int read_column_conditions(struct loader *l, const struct toml_node *node,
                                  struct map_condition *out, uint32_t *n) {
    uint32_t column;
    TRY(add_column(l, node, node->key, &column));
    if (node->type == TOML_TABLE) {
        TRY(check_keys(l, node, operator_keys));
        if (node->count == 0) MAP_FAIL(l, node, "no condition; known here: %s", operator_keys);
        for (const struct toml_node *m = node->first; m; m = m->next, ++*n) {
            out[*n].column = column;
            TRY(read_operator(l, m, &out[*n]));
        }
    } else if (node->type == TOML_INTEGER || node->type == TOML_FLOAT) {
        struct decimal number;
        TRY(read_number(l, node, &number));
        out[(*n)++] =
            (struct map_condition){.column = column, .op = MAP_AT_LEAST, .number = number};
        out[(*n)++] = (struct map_condition){.column = column, .op = MAP_AT_MOST, .number = number};
    } else {
        out[*n].column = column;
        out[*n].op = MAP_IN;
        TRY(get_strings(l, node, &out[*n].texts, &out[*n].n_texts));
        ++*n;
    }
    return 0;
}

static int read_when(struct loader *l, const struct toml_node *parent, struct map_when *out) {
    const struct toml_node *when = toml_get(parent, "when");
    if (!when) return 0;
    TRY(expect(l, when, TOML_TABLE));
    struct map_condition *conditions =
        take(l, (size_t)when->count * OPS_PER_COLUMN, sizeof *conditions);
    uint32_t n = 0;
    for (const struct toml_node *m = when->first; m; m = m->next)
        TRY(read_column_conditions(l, m, conditions, &n));
    *out = (struct map_when){conditions, n};
    return 0;
}

/* "text", or { text = "text", when = {…} }. */
static int read_text(struct loader *l, const struct toml_node *node, struct map_text *out) {
    if (node->type == TOML_STRING) return read_template(l, node, &out->text);
    TRY(check_keys(l, node, "text when"));
    const struct toml_node *text = toml_get(node, "text");
    if (!text) MAP_FAIL(l, node, "“text” is missing");
    TRY(read_template(l, text, &out->text));
    return read_when(l, node, &out->when);
}

/* ---- expressions ---- */

static bool is_word_char(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '.' || (unsigned char)c >= 0x80;
}

static void skip_spaces(struct str *s) {
    while (s->n > 0 && *s->p == ' ') s->p++, s->n--;
}

static int read_factor(struct loader *l, const struct toml_node *node, struct str *s,
                       struct map_factor *out) {
    skip_spaces(s);
    struct str word = {s->p, 0};
    uint32_t column;
    if (s->n > 0 && *s->p == '{') {
        const char *end = memchr(s->p, '}', s->n);
        if (!end) MAP_FAIL(l, node, "“}” is missing in “%.*s”", STR_ARG(node->text));
        word = (struct str){s->p + 1, (size_t)(end - s->p) - 1};
        s->n -= word.n + 2;
        s->p += word.n + 2;
    } else {
        while (word.n < s->n && is_word_char(s->p[word.n])) word.n++;
        s->p += word.n;
        s->n -= word.n;
        if (word.n == 0)
            MAP_FAIL(l, node, "expected a column or a number at “%.*s” in “%.*s”", STR_ARG(*s),
                     STR_ARG(node->text));
        if (decimal_parse(word, &out->constant)) {
            out->column = -1;
            return 0;
        }
    }
    TRY(add_column(l, node, word, &column));
    out->column = (int32_t)column;
    return 0;
}

/* product { ("+" | "-") product }, product = factor { "*" factor } */
static int read_expression(struct loader *l, const struct toml_node *node,
                           struct map_expression *out) {
    TRY(expect(l, node, TOML_STRING));
    struct str s = node->text;
    struct map_factor *factors = take(l, s.n + 1, sizeof *factors);
    uint32_t n = 0;
    bool first = true, negative = false;
    skip_spaces(&s);
    if (s.n > 0 && *s.p == '-') {
        negative = true;
        s.p++, s.n--;
    }
    for (;;) {
        TRY(read_factor(l, node, &s, &factors[n]));
        factors[n].first = first;
        factors[n].negative = negative;
        n++;
        skip_spaces(&s);
        if (s.n == 0) break;
        char c = *s.p;
        if (c != '*' && c != '+' && c != '-')
            MAP_FAIL(l, node, "expected *, + or - at “%.*s” in “%.*s”", STR_ARG(s),
                     STR_ARG(node->text));
        first = c != '*';
        if (first) negative = c == '-';
        s.p++, s.n--;
    }
    *out = (struct map_expression){factors, n};
    return 0;
}

/* ---- times ---- */

static int read_constant_time(struct loader *l, const struct toml_node *node,
                              struct map_time *out) {
    if (node->type != TOML_TIME && node->type != TOML_STRING) return expect(l, node, TOML_STRING);
    if (time_parse(node->text, out->zone, &out->constant_ms)) return 0;
    MAP_FAIL(l, node, "“%.*s” is no time; write it like 2017-01-31 or 2017-01-31T09:30:00Z",
             STR_ARG(node->text));
}

static int read_time_columns(struct loader *l, const struct toml_node *node, struct map_time *out) {
    const struct str *names = NULL;
    TRY(get_strings(l, node, &names, &out->n));
    if (out->n == 0) MAP_FAIL(l, node, "no column named");
    uint32_t *columns = take(l, out->n, sizeof *columns);
    for (uint32_t i = 0; i < out->n; i++) TRY(add_column(l, node, names[i], &columns[i]));
    out->columns = columns;
    return 0;
}

/* "column", a TOML date, or { column | columns | constant, format, zone }. */
static int read_time(struct loader *l, const struct toml_node *node, struct map_time *out) {
    *out = (struct map_time){.zone = l->zone};
    if (node->type == TOML_TIME) return read_constant_time(l, node, out);
    if (node->type == TOML_STRING) return read_time_columns(l, node, out);
    TRY(check_keys(l, node, "column columns constant format zone"));
    TRY(get_zone(l, node, &out->zone));
    TRY(get_string(l, node, "format", &out->format));
    const struct toml_node *column = toml_get(node, "column");
    const struct toml_node *columns = toml_get(node, "columns");
    const struct toml_node *constant = toml_get(node, "constant");
    if (!!column + !!columns + !!constant != 1)
        MAP_FAIL(l, node, "a time has one of column, columns, constant");
    if (constant) return read_constant_time(l, constant, out);
    if (column) TRY(expect(l, column, TOML_STRING));
    return read_time_columns(l, column ? column : columns, out);
}

/* ---- fields ---- */

static const struct source {
    const char *key;
    enum map_from from;
    bool grouped; /* only with group_by */
} sources[] = {
    {"column", MAP_COLUMN, false}, {"first", MAP_COLUMN, true},
    {"last", MAP_LAST, true},      {"text", MAP_TEXT, false},
    {"value", MAP_VALUE, false},   {"sum", MAP_SUM, true},
    {"min", MAP_MIN, true},        {"max", MAP_MAX, true},
    {"count", MAP_COUNT, true},    {"constant", MAP_CONSTANT, false},
};
enum { SOURCES = sizeof sources / sizeof *sources };
static const char field_keys[] =
    "column first last text value sum min max count constant type format zone";

static int read_constant(struct loader *l, const struct toml_node *node, struct map_field *out) {
    out->from = MAP_CONSTANT;
    switch (node->type) {
    case TOML_STRING:
    case TOML_TIME:
        out->type = MAP_STRING;
        out->constant = node->text;
        return 0;
    case TOML_INTEGER:
    case TOML_FLOAT:
        out->type = MAP_NUMBER;
        out->number = node->number;
        return 0;
    case TOML_BOOL:
        out->type = MAP_BOOL;
        out->boolean = node->boolean;
        return 0;
    default: MAP_FAIL(l, node, "a constant is a string, a number, true or false");
    }
}

static int read_field_type(struct loader *l, const struct toml_node *table, struct map_field *out) {
    static const char *const names[] = {"string", "number", "bool", "time"};
    const struct toml_node *node = toml_get(table, "type");
    struct str name = STR("string");
    TRY(get_string(l, table, "type", &name));
    size_t type = 0;
    while (type < 4 && !str_is(name, names[type])) type++;
    if (type == 4)
        MAP_FAIL(l, node, "“%.*s” is no type; known: string number bool time", STR_ARG(name));
    const struct toml_node *format = toml_get(table, "format"), *zone = toml_get(table, "zone");
    if (type != MAP_TIME && (format || zone))
        MAP_FAIL(l, format ? format : zone, "format and zone belong to type = \"time\"");
    out->type = (enum map_type)type;
    out->time = (struct map_time){.zone = l->zone};
    TRY(get_string(l, table, "format", &out->time.format));
    return get_zone(l, table, &out->time.zone);
}

/* The value behind the key that says where a field comes from. */
static int read_source(struct loader *l, const struct toml_node *table,
                       const struct toml_node *node, struct map_field *out) {
    bool typed = out->from == MAP_COLUMN || out->from == MAP_LAST;
    for (const struct toml_node *m = table->first; m && !typed; m = m->next)
        if (m != node)
            MAP_FAIL(l, m, "“%.*s” is given only with column, first or last", STR_ARG(m->key));
    switch (out->from) {
    case MAP_CONSTANT: return read_constant(l, node, out);
    case MAP_COLUMN:
    case MAP_LAST:
        TRY(expect(l, node, TOML_STRING));
        TRY(add_column(l, node, node->text, &out->column));
        return read_field_type(l, table, out);
    case MAP_TEXT: return read_template(l, node, &out->text);
    case MAP_COUNT:
        TRY(expect(l, node, TOML_BOOL));
        if (!node->boolean) MAP_FAIL(l, node, "count = true, or leave it out");
        break;
    default: TRY(read_expression(l, node, &out->expression));
    }
    out->type = MAP_NUMBER;
    return 0;
}

/* "column", a constant number or boolean, or a table with one of the sources. */
static int read_field(struct loader *l, const struct toml_node *node, bool grouped,
                      struct map_field *out) {
    out->name = node->key;
    if (node->key.n == 0 || node->key.n > EVENT_MAX_NAME)
        MAP_FAIL(l, node, "a name has 1 to %d bytes", EVENT_MAX_NAME);
    if (node->type == TOML_STRING) {
        out->from = MAP_COLUMN;
        return add_column(l, node, node->text, &out->column);
    }
    if (node->type != TOML_TABLE) return read_constant(l, node, out);
    TRY(check_keys(l, node, field_keys));
    const struct toml_node *value = NULL;
    const struct source *source = NULL;
    for (size_t i = 0; i < SOURCES; i++) {
        const struct toml_node *found = toml_get(node, sources[i].key);
        if (!found) continue;
        if (value)
            MAP_FAIL(l, found, "“%s” and “%s” exclude each other", source->key, sources[i].key);
        value = found;
        source = &sources[i];
    }
    if (!value)
        MAP_FAIL(l, node,
                 "one of column first last text value sum min max count constant must be "
                 "given");
    if (source->grouped && !grouped)
        MAP_FAIL(l, value,
                 "“%s” is of all rows of a group: it needs group_by, and stands among "
                 "properties, not items",
                 source->key);
    out->from = source->from;
    return read_source(l, node, value, out);
}

static int read_fields(struct loader *l, const struct toml_node *table, enum field_scope scope,
                       struct map_event *event, struct map_field *fields, uint32_t *n) {
    if (!table) return 0;
    TRY(expect(l, table, TOML_TABLE));
    for (const struct toml_node *m = table->first; m; m = m->next, ++*n) {
        fields[*n].scope = scope;
        TRY(read_field(l, m, event->n_group_by > 0, &fields[*n]));
        enum map_from from = fields[*n].from;
        if (from == MAP_LAST || from == MAP_SUM || from == MAP_MIN || from == MAP_MAX)
            fields[*n].slot = event->n_slots++;
    }
    return 0;
}

static int read_items(struct loader *l, const struct toml_node *node, struct map_event *event) {
    if (!node) return 0;
    TRY(check_keys(l, node, "name properties"));
    TRY(get_name(l, node, "name", &event->items));
    const struct toml_node *table = toml_get(node, "properties");
    if (!table) MAP_FAIL(l, node, "“properties” is missing: what an item holds");
    TRY(expect(l, table, TOML_TABLE));
    struct map_field *fields = take(l, table->count, sizeof *fields);
    for (const struct toml_node *m = table->first; m; m = m->next)
        TRY(read_field(l, m, false, &fields[event->n_item_fields++]));
    event->item_fields = fields;
    return 0;
}

static int read_properties(struct loader *l, const struct toml_node *node,
                           struct map_event *event) {
    bool identify = event->type == EVENT_IDENTIFY;
    const struct toml_node *wrong = toml_get(node, identify ? "properties" : "traits");
    if (wrong)
        MAP_FAIL(l, wrong,
                 identify ? "an identify event has traits, not properties"
                          : "a track event has properties, not traits");
    const struct toml_node *own = toml_get(node, identify ? "traits" : "properties");
    const struct toml_node *context = toml_get(node, "context");
    const struct toml_node *items = toml_get(node, "items");
    if (items && identify) MAP_FAIL(l, items, "an identify event has no items");
    size_t n = (own ? own->count : 0) + (context ? context->count : 0);
    struct map_field *fields = take(l, n, sizeof *fields);
    TRY(read_fields(l, own, SCOPE_PROPERTY, event, fields, &event->n_fields));
    TRY(read_fields(l, context, SCOPE_CONTEXT, event, fields, &event->n_fields));
    event->fields = fields;
    return read_items(l, items, event);
}

/* ---- event rules ---- */

/* "Name", or an array of names of which the first that applies counts. */
static int read_names(struct loader *l, const struct toml_node *node, struct map_event *event) {
    if (!node) return 0;
    bool several = node->type == TOML_ARRAY;
    uint32_t n = several ? node->count : 1;
    struct map_text *names = take(l, n, sizeof *names);
    const struct toml_node *member = several ? node->first : node;
    for (uint32_t i = 0; i < n; i++, member = member->next) TRY(read_text(l, member, &names[i]));
    event->names = names;
    event->n_names = n;
    return 0;
}

static int read_type(struct loader *l, const struct toml_node *node, struct map_event *event) {
    struct str type = STR("track");
    TRY(get_string(l, node, "type", &type));
    if (str_is(type, "identify"))
        event->type = EVENT_IDENTIFY;
    else if (!str_is(type, "track"))
        MAP_FAIL(l, toml_get(node, "type"), "“%.*s” is no type of event; known: track identify",
                 STR_ARG(type));
    const struct toml_node *name = toml_get(node, "name");
    if (name && event->type == EVENT_IDENTIFY) MAP_FAIL(l, name, "an identify event has no name");
    TRY(read_names(l, name, event));
    if (event->type == EVENT_TRACK && event->n_names == 0)
        MAP_FAIL(l, node, "“name” is missing: what happened");
    return 0;
}

static int read_ids(struct loader *l, const struct toml_node *node, struct map_event *event) {
    const struct toml_node *user = toml_get(node, "user_id");
    const struct toml_node *anonymous = toml_get(node, "anonymous_id");
    const struct toml_node *message = toml_get(node, "message_id");
    if (!user && !anonymous) MAP_FAIL(l, node, "user_id or anonymous_id must be given: who it was");
    if (user) TRY(read_text(l, user, &event->user_id));
    if (anonymous) TRY(read_text(l, anonymous, &event->anonymous_id));
    if (message) TRY(read_template(l, message, &event->message_id));
    return 0;
}

static int read_group(struct loader *l, const struct toml_node *node, struct map_event *event) {
    const struct toml_node *by = toml_get(node, "group_by");
    const struct toml_node *order = toml_get(node, "group_order");
    if (order && !by) MAP_FAIL(l, order, "group_order needs group_by");
    if (!by) return 0;
    const struct str *names = NULL;
    TRY(get_strings(l, by, &names, &event->n_group_by));
    if (event->n_group_by == 0) MAP_FAIL(l, by, "no column named");
    uint32_t *columns = take(l, event->n_group_by, sizeof *columns);
    for (uint32_t i = 0; i < event->n_group_by; i++) TRY(add_column(l, by, names[i], &columns[i]));
    event->group_by = columns;
    if (!order) return 0;
    TRY(expect(l, order, TOML_STRING));
    event->adjacent = str_is(order->text, "adjacent");
    if (!event->adjacent && !str_is(order->text, "any"))
        MAP_FAIL(l, order, "“%.*s” is no order; known: any adjacent", STR_ARG(order->text));
    return 0;
}

/* The label names the rule in message ids: it must not change when rules are moved. */
static int settle_label(struct loader *l, const struct toml_node *node, struct map_event *event) {
    TRY(get_string(l, node, "label", &event->label));
    if (event->label.n == 0) {
        const struct toml_node *name = toml_get(node, "name");
        if (name && name->type == TOML_ARRAY) name = name->first;
        if (name && name->type == TOML_TABLE) name = toml_get(name, "text");
        event->label = name ? name->text : STR("identify");
    }
    for (const struct map_event *e = l->map->events; e < event; e++)
        if (str_eq(e->label, event->label))
            MAP_FAIL(l, node, "two rules are called “%.*s”: give each a label of its own",
                     STR_ARG(event->label));
    return 0;
}

static int read_event(struct loader *l, const struct toml_node *node, struct map_event *event) {
    TRY(check_keys(l, node,
                   "label type name when time user_id anonymous_id message_id group_by "
                   "group_order properties traits context items"));
    TRY(read_type(l, node, event));
    TRY(settle_label(l, node, event));
    TRY(read_when(l, node, &event->when));
    const struct toml_node *time = toml_get(node, "time");
    if (!time) MAP_FAIL(l, node, "“time” is missing: when it happened");
    TRY(read_time(l, time, &event->time));
    TRY(read_ids(l, node, event));
    TRY(read_group(l, node, event));
    return read_properties(l, node, event);
}

/* ---- the file ---- */

static int read_format(struct loader *l, const struct toml_node *node) {
    struct map *map = l->map;
    map->format = (struct csv_format){.delimiter = ',', .quoted = true};
    map->header = true;
    static const struct str only_empty[] = {{"", 0}};
    map->nulls = only_empty;
    map->n_nulls = 1;
    if (!node) return 0;
    TRY(check_keys(l, node, "kind delimiter quoted header columns null encoding"));
    struct str kind = STR("csv"), delimiter = STR(","), encoding = STR("utf-8");
    TRY(get_string(l, node, "kind", &kind));
    TRY(get_string(l, node, "delimiter", &delimiter));
    TRY(get_string(l, node, "encoding", &encoding));
    TRY(get_bool(l, node, "quoted", &map->format.quoted));
    TRY(get_bool(l, node, "header", &map->header));
    map->format.whitespace = str_is(kind, "whitespace");
    if (!map->format.whitespace && !str_is(kind, "csv"))
        MAP_FAIL(l, toml_get(node, "kind"), "“%.*s” is no kind of file; known: csv whitespace",
                 STR_ARG(kind));
    if (delimiter.n != 1 || strchr("\"\r\n", delimiter.p[0]))
        MAP_FAIL(l, toml_get(node, "delimiter"), "the delimiter is one ASCII character, no quote");
    map->format.delimiter = delimiter.p[0];
    if (str_is(encoding, "windows-1252") || str_is(encoding, "latin-1"))
        map->format.encoding = CSV_WINDOWS_1252;
    else if (!str_is(encoding, "utf-8"))
        MAP_FAIL(l, toml_get(node, "encoding"),
                 "“%.*s” is no encoding we read; known: utf-8 windows-1252 latin-1",
                 STR_ARG(encoding));
    const struct toml_node *nulls = toml_get(node, "null"), *columns = toml_get(node, "columns");
    if (nulls) TRY(get_strings(l, nulls, &map->nulls, &map->n_nulls));
    if (columns) TRY(get_strings(l, columns, &map->file_columns, &map->n_file_columns));
    if (!map->header && map->n_file_columns == 0)
        MAP_FAIL(l, node, "without a header, “columns” must name the columns");
    return 0;
}

static int read_lookups(struct loader *l, const struct toml_node *node) {
    struct map *map = l->map;
    if (!node) return 0;
    TRY(expect(l, node, TOML_ARRAY));
    if (node->count > MAP_MAX_LOOKUPS) MAP_FAIL(l, node, "more than %d lookups", MAP_MAX_LOOKUPS);
    map->lookups = take(l, node->count, sizeof *map->lookups);
    for (const struct toml_node *m = node->first; m; m = m->next) {
        struct map_lookup *lookup = &map->lookups[map->n_lookups];
        struct str by;
        TRY(check_keys(l, m, "name file key by"));
        TRY(get_name(l, m, "name", &lookup->name));
        TRY(get_name(l, m, "file", &lookup->file));
        TRY(get_name(l, m, "key", &lookup->key));
        by = lookup->key;
        TRY(get_string(l, m, "by", &by));
        TRY(add_column(l, m, by, &lookup->by));
        if (map->columns[lookup->by].lookup >= 0)
            MAP_FAIL(l, m, "“by” must be a column of the imported file itself");
        for (uint32_t i = 0; i < map->n_lookups; i++)
            if (str_eq(map->lookups[i].name, lookup->name))
                MAP_FAIL(l, m, "two lookups are called “%.*s”", STR_ARG(lookup->name));
        lookup->at = m;
        map->n_lookups++;
    }
    return 0;
}

static int read_events(struct loader *l, const struct toml_node *root) {
    struct map *map = l->map;
    const struct toml_node *node = toml_get(root, "event");
    if (!node) MAP_FAIL(l, root, "no [[event]]: the map says what rows become");
    TRY(expect(l, node, TOML_ARRAY));
    if (node->count == 0) MAP_FAIL(l, node, "no event: the map says what rows become");
    if (node->count > MAP_MAX_EVENTS) MAP_FAIL(l, node, "more than %d events", MAP_MAX_EVENTS);
    map->events = take(l, node->count, sizeof *map->events);
    for (const struct toml_node *m = node->first; m; m = m->next, map->n_events++)
        TRY(read_event(l, m, &map->events[map->n_events]));
    return 0;
}

static int read_root(struct loader *l) {
    struct map *map = l->map;
    const struct toml_node *root = toml_root(map->toml);
    TRY(check_keys(l, root, "namespace zone memory_mib format lookup event"));
    TRY(get_name(l, root, "namespace", &map->name_space));
    TRY(load_zone(l, root, STR("UTC"), &l->zone));
    TRY(get_zone(l, root, &l->zone));
    int64_t memory_mib = DEFAULT_MEMORY_MIB;
    const struct toml_node *memory = toml_get(root, "memory_mib");
    if (memory) {
        TRY(expect(l, memory, TOML_INTEGER));
        memory_mib = memory->integer;
        if (memory_mib < 1 || memory_mib > MAX_MEMORY_MIB)
            MAP_FAIL(l, memory, "memory_mib is 1 to %d", MAX_MEMORY_MIB);
    }
    map->memory_bytes = (uint64_t)memory_mib << 20;
    TRY(read_format(l, toml_get(root, "format")));
    map->columns = take(l, MAP_MAX_COLUMNS, sizeof *map->columns);
    TRY(read_lookups(l, toml_get(root, "lookup")));
    return read_events(l, root);
}

static int build(struct toml_doc *toml, struct map **out, struct keel_error *err) {
    struct map *map = k_zalloc(sizeof *map);
    map->toml = toml;
    arena_init(&map->arena, SIZE_MAX);
    struct loader l = {.map = map, .err = err};
    int code = read_root(&l);
    if (code == 0)
        *out = map;
    else
        map_free(map);
    return code;
}

int map_parse(struct str text, const char *name, struct map **out, struct keel_error *err) {
    struct toml_doc *toml;
    if (text.n > MAP_MAX_BYTES) FAIL(err, LIMIT, "%s: more than %d bytes", name, MAP_MAX_BYTES);
    TRY(toml_parse(text, name, &toml, err));
    return build(toml, out, err);
}

int map_load(const char *path, struct map **out, struct keel_error *err) {
    struct buf text;
    buf_init(&text, MAP_MAX_BYTES);
    int code = file_read(path, &text, err);
    if (code == 0) code = map_parse(buf_str(&text), path, out, err);
    buf_release(&text);
    return code;
}

void map_free(struct map *map) {
    if (!map) return;
    for (struct map_zone *z = map->zones; z; z = z->next) time_zone_free(z->zone);
    arena_release(&map->arena);
    toml_free(map->toml);
    k_free(map);
}
