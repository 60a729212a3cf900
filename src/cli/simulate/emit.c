/* One line of Segment NDJSON for each event, as the server that received it would have logged it.
 *
 * Times: an ordinary event has timestamp, sentAt and receivedAt, all equal to the second. Where the
 * device's clock is wrong or the event was sent later or again, originalTimestamp and sentAt are
 * what the device said, receivedAt is right, and timestamp is what Segment's rule makes of them:
 * receivedAt - (sentAt - originalTimestamp), which is the true time.
 *
 * The three equal times are rendered once for each second of arrival.
 * Layers: emit.h, time.h. Threads: none.
 */
#include "cli/simulate/emit.h"

#include "base/time.h"

static char *put_time(char *p, const struct emitter *e, int64_t second) {
    int64_t day = second / DAY_SECONDS;
    int64_t in_day = second - day * DAY_SECONDS;
    if (in_day < 0) {
        in_day += DAY_SECONDS;
        day--;
    }
    char text[TIME_TEXT_MAX];
    p = put_bytes(p, text, day_format((int32_t)(e->m->config.start_day + day), text));
    *p++ = 'T';
    p = put_two(p, (uint32_t)in_day / 3600);
    *p++ = ':';
    p = put_two(p, (uint32_t)in_day / 60 % 60);
    *p++ = ':';
    p = put_two(p, (uint32_t)in_day % 60);
    return PUT(p, ".000Z");
}

static void render_tail(struct emitter *e, uint32_t second) {
    char time[TIME_TEXT_MAX], *end = put_time(time, e, second);
    size_t n = (size_t)(end - time);
    char *p = PUT(e->tail, "},\"timestamp\":\"");
    p = put_bytes(p, time, n);
    p = PUT(p, "\",\"sentAt\":\"");
    p = put_bytes(p, time, n);
    p = PUT(p, "\",\"receivedAt\":\"");
    p = put_bytes(p, time, n);
    p = PUT(p, "\"}\n");
    e->tail_n = (uint32_t)(p - e->tail);
    e->tail_second = second;
}

static char *put_dirty_times(char *p, const struct emitter *e, const struct record *r) {
    bool skewed = r->flags & RECORD_SKEWED;
    int64_t happened = skewed ? r->at : (int64_t)r->at - r->shift, skew = skewed ? r->shift : 0;
    p = PUT(p, "},\"originalTimestamp\":\"");
    p = put_time(p, e, happened + skew);
    p = PUT(p, "\",\"sentAt\":\"");
    p = put_time(p, e, r->at + skew);
    p = PUT(p, "\",\"receivedAt\":\"");
    p = put_time(p, e, r->at);
    p = PUT(p, "\",\"timestamp\":\"");
    p = put_time(p, e, happened);
    return PUT(p, "\"}\n");
}

void emit(struct emitter *e, const struct record *r, const struct line *lines) {
    char *p = output_room(e->out, LINE_ROOM);
    uint64_t seed = e->m->config.seed;
    bool app = r->profile == PROFILE_ANDROID_APP || r->profile == PROFILE_IPHONE_APP;
    p = put_piece(p, e, e->head[r->kind][app]);
    message_id(seed, r->seq, p);
    p += UUID_TEXT;
    if (r->device >> DEVICE_CLASS_SHIFT != DEVICE_NONE) {
        p = PUT(p, "\",\"anonymousId\":\"");
        anonymous_id(seed, r->owner, r->device, p);
        p += UUID_TEXT;
    }
    if (r->flags & RECORD_USER) {
        uint32_t who = r->flags & RECORD_PARTNER ? r->person ^ 1 : r->person;
        p = PUT(p, "\",\"userId\":\"u");
        p = put_u32(p, shopper_user(who, r->flags & RECORD_ACCOUNT2));
    }
    p = put_fields(p, e, r, lines);
    p = put_piece(p, e, e->context[r->profile][r->country]);
    if (r->campaign) p = put_piece(p, e, e->campaign[r->campaign]);
    if (r->shift) {
        p = put_dirty_times(p, e, r);
    } else {
        if (e->tail_second != r->at) render_tail(e, r->at);
        p = put_bytes(p, e->tail, e->tail_n);
    }
    output_advance(e->out, p);
}

struct emitter *emitter_new(const struct market *m, struct output *out) {
    struct emitter *e = k_zalloc(sizeof *e);
    e->m = m;
    e->out = out;
    e->tail_second = NEVER;
    buf_init(&e->text, 4 << 20);
    int code = emitter_prepare(e);
    K_ASSERT_OP(code, ==, 0); /* a fixed amount of text */
    return e;
}

int emitter_failed(const struct emitter *e, struct keel_error *err) {
    int code = output_failed(e->out);
    if (code && err) *err = e->out->error;
    return code;
}

void emitter_free(struct emitter *e) {
    if (!e) return;
    buf_release(&e->text);
    k_free(e);
}
