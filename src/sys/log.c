#include "sys/log.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/text.h"
#include "sys/clock.h"
#include "sys/file.h"

#define PER_SECOND 10
#define SLOTS 256 /* codes watched at a time; there are fewer in the house */

static const char *const level_names[] = {"debug", "info", "warn", "error", "off"};

/* How often a code was seen in its current second. Two that fall on one slot displace each other, which lets
 * more through, never less. */
struct slot {
    const char *code; /* codes are literals */
    const char *comp;
    char of[48]; /* what it was said of */
    uint64_t second;
    unsigned seen;
};

static atomic_int level_in_force = SYS_LOG_INFO;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards all below */
static bool as_json;
static struct a_buf common, line;
static struct slot slots[SLOTS];
static void (*sink)(void *ctx, struct a_view line);
static void *sink_ctx;
static atomic_bool held_back; /* a slot has something to say */

void sys_log_set_level(enum sys_log_level level)
{
    atomic_store_explicit(&level_in_force, (int)level, memory_order_relaxed);
}

bool sys_log_level_parse(const char *word, enum sys_log_level *ret_level)
{
    for (int i = 0; i < (int)A_ARRAY_SIZE(level_names); i++)
        if (strcmp(word, level_names[i]) == 0) {
            *ret_level = (enum sys_log_level)i;
            return true;
        }
    return false;
}

bool sys_log_is_on(enum sys_log_level level)
{
    return (int)level >= atomic_load_explicit(&level_in_force, memory_order_relaxed);
}

void sys_log_set_json(bool json)
{
    pthread_mutex_lock(&lock);
    as_json = json;
    pthread_mutex_unlock(&lock);
}

void sys_log_set_sink(void (*new_sink)(void *ctx, struct a_view line), void *ctx)
{
    pthread_mutex_lock(&lock);
    sink = new_sink;
    sink_ctx = ctx;
    memset(slots, 0, sizeof slots);
    pthread_mutex_unlock(&lock);
}

static bool needs_quotes(struct a_view v)
{
    for (size_t i = 0; i < v.len; i++) {
        unsigned char c = (unsigned char)v.ptr[i];
        if (c <= ' ' || c == '"' || c == '=' || c == '\\' || c >= 0x7f)
            return true;
    }
    return v.len == 0;
}

static void text_print(struct a_buf *b, struct a_view v)
{
    if (as_json || needs_quotes(v))
        a_text_print_json(b, v);
    else
        a_buf_add_view(b, v);
}

static void key_print(struct a_buf *b, const char *key)
{
    if (b->len != 0)
        a_buf_add_str(b, as_json ? "," : " ");
    if (as_json)
        a_buf_addf(b, "\"%s\":", key);
    else
        a_buf_addf(b, "%s=", key);
}

static void field_print(struct a_buf *b, const struct sys_field *f)
{
    if (f->kind == SYS_FIELD_NONE)
        return;
    key_print(b, f->key);
    switch (f->kind) {
    case SYS_FIELD_NONE:
        break;
    case SYS_FIELD_VIEW:
        text_print(b, f->u.view);
        break;
    case SYS_FIELD_U64:
        a_buf_addf(b, "%llu", (unsigned long long)f->u.u64);
        break;
    case SYS_FIELD_I64:
        a_buf_addf(b, "%lld", (long long)f->u.i64);
        break;
    case SYS_FIELD_F64:
        a_buf_addf(b, "%.6g", f->u.f64);
        break;
    case SYS_FIELD_BOOL:
        a_buf_add_str(b, f->u.boolean ? "true" : "false");
        break;
    case SYS_FIELD_SECRET:
        text_print(b, A_VIEW_LIT("[secret]"));
        break;
    }
}

void sys_log_set_common(const struct sys_field *fields, size_t n_fields)
{
    pthread_mutex_lock(&lock);
    a_buf_reset(&common);
    for (size_t i = 0; fields != NULL && i < n_fields; i++)
        field_print(&common, &fields[i]);
    pthread_mutex_unlock(&lock);
}

static void line_send(void)
{
    if (sink != NULL)
        sink(sink_ctx, a_buf_view(&line));
    else
        (void)!write(STDERR_FILENO, line.ptr,
                     line.len); /* one call, one line: other processes share stderr */
}

static void line_write(const struct sys_log_head *h, const struct sys_field *fields, size_t n_fields)
{
    char ts[SYS_RFC3339_LEN + 1];
    a_buf_reset(&line);
    line.failed = false;
    sys_clock_print(sys_clock_wall_ms(), ts);
    if (as_json)
        a_buf_addf(&line, "{\"ts\":\"%s\"", ts);
    else
        a_buf_addf(&line, "ts=%s", ts);
    field_print(&line, &SYS_STR("level", level_names[h->level]));
    field_print(&line, &SYS_STR("comp", h->comp));
    field_print(&line, &SYS_STR("code", h->code));
    field_print(&line, &SYS_STR("msg", h->msg));
    for (size_t i = 0; i < n_fields; i++)
        field_print(&line, &fields[i]);
    if (common.len != 0) {
        a_buf_add_str(&line, as_json ? "," : " ");
        a_buf_add_view(&line, a_buf_view(&common));
    }
    a_buf_add_str(&line, as_json ? "}\n" : "\n");
    line_send();
}

/* Says what a slot held back, and empties it. */
static void slot_settle(struct slot *s)
{
    const struct sys_log_head head = {
        .level = SYS_LOG_WARN, .comp = s->comp, .code = s->code, .msg = "suppressed"};
    const struct sys_field fields[] = {SYS_U64("count", s->seen - PER_SECOND), SYS_STR("of", s->of)};
    if (s->code != NULL && s->seen > PER_SECOND)
        line_write(&head, fields, s->of[0] != '\0' ? 2 : 1);
    s->code = NULL;
    s->seen = 0;
}

static bool slot_is(const struct slot *s, const struct sys_log_head *h, const char *of, uint64_t second)
{
    return s->code != NULL && s->second == second && strcmp(s->code, h->code) == 0 && strcmp(s->of, of) == 0;
}

/* True when one more record of this code may be written. */
static bool slot_admit(const struct sys_log_head *h)
{
    char of[sizeof slots[0].of];
    snprintf(of, sizeof of, "%s", h->of != NULL ? h->of : "");
    struct slot *s = &slots[a_hash_str(a_hash_str(0, h->code), of) % SLOTS];
    uint64_t second = sys_clock_mono_ms() / 1000u;
    if (!slot_is(s, h, of, second)) {
        slot_settle(s);
        *s = (struct slot){.code = h->code, .comp = h->comp, .second = second};
        memcpy(s->of, of, sizeof of);
    }
    if (++s->seen <= PER_SECOND)
        return true;
    atomic_store_explicit(&held_back, true, memory_order_relaxed);
    return false;
}

void sys_log_write(const struct sys_log_head *head, const struct sys_field *fields, size_t n_fields)
{
    pthread_mutex_lock(&lock);
    if (head->limit == SYS_LOG_ALWAYS || slot_admit(head))
        line_write(head, fields + 1, n_fields - 1);
    pthread_mutex_unlock(&lock);
}

static void slots_settle(uint64_t but_of_second)
{
    bool left = false;
    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < SLOTS; i++) {
        if (slots[i].code != NULL && slots[i].second != but_of_second)
            slot_settle(&slots[i]);
        left |= slots[i].seen > PER_SECOND;
    }
    atomic_store_explicit(&held_back, left, memory_order_relaxed);
    pthread_mutex_unlock(&lock);
}

void sys_log_flush(void)
{
    if (atomic_load_explicit(&held_back, memory_order_relaxed))
        slots_settle(sys_clock_mono_ms() / 1000u);
}

void sys_log_finish(void)
{
    slots_settle(UINT64_MAX);
}
