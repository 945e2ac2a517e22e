/* The text form of metrics that Prometheus reads (exposition format 0.0.4): what every daemon's /metrics and
 * the counters of models are printed with. */
#ifndef A_BASE_METRICS_H
#define A_BASE_METRICS_H

#include <stdint.h>

#include "base/buf.h"

/* The two lines that stand before a metric's samples. `type`: counter, gauge or histogram; `help` is one
 * line. */
void a_metric_head(struct a_buf *b, const char *name, const char *type, const char *help);
/* A metric of one sample, without labels. */
void a_metric_print(struct a_buf *b, const char *name, const char *type, const char *help, uint64_t value);
/* A label's value as it stands between its quotes. */
void a_metric_label(struct a_buf *b, struct a_view value);

#endif
