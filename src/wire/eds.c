#include "wire/eds.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/text.h"
#include "wire/value.h"

/* ---- the request ---- */

/* Protobuf's JSON has two names for a field: its own, and that in camel case. */
static const struct wire_value *member(const struct wire_value *v, const char *name, const char *camel)
{
    const struct wire_value *m = wire_value_get(v, name);
    return m != NULL ? m : wire_value_get(v, camel);
}

static int names_read(struct a_arena *arena, const struct wire_value *list, struct wire_eds_request *ret,
                      struct a_error *reterr)
{
    size_t n = wire_value_count(list);
    if (!wire_value_is_null(list) && !wire_value_is(list, WIRE_VALUE_ARRAY))
        return a_fail(reterr, -EINVAL, A_CODE_INVALID, "resource_names: expected a list of texts");
    if (n > WIRE_EDS_NAMES_MAX)
        return a_fail(reterr, -EINVAL, A_CODE_INVALID, "resource_names: more than %d", WIRE_EDS_NAMES_MAX);
    ret->names = a_arena_alloc(arena, (n + 1) * sizeof *ret->names);
    wire_value_foreach(v, list)
    {
        struct a_view name = wire_value_view(v);
        if (name.len == 0 || name.len > WIRE_EDS_NAME_MAX)
            return a_fail(reterr, -EINVAL, A_CODE_INVALID,
                          "resource_names: expected NAMESPACE/APP or NAMESPACE/APP/APPLICATION");
        ret->names[ret->n_names++] = name;
    }
    return 0;
}

static int hold_read(const struct wire_value *node, uint64_t *ret, struct a_error *reterr)
{
    struct a_view text = wire_value_view(wire_value_get(wire_value_get(node, "metadata"), "astra.hold"));
    uint64_t ms = WIRE_EDS_HOLD_MS;
    if (text.len > 0 && !a_text_duration(text, &ms))
        return a_fail(reterr, -EINVAL, A_CODE_INVALID,
                      "node.metadata.astra.hold: \"" A_VIEW_FMT "\" is no duration such as 20s",
                      A_VIEW_ARG(text));
    *ret = A_MIN(ms, (uint64_t)WIRE_EDS_HOLD_MAX_MS);
    return 0;
}

int wire_eds_request_parse(struct a_arena *arena, struct a_view body, struct wire_eds_request *ret,
                           struct a_error *reterr)
{
    struct wire_value *v;
    struct wire_eds_request q = {0};
    int rc = wire_json_parse(arena, body, "body", NULL, &v, reterr);
    if (rc != 0)
        return rc;
    if (!wire_value_is(v, WIRE_VALUE_OBJECT))
        return a_fail(reterr, -EINVAL, A_CODE_INVALID, "body: expected a DiscoveryRequest");
    struct a_view type = wire_value_view(member(v, "type_url", "typeUrl"));
    if (type.len > 0 && !a_view_is(type, WIRE_EDS_TYPE))
        return a_fail(reterr, -EINVAL, A_CODE_INVALID, "type_url: only " WIRE_EDS_TYPE " is served");
    q.version = wire_value_view(member(v, "version_info", "versionInfo"));
    rc = names_read(arena, member(v, "resource_names", "resourceNames"), &q, reterr);
    if (rc == 0)
        rc = hold_read(wire_value_get(v, "node"), &q.hold_ms, reterr);
    if (rc == 0)
        *ret = q;
    return rc;
}

/* ---- the answer ---- */

static int endpoint_order(const void *x, const void *y)
{
    const struct wire_eds_endpoint *a = x, *b = y;
    int order = strcmp(a->region.s, b->region.s);
    if (order == 0)
        order = strcmp(a->zone.s, b->zone.s);
    if (order == 0)
        order = strcmp(a->ip, b->ip);
    if (order == 0)
        order = (a->port > b->port) - (a->port < b->port);
    if (order == 0)
        order = (int)a->draining - (int)b->draining;
    return order != 0 ? order : (a->weight > b->weight) - (a->weight < b->weight);
}

/* An address counts once: a proxy of Serve stands for each application of its node. */
static size_t endpoints_unite(struct wire_eds_endpoint *e, size_t n)
{
    size_t kept = 0;
    for (size_t i = 0; i < n; i++)
        if (kept == 0 || e[i].port != e[kept - 1].port || strcmp(e[i].ip, e[kept - 1].ip) != 0)
            e[kept++] = e[i];
    return kept;
}

static void endpoint_print(struct a_buf *b, const struct wire_eds_endpoint *e)
{
    a_buf_addf(b,
               "{\"endpoint\":{\"address\":{\"socket_address\":{\"address\":\"%s\",\"port_value\":%u}}},"
               "\"health_status\":\"%s\",\"load_balancing_weight\":%" PRIu32 "}",
               e->ip, e->port, e->draining ? "DRAINING" : "HEALTHY", e->weight);
}

static bool is_same_place(const struct wire_eds_endpoint *a, const struct wire_eds_endpoint *b)
{
    return strcmp(a->region.s, b->region.s) == 0 && strcmp(a->zone.s, b->zone.s) == 0;
}

/* All endpoints of one locality; what is left. Its weight is what it has room for: localities are weighed
 * against each other only by who asks for it. */
static size_t locality_print(struct a_buf *b, const struct wire_eds_endpoint *e, size_t n)
{
    size_t end = 0;
    uint64_t weight = 0;
    for (; end < n && is_same_place(&e[end], e); end++)
        weight += e[end].draining ? 0 : e[end].weight;
    a_buf_addf(b,
               "{\"locality\":{\"region\":\"%s\",\"zone\":\"%s\"},\"load_balancing_weight\":%" PRIu64
               ",\"lb_endpoints\":[",
               e->region.s, e->zone.s, A_MAX(A_MIN(weight, (uint64_t)UINT32_MAX / 2), (uint64_t)1));
    for (size_t i = 0; i < end; i++) {
        a_buf_add_str(b, i > 0 ? "," : "");
        endpoint_print(b, &e[i]);
    }
    a_buf_add_str(b, "]}");
    return n - end;
}

void wire_eds_assignment_print(struct a_buf *b, struct a_view name, struct wire_eds_endpoint *endpoints,
                               size_t n)
{
    if (n > 1)
        qsort(endpoints, n, sizeof *endpoints, endpoint_order);
    n = endpoints_unite(endpoints, n);
    a_buf_add_str(b, "{\"@type\":\"" WIRE_EDS_TYPE "\",\"cluster_name\":");
    a_text_print_json(b, name);
    a_buf_add_str(b, ",\"endpoints\":[");
    for (size_t left = n; left > 0;) {
        a_buf_add_str(b, left < n ? "," : "");
        left = locality_print(b, endpoints + (n - left), left);
    }
    a_buf_add_str(b, "]}");
}

void wire_eds_version(struct a_view assignments, char *ret_version)
{
    snprintf(ret_version, WIRE_EDS_VERSION_LEN + 1, "%016" PRIx64,
             a_hash_bytes(0, assignments.ptr, assignments.len));
}

void wire_eds_response_print(struct a_buf *b, const char *version, struct a_view assignments)
{
    a_buf_addf(b, "{\"version_info\":\"%s\",\"type_url\":\"" WIRE_EDS_TYPE "\",\"resources\":[", version);
    a_buf_add_view(b, assignments);
    a_buf_add_str(b, "]}\n");
}
