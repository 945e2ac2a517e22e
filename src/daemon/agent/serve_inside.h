/* What the two files about a head's Serve share: serve.c (config and status), endpoints.c (who answers). */
#ifndef D_AGENT_SERVE_INSIDE_H
#define D_AGENT_SERVE_INSIDE_H

#include "daemon/agent/inside.h"

#define D_SERVE_APPS_MAX 64
#define D_SERVE_TARGETS_MAX 128

/* A Serve application of the config. */
struct d_serve_wanted {
    char *name;
    double before_s; /* when it was last deployed before our PUT */
};

struct d_serve {
    struct d_member *member;
    struct sys_timer timer;
    struct net_http_call *call;
    bool settled; /* Serve answered since the agent started, or is gone */
    uint64_t fast_until_ms;

    char *body; /* to be PUT; NULL = nothing */
    struct a_digest put_digest, deployed;
    uint64_t put_ms, deployed_ms;
    bool rejected, failed, warmed, warm_late;
    struct d_serve_wanted *wanted;
    size_t n_wanted;
    char *warm_path; /* NULL = /-/healthz */
    uint64_t warm_deadline_ms;

    struct sys_timer watch; /* of the head's silence */
    uint64_t watched_ms, silent_ms, timeout_ms;
    bool silent, overdue;

    struct a_buf answer;  /* Serve's last, of which `status` was made */
    struct a_arena arena; /* of `status` */
    struct unit_ray_status status;
    struct a_list endpoints; /* struct d_endpoint, in Serve's order */
};

/* Look again soon. */
void d_serve_hurry(struct d_serve *s);
/* Something about an endpoint changed: is all deployed and warm now? Reports. */
void d_serve_look(struct d_serve *s);

/* silence.c: from the first answer of a head on; it answered. */
void d_silence_watch(struct d_serve *s);
void d_silence_broken(struct d_serve *s);

/* endpoints.c. Merge takes what Serve lists now; true when an endpoint came or went. */
bool d_endpoints_merge(struct d_serve *s);
void d_endpoints_clear(struct d_serve *s);
/* The head is silent: asks each endpoint whether it still answers. */
void d_endpoints_probe(struct d_serve *s);
/* The application has an endpoint that answered its warm-up. */
bool d_endpoints_healthy(const struct d_serve *s, const char *app);
void d_endpoints_report(const struct d_serve *s, struct a_arena *arena, struct wire_sl_claim_status *status);

#endif
