/* What a pool tells people: five conditions, each with a reason and the server's own words. */
#include <stdio.h>
#include <string.h>

#include "kube/pool_core.h"

static const char *const types[] = {
#define X(name, text) text,
    KUBE_POOL_CONDITIONS(X)
#undef X
};

static bool condition_set(struct kube_pool *p, enum kube_pool_condition_type type, bool status,
                          const char *reason, const char *message)
{
    struct kube_pool_condition *c = &p->conditions[type];
    bool first = c->type == NULL;
    if (!first && c->status == status && strcmp(c->reason, reason) == 0 &&
        strncmp(c->message, message, sizeof c->message - 1) == 0)
        return false;
    if (first || c->status != status)
        c->since_ms = p->now;
    c->type = types[type];
    c->status = status;
    c->reason = reason;
    snprintf(c->message, sizeof c->message, "%s", message);
    return true;
}

bool pool_conditions_update(struct kube_pool *p)
{
    char text[256];
    const struct kube_pool_status *st = &p->status;
    bool ready = st->joined >= p->min,
         full = p->have_spec && st->pods >= p->max && (p->max > 0 || p->limit != NULL), changed = false;
    uint32_t waiting = p->unschedulable;

    snprintf(text, sizeof text, "%u of at least %u pods have joined%s%s", st->joined, p->min,
             p->refused != NULL ? ": " : "", p->refused != NULL ? p->refused : "");
    changed |= condition_set(p, KUBE_CONDITION_READY, ready,
                             ready                ? "Joined"
                             : p->refused != NULL ? "Refused"
                                                  : "TooFew",
                             text);
    bool limited = full && p->limit != NULL;
    snprintf(text, sizeof text, "%u of at most %u pods%s%s", st->pods, p->max, limited ? ": " : "",
             limited ? p->limit : "");
    changed |= condition_set(p, KUBE_CONDITION_AT_MAXIMUM, full,
                             limited ? "ClusterLimit"
                             : full  ? "MaxReached"
                                     : "Room",
                             text);
    snprintf(text, sizeof text, "%u pods find no node", waiting);
    changed |=
        condition_set(p, KUBE_CONDITION_UNSCHEDULABLE, waiting > 0, waiting > 0 ? "NoNode" : "None", text);
    changed |= condition_set(p, KUBE_CONDITION_STALE, p->stale, p->stale ? "ServerUnreachable" : "Synced",
                             p->stale && p->stale_reason != NULL ? p->stale_reason : "");
    changed |= condition_set(p, KUBE_CONDITION_QUOTA_EXCEEDED, p->quota != NULL,
                             p->quota != NULL ? "QuotaExceeded" : "None", p->quota != NULL ? p->quota : "");
    return changed;
}
