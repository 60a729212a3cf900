"""Seeded bugs: (name, file, text to find once, text to put instead, perhaps another such pair).

Each undoes something that a crash, a failing call, damage or a message sent twice needs. A text that
is not found means that the code has moved on: adapt the mutation, do not drop it.
"""

PART_WRITE = "src/store/part/write.c"
PART_READ = "src/store/part/read.c"
CHANGE = "src/store/change.c"
FLUSH = "src/store/flush.c"
COMPACT = "src/store/compact.c"
VERSION = "src/store/version.c"
STORE = "src/store/store.c"
JOURNAL = "src/store/journal/journal.c"
SERVER_BODY = "src/api/server/intake.c"
IDENTITY = "src/customer/identity.c"
DB = "src/customer/db.c"
COLLECT = "src/api/collect/collect.c"
COLLECT_READ = "src/api/collect/collect_read.c"
SOURCE = "src/api/collect/source.c"

MUTATIONS = [
    ("a failed sync of the journal is tried again", JOURNAL,
     "if (why->code == -KEEL_E_NO_SPACE) {", "if (why->code < 0) {"),
    ("what a full disk left is dropped", JOURNAL,
     "    if (!j->stalled) take_group(j);\n", "    take_group(j);\n"),
    ("what a full disk left is stamped twice", JOURNAL,
     "        if (!j->out_stamped)\n", ""),
    ("nobody looks for room", JOURNAL,
     "        pthread_cond_signal(&j->timer_wake);\n    } else {", "    } else {"),
    ("a connection is suspended while it reads", SERVER_BODY,
     "    return atomic_load(&e->turn) == TURN_DONE ? reply_send(e) : MHD_YES;\n",
     "    if (atomic_load(&e->turn) == TURN_DONE) return reply_send(e);\n"
     "    e->stage = STAGE_WAITING;\n    MHD_suspend_connection(e->mhd);\n    int was = TURN_HANDLER;\n"
     "    if (!atomic_compare_exchange_strong(&e->turn, &was, TURN_SUSPENDED))\n"
     "        connection_resume(e->connection->loop, e->mhd);\n    return MHD_YES;\n"),
    ("a part is not synced", PART_WRITE,
     "if (code == 0) code = file_sync(w.fd, path, err);", ""),
    ("the parts folder is not synced", CHANGE,
     "    TRY(sync_parts_folder(s, err));\n", "    (void)sync_parts_folder;\n"),
    ("the parts folder is synced behind the commit", CHANGE,
     "    TRY(sync_parts_folder(s, err));\n", "",
     "    int code = record(c, gone, gone_count, flushed, err);\n",
     "    int code = record(c, gone, gone_count, flushed, err);\n"
     "    if (code == 0) code = sync_parts_folder(s, err);\n"),
    ("a flush does not sync the journal", FLUSH,
     "int code = journal_sync(s->journal, sealed.position, err);", "int code = 0;"),
    ("the journal is trimmed before the commit", FLUSH,
     "    if (code == 0) code = change_commit(c, NULL, 0, &sealed, err);\n",
     "    (void)!journal_trim(s->journal, sealed.position, NULL);\n"
     "    if (code == 0) code = change_commit(c, NULL, 0, &sealed, err);\n"),
    ("the journal is trimmed to what came behind the head", FLUSH,
     "code = journal_trim(s->journal, sealed.position, err);",
     "code = journal_trim(s->journal, journal_position(s->journal), err);"),
    ("the journal position is not moved", CHANGE,
     "        s->manifest.journal_position = flushed->position;\n", ""),
    ("the journal position is that of now", CHANGE,
     "        s->manifest.journal_position = flushed->position;\n",
     "        s->manifest.journal_position = s->applied_position;\n"),
    ("compaction places rows by redirects that only memory has", COMPACT,
     "    TRY(store_flush(s, err));\n    return compact(s, all, err);",
     "    return compact(s, all, err);",
     "    redirect_view_copy(&s->flushed, &redirects);\n",
     "    redirects_view(s->redirects, &redirects);\n"),
    ("merged parts are removed before the commit", COMPACT,
     "    if (code == 0) code = change_commit(c, gone, to - from, NULL, err);\n",
     "    for (uint32_t i = from; i < to; i++)\n"
     "        (void)!file_remove(part_path(set->parts[i]->part), NULL);\n"
     "    if (code == 0) code = change_commit(c, gone, to - from, NULL, err);\n"),
    ("an unsure commit removes its parts", CHANGE, "doomed = !c->unsure;", "doomed = true;"),
    ("a failed sync is tried again", CHANGE,
     "    if (code == -KEEL_E_NOT_DURABLE) store_stop(s, why);\n", ""),
    ("a failure in the background is kept from everybody", CHANGE,
     "        trouble->failures++;\n", ""),
    ("snapshots see the rows of a batch as they come", VERSION,
     "i < s->older_count ? head_rows(head->head) : s->visible_rows;", "head_rows(head->head);",
     "    s->version = v;\n", "    s->version = v;\n    head_publish(s->head->head);\n"),
    ("parts stand beside the head that they stand in for", CHANGE,
     "    s->older_count = 0;\n", ""),
    ("people are not saved", DB,
     "    TRY(identity_save(db->identity, store_dir(store), &db->identity_bytes, err));\n", ""),
    ("identity.log is not synced", IDENTITY,
     "    if (code == 0) code = file_sync(fd, path, err);\n", ""),
    ("the name of identity.log is not synced", IDENTITY,
     "    if (code == 0 && fresh) code = file_sync_dir(dir, err); /* its name, too */\n", ""),
    ("the data folder's name is not synced", STORE, "    TRY(sync_parent(dir, err));\n", ""),
    ("SQLite does not sync", "src/base/sql.c", "PRAGMA synchronous=FULL", "PRAGMA synchronous=OFF"),
    ("a new directory's settings come behind its manifest", DB,
     "    TRY(db_open(dir, &options, &db, err));\n    return db_close(db, err);",
     "    TRY(db_open(dir, &options, &db, err));\n"
     "    int code = store_set_setting(db->store, \"time_zone\", time_zone, err);\n"
     "    int closed = db_close(db, NULL);\n    return code < 0 ? code : closed;",
     "    TRY(store_set_setting(store, \"time_zone\", db->options->time_zone, err));\n", ""),
    ("ingest answers before the commit", DB,
     "    return db_commit(db, position, err);\n", "    return 0;\n"),
    ("batches are journalled as they come", DB, "    TRY(check_batch(batch, err));\n",
     "    (void)check_batch;\n"),
    ("half a batch is no failure", DB, "if (code < 0) fail_store(db, code, err);", ""),
    ("keys of parts are not asked", STORE, "        if (found) return found;\n", "        (void)found;\n"),
    ("keys of a sealed head are not asked", STORE,
     "    for (uint32_t i = 0; i < v->view_count; i++)\n        if (head_has_key",
     "    for (uint32_t i = v->view_count - 1; i < v->view_count; i++)\n        if (head_has_key"),
    ("repeats are told by days, not by months", STORE,
     ".first_ms = bucket_start(first),", ".first_ms = time_ms - reach,"),
    ("checksums of chunks are not compared", PART_READ,
     "if (sum != (uint32_t)hash_str(*out)) {", "if (sum == 0 && out->n == 0) {"),
    ("the key table is not verified", PART_READ,
     "        if (part_keys_check(p->keys, p->base.rows) < 0) return part_corrupt(p, \"message keys\", err);\n", ""),
    ("parts of a later identity are taken", PART_READ,
     "    if (p->base.identity_version > redirects->version)\n",
     "    if (p->base.identity_version == UINT32_MAX)\n"),
    ("rows are merged under their own number", "src/store/part/merge.c",
     "uint32_t root = redirect_root(&m->redirects, block->number[i]);",
     "uint32_t root = block->number[i];"),
    ("a range of customers loses its last", "src/store/part/merge.c",
     "root < from_root || root >= to_root", "root < from_root || root + 1 >= to_root"),
    ("identity.log is read beyond its end", IDENTITY,
     "    uint64_t at = g->saved.bytes;\n", "    uint64_t at = g->saved.bytes ? g->saved.bytes + 1 : 0;\n"),
    ("blocks of identity.index are taken as they come", "src/customer/identity_index.c",
     "if (sum != (uint32_t)hash64(blocks + start, left < BLOCK_BYTES ? left : BLOCK_BYTES))",
     "if (sum == 0 && left == 0)"),
    ("identity.index knows what was not saved", IDENTITY,
     "identity_index_write(path, &log, &redirects, g->saved.numbers, g->saved.version, err);",
     "identity_index_write(path, &log, &redirects, redirects.numbers, redirects.version, err);"),
    ("collectors: the reply does not wait for the commit", COLLECT,
     "    int code = db_commit(c->db, position, &err);\n", "    int code = 0;\n"),
    ("collectors: what is held aside is not kept", COLLECT,
     "    int code = c->hooks.keep(c->hooks.ctx, outcomes, n, &err);\n",
     "    int code = outcomes[0] ? 0 : err.code;\n"),
    ("collectors: a quarantine that failed is thanked for", COLLECT,
     "    for (uint32_t i = 0; code < 0 && i < n; i++) jobs[i]->code = code;\n", "    (void)code;\n"),
    ("collectors: fates are taken by place", COLLECT,
     "        if (item->fate != COLLECT_ACCEPTED) continue;\n", ""),
    ("collectors: the queue has no bound", COLLECT,
     "    if (requests <= c->options.max_queue_requests &&\n"
     "        (bytes <= c->options.max_queue_bytes || requests == 1))\n", "    if (requests || bytes)\n",
     "    if (atomic_load(&c->waiting_requests) >= c->options.max_queue_requests) {\n", "    if (false) {\n"),
    ("collectors: half an applied batch is no failure", COLLECT,
     "    else if (position)\n        note_failure(c, err);\n", ""),
    ("collectors: who found no room is never let in again", COLLECT,
     "    else if (store_failed(db_store(c->db)))\n", "    else if (code < 0)\n"),
    ("collectors: what the plan refuses stays in the batch", COLLECT_READ,
     "            job->stored--;\n", "            to += b.r.p - from;\n"),
    ("collectors: a source may always overdraw", SOURCE, "        if (wait) return wait;\n", "        (void)wait;\n"),
    ("collectors: a rotated key works for ever", SOURCE,
     "return k->text.p && now_ms < k->until_ms ? k->source : NULL;",
     "return k->text.p && now_ms ? k->source : NULL;"),
    ("collectors: a changed source forgets what it has sent", SOURCE,
     "old ? old->meter : arena_zalloc", "false ? old->meter : arena_zalloc"),
]

# The test that notices it, as the last whole run told: the only one that is built and run for it.
NOTICED_BY = {
}
