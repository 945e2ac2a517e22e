/* astra_kube_*: clusters, what was read of them, and pools. */
#include <inttypes.h>

#include "base/metrics.h"
#include "daemon/server/kube.h"

static void clusters_print(const struct d_kube *k, struct a_buf *b, const char *name,
                           enum d_kube_condition_type type, const char *help)
{
    a_metric_head(b, name, "gauge", help);
    a_map_foreach (l, &k->clusters) {
        const struct d_kube_cluster *c = a_map_entry(l, struct d_kube_cluster, link);
        a_buf_addf(b, "%s{cluster=\"%s\"} %d\n", name, c->name.s, c->conditions[type].status);
    }
}

/* Over all namespaces of a cluster. */
static struct kube_watch_counts counts_of(const struct d_kube_cluster *c)
{
    struct kube_watch_counts sum = {0};
    a_list_foreach (l, &c->follows) {
        struct kube_watch_counts n =
            kube_watch_counts(a_list_entry(l, struct d_kube_follow, link)->stream.core);
        sum.lists += n.lists;
        sum.watches += n.watches;
        sum.events += n.events;
        sum.malformed += n.malformed;
        sum.expired += n.expired;
        sum.failed += n.failed;
    }
    return sum;
}

static void watches_print(const struct d_kube *k, struct a_buf *b)
{
    a_metric_head(b, "astra_kube_watch_total", "counter", "What following the pods took and gave, by what");
    a_map_foreach (l, &k->clusters) {
        const struct d_kube_cluster *c = a_map_entry(l, struct d_kube_cluster, link);
        struct kube_watch_counts n = counts_of(c);
        const struct {
            const char *what;
            uint64_t n;
        } rows[] = {{"lists", n.lists},         {"watches", n.watches}, {"events", n.events},
                    {"malformed", n.malformed}, {"expired", n.expired}, {"failed", n.failed}};
        for (size_t i = 0; i < A_ARRAY_SIZE(rows); i++)
            a_buf_addf(b, "astra_kube_watch_total{cluster=\"%s\",what=\"%s\"} %" PRIu64 "\n", c->name.s,
                       rows[i].what, rows[i].n);
    }
}

static void objects_print(const struct d_kube *k, struct a_buf *b)
{
    static const char *const kinds[D_KUBE_CUSTOM_KINDS] = {"App", "Pool"};
    a_metric_head(b, "astra_kube_objects", "gauge", "Custom resources that are followed");
    a_map_foreach (l, &k->clusters) {
        const struct d_kube_cluster *c = a_map_entry(l, struct d_kube_cluster, link);
        for (int i = 0; i < D_KUBE_CUSTOM_KINDS; i++) {
            size_t all, refused;
            d_kube_custom_counts(c, (enum d_kube_custom_kind_id)i, &all, &refused);
            a_buf_addf(b,
                       "astra_kube_objects{cluster=\"%s\",kind=\"%s\",accepted=\"true\"} %zu\n"
                       "astra_kube_objects{cluster=\"%s\",kind=\"%s\",accepted=\"false\"} %zu\n",
                       c->name.s, kinds[i], all - refused, c->name.s, kinds[i], refused);
        }
    }
}

static void pools_print(const struct d_kube *k, struct a_buf *b)
{
    a_metric_head(
        b, "astra_kube_pool_pods", "gauge",
        "Pods of a pool, by state; states overlap. known: at this moment, the others: at the last plan");
    a_map_foreach (l, &k->pools) {
        const struct d_kube_pool *p = a_map_entry(l, struct d_kube_pool, link);
        if (p->core == NULL)
            continue;
        struct kube_pool_status s = kube_pool_status(p->core);
        const struct {
            const char *state;
            uint32_t n;
        } rows[] = {{"all", s.pods},          {"joined", s.joined},
                    {"free", s.free},         {"coming", s.coming},
                    {"draining", s.draining}, {"terminating", s.terminating},
                    {"outdated", s.outdated}, {"known", (uint32_t)kube_pool_count(p->core)}};
        for (size_t i = 0; i < A_ARRAY_SIZE(rows); i++)
            a_buf_addf(b, "astra_kube_pool_pods{pool=\"%s\",state=\"%s\"} %u\n", p->spec.name.s,
                       rows[i].state, rows[i].n);
    }
    a_metric_head(b, "astra_kube_pool_demand", "gauge", "More pods that would let what waits be placed");
    a_map_foreach (l, &k->pools) {
        const struct d_kube_pool *p = a_map_entry(l, struct d_kube_pool, link);
        a_buf_addf(b, "astra_kube_pool_demand{pool=\"%s\"} %u\n", p->spec.name.s, p->demand);
    }
    a_metric_head(b, "astra_kube_pool_requests_total", "counter", "Requests for pods, by how they ended");
    a_map_foreach (l, &k->pools) {
        const struct d_kube_pool *p = a_map_entry(l, struct d_kube_pool, link);
        a_buf_addf(b,
                   "astra_kube_pool_requests_total{pool=\"%s\",result=\"created\"} %" PRIu64 "\n"
                   "astra_kube_pool_requests_total{pool=\"%s\",result=\"deleted\"} %" PRIu64 "\n"
                   "astra_kube_pool_requests_total{pool=\"%s\",result=\"refused\"} %" PRIu64 "\n",
                   p->spec.name.s, p->created, p->spec.name.s, p->deleted, p->spec.name.s, p->refused);
    }
}

void d_kube_metrics(const struct server *s, struct a_buf *b)
{
    const struct d_kube *k = s->kube;
    if (k == NULL)
        return;
    clusters_print(k, b, "astra_kube_cluster_reachable", D_KUBE_REACHABLE, "1 while the API server answers");
    clusters_print(k, b, "astra_kube_cluster_owned", D_KUBE_OWNER, "1 while this server holds the lease");
    clusters_print(k, b, "astra_kube_cluster_unlocked", D_KUBE_UNLOCKED,
                   "1 while the credentials can be opened");
    watches_print(k, b);
    objects_print(k, b);
    pools_print(k, b);
    a_metric_print(b, "astra_kube_errors_total", "counter",
                   "Answers of API servers that were refusals or none", k->errors);
}
