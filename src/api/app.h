/* What the resources of the API work on: made by `keel serve`, given to every handler as its ctx.
 *
 *   DIR/desk.db   sources, tracking plan, quarantine, webhooks: what people set, beside the events
 *
 * Layers: every room above. Threads: the pointers are set before the server starts. */
#pragma once

struct app {
    const char *dir;
    const struct config *config;
    struct log *log;
    struct metrics *metrics; /* who counts something registers here (metrics.h)      */
    struct db *db;
    struct sql *desk;
    struct server *server;
    const struct token *token;     /* of the administrator (guard/token.h)                 */
    struct guard *guard;           /* accounts, sessions, keys (guard/guard.h)             */
    struct shield *shield;         /* for who may not see personal data (desk/shield/shield.h)    */
    struct audit *audit;           /* who did what (guard/audit.h)                         */
    struct sources *sources;       /* write keys and what each may do (source.h)           */
    struct plan *plan;             /* the tracking plan in force (desk/plan/plan.h)             */
    struct quarantine *quarantine; /* what broke it (quarantine.h)                         */
    struct fate *fate;             /* what became of every event (fate.h)                  */
    struct tail *tail;             /* the same, live (tail.h)                              */
    struct collector *collector;   /* from a request to the journal (collect.h)            */
    struct webhooks *webhooks;     /* what goes out (reach/webhook.h)                      */
    struct kpi_clock *kpi_clock;   /* computes KPIs by itself (desk/kpi/clock.h)           */
    struct audiences *audiences; /* saved segments, live (desk/audience/audiences.h)              */
    struct changes *changes;     /* who enters and leaves them, streamed (changes.h)     */
    struct outgoing *outgoing;   /* archive, backups, exports (outgoing.h)               */
};
