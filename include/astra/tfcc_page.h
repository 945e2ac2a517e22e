/* The counters page: how a process that runs models tells the node's agent what it did, at the price of an
 * atomic addition, and so that the numbers outlive the process.
 *
 * The writer (libastra-tfcc) makes one file for each model (name and digest) of a runtime:
 *     $ASTRA_TFCC_PAGE_DIR/<pid>-<model>-<6 characters>.page
 * It is filled, locked (flock, exclusive, on a descriptor that stays open as long as the runtime and that no
 * program started by exec gets) and only then renamed to that name: a reader never sees half a header. The
 * writer never deletes a page and never lets go of the lock before the last count is in; the kernel lets go
 * of it however the process dies, and in whatever PID namespace it lived. (`pid` is the writer's own view of
 * itself and helps people only.)
 *
 * A reader opens a *.page file, and
 * 1. takes no file smaller than the page, with another magic or another version for a page (it leaves it
 * alone);
 * 2. reads each counter by one atomic 64-bit load: counters only grow, so each is right by itself, and two of
 *    one page may be apart by the runs in flight (in_flight alone also falls; of a dead page it counts as 0);
 * 3. asks whether the writer lives by flock(LOCK_SH | LOCK_NB): granted = it is dead, the numbers are final.
 *
 * One reader of a folder, the collector, folds the dead into totals:
 *     $ASTRA_TFCC_PAGE_DIR/<model>-<16 hex digits of the key's hash>.total
 * has the same layout, state TFCC_PAGE_TOTAL. Holding flock on the folder's file `.lock`, for each dead page:
 * write the sum to a temporary file whose `absorbed` is the page's `id`, rename it over the total, delete the
 * page. After a crash between the two, the total's `absorbed` is the page's id: then the page is only
 * deleted. So each count is in exactly one place at any moment; the sum over *.page and *.total (leaving out
 * a page whose id is its total's `absorbed`) never falls and never counts twice. tfcc/page.h does all this.
 */
#ifndef ASTRA_TFCC_PAGE_H
#define ASTRA_TFCC_PAGE_H

#include <stdint.h>

#define TFCC_PAGE_MAGIC UINT64_C(0x3167706363667461) /* "atfccpg1", little-endian */
#define TFCC_PAGE_VERSION 1
#define TFCC_PAGE_BYTES 4096

enum tfcc_page_state {
    TFCC_PAGE_WRITER = 1, /* one process's counts of one model */
    TFCC_PAGE_TOTAL = 2,  /* the sum over dead ones */
};

/* X(name, "metric", "what it counts"): the counters in the order of the page, new ones at the end. */
#define TFCC_PAGE_COUNTERS(X)                                                                                \
    X(loads, "astra_tfcc_model_loads_total", "Models loaded")                                                \
    X(load_failures, "astra_tfcc_model_load_failures_total", "Loads that failed")                            \
    X(load_ns, "astra_tfcc_model_load_seconds_total", "Time spent in loads that succeeded")                  \
    X(inferences, "astra_tfcc_inferences_total", "Runs that succeeded")                                      \
    X(failures, "astra_tfcc_inference_failures_total", "Runs that failed")                                   \
    X(cancelled, "astra_tfcc_inference_cancelled_total", "Runs that were cancelled")                         \
    X(items, "astra_tfcc_inference_items_total", "Batch items of the runs that succeeded")                   \
    X(run_ns, "astra_tfcc_inference_seconds_total", "Time spent in the runs that succeeded")                 \
    X(in_flight, "astra_tfcc_inferences_in_flight", "Runs now")

struct tfcc_page_counters {
#define TFCC_X(name, metric, help) uint64_t name; /* atomic */
    TFCC_PAGE_COUNTERS(TFCC_X)
#undef TFCC_X
};

struct tfcc_page {
    uint64_t magic;
    uint32_t version;
    uint32_t state;      /* enum tfcc_page_state */
    uint64_t id;         /* random, not 0: names this page, in totals 0 */
    uint64_t absorbed;   /* totals: the id of the page added last */
    uint64_t pid;        /* of the writer, in its own PID namespace */
    uint64_t start_time; /* of the writer, /proc/PID/stat field 22 */
    char model[128];     /* name or path it was opened by; zero-terminated, cut when longer */
    char digest[80];     /* "sha256:HEX" or "" */
    char engine[64];     /* "onnxruntime 1.32.0" */
    char device[32];
    char app[128];                      /* $ASTRA_NAMESPACE/$ASTRA_APP or "" */
    char unit[64];                      /* $ASTRA_UNIT or "" */
    char member[64];                    /* $ASTRA_MEMBER or "" */
    unsigned char spare[416];           /* zero */
    struct tfcc_page_counters counters; /* at offset 1024 */
};

#endif
