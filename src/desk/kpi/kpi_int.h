/* Between kpi.c (tables, versions), kpi/read.c (forms) and touchpoint.c. */
#pragma once

#include "base/toml_reader.h"
#include "desk/kpi/kpi.h"

/* What the tables keep apart: kpi_edit.kind; written to disk, never renumber. */
enum kpi_kind { KPI_KIND_KPI = 1, KPI_KIND_TOUCHPOINT = 2 };

#define KPI_ARENA_BYTES                                                                            \
    ((size_t)256 << 20) /* room for the parser; a definition takes a few KiB                       \
                         */

/* A definition from its table; fills all but version, who, changed_ms, query_hash and the parts'
 * places. The id is the reader's `within`. */
int kpi_read(struct toml_reader *r, const struct toml_node *node, struct kpi *out) K_CHECKED;
bool kpi_id_fits(struct str id);
void kpi_hash(struct str text, char out[KPI_HASH_TEXT]);

/* Asks change->admit, if there is one. */
int kpi_admit(const struct kpi_change *change, const struct query *q,
              struct keel_error *err) K_CHECKED;

/* One version more of anything, unless the newest has the same body. *added: there was none in
 * force; *changed: there is a new version. Within a transaction. */
int kpi_note_edit(struct sql *desk, enum kpi_kind kind, struct str id, struct str body,
                  const struct kpi_change *change, bool *added, bool *changed,
                  struct keel_error *err) K_CHECKED;
