/* One line of the access log. Written for speed: this is a good part of what a small request costs. */
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "daemon/gateway/worker.h"
#include "sys/clock.h"

static void text_add(struct a_buf *b, const char *name, struct a_view value)
{
    if (value.len == 0)
        return;
    a_buf_add_str(b, name);
    a_text_print_json(b, value);
}

static void number_add(struct a_buf *b, const char *name, uint64_t n)
{
    char text[24];
    size_t at = sizeof text;
    do {
        text[--at] = (char)('0' + n % 10);
        n /= 10;
    } while (n > 0);
    a_buf_add_str(b, name);
    a_buf_add(b, text + at, sizeof text - at);
}

static struct a_view note_part(const struct a_buf *note, uint32_t from, size_t to)
{
    return to > from ? (struct a_view){note->ptr + from, to - from} : (struct a_view){"", 0};
}

static void request_add(struct a_buf *b, const struct d_gw_client *c)
{
    const struct d_gw_exchange *x = &c->x;
    const struct a_buf *note = &x->note;
    text_add(b, "\",\"request\":", note_part(note, x->target_end, x->id_end));
    if (x->id_end == 0)
        a_buf_add_char(b, '"');
    text_add(b, ",\"client\":", a_view_str(c->host));
    text_add(b, ",\"method\":", note_part(note, 0, x->method_end));
    text_add(b, ",\"host\":", note_part(note, x->method_end, x->host_end));
    text_add(b, ",\"path\":", note_part(note, x->host_end, x->target_end));
    text_add(b, ",\"route\":", note_part(note, x->id_end, note->len));
    if (x->app != NULL && x->app->app.name.s[0] != '\0') {
        a_buf_add_str(b, ",\"app\":\"");
        a_buf_add_str(b, x->app->app.namespace.s);
        a_buf_add_char(b, '/');
        a_buf_add_str(b, x->app->app.name.s);
        a_buf_add_char(b, '"');
    }
}

/* Where the attempt went, and when that was decided. */
static void attempt_add(struct a_buf *b, const struct d_gw_exchange *x)
{
    a_buf_add_str(b, "\"unit\":\"");
    a_buf_add_str(b, x->unit.s);
    a_buf_add_str(b, "\",\"endpoint\":\"");
    a_buf_add_str(b, x->ip);
    number_add(b, ":", x->port);
    number_add(b, "\",\"picked_us\":", x->picked_us - x->begun_us);
}

void d_gw_exchange_log_earlier(struct d_gw_exchange *x)
{
    a_buf_add_str(&x->earlier, x->earlier.len > 0 ? ",{" : "{");
    attempt_add(&x->earlier, x);
    a_buf_add_char(&x->earlier, '}');
}

static void attempts_add(struct a_buf *b, const struct d_gw_exchange *x)
{
    if (x->request.tries == 0)
        return;
    a_buf_add_char(b, ',');
    attempt_add(b, x);
    number_add(b, ",\"tries\":", x->request.tries);
    if (x->earlier.len == 0)
        return;
    a_buf_add_str(b, ",\"earlier\":[");
    a_buf_add_view(b, a_buf_view(&x->earlier));
    a_buf_add_char(b, ']');
}

void d_gw_exchange_log(struct d_gw_client *c, uint64_t latency_us)
{
    struct a_buf *b = d_gw_access_line(&c->worker->access);
    if (b == NULL)
        return;
    const struct d_gw_exchange *x = &c->x;
    char time[SYS_RFC3339_LEN + 1];
    sys_clock_print(x->begun_wall_ms, time);
    a_buf_add_str(b, "{\"time\":\"");
    a_buf_add_str(b, time);
    request_add(b, c);
    attempts_add(b, x);
    number_add(b, ",\"status\":", x->status);
    number_add(b, ",\"received\":", x->body_bytes);
    number_add(b, ",\"sent\":", x->answer_bytes);
    number_add(b, ",\"latency_us\":", latency_us);
    if (x->cause != GW_CAUSE_NONE)
        text_add(b, ",\"cause\":", a_view_str(gw_cause_name(x->cause)));
    a_buf_add(b, "}\n", 2);
    d_gw_access_wrote(&c->worker->access);
}
