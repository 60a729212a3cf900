/* KPIs in a server: the clock that computes them. The routes are in routes.h.
 *
 * Layers: app.h, desk/kpi/clock.h. Threads: before the server starts. */
#pragma once

#include "base/error.h"

struct app;

/* Makes the tables, starts the clock, sets app->kpi_clock. The caller closes that before db and
 * desk (kpi_clock_close). */
int kpi_clock_start(struct app *app, struct keel_error *err) K_CHECKED;
