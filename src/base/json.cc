/* json.h on simdjson's DOM: a value is a position on simdjson's tape, and the walk over arrays and
 * objects is a walk over that tape (simdjson 3: doc/tape.md).
 *
 * simdjson says that a text is wrong, not where. So on failure, and only then, a small recognizer
 * (class checker) walks the text once more to find the first wrong byte.
 *
 * Layers, threads, limits: see json.h. No exception leaves or is used: all calls of simdjson are
 * those that return codes.
 */
#include <new>
#include <string.h>

#include <simdjson.h>

/* Headers of C: a function may have the name of its struct. */
#define _Noreturn [[noreturn]]
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wshadow"
extern "C" {
#include "base/json.h"
}
#pragma GCC diagnostic pop

using simdjson::dom::element;
using simdjson::internal::tape_ref;
using simdjson::internal::tape_type;

struct json_parser {
    simdjson::dom::parser dom;
    explicit json_parser(size_t max_bytes) noexcept : dom(max_bytes) {}
};

extern "C" struct json_parser *json_parser_new(size_t max_bytes) {
    auto *parser = new (std::nothrow) json_parser(max_bytes);
    K_ASSERT(parser != nullptr);
    return parser;
}

extern "C" void json_parser_free(struct json_parser *parser) { delete parser; }

/* ---- where a text is wrong ---- */

namespace {

/* Recognizes JSON byte by byte. Stops at the first wrong byte: `at`, and `expected` there. */
class checker {
  public:
    explicit checker(struct str text) noexcept : text_(text) {}
    size_t at = 0;
    const char *expected = nullptr;

    bool document() noexcept {
        if (!value(0)) return false;
        space();
        return at == text_.n || fail("nothing more");
    }

  private:
    struct str text_;

    int peek() const noexcept {
        return at < text_.n ? static_cast<unsigned char>(text_.p[at]) : -1;
    }
    bool fail(const char *what) noexcept {
        expected = what;
        return false;
    }
    void space() noexcept {
        while (peek() == ' ' || peek() == '\t' || peek() == '\n' || peek() == '\r') at++;
    }
    bool take(int c) noexcept {
        if (peek() != c) return false;
        at++;
        return true;
    }
    bool word(struct str w) noexcept {
        if (!str_starts({text_.p + at, text_.n - at}, w)) return fail("a value");
        at += w.n;
        return true;
    }
    bool digits() noexcept {
        if (peek() < '0' || peek() > '9') return fail("a digit");
        while (peek() >= '0' && peek() <= '9') at++;
        return true;
    }
    bool number() noexcept {
        take('-');
        if (!take('0') && !digits()) return false;
        if (take('.') && !digits()) return false;
        if (peek() != 'e' && peek() != 'E') return true;
        at++;
        if (!take('+')) take('-');
        return digits();
    }
    bool string() noexcept {
        if (!take('"')) return fail("a string in double quotes");
        while (peek() != '"') {
            if (peek() < 0x20) return fail(peek() < 0 ? "a closing quote" : "no control character");
            if (take('\\') && (peek() < 0 || !strchr("\"\\/bfnrtu", peek())))
                return fail("an escape: one of \" \\ / b f n r t u");
            at++;
        }
        at++;
        return true;
    }
    bool value(int depth) noexcept {
        space();
        switch (peek()) {
        case '{': return depth < JSON_MAX_DEPTH ? members('}', depth) : fail("less nesting");
        case '[': return depth < JSON_MAX_DEPTH ? members(']', depth) : fail("less nesting");
        case '"': return string();
        case 't': return word(STR("true"));
        case 'f': return word(STR("false"));
        case 'n': return word(STR("null"));
        default:
            return peek() == '-' || (peek() >= '0' && peek() <= '9') ? number() : fail("a value");
        }
    }
    bool members(char close, int depth) noexcept {
        at++;
        space();
        if (take(close)) return true;
        for (;;) {
            if (close == '}') {
                space();
                if (!string()) return false;
                space();
                if (!take(':')) return fail("':'");
            }
            if (!value(depth + 1)) return false;
            space();
            if (take(close)) return true;
            if (!take(',')) return fail(close == '}' ? "',' or '}'" : "',' or ']'");
        }
    }
};

int explain(struct str text, simdjson::error_code code, struct keel_error *err) {
    if (code == simdjson::CAPACITY) FAIL(err, LIMIT, "the JSON text is too large");
    if (code == simdjson::MEMALLOC) FAIL(err, NO_MEMORY, "no memory to parse JSON");
    if (code == simdjson::DEPTH_ERROR)
        FAIL(err, LIMIT, "the JSON text nests deeper than %d", JSON_MAX_DEPTH);
    if (code == simdjson::UTF8_ERROR) FAIL(err, SYNTAX, "the JSON text is not valid UTF-8");
    checker check(text);
    if (check.document()) /* well-formed for the recognizer: a value is out of range */
        FAIL(err, SYNTAX, "bad JSON: %s", simdjson::error_message(code));
    size_t line = 1, column = 1;
    for (size_t i = 0; i < check.at; i++) {
        bool newline = text.p[i] == '\n';
        line += newline;
        column = newline ? 1 : column + 1;
    }
    if (check.at == text.n)
        FAIL(err, SYNTAX, "bad JSON: it ends at line %zu, column %zu, where %s is expected", line,
             column, check.expected);
    FAIL(err, SYNTAX, "bad JSON at line %zu, column %zu: expected %s", line, column,
         check.expected);
}

tape_ref tape_of(struct json_value v) noexcept {
    return tape_ref(static_cast<const simdjson::dom::document *>(v.document), v.at);
}

struct json_value value_of(const element &e) noexcept {
    static_assert(sizeof(element) == sizeof(tape_ref) && std::is_trivially_copyable_v<element>);
    tape_ref tape;
    memcpy(static_cast<void *>(&tape), &e, sizeof tape);
    return {tape.doc, tape.json_index};
}

element element_of(struct json_value v) noexcept {
    element e;
    tape_ref tape = tape_of(v);
    memcpy(static_cast<void *>(&e), &tape, sizeof e);
    return e;
}

} // namespace

extern "C" int json_parse(struct json_parser *parser, struct str text, struct json_value *root,
                          struct keel_error *err) {
    if (text.n > parser->dom.max_capacity())
        FAIL(err, LIMIT, "the JSON text is larger than %zu bytes", parser->dom.max_capacity());
    simdjson::error_code code = parser->dom.allocate(text.n < 256 ? 256 : text.n, JSON_MAX_DEPTH);
    element top;
    if (!code) code = parser->dom.parse(text.p ? text.p : "", text.n).get(top);
    if (code) return explain(text, code, err);
    *root = value_of(top);
    return 0;
}

/* ---- values ---- */

extern "C" enum json_type json_type(struct json_value v) {
    if (!v.document) return JSON_ABSENT;
    switch (tape_of(v).tape_ref_type()) {
    case tape_type::START_ARRAY: return JSON_ARRAY;
    case tape_type::START_OBJECT: return JSON_OBJECT;
    case tape_type::STRING: return JSON_STRING;
    case tape_type::INT64:
    case tape_type::UINT64:
    case tape_type::DOUBLE: return JSON_NUMBER;
    case tape_type::TRUE_VALUE:
    case tape_type::FALSE_VALUE: return JSON_BOOL;
    default: return JSON_NULL;
    }
}

extern "C" const char *json_type_text(enum json_type type) {
    static const char *const texts[] = {"nothing",  "null",     "true or false", "a number",
                                        "a string", "an array", "an object"};
    return texts[type];
}

extern "C" struct json_value json_get_str(struct json_value object, struct str key) {
    simdjson::dom::object members;
    element found;
    if (json_type(object) != JSON_OBJECT || element_of(object).get(members)) return {};
    if (members.at_key(std::string_view(key.p, key.n)).get(found)) return {};
    return value_of(found);
}

extern "C" struct json_value json_get(struct json_value object, const char *key) {
    return json_get_str(object, str_from(key));
}

extern "C" bool json_str(struct json_value v, struct str *out) {
    if (json_type(v) != JSON_STRING) return false;
    std::string_view text = tape_of(v).get_string_view();
    *out = {text.data(), text.size()};
    return true;
}

extern "C" bool json_bool(struct json_value v, bool *out) {
    if (json_type(v) != JSON_BOOL) return false;
    *out = tape_of(v).is_true();
    return true;
}

extern "C" bool json_f64(struct json_value v, double *out) {
    double number;
    if (json_type(v) != JSON_NUMBER || element_of(v).get(number)) return false;
    *out = number;
    return true;
}

extern "C" bool json_i64(struct json_value v, int64_t *out) {
    double number;
    if (json_type(v) != JSON_NUMBER) return false;
    if (!element_of(v).get(*out)) return true;
    if (!tape_of(v).is_double() || element_of(v).get(number)) return false;
    const double limit = 9223372036854775808.0; /* 2^63 */
    if (number < -limit || number >= limit) return false;
    int64_t whole = static_cast<int64_t>(number);
    if (static_cast<double>(whole) != number) return false;
    *out = whole;
    return true;
}

/* ---- walking ---- */

extern "C" struct json_each json_each(struct json_value v) {
    enum json_type type = json_type(v);
    if (type != JSON_ARRAY && type != JSON_OBJECT) return {};
    /* matching_brace_index is the position behind the closing brace's word. */
    return {{v.document, v.at + 1}, tape_of(v).matching_brace_index() - 1u, type == JSON_OBJECT};
}

extern "C" bool json_next(struct json_each *each, struct str *key, struct json_value *value) {
    if (!each->at.document || each->at.at >= each->end) return false;
    struct str name = STR("");
    if (each->object) { /* the key is a string of one word on the tape, its value follows */
        json_str(each->at, &name);
        each->at.at++;
    }
    if (key) *key = name;
    *value = each->at;
    each->at.at = tape_of(each->at).after_element();
    return true;
}

extern "C" size_t json_count(struct json_value v) {
    struct json_each each = json_each(v);
    struct json_value skipped;
    size_t n = 0;
    while (json_next(&each, NULL, &skipped)) n++;
    return n;
}
