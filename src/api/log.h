/* The server's log: one line a thing that happened, to standard error.
 *
 *     log_say(log, LOG_INFO, "the server listens", "zi", "address", "127.0.0.1", "port",
 * (int64_t)80);
 *
 *   text  2026-11-22T02:00:00.123Z info    the server listens address=127.0.0.1 port=80
 *   JSON  {"time":"2026-11-22T02:00:00.123Z","level":"info","message":"…","address":"…","port":80}
 *
 * What must never be logged: personal data (identifiers, addresses of people and of machines,
 * bodies), secrets (keys, tokens), the query of an address. Routes are logged as patterns.
 *
 * `types` has a letter a pair of name and value: z const char * · s struct str · i int64_t ·
 * d double. Layers: config.h. Threads: any; a line is written in one call. Limits: LOG_LINE_BYTES a
 * line, longer ones are cut.
 */
#pragma once

#include "api/config.h"

enum { LOG_LINE_BYTES = 8 << 10 };

struct log;

/* fd: standard error, or a test's pipe; LOG_AUTO asks whether it is a terminal. */
struct log *log_new(int fd, enum log_format format, enum log_level level);
void log_free(struct log *log); /* NULL is fine */
/* NULL log: nothing happens. */
void log_say(struct log *log, enum log_level level, const char *message, const char *types, ...);
