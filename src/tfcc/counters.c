#include "tfcc/counters.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "sys/embed/host.h"
#include "tfcc/page_name.h"

#define text_set(field, text) snprintf((field), sizeof(field), "%s", (text))

static const char *env_text(const char *name)
{
    const char *text = getenv(name);
    return text != NULL ? text : "";
}

static void page_fill(struct tfcc_page *page, const struct tfcc_counters_key *key)
{
    const char *app = env_text("ASTRA_APP");
    memset(page, 0, sizeof *page);
    page->magic = TFCC_PAGE_MAGIC;
    page->version = TFCC_PAGE_VERSION;
    page->state = TFCC_PAGE_WRITER;
    do
        page->id = sys_embed_random();
    while (page->id == 0);
    sys_embed_process(&page->pid, &page->start_time);
    text_set(page->model, key->model);
    text_set(page->digest, key->digest);
    text_set(page->engine, key->engine);
    text_set(page->device, key->device);
    if (app[0] != '\0')
        snprintf(page->app, sizeof page->app, "%s/%s", env_text("ASTRA_NAMESPACE"), app);
    text_set(page->unit, env_text("ASTRA_UNIT"));
    text_set(page->member, env_text("ASTRA_MEMBER"));
}

static bool page_has_key(const struct tfcc_page *page, const struct tfcc_counters_key *key)
{
    return strncmp(page->model, key->model, sizeof page->model - 1) == 0 &&
           strcmp(page->digest, key->digest) == 0 && strcmp(page->device, key->device) == 0;
}

static void counters_share(struct tfcc_counters *counters, const char *page_dir)
{
    char name[TFCC_PAGE_NAME_MAX + 1], stem[128], whole[TFCC_PAGE_BYTES] __attribute__((aligned(8))) = {0};
    tfcc_page_name(counters->own.model, name);
    snprintf(stem, sizeof stem, "%" PRIu64 "-%s", counters->own.pid, name);
    memcpy(whole, &counters->own, sizeof counters->own);
    if (sys_shared_page_create(page_dir, stem, "page", whole, sizeof whole, &counters->shared) == 0)
        counters->page = counters->shared.ptr;
}

struct tfcc_counters *tfcc_counters_get(struct a_list *list, const char *page_dir,
                                        const struct tfcc_counters_key *key)
{
    a_list_foreach (link, list) {
        struct tfcc_counters *counters = a_list_entry(link, struct tfcc_counters, link);
        if (page_has_key(counters->page, key))
            return counters;
    }
    struct tfcc_counters *counters = a_try_alloc(sizeof *counters);
    if (counters == NULL)
        return NULL;
    counters->shared.fd = -1;
    counters->page = &counters->own;
    page_fill(&counters->own, key);
    if (page_dir != NULL)
        counters_share(counters, page_dir);
    a_list_push_back(list, &counters->link);
    return counters;
}

void tfcc_counters_free_all(struct a_list *list)
{
    struct a_list *link;
    while ((link = a_list_pop_front(list)) != NULL) {
        struct tfcc_counters *counters = a_list_entry(link, struct tfcc_counters, link);
        sys_shared_page_close(&counters->shared);
        a_free(counters);
    }
}

void tfcc_counters_read(const struct tfcc_counters *counters, struct tfcc_stats *ret)
{
#define X(name, metric, help) ret->name = __atomic_load_n(&counters->page->counters.name, __ATOMIC_RELAXED);
    TFCC_PAGE_COUNTERS(X)
#undef X
}
