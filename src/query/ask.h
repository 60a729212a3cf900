/* A question in any of its forms, and its answer in any of its: what the command line and the API
 * have in common.
 *
 *     TRY(ask_read(text, &arena, &q, err));
 *     …query_run…
 *     TRY(ask_write(result, q, &(struct ask_format){.style = TABLE_JSON}, &out, err));
 *
 * JSON: {"query":"…","columns":[{"name","type"}],"rows":[[…]],"cut":true,"notes":[…],"cost":{…}}.
 * In a table and in CSV notes and cost are a text of their own (ask_notes).
 *
 * Layers: exec.h, parse.h, query_json.h, base/table.h. Threads: pure.
 */
#pragma once

#include "base/table.h"
#include "query/exec.h"

struct ask_format {
    enum table_style style;
    const struct time_zone *zone; /* of times in tables and CSV; NULL: UTC */
    bool explain;                 /* also say what was read and how        */
};

/* Text, or the JSON form: no text begins with a brace. A syntax error shows the line and the word.
 */
int ask_read(struct str text, struct arena *arena, struct query **q,
             struct keel_error *err) K_CHECKED;

struct ask_options {
    struct str at;    /* as of that moment, as people write it in the company's zone; empty: now */
    unsigned threads; /* 0: one a processor                                 */
    const _Atomic bool *cancel; /* may be NULL                                        */
    segment_lookup segment;     /* saved segments; NULL: there are none               */
    void *segment_ctx;
};
/* Asks a snapshot of this moment. */
int ask_run(struct db *db, const struct query *q, const struct ask_options *options,
            struct result **out, struct keel_error *err) K_CHECKED;

int ask_write(const struct result *r, const struct query *q, const struct ask_format *f,
              struct output *out, struct keel_error *err) K_CHECKED;
void ask_notes(const struct result *r, const struct query *q, const struct ask_format *f,
               struct output *o);
