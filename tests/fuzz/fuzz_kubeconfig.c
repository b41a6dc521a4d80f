/* Any bytes as a kubeconfig: a server, or a sentence. Then as an answer of an API server, and as a
 * ChaosResult that somebody else wrote. */
#include <stdlib.h>
#include <string.h>

#include "chaoslib/kube/internal.h"
#include "chaoslib/litmus/litmus.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void as_config(const char *text, size_t size)
{
    struct kube_host h = { 0 };
    struct err err = { 0 };
    int rc = kube_config_parse("/nowhere/config", text, size, NULL, &h, &err);

    if (rc == 0 ? !h.server || !h.from : !err_is_set(&err))
        abort();
    kube_host_done(&h);
}

static void as_answer(const char *text, size_t size)
{
    const struct kube_call call = { .path = "/api/v1/pods" };
    struct err err = { 0 };

    if (kube_judge(&call, 404, text, size, &err) < 0 && !err_is_set(&err))
        abort();
    err_ignore(kube_judge(&call, 409, text, size, NULL), "either conflict");
}

/* However odd it was, it is a ChaosResult afterwards, and stays one. */
static void as_result(const char *text, size_t size)
{
    struct litmus l = { .env = { .engine = "e", .experiment = "x", .uid = "u", .instance = "" } };
    auto(json) struct json *j = NULL;

    if (json_parse(text, size, &j, NULL) < 0 || !json_is_object(j))
        return;
    litmus_put_start(&l, json_get(j, "metadata.labels"), j);
    litmus_put_end(&l, j);
    if (strcmp(json_str(j, "status.experimentStatus.verdict", ""), "Pass") != 0 ||
        json_u64(j, "status.history.passedRuns", 0) < 1)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    auto_free char *text = xstrndup((const char *)data, size);

    if (size > 65536)
        return 0;
    as_config(text, strlen(text));
    as_answer(text, strlen(text));
    as_result(text, strlen(text));
    return 0;
}
