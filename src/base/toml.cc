/* Implementation of toml.h over toml++ 3 (header only, exceptions off).
 *
 * The toml++ tree is copied once into an arena of plain C nodes: toml++ orders tables by name, we
 * sort their members by place. What is left of C++ exceptions is std::bad_alloc; it is caught here.
 */
#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include <algorithm>
#include <new>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#define TOML_EXCEPTIONS 0
#include <toml++/toml.h>

/* The C headers of base, as C++ reads them: a function named as its struct hides nothing in C. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wshadow"
#define _Noreturn [[noreturn]]
extern "C" {
#include "base/buf.h"
#include "base/mem.h"
#include "base/os.h"
#include "base/toml.h"
}
#undef _Noreturn
#pragma GCC diagnostic pop

struct toml_doc {
    struct arena arena;
    struct toml_node *root;
    char *name;
};

namespace {

struct member {
    const ::toml::node *value;
    std::string_view key;
    ::toml::source_position at;
};

bool before(const member &a, const member &b) {
    return a.at.line != b.at.line ? a.at.line < b.at.line : a.at.column < b.at.column;
}

struct str copy_text(struct arena *arena, std::string_view text) {
    return {arena_strndup(arena, text.data(), text.size()), text.size()};
}

template <typename T> struct str time_text(struct arena *arena, const T &value) {
    std::ostringstream out;
    out << value;
    return copy_text(arena, out.str());
}

struct toml_node *convert(struct arena *arena, const member &from, unsigned depth);

bool add_members(struct arena *arena, struct toml_node *parent, const std::vector<member> &members,
                 unsigned depth) {
    const struct toml_node **tail = &parent->first;
    for (const member &m : members) {
        struct toml_node *child = convert(arena, m, depth + 1);
        if (!child) return false;
        *tail = child;
        tail = &child->next;
        parent->count++;
    }
    return true;
}

bool convert_table(struct arena *arena, struct toml_node *node, const ::toml::table &table,
                   unsigned depth) {
    std::vector<member> members;
    for (auto &&[key, value] : table) members.push_back({&value, key.str(), key.source().begin});
    std::stable_sort(members.begin(), members.end(), before);
    node->type = TOML_TABLE;
    return add_members(arena, node, members, depth);
}

bool convert_array(struct arena *arena, struct toml_node *node, const ::toml::array &array,
                   unsigned depth) {
    std::vector<member> members;
    for (auto &&value : array) members.push_back({&value, {}, value.source().begin});
    node->type = TOML_ARRAY;
    return add_members(arena, node, members, depth);
}

void convert_scalar(struct arena *arena, struct toml_node *node, const ::toml::node &value) {
    if (const auto *s = value.as_string()) {
        node->type = TOML_STRING;
        node->text = copy_text(arena, s->get());
    } else if (const auto *i = value.as_integer()) {
        node->type = TOML_INTEGER;
        node->integer = i->get();
        node->number = static_cast<double>(i->get());
    } else if (const auto *f = value.as_floating_point()) {
        node->type = TOML_FLOAT;
        node->number = f->get();
    } else if (const auto *b = value.as_boolean()) {
        node->type = TOML_BOOL;
        node->boolean = b->get();
    } else {
        node->type = TOML_TIME;
        if (const auto *date = value.as_date()) node->text = time_text(arena, date->get());
        if (const auto *time = value.as_time()) node->text = time_text(arena, time->get());
        if (const auto *both = value.as_date_time()) node->text = time_text(arena, both->get());
    }
}

/* NULL: nested too deeply. */
struct toml_node *convert(struct arena *arena, const member &from, unsigned depth) {
    if (depth > TOML_MAX_DEPTH) return nullptr;
    auto *node = static_cast<struct toml_node *>(arena_zalloc(arena, sizeof(struct toml_node)));
    node->line = static_cast<uint32_t>(from.at.line);
    node->column = static_cast<uint32_t>(from.at.column);
    node->key = copy_text(arena, from.key);
    if (const auto *table = from.value->as_table())
        return convert_table(arena, node, *table, depth) ? node : nullptr;
    if (const auto *array = from.value->as_array())
        return convert_array(arena, node, *array, depth) ? node : nullptr;
    convert_scalar(arena, node, *from.value);
    return node;
}

int build(struct toml_doc *t, struct str text, struct keel_error *err) {
    ::toml::parse_result result = ::toml::parse(std::string_view(text.p, text.n));
    if (!result) {
        const ::toml::parse_error &e = result.error();
        const std::string why(e.description());
        return error_set(err, KEEL_E_SYNTAX, "%s:%u:%u: %s", t->name,
                         static_cast<unsigned>(e.source().begin.line),
                         static_cast<unsigned>(e.source().begin.column), why.c_str());
    }
    t->root = convert(&t->arena, {&result.table(), {}, {1, 1}}, 0);
    if (t->root) return 0;
    return error_set(err, KEEL_E_LIMIT, "%s: tables nested more than %d deep", t->name,
                     static_cast<int>(TOML_MAX_DEPTH));
}

} // namespace

extern "C" {

int toml_parse(struct str text, const char *name, struct toml_doc **out, struct keel_error *err) {
    if (text.n > TOML_MAX_BYTES)
        return error_set(err, KEEL_E_LIMIT, "%s: more than %d bytes", name,
                         static_cast<int>(TOML_MAX_BYTES));
    auto *t = static_cast<struct toml_doc *>(k_zalloc(sizeof(struct toml_doc)));
    arena_init(&t->arena, SIZE_MAX);
    t->name = k_strdup(name);
    int code;
    try {
        code = build(t, text, err);
    } catch (const std::exception &) {
        code = error_set(err, KEEL_E_NO_MEMORY, "%s", name);
    }
    if (code == 0)
        *out = t;
    else
        toml_free(t);
    return code;
}

int toml_load(const char *path, struct toml_doc **out, struct keel_error *err) {
    struct buf text;
    buf_init(&text, TOML_MAX_BYTES);
    int code = file_read(path, &text, err);
    if (code == 0) code = toml_parse(buf_str(&text), path, out, err);
    buf_release(&text);
    return code;
}

void toml_free(struct toml_doc *toml) {
    if (!toml) return;
    arena_release(&toml->arena);
    k_free(toml->name);
    k_free(toml);
}

const struct toml_node *toml_root(const struct toml_doc *toml) { return toml->root; }
const char *toml_name(const struct toml_doc *toml) { return toml->name; }

const struct toml_node *toml_get(const struct toml_node *table, const char *key) {
    if (!table || table->type != TOML_TABLE) return nullptr;
    for (const struct toml_node *n = table->first; n; n = n->next)
        if (str_is(n->key, key)) return n;
    return nullptr;
}

const char *toml_type_text(enum toml_type type) {
    switch (type) {
    case TOML_TABLE: return "a table";
    case TOML_ARRAY: return "an array";
    case TOML_STRING: return "a string";
    case TOML_INTEGER: return "an integer";
    case TOML_FLOAT: return "a number";
    case TOML_BOOL: return "true or false";
    case TOML_TIME: return "a date or time";
    }
    return "?";
}

int toml_fail(const struct toml_doc *toml, const struct toml_node *at, struct keel_error *err,
              const char *format, ...) {
    char message[KEEL_ERROR_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    return error_set(err, KEEL_E_SYNTAX, "%s:%u:%u: %s", toml->name, at->line, at->column, message);
}
}
