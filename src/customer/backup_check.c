/* Implementation of backup_check.h. */
#include "customer/backup_check.h"

#include <stdio.h>

#include "base/os.h"

struct part_checker {
    struct schema *schema;
    struct lexicon **lexicons;
    uint32_t lexicon_count;
    struct part_env env;
    char fault[KEEL_ERROR_MAX / 2]; /* the first one */
};

static struct lexicon *lexicon_of(void *ctx, uint32_t column) {
    struct part_checker *c = ctx;
    if (column >= c->lexicon_count) {
        uint32_t count = column * 2 + 16;
        c->lexicons = k_realloc(c->lexicons, count * sizeof *c->lexicons);
        memset(c->lexicons + c->lexicon_count, 0, (count - c->lexicon_count) * sizeof *c->lexicons);
        c->lexicon_count = count;
    }
    if (!c->lexicons[column]) c->lexicons[column] = lexicon_new();
    return c->lexicons[column];
}

int part_checker_new(struct manifest *m, struct part_checker **out, struct keel_error *err) {
    struct part_checker *c = k_zalloc(sizeof *c);
    c->schema = schema_new();
    c->env = (struct part_env){.schema = c->schema, .lexicon_of = lexicon_of, .ctx = c};
    memcpy(c->env.store_id, m->store_id, sizeof c->env.store_id);
    int code = manifest_load_schema(m, c->schema, err);
    if (code < 0)
        part_checker_free(c);
    else
        *out = c;
    return code;
}

void part_checker_free(struct part_checker *c) {
    if (!c) return;
    for (uint32_t i = 0; i < c->lexicon_count; i++) lexicon_free(c->lexicons[i]);
    k_free(c->lexicons);
    schema_free(c->schema);
    k_free(c);
}

static void note_fault(void *ctx, const char *text) {
    struct part_checker *c = ctx;
    if (!c->fault[0]) snprintf(c->fault, sizeof c->fault, "%s", text);
}

int part_checker_check(struct part_checker *c, const char *path, const struct manifest_part *entry,
                       struct keel_error *err) {
    struct part *part;
    if (!file_exists(path)) FAIL(err, NOT_FOUND, "%s is missing", path);
    TRY(part_open(path, &c->env, &part, err));
    const struct source *s = part_source(part);
    c->fault[0] = 0;
    bool named = part_id(part) == entry->id && s->rows == entry->rows && s->bucket == entry->bucket;
    bool good = part_check(part, note_fault, c) == 0;
    part_close(part);
    if (!named) FAIL(err, CORRUPT, "%s is not the part that keel.db names", path);
    if (!good) FAIL(err, CORRUPT, "%s is damaged, so it was not backed up: %s", path, c->fault);
    return 0;
}
