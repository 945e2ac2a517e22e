/* limits and requests of the Ray container to cpu, memory, disk and devices. As in KubeRay, a limit counts
 * more than a request. */
#include <inttypes.h>
#include <string.h>

#include "base/text.h"
#include "kube/rayservice_core.h"

/* ---- devices ---- */

/* Extended resources of Kubernetes and the classes of devices that they are. */
static const struct {
    const char *resource, *class;
} devices[] = {
    {"nvidia.com/gpu", "nvidia"},
    {"amd.com/gpu", "amd"},
    {"google.com/tpu", "tpu"},
    {"gpu.intel.com/i915", "intel"},
    {"gpu.intel.com/xe", "intel"},
    {"habana.ai/gaudi", "gaudi"},
    {"aws.amazon.com/neuron", "neuron"},
    {"aws.amazon.com/neurondevice", "neuron"},
    {"huawei.com/Ascend910", "ascend/910"},
    {"huawei.com/Ascend910A", "ascend/910A"},
    {"huawei.com/Ascend910B", "ascend/910B"},
    {"huawei.com/Ascend910B2", "ascend/910B2"},
    {"huawei.com/Ascend910B3", "ascend/910B3"},
    {"huawei.com/Ascend910B4", "ascend/910B4"},
    {"huawei.com/Ascend910C", "ascend/910C"},
    {"huawei.com/Ascend310P", "ascend/310P"},
    {"cambricon.com/mlu", "cambricon"},
    {"cambricon.com/vmlu", "cambricon"},
    {"hygon.com/dcu", "hygon"},
    {"hygon.com/dcunum", "hygon"},
    {"iluvatar.ai/BI-V150-vgpu", "iluvatar/BI-V150"},
    {"iluvatar.ai/MR-V100-vgpu", "iluvatar/MR-V100"},
    {"mthreads.com/vgpu", "mthreads"},
    {"metax-tech.com/gpu", "metax"},
    {"metax-tech.com/sgpu", "metax"},
    {"enflame.com/gcu", "enflame"},
    {"kunlunxin.com/xpu", "kunlunxin"},
    {"kunlunxin.com/vxpu", "kunlunxin"},
    {"birentech.com/gpu", "birentech"},
    {"vastaitech.com/va", "vastai"},
    {"tencent.com/zixiao", "zhixiao"},
    {"tencent.com/zhixiao", "zhixiao"},
};

static const char *device_class(struct a_view resource)
{
    for (size_t i = 0; i < A_ARRAY_SIZE(devices); i++)
        if (a_view_is(resource, devices[i].resource))
            return devices[i].class;
    return NULL;
}

static bool devices_live(struct importer *im, struct import_place at)
{
    return import_lives_or_lost(im, at, a_arena_printf(im->arena, "%s.devices", at.group->fields),
                                "until then all nodes that it may be placed on must have them");
}

/* One entry for each resource: an App's entries are all wanted, their classes alternatives. */
static void device_add(struct importer *im, struct import_place at, const char *class)
{
    int64_t n;
    struct import_group *g = at.group;
    if (!import_count(im, at, &n) || n == 0)
        return;
    g->devices += (uint64_t)n;
    if (!devices_live(im, at))
        return;
    struct wire_value *device = wire_value_new_object(im->arena), *any = import_list(im, device, "any");
    wire_value_append(any, wire_value_new_string(im->arena, class));
    import_set(im, at, device, "count", wire_value_new_int(im->arena, n));
    device->line = at.value->line;
    device->column = at.value->column;
    wire_value_append(import_list(im, g->member, "devices"), device);
}

/* HAMi's: a part of each device, in MiB or per cent. */
static void device_part_set(struct importer *im, struct import_place at, const char *key)
{
    int64_t n;
    bool share = strcmp(key, "share") == 0;
    struct wire_value *device = wire_value_at(wire_value_get(at.group->member, "devices"), 0);
    if (!import_count(im, at, &n) || n == 0 || (share && n == 100))
        return;
    if (!devices_live(im, at))
        return;
    if (device == NULL || (share && n > 100))
        import_lost(im, at, "set devices of the member", "no device that it could be a part of");
    else if (share)
        import_set_text(im, at, device, key, a_arena_printf(im->arena, "0.%02" PRId64, n));
    else
        import_set_text(im, at, device, key, a_arena_printf(im->arena, "%" PRId64 "Mi", n));
}

/* ---- the rest ---- */

/* Workers take whole cores: Ray counts no others. */
static void cpu_map(struct importer *im, struct import_place at)
{
    A_BUF_AUTO struct a_buf b = {0};
    uint64_t mcpu;
    const char *text = import_text(im, at.value);
    if (text == NULL || !a_text_mcpu(a_view_str(text), &mcpu) || mcpu == 0) {
        import_lost(im, at, "set cpu of the member", "expected a number of cores such as 2, 0.5 or 250m");
        return;
    }
    uint64_t whole = at.group->head ? mcpu : (mcpu + 999) / 1000 * 1000;
    if (whole != mcpu)
        import_note(im, at, NULL, "rounded up: a worker takes whole cores");
    a_text_print_mcpu(&b, whole);
    import_set_text(im, at, at.group->member, "cpu", b.ptr);
}

static void bytes_map(struct importer *im, struct import_place at, const char *key)
{
    uint64_t bytes;
    const char *text = import_text(im, at.value);
    if (text != NULL && a_text_bytes(a_view_str(text), &bytes))
        import_set_text(im, at, at.group->member, key, text);
    else
        import_lost(im, at, a_arena_printf(im->arena, "set %s of the member", key),
                    "expected a quantity of bytes such as 2Gi");
}

static void resource_map(struct importer *im, struct import_place at)
{
    struct a_view name = at.value->key;
    const char *class = device_class(name);
    if (a_view_is(name, "cpu"))
        cpu_map(im, at);
    else if (a_view_is(name, "memory"))
        bytes_map(im, at, "memory");
    else if (a_view_is(name, "ephemeral-storage"))
        bytes_map(im, at, "disk");
    else if (class != NULL)
        device_add(im, at, class);
    else if (a_view_is(name, "nvidia.com/gpumem"))
        device_part_set(im, at, "memory");
    else if (a_view_is(name, "nvidia.com/gpucores"))
        device_part_set(im, at, "share");
    else
        import_lost(im, at, "name the class in devices of the member",
                    "no resource that Astra has a class of devices for");
}

/* What only requests name, after all limits. */
static void requests_map(struct importer *im, struct import_place at, const struct wire_value *limits)
{
    if (!import_is(im, at, WIRE_VALUE_OBJECT))
        return;
    wire_value_foreach(member, at.value)
    {
        if (wire_value_is_null(wire_value_get_view(limits, member->key)))
            resource_map(im, import_member(im, at, member));
    }
}

static void limits_map(struct importer *im, struct import_place at)
{
    if (!import_is(im, at, WIRE_VALUE_OBJECT))
        return;
    for (int parts = 0; parts < 2; parts++) /* devices, then parts of them */
        wire_value_foreach(member, at.value)
        {
            bool part =
                a_view_starts(member->key, "nvidia.com/gpu") && !a_view_is(member->key, "nvidia.com/gpu");
            if (part == (parts == 1))
                resource_map(im, import_member(im, at, member));
        }
}

static void claims_map(struct importer *im, struct import_place at)
{
    import_lost(im, at, "name the devices in devices of the member",
                "claims of dynamic resources are not read");
}

void import_resources(struct importer *im, struct import_place at)
{
    const struct wire_value *limits = wire_value_get(at.value, "limits"),
                            *requests = wire_value_get(at.value, "requests"),
                            *claims = wire_value_get(at.value, "claims");
    if (!import_is(im, at, WIRE_VALUE_OBJECT))
        return;
    if (limits != NULL)
        limits_map(im, import_member(im, at, limits));
    if (requests != NULL)
        requests_map(im, import_member(im, at, requests), limits);
    if (wire_value_count(claims) > 0)
        claims_map(im, import_member(im, at, claims));
}
