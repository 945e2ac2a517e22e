/* Slices and their objects. */
#include "kube/expose_layout.h"

#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "kube/objects_make.h"

/* ---- addresses ---- */

static bool is_v6(const char *ip)
{
    return strchr(ip, ':') != NULL;
}

static bool is_v4_nameable(const char *ip)
{
    struct a_view rest = a_view_str(ip);
    uint64_t part[4];
    for (size_t i = 0; i < 4; i++) {
        if (rest.len == 0 || !a_text_u64(a_view_split(rest, '.', &rest), &part[i]) || part[i] > 255)
            return false;
    }
    bool local = part[0] == 0 || part[0] == 127 || (part[0] == 169 && part[1] == 254);
    return rest.len == 0 && !local && part[0] < 224;
}

bool kube_gateway_is_nameable(const char *ip)
{
    if (!is_v6(ip))
        return is_v4_nameable(ip);
    bool has_two = strchr(strchr(ip, ':') + 1, ':') != NULL; /* one alone: a port follows */
    return has_two && strspn(ip, "0123456789abcdefABCDEF:") == strlen(ip) && strcmp(ip, "::") != 0 &&
           strcmp(ip, "::1") != 0 && strncmp(ip, "fe8", 3) != 0 && strncmp(ip, "ff", 2) != 0;
}

/* ---- the layout ---- */

static bool gateway_equal(const struct kube_gateway *a, const struct kube_gateway *b)
{
    return a->port == b->port && strcmp(a->ip, b->ip) == 0;
}

static bool gateway_is_in(const struct kube_gateway *list, size_t n, const struct kube_gateway *g)
{
    for (size_t i = 0; i < n; i++)
        if (gateway_equal(&list[i], g))
            return true;
    return false;
}

void kube_layout_recall(struct kube_layout *l, size_t at, const struct wire_value *slice)
{
    struct kube_endpoint_slice *s = &l->slices[at];
    int64_t port = wire_value_int(wire_value_path(slice, "ports.0.port"), 0);
    if (s->n > 0 || port <= 0 || port > UINT16_MAX)
        return;
    s->port = (uint16_t)port;
    wire_value_foreach(e, wire_value_get(slice, "endpoints"))
    {
        const char *ip = wire_value_string(wire_value_path(e, "addresses.0"), "");
        if (s->n == KUBE_SLICE_MAX || !kube_gateway_is_nameable(ip))
            continue;
        struct kube_gateway *g = &s->gateways[s->n++];
        *g = (struct kube_gateway){.port = s->port};
        snprintf(g->ip, sizeof g->ip, "%s", ip);
        s->v6 = is_v6(ip);
    }
}

static void slice_sweep(struct kube_endpoint_slice *s, const struct kube_gateway *gateways, size_t n)
{
    size_t kept = 0;
    for (size_t i = 0; i < s->n; i++)
        if (gateway_is_in(gateways, n, &s->gateways[i]))
            s->gateways[kept++] = s->gateways[i];
    s->n = kept;
}

static bool gateway_has_place(const struct kube_layout *l, const struct kube_gateway *g)
{
    for (size_t i = 0; i < KUBE_SLICES_MAX; i++)
        if (gateway_is_in(l->slices[i].gateways, l->slices[i].n, g))
            return true;
    return false;
}

static struct kube_endpoint_slice *slice_for(struct kube_layout *l, const struct kube_gateway *g)
{
    for (size_t i = 0; i < KUBE_SLICES_MAX; i++) {
        struct kube_endpoint_slice *s = &l->slices[i];
        if (s->n > 0 && s->n < KUBE_SLICE_MAX && s->port == g->port && s->v6 == is_v6(g->ip))
            return s;
    }
    for (size_t i = 0; i < KUBE_SLICES_MAX; i++) {
        if (l->slices[i].n > 0)
            continue;
        l->slices[i].port = g->port;
        l->slices[i].v6 = is_v6(g->ip);
        return &l->slices[i];
    }
    return NULL;
}

void kube_layout_set(struct kube_layout *l, const struct kube_gateway *gateways, size_t n)
{
    if (n == 0)
        return;
    for (size_t i = 0; i < KUBE_SLICES_MAX; i++)
        slice_sweep(&l->slices[i], gateways, n);
    for (size_t i = 0; i < n; i++) {
        struct kube_endpoint_slice *s =
            gateway_has_place(l, &gateways[i]) ? NULL : slice_for(l, &gateways[i]);
        if (s != NULL)
            s->gateways[s->n++] = gateways[i];
    }
}

/* ---- objects ---- */

static void port_make(struct make *m, struct wire_value *parent, uint16_t port)
{
    struct wire_value *p = make_item(m, make_array(m, parent, "ports"));
    wire_value_set_string(m->arena, p, "name", "http");
    wire_value_set_string(m->arena, p, "protocol", "TCP");
    wire_value_set_int(m->arena, p, "port", port);
}

struct wire_value *kube_expose_service_make(struct a_arena *arena, const char *installation,
                                            const char *namespace, const char *app, uint16_t port)
{
    struct make m = {.arena = arena};
    struct wire_value *v = make_kind(&m, "v1", "Service", app, namespace), *spec;
    make_pool_labels(&m, make_object(&m, wire_value_get(v, "metadata"), "labels"), installation, NULL);
    spec = make_object(&m, v, "spec");
    wire_value_set_string(arena, spec, "clusterIP", "None");
    port_make(&m, spec, port);
    return v;
}

static void endpoint_make(struct make *m, struct wire_value *list, const struct kube_gateway *g)
{
    struct wire_value *e = make_item(m, list), *conditions;
    make_texts(m, e, "addresses", (const char *const[]){g->ip, NULL});
    conditions = make_object(m, e, "conditions");
    wire_value_set_bool(m->arena, conditions, "ready", true);
    wire_value_set_bool(m->arena, conditions, "serving", true);
    wire_value_set_bool(m->arena, conditions, "terminating", false);
}

struct wire_value *kube_expose_slice_make(struct a_arena *arena, const char *installation,
                                          const char *namespace, const char *app, const char *name,
                                          const struct kube_endpoint_slice *slice)
{
    struct make m = {.arena = arena};
    struct wire_value *v = make_kind(&m, "discovery.k8s.io/v1", "EndpointSlice", name, namespace);
    struct wire_value *labels = make_object(&m, wire_value_get(v, "metadata"), "labels"), *endpoints;
    make_pool_labels(&m, labels, installation, NULL);
    wire_value_set_string(arena, labels, KUBE_LABEL_SERVICE, app);
    wire_value_set_string(arena, labels, KUBE_LABEL_MANAGED_BY, KUBE_MANAGED_BY);
    wire_value_set_string(arena, v, "addressType", slice->v6 ? "IPv6" : "IPv4");
    port_make(&m, v, slice->port);
    endpoints = make_array(&m, v, "endpoints");
    for (size_t i = 0; i < slice->n; i++)
        endpoint_make(&m, endpoints, &slice->gateways[i]);
    return v;
}

bool kube_object_covers(const struct wire_value *have, const struct wire_value *want)
{
    if (have == NULL || have->type != want->type)
        return false;
    if (want->type == WIRE_VALUE_OBJECT) {
        wire_value_foreach(v, want)
        {
            if (!kube_object_covers(wire_value_get_view(have, v->key), v))
                return false;
        }
        return true;
    }
    if (want->type != WIRE_VALUE_ARRAY)
        return wire_value_equal(have, want);
    const struct wire_value *h = wire_value_first(have);
    if (wire_value_count(have) != wire_value_count(want))
        return false;
    wire_value_foreach(v, want)
    {
        if (!kube_object_covers(h, v))
            return false;
        h = h->next;
    }
    return true;
}
