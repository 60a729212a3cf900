/* The canonical event, and the batch of events that the journal keeps.
 *
 * Every way in (SDK dialect, NDJSON, CSV map) turns its input into this one form. A batch is
 * self-contained: names are written once in front, events refer to them by number. The journal
 * stores batches unchanged, and recovery applies them by the same code as ingest.
 *
 * Format of a batch (little-endian; v = LEB128 varint, possibly padded; s = v length + bytes):
 *   u32 events, plus 2^31 if contexts follow the names | v names | s × names
 *          | v contexts | context × contexts | event × events
 *   context: v fields | v bytes behind this field | field × fields, all of scope 1
 *   event: v bytes behind this field
 *          u8 type | u8 flags | i64 time_ms | u64 key.lo | u32 key.hi
 *          v name  | s user_id if flag 1 | s anonymous_id if flag 2 | s related_id if flag 4
 *          v fields | field × fields | v context if flag 8: its fields follow the event's own
 *   field: u8 kind = scope << 4 | value type | v name | value
 *   value: false, true: nothing · number: f64 · string, json: s
 *          list: v items | item × items;   item: v fields | field × fields (no lists)
 * Written to disk: never renumber. Names are at most 65,536. (scope, name) is unique within an
 * event, and name within an item: the first one wins. All text is UTF-8.
 *
 * Contexts: a device says the same about itself with every event, and that is half of what is sent.
 * What events of a batch have alike is written, and later applied, once.
 *
 * Layers: base. Threads: a writer has one owner; reading is pure.
 */
#pragma once

#include "base/buf.h"
#include "base/hash.h"

enum event_type {
    EVENT_TRACK = 0,
    EVENT_IDENTIFY = 1,
    EVENT_PAGE = 2,
    EVENT_SCREEN = 3,
    EVENT_GROUP = 4,
    EVENT_ALIAS = 5,
    EVENT_TYPES
};

enum field_scope {
    SCOPE_PROPERTY = 0, /* properties of track, page, screen; traits of identify, group */
    SCOPE_CONTEXT = 1,  /* what holds whatever the event is: channel, device, campaign, page */
};

enum value_type {
    VALUE_FALSE = 0,
    VALUE_TRUE = 1,
    VALUE_NUMBER = 2,
    VALUE_STRING = 3,
    VALUE_JSON =
        4, /* what has no column of its own: arrays of scalars, deep nesting, as JSON text */
    VALUE_LIST = 5, /* array of objects, such as `products`: line items */
};

#define EVENT_MIN_TIME INT64_C(0)             /* 1970-01-01 */
#define EVENT_MAX_TIME INT64_C(7258118400000) /* 2200-01-01, exclusive */

/* Limits: what is larger is refused with a reason by event_end. */
enum {
    EVENT_MAX_BYTES = 1 << 20,  /* one encoded event and the names new with it        */
    EVENT_MAX_FIELDS = 10000,   /* Segment's limit of properties; also of one item    */
    EVENT_MAX_ITEMS = 10000,    /* line items of one list                             */
    EVENT_MAX_NAME = 200,       /* bytes of an event or field name                    */
    EVENT_MAX_ID = 500,         /* bytes of user_id, anonymous_id, group id           */
    BATCH_MAX_BYTES = 16 << 20, /* one batch: one journal record                      */
    BATCH_MAX_NAMES = 1 << 16,
    BATCH_MAX_CONTEXTS = 1 << 12, /* further ones are written with their events */
};

/* 96 bits that stand for a message id: the events of a store never share one. */
struct event_key {
    uint64_t lo;
    uint32_t hi;
};

/* The key of a message id that a client sent, or that was derived from a row. */
static inline struct event_key event_key_of(struct str message_id) {
    struct hash128 h = hash128(message_id.p, message_id.n);
    return (struct event_key){.lo = h.lo, .hi = (uint32_t)h.hi};
}

struct event_head {
    enum event_type type;
    int64_t time_ms;
    struct event_key key;
    struct str name;         /* track: event name; page, screen: their name or ""; else ""      */
    struct str user_id;      /* "" if absent                                                     */
    struct str anonymous_id; /* "" if absent                                                     */
    struct str related_id;   /* group: group id; alias: previous id; else ""                     */
};

/* ---- writing ---- */

struct batch_writer {
    struct buf names, events; /* encoded names; encoded events        */
    uint32_t name_count, event_count;
    bool utf8_known; /* set by a caller whose input is known to be UTF-8 (a JSON parser checked
                        it): texts are not checked again */
    /* What follows is event.c's. */
    struct buf contexts, context_texts; /* encoded; the texts that stand for them    */
    struct batch_context *context;      /* [BATCH_MAX_CONTEXTS], by number           */
    uint16_t *context_slots;            /* hash table: number + 1, 0 is free         */
    uint16_t *context_guesses;          /* the last by a few of its bytes, the same  */
    uint32_t context_count, context_hits;
    uint32_t shared;          /* number of the open event's context + 1, or 0          */
    uint32_t context_start;   /* contexts before the open event                        */
    uint32_t fields_before;   /* of the open event, before its own context             */
    size_t context_at;        /* where that begins                                     */
    struct batch_name *table; /* by number                             */
    uint32_t *slots;          /* hash table: number + 1, 0 is free     */
    uint32_t name_cap, slot_mask;
    enum { WRITER_IDLE, WRITER_IN_EVENT, WRITER_IN_LIST, WRITER_IN_ITEM } state;
    bool muted;              /* the open event is refused, or the open list a duplicate */
    const char *reason;      /* why the open event will be refused    */
    size_t limit;            /* events may grow to here without asking */
    size_t event_start;      /* offset of the open event              */
    size_t fields_at;        /* where its count is patched            */
    size_t list_at, item_at; /* the same for the open list and item   */
    uint32_t fields, items, item_fields;
    uint32_t name_start;                        /* names before the open event,          */
    size_t names_bytes_start;                   /* and their bytes: for taking them back */
    uint32_t previous, list_name;               /* names before the next field and item */
    uint32_t serial, event_serial, item_serial; /* tell fields seen in this event or item */
};

void batch_writer_init(struct batch_writer *w);
void batch_writer_release(struct batch_writer *w);

/* Starts an event. Fields follow, then event_end or event_cancel. A field whose (scope, name) the
 * event has already is ignored: the first one wins. Calls in any other order abort. */
void event_begin(struct batch_writer *w, const struct event_head *head);
void event_bool(struct batch_writer *w, enum field_scope scope, struct str name, bool v);
void event_number(struct batch_writer *w, enum field_scope scope, struct str name, double v);
void event_string(struct batch_writer *w, enum field_scope scope, struct str name, struct str v);
void event_json(struct batch_writer *w, enum field_scope scope, struct str name, struct str json);
/* A list of line items: list_begin, then per item item_begin, item_* fields, item_end; list_end.
 * Lists are properties; they do not nest. */
void event_list_begin(struct batch_writer *w, struct str name);
void event_item_begin(struct batch_writer *w);
void event_item_bool(struct batch_writer *w, struct str name, bool v);
void event_item_number(struct batch_writer *w, struct str name, double v);
void event_item_string(struct batch_writer *w, struct str name, struct str v);
void event_item_json(struct batch_writer *w, struct str name, struct str json);
void event_item_end(struct batch_writer *w);
void event_list_end(struct batch_writer *w);
/* What a device says with each of its events: fields of SCOPE_CONTEXT that are the same whenever
 * `text` is the same.
 *     if (!event_context_known(w, text)) {
 *         event_context_begin(w);
 *         <write the fields>
 *         event_context_end(w, text, n);  (left out: the fields are this event's only)
 *     }
 * The event has no other field of SCOPE_CONTEXT, and no derived key. */
bool event_context_known(struct batch_writer *w, struct str text);
void event_context_begin(struct batch_writer *w);
void event_context_end(struct batch_writer *w, struct str text, uint32_t tokens);
/* Does a text begin with that of a context of the batch? A guess that may miss one, for who does
 * not know yet where the text ends; of objects in JSON none is the beginning of another. Returns
 * the context's number + 1, and `tokens` of its event_context_end; 0: no. event_context_share then
 * stands for all of the above. */
uint32_t event_context_guess(const struct batch_writer *w, struct str text, uint32_t *tokens);
void event_context_share(struct batch_writer *w, uint32_t slot);
/* Replaces the key of the open event, whose fields are all written, by one derived from what it
 * says: type, name, ids, fields in any order, and `own_time` (the moment that the sender stated;
 * not one that depends on when the event is read). The same content has the same key in every
 * batch. */
void event_derive_key(struct batch_writer *w, int64_t own_time);
/* NULL and the event is in the batch, or a static text that says why it was refused (too large, no
 * identifier, empty track name, time out of range …) and the batch is as before event_begin. */
const char *event_end(struct batch_writer *w);
void event_cancel(struct batch_writer *w);

/* True when the batch should be handed on before another event of up to `bytes` is added. */
bool batch_full(const struct batch_writer *w, size_t bytes);

/* Bytes that batch_finish would append, about. */
size_t batch_bytes(const struct batch_writer *w);

/* A point between events to which a batch can be taken back, as if nothing had been added since. */
struct batch_mark {
    uint32_t name_count, event_count, context_count;
    size_t name_bytes, event_bytes;
};
struct batch_mark batch_mark(const struct batch_writer *w);
void batch_rewind(struct batch_writer *w, struct batch_mark mark);

/* Appends the finished batch to *out (a buf with max >= BATCH_MAX_BYTES + 64) and empties the
 * writer. Nothing is appended for zero events. */
int batch_finish(struct batch_writer *w, struct buf *out, struct keel_error *err) K_CHECKED;

/* ---- reading (bytes may be damaged: every step is bounded, `bad` is set) ----
 * What is read obeys the limits above, except that text is not checked again to be UTF-8. */

struct batch_reader {
    struct reader r;
    uint32_t events_left, name_count;
    struct str *names; /* owned by the arena given to batch_open */
    uint32_t context_count;
    struct shared_context {
        struct str bytes;
        uint32_t fields;
    } * contexts; /* the same arena's */
};

enum { NO_CONTEXT = UINT32_MAX };

struct event_view {
    struct event_head head; /* strings point into the batch */
    uint32_t name;          /* number of head.name          */
    uint32_t fields_left, items_left, item_fields_left, own_fields;
    bool has_context; /* to be read when the event's own fields end                       */
    bool pause;       /* set by the caller: field_next gives 0 once between the event's own
                         fields and those of its context; the next call goes on            */
    uint32_t context; /* the context whose fields are being read, or NO_CONTEXT            */
    struct reader r;
};

struct field_view {
    enum field_scope scope;
    enum value_type type;
    uint32_t name;   /* number in the batch's names                               */
    double number;   /* VALUE_NUMBER                                              */
    struct str text; /* VALUE_STRING, VALUE_JSON                                  */
    uint32_t items;  /* VALUE_LIST: item_next reads them; field_next skips the unread */
};

/* How many events a batch says it has; 0 if it is too short to say so. */
uint32_t batch_event_count(struct str bytes);
int batch_open(struct batch_reader *b, struct str bytes, struct arena *arena,
               struct keel_error *err) K_CHECKED;
/* Are the fields of all contexts whole? For whoever reads events without them (pause). */
int batch_check_contexts(const struct batch_reader *b, struct keel_error *err) K_CHECKED;
/* 1: *out is the next event; 0: no more; negative: damaged. */
int batch_next(struct batch_reader *b, struct event_view *out, struct keel_error *err) K_CHECKED;
/* 1: *out is the next field; 0: no more, or damaged: check view->r.bad at the end. */
static inline int field_next(const struct batch_reader *b, struct event_view *view,
                             struct field_view *out);
/* The same to the end, for whoever wants to know only whether all of it is whole. */
bool fields_whole(const struct batch_reader *b, struct event_view *view);
/* Starts the next item of a list (call it `items` times): its number of fields, which item_field
 * then gives one by one (1, and 0 at the item's end). Call it only when item_field gave 0. */
uint32_t item_next(struct event_view *view);
int item_field(const struct batch_reader *b, struct event_view *view, struct field_view *out);

/* ---- reading a field, inline ----
 * Almost every field is a string or number of a name below 128, whole: it is read without a call.
 */

/* Where such a field at p ends, if its scope is up to `last_scope`; NULL: it is another one, or
 * does not end before `end`. */
static inline const uint8_t *field_usual_end(const struct batch_reader *b, const uint8_t *p,
                                             const uint8_t *end, unsigned last_scope) {
    const size_t left = (size_t)(end - p);
    if (left < 3 || p[0] >> 4 > last_scope || p[1] >= 0x80 || p[1] >= b->name_count) return NULL;
    if ((p[0] & 15) == VALUE_STRING) return p[2] < 0x80 && p[2] <= left - 3 ? p + 3 + p[2] : NULL;
    double number;
    if ((p[0] & 15) != VALUE_NUMBER || left < 2 + sizeof number) return NULL;
    memcpy(&number, p + 2, sizeof number);
    return __builtin_isfinite(number) ? p + 2 + sizeof number : NULL;
}

static inline bool field_usual(const struct batch_reader *b, struct event_view *view,
                               struct field_view *out, unsigned last_scope) {
    const uint8_t *p = view->r.p, *end = field_usual_end(b, p, view->r.end, last_scope);
    if (!end) return false;
    out->scope = (enum field_scope)(p[0] >> 4);
    out->type = (enum value_type)(p[0] & 15);
    out->name = p[1];
    out->items = 0;
    out->text = (struct str){NULL, 0};
    if (out->type == VALUE_STRING)
        out->text = (struct str){(const char *)p + 3, p[2]};
    else
        memcpy(&out->number, p + 2, sizeof out->number);
    view->r.p = end;
    return true;
}

int field_next_any(const struct batch_reader *b, struct event_view *view, struct field_view *out);

/* May the next field be a field of the event itself, with nothing to be done before? */
static inline bool field_is_own(const struct event_view *view) {
    return view->fields_left && view->context == NO_CONTEXT && !view->r.bad &&
           !(view->item_fields_left | view->items_left);
}

static inline int field_next(const struct batch_reader *b, struct event_view *view,
                             struct field_view *out) {
    if (field_is_own(view) && field_usual(b, view, out, SCOPE_CONTEXT)) {
        view->fields_left--;
        return 1;
    }
    return field_next_any(b, view, out);
}
