/* Implementation of eval.h. The hot ones are eval_field and eval_time: an import of a table with
 * line items calls them several times a row. */
#include "cli/import/eval.h"

/* ---- conditions ---- */

static bool is_one_of(const struct map_condition *c, struct str value) {
    for (uint32_t i = 0; i < c->n_texts; i++)
        if (str_eq(c->texts[i], value)) return true;
    return false;
}

static bool begins_with_one(const struct map_condition *c, struct str value) {
    for (uint32_t i = 0; i < c->n_texts; i++)
        if (value.n >= c->texts[i].n && memcmp(value.p, c->texts[i].p, c->texts[i].n) == 0)
            return true;
    return false;
}

static bool compares(const struct map_condition *c, struct str value) {
    struct decimal number;
    if (!value.p || !decimal_parse(value, &number)) return false;
    int order = decimal_cmp(number, c->number);
    switch (c->op) {
    case MAP_LESS: return order < 0;
    case MAP_AT_MOST: return order <= 0;
    case MAP_MORE: return order > 0;
    default: return order >= 0;
    }
}

static bool condition_holds(const struct map_condition *c, struct str value) {
    switch (c->op) {
    case MAP_IN: return value.p && is_one_of(c, value);
    case MAP_NOT_IN: return !value.p || !is_one_of(c, value);
    case MAP_PREFIX: return value.p && begins_with_one(c, value);
    case MAP_NOT_PREFIX: return !value.p || !begins_with_one(c, value);
    case MAP_EMPTY: return !value.p;
    case MAP_NOT_EMPTY: return value.p;
    default: return compares(c, value);
    }
}

bool eval_when(const struct map_when *when, const struct str *row) {
    for (uint32_t i = 0; i < when->n; i++)
        if (!condition_holds(&when->conditions[i], row[when->conditions[i].column])) return false;
    return true;
}

/* ---- texts and numbers ---- */

bool eval_text(const struct map_template *text, const struct str *row, struct buf *out) {
    for (uint32_t i = 0; i < text->n; i++)
        if (text->pieces[i].column >= 0 && !row[text->pieces[i].column].p) return false;
    for (uint32_t i = 0; i < text->n; i++) {
        const struct map_piece *piece = &text->pieces[i];
        buf_add_str(out, piece->column < 0 ? piece->text : row[piece->column]);
    }
    return true;
}

int eval_expression(const struct map_expression *e, const struct str *row, struct decimal *out,
                    struct eval_fault *fault) {
    struct decimal sum = DECIMAL_ZERO, product = DECIMAL_ZERO;
    bool null = false;
    for (uint32_t i = 0; i < e->n; i++) {
        const struct map_factor *f = &e->factors[i];
        struct decimal v = f->constant;
        if (f->column >= 0 && !row[f->column].p) {
            null = true; /* go on: a text that is no number is still to be found */
            continue;
        }
        if (f->column >= 0 && !decimal_parse(row[f->column], &v)) {
            *fault = (struct eval_fault){REJECT_NUMBER, f->column};
            return -1;
        }
        if (!f->first) {
            product = decimal_mul(product, v);
            continue;
        }
        sum = decimal_add(sum, product);
        product = f->negative ? decimal_negate(v) : v;
    }
    *out = decimal_add(sum, product);
    return !null;
}

/* ---- times ---- */

static bool parse_moment(const struct map_time *time, struct str text, int64_t *out_ms) {
    if (time->format.n == 0) return time_parse(text, time->zone, out_ms);
    return time_parse_format(text, time->format, time->zone, out_ms);
}

/* The columns joined by a space; false if one is null. */
static bool join_columns(const struct map_time *time, const struct str *row, struct buf *scratch,
                         struct str *out, struct eval_fault *fault) {
    buf_clear(scratch);
    for (uint32_t i = 0; i < time->n; i++) {
        struct str value = row[time->columns[i]];
        if (!value.p) {
            fault->column = (int32_t)time->columns[i];
            return false;
        }
        if (i > 0) buf_add_char(scratch, ' ');
        buf_add_str(scratch, value);
    }
    *out = buf_str(scratch);
    return !scratch->failed;
}

bool eval_time(const struct map_time *time, struct eval_clock *clock, const struct str *row,
               struct buf *scratch, int64_t *out_ms, struct eval_fault *fault) {
    if (time->n == 0) {
        *out_ms = time->constant_ms;
        return true;
    }
    *fault = (struct eval_fault){REJECT_TIME, (int32_t)time->columns[0]};
    struct str text = row[time->columns[0]];
    if (time->n > 1 && !join_columns(time, row, scratch, &text, fault)) return false;
    if (!text.p) return false;
    if (str_eq(text, (struct str){clock->text, clock->n}) && text.n > 0) {
        *out_ms = clock->ms;
        return true;
    }
    if (!parse_moment(time, text, out_ms)) return false;
    if (text.n <= sizeof clock->text) {
        memcpy(clock->text, text.p, text.n);
        clock->n = text.n;
        clock->ms = *out_ms;
    }
    return true;
}

/* ---- fields ---- */

static void put_number(struct buf *out, double v) {
    uint8_t bytes[1 + sizeof v] = {EVAL_NUMBER};
    memcpy(bytes + 1, &v, sizeof v);
    buf_add(out, bytes, sizeof bytes);
}

static void put_string(struct buf *out, struct str s) {
    uint32_t n = (uint32_t)s.n; /* values are bounded by CSV_ROW_MAX_BYTES */
    uint8_t head[1 + sizeof n] = {EVAL_STRING};
    memcpy(head + 1, &n, sizeof n);
    buf_add(out, head, sizeof head);
    buf_add_str(out, s);
}

static bool put_bool(struct buf *out, struct str s) {
    static const char *const no[] = {"false", "0", "no", "f", "n"};
    static const char *const yes[] = {"true", "1", "yes", "t", "y"};
    for (size_t i = 0; i < sizeof yes / sizeof *yes; i++) {
        if (str_eq_nocase(s, str_from(yes[i]))) return buf_add_u8(out, EVAL_TRUE) == 0;
        if (str_eq_nocase(s, str_from(no[i]))) return buf_add_u8(out, EVAL_FALSE) == 0;
    }
    return false;
}

static bool put_time(struct buf *out, const struct map_time *time, struct str s) {
    int64_t ms;
    if (!parse_moment(time, s, &ms)) return false;
    char text[TIME_TEXT_MAX];
    size_t n = time_format(NULL, ms, text);
    put_string(out, (struct str){text, n});
    return true;
}

static bool put_column(const struct map_field *field, struct str value, struct buf *out,
                       struct eval_fault *fault) {
    struct decimal number;
    if (!value.p) {
        buf_add_u8(out, EVAL_NULL);
        return true;
    }
    switch (field->type) {
    case MAP_STRING: put_string(out, value); return true;
    case MAP_NUMBER:
        fault->cause = REJECT_NUMBER;
        if (!decimal_parse(value, &number)) break;
        put_number(out, decimal_to_f64(number));
        return true;
    case MAP_BOOL:
        fault->cause = REJECT_BOOL;
        if (put_bool(out, value)) return true;
        break;
    case MAP_TIME:
        fault->cause = REJECT_TIME;
        if (put_time(out, &field->time, value)) return true;
        break;
    }
    fault->column = (int32_t)field->column;
    return false;
}

/* Encodes a text where it will stand: the length is known afterwards. */
static void put_text(const struct map_template *text, const struct str *row, struct buf *out) {
    size_t at = out->n;
    uint32_t n = 0;
    buf_add_u8(out, EVAL_STRING);
    buf_add(out, &n, sizeof n);
    if (!eval_text(text, row, out)) {
        out->n = at;
        buf_add_u8(out, EVAL_NULL);
        return;
    }
    if (out->failed) return;
    n = (uint32_t)(out->n - at - 1 - sizeof n);
    memcpy(out->p + at + 1, &n, sizeof n);
}

bool eval_field(const struct map_field *field, const struct str *row, struct buf *out,
                struct eval_fault *fault) {
    struct decimal number;
    switch (field->from) {
    case MAP_COLUMN:
    case MAP_LAST: return put_column(field, row[field->column], out, fault);
    case MAP_TEXT: put_text(&field->text, row, out); return true;
    case MAP_VALUE: {
        int got = eval_expression(&field->expression, row, &number, fault);
        if (got < 0) return false;
        if (got > 0)
            put_number(out, decimal_to_f64(number));
        else
            buf_add_u8(out, EVAL_NULL);
        return true;
    }
    default: return true; /* constants and what is of the whole group need no bytes */
    }
}

const uint8_t *eval_decode(const uint8_t *p, struct eval_value *out) {
    *out = (struct eval_value){.tag = (enum eval_tag) * p++};
    if (out->tag == EVAL_NUMBER) {
        memcpy(&out->number, p, sizeof out->number);
        p += sizeof out->number;
    } else if (out->tag == EVAL_STRING) {
        uint32_t n;
        memcpy(&n, p, sizeof n);
        out->text = (struct str){(const char *)p + sizeof n, n};
        p += sizeof n + n;
    }
    return p;
}
