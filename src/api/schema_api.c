/* GET /api/v1/schema and /api/v1/company: what there is to ask about, and whose data it is.
 *
 * The schema lists names that have arrived: events with their properties, fields of the context,
 * traits. It says nothing of values. The screens complete words from it.
 *
 * Layers: server.h, store/schema.h. Threads: the workers' (the schema only grows, so a list may
 * lack what arrives meanwhile). Limits: those of the schema.
 */
#include "api/app.h"
#include "api/server/server.h"
#include "api/shielded.h"
#include "customer/db.h"
#include "desk/plan/personal.h"
#include "keel_version.h"
#include "store/schema.h"

static const uint32_t NOTHING = UINT32_MAX;

/* Columns and item streams of each stream, as lists that are threaded through arrays. */
struct listing {
    const struct schema *schema;
    struct buf *out;
    uint32_t streams, columns;
    uint32_t *first_column, *next_column; /* by stream; by column                */
    uint32_t *first_list, *next_list;     /* by event stream; by item stream     */
    bool shielded; /* names that are addresses are left out: some senders have them for keys */
};

static bool is_left_out(const struct listing *l, struct str name) {
    return l->shielded && personal_by_shape(name) == PERSONAL_EMAIL;
}

static uint32_t *none(struct arena *a, uint32_t n) {
    uint32_t *at = arena_alloc(a, (n + 1) * sizeof *at);
    for (uint32_t i = 0; i <= n; i++) at[i] = NOTHING;
    return at;
}

static void thread(struct listing *l, struct arena *a) {
    l->first_column = none(a, l->streams);
    l->next_column = none(a, l->columns);
    l->first_list = none(a, l->streams);
    l->next_list = none(a, l->streams);
    for (uint32_t i = l->columns; i-- > 0;) { /* backwards: lists in the order of arrival */
        uint32_t stream = schema_column(l->schema, i).stream;
        if (stream >= l->streams) continue; /* came after its number was read */
        l->next_column[i] = l->first_column[stream];
        l->first_column[stream] = i;
    }
    for (uint32_t i = l->streams; i-- > 0;) {
        struct stream_info info = schema_stream(l->schema, i);
        if (info.kind != STREAM_KIND_ITEMS) continue;
        l->next_list[i] = l->first_list[info.parent];
        l->first_list[info.parent] = i;
    }
}

/* "name":…,"type":… of a stream's columns, with the name of their list in front. */
static void add_columns(const struct listing *l, uint32_t stream, struct str list, bool *any) {
    static const char *const TYPES[] = {[COLUMN_NUMBER] = "number",
                                        [COLUMN_STRING] = "string",
                                        [COLUMN_BOOL] = "boolean",
                                        [COLUMN_JSON] = "json"};
    struct buf name;
    buf_init(&name, 4096);
    for (uint32_t i = l->first_column[stream]; i != NOTHING; i = l->next_column[i]) {
        struct column_info column = schema_column(l->schema, i);
        if (str_is(column.name, SCHEMA_REST) || is_left_out(l, column.name)) continue;
        buf_clear(&name);
        if (list.n) (void)!buf_printf(&name, "%.*s.", STR_ARG(list));
        (void)!buf_add_str(&name, column.name);
        (void)!buf_add_text(l->out, *any ? ",{\"name\":" : "{\"name\":");
        (void)!buf_add_json_str(l->out, buf_str(&name));
        (void)!buf_printf(l->out, ",\"type\":\"%s\"}", TYPES[column.type]);
        *any = true;
    }
    buf_release(&name);
}

static void add_properties(const struct listing *l, uint32_t stream) {
    bool any = false;
    (void)!buf_add_char(l->out, '[');
    add_columns(l, stream, STR(""), &any);
    for (uint32_t i = l->first_list[stream]; i != NOTHING; i = l->next_list[i])
        add_columns(l, i, schema_stream(l->schema, i).name, &any);
    (void)!buf_add_char(l->out, ']');
}

static void add_events(const struct listing *l) {
    bool any = false;
    for (uint32_t i = 0; i < l->streams; i++) {
        struct stream_info info = schema_stream(l->schema, i);
        bool reserved = info.name.n && info.name.p[0] == '$';
        if (info.kind != STREAM_KIND_EVENT || str_is(info.name, SCHEMA_OVERFLOW)) continue;
        if (is_left_out(l, info.name)) continue;
        struct str name = reserved ? (struct str){info.name.p + 1, info.name.n - 1} : info.name;
        (void)!buf_printf(l->out, "%s{\"type\":\"%.*s\",\"name\":", any ? "," : "",
                          reserved ? (int)name.n : 5, reserved ? name.p : "track");
        (void)!buf_add_json_str(l->out, name);
        (void)!buf_add_text(l->out, ",\"properties\":");
        add_properties(l, i);
        (void)!buf_add_char(l->out, '}');
        any = true;
    }
}

static int schema(struct request *r, void *ctx, struct keel_error *err) {
    const struct app *app = ctx;
    const struct schema *names = store_schema(db_store(app->db));
    struct listing l = {.schema = names, .out = &r->reply.body, .shielded = is_shielded(r)};
    (void)err;
    l.streams = schema_streams(names);
    l.columns = schema_columns(names);
    thread(&l, &r->arena);
    (void)!buf_add_text(l.out, "{\"events\":[");
    add_events(&l);
    (void)!buf_add_text(l.out, "],\"context\":");
    add_properties(&l, STREAM_ROWS);
    int64_t identify = schema_find_event(names, schema_reserved_name(EVENT_IDENTIFY));
    (void)!buf_add_text(l.out, ",\"traits\":");
    if (identify >= 0 && identify < l.streams)
        add_properties(&l, (uint32_t)identify);
    else
        (void)!buf_add_text(l.out, "[]");
    (void)!buf_add_text(l.out, "}\n");
    return 0;
}

static int company(struct request *r, void *ctx, struct keel_error *err) {
    const struct app *app = ctx;
    struct str zone;
    struct store_stats stats;
    struct buf *out = &r->reply.body;
    TRY(db_setting(app->db, "time_zone", &r->arena, &zone, err));
    store_stats(db_store(app->db), &stats);
    (void)!buf_add_text(out, "{\"version\":\"" KEEL_VERSION "\",\"time_zone\":");
    (void)!buf_add_json_str(out, zone);
    (void)!buf_add_text(out, ",\"currency\":");
    (void)!buf_add_json_str(out, db_currency(app->db));
    (void)!buf_printf(out, ",\"events\":%llu,\"bytes\":%llu,\"parts\":%llu}\n",
                      (unsigned long long)stats.rows,
                      (unsigned long long)stats.part_bytes + stats.journal_bytes,
                      (unsigned long long)stats.parts);
    return 0;
}

#define PROPERTIES_SCHEMA                                                                          \
    "{\"type\":\"array\",\"items\":{\"type\":\"object\",\"properties\":{"                          \
    "\"name\":{\"type\":\"string\"},"                                                              \
    "\"type\":{\"enum\":[\"number\",\"string\",\"boolean\",\"json\"]}}}}"

const struct route routes_schema_api[] = {
    {.methods = HTTP_GET,
     .pattern = "/api/v1/schema",
     .handle = schema,
     .flags = ROUTE_WORKER | ROUTE_ETAG,
     .right = RIGHT_QUERY,
     .tag = "questions",
     .summary = "The names of events, properties, context and traits that have arrived",
     .answer = "{\"type\":\"object\",\"properties\":{\"events\":{\"type\":\"array\",\"items\":{"
               "\"type\":\"object\",\"properties\":{\"type\":{\"type\":\"string\"},"
               "\"name\":{\"type\":\"string\"},\"properties\":" PROPERTIES_SCHEMA "}}},"
               "\"context\":" PROPERTIES_SCHEMA ",\"traits\":" PROPERTIES_SCHEMA "}}"},
    {.methods = HTTP_GET,
     .pattern = "/api/v1/company",
     .handle = company,
     .flags = ROUTE_WORKER,
     .right = RIGHT_SIGNED_IN,
     .tag = "server",
     .summary = "Whose data it is: time zone, currency, how much is stored",
     .answer = "{\"type\":\"object\",\"properties\":{\"version\":{\"type\":\"string\"},"
               "\"time_zone\":{\"type\":\"string\"},\"currency\":{\"type\":\"string\"},"
               "\"events\":{\"type\":\"integer\"},\"bytes\":{\"type\":\"integer\"},"
               "\"parts\":{\"type\":\"integer\"}}}"},
    {0},
};
