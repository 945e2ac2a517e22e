/* app.yaml on the user's machine: read, brought to the long form, checked; and, for a deploy, its code and
 * environments packed and brought to the server. */
#ifndef A_CLI_APP_FILE_H
#define A_CLI_APP_FILE_H

#include "cli/cli.h"
#include "unit/app.h"

struct cli_app {
    const char *path, *folder; /* the file, and the folder that its paths start from */
    struct wire_value *doc;    /* long form, positions kept; namespace and name set */
    struct wire_value *full;   /* with every default */
    struct a_name namespace, name;
    struct unit_problems problems;
};

/* Reads and checks FILE (- is stdin) or FILE's folder (app.yaml in it). Problems go to stderr, all of them,
 * as file:line:col: field: ...; warnings, too. -EINVAL when there are errors. In c->arena. */
int cli_app_read(struct cli *c, const char *file, struct cli_app *ret) A_MUST_CHECK;

struct cli_pack {
    const char *libdir; /* lib/astra; NULL = found beside the executable */
    uint64_t packed_ms, uploaded_bytes;
    struct cli_progress progress;
};

/* Packs code and environments, uploads what the server lacks, and puts the artifacts' digests in place of the
 * paths. */
int cli_app_pack(struct cli *c, struct cli_app *app, struct cli_pack *pack) A_MUST_CHECK;

/* ---- upload.c ---- */

/* Brings a file to the namespace as NAME@VERSION unless its digest is there. *ret_digest: "sha256:HEX". */
int cli_upload(struct cli *c, const char *namespace, const char *path, const char *name, const char *version,
               struct cli_progress *progress, bool *ret_sent, const char **ret_digest) A_MUST_CHECK;

/* ---- env.c ---- */

/* Packs requirements into an archive; its path in c->arena. Finds the packer beside the executable. */
int cli_env_pack(struct cli *c, const char *libdir, const char *requirements, const char *python,
                 const char *index, const char **ret_path) A_MUST_CHECK;

/* ---- follow.c ---- */

/* Waits until the app's units are as generation says, showing them; what happened at the end is printed.
 * 0; -ETIMEDOUT (status 3); -EINTR; -EIO when the revision failed. */
int cli_wait_ready(struct cli *c, const char *app_path, int64_t generation, int64_t revision,
                   uint64_t timeout_ms) A_MUST_CHECK;
/* Until the path answers 404. */
int cli_wait_gone(struct cli *c, const char *path, uint64_t timeout_ms) A_MUST_CHECK;

#endif
