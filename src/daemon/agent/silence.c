/* A head that does not answer any more, though its process is there: stopped, swapped out, or in a loop. What
 * it started serves on, so nothing is taken from routing for that; but nobody restarts a replica that dies
 * meanwhile, so after `head.timeout` the server is told to replace the unit. The silence is summed up in
 * short ticks: time in which this agent itself did not run is none of the head's. */
#include "daemon/agent/serve_inside.h"
#include "sys/log.h"

#define TICK_MS 1000
#define SILENT_MS 5000 /* a busy head answers late; one of two busy cores was seen to need 3 s */

static void tell(struct d_serve *s, enum a_reason reason, const char *what)
{
    struct d_member *m = s->member;
    sys_log(WARN, "agent", "serve.silence", "a head fell silent or speaks again",
            SYS_STR("unit", m->id.unit.s), SYS_STR("what", what));
    d_link_event(m->agent, m, reason, what);
    d_report_member(m);
}

static void tick(void *ctx)
{
    struct d_serve *s = ctx;
    uint64_t now = sys_loop_now_ms(s->member->agent->loop), passed = now - s->watched_ms;
    bool putting = s->body != NULL && s->call != NULL; /* the first PUT starts Serve and takes long */
    s->watched_ms = now;
    sys_timer_set_in(&s->watch, TICK_MS);
    if (s->member->state.state != A_MEMBER_UP || putting)
        return;
    s->silent_ms += A_MIN(passed, (uint64_t)2 * TICK_MS);
    if (s->silent)
        d_endpoints_probe(s);
    if (!s->silent && s->silent_ms >= SILENT_MS) {
        s->silent = true;
        tell(s, A_REASON_HEALTH_CHECK_FAILED, "its head does not answer any more; what it started serves on");
    }
    if (!s->overdue && s->silent_ms >= s->timeout_ms) {
        s->silent = s->overdue = true;
        tell(s, A_REASON_HEAD_LOST, "its head did not answer within head.timeout: the unit is replaced");
    }
}

void d_silence_watch(struct d_serve *s)
{
    if (s->watched_ms != 0)
        return;
    s->watched_ms = sys_loop_now_ms(s->member->agent->loop);
    sys_timer_init(&s->watch, s->member->agent->loop, tick, s);
    sys_timer_set_in(&s->watch, TICK_MS);
}

void d_silence_broken(struct d_serve *s)
{
    bool was_silent = s->silent;
    s->silent_ms = 0;
    s->silent = s->overdue = false;
    if (was_silent)
        tell(s, A_REASON_NONE, "its head answers again");
}
