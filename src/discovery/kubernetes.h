/* kubernetes: targets from the objects of a Kubernetes API server. Loop thread.
 *
 *     kube_api  requests to one API server, with its credentials
 *         -> kube_stream  the bytes of an answer, cut into items and events
 *         -> kube_object  what is kept of one object
 *         -> kube_watch   all objects of a kind, kept up to date; shared by all jobs
 *         -> kube_group   the target group of one object
 *         -> kube_sd      a role: the groups of all its objects
 */
#ifndef DISCOVERY_KUBERNETES_H
#define DISCOVERY_KUBERNETES_H

#include "base/json.h"
#include "base/list.h"
#include "base/map.h"
#include "provider.h"

/* --- kubernetes_stream.c: an answer in pieces, as it arrives --- */

enum kube_stream_mode {
    KUBE_LIST,  /* One object; pieces are the items of "items" and the other fields' values. */
    KUBE_WATCH, /* Objects one after the other; each is a piece. */
};

enum kube_stream_step { KUBE_STREAM_MORE, KUBE_STREAM_PIECE, KUBE_STREAM_BAD };

struct kube_stream {
    enum kube_stream_mode mode;
    uint8_t state;
    bool quoted, escaped; /* Inside the piece or key. */
    uint32_t depth;       /* Open brackets of the piece. */
    struct buf key;       /* Of the field that is being read. */
    struct buf piece;
};

void kube_stream_init(struct kube_stream *stream, enum kube_stream_mode mode);
void kube_stream_deinit(struct kube_stream *stream);
/* Reads on from *rest, moving it. KUBE_STREAM_PIECE: *key (empty in a watch) and *piece are valid
 * until the next call; the piece is JSON as far as its brackets and quotes go. */
enum kube_stream_step kube_stream_next(struct kube_stream *stream, struct str *rest,
                                       struct str *key, struct str *piece, struct err *err);
/* Whether the answer may end here. */
bool kube_stream_is_whole(const struct kube_stream *stream);

/* --- kubernetes_object.c: what is kept of an object --- */

enum kube_kind {
    KUBE_NODE,
    KUBE_POD,
    KUBE_SERVICE,
    KUBE_ENDPOINTS,
    KUBE_ENDPOINTSLICE,
    KUBE_INGRESS,
    KUBE_NAMESPACE,
    KUBE_REPLICASET,
    KUBE_JOB,
    KUBE_KIND_COUNT,
};

/* Labels as a reader of objects wants them. One allocation. */
struct kube_labels {
    size_t count;
    struct label items[]; /* Sorted by name; the texts follow. */
};

/* JSON with the fields that targets are made of, and nothing else. One allocation, but for `labels`. */
struct kube_object {
    struct kube_labels *labels; /* Owned. NULL until somebody asked for them. */
    uint32_t key_len, text_len;
    uint32_t round; /* Of the list that it was last seen in. */
    char bytes[];   /* The key, "namespace/name" or "name"; then the text. */
};

void kube_object_free(struct kube_object *object); /* NULL is fine. */
struct str kube_object_key(const struct kube_object *object);
struct str kube_object_text(const struct kube_object *object);
/* `root` is the object as the API server sent it. */
MUST_CHECK bool kube_object_new(struct kube_object **out, enum kube_kind kind,
                                const struct json *root, struct err *err);
/* "/api/v1" and "pods", and whether objects are in namespaces. */
const char *kube_kind_api(enum kube_kind kind);
const char *kube_kind_resource(enum kube_kind kind);
bool kube_kind_is_namespaced(enum kube_kind kind);
/* "pod": the name of the role and in labels. */
const char *kube_kind_role(enum kube_kind kind);
bool kube_kind_find(struct str role, enum kube_kind *out);

/* --- kubernetes_api.c: who is asked, and who asks --- */

struct kube_api {
    const struct config_kubernetes_sd *block; /* In `config`. */
    struct config *config;                    /* Reference. */
    struct str user_agent;                    /* Borrowed. */
};

/* Reads the credentials anew and fills all but the callbacks. `path` begins with a slash. Texts are
 * the arena's and the configuration's. */
MUST_CHECK bool kube_api_request(const struct kube_api *api, struct str path,
                                 struct http_fetch_options *out, struct arena *arena,
                                 struct err *err);
/* The namespace that this server runs in. */
MUST_CHECK bool kube_api_own_namespace(struct str *out, struct arena *arena, struct err *err);
/* For tests: where the files of the service account are. NULL: where Kubernetes puts them. */
void kube_api_set_account_dir(const char *dir);
/* Always false: what the API server says with a status other than 200, a Status object. */
bool kube_api_status_error(int status, struct str answer, struct err *err);

/* A collection's path, and its selectors as the beginning of a query. Free with mem_free. */
char *kube_api_path(enum kube_kind kind, struct str namespace);
char *kube_api_query(struct str label, struct str field);

/* --- kubernetes_store.c: objects by their keys --- */

/* Inside, the object of the key is still there; `differs` is false when it is as before. */
typedef void (*kube_store_fn)(void *ctx, struct str key, enum kubernetes_event event, bool differs);

struct kube_store {
    struct map map;                  /* Of keys to slots. */
    VEC(struct kube_object *) slots; /* Owned. NULL: free. */
    VEC(uint32_t) free;
    size_t bytes;   /* Of the objects. */
    uint32_t round; /* Of lists; raised by the owner. */
    kube_store_fn on_changed;
    void *ctx;
};

void kube_store_init(struct kube_store *store, kube_store_fn on_changed, void *ctx);
void kube_store_deinit(struct kube_store *store);
void kube_store_put(struct kube_store *store, struct kube_object *object); /* Takes it. */
void kube_store_remove(struct kube_store *store, struct str key);
void kube_store_sweep(struct kube_store *store); /* Removes what is not of this round. */
const struct kube_object *kube_store_find(const struct kube_store *store, struct str key);
/* Start with *at = 0. NULL after the last. */
const struct kube_object *kube_store_next(const struct kube_store *store, size_t *at);
size_t kube_store_bytes(const struct kube_store *store);

/* --- kubernetes_hub.c --- */

struct kube_hub {
    const struct provider_env *env; /* Borrowed. */
    struct list watches;
    uint64_t random;
    uint64_t turn; /* uv_now() of the turn that spent_ns is about. */
    int64_t spent_ns;
};

struct kube_hub *kube_hub_new(const struct provider_env *env);
void kube_hub_free(struct kube_hub *hub); /* No watch is open any more. NULL is fine. */
int64_t kube_hub_random(struct kube_hub *hub, int64_t below);
/* What is left of this turn's time, of which all work here takes its slices. */
int64_t kube_hub_left_ns(struct kube_hub *hub);
void kube_hub_spend(struct kube_hub *hub, int64_t ns);

/* --- kubernetes_watch.c: the objects of a kind --- */

struct kube_watch_options {
    struct config *config;
    const struct config_kubernetes_sd *block;
    enum kube_kind kind;
    struct str namespace; /* Empty: all. */
    struct str label, field;
};

struct kube_watch;
struct kube_listener;

typedef void (*kube_changed_fn)(struct kube_listener *listener, struct str key, bool gone);

struct kube_listener {
    struct list_node node;
    struct kube_watch *watch;
    kube_changed_fn on_changed;
    void (*on_synced)(struct kube_listener *listener); /* After a whole list. */
    void *ctx;
};

/* Opens the watch or joins one that is equal. Not told of objects that are there already: see
 * kube_watch_store. */
void kube_watch_join(struct kube_hub *hub, const struct kube_watch_options *options,
                     struct kube_listener *listener);
void kube_watch_leave(struct kube_listener *listener); /* Closes the watch after the last. */
bool kube_watch_synced(const struct kube_watch *watch);
/* Whether it is about a kind and has objects of a namespace (empty: of all); *whole: all of them. */
bool kube_watch_sees(const struct kube_watch *watch, enum kube_kind kind, struct str namespace,
                     bool *whole);
const struct kube_store *kube_watch_store(const struct kube_watch *watch);

/* The watch behind a node of hub->watches. */
struct kube_watch *kube_watch_of(struct list_node *node);

/* --- kubernetes_read.c: for who asks about objects, not about targets --- */

enum kubernetes_watched kube_hub_each_object(struct kube_hub *hub, struct str resource,
                                             struct str namespace, kubernetes_object_fn fn,
                                             void *ctx);

/* --- kubernetes_group.c: targets of one object --- */

/* The other objects that targets take labels from. Also notes who was asked for. */
struct kube_lookup {
    const struct kube_object *(*find)(struct kube_lookup *lookup, enum kube_kind kind,
                                      struct str key);
    bool node, namespace, deployment, job, cronjob; /* attach_metadata */
};

/* begin -> step while true -> end, or cancel. The object is not needed after begin. */
struct kube_build;
struct kube_build *kube_group_begin(enum kube_kind kind, const struct kube_object *object,
                                    struct kube_lookup *lookup);
bool kube_group_step(struct kube_build *build);
struct target_group *kube_group_end(struct kube_build *build);
void kube_group_cancel(struct kube_build *build); /* NULL is fine. */

/* All of that at once.
 * The group of an object of a role's kind. Never NULL; may be without targets. */
struct target_group *kube_group_new(enum kube_kind kind, const struct kube_object *object,
                                    struct kube_lookup *lookup);

#endif
