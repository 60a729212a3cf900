/* The grammar of the query language (Lemon, LALR(1), no conflicts).
 *
 * Two decisions are not visible in the rules:
 *   - `and` and `or` come as AND, OR between conditions of the customer and as AND_IN, OR_IN inside
 *     a filter of an event or a `between`; parse.c tells them apart by the word behind.
 *   - A range, a count or `within` belongs to the condition directly before it, if that can take
 *     it: the precedences below shift instead of ending the condition.
 *
 * Layers: build.h. Threads: one parser, one owner. Limits: the stack below; deeper nesting is an
 * error, never a larger stack.
 */
%name query_yy
%token_prefix QT_
%token_type {query_tok}
%extra_context {struct query_builder *b}
%stack_size 600
%stack_overflow { build_fail(b, b->at, "this is nested too deeply"); }
%syntax_error { (void)yyminor; K_ASSERT_OP(yymajor, <, 0); /* accepts() was asked before */ }

%include {
#include "query/language/build.h"

#define NEW(type, name) type *name = build_new(b, sizeof(type))
#define ADD(list, item) build_add(b, list, item, sizeof *(item))
#define NO_TOKEN ((query_tok)NULL)
}

%nonassoc LOWEST.
%nonassoc SINCE BEFORE FROM DURING ON IN WITHIN AT EXACTLY BETWEEN.

%type event {struct query_event *}
%type event_head {struct query_event *}
%type of_event {struct query_event *}
%type events {struct build_list *}
%type of_events {struct build_list *}
%type lifecycle {struct build_list *}
%type filter {struct query_filter *}
%type filter_and {struct query_filter *}
%type filter_not {struct query_filter *}
%type where_opt {struct query_filter *}
%type prop {struct query_prop *}
%type props {struct build_list *}
%type over {enum query_over}
%type test {struct query_test *}
%type values {struct build_list *}
%type range {struct query_range *}
%type moment {struct query_time *}
%type duration {struct query_duration *}
%type durations {struct build_list *}
%type numbers {struct build_list *}
%type measure {struct query_measure *}
%type event_prop {struct query_measure *}
%type trend_measure {struct query_measure *}
%type trend_measures {struct build_list *}
%type term {struct query_term *}
%type terms {struct build_list *}
%type order_term {struct query_term *}
%type order_terms {struct build_list *}
%type cond {struct query_cond *}
%type cond_and {struct query_cond *}
%type cond_not {struct query_cond *}
%type cond_atom {struct query_cond *}
%type cond_tail {struct query_cond *}
%type did_open {struct query_cond *}
%type steps {struct query_funnel *}
%type ordered {struct query_funnel *}
%type side {struct query_cond *}
%type start {enum query_start}
%type model {enum query_model}
%type op {enum query_op}

input ::= head clauses. { build_finish(b); }

/* ---- forms ---- */

head ::= COUNT CUSTOMERS.               { b->q->form = QUERY_COUNT; }
head ::= COUNT CUSTOMERS WHERE cond(C). { b->q->form = QUERY_COUNT; b->q->where = C; }
head ::= COUNT(T) EVENTS of_event(E). {
    b->q->form = QUERY_TREND;
    struct build_list *list = ADD(NULL, build_measure(b, QUERY_COUNT_OF, T, E, NO_TOKEN));
    b->q->trend.measures = list->items;
    b->q->trend.n_measures = list->n;
}
head ::= LIST CUSTOMERS.                { b->q->form = QUERY_LIST; }
head ::= LIST CUSTOMERS WHERE cond(C).  { b->q->form = QUERY_LIST; b->q->where = C; }
head ::= FUNNEL ordered(F). {
    b->q->form = QUERY_FUNNEL;
    b->q->funnel = *F;
}
ordered(R) ::= events(L).           { R = build_funnel(b, L, false); }
ordered(R) ::= ANY ORDER events(L). { R = build_funnel(b, L, true); }
head ::= RETENTION FROM start(S) event(A) TO event(B). {
    b->q->form = QUERY_RETENTION;
    b->q->retention.start = S;
    b->q->retention.from = *A;
    b->q->retention.to = *B;
}
head ::= REPEAT OF event(E). {
    b->q->form = QUERY_REPEAT;
    b->q->repeat.event = *E;
}
head ::= LIFECYCLE OF lifecycle(L). {
    b->q->form = QUERY_LIFECYCLE;
    b->q->lifecycle.events = L->items;
    b->q->lifecycle.n_events = L->n;
}
lifecycle(R) ::= events(L). { R = L; }
lifecycle(R) ::= CUSTOMERS(T). { R = ADD(NULL, build_event(b, QUERY_EVENT_ANY, T, NO_TOKEN)); }
head ::= trend_or_total OF trend_measures(L). {
    b->q->form = QUERY_TREND;
    b->q->trend.measures = L->items;
    b->q->trend.n_measures = L->n;
}
head ::= TIME FROM start(S) event(A) TO event(B). {
    b->q->form = QUERY_TIME;
    b->q->time.start = S;
    b->q->time.from = *A;
    b->q->time.to = *B;
}
head ::= PATHS OF NUMBER(N) EVENTS of_events(L). {
    b->q->form = QUERY_PATHS;
    b->q->paths.length = build_whole(b, N, 2, QUERY_MAX_PATH);
    b->q->paths.alphabet = L->items;
    b->q->paths.n_alphabet = L->n;
}
head ::= ATTRIBUTE measure(M) TO model(D) events(L). {
    b->q->form = QUERY_ATTRIBUTE;
    b->q->attribute.measure = *M;
    b->q->attribute.model = D;
    b->q->attribute.touches = L->items;
    b->q->attribute.n_touches = L->n;
}
head ::= ATTRIBUTE EVENTS(T) of_event(E) TO model(D) events(L). {
    b->q->form = QUERY_ATTRIBUTE;
    b->q->attribute.measure = *build_measure(b, QUERY_COUNT_OF, T, E, NO_TOKEN);
    b->q->attribute.model = D;
    b->q->attribute.touches = L->items;
    b->q->attribute.n_touches = L->n;
}
head ::= SESSIONS of_events(L). {
    b->q->form = QUERY_SESSIONS;
    b->q->sessions.alphabet = L->items;
    b->q->sessions.n_alphabet = L->n;
}
head ::= RFM OF event(E). {
    b->q->form = QUERY_RFM;
    b->q->rfm.event = *E;
}
head ::= TOP NUMBER(N) event_prop(P). {
    b->q->form = QUERY_TOP;
    b->q->limit = build_whole(b, N, 1, QUERY_MAX_LIMIT);
    b->q->top.event = P->event;
    b->q->top.prop = P->prop;
}
head ::= TOP NUMBER(N) EVENTS(T). {
    b->q->form = QUERY_TOP;
    b->q->limit = build_whole(b, N, 1, QUERY_MAX_LIMIT);
    b->q->top.event = *build_event(b, QUERY_EVENT_ANY, T, NO_TOKEN);
    b->q->top.prop = (struct query_prop){QUERY_SCOPE_EVENT, STR("event"), build_pos(T)};
}

head ::= COMPARE side(A) WITH side(B). {
    b->q->form = QUERY_COMPARE;
    b->q->compare.a = A;
    b->q->compare.b = B;
}
head ::= COMPARE side(A) WITH OTHERS(T). {
    if (!A) build_fail(b, build_pos(T), "there are no others than all customers");
    b->q->form = QUERY_COMPARE;
    b->q->compare.a = A;
    b->q->compare.others = true;
}
side(R) ::= CUSTOMERS.               { R = NULL; }
side(R) ::= CUSTOMERS WHERE cond(C). { R = C; }
side(R) ::= SEGMENT STRING(S).       { R = build_segment(b, S); }

trend_or_total ::= TREND.
trend_or_total ::= TOTAL.

start(R) ::= .      { R = QUERY_START_FIRST; }
start(R) ::= FIRST. { R = QUERY_START_FIRST; }
start(R) ::= EACH.  { R = QUERY_START_EACH; }

model(R) ::= FIRST. { R = QUERY_MODEL_FIRST; }
model(R) ::= LAST.  { R = QUERY_MODEL_LAST; }
model(R) ::= MODEL(T). { R = (enum query_model)query_words[T->word].number; }

/* ---- clauses ---- */

clauses ::= .
clauses ::= clauses clause.

clause ::= range(R). { if (build_clause(b, CLAUSE_RANGE, NO_TOKEN)) b->q->range = *R; }
clause ::= BY(T) UNIT(U). {
    if (build_clause(b, CLAUSE_PERIOD, T)) {
        b->q->has_period = true;
        b->q->period = build_unit(U);
    }
}
clause ::= BY(T) terms(L).       { build_splits(b, T, L); }
clause ::= SPLIT(T) BY terms(L). { build_splits(b, T, L); }
clause ::= BY(T) EVENTS.         { build_rank(b, T, QUERY_RANK_EVENTS, NULL); }
clause ::= BY(T) CUSTOMERS.      { build_rank(b, T, QUERY_RANK_CUSTOMERS, NULL); }
clause ::= BY(T) AGGREGATE(A) LP prop(P) RP. {
    if (query_words[A->word].number != QUERY_SUM)
        build_fail(b, build_pos(A), "expected \"events\", \"customers\" or \"sum\" after \"by\"");
    build_rank(b, T, QUERY_RANK_SUM, P);
}
clause ::= WITHIN(T) duration(D). { build_within(b, T, D); }
clause ::= LIMIT(T) NUMBER(N). {
    if (build_clause(b, CLAUSE_LIMIT, T)) b->q->limit = build_whole(b, N, 1, QUERY_MAX_LIMIT);
}
clause ::= AMONG(T) CUSTOMERS WHERE cond(C). {
    if (build_clause(b, CLAUSE_AMONG, T)) b->q->where = C;
}
clause ::= OVER(T) NUMBER(N) UNIT(U). {
    if (build_clause(b, CLAUSE_OVER, T)) {
        b->over = build_whole(b, N, 1, QUERY_MAX_PERIODS);
        b->over_unit = build_unit(U);
        b->over_at = build_pos(T);
    }
}
clause ::= WITH(T) GAP duration(D). {
    if (build_clause(b, CLAUSE_GAP, T)) b->q->sessions.gap = *D;
}
clause ::= WITH(T) HALF_LIFE duration(D). {
    if (build_clause(b, CLAUSE_HALF_LIFE, T)) b->q->attribute.half_life = *D;
}
clause ::= WITH(T) AT LEAST NUMBER(N) CUSTOMERS. {
    if (build_clause(b, CLAUSE_SUPPORT, T))
        b->q->compare.support = build_whole(b, N, 1, QUERY_MAX_LIMIT);
}
clause ::= WITH(T) SAME props(L). {
    if (build_clause(b, CLAUSE_SAME, T)) {
        b->q->funnel.same = L->items;
        b->q->funnel.n_same = L->n;
    }
}
clause ::= WITH(T) terms(L). {
    if (build_clause(b, CLAUSE_COLUMNS, T)) {
        b->q->list.columns = L->items;
        b->q->list.n_columns = L->n;
    }
}
clause ::= ORDER(T) BY order_terms(L). {
    if (build_clause(b, CLAUSE_ORDER, T)) {
        b->q->list.order = L->items;
        b->q->list.n_order = L->n;
    }
}
clause ::= WITHOUT(T) events(L). {
    if (build_clause(b, CLAUSE_WITHOUT, T)) {
        b->q->funnel.without = L->items;
        b->q->funnel.n_without = L->n;
    }
}
clause ::= STARTING(T) AT event(E). {
    if (build_clause(b, CLAUSE_STARTING, T)) {
        b->q->paths.has_start = true;
        b->q->paths.start = *E;
    }
}
clause ::= STARTING(T) AT CHANGE OF prop(P). {
    if (build_clause(b, CLAUSE_CHANGE, T)) {
        b->q->sessions.has_change = true;
        b->q->sessions.change = *P;
    }
}
clause ::= ENDING(T) AT event(E). {
    if (build_clause(b, CLAUSE_ENDING, T)) {
        b->q->paths.has_end = true;
        b->q->paths.end = *E;
    }
}
clause ::= RECENCY(T) durations(L). {
    if (build_clause(b, CLAUSE_RECENCY, T)) {
        b->q->rfm.recency = L->items;
        b->q->rfm.n_recency = L->n;
    }
}
clause ::= PERCENTILES(T) numbers(L). { build_numbers(b, T, CLAUSE_PERCENTILES, L); }
clause ::= FREQUENCY(T) numbers(L).   { build_numbers(b, T, CLAUSE_FREQUENCY, L); }
clause ::= VALUE(T) numbers(L).       { build_numbers(b, T, CLAUSE_VALUE, L); }

/* ---- conditions over customers ---- */

cond(R) ::= cond_and(A).           { R = A; }
cond(R) ::= cond(A) OR cond_and(B). { R = query_cond_join(b->arena, QUERY_COND_OR, A, B); }

cond_and(R) ::= cond_not(A). { R = A; }
cond_and(R) ::= cond_and(A) AND cond_not(B). {
    R = query_cond_join(b->arena, QUERY_COND_AND, A, B);
}

cond_not(R) ::= cond_atom(A).    { R = A; }
cond_not(R) ::= NOT cond_not(A). { R = query_cond_not(b->arena, A); }

cond_atom(R) ::= LP cond(A) RP.            { R = A; }
cond_atom(R) ::= DID did_open(A). [LOWEST] { R = A; }
cond_atom(R) ::= DID NOT did_open(A). [LOWEST] { R = query_cond_not(b->arena, A); }
cond_atom(R) ::= cond_tail(A). [LOWEST]    { R = A; }
cond_atom(R) ::= cond_tail(A) range(G).    { build_cond_range(b, A, G); R = A; }
cond_atom(R) ::= TRAIT(T) prop(P) test(V). {
    struct query_cond *c = build_cond(b, QUERY_COND_TRAIT, T);
    c->trait = *build_trait(b, P);
    R = build_cond_test(c, V);
}
cond_atom(R) ::= IDENTIFIED(T). { R = build_cond(b, QUERY_COND_IDENTIFIED, T); }
cond_atom(R) ::= ANONYMOUS(T).  { R = build_cond(b, QUERY_COND_ANONYMOUS, T); }
cond_atom(R) ::= IN SEGMENT STRING(S). { R = build_segment(b, S); }

did_open(R) ::= event(E). {
    R = build_cond(b, QUERY_COND_DID, NO_TOKEN);
    R->event = *E;
    R->at = E->at;
    R->min = 1;
    R->max = QUERY_NO_MAX;
    query_cond_measure_depth(R);
}
did_open(R) ::= event(A) FOLLOWED BY event(B). {
    R = build_cond(b, QUERY_COND_FOLLOWED, NO_TOKEN);
    R->event = *A;
    R->then = *B;
    R->at = A->at;
    query_cond_measure_depth(R);
}
did_open(R) ::= event(A) NOT FOLLOWED BY event(B). {
    R = build_cond(b, QUERY_COND_FOLLOWED, NO_TOKEN);
    R->event = *A;
    R->then = *B;
    R->negated = true;
    R->at = A->at;
    query_cond_measure_depth(R);
}
did_open(R) ::= did_open(A) range(G). { build_cond_range(b, A, G); R = A; }
did_open(R) ::= did_open(A) WITHIN(T) duration(D). {
    if (A->kind != QUERY_COND_FOLLOWED)
        build_fail(b, build_pos(T), "\"within\" needs \"followed by\" here; for a time range write "
                                    "\"during last 7 days\"");
    else if (A->within.n)
        build_fail(b, build_pos(T), "\"within\" is there twice");
    A->within = *D;
    R = A;
}
did_open(R) ::= did_open(A) AT(T) LEAST NUMBER(N) times. {
    build_times(b, A, T, build_whole(b, N, 0, QUERY_NO_MAX - 1), QUERY_NO_MAX);
    R = A;
}
did_open(R) ::= did_open(A) AT(T) MOST NUMBER(N) times. {
    build_times(b, A, T, 0, build_whole(b, N, 0, QUERY_NO_MAX - 1));
    R = A;
}
did_open(R) ::= did_open(A) EXACTLY(T) NUMBER(N) times. {
    uint32_t n = build_whole(b, N, 0, QUERY_NO_MAX - 1);
    build_times(b, A, T, n, n);
    R = A;
}
did_open(R) ::= did_open(A) BETWEEN(T) NUMBER(N) AND_IN NUMBER(M) times. {
    build_times(b, A, T, build_whole(b, N, 0, QUERY_NO_MAX - 1),
                build_whole(b, M, 0, QUERY_NO_MAX - 1));
    R = A;
}
times ::= TIMES.
times ::= TIME.

cond_tail(R) ::= measure(M) test(V). {
    R = build_cond(b, QUERY_COND_MEASURE, NO_TOKEN);
    R->measure = *M;
    R->at = M->at;
    R = build_cond_test(R, V);
}
cond_tail(R) ::= REACHED(T) STEP NUMBER(N) OF LP steps(F) RP. {
    R = build_cond(b, QUERY_COND_FUNNEL, T);
    R->funnel = F;
    R->step = build_whole(b, N, 1, QUERY_MAX_EVENTS);
    query_cond_measure_depth(R);
}
cond_tail(R) ::= STOPPED(T) AT STEP NUMBER(N) OF LP steps(F) RP. {
    R = build_cond(b, QUERY_COND_FUNNEL, T);
    R->funnel = F;
    R->step = build_whole(b, N, 1, QUERY_MAX_EVENTS);
    R->stopped = true;
    query_cond_measure_depth(R);
}

steps(R) ::= ordered(F). { R = F; }
steps(R) ::= steps(F) WITHOUT(T) events(L). {
    if (F->n_without) build_fail(b, build_pos(T), "\"without\" is there twice");
    F->without = L->items;
    F->n_without = L->n;
    R = F;
}
steps(R) ::= steps(F) WITH(T) SAME props(L). {
    if (F->n_same) build_fail(b, build_pos(T), "\"with same\" is there twice");
    F->same = L->items;
    F->n_same = L->n;
    R = F;
}
steps(R) ::= steps(F) WITHIN(T) duration(D). {
    if (F->within.n) build_fail(b, build_pos(T), "\"within\" is there twice");
    F->within = *D;
    R = F;
}

/* ---- measures and terms ---- */

measure(R) ::= COUNT(T) LP event(E) RP. { R = build_measure(b, QUERY_COUNT_OF, T, E, NO_TOKEN); }
measure(R) ::= COUNT(T) LP event_prop(P) RP.     { R = build_called(P, T); }
measure(R) ::= AGGREGATE(T) LP event_prop(P) RP. { R = build_called(P, T); }
measure(R) ::= FIRST(T) LP event_prop(P) RP.     { R = build_called(P, T); }
measure(R) ::= LAST(T) LP event_prop(P) RP.      { R = build_called(P, T); }
measure(R) ::= UNIQUE(T) LP event_prop(P) RP.    { R = build_called(P, T); }
measure(R) ::= FIRST(T) LP event(E) RP DOTNAME(D). { R = build_measure(b, QUERY_FIRST, T, E, D); }
measure(R) ::= LAST(T) LP event(E) RP DOTNAME(D).  { R = build_measure(b, QUERY_LAST, T, E, D); }

event_prop(R) ::= event_head(E) DOTNAME(D) where_opt(F). {
    E->filter = F;
    R = build_measure(b, QUERY_SUM, NO_TOKEN, E, D);
}

trend_measure(R) ::= measure(M).            { R = M; }
trend_measure(R) ::= EVENTS(T) of_event(E). { R = build_measure(b, QUERY_COUNT_OF, T, E, NO_TOKEN); }
trend_measure(R) ::= UNIQUE(T) CUSTOMERS of_event(E). {
    R = build_measure(b, QUERY_CUSTOMERS, T, E, NO_TOKEN);
}
trend_measure(R) ::= CUSTOMERS(T) of_event(E). {
    R = build_measure(b, QUERY_CUSTOMERS, T, E, NO_TOKEN);
}

trend_measures(R) ::= trend_measure(M).                         { R = ADD(NULL, M); }
trend_measures(R) ::= trend_measures(L) COMMA trend_measure(M). { R = ADD(L, M); }

term(R) ::= prop(P).                { R = build_term(b, QUERY_TERM_PROP, P, NULL); }
term(R) ::= TRAIT prop(P).       { R = build_term(b, QUERY_TERM_TRAIT, build_trait(b, P), NULL); }
term(R) ::= SEGMENT STRING(S).   { R = build_member(b, S); }
term(R) ::= measure(M). [LOWEST]    { R = build_term(b, QUERY_TERM_MEASURE, NULL, M); }
term(R) ::= measure(M) range(G).    { M->range = *G; R = build_term(b, QUERY_TERM_MEASURE, NULL, M); }

terms(R) ::= term(A).                { R = ADD(NULL, A); }
terms(R) ::= terms(L) COMMA term(A). { R = ADD(L, A); }

order_term(R) ::= term(A).      { R = A; }
order_term(R) ::= term(A) ASC.  { R = A; }
order_term(R) ::= term(A) DESC. { A->descending = true; R = A; }

order_terms(R) ::= order_term(A).                      { R = ADD(NULL, A); }
order_terms(R) ::= order_terms(L) COMMA order_term(A). { R = ADD(L, A); }

/* ---- events and their filters ---- */

event(R) ::= event_head(E) where_opt(F). { E->filter = F; R = E; }

event_head(R) ::= STRING(S).           { R = build_event(b, QUERY_EVENT_TRACK, S, S); }
event_head(R) ::= PAGE(T).             { R = build_event(b, QUERY_EVENT_PAGE, T, NO_TOKEN); }
event_head(R) ::= PAGE(T) STRING(S).   { R = build_event(b, QUERY_EVENT_PAGE, T, S); }
event_head(R) ::= SCREEN(T).           { R = build_event(b, QUERY_EVENT_SCREEN, T, NO_TOKEN); }
event_head(R) ::= SCREEN(T) STRING(S). { R = build_event(b, QUERY_EVENT_SCREEN, T, S); }
event_head(R) ::= IDENTIFY(T).         { R = build_event(b, QUERY_EVENT_IDENTIFY, T, NO_TOKEN); }
event_head(R) ::= GROUP(T).            { R = build_event(b, QUERY_EVENT_GROUP, T, NO_TOKEN); }
event_head(R) ::= ALIAS(T).            { R = build_event(b, QUERY_EVENT_ALIAS, T, NO_TOKEN); }
event_head(R) ::= ANY(T) EVENT.        { R = build_event(b, QUERY_EVENT_ANY, T, NO_TOKEN); }

events(R) ::= event(E).                 { R = ADD(NULL, E); }
events(R) ::= events(L) COMMA event(E). { R = ADD(L, E); }

of_event(R) ::= .            { R = build_event(b, QUERY_EVENT_ANY, NO_TOKEN, NO_TOKEN); }
of_event(R) ::= OF event(E). { R = E; }

of_events(R) ::= .             { NEW(struct build_list, none); R = none; }
of_events(R) ::= OF events(L). { R = L; }

where_opt(R) ::= .                { R = NULL; }
where_opt(R) ::= WHERE filter(F). { R = F; }

filter(R) ::= filter_and(A). { R = A; }
filter(R) ::= filter(A) OR_IN filter_and(B). {
    R = query_filter_join(b->arena, QUERY_FILTER_OR, A, B);
}
filter_and(R) ::= filter_not(A). { R = A; }
filter_and(R) ::= filter_and(A) AND_IN filter_not(B). {
    R = query_filter_join(b->arena, QUERY_FILTER_AND, A, B);
}
filter_not(R) ::= NOT filter_not(A).          { R = query_filter_not(b->arena, A); }
filter_not(R) ::= LP filter(A) RP.            { R = A; }
filter_not(R) ::= over(O) prop(P) test(V).    { R = build_filter(b, O, P, V); }

over(R) ::= .    { R = QUERY_OVER_AUTO; }
over(R) ::= ANY. { R = QUERY_OVER_ANY; }
over(R) ::= ALL. { R = QUERY_OVER_ALL; }

prop(R) ::= NAME(N).            { R = build_prop(b, N, NO_TOKEN); }
prop(R) ::= NAME(N) DOTNAME(D). { R = build_prop(b, N, D); }

props(R) ::= prop(P).                { R = ADD(NULL, P); }
props(R) ::= props(L) COMMA prop(P). { R = ADD(L, P); }

op(R) ::= EQ. { R = QUERY_EQ; }
op(R) ::= NE. { R = QUERY_NE; }
op(R) ::= LT. { R = QUERY_LT; }
op(R) ::= LE. { R = QUERY_LE; }
op(R) ::= GT. { R = QUERY_GT; }
op(R) ::= GE. { R = QUERY_GE; }

%type value {query_tok}
value(R) ::= STRING(T).  { R = T; }
value(R) ::= NUMBER(T).  { R = T; }
value(R) ::= MOMENT(T).  { R = T; }
value(R) ::= BOOLEAN(T). { R = T; }

values(R) ::= value(T).                 { R = ADD(NULL, build_value(b, T)); }
values(R) ::= values(L) COMMA value(T). { R = ADD(L, build_value(b, T)); }

test(R) ::= op(O) value(T).            { R = build_test1(b, O, T); }
test(R) ::= IN LP values(L) RP.        { R = build_test(b, QUERY_IN, L); }
test(R) ::= NOT IN LP values(L) RP.    { R = build_test(b, QUERY_NOT_IN, L); }
test(R) ::= BETWEEN value(A) AND_IN value(B). {
    struct build_list *list = ADD(NULL, build_value(b, A));
    R = build_test(b, QUERY_BETWEEN, ADD(list, build_value(b, B)));
}
test(R) ::= CONTAINS STRING(T).    { R = build_test1(b, QUERY_CONTAINS, T); }
test(R) ::= STARTS WITH STRING(T). { R = build_test1(b, QUERY_STARTS, T); }
test(R) ::= ENDS WITH STRING(T).   { R = build_test1(b, QUERY_ENDS, T); }
test(R) ::= MATCHES STRING(T).     { R = build_test1(b, QUERY_MATCHES, T); }
test(R) ::= EXISTS.                { R = build_test(b, QUERY_EXISTS, NULL); }
test(R) ::= IS MISSING.            { R = build_test(b, QUERY_MISSING, NULL); }

/* ---- time ---- */

range(R) ::= SINCE(T) moment(A). [LOWEST]         { R = build_span(b, T, A, NULL); }
range(R) ::= SINCE(T) moment(A) BEFORE moment(B). { R = build_span(b, T, A, B); }
range(R) ::= BEFORE(T) moment(B).                 { R = build_span(b, T, NULL, B); }
range(R) ::= FROM(T) moment(A) TO moment(B).      { R = build_span(b, T, A, B); }
range(R) ::= DURING(T) LAST NUMBER(N) UNIT(U).    { R = build_last(b, T, N, U); }
range(R) ::= ON(T) MOMENT(D).                     { R = build_in(b, T, D); }
range(R) ::= IN(T) MONTH(D).                      { R = build_in(b, T, D); }
range(R) ::= IN(T) MOMENT(D).                     { R = build_in(b, T, D); }
range(R) ::= IN(T) NUMBER(D).                     { R = build_in(b, T, D); }

moment(R) ::= MOMENT(T). { R = build_moment(b, T); }
moment(R) ::= MONTH(T).  { R = build_moment(b, T); }

duration(R) ::= NUMBER(N) UNIT(U). { R = build_duration(b, N, U); }

durations(R) ::= duration(D).                    { R = ADD(NULL, D); }
durations(R) ::= durations(L) COMMA duration(D). { R = ADD(L, D); }

%type number {double}
number(R) ::= NUMBER(T). { R = build_number(b, T); }

numbers(R) ::= number(N).                  { R = ADD(NULL, &N); }
numbers(R) ::= numbers(L) COMMA number(N). { R = ADD(L, &N); }

%code {
void *query_grammar_new(struct query_builder *b) { return query_yyAlloc(k_alloc, b); }

void query_grammar_free(void *parser) { query_yyFree(parser, k_free); }

int query_grammar_codes(void) { return YYNTOKEN; }

void query_grammar_feed(void *parser, int code, query_tok token) { query_yy(parser, code, token); }

/* The parser's own loop, on states alone. Done before a token is fed, so that the reductions which
 * LALR(1) makes by default before it notices an error cannot hide what would have been right. */
bool query_grammar_accepts(const void *parser, int code) {
    const yyParser *p = parser;
    YYACTIONTYPE states[YYSTACKDEPTH + 1];
    size_t top = (size_t)(p->yytos - p->yystack);
    for (size_t i = 0; i <= top; i++) states[i] = p->yystack[i].stateno;
    for (;;) {
        YYACTIONTYPE action = yy_find_shift_action((YYCODETYPE)code, states[top]);
        if (action < YY_MIN_REDUCE)
            return action <= YY_MAX_SHIFTREDUCE || action == YY_ACCEPT_ACTION;
        unsigned rule = action - YY_MIN_REDUCE;
        top = (size_t)((long)top + yyRuleInfoNRhs[rule]) + 1;
        if (top >= YYSTACKDEPTH) return true; /* too deep: feeding it reports that */
        states[top] = yy_find_reduce_action(states[top - 1], yyRuleInfoLhs[rule]);
    }
}
}
