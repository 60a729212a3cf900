/* Reports of KPIs (desk/kpi/report.h, or the same from a server) for people: tables and lines.
 * Layers: base/json.h, base/table.h. Threads: none. */
#pragma once

#include "base/json.h"
#include "base/table.h"

void kpi_show_tree(struct output *out, struct json_value root);
void kpi_show_one(struct output *out, struct json_value root);
int kpi_show_list(struct output *out, struct json_value root, enum table_style style,
                  struct keel_error *err) K_CHECKED;
int kpi_show_series(struct output *out, struct json_value root, enum table_style style,
                    struct keel_error *err) K_CHECKED;
/* The sentence above the table goes to `words`: standard error. */
int kpi_show_attribution(struct output *out, struct output *words, struct json_value root,
                         enum table_style style, struct keel_error *err) K_CHECKED;
int kpi_show_touchpoints(struct output *out, struct json_value root, enum table_style style,
                         struct keel_error *err) K_CHECKED;
/* "note: …" of a report. */
void kpi_show_notes(struct output *words, struct json_value root);
