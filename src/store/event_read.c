/* Reading batches of canonical events: event.h has the contract and the format.
 *
 * The bytes may be damaged: each step checks what it reads against what is left, and sets `bad`.
 *
 * Layers: event_int.h. Threads: reading is pure. Limits: event.h.
 */
#include "store/event_int.h"

/* The fields of a context are looked at when an event is read that has it. */
static int open_contexts(struct batch_reader *b, struct arena *arena, struct keel_error *err) {
    uint64_t count = reader_varint(&b->r);
    if (b->r.bad || count > BATCH_MAX_CONTEXTS || count > reader_left(&b->r))
        FAIL(err, CORRUPT, "damaged batch: the count of contexts");
    b->context_count = (uint32_t)count;
    b->contexts = arena_try_alloc(arena, (size_t)count * sizeof *b->contexts + 1);
    if (!b->contexts) FAIL(err, NO_MEMORY, "no memory for the contexts of a batch");
    for (uint32_t i = 0; i < b->context_count; i++) {
        uint64_t fields = reader_varint(&b->r);
        if (fields == 0 || fields > EVENT_MAX_FIELDS) b->r.bad = true;
        b->contexts[i].fields = (uint32_t)fields;
        b->contexts[i].bytes = reader_str(&b->r);
    }
    if (b->r.bad) FAIL(err, CORRUPT, "damaged batch: the contexts run past the end");
    return 0;
}

uint32_t batch_event_count(struct str bytes) {
    struct reader r = reader_over(bytes.p, bytes.n);
    return reader_u32(&r) & ~HAS_CONTEXTS;
}

int batch_open(struct batch_reader *b, struct str bytes, struct arena *arena,
               struct keel_error *err) {
    *b = (struct batch_reader){.r = reader_over(bytes.p, bytes.n)};
    const bool contexts = reader_u32(&b->r) & HAS_CONTEXTS;
    b->events_left = batch_event_count(bytes);
    uint64_t names = reader_varint(&b->r);
    /* Each name and each event takes a byte at least: no count can ask for more memory than that.
     */
    if (b->r.bad || names > BATCH_MAX_NAMES || names > reader_left(&b->r) ||
        b->events_left > reader_left(&b->r))
        FAIL(err, CORRUPT, "damaged batch: counts of events and names");
    b->name_count = (uint32_t)names;
    b->names = arena_try_alloc(arena, (size_t)names * sizeof *b->names + 1);
    if (!b->names) FAIL(err, NO_MEMORY, "no memory for the names of a batch");
    for (uint32_t i = 0; i < b->name_count; i++) {
        b->names[i] = reader_str(&b->r);
        if (b->names[i].n > EVENT_MAX_NAME) b->r.bad = true;
    }
    if (b->r.bad) FAIL(err, CORRUPT, "damaged batch: the names run past the end");
    return contexts ? open_contexts(b, arena, err) : 0;
}

/* A name's number, checked. */
static inline uint32_t read_name(const struct batch_reader *b, struct reader *r) {
    uint64_t number = reader_varint(r);
    if (number < b->name_count) return (uint32_t)number;
    r->bad = true;
    return 0;
}

void event_read_head(const struct batch_reader *b, struct event_view *out) {
    struct reader *r = &out->r;
    struct event_head *head = &out->head;
    const uint8_t *fixed = reader_take(r, EVENT_FIXED_BYTES);
    if (!fixed) return;
    const uint8_t type = fixed[0], flags = fixed[1];
    if (type >= EVENT_TYPES || flags > (FLAG_USER | FLAG_ANONYMOUS | FLAG_RELATED | FLAG_CONTEXT))
        r->bad = true;
    out->has_context = flags & FLAG_CONTEXT;
    out->context = NO_CONTEXT;
    out->pause = false;
    head->type = (enum event_type)type;
    memcpy(&head->time_ms, fixed + 2, 8);
    memcpy(&head->key.lo, fixed + 10, 8);
    memcpy(&head->key.hi, fixed + 18, 4);
    out->name = read_name(b, r);
    const struct str none = {NULL, 0};
    head->user_id = flags & FLAG_USER ? reader_str(r) : none;
    head->anonymous_id = flags & FLAG_ANONYMOUS ? reader_str(r) : none;
    head->related_id = flags & FLAG_RELATED ? reader_str(r) : none;
    uint64_t fields = reader_varint(r);
    if (fields > EVENT_MAX_FIELDS || head->time_ms < EVENT_MIN_TIME ||
        head->time_ms >= EVENT_MAX_TIME || !(head->user_id.n || head->anonymous_id.n) ||
        head->user_id.n > EVENT_MAX_ID || head->anonymous_id.n > EVENT_MAX_ID ||
        head->related_id.n > EVENT_MAX_ID)
        r->bad = true;
    if (r->bad) return;
    out->fields_left = out->own_fields = (uint32_t)fields;
    head->name = b->names[out->name];
    if (type == EVENT_TRACK && head->name.n == 0) r->bad = true;
}

int batch_next(struct batch_reader *b, struct event_view *out, struct keel_error *err) {
    if (b->events_left == 0) {
        if (reader_left(&b->r)) FAIL(err, CORRUPT, "damaged batch: bytes behind the last event");
        return 0;
    }
    uint64_t n = reader_varint(&b->r);
    if (b->r.bad || n > reader_left(&b->r))
        FAIL(err, CORRUPT, "damaged batch: an event runs past the end, %u events left",
             b->events_left);
    out->r = reader_over(reader_take(&b->r, (size_t)n), (size_t)n);
    out->fields_left = out->items_left = out->item_fields_left = 0;
    event_read_head(b, out);
    if (out->r.bad)
        FAIL(err, CORRUPT, "damaged batch: the head of an event, %u events left", b->events_left);
    b->events_left--;
    return 1;
}

/* The value of a field of `out->type`. */
static void read_value(struct event_view *view, struct field_view *out, bool in_item) {
    struct reader *r = &view->r;
    uint64_t items, bits;
    switch (out->type) {
    case VALUE_STRING:
    case VALUE_JSON: out->text = reader_str(r); break;
    case VALUE_NUMBER:
        bits = reader_u64(r);
        memcpy(&out->number, &bits, sizeof bits);
        if (!__builtin_isfinite(out->number)) r->bad = true;
        break;
    case VALUE_FALSE:
    case VALUE_TRUE: break;
    case VALUE_LIST:
        items = in_item ? UINT64_MAX : reader_varint(r);
        if (items > EVENT_MAX_ITEMS) r->bad = true;
        view->items_left = out->items = r->bad ? 0 : (uint32_t)items;
        break;
    default: r->bad = true;
    }
}

/* Reads kind, name and value; 0 if damaged. */
static inline int read_field(const struct batch_reader *b, struct event_view *view,
                             struct field_view *out, bool in_item) {
    const unsigned last_scope = in_item ? SCOPE_PROPERTY : SCOPE_CONTEXT;
    if (!view->r.bad && field_usual(b, view, out, last_scope)) return 1;
    uint8_t kind = reader_u8(&view->r);
    out->scope = (enum field_scope)(kind >> 4);
    out->type = (enum value_type)(kind & 15);
    out->items = 0;
    out->text = (struct str){NULL, 0};
    out->name = read_name(b, &view->r);
    if (kind >> 4 > last_scope) view->r.bad = true;
    read_value(view, out, in_item);
    return !view->r.bad;
}

uint32_t item_next(struct event_view *view) {
    if (view->items_left == 0) return 0;
    view->items_left--;
    uint64_t fields = reader_varint(&view->r);
    if (fields > EVENT_MAX_FIELDS) view->r.bad = true;
    view->item_fields_left = view->r.bad ? 0 : (uint32_t)fields;
    return view->item_fields_left;
}

int item_field(const struct batch_reader *b, struct event_view *view, struct field_view *out) {
    if (view->item_fields_left == 0) return 0;
    view->item_fields_left--;
    return read_field(b, view, out, true);
}

/* What the caller left of a list. */
static void skip_items(const struct batch_reader *b, struct event_view *view) {
    struct field_view unread;
    while (!view->r.bad && (view->item_fields_left || view->items_left))
        if (view->item_fields_left)
            item_field(b, view, &unread);
        else
            item_next(view);
}

/* The event's own fields are read: goes on to those of its context. False: there are none, the
 * caller wants to pause first, or the event is damaged. */
static bool begin_context(const struct batch_reader *b, struct event_view *view) {
    if (view->has_context) {
        uint64_t number = reader_varint(&view->r);
        if (reader_left(&view->r) || number >= b->context_count) view->r.bad = true;
        if (view->r.bad) return false;
        const struct shared_context *c = &b->contexts[number];
        if (view->own_fields + c->fields > EVENT_MAX_FIELDS) {
            view->r.bad = true;
            return false;
        }
        view->r = reader_over(c->bytes.p, c->bytes.n);
        view->fields_left = c->fields;
        view->context = (uint32_t)number;
        view->has_context = false;
        return !view->pause;
    }
    if (reader_left(&view->r)) view->r.bad = true;
    return false;
}

int field_next_any(const struct batch_reader *b, struct event_view *view, struct field_view *out) {
    if (view->item_fields_left || view->items_left) skip_items(b, view);
    if (view->fields_left == 0 && (view->r.bad || !begin_context(b, view))) return 0;
    view->fields_left--;
    int more = read_field(b, view, out, false);
    if (view->context != NO_CONTEXT && (out->scope != SCOPE_CONTEXT || out->type == VALUE_LIST)) {
        view->r.bad = true;
        more = 0;
    }
    return more;
}

static void pass_usual(const struct batch_reader *b, struct event_view *view) {
    for (; view->fields_left; view->fields_left--) {
        const uint8_t *end = field_usual_end(b, view->r.p, view->r.end, SCOPE_CONTEXT);
        if (!end) return;
        view->r.p = end;
    }
}

bool fields_whole(const struct batch_reader *b, struct event_view *view) {
    struct field_view unread;
    do
        if (field_is_own(view)) pass_usual(b, view);
    while (field_next_any(b, view, &unread));
    return !view->r.bad;
}

int batch_check_contexts(const struct batch_reader *b, struct keel_error *err) {
    for (uint32_t i = 0; i < b->context_count; i++) {
        const struct shared_context *c = &b->contexts[i];
        struct event_view view = {
            .r = reader_over(c->bytes.p, c->bytes.n), .fields_left = c->fields, .context = i};
        if (!fields_whole(b, &view)) FAIL(err, CORRUPT, "damaged batch: fields of a context");
    }
    return 0;
}
