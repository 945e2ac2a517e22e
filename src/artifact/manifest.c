#include "artifact/manifest.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "wire/value.h"

#define SCHEMA 1
#define RAY_OLDEST "2.52" /* token authentication and direct ingress are there since */

static uint64_t version_part(struct a_view *rest)
{
    uint64_t n = 0;
    struct a_view part = a_view_split(*rest, '.', rest);
    for (size_t i = 0; i < part.len && part.ptr[i] >= '0' && part.ptr[i] <= '9' && n < UINT32_MAX; i++)
        n = n * 10 + (uint64_t)(part.ptr[i] - '0');
    return n;
}

int artifact_version_compare(const char *a, const char *b)
{
    struct a_view va = a_view_str(a), vb = a_view_str(b);
    while (va.len > 0 || vb.len > 0) {
        uint64_t na = version_part(&va), nb = version_part(&vb);
        if (na != nb)
            return na < nb ? -1 : 1;
    }
    return 0;
}

int artifact_manifest_check(struct a_view text, const struct artifact_host *host,
                            struct artifact_manifest *ret, struct a_error *reterr)
{
    A_ARENA_AUTO struct a_arena arena = {0};
    A_ERROR_AUTO struct a_error e = A_ERROR_NONE;
    struct wire_value *v;
    const int rc = -EINVAL;
    const enum a_code code = A_CODE_ENV_MISMATCH;
    if (wire_json_parse(&arena, text, ARTIFACT_MANIFEST_FILE, NULL, &v, &e) < 0)
        return a_fail(reterr, rc, code, "environment: %s", a_error_text(&e));
    const char *platform = wire_value_string(wire_value_get(v, "platform"), "(not said)");
    const char *glibc = wire_value_string(wire_value_get(v, "glibc"), "0");
    const char *ray = wire_value_string(wire_value_get(v, "ray"), NULL);
    if (wire_value_int(wire_value_get(v, "schema"), 0) != SCHEMA)
        return a_fail(reterr, rc, code, "environment: its manifest is not of schema %d", SCHEMA);
    if (strcmp(platform, host->platform) != 0)
        return a_fail(reterr, rc, code, "environment: made for %s, this node is %s", platform,
                      host->platform);
    if (artifact_version_compare(glibc, host->glibc) > 0)
        return a_fail(reterr, rc, code, "environment: needs glibc %s, this node has %s", glibc, host->glibc);
    if (ray == NULL)
        return a_fail(reterr, rc, code, "environment: it has no Ray; add ray[serve] to its requirements");
    if (artifact_version_compare(ray, RAY_OLDEST) < 0)
        return a_fail(reterr, rc, code, "environment: has Ray %s, Astra needs %s or newer", ray, RAY_OLDEST);
    int64_t bytes = wire_value_int(wire_value_get(v, "unpacked_bytes"), 0);
    *ret = (struct artifact_manifest){.unpacked_bytes = bytes > 0 ? (uint64_t)bytes : 0};
    snprintf(ret->python, sizeof ret->python, "%s", wire_value_string(wire_value_get(v, "python"), ""));
    snprintf(ret->ray, sizeof ret->ray, "%s", ray);
    return 0;
}
