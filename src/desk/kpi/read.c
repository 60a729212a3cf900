/* One KPI from its table, and its canonical form. See kpi.h.
 *
 * Layers: base/toml_reader.h, query/language/parse.h. Threads: pure. Limits: kpi.h.
 */
#include <math.h>
#include <sodium.h>

#include "base/time.h"
#include "desk/kpi/kpi_int.h"
#include "query/ask.h"
#include "query/language/query_print.h"

enum { CURRENCY_LETTERS = 3, HASH_BYTES = 16 };

const char *const KPI_FORM_NAMES[KPI_FORMS] = {"query", "sum", "product", "ratio"};
const char *const KPI_UNIT_NAMES[KPI_UNITS] = {"count", "money", "percent", "duration"};
const char *const KPI_GRAIN_NAMES[KPI_GRAINS] = {"day", "week", "month"};
const char *const KPI_DIRECTION_NAMES[KPI_DIRECTIONS] = {"up", "down"};

static const int USUAL_DIGITS[KPI_UNITS] = {0, 2, 4, 0};

bool kpi_id_fits(struct str id) {
    for (size_t i = 0; i < id.n; i++) {
        char c = id.p[i];
        if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && c != '_' && (c != '-' || i == 0))
            return false;
    }
    return id.n > 0 && id.n <= KPI_MAX_ID && !str_is(id, "tree");
}

void kpi_hash(struct str text, char out[KPI_HASH_TEXT]) {
    unsigned char bytes[HASH_BYTES];
    crypto_generichash(bytes, sizeof bytes, (const unsigned char *)text.p, text.n, NULL, 0);
    sodium_bin2hex(out, KPI_HASH_TEXT, bytes, sizeof bytes);
}

/* ---- what a leaf may ask ---- */

/* Why the query is not one number a period; NULL: it is. */
static const char *not_one_number(const struct query *q) {
    if (q->range.kind != QUERY_RANGE_ALL)
        return "has a time range; leave it out, the period is what varies";
    if (q->n_splits) return "is split; a KPI is one number";
    switch (q->form) {
    case QUERY_COUNT: return NULL;
    case QUERY_FUNNEL: return NULL;
    case QUERY_TIME:
        if (q->time.n_percentiles != 1) break;
        return NULL;
    case QUERY_TREND:
        if (q->has_period) return "has \"by\" a period; write \"total of\" instead of \"trend of\"";
        if (q->trend.n_measures > 1) return "has several measures; a KPI is one number";
        if (q->trend.measures[0].has_prop && q->trend.measures[0].prop.scope == QUERY_SCOPE_EVENT &&
            q->trend.measures[0].agg != QUERY_UNIQUE && q->trend.measures[0].agg != QUERY_COUNT_OF)
            return "measures a moment, not a number";
        return NULL;
    default: break;
    }
    return "is not one number; write \"total of …\", \"count customers …\", \"funnel …\", or "
           "\"time from … percentiles 50\"";
}

static int read_query(struct toml_reader *r, const struct toml_node *node, struct kpi *k) {
    struct str text;
    struct query *q = NULL;
    struct keel_error why = {0};
    TRY(toml_read_text(r, node, &text));
    int code = ask_read(text, r->arena, &q, &why);
    if (code < 0) return toml_refuse(r, node, "query: %s", why.message);
    if (q->form == QUERY_TIME && q->time.n_percentiles == 2 && q->time.percentiles[0] == 50 &&
        q->time.percentiles[1] == 90) { /* it names none: the median */
        q->time.n_percentiles = 1;
    }
    const char *problem = not_one_number(q);
    if (problem) return toml_refuse(r, node, "the query %s", problem);
    k->query = q;
    return 0;
}

static int read_parts(struct toml_reader *r, const struct toml_node *node, struct kpi *k) {
    bool ratio = k->form == KPI_RATIO;
    if (node->type != TOML_ARRAY || node->count == 0)
        return toml_refuse(r, node, "%s is a list of ids of KPIs", KPI_FORM_NAMES[k->form]);
    if (ratio && node->count != 2)
        return toml_refuse(r, node, "a ratio has two parts: above and below the line");
    if (node->count > KPI_MAX_PARTS)
        return toml_refuse(r, node, "%s has more than %d parts", KPI_FORM_NAMES[k->form],
                           KPI_MAX_PARTS);
    k->parts = arena_zalloc(r->arena, node->count * sizeof *k->parts);
    for (const struct toml_node *p = node->first; p; p = p->next) {
        struct kpi_part *part = &k->parts[k->n_parts++];
        struct str id = p->text;
        if (p->type != TOML_STRING)
            return toml_refuse(r, p, "a part is the id of a KPI, not %s", toml_type_text(p->type));
        part->minus = k->form == KPI_SUM && id.n > 0 && id.p[0] == '-';
        if (part->minus) id = (struct str){id.p + 1, id.n - 1};
        if (!kpi_id_fits(id))
            return toml_refuse(r, p, "\"%.*s\" is no id of a KPI",
                               (int)(id.n < KPI_MAX_ID ? id.n : KPI_MAX_ID), id.p);
        for (uint32_t i = 0; i + 1 < k->n_parts; i++)
            if (str_eq(k->parts[i].id, id))
                return toml_refuse(r, p, "\"%.*s\" is there twice", STR_ARG(id));
        part->id = str_dup(r->arena, id);
        part->kpi = KPI_NONE;
    }
    return 0;
}

/* ---- members ---- */

static int read_name(struct toml_reader *r, const struct toml_node *node, size_t most,
                     struct str *out) {
    TRY(toml_read_text(r, node, out));
    if (out->n > most)
        return toml_refuse(r, node, "%.*s is longer than %zu bytes", STR_ARG(node->key), most);
    return 0;
}

static int read_currency(struct toml_reader *r, const struct toml_node *node, struct kpi *k) {
    bool fits;
    TRY(toml_read_text(r, node, &k->currency));
    fits = k->currency.n == CURRENCY_LETTERS;
    for (size_t i = 0; i < k->currency.n; i++)
        fits &= k->currency.p[i] >= 'A' && k->currency.p[i] <= 'Z';
    return fits ? 0 : toml_refuse(r, node, "currency is a code of three capital letters, as EUR");
}

static int read_day(struct toml_reader *r, const struct toml_node *node, int32_t *out) {
    int64_t ms;
    bool text = node->type == TOML_STRING || node->type == TOML_TIME;
    if (!text || node->text.n != sizeof "2026-12-31" - 1 || !time_parse(node->text, NULL, &ms))
        return toml_refuse(r, node, "%.*s is a day, as 2026-12-31", STR_ARG(node->key));
    *out = time_day(NULL, ms);
    return 0;
}

static int read_target(struct toml_reader *r, const struct toml_node *node, struct kpi *k) {
    bool has_day = false;
    if (node->type != TOML_TABLE)
        return toml_refuse(r, node,
                           "target has a value and the day by which it is to be met: "
                           "{ value = 100, by = 2026-12-31 }");
    for (const struct toml_node *m = node->first; m; m = m->next) {
        if (str_is(m->key, "value")) {
            TRY(toml_read_number(r, m, &k->target));
            k->has_target = true;
        } else if (str_is(m->key, "by")) {
            TRY(read_day(r, m, &k->target_day));
            has_day = true;
        } else {
            return toml_refuse(r, m, "\"%.*s\" is nothing that a target has: value, by",
                               STR_ARG(m->key));
        }
    }
    if (!k->has_target) return toml_refuse(r, node, "target: value is missing");
    return has_day ? 0 : toml_refuse(r, node, "target: by is missing, the day to meet it");
}

static int read_guardrail(struct toml_reader *r, const struct toml_node *node, struct kpi *k) {
    if (node->type != TOML_TABLE || node->count == 0)
        return toml_refuse(r, node, "guardrail has low, high, or both: { low = 0.9 }");
    for (const struct toml_node *m = node->first; m; m = m->next) {
        if (str_is(m->key, "low")) {
            TRY(toml_read_number(r, m, &k->low));
            k->has_low = true;
        } else if (str_is(m->key, "high")) {
            TRY(toml_read_number(r, m, &k->high));
            k->has_high = true;
        } else {
            return toml_refuse(r, m, "\"%.*s\" is nothing that a guardrail has: low, high",
                               STR_ARG(m->key));
        }
    }
    if (k->has_low && k->has_high && k->low > k->high)
        return toml_refuse(r, node, "guardrail: low is greater than high");
    return 0;
}

static int read_digits(struct toml_reader *r, const struct toml_node *node, struct kpi *k) {
    if (node->type != TOML_INTEGER || node->integer < 0 || node->integer > KPI_MAX_DIGITS)
        return toml_refuse(r, node, "digits is a number from 0 to %d", KPI_MAX_DIGITS);
    k->digits = (int)node->integer;
    return 0;
}

static int form_of(struct str key) {
    for (int i = 0; i < KPI_FORMS; i++)
        if (str_is(key, KPI_FORM_NAMES[i])) return i;
    return -1;
}

static int read_form(struct toml_reader *r, const struct toml_node *m, int form, struct kpi *k) {
    if (k->query || k->parts)
        return toml_refuse(r, m, "a KPI has one of query, sum, product, ratio, not two");
    k->form = (enum kpi_form)form;
    return form == KPI_QUERY ? read_query(r, m, k) : read_parts(r, m, k);
}

static int read_words(struct toml_reader *r, const struct toml_node *m, struct kpi *k,
                      bool *known) {
    int word = 0;
    *known = true;
    if (str_is(m->key, "unit")) {
        TRY(toml_read_word(r, m, KPI_UNIT_NAMES, KPI_UNITS, &word));
        k->unit = (enum kpi_unit)word;
    } else if (str_is(m->key, "direction")) {
        TRY(toml_read_word(r, m, KPI_DIRECTION_NAMES, KPI_DIRECTIONS, &word));
        k->direction = (enum kpi_direction)word;
    } else if (str_is(m->key, "grain")) {
        TRY(toml_read_word(r, m, KPI_GRAIN_NAMES, KPI_GRAINS, &word));
        k->grain = (enum kpi_grain)word;
    } else {
        *known = false;
    }
    return 0;
}

static int read_member(struct toml_reader *r, const struct toml_node *m, struct kpi *k) {
    bool known;
    int form = form_of(m->key);
    if (form >= 0) return read_form(r, m, form, k);
    TRY(read_words(r, m, k, &known));
    if (known || str_is(m->key, "id")) return 0; /* the id was read before */
    if (str_is(m->key, "name")) return read_name(r, m, KPI_MAX_NAME, &k->name);
    if (str_is(m->key, "description")) return read_name(r, m, KPI_MAX_TEXT, &k->description);
    if (str_is(m->key, "owner_marketing"))
        return read_name(r, m, KPI_MAX_NAME, &k->owner_marketing);
    if (str_is(m->key, "owner_it")) return read_name(r, m, KPI_MAX_NAME, &k->owner_it);
    if (str_is(m->key, "currency")) return read_currency(r, m, k);
    if (str_is(m->key, "digits")) return read_digits(r, m, k);
    if (str_is(m->key, "target")) return read_target(r, m, k);
    if (str_is(m->key, "guardrail")) return read_guardrail(r, m, k);
    return toml_refuse(
        r, m,
        "\"%.*s\" is nothing that a KPI has: name, description, query, sum, product, "
        "ratio, unit, currency, digits, direction, grain, target, guardrail, "
        "owner_marketing, owner_it",
        (int)(m->key.n < KPI_MAX_NAME ? m->key.n : KPI_MAX_NAME), m->key.p);
}

/* ---- the canonical form ---- */

static void put_text(struct buf *b, const char *name, struct str text) {
    if (text.n == 0) return;
    (void)buf_printf(b, ",\"%s\":", name);
    (void)!buf_add_json_str(b, text);
}

static void put_form(struct buf *b, const struct kpi *k) {
    (void)buf_printf(b, ",\"%s\":", KPI_FORM_NAMES[k->form]);
    if (k->form == KPI_QUERY) {
        K_ASSERT(k->query);
        (void)!buf_add_json_str(b, k->query->text);
        return;
    }
    for (uint32_t i = 0; i < k->n_parts; i++)
        (void)buf_printf(b, "%s\"%s%.*s\"", i ? "," : "[", k->parts[i].minus ? "-" : "",
                         STR_ARG(k->parts[i].id));
    (void)!buf_add_char(b, ']');
}

static void put_numbers(struct buf *b, const struct kpi *k) {
    char day[TIME_TEXT_MAX];
    if (k->has_target) {
        int n = (int)day_format(k->target_day, day);
        (void)!buf_add_text(b, ",\"target\":{\"value\":");
        (void)!buf_add_json_f64(b, k->target);
        (void)buf_printf(b, ",\"by\":\"%.*s\"}", n, day);
    }
    if (!k->has_low && !k->has_high) return;
    (void)!buf_add_text(b, ",\"guardrail\":{");
    if (k->has_low) {
        (void)!buf_add_text(b, "\"low\":");
        (void)!buf_add_json_f64(b, k->low);
    }
    if (k->has_high) {
        (void)!buf_add_text(b, k->has_low ? ",\"high\":" : "\"high\":");
        (void)!buf_add_json_f64(b, k->high);
    }
    (void)!buf_add_char(b, '}');
}

static void put_body(struct buf *b, const struct kpi *k) {
    (void)!buf_add_text(b, "{\"name\":");
    (void)!buf_add_json_str(b, k->name);
    put_text(b, "description", k->description);
    put_form(b, k);
    (void)buf_printf(b, ",\"unit\":\"%s\"", KPI_UNIT_NAMES[k->unit]);
    put_text(b, "currency", k->currency);
    (void)buf_printf(b, ",\"digits\":%d,\"direction\":\"%s\",\"grain\":\"%s\"", k->digits,
                     KPI_DIRECTION_NAMES[k->direction], KPI_GRAIN_NAMES[k->grain]);
    put_numbers(b, k);
    put_text(b, "owner_marketing", k->owner_marketing);
    put_text(b, "owner_it", k->owner_it);
    (void)!buf_add_char(b, '}');
}

static int settle(struct toml_reader *r, const struct toml_node *node, struct kpi *k) {
    struct buf body;
    if (!k->query && !k->parts)
        return toml_refuse(r, node,
                           "what is it? write query, or sum, product or ratio of other KPIs");
    if (k->currency.n && k->unit != KPI_MONEY)
        return toml_refuse(r, node, "a currency goes with unit = \"money\"");
    if (k->name.n == 0) k->name = k->id;
    if (k->digits < 0) k->digits = USUAL_DIGITS[k->unit];
    buf_init(&body, 4 * QUERY_MAX_TEXT + 16 * KPI_MAX_TEXT);
    put_body(&body, k);
    int code = body.failed ? error_set(r->err, KEEL_E_LIMIT, "%s: the KPI \"%.*s\" is too long",
                                       r->name, STR_ARG(k->id))
                           : 0;
    if (code == 0) k->body = str_dup(r->arena, buf_str(&body));
    buf_release(&body);
    if (code == 0) kpi_hash(k->body, k->hash);
    return code;
}

int kpi_read(struct toml_reader *r, const struct toml_node *node, struct kpi *out) {
    struct str none = {"", 0};
    *out = (struct kpi){.id = r->within, .name = none, .description = none, .digits = -1};
    out->owner_marketing = out->owner_it = out->currency = out->who = out->broken = none;
    if (node->type != TOML_TABLE)
        return toml_refuse(r, node, "a KPI is a table, not %s", toml_type_text(node->type));
    if (!kpi_id_fits(out->id))
        return toml_refuse(
            r, node, "an id is 1 to %d letters a-z, digits, \"_\" and \"-\", and not \"tree\"",
            KPI_MAX_ID);
    for (const struct toml_node *m = node->first; m; m = m->next) TRY(read_member(r, m, out));
    return settle(r, node, out);
}

void kpi_json_open(const struct kpi *k, struct buf *out) {
    char at[TIME_TEXT_MAX];
    int n = (int)time_format(NULL, k->changed_ms, at);
    (void)buf_printf(out,
                     "{\"id\":\"%.*s\",\"version\":%lld,\"hash\":\"%s\",\"query_hash\":\"%s\","
                     "\"changed_at\":\"%.*s\",\"changed_by\":",
                     STR_ARG(k->id), (long long)k->version, k->hash, k->query_hash, n, at);
    (void)!buf_add_json_str(out, k->who);
    if (k->broken.n) {
        (void)!buf_add_text(out, ",\"broken\":");
        (void)!buf_add_json_str(out, k->broken);
    }
    (void)!buf_add_char(out, ',');
    (void)!buf_add(out, k->body.p + 1, k->body.n - 2); /* its members */
}
