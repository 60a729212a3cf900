/* Implementation of name.h. */
#include "desk/saved/name.h"

#include "base/suggest.h"

int name_check_text(struct str text, const char *what, size_t most, struct keel_error *err) {
    if (text.n > most) FAIL(err, INVALID, "the %s is longer than %zu bytes", what, most);
    if (!str_is_utf8(text)) FAIL(err, INVALID, "the %s is no UTF-8", what);
    for (size_t i = 0; i < text.n; i++)
        if ((unsigned char)text.p[i] < ' ' && text.p[i] != '\n' && text.p[i] != '\t')
            FAIL(err, INVALID, "the %s has a control character", what);
    return 0;
}

int name_check(struct str name, const char *what, struct keel_error *err) {
    int64_t number;
    if (name.n == 0) FAIL(err, INVALID, "the %s has no name", what);
    TRY(name_check_text(name, "name", NAME_BYTES, err));
    if (memchr(name.p, '\n', name.n)) FAIL(err, INVALID, "the name has a line break");
    if (name.p[0] == ' ' || name.p[name.n - 1] == ' ')
        FAIL(err, INVALID, "the name begins or ends with a space");
    if (str_to_i64(name, &number))
        FAIL(err, INVALID, "a name cannot be a number: %ss are found by either", what);
    return 0;
}

struct names {
    struct arena arena;
    const char **list;
    size_t n, cap;
};

static int read_names(struct names *names, struct sql_rows *rows, struct keel_error *err) {
    int code;
    while ((code = sql_next(rows, err)) == 1) {
        struct str name = sql_str(rows, 0);
        if (names->n == names->cap) {
            names->cap = names->cap ? names->cap * 2 : 64;
            names->list = k_realloc(names->list, names->cap * sizeof *names->list);
        }
        names->list[names->n++] = arena_strndup(&names->arena, name.p, name.n);
    }
    sql_done(rows);
    return code;
}

static const char *name_at(const void *ctx, size_t i) {
    const struct names *names = ctx;
    return i < names->n ? names->list[i] : NULL;
}

int name_missing(struct str name, const char *what, struct sql_rows *rows, struct keel_error *err) {
    struct names names = {0};
    char text[NAME_BYTES + 1] = "";
    arena_init(&names.arena, SIZE_MAX / 2);
    if (name.n <= NAME_BYTES) memcpy(text, name.p, name.n);
    int code = read_names(&names, rows, err);
    const char *near = code == 0 ? suggest(text, name_at, &names) : NULL;
    if (code == 0)
        code = error_set(err, KEEL_E_NOT_FOUND, "there is no %s \"%.*s\"%s%s%s", what,
                         (int)(name.n < 100 ? name.n : 100), name.p,
                         near ? "; did you mean \"" : "", near ? near : "", near ? "\"?" : "");
    k_free(names.list);
    arena_release(&names.arena);
    return code;
}
