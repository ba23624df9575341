/* config: prometheus.yml, checked and immutable.
 *
 *     config_load -> config --last config_unref()--> freed
 *
 * Strict: an unknown field, a wrong type or a broken rule is an error with file and line in
 * Prometheus' words. Fields that are declared but not yet active are accepted; `inactive` names
 * them, so that the server can say so. */
#ifndef CONFIG_H
#define CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"
#include "model/labels.h"
#include "model/relabel.h"
#include "model/target.h"

struct str_list {
    struct str *items;
    size_t count;
};

struct config_param { /* params: {name: [values]} */
    struct str name;
    struct str_list values;
};

struct config_http_header {
    struct str name;
    struct str_list values, files; /* Of a file the whole content, trimmed. */
};

struct config_oauth2;

/* HTTP client options of a block. Secrets are texts here, also in `key`;
 * only config.printed masks them. */
struct config_http_client {
    struct str basic_user, basic_password, basic_user_file, basic_password_file;
    struct str authorization_type, credentials, credentials_file;
    struct str ca_file, cert_file, key_file, server_name;
    struct str ca_pem, cert_pem, key_pem;
    struct str tls_min, tls_max; /* TLS10 ... TLS13; empty: defaults. */
    bool insecure_skip_verify;
    bool follow_redirects; /* true */
    bool enable_http2;     /* true */
    bool secret_ref;       /* A *_ref is set: there is nobody who could look it up. */
    struct str proxy_url, no_proxy;
    bool proxy_from_environment;
    struct config_param *proxy_headers; /* proxy_connect_header */
    size_t proxy_header_count;
    struct config_http_header *headers; /* http_headers */
    size_t header_count;
    struct config_oauth2 *oauth2; /* NULL: none. */
};

struct config_oauth2 {
    struct str client_id, client_secret, client_secret_file, token_url, grant_type;
    struct str_list scopes;
    struct config_param *params; /* endpoint_params; one value each. */
    size_t param_count;
    struct config_http_client http; /* TLS and proxy of the token request. */
};

/* Each `key` is a text that is equal exactly when the block is. */
struct config_file_sd {
    struct str_list files;
    int64_t refresh_ms; /* 5m */
    struct str key;
};

struct config_http_sd {
    struct str url;
    int64_t refresh_ms; /* 60s */
    struct config_http_client http;
    struct str key;
};

struct config_dns_sd {
    struct str_list names;
    int64_t refresh_ms; /* 30s */
    struct str type;    /* SRV, A, AAAA, MX or NS, in any case. */
    int64_t port;       /* Of all but SRV. */
    struct str key;
};

struct config_kubernetes_selector {
    struct str role, label, field;
};

struct config_kubernetes_sd {
    struct str role;                        /* node, pod, service, endpoints, ... */
    struct str api_server, kubeconfig_file; /* Both empty: the pod's own cluster. */
    struct config_http_client http;         /* With api_server. */
    bool own_namespace;
    struct str_list namespaces; /* Empty, and no own_namespace: all. */
    struct config_kubernetes_selector *selectors;
    size_t selector_count;
    bool attach_node, attach_namespace, attach_deployment, attach_job, attach_cronjob;
    struct str client_key; /* Equal exactly when API server and credentials are. */
    struct str key;
};

struct config_static_sd {
    struct target_group **groups; /* Owned by the config. */
    size_t count;
};

/* Limits and options that are global and per job (job values already filled from global). */
struct config_scrape_limits {
    uint64_t body_bytes;
    uint64_t samples, labels, label_name_len, label_value_len, targets;
    uint64_t keep_dropped_targets;
    uint64_t histogram_buckets;     /* native_histogram_bucket_limit */
    double histogram_bucket_factor; /* native_histogram_min_bucket_factor */
};

struct config_scrape {
    struct str job_name;
    int64_t interval_ms, timeout_ms;
    struct str metrics_path, scheme;
    bool honor_labels, honor_timestamps, track_timestamps_staleness, enable_compression,
        extra_scrape_metrics;
    bool native_histograms, always_classic_histograms, classic_to_native; /* Unless labels differ. */
    bool legacy_names;                   /* metric_name_validation_scheme: legacy */
    struct str fallback_scrape_protocol; /* Empty: none. */
    struct str failure_log_file;         /* The same. */
    struct str_list scrape_protocols;
    struct str escaping_scheme; /* allow-utf-8 */
    struct config_param *params;
    size_t param_count;
    struct config_scrape_limits limits;
    struct relabel_rules relabel, metric_relabel;
    struct config_static_sd static_sd;
    struct config_file_sd *file_sd;
    size_t file_sd_count;
    struct config_http_sd *http_sd;
    size_t http_sd_count;
    struct config_dns_sd *dns_sd;
    size_t dns_sd_count;
    struct config_kubernetes_sd *kubernetes_sd;
    size_t kubernetes_sd_count;
    struct config_http_client http;
    struct str key; /* Equal exactly when the blocks are equal: a reload keeps those. Has secrets. */
};

struct config_global {
    int64_t scrape_interval_ms, scrape_timeout_ms, evaluation_interval_ms, rule_query_offset_ms;
    struct labels *external_labels;
    struct str query_log_file, scrape_failure_log_file;
};

struct config {
    uint32_t refs;
    struct config_global global;
    struct config_scrape *scrapes;
    size_t scrape_count;
    struct str_list rule_files, scrape_config_files; /* Globs, relative to the file's directory. */
    bool has_alerting, has_remote_read;
    /* storage.tsdb.retention, or else what config_set_retention has said; 0: no limit. */
    int64_t retention_ms;
    uint64_t retention_bytes;
    double retention_percentage; /* Of the file system with the data. */
    int64_t out_of_order_ms;
    int64_t exemplars_max;    /* storage.exemplars.max_exemplars; the default when not set. */
    struct str_list inactive; /* One line each: what is accepted and not active yet. */
    struct str path;          /* As given. */
    struct str printed; /* The whole configuration with defaults, secrets masked: /status/config. */
};

/* What global.extra_scrape_metrics is when no file says it; before any load. --enable-feature's way. */
void config_set_extra_scrape_metrics(bool value);
/* What storage.tsdb.retention is when no file says it; before any load. The way of the flags. */
void config_set_retention(int64_t time_ms, uint64_t bytes);

/* Whether exemplars are kept at all: then their block is shown, also when no file has it. Before any load. */
void config_set_exemplar_storage(bool on);

/* Errors: parsing YAML file <path>: line 3: field x not found in type config.plain ...; couldn't
 * load configuration (--config.file=...) is the caller's prefix. */
MUST_CHECK bool config_load(struct config **out, struct str path, struct err *err);
/* What Go's url.Parse refuses: parse ":": missing protocol scheme. Of --web.external-url. */
MUST_CHECK bool config_check_url(struct str url, struct err *err);
/* That it has nothing that an agent may not have. */
MUST_CHECK bool config_check_agent(const struct config *config, struct err *err);
/* The same from memory; `path` names it in errors and is the base of relative paths. */
MUST_CHECK bool config_parse(struct config **out, struct str text, struct str path,
                             struct err *err);
/* Of the file's content now and of the files that it names: another one when a reload may bring something new. Reads
 * files. */
uint64_t config_checksum(const struct config *config);
/* The groups of static_configs, which somebody else has references to now: the end of a configuration is cheap then. */
void config_drop_groups(struct config *config);
struct config *config_ref(struct config *config);
void config_unref(struct config *config); /* NULL is fine. Loop thread. */

/* A file_sd file's content (YAML or JSON by its name): a list of {targets, labels}. *groups is an
 * owned array of owned groups with sources "<path>:0" and so on, and __meta_filepath set. */
MUST_CHECK bool config_parse_target_groups(struct str text, struct str path,
                                           struct target_group ***groups, size_t *count,
                                           struct err *err);
/* The same of what an http_sd server answers, JSON: sources "<url>:0" and so on, __meta_url set. */
MUST_CHECK bool config_parse_http_groups(struct str text, struct str url,
                                         struct target_group ***groups, size_t *count,
                                         struct err *err);

/* What the current context of a kubeconfig file says. Paths are joined with the file's directory.
 * Texts are the arena's. */
struct config_kubeconfig {
    struct str server, server_name, proxy_url;
    bool insecure_skip_verify;
    struct str ca_file, cert_file, key_file;
    struct str ca_pem, cert_pem, key_pem; /* From the -data fields. */
    struct str token, token_file;         /* The file wins. */
    struct str user, password;
    const struct str *headers;            /* As whom to ask: "Impersonate-User: x" ... */
    size_t header_count;
};
MUST_CHECK bool config_kubeconfig_parse(struct config_kubeconfig *out, struct str text,
                                        struct str path, struct arena *arena, struct err *err);

/* The file of --web.config.file: TLS, headers and users of the web listeners. Texts are the arena's, paths joined with the
 * file's directory. */
struct config_web_pair {
    struct str name, value; /* Of a header; of a user, with a bcrypt hash. */
};
struct config_web {
    bool has_tls;
    struct str cert_file, key_file, client_ca_file;
    struct str cert_pem, key_pem, client_ca_pem; /* The files win. */
    struct str client_auth;                      /* RequireAndVerifyClientCert ... */
    struct str_list client_names;
    struct str ciphers, groups; /* As OpenSSL has them. */
    int version_min, version_max; /* 10 to 13 */
    bool http2;
    const struct config_web_pair *headers;
    size_t header_count;
    const struct config_web_pair *users;
    size_t user_count;
};
/* Errors as Prometheus' exporter-toolkit: yaml: unmarshal errors: ... */
MUST_CHECK bool config_web_parse(struct config_web *out, struct str text, struct str path,
                                 struct arena *arena, struct err *err);
MUST_CHECK bool config_web_load(struct config_web *out, struct str path, struct arena *arena,
                                struct err *err);
struct tls_context;
/* Reads certificates and keys. *out is NULL when the file asks for no TLS. */
MUST_CHECK bool config_web_tls(struct tls_context **out, const struct config_web *web,
                               struct err *err);

struct http_fetch_options;

/* What the block says about its requests: authorization, headers, TLS, proxy, redirects. *out has the
 * caller's `headers` (with a User-Agent, which the token request gets, too) and is else filled here
 * but for URL, method, body, timeout and callbacks. Reads the files with secrets; texts are the
 * arena's and the config's. */
MUST_CHECK bool config_http_fill(struct http_fetch_options *out,
                                 const struct config_http_client *http, struct arena *arena,
                                 struct err *err);

#endif
