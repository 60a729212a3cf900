/* Implementation of error.h: formatting into a fixed buffer, no allocation. */
#include "base/error.h"

#ifdef __clang_analyzer__
#undef error_set
#undef error_errno
#endif

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    int number, exit_status, http;
    const char *text;
} TABLE[] = {
#define KEEL_ERROR(name, number, exit_code, http, text) {number, exit_code, http, text},
#include "base/errors.def"
#undef KEEL_ERROR
};

static const size_t TABLE_SIZE = sizeof TABLE / sizeof TABLE[0];

static size_t find(int code) {
    int number = code < 0 ? -code : code;
    for (size_t i = 0; i < TABLE_SIZE; i++)
        if (TABLE[i].number == number) return i;
    return 0; /* INTERNAL */
}

const char *error_text(int code) { return code == 0 ? "success" : TABLE[find(code)].text; }
int error_exit_status(int code) { return code == 0 ? 0 : TABLE[find(code)].exit_status; }
int error_http_status(int code) { return code == 0 ? 200 : TABLE[find(code)].http; }

int error_set(struct keel_error *err, enum keel_code code, const char *format, ...) {
    if (err) {
        err->code = -(int)code;
        va_list args;
        va_start(args, format);
        vsnprintf(err->message, sizeof err->message, format, args);
        va_end(args);
    }
    return -(int)code;
}

int error_errno(struct keel_error *err, int errno_value, const char *format, ...) {
    enum keel_code code = errno_value == ENOENT                            ? KEEL_E_NOT_FOUND
                          : errno_value == EEXIST                          ? KEEL_E_EXISTS
                          : errno_value == ENOMEM                          ? KEEL_E_NO_MEMORY
                          : errno_value == ENOSPC || errno_value == EDQUOT ? KEEL_E_NO_SPACE
                                                                           : KEEL_E_IO;
    if (err) {
        char text[128];
        err->code = -(int)code;
        va_list args;
        va_start(args, format);
        int n = vsnprintf(err->message, sizeof err->message, format, args);
        va_end(args);
        if (n >= 0 && (size_t)n < sizeof err->message)
            snprintf(err->message + n, sizeof err->message - (size_t)n, ": %s",
                     strerror_r(errno_value, text, sizeof text));
    }
    return -(int)code;
}

int error_context(struct keel_error *err, int code, const char *format, ...) {
    if (err) {
        char head[KEEL_ERROR_MAX], tail[KEEL_ERROR_MAX];
        va_list args;
        va_start(args, format);
        vsnprintf(head, sizeof head, format, args);
        va_end(args);
        memcpy(tail, err->message, sizeof tail);
        tail[sizeof tail - 1] = 0;
        int n = snprintf(err->message, sizeof err->message, "%.400s: ", head);
        if (n > 0)
            snprintf(err->message + n, sizeof err->message - (size_t)n, "%.*s",
                     (int)(sizeof err->message - (size_t)n - 1), tail);
        err->code = code;
    }
    return code;
}

_Noreturn void assert_failed(const char *file, int line, const char *what) {
    fprintf(stderr, "keel: internal error at %s:%d: assertion failed: %s\n", file, line, what);
    abort();
}

_Noreturn void assert_failed_values(const char *file, int line, const char *what, long long a,
                                    long long b) {
    fprintf(stderr, "keel: internal error at %s:%d: assertion failed: %s (%lld, %lld)\n", file,
            line, what, a, b);
    abort();
}
