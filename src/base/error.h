/* Errors: one table of codes, one message buffer, two macros.
 *
 * Every function that can fail returns int: 0 is success, a negative number is
 * -KEEL_E_<name> from errors.def. The last parameter may be a `struct keel_error *`
 * (NULL is allowed) that receives one sentence: what failed, where, what to do.
 * Lower rooms never log; the caller at the top reports the message once.
 *
 * Layers: used by everything, uses nothing. Threads: no shared state.
 */
#pragma once

#include <stdarg.h>
#include <stddef.h>

enum keel_code {
#define KEEL_ERROR(name, number, exit_code, http, text) KEEL_E_##name = number,
#include "base/errors.def"
#undef KEEL_ERROR
};

enum { KEEL_ERROR_MAX = 1024 };

struct keel_error {
    int code;                     /* 0 or -KEEL_E_*                                   */
    char message[KEEL_ERROR_MAX]; /* NUL-terminated, UTF-8, no trailing full stop     */
};

#define K_CHECKED __attribute__((warn_unused_result))
#define K_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))

/* Writes code and message into *err (if not NULL) and returns -code. */
int error_set(struct keel_error *err, enum keel_code code, const char *format, ...) K_PRINTF(3, 4);

/* As error_set, and adds ": <text of errno>". Returns -KEEL_E_IO, or the code that fits errno. */
int error_errno(struct keel_error *err, int errno_value, const char *format, ...) K_PRINTF(3, 4);

/* Puts "<context>: " before the message that a callee left in *err; returns `code` unchanged. */
int error_context(struct keel_error *err, int code, const char *format, ...) K_PRINTF(3, 4);

const char *error_text(int code); /* static text of a (negative or positive) code   */
int error_exit_status(int code);  /* process exit code, 0 for 0                     */
int error_http_status(int code);  /* HTTP status, 200 for 0                         */

/* clang's analyzer looks at one file at a time: what error.c returns could be 0 to it, and then
 * every result that is written on success only would be read without a value. */
#ifdef __clang_analyzer__
static inline int error_negative(int code) {
    __builtin_assume(code < 0); /* a branch would make this too large to be always looked into */
    return code;
}
#define error_set(...) error_negative(error_set(__VA_ARGS__))
#define error_errno(...) error_negative(error_errno(__VA_ARGS__))
#endif

/* Leaves the function with the code of a failing call (nothing to clean up). */
#define TRY(call)                                                                                  \
    do {                                                                                           \
        int try_code_ = (call);                                                                    \
        if (try_code_ < 0) return try_code_;                                                       \
    } while (0)

/* Returns a fresh error. */
#define FAIL(err, code, ...) return error_set((err), KEEL_E_##code, __VA_ARGS__)

/* Programmer errors: always checked, cheap, prints both values and aborts. Never for input. */
#define K_ASSERT(cond)                                                                             \
    do {                                                                                           \
        if (__builtin_expect(!(cond), 0)) assert_failed(__FILE__, __LINE__, #cond);                \
    } while (0)
#define K_ASSERT_OP(a, op, b)                                                                      \
    do {                                                                                           \
        long long va_ = (long long)(a), vb_ = (long long)(b);                                      \
        if (__builtin_expect(!(va_ op vb_), 0))                                                    \
            assert_failed_values(__FILE__, __LINE__, #a " " #op " " #b, va_, vb_);                 \
    } while (0)

_Noreturn void assert_failed(const char *file, int line, const char *what);
_Noreturn void assert_failed_values(const char *file, int line, const char *what, long long a,
                                    long long b);
