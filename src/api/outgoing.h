/* What leaves the server: the raw archive, webhooks, backups and exports under way.
 *
 * Joined to the collectors by a hook around the ledger's. Layers: archive.h, reach/webhook.h,
 * customer/backup.h. Threads: as collect.h says of its hooks; the rest any. */
#pragma once

#include "api/collect/archive.h"
#include "api/config.h"

struct app;
struct outgoing;

enum { OUTGOING_EXPORTS_MOST = 2 }; /* at a time; each holds a snapshot */

/* Needs app->dir, config, db, desk; sets app->outgoing and app->webhooks. */
int outgoing_open(struct app *app, struct outgoing **out, struct keel_error *err) K_CHECKED;
/* After collector_close and server_stop, before the db is closed. Cuts backups and exports. */
void outgoing_close(struct outgoing *o); /* NULL is fine */

/* The hooks of the ledger with those of the archive behind them. */
struct collect_hooks outgoing_hooks(struct outgoing *o, const struct collect_hooks *inner);

struct backup_options; /* customer/backup.h */

/* Begins a backup in a thread of its own: KEEL_E_BUSY if one is under way. Of `wish` count keep,
 * journal_bytes and full. */
int outgoing_backup(struct outgoing *o, struct str to, const struct backup_options *wish,
                    struct keel_error *err) K_CHECKED;
/* The one under way, or the last: a JSON object. */
void outgoing_backup_json(struct outgoing *o, struct buf *out);

/* Counts one export more, or KEEL_E_BUSY; each is ended by outgoing_export_end. */
int outgoing_export_begin(struct outgoing *o, struct keel_error *err) K_CHECKED;
void outgoing_export_end(struct outgoing *o);
/* The server stops: long work should end. */
const _Atomic bool *outgoing_stopping(const struct outgoing *o);
