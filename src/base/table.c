/* Implementation of table.h.
 *
 * Text needs the widths before the first line, so the first rows are kept as length-prefixed cell
 * texts (varint, bytes) in one buffer; then header and kept rows are printed and the rest streams.
 */
#include "base/table.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/csv.h"

enum { KEPT_BYTES_MAX = 64 << 20, LINE_BYTES_MAX = 256 << 20, WIDTH_MAX = 120 };

const char *cell_type_name(enum cell_type type) {
    static const char *const NAMES[] = {"string", "number", "integer", "bool",
                                        "time",   "date",   "json"};
    return NAMES[type];
}

/* Blocks that terminals draw in no or two cells; a coarse cut of Unicode 15's EastAsianWidth and
 * of the combining blocks, enough to align names and product texts. */
static uint32_t rune_width(uint32_t c) {
    static const struct {
        uint32_t from, to, width;
    } BLOCKS[] = {
        {0x0300, 0x036f, 0}, {0x0483, 0x0489, 0},   {0x0591, 0x05bd, 0},   {0x064b, 0x065f, 0},
        {0x1ab0, 0x1aff, 0}, {0x1dc0, 0x1dff, 0},   {0x200b, 0x200f, 0},   {0x20d0, 0x20ff, 0},
        {0xfe00, 0xfe0f, 0}, {0xfe20, 0xfe2f, 0},   {0x1100, 0x115f, 2},   {0x2e80, 0x303e, 2},
        {0x3041, 0x33ff, 2}, {0x3400, 0x4dbf, 2},   {0x4e00, 0x9fff, 2},   {0xa000, 0xa4cf, 2},
        {0xac00, 0xd7a3, 2}, {0xf900, 0xfaff, 2},   {0xfe30, 0xfe6f, 2},   {0xff00, 0xff60, 2},
        {0xffe0, 0xffe6, 2}, {0x1f300, 0x1f64f, 2}, {0x1f900, 0x1f9ff, 2}, {0x20000, 0x3fffd, 2},
    };
    if (c < 0x300) return 1;
    for (size_t i = 0; i < sizeof BLOCKS / sizeof BLOCKS[0]; i++)
        if (c >= BLOCKS[i].from && c <= BLOCKS[i].to) return BLOCKS[i].width;
    return 1;
}

/* Expects well-formed UTF-8; of other bytes each counts one. */
uint32_t text_width(struct str s) {
    uint32_t width = 0;
    for (size_t i = 0; i < s.n;) {
        unsigned char c = (unsigned char)s.p[i];
        size_t n = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : c >= 0xc2 ? 2 : 1;
        if (n > s.n - i) n = 1;
        uint32_t rune = n == 1 ? 'x' : c & (0xffu >> (n + 1));
        for (size_t k = 1; k < n; k++) rune = rune << 6 | ((unsigned char)s.p[i + k] & 0x3f);
        width += rune_width(rune);
        i += n;
    }
    return width;
}

void text_visible(struct buf *b, struct str s) {
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (c == '\n')
            (void)buf_add_text(b, "\\n");
        else if (c == '\t')
            (void)buf_add_text(b, "\\t");
        else if (c < 0x20 || c == 0x7f)
            (void)buf_printf(b, "\\x%02x", c);
        else
            (void)buf_add_char(b, s.p[i]);
    }
}

/* For people: at most six decimals, no trailing zeros. */
static void add_rounded(struct buf *b, double v) {
    char text[64];
    if (!isfinite(v) || fabs(v) >= 1e15 || (v != 0 && fabs(v) < 1e-4)) {
        (void)buf_add_f64(b, v);
        return;
    }
    int n = snprintf(text, sizeof text, "%.6f", v);
    while (text[n - 1] == '0') n--;
    if (text[n - 1] == '.') n--;
    (void)buf_add(b, text, (size_t)n);
}

static void add_time(struct buf *b, const struct time_zone *zone, int64_t ms) {
    char text[TIME_TEXT_MAX];
    (void)buf_add(b, text, time_format(zone, ms, text));
}

static void add_day(struct buf *b, int32_t day) {
    char text[TIME_TEXT_MAX];
    (void)buf_add(b, text, day_format(day, text));
}

static bool right_aligned(enum cell_type type) {
    return type == CELL_NUMBER || type == CELL_INTEGER;
}

/* The cell as plain text, for text tables and CSV. */
static void add_plain(const struct table *t, struct buf *b, enum cell_type type,
                      const struct cell *cell) {
    const struct time_zone *zone = t->format.zone ? t->format.zone : t->utc;
    bool text = t->format.style == TABLE_TEXT;
    switch (type) {
    case CELL_STRING:
    case CELL_JSON:
        if (text)
            text_visible(b, cell->text);
        else
            (void)buf_add_str(b, cell->text);
        break;
    case CELL_NUMBER:
        if (text)
            add_rounded(b, cell->number);
        else
            (void)buf_add_f64(b, cell->number);
        break;
    case CELL_INTEGER: (void)buf_printf(b, "%lld", (long long)cell->integer); break;
    case CELL_BOOL: (void)buf_add_text(b, cell->boolean ? "true" : "false"); break;
    case CELL_TIME: add_time(b, zone, cell->time_ms); break;
    case CELL_DATE: add_day(b, cell->day); break;
    }
}

/* ---- JSON ---- */

static void add_json(const struct table *t, struct buf *b, enum cell_type type,
                     const struct cell *cell) {
    if (cell->is_null) {
        (void)buf_add_text(b, "null");
        return;
    }
    switch (type) {
    case CELL_STRING: (void)buf_add_json_str(b, cell->text); break;
    case CELL_NUMBER: (void)buf_add_json_f64(b, cell->number); break;
    case CELL_TIME:
        (void)buf_add_char(b, '"');
        add_time(b, t->utc, cell->time_ms);
        (void)buf_add_char(b, '"');
        break;
    case CELL_DATE:
        (void)buf_add_char(b, '"');
        add_day(b, cell->day);
        (void)buf_add_char(b, '"');
        break;
    default: add_plain(t, b, type, cell);
    }
}

static void json_start(struct table *t) {
    (void)buf_add_char(&t->line, '{');
    (void)buf_add_str(&t->line, t->format.json_before);
    (void)buf_add_text(&t->line, "\"columns\":[");
    for (size_t i = 0; i < t->n_columns; i++) {
        (void)buf_add_text(&t->line, i ? ",{\"name\":" : "{\"name\":");
        (void)buf_add_json_str(&t->line, str_from(t->columns[i].name));
        (void)buf_printf(&t->line, ",\"type\":\"%s\"}", cell_type_name(t->columns[i].type));
    }
    (void)buf_add_text(&t->line, "],\"rows\":[");
}

static void json_row(struct table *t, const struct cell *cells) {
    (void)buf_add_text(&t->line, t->rows ? ",\n[" : "\n[");
    for (size_t i = 0; i < t->n_columns; i++) {
        if (i) (void)buf_add_char(&t->line, ',');
        add_json(t, &t->line, t->columns[i].type, &cells[i]);
    }
    (void)buf_add_char(&t->line, ']');
}

/* ---- CSV ---- */

static enum csv_texts csv_texts(const struct table *t) {
    return t->format.style == TABLE_CSV_RAW ? CSV_RAW : CSV_SAFE;
}

static void csv_header(struct table *t) {
    for (size_t i = 0; i < t->n_columns; i++) {
        if (i) (void)buf_add_char(&t->line, ',');
        csv_add_text(&t->line, str_from(t->columns[i].name), csv_texts(t));
    }
    (void)buf_add_text(&t->line, "\n");
}

static void csv_row(struct table *t, const struct cell *cells) {
    for (size_t i = 0; i < t->n_columns; i++) {
        if (i) (void)buf_add_char(&t->line, ',');
        if (cells[i].is_null) continue;
        enum cell_type type = t->columns[i].type;
        if (type == CELL_STRING || type == CELL_JSON)
            csv_add_text(&t->line, cells[i].text, csv_texts(t));
        else
            add_plain(t, &t->line, type, &cells[i]);
    }
    (void)buf_add_text(&t->line, "\n");
}

/* ---- aligned text ---- */

static void pad(struct buf *b, uint32_t n) {
    for (uint32_t i = 0; i < n; i++) (void)buf_add_char(b, ' ');
}

static void text_cell(struct table *t, size_t column, struct str s) {
    uint32_t width = text_width(s), wanted = t->width[column];
    uint32_t gap = width < wanted ? wanted - width : 0;
    if (column) (void)buf_add_text(&t->line, "  ");
    if (right_aligned(t->columns[column].type)) pad(&t->line, gap);
    (void)buf_add_str(&t->line, s);
    if (!right_aligned(t->columns[column].type) && column + 1 < t->n_columns) pad(&t->line, gap);
    if (column + 1 == t->n_columns) (void)buf_add_char(&t->line, '\n');
}

static void flush_line(struct table *t) {
    output_str(t->out, buf_str(&t->line));
    int failed = t->line.failed;
    buf_clear(&t->line);
    t->line.failed = failed;
}

/* Header and kept rows; from here on rows stream. */
static void fix_widths(struct table *t) {
    struct reader r = reader_over(t->kept.p, t->kept.n);
    t->widths_fixed = true;
    for (size_t i = 0; i < t->n_columns; i++) {
        if (t->width[i] > WIDTH_MAX) t->width[i] = WIDTH_MAX;
        text_cell(t, i, str_from(t->columns[i].name));
    }
    for (size_t i = 0; i < t->n_columns; i++) {
        char rule[WIDTH_MAX];
        uint32_t n = t->width[i];
        memset(rule, '-', n);
        text_cell(t, i, (struct str){rule, n});
    }
    while (reader_left(&r)) {
        for (size_t i = 0; i < t->n_columns; i++) text_cell(t, i, reader_str(&r));
        flush_line(t);
    }
    flush_line(t);
    buf_release(&t->kept);
}

static void text_row(struct table *t, const struct cell *cells) {
    struct buf cell;
    buf_init(&cell, LINE_BYTES_MAX);
    for (size_t i = 0; i < t->n_columns; i++) {
        buf_clear(&cell);
        if (cells[i].is_null)
            (void)buf_add_char(&cell, '-');
        else
            add_plain(t, &cell, t->columns[i].type, &cells[i]);
        struct str s = buf_str(&cell);
        if (cell.failed && !t->line.failed) t->line.failed = cell.failed;
        if (t->widths_fixed) {
            text_cell(t, i, s);
            continue;
        }
        uint32_t width = text_width(s);
        if (width > t->width[i]) t->width[i] = width;
        (void)buf_add_varint(&t->kept, s.n);
        (void)buf_add_str(&t->kept, s);
        if (t->kept.failed && !t->line.failed) t->line.failed = t->kept.failed;
    }
    buf_release(&cell);
    if (!t->widths_fixed && (t->rows + 1 >= TABLE_LOOK_ROWS || t->kept.n > KEPT_BYTES_MAX / 2))
        fix_widths(t);
}

/* ---- the interface ---- */

int table_start(struct table *t, struct output *out, const struct table_format *format,
                const struct column *columns, size_t n, struct keel_error *err) {
    K_ASSERT(n > 0 && n <= TABLE_COLUMNS_MAX);
    *t = (struct table){.out = out, .format = *format, .columns = columns, .n_columns = n};
    TRY(time_zone_load(STR("UTC"), &t->utc, err));
    buf_init(&t->line, LINE_BYTES_MAX);
    buf_init(&t->kept, KEPT_BYTES_MAX);
    for (size_t i = 0; i < n; i++) t->width[i] = text_width(str_from(columns[i].name));
    if (format->style == TABLE_JSON) json_start(t);
    if (format->style >= TABLE_CSV) csv_header(t);
    flush_line(t);
    return 0;
}

void table_row(struct table *t, const struct cell *cells) {
    switch (t->format.style) {
    case TABLE_TEXT: text_row(t, cells); break;
    case TABLE_JSON: json_row(t, cells); break;
    case TABLE_CSV:
    case TABLE_CSV_RAW: csv_row(t, cells); break;
    }
    flush_line(t);
    t->rows++;
}

void table_discard(struct table *t) {
    time_zone_free(t->utc);
    buf_release(&t->line);
    buf_release(&t->kept);
    t->utc = NULL;
}

int table_finish(struct table *t, struct str json_after, struct keel_error *err) {
    if (t->format.style == TABLE_TEXT && !t->widths_fixed) fix_widths(t);
    if (t->format.style == TABLE_JSON) {
        (void)buf_add_text(&t->line, t->rows ? "\n]" : "]");
        (void)buf_add_str(&t->line, json_after);
        (void)buf_add_text(&t->line, "}\n");
    }
    flush_line(t);
    int failed = t->line.failed, written = output_failed(t->out);
    table_discard(t);
    if (failed)
        return error_set(err, (enum keel_code) - failed, "cannot print the table: %s",
                         error_text(failed));
    if (written && err) *err = t->out->error;
    return written;
}
