/* The query parser, as text and as JSON: any bytes give a query or an error that points inside
 * them; a query's canonical text and JSON give the same query again. */
#include <stdlib.h>

#include "query/language/parse.h"
#include "query/language/query_json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { ARENA_BYTES = 4 * QUERY_ARENA_BYTES, JSON_BYTES = 4 << 20 };

#define MUST(condition)                                                                            \
    do {                                                                                           \
        if (!(condition)) abort();                                                                 \
    } while (0)

static void check_again(struct arena *a, const struct query *q) {
    struct query *again = NULL;
    struct buf json, json_again;
    buf_init(&json, JSON_BYTES);
    buf_init(&json_again, JSON_BYTES);
    MUST(query_parse(q->text, a, &again, NULL, NULL) == 0);
    MUST(str_eq(again->text, q->text) && again->hash == q->hash);
    MUST(query_json_print(q, &json) == 0 && query_json_print(again, &json_again) == 0);
    MUST(str_eq(buf_str(&json), buf_str(&json_again)));
    if (json.n <= QUERY_JSON_MAX_BYTES) {
        MUST(query_json_parse(buf_str(&json), a, &again, NULL) == 0);
        MUST(str_eq(again->text, q->text));
    }
    buf_release(&json);
    buf_release(&json_again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct str text = {(const char *)data, size};
    struct arena a;
    struct query *q = NULL;
    struct query_syntax_error where;
    struct keel_error err;
    arena_init(&a, ARENA_BYTES);
    if (query_parse(text, &a, &q, &where, &err) == 0) {
        check_again(&a, q);
    } else {
        struct buf picture;
        buf_init(&picture, 4096);
        MUST(where.offset <= size && where.line >= 1 && where.column >= 1 && where.message[0]);
        MUST(query_error_picture(text, &where, &picture) == 0);
        buf_release(&picture);
    }
    if (query_json_parse(text, &a, &q, &err) == 0) check_again(&a, q);
    arena_release(&a);
    return 0;
}
