/* sections: the configuration as checked values, one `struct section` per block, described by
 * fields.def.
 *
 *     yaml nodes --section_decode()--> sections --section checks--> struct config, and text by
 * section_print
 *
 * A section holds one value per row of fields.def, indexed by the row's enum (SCRAPE_job_name).
 * Values and texts live in the decoder's arena. Why not one C struct per block: decoding, defaults,
 * printing, joining of paths and comparison on reload are then each one loop over the rows, and a
 * field that is not active yet costs one row. */
#ifndef CONFIG_SECTIONS_H
#define CONFIG_SECTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"
#include "base/vec.h"
#include "config.h"
#include "config/yaml_tree.h"

/* Type, kind of value, type name in messages, type name of an item. "" is taken from the nested
 * section. */
#define FIELD_TYPES(X)                                                                             \
    X(T_BOOL, KIND_BOOL, "bool", "")                                                               \
    X(T_OPT_BOOL, KIND_BOOL, "bool", "") /* Not set: inherited. */                                 \
    X(T_INT, KIND_INT, "int", "")                                                                  \
    X(T_INT64, KIND_INT, "int64", "")                                                              \
    X(T_UINT, KIND_UINT, "uint", "")                                                               \
    X(T_UINT64, KIND_UINT, "uint64", "")                                                           \
    X(T_FLOAT, KIND_FLOAT, "float64", "")                                                          \
    X(T_DURATION, KIND_INT, "string", "")                                                          \
    X(T_SIZE, KIND_UINT, "units.Base2Bytes", "")                                                   \
    X(T_TEXT, KIND_TEXT, "string", "")                                                             \
    X(T_SECRET, KIND_TEXT, "config.plain", "")                                                     \
    X(T_PATH, KIND_TEXT, "string", "")                                                             \
    X(T_URL, KIND_TEXT, "string", "")                                                              \
    X(T_REGEX, KIND_TEXT, "string", "")                                                            \
    X(T_ACTION, KIND_TEXT, "string", "")                                                           \
    X(T_PROTOCOL, KIND_TEXT, "config.ScrapeProtocol", "")                                          \
    X(T_TLS_VERSION, KIND_TEXT, "string", "")                                                      \
    X(T_NAME_SCHEME, KIND_TEXT, "string", "")                                                      \
    X(T_CLIENT_TYPE, KIND_TEXT, "config.plain", "")                                                \
    X(T_API_VERSION, KIND_TEXT, "config.plain", "")                                                \
    X(T_MESSAGE_TYPE, KIND_TEXT, "remote.WriteMessageType", "")                                    \
    X(T_TRANSLATION, KIND_TEXT, "otlptranslator.TranslationStrategyOption", "")                    \
    X(T_TEXTS, KIND_TEXTS, "[]string", "string")                                                   \
    X(T_PATHS, KIND_TEXTS, "[]string", "string")                                                   \
    X(T_SECRETS, KIND_TEXTS, "[]config.Secret", "config.plain")                                    \
    X(T_PROTOCOLS, KIND_TEXTS, "[]config.ScrapeProtocol", "config.ScrapeProtocol")                 \
    X(T_LABEL_NAMES, KIND_TEXTS, "model.LabelNames", "string")                                     \
    X(T_LABELS, KIND_PAIRS, "map[string]string", "string")                                         \
    X(T_LABEL_SET, KIND_PAIRS, "model.LabelSet", "model.LabelValue")                               \
    X(T_TEXT_MAP, KIND_PAIRS, "map[string]string", "string")                                       \
    X(T_SECRET_MAP, KIND_PAIRS, "map[string]config.Secret", "config.plain")                        \
    X(T_VALUES, KIND_PAIRS, "url.Values", "[]string")                                              \
    X(T_PROXY_HEADER, KIND_PAIRS, "config.ProxyHeader", "[]config.Secret")                         \
    X(T_HEADERS, KIND_PAIRS, "config.Headers", "config.Header")                                    \
    X(T_ANY, KIND_PAIRS, "map[string]interface {}", "")                                            \
    X(T_SECTION, KIND_SECTION, "", "")                                                             \
    X(T_SECTION_PTR, KIND_SECTION, "", "")                                                         \
    X(T_SECTIONS, KIND_SECTIONS, "", "")                                                           \
    X(T_SD_MISSING, KIND_NOTHING, "", "")

enum value_kind {
    KIND_BOOL,
    KIND_INT,
    KIND_UINT,
    KIND_FLOAT,
    KIND_TEXT,
    KIND_TEXTS,
    KIND_PAIRS,
    KIND_SECTION,
    KIND_SECTIONS,
    KIND_NOTHING,
};

enum field_type {
#define X(type, kind, go_type, go_item) type,
    FIELD_TYPES(X)
#undef X
};

enum section_id {
    SECTION_NONE,
#define SECTION(id, go_type, go_list, check) SECTION_##id,
#define FIELD(id, name, type, shown, fallback, nested, help)
#define SECTION_END(id)
#include "fields.def"
    SECTION_COUNT
};

#define SECTION(id, go_type, go_list, check)                                                       \
    enum fields_of_##id                                                                            \
    {
#define FIELD(id, name, type, shown, fallback, nested, help) id##_##name,
#define SECTION_END(id)                                                                            \
    id##_COUNT                                                                                     \
    }                                                                                              \
    ;
#include "fields.def"

struct section;

struct pair {
    struct str name;
    struct str text;         /* T_LABELS, T_LABEL_SET, T_TEXT_MAP */
    struct str_list texts;   /* T_VALUES, T_PROXY_HEADER */
    struct section *section; /* T_HEADERS */
};

struct value {
    bool written;  /* The name stands in the file. */
    bool set;      /* And its value is not null. */
    uint32_t line; /* Of the name. */
    union {
        bool boolean;
        int64_t integer; /* Durations in ms, too. */
        uint64_t number;
        double real;
        struct str text;
        struct str_list texts;
        struct {
            struct pair *items; /* In the order in which they are printed. */
            size_t count;
        } pairs;
        struct section *section; /* NULL: a pointer that is not set. */
        struct {
            struct section **items; /* NULL items stand for null. */
            size_t count;
        } sections;
    } as;
};

struct section {
    enum section_id id;
    uint32_t line;
    struct relabel_rule *rule; /* SECTION_RELABEL, once checked. */
    struct value values[];
};

struct decoder {
    struct arena *arena; /* Of sections and texts. */
    struct err *err;
    struct buf problems; /* "  line 3: field x not found ..." one per line. */
    size_t problem_count;
    VEC(struct relabel_rule *) rules; /* All that were checked: they own regexes. */
};

typedef bool (*section_check_fn)(struct decoder *decoder, struct section *section);

struct field {
    const char *name;
    enum field_type type;
    bool shown;
    const char *fallback;
    enum section_id nested;
    const char *help;
};

struct section_type {
    const char *go_type, *go_list;
    section_check_fn check;
    const struct field *fields;
    size_t field_count;
};

const struct section_type *section_type(enum section_id id);
enum value_kind field_kind(enum field_type type);
const char *field_go_type(const struct field *field);
const char *field_go_item(const struct field *field);

/* All defaults. */
struct section *section_new(struct arena *arena, enum section_id id);
bool value_is_zero(const struct field *field, const struct value *value);

/* Fills *out from `node`. False: err is set, the whole configuration is refused. Problems of single
 * fields are collected in the decoder instead; a section below which there are any is not checked
 * further. */
MUST_CHECK bool section_decode(struct decoder *decoder, struct section *section,
                               const struct yaml_node *node);
/* After decoding: turns collected problems into the error. */
MUST_CHECK bool decoder_finish(struct decoder *decoder);
void decoder_add_type_problem(struct decoder *decoder, const struct yaml_node *node,
                              const char *go_type);
void decoder_init(struct decoder *decoder, struct arena *arena, struct err *err);
void decoder_deinit(struct decoder *decoder); /* Leaves rules to their new owner. */
/* One scalar of a type; used for defaults, too. */
MUST_CHECK bool scalar_decode(struct arena *arena, const struct field *field, struct str text,
                              struct value *out, struct err *err);

/* Checks of blocks on their own (check*.c) and of the whole (check.c). */
/* In the words of Kubernetes' own library. */
bool label_selector_check(struct str text, struct err *err);
bool section_check_global(struct decoder *decoder, struct section *section);
bool section_check_scrape(struct decoder *decoder, struct section *section);
bool section_check_file_sd(struct decoder *decoder, struct section *section);
bool section_check_http_sd(struct decoder *decoder, struct section *section);
bool section_check_dns_sd(struct decoder *decoder, struct section *section);
bool section_check_kubernetes_sd(struct decoder *decoder, struct section *section);
bool section_check_kubernetes_selector(struct decoder *decoder, struct section *section);
/* No null sections in a block's service discovery. */
MUST_CHECK bool sd_check(struct decoder *decoder, const struct section *section);
bool section_check_tls(struct decoder *decoder, struct section *section);
bool section_check_alerting(struct decoder *decoder, struct section *section);
bool section_check_alertmanager(struct decoder *decoder, struct section *section);
bool section_check_tsdb(struct decoder *decoder, struct section *section);
bool section_check_retention(struct decoder *decoder, struct section *section);
bool section_check_tracing(struct decoder *decoder, struct section *section);
bool section_check_remote_write(struct decoder *decoder, struct section *section);
bool section_check_remote_read(struct decoder *decoder, struct section *section);
bool section_check_sigv4(struct decoder *decoder, struct section *section);
bool section_check_azuread(struct decoder *decoder, struct section *section);
bool section_check_otlp(struct decoder *decoder, struct section *section);
/* before "text" after, quoted as Go's %q. Returns false. */
bool quoted_error(struct err *err, const char *before, struct str text, const char *after);
/* HTTP client fields of a block, whose basic_auth is at `values`. */
MUST_CHECK bool http_check(struct decoder *decoder, struct value *values);
#define EXEMPLARS_MAX_DEFAULT 100000 /* When there is no storage.exemplars. */

MUST_CHECK bool url_check(struct str url, struct err *err);
struct str url_scheme(struct str url); /* Empty when there is none. */
struct str url_host(struct str url);   /* With its port, without user and password. */
/* Checks across blocks and fills jobs from global. */
MUST_CHECK bool whole_check(struct decoder *decoder, struct section *config, bool has_global);
MUST_CHECK bool scrape_check(struct decoder *decoder, struct section *scrape,
                             const struct section *global);

bool section_check_web_tls(struct decoder *decoder, struct section *section);

/* config.c: a file's bytes, and parsing them into a section with no check beyond the blocks' own. */
MUST_CHECK bool config_file_read(struct str path, struct buf *out, struct err *err);
MUST_CHECK bool config_text_decode(struct decoder *decoder, struct section *section,
                                   struct str text);

/* Joins relative paths with `dir`, in this section and below. */
void section_join_paths(struct arena *arena, struct section *section, struct str dir);
struct str path_dir(struct str path); /* "." when it has none. */
struct str path_join(struct arena *arena, struct str dir, struct str path);

/* YAML as Prometheus prints it. `from` and `to` choose a range of fields; `mask` hides secrets. */
void section_print(struct buf *out, const struct section *section, bool mask);
void section_print_fields(struct buf *out, const struct section *section, size_t from, size_t to,
                          bool mask);

/* From sections to the public struct. `values` begins at basic_auth. */
void http_build(struct arena *arena, struct config_http_client *out, const struct value *values);
void scrape_build(struct arena *arena, struct config_scrape *out, const struct section *scrape);
/* The meta label says where the group comes from; its value wins over one of the group's own. */
struct target_group *static_group_build(const struct section *group, struct str source,
                                        struct label meta);
void inactive_collect(struct arena *arena, struct str_list *out, const struct section *config);

#endif
