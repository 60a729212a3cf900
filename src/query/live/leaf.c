/* Leaves: the elementary conditions of live segments. See track.h. */
#include "query/language/parse.h"
#include "query/language/query_print.h"
#include "query/live/track.h"

bool leaf_moves(const struct leaf *leaf) {
    const struct query_cond *c = leaf->cond;
    const struct query_range *r = c->kind == QUERY_COND_MEASURE ? &c->measure.range : &c->range;
    bool has = c->kind == QUERY_COND_MEASURE || c->kind == QUERY_COND_DID ||
               c->kind == QUERY_COND_FOLLOWED || c->kind == QUERY_COND_FUNNEL;
    return has && r->kind == QUERY_RANGE_LAST;
}

/* The leaf as a question of its own, so that its tree does not hang on anybody's. */
static int take_question(struct leaf *leaf, const struct query_cond *cond, struct keel_error *err) {
    struct buf text;
    buf_init(&text, QUERY_MAX_TEXT);
    int code = buf_add_text(&text, "count customers where ");
    if (code == 0) code = query_print_cond(cond, &text);
    if (code == 0) code = query_parse(buf_str(&text), &leaf->arena, &leaf->asked, NULL, err);
    if (code == 0) leaf->cond = leaf->asked->where;
    buf_release(&text);
    return code;
}

/* A measure over no events at all. */
static struct datum measure_of_nothing(const struct query_measure *m) {
    bool number = m->agg == QUERY_COUNT_OF || m->agg == QUERY_SUM || m->agg == QUERY_UNIQUE;
    return number ? datum_number(0) : datum_null();
}

static int prepare(struct leaf *leaf, const struct time_zone *zone, struct keel_error *err) {
    const struct query_cond *c = leaf->cond;
    if (c->kind == QUERY_COND_DID) leaf->otherwise = c->min == 0;
    if (leaf_moves(leaf))
        ahead_init(&leaf->ahead, zone,
                   c->kind == QUERY_COND_MEASURE ? &c->measure.range : &c->range);
    if (c->kind != QUERY_COND_MEASURE && c->kind != QUERY_COND_TRAIT) return 0;
    struct datum nothing =
        c->kind == QUERY_COND_MEASURE ? measure_of_nothing(&c->measure) : datum_null();
    struct test_scratch scratch = {0};
    TRY(test_compile(&leaf->test, &c->test, zone, &leaf->arena, err));
    leaf->otherwise = test_datum(&leaf->test, &nothing, &scratch);
    test_scratch_release(&scratch);
    return 0;
}

int leaf_new(const struct query_cond *cond, const struct time_zone *zone, struct leaf **out,
             struct keel_error *err) {
    struct leaf *leaf = k_zalloc(sizeof *leaf);
    arena_init(&leaf->arena, (size_t)QUERY_ARENA_BYTES * 2);
    int code = take_question(leaf, cond, err);
    if (code == 0) code = prepare(leaf, zone, err);
    if (code < 0) {
        leaf_free(leaf);
        return code;
    }
    leaf->fresh = true;
    *out = leaf;
    return 0;
}

void leaf_free(struct leaf *leaf) {
    if (!leaf) return;
    test_release(&leaf->test);
    ahead_release(&leaf->ahead);
    arena_release(&leaf->arena);
    k_free(leaf);
}
