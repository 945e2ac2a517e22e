/* The reader's side of the counters pages (astra/tfcc_page.h): what the agent of a node calls for its
 * metrics. */
#ifndef A_TFCC_PAGE_H
#define A_TFCC_PAGE_H

#include <stddef.h>

#include "astra/tfcc_page.h"
#include "base/buf.h"
#include "base/error.h"

/* Limits on what a folder full of other people's files may make us hold. */
#define TFCC_PAGES_FILES_MAX 65536
#define TFCC_PAGES_ROWS_MAX 1024

/* Zero-initialised = nothing. */
struct tfcc_pages {
    struct tfcc_page
        *rows; /* one for each model, digest, device and app: the sums over all processes, dead or alive */
    size_t n_rows;
    size_t n_alive;   /* pages whose writer lives */
    size_t n_ignored; /* files that are no page of this version, and rows beyond the limit */
};

/* Reads the folder, folds the pages of dead writers into totals, and sums. Between two collects no sum falls.
 * Only one collector works on a folder at a time: others wait. Blocking; some 20 us a page. -ENOENT when
 * there is no such folder. What `ret` held is not freed: start from a zeroed or deinitialised one. */
int tfcc_pages_collect(const char *folder, struct tfcc_pages *ret, struct a_error *reterr) A_MUST_CHECK;
void tfcc_pages_deinit(struct tfcc_pages *pages); /* safe twice */
/* Prometheus text: every counter of TFCC_PAGE_COUNTERS with labels model, digest, device, engine, app. */
void tfcc_pages_print_metrics(const struct tfcc_pages *pages, struct a_buf *out);

#endif
