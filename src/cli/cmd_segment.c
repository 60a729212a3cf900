/* `keel segment`: saved segments: saving, showing, who is in them, who would be.
 *
 * What is saved lies in DIR/desk.db, with or without a server; a running one takes a change within
 * a second. Members are those that a running server keeps; without one, the engine is asked, which
 * finds the same.
 *
 * Layers: desk/audience/audience.h, remote.h, acts.h, options.h. Threads: none. Limits:
 * OVERLAP_MOST. */
#include <roaring/roaring.h>
#include <stdio.h>

#include "base/json.h"
#include "base/os.h"
#include "base/output.h"
#include "base/table.h"
#include "cli/acts.h"
#include "cli/desk.h"
#include "cli/notes.h"
#include "cli/options.h"
#include "cli/remote.h"
#include "customer/db.h"
#include "desk/audience/member.h"
#include "desk/saved/name.h"
#include "query/chosen.h"

enum { FORMAT_USUAL = -1, FORMAT_TEXT, FORMAT_JSON, FORMAT_CSV, FORMAT_NDJSON };
enum { OVERLAP_MOST = 50, REPLY_BYTES = 64 << 20, NAME_COLUMN = 24 };

struct args {
    const char *data, *name, *description, *purpose, *owner_marketing, *owner_it, *against, *at,
        *traits;
    int64_t limit;
    int format;
    bool raw;
};

static const struct option OPTIONS[] = {
    {"data", OPTION_TEXT, offsetof(struct args, data), "DIR", "the data directory", NULL, true, 0,
     0},
    {"name", OPTION_TEXT, offsetof(struct args, name), "NAME", "edit: another name", NULL, false, 0,
     0},
    {"description", OPTION_TEXT, offsetof(struct args, description), "TEXT", "add, edit: in words",
     NULL, false, 0, 0},
    {"purpose", OPTION_TEXT, offsetof(struct args, purpose), "TEXT", "add, edit: what it is for",
     NULL, false, 0, 0},
    {"owner-marketing", OPTION_TEXT, offsetof(struct args, owner_marketing), "WHO",
     "add, edit: its owner in marketing", NULL, false, 0, 0},
    {"owner-it", OPTION_TEXT, offsetof(struct args, owner_it), "WHO", "add, edit: its owner in IT",
     NULL, false, 0, 0},
    {"against", OPTION_TEXT, offsetof(struct args, against), "NAME",
     "preview: who would enter and leave this one", NULL, false, 0, 0},
    {"at", OPTION_TEXT, offsetof(struct args, at), "TIME", "preview: as of that moment", NULL,
     false, 0, 0},
    {"traits", OPTION_TEXT, offsetof(struct args, traits), "NAMES",
     "export: with these traits, with commas between them", NULL, false, 0, 0},
    {"limit", OPTION_INTEGER, offsetof(struct args, limit), "N", "members: how many; default 100",
     NULL, false, 1, INT32_MAX},
    {"format", OPTION_CHOICE, offsetof(struct args, format), "F",
     "text or json; of export ndjson or csv", "text|json|csv|ndjson", false, 0, 0},
    {"raw", OPTION_FLAG, offsetof(struct args, raw), NULL,
     "export as csv: texts that look like formulas as they are", NULL, false, 0, 0},
    {0},
};

static int run(int argc, char **argv, struct keel_error *err);

const struct command cmd_segment = {
    .name = "segment",
    .summary = "saved segments: live audiences",
    .changes = "add|edit|remove",
    .operands = "list|add NAME QUERY|show NAME|edit NAME [QUERY]|remove NAME|versions NAME|"
                "members NAME|export NAME|overlap [NAME...]|preview QUERY",
    .min_operands = 1,
    .max_operands = OVERLAP_MOST + 1,
    .options = OPTIONS,
    .description =
        "A segment is a condition on customers with a name (docs/segments.md). NAME may be\n"
        "its number, QUERY is a condition such as: did \"Order Completed\" during last 30 days\n"
        "\n"
        "list     all, with their sizes of now\n"
        "add      saves one; edit changes what is given, as a new version\n"
        "remove   unless others name it; versions shows all there ever were\n"
        "members  the first of them; export all, as NDJSON or CSV\n"
        "overlap  how many customers each pair shares\n"
        "preview  how many customers a condition has, and --against NAME: who would enter\n"
        "         that segment and who would leave it\n",
    .examples = "  keel segment add 'Big baskets' 'sum(\"Order Completed\".revenue) > 500' \\\n"
                "    --data data --purpose 'thank them' --owner-marketing Loyalty\n"
                "  keel segment list --data data\n"
                "  keel segment export 'Big baskets' --data data --format csv\n",
    .run = run,
};

struct work {
    const struct args *args;
    const struct operands *words;
    struct sql *desk;
    struct remote *server; /* NULL: none runs, then: */
    struct db *db;         /* opened when it is needed */
    struct output out;
};

/* ---- asking ---- */

static int call(struct work *w, const char *method, const char *path, struct str body,
                struct buf *reply, struct keel_error *err) {
    return remote_call(w->server, method, path, body, reply, err);
}

static int need_db(struct work *w, struct keel_error *err) {
    struct db_options options = {.store = {.read_only = true}};
    return w->db ? 0 : db_open(w->args->data, &options, &w->db, err);
}

/* Who meets a condition, by the engine. */
static int ask(struct work *w, struct str condition, roaring_bitmap_t **out,
               struct keel_error *err) {
    struct audience_book book;
    struct snapshot *snap;
    uint64_t *bits;
    uint32_t count;
    struct query_options options = {
        .at_ms = QUERY_AT_NOW, .segment = audience_book_find, .segment_ctx = &book};
    TRY(need_db(w, err));
    if (w->args->at && !time_parse(str_from(w->args->at), db_zone(w->db), &options.at_ms))
        FAIL(err, INVALID, "segment: --at %.100s is no time", w->args->at);
    TRY(snapshot_open(db_store(w->db), &snap, err));
    audience_book_init(&book, w->desk);
    struct buf notes;
    buf_init(&notes, 1 << 16);
    int code = customers_chosen(w->db, snap, condition, &options, &bits, &count, &notes, err);
    notes_print(&notes);
    audience_book_release(&book);
    snapshot_close(snap);
    TRY(code);
    *out = audience_member_set(bits, count);
    k_free(bits);
    return 0;
}

static int ask_segment(struct work *w, struct str name, roaring_bitmap_t **out,
                       struct keel_error *err) {
    struct buf text;
    buf_init(&text, 1 << 16);
    (void)!buf_add_text(&text, "in segment ");
    (void)!buf_add_json_str(&text, name);
    int code = ask(w, buf_str(&text), out, err);
    buf_release(&text);
    return code;
}

/* ---- showing ---- */

struct status {
    bool known;
    uint64_t size;
    char state[16];
};

static int server_status(struct work *w, int64_t id, struct status *out, struct keel_error *err) {
    char path[100];
    struct buf reply;
    struct json_value root;
    struct str state;
    int64_t size;
    struct json_parser *parser = json_parser_new(REPLY_BYTES);
    buf_init(&reply, REPLY_BYTES);
    snprintf(path, sizeof path, "/api/v1/segments/%lld", (long long)id);
    int code = call(w, "GET", path, (struct str){NULL, 0}, &reply, err);
    if (code == 0) code = json_parse(parser, buf_str(&reply), &root, err);
    if (code == 0 && json_str(json_get(root, "state"), &state))
        snprintf(out->state, sizeof out->state, "%.*s", STR_ARG(state));
    if (code == 0 && json_i64(json_get(root, "size"), &size)) {
        out->known = true;
        out->size = (uint64_t)size;
    }
    json_parser_free(parser);
    buf_release(&reply);
    return code;
}

static int status_of(struct work *w, const struct audience_row *row, struct status *out,
                     struct keel_error *err) {
    roaring_bitmap_t *set;
    *out = (struct status){.known = false};
    if (w->server) return server_status(w, row->id, out, err);
    TRY(ask_segment(w, row->name, &set, err));
    *out = (struct status){.known = true, .size = roaring_bitmap_get_cardinality(set)};
    roaring_bitmap_free(set);
    return 0;
}

struct listing {
    struct work *w;
    struct keel_error *err;
    uint32_t rows;
};

static int list_row(void *ctx, const struct audience_row *row) {
    struct listing *l = ctx;
    struct output *o = &l->w->out;
    struct status s;
    char size[32] = "?";
    TRY(status_of(l->w, row, &s, l->err));
    if (s.known) snprintf(size, sizeof size, "%llu", (unsigned long long)s.size);
    output_printf(o, "%4lld  ", (long long)row->id);
    output_str(o, row->name);
    for (uint32_t n = text_width(row->name); n < NAME_COLUMN; n++) output_char(o, ' ');
    output_printf(o, "  %10s  v%-3lld  ", size, (long long)row->version);
    if (*s.state && strcmp(s.state, "live") != 0) output_printf(o, "(%s)  ", s.state);
    output_str(o, row->query);
    output_char(o, '\n');
    l->rows++;
    return 0;
}

static void field(struct output *o, const char *name, struct str value) {
    if (!value.n) return;
    output_printf(o, "%-16s", name);
    output_str(o, value);
    output_char(o, '\n');
}

static int show_row(void *ctx, const struct audience_row *row) {
    struct listing *l = ctx;
    struct output *o = &l->w->out;
    char text[TIME_TEXT_MAX];
    struct status s = {.known = false};
    if (!row->removed && l->rows == 0) TRY(status_of(l->w, row, &s, l->err));
    if (l->rows++) output_char(o, '\n');
    output_printf(o, "%-16s%lld, version %lld%s\n", "segment", (long long)row->id,
                  (long long)row->version, row->removed ? ", removed" : "");
    field(o, "name", row->name);
    field(o, "condition", row->query);
    field(o, "hash", row->hash);
    if (s.known) output_printf(o, "%-16s%llu\n", "size", (unsigned long long)s.size);
    field(o, "state", str_from(s.state));
    field(o, "purpose", row->purpose);
    field(o, "description", row->description);
    field(o, "marketing", row->owner_marketing);
    field(o, "IT", row->owner_it);
    struct str when = {text, time_format(NULL, row->changed_ms, text)};
    field(o, "changed", when);
    field(o, "by", row->who);
    return 0;
}

static int version_row(void *ctx, const struct audience_row *row) {
    struct listing *l = ctx;
    l->rows += !l->rows; /* sizes are those of now */
    return show_row(ctx, row);
}

/* ---- members ---- */

static int print_members(struct work *w, const roaring_bitmap_t *set, struct keel_error *err) {
    roaring_uint32_iterator_t it;
    int64_t left = w->args->limit;
    roaring_init_iterator(set, &it);
    for (; it.has_value && left-- > 0; roaring_advance_uint32_iterator(&it)) {
        enum id_kind kind;
        struct str id = identity_id(db_identity(w->db), it.current_value, &kind);
        output_text(&w->out, kind == ID_USER ? "user_id=" : "anonymous_id=");
        output_str(&w->out, id);
        output_char(&w->out, '\n');
    }
    return identity_sound(db_identity(w->db), err);
}

static void print_page(struct work *w, struct json_value members, int64_t *left) {
    struct json_each each = json_each(members);
    struct json_value v;
    struct str id;
    while (json_next(&each, NULL, &v) && (*left)-- > 0) {
        bool user = json_str(json_get(v, "user_id"), &id);
        if (!user && !json_str(json_get(v, "anonymous_id"), &id)) continue;
        output_text(&w->out, user ? "user_id=" : "anonymous_id=");
        output_str(&w->out, id);
        output_char(&w->out, '\n');
    }
}

static int server_members(struct work *w, int64_t id, struct keel_error *err) {
    struct json_parser *parser = json_parser_new(REPLY_BYTES);
    struct buf reply;
    struct json_value root;
    struct str next = STR("0");
    int64_t left = w->args->limit;
    char path[200];
    int code = 0;
    buf_init(&reply, REPLY_BYTES);
    while (code == 0 && left > 0 && next.n) {
        snprintf(path, sizeof path, "/api/v1/segments/%lld/members?limit=%lld&cursor=%.*s",
                 (long long)id, (long long)(left < 1000 ? left : 1000), STR_ARG(next));
        buf_clear(&reply);
        code = call(w, "GET", path, (struct str){NULL, 0}, &reply, err);
        if (code >= 0) code = json_parse(parser, buf_str(&reply), &root, err);
        if (code < 0) break;
        print_page(w, json_get(root, "members"), &left);
        next = STR("");
        (void)json_str(json_get(root, "next_cursor"), &next);
    }
    json_parser_free(parser);
    buf_release(&reply);
    return code;
}

static int take_piece(void *ctx, struct str piece, struct keel_error *err) {
    struct work *w = ctx;
    output_str(&w->out, piece);
    if (!output_failed(&w->out)) return 0;
    *err = w->out.error;
    return err->code;
}

static int export_set(struct work *w, const struct audience_traits *traits, enum audience_form form,
                      struct keel_error *err) {
    const struct audience_traits *chosen = traits->values ? traits : NULL;
    roaring_uint32_iterator_t it;
    struct buf line;
    uint64_t row = 0;
    int code = 0;
    buf_init(&line, 1 << 24);
    audience_member_head(form, chosen, &line);
    roaring_init_iterator(traits->members, &it);
    for (; it.has_value && code == 0; roaring_advance_uint32_iterator(&it)) {
        audience_member_line(db_identity(w->db), it.current_value, form, chosen, row++, &line);
        code = take_piece(w, buf_str(&line), err);
        buf_clear(&line);
    }
    if (code == 0) code = take_piece(w, buf_str(&line), err); /* the head of none */
    buf_release(&line);
    return code;
}

static int ask_traits(struct work *w, struct str name, struct audience_traits *out,
                      struct keel_error *err) {
    struct audience_book book;
    struct snapshot *snap;
    struct query_options options = {
        .at_ms = QUERY_AT_NOW, .segment = audience_book_find, .segment_ctx = &book};
    if (!w->args->traits) return ask_segment(w, name, &out->members, err);
    TRY(need_db(w, err));
    TRY(snapshot_open(db_store(w->db), &snap, err));
    audience_book_init(&book, w->desk);
    int code =
        audience_traits_ask(w->db, snap, name, str_from(w->args->traits), &options, out, err);
    audience_book_release(&book);
    snapshot_close(snap);
    return code;
}

/* ---- overlap ---- */

struct overlap {
    uint32_t n;
    char names[OVERLAP_MOST][NAME_BYTES + 1];
    int64_t ids[OVERLAP_MOST];
    uint64_t shared[OVERLAP_MOST][OVERLAP_MOST];
};

static int note_segment(void *ctx, const struct audience_row *row) {
    struct overlap *o = ctx;
    if (o->n == OVERLAP_MOST) return 0;
    o->ids[o->n] = row->id;
    snprintf(o->names[o->n++], NAME_BYTES + 1, "%.*s", STR_ARG(row->name));
    return 0;
}

static int overlap_here(struct work *w, struct overlap *o, struct keel_error *err) {
    roaring_bitmap_t *sets[OVERLAP_MOST] = {0};
    int code = 0;
    for (uint32_t i = 0; i < o->n && code == 0; i++)
        code = ask_segment(w, str_from(o->names[i]), &sets[i], err);
    for (uint32_t i = 0; i < o->n && code == 0; i++)
        for (uint32_t k = 0; k < o->n; k++)
            o->shared[i][k] = roaring_bitmap_and_cardinality(sets[i], sets[k]);
    for (uint32_t i = 0; i < o->n; i++)
        if (sets[i]) roaring_bitmap_free(sets[i]);
    return code;
}

static void read_matrix(struct json_value matrix, struct overlap *o) {
    struct json_each rows = json_each(matrix), cells;
    struct json_value row, cell;
    int64_t number;
    for (uint32_t i = 0; i < o->n && json_next(&rows, NULL, &row); i++) {
        cells = json_each(row);
        for (uint32_t k = 0; k < o->n && json_next(&cells, NULL, &cell); k++)
            if (json_i64(cell, &number)) o->shared[i][k] = (uint64_t)number;
    }
}

static int overlap_there(struct work *w, struct overlap *o, struct keel_error *err) {
    struct json_parser *parser = json_parser_new(REPLY_BYTES);
    struct buf path, reply;
    struct json_value root;
    buf_init(&path, 1 << 16);
    buf_init(&reply, REPLY_BYTES);
    (void)!buf_add_text(&path, "/api/v1/segments/overlap?ids=");
    for (uint32_t i = 0; i < o->n; i++)
        (void)!buf_printf(&path, "%s%lld", i ? "," : "", (long long)o->ids[i]);
    (void)!buf_add_char(&path, 0);
    int code = call(w, "GET", (const char *)path.p, (struct str){NULL, 0}, &reply, err);
    if (code == 0) code = json_parse(parser, buf_str(&reply), &root, err);
    if (code == 0) read_matrix(json_get(root, "overlap"), o);
    json_parser_free(parser);
    buf_release(&path);
    buf_release(&reply);
    return code;
}

static int overlap(struct work *w, struct keel_error *err) {
    struct overlap *o = k_zalloc(sizeof *o);
    int code = 0;
    if (w->words->n == 1) code = audience_list(w->desk, 0, note_segment, o, err);
    for (int i = 1; i < w->words->n && code == 0; i++) {
        int64_t id;
        code = audience_find(w->desk, str_from(w->words->word[i]), &id, err);
        if (code == 0) code = audience_list(w->desk, id, note_segment, o, err);
    }
    if (code == 0) code = w->server ? overlap_there(w, o, err) : overlap_here(w, o, err);
    for (uint32_t i = 0; i < o->n && code == 0; i++) {
        output_text(&w->out, o->names[i]);
        for (uint32_t n = text_width(str_from(o->names[i])); n < NAME_COLUMN; n++)
            output_char(&w->out, ' ');
        for (uint32_t k = 0; k < o->n; k++)
            output_printf(&w->out, "  %10llu", (unsigned long long)o->shared[i][k]);
        output_char(&w->out, '\n');
    }
    k_free(o);
    return code;
}

/* ---- preview ---- */

static void print_preview(struct work *w, uint64_t size, uint64_t enter, uint64_t leave,
                          uint64_t stay) {
    output_printf(&w->out, "%llu customers", (unsigned long long)size);
    if (w->args->against)
        output_printf(&w->out, ": %llu enter, %llu leave, %llu stay", (unsigned long long)enter,
                      (unsigned long long)leave, (unsigned long long)stay);
    output_char(&w->out, '\n');
}

static int preview_here(struct work *w, struct str condition, struct keel_error *err) {
    roaring_bitmap_t *set, *saved;
    TRY(ask(w, condition, &set, err));
    uint64_t size = roaring_bitmap_get_cardinality(set), stay = 0, enter = 0, leave = 0;
    int code = w->args->against ? ask_segment(w, str_from(w->args->against), &saved, err) : 0;
    if (code == 0 && w->args->against) {
        stay = roaring_bitmap_and_cardinality(set, saved);
        enter = size - stay;
        leave = roaring_bitmap_get_cardinality(saved) - stay;
        roaring_bitmap_free(saved);
    }
    roaring_bitmap_free(set);
    if (code == 0) print_preview(w, size, enter, leave, stay);
    return code;
}

/* "notes" of a reply. */
static void print_notes(struct json_value notes) {
    struct json_each each = json_each(notes);
    struct json_value note;
    struct str text;
    struct buf lines;
    buf_init(&lines, 1 << 16);
    while (json_next(&each, NULL, &note))
        if (json_str(note, &text)) (void)!buf_printf(&lines, "note: %.*s\n", STR_ARG(text));
    notes_print(&lines);
}

static int print_reply(struct work *w, struct str reply, struct keel_error *err) {
    struct json_parser *parser = json_parser_new(REPLY_BYTES);
    struct json_value root, against;
    int64_t size = 0, enter = 0, leave = 0, stay = 0;
    int code = json_parse(parser, reply, &root, err);
    if (code == 0) {
        against = json_get(root, "against");
        (void)json_i64(json_get(root, "size"), &size);
        (void)json_i64(json_get(against, "enter"), &enter);
        (void)json_i64(json_get(against, "leave"), &leave);
        (void)json_i64(json_get(against, "stay"), &stay);
        print_preview(w, (uint64_t)size, (uint64_t)enter, (uint64_t)leave, (uint64_t)stay);
        print_notes(json_get(root, "notes"));
    }
    json_parser_free(parser);
    return code;
}

static int preview_there(struct work *w, struct str condition, struct keel_error *err) {
    struct buf body, reply;
    int64_t id = 0;
    if (w->args->against) TRY(audience_find(w->desk, str_from(w->args->against), &id, err));
    buf_init(&body, 1 << 20);
    buf_init(&reply, REPLY_BYTES);
    (void)!buf_add_text(&body, "{\"query\":");
    (void)!buf_add_json_str(&body, condition);
    if (id) (void)!buf_printf(&body, ",\"id\":%lld", (long long)id);
    if (w->args->at) {
        (void)!buf_add_text(&body, ",\"at\":");
        (void)!buf_add_json_str(&body, str_from(w->args->at));
    }
    (void)!buf_add_char(&body, '}');
    int code = call(w, "POST", "/api/v1/segments/preview", buf_str(&body), &reply, err);
    buf_release(&body);
    if (code == 0 && w->args->format == FORMAT_JSON) {
        output_str(&w->out, buf_str(&reply));
        output_char(&w->out, '\n');
    } else if (code == 0) {
        code = print_reply(w, buf_str(&reply), err);
    }
    buf_release(&reply);
    return code;
}

/* The server's answer to the question how many they are; its preview would show some. */
static int ask_notes_there(struct work *w, struct str condition, struct buf *reply,
                           struct keel_error *err) {
    struct buf body, question;
    buf_init(&body, 1 << 20);
    buf_init(&question, 1 << 20);
    (void)!buf_add_text(&question, "count customers where ");
    (void)!buf_add_str(&question, condition);
    (void)!buf_add_text(&body, "{\"query\":");
    (void)!buf_add_json_str(&body, buf_str(&question));
    (void)!buf_add_char(&body, '}');
    int code = call(w, "POST", "/api/v1/query", buf_str(&body), reply, err);
    buf_release(&body);
    buf_release(&question);
    return code;
}

/* A name that nobody used is told when the segment is saved: it would stay empty. */
static void tell_notes(struct work *w, struct str condition) {
    struct json_parser *parser = json_parser_new(REPLY_BYTES);
    struct json_value root;
    struct keel_error ignored;
    roaring_bitmap_t *set;
    struct buf reply;
    buf_init(&reply, REPLY_BYTES);
    if (!w->server) {
        if (ask(w, condition, &set, &ignored) == 0) roaring_bitmap_free(set);
    } else if (ask_notes_there(w, condition, &reply, &ignored) == 0 &&
               json_parse(parser, buf_str(&reply), &root, &ignored) == 0) {
        print_notes(json_get(root, "notes"));
    }
    buf_release(&reply);
    json_parser_free(parser);
}

static int preview(struct work *w, struct str text, struct keel_error *err) {
    struct arena arena;
    struct str canonical;
    const struct query_cond *cond;
    arena_init(&arena, SIZE_MAX / 2);
    int code = audience_read(text, &arena, &cond, &canonical, err);
    if (code == 0)
        code = w->server ? preview_there(w, canonical, err) : preview_here(w, canonical, err);
    arena_release(&arena);
    return code;
}

/* ---- verbs ---- */

static struct str given(const char *text) { return text ? str_from(text) : (struct str){NULL, 0}; }

static struct audience_spec spec_of(const struct args *args, char user[ACT_WHO_BYTES]) {
    return (struct audience_spec){.name = given(args->name),
                                  .description = given(args->description),
                                  .purpose = given(args->purpose),
                                  .owner_marketing = given(args->owner_marketing),
                                  .owner_it = given(args->owner_it),
                                  .who = str_from(act_who(user))};
}

static int add(struct work *w, struct keel_error *err) {
    char user[ACT_WHO_BYTES];
    struct audience_spec spec = spec_of(w->args, user);
    struct act noted;
    int64_t id;
    if (w->words->n != 3)
        FAIL(err, INVALID, "segment add: say its name and its condition; see: keel segment --help");
    spec.name = str_from(w->words->word[1]);
    spec.query = str_from(w->words->word[2]);
    TRY(act_begin(&noted, w->args->data, "keel segment add", err));
    TRY(act_end(&noted, spec.name, audience_add(w->desk, &spec, now_ms(), &id, err), err));
    output_printf(&w->out, "segment %lld\n", (long long)id);
    output_flush(&w->out); /* then what stands beside it */
    tell_notes(w, spec.query);
    return 0;
}

/* As JSON: what the server says, which knows more. */
static int show_json(struct work *w, const char *path, struct keel_error *err) {
    struct buf reply;
    if (!w->server)
        FAIL(err, UNSUPPORTED, "segment: --format json asks a running server: keel serve");
    buf_init(&reply, REPLY_BYTES);
    int code = call(w, "GET", path, (struct str){NULL, 0}, &reply, err);
    if (code == 0) output_str(&w->out, buf_str(&reply));
    if (code == 0) output_char(&w->out, '\n');
    buf_release(&reply);
    return code;
}

static int list(struct work *w, struct keel_error *err) {
    struct listing l = {.w = w, .err = err};
    if (w->args->format == FORMAT_JSON) return show_json(w, "/api/v1/segments", err);
    return audience_list(w->desk, 0, list_row, &l, err);
}

static int export_members(struct work *w, int64_t id, struct str name, struct keel_error *err) {
    bool csv = w->args->format == FORMAT_CSV;
    enum audience_form form = !csv           ? AUDIENCE_NDJSON
                              : w->args->raw ? AUDIENCE_CSV_RAW
                                             : AUDIENCE_CSV;
    struct audience_traits traits = {0};
    struct buf path;
    int code;
    if (!w->server) {
        code = ask_traits(w, name, &traits, err);
        if (code == 0) code = export_set(w, &traits, form, err);
        audience_traits_release(&traits);
        return code;
    }
    buf_init(&path, 1 << 16);
    (void)!buf_printf(&path, "/api/v1/segments/%lld/export?format=%s%s", (long long)id,
                      csv ? "csv" : "ndjson", w->args->raw ? "&raw=true" : "");
    if (w->args->traits) (void)!buf_add_text(&path, "&traits=");
    if (w->args->traits) remote_escape(&path, str_from(w->args->traits));
    (void)!buf_add_char(&path, 0);
    code = path.failed ? error_set(err, KEEL_E_LIMIT, "the names of traits are too long")
                       : remote_follow(w->server, (const char *)path.p, take_piece, w, err);
    buf_release(&path);
    return code;
}

static int members(struct work *w, int64_t id, struct str name, struct keel_error *err) {
    roaring_bitmap_t *set;
    if (w->server) return server_members(w, id, err);
    TRY(ask_segment(w, name, &set, err));
    int code = print_members(w, set, err);
    roaring_bitmap_free(set);
    return code;
}

static int edit(struct work *w, int64_t id, struct keel_error *err) {
    char user[ACT_WHO_BYTES];
    struct audience_spec spec = spec_of(w->args, user);
    struct act noted;
    if (w->words->n > 2) spec.query = str_from(w->words->word[2]);
    TRY(act_begin(&noted, w->args->data, "keel segment edit", err));
    return act_end(&noted, str_from(w->words->word[1]),
                   audience_change(w->desk, id, &spec, now_ms(), err), err);
}

static int take_away(struct work *w, int64_t id, struct keel_error *err) {
    char user[ACT_WHO_BYTES];
    struct str who = str_from(act_who(user));
    struct act noted;
    TRY(act_begin(&noted, w->args->data, "keel segment remove", err));
    return act_end(&noted, str_from(w->words->word[1]),
                   audience_remove(w->desk, id, who, now_ms(), err), err);
}

static int with_segment(struct work *w, const char *verb, struct keel_error *err) {
    struct listing l = {.w = w, .err = err};
    struct overlap *one;
    char path[100];
    int64_t id;
    struct str which = str_from(w->words->word[1]);
    if (strcmp(verb, "versions") == 0 && str_to_i64(which, &id)) /* maybe of one that is gone */
        return audience_versions(w->desk, id, version_row, &l, err);
    TRY(audience_find(w->desk, which, &id, err));
    if (strcmp(verb, "versions") == 0) return audience_versions(w->desk, id, version_row, &l, err);
    if (strcmp(verb, "remove") == 0) return take_away(w, id, err);
    if (strcmp(verb, "show") == 0 && w->args->format == FORMAT_JSON) {
        snprintf(path, sizeof path, "/api/v1/segments/%lld", (long long)id);
        return show_json(w, path, err);
    }
    if (strcmp(verb, "show") == 0) return audience_list(w->desk, id, show_row, &l, err);
    if (strcmp(verb, "edit") == 0) return edit(w, id, err);
    one = k_zalloc(sizeof *one);
    int code = audience_list(w->desk, id, note_segment, one, err);
    struct str name = str_from(one->names[0]);
    if (code == 0)
        code = strcmp(verb, "export") == 0 ? export_members(w, id, name, err)
                                           : members(w, id, name, err);
    k_free(one);
    return code;
}

/* What is not made is refused: a table that was meant to be CSV is found out too late. */
static int check_format(const struct args *args, const char *verb, struct keel_error *err) {
    bool lines = args->format == FORMAT_CSV || args->format == FORMAT_NDJSON;
    if (args->format == FORMAT_USUAL || lines == (strcmp(verb, "export") == 0)) return 0;
    if (lines) FAIL(err, INVALID, "segment %s: --format is text or json; export has csv", verb);
    FAIL(err, INVALID, "segment export: --format is ndjson or csv");
}

static int act(struct work *w, struct keel_error *err) {
    static const char *const verbs[] = {"show",    "edit",   "remove", "versions",
                                        "members", "export", "preview"};
    const char *verb = w->words->word[0];
    bool known = false;
    TRY(check_format(w->args, verb, err));
    if (strcmp(verb, "list") == 0) return list(w, err);
    if (strcmp(verb, "add") == 0) return add(w, err);
    if (strcmp(verb, "overlap") == 0) return overlap(w, err);
    for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++) known |= strcmp(verb, verbs[i]) == 0;
    if (!known)
        FAIL(err, INVALID, "segment: unknown word \"%.100s\"; see: keel segment --help", verb);
    if (w->words->n < 2)
        FAIL(err, INVALID, "segment %s: say %s", verb,
             strcmp(verb, "preview") == 0 ? "the condition" : "which one, by its name or number");
    if (strcmp(verb, "preview") == 0) return preview(w, str_from(w->words->word[1]), err);
    return with_segment(w, verb, err);
}

static int run(int argc, char **argv, struct keel_error *err) {
    struct args args = {.limit = 100, .format = FORMAT_USUAL};
    struct operands words;
    struct work w = {.args = &args, .words = &words};
    TRY(options_parse(&cmd_segment, argc, argv, &args, &words, err));
    TRY(desk_open(args.data, &w.desk, err));
    int code = audience_tables(w.desk, err);
    if (code == 0 && remote_open(args.data, &w.server, NULL) < 0) w.server = NULL;
    if (code == 0) code = output_open(&w.out, NULL, err);
    if (code == 0) {
        code = act(&w, err);
        int closed = output_close(&w.out, code < 0 ? NULL : err);
        if (code == 0) code = closed;
    }
    remote_close(w.server);
    if (w.db) {
        int closed = db_close(w.db, code < 0 ? NULL : err);
        if (code == 0) code = closed;
    }
    sql_close(w.desk);
    return code;
}
