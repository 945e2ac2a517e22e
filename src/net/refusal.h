/* Why a peer was refused: the closed list of reasons under which refusals are counted and logged
 * (docs/components/identity.md). */
#ifndef A_NET_REFUSAL_H
#define A_NET_REFUSAL_H

/* X(NAME, "word") */
#define NET_REFUSALS(X)                                                                                      \
    X(NONE, "none")                                                                                          \
    X(PLAIN, "plain")                                                                                        \
    X(HANDSHAKE, "handshake")                                                                                \
    X(CERTIFICATE, "certificate")                                                                            \
    X(SLOW, "slow")                                                                                          \
    X(CUT, "cut")                                                                                            \
    X(OVERSIZED, "oversized")                                                                                \
    X(MALFORMED, "malformed")                                                                                \
    X(UNSUPPORTED, "unsupported")                                                                            \
    X(FIRST_FRAME, "first_frame")                                                                            \
    X(NO_CERTIFICATE, "no_certificate")                                                                      \
    X(TOKEN, "token")                                                                                        \
    X(REQUEST, "request")                                                                                    \
    X(KIND, "kind")                                                                                          \
    X(NODE, "node")                                                                                          \
    X(DENIED, "denied")                                                                                      \
    X(TICKET, "ticket")                                                                                      \
    X(DUPLICATE, "duplicate")                                                                                \
    X(REPLAYED, "replayed")                                                                                  \
    X(LIE, "lie")

enum net_refusal {
#define X(name, word) NET_REFUSAL_##name,
    NET_REFUSALS(X)
#undef X
        NET_REFUSAL_COUNT
};

const char *net_refusal_name(enum net_refusal refusal);

#endif
