/* Starlink, the protocol between agents, gateways and servers: frames and messages.
 *
 * A frame is an 8-byte header, {u32 payload length, u16 type, u8 version, u8 flags}, big-endian, and a
 * payload of TLVs: varint key (number << 1 | critical), varint length, bytes. A frame has at most
 * WIRE_SL_FRAME_MAX bytes, header included. Unknown types are skipped and counted; an unknown TLV is skipped
 * unless its critical bit says that the message means something else without it: then it is refused. So N
 * talks to N-1 and a sender can still insist. The messages are the table in wire/starlink_messages.h; this
 * header makes their structs from it.
 *
 * In memory: a struct wire_sl_message with `type` and one member of the union. Zeroed = nothing said. Texts
 * are views: in a message to be sent they point to the caller's bytes, in a decoded one into the frame. */
#ifndef WIRE_STARLINK_H
#define WIRE_STARLINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/error.h"
#include "types/capacity.h"
#include "types/digest.h"
#include "types/id.h"
#include "types/state.h"
#include "wire/starlink_messages.h"
#include "wire/wire.h"

#define WIRE_SL_PROTOCOL 1      /* spoken by this release */
#define WIRE_SL_PROTOCOL_MIN 1  /* and still understood */
#define WIRE_SL_HEADER 8        /* bytes */
#define WIRE_SL_FRAME_MAX 16384 /* bytes with the header */
#define WIRE_SL_PAYLOAD_MAX (WIRE_SL_FRAME_MAX - WIRE_SL_HEADER)
#define WIRE_SL_BULK_CHUNK 16368 /* bytes of data in one BULK_DATA */

/* The enums: enum wire_sl_peer { WIRE_SL_PEER_AGENT, ... }; each has a _COUNT. */
#define X(name, number) WIRE_SL_PEER_##name = number,
enum wire_sl_peer { WIRE_SL_PEERS(X) WIRE_SL_PEER_COUNT };
#undef X
#define X(name, number) WIRE_SL_ROLE_##name = number,
enum wire_sl_role { WIRE_SL_ROLES(X) WIRE_SL_ROLE_COUNT };
#undef X
#define X(name, number) WIRE_SL_NODE_ACTION_##name = number,
enum wire_sl_node_action { WIRE_SL_NODE_ACTIONS(X) WIRE_SL_NODE_ACTION_COUNT };
#undef X
#define X(name, number) WIRE_SL_UPGRADE_PHASE_##name = number,
enum wire_sl_upgrade_phase { WIRE_SL_UPGRADE_PHASES(X) WIRE_SL_UPGRADE_PHASE_COUNT };
#undef X
#define X(name, number) WIRE_SL_PURPOSE_##name = number,
enum wire_sl_purpose { WIRE_SL_PURPOSES(X) WIRE_SL_PURPOSE_COUNT };
#undef X
#define X(name, number) WIRE_SL_VIEW_##name = number,
enum wire_sl_view { WIRE_SL_VIEWS(X) WIRE_SL_VIEW_COUNT };
#undef X
#define X(name, number) WIRE_SL_ENDPOINT_##name = number,
enum wire_sl_endpoint_state { WIRE_SL_ENDPOINT_STATES(X) WIRE_SL_ENDPOINT_STATE_COUNT };
#undef X
#define X(name, number) WIRE_SL_SERVE_##name = number,
enum wire_sl_serve_state { WIRE_SL_SERVE_STATES(X) WIRE_SL_SERVE_STATE_COUNT };
#undef X

/* The structs: one member per field, and n_NAME beside each LIST. */
#define WIRE_SL_MEMBER_U64(name, arg) uint64_t name;
#define WIRE_SL_MEMBER_U32(name, arg) uint32_t name;
#define WIRE_SL_MEMBER_U16(name, arg) uint16_t name;
#define WIRE_SL_MEMBER_I64(name, arg) int64_t name;
#define WIRE_SL_MEMBER_BOOL(name, arg) bool name;
#define WIRE_SL_MEMBER_STR(name, arg) struct a_view name;
#define WIRE_SL_MEMBER_BYTES(name, arg) struct a_view name;
#define WIRE_SL_MEMBER_DIGEST(name, arg) struct a_digest name;
#define WIRE_SL_MEMBER_NAME(name, arg) struct a_name name;
#define WIRE_SL_MEMBER_NODE(name, arg) struct a_node_id name;
#define WIRE_SL_MEMBER_UUID(name, arg) struct a_uuid name;
#define WIRE_SL_MEMBER_UNIT(name, arg) struct a_unit_name name;
#define WIRE_SL_MEMBER_ENUM(name, arg) enum arg name;
#define WIRE_SL_MEMBER_MSG(name, arg) struct arg name;
#define WIRE_SL_MEMBER_LIST(name, arg)                                                                       \
    struct arg *name;                                                                                        \
    size_t n_##name;
#define WIRE_SL_MEMBER(kind, tag, name, rule, arg, bound) WIRE_SL_MEMBER_##kind(name, arg)

/* struct wire_sl_label, wire_sl_app_epoch, wire_sl_revision, wire_sl_serve_app, wire_sl_target */
#define WIRE_SL_DEFINE(tag, fields)                                                                          \
    struct tag {                                                                                             \
        fields(WIRE_SL_MEMBER)                                                                               \
    };
WIRE_SL_OWN_STRUCTS(WIRE_SL_DEFINE)
#undef WIRE_SL_DEFINE

/* struct wire_sl_hello, wire_sl_welcome, ... */
#define WIRE_SL_DEFINE(upper, lower, number, fields)                                                         \
    struct wire_sl_##lower {                                                                                 \
        fields(WIRE_SL_MEMBER)                                                                               \
    };
WIRE_SL_MESSAGES(WIRE_SL_DEFINE)
#undef WIRE_SL_DEFINE

/* The frames' types: WIRE_SL_T_HELLO, ... */
#define X(upper, lower, number, fields) WIRE_SL_T_##upper = number,
enum wire_sl_type { WIRE_SL_T_NONE = 0, WIRE_SL_MESSAGES(X) };
#undef X

#define X(upper, lower, number, fields) struct wire_sl_##lower lower;
struct wire_sl_message {
    enum wire_sl_type type;
    union {
        WIRE_SL_MESSAGES(X)
    };
};
#undef X

/* One frame, cut out of a byte stream; `payload` points into it. */
struct wire_sl_frame {
    uint16_t type;
    uint8_t version;
    uint8_t flags; /* none defined yet: sent as 0, ignored when received */
    struct a_view payload;
    size_t size; /* bytes of the whole frame: what to consume */
};

/* Cuts the first frame off `bytes`. WIRE_E_MORE: not whole yet; WIRE_E_MALFORMED: the length is impossible or
 * the version is 0: close the connection. */
int wire_sl_frame_parse(struct a_view bytes, struct wire_sl_frame *ret, struct a_error *reterr) A_MUST_CHECK;

/* Decodes a frame. Texts and bytes of *ret point into the frame, lists live in `arena` (at most a few hundred
 * KiB for a frame of 16 KiB; a list's bound is in the table).
 * 0; WIRE_E_UNKNOWN: no such type here, skip and count it (reterr stays empty); WIRE_E_UNSUPPORTED: a
 * critical field that we do not know, or a protocol newer than ours; WIRE_E_MALFORMED; -ENOMEM when the
 * arena's limit is reached. *ret is written only on success. */
int wire_sl_decode(const struct wire_sl_frame *frame, struct a_arena *arena, struct wire_sl_message *ret,
                   struct a_error *reterr) A_MUST_CHECK;

/* Appends `m` as one frame. Long texts that may be cut (rule TEXT) are cut until the frame fits.
 * 0; WIRE_E_TOO_LARGE: it does not fit all the same, or a value is past its bound; -EINVAL: a required field
 * is empty; -ENOBUFS: `out` is at its maximum. On failure `out` is as before (`failed` cleared). */
int wire_sl_encode(struct a_buf *out, const struct wire_sl_message *m, struct a_error *reterr) A_MUST_CHECK;

/* One line for traces and golden tests: TYPE name=value ...; nested {..}, lists [..]; secrets as "***".
 * Fields that are not sent are not printed. */
void wire_sl_print(struct a_buf *b, const struct wire_sl_message *m);

/* "HELLO"; NULL when the number is no message of ours. */
const char *wire_sl_type_name(unsigned type);

/* The protocol number that both sides speak, or 0 when there is none. */
uint32_t wire_sl_negotiate(uint32_t min_a, uint32_t max_a, uint32_t min_b, uint32_t max_b);

/* Appends at most `max` bytes of `text`: its head and its tail with " [N bytes cut] " between them when it is
 * longer, cut between UTF-8 characters. Useful for whoever keeps a text that a peer sends. `max` >= 64. */
void wire_text_cut(struct a_buf *b, struct a_view text, size_t max);

#endif
