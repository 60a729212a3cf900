/* Implementation of slices.h. */
#include "slices.h"

static int next_slice(void *ctx, struct str *out, struct keel_error *err) {
    (void)err;
    struct slices *s = ctx;
    size_t n = s->slice < s->text.n ? s->slice : s->text.n;
    *out = (struct str){s->text.p, n};
    s->text.p += n;
    s->text.n -= n;
    return 0;
}

struct csv_source csv_from_slices(struct slices *s) {
    return (struct csv_source){next_slice, s};
}
