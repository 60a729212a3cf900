/* The company's KPIs: definitions that both sides share, their tree, and who changed what when.
 *
 * A KPI is one number a period. It is either asked of the engine (a *leaf*):
 *
 *   total of M [among customers where …]   M over the period
 *   count customers [where …]              as of the period's end
 *   funnel A, B [within …] [among …]       share of A's customers who came to the last step, 0 … 1
 *   time from A to B [within …] [among …]  the median, or the one percentile it names, in seconds
 *
 * (a query without range, period and splits: the period is what varies), or made of other KPIs:
 *
 *   sum = ["a", "b", "-c"]   product = ["a", "b"]   ratio = ["a", "b"]   (a / b)
 *
 * so that KPIs form trees. The same KPI may be part of several; nothing may be part of itself.
 *
 * Each change is a version, none is ever altered: kpi_set_load gives the definitions as of any
 * moment. `hash` is of the whole canonical definition; `query_hash` only of what is computed
 * (the canonical query, or the parts' hashes), so that a new owner is no new number.
 *
 * Files (TOML, JSON): docs/kpis.md. Tables in desk.db: kpi_edit, kpi_value (kpi/history.h).
 *
 * Layers: base, query. Threads: a set has one owner; the tables may be used by many.
 * Limits: below.
 */
#pragma once

#include "base/buf.h"
#include "base/sql.h"
#include "query/language/ast.h"

enum {
    KPI_MAX = 500,           /* definitions of a company                                       */
    KPI_MAX_PARTS = 16,      /* of one KPI                                                     */
    KPI_MAX_DEPTH = 12,      /* levels of a tree                                               */
    KPI_MAX_ID = 64,         /* letters a-z, digits, - and _                                   */
    KPI_MAX_NAME = 200,      /* of names, owners; in bytes                                     */
    KPI_MAX_TEXT = 4000,     /* of descriptions                                                */
    KPI_MAX_BYTES = 1 << 20, /* of a file; as JSON or TOML                                  */
    KPI_MAX_DIGITS = 6,
    KPI_HASH_TEXT = 33, /* 128 bits of BLAKE2b as hex, and a NUL */
    KPI_NONE = -1,
};

enum kpi_form { KPI_QUERY, KPI_SUM, KPI_PRODUCT, KPI_RATIO, KPI_FORMS };
enum kpi_unit { KPI_COUNT, KPI_MONEY, KPI_PERCENT, KPI_DURATION, KPI_UNITS };
enum kpi_grain { KPI_DAY, KPI_WEEK, KPI_MONTH, KPI_GRAINS }; /* written to desk.db */
enum kpi_direction { KPI_UP, KPI_DOWN, KPI_DIRECTIONS };

extern const char *const KPI_FORM_NAMES[KPI_FORMS];
extern const char *const KPI_UNIT_NAMES[KPI_UNITS];
extern const char *const KPI_GRAIN_NAMES[KPI_GRAINS];
extern const char *const KPI_DIRECTION_NAMES[KPI_DIRECTIONS];

struct kpi_part {
    struct str id;
    bool minus; /* of a sum */
    int kpi;    /* its place in the set */
};

struct kpi {
    struct str id, name, description;
    struct str owner_marketing, owner_it;
    enum kpi_form form;
    const struct query *query; /* KPI_QUERY                       */
    struct kpi_part *parts;    /* the others                      */
    uint32_t n_parts;
    int levels;          /* below it in its tree            */
    enum kpi_unit unit;  /* percent: values are 0 … 1, duration: seconds             */
    struct str currency; /* of money; "": the company's                              */
    int digits;          /* behind the point, in attributions                        */
    enum kpi_direction direction;
    enum kpi_grain grain; /* how it is usually looked at                              */
    bool has_target, has_low, has_high;
    double target;
    int32_t target_day;
    double low, high; /* guardrails */

    struct str body; /* canonical JSON, without the id */
    char hash[KPI_HASH_TEXT], query_hash[KPI_HASH_TEXT];
    int64_t version, changed_ms;
    struct str who;
    struct str broken; /* "": fine; else why it cannot be computed by this program */
};

struct kpi_set {
    struct arena arena;
    struct kpi *kpi; /* in the order in which they were added */
    uint32_t n;
};

int kpi_tables(struct sql *desk, struct keel_error *err) K_CHECKED;

#define KPI_NOW INT64_MAX
/* The definitions that were in force at that moment. The caller frees, also after an error. */
int kpi_set_load(struct sql *desk, int64_t at_ms, struct kpi_set *out,
                 struct keel_error *err) K_CHECKED;
void kpi_set_free(struct kpi_set *set);
int kpi_find(const struct kpi_set *set, struct str id); /* KPI_NONE: there is none */
/* The same, KEEL_E_NOT_FOUND. */
int kpi_need(const struct kpi_set *set, struct str id, int *out, struct keel_error *err) K_CHECKED;
/* Is it a part of no other? */
bool kpi_is_root(const struct kpi_set *set, int kpi);

enum kpi_put { KPI_ADD = 1, KPI_REPLACE = 2 }; /* both: whichever it takes */
struct kpi_change {
    struct str who;
    int64_t at_ms;
    unsigned how;    /* enum kpi_put; KEEL_E_EXISTS, KEEL_E_NOT_FOUND                */
    int64_t must_be; /* the version that is edited; another: KEEL_E_CONFLICT; 0: any */
    /* May this one ask that question at all? NULL: he may. */
    int (*admit)(void *ctx, const struct query *q, struct keel_error *err);
    void *admit_ctx;
};
/* One definition, as a JSON object or TOML; `id` "": it says its own. The same definition again is
 * no new version. *out_id (of the arena) may be NULL. */
int kpi_put(struct sql *desk, struct str text, struct str id, const struct kpi_change *change,
            struct arena *arena, struct str *out_id, struct keel_error *err) K_CHECKED;

struct kpi_applied {
    uint32_t added, changed, same, touchpoints;
};
/* A file of definitions ([kpi.ID], [touchpoint.NAME]): all or none. What it does not name stays. */
int kpi_apply(struct sql *desk, struct str text, const char *name, const struct kpi_change *change,
              struct kpi_applied *out, struct keel_error *err) K_CHECKED;
/* Its values and versions stay. KEEL_E_CONFLICT while another is made of it. */
int kpi_remove(struct sql *desk, struct str id, const struct kpi_change *change,
               struct keel_error *err) K_CHECKED;

struct kpi_edit {
    int64_t version, at_ms;
    struct str who, body; /* body.p NULL: removed */
};
/* All versions, newest first. */
int kpi_edits(struct sql *desk, struct str id, uint32_t limit,
              int (*each)(void *ctx, const struct kpi_edit *edit), void *ctx,
              struct keel_error *err) K_CHECKED;

/* {"id":…,"version":…,"hash":…, the members of the file …} without the closing brace */
void kpi_json_open(const struct kpi *kpi, struct buf *out);
