/* Implementation of fold.h. */
#include "base/fold.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include "base/table.h"

unsigned fold_width(const struct output *o) {
    struct winsize size;
    if (isatty(o->fd) != 1 || ioctl(o->fd, TIOCGWINSZ, &size) != 0) return 0;
    return size.ws_col;
}

static size_t rune_bytes(struct str s, size_t at) {
    size_t n = 1;
    while (at + n < s.n && ((unsigned char)s.p[at + n] & 0xc0) == 0x80) n++;
    return n;
}

/* How much of s goes on a line of `width` cells: up to the last comma or space that fits. */
static size_t piece(struct str s, unsigned width) {
    size_t at = 0, best = 0;
    unsigned used = 0;
    while (at < s.n) {
        size_t n = rune_bytes(s, at);
        used += text_width((struct str){s.p + at, n});
        if (used > width) break;
        at += n;
        if (s.p[at - 1] == ',' || s.p[at - 1] == ' ') best = at;
    }
    if (at == s.n) return at;
    return best > at / 3 ? best : at;
}

void fold_line(struct output *o, struct str line, unsigned width, unsigned indent) {
    struct buf visible;
    buf_init(&visible, FOLD_LINE_BYTES);
    text_visible(&visible, line);
    struct str rest = buf_str(&visible);
    if (width > 0 && width < FOLD_WIDTH_MIN) width = FOLD_WIDTH_MIN;
    for (bool first = true; width > 0 && rest.n > 0; first = false) {
        size_t n = piece(rest, first ? width : width - indent);
        if (n == rest.n) break;
        struct str head = {rest.p, n};
        while (head.n > 0 && head.p[head.n - 1] == ' ') head.n--;
        output_str(o, head);
        output_printf(o, "\n%*s", (int)indent, "");
        rest.p += n;
        rest.n -= n;
    }
    output_str(o, rest);
    output_char(o, '\n');
    if (visible.failed) output_text(o, "(the line is too long to be shown)\n");
    buf_release(&visible);
}
