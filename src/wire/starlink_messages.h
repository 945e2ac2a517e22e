/* Starlink's messages: the one table from which the structs, the codec, the trace printer and the codec of
 * the Python tests (tools/starlink_tables.py reads this file) are made.
 *
 * A field is F(KIND, tag, name, RULE, arg, bound):
 *   U64 U32 U16   varint; bound = largest value, 0 = what the type holds
 *   I64           zigzag varint
 *   BOOL          0 or 1
 *   STR           UTF-8 text or bytes for people, bound = most bytes
 *   BYTES         opaque, bound = most bytes
 *   DIGEST NAME NODE UUID UNIT    types/digest.h and types/id.h
 *   ENUM          arg = the enum's tag; a number that the enum does not have is refused
 *   MSG           arg = the struct's tag, nested
 *   LIST          arg = the struct's tag, bound = most items; one TLV per item: `name` and `n_name`
 * Rules: OPT   a receiver that does not know the tag skips it
 *        CRIT  a receiver that does not know the tag refuses the message
 *        REQ   as CRIT, and the message is malformed without it
 *        TEXT  as OPT; longer text loses its middle, and more of it when the frame would be too large
 *        SECRET as CRIT, never printed
 * A zero value (0, false, empty, zero digest) is not sent. Tags are never used again for something else; new
 * fields take the next tag. Times are durations on the sender's clock: no two machines' clocks are compared.
 * Sizes are bytes, CPU is in thousandths of a core. */
#ifndef WIRE_STARLINK_MESSAGES_H
#define WIRE_STARLINK_MESSAGES_H

/* clang-format off */

/* Enums of this protocol. X(NAME, number), dense from 0, append only. */
#define WIRE_SL_PEERS(X) X(AGENT, 0) X(GATEWAY, 1) X(BULK, 2) X(SERVER, 3) X(CLIENT, 4)
#define WIRE_SL_ROLES(X) X(HEAD, 0) X(WORKER, 1)
#define WIRE_SL_NODE_ACTIONS(X) X(CORDON, 0) X(UNCORDON, 1) X(DRAIN, 2) X(UNDRAIN, 3)
#define WIRE_SL_UPGRADE_PHASES(X) X(FETCHING, 0) X(RESTARTING, 1) X(RUNNING, 2) X(FAILED, 3)
#define WIRE_SL_PURPOSES(X) X(LOGS, 0) X(ARTIFACT, 1)
#define WIRE_SL_VIEWS(X) X(ROUTES, 0) X(NODES, 1)
#define WIRE_SL_ENDPOINT_STATES(X) X(UP, 0) X(DRAINING, 1) X(DEAD, 2)
#define WIRE_SL_SERVE_STATES(X) \
    X(UNKNOWN, 0) X(NOT_STARTED, 1) X(DEPLOYING, 2) X(DEPLOY_FAILED, 3) X(RUNNING, 4) X(UNHEALTHY, 5) X(DELETING, 6)

/* E(enum tag, table): those of this protocol ... */
#define WIRE_SL_OWN_ENUMS(E) \
    E(wire_sl_peer, WIRE_SL_PEERS) \
    E(wire_sl_role, WIRE_SL_ROLES) \
    E(wire_sl_node_action, WIRE_SL_NODE_ACTIONS) \
    E(wire_sl_upgrade_phase, WIRE_SL_UPGRADE_PHASES) \
    E(wire_sl_purpose, WIRE_SL_PURPOSES) \
    E(wire_sl_view, WIRE_SL_VIEWS) \
    E(wire_sl_endpoint_state, WIRE_SL_ENDPOINT_STATES) \
    E(wire_sl_serve_state, WIRE_SL_SERVE_STATES)
/* ... and those of types/state.h. */
#define WIRE_SL_TYPES_ENUMS(E) \
    E(a_node_state, A_NODE_STATES) \
    E(a_claim_state, A_CLAIM_STATES) \
    E(a_member_state, A_MEMBER_STATES) \
    E(a_reason, A_REASONS)

/* ---- nested structs of types/ ---- */

#define WIRE_SL_APP_REF(F) \
    F(NAME, 1, namespace, REQ, 0, 0) \
    F(NAME, 2, name, REQ, 0, 0)

#define WIRE_SL_CLAIM_ID(F) \
    F(UUID, 1, app_uid, REQ, 0, 0) \
    F(UNIT, 2, unit, REQ, 0, 0) \
    F(NAME, 3, member, REQ, 0, 0) \
    F(U32, 4, attempt, CRIT, 0, 0)

#define WIRE_SL_CAPACITY(F) \
    F(U64, 1, mcpu, CRIT, 0, 0) \
    F(U64, 2, memory_bytes, CRIT, 0, 0) \
    F(U64, 3, disk_bytes, CRIT, 0, 0)

/* S(struct tag, fields) */
#define WIRE_SL_TYPES_STRUCTS(S) \
    S(a_app_ref, WIRE_SL_APP_REF) \
    S(a_claim_id, WIRE_SL_CLAIM_ID) \
    S(a_capacity, WIRE_SL_CAPACITY)

/* ---- nested structs of this protocol ---- */

#define WIRE_SL_LABEL(F) \
    F(STR, 1, key, OPT, 0, 128) \
    F(STR, 2, value, OPT, 0, 256)

/* The highest epoch that a node persisted for an app. */
#define WIRE_SL_APP_EPOCH(F) \
    F(UUID, 1, app_uid, REQ, 0, 0) \
    F(U64, 2, epoch, CRIT, 0, 0)

/* Which revision: its number for people, the digest of its text to fetch it by. */
#define WIRE_SL_REVISION(F) \
    F(U64, 1, number, CRIT, 0, 0) \
    F(DIGEST, 2, digest, CRIT, 0, 0)

/* One Serve application, as Ray's GET tells it. */
#define WIRE_SL_SERVE_APP(F) \
    F(STR, 1, name, CRIT, 0, 256) \
    F(STR, 2, route_prefix, OPT, 0, 512) \
    F(ENUM, 3, status, OPT, wire_sl_serve_state, 0) \
    F(STR, 4, message, TEXT, 0, 2048)

/* One address that answers requests of a Serve application. */
#define WIRE_SL_TARGET(F) \
    F(STR, 1, name, OPT, 0, 256)            /* Ray's name of the replica; stable while it lives */ \
    F(STR, 2, ip, CRIT, 0, 45) \
    F(U16, 3, port, CRIT, 0, 0) \
    F(STR, 4, application, CRIT, 0, 256) \
    F(STR, 5, route_prefix, OPT, 0, 512) \
    F(BOOL, 6, proxy, OPT, 0, 0)            /* Ray's own proxy, not a replica */ \
    F(BOOL, 7, healthy, OPT, 0, 0) \
    F(U32, 8, max_ongoing, OPT, 0, 0)       /* as Serve says, which knows what the code sets; 0 = not said */

/* So many requests took so long: `index` of the bounds in types/latency.h. */
#define WIRE_SL_BUCKET(F) \
    F(U32, 1, index, CRIT, 0, 0) \
    F(U64, 2, count, CRIT, 0, 0)

#define WIRE_SL_OWN_STRUCTS(S) \
    S(wire_sl_bucket, WIRE_SL_BUCKET) \
    S(wire_sl_label, WIRE_SL_LABEL) \
    S(wire_sl_app_epoch, WIRE_SL_APP_EPOCH) \
    S(wire_sl_revision, WIRE_SL_REVISION) \
    S(wire_sl_serve_app, WIRE_SL_SERVE_APP) \
    S(wire_sl_target, WIRE_SL_TARGET)

/* ---- handshake ---- */

/* The first frame of the side that dials; one for each node that the connection carries. */
#define WIRE_SL_HELLO(F) \
    F(U32, 1, protocol_min, CRIT, 0, 0)     /* lowest and highest protocol number spoken */ \
    F(U32, 2, protocol_max, CRIT, 0, 0) \
    F(ENUM, 3, peer, CRIT, wire_sl_peer, 0) \
    F(STR, 4, token, SECRET, 0, 512)        /* no longer looked at: CERT_REQUEST has the join token */ \
    F(STR, 5, version, OPT, 0, 64)          /* of the software, for people */ \
    F(NODE, 6, node, CRIT, 0, 0)            /* agents and bulk connections */ \
    F(STR, 7, name, OPT, 0, 253)            /* for people */ \
    F(NAME, 8, cluster, OPT, 0, 0) \
    F(NAME, 9, network, OPT, 0, 0)          /* nodes of one network reach each other */ \
    F(NAME, 10, zone, OPT, 0, 0) \
    F(STR, 11, host, OPT, 0, 253)           /* the machine under the node */ \
    F(STR, 12, address, OPT, 0, 253)        /* IP at which the node's members (a gateway: its clients) reach it */ \
    F(LIST, 13, labels, OPT, wire_sl_label, 64) \
    F(MSG, 14, capacity, OPT, a_capacity, 0)/* all that the node has */ \
    F(U64, 15, incarnation, OPT, 0, 0)      /* persisted counter: rises when the node starts afresh */ \
    F(U64, 16, attach, OPT, 0, 0)           /* rises at each connect */ \
    F(UUID, 17, boot_id, OPT, 0, 0)         /* of this process: changes at each start */ \
    F(UUID, 18, store_id, OPT, 0, 0)        /* the store last spoken with; absent = none */ \
    F(BYTES, 19, ticket, SECRET, 0, 64)     /* bulk: of the OPEN_BULK that asked for this connection */ \
    F(U16, 20, port, OPT, 0, 0)             /* gateway: where it listens for requests */ \
    F(BOOL, 21, exclusive, OPT, 0, 0)       /* agents: members of one namespace at a time */ \
    F(NAME, 22, arch, OPT, 0, 0)            /* agent: its processor, "amd64" or "arm64" */ \
    F(DIGEST, 23, artifact, OPT, 0, 0)      /* agent: that it runs from; absent: what was installed */

/* The first frame of a peer without a certificate, with the join token; over a link that stands: renewal. */
#define WIRE_SL_CERT_REQUEST(F) \
    F(BYTES, 1, request, CRIT, 0, 4096)     /* PKCS #10, PEM */ \
    F(STR, 2, token, SECRET, 0, 512)        /* join token */ \
    F(ENUM, 3, peer, CRIT, wire_sl_peer, 0) \
    F(NAME, 4, cluster, CRIT, 0, 0)         /* agents */ \
    F(STR, 5, name, OPT, 0, 253)            /* for people */

/* Server to peer: the answer to CERT_REQUEST. Without a certificate: the trust has changed, ask for one. */
#define WIRE_SL_CERTIFICATE(F) \
    F(BYTES, 1, certificate, CRIT, 0, 4096) /* PEM */ \
    F(BYTES, 2, trust, CRIT, 0, 8192)       /* PEM: the authorities */

#define WIRE_SL_WELCOME(F) \
    F(U32, 1, protocol, CRIT, 0, 0)         /* spoken from here on */ \
    F(UUID, 2, store_id, CRIT, 0, 0) \
    F(UUID, 3, server_boot_id, CRIT, 0, 0) \
    F(U64, 4, attach, OPT, 0, 0)            /* of the HELLO answered */ \
    F(U32, 5, beat_interval_ms, OPT, 0, 0) \
    F(NODE, 6, node, OPT, 0, 0)             /* of the HELLO answered */ \
    F(STR, 7, version, OPT, 0, 64)

/* The answer instead of WELCOME, or the last frame before the connection is closed. */
#define WIRE_SL_REFUSED(F) \
    F(STR, 1, code, OPT, 0, 64)             /* a word of base/error_codes.h */ \
    F(STR, 2, message, TEXT, 0, 1024) \
    F(NODE, 3, node, OPT, 0, 0)             /* absent: the whole connection */

#define WIRE_SL_REDIRECT(F) \
    F(STR, 1, address, CRIT, 0, 270)        /* host:port to dial instead */ \
    F(NODE, 2, node, OPT, 0, 0)

/* ---- nodes ---- */

#define WIRE_SL_BEAT(F) \
    F(NODE, 1, node, REQ, 0, 0) \
    F(U64, 2, sequence, CRIT, 0, 0)         /* rises within one attach */ \
    F(U64, 3, used_mcpu, OPT, 0, 0)         /* really used, whatever was claimed */ \
    F(U64, 4, used_memory_bytes, OPT, 0, 0) \
    F(U32, 5, load, OPT, 0, 0)              /* 0 idle ... 1000 full */ \
    F(U32, 6, claims, OPT, 0, 0)            /* how many the node holds */

#define WIRE_SL_BEAT_ACK(F) \
    F(NODE, 1, node, REQ, 0, 0) \
    F(U64, 2, sequence, CRIT, 0, 0)

/* Agent to server: after WELCOME, at each change, and as the answer to a NODE_COMMAND. */
#define WIRE_SL_NODE_STATUS(F) \
    F(NODE, 1, node, REQ, 0, 0) \
    F(U64, 2, request, OPT, 0, 0)           /* of the NODE_COMMAND answered; 0 = unasked */ \
    F(ENUM, 3, state, CRIT, a_node_state, 0) \
    F(BOOL, 4, cordoned, CRIT, 0, 0) \
    F(ENUM, 5, reason, OPT, a_reason, 0) \
    F(STR, 6, message, TEXT, 0, 1024) \
    F(MSG, 7, capacity, CRIT, a_capacity, 0) \
    F(MSG, 8, free, CRIT, a_capacity, 0)    /* capacity less claims */ \
    F(U64, 9, incarnation, OPT, 0, 0) \
    F(LIST, 10, epochs, OPT, wire_sl_app_epoch, 128) \
    F(U64, 11, sequence, OPT, 0, 0)         /* one counter with BEAT */ \
    F(U64, 12, leaves_ms, OPT, 0, 0)        /* draining: from now; then it ends, empty or not. 0 = when empty */

#define WIRE_SL_NODE_COMMAND(F) \
    F(U64, 1, request, CRIT, 0, 0) \
    F(NODE, 2, node, REQ, 0, 0) \
    F(ENUM, 3, action, CRIT, wire_sl_node_action, 0) \
    F(U64, 4, deadline_ms, OPT, 0, 0)       /* drain: from now; the node ends then. 0 = once it is empty */ \
    F(ENUM, 5, reason, OPT, a_reason, 0)

/* Server to agent: fetch this agent, try it, and go over to it. An agent that is older than this frame does not
 * answer. */
#define WIRE_SL_UPGRADE(F) \
    F(NODE, 1, node, REQ, 0, 0) \
    F(U64, 2, number, CRIT, 0, 0)           /* of the rollout: what failed in one may be tried in the next */ \
    F(DIGEST, 3, artifact, REQ, 0, 0) \
    F(STR, 4, version, CRIT, 0, 64)         /* that it must be of */

/* Agent to server: at each step of an UPGRADE; after attaching, when the last one failed. */
#define WIRE_SL_UPGRADE_STATUS(F) \
    F(NODE, 1, node, REQ, 0, 0) \
    F(U64, 2, number, CRIT, 0, 0) \
    F(DIGEST, 3, artifact, REQ, 0, 0) \
    F(ENUM, 4, phase, CRIT, wire_sl_upgrade_phase, 0) \
    F(ENUM, 5, reason, OPT, a_reason, 0) \
    F(STR, 6, message, TEXT, 0, 1024)

/* After attaching: a CLAIM_STATUS for each claim, then this. */
#define WIRE_SL_SNAPSHOT_END(F) \
    F(NODE, 1, node, REQ, 0, 0) \
    F(U32, 2, claims, CRIT, 0, 0)           /* how many CLAIM_STATUS were sent */

/* ---- claims ---- */

#define WIRE_SL_RESERVE(F) \
    F(U64, 1, request, CRIT, 0, 0) \
    F(NODE, 2, node, REQ, 0, 0) \
    F(MSG, 3, claim, REQ, a_claim_id, 0) \
    F(MSG, 4, app, REQ, a_app_ref, 0) \
    F(U64, 5, epoch, CRIT, 0, 0)            /* of the app's scheduler: fencing */ \
    F(UUID, 6, store_id, REQ, 0, 0) \
    F(MSG, 7, revision, CRIT, wire_sl_revision, 0) \
    F(MSG, 8, capacity, CRIT, a_capacity, 0) \
    F(U64, 9, ttl_ms, CRIT, 0, 0)           /* on the node's own clock */ \
    F(U32, 10, ports, CRIT, 0, 10000)       /* how many in a block */ \
    F(ENUM, 11, role, CRIT, wire_sl_role, 0)

#define WIRE_SL_RESERVE_REPLY(F) \
    F(U64, 1, request, CRIT, 0, 0) \
    F(NODE, 2, node, REQ, 0, 0) \
    F(MSG, 3, claim, REQ, a_claim_id, 0) \
    F(BOOL, 4, granted, CRIT, 0, 0) \
    F(ENUM, 5, reason, OPT, a_reason, 0) \
    F(STR, 6, message, TEXT, 0, 1024) \
    F(MSG, 7, free, OPT, a_capacity, 0)     /* after this answer */ \
    F(STR, 8, address, OPT, 0, 253)         /* IP at which the member will be reached */ \
    F(U16, 9, port_base, OPT, 0, 0) \
    F(U32, 10, port_count, OPT, 0, 10000) \
    F(U64, 11, highest_epoch, OPT, 0, 0)    /* persisted for the app */

#define WIRE_SL_BIND(F) \
    F(U64, 1, request, CRIT, 0, 0) \
    F(NODE, 2, node, REQ, 0, 0) \
    F(MSG, 3, claim, REQ, a_claim_id, 0) \
    F(U64, 4, epoch, CRIT, 0, 0) \
    F(UUID, 5, store_id, REQ, 0, 0) \
    F(MSG, 6, revision, CRIT, wire_sl_revision, 0) \
    F(ENUM, 7, role, CRIT, wire_sl_role, 0) \
    F(STR, 8, head_address, CRIT, 0, 253)   /* workers: where the head's GCS listens */ \
    F(U16, 9, head_port, CRIT, 0, 0) \
    F(STR, 10, ray_token, SECRET, 0, 128)   /* the unit's own, for Ray's token mode */ \
    F(U32, 11, unit_attempt, OPT, 0, 0)     /* how often the unit was started before */ \
    F(U32, 12, workers, OPT, 0, 0)          /* how many the unit has */ \
    F(STR, 13, group, OPT, 0, 40)           /* workers: the group's name in the app */

#define WIRE_SL_BIND_REPLY(F) \
    F(U64, 1, request, CRIT, 0, 0) \
    F(NODE, 2, node, REQ, 0, 0) \
    F(MSG, 3, claim, REQ, a_claim_id, 0) \
    F(BOOL, 4, ok, CRIT, 0, 0) \
    F(ENUM, 5, reason, OPT, a_reason, 0) \
    F(STR, 6, message, TEXT, 0, 1024)

#define WIRE_SL_RELEASE(F) \
    F(U64, 1, request, CRIT, 0, 0) \
    F(NODE, 2, node, REQ, 0, 0) \
    F(MSG, 3, claim, REQ, a_claim_id, 0) \
    F(U64, 4, epoch, CRIT, 0, 0) \
    F(UUID, 5, store_id, REQ, 0, 0)         /* another store's release is not obeyed */ \
    F(ENUM, 6, reason, OPT, a_reason, 0) \
    F(U64, 7, grace_ms, OPT, 0, 0)          /* between SIGTERM and SIGKILL */

#define WIRE_SL_RELEASE_REPLY(F) \
    F(U64, 1, request, CRIT, 0, 0) \
    F(NODE, 2, node, REQ, 0, 0) \
    F(MSG, 3, claim, REQ, a_claim_id, 0) \
    F(BOOL, 4, ok, CRIT, 0, 0)              /* accepted; the end itself is a CLAIM_STATUS RELEASED */ \
    F(ENUM, 5, reason, OPT, a_reason, 0) \
    F(STR, 6, message, TEXT, 0, 1024)

/* Agent to server, one claim a frame: at attach, and at each change. A claim that is gone: RELEASED. */
#define WIRE_SL_CLAIM_STATUS(F) \
    F(NODE, 1, node, REQ, 0, 0) \
    F(MSG, 2, claim, REQ, a_claim_id, 0) \
    F(MSG, 3, app, REQ, a_app_ref, 0) \
    F(U64, 4, epoch, CRIT, 0, 0)            /* under which it was granted */ \
    F(UUID, 5, store_id, OPT, 0, 0) \
    F(MSG, 6, revision, CRIT, wire_sl_revision, 0) \
    F(ENUM, 7, role, CRIT, wire_sl_role, 0) \
    F(ENUM, 8, claim_state, CRIT, a_claim_state, 0) \
    F(ENUM, 9, member_state, CRIT, a_member_state, 0) \
    F(ENUM, 10, reason, OPT, a_reason, 0) \
    F(STR, 11, message, TEXT, 0, 8192) \
    F(U64, 12, since_ms, OPT, 0, 0)         /* how long it has been in this member state */ \
    F(U32, 13, attempt, OPT, 0, 0)          /* starts of the member within this claim */ \
    F(MSG, 14, capacity, CRIT, a_capacity, 0) \
    F(STR, 15, address, OPT, 0, 253) \
    F(U16, 16, port_base, OPT, 0, 0) \
    F(U32, 17, port_count, OPT, 0, 10000) \
    F(U64, 18, pid, OPT, 0, 0)              /* of the shim, in the agent's PID namespace */ \
    F(U64, 19, pid_start, OPT, 0, 0)        /* its start time in clock ticks since boot: tells reuse of the pid */ \
    F(LIST, 20, apps, OPT, wire_sl_serve_app, 64)      /* heads only, with the four below */ \
    F(LIST, 21, targets, OPT, wire_sl_target, 128) \
    F(DIGEST, 22, deployed, OPT, 0, 0)      /* of the revision whose config Serve says is all RUNNING */ \
    F(BOOL, 23, warmed, OPT, 0, 0)          /* the warm-up of `deployed` answered */ \
    F(BOOL, 24, orphan, OPT, 0, 0)          /* an operator or a store must claim it */ \
    F(U64, 25, sequence, OPT, 0, 0)         /* one counter with BEAT */ \
    F(U32, 26, restarts, OPT, 0, 0)         /* of the member inside the budget's window */ \
    F(I64, 27, exit_status, OPT, 0, 0)      /* EXITED: status, or minus the signal */ \
    F(BOOL, 28, silent, OPT, 0, 0)          /* a head that has not answered for a while; it may serve on */ \
    F(BOOL, 29, overdue, OPT, 0, 0)         /* ... for its `timeout` */

/* A new Serve config for a running unit, sent to its head's node: fetch the revision, PUT it. */
#define WIRE_SL_UNIT_CONFIG(F) \
    F(U64, 1, request, CRIT, 0, 0) \
    F(NODE, 2, node, REQ, 0, 0) \
    F(MSG, 3, claim, REQ, a_claim_id, 0) \
    F(U64, 4, epoch, CRIT, 0, 0) \
    F(UUID, 5, store_id, REQ, 0, 0) \
    F(MSG, 6, revision, CRIT, wire_sl_revision, 0)

/* Accepted or refused; the outcome is `deployed` of a later CLAIM_STATUS. */
#define WIRE_SL_UNIT_CONFIG_REPLY(F) \
    F(U64, 1, request, CRIT, 0, 0) \
    F(NODE, 2, node, REQ, 0, 0) \
    F(MSG, 3, claim, REQ, a_claim_id, 0) \
    F(BOOL, 4, ok, CRIT, 0, 0) \
    F(ENUM, 5, reason, OPT, a_reason, 0) \
    F(STR, 6, message, TEXT, 0, 1024)

/* Asked of the head's node when the server has lost a unit's Ray token with its store: workers that it places
 * later must know it. A node that is older than this frame does not answer. */
#define WIRE_SL_UNIT_TOKEN(F) \
    F(U64, 1, request, CRIT, 0, 0) \
    F(NODE, 2, node, REQ, 0, 0) \
    F(MSG, 3, claim, REQ, a_claim_id, 0) \
    F(U64, 4, epoch, CRIT, 0, 0) \
    F(UUID, 5, store_id, REQ, 0, 0)         /* that the claim carries */

#define WIRE_SL_UNIT_TOKEN_REPLY(F) \
    F(U64, 1, request, CRIT, 0, 0) \
    F(NODE, 2, node, REQ, 0, 0) \
    F(MSG, 3, claim, REQ, a_claim_id, 0) \
    F(BOOL, 4, ok, CRIT, 0, 0) \
    F(ENUM, 5, reason, OPT, a_reason, 0) \
    F(STR, 6, message, TEXT, 0, 1024) \
    F(STR, 7, ray_token, SECRET, 0, 128)    /* as in BIND */

/* Something happened on a node; for people. */
#define WIRE_SL_EVENT(F) \
    F(U64, 1, time_unix_ms, OPT, 0, 0)      /* the node's wall clock: shown, never compared */ \
    F(NODE, 2, node, OPT, 0, 0) \
    F(UNIT, 3, unit, OPT, 0, 0) \
    F(NAME, 4, member, OPT, 0, 0) \
    F(ENUM, 5, reason, OPT, a_reason, 0) \
    F(STR, 6, message, TEXT, 0, 4096) \
    F(MSG, 7, app, OPT, a_app_ref, 0)

/* ---- bulk ---- */

/* Server to agent: dial a second connection, say HELLO with this ticket, then send what is asked for. */
#define WIRE_SL_OPEN_BULK(F) \
    F(BYTES, 1, ticket, SECRET, 0, 64)      /* good once */ \
    F(NODE, 2, node, REQ, 0, 0) \
    F(ENUM, 3, purpose, CRIT, wire_sl_purpose, 0) \
    F(UNIT, 4, unit, OPT, 0, 0) \
    F(NAME, 5, member, OPT, 0, 0) \
    F(BOOL, 6, previous, OPT, 0, 0)         /* of the start before this one */ \
    F(BOOL, 7, follow, OPT, 0, 0)           /* until the connection is closed */ \
    F(U64, 8, tail_bytes, OPT, 0, 0)        /* 0 = all */ \
    F(STR, 9, file, OPT, 0, 256)            /* one of the member's log files; empty = all */ \
    F(DIGEST, 10, digest, OPT, 0, 0)

/* Asks the other side for an artifact: BULK_DATA frames, then BULK_END. */
#define WIRE_SL_BULK_GET(F) \
    F(DIGEST, 1, digest, REQ, 0, 0) \
    F(U64, 2, offset, CRIT, 0, 0)           /* bytes already there */

#define WIRE_SL_BULK_DATA(F) \
    F(BYTES, 1, bytes, CRIT, 0, WIRE_SL_BULK_CHUNK)

#define WIRE_SL_BULK_END(F) \
    F(BOOL, 1, ok, CRIT, 0, 0) \
    F(STR, 2, code, OPT, 0, 64)             /* a word of base/error_codes.h */ \
    F(STR, 3, message, TEXT, 0, 1024) \
    F(U64, 4, total_bytes, OPT, 0, 0)       /* of the whole artifact or log */

/* Before the BULK_DATA of each log file. With `claim` and without a ticket nobody asked: a member failed, and
 * these are the last bytes of its log. Then BULK_DATA and BULK_END follow, and the server answers BULK_END. One
 * that is older than `claim` answers nothing. */
#define WIRE_SL_BULK_LOG(F) \
    F(BYTES, 1, ticket, SECRET, 0, 64) \
    F(UNIT, 2, unit, OPT, 0, 0) \
    F(NAME, 3, member, OPT, 0, 0) \
    F(STR, 4, file, OPT, 0, 256) \
    F(U64, 5, offset, OPT, 0, 0)            /* of the first byte that follows */ \
    F(MSG, 6, claim, OPT, a_claim_id, 0)    /* of the member that failed */ \
    F(U64, 7, bytes, OPT, 0, 0)             /* so many follow, exactly */

/* ---- views ---- */

#define WIRE_SL_SUBSCRIBE(F) \
    F(ENUM, 1, view, CRIT, wire_sl_view, 0) \
    F(U64, 2, sequence, CRIT, 0, 0)         /* known up to here, 0 = nothing */ \
    F(UUID, 3, server_boot_id, CRIT, 0, 0)  /* a cursor is valid with one server process only */ \
    F(MSG, 4, app, CRIT, a_app_ref, 0)      /* filters; absent = all */ \
    F(NAME, 5, cluster, CRIT, 0, 0)

/* What follows up to VIEW_END is applied as one change. */
#define WIRE_SL_VIEW_BEGIN(F) \
    F(U64, 1, sequence, CRIT, 0, 0) \
    F(BOOL, 2, snapshot, CRIT, 0, 0)        /* forget all before it */

#define WIRE_SL_ROUTE(F) \
    F(STR, 1, id, CRIT, 0, 160)             /* stable over servers and restarts */ \
    F(MSG, 2, app, REQ, a_app_ref, 0) \
    F(STR, 3, host, CRIT, 0, 253)           /* "*" = any */ \
    F(STR, 4, prefix, CRIT, 0, 512) \
    F(STR, 5, rewrite, CRIT, 0, 512)        /* replaces the prefix when has_rewrite */ \
    F(BOOL, 6, has_rewrite, CRIT, 0, 0) \
    F(STR, 7, application, CRIT, 0, 256) \
    F(U64, 8, timeout_ms, OPT, 0, 0)        /* of a whole request; 0 = none */ \
    F(U64, 9, idle_ms, OPT, 0, 0)           /* without a byte either way; 0 = none */ \
    F(U64, 10, wait_ms, OPT, 0, 0)          /* in the gateway's queue; 0 = do not queue */ \
    F(U64, 11, max_body_bytes, OPT, 0, 0)   /* 0 = no limit */ \
    F(U64, 12, retry_body_bytes, OPT, 0, 0) /* kept for replay; 0 = none */ \
    F(BOOL, 13, idempotent, OPT, 0, 0) \
    F(STR, 14, policy, OPT, 0, 40) \
    F(U32, 15, max_ongoing, OPT, 0, 0)      /* per endpoint; 0 = no cap */ \
    F(U32, 16, units_wanted, OPT, 0, 0)     /* 0 = scaled to none */

#define WIRE_SL_ROUTE_GONE(F) \
    F(STR, 1, id, CRIT, 0, 160)

#define WIRE_SL_ENDPOINT(F) \
    F(STR, 1, id, CRIT, 0, 320)             /* stable while the endpoint lives */ \
    F(MSG, 2, app, REQ, a_app_ref, 0) \
    F(UNIT, 3, unit, REQ, 0, 0) \
    F(NODE, 4, node, OPT, 0, 0) \
    F(NAME, 5, cluster, OPT, 0, 0) \
    F(STR, 6, application, CRIT, 0, 256) \
    F(STR, 7, route, OPT, 0, 160)           /* its route's id; empty = every route of the application */ \
    F(STR, 8, ip, CRIT, 0, 45) \
    F(U16, 9, port, CRIT, 0, 0) \
    F(STR, 10, name, OPT, 0, 256)           /* Ray's */ \
    F(ENUM, 11, state, CRIT, wire_sl_endpoint_state, 0) \
    F(BOOL, 12, proxy, OPT, 0, 0) \
    F(U32, 13, max_ongoing, OPT, 0, 0)      /* requests at once; 0 = no cap */ \
    F(U32, 14, weight, OPT, 0, 0)           /* 0 = 100 */ \
    F(NAME, 15, network, OPT, 0, 0) \
    F(U64, 16, revision, OPT, 0, 0) \
    F(STR, 17, route_prefix, OPT, 0, 512)   /* the application's own: requests must carry it */ \
    F(U64, 18, mcpu, OPT, 0, 0)             /* capacity behind it, for policies */ \
    F(U64, 19, drain_requests_ms, OPT, 0, 0) /* DRAINING: what is under way is cut after this; 0 = never */ \
    F(U64, 20, drain_streams_ms, OPT, 0, 0) /* the same, for answers that have begun and have no length */

#define WIRE_SL_ENDPOINT_GONE(F) \
    F(STR, 1, id, CRIT, 0, 320)

#define WIRE_SL_VIEW_END(F) \
    F(U64, 1, sequence, CRIT, 0, 0)

/* Gateway to server: applied. A drain waits for this. */
#define WIRE_SL_VIEW_ACK(F) \
    F(U64, 1, sequence, CRIT, 0, 0) \
    F(UUID, 2, server_boot_id, OPT, 0, 0)

/* Gateway to server, each second for endpoints in use and at once on the first failure. Counters are since
 * the report before. */
#define WIRE_SL_ENDPOINT_REPORT(F) \
    F(UNIT, 1, unit, REQ, 0, 0) \
    F(STR, 2, endpoint, CRIT, 0, 320)       /* its id */ \
    F(U64, 3, in_flight, OPT, 0, 0)         /* now */ \
    F(U64, 4, ok, OPT, 0, 0) \
    F(U64, 5, failed, OPT, 0, 0)            /* connection lost or no answer */ \
    F(U64, 6, refused, OPT, 0, 0)           /* connection refused, or 503 by Ray */ \
    F(U64, 7, resent, OPT, 0, 0)            /* requests sent elsewhere instead */ \
    F(STR, 8, error, TEXT, 0, 256)          /* the last one */ \
    F(U64, 9, latency_us, OPT, 0, 0)        /* mean to the first byte of the answer */ \
    F(LIST, 10, latency, OPT, wire_sl_bucket, 32)      /* of `ok`, to the first byte */

#define WIRE_SL_APP_REPORT(F) \
    F(MSG, 1, app, REQ, a_app_ref, 0) \
    F(U64, 2, requests, OPT, 0, 0)          /* finished since the report before */ \
    F(U64, 3, ok, OPT, 0, 0) \
    F(U64, 4, failed, OPT, 0, 0)            /* the sum of the causes below */ \
    F(U64, 5, failed_app, OPT, 0, 0) \
    F(U64, 6, failed_node, OPT, 0, 0) \
    F(U64, 7, failed_drain, OPT, 0, 0) \
    F(U64, 8, failed_gateway, OPT, 0, 0) \
    F(U64, 9, failed_capacity, OPT, 0, 0) \
    F(U64, 10, in_flight, OPT, 0, 0)        /* now */ \
    F(U64, 11, queued, OPT, 0, 0)           /* now */ \
    F(U64, 12, latency_sum_us, OPT, 0, 0)   /* of `requests` */ \
    F(U64, 13, retried, OPT, 0, 0) \
    F(U64, 14, failed_timeout, OPT, 0, 0)   /* no answer within the route's timeout */ \
    F(U64, 15, failed_client, OPT, 0, 0)    /* the client's own doing: it left, or its request was refused here */ \
    F(LIST, 16, latency, OPT, wire_sl_bucket, 32)      /* of `requests` */

/* M(NAME, name, type number, fields). The number is the frame's type: never used again for another. */
#define WIRE_SL_MESSAGES(M) \
    M(HELLO, hello, 1, WIRE_SL_HELLO) \
    M(WELCOME, welcome, 2, WIRE_SL_WELCOME) \
    M(REFUSED, refused, 3, WIRE_SL_REFUSED) \
    M(REDIRECT, redirect, 4, WIRE_SL_REDIRECT) \
    M(CERT_REQUEST, cert_request, 5, WIRE_SL_CERT_REQUEST) \
    M(CERTIFICATE, certificate, 6, WIRE_SL_CERTIFICATE) \
    M(BEAT, beat, 16, WIRE_SL_BEAT) \
    M(BEAT_ACK, beat_ack, 17, WIRE_SL_BEAT_ACK) \
    M(NODE_STATUS, node_status, 18, WIRE_SL_NODE_STATUS) \
    M(NODE_COMMAND, node_command, 19, WIRE_SL_NODE_COMMAND) \
    M(SNAPSHOT_END, snapshot_end, 20, WIRE_SL_SNAPSHOT_END) \
    M(EVENT, event, 21, WIRE_SL_EVENT) \
    M(UPGRADE, upgrade, 22, WIRE_SL_UPGRADE) \
    M(UPGRADE_STATUS, upgrade_status, 23, WIRE_SL_UPGRADE_STATUS) \
    M(RESERVE, reserve, 32, WIRE_SL_RESERVE) \
    M(RESERVE_REPLY, reserve_reply, 33, WIRE_SL_RESERVE_REPLY) \
    M(BIND, bind, 34, WIRE_SL_BIND) \
    M(BIND_REPLY, bind_reply, 35, WIRE_SL_BIND_REPLY) \
    M(RELEASE, release, 36, WIRE_SL_RELEASE) \
    M(RELEASE_REPLY, release_reply, 37, WIRE_SL_RELEASE_REPLY) \
    M(CLAIM_STATUS, claim_status, 38, WIRE_SL_CLAIM_STATUS) \
    M(UNIT_CONFIG, unit_config, 39, WIRE_SL_UNIT_CONFIG) \
    M(UNIT_CONFIG_REPLY, unit_config_reply, 40, WIRE_SL_UNIT_CONFIG_REPLY) \
    M(UNIT_TOKEN, unit_token, 41, WIRE_SL_UNIT_TOKEN) \
    M(UNIT_TOKEN_REPLY, unit_token_reply, 42, WIRE_SL_UNIT_TOKEN_REPLY) \
    M(OPEN_BULK, open_bulk, 48, WIRE_SL_OPEN_BULK) \
    M(BULK_GET, bulk_get, 49, WIRE_SL_BULK_GET) \
    M(BULK_DATA, bulk_data, 50, WIRE_SL_BULK_DATA) \
    M(BULK_END, bulk_end, 51, WIRE_SL_BULK_END) \
    M(BULK_LOG, bulk_log, 52, WIRE_SL_BULK_LOG) \
    M(SUBSCRIBE, subscribe, 64, WIRE_SL_SUBSCRIBE) \
    M(VIEW_BEGIN, view_begin, 65, WIRE_SL_VIEW_BEGIN) \
    M(ROUTE, route, 66, WIRE_SL_ROUTE) \
    M(ROUTE_GONE, route_gone, 67, WIRE_SL_ROUTE_GONE) \
    M(ENDPOINT, endpoint, 68, WIRE_SL_ENDPOINT) \
    M(ENDPOINT_GONE, endpoint_gone, 69, WIRE_SL_ENDPOINT_GONE) \
    M(VIEW_END, view_end, 70, WIRE_SL_VIEW_END) \
    M(VIEW_ACK, view_ack, 71, WIRE_SL_VIEW_ACK) \
    M(ENDPOINT_REPORT, endpoint_report, 72, WIRE_SL_ENDPOINT_REPORT) \
    M(APP_REPORT, app_report, 73, WIRE_SL_APP_REPORT)

/* clang-format on */

#endif
