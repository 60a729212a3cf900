/* Implementation of journal/reader.h. A file is done when the next one begins where its records
 * end; a writer makes the next file before it writes the record that did not fit. */
#include "store/journal/reader.h"

#include <inttypes.h>

#include "base/os.h"
#include "store/journal/file.h"

struct journal_reader {
    char *dir;
    uint8_t store_id[JOURNAL_ID_BYTES];
    struct journal_window window;
    uint64_t at;
};

/* Opens the file whose first position is `first`. */
static int open_file(struct journal_reader *r, uint64_t first, struct keel_error *err) {
    struct journal_window *w = k_zalloc(sizeof *w);
    int code = journal_window_open(w, r->dir, first, false, err);
    if (code == 0) {
        code = journal_check_header(w, r->store_id, NULL, err);
        w->store_seed = journal_store_seed(r->store_id);
        if (code < 0) journal_window_close(w);
    }
    if (code == 0) {
        journal_window_close(&r->window);
        r->window = *w;
    }
    k_free(w);
    return code;
}

/* The file that holds `from`: the last one that begins at or below it. */
static int find_file(const struct journal_reader *r, uint64_t from, uint64_t *out_file,
                     uint64_t *out_first, struct keel_error *err) {
    struct journal_list files = {0};
    int code = journal_list_read(r->dir, false, &files, err);
    size_t i = files.n;
    while (i > 0 && files.first[i - 1] > from) i--;
    if (code == 0 && i > 0) *out_file = files.first[i - 1];
    if (out_first) *out_first = files.n ? files.first[0] : from;
    if (code == 0 && i == 0)
        code = error_set(err, KEEL_E_NOT_FOUND,
                         "%s/journal no longer has position %" PRIu64 ": it begins at %" PRIu64,
                         r->dir, from, files.n ? files.first[0] : 0);
    k_free(files.first);
    return code;
}

/* 1: the record at r->at; 0: none there; the window follows what the writer added. */
static int record_at(struct journal_reader *r, struct journal_found *out, struct keel_error *err) {
    int got = journal_record_at(&r->window, r->at, out, err);
    if (got != 0) return got;
    TRY(file_size(r->window.fd, r->window.path, &r->window.size, err));
    r->window.n = 0; /* what was read may be older than what is there */
    return journal_record_at(&r->window, r->at, out, err);
}

/* Walks whole records up to `from`, which must be the end of one. */
static int walk_to(struct journal_reader *r, uint64_t from, struct keel_error *err) {
    struct journal_found found;
    while (r->at < from) {
        int got = record_at(r, &found, err);
        if (got < 0) return got;
        if (got == 0 || found.record.end > from)
            FAIL(err, CORRUPT, "%s: position %" PRIu64 " is not the end of a record",
                 r->window.path, from);
        r->at = found.record.end;
    }
    return 0;
}

int journal_reader_open(const char *dir, const uint8_t store_id[JOURNAL_ID_BYTES], uint64_t from,
                        struct journal_reader **out, uint64_t *out_first, struct keel_error *err) {
    struct journal_reader *r = k_zalloc(sizeof *r);
    r->dir = k_strdup(dir);
    r->window.fd = -1;
    memcpy(r->store_id, store_id, sizeof r->store_id);
    int code = find_file(r, from, &r->at, out_first, err);
    if (code == 0) code = open_file(r, r->at, err);
    if (code == 0) code = walk_to(r, from, err);
    if (code < 0) {
        journal_reader_close(r);
        return code;
    }
    *out = r;
    return 0;
}

void journal_reader_close(struct journal_reader *r) {
    if (!r) return;
    journal_window_close(&r->window);
    k_free(r->dir);
    k_free(r);
}

int journal_reader_next(struct journal_reader *r, uint64_t end, struct journal_record *out,
                        struct keel_error *err) {
    struct journal_found found;
    char path[JOURNAL_PATH_BYTES];
    while (r->at < end) {
        int got = record_at(r, &found, err);
        if (got < 0) return got;
        if (got == 0) {
            journal_file_path(path, r->dir, r->at);
            if (r->at == r->window.first || !file_exists(path))
                FAIL(err, CORRUPT,
                     "journal file %s: no record at byte %" PRIu64 " (position %" PRIu64 ")",
                     r->window.path, journal_offset(&r->window, r->at), r->at);
            TRY(open_file(r, r->at, err));
            continue;
        }
        if (found.record.end > end) return 0;
        r->at = found.record.end;
        if (found.record.kind == JOURNAL_KIND_MARK) continue;
        *out = found.record;
        return 1;
    }
    return 0;
}

uint64_t journal_reader_position(const struct journal_reader *r) { return r->at; }
