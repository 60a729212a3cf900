/* Implementation of role.h: the one table from roles to rights.
 *
 * Nobody but the privacy officer and the administrator sees personal values: the work of both sides
 * is with counts, segments and masked customers. */
#include "guard/role.h"

#define R(name) (1u << RIGHT_##name)

enum {
    EVERYBODY = R(SIGNED_IN),
    SEES = EVERYBODY | R(QUERY) | R(QUESTION_WRITE) | R(KPI_READ) | R(PLAN_READ),
    WORKS = SEES | R(EVENT_READ) | R(PROFILE_READ) | R(SEGMENT_WRITE) | R(KPI_WRITE),
};

static const struct {
    const char *text;
    right_set rights;
} ROLE[ROLES] = {
    [ROLE_MARKETING] = {"marketing", WORKS | R(EXPORT)},
    [ROLE_IT] = {"it", WORKS | R(PLAN_WRITE) | R(SOURCE_ADMIN) | R(WEBHOOK_ADMIN) | R(BACKUP) |
                           R(METRICS)},
    [ROLE_EXECUTIVE] = {"executive", SEES},
    [ROLE_PRIVACY_OFFICER] = {"privacy_officer", SEES | R(EVENT_READ) | R(PROFILE_READ) |
                                                     R(PERSONAL_READ) | R(EXPORT) | R(AUDIT_READ)},
    [ROLE_PARTNER] = {"partner", EVERYBODY | R(KPI_READ)},
    [ROLE_ADMIN] = {"admin", 0}, /* all: see role_rights */
};

static const char *const SIDE[SIDES] = {"neither", "marketing", "it"};

const char *role_text(enum role role) { return ROLE[role].text; }
const char *side_text(enum side side) { return SIDE[side]; }

right_set role_rights(enum role role) {
    return role == ROLE_ADMIN ? right_all() : ROLE[role].rights;
}

bool role_by_text(struct str text, enum role *out) {
    for (int i = 0; i < ROLES; i++) {
        if (!str_is(text, ROLE[i].text)) continue;
        *out = (enum role)i;
        return true;
    }
    return false;
}

bool side_by_text(struct str text, enum side *out) {
    for (int i = 0; i < SIDES; i++) {
        if (!str_is(text, SIDE[i])) continue;
        *out = (enum side)i;
        return true;
    }
    return false;
}
