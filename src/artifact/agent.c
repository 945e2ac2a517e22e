#include "artifact/agent.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "sys/file.h"
#include "wire/value.h"

#define SCHEMA 1
#define ELF_MACHINE_AT 18 /* e_machine: two bytes, little-endian on all that are known here */

/* Where the text stands next, followed by a digit; NULL = nowhere. Here, the texts are followed by their end.
 */
static const char *mark_find(struct a_view v, const char *mark)
{
    size_t n = strlen(mark);
    while (v.len > n) {
        const char *at = memchr(v.ptr, mark[0], v.len - n);
        if (at == NULL)
            return NULL;
        if (memcmp(at, mark, n) == 0 && at[n] >= '0' && at[n] <= '9')
            return at + n;
        v.len -= (size_t)(at + 1 - v.ptr);
        v.ptr = at + 1;
    }
    return NULL;
}

/* The printable characters from there on. */
static void text_take(char *out, size_t size, const char *at, const char *end)
{
    size_t n = 0;
    while (at + n < end && n < size - 1 && at[n] > ' ' && at[n] < 127)
        n++;
    memcpy(out, at, n);
    out[n] = '\0';
}

static void glibc_find(struct a_view bytes, char *out, size_t size)
{
    const char *end = bytes.ptr + bytes.len, *at;
    char version[16];
    snprintf(out, size, "0");
    while ((at = mark_find(bytes, "GLIBC_")) != NULL) {
        text_take(version, sizeof version, at, end);
        if (artifact_version_compare(version, out) > 0)
            snprintf(out, size, "%s", version);
        bytes = (struct a_view){at, (size_t)(end - at)};
    }
}

static const char *platform_of(struct a_view bytes)
{
    if (bytes.len < 64 || memcmp(bytes.ptr, "\177ELF", 4) != 0)
        return NULL;
    unsigned machine = (unsigned char)bytes.ptr[ELF_MACHINE_AT] |
                       (unsigned)(unsigned char)bytes.ptr[ELF_MACHINE_AT + 1] << 8;
    return machine == 62 ? "linux-x86_64" : machine == 183 ? "linux-aarch64" : NULL;
}

int artifact_agent_read(const char *executable, struct artifact_agent *ret, struct a_error *reterr)
{
    struct sys_map map = {0};
    int rc = sys_map_open(executable, &map, reterr);
    if (rc != 0)
        return rc;
    struct a_view bytes = map.bytes;
    const char *platform = platform_of(bytes), *version = mark_find(bytes, "@(#)astra ");
    struct artifact_agent agent = {.version = ""};
    if (platform == NULL || version == NULL) {
        rc = a_fail(reterr, -EINVAL, A_CODE_INVALID, "%s: %s", executable,
                    platform == NULL ? "no executable of Linux for x86_64 or aarch64"
                                     : "no build of Astra: it does not say its version");
    } else {
        snprintf(agent.platform, sizeof agent.platform, "%s", platform);
        text_take(agent.version, sizeof agent.version, version, bytes.ptr + bytes.len);
        glibc_find(bytes, agent.glibc, sizeof agent.glibc);
        *ret = agent;
    }
    sys_map_close(&map);
    return rc;
}

void artifact_agent_print(const struct artifact_agent *agent, struct a_buf *ret_text)
{
    a_buf_addf(ret_text, "{\"schema\": %d, \"version\": \"%s\", \"platform\": \"%s\", \"glibc\": \"%s\"}\n",
               SCHEMA, agent->version, agent->platform, agent->glibc);
}

int artifact_agent_check(struct a_view text, const char *version, const struct artifact_host *host,
                         struct a_error *reterr)
{
    A_ARENA_AUTO struct a_arena arena = {0};
    A_ERROR_AUTO struct a_error e = A_ERROR_NONE;
    struct wire_value *v;
    const int rc = -EINVAL;
    const enum a_code code = A_CODE_ENV_MISMATCH;
    if (wire_json_parse(&arena, text, ARTIFACT_AGENT_FILE, NULL, &v, &e) < 0)
        return a_fail(reterr, rc, code, "agent: %s", a_error_text(&e));
    const char *is = wire_value_string(wire_value_get(v, "version"), "(not said)");
    const char *platform = wire_value_string(wire_value_get(v, "platform"), "(not said)");
    const char *glibc = wire_value_string(wire_value_get(v, "glibc"), "0");
    if (wire_value_int(wire_value_get(v, "schema"), 0) != SCHEMA)
        return a_fail(reterr, rc, code, "agent: its manifest is not of schema %d", SCHEMA);
    if (strcmp(is, version) != 0)
        return a_fail(reterr, rc, code, "agent: it is version %s, asked for was %s", is, version);
    if (strcmp(platform, host->platform) != 0)
        return a_fail(reterr, rc, code, "agent: made for %s, this node is %s", platform, host->platform);
    if (artifact_version_compare(glibc, host->glibc) > 0)
        return a_fail(reterr, rc, code, "agent: needs glibc %s, this node has %s", glibc, host->glibc);
    return 0;
}

static uint64_t minor_of(const char *version, uint64_t *ret_major)
{
    uint64_t minor = 0;
    struct a_view rest, major = a_view_split(a_view_str(version), '.', &rest);
    if (!a_text_u64(major, ret_major))
        *ret_major = 0;
    return a_text_u64(a_view_split(rest, '.', &rest), &minor) ? minor : 0;
}

bool artifact_agent_suits(const char *version, const char *server)
{
    uint64_t major, server_major;
    uint64_t minor = minor_of(version, &major), server_minor = minor_of(server, &server_major);
    return artifact_version_compare(version, server) <= 0 && major == server_major &&
           minor + 1 >= server_minor;
}
