/* Rows of a CSV file, streamed.
 *
 * Duty: cut bytes into rows and fields (RFC 4180 as people really write it) and say for every row
 * at which line it begins and how it stood in the file.
 *
 *   quoted       fields may stand in double quotes and then hold delimiters, line ends and doubled
 *                quotes (libcsv); a quote inside an unquoted field is an ordinary character
 *   not quoted   every delimiter counts
 *   whitespace   fields are separated by runs of spaces and tabs
 *
 * Spaces and tabs around unquoted fields are dropped, also in front of the first and behind the
 * last; so are a byte order mark and blank lines. Rows end with LF, CRLF or a lone CR.
 *
 * A row that cannot be read is handed out with its cause and raw text, and reading goes on behind
 * it; an open quote swallows rows until the limit or the end of the file, which the raw text shows.
 *
 * Layers: base; libcsv. Threads: one owner.
 * Limits: a row of 1 MiB as it stands in the file, 4,096 fields.
 */
#pragma once

#include "base/error.h"
#include "base/input.h"
#include "base/str.h"
#include "cli/import/rejects.h"

enum { CSV_ROW_MAX_BYTES = 1 << 20, CSV_MAX_FIELDS = 4096 };

enum csv_encoding { CSV_UTF8, CSV_WINDOWS_1252 };

struct csv_format {
    char delimiter; /* not used with whitespace */
    bool quoted;
    bool whitespace;
    enum csv_encoding encoding;
};

/* Where the bytes come from: *out is the next slice, valid until the next call; empty at the end.
 */
struct csv_source {
    int (*next)(void *ctx, struct str *out, struct keel_error *err);
    void *ctx;
};

struct csv_source csv_from_input(struct input *in); /* borrowed */
struct csv_source csv_from_text(struct str *text);  /* borrowed, and emptied by reading */

struct csv_row {
    const struct str *fields; /* UTF-8, without NUL bytes; valid until the next call */
    uint32_t n;               /* 0 for a row that cannot be read                     */
    uint64_t line;            /* 1-based line at which it begins                     */
    struct str raw;           /* as in the file, without the line's end              */
    int cause;                /* enum reject_cause, or -1: a good row                */
};

struct csv_reader;

int csv_reader_new(const struct csv_format *format, struct csv_source source,
                   struct csv_reader **out, struct keel_error *err) K_CHECKED;
/* 1: *out is the next row, good or bad; 0: end; negative: the source failed. */
int csv_reader_next(struct csv_reader *r, struct csv_row *out, struct keel_error *err) K_CHECKED;
void csv_reader_free(struct csv_reader *r); /* NULL is fine */
