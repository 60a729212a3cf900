/* The Segment dialect: JSON as Segment's SDKs and those of RudderStack and Jitsu send it, into
 * canonical events (store/event.h). Whole files of it: segment_file.h.
 *
 * One document is an event, a batch {"batch":[…],"context":…,"sentAt":…,"writeKey":…}, or an array
 * of events. A document that is not JSON throughout is refused as a whole; an item of a batch that
 * is refused for another reason leaves the others. What becomes of an event:
 *
 * Type, name, ids. "type", or what the caller says (POST /v1/track …). track: "event" is the name;
 * page, screen: "name" is. RudderStack's merge of a user_id and an anonymous_id is an alias.
 * userId, anonymousId, groupId, previousId: strings; a number is taken by its digits. E-commerce
 * names of the first spec become those of the second ("Completed Order" is "Order Completed"),
 * their property id becomes product_id, orderId becomes order_id.
 *
 * Time. With original = originalTimestamp, or else timestamp:
 *   receivedAt - (sentAt - original)   if all three are known: the client's clock does not matter;
 *   timestamp, or else original        if sentAt or receivedAt is missing;
 *   receivedAt, sentAt, or now         if the event states no time.
 * receivedAt is the caller's; where the caller has none (files) it is the line's own. A time beyond
 * receivedAt (or else now) + 24 h is cut to that and counted as repaired. A time is ISO 8601; a
 * number is taken as milliseconds or seconds since 1970 and counted as repaired; a time that cannot
 * be read is passed over, and refused if there is no other.
 *
 * Key. From messageId; without one, from the content and the stated time: the same line is the same
 * event whenever it is read. An event of a request that states neither is an event of its own
 * (options->nonce); read again later, they are told apart by received_ms.
 *
 * Fields. properties (track, page, screen) and traits (identify, group) are properties; context is
 * context; so are top-level channel, unknown top-level keys, and traits or properties where they do
 * not belong (as "traits.x"). A batch's context is added to that of each item, the item's wins.
 * Objects flatten with dots to four parts ("page.url"); what is deeper stays JSON text. A property
 * that is an array of objects is a list of items (of an item, what is nested stays JSON text);
 * other arrays are JSON text. null is no value. Whole numbers beyond 2^53 and numbers that a double
 * cannot hold stay text. The first of two equal keys wins. Left out: integrations, _metadata,
 * version, writeKey, projectId, and of context.library all but name and version. context.traits of
 * identify and group is left out where it equals traits.
 *
 * Requests. context.ip is what the source's policy keeps of it. Where the event names no ip or no
 * userAgent, those of the connection are taken if it is the customer's own (client.h); the address
 * also if context.direct is true. context.bot is true if the user agent is a bot's.
 *
 * Layers: json_cursor.h, client.h, base, store/event.h. Threads: a reader has one owner. Limits:
 * event.h's.
 */
#pragma once

#include "api/collect/client.h"
#include "base/error.h"
#include "base/str.h"
#include "store/event.h"

enum segment_reason {
#define SEGMENT_REASON(name, text) SEGMENT_##name,
#include "api/collect/segment_reasons.def"
#undef SEGMENT_REASON
    SEGMENT_REASONS
};
const char *segment_reason_text(enum segment_reason reason);

enum { SEGMENT_ANY_TYPE = -1 };

struct segment_options {
    int type;            /* enum event_type given by the request's path, or SEGMENT_ANY_TYPE    */
    int64_t now_ms;      /* for events without any time, and to bound future ones; 0: unknown   */
    int64_t received_ms; /* when the request came in; 0: unknown, the line's own receivedAt holds */
    const struct client *client; /* who sent the request; NULL for files                        */
    uint64_t nonce; /* of a request: another one each; 0: what is read was taken in before      */
    uint32_t max_event_bytes; /* of its JSON; 0: only the limits of event.h                  */
};

struct segment_counts {
    uint64_t accepted;
    uint64_t repaired; /* of the accepted, those of which something had to be mended */
    uint64_t refused[SEGMENT_REASONS];
};
uint64_t segment_refused_total(const struct segment_counts *counts);

struct segment_refusal {
    enum segment_reason reason;
    const char *detail;   /* static text, more precise than the reason's          */
    uint64_t line;        /* of a file, from 1; 0: a body                         */
    uint64_t item;        /* place in its batch, from 0                           */
    uint64_t column;      /* byte in `text` where it went wrong, from 1; 0: whole */
    struct str text;      /* the event's JSON                                     */
    struct str write_key; /* the event's own, or empty */
    struct str message;   /* its message id, or empty  */
    bool dated;           /* it states a time          */
};

/* An event that was added to the batch. */
struct segment_accepted {
    uint64_t item;        /* place in its batch, from 0 */
    struct str text;      /* its JSON                   */
    struct str write_key; /* its own, or empty          */
    bool repaired;
};
/* When a batch turns out to be no JSON, items may have been reported that came before the fault:
 * those accepted are taken back. */
typedef void segment_refused_fn(void *ctx, const struct segment_refusal *refusal);
typedef void segment_accepted_fn(void *ctx, const struct segment_accepted *accepted);

/* Where events, counts and refusals go. */
struct segment_sink {
    struct batch_writer *writer;
    struct segment_counts *counts;
    segment_refused_fn *refused; /* may be NULL */
    void *ctx;
    segment_accepted_fn *accepted; /* may be NULL */
};

struct segment_reader;

/* isa NULL: the fastest kernel of this CPU; else the named one (json_tokens_kernel), or NULL. */
struct segment_reader *segment_reader_new(const char *isa);
void segment_reader_free(struct segment_reader *r);
const char *segment_reader_isa(const struct segment_reader *r);

/* Lines of one document each; the last byte is a newline. A broken line is refused, the others are
 * read. Blank lines count as lines only. Returns the number of lines. */
uint64_t segment_read_lines(struct segment_reader *r, struct str lines, uint64_t first_line,
                            const struct segment_options *options, const struct segment_sink *sink);

/* What a document says beside its events. All of it lives while the body does. */
struct segment_envelope {
    struct str write_key;     /* the batch's or event's, or empty                       */
    struct str context, sent; /* JSON of the batch's, or empty: an event alone lacks it */
};

/* One document; body.p[body.n] is readable and is a newline or NUL. */
void segment_read_body(struct segment_reader *r, struct str body,
                       const struct segment_options *options, const struct segment_sink *sink,
                       struct segment_envelope *envelope);

/* The write key that the envelope names, or else its first event; empty if there is none, or no
 * JSON. For whoever must know the sender before the events are read. */
struct str segment_body_key(struct segment_reader *r, struct str body);
