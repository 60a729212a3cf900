/* Rows of typed cells as aligned text, as JSON or as CSV.
 *
 *     struct table t;
 *     TRY(table_start(&t, &out, &(struct table_format){.style = TABLE_TEXT}, columns, n, err));
 *     for (...) table_row(&t, cells);
 *     TRY(table_finish(&t, err));
 *
 * text  columns as wide as their widest cell; numbers to the right; control characters escaped, so
 *       that data cannot move the cursor. Widths are taken from the first TABLE_LOOK_ROWS rows;
 *       later rows stream through and may stick out.
 * json  {MEMBERS"columns":[{"name","type"}],"rows":[[…]]MEMBERS}, numbers exact, times as ISO text.
 * csv   RFC 4180, but for the line ends, which are those of Unix (LF), so that cut, sort and join
 *       read it as it is; quotes where needed; null is an empty field, empty text is "". Texts that
 *       a spreadsheet would take for formulas get a ' in front (csv.h), unless it is to be raw.
 *
 * JSON and CSV keep no rows. Failed writes stick in the output and are reported when it is closed.
 * Layers: output.h, csv.h, time.h. Threads: one owner. Limits: TABLE_COLUMNS_MAX columns.
 */
#pragma once

#include "base/buf.h"
#include "base/output.h"
#include "base/str.h"
#include "base/time.h"

enum { TABLE_COLUMNS_MAX = 256, TABLE_LOOK_ROWS = 2000 };

enum cell_type {
    CELL_STRING,
    CELL_NUMBER,  /* double */
    CELL_INTEGER, /* int64_t */
    CELL_BOOL,
    CELL_TIME, /* milliseconds since 1970 */
    CELL_DATE, /* days since 1970 */
    CELL_JSON, /* text that is JSON already */
};

struct column {
    const char *name;
    enum cell_type type;
};

struct cell {
    bool is_null;
    union {
        struct str text; /* CELL_STRING, CELL_JSON; borrowed until table_row returns */
        double number;
        int64_t integer;
        bool boolean;
        int64_t time_ms;
        int32_t day;
    };
};

enum table_style { TABLE_TEXT, TABLE_JSON, TABLE_CSV, TABLE_CSV_RAW };
#define TABLE_STYLES "table|json|csv" /* for an OPTION_CHOICE, in the order of table_style */
/* Of --format and --raw. */
static inline enum table_style table_style_of(int format, bool raw) {
    return format == TABLE_CSV && raw ? TABLE_CSV_RAW : (enum table_style)format;
}

struct table_format {
    enum table_style style;
    const struct time_zone *zone; /* of times in text and CSV; NULL: UTC. JSON is always UTC */
    struct str json_before;       /* members before "columns", as "\"query\":\"…\"," or empty */
};

struct table {
    struct output *out;
    struct table_format format;
    const struct column *columns; /* borrowed until table_finish */
    size_t n_columns;
    uint64_t rows;
    struct time_zone *utc;             /* owned: for JSON and for a format without zone */
    struct buf kept;                   /* text: cells of the first rows, each with its length */
    struct buf line;                   /* scratch */
    bool widths_fixed;                 /* text: header is out, rows stream */
    uint32_t width[TABLE_COLUMNS_MAX]; /* text: in terminal cells */
};

const char *cell_type_name(enum cell_type type); /* "string", "number", … */

int table_start(struct table *t, struct output *out, const struct table_format *format,
                const struct column *columns, size_t n, struct keel_error *err) K_CHECKED;
void table_row(struct table *t, const struct cell *cells); /* n_columns cells */
/* json_after: members behind "rows", as ",\"cost\":{…}" or empty. Frees; returns a failure of the
 * output, or of memory for the rows kept. */
int table_finish(struct table *t, struct str json_after, struct keel_error *err) K_CHECKED;
void table_discard(struct table *t); /* frees after another error */

/* How many cells of a terminal the text takes: combining marks 0, East Asian wide and emoji 2. */
uint32_t text_width(struct str s);

/* The text with control characters as escapes: it cannot move the cursor or break the line. */
void text_visible(struct buf *b, struct str s);
