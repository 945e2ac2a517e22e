/* RFC 9457 problem documents: how an error goes over HTTP and comes back.
 *
 *   {"type": "urn:astra:problem:app.invalid", "code": "app.invalid", "title": "Unprocessable Content",
 *    "status": 422, "detail": "...", "field": "spec.units", "line": 12, "hint": "..."} */
#ifndef A_NET_PROBLEM_H
#define A_NET_PROBLEM_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"

#define NET_PROBLEM_TYPE "application/problem+json"

/* Where it is wrong and what to do; zero = not said. */
struct net_problem_where {
    const char *field; /* spec.workers[0].resources.cpu */
    uint32_t line, column;
    const char *hint;
};

struct net_problem {
    struct a_error error;
    struct net_problem_where where;
};

/* Appends one problem document. `where` may be NULL. */
void net_problem_print(struct a_buf *b, const struct a_error *e, const struct net_problem_where *where);
/* The first of them with the whole list as "errors": [{code, detail, field, line, column, hint}]. `n` >= 1.
 */
void net_problem_print_many(struct a_buf *b, const struct net_problem *problems, size_t n_problems);

/* What a server's answer of `status` >= 400 says: the problem document in `body`, each of its "errors" on a
 * line of its own; else the status and the beginning of the text. */
void net_problem_read(unsigned status, struct a_view body, struct a_error *ret_error);

#endif
