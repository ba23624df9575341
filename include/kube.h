/* kube: the metrics APIs of Kubernetes: custom.metrics.k8s.io v1beta1 and v1beta2, external.metrics.k8s.io v1beta1,
 * metrics.k8s.io v1beta1, answered from the store by rules in the form of prometheus-adapter's configuration.
 *
 *     aggregator or client -> HTTPS listener -> kube_handle -> who is it (auth) -> may they (auth) -> rule -> query lane
 *     -> document
 *
 * Loop thread; queries run on the query lane. Nothing is listed in advance: each request looks at the store as it is. */
#ifndef KUBE_H
#define KUBE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"
#include "discovery.h"
#include "net/http_client.h"
#include "net/http_server.h"
#include "net/loop.h"
#include "net/worker.h"
#include "storage.h"

/* --- who may ask --- */

struct kube_auth;

struct kube_auth_options {
    struct uv_loop_s *loop;
    struct http_client *client;  /* For TokenReview, SubjectAccessReview and the ConfigMap. */
    struct str api_server;       /* https://10.0.0.1:443; empty: in-cluster environment. */
    struct str token_file, ca_file; /* Empty: those of the service account. */
    struct str client_ca_file;   /* Users by certificate, besides the cluster's own; may be empty. */
    struct str requestheader_ca_file; /* Instead of the ConfigMap's; empty: the ConfigMap is read and watched. */
    struct str requestheader_names;   /* Allowed common names, separated by commas; with requestheader_ca_file. */
};

MUST_CHECK bool kube_auth_open(struct kube_auth **out, const struct kube_auth_options *options,
                               struct err *err);
/* Checks in flight get their verdict, 503, inside. NULL is fine. */
void kube_auth_close(struct kube_auth *auth);

/* What is asked for, as in a SubjectAccessReview: either resource attributes or a path. */
struct kube_attributes {
    struct str verb;        /* get, list */
    struct str path;        /* Not empty: nonResourceAttributes, the rest is empty. */
    struct str group, version, resource, subresource, name, namespace_name;
};

struct kube_verdict { /* Texts are borrowed for the call. */
    int status;         /* 200: let in. 401, 403, 500, 503 otherwise. */
    struct str reason;  /* Unauthorized, Forbidden, InternalError, ServiceUnavailable */
    struct str message; /* For the Status, in the API server's words. */
    struct str user;    /* Who it is, when known. */
};

typedef void (*kube_verdict_fn)(void *ctx, const struct kube_verdict *verdict);

/* Health paths need no check and are not brought here. done is called once, inside this call or later on the loop; the
 * exchange must not be replied to before. */
void kube_auth_check(struct kube_auth *auth, struct http_exchange *exchange,
                     const struct kube_attributes *attributes, kube_verdict_fn done, void *ctx);

/* --- the listener's certificate --- */

struct kube_cert;

struct kube_cert_options {
    struct uv_loop_s *loop;
    struct http_client *client;     /* For api_services. */
    struct str api_server;          /* This and the next two as for kube_auth. */
    struct str token_file, ca_file;
    struct str cert_file, key_file; /* PEM, read again when they change. Empty: a certificate is made, */
    struct str service;             /* for this Service, NAME.NAMESPACE, */
    struct str dir;                 /* by an authority that is kept in this directory; empty: in memory. */
    struct str api_services;        /* APIServices, commas between, whose caBundle becomes the authority. */
};

MUST_CHECK bool kube_cert_open(struct kube_cert **out, const struct kube_cert_options *options,
                               struct err *err);
/* For http_server_options. NULL: the files are bad. */
struct tls_context *kube_cert_context(void *cert);
struct str kube_cert_authority(const struct kube_cert *cert); /* PEM; empty when the files are given. */
void kube_cert_close(struct kube_cert *cert);                 /* NULL is fine. */

/* --- the APIs --- */

struct kube;

struct kube_options {
    struct uv_loop_s *loop;
    struct storage *storage;     /* NULL until it is open (kube_attach_storage): 503. */
    struct discovery *discovery; /* Pods and their labels, for label selectors of objects. */
    struct lane *query_lane;
    struct kube_auth *auth;      /* NULL: everyone may ask. */
    struct str rules_file;       /* prometheus-adapter's configuration; empty: the rules that are built in. */
    bool serve_external;         /* external.metrics.k8s.io */
    bool serve_resource;         /* metrics.k8s.io */
    int64_t lookback_ms;
    int64_t query_timeout_ms;
    uint64_t query_samples_max;
    size_t query_bytes_max;
    struct str version;          /* For /version. */
};

/* Errors name the line of the rules file. */
MUST_CHECK bool kube_open(struct kube **out, const struct kube_options *options, struct err *err);
void kube_attach_storage(struct kube *kube, struct storage *storage);
/* Reads the rules file anew; on an error the rules in force stay. */
MUST_CHECK bool kube_reload(struct kube *kube, struct err *err);
/* Of the rules file's bytes as they are now; 0 when there is none, or it cannot be read. */
uint64_t kube_rules_checksum(const struct kube *kube);
/* The handler for http_server_options. ctx is the kube. */
void kube_handle(void *kube, struct http_exchange *exchange);
/* GET /api/v1/kube/explain?metric=...&namespace=...&resource=...&name=...&labelSelector=...&metricLabelSelector=...: which
 * rule, which query, what was found, what is missing and why. Answers the exchange, in the envelope of the API. */
void kube_explain(struct kube *kube, struct http_exchange *exchange);
/* Own metrics, in the text format. */
void kube_write_metrics(const struct kube *kube, struct buf *out);
void kube_cancel(struct kube *kube); /* Cancels queries in flight; they still answer. */
void kube_close(struct kube *kube);  /* No exchange may be in flight. NULL is fine. */

#endif
