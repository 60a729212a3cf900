/* The configuration of a server: one TOML file, and the environment over it.
 *
 *     [server]
 *     listen = "0.0.0.0:7480"        # or KEEL_SERVER_LISTEN=0.0.0.0:7480
 *
 * One table (config_options.c) holds every option with its type, default, range and documentation:
 * reading, `keel config show` and docs/configuration.md come from it. To add one: a field here, a
 * line there.
 *
 * Layers: base/toml.h, base/units.h. Threads: immutable once loaded. Limits: those of toml.h.
 */
#pragma once

#include "base/error.h"
#include "base/output.h"
#include "base/str.h"

enum log_format { LOG_AUTO, LOG_TEXT, LOG_JSON };
enum log_level { LOG_ERROR, LOG_WARNING, LOG_INFO, LOG_DEBUG };

struct config {
    struct arena arena;
    const char *file; /* NULL: none was read */
    struct {
        const char *listen, *cert, *key;
        int64_t threads, workers, connections, connections_per_address;
        int64_t idle_ms, stop_ms;
        int64_t body_bytes, header_bytes, memory_bytes;
        bool trust_proxy, public_metrics;
    } server;
    struct {
        int durability; /* enum journal_durability */
        int64_t interval_ms;
        int64_t head_bytes;
    } store;
    struct {
        int64_t queue_requests, queue_bytes, event_bytes, events, retry_ms;
    } collect;
    struct {
        bool on;
        int64_t keep_days;
    } archive;
    struct {
        int64_t events, bytes;
    } quarantine;
    struct {
        bool allow_private;
    } webhooks;
    struct {
        int addresses;     /* enum client_ip, in the audit log */
        int64_t customers; /* fewer are hidden                 */
    } guard;
    struct {
        int format, level; /* enum log_format, log_level */
        bool requests;
    } log;
};

enum config_type {
    CONFIG_TEXT,     /* const char *                     */
    CONFIG_INTEGER,  /* int64_t                          */
    CONFIG_SIZE,     /* int64_t bytes                    */
    CONFIG_DURATION, /* int64_t milliseconds             */
    CONFIG_FLAG,     /* bool                             */
    CONFIG_CHOICE,   /* int: index of the word in choices */
};

struct config_option {
    const char *section, *name;
    enum config_type type;
    size_t offset;      /* of the field in struct config               */
    const char *preset; /* the default, as it is written               */
    int64_t min, max;   /* of numbers                                  */
    const char *choices;
    const char *doc; /* a sentence or two, without the default      */
};

extern const struct config_option CONFIG_OPTIONS[]; /* ends with an entry without a name */

/* Defaults, then the file (NULL: none), then the environment. Unknown names and values out of range
 * are KEEL_E_SYNTAX with file, line and column, or KEEL_E_INVALID for the environment. */
int config_load(const char *path, struct config **out, struct keel_error *err) K_CHECKED;
/* The same from the text of a file, whose name is `name` in messages; without the environment. */
int config_parse(struct str text, const char *name, struct config **out,
                 struct keel_error *err) K_CHECKED;
void config_free(struct config *config); /* NULL is fine */

/* The whole configuration as a file that config_load reads, each option with its documentation. */
void config_show(const struct config *config, struct output *o);
/* What is not as it is by default: "server.listen=\":80\" archive.on=true". For the audit log. */
void config_differences(const struct config *config, struct buf *out);
/* The options as tables in Markdown: the reference part of docs/configuration.md. */
void config_reference(struct output *o);
