/* The pieces of a folder of backups: immutable files named by what is in them.
 *
 * A piece is written beside its name, synced, renamed and the folder synced: under its name it is
 * whole and durable. Private to backup.c, restore.c.
 *
 * Layers: base, libsodium (BLAKE2b-256: nobody who can put text into an event can make two pieces
 * that share a name). Threads: one owner. */
#pragma once

#include "customer/backup.h"

struct piece {
    uint8_t hash[BACKUP_HASH_BYTES];
    uint32_t bytes;
};

enum { PIECE_PATH_BYTES = 4096, PIECE_NAME_BYTES = BACKUP_HASH_BYTES * 2 + 1 };

void piece_hash(struct str bytes, uint8_t out[BACKUP_HASH_BYTES]);
void piece_name(const uint8_t hash[BACKUP_HASH_BYTES], char out[PIECE_NAME_BYTES]);
bool piece_parse(struct str name, uint8_t out[BACKUP_HASH_BYTES]);

/* Is there a file of the right name and size? */
bool piece_exists(const char *folder, const struct piece *p);
/* Puts bytes there unless they are; *out names them. `check`: an existing one is read, and written
 * again if it is damaged. *written grows by what was new. */
int piece_put(const char *folder, struct str bytes, bool check, struct piece *out,
              uint64_t *written, struct keel_error *err) K_CHECKED;
/* The content, checked, into an empty buffer with max >= BACKUP_PIECE_BYTES. KEEL_E_CORRUPT says
 * how it is damaged, KEEL_E_NOT_FOUND that it is missing. */
int piece_get(const char *folder, const struct piece *p, struct buf *out,
              struct keel_error *err) K_CHECKED;

/* A set of hashes. */
struct piece_set {
    uint8_t (*slots)[BACKUP_HASH_BYTES];
    uint8_t *used;
    size_t n, cap;
};
void piece_set_release(struct piece_set *set);
/* True if it was not in the set. */
bool piece_set_add(struct piece_set *set, const uint8_t hash[BACKUP_HASH_BYTES]);
bool piece_set_has(const struct piece_set *set, const uint8_t hash[BACKUP_HASH_BYTES]);
/* Removes every piece that is not in the set, and unfinished ones. */
int pieces_sweep(const char *folder, const struct piece_set *keep, uint64_t *removed,
                 struct keel_error *err) K_CHECKED;
