/* Implementation of audience_member.h. */
#include "desk/audience_member.h"

#include <roaring/roaring.h>

void audience_member_json(struct identity *identity, uint32_t customer, struct buf *out) {
    enum id_kind kind;
    struct str id = identity_id(identity, customer, &kind);
    (void)!buf_printf(out, "\"customer\":%u,\"%s\":", customer,
                      kind == ID_USER ? "user_id" : "anonymous_id");
    (void)!buf_add_json_str(out, id);
}

static void csv_field(struct buf *out, struct str s) {
    bool quote = s.n == 0;
    for (size_t i = 0; i < s.n; i++) quote |= strchr("\",\r\n", s.p[i]) != NULL;
    if (!quote) {
        (void)!buf_add_str(out, s);
        return;
    }
    (void)!buf_add_char(out, '"');
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '"') (void)!buf_add_char(out, '"');
        (void)!buf_add_char(out, s.p[i]);
    }
    (void)!buf_add_char(out, '"');
}

struct owned {
    struct buf *out;
    uint32_t n;
};

static void add_owned(void *ctx, struct str anonymous_id) {
    struct owned *o = ctx;
    (void)!buf_add_text(o->out, o->n++ ? "," : ",\"anonymous_ids\":[");
    (void)!buf_add_json_str(o->out, anonymous_id);
}

void audience_member_line(struct identity *identity, uint32_t customer, bool csv, struct buf *out) {
    enum id_kind kind;
    struct str id = identity_id(identity, customer, &kind);
    struct owned owned = {.out = out};
    if (csv) {
        (void)!buf_printf(out, "%u,", customer);
        if (kind == ID_ANONYMOUS) (void)!buf_add_char(out, ',');
        csv_field(out, id);
        (void)!buf_add_text(out, kind == ID_USER ? ",\n" : "\n");
        return;
    }
    (void)!buf_add_char(out, '{');
    audience_member_json(identity, customer, out);
    if (kind == ID_USER) identity_owned(identity, id, add_owned, &owned);
    (void)!buf_add_text(out, owned.n ? "]}\n" : "}\n");
}

struct roaring_bitmap_s *audience_member_set(const uint64_t *bits, uint32_t count) {
    roaring_bitmap_t *set = roaring_bitmap_create();
    uint32_t values[1024], n = 0;
    for (uint32_t w = 0; w * 64 < count; w++)
        for (uint64_t m = bits[w]; m; m &= m - 1) {
            values[n++] = w * 64 + (uint32_t)__builtin_ctzll(m);
            if (n < sizeof values / sizeof *values) continue;
            roaring_bitmap_add_many(set, n, values);
            n = 0;
        }
    roaring_bitmap_add_many(set, n, values);
    return set;
}
