/* dns: targets from DNS records (dns_sd_configs). Each name is a group.
 *
 *   on_refresh -> round: dns_open, a lookup for each name, at most LOOKUPS_MAX at a time -> changed
 *
 * A name that cannot be looked up keeps its last group; one that is surely unknown, or has no such
 * records, has an empty one. resolv.conf is read by each round. While a round runs, no other one
 * starts; a closed provider's round ends without an owner. */
#include "net/dns.h"

#include <inttypes.h>

#include "base/log.h"
#include "provider.h"

#define REFRESH_MS_DEFAULT 30000
#define LOOKUPS_MAX        32
#define LOOKUP_TIMEOUT_MS  60000 /* For the whole search list, with all servers. */

struct round {
    struct dns_sd *sd; /* NULL: closed meanwhile. */
    struct dns *dns;
    size_t next; /* Name. */
    size_t in_flight;
    bool changed;
};

struct lookup {
    struct round *round;
    size_t index; /* Of the name. */
};

struct dns_name {
    struct str name;            /* Borrowed from the config. */
    struct target_group *group; /* Of the last good answer; NULL before. */
};

struct dns_sd {
    const struct provider_env *env;
    const struct config_dns_sd *config;
    provider_changed_fn changed;
    void *ctx;
    enum dns_type type;
    struct timer *refresh;
    struct refresh_figures figures;
    struct round *running;
    VEC(struct dns_name) names;
};

static void note_failure(const struct dns_sd *sd, const struct err *err)
{
    sd->env->stats->dns_lookup_failures++;
    LOG_E("Error refreshing DNS targets", "err", err->text);
}

/* host:port, with an IPv6 address in brackets; the dots at a rooted name's end are not shown. */
static struct str address_text(struct arena *arena, struct str host, int64_t port)
{
    while (str_ends(host, STR(".")))
        host.len--;
    bool v6 = str_find_char(host, ':') < host.len;
    return arena_strf(arena, v6 ? "[" STR_FMT "]:%" PRId64 : STR_FMT ":%" PRId64, STR_ARG(host),
                      port);
}

static void target_add(struct group_writer *out, const struct dns_sd *sd, struct str name,
                       const struct dns_record *record, struct arena *arena)
{
    bool srv = record->type == DNS_SRV;
    struct labels_builder builder;

    labels_builder_init(&builder);
    labels_builder_set(&builder, STR("__address__"),
                       address_text(arena, record->text, srv ? record->port : sd->config->port));
    labels_builder_set(&builder, STR("__meta_dns_name"), name);
    if (srv) {
        labels_builder_set(&builder, STR("__meta_dns_srv_record_target"), record->text);
        labels_builder_set(&builder, STR("__meta_dns_srv_record_port"),
                           arena_strf(arena, "%u", record->port));
    }
    if (record->type == DNS_MX)
        labels_builder_set(&builder, STR("__meta_dns_mx_record_target"), record->text);
    if (record->type == DNS_NS)
        labels_builder_set(&builder, STR("__meta_dns_ns_record_target"), record->text);
    group_writer_add(out, &builder);
    labels_builder_deinit(&builder);
}

static void take_answer(struct round *round, struct dns_name *name, const struct dns_answer *answer)
{
    const struct labels_builder none = {0};
    struct group_writer writer;
    struct arena arena;

    arena_init(&arena, 0);
    group_writer_init(&writer);
    for (size_t i = 0; i < answer->count; i++)
        target_add(&writer, round->sd, name->name, &answer->records[i], &arena);
    struct target_group *group = group_writer_end(&writer, name->name, &none);
    arena_deinit(&arena);
    if (target_group_eq(name->group, group)) {
        target_group_unref(group);
        return;
    }
    target_group_unref(name->group);
    name->group = group;
    round->changed = true;
}

static void round_step(struct round *round);

static void on_done(void *ctx, const struct dns_answer *answer, const struct err *err)
{
    struct lookup *lookup = ctx;
    struct round *round = lookup->round;
    struct dns_sd *sd = round->sd;

    round->in_flight--;
    if (sd) {
        sd->env->stats->dns_lookups++;
        if (err->code != ERR_NONE)
            note_failure(sd, err);
        else
            take_answer(round, &sd->names.items[lookup->index], answer);
    }
    mem_free(lookup);
    round_step(round);
}

/* Asks for more names, or ends the round. */
static void round_step(struct round *round)
{
    struct dns_sd *sd = round->sd;

    while (sd && round->next < sd->names.count && round->in_flight < LOOKUPS_MAX) {
        struct lookup *lookup = MEM_NEW(struct lookup);
        lookup->round = round;
        lookup->index = round->next++;
        round->in_flight++;
        (void)dns_query(round->dns, sd->names.items[lookup->index].name, sd->type,
                        LOOKUP_TIMEOUT_MS, on_done, lookup);
    }
    if (round->in_flight > 0)
        return;
    if (sd) {
        sd->running = NULL;
        dns_close(round->dns);
        refresh_end(&sd->figures,
                    true); /* A name that cannot be looked up is no failure of the round. */
        if (round->changed)
            sd->changed(sd->ctx);
    }
    mem_free(round);
}

static void on_refresh(void *ctx)
{
    struct dns_sd *sd = ctx;
    struct dns_options options = {.servers = str_of(sd->env->dns_servers)};
    struct err err = {0};
    struct dns *dns;

    if (sd->running)
        return;
    refresh_begin(&sd->figures);
    if (!dns_open(&dns, sd->env->loop, &options, &err)) {
        sd->env->stats->dns_lookups += sd->names.count;
        sd->env->stats->dns_lookup_failures += sd->names.count - 1;
        note_failure(sd, &err);
        refresh_end(&sd->figures, false);
        return;
    }
    sd->running = MEM_NEW(struct round);
    sd->running->sd = sd;
    sd->running->dns = dns;
    round_step(sd->running);
}

static enum dns_type type_parse(struct str text)
{
    static const struct {
        const char *text;
        enum dns_type type;
    } types[] = {{"A", DNS_A}, {"AAAA", DNS_AAAA}, {"MX", DNS_MX}, {"NS", DNS_NS}};

    for (size_t i = 0; i < COUNT_OF(types); i++)
        if (str_eq_nocase(text, str_of(types[i].text)))
            return types[i].type;
    return DNS_SRV;
}

/* Twice the same name is one group. */
static void add_name(struct dns_sd *sd, struct str name)
{
    struct dns_name added = {.name = name};

    VEC_EACH (each, &sd->names)
        if (str_eq(each->name, name))
            return;
    VEC_PUSH(&sd->names, added);
}

struct dns_sd *dns_sd_open(const struct provider_env *env, const struct config_dns_sd *config,
                           provider_changed_fn changed, void *ctx)
{
    struct dns_sd *sd = MEM_NEW(struct dns_sd);

    sd->env = env;
    sd->config = config;
    sd->changed = changed;
    sd->ctx = ctx;
    sd->type = type_parse(config->type);
    for (size_t i = 0; i < config->names.count; i++)
        add_name(sd, config->names.items[i]);
    sd->refresh = timer_new(env->loop, on_refresh, sd);
    timer_start(sd->refresh, 0, config->refresh_ms > 0 ? config->refresh_ms : REFRESH_MS_DEFAULT);
    return sd;
}

void dns_sd_collect(const struct dns_sd *sd, struct group_list *out)
{
    for (size_t i = 0; i < sd->names.count; i++)
        if (sd->names.items[i].group)
            VEC_PUSH(&out->groups, target_group_ref(sd->names.items[i].group));
}

const struct refresh_figures *dns_sd_figures(const struct dns_sd *sd)
{
    return &sd->figures;
}

void dns_sd_close(struct dns_sd *sd)
{
    if (!sd)
        return;
    timer_free(sd->refresh);
    if (sd->running) {
        sd->running->sd = NULL;
        dns_close(sd->running->dns);
    }
    VEC_EACH (name, &sd->names)
        target_group_unref(name->group);
    VEC_FREE(&sd->names);
    mem_free(sd);
}
