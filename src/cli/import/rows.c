/* Implementation of rows.h.
 *
 * A row is taken in two steps per rule: everything that may fail is evaluated into scratch buffers,
 * then it is added to its group. So a refused row leaves no trace in a group's sums.
 */
#include "cli/import/rows.h"

#include <stdio.h>

#include "cli/import/groups.h"
#include "cli/import/lookup.h"

enum {
    BATCH_BYTES = 1 << 20, /* handed on at this size: one journal record each              */
    SCRATCH_BYTES = 16 << 20,
    TICK_ROWS = 8192,
    CHECK_BYTES = 8 << 20,
    EVENT_OVERHEAD = 4096, /* what an event takes beyond its group's values, generously    */
    DETAIL_BYTES = 512,
    DETAIL_VALUE = 80,
};

struct rule {
    const struct map_event *event;
    struct row_groups groups;
    struct tally ended; /* adjacent groups that are complete */
    struct eval_clock clock;
    bool ids_follow; /* from group_by: no row of a group can disagree */
};

struct importer {
    const struct map *map;
    const char *name;
    const struct rows_sink *sink;
    struct rows_stats *stats;
    struct keel_error *err;
    struct csv_reader *reader;
    struct rule *rules;
    struct lookup *lookups[MAP_MAX_LOOKUPS];
    uint32_t n_file_columns;
    uint64_t unchecked_bytes; /* read since memory was looked at */
    uint32_t *bound;          /* map column -> field of the file */
    struct str *row;          /* value by map column */
    struct csv_row csv;
    struct tally repeats; /* rows that were seen, by hash of their content */
    struct buf content;   /* of the row, for its message id; empty until needed */
    struct buf key, ids, fields, items, lasts, scratch;
    struct decimal *numbers; /* by slot: what the row adds */
    int *numbers_got;
    size_t *last_ends; /* by slot: its value's end in `lasts` */
    struct batch_writer writer;
    struct buf batch;
};

/* ---- batches ---- */

static int flush(struct importer *im) {
    uint32_t events = im->writer.event_count;
    if (events == 0) return 0;
    TRY(batch_finish(&im->writer, &im->batch, im->err));
    int code = im->sink->batch(im->sink->ctx, buf_str(&im->batch), events, im->err);
    buf_clear(&im->batch);
    return code;
}

/* ---- refusals ---- */

static int refuse(struct importer *im, const struct reject *reject) {
    im->stats->rejected += reject->rows;
    return im->sink->reject(im->sink->ctx, reject, im->err);
}

/* At most DETAIL_VALUE bytes, not ending within a character. */
static struct str shortened(struct str s) {
    if (s.n <= DETAIL_VALUE) return s;
    s.n = DETAIL_VALUE;
    while (s.n > 0 && ((unsigned char)s.p[s.n] & 0xc0) == 0x80) s.n--;
    return s;
}

/* "column “quantity” is “one”"; what a file writes for a null is shown if it is not empty. */
static int describe_column(const struct importer *im, int32_t column, char *out, size_t bytes) {
    const struct map_column *c = &im->map->columns[column];
    struct str name = shortened(c->name), value = im->row[column], lookup = {"", 0};
    bool null = !value.p;
    if (c->lookup >= 0) lookup = shortened(im->map->lookups[c->lookup].name);
    if (null && c->lookup < 0) value = im->csv.fields[im->bound[column]];
    value = shortened(value);
    const char *dot = lookup.n > 0 ? "." : "", *after = null ? ", which stands for no value" : "";
    if (value.n == 0)
        return snprintf(out, bytes, "column “%.*s%s%.*s” is empty", STR_ARG(lookup), dot,
                        STR_ARG(name));
    return snprintf(out, bytes, "column “%.*s%s%.*s” is “%.*s”%s", STR_ARG(lookup), dot,
                    STR_ARG(name), STR_ARG(value), after);
}

static int refuse_row(struct importer *im, const struct rule *rule,
                      const struct eval_fault *fault) {
    char detail[DETAIL_BYTES], column[DETAIL_BYTES / 2 + 4 * DETAIL_VALUE] = "";
    struct str label = shortened(rule->event->label);
    if (fault->column >= 0) (void)describe_column(im, fault->column, column, sizeof column);
    const char *why = fault->column >= 0             ? column
                      : fault->cause == REJECT_NO_ID ? "no condition of user_id, anonymous_id holds"
                      : fault->cause == REJECT_NO_NAME ? "no condition of a name holds"
                                                       : "";
    int n =
        snprintf(detail, sizeof detail, "rule “%.*s”%s%s", STR_ARG(label), *why ? ": " : "", why);
    if ((size_t)n >= sizeof detail) n = (int)sizeof detail - 1;
    return refuse(im, &(struct reject){.cause = fault->cause,
                                       .line = im->csv.line,
                                       .rows = 1,
                                       .detail = {detail, (size_t)n},
                                       .raw = im->csv.raw});
}

/* ---- message ids ---- */

static void add_part(struct buf *b, struct str s) {
    buf_add_u32(b, (uint32_t)s.n);
    buf_add_str(b, s);
}

static struct event_key derived_key(struct importer *im, const struct map_event *event,
                                    struct str content) {
    buf_clear(&im->scratch);
    add_part(&im->scratch, im->map->name_space);
    add_part(&im->scratch, event->label);
    buf_add_str(&im->scratch, content);
    return event_key_of(buf_str(&im->scratch));
}

/* All fields of the row and its number among equal ones, once a row. */
static int add_content(struct importer *im) {
    if (im->content.n > 0) return 0;
    for (uint32_t i = 0; i < im->csv.n; i++) add_part(&im->content, im->csv.fields[i]);
    uint32_t before;
    if (!tally_add(&im->repeats, hash_str(buf_str(&im->content)), &before))
        FAIL(im->err, NO_MEMORY, "%s: counting equal rows", im->name);
    return buf_add_u32(&im->content, before);
}

/* ---- events ---- */

static void write_value(struct batch_writer *w, const struct map_field *f,
                        const struct eval_value *v) {
    switch (v->tag) {
    case EVAL_NULL: return;
    case EVAL_FALSE:
    case EVAL_TRUE: event_bool(w, f->scope, f->name, v->tag == EVAL_TRUE); return;
    case EVAL_NUMBER: event_number(w, f->scope, f->name, v->number); return;
    case EVAL_STRING: event_string(w, f->scope, f->name, v->text); return;
    }
}

static struct eval_value constant_value(const struct map_field *f) {
    if (f->type == MAP_NUMBER) return (struct eval_value){.tag = EVAL_NUMBER, .number = f->number};
    if (f->type == MAP_BOOL) return (struct eval_value){.tag = f->boolean ? EVAL_TRUE : EVAL_FALSE};
    return (struct eval_value){.tag = EVAL_STRING, .text = f->constant};
}

static void write_fields(struct batch_writer *w, const struct map_event *event,
                         const struct group *group) {
    static const struct group_state none = {0};
    const uint8_t *p = group->fields;
    for (uint32_t i = 0; i < event->n_fields; i++) {
        const struct map_field *f = &event->fields[i];
        const struct group_state *state = group->states ? &group->states[f->slot] : &none;
        struct eval_value v = {EVAL_NULL, 0, {0}};
        switch (f->from) {
        case MAP_CONSTANT: v = constant_value(f); break;
        case MAP_COUNT: v = (struct eval_value){EVAL_NUMBER, (double)group->rows, {0}}; break;
        case MAP_SUM:
        case MAP_MIN:
        case MAP_MAX:
            if (state->seen)
                v = (struct eval_value){EVAL_NUMBER, decimal_to_f64(state->number), {0}};
            break;
        case MAP_LAST:
            if (state->seen) eval_decode((const uint8_t *)state->last.p, &v);
            break;
        default: p = eval_decode(p, &v);
        }
        write_value(w, f, &v);
    }
}

static void write_items(struct batch_writer *w, const struct map_event *event,
                        const struct group *group) {
    event_list_begin(w, event->items);
    for (const struct group_item *item = group->items; item; item = item->next) {
        const uint8_t *p = item->values;
        event_item_begin(w);
        for (uint32_t i = 0; i < event->n_item_fields; i++) {
            const struct map_field *f = &event->item_fields[i];
            struct eval_value v;
            if (f->from == MAP_CONSTANT)
                v = constant_value(f);
            else
                p = eval_decode(p, &v);
            if (v.tag == EVAL_NUMBER) event_item_number(w, f->name, v.number);
            if (v.tag == EVAL_STRING) event_item_string(w, f->name, v.text);
            if (v.tag == EVAL_TRUE || v.tag == EVAL_FALSE)
                event_item_bool(w, f->name, v.tag == EVAL_TRUE);
        }
        event_item_end(w);
    }
    event_list_end(w);
}

/* What is known of a group whose event was refused: its rows are gone but for the key. */
static int refuse_group(struct importer *im, const struct rule *rule, const struct group *group,
                        const char *reason) {
    char detail[DETAIL_BYTES];
    struct str label = shortened(rule->event->label);
    int n = snprintf(detail, sizeof detail, "rule “%.*s”: %s", STR_ARG(label), reason);
    struct reject reject = {.cause = REJECT_EVENT,
                            .line = group->line,
                            .rows = group->rows,
                            .detail = {detail, (size_t)n},
                            .raw = im->csv.raw};
    buf_clear(&im->scratch);
    if (rule->event->n_group_by > 0) {
        struct reader key = reader_over(group->key.p, group->key.n);
        for (uint32_t i = 0; i < rule->event->n_group_by; i++) {
            if (i > 0) buf_add_char(&im->scratch, ',');
            uint32_t length = reader_u32(&key);
            buf_add(&im->scratch, reader_take(&key, length), length);
        }
        reject.raw = buf_str(&im->scratch);
    }
    return refuse(im, &reject);
}

static int emit(struct importer *im, struct rule *rule, const struct group *group) {
    const struct map_event *event = rule->event;
    struct batch_writer *w = &im->writer;
    size_t bytes = group->bytes < EVENT_MAX_BYTES ? group->bytes : EVENT_MAX_BYTES;
    if (batch_full(w, bytes + EVENT_OVERHEAD)) TRY(flush(im));
    struct str content = event->n_group_by > 0 ? group->key : buf_str(&im->content);
    struct event_head head = {.type = event->type,
                              .time_ms = group->time_ms,
                              .key = event->message_id.n > 0 ? event_key_of(group->message_id)
                                                             : derived_key(im, event, content),
                              .name = group->name,
                              .user_id = group->user_id,
                              .anonymous_id = group->anonymous_id};
    event_begin(w, &head);
    write_fields(w, event, group);
    if (event->items.n > 0) write_items(w, event, group);
    const char *reason = event_end(w);
    if (reason) return refuse_group(im, rule, group, reason);
    im->stats->events++;
    return batch_bytes(w) >= BATCH_BYTES ? flush(im) : 0;
}

static int emit_all(struct importer *im, struct rule *rule) {
    for (const struct group *g = rule->groups.first; g; g = g->next) TRY(emit(im, rule, g));
    row_groups_clear(&rule->groups);
    return 0;
}

/* ---- one row under one rule: what may fail ---- */

/* A map can repeat a long column until its texts outgrow the scratch space. */
static bool fits(const struct buf *b, struct eval_fault *fault) {
    if (b->failed) *fault = (struct eval_fault){REJECT_TOO_LONG, -1};
    return !b->failed;
}

static bool make_key(struct importer *im, const struct map_event *event, struct eval_fault *fault) {
    buf_clear(&im->key);
    for (uint32_t i = 0; i < event->n_group_by; i++) {
        struct str value = im->row[event->group_by[i]];
        if (!value.p) {
            *fault = (struct eval_fault){REJECT_NO_GROUP, (int32_t)event->group_by[i]};
            return false;
        }
        add_part(&im->key, value);
    }
    return fits(&im->key, fault);
}

/* What the row adds to sums, extremes and last values. */
static bool make_states(struct importer *im, const struct map_event *event,
                        struct eval_fault *fault) {
    if (event->n_slots == 0) return true;
    buf_clear(&im->lasts);
    for (uint32_t i = 0; i < event->n_fields; i++) {
        const struct map_field *f = &event->fields[i];
        if (f->from == MAP_LAST) {
            if (!eval_field(f, im->row, &im->lasts, fault)) return false;
            im->last_ends[f->slot] = im->lasts.n;
        } else if (f->from == MAP_SUM || f->from == MAP_MIN || f->from == MAP_MAX) {
            int got = eval_expression(&f->expression, im->row, &im->numbers[f->slot], fault);
            if (got < 0) return false;
            im->numbers_got[f->slot] = got;
        }
    }
    return fits(&im->lasts, fault);
}

static bool make_item(struct importer *im, const struct map_event *event,
                      struct eval_fault *fault) {
    buf_clear(&im->items);
    for (uint32_t i = 0; i < event->n_item_fields; i++)
        if (!eval_field(&event->item_fields[i], im->row, &im->items, fault)) return false;
    return fits(&im->items, fault);
}

/* The text under its condition, appended to im->ids; "" if it does not apply. */
static size_t add_id(struct importer *im, const struct map_text *text) {
    if (text->text.n > 0 && eval_when(&text->when, im->row))
        eval_text(&text->text, im->row, &im->ids);
    return im->ids.n;
}

/* The column for want of which the text is empty; -1: none is to blame. */
static int32_t missing_column(const struct map_template *text, const struct str *row) {
    for (uint32_t i = 0; i < text->n; i++)
        if (text->pieces[i].column >= 0 && row[text->pieces[i].column].n == 0)
            return text->pieces[i].column;
    return -1;
}

/* Of texts of which the first that applies is taken, the first whose condition holds. */
static int32_t missing_of(const struct map_text *texts, uint32_t n, const struct str *row) {
    for (uint32_t i = 0; i < n; i++)
        if (texts[i].text.n > 0 && eval_when(&texts[i].when, row))
            return missing_column(&texts[i].text, row);
    return -1;
}

/* The head of a new group and the fields of its first row. */
static bool make_head(struct importer *im, const struct map_event *event, struct group_head *head,
                      struct eval_fault *fault) {
    buf_clear(&im->ids);
    size_t user = add_id(im, &event->user_id);
    size_t anonymous = add_id(im, &event->anonymous_id);
    if (anonymous == 0) {
        const struct map_text ids[] = {event->user_id, event->anonymous_id};
        *fault = (struct eval_fault){REJECT_NO_ID, missing_of(ids, 2, im->row)};
        return false;
    }
    for (uint32_t i = 0; i < event->n_names && im->ids.n == anonymous; i++)
        add_id(im, &event->names[i]);
    size_t name = im->ids.n;
    if (event->n_names > 0 && name == anonymous) {
        int32_t column = missing_of(event->names, event->n_names, im->row);
        *fault = (struct eval_fault){REJECT_NO_NAME, column};
        return false;
    }
    if (event->message_id.n > 0 && !eval_text(&event->message_id, im->row, &im->ids)) {
        int32_t column = missing_column(&event->message_id, im->row);
        *fault = (struct eval_fault){REJECT_NO_MESSAGE_ID, column};
        return false;
    }
    buf_clear(&im->fields);
    for (uint32_t i = 0; i < event->n_fields; i++)
        if (event->fields[i].from != MAP_LAST &&
            !eval_field(&event->fields[i], im->row, &im->fields, fault))
            return false;
    if (!fits(&im->ids, fault) || !fits(&im->fields, fault)) return false;
    const char *ids = (const char *)im->ids.p;
    head->user_id = (struct str){ids, user};
    head->anonymous_id = (struct str){ids + user, anonymous - user};
    head->name = (struct str){ids + anonymous, name - anonymous};
    head->message_id = (struct str){ids + name, im->ids.n - name};
    head->fields = buf_str(&im->fields);
    return true;
}

/* A row that names another user than its group's event would be credited to the wrong one. */
static bool same_user(struct importer *im, const struct rule *rule, const struct group *group) {
    if (rule->ids_follow || group->user_id.n == 0) return true;
    buf_clear(&im->ids);
    size_t n = add_id(im, &rule->event->user_id);
    return n == 0 || str_eq((struct str){(const char *)im->ids.p, n}, group->user_id);
}

/* ---- one row under one rule: adding it ---- */

static bool add_states(struct importer *im, struct rule *rule, struct group *group) {
    const struct map_event *event = rule->event;
    size_t from = 0;
    for (uint32_t i = 0; event->n_slots > 0 && i < event->n_fields; i++) {
        const struct map_field *f = &event->fields[i];
        struct group_state *state = &group->states[f->slot];
        if (f->from == MAP_LAST) {
            struct str value = {(const char *)im->lasts.p + from, im->last_ends[f->slot] - from};
            from += value.n;
            /* A null does not take the place of a value. */
            if (state->seen && value.p[0] == EVAL_NULL) continue;
            if (!row_groups_keep_last(&rule->groups, state, value)) return false;
            state->seen = true;
        } else if (f->from == MAP_SUM || f->from == MAP_MIN || f->from == MAP_MAX) {
            if (!im->numbers_got[f->slot]) continue;
            struct decimal v = im->numbers[f->slot];
            bool better = !state->seen;
            if (f->from == MAP_SUM && state->seen) v = decimal_add(state->number, v);
            if (f->from == MAP_MIN && state->seen) better = decimal_cmp(v, state->number) < 0;
            if (f->from == MAP_MAX && state->seen) better = decimal_cmp(v, state->number) > 0;
            if (better || f->from == MAP_SUM) state->number = v;
            state->seen = true;
        }
    }
    return true;
}

static int add_to_group(struct importer *im, struct rule *rule, struct group *group,
                        int64_t time_ms) {
    const struct map_event *event = rule->event;
    if (group->rows == 0 || time_ms < group->time_ms) group->time_ms = time_ms;
    group->rows++;
    bool ok = add_states(im, rule, group);
    if (event->items.n > 0)
        ok = ok && row_groups_add_item(&rule->groups, group, buf_str(&im->items));
    if (!ok) FAIL(im->err, NO_MEMORY, "%s: grouping rows", im->name);
    return 0;
}

static uint64_t used_bytes(const struct importer *im) {
    uint64_t bytes = tally_bytes(&im->repeats);
    for (uint32_t i = 0; i < im->map->n_lookups; i++)
        if (im->lookups[i]) bytes += lookup_bytes(im->lookups[i]);
    for (uint32_t i = 0; i < im->map->n_events; i++)
        bytes += row_groups_bytes(&im->rules[i].groups) + tally_bytes(&im->rules[i].ended);
    return bytes;
}

static int check_memory(const struct importer *im) {
    if (used_bytes(im) <= im->map->memory_bytes) return 0;
    FAIL(im->err, LIMIT,
         "%s:%llu: the rows up to here need more than memory_mib = %llu; raise it, or sort the "
         "file by its groups and set group_order = \"adjacent\"",
         im->name, (unsigned long long)im->csv.line,
         (unsigned long long)(im->map->memory_bytes >> 20));
}

/* With adjacent groups, another key ends the open one. 1: go on; 0: the row was refused. */
static int turn_group(struct importer *im, struct rule *rule, uint64_t hash) {
    TRY(emit_all(im, rule));
    uint32_t before;
    if (!tally_add(&rule->ended, hash, &before))
        FAIL(im->err, NO_MEMORY, "%s: counting groups", im->name);
    if (before == 0) return 1;
    struct eval_fault fault = {REJECT_GROUP_AGAIN, (int32_t)rule->event->group_by[0]};
    TRY(refuse_row(im, rule, &fault));
    return 0;
}

static int32_t first_column(const struct map_template *text) {
    for (uint32_t i = 0; i < text->n; i++)
        if (text->pieces[i].column >= 0) return text->pieces[i].column;
    return -1;
}

static int apply_rule(struct importer *im, struct rule *rule) {
    const struct map_event *event = rule->event;
    struct eval_fault fault = {REJECT_EVENT, -1};
    struct group_head head = {.line = im->csv.line, .n_states = event->n_slots};
    int64_t time_ms;
    if (!make_key(im, event, &fault) ||
        !eval_time(&event->time, &rule->clock, im->row, &im->scratch, &time_ms, &fault) ||
        !make_states(im, event, &fault) || !make_item(im, event, &fault))
        return refuse_row(im, rule, &fault);
    head.key = buf_str(&im->key);
    head.hash = hash_str(head.key);
    struct group *group = row_groups_find(&rule->groups, head.hash, head.key);
    if (group && !same_user(im, rule, group)) {
        fault = (struct eval_fault){REJECT_GROUP_IDS, first_column(&event->user_id.text)};
        return refuse_row(im, rule, &fault);
    }
    if (!group) {
        if (!make_head(im, event, &head, &fault)) return refuse_row(im, rule, &fault);
        if (event->adjacent) {
            int turned = turn_group(im, rule, head.hash);
            if (turned <= 0) return turned;
        }
        group = row_groups_add(&rule->groups, &head);
        if (!group) FAIL(im->err, NO_MEMORY, "%s: grouping rows", im->name);
    }
    TRY(add_to_group(im, rule, group, time_ms));
    if (event->n_group_by > 0) return 0;
    if (event->message_id.n == 0) TRY(add_content(im));
    return emit_all(im, rule);
}

/* ---- rows ---- */

static int take_row(struct importer *im) {
    const struct map *map = im->map;
    for (uint32_t i = 0; i < map->n_columns; i++)
        if (map->columns[i].lookup < 0) im->row[i] = map_value(map, im->csv.fields[im->bound[i]]);
    for (uint32_t i = 0; i < map->n_lookups; i++)
        lookup_fill(im->lookups[i], im->row[map->lookups[i].by], im->row);
    buf_clear(&im->content);
    bool met = false;
    for (uint32_t i = 0; i < map->n_events; i++) {
        if (!eval_when(&map->events[i].when, im->row)) continue;
        met = true;
        TRY(apply_rule(im, &im->rules[i]));
    }
    im->stats->no_rule += !met;
    return 0;
}

static int refuse_unread(struct importer *im, int cause) {
    char detail[64] = "";
    int n = 0;
    if (cause == REJECT_COLUMNS && im->csv.n > 0)
        n = snprintf(detail, sizeof detail, "%u columns, expected %u", im->csv.n,
                     im->n_file_columns);
    return refuse(im, &(struct reject){.cause = (enum reject_cause)cause,
                                       .line = im->csv.line,
                                       .rows = 1,
                                       .detail = {detail, (size_t)n},
                                       .raw = im->csv.raw});
}

static int take_rows(struct importer *im) {
    for (;;) {
        int got = csv_reader_next(im->reader, &im->csv, im->err);
        if (got <= 0) return got;
        im->stats->rows++;
        int cause = im->csv.cause;
        if (cause < 0 && im->csv.n != im->n_file_columns) cause = REJECT_COLUMNS;
        TRY(cause < 0 ? take_row(im) : refuse_unread(im, cause));
        im->unchecked_bytes += im->csv.raw.n;
        if (im->stats->rows % TICK_ROWS != 0 && im->unchecked_bytes < CHECK_BYTES) continue;
        im->unchecked_bytes = 0;
        TRY(check_memory(im));
        if (im->sink->tick) TRY(im->sink->tick(im->sink->ctx, im->stats, im->err));
    }
}

/* ---- the beginning and the end ---- */

/* The columns as the message shows them. */
static void list_columns(const struct str *names, uint32_t n, struct buf *out) {
    for (uint32_t i = 0; i < n; i++) {
        if (i > 0) buf_add_text(out, ", ");
        buf_add_str(out, names[i]);
    }
}

static int bind_columns(struct importer *im, const struct str *names, uint32_t n) {
    const struct map *map = im->map;
    im->n_file_columns = n;
    for (uint32_t c = 0; c < map->n_columns; c++) {
        const struct map_column *column = &map->columns[c];
        if (column->lookup >= 0) continue;
        uint32_t i = 0;
        while (i < n && !str_eq(names[i], column->name)) i++;
        im->bound[c] = i;
        if (i < n) continue;
        buf_clear(&im->scratch);
        list_columns(names, n, &im->scratch);
        return toml_fail(map->toml, column->at, im->err,
                         "there is no column “%.*s” in %s, which has: %.*s", STR_ARG(column->name),
                         im->name, STR_ARG(buf_str(&im->scratch)));
    }
    return 0;
}

static int read_header(struct importer *im) {
    const struct map *map = im->map;
    if (map->header) {
        int got = csv_reader_next(im->reader, &im->csv, im->err);
        if (got < 0) return got;
        if (got == 0) FAIL(im->err, FORMAT, "%s is empty: a header was expected", im->name);
        if (str_starts(im->csv.raw, STR("{")))
            FAIL(im->err, FORMAT,
                 "%s is JSON, where a CSV header was expected; for Segment events say --segment "
                 "instead of --map",
                 im->name);
        if (im->csv.cause >= 0)
            FAIL(im->err, FORMAT, "%s:%llu: the header cannot be read: %s", im->name,
                 (unsigned long long)im->csv.line, reject_text((enum reject_cause)im->csv.cause));
    }
    if (map->n_file_columns == 0) return bind_columns(im, im->csv.fields, im->csv.n);
    if (map->header && im->csv.n != map->n_file_columns)
        FAIL(im->err, FORMAT, "%s has %u columns, format.columns names %u", im->name, im->csv.n,
             map->n_file_columns);
    return bind_columns(im, map->file_columns, map->n_file_columns);
}

/* True if all columns of the user id are among those the rule groups by. */
static bool ids_follow(const struct map_event *event) {
    if (event->user_id.when.n > 0) return false;
    for (uint32_t i = 0; i < event->user_id.text.n; i++) {
        int32_t column = event->user_id.text.pieces[i].column;
        uint32_t k = 0;
        while (column >= 0 && k < event->n_group_by && event->group_by[k] != (uint32_t)column) k++;
        if (column >= 0 && k == event->n_group_by) return false;
    }
    return true;
}

static void prepare(struct importer *im) {
    const struct map *map = im->map;
    uint32_t slots = 1;
    im->rules = k_zalloc(map->n_events * sizeof *im->rules);
    for (uint32_t i = 0; i < map->n_events; i++) {
        struct rule *rule = &im->rules[i];
        rule->event = &map->events[i];
        rule->ids_follow = ids_follow(rule->event);
        row_groups_init(&rule->groups);
        if (rule->event->n_slots > slots) slots = rule->event->n_slots;
    }
    im->bound = k_zalloc(map->n_columns * sizeof *im->bound);
    im->row = k_zalloc(map->n_columns * sizeof *im->row);
    im->numbers = k_alloc_array(slots, sizeof *im->numbers);
    im->numbers_got = k_alloc_array(slots, sizeof *im->numbers_got);
    im->last_ends = k_alloc_array(slots, sizeof *im->last_ends);
    struct buf *const scratch[] = {&im->content, &im->key,   &im->ids,    &im->fields,
                                   &im->items,   &im->lasts, &im->scratch};
    for (size_t i = 0; i < sizeof scratch / sizeof *scratch; i++)
        buf_init(scratch[i], SCRATCH_BYTES);
    buf_init(&im->batch, BATCH_MAX_BYTES + 64);
    batch_writer_init(&im->writer);
    im->writer.utf8_known = true; /* the reader has checked the file, toml++ the map */
}

static void release(struct importer *im) {
    for (uint32_t i = 0; i < im->map->n_events; i++) {
        row_groups_release(&im->rules[i].groups);
        tally_release(&im->rules[i].ended);
    }
    for (uint32_t i = 0; i < im->map->n_lookups; i++) lookup_free(im->lookups[i]);
    k_free(im->rules);
    k_free(im->bound);
    k_free(im->row);
    k_free(im->numbers);
    k_free(im->numbers_got);
    k_free(im->last_ends);
    tally_release(&im->repeats);
    struct buf *const bufs[] = {&im->content, &im->key,   &im->ids,     &im->fields,
                                &im->items,   &im->lasts, &im->scratch, &im->batch};
    for (size_t i = 0; i < sizeof bufs / sizeof *bufs; i++) buf_release(bufs[i]);
    batch_writer_release(&im->writer);
    csv_reader_free(im->reader);
}

static int load_lookups(struct importer *im) {
    for (uint32_t i = 0; i < im->map->n_lookups; i++) {
        uint64_t used = used_bytes(im), limit = im->map->memory_bytes;
        TRY(lookup_load(im->map, i, im->name, used < limit ? limit - used : 0, &im->lookups[i],
                        im->err));
    }
    return 0;
}

static int run(struct importer *im) {
    TRY(read_header(im));
    TRY(load_lookups(im));
    TRY(take_rows(im));
    for (uint32_t i = 0; i < im->map->n_events; i++) TRY(emit_all(im, &im->rules[i]));
    return flush(im);
}

int rows_import(const struct map *map, struct csv_source source, const char *name,
                const struct rows_sink *sink, struct rows_stats *stats, struct keel_error *err) {
    *stats = (struct rows_stats){0};
    struct importer im = {.map = map, .name = name, .sink = sink, .stats = stats, .err = err};
    prepare(&im);
    int code = csv_reader_new(&map->format, source, &im.reader, err);
    if (code == 0) code = run(&im);
    release(&im);
    return code;
}
