/* Implementation of secret_input.h. Whatever ends the reading, the terminal shows again what is
 * typed; a signal meanwhile leaves that to the shell. */
#include "cli/secret_input.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <termios.h>
#include <unistd.h>

#include "base/os.h"

/* One line, byte by byte: what follows it belongs to whoever reads next. */
static int read_line(struct buf *out, struct keel_error *err) {
    char c;
    for (;;) {
        ssize_t n = os_table()->read(STDIN_FILENO, &c, 1);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return error_errno(err, errno, "cannot read standard input");
        if (n == 0 || c == '\n') break;
        TRY(buf_add_char(out, c));
    }
    if (out->n && out->p[out->n - 1] == '\r') out->n--;
    return 0;
}

static int ask(const char *what, const char *again, struct buf *out, struct keel_error *err) {
    struct termios before, quiet;
    if (tcgetattr(STDIN_FILENO, &before) < 0)
        return error_errno(err, errno, "cannot ask on this terminal");
    quiet = before;
    quiet.c_lflag &= ~(tcflag_t)ECHO;
    fprintf(stderr, "%s%s: ", what, again);
    tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet);
    int code = read_line(out, err);
    tcsetattr(STDIN_FILENO, TCSAFLUSH, &before);
    fputs("\n", stderr);
    return code;
}

int secret_input(const char *what, struct buf *out, struct keel_error *err) {
    struct buf again;
    buf_init(out, SECRET_INPUT_MAX);
    if (!isatty(STDIN_FILENO)) return read_line(out, err);
    buf_init(&again, SECRET_INPUT_MAX);
    int code = ask(what, "", out, err);
    if (code == 0) code = ask(what, ", again", &again, err);
    if (code == 0 && !str_eq(buf_str(out), buf_str(&again)))
        code = error_set(err, KEEL_E_INVALID, "the two differ; nothing was changed");
    secret_input_clear(&again);
    return code;
}

void secret_input_clear(struct buf *b) {
    if (b->p) sodium_memzero(b->p, b->cap);
    buf_release(b);
}
