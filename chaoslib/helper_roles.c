/* All roles of helpers. */
#include "chaoslib/dns/holder.h"
#include "chaoslib/machine/hog.h"
#include "chaoslib/net/holder.h"
#include "chaoslib/redirect/redirect.h"

const struct helper_role *const helper_roles[] = {
    &hog_role, &dns_holder_role, &helper_role_net, &redirect_role, NULL,
};
