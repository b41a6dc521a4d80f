/* Kubeconfigs: which server and which user a context means, and what is said about broken ones.
 * Then what an API server answers, in our words. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/base64.h"
#include "chaoslib/kube/internal.h"

#define CLUSTER(server) "clusters: [{name: c, cluster: {server: '" server "'}}]\n"
#define USER(user) "users: [{name: u, user: {" user "}}]\n"
#define CONTEXT \
    "contexts: [{name: x, context: {cluster: c, user: u, namespace: shop}}]\ncurrent-context: x\n"

static int parse(const char *text, const char *context, struct kube_host *h, struct err *err)
{
    memset(h, 0, sizeof(*h));
    err_clear(err);
    return kube_config_parse("/etc/k/config", text, strlen(text), context, h, err);
}

/* ---- good ones ---- */

static void a_context_joins_a_server_and_a_user(void **state)
{
    struct kube_host h;
    struct err err;

    (void)state;
    assert_int_equal(
        parse(CONTEXT CLUSTER("https://10.0.0.1:6443/") USER("token: abc"), NULL, &h, &err), 0);
    assert_string_equal(h.server, "https://10.0.0.1:6443");
    assert_string_equal(h.ns, "shop");
    assert_string_equal(h.token, "abc");
    assert_string_equal(h.from, "context 'x' of /etc/k/config");
    assert_false(h.no_verify);
    kube_host_done(&h);
}

static void another_context_may_be_named(void **state)
{
    static const char text[] =
        "current-context: a\n"
        "contexts:\n- {name: a, context: {cluster: ca, user: ua}}\n"
        "- {name: b, context: {cluster: cb, user: ub}}\n"
        "clusters:\n- {name: ca, cluster: {server: https://a}}\n"
        "- {name: cb, cluster: {server: https://b, insecure-skip-tls-verify: true, "
        "tls-server-name: n}}\n"
        "users:\n- {name: ua, user: {token: ta}}\n- {name: ub, user: {username: u, password: p}}\n";
    struct kube_host h;
    struct err err;

    (void)state;
    assert_int_equal(parse(text, "b", &h, &err), 0);
    assert_string_equal(h.server, "https://b");
    assert_true(h.no_verify);
    assert_string_equal(h.sni, "n");
    assert_null(h.token);
    assert_string_equal(h.basic, "dTpw");
    assert_null(h.ns);
    kube_host_done(&h);
}

static void embedded_certificates_have_a_path_of_ours(void **state)
{
    struct kube_host h;
    struct err err;
    char seen[16] = "";

    (void)state;
    assert_int_equal(parse(CONTEXT "clusters: [{name: c, cluster: {server: https://a, "
                                   "certificate-authority-data: Q0E=}}]\n"
                                   "users: [{name: u, user: {client-certificate-data: Q1JU, "
                                   "client-key-data: S0VZ}}]\n",
                           NULL, &h, &err),
                     0);
    int fd = open(h.key, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(read(fd, seen, sizeof(seen) - 1), 3);
    close(fd);
    assert_string_equal(seen, "KEY");
    assert_non_null(h.ca);
    assert_non_null(h.cert);
    kube_host_done(&h);
}

static void a_plugin_is_taken_with_its_words(void **state)
{
    struct kube_host h;
    struct err err;
    bool has_env = false;

    (void)state;
    assert_int_equal(
        parse(CONTEXT CLUSTER("https://a") USER(
                  "exec: {apiVersion: client.authentication.k8s.io/v1, command: ./login, args: "
                  "[--for, me], env: [{name: REGION, value: north}], installHint: get it there}"),
              NULL, &h, &err),
        0);
    assert_string_equal(h.exec.argv[0], "/etc/k/./login");
    assert_string_equal(h.exec.argv[2], "me");
    assert_null(h.exec.argv[3]);
    assert_string_equal(h.exec.hint, "get it there");
    for (size_t i = 0; h.exec.env[i]; i++)
        has_env |= strcmp(h.exec.env[i], "REGION=north") == 0;
    assert_true(has_env);
    kube_host_done(&h);
}

/* ---- bad ones ---- */

static const struct {
    const char *text, *says;
} bad[] = {
    { "", "this is no kubeconfig" },
    { "[1]", "/etc/k/config:1:1: : this is no kubeconfig" },
    { "a: [", "/etc/k/config:" },
    { CLUSTER("https://a") USER("token: t"), "no current-context" },
    { "current-context: y\n" CLUSTER("https://a") "contexts: []\n", "there is no 'y' in contexts" },
    { "current-context: x\ncontexts: [{name: x, context: {}}]\n", "a context needs a cluster" },
    { CONTEXT "clusters: []\n", "there is no 'c' in clusters" },
    { CONTEXT "clusters: [{name: c, cluster: {}}]\n", "a cluster needs a server" },
    { CONTEXT CLUSTER("10.0.0.1:6443"), "expected https://HOST:PORT" },
    { CONTEXT CLUSTER("https://a"), "there is no 'u' in users" },
    { CONTEXT "clusters: [{name: c, cluster: {server: https://a, proxy-url: http://p}}]\n",
      "proxies are not supported" },
    { CONTEXT
      "clusters: [{name: c, cluster: {server: https://a, certificate-authority-data: '*'}}]\n",
      "expected base64" },
    { CONTEXT "clusters: [{name: c, cluster: {server: https://a, certificate-authority: no/ca}}]\n",
      "clusters[0].cluster.certificate-authority: this file cannot be read" },
    { CONTEXT CLUSTER("https://a") USER("client-certificate-data: Q1JU"),
      "client-certificate and client-key go together" },
    { CONTEXT CLUSTER("https://a") USER("auth-provider: {name: gcp}"), "use an exec plugin" },
    { CONTEXT CLUSTER("https://a") USER("exec: {command: x}"), "expected apiVersion client" },
    { CONTEXT CLUSTER("https://a") USER("exec: {apiVersion: client.authentication.k8s.io/v1}"),
      "an exec plugin needs a command" },
};

static void broken_ones_say_where_and_what(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct kube_host h;
        struct err err;

        if (parse(bad[i].text, NULL, &h, &err) >= 0)
            fail_msg("row %zu was taken", i);
        if (!strstr(err.msg, bad[i].says))
            fail_msg("row %zu says '%s', not '%s'", i, err.msg, bad[i].says);
        kube_host_done(&h);
    }
}

/* ---- answers ---- */

static const struct {
    unsigned status;
    const char *body;
    int rc; /* -1: any failure */
    const char *says;
} answers[] = {
    { 404, "{\"reason\":\"NotFound\"}", KUBE_NOT_FOUND, "" },
    { 404, "404 page not found", -1, "is the CRD installed?" },
    { 409, "{\"reason\":\"AlreadyExists\"}", KUBE_EXISTS, "" },
    { 409, "{\"reason\":\"Conflict\"}", KUBE_CONFLICT, "" },
    { 410, "{\"reason\":\"Expired\"}", KUBE_GONE, "" },
    { 401, "{\"message\":\"Unauthorized\"}", -1, "does not know us" },
    { 403, "{\"message\":\"pods is forbidden: User x cannot list\"}", -1, "pods is forbidden" },
    { 422, "{\"message\":\"spec.x: Invalid\"}", -1, "422: spec.x: Invalid" },
    { 503, "<html>", -1, "503: no reason" },
};

static void answers_are_judged(void **state)
{
    const struct kube_call call = { .path = "/api/v1/pods" };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(answers); i++) {
        struct err err = { 0 };
        int rc =
            kube_judge(&call, answers[i].status, answers[i].body, strlen(answers[i].body), &err);

        if (answers[i].rc < 0 ? rc >= 0 : rc != answers[i].rc)
            fail_msg("row %zu: %d", i, rc);
        if (!strstr(err.msg, answers[i].says))
            fail_msg("row %zu says '%s'", i, err.msg);
    }
}

static void paths_are_escaped(void **state)
{
    auto_buf struct buf path = BUF_INIT(0);

    (void)state;
    kube_path(&path, &kube_deployments, "shop", "a/b?c");
    assert_string_equal(buf_str(&path), "/apis/apps/v1/namespaces/shop/deployments/a%2Fb%3Fc");
    buf_clear(&path);
    kube_path(&path, &kube_pods, NULL, NULL);
    kube_query(&path, &(struct kube_where){ .labels = "app in (a, b)", .fields = "x=y" });
    assert_string_equal(buf_str(&path),
                        "/api/v1/pods&labelSelector=app%20in%20%28a%2C%20b%29&fieldSelector=x%3Dy");
}

/* ---- base64 (RFC 4648, section 10) ---- */

static const struct {
    const char *plain, *coded;
} pairs[] = { { "", "" },
              { "f", "Zg==" },
              { "fo", "Zm8=" },
              { "foo", "Zm9v" },
              { "foob", "Zm9vYg==" },
              { "fooba", "Zm9vYmE=" },
              { "foobar", "Zm9vYmFy" } };

static void base64_is_that_of_the_rfc(void **state)
{
    static const char *const wrong[] = { "Z",     "Zg=",      "Zg===", "=",
                                         "Zm9v=", "Zg==Zg==", "Zm-v",  "Zm9\x80" };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(pairs); i++) {
        auto_buf struct buf coded = BUF_INIT(0), plain = BUF_INIT(0);
        base64_encode(pairs[i].plain, strlen(pairs[i].plain), &coded);
        assert_string_equal(buf_str(&coded), pairs[i].coded);
        assert_true(base64_decode(pairs[i].coded, strlen(pairs[i].coded), &plain));
        assert_string_equal(buf_str(&plain), pairs[i].plain);
    }
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        auto_buf struct buf plain = BUF_INIT(0);
        if (base64_decode(wrong[i], strlen(wrong[i]), &plain))
            fail_msg("'%s' was taken", wrong[i]);
    }
    auto_buf struct buf lines = BUF_INIT(0);
    assert_true(base64_decode("Zm9v\nYmFy\n", 10, &lines));
    assert_string_equal(buf_str(&lines), "foobar");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_context_joins_a_server_and_a_user),
        cmocka_unit_test(another_context_may_be_named),
        cmocka_unit_test(embedded_certificates_have_a_path_of_ours),
        cmocka_unit_test(a_plugin_is_taken_with_its_words),
        cmocka_unit_test(broken_ones_say_where_and_what),
        cmocka_unit_test(answers_are_judged),
        cmocka_unit_test(paths_are_escaped),
        cmocka_unit_test(base64_is_that_of_the_rfc),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
