"""Seeded bugs: (name, file, text to find once, text to put instead, perhaps another such pair).

Each undoes something that a crash, a failing call, damage or a message sent twice needs. A text that
is not found means that the code has moved on: adapt the mutation, do not drop it.
"""

PART_WRITE = "src/store/part_write.c"
PART_READ = "src/store/part_read.c"
COMPACT = "src/store/compact.c"
STORE = "src/store/store.c"
IDENTITY = "src/customer/identity.c"
DB = "src/customer/db.c"

MUTATIONS = [
    ("a part is not synced", PART_WRITE,
     "if (code == 0) code = file_sync(w.fd, path, err);", ""),
    ("the parts folder is not synced", COMPACT,
     "    TRY(sync_parts_folder(s, err));\n", "    (void)sync_parts_folder;\n"),
    ("the parts folder is synced behind the commit", COMPACT,
     "    TRY(sync_parts_folder(s, err));\n", "",
     "    if (c->unsure) fail_unsure(s, err);\n",
     "    if (c->unsure) fail_unsure(s, err);\n    if (code == 0) code = sync_parts_folder(s, err);\n"),
    ("a flush does not sync the journal", COMPACT,
     "int code = journal_sync(s->journal, s->applied_position, err);", "int code = 0;"),
    ("the journal is trimmed before the commit", COMPACT,
     "    if (code == 0) code = record(c, NULL, 0, &flushed, err);\n",
     "    (void)!journal_trim(s->journal, s->applied_position, NULL);\n"
     "    if (code == 0) code = record(c, NULL, 0, &flushed, err);\n"),
    ("the journal position is not moved", COMPACT,
     "        s->manifest.journal_position = flushed->journal_position;\n", ""),
    ("compaction places rows by redirects that only memory has", COMPACT,
     "    TRY(store_flush(s, err));\n    return compact(s, all, err);",
     "    return compact(s, all, err);",
     "    redirect_view_copy(&s->flushed, &redirects);\n",
     "    redirects_view(s->redirects, &redirects);\n"),
    ("merged parts are removed before the commit", COMPACT,
     "    if (code == 0) code = record(c, gone, to - from, NULL, err);\n",
     "    for (uint32_t i = from; i < to; i++)\n"
     "        (void)!file_remove(part_path(set->parts[i]->part), NULL);\n"
     "    if (code == 0) code = record(c, gone, to - from, NULL, err);\n"),
    ("an unsure commit removes its parts", COMPACT, "doomed = !c->unsure;", "doomed = true;"),
    ("people are not saved", DB,
     "    TRY(identity_save(db->identity, path, &db->identity_bytes, err));\n", ""),
    ("identity.log is not synced", IDENTITY,
     "    if (code == 0) code = file_sync(fd, path, err);\n", ""),
    ("the name of identity.log is not synced", IDENTITY,
     "    if (code == 0 && fresh) code = sync_folder(path, err); /* its name, too */\n", ""),
    ("the data folder's name is not synced", STORE, "    TRY(sync_parent(dir, err));\n", ""),
    ("SQLite does not sync", "src/store/manifest.c", "PRAGMA synchronous=FULL", "PRAGMA synchronous=OFF"),
    ("ingest answers before the commit", DB,
     "return code < 0 ? code : store_commit(db->store, position, err);", "return code;"),
    ("half a batch is no failure", DB, "if (code < 0) fail_store(db, code, err);", ""),
    ("keys of parts are not asked", STORE, "        if (found) return found;\n", "        (void)found;\n"),
    ("each part is asked for its own times only", STORE,
     "        const struct key_span *span = &set->key_spans[i];\n",
     "        const struct source *span = part_source(set->parts[i]->part);\n"),
    ("checksums of chunks are not compared", PART_READ,
     "if (sum != (uint32_t)hash_str(*out)) {", "if (sum == 0 && out->n == 0) {"),
    ("the key table is not verified", PART_READ,
     "        if (part_keys_check(p->keys, p->base.rows) < 0) return corrupt(p, \"message keys\", err);\n", ""),
    ("parts of a later identity are taken", PART_READ,
     "    if (p->base.identity_version > redirects->version)\n",
     "    if (p->base.identity_version == UINT32_MAX)\n"),
    ("rows are merged under their own number", PART_WRITE,
     ".root = redirect_root(redirects, block->number[i])", ".root = block->number[i]"),
    ("identity.log is read beyond its end", IDENTITY,
     "    uint64_t at = g->saved_bytes;\n", "    uint64_t at = g->saved_bytes ? g->saved_bytes + 1 : 0;\n"),
]
