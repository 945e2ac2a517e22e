#include "kube/pod.h"

#include "base/assert.h"

#define MESSAGE_MAX 256
#define REASON_MAX 128

/* Why a pod is where it is has many places to stand in: the one of the most weight counts. */
enum weight {
    WEIGHT_NONE,
    WEIGHT_WAITING,    /* a container that waits, or that ended */
    WEIGHT_SCHEDULER,  /* PodScheduled is False */
    WEIGHT_DISRUPTION, /* DisruptionTarget */
    WEIGHT_STATUS,     /* status.reason */
};

/* The texts as they stand in the object, for they are kept only once it is known which count. */
struct why {
    enum weight weight;
    struct a_view reason, message;
};

static const char *const phases[] = {
    [KUBE_PHASE_UNKNOWN] = "Unknown",     [KUBE_PHASE_PENDING] = "Pending", [KUBE_PHASE_RUNNING] = "Running",
    [KUBE_PHASE_SUCCEEDED] = "Succeeded", [KUBE_PHASE_FAILED] = "Failed",
};

/* A short text to be compared at once. */
static struct a_view word_read(struct kube_texts *t, struct wire_scan *s)
{
    a_buf_reset(&t->room);
    return wire_scan_string(s, &t->room);
}

static struct kube_slice raw_keep(struct kube_texts *t, struct a_view raw, size_t max)
{
    struct wire_scan s;
    if (raw.len == 0)
        return (struct kube_slice){0};
    wire_scan_init(&s, raw);
    return kube_texts_add(t, word_read(t, &s), max);
}

static void why_weigh(struct why *why, struct why other)
{
    if (other.weight > why->weight)
        *why = other;
}

static void labels_read(struct kube_pod *pod, struct kube_texts *t, struct wire_scan *s)
{
    if (!wire_scan_enter(s, WIRE_VALUE_OBJECT))
        return;
    for (struct a_view key; wire_scan_member(s, &key);) {
        if (a_view_is(key, KUBE_LABEL_INSTALLATION))
            pod->installation = kube_texts_read(t, s);
        else if (a_view_is(key, KUBE_LABEL_POOL))
            pod->pool = kube_texts_read(t, s);
        else if (a_view_is(key, KUBE_LABEL_TEMPLATE))
            pod->template = kube_texts_read(t, s);
        else
            wire_scan_skip(s);
    }
}

static uint32_t grace_read(struct wire_scan *s)
{
    int64_t seconds = wire_scan_int(s);
    return (uint32_t)A_MIN(A_MAX(seconds, (int64_t)0), (int64_t)UINT32_MAX);
}

static void metadata_read(struct kube_pod *pod, struct kube_texts *t, struct a_view key, struct wire_scan *s)
{
    if (a_view_is(key, "labels"))
        labels_read(pod, t, s);
    else if (a_view_is(key, "creationTimestamp"))
        pod->created_s = kube_time_read(s, t);
    else if (a_view_is(key, "deletionTimestamp"))
        pod->deleted_s = kube_time_read(s, t);
    else if (a_view_is(key, "deletionGracePeriodSeconds"))
        pod->grace_s = grace_read(s);
    else
        wire_scan_skip(s);
}

static void spec_read(struct kube_pod *pod, struct kube_texts *t, struct wire_scan *s)
{
    if (!wire_scan_enter(s, WIRE_VALUE_OBJECT))
        return;
    for (struct a_view key; wire_scan_member(s, &key);) {
        if (a_view_is(key, "nodeName"))
            pod->node = kube_texts_read(t, s);
        else
            wire_scan_skip(s);
    }
    pod->scheduled = pod->node.len > 0;
}

enum condition {
    CONDITION_OTHER,
    CONDITION_READY,
    CONDITION_SCHEDULED,
    CONDITION_DISRUPTED,
};

static enum condition condition_type(struct a_view type)
{
    if (a_view_is(type, "Ready"))
        return CONDITION_READY;
    if (a_view_is(type, "PodScheduled"))
        return CONDITION_SCHEDULED;
    return a_view_is(type, "DisruptionTarget") ? CONDITION_DISRUPTED : CONDITION_OTHER;
}

static void condition_read(struct kube_pod *pod, struct kube_texts *t, struct why *why, struct wire_scan *s)
{
    enum condition type = CONDITION_OTHER;
    struct why own = {0};
    bool yes = false;
    if (!wire_scan_enter(s, WIRE_VALUE_OBJECT))
        return;
    for (struct a_view key; wire_scan_member(s, &key);) {
        if (a_view_is(key, "type"))
            type = condition_type(word_read(t, s));
        else if (a_view_is(key, "status"))
            yes = a_view_is(word_read(t, s), "True");
        else if (a_view_is(key, "reason"))
            own.reason = wire_scan_raw(s);
        else if (a_view_is(key, "message"))
            own.message = wire_scan_raw(s);
        else
            wire_scan_skip(s);
    }
    if (type == CONDITION_READY) {
        pod->ready = yes;
    } else if (type == CONDITION_SCHEDULED && !yes) {
        pod->unschedulable = a_view_is(own.reason, "\"Unschedulable\"");
        own.weight = WEIGHT_SCHEDULER;
    } else if (type == CONDITION_DISRUPTED && yes) {
        pod->disrupted = true;
        own.weight = WEIGHT_DISRUPTION;
    }
    why_weigh(why, own);
}

static void conditions_read(struct kube_pod *pod, struct kube_texts *t, struct why *why, struct wire_scan *s)
{
    if (!wire_scan_enter(s, WIRE_VALUE_ARRAY))
        return;
    while (wire_scan_item(s))
        condition_read(pod, t, why, s);
}

/* {"waiting": {"reason": "ImagePullBackOff", ...}} or {"terminated": ...} or {"running": ...} */
static void container_state_read(struct why *why, struct wire_scan *s)
{
    if (!wire_scan_enter(s, WIRE_VALUE_OBJECT))
        return;
    for (struct a_view key, inner; wire_scan_member(s, &key);) {
        struct why own = {.weight = WEIGHT_WAITING};
        if (a_view_is(key, "running")) {
            wire_scan_skip(s);
            continue;
        }
        if (!wire_scan_enter(s, WIRE_VALUE_OBJECT))
            continue;
        while (wire_scan_member(s, &inner)) {
            if (a_view_is(inner, "reason"))
                own.reason = wire_scan_raw(s);
            else if (a_view_is(inner, "message"))
                own.message = wire_scan_raw(s);
            else
                wire_scan_skip(s);
        }
        why_weigh(why, own);
    }
}

static void containers_read(struct kube_pod *pod, struct why *why, struct wire_scan *s)
{
    if (!wire_scan_enter(s, WIRE_VALUE_ARRAY))
        return;
    while (wire_scan_item(s)) {
        if (!wire_scan_enter(s, WIRE_VALUE_OBJECT))
            continue;
        for (struct a_view key; wire_scan_member(s, &key);) {
            if (a_view_is(key, "restartCount"))
                pod->restarts += (uint32_t)wire_scan_int(s);
            else if (a_view_is(key, "state"))
                container_state_read(why, s);
            else
                wire_scan_skip(s);
        }
    }
}

static uint8_t phase_of(struct a_view word)
{
    for (size_t i = 0; i < A_ARRAY_SIZE(phases); i++)
        if (a_view_is(word, phases[i]))
            return (uint8_t)i;
    return KUBE_PHASE_UNKNOWN;
}

static void status_read(struct kube_pod *pod, struct kube_texts *t, struct wire_scan *s)
{
    struct why why = {0}, own = {.weight = WEIGHT_STATUS};
    if (!wire_scan_enter(s, WIRE_VALUE_OBJECT))
        return;
    for (struct a_view key; wire_scan_member(s, &key);) {
        if (a_view_is(key, "phase")) {
            pod->phase = phase_of(word_read(t, s));
        } else if (a_view_is(key, "podIP")) {
            pod->ip = kube_texts_read(t, s);
        } else if (a_view_is(key, "reason")) {
            own.reason = wire_scan_raw(s);
        } else if (a_view_is(key, "message")) {
            own.message = wire_scan_raw(s);
        } else if (a_view_is(key, "conditions")) {
            conditions_read(pod, t, &why, s);
        } else if (a_view_is(key, "containerStatuses") || a_view_is(key, "initContainerStatuses")) {
            containers_read(pod, &why, s);
        } else {
            wire_scan_skip(s);
        }
    }
    if (own.reason.len > 0)
        why_weigh(&why, own);
    pod->reason = raw_keep(t, why.reason, REASON_MAX);
    pod->message = raw_keep(t, why.message, MESSAGE_MAX);
}

static void pod_read(void *fields, struct kube_texts *texts, enum kube_part part, struct a_view key,
                     struct wire_scan *s)
{
    struct kube_pod *pod = fields;
    if (part == KUBE_PART_METADATA)
        metadata_read(pod, texts, key, s);
    else if (a_view_is(key, "spec"))
        spec_read(pod, texts, s);
    else if (a_view_is(key, "status"))
        status_read(pod, texts, s);
    else
        wire_scan_skip(s);
}

const struct kube_kind kube_kind_pod = {
    .name = "pods", .n_fields = sizeof(struct kube_pod), .read = pod_read};

const struct kube_pod *kube_row_pod(const struct kube_row *row)
{
    a_assert(row->n_fields == sizeof(struct kube_pod));
    return kube_row_fields(row);
}

_Static_assert(sizeof(struct kube_pod) <= KUBE_FIELDS_MAX && sizeof(struct kube_pod) % 8 == 0,
               "a row's fields are compared byte by byte");
