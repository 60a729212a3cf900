/* Cells of CSV on their way out: quoted where RFC 4180 asks for it, and no formulas.
 *
 * A spreadsheet takes a cell that begins with = + - @, a tab or a line end for a formula, and a
 * formula may call programs and send the sheet away. Event names, traits and search words are
 * written by strangers, and exports are opened by colleagues. So such a text gets a ' in front
 * (OWASP, "CSV Injection"), by which a spreadsheet knows a text:
 *
 *     =SUM(A1)     '=SUM(A1)
 *     +49 30 1234  '+49 30 1234
 *     -5           -5            a number computes nothing, nor does a sign alone
 *     '=x          ''=x          so that nothing is lost: who finds ' and then one of the signs
 *                                takes one ' away and has the text
 *
 * Numbers, times and truth values of typed columns are not asked: their writers call this for texts
 * alone. For machines there is raw: the text as it is. Not covered: a program that is told to split
 * at other signs than commas.
 *
 * Layers: buf.h. Threads: pure. */
#pragma once

#include "base/buf.h"

enum csv_texts { CSV_SAFE, CSV_RAW };

/* Appends a text as one cell. The empty text is "", so that it differs from none. */
void csv_add_text(struct buf *out, struct str text, enum csv_texts texts);
