/* All verbs, one file each. */
#ifndef CLI_VERBS_H
#define CLI_VERBS_H

#include "cli/cli.h"

extern const struct verb verb_run, verb_validate, verb_explain, verb_init, verb_import, verb_schema,
    verb_target, verb_proxy, verb_report, verb_recover, verb_status, verb_doctor, verb_completion,
    verb_man, verb_version, verb_help, verb_experiment, verb_guardian, verb_helper;

#endif
