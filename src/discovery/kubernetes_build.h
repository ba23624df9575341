/* kubernetes_build: a group under construction, and what several roles do to it. */
#ifndef DISCOVERY_KUBERNETES_BUILD_H
#define DISCOVERY_KUBERNETES_BUILD_H

#include "kubernetes.h"

#define META "__meta_kubernetes_"

struct kube_parsed {
    enum kube_kind kind;
    struct str key;    /* In the arena. */
    struct json *root; /* Owned. */
};

struct kube_backings;

/* May take many turns of the loop: nothing here points into the stores, which change meanwhile. */
struct kube_build {
    struct kube_lookup *lookup;
    enum kube_kind kind;
    struct json *root; /* The object. Owned. */
    struct str source; /* Of the group; in the arena. */
    struct arena arena;
    struct labels_builder common, target;
    struct group_writer targets;
    VEC(struct kube_parsed) parsed; /* Other objects, as they were when they were first needed. */
    struct map parsed_map;
    struct str namespace, name; /* Of the object. */
    size_t at[4];               /* How far endpoints are. */
    bool addresses_done;
    struct kube_backings *backings; /* Owned. NULL: none. */
};

static inline const struct json *kube_at(const struct json *node, const char *a, const char *b)
{
    return json_get(json_get(node, a), b);
}

static inline struct str kube_text(const struct json *node, const char *name)
{
    return json_str(json_get(node, name));
}

static inline void kube_set(struct labels_builder *out, const char *name, struct str value)
{
    labels_builder_set(out, str_of(name), value);
}

/* Texts that live as long as the build. */
struct str kube_number_text(struct kube_build *build, const struct json *node);
struct str kube_lower(struct kube_build *build, struct str s);
struct str kube_host_port(struct kube_build *build, struct str host, struct str port);
struct str kube_key_in(struct kube_build *build, struct str namespace, struct str name);
/* __meta_kubernetes_<role><middle><key>, with the key's other characters as underscores. */
struct str kube_meta_name(struct kube_build *build, const char *role, const char *middle,
                          struct str key);
/* Another object; NULL when it is not known. */
const struct json *kube_build_find(struct kube_build *build, enum kube_kind kind, struct str key);

void kube_set_pairs(struct kube_build *build, struct labels_builder *out, const struct json *pairs,
                    const char *role, const char *value_middle, const char *present_middle);
/* Name, labels and annotations. */
void kube_set_object(struct kube_build *build, struct labels_builder *out,
                     const struct json *object, const char *role);
void kube_set_pod(struct kube_build *build, struct labels_builder *out, const struct json *pod);
void kube_target_add(struct kube_build *build); /* Ends a target. */

void kube_attach_namespace(struct kube_build *build);
void kube_attach_node(struct kube_build *build, struct labels_builder *out, struct str name);
void kube_attach_service(struct kube_build *build, const struct json *service);

const struct json *kube_controller_of(const struct json *object);
/* The containers of a pod and then its init containers. NULL after the last. */
const struct json *kube_container_at(const struct json *pod, size_t index, bool *init);
struct str kube_container_id(const struct json *pod, struct str name, bool init);
void kube_set_container(struct kube_build *build, const struct json *container, bool init);
void kube_set_container_port(struct kube_build *build, const struct json *port,
                             struct str protocol);

/* --- kubernetes_endpoints.c: an address or a pod at a time; false when there is no more --- */

bool kube_build_endpoints(struct kube_build *build, const struct json *endpoints);
bool kube_build_slice(struct kube_build *build, const struct json *slice);
void kube_backings_free(struct kube_backings *backings); /* NULL is fine. */

#endif
