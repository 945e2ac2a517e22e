/* kubeconfigs: any text is taken or refused with a word for it; what is taken travels and comes back the
 * same. */
#include <errno.h>
#include <stdint.h>

#include "base/assert.h"
#include "kube/kubeconfig.h"

static bool is_inline(const struct kube_access *a)
{
    return a->ca.file == NULL && a->token.file == NULL && a->certificate.file == NULL && a->key.file == NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    A_ARENA_AUTO struct a_arena arena = {.limit = 64u << 20};
    A_ERROR_AUTO struct a_error error = {0};
    struct kube_access access, back;
    int rc =
        kube_kubeconfig_read(&arena, (struct a_view){(const char *)data, size}, "f", NULL, &access, &error);
    a_assert(rc == 0 || rc == -EINVAL || rc == -ENOENT || rc == -E2BIG || rc == -ENOMEM);
    a_assert((rc == 0) == (error.message == NULL));
    if (rc != 0)
        return 0;
    a_assert(access.server != NULL && access.namespace != NULL &&
             access.credentials != KUBE_CREDENTIALS_NONE);
    if (access.token.value != NULL)
        (void)kube_token_expiry(a_view_str(access.token.value));
    if (!is_inline(&access))
        return 0;
    struct wire_value *v = kube_access_print(&arena, &access);
    a_assert(kube_access_parse(&arena, v, &back, NULL) == 0);
    a_assert(wire_value_equal(v, kube_access_print(&arena, &back)) && back.credentials == access.credentials);
    return 0;
}
