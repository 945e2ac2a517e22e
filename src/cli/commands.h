/* The commands of the command line. argv[0] is the command's own name; the answer is the process's exit
 * status: 0 ok, 1 failed, 2 usage, 3 timed out, 130 interrupted. docs/components/cli.md. */
#ifndef A_CLI_COMMANDS_H
#define A_CLI_COMMANDS_H

/* X(name, function, "what it does"), in the order of the help. */
/* clang-format off */
#define CLI_COMMANDS(X) \
    X("deploy", deploy, "check, pack, upload and run an app") \
    X("validate", validate, "check an app's file, without a server") \
    X("render", render, "print an app with every default filled in") \
    X("diff", diff, "what a deploy would change") \
    X("import", import, "make an app of KubeRay's RayService or RayCluster") \
    X("delete", delete, "stop an app and forget it") \
    X("scale", scale, "set how many units an app has") \
    X("rollout", rollout, "status, history, undo: an app's revisions") \
    X("status", status, "the platform and its apps at a glance") \
    X("top", top, "requests, errors and latencies now") \
    X("apps", apps, "list apps") \
    X("units", units, "list units and where they are") \
    X("nodes", nodes, "list nodes") \
    X("clusters", clusters, "list clusters") \
    X("cluster", cluster, "add, ls, rm, drain, manifests: Kubernetes clusters") \
    X("pool", pool, "apply, ls, get, rm, manifests: pods created ahead of need") \
    X("events", events, "what happened") \
    X("logs", logs, "what an app's members print") \
    X("explain", explain, "why an app or a unit is not what was asked for") \
    X("drain", drain, "move everything off a node") \
    X("cordon", cordon, "place nothing new on a node") \
    X("uncordon", uncordon, "take a node into use again") \
    X("upgrade", upgrade, "agents go over to another build, in place") \
    X("orphans", orphans, "ls, adopt, release: apps that run, but that no store knows") \
    X("recover", recover, "take over what runs after the store was lost or restored") \
    X("store", store, "backup, restore: copies of the server's store") \
    X("artifact", artifact, "put, ls, get: models, code and environments by name") \
    X("env", env, "pack, resolve: Python environments") \
    X("token", token, "create, revoke, ls: who may do what, and who may join") \
    X("ca", ca, "show, rotate: whom the platform's parts trust") \
    X("deny", deny, "refuse a node or gateway from now on") \
    X("allow", allow, "let a denied one in again") \
    X("version", version, "of this program and of the server") \
    X("doctor", doctor, "look for what will not work on this machine")
/* clang-format on */

#define X(name, function, help) int cli_##function(int argc, char **argv);
CLI_COMMANDS(X)
#undef X

#endif
