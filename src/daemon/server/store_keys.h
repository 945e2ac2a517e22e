/* Keys and values of the store: /NS/kind/name and JSON texts. One place knows their form. */
#ifndef A_DAEMON_SERVER_STORE_KEYS_H
#define A_DAEMON_SERVER_STORE_KEYS_H

#include "daemon/server/server.h"

/* All of one kind in the default namespace, for store_scan(). */
#define D_STORE_CLUSTERS "/default/cluster/"
#define D_STORE_POOLS "/default/pool/"
#define D_STORE_LIMITS "/default/limits/"
#define D_STORE_REPLAYS "/default/replay/"

/* Keys are at most STORE_KEY_MAX - 1 characters; buffers have STORE_KEY_MAX. */
void d_store_key_app(char *out, const struct a_app_ref *ref);
void d_store_key_revision(char *out, const struct a_app_ref *ref, uint64_t number);
void d_store_key_unit(char *out, const struct d_app *app, const struct a_unit_name *unit);
void d_store_key_tombstone(char *out, const struct d_app *app);
void d_store_key_cluster(char *out, const struct a_name *name);
void d_store_key_pool(char *out, const struct a_name *name);
void d_store_key_limits(char *out, const struct a_name *cluster);
/* `id`: hex digits. */
void d_store_key_replay(char *out, const char *id);
/* `which`: minutes or hours. */
void d_store_key_success(char *out, const struct a_app_ref *ref, const char *which);
/* /NS/KIND/REST: false when the key has another form. */
bool d_store_key_split(struct a_view key, struct a_name *ret_namespace, struct a_view *ret_kind,
                       struct a_view *ret_rest);

void d_unit_record_print(struct a_buf *b, const struct unit_record *record, const char *ray_token);
/* Members point into `arena`; the token into it, too. */
int d_unit_record_parse(struct a_arena *arena, struct a_view text, struct unit_record *ret,
                        const char **ret_token, struct a_error *reterr) A_MUST_CHECK;

/* What is stored of an app beside its revisions. */
struct d_app_entry {
    struct a_uuid uid;
    uint64_t generation, created_unix_ms, revision, proven, epoch_base;
    uint32_t units;
    bool deleted;
    const struct a_uuid *old_stores;
    size_t n_old_stores;
    struct d_origin origin;
};

/* {cluster, uid, generation} as member `origin`; nothing when there is none. */
void d_origin_print(struct a_arena *arena, struct wire_value *record, const struct d_origin *origin);
struct d_origin d_origin_parse(const struct wire_value *record);

void d_app_entry_print(struct a_buf *b, const struct d_app_entry *e);
/* old_stores in `arena`. */
int d_app_entry_parse(struct a_arena *arena, struct a_view text, struct d_app_entry *ret,
                      struct a_error *reterr) A_MUST_CHECK;

void d_revision_print(struct a_buf *b, const struct d_revision *r);
int d_revision_parse(struct a_view text, struct d_revision **ret, struct a_error *reterr) A_MUST_CHECK;

#endif
