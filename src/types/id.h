/* Names and identities: who is who on the wire, in the store and in logs.
 *
 * All are fixed-size strings, so that they can be copied, compared and used as map keys without ownership. */
#ifndef A_TYPES_ID_H
#define A_TYPES_ID_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/random.h"

#define A_NAME_MAX 40      /* characters of a name: app, namespace, cluster, network, zone, member */
#define A_UNIT_NAME_MAX 46 /* NAME-abcde */
#define A_NODE_ID_LEN 26   /* base32 (RFC 4648, lower case, no padding) of 16 bytes */
#define A_UUID_LEN 36

struct a_name {
    char s[A_NAME_MAX + 1];
};

struct a_unit_name {
    char s[A_UNIT_NAME_MAX + 1];
};

struct a_node_id {
    char s[A_NODE_ID_LEN + 1];
};

struct a_uuid {
    char s[A_UUID_LEN + 1];
};

/* "namespace/name" of an app. */
struct a_app_ref {
    struct a_name namespace;
    struct a_name name;
};

/* One claim: the piece of a node that a member occupies. `attempt` rises each time the member is placed
 * again. */
struct a_claim_id {
    struct a_uuid app_uid;
    struct a_unit_name unit;
    struct a_name member; /* head, or worker group and index: gpu-0 */
    uint32_t attempt;
};

/* False when `v` is not a DNS label of at most A_NAME_MAX characters. */
bool a_name_parse(struct a_view v, struct a_name *ret) A_MUST_CHECK;
bool a_unit_name_parse(struct a_view v, struct a_unit_name *ret) A_MUST_CHECK;
/* `app` + "-" + 5 random letters or digits. */
void a_unit_name_make(struct a_random *random, const struct a_name *app, struct a_unit_name *ret);

bool a_node_id_parse(struct a_view v, struct a_node_id *ret) A_MUST_CHECK;
/* From the first 16 bytes of SHA-256(public key). */
void a_node_id_make(const uint8_t digest[16], struct a_node_id *ret);

bool a_uuid_parse(struct a_view v, struct a_uuid *ret) A_MUST_CHECK;
/* Version 4 (RFC 9562) from 16 random bytes. */
void a_uuid_make_v4(const uint8_t random[16], struct a_uuid *ret);
/* Version 7: `unix_ms` in front, so that request ids sort by time. */
void a_uuid_make_v7(uint64_t unix_ms, const uint8_t random[10], struct a_uuid *ret);

/* "name" (namespace default) or "namespace/name". */
bool a_app_ref_parse(struct a_view v, struct a_app_ref *ret) A_MUST_CHECK;
bool a_app_ref_equal(const struct a_app_ref *a, const struct a_app_ref *b);
bool a_claim_id_equal(const struct a_claim_id *a, const struct a_claim_id *b);
/* UID/UNIT/MEMBER/ATTEMPT: file names use it with '/' replaced by the caller. */
void a_claim_id_print(struct a_buf *b, const struct a_claim_id *id);
bool a_claim_id_parse(struct a_view v, struct a_claim_id *ret) A_MUST_CHECK;

#endif
