/* Implementation of right.h. */
#include "guard/right.h"

static const struct {
    const char *text, *what;
} TABLE[RIGHTS] = {
    [RIGHT_NONE] = {"none", "nothing: not declared"},
    [RIGHT_PUBLIC] = {"public", "nobody need be known"},
    [RIGHT_WRITE_KEY] = {"write key", "send events"},
    [RIGHT_SIGNED_IN] = {"signed in", "what concerns the caller alone"},
#define RIGHT(name, text, what) [RIGHT_##name] = {text, what},
#include "guard/rights.def"
#undef RIGHT
};

_Static_assert(RIGHTS <= 8 * sizeof(right_set), "a set has a bit for every right");

right_set right_all(void) {
    right_set all = 0;
    for (int right = RIGHT_SIGNED_IN; right < RIGHTS; right++) all |= right_bit((enum right)right);
    return all;
}

const char *right_text(enum right right) { return TABLE[right].text; }
const char *right_what(enum right right) { return TABLE[right].what; }

bool right_by_text(struct str text, enum right *out) {
    for (int right = RIGHT_SIGNED_IN + 1; right < RIGHTS; right++) {
        if (!str_is(text, TABLE[right].text)) continue;
        *out = (enum right)right;
        return true;
    }
    return false;
}

void right_json(right_set set, struct buf *out) {
    bool first = true;
    (void)!buf_add_char(out, '[');
    for (int right = RIGHT_SIGNED_IN + 1; right < RIGHTS; right++) {
        if (!right_in(set, (enum right)right)) continue;
        if (!first) (void)!buf_add_char(out, ',');
        first = false;
        (void)!buf_add_json_str(out, str_from(TABLE[right].text));
    }
    (void)!buf_add_char(out, ']');
}
