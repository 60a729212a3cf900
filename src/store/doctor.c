/* Implementation of doctor.h. Goes on behind a fault wherever the rest can still be read. */
#include "store/doctor.h"

#include <stdio.h>

#include "base/os.h"
#include "base/time.h"
#include "store/manifest.h"
#include "store/part/part.h"

struct doctor {
    const char *dir;
    const struct doctor_report *report;
    struct doctor_sums *sums;
    struct schema *schema;
    struct lexicon **lexicons;
    uint32_t lexicon_count;
    uint8_t store_id[PART_ID_BYTES];
};

static void fault(void *ctx, const char *text) {
    struct doctor *d = ctx;
    d->sums->faults++;
    d->report->fault(d->report->ctx, text);
}

static void good(struct doctor *d, const char *text) { d->report->good(d->report->ctx, text); }

static struct lexicon *lexicon_of(void *ctx, uint32_t column) {
    struct doctor *d = ctx;
    if (column >= d->lexicon_count) {
        uint32_t count = column * 2 + 16;
        d->lexicons = k_realloc(d->lexicons, count * sizeof(struct lexicon *));
        memset(d->lexicons + d->lexicon_count, 0,
               (count - d->lexicon_count) * sizeof(struct lexicon *));
        d->lexicon_count = count;
    }
    if (!d->lexicons[column]) d->lexicons[column] = lexicon_new();
    return d->lexicons[column];
}

static int check_part(void *ctx, const struct manifest_part *entry) {
    struct doctor *d = ctx;
    struct part_env env = {.schema = d->schema, .lexicon_of = lexicon_of, .ctx = d};
    struct keel_error err;
    struct part *part;
    char path[4096], text[4200];
    memcpy(env.store_id, d->store_id, sizeof env.store_id);
    snprintf(path, sizeof path, "%s/parts/%012llu.part", d->dir, (unsigned long long)entry->id);
    if (part_open(path, &env, &part, &err) < 0) {
        fault(d, err.message);
        return 0;
    }
    const struct source *s = part_source(part);
    if (part_id(part) != entry->id || s->rows != entry->rows || part_bytes(part) != entry->bytes ||
        s->bucket != entry->bucket) {
        snprintf(text, sizeof text,
                 "%s is not the part that keel.db names; restore it from a backup", path);
        fault(d, text);
    }
    uint64_t faults = part_check(part, fault, d);
    if (!faults) {
        snprintf(text, sizeof text, "%s: %u events of %d-%02d, %llu bytes", path, s->rows,
                 1970 + s->bucket / 12, s->bucket % 12 + 1, (unsigned long long)part_bytes(part));
        good(d, text);
    }
    uint32_t highest = s->block_last[s->blocks - 1];
    if (part_highest_number(part) > highest) highest = part_highest_number(part);
    if (highest > d->sums->highest_number) d->sums->highest_number = highest;
    if (d->report->region) part_regions(part, d->report->region, d->report->ctx);
    d->sums->parts++;
    d->sums->rows += s->rows;
    d->sums->bytes += part_bytes(part);
    part_close(part);
    return 0;
}

static void journal_finding(void *ctx, const struct journal_finding *f) {
    struct doctor *d = ctx;
    char text[4300];
    if (f->verdict == JOURNAL_FILE_GOOD) d->sums->journal_records += f->records;
    snprintf(text, sizeof text, "%s, byte %llu: %s", f->path, (unsigned long long)f->offset,
             f->text);
    if (f->verdict == JOURNAL_DAMAGE)
        fault(d, text);
    else
        good(d, text);
}

static void check_database(struct doctor *d, struct sql *db) {
    struct sql_rows rows;
    struct keel_error err;
    char message[KEEL_ERROR_MAX + 64];
    int code = sql_ask(db, &rows, &err, "PRAGMA integrity_check", "");
    while (code >= 0 && (code = sql_next(&rows, &err)) == 1) {
        struct str text = sql_str(&rows, 0);
        snprintf(message, sizeof message, "%s/keel.db: %.*s", d->dir, (int)text.n, text.p);
        if (str_eq(text, STR("ok")))
            good(d, message);
        else
            fault(d, message);
    }
    sql_done(&rows);
    if (code < 0) fault(d, err.message);
}

/* What the last process could not do in the background (change.c). */
static int check_trouble(struct doctor *d, struct manifest *m, struct keel_error *err) {
    struct arena a;
    struct str text = {0};
    char message[KEEL_ERROR_MAX + 128];
    arena_init(&a, 1 << 20);
    int code = manifest_get(m, "trouble", &a, &text, err);
    if (code == 0 && text.n) {
        snprintf(message, sizeof message,
                 "%s: the last %.*s; it is done again when keel next writes there", d->dir,
                 (int)text.n, text.p);
        fault(d, message);
    }
    arena_release(&a);
    return code == -KEEL_E_NOT_FOUND ? 0 : code;
}

static int check_all(struct doctor *d, struct keel_error *err) {
    struct manifest m;
    TRY(manifest_open(&m, d->dir, false, true, err));
    memcpy(d->store_id, m.store_id, sizeof d->store_id);
    check_database(d, m.db);
    int code = check_trouble(d, &m, err);
    if (code == 0) code = manifest_load_schema(&m, d->schema, err);
    if (code == -KEEL_E_CORRUPT && err) { /* the parts have the names that they need */
        fault(d, err->message);
        code = 0;
    }
    if (code == 0) code = manifest_parts(&m, check_part, d, err);
    if (code == 0) {
        code = journal_check(d->dir, m.store_id, journal_finding, d, err);
        if (code == -KEEL_E_CORRUPT) code = 0; /* reported finding by finding */
    }
    manifest_close(&m);
    return code;
}

int store_doctor(const char *dir, const struct doctor_report *report, struct doctor_sums *out,
                 struct keel_error *err) {
    char path[4096];
    int fd;
    *out = (struct doctor_sums){0};
    snprintf(path, sizeof path, "%s/lock", dir);
    if (!file_exists(path))
        FAIL(err, NOT_FOUND, "%s is no data directory (no file lock); make one with 'keel init %s'",
             dir, dir);
    TRY(file_open(path, FILE_READ, &fd, err));
    int code = file_lock(fd, true, dir, err);
    struct doctor d = {.dir = dir, .report = report, .sums = out, .schema = schema_new()};
    if (code == 0) code = check_all(&d, err);
    for (uint32_t i = 0; i < d.lexicon_count; i++) lexicon_free(d.lexicons[i]);
    k_free(d.lexicons);
    schema_free(d.schema);
    file_close(fd);
    return code;
}
