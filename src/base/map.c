#include "base/map.h"

#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/hash.h"

void a_map_deinit(struct a_map *m)
{
    a_free(m->buckets);
    *m = (struct a_map){.seed = m->seed};
}

struct a_map_link *a_map_get(const struct a_map *m, const void *key, size_t key_len)
{
    if (m->n_buckets == 0)
        return NULL;
    uint64_t hash = a_hash_bytes(m->seed, key, key_len);
    struct a_map_link *l = m->buckets[hash & (m->n_buckets - 1)];
    while (l != NULL && (l->hash != hash || l->key_len != key_len || memcmp(l->key, key, key_len) != 0))
        l = l->next;
    return l;
}

struct a_map_link *a_map_get_str(const struct a_map *m, const char *key)
{
    return a_map_get(m, key, strlen(key));
}

static void map_grow(struct a_map *m)
{
    size_t n = m->n_buckets == 0 ? 8 : m->n_buckets * 2;
    struct a_map_link **buckets = a_alloc_array(n, sizeof *buckets);
    for (size_t i = 0; i < m->n_buckets; i++) {
        struct a_map_link *l = m->buckets[i];
        while (l != NULL) {
            struct a_map_link *next = l->next;
            l->next = buckets[l->hash & (n - 1)];
            buckets[l->hash & (n - 1)] = l;
            l = next;
        }
    }
    a_free(m->buckets);
    m->buckets = buckets;
    m->n_buckets = n;
}

void a_map_put(struct a_map *m, struct a_map_link *link, const void *key, size_t key_len)
{
    a_assert(a_map_get(m, key, key_len) == NULL);
    if (m->len >= m->n_buckets)
        map_grow(m);
    link->key = key;
    link->key_len = key_len;
    link->hash = a_hash_bytes(m->seed, key, key_len);
    struct a_map_link **bucket = &m->buckets[link->hash & (m->n_buckets - 1)];
    link->next = *bucket;
    *bucket = link;
    m->len++;
}

void a_map_put_str(struct a_map *m, struct a_map_link *link, const char *key)
{
    a_map_put(m, link, key, strlen(key));
}

void a_map_remove(struct a_map *m, struct a_map_link *link)
{
    a_assert(m->n_buckets > 0);
    struct a_map_link **at = &m->buckets[link->hash & (m->n_buckets - 1)];
    while (*at != NULL && *at != link)
        at = &(*at)->next;
    a_assert(*at == link);
    *at = link->next;
    link->next = NULL;
    m->len--;
}

struct a_map_link *a_map_next(const struct a_map *m, const struct a_map_link *prev)
{
    if (prev != NULL && prev->next != NULL)
        return prev->next;
    size_t i = prev == NULL ? 0 : (prev->hash & (m->n_buckets - 1)) + 1;
    for (; i < m->n_buckets; i++)
        if (m->buckets[i] != NULL)
            return m->buckets[i];
    return NULL;
}
