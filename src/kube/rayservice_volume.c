/* Volumes and where they are mounted: memory for the object store, the member's own folder, small files, and
 * mounts that a pool offers. */
#include <string.h>

#include "base/text.h"
#include "kube/rayservice_core.h"
#include "types/id.h"

#define RAY_FOLDER "/tmp/ray"

struct volume {
    struct import_place at; /* the volume */
    struct import_place mount;
    const char *path; /* mountPath */
    const struct wire_value *source;
};

static const struct wire_value *source_of(const struct wire_value *volume, const char **ret_kind)
{
    wire_value_foreach(member, volume)
    {
        if (!a_view_is(member->key, "name") && !wire_value_is_null(member)) {
            *ret_kind = member->key.ptr;
            return member;
        }
    }
    *ret_kind = "emptyDir"; /* Kubernetes' own rule */
    return NULL;
}

/* ---- folders of the pod's own ---- */

static void size_map(struct importer *im, const struct volume *v, const char *key)
{
    const struct wire_value *limit = wire_value_get(v->source, "sizeLimit");
    const char *text = import_text(im, limit);
    uint64_t bytes;
    if (limit == NULL || wire_value_get(v->mount.group->member, key) != NULL)
        return;
    struct import_place at = import_member(im, v->at, v->source);
    at = import_member(im, at, limit);
    if (text != NULL && a_text_bytes(a_view_str(text), &bytes))
        import_set_text(im, at, v->mount.group->member, key, text);
    else
        import_lost(im, at, NULL, "expected a quantity of bytes such as 2Gi");
}

static void empty_dir_map(struct importer *im, const struct volume *v)
{
    if (strcmp(v->path, "/dev/shm") == 0)
        size_map(im, v, "shm");
    else if (a_view_starts(a_view_str(v->path), RAY_FOLDER) && wire_value_get(v->source, "medium") == NULL)
        size_map(im, v, "disk");
    else
        import_lost(im, v->mount, "let the code use TMPDIR",
                    "%.200s: a member has one folder of its own, and disk", v->path);
}

/* ---- small files ---- */

static void file_add(struct importer *im, const struct volume *v, const char *path, const char *key,
                     const char *value)
{
    struct wire_value *file = wire_value_new_object(im->arena);
    file->line = v->mount.value->line;
    file->column = v->mount.value->column;
    while (*path == '/')
        path++;
    wire_value_foreach(other, wire_value_get(im->spec, "files"))
    {
        if (a_view_is(wire_value_view(wire_value_get(other, "path")), path))
            return; /* of another group */
    }
    import_set_text(im, v->mount, file, "path", path);
    import_set_text(im, v->mount, file, key, value);
    wire_value_append(import_list(im, im->spec, "files"), file);
}

/* The key that an item renames to `path`. */
static const char *key_of(const struct wire_value *items, const char *path)
{
    wire_value_foreach(item, items)
    {
        if (a_view_is(wire_value_view(wire_value_get(item, "path")), path))
            return wire_value_string(wire_value_get(item, "key"), path);
    }
    return path;
}

/* One key of a ConfigMap's data, as the file `path`. */
static void config_file_add(struct importer *im, const struct volume *v, const struct wire_value *data,
                            const char *key, const char *path)
{
    const char *text = import_text(im, wire_value_get(data, key));
    if (text != NULL)
        file_add(im, v, path, "text", text);
    else
        import_lost(im, v->mount, "write it into spec.files", "no text %.100s in the ConfigMap", key);
}

static void config_map_map(struct importer *im, const struct volume *v)
{
    const struct wire_value *items = wire_value_get(v->source, "items");
    const char *name = wire_value_string(wire_value_get(v->source, "name"), "?"),
               *part = wire_value_string(wire_value_get(v->mount.value, "subPath"), NULL);
    const struct wire_value *data = wire_value_get(import_document(im, "ConfigMap", name), "data");
    if (!import_lives_or_lost(im, v->mount, "spec.files", "put the files into the folder of the app's code"))
        return;
    if (data == NULL)
        import_lost(im, v->mount, "write its files into spec.files",
                    "the ConfigMap %.100s is not in the file", name);
    else
        import_note(im, v->mount, NULL, "files lie below the member's folder, not at %.200s", v->path);
    if (data != NULL && part != NULL) {
        config_file_add(im, v, data, key_of(items, part), v->path);
        return;
    }
    wire_value_foreach(item, data != NULL && items != NULL ? items : NULL)
    {
        const char *path = wire_value_string(wire_value_get(item, "path"), "?");
        config_file_add(im, v, data, wire_value_string(wire_value_get(item, "key"), "?"),
                        a_arena_printf(im->arena, "%s/%s", v->path, path));
    }
    wire_value_foreach(text, items == NULL ? data : NULL)
    {
        config_file_add(im, v, data, text->key.ptr,
                        a_arena_printf(im->arena, "%s/%s", v->path, text->key.ptr));
    }
}

/* Only with items the names of the files are known. */
static void secret_map(struct importer *im, const struct volume *v)
{
    const struct wire_value *items = wire_value_get(v->source, "items");
    const char *name = wire_value_string(wire_value_get(v->source, "secretName"), "?");
    if (!import_lives_or_lost(im, v->mount, "spec.files", "let the code read it from where it may"))
        return;
    if (!wire_value_is(items, WIRE_VALUE_ARRAY)) {
        import_lost(im, v->mount, "name its keys in spec.files: {path: ..., secret: NAME/KEY}",
                    "which keys the Secret %.100s has is not in the file", name);
        return;
    }
    wire_value_foreach(item, items)
    {
        const char *key = wire_value_string(wire_value_get(item, "key"), "?"),
                   *path = wire_value_string(wire_value_get(item, "path"), key);
        file_add(im, v, a_arena_printf(im->arena, "%s/%s", v->path, path), "secret",
                 a_arena_printf(im->arena, "%s/%s", name, key));
    }
    import_note(im, v->mount, NULL, "files lie below the member's folder, not at %.200s", v->path);
}

/* ---- what a pool offers ---- */

static bool mount_is_there(struct importer *im, const char *name, const char *path)
{
    wire_value_foreach(m, wire_value_get(im->spec, "mounts"))
    {
        if (a_view_is(wire_value_view(wire_value_get(m, "name")), name) &&
            a_view_is(wire_value_view(wire_value_get(m, "path")), path))
            return true;
    }
    return false;
}

static void pool_mount_map(struct importer *im, const struct volume *v, const char *kind)
{
    const char *name = wire_value_string(wire_value_get(v->at.value, "name"), "?");
    struct wire_value *mount = wire_value_new_object(im->arena);
    if (!import_lives_or_lost(
            im, v->mount, "spec.mounts",
            "mount it in the Pool: volumes and the agent's volumeMounts in spec.template.spec"))
        return;
    if (wire_value_get(v->mount.value, "subPath") != NULL)
        import_lost(im, v->mount, "let the pool mount that part", "a mount is taken whole");
    if (mount_is_there(im, name, v->path))
        return;
    import_note(im, v->mount, "give the Pool this volume", "a mount called %.100s (%s) is asked of the pool",
                name, kind);
    import_set_text(im, v->mount, mount, "name", name);
    import_set_text(im, v->mount, mount, "path", v->path);
    import_set(
        im, v->mount, mount, "readOnly",
        wire_value_new_bool(im->arena, wire_value_bool(wire_value_get(v->mount.value, "readOnly"), false)));
    wire_value_append(import_list(im, im->spec, "mounts"), mount);
}

/* ---- mounts ---- */

static bool volume_find(struct importer *im, struct import_place at, struct volume *ret)
{
    struct import_group *g = at.group;
    const struct wire_value *name = wire_value_get(at.value, "name");
    size_t i = 0;
    wire_value_foreach(volume, g->volumes)
    {
        if (name != NULL && wire_value_equal(wire_value_get(volume, "name"), name)) {
            struct import_place list = {g->volumes_path, g->volumes, g};
            g->volumes_used[i] = true;
            ret->at = import_item(im, list, volume, i);
            return true;
        }
        i++;
    }
    return false;
}

static void mount_map(struct importer *im, struct import_place at)
{
    const char *kind;
    struct volume v = {.mount = at, .path = wire_value_string(wire_value_get(at.value, "mountPath"), NULL)};
    if (v.path == NULL || !volume_find(im, at, &v)) {
        import_lost(im, at, NULL, "no volume of this name, or no mountPath");
        return;
    }
    v.source = source_of(v.at.value, &kind);
    if (strcmp(kind, "emptyDir") == 0)
        empty_dir_map(im, &v);
    else if (strcmp(kind, "configMap") == 0)
        config_map_map(im, &v);
    else if (strcmp(kind, "secret") == 0)
        secret_map(im, &v);
    else
        pool_mount_map(im, &v, kind);
}

void import_mounts(struct importer *im, struct import_place at)
{
    size_t i = 0;
    if (!import_is(im, at, WIRE_VALUE_ARRAY))
        return;
    wire_value_foreach(item, at.value)
    {
        mount_map(im, import_item(im, at, item, i++));
    }
}

void import_volumes_end(struct importer *im, struct import_group *g)
{
    size_t i = 0;
    wire_value_foreach(volume, g->volumes)
    {
        struct import_place list = {g->volumes_path, g->volumes, g};
        if (!g->volumes_used[i])
            import_note(im, import_item(im, list, volume, i), NULL,
                        "not mounted by Ray's container: left out");
        i++;
    }
}
