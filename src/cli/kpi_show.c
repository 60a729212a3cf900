/* Implementation of kpi_show.h.
 *
 * A column names the member it shows, through objects by dots; what is missing or null is an empty
 * cell. So each table is one list.
 */
#include "cli/kpi_show.h"

enum { COLUMNS_MOST = 16, INDENT = 2 };

struct shown {
    const char *title, *member;
    enum cell_type type; /* STRING, NUMBER, INTEGER, BOOL */
};

/* ---- cells ---- */

static struct json_value member_of(struct json_value v, const char *path) {
    struct str rest = str_from(path);
    while (rest.n) {
        size_t n = 0;
        while (n < rest.n && rest.p[n] != '.') n++;
        v = json_get_str(v, (struct str){rest.p, n});
        rest = n < rest.n ? (struct str){rest.p + n + 1, rest.n - n - 1} : (struct str){"", 0};
    }
    return v;
}

/* A list of texts as one; lives in `text`. */
static struct str joined(struct json_value v, struct buf *text) {
    struct json_each each = json_each(v);
    struct json_value item;
    struct str s;
    size_t from = text->n;
    while (json_next(&each, NULL, &item)) {
        if (!json_str(item, &s)) continue;
        if (text->n > from) (void)!buf_add_text(text, ", ");
        (void)!buf_add_str(text, s);
    }
    return (struct str){(const char *)text->p + from, text->n - from};
}

static struct cell cell_of(struct json_value v, enum cell_type type, struct buf *text) {
    struct cell cell = {.is_null = true};
    switch (type) {
    case CELL_STRING:
        if (text && json_type(v) == JSON_ARRAY) {
            cell.text = joined(v, text);
            cell.is_null = cell.text.n == 0;
        } else {
            cell.is_null = !json_str(v, &cell.text);
        }
        break;
    case CELL_NUMBER: cell.is_null = !json_f64(v, &cell.number); break;
    case CELL_INTEGER: cell.is_null = !json_i64(v, &cell.integer); break;
    case CELL_BOOL: cell.is_null = !json_bool(v, &cell.boolean); break;
    case CELL_TIME:
    case CELL_DATE:
    case CELL_JSON: break;
    }
    return cell;
}

static void put_row(struct table *t, const struct shown *shown, size_t n, struct json_value v) {
    struct cell cells[COLUMNS_MOST];
    struct buf text;
    buf_init(&text, 1 << 16);
    (void)!buf_reserve(&text, 4096); /* texts of a row do not move */
    for (size_t i = 0; i < n; i++)
        cells[i] = cell_of(member_of(v, shown[i].member), shown[i].type, &text);
    table_row(t, cells);
    buf_release(&text);
}

static int start(struct table *t, struct output *out, enum table_style style,
                 struct column *columns, const struct shown *shown, size_t n,
                 struct keel_error *err) {
    K_ASSERT_OP(n, <=, COLUMNS_MOST);
    for (size_t i = 0; i < n; i++) columns[i] = (struct column){shown[i].title, shown[i].type};
    return table_start(t, out, &(struct table_format){.style = style}, columns, n, err);
}

static int show_rows(struct output *out, struct json_value rows, enum table_style style,
                     const struct shown *shown, size_t n, struct keel_error *err) {
    struct column columns[COLUMNS_MOST];
    struct table table;
    struct json_each each = json_each(rows);
    struct json_value row;
    TRY(start(&table, out, style, columns, shown, n, err));
    while (json_next(&each, NULL, &row)) put_row(&table, shown, n, row);
    return table_finish(&table, STR(""), err);
}

#define COUNT(list) (sizeof(list) / sizeof *(list))

/* ---- reports ---- */

int kpi_show_list(struct output *out, struct json_value root, enum table_style style,
                  struct keel_error *err) {
    static const struct shown shown[] = {
        {"id", "id", CELL_STRING},
        {"name", "name", CELL_STRING},
        {"form", "form", CELL_STRING},
        {"unit", "unit", CELL_STRING},
        {"grain", "grain", CELL_STRING},
        {"period", "latest.period", CELL_STRING},
        {"value", "latest.value", CELL_NUMBER},
        {"running", "running.value", CELL_NUMBER},
        {"guardrail", "latest.guardrail", CELL_STRING},
        {"target met", "latest.target_met", CELL_BOOL},
        {"marketing", "owner_marketing", CELL_STRING},
        {"it", "owner_it", CELL_STRING},
    };
    return show_rows(out, json_get(root, "kpis"), style, shown, COUNT(shown), err);
}

int kpi_show_series(struct output *out, struct json_value root, enum table_style style,
                    struct keel_error *err) {
    static const struct shown now[] = {
        {"period", "period", CELL_STRING},         {"value", "value", CELL_NUMBER},
        {"complete", "complete", CELL_BOOL},       {"low", "band.low", CELL_NUMBER},
        {"middle", "band.middle", CELL_NUMBER},    {"high", "band.high", CELL_NUMBER},
        {"band", "verdict", CELL_STRING},          {"guardrail", "guardrail", CELL_STRING},
        {"checked at", "checked_at", CELL_STRING},
    };
    static const struct shown then[] = {
        {"period", "period", CELL_STRING},
        {"value", "value", CELL_NUMBER},
        {"complete", "complete", CELL_BOOL},
        {"computed at", "computed_at", CELL_STRING},
        {"version", "version", CELL_INTEGER},
        {"now", "now.value", CELL_NUMBER},
        {"difference", "now.difference", CELL_NUMBER},
        {"by definition", "now.from_definition", CELL_NUMBER},
        {"by data", "now.from_data", CELL_NUMBER},
        {"late events", "now.late_events", CELL_INTEGER},
        {"merged", "now.merged", CELL_INTEGER},
        {"because", "now.because", CELL_STRING},
    };
    bool as_of = json_has(root, "as_of");
    return show_rows(out, json_get(root, "points"), style, as_of ? then : now,
                     as_of ? COUNT(then) : COUNT(now), err);
}

static void put_number(struct output *out, struct json_value v) {
    double number;
    struct buf text;
    buf_init(&text, 64);
    if (json_f64(v, &number))
        (void)!buf_add_f64(&text, number);
    else
        (void)!buf_add_text(&text, "unknown");
    output_str(out, buf_str(&text));
    buf_release(&text);
}

int kpi_show_attribution(struct output *out, struct output *words, struct json_value root,
                         enum table_style style, struct keel_error *err) {
    static const struct shown shown[] = {
        {"id", "id", CELL_STRING},
        {"name", "name", CELL_STRING},
        {"before", "against", CELL_NUMBER},
        {"after", "value", CELL_NUMBER},
        {"contribution", "contribution", CELL_NUMBER},
        {"share", "share", CELL_NUMBER},
    };
    struct str text;
    output_text(words, "from ");
    put_number(words, json_get(root, "against"));
    output_text(words, " to ");
    put_number(words, json_get(root, "value"));
    output_text(words, ": ");
    put_number(words, json_get(root, "change"));
    if (json_str(json_get(root, "method"), &text)) {
        output_text(words, "; method ");
        output_str(words, text);
    }
    if (json_str(json_get(root, "unknown"), &text)) {
        output_text(words, "; no contributions: ");
        output_str(words, text);
    }
    output_char(words, '\n');
    return show_rows(out, json_get(root, "contributions"), style, shown, COUNT(shown), err);
}

int kpi_show_touchpoints(struct output *out, struct json_value root, enum table_style style,
                         struct keel_error *err) {
    static const struct shown shown[] = {
        {"task", "", CELL_STRING},
        {"channel", "channel", CELL_STRING},
        {"staff", "staff", CELL_BOOL},
        {"started", "started", CELL_INTEGER},
        {"completed", "completed", CELL_INTEGER},
        {"rate", "completion_rate", CELL_NUMBER},
        {"median seconds", "median_seconds", CELL_NUMBER},
        {"fell back", "fell_back", CELL_INTEGER},
        {"fall-back rate", "fallback_rate", CELL_NUMBER},
    };
    struct column columns[COLUMNS_MOST];
    struct table table;
    struct json_each tasks = json_each(json_get(root, "touchpoints"));
    struct json_value task, channel;
    TRY(start(&table, out, style, columns, shown, COUNT(shown), err));
    while (json_next(&tasks, NULL, &task)) {
        struct json_each channels = json_each(json_get(task, "channels"));
        while (json_next(&channels, NULL, &channel)) {
            struct cell cells[COUNT(shown)];
            cells[0] = cell_of(json_get(task, "id"), CELL_STRING, NULL);
            for (size_t i = 1; i < COUNT(shown); i++)
                cells[i] = cell_of(member_of(channel, shown[i].member), shown[i].type, NULL);
            table_row(&table, cells);
        }
    }
    return table_finish(&table, STR(""), err);
}

void kpi_show_notes(struct output *words, struct json_value root) {
    struct json_each each = json_each(json_get(root, "notes"));
    struct json_value note;
    struct str text;
    while (json_next(&each, NULL, &note)) {
        if (!json_str(note, &text)) continue;
        output_text(words, "note: ");
        output_str(words, text);
        output_char(words, '\n');
    }
}

/* ---- one KPI, and the tree ---- */

static void put_text(struct output *out, struct str text) {
    struct buf visible;
    buf_init(&visible, 1 << 20);
    text_visible(&visible, text);
    output_str(out, buf_str(&visible));
    buf_release(&visible);
}

/* Scalars as they are, lists with commas, objects as "name value, …". */
static void put_value(struct output *out, struct json_value v) {
    struct json_each each = json_each(v);
    struct json_value item;
    struct str key, text;
    bool truth, first = true;
    switch (json_type(v)) {
    case JSON_STRING:
        (void)json_str(v, &text);
        put_text(out, text);
        break;
    case JSON_BOOL:
        (void)json_bool(v, &truth);
        output_text(out, truth ? "true" : "false");
        break;
    case JSON_NUMBER: put_number(out, v); break;
    case JSON_NULL:
    case JSON_ABSENT: output_text(out, "unknown"); break;
    case JSON_ARRAY:
    case JSON_OBJECT:
        while (json_next(&each, &key, &item)) {
            if (!first) output_text(out, ", ");
            first = false;
            if (key.n) {
                put_text(out, key);
                output_char(out, ' ');
            }
            put_value(out, item);
        }
    }
}

void kpi_show_one(struct output *out, struct json_value root) {
    struct json_each each = json_each(root);
    struct json_value v;
    struct str key;
    while (json_next(&each, &key, &v)) {
        if (str_is(key, "edits") || json_type(v) == JSON_NULL) continue;
        put_text(out, key);
        output_text(out, ": ");
        put_value(out, v);
        output_char(out, '\n');
    }
    each = json_each(json_get(root, "edits"));
    while (json_next(&each, NULL, &v)) {
        bool removed = json_type(json_get(v, "definition")) == JSON_NULL;
        output_text(out, "version ");
        put_value(out, json_get(v, "version"));
        output_text(out, removed ? ": removed " : ": ");
        put_value(out, json_get(v, "at"));
        output_text(out, " by ");
        put_value(out, json_get(v, "who"));
        output_char(out, '\n');
    }
}

static void show_node(struct output *out, struct json_value node, unsigned level) {
    struct json_each each = json_each(json_get(node, "parts"));
    struct json_value part, latest = json_get(node, "latest");
    struct str form;
    bool minus = false;
    (void)json_bool(json_get(node, "minus"), &minus);
    for (unsigned i = 0; i < level * INDENT; i++) output_char(out, ' ');
    if (minus) output_text(out, "- ");
    put_value(out, json_get(node, "id"));
    if (json_str(json_get(node, "form"), &form) && !str_is(form, "query")) {
        output_text(out, " = ");
        put_text(out, form);
    }
    output_text(out, "  ");
    if (json_type(latest) == JSON_OBJECT) {
        put_value(out, json_get(latest, "value"));
        output_text(out, " (");
        put_value(out, json_get(latest, "period"));
        output_char(out, ')');
    } else {
        output_text(out, "unknown");
    }
    output_char(out, '\n');
    while (json_next(&each, NULL, &part)) show_node(out, part, level + 1);
}

void kpi_show_tree(struct output *out, struct json_value root) {
    struct json_each each = json_each(json_get(root, "roots"));
    struct json_value node;
    while (json_next(&each, NULL, &node)) show_node(out, node, 0);
}
