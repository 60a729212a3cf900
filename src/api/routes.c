/* The list of tables: the one place that names them all, in the order of the OpenAPI document.
 * Layers: server.h. Threads: constant data. */
#include "api/routes.h"

#define EACH_TABLE(T)                                                                              \
    T(health)                                                                                      \
    T(openapi)                                                                                     \
    T(metrics)                                                                                     \
    T(dialect_segment)                                                                             \
    T(dialect_rudder)                                                                              \
    T(dialect_jitsu)                                                                               \
    T(source_api)                                                                                  \
    T(plan_api)                                                                                    \
    T(quarantine_api)                                                                              \
    T(fate_api)                                                                                    \
    T(kpi_api)                                                                                     \
    T(query)                                                                                       \
    T(question_api)                                                                                \
    T(schema_api)                                                                                  \
    T(profile)                                                                                     \
    T(profile_segments)                                                                            \
    T(segments_api)                                                                                \
    T(segments_export)                                                                             \
    T(segments_members)                                                                            \
    T(segments_stream)                                                                             \
    T(export_api)                                                                                  \
    T(webhook_api)                                                                                 \
    T(backup_api)                                                                                  \
    T(session_api)                                                                                 \
    T(user_api)                                                                                    \
    T(key_api)                                                                                     \
    T(audit_api)                                                                                   \
    T(static)

#define DECLARE(name) extern const struct route routes_##name[];
#define ENTRY(name) routes_##name,

EACH_TABLE(DECLARE)

const struct route *const ROUTES[] = {EACH_TABLE(ENTRY) NULL};
