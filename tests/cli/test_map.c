/* Maps: tables of (map, file) and the events that come of it; what is said of bad maps, with its
 * line; message ids on a second run; the shipped maps on the real files against figures that SQLite
 * computes from the same rows. ctest: timeout=600 */
#include "cli/import/rows.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>
#include <sqlite3.h>

#include "base/os.h"

enum { OUT_MAX = 256 << 20 };

/* ---- events as text ---- */

struct result {
    struct buf text; /* a line for every event and refusal */
    struct buf keys; /* event_key after event_key          */
    uint64_t by_cause[REJECT_CAUSES];
    bool counting; /* count the events instead of writing them */
    uint64_t events, items, anonymous, identifies;
    struct {
        char name[32];
        uint64_t n;
        double revenue;
    } names[4];
};

static void add_value(struct buf *b, const struct field_view *f) {
    if (f->type == VALUE_NUMBER)
        buf_add_f64(b, f->number);
    else if (f->type == VALUE_STRING)
        buf_add_json_str(b, f->text);
    else
        buf_add_text(b, f->type == VALUE_TRUE ? "true" : "false");
}

static void add_list(struct buf *b, const struct batch_reader *batch, struct event_view *event,
                     uint32_t items) {
    struct field_view f;
    buf_add_char(b, '[');
    for (uint32_t i = 0; i < items; i++) {
        const char *comma = "";
        buf_add_text(b, i > 0 ? ",{" : "{");
        item_next(event);
        while (item_field(batch, event, &f)) {
            buf_printf(b, "%s%.*s=", comma, STR_ARG(batch->names[f.name]));
            add_value(b, &f);
            comma = " ";
        }
        buf_add_char(b, '}');
    }
    buf_add_char(b, ']');
}

/* track "Name" 2020-01-01T00:00:00Z user=u anonymous=a: property="text" .context=1 list=[{…}] */
static void add_event(struct buf *b, const struct batch_reader *batch, struct event_view *event) {
    char time[TIME_TEXT_MAX];
    struct field_view f;
    size_t n = time_format(NULL, event->head.time_ms, time);
    buf_add_text(b, event->head.type == EVENT_IDENTIFY ? "identify" : "track ");
    if (event->head.name.n) buf_add_json_str(b, event->head.name);
    buf_printf(b, " %.*s", (int)n, time);
    if (event->head.user_id.n) buf_printf(b, " user=%.*s", STR_ARG(event->head.user_id));
    if (event->head.anonymous_id.n)
        buf_printf(b, " anonymous=%.*s", STR_ARG(event->head.anonymous_id));
    buf_add_char(b, ':');
    while (field_next(batch, event, &f)) {
        buf_printf(b, " %s%.*s=", f.scope == SCOPE_CONTEXT ? "." : "",
                   STR_ARG(batch->names[f.name]));
        if (f.type == VALUE_LIST)
            add_list(b, batch, event, f.items);
        else
            add_value(b, &f);
    }
    assert_false(event->r.bad);
    buf_add_char(b, '\n');
}

static void count_event(struct result *r, const struct batch_reader *batch,
                        struct event_view *event) {
    struct field_view f;
    size_t i = 0;
    r->events++;
    if (event->head.type == EVENT_IDENTIFY) {
        r->identifies++;
        return;
    }
    r->anonymous += event->head.user_id.n == 0;
    while (r->names[i].n > 0 && !str_is(event->head.name, r->names[i].name)) i++;
    snprintf(r->names[i].name, sizeof r->names[i].name, "%.*s", STR_ARG(event->head.name));
    r->names[i].n++;
    while (field_next(batch, event, &f)) {
        if (f.type == VALUE_LIST) r->items += f.items;
        if (f.type == VALUE_NUMBER && str_is(batch->names[f.name], "revenue"))
            r->names[i].revenue += f.number;
    }
}

static int take_batch(void *ctx, struct str bytes, uint32_t events, struct keel_error *err) {
    struct result *r = ctx;
    struct arena arena;
    struct batch_reader batch;
    struct event_view event;
    uint32_t n = 0;
    arena_init(&arena, SIZE_MAX);
    assert_int_equal(batch_open(&batch, bytes, &arena, err), 0);
    while (batch_next(&batch, &event, err) == 1) {
        buf_add(&r->keys, &event.head.key.lo, sizeof event.head.key.lo);
        buf_add(&r->keys, &event.head.key.hi, sizeof event.head.key.hi);
        if (r->counting)
            count_event(r, &batch, &event);
        else
            add_event(&r->text, &batch, &event);
        n++;
    }
    assert_int_equal(n, events);
    arena_release(&arena);
    return 0;
}

static int take_reject(void *ctx, const struct reject *reject, struct keel_error *err) {
    (void)err;
    struct result *r = ctx;
    r->by_cause[reject->cause] += reject->rows;
    buf_printf(&r->text, "reject %d×%d %s (%.*s) «%.*s»\n", (int)reject->line, (int)reject->rows,
               reject_text(reject->cause), STR_ARG(reject->detail), STR_ARG(reject->raw));
    return 0;
}

static void result_init(struct result *r) {
    *r = (struct result){0};
    buf_init(&r->text, OUT_MAX);
    buf_init(&r->keys, OUT_MAX);
}

static void result_release(struct result *r) {
    buf_release(&r->text);
    buf_release(&r->keys);
}

static int run_map(const char *map_text, const char *csv, const char *name, struct result *r,
                   struct rows_stats *stats, struct keel_error *err) {
    struct map *map;
    struct str text = str_from(csv);
    struct rows_sink sink = {take_batch, take_reject, NULL, r};
    TRY(map_parse(str_from(map_text), "m.toml", &map, err));
    int code = rows_import(map, csv_from_text(&text), name, &sink, stats, err);
    map_free(map);
    return code;
}

/* ---- tables ---- */

#define HEAD "namespace = \"t\"\n"
#define RULE HEAD "[[event]]\nname = \"E\"\ntime = \"t\"\nuser_id = \"{u}\"\n"
#define GROUP RULE "group_by = \"g\"\n"

static const struct {
    const char *map, *csv, *result;
} cases[] = {
    /* the smallest map; ISO times with and without zone */
    {RULE, "t,u\n2020-01-02,a\n2020-01-02T03:04:05.6+01:00,b\n",
     "track \"E\" 2020-01-02T00:00:00Z user=a:\n"
     "track \"E\" 2020-01-02T02:04:05.600Z user=b:\n"},
    /* zone of the map and of the rule, several columns, a format, a constant */
    {"zone = \"Europe/London\"\n" RULE, "t,u\n2020-07-01 12:00,a\n",
     "track \"E\" 2020-07-01T11:00:00Z user=a:\n"},
    {HEAD "[[event]]\nname = \"E\"\nuser_id = \"u\"\n"
          "time = { columns = [\"d\", \"h\"], format = \"%d/%m/%Y %H:%M\", zone = \"+02:00\" }\n",
     "d,h\n31/12/2019,23:30\n", "track \"E\" 2019-12-31T21:30:00Z user=u:\n"},
    {HEAD "[[event]]\ntype = \"identify\"\nuser_id = \"{u}\"\ntime = 2017-01-01\n"
          "[event.traits]\nage = { column = \"a\", type = \"number\" }\n",
     "u,a\nx,7\n", "identify 2017-01-01T00:00:00Z user=x: age=7\n"},
    /* every source of a property, nulls stay out */
    {"[format]\nnull = [\"\", \"NA\"]\n[[event]]\nname = \"E\"\ntime = \"t\"\nuser_id = \"{u}\"\n"
     "[event.properties]\ns = \"s\"\nn = { column = \"n\", type = \"number\" }\n"
     "b = { column = \"b\", type = \"bool\" }\n"
     "w = { column = \"w\", type = \"time\", format = \"%Y%m%d\" }\n"
     "v = { value = \"n * 1.5 - 2\" }\nx = { text = \"{s}/{u}\" }\n"
     "c = { constant = \"GBP\" }\n"
     "d = 5\ne = true\n"
     "[event.context]\nchannel = { constant = \"shop\" }\n",
     "t,u,s,n,b,w\n2020-01-01,a,x,3,yes,20200102\n2020-01-01,b,NA,,NA,\n",
     "track \"E\" 2020-01-01T00:00:00Z user=a: s=\"x\" n=3 b=true w=\"2020-01-02T00:00:00Z\" v=2.5 "
     "x=\"x/a\" c=\"GBP\" d=5 e=true .channel=\"shop\"\n"
     "track \"E\" 2020-01-01T00:00:00Z user=b: c=\"GBP\" d=5 e=true .channel=\"shop\"\n"},
    /* names by condition; ids under a condition; rows that meet no rule */
    {HEAD "[[event]]\nname = [{ text = \"Many {k}\", when = { n = { above = 1 } } }, \"One\"]\n"
          "when = { k = { not = [\"skip\", \"hop\"] } }\ntime = \"t\"\nuser_id = \"{u}\"\n"
          "anonymous_id = { text = \"k:{k}\", when = { u = { empty = true } } }\n",
     "t,u,k,n\n2020-01-01,a,x,2\n2020-01-01,,y,1\n2020-01-01,b,skip,1\n",
     "track \"Many x\" 2020-01-01T00:00:00Z user=a:\n"
     "track \"One\" 2020-01-01T00:00:00Z anonymous=k:y:\n"
     "1 without rule\n"},
    /* each condition */
    {HEAD
     "[[event]]\nname = \"eq\"\nwhen = { u = \"a\" }\ntime = \"t\"\nuser_id = \"{u}\"\n"
     "[[event]]\nname = \"in\"\nwhen = { u = [\"b\", \"c\"] }\ntime = \"t\"\nuser_id = \"{u}\"\n"
     "[[event]]\nname = \"prefix\"\nwhen = { u = { prefix = \"x\", not_prefix = [\"xy\"] } }\n"
     "time = \"t\"\nuser_id = \"{u}\"\n"
     "[[event]]\nname = \"is2\"\nwhen = { n = 2 }\ntime = \"t\"\nuser_id = \"{u}\"\n"
     "[[event]]\nname = \"range\"\nwhen = { n = { at_least = 0.1, below = 0.3 } }\n"
     "time = \"t\"\nuser_id = \"{u}\"\n"
     "[[event]]\nname = \"none\"\nwhen = { n = { empty = true }, u = { not_in = [\"q\"] } }\n"
     "time = \"t\"\nuser_id = \"{u}\"\n"
     "[[event]]\nname = \"most\"\nwhen = { n = { at_most = -1 } }\ntime = \"t\"\n"
     "user_id = \"{u}\"\n",
     "t,u,n\n2020-01-01,a,2.0\n2020-01-01,b,0.3\n2020-01-01,xz,0.1\n2020-01-01,xy,x\n"
     "2020-01-01,q,\n2020-01-01,r,\n2020-01-01,s,-1\n",
     "track \"eq\" 2020-01-01T00:00:00Z user=a:\ntrack \"is2\" 2020-01-01T00:00:00Z user=a:\n"
     "track \"in\" 2020-01-01T00:00:00Z user=b:\ntrack \"prefix\" 2020-01-01T00:00:00Z user=xz:\n"
     "track \"range\" 2020-01-01T00:00:00Z user=xz:\ntrack \"none\" 2020-01-01T00:00:00Z user=r:\n"
     "track \"most\" 2020-01-01T00:00:00Z user=s:\n2 without rule\n"},
    /* groups: rows anywhere, earliest time, exact sums, extremes, first and last, items */
    {GROUP "[event.properties]\ng = \"g\"\nsum = { sum = \"q * p\" }\nmin = { min = \"p\" }\n"
           "max = { max = \"p\" }\nn = { count = true }\nfirst = { first = \"q\" }\n"
           "last = { last = \"q\", type = \"number\" }\n[event.items]\nname = \"products\"\n"
           "[event.items.properties]\nsku = \"s\"\nqty = { column = \"q\", type = \"number\" }\n"
           "total = { value = \"q * p\" }\nkind = { constant = \"k\" }\n",
     "t,u,g,s,q,p\n2020-01-02,a,1,x,3,0.10\n2020-01-01,b,2,y,1,9.99\n2020-01-01,a,1,,1,0.20\n"
     "2020-01-03,a,1,z,,5\n",
     "track \"E\" 2020-01-01T00:00:00Z user=a: g=\"1\" sum=0.5 min=0.1 max=5 n=3 first=\"3\" "
     "last=1 "
     "products=[{sku=\"x\" qty=3 total=0.3 kind=\"k\"},{qty=1 total=0.2 kind=\"k\"},"
     "{sku=\"z\" kind=\"k\"}]\n"
     "track \"E\" 2020-01-01T00:00:00Z user=b: g=\"2\" sum=9.99 min=9.99 max=9.99 n=1 first=\"1\" "
     "last=1 products=[{sku=\"y\" qty=1 total=9.99 kind=\"k\"}]\n"},
    /* adjacent groups; one that comes again is not lost in silence */
    {GROUP "group_order = \"adjacent\"\n[event.properties]\nn = { count = true }\n",
     "t,u,g\n2020-01-01,a,1\n2020-01-01,a,1\n2020-01-01,b,2\n2020-01-01,a,1\n2020-01-01,c,3\n",
     "reject 5×1 group not adjacent (rule “E”: column “g” is “1”) «2020-01-01,a,1»\n"
     "track \"E\" 2020-01-01T00:00:00Z user=a: n=2\ntrack \"E\" 2020-01-01T00:00:00Z user=b: n=1\n"
     "track \"E\" 2020-01-01T00:00:00Z user=c: n=1\n"},
    /* items without groups */
    {RULE "[event.items]\nname = \"products\"\n[event.items.properties]\nsku = \"s\"\n",
     "t,u,s\n2020-01-01,a,x\n",
     "track \"E\" 2020-01-01T00:00:00Z user=a: products=[{sku=\"x\"}]\n"},
    /* refusals, each with line, cause, column and value; a refused row leaves its group's sum alone
     */
    {GROUP
     "[event.properties]\nsum = { sum = \"q\" }\nflag = { column = \"b\", type = \"bool\" }\n",
     "t,u,g,q,b\n\"2020-01-01\",a,1,1,1\n2020-13-01,a,1,1,1\n\n2020-01-01,a,1,ten,1\n"
     "2020-01-01,z,1,1,1\n2020-01-01,a,,1,1\n2020-01-01,a,2,1,maybe\n2020-01-01,,3,1,1\n"
     "2020-01-01,a,1\n,a,1,1,1\n2020-01-01,a,1,1.25,1\n",
     "reject 3×1 no valid time (rule “E”: column “t” is “2020-13-01”) «2020-13-01,a,1,1,1»\n"
     "reject 5×1 not a number (rule “E”: column “q” is “ten”) «2020-01-01,a,1,ten,1»\n"
     "reject 6×1 group of several users (rule “E”: column “u” is “z”) «2020-01-01,z,1,1,1»\n"
     "reject 7×1 no group (rule “E”: column “g” is empty) «2020-01-01,a,,1,1»\n"
     "reject 8×1 neither true nor false (rule “E”: column “b” is “maybe”) "
     "«2020-01-01,a,2,1,maybe»\n"
     "reject 9×1 no identifier (rule “E”: column “u” is empty) «2020-01-01,,3,1,1»\n"
     "reject 10×1 wrong number of columns (3 columns, expected 5) «2020-01-01,a,1»\n"
     "reject 11×1 no valid time (rule “E”: column “t” is empty) «,a,1,1,1»\n"
     "track \"E\" 2020-01-01T00:00:00Z user=a: sum=2.25 flag=true\n"},
    {HEAD "[[event]]\nname = \"{n}\"\ntime = \"t\"\nuser_id = \"{u}\"\nmessage_id = \"{m}\"\n",
     "t,u,n,m\n2020-01-01,a,,1\n2020-01-01,a,x,\n",
     "reject 2×1 no event name (rule “{n}”: column “n” is empty) «2020-01-01,a,,1»\n"
     "reject 3×1 no message id (rule “{n}”: column “m” is empty) «2020-01-01,a,x,»\n"},
    /* a null that is written, and conditions of which none holds */
    {HEAD "[format]\nnull = [\"\", \"NA\"]\n[[event]]\ntime = \"t\"\nlabel = \"l\"\n"
          "name = [{ text = \"E\", when = { u = \"a\" } }]\n"
          "user_id = { text = \"{u}\", when = { u = { not = \"-\" } } }\n",
     "t,u\n2020-01-01,NA\n2020-01-01,-\n2020-01-01,b\n2020-01-01,a\n",
     "reject 2×1 no identifier (rule “l”: column “u” is “NA”, which stands for no value) "
     "«2020-01-01,NA»\n"
     "reject 3×1 no identifier (rule “l”: no condition of user_id, anonymous_id holds) "
     "«2020-01-01,-»\n"
     "reject 4×1 no event name (rule “l”: no condition of a name holds) «2020-01-01,b»\n"
     "track \"E\" 2020-01-01T00:00:00Z user=a:\n"},
    /* columns from the map; braces and spaces in names; numbers as the file has them */
    {HEAD "[format]\nkind = \"whitespace\"\nheader = false\ncolumns = [\"t\", \"u\", \"a b\"]\n"
          "[[event]]\nname = \"{{E}}\"\ntime = { column = \"t\", format = \"%Y%m%d\" }\n"
          "user_id = \"{u}\"\n[event.properties]\nx = { value = \"{a b} * {a b} + {a b}\" }\n",
     "  20200101  7   0.1 \n", "track \"{E}\" 2020-01-01T00:00:00Z user=7: x=0.11\n"},
};

static void makes_events(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct keel_error err = {0};
        struct rows_stats stats = {0};
        struct result r;
        struct buf map;
        result_init(&r);
        buf_init(&map, 1 << 20);
        if (!strstr(cases[i].map, "namespace")) buf_add_text(&map, HEAD);
        buf_add_text(&map, cases[i].map);
        buf_add_char(&map, 0);
        if (run_map((const char *)map.p, cases[i].csv, "f.csv", &r, &stats, &err) != 0)
            fail_msg("case %zu: %s", i, err.message);
        if (stats.no_rule) buf_printf(&r.text, "%d without rule\n", (int)stats.no_rule);
        buf_add_char(&r.text, 0);
        assert_string_equal((const char *)r.text.p, cases[i].result);
        result_release(&r);
        buf_release(&map);
    }
}

/* ---- bad maps ---- */

static const struct {
    const char *map, *message;
} bad_maps[] = {
    {"", "m.toml:1:1: “namespace” is missing"},
    {"namespace = \"\"", "m.toml:1:1: “namespace” must not be empty"},
    {"namespace = 1", "m.toml:1:1: “namespace” must be a string, not an integer"},
    {HEAD, "m.toml:1:1: no [[event]]: the map says what rows become"},
    {HEAD "event = []", "m.toml:2:1: no event: the map says what rows become"},
    {HEAD "zone = \"Mars/Base\"\n", "m.toml:2:1: “Mars/Base” is no time zone"},
    {HEAD "memory_mib = 0\n", "m.toml:2:1: memory_mib is 1 to 1048576"},
    {HEAD "sone = \"UTC\"\n", "m.toml:2:1: unknown key “sone”; known here: namespace zone"},
    {HEAD "a = [\n", "m.toml:2:"},
    {HEAD "[[\x7f]]\n", "m.toml:2: this line is no TOML"},
    {HEAD "é = 1\n", "m.toml:2:1: "},
    {HEAD "[format]\nkind = \"xml\"",
     "m.toml:3:1: “xml” is no kind of file; known: csv whitespace"},
    {HEAD "[format]\ndelimiter = \"::\"", "m.toml:3:1: the delimiter is one ASCII character"},
    {HEAD "[format]\nencoding = \"ebcdic\"", "m.toml:3:1: “ebcdic” is no encoding we read"},
    {HEAD "[format]\nheader = false", "m.toml:2:2: without a header, “columns” must name"},
    {HEAD "[format]\nnull = [1]", "m.toml:3:9: this must be a string, not an integer"},
    {HEAD "[format]\ncolumns = [\"t\"]\n[[event]]\nname = \"E\"\ntime = \"d\"\n",
     "m.toml:6:1: there is no column “d” in format.columns"},
    {HEAD "[[lookup]]\nname = \"p\"\n", "m.toml:2:1: “file” is missing"},
    {HEAD "[[event]]\ntime = \"t\"\n", "m.toml:2:1: “name” is missing: what happened"},
    {HEAD "[[event]]\nname = \"E\"\n", "m.toml:2:1: “time” is missing: when it happened"},
    {HEAD "[[event]]\nname = \"E\"\ntime = \"t\"\n",
     "m.toml:2:1: user_id or anonymous_id must be given: who it was"},
    {HEAD "[[event]]\ntype = \"page\"\n", "m.toml:3:1: “page” is no type of event"},
    {HEAD "[[event]]\ntype = \"identify\"\nname = \"E\"",
     "m.toml:4:1: an identify event has no name"},
    {HEAD "[[event]]\nname = \"E\"\ntime = { column = \"a\", columns = [\"b\"] }\n",
     "m.toml:4:1: a time has one of column, columns, constant"},
    {HEAD "[[event]]\nname = \"E\"\ntime = { constant = \"noon\" }\n",
     "m.toml:4:10: “noon” is no time"},
    {HEAD "[[event]]\nname = \"{a\"\n", "m.toml:3:1: “{a”: a brace stands alone"},
    {HEAD "[[event]]\nname = \"a}b\"\n", "m.toml:3:1: “a}b”: a brace stands alone"},
    {HEAD "[[event]]\nname = \"{}\"\n", "m.toml:3:1: a column's name must not be empty"},
    {HEAD "[[event]]\nname = \"E\"\nwhen = { a = { like = \"x\" } }\n",
     "m.toml:4:16: unknown key “like”; known here: equals not in"},
    {HEAD "[[event]]\nname = \"E\"\nwhen = { a = {} }\n", "m.toml:4:10: no condition; known here"},
    {HEAD "[[event]]\nname = \"E\"\nwhen = { a = { above = \"x\" } }\n",
     "m.toml:4:16: expected a number, not a string"},
    {RULE "traits = {}\n", "m.toml:6:1: a track event has properties, not traits"},
    {RULE "group_order = \"any\"\n", "m.toml:6:1: group_order needs group_by"},
    {RULE "group_by = [\"a\"]\ngroup_order = \"sorted\"\n", "m.toml:7:1: “sorted” is no order"},
    {RULE "[event.properties]\nr = { sum = \"a\" }\n",
     "m.toml:7:7: “sum” is of all rows of a group"},
    {GROUP "[event.items]\nname = \"i\"\n[event.items.properties]\nr = { count = true }\n",
     "m.toml:10:7: “count” is of all rows of a group"},
    {GROUP "[event.properties]\nr = { sum = \"a * \" }\n",
     "m.toml:8:7: expected a column or a number at “” in “a * ”"},
    {GROUP "[event.properties]\nr = { sum = \"a b\" }\n",
     "m.toml:8:7: expected *, + or - at “b” in “a b”"},
    {GROUP "[event.properties]\nr = { sum = \"a / b\" }\n",
     "m.toml:8:7: expected *, + or - at “/ b”"},
    {GROUP "[event.properties]\nr = { sum = \"{a\" }\n", "m.toml:8:7: “}” is missing in “{a”"},
    {RULE "[event.properties]\nr = { column = \"a\", constant = 1 }\n",
     "m.toml:7:21: “column” and “constant” exclude each other"},
    {RULE "[event.properties]\nr = {}\n", "m.toml:7:1: one of column first last text value"},
    {RULE "[event.properties]\nr = { column = \"a\", type = \"int\" }\n",
     "m.toml:7:21: “int” is no type; known: string number bool time"},
    {RULE "[event.properties]\nr = { value = \"a\", type = \"number\" }\n",
     "m.toml:7:20: “type” is given only with column, first or last"},
    {RULE "[event.properties]\nr = { column = \"a\", format = \"%Y\" }\n",
     "m.toml:7:21: format and zone belong to type = \"time\""},
    {RULE "[event.properties]\nr = { constant = [1] }\n", "m.toml:7:7: a constant is a string"},
    {RULE "[event.items]\nname = \"i\"\n", "m.toml:6:8: “properties” is missing"},
    {RULE "[[event]]\nname = \"E\"\ntime = \"t\"\nuser_id = \"{u}\"\n",
     "m.toml:6:1: two rules are called “E”: give each a label of its own"},
};

static void says_what_is_wrong(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof bad_maps / sizeof *bad_maps; i++) {
        struct keel_error err = {0};
        struct map *map;
        int code = map_parse(str_from(bad_maps[i].map), "m.toml", &map, &err);
        if (code == 0) fail_msg("case %zu is accepted: %s", i, bad_maps[i].map);
        if (strncmp(err.message, bad_maps[i].message, strlen(bad_maps[i].message)) != 0)
            fail_msg("case %zu: “%s”, expected “%s”", i, err.message, bad_maps[i].message);
    }
}

/* What only the file shows. */
static void says_what_the_file_lacks(void **state) {
    (void)state;
    static const struct {
        const char *map, *csv, *message;
    } tests[] = {
        {RULE, "t,v\n", "m.toml:5:1: there is no column “u” in f.csv, which has: t, v"},
        {RULE, "", "f.csv is empty: a header was expected"},
        {RULE, "t,\"u", "f.csv:1: the header cannot be read: quote not closed"},
        {HEAD "[format]\ncolumns = [\"t\", \"u\"]\n[[event]]\nname = \"E\"\ntime = \"t\"\n"
              "user_id = \"{u}\"\n",
         "a,b,c\n", "f.csv has 3 columns, format.columns names 2"},
        {HEAD
         "[[lookup]]\nname = \"p\"\nfile = \"absent.csv\"\nkey = \"t\"\n[[event]]\nname = \"E\"\n"
         "time = \"t\"\nuser_id = \"{p.x}\"\n",
         "t\n", "absent.csv"},
    };
    for (size_t i = 0; i < sizeof tests / sizeof *tests; i++) {
        struct keel_error err = {0};
        struct rows_stats stats = {0};
        struct result r;
        result_init(&r);
        assert_true(run_map(tests[i].map, tests[i].csv, "f.csv", &r, &stats, &err) < 0);
        if (!strstr(err.message, tests[i].message)) fail_msg("case %zu: %s", i, err.message);
        result_release(&r);
    }
}

/* ---- lookups ---- */

static void joins_lookups(void **state) {
    (void)state;
    char folder[] = "/tmp/keel-map-XXXXXX", path[64], name[64];
    struct keel_error err = {0};
    struct rows_stats stats = {0};
    struct result r;
    int fd;
    static const char file[] = "id,label,size\n1,\"one, first\",3\n1,again,9\n,nobody,1\n2,,4\n";
    static const char map[] =
        HEAD "[[lookup]]\nname = \"p\"\nfile = \"p.csv\"\nkey = \"id\"\nby = \"product\"\n"
             "[[event]]\nname = \"E\"\ntime = \"t\"\nuser_id = \"u\"\n[event.properties]\n"
             "label = \"p.label\"\nsize = { column = \"p.size\", type = \"number\" }\n";
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/p.csv", folder);
    snprintf(name, sizeof name, "%s/f.csv", folder);
    assert_int_equal(file_open(path, FILE_WRITE | FILE_CREATE, &fd, &err), 0);
    assert_int_equal(file_write_all(fd, file, sizeof file - 1, path, &err), 0);
    file_close(fd);
    result_init(&r);
    int code = run_map(map, "t,product\n2020-01-01,1\n2020-01-01,2\n2020-01-01,7\n2020-01-01,\n",
                       name, &r, &stats, &err);
    unlink(path);
    rmdir(folder);
    if (code) fail_msg("%s", err.message);
    buf_add_char(&r.text, 0);
    assert_string_equal((const char *)r.text.p,
                        "track \"E\" 2020-01-01T00:00:00Z user=u: label=\"one, first\" size=3\n"
                        "track \"E\" 2020-01-01T00:00:00Z user=u: size=4\n"
                        "track \"E\" 2020-01-01T00:00:00Z user=u:\n"
                        "track \"E\" 2020-01-01T00:00:00Z user=u:\n");
    result_release(&r);
}

/* ---- message ids ---- */

static int compare_keys(const void *a, const void *b) { return memcmp(a, b, 12); }

static uint64_t distinct_keys(struct buf *keys) {
    size_t n = keys->n / 12;
    uint64_t distinct = n > 0;
    qsort(keys->p, n, 12, compare_keys);
    for (size_t i = 1; i < n; i++)
        distinct += memcmp(keys->p + 12 * i, keys->p + 12 * (i - 1), 12) != 0;
    return distinct;
}

static void ids_are_stable(void **state) {
    (void)state;
    static const char csv[] = "t,u,g\n2020-01-01,a,1\n2020-01-01,a,1\n2020-01-01,a,1\n"
                              "2020-01-01,b,2\n2020-01-01,a,1\n";
    /* the same rows in another dress: quotes, line ends, order */
    static const char dressed[] = "t,u,g\r\n\"2020-01-01\",a,\"1\"\r\n2020-01-01,b,2\r\n"
                                  "2020-01-01, a,1\r\n2020-01-01,a,1\r\n2020-01-01,a,1";
    static const struct {
        const char *map;
        uint64_t events, distinct;
    } tests[] = {
        {RULE, 5, 5}, /* equal rows are different events */
        {GROUP, 2, 2},
        {RULE "message_id = \"{u}\"\n", 5, 2},
        {RULE "[[event]]\nname = \"F\"\ntime = \"t\"\nuser_id = \"{u}\"\n", 10, 10},
    };
    for (size_t i = 0; i < sizeof tests / sizeof *tests; i++) {
        struct keel_error err = {0};
        struct rows_stats stats = {0};
        struct result r;
        result_init(&r);
        for (int run = 0; run < 3; run++)
            assert_int_equal(
                run_map(tests[i].map, run == 2 ? dressed : csv, "f.csv", &r, &stats, &err), 0);
        assert_int_equal(r.keys.n / 12, tests[i].events * 3);
        assert_int_equal(distinct_keys(&r.keys), tests[i].distinct);
        result_release(&r);
    }
    /* another namespace, other ids */
    struct keel_error err = {0};
    struct rows_stats stats = {0};
    struct result r;
    result_init(&r);
    assert_int_equal(run_map(GROUP, csv, "f.csv", &r, &stats, &err), 0);
    struct buf other;
    buf_init(&other, 1 << 16);
    buf_printf(&other, "namespace = \"o\"%s", &GROUP[strlen("namespace = \"t\"")]);
    buf_add_char(&other, 0);
    assert_int_equal(run_map((const char *)other.p, csv, "f.csv", &r, &stats, &err), 0);
    assert_int_equal(distinct_keys(&r.keys), 4);
    buf_release(&other);
    result_release(&r);
}

/* ---- limits ---- */

static void holds_its_memory(void **state) {
    (void)state;
    static const char *const maps[] = {
        "memory_mib = 1\n" GROUP,
        "memory_mib = 1\n" RULE, /* counts of equal rows */
        "memory_mib = 1\n" GROUP "group_order = \"adjacent\"\n",
    };
    struct buf csv;
    buf_init(&csv, OUT_MAX);
    buf_add_text(&csv, "t,u,g\n");
    for (int i = 0; i < 100000; i++) buf_printf(&csv, "2020-01-01,a,%d\n", i);
    buf_add_char(&csv, 0);
    for (size_t i = 0; i < sizeof maps / sizeof *maps; i++) {
        struct keel_error err = {0};
        struct rows_stats stats = {0};
        struct result r;
        result_init(&r);
        r.counting = true;
        assert_int_equal(run_map(maps[i], (const char *)csv.p, "f.csv", &r, &stats, &err),
                         -KEEL_E_LIMIT);
        assert_non_null(strstr(err.message, "need more than memory_mib = 1"));
        assert_true(stats.rows < 50000);
        result_release(&r);
    }
    buf_release(&csv);
}

/* An event that is too large is refused with its group; the others go on. */
static void refuses_large_groups(void **state) {
    (void)state;
    struct keel_error err = {0};
    struct rows_stats stats = {0};
    struct result r;
    struct buf csv;
    buf_init(&csv, OUT_MAX);
    buf_add_text(&csv, "t,u,g\n2020-01-01,b,2\n");
    for (int i = 0; i < EVENT_MAX_ITEMS + 1; i++) buf_add_text(&csv, "2020-01-01,a,x\n");
    buf_add_char(&csv, 0);
    result_init(&r);
    int code = run_map(GROUP "[event.items]\nname = \"i\"\n[event.items.properties]\nu = \"u\"\n",
                       (const char *)csv.p, "f.csv", &r, &stats, &err);
    assert_int_equal(code, 0);
    assert_int_equal(stats.events, 1);
    assert_int_equal(stats.rejected, EVENT_MAX_ITEMS + 1);
    buf_add_char(&r.text, 0);
    assert_non_null(strstr((const char *)r.text.p, "reject 3×10001 event refused (rule “E”: "));
    assert_non_null(strstr((const char *)r.text.p, "«x»"));
    result_release(&r);
    buf_release(&csv);
}

/* ---- money ---- */

static void sums_exactly(void **state) {
    (void)state;
    static const struct {
        const char *a, *b;
        double sum, product;
    } tests[] = {
        {"0.1", "0.2", 0.3, 0.02},
        {"-1.005", "+1", -0.005, -1.005},
        {"999999999999999999", "1", 1e18, 999999999999999999.0},
        {"99999999999999.9999", "99999999999999.9999", 199999999999999.9998, 1e28},
        {"1e3", "0.5", 1000.5, 500},
        {".5", "2.", 2.5, 1},
        {"123456789012345678901", "1", 123456789012345678902.0, 123456789012345678901.0},
    };
    for (size_t i = 0; i < sizeof tests / sizeof *tests; i++) {
        struct decimal a, b;
        assert_true(decimal_parse(str_from(tests[i].a), &a));
        assert_true(decimal_parse(str_from(tests[i].b), &b));
        double sum = decimal_to_f64(decimal_add(a, b)), product = decimal_to_f64(decimal_mul(a, b));
        assert_memory_equal(&sum, &tests[i].sum, sizeof sum);
        assert_memory_equal(&product, &tests[i].product, sizeof product);
    }
    static const char *const no_numbers[] = {"",   "-",   ".",   "1,5", "0x10",
                                             "1 ", "nan", "inf", "--1"};
    struct decimal d;
    for (size_t i = 0; i < sizeof no_numbers / sizeof *no_numbers; i++)
        assert_false(decimal_parse(str_from(no_numbers[i]), &d));
    /* a thousand tenths are a hundred; sums that outgrow 128 bits go on as double */
    struct decimal sum = DECIMAL_ZERO, tenth, huge;
    assert_true(decimal_parse(STR("0.1"), &tenth));
    for (int i = 0; i < 1000; i++) sum = decimal_add(sum, tenth);
    assert_true(decimal_to_f64(sum) == 100);
    assert_true(decimal_parse(STR("999999999999999999"), &huge));
    struct decimal big = decimal_mul(decimal_mul(huge, huge), huge);
    assert_false(big.exact);
    assert_true(decimal_to_f64(big) > 9.99e53 && decimal_to_f64(big) < 1.01e54);
}

/* ---- the manual ---- */

/* The first map of docs/import.md does what the text says. */
static void manual_example_works(void **state) {
    (void)state;
    const char *source = getenv("KEEL_SOURCE");
    char path[512];
    struct keel_error err = {0};
    struct rows_stats stats = {0};
    struct result r;
    struct buf text;
    snprintf(path, sizeof path, "%s/docs/import.md", source ? source : ".");
    buf_init(&text, 1 << 20);
    if (file_read(path, &text, &err) != 0) fail_msg("%s", err.message);
    buf_add_char(&text, 0);
    char *map = strstr((char *)text.p, "```toml");
    assert_non_null(map);
    map = strchr(map, '\n') + 1; /* behind what the block is tagged with */
    *strstr(map, "```") = 0;
    result_init(&r);
    if (run_map(map,
                "order,customer,date,article,quantity,price\n"
                "1,7,31/07/2020 10:00,x,2,0.10\nC2,NA,1/12/2020 9:30,y,-1,5\n"
                "1,7,31/07/2020 9:59,z,1,0.10\n",
                "f.csv", &r, &stats, &err) != 0)
        fail_msg("%s", err.message);
    buf_add_char(&r.text, 0);
    assert_string_equal(
        (const char *)r.text.p,
        "track \"Order Completed\" 2020-07-31T08:59:00Z user=7: order_id=\"1\" revenue=0.3 "
        "currency=\"GBP\" products=[{sku=\"x\" quantity=2 price=0.1},"
        "{sku=\"z\" quantity=1 price=0.1}]\n"
        "track \"Order Refunded\" 2020-12-01T09:30:00Z anonymous=order:C2: order_id=\"C2\" "
        "revenue=-5 currency=\"GBP\" products=[{sku=\"y\" quantity=-1 price=5}]\n");
    result_release(&r);
    buf_release(&text);
}

/* ---- the real files ---- */

/* NULL, and the test is skipped, where the data is absent. */
static const char *shared_file(const char *name, char out[512]) {
    const char *shared = getenv("KEEL_SHARED");
    snprintf(out, 512, "%s/data/%s", shared ? shared : "../shared", name);
    if (file_exists(out)) return out;
    print_message("no %s: set KEEL_SHARED to the folder that holds data/\n", out);
    skip();
    return NULL;
}

static void import_real(const char *map_name, const char *path, struct result *r,
                        struct rows_stats *stats) {
    const char *source = getenv("KEEL_SOURCE");
    char map_path[512];
    struct keel_error err = {0};
    struct map *map = NULL;
    struct input *in = NULL;
    struct rows_sink sink = {take_batch, take_reject, NULL, r};
    snprintf(map_path, sizeof map_path, "%s/examples/maps/%s", source ? source : ".", map_name);
    r->counting = true;
    if (map_load(map_path, &map, &err) != 0) fail_msg("%s", err.message);
    if (input_open(path, &in, &err) != 0) fail_msg("%s", err.message);
    int64_t start = monotonic_us();
    if (rows_import(map, csv_from_input(in), path, &sink, stats, &err) != 0)
        fail_msg("%s", err.message);
    double seconds = (double)(monotonic_us() - start) / 1e6;
    print_message("%s: %llu rows, %llu events, %.0f rows/s with decoding\n", map_name,
                  (unsigned long long)stats->rows, (unsigned long long)r->events,
                  (double)stats->rows / seconds);
    input_close(in);
    map_free(map);
}

/* The raw rows in SQLite, through nothing but the CSV reader. */
static sqlite3 *load_table(const char *path, const char *create, const char *insert, int columns) {
    const struct csv_format format = {.delimiter = ',', .quoted = true};
    struct keel_error err = {0};
    struct input *in;
    struct csv_reader *reader;
    struct csv_row row;
    sqlite3 *db;
    sqlite3_stmt *statement;
    assert_int_equal(sqlite3_open(":memory:", &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, create, NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db, insert, -1, &statement, NULL), SQLITE_OK);
    assert_int_equal(input_open(path, &in, &err), 0);
    assert_int_equal(csv_reader_new(&format, csv_from_input(in), &reader, &err), 0);
    assert_int_equal(csv_reader_next(reader, &row, &err), 1); /* header */
    while (csv_reader_next(reader, &row, &err) > 0) {
        assert_int_equal(row.n, columns);
        for (int i = 0; i < columns; i++)
            sqlite3_bind_text(statement, i + 1, row.fields[i].p, (int)row.fields[i].n,
                              SQLITE_STATIC);
        assert_int_equal(sqlite3_step(statement), SQLITE_DONE);
        sqlite3_reset(statement);
    }
    csv_reader_free(reader);
    input_close(in);
    sqlite3_finalize(statement);
    return db;
}

static double ask(sqlite3 *db, const char *sql) {
    sqlite3_stmt *statement;
    assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &statement, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
    double v = sqlite3_column_double(statement, 0);
    sqlite3_finalize(statement);
    return v;
}

static void check_name(const struct result *r, const char *name, double n, double revenue) {
    for (size_t i = 0; i < 4; i++) {
        if (strcmp(r->names[i].name, name) != 0) continue;
        assert_true((double)r->names[i].n == n);
        double difference = r->names[i].revenue - revenue;
        assert_true(difference < 0.001 && difference > -0.001);
        return;
    }
    fail_msg("no %s", name);
}

static void imports_online_retail(void **state) {
    (void)state;
    char path[512];
    struct rows_stats stats = {0};
    struct result r;
    if (!shared_file("retail/online_retail.csv.gz", path)) return;
    result_init(&r);
    import_real("online_retail.toml", path, &r, &stats);
    assert_int_equal(stats.rows, 541909);
    assert_int_equal(stats.rejected, 0);
    assert_int_equal(stats.no_rule, 0);
    assert_int_equal(r.items, 541909);

    sqlite3 *db = load_table(
        path, "create table t (inv, sku, name, qty real, time, price real, customer, country)",
        "insert into t values (?,?,?,?,?,?,?,?)", 8);
    double orders = ask(db, "select count(distinct inv) from t where inv not glob '[CA]*'");
    check_name(&r, "Order Completed", orders,
               ask(db, "select sum(qty * price) from t where inv not glob '[CA]*'"));
    check_name(&r, "Order Refunded",
               ask(db, "select count(distinct inv) from t where inv glob 'C*'"),
               ask(db, "select sum(qty * price) from t where inv glob 'C*'"));
    check_name(&r, "Order Adjusted",
               ask(db, "select count(distinct inv) from t where inv glob 'A*'"),
               ask(db, "select sum(qty * price) from t where inv glob 'A*'"));
    assert_true((double)r.anonymous ==
                ask(db, "select count(distinct inv) from t where customer = 'NA'"));
    assert_true((double)r.identifies ==
                ask(db, "select count(distinct customer) from t where customer <> 'NA'"));
    sqlite3_close(db);

    /* importing it again adds nothing */
    uint64_t events = r.events;
    import_real("online_retail.toml", path, &r, &stats);
    assert_int_equal(r.events, 2 * events);
    assert_int_equal(distinct_keys(&r.keys), events);
    result_release(&r);
}

static void imports_baskets(void **state) {
    (void)state;
    char path[512];
    struct rows_stats stats = {0};
    struct result r;
    if (!shared_file("journey/transactions_sample.csv.gz", path)) return;
    result_init(&r);
    import_real("journey_transactions.toml", path, &r, &stats);
    assert_int_equal(stats.rejected, 0);
    assert_int_equal(r.items, 75000);
    sqlite3 *db = load_table(
        path,
        "create table t (hh, store, basket, product, qty real, sales real, a, b, c, week, time)",
        "insert into t values (?,?,?,?,?,?,?,?,?,?,?)", 11);
    check_name(&r, "Order Completed", ask(db, "select count(distinct basket) from t"),
               ask(db, "select sum(sales) from t"));
    assert_int_equal(r.anonymous, 0);
    sqlite3_close(db);
    result_release(&r);
}

static void imports_the_others(void **state) {
    (void)state;
    static const struct {
        const char *map, *file;
        uint64_t rows, events;
    } files[] = {
        {"journey_campaigns.toml", "journey/campaigns.csv.gz", 6589, 6589},
        {"journey_redemptions.toml", "journey/coupon_redemptions.csv.gz", 2102, 2102},
        {"journey_demographics.toml", "journey/demographics.csv.gz", 801, 801},
        {"olist_items.toml", "marketplace/order_items.csv.gz", 112650, 98666},
        {"olist_customers.toml", "marketplace/customers.csv.gz", 99441, 99441},
        {"olist_payments.toml", "marketplace/order_payments.csv.gz", 103886, 103886},
        {"cdnow.toml", "clv/CDNOW_master.txt.gz", 69659, 69659},
        {"cdnow_sample.toml", "clv/CDNOW_sample.txt", 6919, 6919},
    };
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char path[512];
        struct rows_stats stats = {0};
        struct result r;
        if (!shared_file(files[i].file, path)) return;
        result_init(&r);
        import_real(files[i].map, path, &r, &stats);
        assert_int_equal(stats.rows, files[i].rows);
        assert_int_equal(stats.rejected, 0);
        assert_int_equal(r.events, files[i].events);
        assert_int_equal(distinct_keys(&r.keys), files[i].events);
        result_release(&r);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(makes_events),
        cmocka_unit_test(says_what_is_wrong),
        cmocka_unit_test(says_what_the_file_lacks),
        cmocka_unit_test(joins_lookups),
        cmocka_unit_test(ids_are_stable),
        cmocka_unit_test(holds_its_memory),
        cmocka_unit_test(refuses_large_groups),
        cmocka_unit_test(sums_exactly),
        cmocka_unit_test(manual_example_works),
        cmocka_unit_test(imports_online_retail),
        cmocka_unit_test(imports_baskets),
        cmocka_unit_test(imports_the_others),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
