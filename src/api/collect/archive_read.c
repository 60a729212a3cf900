/* Reading the raw archive: see archive.h. The members in front of "batch" stand in the order in
 * which archive.c wrote them, so what is needed of them is found without parsing the events. */
#include <stdio.h>
#include <stdlib.h>

#include "api/collect/archive.h"
#include "base/input.h"
#include "base/json.h"
#include "base/os.h"
#include "base/time.h"
#include "customer/envelope.h"

enum {
    PATH_BYTES = 4096,
    NAME_BYTES = 64,
    MOST_FILES = 1 << 20,
    HOUR_BYTES = 13,
    CONNECTION_BYTES = 1 << 20
};

struct file_names {
    char (*name)[NAME_BYTES];
    size_t n, cap;
    int64_t from_ms, to_ms;
};

/* A file holds what was received in its hour, or was still waiting when it began. */
static bool may_hold(const struct file_names *f, const char *name) {
    char hour[32];
    int64_t ms;
    snprintf(hour, sizeof hour, "%.13s:00Z", name);
    if (!time_parse(str_from(hour), NULL, &ms)) return false;
    return ms + MS_PER_HOUR >= f->from_ms && ms - MS_PER_HOUR < f->to_ms;
}

static int note_name(void *ctx, const char *name) {
    struct file_names *f = ctx;
    if (!str_ends(str_from(name), STR(".ndjson.zst")) || strlen(name) >= NAME_BYTES) return 0;
    if (!may_hold(f, name)) return 0;
    if (f->n == MOST_FILES) return -KEEL_E_LIMIT;
    if (f->n == f->cap) {
        f->cap = f->cap ? f->cap * 2 : 64;
        f->name = k_realloc(f->name, f->cap * sizeof *f->name);
    }
    snprintf(f->name[f->n++], NAME_BYTES, "%s", name);
    return 0;
}

static int by_name(const void *a, const void *b) { return strcmp(a, b); }

/* The text behind `before` at the start of *line, up to `end`; *line moves behind it. */
static bool take(struct str *line, struct str before, char end, struct str *out) {
    if (!str_starts(*line, before)) return false;
    const char *p = line->p + before.n;
    const char *stop = memchr(p, end, line->n - before.n);
    if (!stop) return false;
    *out = (struct str){p, (size_t)(stop - p)};
    *line = (struct str){stop + 1, line->n - (size_t)(stop + 1 - line->p)};
    return true;
}

/* A JSON string, with its quotes. */
static bool take_string(struct str *line, struct str *out) {
    size_t n = 1;
    if (!line->n || line->p[0] != '"') return false;
    while (n < line->n && line->p[n] != '"') n += line->p[n] == '\\' ? 2 : 1;
    if (n >= line->n) return false;
    *out = (struct str){line->p, n + 1};
    *line = (struct str){line->p + n + 1, line->n - n - 1};
    return true;
}

/* The object at the start of *line, which has none within; *line moves behind it. */
static bool take_object(struct str *line, struct str *out) {
    struct str rest = *line, string;
    while (rest.n && rest.p[0] != '}') {
        if (rest.p[0] != '"')
            rest = (struct str){rest.p + 1, rest.n - 1};
        else if (!take_string(&rest, &string))
            return false;
    }
    if (!rest.n) return false;
    *out = (struct str){line->p, (size_t)(rest.p + 1 - line->p)};
    *line = (struct str){rest.p + 1, rest.n - 1};
    return true;
}

/* Absent in lines of before. */
static bool parse_client(struct json_parser *parser, struct str *rest, struct archive_line *out) {
    const struct str before = STR(",\"connection\":");
    struct client *client = &out->client;
    struct json_value root;
    struct str object;
    int64_t policy = CLIENT_IP_DROP;
    out->has_client = str_starts(*rest, before);
    *client = (struct client){.address = STR(""), .user_agent = STR("")};
    if (!out->has_client) return true;
    *rest = (struct str){rest->p + before.n, rest->n - before.n};
    if (!take_object(rest, &object) || json_parse(parser, object, &root, NULL) < 0) return false;
    bool good = json_str(json_get(root, "ip"), &client->address) &&
                json_str(json_get(root, "userAgent"), &client->user_agent) &&
                json_bool(json_get(root, "own"), &client->own) &&
                json_i64(json_get(root, "policy"), &policy) &&
                json_i64(json_get(root, "sentMs"), &client->sent_ms);
    if (policy < 0 || policy >= CLIENT_IP_POLICIES) return false;
    client->ip = (enum client_ip)policy;
    return good;
}

static bool parse_line(struct json_parser *parser, struct str text, struct archive_line *out) {
    struct str rest = text, time, type;
    const struct str source = STR(",\"source\":");
    if (!take(&rest, STR("{\"receivedAt\":\""), '"', &time) ||
        !time_parse(time, NULL, &out->received_ms) || !str_starts(rest, source))
        return false;
    rest = (struct str){rest.p + source.n, rest.n - source.n};
    if (!take_string(&rest, &out->source)) return false;
    out->type = SEGMENT_ANY_TYPE;
    if (take(&rest, STR(",\"type\":\""), '"', &type))
        for (int t = 0; t < EVENT_TYPES; t++)
            if (str_is(type, envelope_type_text((enum event_type)t))) out->type = t;
    out->text = text;
    return parse_client(parser, &rest, out);
}

struct archive_reader {
    struct json_parser *parser;
    int64_t from_ms, to_ms;
    int (*each)(void *ctx, const struct archive_line *line, struct keel_error *err);
    void *ctx;
    struct archive_sums *sums;
};

static int read_lines(struct archive_reader *r, struct input *in, struct keel_error *err) {
    struct str text;
    int got;
    while ((got = input_read_line(in, &text, err)) == INPUT_TEXT) {
        struct archive_line line;
        if (!parse_line(r->parser, text, &line))
            FAIL(err, CORRUPT, "%s: line %llu is no line of an archive", input_name(in),
                 (unsigned long long)input_line(in));
        if (line.received_ms < r->from_ms || line.received_ms >= r->to_ms) continue;
        r->sums->lines++;
        TRY(r->each(r->ctx, &line, err));
    }
    if (got == INPUT_LONG_LINE)
        FAIL(err, LIMIT, "%s: line %llu is too long", input_name(in),
             (unsigned long long)input_line(in));
    return got;
}

static int read_file(struct archive_reader *r, const char *path, struct keel_error *err) {
    struct input *in;
    struct keel_error why = {0};
    int code = input_open(path, &in, &why);
    if (code == 0) {
        input_set_max_line(in, ARCHIVE_WAITING_BYTES);
        r->sums->files++;
        code = read_lines(r, in, &why);
        input_close(in);
        /* The last frame of a process that died. */
        bool torn = code < 0 && strstr(why.message, "is truncated");
        r->sums->torn += torn;
        if (torn) code = 0;
    }
    if (code < 0 && err) *err = why;
    return code;
}

int archive_read(const char *dir, int64_t from_ms, int64_t to_ms,
                 int (*each)(void *ctx, const struct archive_line *line, struct keel_error *err),
                 void *ctx, struct archive_sums *out, struct keel_error *err) {
    char folder[PATH_BYTES], path[PATH_BYTES + NAME_BYTES];
    struct file_names files = {.from_ms = from_ms, .to_ms = to_ms};
    *out = (struct archive_sums){0};
    struct archive_reader r = {
        .from_ms = from_ms, .to_ms = to_ms, .each = each, .ctx = ctx, .sums = out};
    snprintf(folder, sizeof folder, "%s/archive", dir);
    if (!file_exists(folder))
        FAIL(err, NOT_FOUND, "%s has no archive; it is kept with archive = on", dir);
    r.parser = json_parser_new(CONNECTION_BYTES);
    int code = file_list_dir(folder, note_name, &files, err);
    if (files.n > 1) qsort(files.name, files.n, sizeof *files.name, by_name);
    for (size_t i = 0; i < files.n && code == 0; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, files.name[i]);
        code = read_file(&r, path, err);
    }
    k_free(files.name);
    json_parser_free(r.parser);
    return code;
}
