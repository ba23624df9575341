/* config: from a file to an immutable struct config: parse, decode, check, join paths, build,
 * print.
 *
 * All texts and arrays of a configuration live in one arena beside it; regexes and target groups
 * are freed one by one at the last unref. */
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/mem.h"
#include "sections.h"

struct owner {
    struct config config; /* What callers see. */
    struct arena arena;
    VEC(struct relabel_rule *) rules;
};

static struct owner *owner_of(struct config *config)
{
    return CONTAINER_OF(config, struct owner, config);
}

static struct owner *owner_new(struct str path)
{
    struct owner *owner = MEM_NEW(struct owner);
    arena_init(&owner->arena, 0);
    owner->config.refs = 1;
    owner->config.path = arena_str(&owner->arena, path);
    return owner;
}

struct config *config_ref(struct config *config)
{
    ENSURE(config->refs > 0);
    config->refs++;
    return config;
}

void config_drop_groups(struct config *config)
{
    for (size_t i = 0; i < config->scrape_count; i++) {
        struct config_static_sd *sd = &config->scrapes[i].static_sd;
        for (size_t k = 0; k < sd->count; k++)
            target_group_unref(sd->groups[k]);
        sd->count = 0;
    }
}

void config_unref(struct config *config)
{
    if (!config)
        return;
    ENSURE(config->refs > 0);
    if (--config->refs > 0)
        return;
    struct owner *owner = owner_of(config);
    config_drop_groups(config);
    VEC_EACH (rule, &owner->rules)
        relabel_rule_deinit(*rule);
    VEC_FREE(&owner->rules);
    labels_unref(config->global.external_labels);
    arena_deinit(&owner->arena);
    mem_free(owner);
}

/* ${NAME}, $NAME from the environment, $$ a dollar, as Go's os.Expand. Returns the name; *len of
 * all after the $. */
static struct str variable_name(struct str s, size_t *len)
{
    size_t end = 0;
    *len = 0;
    if (s.len == 0)
        return STR_EMPTY;
    if (s.ptr[0] == '{') {
        end = str_find_char(s, '}');
        if (end == s.len) { /* Bad syntax: the brace is eaten. */
            *len = 1;
            return STR_EMPTY;
        }
        *len = end + 1;
        return (struct str){s.ptr + 1, end - 1};
    }
    if (strchr("*#$@!?-", s.ptr[0]) || (s.ptr[0] >= '0' && s.ptr[0] <= '9')) {
        *len = 1;
        return str_first(s, 1);
    }
    while (end < s.len && (s.ptr[end] == '_' || (s.ptr[end] >= '0' && s.ptr[end] <= '9') ||
                           ((s.ptr[end] | 0x20) >= 'a' && (s.ptr[end] | 0x20) <= 'z')))
        end++;
    *len = end;
    return str_first(s, end);
}

static struct str value_expand(struct arena *arena, struct str value)
{
    struct buf out;
    if (str_find_char(value, '$') == value.len)
        return value;
    buf_init(&out, YAML_TEXT_MAX);
    for (size_t at = 0; at < value.len;) {
        size_t dollar = at + str_find_char(str_after(value, at), '$'), len;
        buf_add(&out, value.ptr + at, dollar - at);
        at = dollar + 1;
        if (dollar == value.len)
            break;
        struct str name = variable_name(str_after(value, at), &len);
        if (name.len > 0) {
            const char *known = str_eq(name, STR("$")) ? "$" : getenv(arena_str(arena, name).ptr);
            buf_add_str(&out, str_of(known ? known : ""));
        } else if (len == 0) {
            buf_add_char(&out, '$');
        }
        at += len;
    }
    struct str expanded = arena_str(arena, buf_str(&out));
    buf_deinit(&out);
    return expanded;
}

/* Expands in place, so that the printed configuration shows what is used. Empty values are no
 * labels. */
static bool external_labels_build(struct arena *arena, struct value *value, struct labels **out,
                                  struct err *err)
{
    struct labels_builder builder;
    bool good = true;

    labels_builder_init(&builder);
    for (size_t i = 0; good && i < value->as.pairs.count; i++) {
        struct pair *pair = &value->as.pairs.items[i];
        pair->text = value_expand(arena, pair->text);
        good = str_is_utf8(pair->text) ||
               quoted_error(err, "", pair->text, " is not a valid label value");
        if (good && pair->text.len > 0)
            labels_builder_set(&builder, pair->name, pair->text);
    }
    *out = labels_build(&builder);
    labels_builder_deinit(&builder);
    return good;
}

static bool global_build(struct owner *owner, struct section *section, struct err *err)
{
    struct value *v = section->values;
    struct config_global *global = &owner->config.global;
    *global = (struct config_global){
        .scrape_interval_ms = v[GLOBAL_scrape_interval].as.integer,
        .scrape_timeout_ms = v[GLOBAL_scrape_timeout].as.integer,
        .evaluation_interval_ms = v[GLOBAL_evaluation_interval].as.integer,
        .rule_query_offset_ms = v[GLOBAL_rule_query_offset].as.integer,
        .query_log_file = v[GLOBAL_query_log_file].as.text,
        .scrape_failure_log_file = v[GLOBAL_scrape_failure_log_file].as.text,
    };
    return external_labels_build(&owner->arena, &v[GLOBAL_external_labels],
                                 &global->external_labels, err);
}

static void storage_build(struct config *config, const struct section *storage)
{
    const struct section *tsdb = storage->values[STORAGE_tsdb].as.section;
    const struct section *retention = tsdb->values[TSDB_retention].as.section;
    const struct section *exemplars = storage->values[STORAGE_exemplars].as.section;

    config->exemplars_max =
        exemplars ? exemplars->values[EXEMPLARS_max_exemplars].as.integer : EXEMPLARS_MAX_DEFAULT;
    config->out_of_order_ms = tsdb->values[TSDB_out_of_order_time_window].as.integer;
    config->retention_ms = retention->values[RETENTION_time].as.integer;
    config->retention_bytes = retention->values[RETENTION_size].as.number;
    config->retention_percentage = retention->values[RETENTION_percentage].as.real;
}

struct scrape_list {
    struct section **items;
    size_t count;
};

static bool config_build(struct owner *owner, struct section *root,
                         const struct scrape_list *scrapes, struct err *err)
{
    struct config *config = &owner->config;
    struct buf text;

    if (!global_build(owner, root->values[CONFIG_global].as.section, err))
        return false;
    storage_build(config, root->values[CONFIG_storage].as.section);
    config->rule_files = root->values[CONFIG_rule_files].as.texts;
    config->scrape_config_files = root->values[CONFIG_scrape_config_files].as.texts;
    config->has_alerting = root->values[CONFIG_alerting].set;
    config->has_remote_read = root->values[CONFIG_remote_read].as.sections.count > 0;
    config->scrapes =
        arena_alloc_array(&owner->arena, scrapes->count, sizeof(struct config_scrape));
    for (size_t i = 0; i < scrapes->count; i++) {
        scrape_build(&owner->arena, &config->scrapes[i], scrapes->items[i]);
        config->scrape_count++;
    }
    inactive_collect(&owner->arena, &config->inactive, root);
    buf_init(&text, 8 * (size_t)YAML_TEXT_MAX);
    section_print(&text, root, true);
    config->printed = arena_str(&owner->arena, buf_str(&text));
    buf_deinit(&text);
    return true;
}

bool config_text_decode(struct decoder *decoder, struct section *section, struct str text)
{
    struct arena nodes;
    struct yaml_node *root;
    bool good = false;

    arena_init(&nodes, 0);
    if (!yaml_tree_parse(&root, text, &nodes, decoder->err))
        err_wrap(decoder->err, "yaml");
    else if (!root || yaml_is_null(root))
        good = true;
    else
        good = section_decode(decoder, section, root) && decoder_finish(decoder);
    arena_deinit(&nodes);
    return good;
}

/* "open x.yml: no such file or directory": as Go says it, in lower case. */
static bool file_error(struct err *err, int errno_value, const char *verb, const char *name)
{
    err_errno(err, errno_value, "%s %s", verb, name);
    size_t at = strlen(verb) + strlen(name) + 3;
    if (at < strlen(err->text) && err->text[at] >= 'A' && err->text[at] <= 'Z')
        err->text[at] = (char)(err->text[at] | 0x20);
    return false;
}

bool config_file_read(struct str path, struct buf *out, struct err *err)
{
    char *name = str_dup(path);
    int fd = open(name, O_RDONLY | O_CLOEXEC);
    bool good = false;

    if (fd < 0) {
        file_error(err, errno, "open", name);
        goto done;
    }
    for (;;) {
        char chunk[16384];
        ssize_t len = read(fd, chunk, sizeof(chunk));
        if (len < 0 && errno == EINTR)
            continue;
        if (len < 0)
            file_error(err, errno, "read", name);
        good = len == 0;
        if (len <= 0)
            break;
        buf_add(out, chunk, (size_t)len);
        if (out->overflow) {
            err_set(err, ERR_LIMIT, "%s: file is over the limit of %u bytes", name, YAML_TEXT_MAX);
            break;
        }
    }
done:
    if (fd >= 0)
        close(fd);
    mem_free(name);
    return good;
}

/* Where each job was defined first, for messages. */
struct job_origin {
    struct section *scrape;
    struct str file; /* Empty: the main file. */
};

struct more_scrapes {
    VEC(struct job_origin) jobs;
};

static bool job_add(struct more_scrapes *more, struct section *scrape, struct str file,
                    struct err *err)
{
    struct str job = scrape->values[SCRAPE_job_name].as.text;
    VEC_EACH (origin, &more->jobs) {
        if (!str_eq(origin->scrape->values[SCRAPE_job_name].as.text, job))
            continue;
        struct err text = {0};
        if (origin->file.len == 0)
            return quoted_error(err, "found multiple scrape configs with job name ", job,
                                ", first found in main config file");
        quoted_error(&text, ", first found in ", origin->file, "");
        return quoted_error(err, "found multiple scrape configs with job name ", job, text.text);
    }
    struct job_origin fresh = {scrape, file};
    VEC_PUSH(&more->jobs, fresh);
    return true;
}

static bool scrape_file_add(struct decoder *decoder, struct more_scrapes *more, const char *path,
                            const struct section *global)
{
    struct section *file = section_new(decoder->arena, SECTION_SCRAPE_FILE);
    struct value *scrapes = &file->values[SCRAPE_FILE_scrape_configs];
    char *absolute = realpath(path, NULL);
    struct str name = arena_str(decoder->arena, str_of(absolute ? absolute : path));
    struct buf text;
    bool good;

    free(absolute);
    buf_init(&text, YAML_TEXT_MAX);
    good = config_file_read(str_of(path), &text, decoder->err) &&
           config_text_decode(decoder, file, buf_str(&text));
    for (size_t i = 0; good && i < scrapes->as.sections.count; i++) {
        struct section *scrape = scrapes->as.sections.items[i];
        if (!scrape)
            good = err_set(decoder->err, ERR_BAD_DATA, "empty or null scrape config section");
        else
            good =
                scrape_check(decoder, scrape, global) && job_add(more, scrape, name, decoder->err);
        if (good)
            section_join_paths(decoder->arena, scrape, path_dir(str_of(path)));
    }
    buf_deinit(&text);
    if (good)
        return true;
    struct err inner = *decoder->err;
    quoted_error(decoder->err, "", name, ": ");
    struct err prefix = *decoder->err;
    return err_set(decoder->err, inner.code, "%s%s", prefix.text, inner.text);
}

/* The jobs of the main file and, when files may be read, of scrape_config_files. */
static bool scrapes_collect(struct decoder *decoder, struct section *root, bool read_files,
                            struct scrape_list *out)
{
    const struct value *main = &root->values[CONFIG_scrape_configs];
    const struct str_list *globs = &root->values[CONFIG_scrape_config_files].as.texts;
    struct more_scrapes more = {0};
    bool good = true;

    *out = (struct scrape_list){main->as.sections.items, main->as.sections.count};
    if (!read_files || globs->count == 0)
        return true;
    for (size_t i = 0; good && i < out->count; i++)
        good = job_add(&more, out->items[i], STR_EMPTY, decoder->err);
    for (size_t i = 0; good && i < globs->count; i++) {
        glob_t found = {0};
        if (glob(arena_str(decoder->arena, globs->items[i]).ptr, 0, NULL, &found) == 0)
            for (size_t k = 0; good && k < found.gl_pathc; k++)
                good = scrape_file_add(decoder, &more, found.gl_pathv[k],
                                       root->values[CONFIG_global].as.section);
        globfree(&found);
    }
    out->count = more.jobs.count;
    out->items = arena_alloc_array(decoder->arena, out->count, sizeof(struct section *));
    for (size_t i = 0; i < out->count; i++)
        out->items[i] = more.jobs.items[i].scrape;
    VEC_FREE(&more.jobs);
    return good;
}

static bool parse_main(struct decoder *decoder, struct section *root, struct str text,
                       struct str path)
{
    if (config_text_decode(decoder, root, text) &&
        whole_check(decoder, root, root->values[CONFIG_global].set))
        return true;
    return err_wrap(decoder->err, "parsing YAML file " STR_FMT, STR_ARG(path));
}

static bool config_make(struct config **out, struct str text, struct str path, bool read_files,
                        struct err *err)
{
    struct owner *owner = owner_new(path);
    struct section *root = section_new(&owner->arena, SECTION_CONFIG);
    struct scrape_list scrapes;
    struct decoder decoder;

    *out = NULL;
    decoder_init(&decoder, &owner->arena, err);
    bool good = parse_main(&decoder, root, text, path);
    if (good) {
        section_join_paths(&owner->arena, root, path_dir(path));
        good = scrapes_collect(&decoder, root, read_files, &scrapes) &&
               config_build(owner, root, &scrapes, err);
    }
    VEC_EACH (rule, &decoder.rules)
        VEC_PUSH(&owner->rules, *rule);
    decoder_deinit(&decoder);
    if (good)
        *out = &owner->config;
    else
        config_unref(&owner->config);
    return good;
}

bool config_parse(struct config **out, struct str text, struct str path, struct err *err)
{
    return config_make(out, text, path, false, err);
}

bool config_load(struct config **out, struct str path, struct err *err)
{
    struct buf text;

    *out = NULL;
    buf_init(&text, YAML_TEXT_MAX);
    bool good =
        config_file_read(path, &text, err) && config_make(out, buf_str(&text), path, true, err);
    buf_deinit(&text);
    return good;
}

bool config_check_agent(const struct config *config, struct err *err)
{
    const char *field = config->has_alerting           ? "alerting"
                        : config->rule_files.count > 0 ? "rule_files"
                        : config->has_remote_read      ? "remote_read"
                                                       : NULL;
    return !field || err_set(err, ERR_BAD_DATA, "field %s is not allowed in agent mode", field);
}

/* --- has it changed? --- */

static uint64_t file_checksum(struct str path, uint64_t sum)
{
    struct buf text;
    struct err err = {0};
    buf_init(&text, YAML_TEXT_MAX);
    bool there = config_file_read(path, &text, &err);
    sum = hash64_mix(hash64_mix(sum, hash64(path)), there ? hash64(buf_str(&text)) : 1);
    buf_deinit(&text);
    return sum;
}

static uint64_t globs_checksum(const struct str_list *globs, uint64_t sum)
{
    for (size_t i = 0; i < globs->count; i++) {
        char *pattern = str_dup(globs->items[i]);
        glob_t found = {0};
        if (glob(pattern, 0, NULL, &found) == 0)
            for (size_t k = 0; k < found.gl_pathc; k++)
                sum = file_checksum(str_of(found.gl_pathv[k]), sum);
        globfree(&found);
        mem_free(pattern);
    }
    return sum;
}

uint64_t config_checksum(const struct config *config)
{
    uint64_t sum = file_checksum(config->path, 0);
    sum = globs_checksum(&config->rule_files, sum);
    return globs_checksum(&config->scrape_config_files, sum);
}
