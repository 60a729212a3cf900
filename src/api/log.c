/* Implementation of log.h. */
#include "api/log.h"

#include <unistd.h>

#include "base/os.h"
#include "base/time.h"

struct log {
    int fd;
    bool json;
    enum log_level level;
};

static const char *const LEVELS[] = {"error", "warning", "info", "debug"};

struct log *log_new(int fd, enum log_format format, enum log_level level) {
    struct log *log = k_zalloc(sizeof *log);
    log->fd = fd;
    log->json = format == LOG_JSON || (format == LOG_AUTO && isatty(fd) != 1);
    log->level = level;
    return log;
}

void log_free(struct log *log) { k_free(log); }

static void add_time(struct buf *b) {
    char text[TIME_TEXT_MAX];
    int64_t ms = now_ms();
    size_t n = time_format(NULL, ms, text);
    if (ms % 1000 == 0) n--; /* whole seconds come without a fraction: lines keep their width */
    (void)!buf_add(b, text, n);
    if (ms % 1000 == 0) (void)!buf_add_text(b, ".000Z");
}

/* A value of the text form: in quotes if it has a space, a quote or a control character. */
static void add_word(struct buf *b, struct str s) {
    bool plain = s.n > 0;
    for (size_t i = 0; i < s.n; i++)
        plain = plain && (unsigned char)s.p[i] > ' ' && s.p[i] != '"' && s.p[i] != 0x7f;
    if (plain)
        (void)!buf_add_str(b, s);
    else
        (void)!buf_add_json_str(b, s);
}

static void add_pair(const struct log *log, struct buf *b, const char *name, char type,
                     va_list *args) {
    (void)!buf_printf(b, log->json ? ",\"%s\":" : " %s=", name);
    struct str s = {0};
    switch (type) {
    case 'i': (void)!buf_printf(b, "%lld", (long long)va_arg(*args, int64_t)); return;
    case 'd': (void)!buf_printf(b, "%.3f", va_arg(*args, double)); return;
    case 'z': s = str_from(va_arg(*args, const char *)); break;
    case 's': s = va_arg(*args, struct str); break;
    default: K_ASSERT_OP(type, ==, 's'); /* a letter that log_say does not know */
    }
    if (log->json)
        (void)!buf_add_json_str(b, s);
    else
        add_word(b, s);
}

void log_say(struct log *log, enum log_level level, const char *message, const char *types, ...) {
    if (!log || level > log->level) return;
    struct buf line;
    va_list args;
    buf_init(&line, LOG_LINE_BYTES);
    if (log->json) (void)!buf_add_text(&line, "{\"time\":\"");
    add_time(&line);
    if (log->json) {
        (void)!buf_printf(&line, "\",\"level\":\"%s\",\"message\":", LEVELS[level]);
        (void)!buf_add_json_str(&line, str_from(message));
    } else {
        (void)!buf_printf(&line, " %-7s %s", LEVELS[level], message);
    }
    va_start(args, types);
    for (; *types; types++) {
        size_t before = line.n;
        const char *name = va_arg(args, const char *);
        add_pair(log, &line, name, *types, &args);
        if (line.failed || line.max - line.n < 8) { /* the pair does not fit: left out whole */
            line.failed = 0;
            line.n = before;
        }
    }
    va_end(args);
    (void)!buf_add_text(&line, log->json ? "}\n" : "\n");
    (void)!file_write_all(log->fd, line.p, line.n, "standard error", NULL);
    buf_release(&line);
}
