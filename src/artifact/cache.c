#include "artifact/cache.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/text.h"
#include "sys/clock.h"
#include "sys/env.h"
#include "sys/file.h"
#include "sys/sha256.h"

#define LOCK_POLL_MS 50
#define UNPACK_WAIT_MS (10 * 60 * 1000) /* another agent may be unpacking gigabytes */

static char *path_of(const struct artifact_cache *c, const char *kind, const struct a_digest *d)
{
    char hex[A_DIGEST_HEX + 1];
    a_digest_hex(d, hex);
    return a_asprintf("%s/%s/%s", c->dir, kind, hex);
}

char *artifact_cache_blob(const struct artifact_cache *c, const struct a_digest *d)
{
    return path_of(c, "blob", d);
}

char *artifact_cache_tree(const struct artifact_cache *c, const struct a_digest *d)
{
    return path_of(c, "tree", d);
}

char *artifact_cache_part(const struct artifact_cache *c, const struct a_digest *d)
{
    return path_of(c, "part", d);
}

bool artifact_cache_has(const struct artifact_cache *c, const struct a_digest *d)
{
    A_AUTOFREE char *blob = artifact_cache_blob(c, d);
    return sys_file_exists(blob);
}

/* Folders unpacked before this boot go. */
static int boot_check(const struct artifact_cache *c, struct a_error *reterr)
{
    char boot[37];
    A_BUF_AUTO struct a_buf last = {0};
    A_AUTOFREE char *path = sys_path_join(c->dir, "boot");
    A_AUTOFREE char *trees = sys_path_join(c->dir, "tree");
    sys_env_boot_id(boot);
    if (sys_file_read(path, sizeof boot, &last, NULL) == 0 && a_view_is(a_buf_view(&last), boot))
        return 0;
    int rc = sys_dir_remove(trees, reterr);
    if (rc == 0)
        rc = sys_dir_make(trees, 0700, reterr);
    return rc < 0 ? rc : sys_file_write_atomic(path, boot, strlen(boot), 0600, reterr);
}

static int lock_await(const char *path, uint64_t timeout_ms, int *ret_fd, struct a_error *reterr)
{
    uint64_t deadline = sys_clock_mono_ms() + timeout_ms;
    for (;;) {
        A_ERROR_AUTO struct a_error e = A_ERROR_NONE;
        int rc = sys_lock_take(path, ret_fd, &e);
        if (rc == 0)
            return 0;
        if (rc != -EWOULDBLOCK) {
            a_error_move(reterr, &e);
            return rc;
        }
        if (sys_clock_mono_ms() >= deadline)
            return a_fail(reterr, -ETIMEDOUT, A_CODE_TIMEOUT, "%s: somebody held it for too long", path);
        sys_clock_sleep_ms(LOCK_POLL_MS);
    }
}

int artifact_cache_open(struct artifact_cache *c, const char *dir, struct a_error *reterr)
{
    static const char *const kinds[] = {"blob", "tree", "part", "ref"};
    struct artifact_cache made = {.dir = a_strdup(dir)};
    SYS_FD_AUTO int lock = -1;
    A_AUTOFREE char *locks = sys_path_join(dir, "lock"), *lock_path = sys_path_join(locks, "all");
    int rc = sys_dir_make(locks, 0700, reterr);
    if (rc == 0) /* whoever opens it beside us may be emptying the folders after a boot */
        rc = lock_await(lock_path, UNPACK_WAIT_MS, &lock, reterr);
    for (size_t i = 0; rc == 0 && i < A_ARRAY_SIZE(kinds); i++) {
        A_AUTOFREE char *path = sys_path_join(dir, kinds[i]);
        rc = sys_dir_make(path, 0700, reterr);
    }
    if (rc == 0)
        rc = boot_check(&made, reterr);
    if (rc < 0) {
        artifact_cache_close(&made);
        a_error_wrap(reterr, "artifact cache %s", dir);
        return rc;
    }
    *c = made;
    return 0;
}

void artifact_cache_close(struct artifact_cache *c)
{
    a_free(c->dir);
    c->dir = NULL;
}

int artifact_cache_lock(const struct artifact_cache *c, const struct a_digest *d, uint64_t timeout_ms,
                        int *ret_fd, struct a_error *reterr)
{
    A_AUTOFREE char *path = path_of(c, "lock", d);
    return lock_await(path, timeout_ms, ret_fd, reterr);
}

int artifact_cache_commit(const struct artifact_cache *c, const struct a_digest *d, struct a_error *reterr)
{
    A_AUTOFREE char *part = artifact_cache_part(c, d);
    A_AUTOFREE char *blob = artifact_cache_blob(c, d);
    char want_hex[A_DIGEST_HEX + 1], got_hex[A_DIGEST_HEX + 1];
    struct a_digest got;
    uint64_t size;
    int rc = sys_sha256_file(part, &got, &size, reterr);
    if (rc < 0)
        return rc;
    if (a_digest_equal(&got, d))
        return sys_file_rename(part, blob, reterr);
    a_digest_hex(d, want_hex);
    a_digest_hex(&got, got_hex);
    rc = a_fail(reterr, -EBADMSG, A_CODE_ARTIFACT_DIGEST, "artifact sha256:%s arrived as sha256:%s", want_hex,
                got_hex);
    if (sys_file_remove(part, NULL) < 0)
        a_error_wrap(reterr, "%s is left", part);
    return rc;
}

struct leftover {
    const char *trees;
    char prefix[A_DIGEST_HEX + 6]; /* HEX.new- */
};

static int leftover_each(void *ctx, const char *name, bool is_dir)
{
    const struct leftover *l = ctx;
    if (!is_dir || strncmp(name, l->prefix, strlen(l->prefix)) != 0)
        return 0;
    A_AUTOFREE char *path = sys_path_join(l->trees, name);
    return sys_dir_remove(path, NULL);
}

/* What an agent left that was killed while it unpacked this. Under the lock. */
static int leftovers_remove(const struct artifact_cache *c, const struct a_digest *d, struct a_error *reterr)
{
    A_AUTOFREE char *trees = sys_path_join(c->dir, "tree");
    struct leftover l = {.trees = trees};
    a_digest_hex(d, l.prefix);
    memcpy(l.prefix + A_DIGEST_HEX, ".new-", sizeof ".new-");
    return sys_dir_list(trees, leftover_each, &l, reterr);
}

int artifact_cache_unpack(const struct artifact_cache *c, const struct a_digest *d,
                          const struct artifact_limits *limits, char **ret_folder, struct a_error *reterr)
{
    A_AUTOFREE char *tree = artifact_cache_tree(c, d);
    A_AUTOFREE char *blob = artifact_cache_blob(c, d);
    SYS_FD_AUTO int lock = -1;
    int rc = artifact_cache_lock(c, d, UNPACK_WAIT_MS, &lock, reterr);
    if (rc == 0 && !sys_file_exists(tree)) {
        rc = leftovers_remove(c, d, reterr);
        if (rc == 0)
            rc = artifact_unpack(blob, tree, limits, reterr);
    }
    if (rc == 0)
        *ret_folder = a_steal(&tree);
    return rc;
}

int artifact_cache_ref(const struct artifact_cache *c, const struct a_digest *d, const char *node,
                       uint64_t claim, struct a_error *reterr)
{
    char hex[A_DIGEST_HEX + 1];
    a_digest_hex(d, hex);
    A_AUTOFREE char *path = a_asprintf("%s/ref/%s.%s.%llu", c->dir, hex, node, (unsigned long long)claim);
    return sys_file_write_atomic(path, "", 0, 0600, reterr);
}

/* "HEX.NODE.N" taken apart. */
static bool ref_parse(const char *name, struct a_view *ret_hex, struct a_view *ret_node, uint64_t *ret_claim)
{
    struct a_view rest;
    *ret_hex = a_view_split(a_view_str(name), '.', &rest);
    *ret_node = a_view_split(rest, '.', &rest);
    return a_text_u64(rest, ret_claim);
}

struct unref {
    const struct artifact_cache *cache;
    const char *node;
    bool (*keep)(void *ctx, uint64_t claim);
    void *ctx;
};

static int unref_each(void *ctx, const char *name, bool is_dir)
{
    const struct unref *u = ctx;
    struct a_view hex, node;
    uint64_t claim;
    if (is_dir || !ref_parse(name, &hex, &node, &claim) || !a_view_is(node, u->node) ||
        u->keep(u->ctx, claim))
        return 0;
    A_AUTOFREE char *path = a_asprintf("%s/ref/%s", u->cache->dir, name);
    int ignored A_UNUSED = sys_file_remove(path, NULL); /* what stays is only kept for longer */
    return 0;
}

void artifact_cache_unref(const struct artifact_cache *c, const char *node,
                          bool (*keep)(void *ctx, uint64_t claim), void *ctx)
{
    A_AUTOFREE char *refs = sys_path_join(c->dir, "ref");
    struct unref u = {c, node, keep, ctx};
    int ignored A_UNUSED = sys_dir_list(refs, unref_each, &u, NULL);
}

/* ---- collection ---- */

struct item {
    char hex[A_DIGEST_HEX + 1];
    uint64_t bytes, made_ms;
    bool in_use;
};

struct items {
    const struct artifact_cache *cache;
    const char *kind;
    struct item *list;
    size_t n;
};

static struct item *item_of(struct items *all, const char *name)
{
    struct a_digest d;
    if (!a_digest_parse(a_view_str(name), &d))
        return NULL;
    for (size_t i = 0; i < all->n; i++)
        if (strcmp(all->list[i].hex, name) == 0)
            return &all->list[i];
    all->list = a_realloc(all->list, (all->n + 1) * sizeof *all->list);
    struct item *it = &all->list[all->n++];
    *it = (struct item){0};
    a_digest_hex(&d, it->hex);
    return it;
}

static int item_each(void *ctx, const char *name, bool is_dir)
{
    struct items *all = ctx;
    struct sys_stat st;
    struct item *it = item_of(all, name);
    A_AUTOFREE char *path = a_asprintf("%s/%s/%s", all->cache->dir, all->kind, name);
    if (it == NULL || sys_file_stat(path, &st, NULL) < 0)
        return 0;
    uint64_t bytes = st.blocks_bytes;
    if (is_dir && sys_dir_usage(path, &bytes, NULL) < 0)
        bytes = 0;
    it->bytes += bytes;
    it->made_ms = A_MAX(it->made_ms, st.mtime_ms);
    return 0;
}

static int ref_each(void *ctx, const char *name, bool is_dir)
{
    struct items *all = ctx;
    struct a_view hex, node;
    uint64_t claim;
    if (is_dir || !ref_parse(name, &hex, &node, &claim))
        return 0;
    for (size_t i = 0; i < all->n; i++)
        if (a_view_is(hex, all->list[i].hex))
            all->list[i].in_use = true;
    return 0;
}

static int item_compare(const void *a, const void *b)
{
    const struct item *x = a, *y = b;
    return x->made_ms < y->made_ms ? -1 : x->made_ms > y->made_ms;
}

/* True when it is gone. Who holds its lock is about to use it: then it stays. */
static bool item_remove(const struct artifact_cache *c, const struct item *it)
{
    SYS_FD_AUTO int lock = -1;
    A_AUTOFREE char *lock_path = a_asprintf("%s/lock/%s", c->dir, it->hex);
    A_AUTOFREE char *tree = a_asprintf("%s/tree/%s", c->dir, it->hex);
    A_AUTOFREE char *blob = a_asprintf("%s/blob/%s", c->dir, it->hex);
    if (sys_lock_take(lock_path, &lock, NULL) < 0)
        return false;
    return sys_dir_remove(tree, NULL) == 0 && sys_file_remove(blob, NULL) == 0;
}

uint64_t artifact_cache_collect(const struct artifact_cache *c, uint64_t max_bytes, uint64_t age_ms)
{
    static const char *const kinds[] = {"blob", "tree"};
    struct items all = {.cache = c};
    uint64_t total = 0, now = sys_clock_wall_ms();
    A_AUTOFREE char *refs = sys_path_join(c->dir, "ref");
    for (size_t i = 0; i < A_ARRAY_SIZE(kinds); i++) {
        A_AUTOFREE char *path = sys_path_join(c->dir, kinds[i]);
        all.kind = kinds[i];
        int ignored A_UNUSED = sys_dir_list(path, item_each, &all, NULL);
    }
    int ignored A_UNUSED = sys_dir_list(refs, ref_each, &all, NULL);
    if (all.n > 0)
        qsort(all.list, all.n, sizeof *all.list, item_compare);
    for (size_t i = 0; i < all.n; i++)
        total += all.list[i].bytes;
    for (size_t i = 0; i < all.n && total > max_bytes; i++) {
        const struct item *it = &all.list[i];
        if (!it->in_use && it->made_ms + age_ms <= now && item_remove(c, it))
            total -= it->bytes;
    }
    a_free(all.list);
    return total;
}
