/* What kube_custom.c (objects, their requests) and kube_custom_kinds.c (apps, pools) share. */
#ifndef A_DAEMON_SERVER_KUBE_CUSTOM_H
#define A_DAEMON_SERVER_KUBE_CUSTOM_H

#include "daemon/server/kube.h"
#include "kube/custom.h"

/* One object of the cluster. */
struct custom_object {
    struct a_map_link link; /* of d_kube_custom.objects, by NAMESPACE/NAME */
    struct a_list of_due;   /* linked: something is to be looked at */
    struct d_kube_custom *custom;
    char *key;
    char namespace[254], name[254], uid[KUBE_UID_MAX + 1];
    struct kube_custom seen; /* as the last answer had it */
    bool read_due;           /* the object is to be read first */
    bool busy;               /* Astra is writing; told with its end */
    uint64_t not_before_ms;
    struct a_arena arena;
    const struct wire_value *object; /* as the last answer had it, in `arena`; NULL = not read yet */
    bool ours;                       /* Astra's thing of its name came from it: its status is told, too */
    int64_t generation;              /* that `reason` is about; 0 = none */
    const char *reason;              /* static; "Accepted" */
    char *message;
};

/* How a kind of object stands for something in Astra. */
struct custom_kind {
    const char *plural;
    const struct kube_kind *rows;
    /* holder, leaving, news */
    void (*look)(const struct custom_object *o, struct kube_custom_state *state);
    /* Checks and writes, then custom_written(); false: *ret_errors, in the arena, says what is wrong. */
    bool (*put)(struct custom_object *o, struct a_arena *arena, const char **ret_errors);
    void (*remove)(struct custom_object *o); /* then custom_written() */
    struct wire_value *(*status)(const struct custom_object *o, struct a_arena *arena,
                                 const struct kube_custom_told *told);
};

extern const struct custom_kind custom_kinds[D_KUBE_CUSTOM_KINDS];

struct d_kube_custom {
    struct d_kube_cluster *cluster;
    enum d_kube_custom_kind_id id;
    struct d_kube_stream stream;
    bool synced; /* once: rows are all that there are */
    struct a_map objects;
    struct a_list due; /* struct custom_object.of_due */
    struct sys_timer timer;
    struct net_web_call *call; /* one at a time */
    char *current;             /* key of its object */
};

/* A write of Astra's that outlives the object that asked for it. */
struct custom_write;
struct custom_write *custom_write_new(struct custom_object *o);
/* It is over: NULL = done. `write` is freed. */
void custom_written(void *write, const struct a_error *error);

#endif
