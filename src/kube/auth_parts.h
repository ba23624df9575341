/* auth_parts: what who-may-ask is made of. Loop thread.
 *
 *     kube_auth_check -> trust (certificates) -> token (TokenReview) -> anonymous -> access (SubjectAccessReview)
 */
#ifndef KUBE_AUTH_PARTS_H
#define KUBE_AUTH_PARTS_H

#include "account.h"
#include "base/arena.h"
#include "base/hash.h"
#include "base/text_file.h"
#include "base/vec.h"
#include "kube.h"
#include "net/tls.h"

/* --- auth_identity.c: who somebody is, as SubjectAccessReview wants it --- */

struct kube_identity {
    struct str user;
    struct str json; /* "user":"x","groups":[...] ...: the members, without braces. */
    bool is_master;  /* In system:masters: needs no review. */
};

struct kube_identity_builder {
    struct str user, uid;
    VEC(struct str) groups;
    VEC(struct http_header) extra; /* Equal names belong together. */
};

/* Adds system:authenticated, unless it is anonymous; frees the builder's lists. Texts are the arena's. */
void kube_identity_build(struct kube_identity_builder *builder, struct arena *arena,
                         struct kube_identity *out);
/* status.user of a TokenReview. */
void kube_identity_from_json(const struct json *user, struct arena *arena,
                             struct kube_identity *out);

/* --- auth_cache.c: what the API server has said, for a while --- */

struct kube_auth_key {
    uint8_t bytes[HASH_SHA256_BYTES];
};

struct kube_auth_entry {
    struct kube_auth_key key;
    int64_t until_ms; /* 0: free. */
    bool good;
    bool is_master;
    char *user, *text; /* Owned. */
};

struct kube_auth_cache {
    struct kube_auth_entry *entries; /* Owned. */
};

void kube_auth_cache_init(struct kube_auth_cache *cache);
void kube_auth_cache_deinit(struct kube_auth_cache *cache);
struct kube_auth_key kube_auth_key_of(struct str text);
const struct kube_auth_entry *kube_auth_cache_find(const struct kube_auth_cache *cache,
                                                   const struct kube_auth_key *key, int64_t now_ms);
/* Texts are copied. What is too long is not kept. */
void kube_auth_cache_put(struct kube_auth_cache *cache, const struct kube_auth_entry *entry,
                         struct str user, struct str text);

/* --- auth_trust.c: certificates, from files or from the ConfigMap --- */

struct kube_trust_rules {
    struct tls_trust *proxy;   /* Of front proxies; NULL: none is believed. */
    struct tls_trust *clients; /* Of users; NULL: none. */
    VEC(char *) names;         /* Common names of front proxies; none: any. */
    VEC(char *) user_headers, uid_headers, group_headers, extra_prefixes;
};

struct kube_trust {
    struct kube_account *account;   /* Borrowed. */
    char *client_file, *proxy_file; /* Owned. */
    struct text_file_stamp stamp;   /* Of both. */
    struct kube_trust_rules rules;
    struct tls_trust *file_clients; /* Of client_file. */
    char *proxy_names;              /* Of the options: with proxy_file. */
    struct timer *timer;
    struct kube_call *call;
    bool is_watching, is_loaded;
    char *version;    /* Owned. Of the ConfigMap. */
    char *last_error; /* Owned. NULL: none. */
    unsigned failures;
};

void kube_trust_open(struct kube_trust *trust, struct kube_account *account,
                     const struct kube_auth_options *options);
void kube_trust_close(struct kube_trust *trust);
/* Looks at the files. */
void kube_trust_refresh(struct kube_trust *trust);
/* Rules of a ConfigMap's data. *out is left as it was when there is an error. */
MUST_CHECK bool kube_trust_parse(struct kube_trust_rules *out, const struct json *data,
                                 struct err *err);
void kube_trust_rules_deinit(struct kube_trust_rules *rules);

enum kube_found { KUBE_FOUND_NOBODY, KUBE_FOUND, KUBE_FOUND_BAD };
/* By the connection's certificate, and for a front proxy the request's headers. */
enum kube_found kube_trust_identify(const struct kube_trust *trust, struct tls *tls,
                                    const struct http_request *request, struct arena *arena,
                                    struct kube_identity *out, struct err *err);

#endif
