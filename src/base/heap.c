#include "base/heap.h"

#include "base/alloc.h"
#include "base/assert.h"

void a_heap_deinit(struct a_heap *h)
{
    a_free(h->items);
    *h = (struct a_heap){0};
}

static void heap_place(struct a_heap *h, size_t i, struct a_timer *t)
{
    h->items[i] = t;
    t->index_plus_1 = i + 1;
}

static void heap_up(struct a_heap *h, size_t i)
{
    struct a_timer *t = h->items[i];
    while (i > 0 && h->items[(i - 1) / 2]->at_ms > t->at_ms) {
        heap_place(h, i, h->items[(i - 1) / 2]);
        i = (i - 1) / 2;
    }
    heap_place(h, i, t);
}

static void heap_down(struct a_heap *h, size_t i)
{
    struct a_timer *t = h->items[i];
    for (size_t child = 2 * i + 1; child < h->len; child = 2 * i + 1) {
        if (child + 1 < h->len && h->items[child + 1]->at_ms < h->items[child]->at_ms)
            child++;
        if (h->items[child]->at_ms >= t->at_ms)
            break;
        heap_place(h, i, h->items[child]);
        i = child;
    }
    heap_place(h, i, t);
}

void a_heap_remove(struct a_heap *h, struct a_timer *t)
{
    if (t->index_plus_1 == 0)
        return;
    size_t i = t->index_plus_1 - 1;
    a_assert(i < h->len && h->items[i] == t);
    struct a_timer *last = h->items[--h->len];
    t->index_plus_1 = 0;
    if (last == t)
        return;
    heap_place(h, i, last);
    heap_up(h, i);
    heap_down(h, last->index_plus_1 - 1);
}

void a_heap_set(struct a_heap *h, struct a_timer *t, uint64_t at_ms)
{
    a_heap_remove(h, t);
    if (at_ms == A_NEVER)
        return;
    if (h->len == h->cap) {
        h->cap = h->cap == 0 ? 16 : h->cap * 2;
        h->items = a_realloc(h->items, h->cap * sizeof(struct a_timer *));
    }
    t->at_ms = at_ms;
    h->items[h->len++] = t;
    heap_up(h, h->len - 1);
}

uint64_t a_heap_deadline(const struct a_heap *h)
{
    return h->len > 0 ? h->items[0]->at_ms : A_NEVER;
}

struct a_timer *a_heap_pop(struct a_heap *h, uint64_t now_ms)
{
    if (h->len == 0 || h->items[0]->at_ms > now_ms)
        return NULL;
    struct a_timer *t = h->items[0];
    a_heap_remove(h, t);
    return t;
}
