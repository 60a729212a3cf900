/* What a syntax error says: expected this or that after the word before, found something else.
 * Layers: build.h. Threads: pure. */
#pragma once

#include "query/language/token.h"

/* i: the token that the grammar refused; parser: stopped before it. */
void query_expected(const void *parser, const char *text, const struct query_token *tokens,
                    uint32_t i, char *out, size_t out_bytes);
