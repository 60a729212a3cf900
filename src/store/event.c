/* Writing batches of canonical events: event.h has the contract and the format; event_read.c reads.
 *
 * Writing goes straight into the encoded form. What is known only at the end (an event's length,
 * the counts of fields and items) is reserved in front as a varint padded to a fixed width and
 * patched, which costs a byte or two an event and saves moving it.
 *
 * Names: an SDK sends the keys of an event in the same order every time. So each name remembers
 * which name followed it last; one comparison then replaces hashing and probing (prediction by
 * position in the event would break whenever kinds of events alternate). Misses go to an
 * open-addressing table (linear probing, load at most 1/2). A refused event takes its new names
 * back out, newest first, which linear probing allows without tombstones.
 *
 * Contexts are known by their text, and move out of the event that brought them first. Where they
 * hardly ever repeat (a page's address is among them), the batch stops looking for them.
 *
 * Layers: event_int.h. Threads: a writer has one owner. Limits: event.h.
 */
#include "store/event_int.h"

enum {
    LENGTH_BYTES = 3, /* varint padded to 3 bytes: < 2^21, EVENT_MAX_BYTES is 2^20 */
    COUNT_BYTES = 2,  /* varint padded to 2 bytes: < 2^14, counts go to 10,000     */
    VARINT_BYTES = 10,
    CONTEXT_SLOTS = BATCH_MAX_CONTEXTS * 2,
    CONTEXT_TRIES = 256, /* contexts, before they must have repeated as often */
    GUESS_SLOTS = 2048,
    GUESS_BYTES = 168, /* shorter contexts are not guessed */
    SEEN_ITEM = 2,     /* index into batch_name.seen behind the two scopes          */
    BATCH_OVERHEAD = 4 + 2 * VARINT_BYTES,
    SLACK_BYTES = 64, /* what a field may reserve beyond what it uses   */
    EVENT_MAX_NEW_NAMES = BATCH_MAX_NAMES / 2,
    FIRST_NAMES = 64,
    MAX_SERIAL = 1 << 30, /* events and items, refused ones too, before a batch must be finished */
};
_Static_assert(EVENT_MAX_BYTES < 1 << 21, "LENGTH_BYTES must hold it");
_Static_assert(EVENT_MAX_FIELDS < 1 << 14 && EVENT_MAX_ITEMS < 1 << 14, "COUNT_BYTES must hold it");

static const uint32_t NO_NAME = UINT32_MAX;

/* One name of the batch; its number is its index. 32 bytes: a shift finds it. */
struct batch_name {
    uint32_t at, n;   /* the text, in batch_writer.names                     */
    uint32_t hash;    /* low half of hash_str                                */
    uint32_t next;    /* the name that followed last time, a guess           */
    uint32_t seen[4]; /* serial of the last event (by scope) or item with it */
};
_Static_assert(sizeof(struct batch_name) == 32, "a power of two");

/* One context of the batch; its number is its index. */
struct batch_context {
    uint64_t hash;            /* of its text                           */
    uint32_t text_at, text_n; /* in batch_writer.context_texts         */
    uint32_t at, bytes;       /* in batch_writer.contexts; the fields' */
    uint32_t fields, tokens;
};

/* ---- encoding ---- */

static inline uint8_t *put_varint(uint8_t *p, uint64_t v) {
    while (v >= 0x80) {
        *p++ = (uint8_t)(v | 0x80);
        v >>= 7;
    }
    *p++ = (uint8_t)v;
    return p;
}

/* Exactly `width` bytes; longer than needed is still valid LEB128. */
static inline void put_padded(uint8_t *p, uint64_t v, int width) {
    for (int i = 0; i + 1 < width; i++, v >>= 7) p[i] = (uint8_t)(v | 0x80);
    p[width - 1] = (uint8_t)v;
}

/* Names, ids and values are mostly short: two overlapping words beat a call. */
static inline uint8_t *put_bytes(uint8_t *p, const void *from, size_t n) {
    const uint8_t *q = from;
    uint64_t first, last;
    uint32_t first4, last4;
    if (n > 32) {
        memcpy(p, q, n);
    } else if (n >= 16) {
        uint64_t words[4];
        memcpy(words, q, 16);
        memcpy(words + 2, q + n - 16, 16);
        memcpy(p, words, 16);
        memcpy(p + n - 16, words + 2, 16);
    } else if (n >= 8) {
        memcpy(&first, q, 8);
        memcpy(&last, q + n - 8, 8);
        memcpy(p, &first, 8);
        memcpy(p + n - 8, &last, 8);
    } else if (n >= 4) {
        memcpy(&first4, q, 4);
        memcpy(&last4, q + n - 4, 4);
        memcpy(p, &first4, 4);
        memcpy(p + n - 4, &last4, 4);
    } else {
        for (size_t i = 0; i < n; i++) p[i] = q[i];
    }
    return p + n;
}

/* The same for comparing: eight bytes at a time, the last eight overlapping. */
static inline bool same_bytes(const char *a, const char *b, size_t n) {
    uint64_t x, y;
    uint32_t x4, y4;
    if (n >= 8) {
        for (size_t i = 0; i < n - 8; i += 8) {
            memcpy(&x, a + i, 8);
            memcpy(&y, b + i, 8);
            if (x != y) return false;
        }
        memcpy(&x, a + n - 8, 8);
        memcpy(&y, b + n - 8, 8);
        return x == y;
    }
    if (n >= 4) {
        memcpy(&x4, a, 4);
        memcpy(&y4, b, 4);
        if (x4 != y4) return false;
        memcpy(&x4, a + n - 4, 4);
        memcpy(&y4, b + n - 4, 4);
        return x4 == y4;
    }
    for (size_t i = 0; i < n; i++)
        if (a[i] != b[i]) return false;
    return true;
}

static inline uint8_t *put_str(uint8_t *p, struct str s) {
    return put_bytes(put_varint(p, s.n), s.p, s.n);
}

/* The first reason stays; everything the open event adds after it is ignored. */
static void refuse(struct batch_writer *w, const char *reason) {
    if (!w->reason) w->reason = reason;
    w->muted = true;
}

static void refuse_buf(struct batch_writer *w, int code) {
    refuse(w, code == -KEEL_E_LIMIT ? "the batch is full" : "out of memory");
}

/* One comparison then covers the buffer's capacity and the largest event. */
static void set_limit(struct batch_writer *w) {
    size_t most = w->event_start + EVENT_MAX_BYTES + SLACK_BYTES;
    w->limit = w->events.cap < most ? w->events.cap : most;
}

static uint8_t *more_room(struct batch_writer *w, size_t n) {
    if (n > EVENT_MAX_BYTES + SLACK_BYTES - (w->events.n - w->event_start)) {
        refuse(w, "larger than 1 MiB");
        return NULL;
    }
    int code = buf_reserve(&w->events, n);
    if (code < 0) {
        refuse_buf(w, code);
        return NULL;
    }
    set_limit(w);
    return w->events.p + w->events.n;
}

/* Room for n more bytes of the open event, or NULL and a reason. */
static inline uint8_t *room(struct batch_writer *w, size_t n) {
    if (__builtin_expect(n > w->limit - w->events.n, 0)) return more_room(w, n);
    return w->events.p + w->events.n;
}

static size_t written_bytes(const struct batch_writer *w) {
    return w->names.n + w->contexts.n + w->events.n;
}

static inline void commit(struct batch_writer *w, const uint8_t *end) {
    w->events.n = (size_t)(end - w->events.p);
}

/* Most text is ASCII: eight bytes at a time, the full check only where a high bit is set. */
static bool is_utf8(struct str s) {
    uint64_t high = 0, word;
    size_t i = 0;
    for (; i + 8 <= s.n; i += 8) {
        memcpy(&word, s.p + i, 8);
        high |= word;
    }
    for (; i < s.n; i++) high |= (unsigned char)s.p[i];
    return !(high & 0x8080808080808080u) || str_is_utf8(s);
}

static inline bool text_ok(struct batch_writer *w, struct str s) {
    if (w->utf8_known || is_utf8(s)) return true;
    refuse(w, "invalid UTF-8");
    return false;
}

/* ---- names ---- */

static inline struct str name_text(const struct batch_writer *w, uint32_t number) {
    const struct batch_name *name = &w->table[number];
    return (struct str){(const char *)w->names.p + name->at, name->n};
}

/* The slot that holds the name, or the empty one where it belongs. */
static uint32_t *find_slot(const struct batch_writer *w, struct str text, uint32_t hash) {
    for (uint32_t i = hash;; i++) {
        uint32_t *slot = &w->slots[i & w->slot_mask];
        if (*slot == 0) return slot;
        const struct batch_name *name = &w->table[*slot - 1];
        if (name->hash == hash && str_eq(name_text(w, *slot - 1), text)) return slot;
    }
}

static bool grow_names(struct batch_writer *w) {
    uint32_t cap = w->name_cap ? w->name_cap * 2 : FIRST_NAMES;
    struct batch_name *table = k_try_realloc(w->table, cap * sizeof *table);
    if (table) w->table = table;
    uint32_t *slots = table ? k_try_zalloc((size_t)cap * 2 * sizeof *slots) : NULL;
    if (!slots) {
        refuse(w, "out of memory");
        return false;
    }
    k_free(w->slots);
    w->slots = slots;
    w->slot_mask = cap * 2 - 1;
    w->name_cap = cap;
    for (uint32_t i = 0; i < w->name_count; i++) /* in order, so that names leave in reverse */
        *find_slot(w, name_text(w, i), w->table[i].hash) = i + 1;
    return true;
}

static uint32_t add_name(struct batch_writer *w, struct str text, uint32_t hash) {
    if (text.n > EVENT_MAX_NAME) refuse(w, "a name is longer than 200 bytes");
    if (w->name_count - w->name_start >= EVENT_MAX_NEW_NAMES) refuse(w, "too many different names");
    if (w->name_count >= BATCH_MAX_NAMES) refuse(w, "the batch is full");
    if (w->muted || !text_ok(w, text)) return NO_NAME;
    if (w->name_count == w->name_cap && !grow_names(w)) return NO_NAME;
    int code = buf_reserve(&w->names, VARINT_BYTES + text.n);
    if (code < 0) {
        refuse_buf(w, code);
        return NO_NAME;
    }
    uint8_t *p = put_varint(w->names.p + w->names.n, text.n);
    uint32_t at = (uint32_t)(p - w->names.p), number = w->name_count;
    w->names.n = (size_t)(put_bytes(p, text.p, text.n) - w->names.p);
    w->table[number] = (struct batch_name){.at = at, .n = (uint32_t)text.n, .hash = hash};
    *find_slot(w, text, hash) = number + 1;
    w->name_count++;
    return number;
}

static uint32_t look_up_name(struct batch_writer *w, struct str text) {
    uint32_t hash = (uint32_t)hash_str(text);
    if (w->name_cap) {
        uint32_t slot = *find_slot(w, text, hash);
        if (slot) return slot - 1;
    }
    return add_name(w, text, hash);
}

/* The number of the name that follows the previous one in the open event. */
static inline uint32_t intern(struct batch_writer *w, struct str text) {
    struct batch_name *previous = &w->table[w->previous];
    uint32_t number = previous->next;
    if (number >= w->name_count || w->table[number].n != text.n ||
        !same_bytes(name_text(w, number).p, text.p, text.n)) {
        number = look_up_name(w, text);
        if (number == NO_NAME) return number;
        w->table[w->previous].next = number; /* the table may have moved */
    }
    w->previous = number;
    return number;
}

/* Takes back the names from number `from` on. Guesses that point at them stay; intern checks. */
static void drop_names(struct batch_writer *w, uint32_t from, size_t names_bytes) {
    while (w->name_count > from) {
        uint32_t last = w->name_count - 1;
        *find_slot(w, name_text(w, last), w->table[last].hash) = 0;
        w->name_count = last;
    }
    w->names.n = names_bytes;
}

/* ---- contexts ---- */

/* The slot that holds the context of a text, or the empty one where it belongs. */
static uint16_t *context_slot(const struct batch_writer *w, struct str text, uint64_t hash) {
    for (uint64_t i = hash;; i++) {
        uint16_t *slot = &w->context_slots[i % CONTEXT_SLOTS];
        if (*slot == 0) return slot;
        const struct batch_context *c = &w->context[*slot - 1];
        if (c->hash == hash && c->text_n == text.n &&
            memcmp(w->context_texts.p + c->text_at, text.p, text.n) == 0)
            return slot;
    }
}

/* Whether this batch's contexts repeat often enough to be looked for. */
static bool contexts_pay(const struct batch_writer *w) {
    return w->context_count < CONTEXT_TRIES || w->context_hits > w->context_count;
}

bool event_context_known(struct batch_writer *w, struct str text) {
    K_ASSERT_OP(w->state, ==, WRITER_IN_EVENT);
    if (w->muted || !w->context_count || !contexts_pay(w)) return false;
    uint32_t slot = *context_slot(w, text, hash_str(text));
    if (!slot) return false;
    event_context_share(w, slot);
    return true;
}

void event_context_share(struct batch_writer *w, uint32_t slot) {
    K_ASSERT_OP(w->state, ==, WRITER_IN_EVENT);
    K_ASSERT(slot && slot <= w->context_count);
    if (w->muted) return;
    w->context_hits++;
    w->shared = slot;
    w->fields += w->context[slot - 1].fields;
}

/* Two slots for a text of at least GUESS_BYTES: a context and its longer form, with a campaign. */
static uint16_t *guess_slot(const struct batch_writer *w, const char *text) {
    uint64_t hash = 0, word;
    for (size_t i = 8; i < GUESS_BYTES; i += 16) {
        memcpy(&word, text + i, 8);
        hash = (hash ^ word) * 0x9e3779b97f4a7c15u;
        hash ^= hash >> 32;
    }
    return &w->context_guesses[hash % GUESS_SLOTS & ~(uint64_t)1];
}

static bool begins_with(const struct batch_writer *w, struct str text, uint32_t slot) {
    if (!slot || slot > w->context_count) return false;
    const struct batch_context *c = &w->context[slot - 1];
    return c->text_n <= text.n && memcmp(w->context_texts.p + c->text_at, text.p, c->text_n) == 0;
}

uint32_t event_context_guess(const struct batch_writer *w, struct str text, uint32_t *tokens) {
    if (!w->context_count || text.n < GUESS_BYTES) return 0;
    const uint16_t *two = guess_slot(w, text.p);
    uint32_t slot = begins_with(w, text, two[0])   ? two[0]
                    : begins_with(w, text, two[1]) ? two[1]
                                                   : 0;
    if (slot) *tokens = w->context[slot - 1].tokens;
    return slot;
}

void event_context_begin(struct batch_writer *w) {
    w->context_at = w->events.n;
    w->fields_before = w->fields;
}

static bool room_for_context(struct batch_writer *w, size_t bytes, size_t text_bytes) {
    if (!w->context) {
        w->context = k_alloc_array(BATCH_MAX_CONTEXTS, sizeof *w->context);
        w->context_slots = k_zalloc(CONTEXT_SLOTS * sizeof *w->context_slots);
        w->context_guesses = k_zalloc(GUESS_SLOTS * sizeof *w->context_guesses);
    }
    return w->context_count < BATCH_MAX_CONTEXTS && contexts_pay(w) &&
           buf_reserve(&w->contexts, bytes + 2 * VARINT_BYTES) == 0 &&
           buf_reserve(&w->context_texts, text_bytes) == 0;
}

void event_context_end(struct batch_writer *w, struct str text, uint32_t tokens) {
    K_ASSERT_OP(w->state, ==, WRITER_IN_EVENT);
    size_t bytes = w->events.n - w->context_at;
    uint32_t fields = w->fields - w->fields_before;
    if (w->muted || fields == 0 || !room_for_context(w, bytes, text.n)) return;
    uint64_t hash = hash_str(text);
    uint16_t *slot = context_slot(w, text, hash);
    if (*slot) return; /* it was not asked for */
    uint8_t *p = w->contexts.p + w->contexts.n;
    w->context[w->context_count] = (struct batch_context){.hash = hash,
                                                          .text_at = (uint32_t)w->context_texts.n,
                                                          .text_n = (uint32_t)text.n,
                                                          .at = (uint32_t)w->contexts.n,
                                                          .bytes = (uint32_t)bytes,
                                                          .fields = fields,
                                                          .tokens = tokens};
    p = put_varint(put_varint(p, fields), bytes);
    p = put_bytes(p, w->events.p + w->context_at, bytes);
    w->contexts.n = (size_t)(p - w->contexts.p);
    memcpy(w->context_texts.p + w->context_texts.n, text.p, text.n);
    w->context_texts.n += text.n;
    w->events.n = w->context_at;
    *slot = (uint16_t)(w->shared = ++w->context_count);
    if (text.n < GUESS_BYTES) return;
    uint16_t *two = guess_slot(w, text.p);
    two[1] = two[0];
    two[0] = *slot;
}

/* Takes back the contexts from number `from` on. */
static void drop_contexts(struct batch_writer *w, uint32_t from) {
    while (w->context_count > from) {
        const struct batch_context *c = &w->context[w->context_count - 1];
        struct str text = {(const char *)w->context_texts.p + c->text_at, c->text_n};
        *context_slot(w, text, c->hash) = 0;
        w->contexts.n = c->at;
        w->context_texts.n = c->text_at;
        w->context_count--;
    }
}

/* ---- events ---- */

void batch_writer_init(struct batch_writer *w) {
    *w = (struct batch_writer){.state = WRITER_IDLE};
    buf_init(&w->names, BATCH_MAX_BYTES);
    buf_init(&w->events, BATCH_MAX_BYTES);
    buf_init(&w->contexts, BATCH_MAX_BYTES);
    buf_init(&w->context_texts, BATCH_MAX_BYTES);
}

void batch_writer_release(struct batch_writer *w) {
    buf_release(&w->names);
    buf_release(&w->events);
    buf_release(&w->contexts);
    buf_release(&w->context_texts);
    k_free(w->context);
    k_free(w->context_slots);
    k_free(w->context_guesses);
    k_free(w->table);
    k_free(w->slots);
    batch_writer_init(w);
}

static void check_head(struct batch_writer *w, const struct event_head *head) {
    if (head->time_ms < EVENT_MIN_TIME || head->time_ms >= EVENT_MAX_TIME)
        refuse(w, "time is not between 1970 and 2200");
    if (!head->user_id.n && !head->anonymous_id.n) refuse(w, "neither user_id nor anonymous_id");
    if (head->type == EVENT_TRACK && !head->name.n) refuse(w, "track without an event name");
    if (head->user_id.n > EVENT_MAX_ID) refuse(w, "user_id is longer than 500 bytes");
    if (head->anonymous_id.n > EVENT_MAX_ID) refuse(w, "anonymous_id is longer than 500 bytes");
    if (head->related_id.n > EVENT_MAX_ID)
        refuse(w, "group or previous id is longer than 500 bytes");
    if (w->muted || w->utf8_known) return;
    (void)(text_ok(w, head->user_id) && text_ok(w, head->anonymous_id) &&
           text_ok(w, head->related_id));
}

static void put_head(struct batch_writer *w, const struct event_head *head, uint32_t name) {
    uint8_t *p = room(w, LENGTH_BYTES + EVENT_FIXED_BYTES + 4 * VARINT_BYTES + COUNT_BYTES +
                             head->user_id.n + head->anonymous_id.n + head->related_id.n);
    if (!p) return;
    p += LENGTH_BYTES;
    *p++ = (uint8_t)head->type;
    *p++ =
        (uint8_t)((head->user_id.n ? FLAG_USER : 0) | (head->anonymous_id.n ? FLAG_ANONYMOUS : 0) |
                  (head->related_id.n ? FLAG_RELATED : 0));
    p = put_bytes(p, &head->time_ms, 8);
    p = put_bytes(p, &head->key.lo, 8);
    p = put_bytes(p, &head->key.hi, 4);
    p = put_varint(p, name);
    if (head->user_id.n) p = put_str(p, head->user_id);
    if (head->anonymous_id.n) p = put_str(p, head->anonymous_id);
    if (head->related_id.n) p = put_str(p, head->related_id);
    w->fields_at = (size_t)(p - w->events.p);
    commit(w, p + COUNT_BYTES);
}

void event_begin(struct batch_writer *w, const struct event_head *head) {
    K_ASSERT_OP(w->state, ==, WRITER_IDLE);
    K_ASSERT((unsigned)head->type < EVENT_TYPES);
    w->state = WRITER_IN_EVENT;
    w->event_start = w->fields_at = w->events.n;
    w->name_start = w->name_count;
    w->names_bytes_start = w->names.n;
    w->context_start = w->context_count;
    w->fields = w->shared = 0;
    w->reason = NULL;
    w->muted = false;
    w->event_serial = ++w->serial;
    set_limit(w);
    check_head(w, head);
    if (w->muted) return;
    uint32_t name = look_up_name(w, head->name);
    if (name == NO_NAME) return;
    w->previous = name;
    put_head(w, head, name);
}

/* Starts a field of the event or of the open item: kind and name are written,
 * `value_bytes` more are reserved. NULL: ignored, because the event is refused or has the field.
 * Inlined with a constant `in_item`, so that nothing is asked twice. */
static inline uint8_t *begin_field(struct batch_writer *w, bool in_item, unsigned scope,
                                   enum value_type type, struct str name, size_t value_bytes) {
    K_ASSERT(w->state == (in_item ? WRITER_IN_ITEM : WRITER_IN_EVENT));
    if (w->muted) return NULL;
    uint32_t number = intern(w, name);
    if (number == NO_NAME) return NULL;
    uint32_t serial = in_item ? w->item_serial : w->event_serial;
    uint32_t *seen = &w->table[number].seen[in_item ? (unsigned)SEEN_ITEM : scope];
    if (*seen == serial) return NULL;
    *seen = serial;
    ++*(in_item ? &w->item_fields : &w->fields);
    uint8_t *p = room(w, 1 + VARINT_BYTES + value_bytes);
    if (!p) return NULL;
    *p++ = (uint8_t)((in_item ? 0 : scope << 4) | type);
    return put_varint(p, number);
}

static inline void add_bool(struct batch_writer *w, bool in_item, unsigned scope, struct str name,
                            bool v) {
    uint8_t *p = begin_field(w, in_item, scope, v ? VALUE_TRUE : VALUE_FALSE, name, 0);
    if (p) commit(w, p);
}

static inline void add_number(struct batch_writer *w, bool in_item, unsigned scope, struct str name,
                              double v) {
    uint8_t *p = begin_field(w, in_item, scope, VALUE_NUMBER, name, sizeof v);
    if (!p) return;
    if (!__builtin_isfinite(v)) refuse(w, "a number is not finite");
    commit(w, put_bytes(p, &v, sizeof v));
}

static inline void add_text(struct batch_writer *w, bool in_item, unsigned scope,
                            enum value_type type, struct str name, struct str v) {
    uint8_t *p = begin_field(w, in_item, scope, type, name, VARINT_BYTES + v.n);
    if (p && text_ok(w, v)) commit(w, put_str(p, v));
}

void event_bool(struct batch_writer *w, enum field_scope scope, struct str name, bool v) {
    add_bool(w, false, scope, name, v);
}
void event_number(struct batch_writer *w, enum field_scope scope, struct str name, double v) {
    add_number(w, false, scope, name, v);
}
void event_string(struct batch_writer *w, enum field_scope scope, struct str name, struct str v) {
    add_text(w, false, scope, VALUE_STRING, name, v);
}
void event_json(struct batch_writer *w, enum field_scope scope, struct str name, struct str json) {
    add_text(w, false, scope, VALUE_JSON, name, json);
}
void event_item_bool(struct batch_writer *w, struct str name, bool v) {
    add_bool(w, true, SCOPE_PROPERTY, name, v);
}
void event_item_number(struct batch_writer *w, struct str name, double v) {
    add_number(w, true, SCOPE_PROPERTY, name, v);
}
void event_item_string(struct batch_writer *w, struct str name, struct str v) {
    add_text(w, true, SCOPE_PROPERTY, VALUE_STRING, name, v);
}
void event_item_json(struct batch_writer *w, struct str name, struct str json) {
    add_text(w, true, SCOPE_PROPERTY, VALUE_JSON, name, json);
}

/* Reserves a count that is patched later; returns where. */
static size_t reserve_count(struct batch_writer *w) {
    size_t at = w->events.n;
    uint8_t *p = w->muted ? NULL : room(w, COUNT_BYTES);
    if (p) commit(w, p + COUNT_BYTES);
    return at;
}

static void patch_count(struct batch_writer *w, size_t at, uint32_t count) {
    if (!w->muted) put_padded(w->events.p + at, count, COUNT_BYTES);
}

void event_list_begin(struct batch_writer *w, struct str name) {
    uint8_t *p = begin_field(w, false, SCOPE_PROPERTY, VALUE_LIST, name, 0);
    if (p)
        commit(w, p);
    else
        w->muted = true;
    w->state = WRITER_IN_LIST;
    w->list_at = reserve_count(w);
    w->list_name = w->previous;
    w->items = 0;
}

void event_item_begin(struct batch_writer *w) {
    K_ASSERT_OP(w->state, ==, WRITER_IN_LIST);
    w->state = WRITER_IN_ITEM;
    if (++w->items > EVENT_MAX_ITEMS) refuse(w, "a list has more than 10,000 items");
    w->item_at = reserve_count(w);
    w->item_fields = 0;
    w->item_serial = ++w->serial;
    w->previous = w->list_name;
}

void event_item_end(struct batch_writer *w) {
    K_ASSERT_OP(w->state, ==, WRITER_IN_ITEM);
    w->state = WRITER_IN_LIST;
    if (w->item_fields > EVENT_MAX_FIELDS) refuse(w, "more than 10,000 fields");
    patch_count(w, w->item_at, w->item_fields);
}

void event_list_end(struct batch_writer *w) {
    K_ASSERT_OP(w->state, ==, WRITER_IN_LIST);
    w->state = WRITER_IN_EVENT;
    patch_count(w, w->list_at, w->items);
    w->muted = w->reason != NULL;
}

void event_cancel(struct batch_writer *w) {
    K_ASSERT_OP(w->state, !=, WRITER_IDLE);
    w->state = WRITER_IDLE;
    w->events.n = w->event_start;
    w->events.failed = w->names.failed = 0;
    drop_contexts(w, w->context_start);
    drop_names(w, w->name_start, w->names_bytes_start);
}

/* The event refers to its context, whose fields are counted there. Returns its bytes. */
static size_t end_context(struct batch_writer *w) {
    if (!w->shared) return 0;
    const struct batch_context *c = &w->context[w->shared - 1];
    uint8_t *p = room(w, VARINT_BYTES);
    if (!p) return 0;
    commit(w, put_varint(p, w->shared - 1));
    w->events.p[w->event_start + LENGTH_BYTES + 1] |= FLAG_CONTEXT;
    w->fields -= c->fields;
    return c->bytes;
}

const char *event_end(struct batch_writer *w) {
    K_ASSERT_OP(w->state, ==, WRITER_IN_EVENT);
    if (w->fields > EVENT_MAX_FIELDS) refuse(w, "more than 10,000 fields");
    const size_t context_bytes = w->muted ? 0 : end_context(w);
    size_t bytes = w->events.n - w->event_start;
    if (bytes + context_bytes + w->names.n - w->names_bytes_start > EVENT_MAX_BYTES)
        refuse(w, "larger than 1 MiB");
    if (written_bytes(w) > BATCH_MAX_BYTES - BATCH_OVERHEAD || w->serial > MAX_SERIAL)
        refuse(w, "the batch is full");
    if (w->muted) {
        event_cancel(w);
        return w->reason;
    }
    put_padded(w->events.p + w->event_start, bytes - LENGTH_BYTES, LENGTH_BYTES);
    put_padded(w->events.p + w->fields_at, w->fields, COUNT_BYTES);
    w->state = WRITER_IDLE;
    w->event_count++;
    return NULL;
}

bool batch_full(const struct batch_writer *w, size_t bytes) {
    return w->event_count > 0 && (written_bytes(w) + bytes > BATCH_MAX_BYTES - BATCH_OVERHEAD ||
                                  w->name_count > BATCH_MAX_NAMES - EVENT_MAX_NEW_NAMES);
}

size_t batch_bytes(const struct batch_writer *w) { return w->event_count ? written_bytes(w) : 0; }

struct batch_mark batch_mark(const struct batch_writer *w) {
    K_ASSERT_OP(w->state, ==, WRITER_IDLE);
    return (struct batch_mark){.name_count = w->name_count,
                               .event_count = w->event_count,
                               .context_count = w->context_count,
                               .name_bytes = w->names.n,
                               .event_bytes = w->events.n};
}

void batch_rewind(struct batch_writer *w, struct batch_mark mark) {
    K_ASSERT_OP(w->state, ==, WRITER_IDLE);
    K_ASSERT(mark.event_count <= w->event_count && mark.name_count <= w->name_count);
    K_ASSERT_OP(mark.context_count, <=, w->context_count);
    drop_contexts(w, mark.context_count);
    drop_names(w, mark.name_count, mark.name_bytes);
    w->events.n = mark.event_bytes;
    w->event_count = mark.event_count;
}

int batch_finish(struct batch_writer *w, struct buf *out, struct keel_error *err) {
    K_ASSERT_OP(w->state, ==, WRITER_IDLE);
    if (w->event_count) {
        int code = buf_reserve(out, BATCH_OVERHEAD + written_bytes(w));
        if (code < 0)
            return error_set(err, (enum keel_code) - code, "no room for a batch of events");
        uint32_t events = w->event_count | (w->context_count ? HAS_CONTEXTS : 0);
        uint8_t *p = put_bytes(out->p + out->n, &events, 4);
        p = put_varint(p, w->name_count);
        p = put_bytes(p, w->names.p, w->names.n);
        if (w->context_count) p = put_varint(p, w->context_count);
        p = put_bytes(p, w->contexts.p, w->contexts.n);
        p = put_bytes(p, w->events.p, w->events.n);
        out->n = (size_t)(p - out->p);
    }
    if (w->name_count) memset(w->slots, 0, ((size_t)w->slot_mask + 1) * sizeof *w->slots);
    if (w->context_count) memset(w->context_slots, 0, CONTEXT_SLOTS * sizeof *w->context_slots);
    buf_clear(&w->names);
    buf_clear(&w->events);
    buf_clear(&w->contexts);
    buf_clear(&w->context_texts);
    w->name_count = w->event_count = w->context_count = w->context_hits = w->serial = 0;
    return 0;
}

/* ---- the key of an event that brought none ---- */

/* Adds one field as it would look in any batch: the hash of the name for its number. */
static void spell_field(const struct batch_reader *b, const struct field_view *field,
                        struct buf *out) {
    buf_add_u8(out, (uint8_t)(field->scope << 4 | field->type));
    buf_add_u64(out, hash_str(b->names[field->name]));
    if (field->type == VALUE_NUMBER) buf_add(out, &field->number, sizeof field->number);
    if (field->type == VALUE_STRING || field->type == VALUE_JSON) {
        buf_add_varint(out, field->text.n);
        buf_add_str(out, field->text);
    }
}

/* Sum of the hashes of the fields: the same whatever their order. */
static struct hash128 hash_fields(const struct batch_reader *b, struct event_view *view,
                                  struct buf *scratch) {
    struct hash128 sum = {0, 0};
    struct field_view field, part;
    while (field_next(b, view, &field)) {
        buf_clear(scratch);
        spell_field(b, &field, scratch);
        for (uint32_t i = 0; i < field.items; i++) {
            buf_add_varint(scratch, item_next(view));
            while (item_field(b, view, &part)) spell_field(b, &part, scratch);
        }
        struct hash128 h = hash128(scratch->p, scratch->n);
        sum.lo += h.lo;
        sum.hi += h.hi;
    }
    return sum;
}

void event_derive_key(struct batch_writer *w, int64_t own_time) {
    K_ASSERT_OP(w->state, ==, WRITER_IN_EVENT);
    K_ASSERT_OP(w->shared, ==, 0);
    if (w->muted) return;
    struct buf scratch;
    buf_init(&scratch, 8 * EVENT_MAX_BYTES); /* a field of 2 bytes is spelt in 9 */
    struct str *names = k_try_alloc_array(w->name_count, sizeof *names);
    if (!names) {
        refuse(w, "out of memory");
        return;
    }
    for (uint32_t i = 0; i < w->name_count; i++) names[i] = name_text(w, i);
    put_padded(w->events.p + w->fields_at, w->fields, COUNT_BYTES);
    size_t head = w->event_start + LENGTH_BYTES;
    struct batch_reader b = {.names = names, .name_count = w->name_count};
    struct event_view view = {.r = reader_over(w->events.p + head, w->events.n - head)};
    event_read_head(&b, &view);
    struct hash128 sum = hash_fields(&b, &view, &scratch);
    buf_clear(&scratch);
    buf_add_u8(&scratch, (uint8_t)view.head.type);
    buf_add_u64(&scratch, (uint64_t)own_time);
    const struct str ids[] = {view.head.name, view.head.user_id, view.head.anonymous_id,
                              view.head.related_id};
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++) {
        buf_add_varint(&scratch, ids[i].n);
        buf_add_str(&scratch, ids[i]);
    }
    buf_add_u64(&scratch, sum.lo);
    buf_add_u64(&scratch, sum.hi);
    if (scratch.failed) refuse(w, "out of memory");
    struct event_key key = event_key_of((struct str){(const char *)scratch.p, scratch.n});
    memcpy(w->events.p + head + 2 + 8, &key.lo, 8);
    memcpy(w->events.p + head + 2 + 16, &key.hi, 4);
    buf_release(&scratch);
    k_free(names);
}
