/* Implementation of member.h. */
#include "api/member.h"

#include "base/time.h"

void member_time(struct buf *out, const char *name, int64_t ms) {
    char text[TIME_TEXT_MAX];
    struct str at = {text, time_format(NULL, ms, text)};
    (void)!buf_printf(out, ",\"%s\":\"%.*s\"", name, STR_ARG(at));
}

void member_time_or_null(struct buf *out, const char *name, int64_t ms) {
    if (ms)
        member_time(out, name, ms);
    else
        (void)!buf_printf(out, ",\"%s\":null", name);
}
