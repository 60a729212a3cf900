/* json_tokens.h on simdjson's kernels, called through their common interface: internal to simdjson
 * by name, stable since its version 1 and all that its own front-ends use. */
#include <memory>
#include <new>

#include <simdjson.h>

/* Headers of C: a function may have the name of its struct. */
#define _Noreturn [[noreturn]]
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wshadow"
extern "C" {
#include "api/collect/json_tokens.h"
}
#pragma GCC diagnostic pop

struct json_tokens {
    const simdjson::implementation *isa = nullptr;
    std::unique_ptr<simdjson::internal::dom_parser_implementation> kernel;
    const uint32_t *first = nullptr;
    uint32_t none[1] = {0};
};

extern "C" struct json_tokens *json_tokens_new(const char *isa) {
    enum { FIRST_BYTES = 1 << 16, NO_DEPTH = 1 };
    auto *tokens = new (std::nothrow) json_tokens;
    K_ASSERT(tokens != nullptr);
    tokens->isa = isa ? simdjson::get_available_implementations()[isa]
                      : simdjson::get_available_implementations().detect_best_supported();
    if (!tokens->isa || !tokens->isa->supported_by_runtime_system() ||
        tokens->isa->create_dom_parser_implementation(FIRST_BYTES, NO_DEPTH, tokens->kernel)) {
        delete tokens;
        return nullptr;
    }
    return tokens;
}

extern "C" void json_tokens_free(struct json_tokens *tokens) { delete tokens; }

extern "C" const char *json_tokens_isa(const struct json_tokens *tokens) {
    for (size_t i = 0; const char *name = json_tokens_kernel(i); i++)
        if (tokens->isa->name() == name) return name;
    return "";
}

extern "C" const char *json_tokens_kernel(size_t i) {
    static const char *const names[] = {"icelake", "haswell", "westmere", "fallback"};
    for (const char *name : names) {
        const auto *isa = simdjson::get_available_implementations()[name];
        if (isa && isa->supported_by_runtime_system() && i-- == 0) return name;
    }
    return nullptr;
}

/* What is wrong with a text that a kernel refused. Of several faults the kernels of different
 * instruction sets report different ones; what a user reads must not depend on the processor. */
static const char *explain(struct str text) {
    if (!str_is_utf8(text)) return "invalid UTF-8";
    bool in_string = false;
    for (size_t i = 0; i < text.n; i++) {
        auto c = static_cast<unsigned char>(text.p[i]);
        if (c == '\\')
            i++;
        else if (c == '"')
            in_string = !in_string;
        if (in_string && i < text.n && static_cast<unsigned char>(text.p[i]) < 0x20)
            return "a control character in a string";
    }
    return in_string ? "a string is not closed" : "not JSON";
}

extern "C" int json_tokens_find(struct json_tokens *tokens, struct str text, const char **why) {
    auto &kernel = *tokens->kernel;
    if (text.n > UINT32_MAX - simdjson::SIMDJSON_PADDING) return -KEEL_E_LIMIT;
    if (text.n > kernel.capacity()) {
        /* A quarter more than asked for, so that growing texts do not reallocate each time. */
        if (kernel.set_capacity(text.n + text.n / 4)) return -KEEL_E_NO_MEMORY;
    }
    tokens->none[0] = static_cast<uint32_t>(text.n);
    tokens->first = tokens->none;
    auto code = kernel.stage1(reinterpret_cast<const uint8_t *>(text.p), text.n,
                              simdjson::stage1_mode::regular);
    if (code == simdjson::EMPTY) return 0;
    if (code) {
        *why = explain(text);
        return -KEEL_E_SYNTAX;
    }
    /* The kernel has put the text's length behind the last token. */
    tokens->first = kernel.structural_indexes.get();
    return 0;
}

extern "C" const uint32_t *json_tokens_first(const struct json_tokens *tokens) {
    return tokens->first;
}
