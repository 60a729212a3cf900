/* Implementation of rejects.h. Lines are gathered in a buffer and written in pieces of 64 KiB; a
 * crash loses at most that much of the reject file, never of the imported events. */
#include "cli/import/rejects.h"

#include <inttypes.h>

#include "base/os.h"

enum { WRITE_BYTES = 64 << 10, BUFFER_MAX_BYTES = 8 << 20 };

const char *reject_text(enum reject_cause cause) {
    static const char *const texts[] = {
#define REJECT_CAUSE(name, text) text,
#include "cli/import/rejects.def"
#undef REJECT_CAUSE
    };
    K_ASSERT_OP(cause, <, REJECT_CAUSES);
    return texts[cause];
}

int rejects_init(struct rejects *r, const char *path, struct keel_error *err) {
    *r = (struct rejects){.path = path, .fd = -1};
    buf_init(&r->out, BUFFER_MAX_BYTES);
    /* A file of an earlier run would be taken for this run's. A device or a pipe is no such file:
     * root would remove /dev/null. */
    struct stat st;
    if (!path || os_table()->stat(path, &st) < 0 || !S_ISREG(st.st_mode)) return 0;
    return file_remove(path, err);
}

static void add_quoted(struct buf *b, struct str s) {
    buf_add_char(b, '"');
    while (s.n > 0) {
        const char *quote = memchr(s.p, '"', s.n);
        size_t n = quote ? (size_t)(quote - s.p) + 1 : s.n;
        buf_add(b, s.p, n);
        if (quote) buf_add_char(b, '"');
        s.p += n;
        s.n -= n;
    }
    buf_add_char(b, '"');
}

/* The line ending belongs to the file, not to the row. */
static struct str without_newline(struct str raw) {
    while (raw.n > 0 && (raw.p[raw.n - 1] == '\n' || raw.p[raw.n - 1] == '\r')) raw.n--;
    return raw;
}

int rejects_add(struct rejects *r, const char *file, const struct reject *reject,
                struct keel_error *err) {
    r->total += reject->rows;
    r->by_cause[reject->cause] += reject->rows;
    if (!r->path) return 0;
    if (r->fd < 0) {
        TRY(file_open(r->path, FILE_WRITE | FILE_CREATE | FILE_TRUNCATE, &r->fd, err));
        buf_add_text(&r->out, "file,line,cause,detail,raw\n");
    }
    add_quoted(&r->out, str_from(file));
    buf_printf(&r->out, ",%" PRIu64 ",", reject->line);
    add_quoted(&r->out, str_from(reject_text(reject->cause)));
    buf_add_char(&r->out, ',');
    add_quoted(&r->out, reject->detail);
    buf_add_char(&r->out, ',');
    add_quoted(&r->out, without_newline(reject->raw));
    buf_add_char(&r->out, '\n');
    if (r->out.failed) return error_set(err, KEEL_E_NO_MEMORY, "reject file %s", r->path);
    return r->out.n < WRITE_BYTES ? 0 : rejects_flush(r, err);
}

int rejects_flush(struct rejects *r, struct keel_error *err) {
    if (r->out.n == 0) return 0;
    TRY(file_write_all(r->fd, r->out.p, r->out.n, r->path, err));
    buf_clear(&r->out);
    return 0;
}

void rejects_release(struct rejects *r) {
    file_close(r->fd);
    buf_release(&r->out);
    r->fd = -1;
}
