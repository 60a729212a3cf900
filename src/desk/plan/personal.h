/* What is probably personal although nobody has classed it: by its name, or by how it looks.
 *
 * A guess on the careful side, for two uses: to mask what is shown to people, and to propose a
 * class in a plan that is inferred. Whoever classes a property as public or internal ends the
 * guessing.
 *
 * Layers: base. Threads: pure.
 */
#pragma once

#include <stdbool.h>

#include "base/str.h"

enum personal_kind {
    PERSONAL_NOT,
    PERSONAL_EMAIL,
    PERSONAL_PHONE,
    PERSONAL_NAME, /* of a person, an address, a birthday: by the name of the property */
    PERSONAL_SECRET,
};

/* By the last part of a property's name; `trait`: of a person, where "name" is a person's. */
enum personal_kind personal_by_name(struct str name, bool trait);
/* A text that holds an e-mail address or a phone number (phone.h). */
enum personal_kind personal_by_shape(struct str text);
