/* From the simulated events to the benchmark's ten columns, with identity resolved by rules that
 * are written here a second time and independently of Keel.
 *
 *   keel simulate … | bench_columns ids  DIR [--merge PERCENT]
 *   keel simulate … | bench_columns rows DIR [--fresh PERCENT] [--sample LINES] [--ndjson PART]
 *
 * The first pass reads who is who, the second writes; both read the same bytes, so that events
 * need never lie on a disk as NDJSON (100 million of them are 67 GB). Files in DIR:
 *
 *   ids.bin        state between the passes
 *   base.csv       customer,ts,event,channel,device,country,campaign,product,category,revenue
 *   fresh.csv      the same for the last PERCENT of the events: what has just arrived
 *   links.csv      the same for the events of links.ndjson
 *   merged.csv     from,to: customers that links.ndjson makes one
 *   links.ndjson   late logins: PERCENT of the customers turn out to be another one's device
 *   people.csv     customer,identifier of PEOPLE customers, to ask for their timelines
 *   sample.ndjson  the first LINES events, to compare readers of NDJSON
 *   values.json    the values of each column of names, and what else the runner needs to know
 *
 * With --ndjson the events of PART (all, base, fresh) go to standard output, for Keel, and no file
 * is written: whoever is interrupted then has lost nothing.
 *
 * Identity: an anonymous id belongs to the user_id of its earliest event that has both; its events
 * without a user_id are that user's, else a customer of their own. Customers are numbered densely
 * in the order of their first event. ts is seconds since 1970, revenue cents, product a number; 0
 * or nothing where there is none.
 *
 * Ties: no two events of a customer may have the same second, since the peers do not define their
 * order. An event that falls on or before the customer's previous one is moved to one second behind
 * it, in the columns and in the NDJSON alike. That is done as if links.ndjson had been applied.
 *
 * Input: exactly what `keel simulate --clean` writes (order of the members of a line included);
 * anything else ends the program. It is no JSON parser, and 1.5 million lines a second.
 * Threads: one. Limits: memory of 24 bytes an identifier and 40 a customer.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <xxhash.h>

enum { NONE = UINT32_MAX, DAY = 86400, VALUES_MAX = 250, PEOPLE = 300, PATH_ROOM = 4096 };

_Noreturn static void die(const char *format, ...) {
    va_list args;
    va_start(args, format);
    fputs("bench_columns: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    exit(1);
}

static void *room(void *p, size_t n, size_t size) {
    p = realloc(p, (n ? n : 1) * size);
    if (!p) die("out of memory");
    return p;
}

static char *copy(const char *p, size_t n) {
    char *text = room(NULL, n + 1, 1);
    for (size_t i = 0; i < n; i++) text[i] = p[i];
    text[n] = 0;
    return text;
}

/* ---- a line ---- */

struct piece {
    const char *p;
    size_t n;
};

struct line {
    struct piece anonymous, user; /* n == 0: none */
    struct piece label, name;     /* the event; of pages and screens: their name */
    struct piece channel, device, country, campaign, category;
    bool identify;
    uint32_t ts, product, revenue;
    char *tail; /* "timestamp": … */
};

static bool starts(const char *p, const char *end, const char *text, size_t n) {
    return (size_t)(end - p) >= n && memcmp(p, text, n) == 0;
}
#define STARTS(p, end, text) starts(p, end, text, sizeof(text) - 1)
#define FIND(p, end, text) memmem(p, (size_t)((end) - (p)), text, sizeof(text) - 1)

/* The string value that begins at p, up to its quote. */
static struct piece value(const char *p, const char *end) {
    const char *quote = memchr(p, '"', (size_t)(end - p));
    if (!quote) die("a text without its end: %.80s", p);
    return (struct piece){p, (size_t)(quote - p)};
}

/* The string value behind `key` between p and end; absent: n == 0. */
static struct piece find_value(const char *p, const char *end, const char *key) {
    const char *at = memmem(p, (size_t)(end - p), key, strlen(key));
    if (!at) return (struct piece){"", 0};
    return value(at + strlen(key), end);
}

static uint32_t digits(const char *p, unsigned n) {
    uint32_t v = 0;
    for (unsigned i = 0; i < n; i++) v = v * 10 + (uint32_t)(p[i] - '0');
    return v;
}

/* Days since 1970-01-01 of a Gregorian date. */
static int64_t civil_day(uint32_t year, uint32_t month, uint32_t day) {
    uint32_t y = month <= 2 ? year - 1 : year, era = y / 400, of_era = y % 400;
    uint32_t of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
    uint32_t of_days = of_era * 365 + of_era / 4 - of_era / 100 + of_year;
    return (int64_t)era * 146097 + of_days - 719468;
}

static uint32_t read_time(const char *p) {
    int64_t day = civil_day(digits(p, 4), digits(p + 5, 2), digits(p + 8, 2));
    return (uint32_t)(day * DAY + digits(p + 11, 2) * 3600 + digits(p + 14, 2) * 60 +
                      digits(p + 17, 2));
}

static void write_time(char *p, uint32_t ts) {
    char text[32];
    time_t seconds = ts;
    struct tm tm;
    gmtime_r(&seconds, &tm);
    strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &tm);
    memcpy(p, text, 19);
}

static uint32_t read_cents(const char *p) {
    uint32_t v = 0;
    while (*p >= '0' && *p <= '9') v = v * 10 + (uint32_t)(*p++ - '0');
    v *= 100;
    if (*p != '.') return v;
    v += (uint32_t)(p[1] - '0') * 10;
    if (p[2] >= '0' && p[2] <= '9') v += (uint32_t)(p[2] - '0');
    return v;
}

/* The times stand at the end of every line of an undirtied simulation, in this form. */
#define TAIL "\"timestamp\":\"2024-01-01T00:00:00.000Z\""
#define TAIL_TIMES 3
static const size_t TAIL_AT[TAIL_TIMES] = {13, 49, 89};
enum { TAIL_BYTES = 116 };

static void parse_track(struct line *l, const char *properties, const char *end) {
    const char *p = properties;
    bool product = memcmp(l->label.p, "Product ", l->label.n < 8 ? l->label.n : 8) == 0;
    if (product) {
        l->category = find_value(p, end, "\"category\":\"");
        struct piece id = find_value(p, end, "\"product_id\":\"p");
        l->product = id.n ? digits(id.p, (unsigned)id.n) : 0;
    } else if (l->label.n == 15 && memcmp(l->label.p, "Order Completed", 15) == 0) {
        p = FIND(p, end, "\"revenue\":");
        if (!p) die("an order without revenue: %.80s", properties);
        l->revenue = read_cents(p + 10);
    }
}

static void parse(char *text, size_t n, struct line *l) {
    const char *p = text, *end = text + n;
    const struct piece none = {"", 0};
    *l = (struct line){.anonymous = none, .user = none, .name = none, .category = none};
    if (!STARTS(p, end, "{\"type\":\"")) die("not a simulated event: %.80s", text);
    struct piece type = value(p + 9, end);
    p = FIND(p, end, "\"messageId\":\"");
    if (!p || (size_t)(end - p) < 60 + TAIL_BYTES) die("not a simulated event: %.80s", text);
    p += 13 + 36 + 2;
    if (STARTS(p, end, "\"anonymousId\":\"")) {
        l->anonymous = value(p + 15, end);
        p = l->anonymous.p + l->anonymous.n + 2;
    }
    if (STARTS(p, end, "\"userId\":\"")) {
        l->user = value(p + 10, end);
        p = l->user.p + l->user.n + 2;
    }
    if (!l->anonymous.n && !l->user.n) die("an event of nobody: %.80s", text);
    const char *context = FIND(p, end, "\"context\":{\"channel\":\"");
    if (!context) die("an event without context: %.80s", text);
    l->identify = type.n == 8 && memcmp(type.p, "identify", 8) == 0;
    l->label = type;
    if (STARTS(p, end, "\"event\":\"")) {
        l->label = value(p + 9, end);
        parse_track(l, p, context);
    } else if (STARTS(p, end, "\"name\":\"")) {
        l->name = value(p + 8, end);
    }
    l->channel = value(context + 22, end);
    l->device = find_value(context, end, "\"device\":{\"type\":\"");
    l->country = find_value(context, end, "\"country\":\"");
    l->campaign = find_value(context, end, "\"campaign\":{\"name\":\"");
    l->tail = text + n - TAIL_BYTES;
    if (!STARTS(l->tail, end, "\"timestamp\":\"")) die("an event with other times: %.80s", text);
    l->ts = read_time(l->tail + TAIL_AT[0]);
}

/* ---- who is who ---- */

struct slot {
    uint64_t hash; /* of kind and id; 0: free */
    uint32_t number, rest;
};

struct person {                 /* by number; a number is one user_id or anonymous_id */
    uint32_t owner;             /* of an anonymous id: number of the user; NONE */
    uint32_t since;             /* the edge that says so */
    uint32_t root, merged_root; /* without and with links.ndjson */
    uint16_t country;           /* hash of its name, of the first event */
    uint8_t user, rows;
};

struct ids {
    struct slot *slots;
    uint64_t mask, lines;
    struct person *people;
    uint32_t n, cap, customers, links;
};

static uint64_t hash_of(struct piece id, bool user) {
    uint64_t h = XXH3_64bits_withSeed(id.p, id.n, user ? 1 : 2);
    return h ? h : 1;
}

static struct slot *slot_of(const struct ids *ids, uint64_t hash) {
    uint64_t i = hash & ids->mask;
    while (ids->slots[i].hash && ids->slots[i].hash != hash) i = (i + 1) & ids->mask;
    return &ids->slots[i];
}

static void grow(struct ids *ids) {
    struct ids bigger = *ids;
    bigger.mask = ids->mask * 2 + 1;
    bigger.slots = calloc(bigger.mask + 1, sizeof *bigger.slots);
    if (!bigger.slots) die("out of memory");
    for (uint64_t i = 0; i <= ids->mask; i++)
        if (ids->slots[i].hash) *slot_of(&bigger, ids->slots[i].hash) = ids->slots[i];
    free(ids->slots);
    *ids = bigger;
}

static uint32_t add_number(struct ids *ids, struct piece id, bool user, struct piece country) {
    uint64_t hash = hash_of(id, user);
    struct slot *s = slot_of(ids, hash);
    if (s->hash) return s->number;
    if (ids->n == ids->cap) {
        ids->cap = ids->cap ? ids->cap * 2 : 1 << 16;
        ids->people = room(ids->people, ids->cap, sizeof *ids->people);
    }
    uint16_t place = (uint16_t)XXH3_64bits(country.p, country.n);
    ids->people[ids->n] = (struct person){
        .owner = NONE, .root = ids->n, .merged_root = ids->n, .country = place, .user = user};
    *s = (struct slot){.hash = hash, .number = ids->n++};
    uint32_t number = s->number;
    if (ids->n * UINT64_C(2) > ids->mask) grow(ids);
    return number;
}

static uint32_t find_number(const struct ids *ids, struct piece id, bool user) {
    const struct slot *s = slot_of(ids, hash_of(id, user));
    if (!s->hash) die("the second pass reads other events than the first: %.*s", (int)id.n, id.p);
    return s->number;
}

static void note_edge(struct person *device, uint32_t user, uint32_t ts) {
    if (device->owner != NONE && device->owner != user && device->since == ts)
        die("two users log in on one device in the same second");
    if (device->owner != NONE && device->since <= ts) return;
    device->owner = user;
    device->since = ts;
}

/* Every k-th customer that no login has named becomes a device of some user of his country. */
static void choose_links(struct ids *ids, double percent) {
    uint32_t unnamed = 0, next = 0;
    for (uint32_t i = 0; i < ids->n; i++) {
        struct person *p = &ids->people[i];
        if (p->owner != NONE) p->root = p->merged_root = p->owner;
        if (p->root != i || !p->rows) continue;
        ids->customers++;
        unnamed += !p->user;
    }
    double wanted = ids->customers * percent / 100, step = wanted > 0 ? unnamed / wanted : 0,
           at = 0;
    uint32_t seen = 0;
    for (uint32_t i = 0; i < ids->n && step >= 1; i++) {
        struct person *p = &ids->people[i];
        if (p->user || p->root != i || !p->rows || seen++ < at) continue;
        uint32_t tried = 0;
        do next = (uint32_t)((next + UINT64_C(7919)) % ids->n);
        while (++tried < ids->n && !(ids->people[next].user && ids->people[next].rows &&
                                     ids->people[next].country == p->country));
        if (tried == ids->n) continue;
        p->merged_root = next;
        ids->links++;
        at += step;
    }
}

/* Without a folder what is written is forgotten. */
static FILE *open_in(const char *dir, const char *name, const char *mode) {
    char path[PATH_ROOM] = "/dev/null";
    if (dir) snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *f = fopen(path, mode);
    if (!f) die("%s: %s", path, strerror(errno));
    return f;
}

static void close_out(FILE *f) {
    if (ferror(f) || fclose(f)) die("cannot write: %s", strerror(errno));
}

static void ids_save(const struct ids *ids, const char *dir) {
    FILE *f = open_in(dir, "ids.bin", "w");
    fwrite(ids, sizeof *ids, 1, f);
    fwrite(ids->slots, sizeof *ids->slots, ids->mask + 1, f);
    fwrite(ids->people, sizeof *ids->people, ids->n, f);
    close_out(f);
}

static void ids_load(struct ids *ids, const char *dir) {
    FILE *f = open_in(dir, "ids.bin", "r");
    bool ok = fread(ids, sizeof *ids, 1, f) == 1;
    ids->slots = room(NULL, ids->mask + 1, sizeof *ids->slots);
    ids->people = room(NULL, ids->n, sizeof *ids->people);
    ok = ok && fread(ids->slots, sizeof *ids->slots, ids->mask + 1, f) == ids->mask + 1;
    ok = ok && fread(ids->people, sizeof *ids->people, ids->n, f) == ids->n;
    if (!ok) die("%s/ids.bin is incomplete: run bench_columns ids first", dir);
    fclose(f);
}

static void pass_ids(const char *dir, double merge_percent) {
    struct ids ids = {.mask = (1 << 20) - 1};
    ids.slots = calloc(ids.mask + 1, sizeof *ids.slots);
    char *text = NULL;
    size_t cap = 0;
    ssize_t n;
    struct line l;
    for (; (n = getline(&text, &cap, stdin)) > 0; ids.lines++) {
        parse(text, (size_t)n, &l);
        uint32_t user = NONE, device = NONE;
        if (l.user.n) user = add_number(&ids, l.user, true, l.country);
        if (l.anonymous.n) device = add_number(&ids, l.anonymous, false, l.country);
        if (user != NONE && device != NONE) note_edge(&ids.people[device], user, l.ts);
        ids.people[user != NONE ? user : device].rows = 1;
    }
    choose_links(&ids, merge_percent);
    ids_save(&ids, dir);
    free(text);
}

/* ---- writing ---- */

struct values { /* the different values of a column */
    const char *name;
    char *text[VALUES_MAX];
    size_t bytes[VALUES_MAX];
    uint64_t rows[VALUES_MAX];
    uint32_t n;
};

static void values_note(struct values *v, const char *text, size_t n) {
    uint32_t i = 0;
    while (i < v->n && (v->bytes[i] != n || memcmp(v->text[i], text, n) != 0)) i++;
    if (i == VALUES_MAX) die("more than %d values of %s", VALUES_MAX, v->name);
    if (i == v->n) {
        v->bytes[v->n] = n;
        v->text[v->n++] = copy(text, n);
    }
    v->rows[i]++;
    if (i == 0 || v->rows[i] <= v->rows[i - 1]) return;
    char *t = v->text[i]; /* frequent ones to the front: found sooner */
    size_t bytes = v->bytes[i];
    uint64_t rows = v->rows[i];
    v->text[i] = v->text[i - 1], v->bytes[i] = v->bytes[i - 1], v->rows[i] = v->rows[i - 1];
    v->text[i - 1] = t, v->bytes[i - 1] = bytes, v->rows[i - 1] = rows;
}

enum { EVENT, CHANNEL, DEVICE, COUNTRY, CAMPAIGN, CATEGORY, NAMED };

struct writer {
    struct ids ids;
    struct values values[NAMED];
    uint32_t *dense;      /* customer of a root, NONE */
    uint32_t *last;       /* by merged root: time of the previous event */
    struct person *check; /* owners by the moved times: must come out the same */
    FILE *people;
    char **id_text; /* of both ends of a link */
    uint32_t customers, min_ts, max_ts, max_product;
    uint64_t moved, revenue;
    char label[512];
};

static void put_quoted(FILE *f, struct values *v, const char *text, size_t n) {
    values_note(v, text, n);
    fputc('"', f);
    for (size_t i = 0; i < n; i++) {
        if (text[i] == '"') fputc('"', f);
        fputc(text[i], f);
    }
    fputs("\",", f);
}

static void put_row(struct writer *w, FILE *f, const struct line *l, uint32_t customer) {
    struct piece label = l->label;
    if (l->name.n) {
        int n = snprintf(w->label, sizeof w->label, "%.*s \"%.*s\"", (int)label.n, label.p,
                         (int)l->name.n, l->name.p);
        label = (struct piece){w->label, (size_t)n};
    }
    fprintf(f, "%u,%u,", customer, l->ts);
    put_quoted(f, &w->values[EVENT], label.p, label.n);
    put_quoted(f, &w->values[CHANNEL], l->channel.p, l->channel.n);
    put_quoted(f, &w->values[DEVICE], l->device.p, l->device.n);
    put_quoted(f, &w->values[COUNTRY], l->country.p, l->country.n);
    put_quoted(f, &w->values[CAMPAIGN], l->campaign.p, l->campaign.n);
    fprintf(f, "%u,", l->product);
    put_quoted(f, &w->values[CATEGORY], l->category.p, l->category.n);
    fprintf(f, "%u\n", l->revenue);
    if (l->ts < w->min_ts) w->min_ts = l->ts;
    if (l->ts > w->max_ts) w->max_ts = l->ts;
    if (l->product > w->max_product) w->max_product = l->product;
    w->revenue += l->revenue;
}

static void keep_id(struct writer *w, uint32_t number, struct piece id) {
    if (w->id_text[number]) return;
    w->id_text[number] = copy(id.p, id.n);
}

/* Resolves, moves the time if it must, and gives the customer's number. */
static uint32_t place(struct writer *w, struct line *l) {
    uint32_t user = l->user.n ? find_number(&w->ids, l->user, true) : NONE;
    uint32_t device = l->anonymous.n ? find_number(&w->ids, l->anonymous, false) : NONE;
    uint32_t number = user != NONE ? user : device;
    const struct person *p = &w->ids.people[number];
    uint32_t *last = &w->last[p->merged_root];
    if (l->ts <= *last) {
        l->ts = *last + 1;
        w->moved++;
        for (int i = 0; i < TAIL_TIMES; i++) write_time(l->tail + TAIL_AT[i], l->ts);
    }
    *last = l->ts;
    if (user != NONE && device != NONE) note_edge(&w->check[device], user, l->ts);
    if (user != NONE) keep_id(w, user, l->user);
    if (p->merged_root != p->root) keep_id(w, number, l->anonymous);
    if (w->dense[p->root] == NONE) {
        w->dense[p->root] = w->customers++;
        if (w->dense[p->root] % (w->ids.customers / PEOPLE + 1) == 0) {
            const struct piece id = user != NONE ? l->user : l->anonymous;
            fprintf(w->people, "%u,%s_id=%.*s\n", w->dense[p->root],
                    user != NONE ? "user" : "anonymous", (int)id.n, id.p);
        }
    }
    return w->dense[p->root];
}

/* A login on the device of number i, behind everything else, of the user it is merged into. */
static void put_link(struct writer *w, FILE *csv, FILE *ndjson, FILE *merged, uint32_t i,
                     const char *country) {
    uint32_t root = w->ids.people[i].merged_root;
    const char *device = w->id_text[i], *user = w->id_text[root];
    char time[20] = "2024-01-01T00:00:00";
    uint32_t ts = ++w->last[root];
    write_time(time, ts);
    fprintf(ndjson,
            "{\"type\":\"identify\",\"messageId\":\"link-%u\",\"anonymousId\":\"%s\",\"userId\":"
            "\"%s\",\"traits\":{},\"context\":{\"channel\":\"web\",\"device\":{\"type\":"
            "\"desktop\"},\"location\":{\"country\":\"%s\"}},\"timestamp\":\"%s.000Z\",\"sentAt\":"
            "\"%s.000Z\",\"receivedAt\":\"%s.000Z\"}\n",
            i, device, user, country, time, time, time);
    fprintf(merged, "%u,%u\n", w->dense[i], w->dense[root]);
    struct line l = {.label = {"identify", 8},
                     .channel = {"web", 3},
                     .device = {"desktop", 7},
                     .country = {country, strlen(country)},
                     .ts = ts};
    l.campaign = l.category = (struct piece){"", 0};
    put_row(w, csv, &l, w->dense[root]);
}

static const char *country_name(const struct writer *w, uint16_t hash) {
    const struct values *v = &w->values[COUNTRY];
    for (uint32_t i = 0; i < v->n; i++)
        if ((uint16_t)XXH3_64bits(v->text[i], strlen(v->text[i])) == hash) return v->text[i];
    die("a country without a name");
}

static void put_links(struct writer *w, const char *dir) {
    FILE *csv = open_in(dir, "links.csv", "w"), *merged = open_in(dir, "merged.csv", "w");
    FILE *ndjson = open_in(dir, "links.ndjson", "w");
    for (uint32_t i = 0; i < w->ids.n; i++)
        if (w->ids.people[i].merged_root != w->ids.people[i].root)
            put_link(w, csv, ndjson, merged, i, country_name(w, w->ids.people[i].country));
    close_out(csv);
    close_out(merged);
    close_out(ndjson);
}

static void put_json_text(FILE *f, const char *text) {
    fputc('"', f);
    for (; *text; text++) {
        if (*text == '"' || *text == '\\') fputc('\\', f);
        fputc(*text, f);
    }
    fputc('"', f);
}

static void put_values(const struct writer *w, const char *dir, uint64_t fresh) {
    FILE *f = open_in(dir, "values.json", "w");
    uint32_t asked = (w->max_ts / DAY + 1) * DAY;
    fprintf(f,
            "{\"events\":%llu,\"fresh\":%llu,\"customers\":%u,\"identifiers\":%u,\"links\":%u,"
            "\"moved\":%llu,\"first_ts\":%u,\"last_ts\":%u,\"asked_ts\":%u,\"max_product\":%u,"
            "\"revenue_cents\":%llu",
            (unsigned long long)w->ids.lines, (unsigned long long)fresh, w->customers, w->ids.n,
            w->ids.links, (unsigned long long)w->moved, w->min_ts, w->max_ts, asked, w->max_product,
            (unsigned long long)w->revenue);
    for (int c = 0; c < NAMED; c++) {
        fprintf(f, ",\n\"%s\":[", w->values[c].name);
        for (uint32_t i = 0; i < w->values[c].n; i++) {
            if (i) fputc(',', f);
            put_json_text(f, w->values[c].text[i]);
        }
        fputc(']', f);
    }
    fputs("}\n", f);
    close_out(f);
}

static void check_owners(const struct writer *w) {
    for (uint32_t i = 0; i < w->ids.n; i++)
        if (w->check[i].owner != w->ids.people[i].owner)
            die("moving equal times apart changed whose device %u is", i);
}

struct rows_options {
    double fresh_percent;
    uint64_t sample;
    const char *ndjson; /* all, base, fresh, or NULL: files */
};

static void writer_init(struct writer *w, const char *dir, const char *files) {
    static const char *const NAMES[NAMED] = {"event",   "channel",  "device",
                                             "country", "campaign", "category"};
    *w = (struct writer){.min_ts = NONE};
    ids_load(&w->ids, dir);
    w->people = open_in(files, "people.csv", "w");
    for (int c = 0; c < NAMED; c++) w->values[c].name = NAMES[c];
    w->dense = room(NULL, w->ids.n, sizeof *w->dense);
    memset(w->dense, 0xff, w->ids.n * sizeof *w->dense);
    w->last = calloc(w->ids.n + 1, sizeof *w->last);
    w->id_text = calloc(w->ids.n + 1, sizeof *w->id_text);
    w->check = room(NULL, w->ids.n, sizeof *w->check);
    if (!w->last || !w->id_text) die("out of memory");
    for (uint32_t i = 0; i < w->ids.n; i++) w->check[i] = (struct person){.owner = NONE};
}

static void pass_rows(const char *dir, const struct rows_options *o) {
    static struct writer w;
    const char *files = o->ndjson ? NULL : dir;
    writer_init(&w, dir, files);
    FILE *csv[2] = {open_in(files, "base.csv", "w"), open_in(files, "fresh.csv", "w")};
    FILE *sample = open_in(files, "sample.ndjson", "w");
    uint64_t fresh = (uint64_t)((double)w.ids.lines * o->fresh_percent / 100);
    bool out[2] = {o->ndjson && strcmp(o->ndjson, "fresh") != 0,
                   o->ndjson && strcmp(o->ndjson, "base") != 0};
    char *text = NULL;
    size_t cap = 0;
    ssize_t n;
    struct line l;
    uint64_t i = 0;
    for (; (n = getline(&text, &cap, stdin)) > 0; i++) {
        parse(text, (size_t)n, &l);
        uint32_t customer = place(&w, &l);
        bool late = i >= w.ids.lines - fresh;
        if (files) put_row(&w, csv[late], &l, customer);
        if (out[late]) fwrite(text, 1, (size_t)n, stdout);
        if (i < o->sample) fwrite(text, 1, (size_t)n, sample);
    }
    if (i != w.ids.lines) die("the second pass reads other events than the first");
    if (fflush(stdout)) die("cannot write: %s", strerror(errno));
    close_out(csv[0]);
    close_out(csv[1]);
    close_out(sample);
    close_out(w.people);
    check_owners(&w);
    if (files) {
        put_links(&w, files);
        put_values(&w, files, fresh);
    }
    free(text);
}

static const char *option(int argc, char **argv, const char *name, const char *otherwise) {
    for (int i = 3; i + 1 < argc; i += 2)
        if (strcmp(argv[i], name) == 0) return argv[i + 1];
    return otherwise;
}

int main(int argc, char **argv) {
    if (argc < 3 || argc % 2 == 0) die("usage: bench_columns ids|rows DIR [--OPTION VALUE]...");
    static char out_room[1 << 20];
    setvbuf(stdout, out_room, _IOFBF, sizeof out_room);
    if (strcmp(argv[1], "ids") == 0) {
        pass_ids(argv[2], strtod(option(argc, argv, "--merge", "1"), NULL));
    } else if (strcmp(argv[1], "rows") == 0) {
        struct rows_options o = {
            .fresh_percent = strtod(option(argc, argv, "--fresh", "5"), NULL),
            .sample = strtoull(option(argc, argv, "--sample", "0"), NULL, 10),
            .ndjson = option(argc, argv, "--ndjson", NULL),
        };
        pass_rows(argv[2], &o);
    } else {
        die("no pass named %s", argv[1]);
    }
    return 0;
}
