/* An environment's manifest (astra-env.json, written by the packer, first in the archive): what it asks of a
 * node. */
#ifndef ARTIFACT_MANIFEST_H
#define ARTIFACT_MANIFEST_H

#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"

#define ARTIFACT_MANIFEST_FILE "astra-env.json"
#define ARTIFACT_MANIFEST_MAX (1 << 20) /* bytes */

/* What a node offers. */
struct artifact_host {
    const char *platform; /* "linux-x86_64" */
    const char *glibc;    /* "2.36" */
};

/* Of the manifest, what members are told. */
struct artifact_manifest {
    char python[24], ray[24];
    uint64_t unpacked_bytes; /* 0 = not said */
};

/* 0, or -EINVAL with A_CODE_ENV_MISMATCH and both sides in the message: another platform, a newer glibc than
 * the node's, no Ray or one older than 2.52, or a text that is no manifest of schema 1. */
int artifact_manifest_check(struct a_view text, const struct artifact_host *host,
                            struct artifact_manifest *ret, struct a_error *reterr) A_MUST_CHECK;
/* Dotted numbers: below 0, 0 or above 0; what is no number counts as 0. */
int artifact_version_compare(const char *a, const char *b);

#endif
