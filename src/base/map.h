/* An intrusive hash map: the user's object holds a struct a_map_link; the map allocates only its bucket
 * array, which doubles with the number of links. Keys are byte strings that live in the object. Iteration
 * order is unspecified but depends on nothing except seed, keys and order of insertion. */
#ifndef A_BASE_MAP_H
#define A_BASE_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/macro.h"

struct a_map_link {
    struct a_map_link *next;
    const void *key; /* points into the object; must not change while linked */
    size_t key_len;
    uint64_t hash;
};

/* Zero-initialised = empty. Set `seed` before the first insertion where a peer chooses the keys. */
struct a_map {
    struct a_map_link **buckets;
    size_t n_buckets; /* 0 or a power of two */
    size_t len;
    uint64_t seed;
};

/* Frees the bucket array, not the objects. Safe twice. */
void a_map_deinit(struct a_map *m);
/* The link with that key, or NULL. */
struct a_map_link *a_map_get(const struct a_map *m, const void *key, size_t key_len);
struct a_map_link *a_map_get_str(const struct a_map *m, const char *key);
/* Links `link` under the key; the key must not be in the map yet (asserted). */
void a_map_put(struct a_map *m, struct a_map_link *link, const void *key, size_t key_len);
void a_map_put_str(struct a_map *m, struct a_map_link *link, const char *key);
/* The link must be in the map. */
void a_map_remove(struct a_map *m, struct a_map_link *link);
/* First link (prev = NULL) or the one after `prev`; NULL at the end. Removing `prev` itself while iterating
 * is not allowed: use a_map_foreach, which fetches the next before its body runs and so allows removing the
 * current one. */
struct a_map_link *a_map_next(const struct a_map *m, const struct a_map_link *prev);

#define a_map_entry(ptr, type, member) A_CONTAINER_OF(ptr, type, member)
#define a_map_foreach(it, m)                                                                                 \
    for (struct a_map_link *it = a_map_next((m), NULL), *it##_next_ = it ? a_map_next((m), it) : NULL;       \
         it != NULL; it = it##_next_, it##_next_ = it ? a_map_next((m), it) : NULL)

#endif
