/* All roles of helpers. */
#include "chaoslib/helper.h"

const struct helper_role *const helper_roles[] = {
    NULL,
};
