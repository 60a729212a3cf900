/* Phone numbers within texts.
 *
 * A number is a run of digits with spaces, - . / ( ) between them (also no-break spaces, and the
 * hyphens of typesetting), at most three in a row and none twice. Of a run that is one, all is
 * masked.
 *
 * International: a + before 9 to 15 digits that begin with 1 to 9; with 1 there are eleven, as in
 * North America. 00 instead of + only with something between the digits.
 * National: 9 to 12 digits with something between them, in one of these forms (n digits each):
 *
 *     trunk      a 0 first: 2 to 6 digits, then   030/1234567, 06 12 34 56 78
 *                up to 4 groups; of pairs five
 *     area code  in brackets                      (212) 555-0123
 *     3-3-4      begins with 2 to 9; or 1-3-3-4   212-555-0123
 *     3-3-3      begins with 6, 7 or 9            612 345 678
 *     3-7        begins with 3                    333 1234567
 *     3-4-4      begins with 13 to 19             138 0013 8000
 *     5-5        begins with 6 to 9               98765 43210
 *     2-[45]-4   a - before the last four         11 91234-5678
 *     1-3-3-2-2  begins with 8                    8 (495) 123-45-67
 *
 * Not: digits alone, however many (orders, EANs); runs that hold a date; addresses of computers;
 * decimals (one dot and nothing else); what a letter, a digit, # or a sign of money touches, so
 * parts of article numbers; dashes alone with a short end, 010-10231-01. A text that is nothing but
 * a number may have eight digits.
 *
 * What is not found: a number without + and without anything between its digits, numbers of seven
 * or eight digits within a text, two numbers with nothing but a slash between them.
 *
 * Layers: base. Threads: pure. */
#pragma once

#include <stdbool.h>

#include "base/str.h"

/* Does the text hold one? */
bool phone_in(struct str text);
