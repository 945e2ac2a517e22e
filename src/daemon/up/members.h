/* The members that the nodes of one `astra up` run, found without their agents: each has a folder with its
 * shim's spec and state, and each of its processes carries ASTRA_CLAIM in its environment. */
#ifndef D_UP_MEMBERS_H
#define D_UP_MEMBERS_H

#include "base/list.h"
#include "daemon/up/layout.h"

struct d_up_member {
    struct a_list link;
    char *label;                    /* "ocr-x1y2z/head on cluster-1-node-2" */
    char *mark;                     /* ASTRA_CLAIM=...; NULL when its spec cannot be read */
    struct sys_proc_id shim, first; /* pid 0: none known; `first` is the first process of its PID namespace */
    size_t processes;               /* seen by d_up_members_count() */
};

/* Appends all that have a folder, whether anything of them runs or not. */
void d_up_members_find(const struct d_up_layout *l, struct a_list *members);
void d_up_members_free(struct a_list *members);
/* Counts each member's processes; returns the processes of all members and of the layout's own mark. */
size_t d_up_members_count(const struct d_up_layout *l, struct a_list *members);
/* SIGKILL to each of them but this process; returns how many there were. */
size_t d_up_members_kill(const struct d_up_layout *l, struct a_list *members);

#endif
