/* The log: one line per record on stderr, logfmt or JSON: ts level comp code msg key=value ...
 *
 * At most 10 records a second for each code (with sys_log_of: for each code and thing that it is said of);
 * what is left out is counted, and a record with that code says how many when the second is over. Changes of
 * state are never left out (sys_log_change). A code is a short stable word, a literal ("claim.granted"), the
 * message is a constant sentence, what varies is in fields:
 *
 *     sys_log(INFO, "agent", "claim.granted", "claim granted", SYS_STR("app", app), SYS_U64("cpu_m", mcpu));
 *
 * From any thread. Arguments are not evaluated below the level in force. */
#ifndef A_SYS_LOG_H
#define A_SYS_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"
#include "sys/secret.h"

enum sys_log_level { SYS_LOG_DEBUG, SYS_LOG_INFO, SYS_LOG_WARN, SYS_LOG_ERROR, SYS_LOG_OFF };

enum sys_field_kind {
    SYS_FIELD_NONE,
    SYS_FIELD_VIEW,
    SYS_FIELD_U64,
    SYS_FIELD_I64,
    SYS_FIELD_F64,
    SYS_FIELD_BOOL,
    SYS_FIELD_SECRET
};

struct sys_field {
    const char *key;
    enum sys_field_kind kind;
    union {
        struct a_view view;
        uint64_t u64;
        int64_t i64;
        double f64;
        bool boolean;
    } u;
};

#define SYS_STR(k, s) ((struct sys_field){(k), SYS_FIELD_VIEW, {.view = a_view_str(s)}})
#define SYS_VIEW(k, v) ((struct sys_field){(k), SYS_FIELD_VIEW, {.view = (v)}})
#define SYS_U64(k, n) ((struct sys_field){(k), SYS_FIELD_U64, {.u64 = (n)}})
#define SYS_I64(k, n) ((struct sys_field){(k), SYS_FIELD_I64, {.i64 = (n)}})
#define SYS_F64(k, n) ((struct sys_field){(k), SYS_FIELD_F64, {.f64 = (n)}})
#define SYS_BOOL(k, b) ((struct sys_field){(k), SYS_FIELD_BOOL, {.boolean = (b)}})
/* The text of a struct a_error *. */
#define SYS_ERR(e) SYS_STR("error", a_error_text(e))
/* Printed as [secret]. */
#define SYS_SECRET(k, s) ((struct sys_field){(k), ((void)(s), SYS_FIELD_SECRET), {.u64 = 0}})

#define sys_log(level, comp, code, msg, ...)                                                                 \
    SYS_LOG_WITH_(level, comp, code, NULL, SYS_LOG_LIMITED, msg, ##__VA_ARGS__)
/* `of`: a text; its first 47 bytes tell it from others. */
#define sys_log_of(level, comp, code, of, msg, ...)                                                          \
    SYS_LOG_WITH_(level, comp, code, of, SYS_LOG_LIMITED, msg, ##__VA_ARGS__)
/* For what happens as often as something really changes, and never because somebody asks for it. */
#define sys_log_change(level, comp, code, msg, ...)                                                          \
    SYS_LOG_WITH_(level, comp, code, NULL, SYS_LOG_ALWAYS, msg, ##__VA_ARGS__)

#define SYS_LOG_WITH_(level, comp, code, of, limit, msg, ...)                                                \
    do {                                                                                                     \
        if (sys_log_is_on(SYS_LOG_##level))                                                                  \
            sys_log_write(&(struct sys_log_head){SYS_LOG_##level, (limit), (comp), (code), (of), (msg)},     \
                          (const struct sys_field[]){{0}, ##__VA_ARGS__},                                    \
                          sizeof((const struct sys_field[]){{0}, ##__VA_ARGS__}) /                           \
                              sizeof(struct sys_field));                                                     \
    } while (0)

void sys_log_set_level(enum sys_log_level level); /* default info */
bool sys_log_level_parse(const char *word,
                         enum sys_log_level *ret_level) A_MUST_CHECK; /* debug info warn error off */
void sys_log_set_json(bool json);
/* Fields on every record of this process (node=, role=); copied. `fields` NULL clears. */
void sys_log_set_common(const struct sys_field *fields, size_t n_fields);
/* Where whole lines go instead of stderr; called under the log's lock. NULL restores stderr. For tests. */
void sys_log_set_sink(void (*sink)(void *ctx, struct a_view line), void *ctx);

bool sys_log_is_on(enum sys_log_level level);

enum sys_log_limit { SYS_LOG_LIMITED, SYS_LOG_ALWAYS };
struct sys_log_head {
    enum sys_log_level level;
    enum sys_log_limit limit;
    const char *comp, *code; /* literals */
    const char *of;          /* or NULL */
    const char *msg;
};
/* fields[0] is skipped (see the macros). */
void sys_log_write(const struct sys_log_head *head, const struct sys_field *fields, size_t n_fields);
/* Writes the "suppressed" records of seconds that are over; costs next to nothing when there are none. From
 * each round of a loop, or from a timer. */
void sys_log_flush(void);
/* The same of the second under way: before the process ends. */
void sys_log_finish(void);

#endif
