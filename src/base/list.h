/* An intrusive, circular, doubly linked list: linking never allocates. A zeroed link is unlinked; a head
 * needs a_list_init(). */
#ifndef A_BASE_LIST_H
#define A_BASE_LIST_H

#include <stdbool.h>

#include "base/macro.h"

struct a_list {
    struct a_list *next, *prev;
};

static inline void a_list_init(struct a_list *head)
{
    head->next = head->prev = head;
}

static inline bool a_list_empty(const struct a_list *head)
{
    return head->next == head || head->next == NULL;
}

static inline bool a_list_linked(const struct a_list *link)
{
    return link->next != NULL;
}

static inline void a_list_insert_(struct a_list *link, struct a_list *prev, struct a_list *next)
{
    link->prev = prev;
    link->next = next;
    prev->next = link;
    next->prev = link;
}

static inline void a_list_push_back(struct a_list *head, struct a_list *link)
{
    a_list_insert_(link, head->prev, head);
}

static inline void a_list_push_front(struct a_list *head, struct a_list *link)
{
    a_list_insert_(link, head, head->next);
}

/* Does nothing on an unlinked link. */
static inline void a_list_remove(struct a_list *link)
{
    if (link->next == NULL)
        return;
    link->prev->next = link->next;
    link->next->prev = link->prev;
    link->next = link->prev = NULL;
}

/* The first link, unlinked; NULL when empty. */
static inline struct a_list *a_list_pop_front(struct a_list *head)
{
    if (a_list_empty(head))
        return NULL;
    struct a_list *first = head->next;
    a_list_remove(first);
    return first;
}

#define a_list_entry(ptr, type, member) A_CONTAINER_OF(ptr, type, member)
#define a_list_foreach(it, head) for (struct a_list *it = (head)->next; it != (head); it = it->next)
#define a_list_foreach_safe(it, head)                                                                        \
    for (struct a_list *it = (head)->next, *it##_next_ = it->next; it != (head);                             \
         it = it##_next_, it##_next_ = it->next)

#endif
