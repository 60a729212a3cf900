/* What the grammar's actions call: the builder of a query from tokens.
 *
 * The builder owns the query under construction and the first error. After an error its functions
 * go on returning usable nodes; the parser stops at the next token.
 *
 * Layers: token.h, tree.h; used by grammar.y and parse.c only. Threads: one owner.
 */
#pragma once

#include "query/language/token.h"
#include "query/language/tree.h"

struct query_builder {
    struct arena *arena;
    const char *text; /* NUL-terminated, in the arena */
    struct query *q;
    struct query_pos at;              /* of the token that is being fed             */
    struct query_pos range_at;        /* of the range built last                    */
    const struct query_cond *counted; /* the condition that got its count last */
    uint32_t clauses;                 /* bit per clause that was seen               */
    struct query_pos over_at;
    enum query_unit over_unit;
    uint32_t over;
    bool failed;
    struct query_pos bad;
    char message[400];
};

typedef const struct query_token *query_tok; /* what Lemon passes around */

/* A list while it grows; items are copied in. */
struct build_list {
    void *items;
    uint32_t n;
};

/* Clauses may follow a form in any order, each at most once. */
enum build_clause {
    CLAUSE_RANGE,
    CLAUSE_PERIOD,
    CLAUSE_SPLIT,
    CLAUSE_RANK,
    CLAUSE_WITHIN,
    CLAUSE_LIMIT,
    CLAUSE_AMONG,
    CLAUSE_OVER,
    CLAUSE_GAP,
    CLAUSE_HALF_LIFE,
    CLAUSE_SAME,
    CLAUSE_COLUMNS,
    CLAUSE_ORDER,
    CLAUSE_PERCENTILES,
    CLAUSE_WITHOUT,
    CLAUSE_STARTING,
    CLAUSE_ENDING,
    CLAUSE_RECENCY,
    CLAUSE_FREQUENCY,
    CLAUSE_VALUE,
    CLAUSE_CHANGE,
    CLAUSE_SUPPORT,
    CLAUSES
};
/* Forms (1 << enum query_form) that take a clause. */
extern const uint32_t build_clause_forms[CLAUSES];

void build_fail(struct query_builder *b, struct query_pos at, const char *format, ...)
    K_PRINTF(3, 4);
struct query_pos build_pos(query_tok t);

void *build_new(struct query_builder *b, size_t bytes); /* zeroed, in the arena */
struct build_list *build_add(struct query_builder *b, struct build_list *list, const void *item,
                             size_t bytes);

/* Literals. */
struct str build_string(struct query_builder *b, query_tok t);
double build_number(struct query_builder *b, query_tok t);
uint32_t build_whole(struct query_builder *b, query_tok t, uint32_t least, uint32_t most);
enum query_unit build_unit(query_tok t);
struct query_duration *build_duration(struct query_builder *b, query_tok n, query_tok unit);
struct query_time *build_moment(struct query_builder *b, query_tok t);
struct query_value *build_value(struct query_builder *b, query_tok t);

/* Ranges. */
struct query_range *build_span(struct query_builder *b, query_tok word,
                               const struct query_time *from, const struct query_time *to);
struct query_range *build_last(struct query_builder *b, query_tok word, query_tok n,
                               query_tok unit);
/* t: a day, month or year */
struct query_range *build_in(struct query_builder *b, query_tok word, query_tok t);

/* Properties, filters, events, measures. rest: a DOTNAME or NULL. */
struct query_prop *build_prop(struct query_builder *b, query_tok name, query_tok rest);
struct query_prop *build_trait(struct query_builder *b, struct query_prop *prop);
struct query_test *build_test(struct query_builder *b, enum query_op op, struct build_list *values);
struct query_test *build_test1(struct query_builder *b, enum query_op op, query_tok value);
struct query_filter *build_filter(struct query_builder *b, enum query_over over,
                                  const struct query_prop *prop, const struct query_test *test);
struct query_event *build_event(struct query_builder *b, enum query_event_kind kind, query_tok word,
                                query_tok name);
struct query_measure *build_measure(struct query_builder *b, enum query_agg agg, query_tok word,
                                    const struct query_event *event, query_tok prop);
/* The measure that an aggregate's word makes of event and property. */
struct query_measure *build_called(struct query_measure *m, query_tok word);

/* Conditions: a zeroed leaf of a kind; the grammar fills it and ends with build_leaf. */
struct query_cond *build_cond(struct query_builder *b, enum query_cond_kind kind, query_tok word);
struct query_cond *build_cond_test(struct query_cond *c, const struct query_test *test);
struct query_cond *build_segment(struct query_builder *b, query_tok name);
struct query_funnel *build_funnel(struct query_builder *b, const struct build_list *steps,
                                  bool any_order);
void build_times(struct query_builder *b, struct query_cond *c, query_tok word, uint32_t min,
                 uint32_t max);
void build_cond_range(struct query_builder *b, struct query_cond *c,
                      const struct query_range *range);
struct query_term *build_term(struct query_builder *b, enum query_term_kind kind,
                              const struct query_prop *prop, const struct query_measure *measure);

struct query_term *build_member(struct query_builder *b, query_tok segment);

/* True if the form takes the clause and has not got it yet; else the error is set. word: NULL for a
 * range, whose place is known. */
bool build_clause(struct query_builder *b, enum build_clause clause, query_tok word);
void build_within(struct query_builder *b, query_tok word, const struct query_duration *d);
void build_splits(struct query_builder *b, query_tok word, const struct build_list *terms);
void build_rank(struct query_builder *b, query_tok word, enum query_rank rank,
                const struct query_prop *prop);
void build_numbers(struct query_builder *b, query_tok word, enum build_clause clause,
                   const struct build_list *numbers);

/* What only the whole query shows: defaults, `over` against `by`. */
void build_finish(struct query_builder *b);

/* The parser that Lemon makes of grammar.y. */
void *query_grammar_new(struct query_builder *b);
void query_grammar_free(void *parser);
int query_grammar_codes(void); /* tokens have codes below this; 0 is the end */
void query_grammar_feed(void *parser, int code, query_tok token);
/* Whether the grammar could go on with this token: tried on a copy of the stack. */
bool query_grammar_accepts(const void *parser, int code);
