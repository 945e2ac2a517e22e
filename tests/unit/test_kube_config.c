/* kubeconfigs: what is chosen, what is refused, and that every error says file, line and field. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/base64.h"
#include "kube/kubeconfig.h"

#define PEM "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCg==" /* -----BEGIN CERTIFICATE----- */

static const char two[] =
    "apiVersion: v1\n"
    "kind: Config\n"
    "current-context: east\n"
    "contexts:\n"
    "- {name: east, context: {cluster: c-east, user: u-token}}\n"
    "- {name: west, context: {cluster: c-west, user: u-cert, namespace: astra}}\n"
    "clusters:\n"
    "- name: c-east\n"
    "  cluster: {server: 'https://10.0.0.1:6443/', certificate-authority-data: " PEM "}\n"
    "- name: c-west\n"
    "  cluster: {server: 'https://west.example/k8s/clusters/c-1', certificate-authority: ca.pem,\n"
    "    tls-server-name: west, proxy-url: 'http://proxy:3128'}\n"
    "users:\n"
    "- {name: u-token, user: {token: abc}}\n"
    "- name: u-cert\n"
    "  user: {client-certificate-data: " PEM ", client-key: /etc/key.pem}\n";

struct fixture {
    struct a_arena arena;
    struct a_error error;
    struct kube_access access;
};

static int setup(void **state)
{
    static struct fixture f;
    f = (struct fixture){0};
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    a_arena_deinit(&f->arena);
    a_error_deinit(&f->error);
    return 0;
}

static int read_text(struct fixture *f, const char *text, const char *context)
{
    return kube_kubeconfig_read(&f->arena, a_view_str(text), "kc", context, &f->access, &f->error);
}

/* The text is refused, and the error holds these words. */
static void refused(struct fixture *f, const char *text, const char *context, int rc, const char *words)
{
    assert_int_equal(read_text(f, text, context), rc);
    if (strstr(a_error_text(&f->error), words) == NULL)
        fail_msg("wanted %s in: %s", words, a_error_text(&f->error));
}

static void test_current(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(read_text(f, two, NULL), 0);
    assert_string_equal(f->access.context, "east");
    assert_string_equal(f->access.server, "https://10.0.0.1:6443");
    assert_string_equal(f->access.namespace, "default");
    assert_string_equal(f->access.ca.value, "-----BEGIN CERTIFICATE-----\n");
    assert_int_equal(f->access.credentials, KUBE_CREDENTIALS_TOKEN);
    assert_string_equal(f->access.token.value, "abc");
}

static void test_chosen(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(read_text(f, two, "west"), 0);
    assert_string_equal(f->access.server, "https://west.example/k8s/clusters/c-1");
    assert_string_equal(f->access.namespace, "astra");
    assert_string_equal(f->access.server_name, "west");
    assert_string_equal(f->access.proxy, "http://proxy:3128");
    assert_string_equal(f->access.ca.file, "ca.pem");
    assert_null(f->access.ca.value);
    assert_int_equal(f->access.credentials, KUBE_CREDENTIALS_CERTIFICATE);
    assert_string_equal(f->access.key.file, "/etc/key.pem");
    refused(f, two, "wset", -ENOENT, "kc: contexts: there is no wset; did you mean west?");
}

/* One user whose entry is `user`, in a config that is right otherwise. The user stands in line 6. */
static const char *with_user(struct fixture *f, const char *user)
{
    return a_arena_printf(&f->arena,
                          "current-context: x\n"
                          "contexts: [{name: x, context: {cluster: c, user: u}}]\n"
                          "clusters: [{name: c, cluster: {server: 'https://h:1'}}]\n"
                          "users:\n"
                          "- name: u\n"
                          "  user: {%s}\n",
                          user);
}

static void test_refused(void **state)
{
    struct fixture *f = *state;
    refused(f, with_user(f, "exec: {command: aws}"), NULL, -EINVAL,
            "kc:6:16: users[0].user.exec: needs a program");
    refused(f, with_user(f, "auth-provider: {name: gcp}"), NULL, -EINVAL,
            "kc:6:25: users[0].user.auth-provider:");
    refused(f, with_user(f, "token: a, as: admin"), NULL, -EINVAL, "users[0].user.as: impersonation");
    refused(f, with_user(f, ""), NULL, -EINVAL, "users[0].user: no credentials");
    refused(f, with_user(f, "token: 5"), NULL, -EINVAL, "kc:6:17: users[0].user.token: expected a string");
    refused(f, with_user(f, "client-certificate: a"), NULL, -EINVAL, "client-key belong together");
    refused(f, with_user(f, "client-key-data: '###', client-certificate: a"), NULL, -EINVAL,
            "users[0].user.client-key-data: expected base64");
    refused(f, with_user(f, "client-key-data: YWJj, client-certificate: a"), NULL, -EINVAL, "of PEM");
}

static void test_wrong(void **state)
{
    struct fixture *f = *state;
    refused(f, "a: [", NULL, -EINVAL, "kc:");
    refused(f, "[]", NULL, -EINVAL, "expected a kubeconfig");
    refused(f, "{}", NULL, -ENOENT, "current-context is not set");
    refused(f, "kind: Pod", NULL, -EINVAL, "kc:1:7: kind: expected Config");
    refused(f, "current-context: x\ncontexts: {}\n", NULL, -EINVAL, "kc:2:11: contexts: expected a list");
    refused(f, "current-context: x\ncontexts: [{name: x, context: {cluster: c, user: u}}]\n", NULL, -EINVAL,
            "clusters: there is no c, which context x names");
    refused(f,
            "contexts: [{name: x, context: {cluster: c, user: u}}]\nclusters: [{name: c, cluster: {server: "
            "'http://h'}}]",
            "x", -EINVAL, "kc:2:40: clusters[0].cluster.server: expected https://HOST:PORT: without TLS");
    refused(f, "contexts: [{name: x, context: {cluster: c, user: u}}]\nclusters: [{name: c, cluster: {}}]",
            "x", -EINVAL, "clusters[0].cluster.server: required");
    refused(f, "contexts: [{name: x, context: {user: u}}]", "x", -EINVAL,
            "contexts[0].context.cluster: required");
}

static void test_file_first(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(read_text(f, with_user(f, "token: old, tokenFile: /run/token"), NULL), 0);
    assert_null(f->access.token.value);
    assert_string_equal(f->access.token.file, "/run/token");
    assert_int_equal(read_text(f, with_user(f, "username: me, password: secret"), NULL), 0);
    assert_int_equal(f->access.credentials, KUBE_CREDENTIALS_PASSWORD);
}

static void test_document(void **state)
{
    struct fixture *f = *state;
    struct kube_access back;
    assert_int_equal(read_text(f, two, NULL), 0);
    struct wire_value *v = kube_access_print(&f->arena, &f->access);
    assert_int_equal(kube_access_parse(&f->arena, v, &back, &f->error), 0);
    assert_true(wire_value_equal(v, kube_access_print(&f->arena, &back)));
    assert_int_equal(back.credentials, KUBE_CREDENTIALS_TOKEN);
    wire_value_set_string(&f->arena, v, "server", "ftp://x");
    assert_int_equal(kube_access_parse(&f->arena, v, &back, &f->error), -EINVAL);
    assert_non_null(strstr(a_error_text(&f->error), "server"));
}

static void test_expiry(void **state)
{
    (void)state;
    /* {"alg":"none"} . {"exp":1790000000,"sub":"x"} */
    assert_int_equal(
        kube_token_expiry(a_view_str("eyJhbGciOiJub25lIn0.eyJleHAiOjE3OTAwMDAwMDAsInN1YiI6IngifQ.sig")),
        1790000000);
    assert_int_equal(kube_token_expiry(a_view_str("abcdef")), 0);
    assert_int_equal(kube_token_expiry(a_view_str("a.b.c")), 0);
}

static void test_base64(void **state)
{
    (void)state;
    static const char *const plain[] = {"",     "f",     "fo",    "foo",
                                        "foob", "fooba", "foobar"}; /* RFC 4648, section 10 */
    static const char *const coded[] = {"", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy"};
    static const char *const wrong[] = {"Z", "Zg=", "Zg==x", "Zm9v=", "Z$==", "Zm9vY", "===="};
    for (size_t i = 0; i < A_ARRAY_SIZE(plain); i++) {
        A_BUF_AUTO struct a_buf there = {0}, back = {0};
        a_base64_encode(a_view_str(plain[i]), &there);
        assert_true(a_view_is(a_buf_view(&there), coded[i]));
        assert_true(a_base64_decode(a_buf_view(&there), &back));
        assert_true(a_view_is(a_buf_view(&back), plain[i]));
    }
    for (size_t i = 0; i < A_ARRAY_SIZE(wrong); i++) {
        A_BUF_AUTO struct a_buf b = {0};
        if (a_base64_decode(a_view_str(wrong[i]), &b))
            fail_msg("taken: %s", wrong[i]);
    }
    A_BUF_AUTO struct a_buf b = {0};
    assert_true(a_base64_decode(a_view_str("Zm9v\n  YmE\n"), &b));
    assert_true(a_view_is(a_buf_view(&b), "fooba"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_current, setup, teardown),
        cmocka_unit_test_setup_teardown(test_chosen, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_wrong, setup, teardown),
        cmocka_unit_test_setup_teardown(test_file_first, setup, teardown),
        cmocka_unit_test_setup_teardown(test_document, setup, teardown),
        cmocka_unit_test(test_expiry),
        cmocka_unit_test(test_base64),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
