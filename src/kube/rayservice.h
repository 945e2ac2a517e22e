/* KubeRay's RayService and RayCluster (ray.io/v1) to an App: what `astra import` does. Every field that is
 * found is mapped, or told of by its path and line, with the reason and what to do; nothing is dropped in
 * silence. docs/components/kube.md has the rules. */
#ifndef KUBE_RAYSERVICE_H
#define KUBE_RAYSERVICE_H

#include "base/arena.h"
#include "base/error.h"
#include "wire/schema.h"
#include "wire/value.h"

/* Zero = default. Texts must outlive the call's results. */
struct kube_import_options {
    const char *name, *namespace;        /* of the app; NULL = the object's own */
    const char *object;                  /* metadata.name of the one to import, when the file holds several */
    const char *requirements, *artifact; /* the environment; at most one of the two */
    const char *code;                    /* the folder of the app's code */
    /* A Serve config, in the place of the object's own; its positions are not looked at. */
    const struct wire_value *serve;
    /* The table of an App: fields that wait for a capability there are told of and left out. NULL = all live.
     */
    const struct wire_schema *schema;
};

/* `text` is a file of any number of YAML documents, or JSON; `file` is how errors call it. *ret is the App in
 * the long form, without the defaults; its values keep the positions of what they were made from. `report`
 * has its arena set and is in the order of the file: errors in it (A_CODE_APP_UNSUPPORTED) are what matters
 * and could not be mapped, warnings all else that a reader of the file should know, other documents included.
 * The App is not checked here and may lack what an App requires: then the report says so.
 * -EINVAL, -E2BIG: no YAML, or not such an object; -ENOENT (A_CODE_NOT_FOUND): the file holds none, or
 * several, or none of that name; -ENOMEM. */
int kube_rayservice_import(struct a_arena *arena, struct a_view text, const char *file,
                           const struct kube_import_options *options, struct wire_problems *report,
                           struct wire_value **ret, struct a_error *reterr) A_MUST_CHECK;

#endif
