#include "net/http_head.h"

#include <string.h>

static void view_move(struct a_view *v, const char *from, size_t len, const char *to)
{
    if (v->ptr >= from && v->ptr <= from + len)
        v->ptr = to + (v->ptr - from);
}

bool net_http_head_keep(struct wire_http_head *h, struct a_arena *arena, const char *bytes)
{
    char *copy = a_arena_try(arena, h->size);
    if (copy == NULL)
        return false;
    memcpy(copy, bytes, h->size);
    struct a_view *views[] = {&h->method_text, &h->target, &h->path, &h->authority, &h->reason, &h->upgrade};
    for (size_t i = 0; i < A_ARRAY_SIZE(views); i++)
        view_move(views[i], bytes, h->size, copy);
    for (size_t i = 0; i < h->n_headers; i++) {
        view_move(&h->headers[i].name, bytes, h->size, copy);
        view_move(&h->headers[i].value, bytes, h->size, copy);
    }
    return true;
}
