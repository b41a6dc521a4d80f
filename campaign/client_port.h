/* The load, as faults see it. */
#ifndef CAMPAIGN_CLIENT_PORT_H
#define CAMPAIGN_CLIENT_PORT_H

#include "campaign/state.h"

/* After c->runner is there; valid as long as it. */
void client_port_init(struct campaign *c);

#endif
