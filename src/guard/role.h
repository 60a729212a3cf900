/* Roles and sides of accounts. A role is a name for a set of rights (the table in role.c); a side
 * says for whom somebody speaks, where two sides must agree.
 *
 * Layers: right.h. Threads: constant data. */
#pragma once

#include "guard/right.h"

enum role {
    ROLE_MARKETING,
    ROLE_IT,
    ROLE_EXECUTIVE,
    ROLE_PRIVACY_OFFICER,
    ROLE_PARTNER,
    ROLE_ADMIN, /* of the installation */
    ROLES
};

enum side { SIDE_NEITHER, SIDE_MARKETING, SIDE_IT, SIDES };

const char *role_text(enum role role); /* "privacy_officer" */
const char *side_text(enum side side);
right_set role_rights(enum role role); /* RIGHT_SIGNED_IN among them */
bool role_by_text(struct str text, enum role *out);
bool side_by_text(struct str text, enum side *out);
