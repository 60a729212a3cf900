/* journal_check: what `keel doctor` says of a journal.
 *
 * Judges by the rules of the READER in journal.c, but goes on behind damage: at the nearest valid
 * record of the file, else with the next file. A file whose header is damaged is still read, since
 * its name and the store id say all that its records need.
 *
 * Layers: base, journal/file.h. Threads: none of its own; takes no lock.
 */
#include <inttypes.h>
#include <stdio.h>

#include "store/journal/file.h"

enum { TEXT_BYTES = JOURNAL_PATH_BYTES + 256 };

struct check {
    const uint8_t *store_id;
    void (*report)(void *ctx, const struct journal_finding *finding);
    void *ctx;
    struct journal_finding found; /* of the file being read */
    struct keel_error *err;
    int code; /* 0, or that of the first damage, whose sentence is in err */
};

static void report(struct check *c, enum journal_verdict verdict, uint64_t offset,
                   const char *text) {
    struct journal_finding finding = c->found;
    finding.verdict = verdict;
    finding.offset = offset;
    finding.text = text;
    if (verdict == JOURNAL_DAMAGE && c->code == 0)
        c->code = error_set(c->err, KEEL_E_CORRUPT, "%s", text);
    if (c->report) c->report(c->ctx, &finding);
}

static void report_damage(struct check *c, const struct journal_window *w, uint64_t from,
                          uint64_t to) {
    char text[TEXT_BYTES];
    snprintf(text, sizeof text,
             "journal file %s is damaged: no record can be read at bytes %" PRIu64 " to %" PRIu64
             " (positions %" PRIu64 " to %" PRIu64 ")",
             w->path, journal_offset(w, from), journal_offset(w, to), from, to);
    report(c, JOURNAL_DAMAGE, journal_offset(w, from), text);
}

/* At c->found.end there is no valid record. 1: go on at the new c->found.end; 0: the file is done.
 */
static int check_gap(struct check *c, struct journal_window *w, uint64_t limit,
                     struct keel_error *err) {
    uint64_t from = c->found.end, next = 0, dirty = 0;
    bool last = limit == UINT64_MAX;
    int got = journal_find_record(w, from, last ? from + 1 : 0, &next, &dirty, err);
    if (got < 0) return got;
    if (got == 0 && last) {
        char text[TEXT_BYTES];
        snprintf(text, sizeof text,
                 "journal file %s has a torn tail at byte %" PRIu64
                 ", left by a crash: it was never acknowledged, and is cut when keel opens it",
                 w->path, journal_offset(w, from));
        if (dirty) report(c, JOURNAL_TAIL_TORN, journal_offset(w, from), text);
        return 0;
    }
    if (got == 1 && last) got = journal_find_record(w, from, 0, &next, NULL, err);
    if (got < 0) return got;
    if (got == 0 || next >= limit) next = limit;
    report_damage(c, w, from, next);
    c->found.end = next;
    return next != limit;
}

static int check_records(struct check *c, struct journal_window *w, uint64_t limit,
                         struct keel_error *err) {
    struct journal_found found;
    while (c->found.end != limit) {
        int got = journal_record_at(w, c->found.end, &found, err);
        if (got == 0) {
            got = check_gap(c, w, limit, err);
            if (got == 0) return 0;
        } else if (got == 1 && found.record.end > limit) {
            report_damage(c, w, c->found.end, limit);
            return 0;
        } else if (got == 1) {
            c->found.end = found.record.end;
            if (found.record.kind != JOURNAL_KIND_MARK) {
                c->found.records++;
                c->found.bytes += found.record.payload.n;
            }
        }
        if (got < 0) return got;
    }
    return 0;
}

static int check_file(struct check *c, const char *dir, uint64_t first, uint64_t limit,
                      struct keel_error *err) {
    struct journal_window w;
    TRY(journal_window_open(&w, dir, first, false, err));
    c->found = (struct journal_finding){.path = w.path, .first = first, .end = first};
    struct keel_error why = {0};
    int code = journal_check_header(&w, c->store_id, NULL, &why);
    if (code == -KEEL_E_CORRUPT) {
        report(c, JOURNAL_DAMAGE, 0, why.message);
        code = 0; /* the records can still be checked: name and store id say all they need */
    } else if (code < 0 && err) {
        *err = why;
    }
    w.store_seed = journal_store_seed(c->store_id);
    if (code == 0) code = check_records(c, &w, limit, err);
    if (code == 0)
        report(c, JOURNAL_FILE_GOOD, journal_offset(&w, c->found.end), "read to its end");
    journal_window_close(&w);
    return code;
}

/* The store id of the oldest file whose header is valid. */
static int find_store_id(const char *dir, const struct journal_list *files, uint8_t *out_id,
                         struct keel_error *err) {
    int code = 0;
    for (size_t i = 0; i < files->n; i++) {
        struct journal_window w;
        code = journal_window_open(&w, dir, files->first[i], false, err);
        if (code == 0) {
            code = journal_check_header(&w, NULL, out_id, err);
            journal_window_close(&w);
        }
        if (code == 0) return 0;
    }
    return code;
}

int journal_check(const char *dir, const uint8_t *store_id,
                  void (*report_call)(void *ctx, const struct journal_finding *finding), void *ctx,
                  struct keel_error *err) {
    if (strlen(dir) > JOURNAL_DIR_BYTES_MOST)
        FAIL(err, INVALID, "the path of the data folder is too long");
    uint8_t found_id[JOURNAL_ID_BYTES];
    struct journal_list files = {0};
    struct check c = {.store_id = store_id, .report = report_call, .ctx = ctx, .err = err};
    int code = journal_list_read(dir, false, &files, err);
    if (code == 0 && files.n == 0)
        code = error_set(err, KEEL_E_CORRUPT, "%s/journal has no journal files", dir);
    if (code == 0 && !store_id) {
        code = find_store_id(dir, &files, found_id, err);
        c.store_id = found_id;
    }
    for (size_t i = 0; code == 0 && i < files.n; i++)
        code = check_file(&c, dir, files.first[i],
                          i + 1 < files.n ? files.first[i + 1] : UINT64_MAX, err);
    k_free(files.first);
    return code < 0 ? code : c.code;
}
