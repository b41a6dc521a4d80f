/* Our side of the holder: questions and answers. */
#include "chaoslib/net/holder.h"

#include <errno.h>
#include <stdio.h>

#include "base/clock.h"

#define START_NS (20 * NS_PER_SEC)
#define ASK_NS (10 * NS_PER_SEC)
#define STOP_NS (2 * NS_PER_SEC)

struct holder {
    struct helper *helper;
    struct json *hello; /* its first answer */
};

struct holder *holder_start(const struct net_fault *f, int netns_fd, struct err *err)
{
    struct holder *h = xcalloc(1, sizeof *h);
    auto(json) struct json *spec = json_object();

    json_put(spec, "fault", net_fault_write(f));
    h->helper = helper_start(
        &(struct helper_opts){
            .role = "net", .spec = spec, .fds = &netns_fd, .n_fds = 1, .timeout_ns = START_NS },
        &h->hello, err);
    if (h->helper)
        return h;
    holder_stop(h);
    return NULL;
}

const char *holder_mechanism(const struct holder *h)
{
    return json_str(h->hello, "mechanism", "");
}

const struct json *holder_residue(const struct holder *h)
{
    return json_get(h->hello, "residue");
}

/* `ns` is what an order needs: how long to drain, how long to live. */
static int ask(struct holder *h, const char *what, uint64_t ns, struct json **ret, struct err *err)
{
    auto(json) struct json *question = json_object();

    json_put_str(question, "do", what);
    json_put_u64(question, "ms", ns / NS_PER_MS);
    return helper_ask(h->helper, question, ASK_NS, ret, err);
}

/* One machine, one CLOCK_MONOTONIC: its stamp is ours. */
static uint64_t stamp_of(const struct json *reply)
{
    uint64_t ns = json_u64(reply, "sec", 0) * NS_PER_SEC + json_u64(reply, "ns", 0);

    return ns ? ns : clock_now_ns();
}

int holder_inject(struct holder *h, uint64_t ttl_ns, uint64_t *ret_effective_ns, struct err *err)
{
    auto(json) struct json *reply = NULL;
    int rc = ask(h, "inject", ttl_ns, &reply, err);

    if (rc == 0)
        *ret_effective_ns = stamp_of(reply);
    return rc;
}

int holder_verify(struct holder *h, bool in, uint64_t *ret_packets, struct err *err)
{
    auto(json) struct json *reply = NULL;
    int rc = ask(h, in ? "verify-in" : "verify-out", 0, &reply, err);

    if (rc == 0 && ret_packets)
        *ret_packets = json_u64(reply, "packets", 0);
    return rc;
}

int holder_revert(struct holder *h, uint64_t drain_ns, uint64_t *ret_reverted_ns, struct err *err)
{
    auto(json) struct json *reply = NULL;
    int rc = ask(h, "revert", drain_ns, &reply, err);

    if (rc == 0)
        *ret_reverted_ns = stamp_of(reply);
    return rc;
}

bool holder_is_alive(const struct holder *h)
{
    return helper_is_alive(h->helper);
}

pid_t holder_pid(const struct holder *h)
{
    return helper_pid(h->helper);
}

void holder_stop(struct holder *h)
{
    if (!h)
        return;
    helper_stop(h->helper, STOP_NS, NULL);
    json_free(h->hello);
    free(h);
}

int holder_undo(const struct json *residue, int netns_fd, struct err *err)
{
    auto(json) struct json *spec = json_object(), *reply = NULL;
    auto_free char *text = json_print(residue, false);

    json_put_str(spec, "undo", text);
    struct helper *helper = helper_start(
        &(struct helper_opts){
            .role = "net", .spec = spec, .fds = &netns_fd, .n_fds = 1, .timeout_ns = START_NS },
        &reply, err);
    if (!helper)
        return -EIO;
    helper_stop(helper, STOP_NS, NULL);
    return json_bool(reply, "nothing", false) ? 1 : 0;
}
