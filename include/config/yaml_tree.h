/* yaml_tree: YAML text as a small immutable tree, and YAML text written from events.
 *
 *     text --yaml_tree_parse()--> nodes in the caller's arena
 *
 * Aliases are pointers to the anchored node and merge keys are already expanded, so a reader sees
 * plain scalars, sequences and mappings. A tree is a directed graph without cycles whose expanded
 * size is bounded: walking it recursively is always cheap. This header is not named yaml.h, because
 * libyaml's is. */
#ifndef CONFIG_YAML_TREE_H
#define CONFIG_YAML_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

#define YAML_TEXT_MAX  (32u << 20) /* Bytes of one document. */
#define YAML_DEPTH_MAX 100
/* Nodes after expansion of aliases and merges: a fixed room plus ten times what is written. */
#define YAML_EXPANDED_BASE  100000u
#define YAML_EXPANDED_RATIO 10u

enum yaml_kind { YAML_SCALAR, YAML_SEQUENCE, YAML_MAPPING };

/* What a scalar is after YAML 1.1's implicit typing, as go-yaml v2 does it. */
enum yaml_type { YAML_NULL, YAML_BOOL, YAML_INT, YAML_UINT, YAML_FLOAT, YAML_TEXT };

struct yaml_pair;

struct yaml_node {
    enum yaml_kind kind;
    enum yaml_type type; /* Scalars only. */
    uint32_t line;       /* From 1. */
    uint32_t column;     /* From 1. */
    struct str tag;      /* For messages: !!str, !!map, !custom. */
    struct str text;     /* Scalars: as written, after quotes and escapes. */
    struct str encoded;  /* !!binary: as written; text is what it stands for. */
    union {
        bool boolean;
        int64_t integer; /* YAML_INT: fits int64. */
        uint64_t number; /* YAML_UINT: above INT64_MAX. */
        double real;
        struct yaml_node **items; /* Sequences. */
        struct yaml_pair *pairs;  /* Mappings. */
    } as;
    size_t count;          /* Items or pairs. */
    uint64_t expanded;     /* Nodes below and with this one, every alias counted in full. */
    bool open;             /* Under construction: an alias to it would be a cycle. */
    bool plain_merge_name; /* An unquoted << */
};

struct yaml_pair {
    struct yaml_node *name;
    struct yaml_node *value;
    bool duplicate; /* A scalar name that stood in this mapping before. */
};

/* The first document of `text`. *out is NULL when there is none. Errors as go-yaml's, without
 * "yaml: ". */
MUST_CHECK bool yaml_tree_parse(struct yaml_node **out, struct str text, struct arena *arena,
                                struct err *err);

static inline bool yaml_is_null(const struct yaml_node *node)
{
    return node->kind == YAML_SCALAR && node->type == YAML_NULL;
}

/* Types `node->text` as an unquoted scalar. `tag` is the written tag or empty. False: the tag does
 * not fit. A !!binary text is decoded into the arena. */
MUST_CHECK bool yaml_scalar_resolve(struct yaml_node *node, struct str tag, struct arena *arena,
                                    struct err *err);
/* The same without a tag, which cannot fail. */
void yaml_scalar_type(struct yaml_node *node);
/* Standard alphabet with padding; line breaks are skipped. */
MUST_CHECK bool yaml_base64_decode(struct str text, struct arena *arena, struct str *out);
/* Whether a text needs quotes to be read back as a string. */
bool yaml_text_needs_quotes(struct str text);

/* Writes one document in go-yaml's layout. Calls nest as the document does. */
struct yaml_writer;

struct yaml_writer *yaml_writer_new(struct buf *out);
void yaml_writer_free(struct yaml_writer *writer); /* Ends the document. NULL is fine. */
void yaml_write_mapping(struct yaml_writer *writer);
void yaml_write_sequence(struct yaml_writer *writer, bool flow);
void yaml_write_mapping_end(struct yaml_writer *writer);
void yaml_write_sequence_end(struct yaml_writer *writer);
void yaml_write_text(struct yaml_writer *writer,
                     struct str text); /* A string: quoted where needed. */
void yaml_write_plain(struct yaml_writer *writer, struct str text); /* A number or boolean. */

#endif
