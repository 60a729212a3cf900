/* The inventory of one generation: text, one fact a line, closed by a checksum over all of it.
 *
 *     keel-backup 1
 *     generation 7
 *     store <32 hex digits>
 *     made 2026-11-22T02:00:00.123Z
 *     journal 4096 9120 1763776800123    positions: the parts hold what lies below the first,
 *                                        the journal files all up to the second; the moment (ms) of
 *                                        the first clock record between them, "-" if there is none
 *     lineage <32 hex digits>            of the restore that the directory comes from; or no line
 *     file 123456 1763776800000000 2024-03 parts/000000000012.part
 *                                        bytes, time of last change (us, 0: none), what, name
 *     piece 123456 <64 hex digits>       of the file above, in order
 *     …
 *     sum <64 hex digits>                BLAKE2b-256 of all bytes above this line
 *
 * Written to disk: lines are only added. Private to backup.c, restore.c.
 *
 * Layers: backup_pieces.h. Threads: one owner. */
#pragma once

#include "customer/backup_pieces.h"

struct inventory_file {
    struct str name;     /* below the data directory; no "..", no leading "/"   */
    struct str what;     /* month of a part; "-": nothing to say                */
    uint64_t generation; /* the one that was read, not stored */
    uint64_t bytes;
    int64_t changed_us;
    size_t first_piece, pieces;
};

enum { LINEAGE_TEXT_BYTES = 33 };
#define BACKUP_LINEAGE "lineage" /* of keel.db's state */

struct inventory {
    uint64_t generation;
    uint8_t store_id[16];
    int64_t made_ms;
    uint64_t journal_from, journal_to;
    int64_t reaches_ms; /* how far back the journal can be cut; INT64_MAX: not at all */
    char lineage[LINEAGE_TEXT_BYTES];
    struct inventory_file *files;
    size_t file_count, file_cap;
    struct piece *pieces;
    size_t piece_count, piece_cap;
    struct arena names;
};

void inventory_init(struct inventory *v);
void inventory_release(struct inventory *v);
/* Pieces added from here on belong to it. */
struct inventory_file *inventory_add_file(struct inventory *v, struct str name, struct str what);
void inventory_add_piece(struct inventory *v, const struct piece *p); /* of the last file */
/* Removes the files whose name begins so. */
void inventory_drop(struct inventory *v, struct str prefix);
/* Adds a file of another inventory. */
void inventory_adopt(struct inventory *v, const struct inventory *from,
                     const struct inventory_file *file);
const struct inventory_file *inventory_find(const struct inventory *v, struct str name);
uint64_t inventory_bytes(const struct inventory *v);
/* The first position of the journal files in it; UINT64_MAX if there is none. */
uint64_t inventory_journal_begin(const struct inventory *v);
/* Does its journal go on where that of `before` ends, or overlap it? Journals of directories that a
 * restore has parted have nothing to do with each other, whatever their positions. */
bool inventory_goes_on(const struct inventory *v, const struct inventory *before);

void inventory_path(const char *folder, uint64_t generation, char out[PIECE_PATH_BYTES]);
int inventory_write(const char *folder, const struct inventory *v,
                    struct keel_error *err) K_CHECKED; /* durable */
/* KEEL_E_CORRUPT names the file and the line. */
int inventory_read(const char *folder, uint64_t generation, struct inventory *out,
                   struct keel_error *err) K_CHECKED;

/* Numbers of all generations in a folder, ascending; the caller frees *out. An absent folder is
 * KEEL_E_NOT_FOUND. */
int inventory_list(const char *folder, uint64_t **out, size_t *out_count,
                   struct keel_error *err) K_CHECKED;
