/* Counting per model, in a page that the node's agent reads (tfcc_page.h) or, when there is no folder for
 * pages or no room in it, in private memory: counting never stops work. */
#ifndef A_TFCC_COUNTERS_H
#define A_TFCC_COUNTERS_H

#include "astra/tfcc.h"
#include "astra/tfcc_page.h"
#include "base/list.h"
#include "base/macro.h"
#include "sys/embed/shared_page.h"

struct tfcc_counters {
    struct a_list link;
    struct tfcc_page *page; /* shared.ptr, or own */
    struct tfcc_page own;
    struct sys_shared_page shared;
};

struct tfcc_counters_key {
    const char *model;
    const char *digest;
    const char *engine;
    const char *device;
};

/* Finds the key's counters in the list, or makes them; NULL when memory is out. `page_dir` may be NULL. The
 * caller holds the list's lock. */
struct tfcc_counters *tfcc_counters_get(struct a_list *list, const char *page_dir,
                                        const struct tfcc_counters_key *key) A_MUST_CHECK;
/* Frees all; the pages stay behind as files, as those of a dead writer. */
void tfcc_counters_free_all(struct a_list *list);
void tfcc_counters_read(const struct tfcc_counters *counters, struct tfcc_stats *ret);

#define tfcc_count(self, name, n)                                                                            \
    ((void)__atomic_add_fetch(&(self)->page->counters.name, (uint64_t)(n), __ATOMIC_RELAXED))

#endif
