/* A build of Astra as an artifact, for agents that upgrade in place: a tar.zst of an installation.
 *
 *     astra-agent.json   the manifest, first
 *     bin/astra          the executable
 *     lib/astra/         what stands beside it: libtfcc, engines, Python; may be absent
 *
 * {"schema": 1, "version": "0.2.0", "platform": "linux-x86_64", "glibc": "2.36"}: `glibc` is the newest
 * version that the executable asks for. All of it is read from the executable's own bytes, so that a build
 * for another processor can be packed, too: the version from the mark that src/main.c leaves in it. */
#ifndef ARTIFACT_AGENT_H
#define ARTIFACT_AGENT_H

#include "artifact/manifest.h"
#include "base/buf.h"
#include "base/error.h"

#define ARTIFACT_AGENT_FILE "astra-agent.json"
#define ARTIFACT_AGENT_EXECUTABLE "bin/astra"
#define ARTIFACT_AGENT_MANIFEST_MAX 4096 /* bytes */

struct artifact_agent {
    char version[65], platform[32], glibc[16];
};

/* Of an executable file. -EINVAL (A_CODE_INVALID) when it is none of Astra, or for a processor that is not
 * known. Blocks. */
int artifact_agent_read(const char *executable, struct artifact_agent *ret,
                        struct a_error *reterr) A_MUST_CHECK;
void artifact_agent_print(const struct artifact_agent *agent, struct a_buf *ret_text);
/* -EINVAL with A_CODE_ENV_MISMATCH and both sides in the message: another version than asked for, another
 * platform, a newer glibc than the node's, or a text that is no manifest of schema 1. */
int artifact_agent_check(struct a_view text, const char *version, const struct artifact_host *host,
                         struct a_error *reterr) A_MUST_CHECK;
/* Whether agents of `version` may work with servers of `server` (docs/contracts.md, "Compatibility"): not
 * newer, and at most one minor release older. */
bool artifact_agent_suits(const char *version, const char *server);

#endif
