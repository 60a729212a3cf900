/* `keel replay`: takes the events of the raw archive again, into the same directory or another.
 *
 * Message ids make it idempotent: what is there is not added twice. It is what a reader of the
 * archive does after a rule of ingest has changed, or to fill a new directory.
 * Layers: api/collect/archive.h, db.h, options.h. Threads: main only. Limits: as an import's. */
#include <stdio.h>

#include "api/collect/archive.h"
#include "base/os.h"
#include "base/output.h"
#include "cli/acts.h"
#include "cli/options.h"
#include "cli/progress.h"

struct args {
    const char *data, *into;
    int64_t from_ms, to_ms;
    bool quiet;
};

static const struct option OPTIONS[] = {
    {"data", OPTION_TEXT, offsetof(struct args, data), "DIR", "whose archive is read", NULL, true,
     0, 0},
    {"from", OPTION_DATE, offsetof(struct args, from_ms), "TIME",
     "only what was received from then on (UTC)", NULL, false, 0, 0},
    {"to", OPTION_DATE, offsetof(struct args, to_ms), "TIME",
     "only what was received before then (UTC)", NULL, false, 0, 0},
    {"into", OPTION_TEXT, offsetof(struct args, into), "DIR",
     "the directory that takes the events; default the same", NULL, false, 0, 0},
    {"quiet", OPTION_FLAG, offsetof(struct args, quiet), NULL, "no progress", NULL, false, 0, 0},
    {0},
};

static int run(int argc, char **argv, struct keel_error *err);

const struct command cmd_replay = {
    .name = "replay",
    .summary = "take the events of the raw archive again",
    .changes = COMMAND_ITSELF,
    .options = OPTIONS,
    .description = "Reads DIR/archive, which a server writes with archive = on. Events that the\n"
                   "directory has already are not added again. No server may have it open.\n",
    .examples = "  keel replay --data data --from 2024-05-01 --to 2024-05-02 --into fresh\n",
    .run = run,
};

struct replay {
    struct db *db;
    struct segment_reader *reader;
    struct batch_writer writer;
    struct buf batch;
    struct segment_counts events;
    struct ingest_counts counts;
    struct archive_sums sums;
    struct progress progress;
};

static int hand_on(struct replay *r, struct keel_error *err) {
    buf_clear(&r->batch);
    if (!r->writer.event_count) return 0;
    TRY(batch_finish(&r->writer, &r->batch, err));
    TRY(db_ingest(r->db, buf_str(&r->batch), &r->counts, err));
    progress_update(&r->progress, r->counts.events);
    return 0;
}

static int take_line(void *ctx, const struct archive_line *line, struct keel_error *err) {
    struct replay *r = ctx;
    struct segment_envelope envelope;
    struct segment_options options = {.type = line->type,
                                      .now_ms = now_ms(),
                                      .received_ms = line->received_ms,
                                      .client = line->has_client ? &line->client : NULL};
    struct segment_sink sink = {.writer = &r->writer, .counts = &r->events};
    if (batch_full(&r->writer, line->text.n + EVENT_MAX_BYTES)) TRY(hand_on(r, err));
    segment_read_body(r->reader, line->text, &options, &sink, &envelope);
    return 0;
}

static int replay_all(struct replay *r, const struct args *args, struct keel_error *err) {
    progress_start(&r->progress, "replaying", "events", 0, args->quiet);
    int code = archive_read(args->data, args->from_ms, args->to_ms, take_line, r, &r->sums, err);
    if (code == 0) code = hand_on(r, err);
    if (code == 0) code = db_flush(r->db, err);
    if (code < 0)
        progress_stop(&r->progress);
    else
        progress_finish(&r->progress, r->counts.events);
    return code;
}

static int replay_noted(struct replay *r, const struct args *args, const char *into,
                        struct keel_error *err) {
    struct act noted;
    char what[64];
    TRY(act_begin(&noted, into, "keel replay", err));
    int code = replay_all(r, args, err);
    snprintf(what, sizeof what, "%llu requests: %llu new events", (unsigned long long)r->sums.lines,
             (unsigned long long)r->counts.accepted);
    return act_end(&noted, str_from(what), code, err);
}

static void report(const struct replay *r, struct output *out) {
    output_printf(out, "%llu requests of %llu files: %llu events, %llu new, %llu known already\n",
                  (unsigned long long)r->sums.lines, (unsigned long long)r->sums.files,
                  (unsigned long long)r->counts.events, (unsigned long long)r->counts.accepted,
                  (unsigned long long)r->counts.duplicates);
    if (segment_refused_total(&r->events))
        output_printf(out, "%llu refused: they are against today's rules\n",
                      (unsigned long long)segment_refused_total(&r->events));
    if (r->sums.torn)
        output_printf(out, "%llu files end in the middle: their server died\n",
                      (unsigned long long)r->sums.torn);
}

static int replay_into(const struct args *args, struct output *out, struct keel_error *err) {
    struct db_options options = {.store = {.background = true}};
    struct replay r = {.reader = segment_reader_new(NULL)};
    if (!r.reader) FAIL(err, NO_MEMORY, "no memory to read an archive");
    batch_writer_init(&r.writer);
    buf_init(&r.batch, BATCH_MAX_BYTES + 64);
    const char *into = args->into ? args->into : args->data;
    int code = db_open(into, &options, &r.db, err);
    if (code == 0) code = replay_noted(&r, args, into, err);
    if (code == 0) report(&r, out);
    int closed = r.db ? db_close(r.db, code < 0 ? NULL : err) : 0;
    batch_writer_release(&r.writer);
    buf_release(&r.batch);
    segment_reader_free(r.reader);
    return code < 0 ? code : closed;
}

static int run(int argc, char **argv, struct keel_error *err) {
    struct args args = {.from_ms = INT64_MIN, .to_ms = INT64_MAX};
    struct output out;
    TRY(options_parse(&cmd_replay, argc, argv, &args, NULL, err));
    TRY(output_open(&out, NULL, err));
    int code = replay_into(&args, &out, err);
    int closed = output_close(&out, code < 0 ? NULL : err);
    return code < 0 ? code : closed;
}
