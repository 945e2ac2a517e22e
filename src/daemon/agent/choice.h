/* Which executable this node's agent runs from: the text of DATA/agent/state, and what follows from it. Pure.
 *
 *     astra-agent-choice 1
 *     base HEX                            digest of the installed executable that all this was said to
 *     current HEX VERSION                 runs; absent: what is installed
 *     trial HEX VERSION NUMBER TRIES      is to be tried, and was so often
 *     failed HEX VERSION NUMBER REASON MESSAGE    what the last trial came to
 *     end
 *
 * What is installed is started first, always, and reads this, also when it is much older than who wrote it:
 * the form is frozen, unknown lines are skipped. */
#ifndef D_AGENT_CHOICE_H
#define D_AGENT_CHOICE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"
#include "types/digest.h"
#include "types/state.h"

#define D_CHOICE_TRIES 2
#define D_CHOICE_MESSAGE_MAX 512

/* An agent's artifact; a zero digest: none. */
struct d_choice_artifact {
    struct a_digest digest;
    char version[65];
    uint64_t number; /* of the rollout that asked for it */
};

struct d_choice {
    struct a_digest base;
    struct d_choice_artifact current, trial, failed;
    unsigned tries;
    enum a_reason reason; /* of `failed` */
    char message[D_CHOICE_MESSAGE_MAX];
};

void d_choice_print(const struct d_choice *c, struct a_buf *ret_text);
/* -EINVAL when it is none, or was cut. */
int d_choice_parse(struct a_view text, struct d_choice *ret, struct a_error *reterr) A_MUST_CHECK;

enum d_choice_next {
    D_CHOICE_INSTALLED, /* what is installed runs */
    D_CHOICE_CURRENT,
    D_CHOICE_TRIAL,
};
/* What the installed executable, whose digest is `installed`, does at its start. It may change what is
 * chosen: a trial is counted, given up after D_CHOICE_TRIES, and all is void when another executable was
 * installed since. The change is to be on disk before it is acted on. */
enum d_choice_next d_choice_start(struct d_choice *c, const struct a_digest *installed, bool *ret_changed);
/* The trial joined: it is what runs. */
void d_choice_confirm(struct d_choice *c);
/* The trial, or what was to become one, is given up. */
void d_choice_fail(struct d_choice *c, const struct d_choice_artifact *what, enum a_reason reason,
                   const char *message);

#endif
