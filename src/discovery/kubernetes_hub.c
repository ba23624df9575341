/* kubernetes_hub: what all watches of a discovery share: who they are, chance, and the time that they
 * may take together in one turn of the loop. */
#include <sys/random.h>

#include "base/mem.h"
#include "kubernetes.h"

#define TURN_NS INT64_C(4000000)

struct kube_hub *kube_hub_new(const struct provider_env *env)
{
    struct kube_hub *hub = MEM_NEW(struct kube_hub);

    hub->env = env;
    list_init(&hub->watches);
    ENSURE(getrandom(&hub->random, sizeof(hub->random), 0) == (ssize_t)sizeof(hub->random));
    hub->random |= 1;
    return hub;
}

void kube_hub_free(struct kube_hub *hub)
{
    ENSURE(!hub || list_empty(&hub->watches));
    mem_free(hub);
}

int64_t kube_hub_random(struct kube_hub *hub, int64_t below)
{
    hub->random ^= hub->random << 13;
    hub->random ^= hub->random >> 7;
    hub->random ^= hub->random << 17;
    return (int64_t)(hub->random % (uint64_t)below);
}

int64_t kube_hub_left_ns(struct kube_hub *hub)
{
    uint64_t turn = uv_now(hub->env->loop);

    if (turn != hub->turn) {
        hub->turn = turn;
        hub->spent_ns = 0;
    }
    return TURN_NS - hub->spent_ns;
}

void kube_hub_spend(struct kube_hub *hub, int64_t ns)
{
    hub->spent_ns += ns;
}
