/* The table follows docs/app.md line by line. Adding a field is adding a row. */
#include "unit/app_schema.h"

#include <stddef.h>

#include "base/assert.h"
#include "base/buf.h"

#define REPLACE .class = UNIT_CLASS_REPLACE
#define ROUTE .class = UNIT_CLASS_ROUTE
#define WORDS(...)                                                                                           \
    .words = (const char *const[])                                                                           \
    {                                                                                                        \
        __VA_ARGS__, NULL                                                                                    \
    }
#define NOT_YET(what) .alive = UNIT_ALIVE_##what
#define END                                                                                                  \
    {                                                                                                        \
        .name = NULL                                                                                         \
    }

static const struct unit_field match_fields[] = {
    {"arch", UNIT_WORD, REPLACE, .fallback = "null", .nullable = true, WORDS("amd64", "arm64"),
     .doc = "processor"},
    {"device", UNIT_STRING, REPLACE, NOT_YET(TFCC), .fallback = "null", .nullable = true,
     .doc = "device class"},
    END,
};

static const struct unit_field environment_fields[] = {
    {"match", UNIT_OBJECT, REPLACE, NOT_YET(KUBE), .fallback = "{}", .fields = match_fields,
     .doc = "nodes that this one fits; {} = any"},
    {"python", UNIT_STRING, REPLACE, .fallback = "null", .nullable = true,
     .doc = "version of Python; null = the packer's"},
    {"requirements", UNIT_STRING, REPLACE, .fallback = "null", .nullable = true,
     .doc = "requirements file, packed by the CLI"},
    {"index", UNIT_STRING, REPLACE, .fallback = "null", .nullable = true, .doc = "package index"},
    {"artifact", UNIT_STRING, REPLACE, .fallback = "null", .nullable = true,
     .doc = "packed environment: name@version or sha256:..."},
    {"conda", UNIT_STRING, REPLACE, NOT_YET(LATER), .fallback = "null", .nullable = true,
     .doc = "conda environment file"},
    {"image", UNIT_STRING, REPLACE, NOT_YET(KUBE), .fallback = "null", .nullable = true,
     .doc = "container image"},
    END,
};

static const struct unit_field code_fields[] = {
    {"path", UNIT_STRING, REPLACE, .fallback = "null", .nullable = true,
     .doc = "folder, packed by the CLI (.astraignore)"},
    {"artifact", UNIT_STRING, REPLACE, .fallback = "null", .nullable = true,
     .doc = "packed code: name@version or sha256:..."},
    END,
};

static const struct unit_field model_fields[] = {
    {"source", UNIT_STRING, REPLACE, .doc = "name@version or sha256:..."},
    {"runtime", UNIT_WORD, REPLACE, .fallback = "\"tfcc\"", WORDS("tfcc", "none"),
     .doc = "who runs it; none = only brought to the node"},
    {"secret", UNIT_STRING, REPLACE, NOT_YET(LATER), .fallback = "null", .nullable = true,
     .doc = "credentials of the source"},
    END,
};

static const struct unit_field env_fields[] = {
    {"name", UNIT_STRING, REPLACE, .doc = "environment variable"},
    {"value", UNIT_STRING, REPLACE, .fallback = "\"\"", .doc = "its value; $(NAME) is expanded"},
    {"secret", UNIT_STRING, REPLACE, NOT_YET(LATER), .fallback = "null", .nullable = true,
     .doc = "NAME/KEY of a secret"},
    END,
};

static const struct unit_field file_fields[] = {
    {"path", UNIT_STRING, REPLACE, .doc = "where, below the member's folder"},
    {"text", UNIT_STRING, REPLACE, .fallback = "\"\"", .doc = "contents; the file's mode is 0400"},
    {"secret", UNIT_STRING, REPLACE, .fallback = "null", .nullable = true, .doc = "NAME/KEY of a secret"},
    END,
};

static const struct unit_field mount_fields[] = {
    {"name", UNIT_LABEL, REPLACE, .doc = "a mount that the pool offers"},
    {"path", UNIT_STRING, REPLACE, .doc = "where"},
    {"readOnly", UNIT_BOOL, REPLACE, .fallback = "true", .doc = "no writing"},
    END,
};

static const struct unit_field device_fields[] = {
    {"any", UNIT_LIST, REPLACE, .item = UNIT_STRING, .doc = "device classes, best first"},
    {"count", UNIT_INT, REPLACE, .fallback = "1", .min = 1, .max = 64, .doc = "how many"},
    {"share", UNIT_STRING, REPLACE, .fallback = "null", .nullable = true, .doc = "part of one device: 0.25"},
    {"memory", UNIT_BYTES, REPLACE, .fallback = "null", .nullable = true, .doc = "device memory"},
    END,
};

static const struct unit_field ray_fields[] = {
    {"numCpus", UNIT_INT, REPLACE, .fallback = "null", .nullable = true, .min = 0, .max = 1024,
     .doc = "Ray's --num-cpus; null = from cpu"},
    {"resources", UNIT_MAP, REPLACE, .fallback = "{}", .item = UNIT_INT, .min = 0, .max = 1 << 30,
     .doc = "Ray's --resources"},
    {"labels", UNIT_MAP, REPLACE, .fallback = "{}", .item = UNIT_STRING, .doc = "Ray's --labels"},
    END,
};

#define MEMBER_FIELDS(default_cpu, default_disk)                                                             \
    {"cpu", UNIT_CPU, REPLACE, .fallback = default_cpu, .doc = "cores"},                                     \
        {"memory", UNIT_BYTES, REPLACE, .fallback = "\"2Gi\"", .doc = "bytes, the object store included"},   \
        {"shm",                                                                                              \
         UNIT_BYTES,                                                                                         \
         REPLACE,                                                                                            \
         .fallback = "null",                                                                                 \
         .nullable = true,                                                                                   \
         .doc = "Ray's object store; null = 20 % of memory, at least 80Mi"},                                 \
        {"disk", UNIT_BYTES, REPLACE, .fallback = default_disk, .doc = "temporary files and logs"},          \
        {"devices",                                                                                          \
         UNIT_LIST,                                                                                          \
         REPLACE,                                                                                            \
         NOT_YET(TFCC),                                                                                      \
         .fallback = "[]",                                                                                   \
         .item = UNIT_OBJECT,                                                                                \
         .fields = device_fields,                                                                            \
         .doc = "accelerators, alternatives best first"},                                                    \
    {                                                                                                        \
        "ray", UNIT_OBJECT, REPLACE, .fallback = "{}", .fields = ray_fields,                                 \
                                     .doc = "what Ray is told besides"                                       \
    }

static const struct unit_field head_fields[] = {
    MEMBER_FIELDS("1", "\"4Gi\""),
    {"serves", UNIT_WORD, REPLACE, .fallback = "\"auto\"", WORDS("auto", "always", "never"),
     .doc = "replicas on the head; auto = only without workers"},
    {"stability", UNIT_WORD, REPLACE, NOT_YET(STARLINK), .fallback = "\"stable\"",
     WORDS("any", "stable", "spot"), .doc = "kind of node"},
    {"timeout", UNIT_DURATION, REPLACE, .fallback = "\"30s\"",
     .doc = "a head that does not answer for so long is replaced"},
    END,
};

static const struct unit_field worker_fields[] = {
    {"name", UNIT_LABEL, REPLACE, .doc = "the group's name"},
    {"count", UNIT_INT, REPLACE, .fallback = "1", .min = 1, .max = 100, .doc = "members of the group"},
    {"hosts", UNIT_INT, REPLACE, NOT_YET(STARLINK), .fallback = "1", .min = 1, .max = 64,
     .doc = "one replica over so many nodes"},
    {"topology", UNIT_WORD, REPLACE, NOT_YET(STARLINK), .fallback = "\"none\"",
     WORDS("none", "host", "link", "rack"), .doc = "how near they must be"},
    MEMBER_FIELDS("1", "\"10Gi\""),
    {"stability", UNIT_WORD, REPLACE, NOT_YET(STARLINK), .fallback = "\"any\"",
     WORDS("any", "stable", "spot"), .doc = "kind of node"},
    END,
};

static const struct unit_field autoscaling_fields[] = {
    {"min", UNIT_INT, ROUTE, .min = 0, .max = 1000000, .doc = "fewest units"},
    {"max", UNIT_INT, ROUTE, .min = 1, .max = 1000000, .doc = "most units"},
    {"metric", UNIT_WORD, ROUTE, .fallback = "\"concurrency\"",
     WORDS("concurrency", "queue", "rate", "utilization"), .doc = "what is followed"},
    {"target", UNIT_INT, ROUTE, .fallback = "1", .min = 1, .max = 1000000, .doc = "per unit"},
    {"upDelay", UNIT_DURATION, ROUTE, .fallback = "\"30s\"", .doc = "before growing"},
    {"downDelay", UNIT_DURATION, ROUTE, .fallback = "\"10m\"", .doc = "before shrinking"},
    END,
};

static const struct unit_field placement_fields[] = {
    {"clusters", UNIT_LIST, ROUTE, NOT_YET(STARLINK), .fallback = "[]", .item = UNIT_LABEL,
     .doc = "only these; [] = all"},
    {"require", UNIT_MAP, ROUTE, NOT_YET(STARLINK), .fallback = "{}", .item = UNIT_STRING,
     .doc = "node labels that must match"},
    {"prefer", UNIT_MAP, ROUTE, NOT_YET(STARLINK), .fallback = "{}", .item = UNIT_STRING,
     .doc = "node labels that should match"},
    {"avoid", UNIT_MAP, ROUTE, NOT_YET(STARLINK), .fallback = "{}", .item = UNIT_STRING,
     .doc = "node labels that should not match"},
    {"spread", UNIT_LIST, ROUTE, NOT_YET(STARLINK), .fallback = "[\"cluster\", \"zone\", \"host\"]",
     .item = UNIT_WORD, WORDS("cluster", "zone", "host"), .doc = "failure domains, widest first"},
    {"base", UNIT_INT, ROUTE, NOT_YET(STARLINK), .fallback = "0", .min = 0, .max = 1000000,
     .doc = "units never on spot"},
    {"maxPerCluster", UNIT_INT, ROUTE, NOT_YET(STARLINK), .fallback = "null", .nullable = true, .min = 1,
     .max = 1000000, .doc = "most units in one cluster"},
    END,
};

static const struct unit_field rollout_fields[] = {
    {"maxSurge", UNIT_INT, ROUTE, .fallback = "1", .min = 0, .max = 1000,
     .doc = "units above the wanted number"},
    {"maxUnavailable", UNIT_INT, ROUTE, .fallback = "0", .min = 0, .max = 1000, .doc = "units below it"},
    {"canary", UNIT_LIST, ROUTE, NOT_YET(LATER), .fallback = "[]", .item = UNIT_INT, .min = 0, .max = 100,
     .doc = "steps in per cent"},
    {"bake", UNIT_DURATION, ROUTE, .fallback = "\"30s\"", .doc = "a new unit must be READY for so long"},
    {"progressDeadline", UNIT_DURATION, ROUTE, .fallback = "\"15m\"",
     .doc = "without progress for so long it has failed"},
    {"undo", UNIT_WORD, ROUTE, .fallback = "\"auto\"", WORDS("auto", "never"), .doc = "go back by itself"},
    {"history", UNIT_INT, ROUTE, .fallback = "10", .min = 1, .max = 100, .doc = "revisions kept"},
    END,
};

static const struct unit_field drain_fields[] = {
    {"requests", UNIT_DURATION, ROUTE, .fallback = "\"60s\"", .doc = "for requests in flight"},
    {"streams", UNIT_DURATION, ROUTE, NOT_YET(LATER), .fallback = "\"5m\"", .doc = "for streams"},
    END,
};

static const struct unit_field warm_up_fields[] = {
    {"path", UNIT_STRING, REPLACE, .fallback = "null", .nullable = true,
     .doc = "GET that must answer 2xx; null = /-/healthz of each replica"},
    {"deadline", UNIT_DURATION, REPLACE, .fallback = "\"120s\"",
     .doc = "unanswered for so long it is told as HealthCheckFailed"},
    END,
};

static const struct unit_field serve_fields[] = {
    {"applications", UNIT_LIST, .class = UNIT_CLASS_SERVE, .item = UNIT_ANY, .min = 1, .max = 100,
     .doc = "Ray Serve's own deploy schema"},
    {"warmUp", UNIT_OBJECT, REPLACE, .fallback = "{}", .fields = warm_up_fields, .doc = "before READY"},
    END,
};

static const struct unit_field route_fields[] = {
    {"application", UNIT_STRING, ROUTE, .fallback = "null", .nullable = true,
     .doc = "the Serve application; null = the only one"},
    {"host", UNIT_STRING, ROUTE, .fallback = "\"*\"", .doc = "host name, * = any"},
    {"prefix", UNIT_STRING, ROUTE, .fallback = "null", .nullable = true,
     .doc = "path prefix; null = the application's own"},
    {"rewrite", UNIT_STRING, ROUTE, .fallback = "null", .nullable = true,
     .doc = "what the prefix becomes; null = sent unchanged"},
    {"timeout", UNIT_DURATION, ROUTE, .fallback = "\"60s\"", .doc = "for the whole answer"},
    {"idle", UNIT_DURATION, ROUTE, .fallback = "\"5m\"", .doc = "between two bytes of a stream"},
    {"idempotent", UNIT_BOOL, ROUTE, .fallback = "false", .doc = "every method may be sent again"},
    {"wait", UNIT_DURATION, ROUTE, .fallback = "\"10s\"", .doc = "for a free place"},
    {"maxBody", UNIT_BYTES, ROUTE, .fallback = "\"64Mi\"", .doc = "largest request body"},
    {"retryBody", UNIT_BYTES, ROUTE, .fallback = "\"1Mi\"", .doc = "largest body kept for a re-send"},
    {"policy", UNIT_WORD, ROUTE, .fallback = "\"least\"", WORDS("least"), .doc = "how an endpoint is chosen"},
    END,
};

static const struct unit_field logs_fields[] = {
    {"level", UNIT_WORD, .class = UNIT_CLASS_SERVE, .fallback = "\"info\"",
     WORDS("debug", "info", "warning", "error"),
     .doc = "of Serve applications that set none; Ray's own in members that start from now on"},
    {"keepFailed", UNIT_DURATION, ROUTE, .fallback = "\"24h\"",
     .doc = "how long a failed member's log stays on its node; of members that start from now on"},
    END,
};

static const struct unit_field spec_fields[] = {
    {"units", UNIT_INT, ROUTE, .fallback = "1", .min = 0, .max = 1000000, .doc = "how many units"},
    {"autoscaling", UNIT_OBJECT, ROUTE, NOT_YET(LATER), .fallback = "null", .nullable = true,
     .fields = autoscaling_fields, .doc = "owns units while set"},
    {"suspend", UNIT_BOOL, ROUTE, NOT_YET(STARLINK), .fallback = "false", .doc = "no units for now"},
    {"priority", UNIT_WORD, ROUTE, NOT_YET(STARLINK), .fallback = "\"normal\"",
     WORDS("low", "normal", "high", "critical"), .doc = "who gives way"},
    {"isolation", UNIT_WORD, ROUTE, NOT_YET(STARLINK), .fallback = "\"shared\"", WORDS("shared", "exclusive"),
     .doc = "a node for one namespace only"},
    {"environment", UNIT_LIST, REPLACE, .item = UNIT_OBJECT, .fields = environment_fields, .min = 1,
     .max = 16, .doc = "Python and packages; first match wins"},
    {"code", UNIT_OBJECT, REPLACE, .fallback = "{}", .fields = code_fields,
     .doc = "on PYTHONPATH of every member"},
    {"models", UNIT_MAP, REPLACE, .fallback = "{}", .item = UNIT_OBJECT, .fields = model_fields,
     .doc = "models by the name that the code uses"},
    {"env", UNIT_LIST, REPLACE, .fallback = "[]", .item = UNIT_OBJECT, .fields = env_fields,
     .doc = "set where Ray starts"},
    {"files", UNIT_LIST, REPLACE, NOT_YET(LATER), .fallback = "[]", .item = UNIT_OBJECT,
     .fields = file_fields, .doc = "small files"},
    {"mounts", UNIT_LIST, REPLACE, NOT_YET(KUBE), .fallback = "[]", .item = UNIT_OBJECT,
     .fields = mount_fields, .doc = "mounts that a pool offers"},
    {"head", UNIT_OBJECT, REPLACE, .fallback = "{}", .fields = head_fields, .doc = "the unit's Ray head"},
    {"workers", UNIT_LIST, REPLACE, .fallback = "[]", .item = UNIT_OBJECT, .fields = worker_fields, .max = 20,
     .doc = "groups of workers; [] = the head serves"},
    {"placement", UNIT_OBJECT, ROUTE, .fallback = "{}", .fields = placement_fields, .doc = "where units go"},
    {"rollout", UNIT_OBJECT, ROUTE, .fallback = "{}", .fields = rollout_fields,
     .doc = "how revisions replace one another"},
    {"drain", UNIT_OBJECT, ROUTE, .fallback = "{}", .fields = drain_fields,
     .doc = "how long what is in flight may take"},
    {"serve", UNIT_OBJECT, REPLACE, .fields = serve_fields, .doc = "Ray Serve's config"},
    {"routes", UNIT_LIST, ROUTE, .fallback = "[]", .item = UNIT_OBJECT, .fields = route_fields, .max = 100,
     .doc = "[] = one for each Serve application"},
    {"logs", UNIT_OBJECT, ROUTE, .fallback = "{}", .fields = logs_fields, .doc = "members' logs"},
    END,
};

static const struct unit_field metadata_fields[] = {
    {"name", UNIT_LABEL, REPLACE, .doc = "the app's name"},
    {"namespace", UNIT_LABEL, REPLACE, .fallback = "\"default\"", .doc = "the tenant"},
    {"labels", UNIT_MAP, ROUTE, .fallback = "{}", .item = UNIT_STRING, .doc = "for selecting"},
    {"annotations", UNIT_MAP, ROUTE, .fallback = "{}", .item = UNIT_STRING, .doc = "for people and tools"},
    {"uid", UNIT_STRING, ROUTE, .fallback = "null", .nullable = true, .doc = "given by the server"},
    {"generation", UNIT_INT, ROUTE, .fallback = "null", .nullable = true, .min = 0, .max = INT64_MAX,
     .doc = "given by the server"},
    {"resourceVersion", UNIT_STRING, ROUTE, .fallback = "null", .nullable = true,
     .doc = "given by the server"},
    END,
};

static const struct unit_field app_fields[] = {
    {"apiVersion", UNIT_WORD, ROUTE, .fallback = "\"astra-ray.dev/v1alpha1\"",
     WORDS("astra-ray.dev/v1alpha1"), .doc = "version of this schema"},
    {"kind", UNIT_WORD, ROUTE, .fallback = "\"App\"", WORDS("App"), .doc = "App"},
    {"metadata", UNIT_OBJECT, ROUTE, .fields = metadata_fields, .doc = "who it is"},
    {"spec", UNIT_OBJECT, ROUTE, .fields = spec_fields, .doc = "what is wanted"},
    {"status", UNIT_ANY, ROUTE, .fallback = "null", .nullable = true,
     .doc = "what is; written by the server, not read"},
    END,
};

const struct unit_field unit_app_schema = {"app", UNIT_OBJECT, ROUTE, .fields = app_fields, .doc = "an App"};

const struct unit_field *unit_app_field(const char *path)
{
    const struct unit_field *f = &unit_app_schema;
    for (struct a_view rest = a_view_str(path), name; rest.len > 0 && f != NULL;) {
        name = a_view_split(rest, '.', &rest);
        const struct unit_field *in = f->fields;
        while (in != NULL && in->name != NULL && !a_view_is(name, in->name))
            in++;
        f = in != NULL && in->name != NULL ? in : NULL;
    }
    return f;
}

const char *unit_kind_name(enum unit_kind kind)
{
    static const char *const names[] = {
        [UNIT_ANY] = "any value",
        [UNIT_STRING] = "a string",
        [UNIT_LABEL] = "a name (a-z, 0-9 and inner '-', at most 40 characters)",
        [UNIT_BOOL] = "true or false",
        [UNIT_INT] = "a whole number",
        [UNIT_BYTES] = "a quantity of bytes such as 2Gi",
        [UNIT_CPU] = "a number of cores such as 2, 0.5 or 250m",
        [UNIT_DURATION] = "a duration such as 30s",
        [UNIT_WORD] = "a word",
        [UNIT_OBJECT] = "a mapping",
        [UNIT_LIST] = "a list",
        [UNIT_MAP] = "a mapping",
    };
    a_assert((unsigned)kind < A_ARRAY_SIZE(names));
    return names[kind];
}

const char *unit_class_name(enum unit_class class)
{
    return class == UNIT_CLASS_ROUTE ? "route" : class == UNIT_CLASS_SERVE ? "serve" : "replace";
}

const char *unit_alive_name(enum unit_alive alive)
{
    static const char *const names[] = {"main", "starlink", "kube", "tfcc", "later"};
    a_assert((unsigned)alive < A_ARRAY_SIZE(names));
    return names[alive];
}
