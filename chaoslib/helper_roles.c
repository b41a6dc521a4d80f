/* All roles of helpers. */
#include "chaoslib/machine/hog.h"

const struct helper_role *const helper_roles[] = {
    &hog_role,
    NULL,
};
