/* CustomResourceDefinitions (apiextensions.k8s.io/v1) out of the tables by which Astra checks what people
 * write: `kubectl explain`, the API server's own refusals and its server-side apply know the same fields,
 * words, ranges and defaults. What a table cannot say as a structural schema (that an app needs one source of
 * each environment, that names fit together) is left to the checker, whose words stand in the condition
 * Accepted. */
#ifndef KUBE_CRD_H
#define KUBE_CRD_H

#include "wire/schema.h"

#define KUBE_CUSTOM_GROUP "astra-ray.dev"
#define KUBE_CUSTOM_VERSION "v1alpha1"

/* An array of two: apps and pools. `app` is the App's table (this folder knows only the Pool's). The trees
 * live in the arena. */
struct wire_value *kube_crds_make(struct a_arena *arena, const struct wire_schema *app);

/* What Astra writes into `status`: fields with a fallback may be missing. */
extern const struct wire_schema kube_app_status_schema, kube_pool_status_schema;

#endif
