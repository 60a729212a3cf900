/* Reading a journal record by record, beside the process that writes it: for who follows what was
 * accepted (webhooks) and for who cuts a journal at a moment (restore).
 *
 * A reader never goes beyond the position it is told to: give it journal_durable() and it sees only
 * what survives a power cut.
 *
 * Layers: journal/file.h. Threads: a reader has one owner; the writer may go on. Limits: memory of
 * one window (JOURNAL_WINDOW_BYTES, or the largest record). */
#pragma once

#include "store/journal/journal.h"

struct journal_reader;

/* Opens at `from`, the end of a record or the begin of a file. KEEL_E_NOT_FOUND if the file that
 * holds it has been trimmed; then *out_first (may be NULL) is the oldest position that is left. */
int journal_reader_open(const char *dir, const uint8_t store_id[JOURNAL_ID_BYTES], uint64_t from,
                        struct journal_reader **out, uint64_t *out_first,
                        struct keel_error *err) K_CHECKED;
void journal_reader_close(struct journal_reader *r); /* NULL is fine */

/* 1: the next record that ends at or below `end`, its payload valid until the next call; 0: there
 * is none. KEEL_E_CORRUPT names file and offset. Marks are skipped. */
int journal_reader_next(struct journal_reader *r, uint64_t end, struct journal_record *out,
                        struct keel_error *err) K_CHECKED;
/* Behind the last record given, or the marks behind it. */
uint64_t journal_reader_position(const struct journal_reader *r);
