/* The Segment dialect: what becomes of each kind of event, value, time and key; batches; limits. */
#include "segment_run.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/os.h"
#include "base/rand.h"
#include "base/time.h"

struct example {
    const char *line, *events;
};

static void check_examples(struct run *run, const struct example *examples, size_t n) {
    for (size_t i = 0; i < n; i++) {
        const char *got = read_line(run, examples[i].line);
        if (strcmp(got, examples[i].events) != 0)
            fail_msg("%s\ngave:     %swanted:   %s", examples[i].line, got, examples[i].events);
    }
}
#define CHECK_EXAMPLES(run, examples)                                                              \
    check_examples(run, examples, sizeof(examples) / sizeof *(examples))

/* ---- what becomes of lines ---- */

#define T "\"timestamp\":\"2025-01-02T03:04:05.678Z\""
#define AT "2025-01-02T03:04:05.678Z"

static void test_types(void **state) {
    static const struct example examples[] = {
        {"{\"type\":\"track\",\"event\":\"E\",\"userId\":\"u\"," T "}", "track 'E' u=u " AT " |\n"},
        {"{" T ",\"anonymousId\":\"a\",\"event\":\"E\",\"type\":\"track\"}",
         "track 'E' a=a " AT " |\n"},
        {"{\"type\":\"identify\",\"userId\":\"u\",\"anonymousId\":\"a\"," T
         ",\"traits\":{\"plan\":\"vip\",\"n\":2}}",
         "identify u=u a=a " AT " | plan=\"vip\" n=2\n"},
        {"{\"type\":\"page\",\"name\":\"Home\",\"userId\":\"u\"," T
         ",\"properties\":{\"url\":\"/\"}}",
         "page 'Home' u=u " AT " | url=\"/\"\n"},
        {"{\"type\":\"page\",\"userId\":\"u\"," T "}", "page u=u " AT " |\n"},
        {"{\"type\":\"screen\",\"name\":\"Cart\",\"anonymousId\":\"a\"," T "}",
         "screen 'Cart' a=a " AT " |\n"},
        {"{\"type\":\"group\",\"groupId\":\"g\",\"userId\":\"u\"," T
         ",\"traits\":{\"name\":\"Acme\"}}",
         "group u=u r=g " AT " | name=\"Acme\"\n"},
        {"{\"type\":\"alias\",\"previousId\":\"old\",\"userId\":\"u\"," T "}",
         "alias u=u r=old " AT " |\n"},
        {"{\"type\":\"Track\",\"event\":\"E\",\"userId\":\"u\"}",
         "refused 1: type is none of track, identify, page, screen, group, alias\n"},
        {"{\"event\":\"E\",\"userId\":\"u\"}",
         "refused 1: type is none of track, identify, page, screen, group, alias\n"},
        {"{\"type\":\"track\",\"event\":\"E\"," T "}",
         "refused 1: neither user_id nor anonymous_id\n"},
        {"{\"type\":\"track\",\"userId\":\"u\"," T "}", "refused 1: track without an event name\n"},
        {"{\"type\":\"group\",\"userId\":\"u\"," T "}", "refused 1: group without a groupId\n"},
        {"{\"type\":\"alias\",\"userId\":\"u\"," T "}", "refused 1: alias without a previousId\n"},
        /* Identifiers as numbers; null and other kinds are none. */
        {"{\"type\":\"track\",\"event\":\"E\",\"userId\":17850,\"anonymousId\":null," T "}",
         "track 'E' u=17850 " AT " |\n"},
        {"{\"type\":\"track\",\"event\":\"E\",\"userId\":{\"x\":1},\"anonymousId\":true," T "}",
         "refused 1: neither user_id nor anonymous_id\n"},
        {"", ""},
        {"  \t ", ""},
        {"[]", ""},
        {"17", "refused 1: not a JSON object\n"},
        {"\"text\"", "refused 1: not a JSON object\n"},
    };
    struct run *run = *state;
    CHECK_EXAMPLES(run, examples);
    run->options.type = EVENT_PAGE; /* the path of a request decides */
    assert_string_equal(read_line(run, "{\"name\":\"N\",\"userId\":\"u\"," T "}"),
                        "page 'N' u=u " AT " |\n");
    assert_string_equal(
        read_line(run, "{\"type\":\"track\",\"name\":\"N\",\"userId\":\"u\"," T "}"),
        "page 'N' u=u " AT " |\n");
}

#define TRACK "{\"type\":\"track\",\"event\":\"E\",\"userId\":\"u\"," T ","
#define IS "track 'E' u=u " AT " |"

static void test_fields(void **state) {
    static const struct example examples[] = {
        {TRACK "\"properties\":{\"s\":\"\",\"n\":-1.5,\"t\":true,\"f\":false,\"z\":null,\"i\":0}}",
         IS " s=\"\" n=-1.5 t=true f=false i=0\n"},
        /* Flattening: four parts, then JSON. */
        {TRACK "\"properties\":{\"a\":{\"b\":{\"c\":{\"d\":{\"e\":1},\"x\":2}},\"y\":3},\"k\":4}}",
         IS " a.b.c.d=<{\"e\":1}> a.b.c.x=2 a.y=3 k=4\n"},
        {TRACK "\"properties\":{\"a\":{},\"b.c\":1,\"b\":{\"c\":2}}}", IS " b.c=1\n"},
        /* Arrays. */
        {TRACK
         "\"properties\":{\"products\":[{\"sku\":\"A\",\"price\":1.25,\"ok\":true,\"no\":false,"
         "\"nil\":null},{},{\"sku\":\"B\",\"tags\":[1,2],\"dim\":{\"w\":1}}]}}",
         IS " products=[{sku=\"A\" price=1.25 ok=true no=false}{}"
            "{sku=\"B\" tags=<[1,2]> dim=<{\"w\":1}>}]\n"},
        {TRACK
         "\"properties\":{\"cart\":{\"items\":[{\"x\":1}]},\"tags\":[\"a\", \"b\"],\"none\":[]}}",
         IS " cart.items=[{x=1}] tags=<[\"a\", \"b\"]> none=[]\n"},
        {TRACK "\"properties\":{\"mixed\":[{\"a\":1},2],\"deep\":[[1],[{\"b\":2}]]}}",
         IS " mixed=<[{\"a\":1},2]> deep=<[[1],[{\"b\":2}]]>\n"},
        {TRACK "\"properties\":{\"a\":{\"b\":{\"c\":{\"l\":[{\"x\":1}]}}}}}",
         IS " a.b.c.l=[{x=1}]\n"},
        /* Context: flattened, arrays as JSON, library by name and version only. */
        {TRACK
         "\"context\":{\"campaign\":{\"name\":\"spring\"},\"page\":{\"url\":\"u\"},"
         "\"library\":{\"name\":\"l\",\"version\":\"1\",\"env\":\"node\"},\"ids\":[{\"a\":1}],"
         "\"none\":[],\"_metadata\":{\"x\":1},\"integrations\":{\"All\":true}}}",
         IS " @campaign.name=\"spring\" @page.url=\"u\" @library.name=\"l\" @library.version=\"1\""
            " @ids=<[{\"a\":1}]> @none=<[]>\n"},
        {TRACK "\"channel\":\"server\",\"integrations\":{\"All\":false},\"_metadata\":{\"n\":1},"
               "\"version\":2,\"writeKey\":\"k\",\"projectId\":\"p\"}",
         IS " @channel=\"server\"\n"},
        {TRACK "\"channel\":\"server\",\"context\":{\"channel\":\"web\"}}",
         IS " @channel=\"web\"\n"},
        {TRACK "\"extra\":{\"a\":1},\"name\":\"n\",\"groupId\":\"g\",\"previousId\":\"p\","
               "\"batch\":1}",
         IS " @extra.a=1 @name=\"n\" @groupId=\"g\" @previousId=\"p\" @batch=1\n"},
        /* traits where they belong, and where they do not. */
        {TRACK "\"traits\":{\"a\":1},\"context\":{\"traits\":{\"b\":2}}}",
         IS " @traits.a=1 @traits.b=2\n"},
        {"{\"type\":\"identify\",\"userId\":\"u\"," T ",\"traits\":{\"a\":1,\"b\":{\"c\":2}},"
         "\"context\":{\"traits\":{\"a\":1,\"b\":{\"c\":2}},\"ip\":\"1\"}}",
         "identify u=u " AT " | a=1 b.c=2 @ip=\"1\"\n"},
        {"{\"context\":{\"traits\":{\"a\":1,\"b\":3}},\"type\":\"identify\",\"userId\":\"u\"," T
         ",\"traits\":{\"a\":1}}",
         "identify u=u " AT " | a=1 @traits.a=1 @traits.b=3\n"},
        {"{\"type\":\"identify\",\"userId\":\"u\"," T ",\"properties\":{\"a\":1}}",
         "identify u=u " AT " | @properties.a=1\n"},
        {TRACK "\"properties\":\"text\",\"context\":7}", IS " properties=\"text\" @context=7\n"},
        {TRACK "\"properties\":null,\"context\":null,\"traits\":null}", IS "\n"},
        /* The first of two equal keys, at every level. */
        {TRACK "\"event\":\"F\",\"properties\":{\"a\":1,\"a\":2,\"l\":[{\"x\":1,\"x\":2}],"
               "\"l\":[{\"y\":1}]},\"properties\":{\"b\":1}}",
         IS " a=1 l=[{x=1}]\n"},
    };
    CHECK_EXAMPLES(*state, examples);
}

static void test_numbers(void **state) {
    static const struct example examples[] = {
        {TRACK "\"properties\":{\"a\":9007199254740992,\"b\":9007199254740993,\"c\":-0,\"d\":1e3,"
               "\"e\":1E-2,\"f\":123456789012345678901234567890,\"g\":1e999,\"h\":0.1}}",
         IS " a=9007199254740992 b=\"9007199254740993\" c=0 d=1000 e=0.01"
            " f=\"123456789012345678901234567890\" g=\"1e999\" h=0.1\n"},
        {TRACK
         "\"properties\":{\"a\":1.7976931348623157e308,\"b\":5e-324,\"c\":3.14159265358979312,"
         "\"d\":0.30000000000000004,\"e\":-12.50,\"f\":0.000}}",
         IS " a=1.7976931348623157e+308 b=4.94065645841247e-324 c=3.141592653589793"
            " d=0.30000000000000004 e=-12.5 f=0\n"},
    };
    static const char *const broken[] = {"01",       "-",   "+1",  "1.",  ".5",  "1e",
                                         "1e+",      "0x1", "1_0", "NaN", "1 2", "--1",
                                         "Infinity", "1a",  "-01", "1.e1"};
    struct run *run = *state;
    CHECK_EXAMPLES(run, examples);
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
        char line[200];
        snprintf(line, sizeof line, TRACK "\"properties\":{\"a\":%s}}", broken[i]);
        if (strncmp(read_line(run, line), "refused", 7) != 0) fail_msg("%s accepted", broken[i]);
        snprintf(line, sizeof line, TRACK "\"properties\":{\"a\":[%s]}}", broken[i]);
        if (strncmp(read_line(run, line), "refused", 7) != 0) fail_msg("[%s] accepted", broken[i]);
    }
}

/* Every double, printed and read: the nearest one, as strtod has it. */
static void test_random_numbers(void **state) {
    struct run *run = *state;
    struct rand r;
    rand_init(&r, 11);
    for (int i = 0; i < 20000; i++) {
        char number[64], line[300], want[400];
        double v;
        uint64_t bits = rand_u64(&r);
        memcpy(&v, &bits, sizeof v);
        if (!__builtin_isfinite(v)) continue;
        if (i % 2)
            snprintf(number, sizeof number, "%.*g", 1 + (int)rand_below(&r, 20), v);
        else
            snprintf(number, sizeof number, "%.*f", (int)rand_below(&r, 7),
                     (rand_unit(&r) - 0.5) * 1e6);
        snprintf(line, sizeof line, TRACK "\"properties\":{\"a\":%s}}", number);
        struct buf text;
        buf_init(&text, 100);
        v = strtod(number, NULL);
        bool whole = strspn(number, "-0123456789") == strlen(number);
        if (!__builtin_isfinite(v) || (whole && __builtin_fabs(v) > 0x1p53))
            buf_add_json_str(&text, str_from(number));
        else
            buf_add_f64(&text, v);
        snprintf(want, sizeof want, IS " a=%.*s\n", (int)text.n, (const char *)text.p);
        const char *got = read_line(run, line);
        if (strcmp(got, want) != 0) fail_msg("%s: %s, not %s", number, got, want);
        buf_release(&text);
    }
}

static void test_strings(void **state) {
    static const struct example examples[] = {
        {TRACK "\"properties\":{\"a\":\"q\\\"b\\\\s\\/b\\b\\f\\n\\r\\t\"}}",
         IS " a=\"q\\\"b\\\\s/b\\u0008\\u000c\\n\\r\\t\"\n"},
        {TRACK
         "\"properties\":{\"a\":\"\\u0041\\u00e9\\u20AC\\ud83d\\ude00 é🙂\",\"\\u0062\":1}}",
         IS " a=\"Aé€😀 é🙂\" b=1\n"},
        {TRACK "\"properties\":{\"a\":\"\\u0000x\"}}", IS " a=\"\\u0000x\"\n"},
        {TRACK "\"properties\":{\"a\" : \"b\"  , \"c\":\"d\"\t}}", IS " a=\"b\" c=\"d\"\n"},
        {"{\"type\":\"tr\\u0061ck\",\"event\":\"\\u0045\",\"us\\u0065rId\":\"\\u0075\"," T "}",
         IS "\n"},
        {TRACK "\"properties\":{\"a\":\"\\x\"}}", "refused 1: an unknown escape in a string"},
        {TRACK "\"properties\":{\"a\":\"\\u12g4\"}}", "refused 1: an unknown escape in a string"},
        {TRACK "\"properties\":{\"a\":[\"\\x\"]}}", "refused 1: an unknown escape in a string"},
    };
    struct run *run = *state;
    static const char nul[] = TRACK "\"properties\":{\"a\":[1,2\0x]}}";
    assert_non_null(strstr(read_as(run, (struct str){nul, sizeof nul - 1}, false), "refused 1: "));
    for (size_t i = 0; i < sizeof examples / sizeof *examples; i++) {
        const char *got = read_line(run, examples[i].line);
        if (strncmp(got, examples[i].events, strlen(examples[i].events)) != 0)
            fail_msg("%s\ngave: %s", examples[i].line, got);
    }
    /* Half a surrogate pair is mended, and counted. */
    assert_string_equal(
        read_line(run, TRACK "\"properties\":{\"a\":\"x\\ud83d\",\"b\":\"\\ude00\\n\"}}"),
        IS " a=\"x\xef\xbf\xbd\" b=\"\xef\xbf\xbd\\n\"\n");
    assert_int_equal(run->counts.repaired, 1);
}

static void test_renames(void **state) {
#define OLD(name) "{\"type\":\"track\",\"event\":\"" name "\",\"userId\":\"u\"," T ","
#define NEW(name) "track '" name "' u=u " AT " |"
    static const struct example examples[] = {
        {OLD("Viewed Product") "\"properties\":{\"id\":\"p\",\"sub\":{\"id\":\"q\"}}}",
         NEW("Product Viewed") " product_id=\"p\" sub.id=\"q\"\n"},
        {OLD("Completed Order") "\"properties\":{\"orderId\":\"o\",\"id\":\"i\",\"products\":"
                                "[{\"id\":\"p\",\"price\":1}]}}",
         NEW("Order Completed") " order_id=\"o\" id=\"i\" products=[{product_id=\"p\" price=1}]\n"},
        {OLD("Viewed Product Category") "\"properties\":{\"category\":\"c\"}}",
         NEW("Product List Viewed") " category=\"c\"\n"},
        {OLD("Added Product") "\"context\":{\"id\":\"x\"}}", NEW("Product Added") " @id=\"x\"\n"},
        {OLD("Product Viewed") "\"properties\":{\"id\":\"p\",\"orderId\":1}}",
         NEW("Product Viewed") " id=\"p\" orderId=1\n"},
        {OLD("Viewed Products") "\"properties\":{\"id\":1}}", NEW("Viewed Products") " id=1\n"},
    };
    CHECK_EXAMPLES(*state, examples);
}

/* ---- times and keys ---- */

static void test_times(void **state) {
    struct run *run = *state;
#define TIMED(fields) "{\"type\":\"track\",\"event\":\"E\",\"userId\":\"u\"," fields "\"z\":null}"
#define ORIGINAL(t) "\"originalTimestamp\":\"" t "\","
#define STAMP(t) "\"timestamp\":\"" t "\","
#define SENT(t) "\"sentAt\":\"" t "\","
#define RECEIVED(t) "\"receivedAt\":\"" t "\","
    static const struct {
        const char *line, *received, *time;
        int repaired;
    } cases[] = {
        /* The client's clock is ten minutes slow: its difference counts. */
        {TIMED(ORIGINAL("2025-01-01T10:00:00Z") SENT("2025-01-01T10:00:05Z")),
         "2025-01-01T10:10:06Z", "2025-01-01T10:10:01Z", 0},
        {TIMED(STAMP("2025-01-01T10:00:00Z") SENT("2025-01-01T10:00:05Z")), "2025-01-01T10:10:06Z",
         "2025-01-01T10:10:01Z", 0},
        {TIMED(STAMP("2025-01-01T09:00:00Z") ORIGINAL("2025-01-01T10:00:00Z")
                   SENT("2025-01-01T10:00:05Z")),
         "2025-01-01T10:10:06Z", "2025-01-01T10:10:01Z", 0},
        /* The line's own receivedAt counts where the caller has none. */
        {TIMED(RECEIVED("2025-01-01T10:10:06Z") STAMP("2025-01-01T10:00:00Z")
                   SENT("2025-01-01T10:00:05Z")),
         NULL, "2025-01-01T10:10:01Z", 0},
        {TIMED(RECEIVED("2025-01-01T11:00:00Z") STAMP("2025-01-01T10:00:00Z")
                   SENT("2025-01-01T10:00:05Z")),
         "2025-01-01T10:10:06Z", "2025-01-01T10:10:01Z", 0},
        /* Not all known. */
        {TIMED(STAMP("2025-01-01T10:00:00Z")), "2025-01-01T10:10:06Z", "2025-01-01T10:00:00Z", 0},
        {TIMED(ORIGINAL("2025-01-01T10:00:00Z")), NULL, "2025-01-01T10:00:00Z", 0},
        {TIMED(ORIGINAL("2025-01-01T10:00:00Z") STAMP("2025-01-01T10:01:00Z")), NULL,
         "2025-01-01T10:01:00Z", 0},
        {TIMED(SENT("2025-01-01T10:00:05Z")), NULL, "2025-01-01T10:00:05Z", 0},
        {TIMED(SENT("2025-01-01T10:00:05Z")), "2025-01-01T10:10:06Z", "2025-01-01T10:10:06Z", 0},
        {TIMED(""), NULL, RUN_NOW, 0},
        {TIMED(RECEIVED("2025-01-01T10:10:06Z")), NULL, "2025-01-01T10:10:06Z", 0},
        /* The future. */
        {TIMED(STAMP("2025-01-03T10:00:00Z")), "2025-01-01T10:00:00Z", "2025-01-02T10:00:00Z", 1},
        {TIMED(STAMP("2025-01-02T10:00:00Z")), "2025-01-01T10:00:00Z", "2025-01-02T10:00:00Z", 0},
        {TIMED(STAMP("2031-01-01T00:00:00Z")), NULL, "2025-06-02T00:00:00Z", 1},
        /* Other forms. */
        {TIMED("\"timestamp\":1735725600000,"), NULL, "2025-01-01T10:00:00Z", 1},
        {TIMED("\"timestamp\":1735725600,"), NULL, "2025-01-01T10:00:00Z", 1},
        {TIMED(STAMP("2025-01-01T11:00:00+01:00")), NULL, "2025-01-01T10:00:00Z", 0},
        {TIMED(STAMP("nonsense") ORIGINAL("2025-01-01T10:00:00Z")), NULL, "2025-01-01T10:00:00Z",
         1},
        {TIMED(STAMP("nonsense")), "2025-01-01T10:10:06Z", "2025-01-01T10:10:06Z", 1},
        {TIMED(STAMP("2025-01-01T10:00:00Z") SENT("x")), "2025-01-01T10:10:06Z",
         "2025-01-01T10:00:00Z", 1},
        {TIMED(STAMP("nonsense")), NULL, NULL, 0},
        {TIMED(STAMP("1969-12-31T23:59:59Z")), NULL, NULL, 0},
        {TIMED(STAMP("2025-02-30T00:00:00.000Z")), NULL, NULL, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char want[200];
        run->options.received_ms = cases[i].received ? moment(cases[i].received) : 0;
        const char *got = read_line(run, cases[i].line);
        if (cases[i].time)
            snprintf(want, sizeof want, "track 'E' u=u %s |\n", cases[i].time);
        else
            snprintf(want, sizeof want, "refused 1: %s\n",
                     strstr(cases[i].line, "1969") ? "time is not between 1970 and 2200"
                                                   : "the time cannot be read");
        if (strcmp(got, want) != 0) fail_msg("%s\ngave:   %swanted: %s", cases[i].line, got, want);
        assert_int_equal(run->counts.repaired, cases[i].repaired);
    }
    run->options.received_ms = 0;
    run->options.now_ms = 0;
    assert_string_equal(read_line(run, TIMED("")), "refused 1: the time cannot be read\n");
}

/* The short way to read a time, and the long one, agree. */
static void test_time_forms(void **state) {
    struct run *run = *state;
    struct rand r;
    rand_init(&r, 4);
    run->options.now_ms = moment("2190-01-01");
    for (int i = 0; i < 5000; i++) {
        char line[200], want[100], time[TIME_TEXT_MAX];
        int64_t ms = (int64_t)rand_below(&r, 3) * MS_PER_DAY * 500 +
                     (int64_t)(rand_u64(&r) % (3 * (uint64_t)MS_PER_DAY));
        int64_t of_day = ms % MS_PER_DAY;
        day_format((int32_t)(ms / MS_PER_DAY), time);
        snprintf(line, sizeof line, TIMED("\"timestamp\":\"%sT%02d:%02d:%02d.%03dZ\","), time,
                 (int)(of_day / MS_PER_HOUR), (int)(of_day / MS_PER_MINUTE % 60),
                 (int)(of_day / MS_PER_SECOND % 60), (int)(of_day % 1000));
        if (i % 3 == 0) { /* something wrong in the time of day */
            strchr(line, '.')[-(int)rand_below(&r, 9)] = "x:9."[rand_below(&r, 4)];
            int64_t parsed;
            struct str text = {strchr(line, 'p') + 4, 24};
            text.p = strstr(line, "stamp\":\"") + 8;
            bool good = time_parse(text, NULL, &parsed);
            bool taken = strncmp(read_line(run, line), "track", 5) == 0;
            if (good != taken) fail_msg("%s", line);
            if (!good) continue;
            ms = parsed;
        }
        time_format(NULL, ms, time);
        snprintf(want, sizeof want, "track 'E' u=u %s |\n", time);
        assert_string_equal(read_line(run, line), want);
    }
}

static bool same_key(struct event_key a, struct event_key b) {
    return a.lo == b.lo && a.hi == b.hi;
}

static struct event_key key_of(struct run *run, const char *line) {
    read_line(run, line);
    assert_int_equal(run->counts.accepted, 1);
    return run->key;
}

static void test_keys(void **state) {
    struct run *run = *state;
    struct event_key key = key_of(run, TRACK "\"messageId\":\"m-1\"}");
    assert_true(same_key(key, event_key_of(STR("m-1"))));
    assert_true(same_key(key_of(run, TRACK "\"messageId\":12}"), event_key_of(STR("12"))));
    /* From the content: spaces, order of fields, transport and the moment of reading are not it. */
    key = key_of(run, TRACK "\"properties\":{\"a\":1,\"b\":[{\"c\":2}]},\"messageId\":\"\"}");
    run->options.now_ms += 1000;
    assert_true(same_key(
        key, key_of(run, "{ \"userId\":\"u\",\"properties\":{\"b\":[{\"c\":2}],\"a\":1.0},"
                         "\"event\":\"E\"," T ",\"type\":\"track\",\"sentAt\":\"2025-01-05\"}")));
    assert_false(same_key(key, key_of(run, TRACK "\"properties\":{\"a\":2,\"b\":[{\"c\":2}]}}")));
    assert_false(same_key(key, key_of(run, TRACK "\"properties\":{\"a\":1,\"b\":[{\"c\":3}]}}")));
    assert_false(same_key(key, key_of(run, TRACK "\"properties\":{\"a\":1}}")));
    /* Without any time: the same line of a file is the same event; two requests are two. */
    key = key_of(run, TIMED(""));
    run->options.now_ms += 1000;
    assert_true(same_key(key, key_of(run, TIMED(""))));
    run->options.received_ms = run->options.now_ms;
    struct event_key first = key_of(run, TIMED(""));
    run->options.received_ms++;
    assert_false(same_key(first, key_of(run, TIMED(""))));
    /* A retry has another receivedAt and sentAt, and the same stated time. */
    first = key_of(run, TIMED(STAMP("2025-01-01T10:00:00Z") SENT("2025-01-01T10:00:05Z")));
    run->options.received_ms += 5000;
    assert_true(same_key(
        first, key_of(run, TIMED(STAMP("2025-01-01T10:00:00Z") SENT("2025-01-01T10:00:09Z")))));
}

/* ---- batches ---- */

static void test_batches(void **state) {
    struct run *run = *state;
    run->options.received_ms = moment("2025-01-01T10:10:06Z");
    const char *body =
        "{\"batch\":[{\"type\":\"track\",\"event\":\"A\",\"userId\":\"u\",\"timestamp\":"
        "\"2025-01-01T10:00:00Z\",\"context\":{\"ip\":\"own\",\"page\":{\"url\":\"x\"}}},\n"
        " 5, {\"type\":\"page\",\"anonymousId\":\"a\",\"sentAt\":\"2025-01-01T10:00:06Z\","
        "\"timestamp\":\"2025-01-01T10:00:00Z\"},\n {\"type\":\"track\",\"userId\":\"u\"}],"
        "\"context\":{\"ip\":\"9.9.9.9\",\"locale\":\"en\"},\"integrations\":{\"All\":true},"
        "\"sentAt\":\"2025-01-01T10:00:05Z\",\"writeKey\":\"key\",\"timestamp\":\"junk\"}";
    const char *want =
        "track 'A' u=u 2025-01-01T10:10:01Z | @ip=\"own\" @page.url=\"x\" @locale=\"en\"\n"
        "page a=a 2025-01-01T10:10:00Z | @ip=\"9.9.9.9\" @locale=\"en\"\n"
        "refused 1: not a JSON object\nrefused 3: track without an event name\n";
    assert_string_equal(read_as(run, str_from(body), true), want);
    assert_true(str_is(run->envelope.write_key, "key"));
    assert_string_equal(
        read_as(run, STR("[{\"type\":\"page\",\"userId\":\"u\",\"timestamp\":\"2025-01-01\"}]"),
                true),
        "page u=u 2025-01-01T00:00:00Z |\n");
    assert_true(str_is(run->envelope.write_key, ""));
    assert_string_equal(read_as(run,
                                STR("{\"type\":\"page\",\"userId\":\"u\",\"timestamp\":"
                                    "\"2025-01-01\",\"writeKey\":\"k2\"}"),
                                true),
                        "page u=u 2025-01-01T00:00:00Z |\n");
    assert_true(str_is(run->envelope.write_key, "k2"));
    assert_string_equal(read_as(run, STR("{\"batch\":{}}"), true),
                        "refused 0: type is none of track, identify, page, screen, group, alias\n");
    assert_string_equal(read_as(run, STR("{\"batch\":[],\"writeKey\":\"k\"}"), true), "");
    assert_string_equal(read_as(run, STR(""), true), "refused 0: not a JSON object\n");
}

/* ---- limits ---- */

static void test_large(void **state) {
    struct run *run = *state;
    struct buf line;
    buf_init(&line, 8 << 20);
    for (int fields = 10000; fields <= 10001;
         fields++) { /* as many as there may be, and one more */
        buf_clear(&line);
        buf_add_text(&line, TRACK "\"properties\":{");
        for (int i = 0; i < fields; i++) buf_printf(&line, "%s\"p%d\":%d", i ? "," : "", i, i);
        buf_add_text(&line, "}}");
        const char *got = read_as(run, buf_str(&line), false);
        if (fields == 10000) {
            assert_int_equal(run->counts.accepted, 1);
            assert_non_null(strstr(got, " p0=0 p1=1 "));
            assert_non_null(strstr(got, " p9999=9999\n"));
        } else {
            assert_string_equal(got, "refused 1: more than 10,000 fields\n");
        }
    }
    for (size_t depth = 100; depth < 400000; depth *= 10) { /* a bomb of brackets, two ways */
        for (int way = 0; way < 2; way++) {
            buf_clear(&line);
            buf_add_text(&line, TRACK "\"properties\":{\"a\":");
            for (size_t i = 0; i < depth; i++) buf_add_text(&line, way ? "[" : "{\"a\":");
            buf_add_text(&line, "1");
            for (size_t i = 0; i < depth; i++) buf_add_text(&line, way ? "]" : "}");
            buf_add_text(&line, "}}");
            const char *got = read_as(run, buf_str(&line), false);
            if (depth == 100)
                assert_int_equal(run->counts.accepted, 1);
            else
                assert_non_null(strstr(got, "refused 1: nested deeper than 128"));
        }
    }
    buf_clear(&line);
    for (int i = 0; i < 900000; i++) buf_add_char(&line, "[{"[i % 2]); /* never closed */
    assert_non_null(strstr(read_as(run, buf_str(&line), false), "refused 1: "));
    char name[400];
    memset(name, 'n', sizeof name);
    for (int n = 200; n <= 400; n += 50) { /* names: whole, and put together of parts */
        buf_clear(&line);
        buf_printf(&line, TRACK "\"properties\":{\"%.*s\":1}}", n, name);
        assert_int_equal(read_as(run, buf_str(&line), false)[0], n == 200 ? 't' : 'r');
        buf_clear(&line);
        buf_printf(&line, TRACK "\"properties\":{\"%.*s\":{\"x\":{\"%.*s\":1}}}}", n - 100, name,
                   n - 103 - n / 2 + 3, name);
        const char *got = read_as(run, buf_str(&line), false);
        if (got[0] == 'r') assert_string_equal(got, "refused 1: a name is longer than 200 bytes\n");
    }
    buf_clear(&line);
    buf_add_text(&line, TRACK "\"properties\":{\"a\":\"");
    for (int i = 0; i < 1100000; i++) buf_add_char(&line, 'x');
    buf_add_text(&line, "\"}}");
    assert_string_equal(read_as(run, buf_str(&line), false), "refused 1: larger than 1 MiB\n");
    buf_release(&line);
}

/* Every text with which event_end refuses has a reason of its own. */
static void test_reasons(void **state) {
    (void)state;
    struct batch_writer w;
    batch_writer_init(&w);
    struct event_head head = {.type = EVENT_TRACK, .name = STR("E"), .time_ms = -1};
    event_begin(&w, &head);
    assert_string_equal(event_end(&w), segment_reason_text(SEGMENT_TIME));
    batch_writer_release(&w);
    struct buf source;
    char path[1000];
    const char *root = getenv("KEEL_SOURCE");
    snprintf(path, sizeof path, "%s/src/store/event.c", root ? root : ".");
    buf_init(&source, 1 << 20);
    if (file_read(path, &source, NULL) < 0) skip();
    buf_add_char(&source, 0);
    int found = 0;
    for (const char *p = (const char *)source.p; (p = strstr(p, "refuse(w, ")) != NULL; p++) {
        const char *text = strchr(p, '"'), *end = strchr(p, ';');
        while (text && text < end) { /* each string of the call, it may choose */
            size_t n = strcspn(text + 1, "\"");
            bool known = false;
            for (int i = 0; i < SEGMENT_OTHER; i++)
                known |= str_eq((struct str){text + 1, n},
                                str_from(segment_reason_text((enum segment_reason)i)));
            if (!known && !str_eq((struct str){text + 1, n}, STR("a number is not finite")) &&
                !str_eq((struct str){text + 1, n}, STR("invalid UTF-8")))
                fail_msg("no reason for: %.*s", (int)n, text + 1);
            found++;
            text = strchr(text + n + 2, '"');
        }
    }
    assert_in_range(found, 14, 40);
    buf_release(&source);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, run_set_up, run_tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_types),   TEST(test_fields),  TEST(test_numbers), TEST(test_random_numbers),
        TEST(test_strings), TEST(test_renames), TEST(test_times),   TEST(test_time_forms),
        TEST(test_keys),    TEST(test_batches), TEST(test_large),   cmocka_unit_test(test_reasons),
    };
    return cmocka_run_group_tests_name("segment", tests, NULL, NULL);
}
