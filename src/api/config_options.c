/* Every option of the configuration, in the order it is shown.
 * Layers: config.h. Threads: constant data. */
#include "api/config.h"

#include "desk/shield/shield.h"
#include "store/journal/journal.h"

#define FIELD(section, field) offsetof(struct config, section.field)
#define KIB (INT64_C(1) << 10)
#define MIB (INT64_C(1) << 20)
#define GIB (INT64_C(1) << 30)

enum { SECOND = 1000, HOUR = 3600000 };

_Static_assert(JOURNAL_DURABLE_COMMIT == 0 && JOURNAL_DURABLE_INTERVAL == 1,
               "the order of the choices of store.durability");

const struct config_option CONFIG_OPTIONS[] = {
    {"server", "listen", CONFIG_TEXT, FIELD(server, listen), "127.0.0.1:7480", 0, 0, NULL,
     "Address and port: 127.0.0.1:7480, [::1]:7480, or :7480 for every address. Without TLS, "
     "let a proxy on the same machine stand before it."},
    {"server", "cert", CONFIG_TEXT, FIELD(server, cert), "", 0, 0, NULL,
     "TLS: a PEM file with the certificate and those above it, read again on SIGHUP. Empty: no "
     "TLS."},
    {"server", "key", CONFIG_TEXT, FIELD(server, key), "", 0, 0, NULL,
     "TLS: a PEM file with the certificate's private key."},
    {"server", "threads", CONFIG_INTEGER, FIELD(server, threads), "0", 0, 256, NULL,
     "Threads that serve connections. 0: one a processor."},
    {"server", "workers", CONFIG_INTEGER, FIELD(server, workers), "4", 1, 256, NULL,
     "Threads for requests that compute, such as questions; more of them wait."},
    {"server", "max_connections", CONFIG_INTEGER, FIELD(server, connections), "1024", 1, 100000,
     NULL,
     "Open connections; the next ones are answered 503. Each takes a file descriptor; where the "
     "process may open too few, fewer connections are taken."},
    {"server", "max_connections_per_address", CONFIG_INTEGER,
     FIELD(server, connections_per_address), "0", 0, 100000, NULL,
     "Open connections of one address. 0: no limit. Keep 0 behind a proxy."},
    {"server", "idle_timeout", CONFIG_DURATION, FIELD(server, idle_ms), "60s", SECOND, HOUR, NULL,
     "How long a connection may be silent, and how long one request may take to arrive; then "
     "408, or the connection is closed."},
    {"server", "stop_timeout", CONFIG_DURATION, FIELD(server, stop_ms), "30s", 0, HOUR, NULL,
     "How long a stop waits for requests that are under way."},
    {"server", "max_body", CONFIG_SIZE, FIELD(server, body_bytes), "4MiB", KIB, GIB, NULL,
     "Largest body of a request, as sent and decoded; larger ones are answered 413. Some resources "
     "have limits of their own."},
    {"server", "max_header", CONFIG_SIZE, FIELD(server, header_bytes), "32KiB", KIB, MIB, NULL,
     "Largest head of a request (431), half of which the address may take (414). Each connection "
     "has so much memory."},
    {"server", "max_memory", CONFIG_SIZE, FIELD(server, memory_bytes), "256MiB", MIB, 1024 * GIB,
     NULL, "Bodies and replies under way, together; beyond it requests are answered 503."},
    {"server", "trust_proxy", CONFIG_FLAG, FIELD(server, trust_proxy), "false", 0, 0, NULL,
     "Take a client's address from the last entry of X-Forwarded-For, and TLS from "
     "X-Forwarded-Proto. Only behind a proxy that sets them: otherwise anyone may say anything."},
    {"server", "public_metrics", CONFIG_FLAG, FIELD(server, public_metrics), "false", 0, 0, NULL,
     "Answer /metrics without the admin token."},

    {"store", "durability", CONFIG_CHOICE, FIELD(store, durability), "commit", 0, 0,
     "commit|interval",
     "commit: what is acknowledged is on disk. interval: a power cut may take what came since the "
     "last sync."},
    {"store", "interval", CONFIG_DURATION, FIELD(store, interval_ms), "1s", 10, 60 * SECOND, NULL,
     "With durability = \"interval\": time between syncs."},
    {"store", "max_head", CONFIG_SIZE, FIELD(store, head_bytes), "512MiB", 16 * MIB, 64 * GIB, NULL,
     "Memory for the values of events that are in no part yet. Beyond it, or 524,288 events, they "
     "are written to parts while the next ones take as much again."},

    {"collect", "max_queue_requests", CONFIG_INTEGER, FIELD(collect, queue_requests), "16384", 1,
     10000000, NULL, "Requests that wait for the store; the next ones are answered 503."},
    {"collect", "max_queue", CONFIG_SIZE, FIELD(collect, queue_bytes), "256MiB", MIB, 1024 * GIB,
     NULL, "Events that wait for the store, in bytes."},
    {"collect", "max_event", CONFIG_SIZE, FIELD(collect, event_bytes), "1MiB", KIB, 16 * MIB, NULL,
     "Largest event as JSON; larger ones are kept in quarantine. Segment itself takes 32 KiB."},
    {"collect", "max_events", CONFIG_INTEGER, FIELD(collect, events), "50000", 1, 1000000, NULL,
     "Events of one request."},
    {"collect", "retry_after", CONFIG_DURATION, FIELD(collect, retry_ms), "2s", SECOND,
     600 * SECOND, NULL, "When senders that were answered 503 are asked to come again."},

    {"quarantine", "max_events", CONFIG_INTEGER, FIELD(quarantine, events), "1000000", 1,
     1000000000, NULL,
     "Events that may wait in quarantine for a decision. Beyond, requests that would add to it are "
     "answered 503: nothing is dropped."},
    {"quarantine", "max_size", CONFIG_SIZE, FIELD(quarantine, bytes), "1GiB", KIB, 1024 * GIB, NULL,
     "The same in bytes of their JSON."},

    {"archive", "on", CONFIG_FLAG, FIELD(archive, on), "false", 0, 0, NULL,
     "Keep the JSON of accepted events of all sources in DIR/archive. Else of those sources that "
     "were added with --archive. It trails the acknowledgement by up to a second."},
    {"archive", "keep_days", CONFIG_INTEGER, FIELD(archive, keep_days), "0", 0, 36500, NULL,
     "Remove files of the archive that are older. 0: never."},

    {"webhooks", "allow_private", CONFIG_FLAG, FIELD(webhooks, allow_private), "false", 0, 0, NULL,
     "Send webhooks to addresses of this machine and of private networks, too."},

    {"guard", "min_customers", CONFIG_INTEGER, FIELD(guard, customers), "10", 2, SHIELD_K_MAX, NULL,
     "Numbers that stand for fewer customers are hidden from roles without the right to personal "
     "data, and questions that differ by fewer are refused."},
    {"guard", "addresses", CONFIG_CHOICE, FIELD(guard, addresses), "truncate", 0, 0,
     "keep|truncate|drop",
     "Addresses of callers in the audit log: as they are, without their last part, or not at all."},

    {"log", "format", CONFIG_CHOICE, FIELD(log, format), "auto", 0, 0, "auto|text|json",
     "auto: text on a terminal, JSON elsewhere. Logs go to standard error and hold no personal "
     "data, no secrets and no queries of addresses."},
    {"log", "level", CONFIG_CHOICE, FIELD(log, level), "info", 0, 0, "error|warning|info|debug",
     "What is logged: that and everything more important."},
    {"log", "requests", CONFIG_FLAG, FIELD(log, requests), "false", 0, 0, NULL,
     "A line for every request. Failed ones (500 and above) have one anyway."},
    {0},
};
