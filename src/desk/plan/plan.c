/* Forms of the tracking plan: making, compiling, counting, look-ups; the plan in force and its
 * versions in desk.db. See plan.h.
 *
 * Compiling: each event gets a table of names. Besides the planned properties it holds their front
 * parts up to each dot, because what arrives may be an object (its members come one by one with
 * dots) or a list of line items (their members come without the list's name in front).
 *
 * Layers: base, PCRE2. Threads: `lock` guards the pointer to the form in force; holders are counted
 * atomically, and the plan itself is one of them. Limits: plan.h.
 */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "desk/plan/plan_int.h"

#include <pcre2.h>
#include <pthread.h>

enum { MAX_DOTS = 16, ARENA_BYTES = 64 << 20 };

const char *const PLAN_TYPE_NAMES[PLAN_TYPES] = {"any",     "string", "number", "integer",
                                                 "boolean", "time",   "list",   "json"};
const char *const PLAN_CLASS_NAMES[PLAN_CLASSES] = {"unclassed", "public", "internal", "personal",
                                                    "sensitive"};
const char *const PLAN_STATUS_NAMES[PLAN_STATUSES] = {"planned", "live", "retired"};
const char *const PLAN_KIND_NAMES[PLAN_KINDS] = {"event", "identify", "group",
                                                 "page",  "screen",   "context"};
const char *const PLAN_VIOLATION_SLUGS[PLAN_V_CODES] = {
#define PLAN_SLUG(name, slug) slug,
    PLAN_VIOLATIONS(PLAN_SLUG)
#undef PLAN_SLUG
};

enum plan_kind plan_kind_of(enum event_type type) {
    switch (type) {
    case EVENT_TRACK: return PLAN_EVENT;
    case EVENT_IDENTIFY: return PLAN_IDENTIFY;
    case EVENT_GROUP: return PLAN_GROUP;
    case EVENT_PAGE: return PLAN_PAGE;
    case EVENT_SCREEN: return PLAN_SCREEN;
    case EVENT_ALIAS:
    case EVENT_TYPES: break;
    }
    return PLAN_KINDS;
}

/* ---- forms ---- */

struct plan_form *plan_form_new(void) {
    struct plan_form *form = k_zalloc(sizeof *form);
    form->private = k_zalloc(sizeof *form->private);
    arena_init(&form->private->arena, ARENA_BYTES);
    atomic_init(&form->private->holders, 1);
    return form;
}

void plan_form_free(struct plan_form *form) {
    if (!form) return;
    for (uint32_t i = 0; i < form->event_count; i++) {
        const struct plan_rules *rules = form->events[i].rules;
        for (uint32_t k = 0; rules && k < rules->node_count; k++)
            pcre2_code_free(rules->nodes[k].pattern);
    }
    arena_release(&form->private->arena);
    k_free(form->private);
    k_free(form);
}

void plan_drop(const struct plan_form *form) {
    if (form && atomic_fetch_sub(&form->private->holders, 1) == 1)
        plan_form_free((struct plan_form *)form);
}

/* ---- tables of names ---- */

static uint32_t slots_for(uint32_t n) {
    uint32_t slots = 8;
    while (slots < n * 2) slots *= 2;
    return slots;
}

static struct plan_slot *slot_of(const struct plan_rules *rules, struct str name, uint64_t hash) {
    uint32_t i = (uint32_t)hash & rules->slot_mask;
    while (rules->slots[i].node &&
           (rules->slots[i].hash != hash || !str_eq(rules->slots[i].node->name, name)))
        i = (i + 1) & rules->slot_mask;
    return &rules->slots[i];
}

const struct plan_node *plan_node_find(const struct plan_rules *rules, struct str name) {
    return slot_of(rules, name, hash_str(name))->node;
}

static struct plan_node *node_add(struct plan_rules *rules, struct str name) {
    uint64_t hash = hash_str(name);
    struct plan_slot *slot = slot_of(rules, name, hash);
    if (slot->node) return &rules->nodes[slot->node->number];
    struct plan_node *node = &rules->nodes[rules->node_count];
    *node = (struct plan_node){.name = name, .number = rules->node_count++};
    *slot = (struct plan_slot){hash, node};
    return node;
}

static uint32_t dots_in(struct str name) {
    uint32_t dots = 0;
    for (size_t i = 0; i < name.n; i++) dots += name.p[i] == '.';
    return dots;
}

/* Front parts of a name, shortest first: 1 and *part, 0 at the end. */
static bool next_front(struct str name, size_t *at, struct str *part) {
    while (*at < name.n && name.p[*at] != '.') ++*at;
    if (*at == name.n) return false;
    *part = (struct str){name.p, (*at)++};
    return true;
}

static void *pattern_alloc(PCRE2_SIZE n, void *ctx) {
    (void)ctx;
    return k_try_alloc(n);
}

static void pattern_free(void *p, void *ctx) {
    (void)ctx;
    k_free(p);
}

static int compile_pattern(struct plan_node *node, const char *where, struct str event,
                           struct keel_error *err) {
    struct str text = node->property->pattern;
    int why = 0;
    PCRE2_SIZE at = 0;
    pcre2_general_context *general =
        pcre2_general_context_create(pattern_alloc, pattern_free, NULL);
    pcre2_compile_context *ctx = general ? pcre2_compile_context_create(general) : NULL;
    if (ctx)
        node->pattern = pcre2_compile((PCRE2_SPTR)text.p, text.n,
                                      PCRE2_UTF | PCRE2_MATCH_INVALID_UTF, &why, &at, ctx);
    pcre2_compile_context_free(ctx);
    pcre2_general_context_free(general);
    if (!ctx) FAIL(err, NO_MEMORY, "%s: too little memory for a pattern", where);
    if (!node->pattern) {
        PCRE2_UCHAR said[200];
        pcre2_get_error_message(why, said, sizeof said);
        FAIL(err, SYNTAX, "%s: \"%.*s\", property \"%.*s\": pattern: %s at character %zu", where,
             STR_ARG(event), STR_ARG(node->property->name), (const char *)said, (size_t)at + 1);
    }
    (void)pcre2_jit_compile(node->pattern, PCRE2_JIT_COMPLETE); /* absent: interpreted */
    return 0;
}

/* Is a front part of the name planned as a list? Then what is required of it is required of the
 * line items, and only if there are any. */
static bool within_list(const struct plan_rules *rules, struct str name) {
    struct str part;
    for (size_t at = 0; next_front(name, &at, &part);) {
        const struct plan_node *node = plan_node_find(rules, part);
        if (node && node->property && node->property->type == PLAN_LIST) return true;
    }
    return false;
}

/* The required properties below each front part, side by side. */
static void collect_children(struct plan_rules *rules, struct arena *arena, uint32_t most) {
    uint32_t *children = arena_alloc(arena, ((size_t)most + 1) * sizeof *children), n = 0;
    for (uint32_t i = 0; i < rules->node_count; i++) {
        struct plan_node *node = &rules->nodes[i];
        node->child_first = n;
        for (uint32_t k = 0; k < rules->node_count; k++) {
            const struct plan_node *below = &rules->nodes[k];
            if (!below->property || below->name.n <= node->name.n ||
                below->name.p[node->name.n] != '.' || !str_starts(below->name, node->name))
                continue;
            node->has_below = true;
            if (!below->property->required) continue;
            K_ASSERT(n < most); /* a property is below each of its dots, once */
            children[n++] = k;
        }
        node->child_count = n - node->child_first;
    }
    rules->children = children;
}

static int compile_event(struct arena *arena, struct plan_event *event, const char *where,
                         struct keel_error *err) {
    struct plan_rules *rules = arena_zalloc(arena, sizeof *rules);
    uint32_t most = event->property_count, fronts = 0;
    for (uint32_t i = 0; i < event->property_count; i++) {
        uint32_t dots = dots_in(event->properties[i].name);
        if (dots > MAX_DOTS)
            FAIL(err, INVALID, "%s: \"%.*s\", property \"%.*s\" has more than %d dots", where,
                 STR_ARG(event->name), STR_ARG(event->properties[i].name), MAX_DOTS);
        most += dots;
        fronts += dots;
    }
    uint32_t slots = slots_for(most + 1);
    rules->nodes = arena_zalloc(arena, ((size_t)most + 1) * sizeof *rules->nodes);
    rules->slots = arena_zalloc(arena, slots * sizeof *rules->slots);
    rules->slot_mask = slots - 1;
    event->rules = rules; /* from here on plan_form_free sees the patterns */
    for (uint32_t i = 0; i < event->property_count; i++) {
        const struct plan_property *p = &event->properties[i];
        struct plan_node *node = node_add(rules, p->name);
        if (node->property)
            FAIL(err, INVALID, "%s: \"%.*s\" plans \"%.*s\" twice", where, STR_ARG(event->name),
                 STR_ARG(p->name));
        node->property = p;
        if (p->pattern.n) TRY(compile_pattern(node, where, event->name, err));
        struct str part;
        for (size_t at = 0; next_front(p->name, &at, &part);) node_add(rules, part);
    }
    uint32_t *needed = arena_alloc(arena, ((size_t)event->property_count + 1) * sizeof *needed);
    for (uint32_t i = 0; i < rules->node_count; i++) {
        struct plan_node *node = &rules->nodes[i];
        bool required = node->property && node->property->required;
        if (required && !within_list(rules, node->name)) needed[rules->needed_count++] = i;
    }
    rules->needed = needed;
    collect_children(rules, arena, fronts);
    return 0;
}

static uint32_t event_slot(const struct plan_form_private *p, struct str name) {
    uint32_t i = (uint32_t)hash_str(name) & p->slot_mask;
    while (p->slots[i] && !str_eq(p->slots[i]->name, name)) i = (i + 1) & p->slot_mask;
    return i;
}

int plan_form_finish(struct plan_form *form, const char *where, struct keel_error *err) {
    struct plan_form_private *p = form->private;
    uint32_t slots = slots_for(form->event_count + 1);
    p->slots = arena_zalloc(&p->arena, slots * sizeof *p->slots);
    p->slot_mask = slots - 1;
    for (uint32_t i = 0; i < form->event_count; i++) {
        struct plan_event *event = &p->events[i];
        TRY(compile_event(&p->arena, event, where, err));
        if (event->kind != PLAN_EVENT) {
            p->of_kind[event->kind] = event;
            continue;
        }
        uint32_t slot = event_slot(p, event->name);
        if (p->slots[slot])
            FAIL(err, INVALID, "%s: the event \"%.*s\" is planned twice", where,
                 STR_ARG(event->name));
        p->slots[slot] = event;
    }
    return 0;
}

const struct plan_event *plan_find(const struct plan_form *form, enum plan_kind kind,
                                   struct str name) {
    const struct plan_form_private *p = form->private;
    if (kind == PLAN_KINDS) return NULL;
    return kind == PLAN_EVENT ? p->slots[event_slot(p, name)] : p->of_kind[kind];
}

const struct plan_property *plan_property(const struct plan_event *event, struct str name) {
    const struct plan_node *node = plan_node_find(event->rules, name);
    return node ? node->property : NULL;
}

int plan_read(struct str text, const char *name, const struct plan_form **out,
              struct keel_error *err) {
    struct plan_form *form = plan_form_new();
    int code = plan_form_read(form, text, name, err);
    if (code == 0) code = plan_form_finish(form, name, err);
    if (code < 0) {
        plan_form_free(form);
        return code;
    }
    *out = form;
    return 0;
}

/* ---- the plan in force ---- */

struct plan {
    struct sql *desk;
    pthread_mutex_t lock;
    const struct plan_form *form;
};

static const char *const STEPS[] = {
    "CREATE TABLE plan_version("
    " version INTEGER PRIMARY KEY, at_ms INTEGER NOT NULL, who TEXT NOT NULL,"
    " events INTEGER NOT NULL, body TEXT NOT NULL)",
};

const struct plan_form *plan_take(struct plan *plan) {
    pthread_mutex_lock(&plan->lock);
    const struct plan_form *form = plan->form;
    atomic_fetch_add(&form->private->holders, 1);
    pthread_mutex_unlock(&plan->lock);
    return form;
}

/* Unless a newer one was faster. Takes the form. */
static void put_in_force(struct plan *plan, const struct plan_form *form) {
    pthread_mutex_lock(&plan->lock);
    const struct plan_form *out = form;
    if (form->version >= plan->form->version) {
        out = plan->form;
        plan->form = form;
    }
    pthread_mutex_unlock(&plan->lock);
    plan_drop(out);
}

int plan_read_version(struct plan *plan, int64_t version, const struct plan_form **out,
                      struct keel_error *err) {
    struct sql_rows rows;
    TRY(sql_ask(plan->desk, &rows, err, "SELECT body FROM plan_version WHERE version = ?", "i",
                version));
    const struct plan_form *form = NULL;
    int code = sql_next(&rows, err);
    if (code == 0)
        code = error_set(err, KEEL_E_NOT_FOUND, "the plan has no version %lld", (long long)version);
    else if (code == 1)
        code = plan_read(sql_str(&rows, 0), "desk.db: plan_version", &form, err);
    sql_done(&rows);
    if (code < 0 || !form) return code;
    ((struct plan_form *)form)->version = version; /* nobody else has it yet */
    *out = form;
    return 0;
}

int plan_refresh(struct plan *plan, struct keel_error *err) {
    int64_t newest;
    TRY(sql_number(plan->desk, 0, &newest, err, "SELECT max(version) FROM plan_version", ""));
    const struct plan_form *form = plan_take(plan);
    int64_t version = form->version;
    plan_drop(form);
    if (newest == version) return 0;
    TRY(plan_read_version(plan, newest, &form, err));
    put_in_force(plan, form);
    return 0;
}

int plan_open(struct sql *desk, struct plan **out, struct keel_error *err) {
    struct plan_form *empty;
    TRY(sql_migrate(desk, "plan", STEPS, sizeof STEPS / sizeof *STEPS, err));
    empty = plan_form_new();
    int code = plan_form_finish(empty, "the empty plan", err);
    K_ASSERT(code == 0);
    struct plan *plan = k_zalloc(sizeof *plan);
    plan->desk = desk;
    pthread_mutex_init(&plan->lock, NULL);
    plan->form = empty;
    code = plan_refresh(plan, err);
    if (code < 0) {
        plan_close(plan);
        return code;
    }
    *out = plan;
    return 0;
}

void plan_close(struct plan *plan) {
    if (!plan) return;
    plan_drop(plan->form);
    pthread_mutex_destroy(&plan->lock);
    k_free(plan);
}

/* Within a transaction: writes the form as a new version, unless the newest is the same. */
static int add_version(struct plan *plan, struct plan_form *form, struct str body, struct str who,
                       int64_t at_ms, bool *same, struct keel_error *err) {
    int64_t newest, equal;
    TRY(sql_number(plan->desk, 0, &newest, err, "SELECT max(version) FROM plan_version", ""));
    TRY(sql_number(plan->desk, 0, &equal, err,
                   "SELECT 1 FROM plan_version WHERE version = ? AND body = ?", "is", newest,
                   body));
    *same = equal == 1;
    form->version = *same ? newest : newest + 1;
    if (*same) return 0;
    return sql_run(plan->desk, err,
                   "INSERT INTO plan_version(version, at_ms, who, events, body)"
                   " VALUES(?, ?, ?, ?, ?)",
                   "iisis", form->version, at_ms, who, (int64_t)form->event_count, body);
}

int plan_import(struct plan *plan, struct str text, const char *name, struct str who, int64_t at_ms,
                int64_t *out_version, struct keel_error *err) {
    const struct plan_form *form;
    struct buf body;
    bool same = false;
    TRY(plan_read(text, name, &form, err));
    buf_init(&body, (size_t)PLAN_MAX_BYTES * 4);
    int code = plan_write_json(form, &body);
    if (code < 0)
        error_set(err, (enum keel_code) - code, "%s: the plan is larger than %d bytes as JSON",
                  name, PLAN_MAX_BYTES * 4);
    if (code == 0) code = sql_begin(plan->desk, err);
    if (code == 0)
        code = sql_end(
            plan->desk,
            add_version(plan, (struct plan_form *)form, buf_str(&body), who, at_ms, &same, err),
            err);
    buf_release(&body);
    if (code < 0) {
        plan_drop(form);
        return code;
    }
    *out_version = form->version;
    plan_drop(form);
    return plan_refresh(plan, err);
}

int plan_versions(struct plan *plan, uint32_t limit,
                  void (*each)(void *ctx, int64_t version, int64_t at_ms, struct str who,
                               int64_t events),
                  void *ctx, struct keel_error *err) {
    struct sql_rows rows;
    int code;
    TRY(sql_ask(plan->desk, &rows, err,
                "SELECT version, at_ms, who, events FROM plan_version ORDER BY version DESC"
                " LIMIT ?",
                "i", (int64_t)limit));
    while ((code = sql_next(&rows, err)) == 1)
        each(ctx, sql_i64(&rows, 0), sql_i64(&rows, 1), sql_str(&rows, 2), sql_i64(&rows, 3));
    sql_done(&rows);
    return code;
}
