/* Which object of a file is imported, what becomes of the other documents, and the App that it begins with.
 */
#include "kube/rayservice.h"

#include <errno.h>

#include "kube/rayservice_core.h"

#define TEXT_MAX (4u << 20)

/* ---- the file ---- */

static bool is_kind(const struct wire_value *object, const char *kind)
{
    return a_view_starts(wire_value_view(wire_value_get(object, "apiVersion")), "ray.io/") &&
           a_view_is(wire_value_view(wire_value_get(object, "kind")), kind);
}

static bool is_importable(const struct wire_value *object)
{
    return is_kind(object, "RayService") || is_kind(object, "RayCluster");
}

/* "RayService/ocr" */
static const char *object_name(struct importer *im, const struct wire_value *object)
{
    return a_arena_printf(im->arena, "%s/%s", wire_value_string(wire_value_get(object, "kind"), "?"),
                          wire_value_string(wire_value_path(object, "metadata.name"), "?"));
}

/* Lists (kubectl get -o yaml) opened, empty documents left out. */
static struct wire_value *documents_flatten(struct importer *im, const struct wire_value *documents)
{
    struct wire_value *flat = wire_value_new_array(im->arena);
    wire_value_foreach(d, documents)
    {
        bool list = a_view_is(wire_value_view(wire_value_get(d, "kind")), "List");
        const struct wire_value *items = wire_value_get(d, "items");
        if (!list && d->type != WIRE_VALUE_NULL)
            wire_value_append(flat, wire_value_copy(im->arena, d));
        if (!list || !wire_value_is(items, WIRE_VALUE_ARRAY))
            continue;
        wire_value_foreach(item, items)
        {
            wire_value_append(flat, wire_value_copy(im->arena, item));
        }
    }
    return flat;
}

static int object_choose(struct importer *im, const struct wire_value **ret, struct a_error *reterr)
{
    A_BUF_AUTO struct a_buf names = {.max = 400}; /* past it a name is left out */
    const struct wire_value *found = NULL;
    size_t n = 0;
    const char *wanted = im->options->object;
    wire_value_foreach(d, im->documents)
    {
        a_buf_addf(&names, "%s%s", names.len > 0 ? ", " : "", object_name(im, d));
        if (!is_importable(d) ||
            (wanted != NULL && !a_view_is(wire_value_view(wire_value_path(d, "metadata.name")), wanted)))
            continue;
        found = d;
        n++;
    }
    const char *there = names.len > 0 ? names.ptr : "nothing";
    if (n > 1)
        return a_fail(reterr, -ENOENT, A_CODE_NOT_FOUND,
                      "%s: %zu RayServices and RayClusters: choose one by its name with --object (%s)",
                      im->file, n, there);
    if (n == 0)
        return a_fail(reterr, -ENOENT, A_CODE_NOT_FOUND,
                      "%s: no RayService or RayCluster of ray.io/v1%s%s in it; there is: %s", im->file,
                      wanted != NULL ? " called " : "", wanted != NULL ? wanted : "", there);
    *ret = found;
    return 0;
}

/* Every other document by its name. A Secret or ConfigMap may be meant for the app, a RayJob never is. */
static void others_tell(struct importer *im, const struct wire_value *chosen)
{
    wire_value_foreach(d, im->documents)
    {
        struct import_place at = {object_name(im, d), d, NULL};
        const char *hint = NULL;
        if (d == chosen)
            continue;
        if (is_kind(d, "RayJob") || is_kind(d, "RayCronJob"))
            hint = "Astra runs services; jobs are for later";
        else if (is_importable(d))
            hint = "import it alone, with --object";
        import_note(im, at, hint, "not imported");
    }
}

static void environment_make(struct importer *im)
{
    const struct kube_import_options *o = im->options;
    struct wire_value *entry = wire_value_new_object(im->arena);
    if (o->requirements == NULL && o->artifact == NULL)
        return; /* then the images are told of */
    wire_value_set_string(im->arena, entry, o->requirements != NULL ? "requirements" : "artifact",
                          o->requirements != NULL ? o->requirements : o->artifact);
    wire_value_append(import_list(im, im->spec, "environment"), entry);
}

static void app_begin(struct importer *im)
{
    const struct kube_import_options *o = im->options;
    im->app = wire_value_new_object(im->arena);
    wire_value_set_string(im->arena, im->app, "apiVersion", "astra-ray.dev/v1alpha1");
    wire_value_set_string(im->arena, im->app, "kind", "App");
    struct wire_value *metadata = import_object(im, im->app, "metadata");
    if (o->name != NULL)
        wire_value_set_string(im->arena, metadata, "name", o->name);
    if (o->namespace != NULL)
        wire_value_set_string(im->arena, metadata, "namespace", o->namespace);
    im->spec = import_object(im, im->app, "spec");
    environment_make(im);
    if (o->code != NULL)
        wire_value_set_string(im->arena, import_object(im, im->spec, "code"), "path", o->code);
}

static void object_import(struct importer *im, const struct wire_value *object)
{
    static const struct import_row rows[] = {
        {"apiVersion", IMPORT_SILENT, NULL, NULL, NULL},
        {"kind", IMPORT_SILENT, NULL, NULL, NULL},
        {"metadata", IMPORT_MAP, NULL, NULL, import_metadata},
        {"spec", IMPORT_SILENT, NULL, NULL, NULL},
        {"status", IMPORT_SILENT, NULL, NULL, NULL}, /* of the cluster it was read from */
        {NULL, IMPORT_SILENT, NULL, NULL, NULL},
    };
    struct import_place at = {"", object, NULL};
    bool service = is_kind(object, "RayService");
    const struct wire_value *spec = wire_value_get(object, "spec"),
                            *version = wire_value_get(object, "apiVersion");
    if (!a_view_is(version->string, "ray.io/v1"))
        import_note(im, import_member(im, at, version), NULL, "read as ray.io/v1");
    import_walk(im, at, rows, service ? "a RayService" : "a RayCluster");
    if (spec != NULL && service)
        import_service(im, import_member(im, at, spec));
    else if (spec != NULL)
        import_cluster(im, import_member(im, at, spec));
    if (im->options->serve != NULL)
        import_serve_given(im);
    import_groups_end(im);
    if (im->rc == 0 && wire_value_count(wire_value_path(im->spec, "serve.applications")) == 0)
        import_lost(im,
                    (struct import_place){service ? "spec.serveConfigV2" : "spec",
                                          spec != NULL ? spec : object, NULL},
                    "give with --serve what was given to serve deploy",
                    service ? "no Serve application: an App is served by Ray Serve"
                            : "a RayCluster has no Serve config: an App is served by Ray Serve");
}

int kube_rayservice_import(struct a_arena *arena, struct a_view text, const char *file,
                           const struct kube_import_options *options, struct wire_problems *report,
                           struct wire_value **ret, struct a_error *reterr)
{
    const struct wire_value_limits limits = {.bytes = TEXT_MAX};
    struct importer *im = a_arena_new(arena, struct importer);
    const struct wire_value *object = NULL;
    struct wire_value *documents;
    int rc = wire_yaml_parse_all(arena, text, file, &limits, &documents, reterr);
    if (rc != 0)
        return rc;
    im->arena = arena;
    im->text = text;
    im->file = file;
    im->options = options;
    im->report = report;
    im->reterr = reterr;
    im->documents = documents_flatten(im, documents);
    rc = object_choose(im, &object, reterr);
    if (rc != 0)
        return rc;
    app_begin(im);
    object_import(im, object);
    if (im->rc != 0)
        return im->rc;
    others_tell(im, object);
    wire_problems_sort(report);
    *ret = im->app;
    return 0;
}
