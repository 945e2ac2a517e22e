#include "tfcc/page.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/hash.h"
#include "base/metrics.h"
#include "sys/embed/path.h"
#include "sys/embed/shared_page.h"
#include "tfcc/page_name.h"

#define NAME_MAX_LEN 255

struct names {
    struct a_buf text; /* zero-terminated names, one after another */
    size_t n;
};

static bool ends_with(const char *name, const char *suffix)
{
    size_t len = strlen(name), n = strlen(suffix);
    return len > n && strcmp(name + len - n, suffix) == 0;
}

static bool names_add(void *arg, const char *name)
{
    struct names *names = arg;
    if (!ends_with(name, ".page") && !ends_with(name, ".total"))
        return true;
    a_buf_add(&names->text, name, strlen(name) + 1);
    return ++names->n < TFCC_PAGES_FILES_MAX && !names->text.failed;
}

static int path_make(char *ret, const char *folder, const char *name)
{
    int n = snprintf(ret, SYS_EMBED_PATH_MAX, "%s/%s", folder, name);
    return n > 0 && n < SYS_EMBED_PATH_MAX ? 0 : -ENAMETOOLONG;
}

#define text_end(field) ((field)[sizeof(field) - 1] = '\0')

/* False when the file is no page of the wanted state. */
static bool page_read(const char *path, uint32_t state, struct tfcc_page *ret, bool *ret_alive)
{
    if (sys_shared_page_read(path, ret, sizeof *ret, ret_alive) != 0)
        return false;
    text_end(ret->model);
    text_end(ret->digest);
    text_end(ret->engine);
    text_end(ret->device);
    text_end(ret->app);
    text_end(ret->unit);
    text_end(ret->member);
    return ret->magic == TFCC_PAGE_MAGIC && ret->version == TFCC_PAGE_VERSION && ret->state == state;
}

static void counters_add(struct tfcc_page_counters *to, const struct tfcc_page_counters *from)
{
#define X(name, metric, help) to->name += from->name;
    TFCC_PAGE_COUNTERS(X)
#undef X
}

static bool same_key(const struct tfcc_page *a, const struct tfcc_page *b)
{
    return strcmp(a->model, b->model) == 0 && strcmp(a->digest, b->digest) == 0 &&
           strcmp(a->device, b->device) == 0 && strcmp(a->app, b->app) == 0;
}

static void row_add(struct tfcc_pages *pages, const struct tfcc_page *page)
{
    size_t i = 0;
    while (i < pages->n_rows && !same_key(&pages->rows[i], page))
        i++;
    if (i == TFCC_PAGES_ROWS_MAX) {
        pages->n_ignored++;
        return;
    }
    if (i < pages->n_rows) {
        counters_add(&pages->rows[i].counters, &page->counters);
        return;
    }
    pages->rows[pages->n_rows++] = *page;
}

/* "<model>-<16 hex digits of the key's hash>.total" */
static int total_path(char *ret, const char *folder, const struct tfcc_page *page)
{
    char model[TFCC_PAGE_NAME_MAX + 1], name[NAME_MAX_LEN];
    tfcc_page_name(page->model, model);
    uint64_t hash = a_hash_str(0, page->model);
    hash = a_hash_str(hash, page->digest);
    hash = a_hash_str(hash, page->device);
    hash = a_hash_str(hash, page->app);
    int n = snprintf(name, sizeof name, "%s-%016" PRIx64 ".total", model, hash);
    return n > 0 && (size_t)n < sizeof name ? path_make(ret, folder, name) : -ENAMETOOLONG;
}

/* Moves a dead page's counts into its total. On failure the page stays where it is and counts from there. */
static int page_absorb(const char *folder, const char *path, const struct tfcc_page *page)
{
    char to[SYS_EMBED_PATH_MAX], whole[TFCC_PAGE_BYTES] __attribute__((aligned(8))) = {0};
    struct tfcc_page total;
    bool alive;
    int rc = total_path(to, folder, page);
    if (rc != 0)
        return rc;
    if (!page_read(to, TFCC_PAGE_TOTAL, &total, &alive) || !same_key(&total, page)) {
        total = *page;
        memset(&total.counters, 0, sizeof total.counters);
        memset(total.unit, 0, sizeof total.unit);
        memset(total.member, 0, sizeof total.member);
        total.state = TFCC_PAGE_TOTAL;
        total.id = total.pid = total.start_time = 0;
    }
    counters_add(&total.counters, &page->counters);
    total.absorbed = page->id;
    memcpy(whole, &total, sizeof total);
    rc = sys_shared_page_replace(to, whole, sizeof whole);
    return rc == 0 ? sys_shared_page_remove(path) : rc;
}

/* Was this page added to its total before a crash kept it from being deleted? */
static bool page_is_absorbed(const char *folder, const struct tfcc_page *page)
{
    char path[SYS_EMBED_PATH_MAX];
    struct tfcc_page total;
    bool alive;
    return total_path(path, folder, page) == 0 && page_read(path, TFCC_PAGE_TOTAL, &total, &alive) &&
           same_key(&total, page) && total.absorbed == page->id;
}

static void file_take(const char *folder, const char *name, struct tfcc_pages *pages)
{
    char path[SYS_EMBED_PATH_MAX];
    struct tfcc_page page;
    bool alive = false, is_total = ends_with(name, ".total");
    if (path_make(path, folder, name) != 0 ||
        !page_read(path, is_total ? TFCC_PAGE_TOTAL : TFCC_PAGE_WRITER, &page, &alive)) {
        pages->n_ignored++;
        return;
    }
    if (!is_total && alive) {
        pages->n_alive++;
    } else if (!is_total) {
        page.counters.in_flight = 0;
        if (page_is_absorbed(folder, &page)) {
            if (sys_shared_page_remove(path) != 0)
                pages->n_ignored++;
            return;
        }
    }
    row_add(pages, &page);
    if (!is_total && !alive && page_absorb(folder, path, &page) != 0)
        pages->n_ignored++;
}

/* Totals first: a page that is absorbed in this round must not be met again in its total. */
static void names_take(const struct names *names, const char *folder, const char *suffix,
                       struct tfcc_pages *pages)
{
    const char *name = names->text.ptr;
    for (size_t i = 0; i < names->n; i++, name += strlen(name) + 1)
        if (ends_with(name, suffix))
            file_take(folder, name, pages);
}

int tfcc_pages_collect(const char *folder, struct tfcc_pages *ret, struct a_error *reterr)
{
    struct names names = {0};
    struct tfcc_pages pages = {0};
    enum sys_embed_path_kind kind;
    int fd = -1;
    int rc = sys_embed_path_kind(folder, &kind);
    if (rc == 0)
        rc = sys_shared_page_lock(folder, &fd);
    if (rc != 0)
        return a_fail_errno(reterr, rc, "counters folder %s", folder);
    rc = sys_embed_path_list(folder, names_add, &names);
    if (rc == 0 && names.text.failed)
        rc = -ENOMEM;
    if (rc == 0) {
        pages.rows = a_try_alloc(A_MIN(names.n, (size_t)TFCC_PAGES_ROWS_MAX) * sizeof *pages.rows);
        rc = pages.rows != NULL ? 0 : -ENOMEM;
    }
    if (rc == 0) {
        names_take(&names, folder, ".total", &pages);
        names_take(&names, folder, ".page", &pages);
        *ret = pages;
    }
    sys_shared_page_unlock(fd);
    a_buf_deinit(&names.text);
    return rc == 0 ? 0 : a_fail_errno(reterr, rc, "counters folder %s", folder);
}

void tfcc_pages_deinit(struct tfcc_pages *pages)
{
    a_free(pages->rows);
    *pages = (struct tfcc_pages){0};
}

static void sample_print(struct a_buf *out, const char *metric, const struct tfcc_page *row, uint64_t value)
{
    static const char *const names[] = {"{model", ",digest", ",device", ",engine", ",app"};
    const char *const values[] = {row->model, row->digest, row->device, row->engine, row->app};
    a_buf_add_str(out, metric);
    for (size_t i = 0; i < A_ARRAY_SIZE(names); i++) {
        a_buf_addf(out, "%s=\"", names[i]);
        a_metric_label(out, a_view_str(values[i]));
        a_buf_add_char(out, '"');
    }
    if (ends_with(metric, "_seconds_total"))
        a_buf_addf(out, "} %" PRIu64 ".%09" PRIu64 "\n", value / 1000000000, value % 1000000000);
    else
        a_buf_addf(out, "} %" PRIu64 "\n", value);
}

void tfcc_pages_print_metrics(const struct tfcc_pages *pages, struct a_buf *out)
{
#define X(name, metric, help)                                                                                \
    a_metric_head(out, metric, ends_with(metric, "_total") ? "counter" : "gauge", help ".");                 \
    for (size_t i = 0; i < pages->n_rows; i++)                                                               \
        sample_print(out, metric, &pages->rows[i], pages->rows[i].counters.name);
    TFCC_PAGE_COUNTERS(X)
#undef X
}
