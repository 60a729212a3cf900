/* SQLite's files through base/os.h, so that a test that fails, tears, forgets or counts calls
 * reaches keel.db as it reaches every other file.
 *
 * A VFS over SQLite's own one: database, journal and WAL are opened once more through the table in
 * use, and every read, write, cut, sync and removal goes there; names, locks and shared memory stay
 * with the VFS below. The folder is synced when a new journal or WAL is first synced, as SQLite's
 * own VFS does. Shared memory (keel.db-shm) is rebuilt after a crash and needs no model.
 *
 * Layers: base/os.h, sqlite. Threads: as SQLite's VFS; one process per database, because closing a
 * second descriptor drops POSIX locks.
 */
#pragma once

void sqlite_os_start(void); /* the default VFS from now on; open no database before */
void sqlite_os_stop(void);
