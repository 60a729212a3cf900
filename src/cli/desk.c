/* Implementation of desk.h. */
#include "cli/desk.h"

#include <stdio.h>

#include "base/os.h"

int desk_check(const char *dir, struct keel_error *err) {
    char path[4096];
    if (snprintf(path, sizeof path, "%s/keel.db", dir) >= (int)sizeof path)
        FAIL(err, INVALID, "the path of %.100s… is too long", dir);
    if (!file_exists(path))
        FAIL(err, NOT_FOUND, "%s is no data directory; make one: keel init %s", dir, dir);
    return 0;
}

int desk_open(const char *dir, struct sql **out, struct keel_error *err) {
    char path[4096];
    TRY(desk_check(dir, err));
    snprintf(path, sizeof path, "%s/desk.db", dir); /* as long as what was checked */
    return sql_open(path, SQL_CREATE, out, err);
}

void desk_segments_init(struct desk_segments *s, const char *dir) {
    *s = (struct desk_segments){.dir = dir};
    audience_book_init(&s->book, NULL);
}

void desk_segments_release(struct desk_segments *s) {
    audience_book_release(&s->book);
    sql_close(s->desk);
}

int desk_segment(void *segments, struct str name, const struct query_cond **out,
                 struct keel_error *err) {
    struct desk_segments *s = segments;
    char path[4096];
    if (!s->desk && snprintf(path, sizeof path, "%s/desk.db", s->dir) < (int)sizeof path &&
        file_exists(path)) {
        TRY(sql_open(path, SQL_READ_ONLY, &s->desk, err));
        s->book.desk = s->desk;
    }
    return audience_book_find(&s->book, name, out, err);
}
