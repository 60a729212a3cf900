/* Parts appear and disappear: the one way, for flush.c and compact.c.
 *
 * A change is: write the new files and sync them, sync their folder, then one manifest transaction
 * that adds them, removes what they replace, and moves the journal position; then snapshots get
 * them. A crash before the transaction leaves new files, a crash behind it old ones, that the
 * manifest does not name: the next opening removes them. When the transaction's own commit fails,
 * nobody knows which of the two it is: the files stay, and the store takes no changes until it is
 * opened again. The same holds when an fsync fails: what is on disk is unknown.
 *
 * A change that failed for another reason (a full disk, no memory) has done nothing: it is made
 * again, from the start, behind a pause.
 *
 * Locks: `changing` for an id, and from the transaction until snapshots have it, so that lists in
 * memory follow each other as in keel.db; within, the lock of the connection, then `state`.
 */
#include <stdio.h>

#include "base/os.h"
#include "store/store_int.h"

enum {
    RETRY_FIRST_MS = 100,
    RETRY_MOST_MS = 30000,
    RETRY_ASKED_MS = 500, /* when somebody asks; and tries take a fifth of the time at most */
    RETRY_ASKED_PAUSE = 4,
};

int change_write(struct change *c, struct source *const *sources, uint32_t count,
                 struct part_span span, const struct redirect_view *redirects,
                 struct keel_error *err) {
    struct store *s = c->store;
    struct part_env env = store_part_env(s);
    struct part_merge *merge;
    struct part_limits limits = {s->options.part_rows, s->options.merge_rows};
    TRY(part_merge_open(sources, count, span, redirects, &env, limits, &merge, err));
    int code = 1;
    while (code == 1) {
        char path[4096];
        struct part_written written;
        struct part *part;
        pthread_mutex_lock(&s->changing);
        uint64_t id = s->manifest.next_part++;
        pthread_mutex_unlock(&s->changing);
        store_part_path(s, id, path, sizeof path);
        code = c->count == CHANGE_PARTS_MOST
                   ? error_set(err, KEEL_E_LIMIT, "one change makes more than %d parts",
                               CHANGE_PARTS_MOST)
                   : part_merge_next(merge, path, id, &written, err);
        if (code != 1) break;
        int opened = part_open(path, &env, &part, err); /* read back what was written */
        if (opened == 0) {
            opened = part_bind(part, redirects, err);
            if (opened < 0) part_close(part);
        }
        if (opened < 0) {
            (void)!file_remove(path, NULL);
            code = opened;
            break;
        }
        c->entries[c->count] = (struct manifest_part){
            .id = id, .bucket = sources[0]->bucket, .rows = written.rows, .bytes = written.bytes};
        c->added[c->count++] = held_part_new(id, part);
    }
    part_merge_close(merge);
    return code;
}

void change_abandon(struct change *c) {
    struct part_set *set = part_set_change(NULL, NULL, 0, c->added, c->count);
    for (uint32_t i = 0; i < c->count; i++) c->added[i]->doomed = !c->unsure;
    part_set_unref(set);
    c->count = 0;
}

/* When the commit itself failed, the next opening may find the change made or not made: its files
 * must stay, and nothing may build on either. */
static void fail_unsure(struct store *s, const struct keel_error *why) {
    struct keel_error unknown = {.code = -KEEL_E_IO, .message = "keel.db could not be written"};
    store_stop(s, why ? why : &unknown);
}

static int sync_parts_folder(struct store *s, struct keel_error *err) {
    char path[4096];
    snprintf(path, sizeof path, "%s/parts", s->dir);
    return file_sync_dir(path, err);
}

static int save_change(struct change *c, const uint64_t *gone, uint32_t gone_count,
                       const struct sealed *flushed, struct keel_error *err) {
    struct store *s = c->store;
    for (uint32_t i = 0; i < c->count; i++)
        TRY(manifest_add_part(&s->manifest, &c->entries[i], err));
    for (uint32_t i = 0; i < gone_count; i++) TRY(manifest_remove_part(&s->manifest, gone[i], err));
    if (flushed) {
        s->manifest.journal_position = flushed->position;
        s->manifest.arrivals = flushed->arrivals;
        TRY(manifest_save_schema(&s->manifest, s->schema, err));
        if (s->client.flush) TRY(s->client.flush(s->client.ctx, s, s->manifest.db, err));
    }
    return manifest_save_state(&s->manifest, err);
}

/* `changing` held. */
static int record(struct change *c, const uint64_t *gone, uint32_t gone_count,
                  const struct sealed *flushed, struct keel_error *err) {
    struct store *s = c->store;
    uint64_t position = s->manifest.journal_position, arrivals = s->manifest.arrivals;
    TRY(store_usable(s, err)); /* the other thread's commit may have failed meanwhile */
    TRY(sql_begin(s->manifest.db, err));
    int code = save_change(c, gone, gone_count, flushed, err);
    if (code < 0) {
        sql_rollback(s->manifest.db);
    } else {
        code = sql_commit(s->manifest.db, err);
        c->unsure = code < 0;
    }
    if (c->unsure) fail_unsure(s, err);
    if (code == 0) return 0;
    manifest_forget(&s->manifest);
    s->manifest.journal_position = position;
    s->manifest.arrivals = arrivals;
    return code;
}

/* `state` held: the head is in parts, what it left behind is the caller's to give up. */
static struct sealed take_sealed(struct store *s) {
    struct sealed left = s->sealed;
    K_ASSERT(s->older_count == 1 && s->older[0] == left.head);
    s->older_count = 0;
    struct redirect_view before = s->flushed;
    s->flushed = left.redirects;
    left.redirects = before;
    s->sealed = (struct sealed){0};
    s->wake = true;
    pthread_cond_broadcast(&s->work);
    return left;
}

/* `changing` held: nobody else changes the list of parts. */
static void show(struct change *c, const uint64_t *gone, uint32_t gone_count, bool flushed) {
    struct store *s = c->store;
    struct sealed left = {0};
    struct part_set *before = current_parts(s);
    for (uint32_t i = 0; i < before->count && gone_count; i++)
        for (uint32_t k = 0; k < gone_count; k++)
            if (before->parts[i]->id == gone[k]) before->parts[i]->doomed = true;
    struct part_set *set = part_set_change(before, gone, gone_count, c->added, c->count);
    pthread_mutex_lock(&s->state);
    if (flushed) left = take_sealed(s);
    struct store_version *old = version_publish(s, set, NULL);
    pthread_mutex_unlock(&s->state);
    version_unref(old);
    part_set_unref(before);
    part_set_unref(set);
    redirect_view_release(&left.redirects);
    held_head_unref(left.head);
}

int change_commit(struct change *c, const uint64_t *gone, uint32_t gone_count,
                  const struct sealed *flushed, struct keel_error *err) {
    struct store *s = c->store;
    TRY(sync_parts_folder(s, err));
    pthread_mutex_lock(&s->changing);
    int code = record(c, gone, gone_count, flushed, err);
    if (code == 0 && flushed && s->client.flushed) s->client.flushed(s->client.ctx);
    if (code == 0) show(c, gone, gone_count, flushed != NULL);
    pthread_mutex_unlock(&s->changing);
    return code;
}

/* ---- what became of it ---- */

/* For the doctor, who sees no memory of ours; as well as it can be done on a sick disk. */
static void note_trouble(struct store *s, const char *text) {
    pthread_mutex_lock(&s->changing);
    if (*text || s->trouble_noted)
        s->trouble_noted =
            manifest_set(&s->manifest, "trouble", str_from(text), NULL) == 0 && *text;
    pthread_mutex_unlock(&s->changing);
}

void trouble_ask(struct store *s, struct trouble *trouble) {
    if (!trouble->failures || trouble->retry_us <= trouble->asked_us) return;
    trouble->retry_us = trouble->asked_us;
    pthread_cond_broadcast(&s->work);
}

int change_result(struct store *s, struct trouble *trouble, const char *what, int code,
                  int64_t begun_us, const struct keel_error *why) {
    char text[KEEL_ERROR_MAX + 64] = "";
    if (code == -KEEL_E_NOT_DURABLE) store_stop(s, why);
    pthread_mutex_lock(&s->state);
    if (code >= 0) {
        trouble->failures = 0;
    } else {
        int64_t pause_ms = RETRY_FIRST_MS;
        for (uint32_t i = 0; i < trouble->failures && pause_ms < RETRY_MOST_MS; i++) pause_ms *= 2;
        trouble->failures++;
        trouble->err = *why;
        int64_t now_us = monotonic_us(), asked_us = (now_us - begun_us) * RETRY_ASKED_PAUSE;
        trouble->retry_us = now_us + (pause_ms < RETRY_MOST_MS ? pause_ms : RETRY_MOST_MS) * 1000;
        trouble->asked_us =
            now_us + (asked_us > RETRY_ASKED_MS * 1000 ? asked_us : RETRY_ASKED_MS * 1000);
        snprintf(text, sizeof text, "%s: %s", what, why->message);
    }
    bool sound = s->flush_trouble.failures + s->compact_trouble.failures == 0;
    bool unsure = s->failed && code != -KEEL_E_NOT_DURABLE; /* of keel.db itself, perhaps */
    pthread_mutex_unlock(&s->state);
    if (!unsure && (code < 0 || sound)) note_trouble(s, text);
    return code;
}
