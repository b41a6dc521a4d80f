/* What the classes of failure, the stages of a request and the misdeeds of users are called, in one
 * table each, so that reports, thresholds and documents use the same words. */
#include <string.h>

#include "runner/plan.h"

static const struct {
    const char *name;
    const char *help;
    bool censored;
} fail_classes[] = {
    [FAIL_NONE] = { "", "the request succeeded", false },
    [FAIL_DNS] = { "dns", "the target's name did not resolve", false },
    [FAIL_REFUSED] = { "refused", "the target refused the connection: nothing listens there",
                       false },
    [FAIL_UNREACHABLE] = { "unreachable",
                           "no way to the target: no route, or a proxy that makes no tunnel",
                           false },
    [FAIL_CONNECT_TIMEOUT] = { "connect-timeout", "no connection within the connect timeout",
                               true },
    [FAIL_TLS] = { "tls", "the TLS handshake or the certificate check failed", false },
    [FAIL_TLS_TIMEOUT] = { "tls-timeout", "the TLS handshake did not end within its timeout",
                           true },
    [FAIL_RESET] = { "reset", "the connection was reset while sending or receiving", false },
    [FAIL_CLOSED] = { "closed", "the connection was closed before the first byte of the answer",
                      false },
    [FAIL_SHORT_BODY] = { "short-body", "the connection was closed inside the answer", false },
    [FAIL_RESPONSE_TIMEOUT] = { "response-timeout", "no byte of an answer within the timeout",
                                true },
    [FAIL_TRANSFER_TIMEOUT] = { "transfer-timeout", "the answer began and did not end in time",
                                true },
    [FAIL_MALFORMED] = { "malformed", "the answer was not HTTP, or broke its own framing", false },
    [FAIL_TOO_LARGE] = { "too-large", "the answer's head or wanted body passed its limit", false },
    [FAIL_STATUS] = { "status", "the answer's status was not an expected one", false },
    [FAIL_EXPECTATION] = { "expectation", "the answer came, but a check of it failed", false },
    [FAIL_REDIRECTS] = { "redirects", "too many redirects, or one that leads nowhere", false },
    [FAIL_DROPPED] = { "dropped", "open load: no user was free for this arrival", false },
    [FAIL_INTERRUPTED] = { "interrupted", "still running when the run ended", true },
    [FAIL_INTERNAL] = { "internal",
                        "the load generator's own failure: out of files, local ports or memory",
                        false },
};
_Static_assert(ARRAY_LEN(fail_classes) == FAIL_CLASS_MAX, "every class has a name");

static const char *const stage_names[] = {
    [STAGE_DNS] = "dns",   [STAGE_CONNECT] = "connect",   [STAGE_TLS] = "tls",
    [STAGE_WAIT] = "wait", [STAGE_TRANSFER] = "transfer",
};
_Static_assert(ARRAY_LEN(stage_names) == STAGE_MAX, "every stage has a name");

static const char *const misdeed_names[] = {
    [MISDEED_NONE] = "",
    [MISDEED_SLOW_READ] = "slow-read",
    [MISDEED_SLOW_SEND] = "slow-send",
    [MISDEED_HALF_OPEN] = "half-open",
    [MISDEED_ABORT] = "abort",
    [MISDEED_TLS_STALL] = "tls-stall",
    [MISDEED_BIG_HEADERS] = "big-headers",
    [MISDEED_RETRY_STORM] = "retry-storm",
};
_Static_assert(ARRAY_LEN(misdeed_names) == MISDEED_MAX, "every misdeed has a name");

const char *misdeed_name(enum misdeed_kind m)
{
    return m < MISDEED_MAX ? misdeed_names[m] : "";
}

enum misdeed_kind misdeed_by_name(const char *name)
{
    for (unsigned m = 1; m < MISDEED_MAX; m++)
        if (strcmp(misdeed_names[m], name) == 0)
            return (enum misdeed_kind)m;
    return MISDEED_MAX;
}

const char *fail_class_name(enum fail_class c)
{
    return c < FAIL_CLASS_MAX ? fail_classes[c].name : "";
}

const char *fail_class_help(enum fail_class c)
{
    return c < FAIL_CLASS_MAX ? fail_classes[c].help : "";
}

enum fail_class fail_class_by_name(const char *name)
{
    for (unsigned c = 0; c < FAIL_CLASS_MAX; c++) {
        if (strcmp(fail_classes[c].name, name) == 0)
            return (enum fail_class)c;
    }
    return FAIL_CLASS_MAX;
}

bool fail_class_is_censored(enum fail_class c)
{
    return c < FAIL_CLASS_MAX && fail_classes[c].censored;
}

const char *stage_name(enum stage s)
{
    return s < STAGE_MAX ? stage_names[s] : "";
}
