/* The Segment dialect: documents, the heads of events, their times. See segment.h; the fields are
 * segment_fields.c's.
 *
 * Each event is walked twice. The first walk notes where the values of the top-level keys start and
 * skips them, because the order of keys is the sender's: sentAt may come last and the name behind
 * the properties that depend on it. The second walk takes the values.
 *
 * The tokens of a block of lines are found in one go. If the block has a fault (one unclosed quote
 * turns all behind it inside out) its lines are taken one by one.
 *
 * Layers: json_tokens.h, json_cursor.h, base, store/event.h. Threads: a reader has one owner.
 */
#include "api/collect/segment.h"

#include "api/collect/json_tokens.h"
#include "api/collect/segment_int.h"
#include "base/time.h"

enum {
    SCRATCH_BYTES = 256 << 20, /* unescaped strings of one event: at most a few times its text */
    FUTURE_MS = 24 * MS_PER_HOUR,
    DATE_BYTES = 11, /* "2025-01-01T" */
    TIME_BYTES = 24, /* "2025-01-01T10:00:00.000Z" */
    KEY_SLOTS = 128,
};
static const double FIRST_EPOCH_MS = 1e11; /* 1973 in milliseconds; smaller numbers are seconds, */
static const double FIRST_EPOCH_S = 1e8;   /* 1973 as well; smaller ones are no times at all     */

static const char TOO_LARGE[] = "larger than the limit for one event";

/* A top-level key with its quotes; the longest is "originalTimestamp". */
struct known_key {
    uint64_t word[3], mask[3]; /* mask: the bytes that are the key's; 0: free */
    enum segment_key key;
};

struct segment_reader {
    struct json_tokens *tokens;
    struct known_key keys[KEY_SLOTS]; /* hash table by key_slot; the last is free */
    struct arena scratch;
    struct arena_mark empty; /* scratch with its first block and nothing in it */
    char date[DATE_BYTES];   /* of the last time that was read */
    int64_t date_ms;
    char time[TIME_BYTES]; /* the last time that was read: an event states it two or three times */
    int64_t time_ms;
};

/* What holds for all events of a document. */
struct document {
    struct segment_reader *reader;
    const struct segment_options *options;
    const struct segment_sink *sink;
    const uint32_t *context; /* the batch's, or NULL */
    const uint32_t *sent;    /* the batch's sentAt, or NULL */
    uint64_t line, item;
    struct str write_key, message; /* of the item at hand */
    bool dated;
};

/* ---- reasons ---- */

static const char *const REASON_TEXTS[] = {
#define SEGMENT_REASON(name, text) text,
#include "api/collect/segment_reasons.def"
#undef SEGMENT_REASON
};

const char *segment_reason_text(enum segment_reason reason) { return REASON_TEXTS[reason]; }

uint64_t segment_refused_total(const struct segment_counts *counts) {
    uint64_t total = 0;
    for (int i = 0; i < SEGMENT_REASONS; i++) total += counts->refused[i];
    return total;
}

static enum segment_reason reason_of(const char *text) {
    int i = 0;
    while (i < SEGMENT_OTHER && strcmp(REASON_TEXTS[i], text) != 0) i++;
    return (enum segment_reason)i;
}

static void refuse(const struct document *d, enum segment_reason reason, const char *detail,
                   struct str text, const char *at) {
    d->sink->counts->refused[reason]++;
    if (!d->sink->refused) return;
    if (text.n && text.p[text.n - 1] == '\r') text.n--;
    struct segment_refusal refusal = {
        .reason = reason,
        .detail = detail ? detail : REASON_TEXTS[reason],
        .line = d->line,
        .item = d->item,
        .column = at >= text.p && at <= text.p + text.n ? (uint64_t)(at - text.p) + 1 : 0,
        .text = text,
        .write_key = d->write_key,
        .message = d->message,
        .dated = d->dated,
    };
    d->sink->refused(d->sink->ctx, &refusal);
}

/* ---- top-level keys ---- */

#define IS(word) (memcmp(key.p, word, sizeof word - 1) == 0)

enum segment_key segment_key_of(struct str key) {
    switch (key.n) {
    case 4: return IS("type") ? KEY_TYPE : IS("name") ? KEY_NAME : KEY_UNKNOWN;
    case 5: return IS("event") ? KEY_EVENT : IS("batch") ? KEY_BATCH : KEY_UNKNOWN;
    case 6:
        return IS("userId")   ? KEY_USER
               : IS("sentAt") ? KEY_SENT
               : IS("traits") ? KEY_TRAITS
                              : KEY_UNKNOWN;
    case 7:
        return IS("context")   ? KEY_CONTEXT
               : IS("channel") ? KEY_CHANNEL
               : IS("groupId") ? KEY_GROUP
               : IS("version") ? KEY_DROPPED
                               : KEY_UNKNOWN;
    case 8: return IS("writeKey") ? KEY_WRITE_KEY : KEY_UNKNOWN;
    case 9:
        return IS("timestamp")                      ? KEY_TIMESTAMP
               : IS("messageId")                    ? KEY_MESSAGE
               : IS("_metadata") || IS("projectId") ? KEY_DROPPED
                                                    : KEY_UNKNOWN;
    case 10:
        return IS("properties")   ? KEY_PROPERTIES
               : IS("previousId") ? KEY_PREVIOUS
               : IS("receivedAt") ? KEY_RECEIVED
                                  : KEY_UNKNOWN;
    case 11: return IS("anonymousId") ? KEY_ANONYMOUS : KEY_UNKNOWN;
    case 12: return IS("integrations") ? KEY_DROPPED : KEY_UNKNOWN;
    case 15: return IS("mergeProperties") ? KEY_MERGE : KEY_UNKNOWN;
    case 17: return IS("originalTimestamp") ? KEY_ORIGINAL : KEY_UNKNOWN;
    default: return KEY_UNKNOWN;
    }
}

#undef IS

/* By the first four letters of a key with its quotes: they are different in all that are known. */
static inline size_t key_slot(const char *quoted) {
    uint32_t letters;
    memcpy(&letters, quoted + 1, sizeof letters);
    return letters * 2654435769u >> 26;
}

static void learn_keys(struct segment_reader *r) {
    static const char *const texts[] = {"type",         "name",
                                        "event",        "batch",
                                        "userId",       "sentAt",
                                        "traits",       "context",
                                        "channel",      "groupId",
                                        "version",      "writeKey",
                                        "timestamp",    "messageId",
                                        "_metadata",    "projectId",
                                        "properties",   "previousId",
                                        "receivedAt",   "anonymousId",
                                        "integrations", "originalTimestamp"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        const struct str text = str_from(texts[i]);
        struct known_key *k = r->keys;
        char quoted[sizeof k->word] = {'"'};
        memcpy(quoted + 1, text.p, text.n);
        quoted[1 + text.n] = '"';
        for (k += key_slot(quoted); k->mask[0]; k++) K_ASSERT(k < r->keys + KEY_SLOTS - 2);
        k->key = segment_key_of(text);
        memcpy(k->word, quoted, sizeof quoted);
        memset(k->mask, 0xff, text.n + 2);
    }
}

/* The known key whose quote is at p: its first four letters tell which it may be, three comparisons
 * whether it is. NULL: another one, or too near the text's end. */
static inline const struct known_key *known_key(const struct segment_reader *r, const char *p,
                                                const char *end) {
    uint64_t word[3];
    if ((size_t)(end - p) < sizeof word) return NULL;
    memcpy(word, p, sizeof word);
    for (const struct known_key *k = &r->keys[key_slot(p)]; k->mask[0]; k++)
        if ((((word[0] ^ k->word[0]) & k->mask[0]) | ((word[1] ^ k->word[1]) & k->mask[1]) |
             ((word[2] ^ k->word[2]) & k->mask[2])) == 0)
            return k;
    return NULL;
}

static inline enum segment_key take_key(struct json_cursor *c, const struct segment_reader *r) {
    const struct known_key *k = known_key(r, c->text + *c->at, c->end);
    if (k) {
        c->at += 2;
        return k->key;
    }
    struct str key = cursor_take_key(c); /* unknown, at the end of the text, or with escapes */
    return c->error ? KEY_UNKNOWN : segment_key_of(key);
}

/* Behind a member: as many as are known keys with a string. Each test lets only a token of the text
 * pass, so the next one may be looked at. */
static void find_strings(struct json_cursor *c, const struct segment_reader *r,
                         struct segment_object *object) {
    const char *const text = c->text;
    const uint32_t *at = c->at;
    for (; text[at[0]] == ',' && text[at[1]] == '"' && text[at[2]] == ':' && text[at[3]] == '"';
         at += 4) {
        const struct known_key *k = known_key(r, text + at[1], c->end);
        if (!k) break;
        if (!object->at[k->key]) object->at[k->key] = at + 3;
    }
    c->at = at;
}

/* Behind a value that is written later, or a context that the batch has already. */
static inline void skip_value(struct json_cursor *c, const struct batch_writer *w,
                              enum segment_key which, struct segment_object *object) {
    uint32_t tokens;
    if (which == KEY_CONTEXT && w) {
        const char *from = c->text + *c->at;
        object->shared_context =
            event_context_guess(w, (struct str){from, (size_t)(c->end - from)}, &tokens);
        if (object->shared_context) {
            c->at += tokens;
            return;
        }
    }
    cursor_skip_container(c);
}

/* The first walk. Objects and arrays that are written later are skipped, everything else is checked
 * here: so all of an accepted event is JSON. Values that are null count as absent. The writer is
 * that of the events, or NULL. */
static int find_keys(struct json_cursor *c, struct segment_reader *r, const struct batch_writer *w,
                     struct segment_object *object) {
    memset(object, 0, sizeof *object);
    object->start = c->at;
    for (bool first = true; cursor_step(c, &first) > 0;) {
        enum segment_key which = take_key(c, r);
        if (c->error) return -1;
        char here = cursor_peek(c);
        bool new = !object->at[which] && here != 'n', written = which == KEY_UNKNOWN;
        if (new) {
            object->at[which] = c->at;
            written |= which == KEY_PROPERTIES || which == KEY_TRAITS || which == KEY_CONTEXT ||
                       which == KEY_BATCH;
        }
        if (written && (here == '{' || here == '['))
            skip_value(c, new ? w : NULL, which, object);
        else if (here == '"' && !c->escapes)
            c->at++; /* the tokens' kernel has seen its end */
        else
            cursor_check(c);
        if (which == KEY_CONTEXT && new) object->context_end = c->at;
        if (!c->escapes && !c->error) find_strings(c, r, object);
    }
    return c->error ? -1 : 0;
}

/* ---- heads ---- */

static struct str read_number_text(struct json_cursor *c, const uint32_t *token) {
    struct str text = {"", 0};
    double number;
    const char first = c->text[*token];
    if (first == '-' || (first >= '0' && first <= '9')) {
        c->at = token;
        (void)cursor_number(c, &number, &text);
    }
    return text;
}

/* A string; a number by its text; of anything else nothing. */
static inline struct str read_text(struct json_cursor *c, const uint32_t *token) {
    if (!token) return (struct str){"", 0};
    if (c->text[*token] == '"') return cursor_string_at(c, token);
    return read_number_text(c, token);
}

static int read_type(struct str text) {
    static const struct str types[EVENT_TYPES] = {
        [EVENT_TRACK] = {"track", 5}, [EVENT_IDENTIFY] = {"identify", 8},
        [EVENT_PAGE] = {"page", 4},   [EVENT_SCREEN] = {"screen", 6},
        [EVENT_GROUP] = {"group", 5}, [EVENT_ALIAS] = {"alias", 5},
    };
    for (int i = 0; i < EVENT_TYPES; i++)
        if (str_eq(text, types[i])) return i;
    return -1;
}

/* time_parse for the form that SDKs send, "2025-01-01T10:00:00.000Z": events come in the order of
 * their days, so the calendar is asked once a day and not once an event (45 ns). */
static bool parse_new_time(struct segment_reader *r, struct str text, int64_t *out) {
    static const uint8_t places[9] = {11, 12, 14, 15, 17, 18, 20, 21, 22};
    const char *p = text.p;
    if (text.n == 24 && memcmp(p, r->date, DATE_BYTES) == 0 && p[13] == ':' && p[16] == ':' &&
        p[19] == '.' && p[23] == 'Z') {
        uint32_t d[9], worst = 0;
        for (int i = 0; i < 9; i++) {
            d[i] = (uint32_t)p[places[i]] - '0';
            worst = d[i] > worst ? d[i] : worst;
        }
        uint32_t hour = d[0] * 10 + d[1], minute = d[2] * 10 + d[3], second = d[4] * 10 + d[5];
        uint32_t ms = d[6] * 100 + d[7] * 10 + d[8];
        if (worst < 10 && hour < 24 && minute < 60 && second < 60) {
            *out = r->date_ms + ((hour * 60 + minute) * 60 + second) * MS_PER_SECOND + ms;
            return true;
        }
    }
    if (!time_parse(text, NULL, out)) return false;
    if (text.n == 24 && p[10] == 'T' && p[23] == 'Z') {
        memcpy(r->date, p, DATE_BYTES);
        r->date_ms = *out - (*out % MS_PER_DAY + MS_PER_DAY) % MS_PER_DAY;
    }
    return true;
}

static bool parse_time(struct segment_reader *r, struct str text, int64_t *out) {
    if (text.n == TIME_BYTES && memcmp(text.p, r->time, TIME_BYTES) == 0) {
        *out = r->time_ms;
        return true;
    }
    if (!parse_new_time(r, text, out)) return false;
    if (text.n == TIME_BYTES) {
        memcpy(r->time, text.p, TIME_BYTES);
        r->time_ms = *out;
    }
    return true;
}

struct moment {
    bool known, broken; /* broken: present, and not to be read as a time */
    int64_t ms;
};

/* A time that is no text of a time. */
static struct moment read_epoch(struct json_cursor *c, struct str text) {
    double number;
    if (!str_to_f64(text, &number) || number < FIRST_EPOCH_S || number >= (double)EVENT_MAX_TIME)
        return (struct moment){.broken = true};
    c->repaired = true;
    const double ms = number < FIRST_EPOCH_MS ? number * MS_PER_SECOND : number;
    return (struct moment){.known = true, .ms = (int64_t)ms};
}

static inline struct moment read_time(struct json_cursor *c, struct segment_reader *r,
                                      const uint32_t *token) {
    int64_t ms;
    if (!token) return (struct moment){0};
    const struct str text = read_text(c, token);
    if (parse_time(r, text, &ms)) return (struct moment){.known = true, .ms = ms};
    return read_epoch(c, text);
}

/* The event's own sentAt, its batch's, or that of the request. */
static struct moment read_sent(struct json_cursor *c, const struct document *d,
                               const struct segment_object *object) {
    const uint32_t *token = object->at[KEY_SENT] ? object->at[KEY_SENT] : d->sent;
    const struct client *client = d->options->client;
    if (!token && client && client->sent_ms)
        return (struct moment){.known = true, .ms = client->sent_ms};
    return read_time(c, d->reader, token);
}

struct event_time {
    int64_t ms;
    int64_t stated; /* by the sender, for the key of an event without a message id */
};

/* The time of an event by the rules of segment.h; false: it states none that can be read, and there
 * is no other. */
static bool find_time(struct json_cursor *c, const struct document *d,
                      const struct segment_object *object, struct event_time *out) {
    const struct segment_options *options = d->options;
    struct moment timestamp = read_time(c, d->reader, object->at[KEY_TIMESTAMP]);
    struct moment original = read_time(c, d->reader, object->at[KEY_ORIGINAL]);
    struct moment sent = read_sent(c, d, object);
    struct moment received = {.known = options->received_ms != 0, .ms = options->received_ms};
    if (!received.known) received = read_time(c, d->reader, object->at[KEY_RECEIVED]);
    bool broken = timestamp.broken || original.broken;
    if (broken || sent.broken || received.broken) c->repaired = true;
    struct moment client = original.known ? original : timestamp;
    if (client.known && sent.known && received.known)
        out->ms = received.ms - (sent.ms - client.ms);
    else if (client.known)
        out->ms = timestamp.known ? timestamp.ms : original.ms;
    else if (received.known || sent.known)
        out->ms = received.known ? received.ms : sent.ms;
    else if (broken || options->now_ms == 0)
        return false;
    else
        out->ms = options->now_ms;
    out->stated = client.known ? client.ms : sent.known ? sent.ms : received.ms;
    if (!client.known && options->nonce)
        out->stated = (int64_t)hash_mix(options->nonce + d->sink->writer->event_count);
    int64_t bound = received.known ? received.ms : options->now_ms;
    if (bound && out->ms > bound + FUTURE_MS) {
        out->ms = bound + FUTURE_MS;
        c->repaired = true;
    }
    return true;
}

/* Ids and name by type; SEGMENT_REASONS if nothing is wrong. */
static enum segment_reason find_names(struct json_cursor *c, const struct segment_object *object,
                                      struct event_head *head) {
    head->user_id = read_text(c, object->at[KEY_USER]);
    head->anonymous_id = read_text(c, object->at[KEY_ANONYMOUS]);
    switch (head->type) {
    case EVENT_TRACK: head->name = read_text(c, object->at[KEY_EVENT]); break;
    case EVENT_PAGE:
    case EVENT_SCREEN: head->name = read_text(c, object->at[KEY_NAME]); break;
    case EVENT_GROUP:
        head->related_id = read_text(c, object->at[KEY_GROUP]);
        if (head->related_id.n == 0) return SEGMENT_NO_GROUP;
        break;
    case EVENT_ALIAS:
        head->related_id = read_text(c, object->at[KEY_PREVIOUS]);
        if (head->related_id.n == 0) return SEGMENT_NO_PREVIOUS;
        break;
    default: break;
    }
    return SEGMENT_REASONS;
}

/* ---- events ---- */

/* {"type":…,"value":…}, at the cursor. */
static void read_identifier(struct json_cursor *c, struct str *type, struct str *value) {
    const uint32_t *type_at = NULL, *value_at = NULL;
    struct str key = {"", 0};
    for (bool first = true; cursor_member(c, &first, &key) > 0; cursor_skip(c)) {
        if (str_eq(key, STR("type"))) type_at = c->at;
        if (str_eq(key, STR("value"))) value_at = c->at;
    }
    const uint32_t *behind = c->at;
    *type = read_text(c, type_at);
    *value = read_text(c, value_at);
    c->at = behind;
}

/* RudderStack's merge of a user_id and an anonymous_id, in either order, says what an alias says.
 * Of other identifiers nothing is known here. */
static enum segment_reason find_merged(struct json_cursor *c, const struct segment_object *object,
                                       struct event_head *head) {
    const uint32_t *start = object->at[KEY_MERGE];
    if (!start || c->text[*start] != '[') return SEGMENT_MERGE;
    c->at = start;
    for (bool first = true; cursor_element(c, &first) > 0;) {
        struct str type, value;
        if (cursor_peek(c) != '{') return SEGMENT_MERGE;
        read_identifier(c, &type, &value);
        bool user = str_is(type, "user_id") || str_is(type, "userId");
        bool anonymous = str_is(type, "anonymous_id") || str_is(type, "anonymousId");
        struct str *to = user ? &head->user_id : &head->related_id;
        if (c->error || (!user && !anonymous) || value.n == 0 || to->n) return SEGMENT_MERGE;
        *to = value;
    }
    return head->user_id.n && head->related_id.n ? SEGMENT_REASONS : SEGMENT_MERGE;
}

/* Writes the event whose keys are in `object`; the reason if it is refused, else SEGMENT_REASONS.
 */
static enum segment_reason write_event(struct json_cursor *c, const struct document *d,
                                       const struct segment_object *object) {
    struct batch_writer *w = d->sink->writer;
    struct event_head head = {.name = {"", 0}, .related_id = {"", 0}};
    struct event_time time;
    int type = d->options->type;
    struct str stated = read_text(c, object->at[KEY_TYPE]);
    bool merge = type == SEGMENT_ANY_TYPE && str_is(stated, "merge");
    if (type == SEGMENT_ANY_TYPE) type = merge ? EVENT_ALIAS : read_type(stated);
    if (type < 0) return SEGMENT_TYPE;
    head.type = (enum event_type)type;
    enum segment_reason reason =
        merge ? find_merged(c, object, &head) : find_names(c, object, &head);
    if (c->error) return SEGMENT_BAD_JSON;
    if (reason != SEGMENT_REASONS) return reason;
    if (!find_time(c, d, object, &time)) return SEGMENT_TIME_TEXT;
    head.time_ms = time.ms;
    struct segment_event e = {.c = c,
                              .w = w,
                              .object = object,
                              .batch_context = d->context,
                              .client = d->options->client};
    e.type = head.type;
    if (head.type == EVENT_TRACK) e.spec1 = segment_rename(&head.name);
    struct str message = read_text(c, object->at[KEY_MESSAGE]);
    if (message.n) head.key = event_key_of(message);
    e.has_message = message.n > 0;
    event_begin(w, &head);
    segment_write_fields(&e);
    if (c->error) {
        event_cancel(w);
        return SEGMENT_BAD_JSON;
    }
    if (message.n == 0) event_derive_key(w, time.stated);
    if (e.client) segment_write_client(&e);
    const char *why = event_end(w);
    return why ? reason_of(why) : SEGMENT_REASONS;
}

static struct str text_from(const struct json_cursor *c, const uint32_t *start, const char *end) {
    return (struct str){c->text + *start, (size_t)(end - c->text) - *start};
}

/* A write key without escapes: scratch lives for one event. */
static struct str read_write_key(const struct json_cursor *c, const uint32_t *token) {
    struct json_cursor plain = *c;
    plain.escapes = false;
    return read_text(&plain, token);
}

static bool is_too_large(const struct document *d, struct str text) {
    uint32_t most = d->options->max_event_bytes;
    return most && text.n > most;
}

static void take_accepted(const struct document *d, struct str text, bool repaired) {
    struct segment_counts *counts = d->sink->counts;
    counts->accepted++;
    counts->repaired += repaired;
    if (!d->sink->accepted) return;
    struct segment_accepted accepted = {
        .item = d->item, .text = text, .write_key = d->write_key, .repaired = repaired};
    d->sink->accepted(d->sink->ctx, &accepted);
}

/* Takes the event at the cursor, whose text ends before `end`. Negative: it is broken JSON, to be
 * refused by the caller together with the rest of its document. */
static int take_event(struct json_cursor *c, struct document *d,
                      const struct segment_object *object, const char *end) {
    struct str text = text_from(c, object->start, end);
    bool too_large = is_too_large(d, text);
    c->repaired = false;
    d->write_key = read_write_key(c, object->at[KEY_WRITE_KEY]);
    enum segment_reason reason = too_large ? SEGMENT_LARGE : write_event(c, d, object);
    if (reason == SEGMENT_REASONS) {
        take_accepted(d, text, c->repaired);
    } else if (!c->error) { /* what was skipped of it must be JSON, too */
        d->message = read_text(c, object->at[KEY_MESSAGE]);
        d->dated = object->at[KEY_TIMESTAMP] || object->at[KEY_ORIGINAL];
        c->at = object->start;
        cursor_check(c);
        if (!c->error) refuse(d, reason, too_large ? TOO_LARGE : NULL, text, NULL);
        d->message = (struct str){"", 0};
        d->dated = false;
    }
    d->write_key = (struct str){"", 0};
    arena_rewind(&d->reader->scratch, d->reader->empty);
    return c->error ? -1 : 0;
}

static int take_items(struct json_cursor *c, struct document *d) {
    struct segment_object object;
    for (bool first = true; cursor_element(c, &first) > 0; d->item++) {
        const uint32_t *start = c->at;
        if (cursor_peek(c) == '{') {
            if (find_keys(c, d->reader, d->sink->writer, &object) < 0) return -1;
            const uint32_t *next = c->at;
            if (take_event(c, d, &object, c->text + next[-1] + 1) < 0) return -1;
            c->at = next;
        } else {
            if (cursor_check(c) < 0) return -1;
            refuse(d, SEGMENT_NOT_OBJECT, NULL, text_from(c, start, c->text + c->at[-1] + 1), NULL);
        }
    }
    return c->error ? -1 : 0;
}

/* ---- documents ---- */

/* The keys of a batch beside "batch": what nobody reads must be JSON all the same. */
static int check_envelope(struct json_cursor *c, const struct segment_object *object) {
    struct str key = {"", 0};
    c->at = object->start;
    for (bool first = true; cursor_member(c, &first, &key) > 0;) {
        if (c->at == object->at[KEY_BATCH])
            cursor_skip(c);
        else
            cursor_check(c);
        if (c->error) break;
    }
    return c->error ? -1 : 0;
}

/* Has the document that the cursor is behind ended before `end`, with nothing after it? */
static int check_end(struct json_cursor *c, const char *end) {
    if (c->text + c->at[-1] >= end) return cursor_fail(c, "the text ends too early");
    if (c->text + *c->at < end) return cursor_fail(c, "something stands behind the JSON value");
    return 0;
}

/* The text of a value that has been checked; or empty. */
static struct str text_of(const struct json_cursor *c, const uint32_t *token) {
    struct json_cursor behind = *c;
    if (!token) return (struct str){"", 0};
    behind.at = token;
    cursor_skip(&behind);
    return str_trim((struct str){c->text + *token, (size_t)(*behind.at - *token)});
}

/* The events of the document at the cursor. Then the cursor is behind it. */
static int take_events(struct json_cursor *c, struct document *d, const char *end,
                       struct segment_envelope *envelope) {
    struct segment_object object;
    if (cursor_peek(c) == '[') return take_items(c, d) < 0 ? -1 : check_end(c, end);
    if (find_keys(c, d->reader, d->sink->writer, &object) < 0 || check_end(c, end) < 0) return -1;
    const uint32_t *behind = c->at, *batch = object.at[KEY_BATCH];
    envelope->write_key = read_write_key(c, object.at[KEY_WRITE_KEY]);
    if (batch && c->text[*batch] == '[') {
        if (check_envelope(c, &object) < 0) return -1;
        d->context = object.at[KEY_CONTEXT];
        d->sent = object.at[KEY_SENT];
        envelope->context = text_of(c, d->context);
        envelope->sent = text_of(c, d->sent);
        c->at = batch;
        if (take_items(c, d) < 0) return -1;
    } else if (take_event(c, d, &object, end) < 0) {
        return -1;
    }
    c->at = behind;
    return 0;
}

/* Reads the document at the cursor, which must fill `text` from there on. If it is not JSON,
 * nothing of it stays but one refusal. True: the cursor is behind it; false: it may be anywhere. */
static bool take_document(struct json_cursor *c, struct document *d, struct str text,
                          struct segment_envelope *envelope) {
    const char *end = text.p + text.n;
    struct batch_mark mark = batch_mark(d->sink->writer);
    struct segment_counts counts = *d->sink->counts;
    if (cursor_peek(c) != '[' && cursor_peek(c) != '{') {
        refuse(d, SEGMENT_NOT_OBJECT, NULL, text, NULL);
        return false;
    }
    int code = take_events(c, d, end, envelope);
    d->item = 0;
    if (code == 0) return true;
    batch_rewind(d->sink->writer, mark);
    *d->sink->counts = counts;
    refuse(d, SEGMENT_BAD_JSON, c->error, text, c->text + *c->at);
    return false;
}

struct segment_reader *segment_reader_new(const char *isa) {
    struct json_tokens *tokens = json_tokens_new(isa);
    if (!tokens) return NULL;
    struct segment_reader *r = k_zalloc(sizeof *r);
    r->tokens = tokens;
    arena_init(&r->scratch, SCRATCH_BYTES);
    arena_alloc(&r->scratch, 1);
    r->empty = arena_mark(&r->scratch);
    memcpy(r->date, "1970-01-01T", DATE_BYTES);
    learn_keys(r);
    return r;
}

void segment_reader_free(struct segment_reader *r) {
    if (!r) return;
    json_tokens_free(r->tokens);
    arena_release(&r->scratch);
    k_free(r);
}

const char *segment_reader_isa(const struct segment_reader *r) {
    return json_tokens_isa(r->tokens);
}

void segment_read_body(struct segment_reader *r, struct str body,
                       const struct segment_options *options, const struct segment_sink *sink,
                       struct segment_envelope *envelope) {
    struct document d = {.reader = r, .options = options, .sink = sink};
    const char *why = "not JSON";
    bool utf8_known = sink->writer->utf8_known;
    *envelope = (struct segment_envelope){{"", 0}, {"", 0}, {"", 0}};
    int code = json_tokens_find(r->tokens, body, &why);
    if (code < 0) {
        bool broken = code == -KEEL_E_SYNTAX;
        refuse(&d, broken ? SEGMENT_BAD_JSON : SEGMENT_MEMORY, broken ? why : NULL, body, NULL);
        return;
    }
    struct json_cursor c = {
        .text = body.p, .end = body.p + body.n, .at = json_tokens_first(r->tokens)};
    c.scratch = &r->scratch;
    c.escapes = memchr(body.p, '\\', body.n) != NULL;
    sink->writer->utf8_known = true;
    take_document(&c, &d, body, envelope);
    sink->writer->utf8_known = utf8_known;
}

struct str segment_body_key(struct segment_reader *r, struct str body) {
    struct segment_object object;
    const char *why;
    struct str none = {"", 0};
    if (json_tokens_find(r->tokens, body, &why) < 0) return none;
    struct json_cursor c = {
        .text = body.p, .end = body.p + body.n, .at = json_tokens_first(r->tokens)};
    c.scratch = &r->scratch;
    for (int level = 0; level < 2; level++) {
        if (cursor_peek(&c) == '[') { /* the first event of a batch */
            bool first = true;
            if (cursor_element(&c, &first) <= 0) return none;
        }
        if (cursor_peek(&c) != '{' || find_keys(&c, r, NULL, &object) < 0) return none;
        if (object.at[KEY_WRITE_KEY]) return read_write_key(&c, object.at[KEY_WRITE_KEY]);
        if (!object.at[KEY_BATCH]) return none;
        c.at = object.at[KEY_BATCH];
    }
    return none;
}

/* ---- lines ---- */

/* One line, whose tokens start at the cursor if it has any. */
static void take_line(struct json_cursor *c, struct document *d, struct str line, bool escapes) {
    const char *end = line.p + line.n;
    if (c->text + *c->at >= end) return; /* blank */
    struct segment_envelope envelope;
    const uint32_t *start = c->at;
    c->escapes = escapes && memchr(line.p, '\\', line.n) != NULL;
    c->error = NULL;
    d->context = d->sent = NULL;
    if (!take_document(c, d, line, &envelope))
        for (c->at = start; c->text + *c->at < end;) c->at++;
}

static void read_one_line(struct segment_reader *r, struct document *d, struct str line) {
    const char *why = "not JSON";
    int code = json_tokens_find(r->tokens, line, &why);
    if (code < 0) {
        bool broken = code == -KEEL_E_SYNTAX;
        refuse(d, broken ? SEGMENT_BAD_JSON : SEGMENT_MEMORY, broken ? why : NULL, line, NULL);
        return;
    }
    struct json_cursor c = {
        .text = line.p, .end = line.p + line.n, .at = json_tokens_first(r->tokens)};
    c.scratch = &r->scratch;
    take_line(&c, d, line, true);
}

static struct str next_line(struct str *lines) {
    const char *end = memchr(lines->p, '\n', lines->n);
    struct str line = {lines->p, (size_t)(end - lines->p)};
    *lines = (struct str){end + 1, lines->n - line.n - 1};
    return line;
}

uint64_t segment_read_lines(struct segment_reader *r, struct str lines, uint64_t first_line,
                            const struct segment_options *options,
                            const struct segment_sink *sink) {
    struct document d = {.reader = r, .options = options, .sink = sink, .line = first_line};
    const char *why;
    bool utf8_known = sink->writer->utf8_known;
    K_ASSERT(lines.n && lines.p[lines.n - 1] == '\n');
    sink->writer->utf8_known = true;
    int code = json_tokens_find(r->tokens, (struct str){lines.p, lines.n - 1}, &why);
    struct json_cursor c = {
        .text = lines.p, .end = lines.p + lines.n, .at = json_tokens_first(r->tokens)};
    c.scratch = &r->scratch;
    bool escapes = memchr(lines.p, '\\', lines.n) != NULL;
    for (; lines.n; d.line++) {
        struct str line = next_line(&lines);
        if (code < 0)
            read_one_line(r, &d, line);
        else
            take_line(&c, &d, line, escapes);
    }
    sink->writer->utf8_known = utf8_known;
    return d.line - first_line;
}
