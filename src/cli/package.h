/* What an app brings along: its code folder and its environments become artifacts, and the app names them by
 * digest. */
#ifndef A_CLI_PACKAGE_H
#define A_CLI_PACKAGE_H

#include "cli/appfile.h"
#include "cli/progress.h"

#define CLI_PACKAGES_MAX 16

struct cli_package {
    const char *what;   /* "code" or "env": also the artifact's name */
    const char *path;   /* of the packed file */
    const char *digest; /* sha256:HEX */
    uint64_t bytes;
};

struct cli_packages {
    struct cli_package items[CLI_PACKAGES_MAX];
    size_t n;
    char *folder; /* temporary; removed by cli_packages_deinit() */
};

/* Packs everything that f->app names by a path and puts the digests in its place. */
int cli_packages_make(struct cli_call *c, struct cli_appfile *f, struct cli_progress *progress,
                      struct cli_packages *ret, struct a_error *reterr) A_MUST_CHECK;
void cli_packages_deinit(struct cli_packages *p); /* safe twice */
/* Sends what the server has not. */
int cli_packages_upload(struct cli_call *c, const struct cli_appfile *f, const struct cli_packages *p,
                        struct cli_progress *progress, struct a_error *reterr) A_MUST_CHECK;
/* Adds a problem for each model and artifact that the app names and the server has not. */
int cli_sources_check(struct cli_call *c, struct cli_appfile *f, struct a_error *reterr) A_MUST_CHECK;

/* One file to NAME@VERSION; `digest` may be NULL. *ret (may be NULL): the server's answer. */
int cli_artifact_send(struct cli_call *c, const char *namespace, const char *name, const char *path,
                      const char *digest, struct cli_progress *progress, struct wire_value **ret,
                      struct a_error *reterr) A_MUST_CHECK;
/* Whether the server has NAME@VERSION, NAME or sha256:HEX. */
int cli_artifact_exists(struct cli_call *c, const char *namespace, const char *source, bool *ret,
                        struct a_error *reterr) A_MUST_CHECK;

#endif
