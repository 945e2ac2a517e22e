/* The table follows docs/app.md line by line. Adding a field is adding a row. */
#include "unit/app_schema.h"

#include <stddef.h>

#define REPLACE .class = UNIT_CLASS_REPLACE
#define ROUTE .class = UNIT_CLASS_ROUTE
#define WORDS WIRE_WORDS
#define END WIRE_FIELDS_END
#define NOT_YET(what) .waits_for = WAITS_FOR_##what
#define WAITS_FOR_STARLINK "starlink"
#define WAITS_FOR_KUBE "kube"
#define WAITS_FOR_TFCC "tfcc"
#define WAITS_FOR_LATER "later"

static const struct wire_field match_fields[] = {
    {"arch", WIRE_WORD, REPLACE, .fallback = "null", .nullable = true, WORDS("amd64", "arm64"),
     .doc = "processor"},
    {"device", WIRE_STRING, REPLACE, NOT_YET(TFCC), .fallback = "null", .nullable = true,
     .doc = "device class"},
    END,
};

static const struct wire_field environment_fields[] = {
    {"match", WIRE_OBJECT, REPLACE, .fallback = "{}", .fields = match_fields,
     .doc = "nodes that this one fits; {} = any"},
    {"python", WIRE_STRING, REPLACE, .fallback = "null", .nullable = true,
     .doc = "version of Python; null = the packer's"},
    {"requirements", WIRE_STRING, REPLACE, .fallback = "null", .nullable = true,
     .doc = "requirements file, packed by the CLI"},
    {"index", WIRE_STRING, REPLACE, .fallback = "null", .nullable = true, .doc = "package index"},
    {"artifact", WIRE_STRING, REPLACE, .fallback = "null", .nullable = true,
     .doc = "packed environment: name@version or sha256:..."},
    {"conda", WIRE_STRING, REPLACE, NOT_YET(LATER), .fallback = "null", .nullable = true,
     .doc = "conda environment file"},
    {"image", WIRE_STRING, REPLACE, NOT_YET(KUBE), .fallback = "null", .nullable = true,
     .doc = "container image"},
    END,
};

static const struct wire_field code_fields[] = {
    {"path", WIRE_STRING, REPLACE, .fallback = "null", .nullable = true,
     .doc = "folder, packed by the CLI (.astraignore)"},
    {"artifact", WIRE_STRING, REPLACE, .fallback = "null", .nullable = true,
     .doc = "packed code: name@version or sha256:..."},
    END,
};

static const struct wire_field model_fields[] = {
    {"source", WIRE_STRING, REPLACE, .doc = "name@version or sha256:..."},
    {"runtime", WIRE_WORD, REPLACE, .fallback = "\"tfcc\"", WORDS("tfcc", "none"),
     .doc = "who runs it; none = only brought to the node"},
    {"secret", WIRE_STRING, REPLACE, NOT_YET(LATER), .fallback = "null", .nullable = true,
     .doc = "credentials of the source"},
    END,
};

static const struct wire_field env_fields[] = {
    {"name", WIRE_STRING, REPLACE, .doc = "environment variable"},
    {"value", WIRE_STRING, REPLACE, .fallback = "\"\"", .doc = "its value; $(NAME) is expanded"},
    {"secret", WIRE_STRING, REPLACE, NOT_YET(LATER), .fallback = "null", .nullable = true,
     .doc = "NAME/KEY of a secret"},
    END,
};

static const struct wire_field file_fields[] = {
    {"path", WIRE_STRING, REPLACE, .doc = "where, below the member's folder"},
    {"text", WIRE_STRING, REPLACE, .fallback = "\"\"", .doc = "contents; the file's mode is 0400"},
    {"secret", WIRE_STRING, REPLACE, .fallback = "null", .nullable = true, .doc = "NAME/KEY of a secret"},
    END,
};

static const struct wire_field mount_fields[] = {
    {"name", WIRE_LABEL, REPLACE, .doc = "a mount that the pool offers"},
    {"path", WIRE_STRING, REPLACE, .doc = "where"},
    {"readOnly", WIRE_BOOL, REPLACE, .fallback = "true", .doc = "no writing"},
    END,
};

static const struct wire_field device_fields[] = {
    {"any", WIRE_LIST, REPLACE, .item = WIRE_STRING, .doc = "device classes, best first"},
    {"count", WIRE_INT, REPLACE, .fallback = "1", .min = 1, .max = 64, .doc = "how many"},
    {"share", WIRE_STRING, REPLACE, .fallback = "null", .nullable = true, .doc = "part of one device: 0.25"},
    {"memory", WIRE_BYTES, REPLACE, .fallback = "null", .nullable = true, .doc = "device memory"},
    END,
};

static const struct wire_field ray_fields[] = {
    {"numCpus", WIRE_INT, REPLACE, .fallback = "null", .nullable = true, .min = 0, .max = 1024,
     .doc = "Ray's --num-cpus; null = from cpu"},
    {"resources", WIRE_MAP, REPLACE, .fallback = "{}", .item = WIRE_INT, .min = 0, .max = 1 << 30,
     .doc = "Ray's --resources"},
    {"labels", WIRE_MAP, REPLACE, .fallback = "{}", .item = WIRE_STRING, .doc = "Ray's --labels"},
    END,
};

#define MEMBER_FIELDS(default_cpu, default_disk)                                                             \
    {"cpu", WIRE_CPU, REPLACE, .fallback = default_cpu, .doc = "cores"},                                     \
        {"memory", WIRE_BYTES, REPLACE, .fallback = "\"2Gi\"", .doc = "bytes, the object store included"},   \
        {"shm",                                                                                              \
         WIRE_BYTES,                                                                                         \
         REPLACE,                                                                                            \
         .fallback = "null",                                                                                 \
         .nullable = true,                                                                                   \
         .doc = "Ray's object store; null = 20 % of memory, at least 80Mi"},                                 \
        {"disk", WIRE_BYTES, REPLACE, .fallback = default_disk, .doc = "temporary files and logs"},          \
        {"devices",                                                                                          \
         WIRE_LIST,                                                                                          \
         REPLACE,                                                                                            \
         NOT_YET(TFCC),                                                                                      \
         .fallback = "[]",                                                                                   \
         .item = WIRE_OBJECT,                                                                                \
         .fields = device_fields,                                                                            \
         .doc = "accelerators, alternatives best first"},                                                    \
    {                                                                                                        \
        "ray", WIRE_OBJECT, REPLACE, .fallback = "{}", .fields = ray_fields,                                 \
                                     .doc = "what Ray is told besides"                                       \
    }

static const struct wire_field head_fields[] = {
    MEMBER_FIELDS("1", "\"4Gi\""),
    {"serves", WIRE_WORD, REPLACE, .fallback = "\"auto\"", WORDS("auto", "always", "never"),
     .doc = "replicas on the head; auto = only without workers"},
    {"stability", WIRE_WORD, REPLACE, NOT_YET(STARLINK), .fallback = "\"stable\"",
     WORDS("any", "stable", "spot"), .doc = "kind of node"},
    {"timeout", WIRE_DURATION, REPLACE, .fallback = "\"30s\"",
     .doc = "a head that does not answer for so long is replaced"},
    END,
};

static const struct wire_field worker_fields[] = {
    {"name", WIRE_LABEL, REPLACE, .doc = "the group's name"},
    {"count", WIRE_INT, REPLACE, .fallback = "1", .min = 1, .max = 100, .doc = "members of the group"},
    {"hosts", WIRE_INT, REPLACE, NOT_YET(STARLINK), .fallback = "1", .min = 1, .max = 64,
     .doc = "one replica over so many nodes"},
    {"topology", WIRE_WORD, REPLACE, NOT_YET(STARLINK), .fallback = "\"none\"",
     WORDS("none", "host", "link", "rack"), .doc = "how near they must be"},
    MEMBER_FIELDS("1", "\"10Gi\""),
    {"stability", WIRE_WORD, REPLACE, NOT_YET(STARLINK), .fallback = "\"any\"",
     WORDS("any", "stable", "spot"), .doc = "kind of node"},
    END,
};

static const struct wire_field autoscaling_fields[] = {
    {"min", WIRE_INT, ROUTE, .min = 0, .max = 1000000, .doc = "fewest units"},
    {"max", WIRE_INT, ROUTE, .min = 1, .max = 1000000, .doc = "most units"},
    {"metric", WIRE_WORD, ROUTE, .fallback = "\"concurrency\"",
     WORDS("concurrency", "queue", "rate", "utilization"), .doc = "what is followed"},
    {"target", WIRE_INT, ROUTE, .fallback = "1", .min = 1, .max = 1000000, .doc = "per unit"},
    {"upDelay", WIRE_DURATION, ROUTE, .fallback = "\"30s\"", .doc = "before growing"},
    {"downDelay", WIRE_DURATION, ROUTE, .fallback = "\"10m\"", .doc = "before shrinking"},
    END,
};

static const struct wire_field placement_fields[] = {
    {"clusters", WIRE_LIST, ROUTE, NOT_YET(STARLINK), .fallback = "[]", .item = WIRE_LABEL, .key = "",
     .doc = "only these; [] = all"},
    {"require", WIRE_MAP, ROUTE, NOT_YET(STARLINK), .fallback = "{}", .item = WIRE_STRING,
     .doc = "node labels that must match"},
    {"prefer", WIRE_MAP, ROUTE, NOT_YET(STARLINK), .fallback = "{}", .item = WIRE_STRING,
     .doc = "node labels that should match"},
    {"avoid", WIRE_MAP, ROUTE, NOT_YET(STARLINK), .fallback = "{}", .item = WIRE_STRING,
     .doc = "node labels that should not match"},
    {"spread", WIRE_LIST, ROUTE, .fallback = "[\"cluster\", \"zone\", \"host\"]", .item = WIRE_WORD, .max = 3,
     WORDS("cluster", "zone", "host"),
     .doc = "failure domains by which a new unit keeps away from the others, the one that counts most first"},
    {"base", WIRE_INT, ROUTE, NOT_YET(STARLINK), .fallback = "0", .min = 0, .max = 1000000,
     .doc = "units never on spot"},
    {"maxPerCluster", WIRE_INT, ROUTE, NOT_YET(STARLINK), .fallback = "null", .nullable = true, .min = 1,
     .max = 1000000, .doc = "most units in one cluster"},
    END,
};

static const struct wire_field rollout_fields[] = {
    {"maxSurge", WIRE_INT, ROUTE, .fallback = "1", .min = 0, .max = 1000,
     .doc = "units above the wanted number"},
    {"maxUnavailable", WIRE_INT, ROUTE, .fallback = "0", .min = 0, .max = 1000, .doc = "units below it"},
    {"canary", WIRE_LIST, ROUTE, NOT_YET(LATER), .fallback = "[]", .item = WIRE_INT, .min = 0, .max = 100,
     .doc = "steps in per cent"},
    {"bake", WIRE_DURATION, ROUTE, .fallback = "\"30s\"", .doc = "a new unit must be READY for so long"},
    {"progressDeadline", WIRE_DURATION, ROUTE, .fallback = "\"15m\"",
     .doc = "without progress for so long it has failed"},
    {"undo", WIRE_WORD, ROUTE, .fallback = "\"auto\"", WORDS("auto", "never"), .doc = "go back by itself"},
    {"history", WIRE_INT, ROUTE, .fallback = "10", .min = 1, .max = 100, .doc = "revisions kept"},
    END,
};

static const struct wire_field drain_fields[] = {
    {"requests", WIRE_DURATION, ROUTE, .fallback = "\"60s\"", .doc = "for requests in flight"},
    {"streams", WIRE_DURATION, ROUTE, .fallback = "\"5m\"",
     .doc = "for answers that have begun and have no length"},
    END,
};

static const struct wire_field warm_up_fields[] = {
    {"path", WIRE_STRING, REPLACE, .fallback = "null", .nullable = true,
     .doc = "GET that must answer 2xx; null = /-/healthz of each replica"},
    {"deadline", WIRE_DURATION, REPLACE, .fallback = "\"120s\"",
     .doc = "unanswered for so long it is told as HealthCheckFailed"},
    END,
};

static const struct wire_field serve_fields[] = {
    {"applications", WIRE_LIST, .class = UNIT_CLASS_SERVE, .item = WIRE_ANY, .min = 1, .max = 100,
     .doc = "Ray Serve's own deploy schema"},
    {"warmUp", WIRE_OBJECT, REPLACE, .fallback = "{}", .fields = warm_up_fields, .doc = "before READY"},
    END,
};

static const struct wire_field route_fields[] = {
    {"application", WIRE_STRING, ROUTE, .fallback = "null", .nullable = true,
     .doc = "the Serve application; null = the only one"},
    {"host", WIRE_STRING, ROUTE, .fallback = "\"*\"", .doc = "host name, * = any"},
    {"prefix", WIRE_STRING, ROUTE, .fallback = "null", .nullable = true,
     .doc = "path prefix; null = the application's own"},
    {"rewrite", WIRE_STRING, ROUTE, .fallback = "null", .nullable = true,
     .doc = "what the prefix becomes; null = sent unchanged"},
    {"timeout", WIRE_DURATION, ROUTE, .fallback = "\"60s\"", .doc = "for the whole answer"},
    {"idle", WIRE_DURATION, ROUTE, .fallback = "\"5m\"", .doc = "between two bytes of a stream"},
    {"idempotent", WIRE_BOOL, ROUTE, .fallback = "false", .doc = "every method may be sent again"},
    {"wait", WIRE_DURATION, ROUTE, .fallback = "\"10s\"", .doc = "for a free place"},
    {"maxBody", WIRE_BYTES, ROUTE, .fallback = "\"64Mi\"", .doc = "largest request body"},
    {"retryBody", WIRE_BYTES, ROUTE, .fallback = "\"1Mi\"", .doc = "largest body kept for a re-send"},
    {"policy", WIRE_WORD, ROUTE, .fallback = "\"least\"", WORDS("least"), .doc = "how an endpoint is chosen"},
    END,
};

static const struct wire_field logs_fields[] = {
    {"level", WIRE_WORD, .class = UNIT_CLASS_SERVE, .fallback = "\"info\"",
     WORDS("debug", "info", "warning", "error"),
     .doc = "of Serve applications that set none; Ray's own in members that start from now on"},
    {"keepFailed", WIRE_DURATION, ROUTE, .fallback = "\"24h\"",
     .doc = "how long a failed member's log stays on its node; of members that start from now on"},
    END,
};

static const struct wire_field spec_fields[] = {
    {"units", WIRE_INT, ROUTE, .fallback = "1", .min = 0, .max = 1000000, .doc = "how many units"},
    {"autoscaling", WIRE_OBJECT, ROUTE, NOT_YET(LATER), .fallback = "null", .nullable = true,
     .fields = autoscaling_fields, .doc = "owns units while set"},
    {"suspend", WIRE_BOOL, ROUTE, NOT_YET(STARLINK), .fallback = "false", .doc = "no units for now"},
    {"priority", WIRE_WORD, ROUTE, NOT_YET(STARLINK), .fallback = "\"normal\"",
     WORDS("low", "normal", "high", "critical"), .doc = "who gives way"},
    {"isolation", WIRE_WORD, ROUTE, NOT_YET(STARLINK), .fallback = "\"shared\"", WORDS("shared", "exclusive"),
     .doc = "a node for one namespace only"},
    {"environment", WIRE_LIST, REPLACE, .item = WIRE_OBJECT, .fields = environment_fields, .min = 1,
     .max = 16, .doc = "Python and packages; first match wins"},
    {"code", WIRE_OBJECT, REPLACE, .fallback = "{}", .fields = code_fields,
     .doc = "on PYTHONPATH of every member"},
    {"models", WIRE_MAP, REPLACE, .fallback = "{}", .item = WIRE_OBJECT, .fields = model_fields,
     .doc = "models by the name that the code uses"},
    {"env", WIRE_LIST, REPLACE, .fallback = "[]", .item = WIRE_OBJECT, .fields = env_fields, .key = "name",
     .doc = "set where Ray starts"},
    {"files", WIRE_LIST, REPLACE, NOT_YET(LATER), .fallback = "[]", .item = WIRE_OBJECT,
     .fields = file_fields, .key = "path", .doc = "small files"},
    {"mounts", WIRE_LIST, REPLACE, NOT_YET(KUBE), .fallback = "[]", .item = WIRE_OBJECT,
     .fields = mount_fields, .key = "path", .doc = "mounts that a pool offers"},
    {"head", WIRE_OBJECT, REPLACE, .fallback = "{}", .fields = head_fields, .doc = "the unit's Ray head"},
    {"workers", WIRE_LIST, REPLACE, .fallback = "[]", .item = WIRE_OBJECT, .fields = worker_fields, .max = 20,
     .key = "name", .doc = "groups of workers; [] = the head serves"},
    {"placement", WIRE_OBJECT, ROUTE, .fallback = "{}", .fields = placement_fields, .doc = "where units go"},
    {"rollout", WIRE_OBJECT, ROUTE, .fallback = "{}", .fields = rollout_fields,
     .doc = "how revisions replace one another"},
    {"drain", WIRE_OBJECT, ROUTE, .fallback = "{}", .fields = drain_fields,
     .doc = "how long what is in flight may take"},
    {"serve", WIRE_OBJECT, REPLACE, .fields = serve_fields, .doc = "Ray Serve's config"},
    {"routes", WIRE_LIST, ROUTE, .fallback = "[]", .item = WIRE_OBJECT, .fields = route_fields, .max = 100,
     .doc = "[] = one for each Serve application"},
    {"logs", WIRE_OBJECT, ROUTE, .fallback = "{}", .fields = logs_fields, .doc = "members' logs"},
    END,
};

static const struct wire_field metadata_fields[] = {
    {"name", WIRE_LABEL, REPLACE, .doc = "the app's name"},
    {"namespace", WIRE_LABEL, REPLACE, .fallback = "\"default\"", .doc = "the tenant"},
    {"labels", WIRE_MAP, ROUTE, .fallback = "{}", .item = WIRE_STRING, .doc = "for selecting"},
    {"annotations", WIRE_MAP, ROUTE, .fallback = "{}", .item = WIRE_STRING, .doc = "for people and tools"},
    {"uid", WIRE_STRING, ROUTE, .fallback = "null", .nullable = true, .doc = "given by the server"},
    {"generation", WIRE_INT, ROUTE, .fallback = "null", .nullable = true, .min = 0, .max = INT64_MAX,
     .doc = "given by the server"},
    {"resourceVersion", WIRE_STRING, ROUTE, .fallback = "null", .nullable = true,
     .doc = "given by the server"},
    END,
};

static const struct wire_field app_fields[] = {
    {"apiVersion", WIRE_WORD, ROUTE, .fallback = "\"astra-ray.dev/v1alpha1\"",
     WORDS("astra-ray.dev/v1alpha1"), .doc = "version of this schema"},
    {"kind", WIRE_WORD, ROUTE, .fallback = "\"App\"", WORDS("App"), .doc = "App"},
    {"metadata", WIRE_OBJECT, ROUTE, .fields = metadata_fields, .doc = "who it is"},
    {"spec", WIRE_OBJECT, ROUTE, .fields = spec_fields, .doc = "what is wanted"},
    {"status", WIRE_ANY, ROUTE, .fallback = "null", .nullable = true,
     .doc = "what is; written by the server, not read"},
    END,
};

const struct wire_schema unit_app_schema = {
    .what = "app",
    .start = "start with kind: App",
    .invalid = A_CODE_APP_INVALID,
    .unsupported = A_CODE_APP_UNSUPPORTED,
    .object = {"app", WIRE_OBJECT, ROUTE, .fields = app_fields, .doc = "an App"},
};

const char *unit_class_name(enum unit_class class)
{
    return class == UNIT_CLASS_ROUTE ? "route" : class == UNIT_CLASS_SERVE ? "serve" : "replace";
}
