#include "daemon/agent/choice.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"

#define HEAD "astra-agent-choice 1"

static const char never_joined[] = "the new agent ended, or did not join its server, in each of its tries";

/* ---- text ---- */

static void artifact_print(struct a_buf *b, const char *what, const struct d_choice_artifact *a)
{
    char hex[A_DIGEST_HEX + 1];
    a_digest_hex(&a->digest, hex);
    a_buf_addf(b, "%s %s %s %" PRIu64, what, hex, a->version, a->number);
}

void d_choice_print(const struct d_choice *c, struct a_buf *ret_text)
{
    char hex[A_DIGEST_HEX + 1];
    a_digest_hex(&c->base, hex);
    a_buf_addf(ret_text, "%s\nbase %s\n", HEAD, hex);
    if (!a_digest_is_zero(&c->current.digest)) {
        artifact_print(ret_text, "current", &c->current);
        a_buf_add_str(ret_text, "\n");
    }
    if (!a_digest_is_zero(&c->trial.digest)) {
        artifact_print(ret_text, "trial", &c->trial);
        a_buf_addf(ret_text, " %u\n", c->tries);
    }
    if (!a_digest_is_zero(&c->failed.digest)) {
        artifact_print(ret_text, "failed", &c->failed);
        a_buf_addf(ret_text, " %s %s\n", a_reason_name(c->reason), c->message);
    }
    a_buf_add_str(ret_text, "end\n");
}

static bool digest_take(struct a_view *rest, struct a_digest *ret)
{
    return a_digest_parse(a_view_split(*rest, ' ', rest), ret);
}

static bool number_take(struct a_view *rest, uint64_t *ret)
{
    return a_text_u64(a_view_split(*rest, ' ', rest), ret);
}

static bool artifact_take(struct a_view *rest, struct d_choice_artifact *ret)
{
    if (!digest_take(rest, &ret->digest))
        return false;
    struct a_view version = a_view_split(*rest, ' ', rest);
    snprintf(ret->version, sizeof ret->version, A_VIEW_FMT, A_VIEW_ARG(version));
    return number_take(rest, &ret->number);
}

static bool line_take(struct d_choice *c, struct a_view line)
{
    struct a_view rest, key = a_view_split(line, ' ', &rest);
    uint64_t tries = 0;
    bool ok = true;
    if (a_view_is(key, "base"))
        ok = digest_take(&rest, &c->base);
    else if (a_view_is(key, "current"))
        ok = artifact_take(&rest, &c->current);
    else if (a_view_is(key, "trial"))
        ok = artifact_take(&rest, &c->trial) && number_take(&rest, &tries) && tries <= D_CHOICE_TRIES;
    else if (a_view_is(key, "failed") && (ok = artifact_take(&rest, &c->failed))) {
        /* a reason that is newer than we are */
        if (!a_reason_parse(a_view_split(rest, ' ', &rest), &c->reason))
            c->reason = A_REASON_UPGRADE_FAILED;
        snprintf(c->message, sizeof c->message, A_VIEW_FMT, A_VIEW_ARG(rest));
    }
    if (a_view_is(key, "trial"))
        c->tries = (unsigned)tries;
    return ok;
}

int d_choice_parse(struct a_view text, struct d_choice *ret, struct a_error *reterr)
{
    struct d_choice c = {.tries = 0};
    struct a_view rest, line = a_view_split(text, '\n', &rest);
    bool ok = a_view_is(line, HEAD), ended = false;
    while (ok && !ended && rest.len > 0) {
        line = a_view_split(rest, '\n', &rest);
        ended = a_view_is(line, "end");
        ok = ended || line_take(&c, line);
    }
    if (!ok || !ended)
        return a_fail(reterr, -EINVAL, A_CODE_INVALID, "not the state of an agent's upgrades");
    *ret = c;
    return 0;
}

/* ---- what follows ---- */

void d_choice_fail(struct d_choice *c, const struct d_choice_artifact *what, enum a_reason reason,
                   const char *message)
{
    c->failed = *what;
    c->reason = reason;
    snprintf(c->message, sizeof c->message, "%s", message);
    for (char *p = c->message; *p != '\0'; p++)
        if (*p == '\n')
            *p = ' ';
    c->trial = (struct d_choice_artifact){.number = 0};
    c->tries = 0;
}

void d_choice_confirm(struct d_choice *c)
{
    c->current = c->trial;
    c->trial = c->failed = (struct d_choice_artifact){.number = 0};
    c->tries = 0;
}

enum d_choice_next d_choice_start(struct d_choice *c, const struct a_digest *installed, bool *ret_changed)
{
    *ret_changed = !a_digest_equal(&c->base, installed);
    if (*ret_changed)
        *c = (struct d_choice){.base = *installed};
    if (!a_digest_is_zero(&c->trial.digest)) {
        *ret_changed = true;
        if (c->tries < D_CHOICE_TRIES) {
            c->tries++;
            return D_CHOICE_TRIAL;
        }
        const struct d_choice_artifact trial = c->trial;
        d_choice_fail(c, &trial, A_REASON_UPGRADE_FAILED, never_joined);
    }
    return a_digest_is_zero(&c->current.digest) ? D_CHOICE_INSTALLED : D_CHOICE_CURRENT;
}
