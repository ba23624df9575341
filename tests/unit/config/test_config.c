/* Tests of config: the golden corpus (every bad file names its error, every good file has its
 * printed form), then what the public structs hold. The expected texts and forms are
 * Prometheus 3.14's. */
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/vec.h"
#include "config.h"
#include "groups.h"

#define GOLDEN       TEST_SOURCE_DIR "/golden/config"
#define PREFIX       "parsing YAML file x.yml: "
#define FILE_MAX     (1 << 16)
#define GOLDEN_LEAST 150

static struct config *parse(const char *text)
{
    struct config *config;
    struct err err = {0};
    if (!config_parse(&config, str_of(text), STR("dir/x.yml"), &err))
        fail_msg("%s", err.text);
    return config;
}

static void assert_str(struct str got, const char *want)
{
    char *text = str_dup(got);
    assert_string_equal(text, want);
    mem_free(text);
}

/* Reads a whole file into a NUL-terminated heap text. */
static struct buf slurp(const char *path)
{
    struct buf text;
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    buf_init(&text, FILE_MAX);
    char *room = buf_reserve(&text, FILE_MAX - 1);
    buf_commit(&text, fread(room, 1, FILE_MAX - 1, file));
    fclose(file);
    return text;
}

/* "# error: text" with \n and \\ -> the text. False when there is no such line. */
static bool expected_error(struct str text, struct buf *out)
{
    struct str rest, mark = STR("# error: "), line = str_cut(text, '\n', &rest);
    if (!str_starts(line, mark))
        return false;
    BUF_ADD(out, PREFIX);
    line = str_after(line, mark.len);
    for (size_t i = 0; i < line.len; i++) {
        bool escaped = line.ptr[i] == '\\' && i + 1 < line.len;
        if (escaped)
            i++;
        buf_add_char(out, escaped && line.ptr[i] == 'n' ? '\n' : line.ptr[i]);
    }
    buf_add_char(out, '\0');
    return true;
}

static int check_bad(const char *name, struct str text, const char *want)
{
    struct config *config;
    struct err err = {0};
    if (config_parse(&config, text, STR("x.yml"), &err)) {
        print_error("%s: accepted, want: %s\n", name, want);
        config_unref(config);
        return 1;
    }
    assert_null(config);
    if (strcmp(err.text, want) == 0)
        return 0;
    print_error("%s:\n  want: %s\n  got:  %s\n", name, want, err.text);
    return 1;
}

static int check_good(const char *name, struct str text)
{
    char path[4096];
    struct config *config;
    struct err err = {0};
    struct buf want;

    snprintf(path, sizeof(path), "%s/%.*s.printed", GOLDEN, (int)(strlen(name) - 4), name);
    if (!config_parse(&config, text, STR("x.yml"), &err)) {
        print_error("%s: %s\n", name, err.text);
        return 1;
    }
    want = slurp(path);
    int bad = !str_eq(buf_str(&want), config->printed);
    if (bad)
        print_error("%s: printed as\n" STR_FMT "\n", name, STR_ARG(config->printed));
    buf_deinit(&want);
    config_unref(config);
    return bad;
}

/* Users paste these texts into search engines and diff /status/config: each must be right to the
 * letter. */
static void test_config_parse__matches_the_golden_corpus(void **state)
{
    DIR *dir = opendir(GOLDEN);
    int bad = 0, count = 0;

    (void)state;
    assert_non_null(dir);
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        char path[4096];
        struct buf error;
        if (!str_ends(str_of(entry->d_name), STR(".yml")))
            continue;
        snprintf(path, sizeof(path), "%s/%s", GOLDEN, entry->d_name);
        struct buf text = slurp(path);
        buf_init(&error, FILE_MAX);
        if (expected_error(buf_str(&text), &error))
            bad += check_bad(entry->d_name, buf_str(&text), error.ptr);
        else
            bad += check_good(entry->d_name, buf_str(&text));
        buf_deinit(&error);
        buf_deinit(&text);
        count++;
    }
    closedir(dir);
    assert_int_equal(bad, 0);
    assert_in_range(count, GOLDEN_LEAST, 100000);
}

/* An empty file is a valid configuration: a server that only receives. */
static void test_config_parse__empty_file_has_the_defaults(void **state)
{
    (void)state;
    struct config *config = parse("");
    assert_int_equal(config->global.scrape_interval_ms, 60000);
    assert_int_equal(config->global.scrape_timeout_ms, 10000);
    assert_int_equal(config->global.evaluation_interval_ms, 60000);
    assert_int_equal(config->global.external_labels->count, 0);
    assert_int_equal(config->scrape_count, 0);
    assert_int_equal(config->retention_ms, 0);
    assert_int_equal(config->inactive.count, 0);
    config_unref(config);
}

/* What scrape reads: every limit and switch comes from global unless the job has its own. */
static void test_config_parse__jobs_inherit_from_global(void **state)
{
    (void)state;
    struct config *config = parse("global: {scrape_interval: 5s, sample_limit: 7, label_limit: 3,\n"
                                  "  body_size_limit: 1KB, keep_dropped_targets: 2}\n"
                                  "scrape_configs:\n"
                                  "- job_name: a\n"
                                  "- {job_name: b, scrape_interval: 2s, sample_limit: 9,\n"
                                  "   honor_labels: true, metrics_path: /x, scheme: https}\n");
    const struct config_scrape *a = &config->scrapes[0], *b = &config->scrapes[1];

    assert_int_equal(config->scrape_count, 2);
    assert_int_equal(a->interval_ms, 5000);
    assert_int_equal(a->timeout_ms, 5000);
    assert_int_equal(a->limits.samples, 7);
    assert_int_equal(a->limits.labels, 3);
    assert_int_equal(a->limits.body_bytes, 1024);
    assert_int_equal(a->limits.keep_dropped_targets, 2);
    assert_str(a->metrics_path, "/metrics");
    assert_str(a->scheme, "http");
    assert_true(a->honor_timestamps && a->enable_compression && a->http.follow_redirects);
    assert_false(a->honor_labels || a->legacy_names || a->extra_scrape_metrics);
    assert_int_equal(a->scrape_protocols.count, 4);
    assert_str(a->scrape_protocols.items[0], "OpenMetricsText1.0.0");
    assert_str(a->escaping_scheme, "allow-utf-8");
    assert_int_equal(b->interval_ms, 2000);
    assert_int_equal(b->timeout_ms, 2000);
    assert_int_equal(b->limits.samples, 9);
    assert_true(b->honor_labels);
    assert_str(b->metrics_path, "/x");
    config_unref(config);
}

/* Static groups carry the address as a label and a source that is unique in the job. */
static void test_config_parse__static_groups(void **state)
{
    (void)state;
    struct config *config = parse("scrape_configs:\n"
                                  "- job_name: a\n"
                                  "  static_configs:\n"
                                  "  - {targets: [x:1, y:2], labels: {env: prod, empty: ''}}\n"
                                  "  - {targets: [z:3]}\n");
    const struct config_static_sd *sd = &config->scrapes[0].static_sd;

    assert_int_equal(sd->count, 2);
    assert_string_equal(sd->groups[0]->source, "0");
    assert_string_equal(sd->groups[1]->source, "1");
    assert_int_equal(sd->groups[0]->target_count, 2);
    assert_str(group_value(sd->groups[0], 2, STR("__address__")), "y:2");
    assert_str(group_value(sd->groups[0], 0, STR("env")), "prod");
    assert_str(group_value(sd->groups[0], 0, STR("empty")), "");
    config_unref(config);
}

/* Files are named relative to the configuration, whatever the working directory is. */
static void test_config_parse__joins_relative_paths(void **state)
{
    (void)state;
    struct config *config =
        parse("rule_files: [rules/*.yml, /etc/x.yml]\n"
              "scrape_configs:\n"
              "- job_name: a\n"
              "  file_sd_configs: [{files: [./t/../u.json, /v.yml], refresh_interval: 7s}]\n"
              "  authorization: {credentials_file: ../token}\n"
              "  tls_config: {ca_file: ca.pem}\n");
    const struct config_scrape *a = &config->scrapes[0];

    assert_str(config->rule_files.items[0], "dir/rules/*.yml");
    assert_str(config->rule_files.items[1], "/etc/x.yml");
    assert_int_equal(a->file_sd_count, 1);
    assert_int_equal(a->file_sd[0].refresh_ms, 7000);
    assert_str(a->file_sd[0].files.items[0], "dir/u.json");
    assert_str(a->file_sd[0].files.items[1], "/v.yml");
    assert_str(a->http.credentials_file, "token");
    assert_str(a->http.authorization_type, "Bearer");
    assert_str(a->http.ca_file, "dir/ca.pem");
    config_unref(config);
}

/* The old bearer_token must end where authorization does, and no secret may be shown. */
static void test_config_parse__secrets_are_kept_and_masked(void **state)
{
    (void)state;
    struct config *config = parse("scrape_configs:\n"
                                  "- {job_name: a, bearer_token: hunter2}\n"
                                  "- {job_name: b, basic_auth: {username: u, password: hunter2},\n"
                                  "   proxy_url: 'http://u:hunter2@p:1/'}\n");

    assert_str(config->scrapes[0].http.credentials, "hunter2");
    assert_str(config->scrapes[1].http.basic_password, "hunter2");
    assert_str(config->scrapes[1].http.proxy_url, "http://u:hunter2@p:1/");
    assert_int_equal(str_find(config->printed, STR("hunter2")), config->printed.len);
    assert_true(str_find(config->printed, STR("password: <secret>")) < config->printed.len);
    assert_true(str_find(config->printed, STR("http://u:xxxxx@p:1/")) < config->printed.len);
    config_unref(config);
}

/* A reload keeps running what has an equal key: a change of secrets or of an inherited value must
 * show. */
static void test_config_parse__keys_tell_changes_apart(void **state)
{
    (void)state;
    struct config *a = parse("scrape_configs: [{job_name: a, bearer_token: one,\n"
                             "  static_configs: [{targets: [x]}]}]\n");
    struct config *same = parse("# moved\nscrape_configs:\n- bearer_token: one\n"
                                "  job_name: a\n  static_configs:\n  - targets: [x]\n");
    struct config *secret = parse("scrape_configs: [{job_name: a, bearer_token: two,\n"
                                  "  static_configs: [{targets: [x]}]}]\n");
    struct config *slower = parse("global: {scrape_interval: 2m}\n"
                                  "scrape_configs: [{job_name: a, bearer_token: one,\n"
                                  "  static_configs: [{targets: [x]}]}]\n");
    struct config *target = parse("scrape_configs: [{job_name: a, bearer_token: one,\n"
                                  "  static_configs: [{targets: [y]}]}]\n");

    assert_true(str_eq(a->scrapes[0].key, same->scrapes[0].key));
    assert_false(str_eq(a->scrapes[0].key, secret->scrapes[0].key));
    assert_false(str_eq(a->scrapes[0].key, slower->scrapes[0].key));
    assert_false(str_eq(a->scrapes[0].key, target->scrapes[0].key));
    config_unref(a);
    config_unref(same);
    config_unref(secret);
    config_unref(slower);
    config_unref(target);
}

/* The environment is read for external labels only; a value that becomes empty is no label. */
static void test_config_parse__expands_external_labels(void **state)
{
    (void)state;
    struct config *config = parse("global:\n"
                                  "  external_labels:\n"
                                  "    a: ${NARTHEX_TEST_HOST}-$NARTHEX_TEST_HOST.$$\n"
                                  "    b: $NARTHEX_TEST_ABSENT\n"
                                  "scrape_configs: [{job_name: $NARTHEX_TEST_HOST}]\n");
    assert_int_equal(config->global.external_labels->count, 1);
    assert_str(labels_get(config->global.external_labels, STR("a")), "h1-h1.$");
    assert_str(config->scrapes[0].job_name, "$NARTHEX_TEST_HOST");
    config_unref(config);
}

/* Rules arrive compiled and in order, with what was written told from what is a default. */
static void test_config_parse__relabel_rules(void **state)
{
    (void)state;
    struct config *config = parse("scrape_configs:\n"
                                  "- job_name: a\n"
                                  "  relabel_configs:\n"
                                  "  - {source_labels: [x, y], regex: 'a;(.*)', target_label: z}\n"
                                  "  - {action: labeldrop, regex: y}\n");
    const struct relabel_rules *rules = &config->scrapes[0].relabel;
    struct labels_builder labels;
    struct arena arena;

    assert_int_equal(rules->count, 2);
    assert_true(rules->items[0].has_regex);
    assert_false(rules->items[0].has_separator);
    arena_init(&arena, 0);
    labels_builder_init(&labels);
    labels_builder_set(&labels, STR("x"), STR("a"));
    labels_builder_set(&labels, STR("y"), STR("b"));
    assert_true(relabel_apply(rules, &labels, &arena));
    assert_str(labels_builder_get(&labels, STR("z")), "b");
    assert_false(labels_builder_has(&labels, STR("y")));
    labels_builder_deinit(&labels);
    arena_deinit(&arena);
    config_unref(config);
}

/* What is accepted and does nothing must be said, once each. */
static void test_config_parse__names_what_is_inactive(void **state)
{
    (void)state;
    struct config *config =
        parse("rule_files: [a.yml]\n"
              "remote_write: [{url: http://x}]\n"
              "alerting: {alertmanagers: [{static_configs: [{targets: [a]}]}]}\n"
              "scrape_configs:\n"
              "- {job_name: a, tls_config: {ca_ref: y}}\n"
              "- {job_name: b, tls_config: {ca_ref: y},\n"
              "   http_sd_configs: [{url: http://x, tls_config: {ca_ref: y},\n"
              "                      basic_auth: {username: u, password_ref: c}}]}\n");
    assert_int_equal(config->inactive.count, 5);
    assert_str(config->inactive.items[0], "alerting: alerts are not sent yet");
    assert_str(config->inactive.items[1], "rule_files: rules are not evaluated yet");
    assert_str(config->inactive.items[2], "remote_write: not active yet");
    assert_str(config->inactive.items[3], "ca_ref: there is no secret manager to ask");
    assert_str(config->inactive.items[4], "password_ref: there is no secret manager to ask");
    config_unref(config);
}

/* What the providers get, and keys that are equal exactly when two blocks are: by them a reload keeps
 * what runs. */
static void test_config_parse__discovery_blocks(void **state)
{
    (void)state;
    struct config *config =
        parse("scrape_configs:\n- job_name: a\n"
              "  http_sd_configs:\n"
              "  - {url: 'https://h/x', bearer_token: one, tls_config: {ca_file: ca.pem}}\n"
              "  - {url: 'https://h/x', bearer_token: two, tls_config: {ca_file: ca.pem}}\n"
              "  - {tls_config: {ca_file: ./ca.pem}, bearer_token: one, refresh_interval: 60s,\n"
              "     url: 'https://h/x', proxy_url: ''}\n"
              "  dns_sd_configs:\n  - names: [n, m]\n"
              "  - {names: [n, m], type: A, port: 1, refresh_interval: 3s}\n");
    struct config *less = parse("scrape_configs:\n- job_name: a\n"
                                "  dns_sd_configs: [{names: [n, m]}]\n");
    const struct config_scrape *a = &config->scrapes[0];

    assert_int_equal(a->http_sd_count, 3);
    assert_str(a->http_sd[0].url, "https://h/x");
    assert_str(a->http_sd[0].http.authorization_type, "Bearer");
    assert_str(a->http_sd[0].http.credentials, "one");
    assert_str(a->http_sd[0].http.ca_file, "dir/ca.pem");
    assert_true(a->http_sd[0].http.follow_redirects);
    assert_int_equal(a->http_sd[0].refresh_ms, 60000);
    assert_false(str_eq(a->http_sd[0].key, a->http_sd[1].key));
    assert_true(str_eq(a->http_sd[0].key, a->http_sd[2].key));
    assert_int_equal(a->dns_sd_count, 2);
    assert_int_equal(a->dns_sd[0].names.count, 2);
    assert_str(a->dns_sd[0].type, "SRV");
    assert_int_equal(a->dns_sd[0].refresh_ms, 30000);
    assert_int_equal(a->dns_sd[1].port, 1);
    assert_int_equal(a->dns_sd[1].refresh_ms, 3000);
    assert_true(str_eq(a->dns_sd[0].key, less->scrapes[0].dns_sd[0].key));
    config_unref(config);
    config_unref(less);
}

/* A block in the file goes before the flags as a whole; without one they are shown as if they were in it. */
static void test_config_set_retention__is_what_a_file_without_it_has(void **state)
{
    (void)state;
    config_set_retention(3 * 86400000, 4096);
    struct config *config = parse("global: {}\n"),
                  *empty = parse("storage: {tsdb: {retention: {}}}\n"),
                  *share = parse("storage: {tsdb: {retention: {percentage: 12.5}}}\n");
    config_set_retention(0, 0);
    assert_int_equal(config->retention_ms, 3 * 86400000);
    assert_int_equal(config->retention_bytes, 4096);
    assert_true(
        str_find(config->printed, STR("    retention:\n      time: 3d\n      size: 4KiB\n")) <
        config->printed.len);
    assert_int_equal(empty->retention_ms, 0);
    assert_int_equal(empty->retention_bytes, 0);
    assert_true(str_find(empty->printed, STR("    retention: {}\n")) < empty->printed.len);
    assert_int_equal(share->retention_ms, 0);
    assert_true(share->retention_percentage == 12.5);
    config_unref(config);
    config_unref(empty);
    config_unref(share);
}

/* With the feature the block is shown as it is in force, and only then. */
static void test_config_set_exemplar_storage__shows_the_block(void **state)
{
    (void)state;
    config_set_exemplar_storage(true);
    struct config *with = parse("global: {}\n"),
                  *other = parse("storage: {exemplars: {max_exemplars: 5}}\n");
    config_set_exemplar_storage(false);
    struct config *without = parse("global: {}\n");
    assert_true(str_find(with->printed, STR("  exemplars:\n    max_exemplars: 100000\n")) <
                with->printed.len);
    assert_true(str_find(other->printed, STR("    max_exemplars: 5\n")) < other->printed.len);
    assert_true(str_find(without->printed, STR("exemplars")) == without->printed.len);
    assert_int_equal(with->exemplars_max, without->exemplars_max);
    config_unref(with);
    config_unref(other);
    config_unref(without);
}

/* Limits of the storage that a reload can change. */
static void test_config_parse__storage(void **state)
{
    (void)state;
    struct config *config = parse(
        "storage: {tsdb: {out_of_order_time_window: 30m, retention: {time: 1d, size: 1GB}}}\n");
    assert_int_equal(config->out_of_order_ms, 1800000);
    assert_int_equal(config->retention_ms, 86400000);
    assert_int_equal(config->retention_bytes, 1073741824);
    config_unref(config);
}

/* The loop swaps configurations while scrapes still hold the old one. */
static void test_config_ref__keeps_it_alive(void **state)
{
    (void)state;
    struct config *config = parse("scrape_configs: [{job_name: a}]\n");
    assert_ptr_equal(config_ref(config), config);
    config_unref(config);
    assert_str(config->scrapes[0].job_name, "a");
    config_unref(config);
    config_unref(NULL);
}

static void write_file(const char *dir, const char *name, const char *text)
{
    char path[4096];
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static void load(const char *dir, const char *name, struct config **config, struct err *err)
{
    char path[4096];
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    *err = (struct err){0};
    (void)!config_load(config, str_of(path), err);
}

/* Jobs may be spread over files; these count as jobs of the main file and errors name the file. */
static void test_config_load__reads_scrape_config_files(void **state)
{
    char dir[] = "test_config_XXXXXX", command[64];
    struct config *config;
    struct err err;

    (void)state;
    assert_non_null(mkdtemp(dir));
    load(dir, "absent.yml", &config, &err);
    assert_null(config);
    assert_non_null(strstr(err.text, "absent.yml: no such file or directory"));

    write_file(dir, "main.yml",
               "scrape_config_files: ['jobs-*.yml']\n"
               "global: {scrape_interval: 5s}\n"
               "scrape_configs: [{job_name: a}]\n");
    write_file(dir, "jobs-1.yml",
               "scrape_configs:\n- job_name: b\n"
               "  file_sd_configs: [{files: [t.json]}]\n");
    load(dir, "main.yml", &config, &err);
    assert_non_null(config);
    assert_int_equal(config->scrape_count, 2);
    assert_str(config->scrapes[1].job_name, "b");
    assert_int_equal(config->scrapes[1].interval_ms, 5000);
    assert_true(str_starts(config->scrapes[1].file_sd[0].files.items[0], str_of(dir)));
    config_unref(config);

    write_file(dir, "jobs-2.yml", "scrape_configs: [{job_name: a}]\n");
    load(dir, "main.yml", &config, &err);
    assert_null(config);
    assert_non_null(strstr(err.text, "jobs-2.yml\": found multiple scrape configs with job name "
                                     "\"a\", first found in main config file"));
    snprintf(command, sizeof(command), "rm -r %s", dir);
    assert_int_equal(system(command), 0);
}

static void free_groups(struct target_group **groups, size_t count)
{
    for (size_t i = 0; i < count; i++)
        target_group_unref(groups[i]);
    mem_free(groups);
}

/* The same list in both formats must mean the same. */
static void test_config_parse_target_groups__reads_yaml_and_json(void **state)
{
    static const struct {
        const char *path, *text;
    } cases[] = {
        {"/t/a.yml", "- targets: [x:1, y:2]\n  labels: {job: j}\n- targets: [z:3]\n"},
        {"/t/a.json", "[{\"targets\":[\"x:1\",\"y:2\"],\"labels\":{\"job\":\"j\"}},"
                      "{\"targets\":[\"z:3\"]}]"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct target_group **groups;
        size_t count;
        struct err err = {0};
        char source[64];
        assert_true(config_parse_target_groups(str_of(cases[i].text), str_of(cases[i].path),
                                               &groups, &count, &err));
        assert_int_equal(count, 2);
        snprintf(source, sizeof(source), "%s:1", cases[i].path);
        assert_string_equal(groups[1]->source, source);
        assert_int_equal(groups[0]->target_count, 2);
        assert_str(group_value(groups[0], 1, STR("__address__")), "x:1");
        assert_str(group_value(groups[0], 0, STR("job")), "j");
        assert_str(group_value(groups[1], 0, STR("__meta_filepath")), cases[i].path);
        free_groups(groups, count);
    }
}

/* A bad file keeps the last good content, so that every sort of damage must be an error. */
static void test_config_parse_target_groups__refuses_what_is_no_list_of_groups(void **state)
{
    static const struct {
        const char *path, *text, *want;
    } cases[] = {
        {"a.yml", "- targets: x\n",
         "yaml: unmarshal errors:\n  line 1: cannot unmarshal !!str `x` into []string"},
        {"a.yml", "targets: [x]\n",
         "yaml: unmarshal errors:\n  line 1: cannot unmarshal !!map into []*targetgroup.Group"},
        {"a.yml", "-\n", "nil target group item found"},
        {"a.yml", "- {labels: {\"\": x}}\n", "\"\" is not a valid label name"},
        {"a.yml", "- [\n", "yaml: line 1: did not find expected node content"},
        {"a.json", "[null]", "nil target group item found"},
        {"a.JSON", "[{\"target\":[\"x\"]}]", "json: unknown field \"target\""},
        {"a.json", "[{\"targets\":\"x\"}]",
         "json: cannot unmarshal string into Go value of type []string"},
        {"a.json", "{}",
         "json: cannot unmarshal object into Go value of type []*targetgroup.Group"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct target_group **groups;
        size_t count;
        struct err err = {0};
        assert_false(config_parse_target_groups(str_of(cases[i].text), str_of(cases[i].path),
                                                &groups, &count, &err));
        assert_string_equal(err.text, cases[i].want);
        assert_null(groups);
        assert_int_equal(count, 0);
    }
}

/* An emptied file takes its targets away; that is no error. */
static void test_config_parse_target_groups__empty_text_is_no_groups(void **state)
{
    struct target_group **groups;
    size_t count;
    struct err err = {0};
    (void)state;
    assert_true(config_parse_target_groups(STR("[]"), STR("a.json"), &groups, &count, &err));
    assert_int_equal(count, 0);
    free_groups(groups, count);
    assert_true(config_parse_target_groups(STR(""), STR("a.yml"), &groups, &count, &err));
    assert_int_equal(count, 0);
    free_groups(groups, count);
}

/* --enable-feature=extra-scrape-metrics is the default of the field, not more. */
static void test_config_set_extra_scrape_metrics__is_a_default(void **state)
{
    (void)state;
    static const char *const jobs = "scrape_configs: [{job_name: a}]\n";
    config_set_extra_scrape_metrics(true);
    struct config *config = parse(jobs);
    assert_true(config->scrapes[0].extra_scrape_metrics);
    config_unref(config);
    config = parse("global: {extra_scrape_metrics: false}\nscrape_configs: [{job_name: a}]\n");
    assert_false(config->scrapes[0].extra_scrape_metrics);
    config_unref(config);
    config_set_extra_scrape_metrics(false);
    config = parse(jobs);
    assert_false(config->scrapes[0].extra_scrape_metrics);
    config_unref(config);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_config_set_extra_scrape_metrics__is_a_default),
        cmocka_unit_test(test_config_parse__matches_the_golden_corpus),
        cmocka_unit_test(test_config_parse__empty_file_has_the_defaults),
        cmocka_unit_test(test_config_parse__jobs_inherit_from_global),
        cmocka_unit_test(test_config_parse__static_groups),
        cmocka_unit_test(test_config_parse__joins_relative_paths),
        cmocka_unit_test(test_config_parse__secrets_are_kept_and_masked),
        cmocka_unit_test(test_config_parse__keys_tell_changes_apart),
        cmocka_unit_test(test_config_parse__expands_external_labels),
        cmocka_unit_test(test_config_parse__relabel_rules),
        cmocka_unit_test(test_config_parse__names_what_is_inactive),
        cmocka_unit_test(test_config_parse__discovery_blocks),
        cmocka_unit_test(test_config_parse__storage),
        cmocka_unit_test(test_config_set_exemplar_storage__shows_the_block),
        cmocka_unit_test(test_config_set_retention__is_what_a_file_without_it_has),
        cmocka_unit_test(test_config_ref__keeps_it_alive),
        cmocka_unit_test(test_config_load__reads_scrape_config_files),
        cmocka_unit_test(test_config_parse_target_groups__reads_yaml_and_json),
        cmocka_unit_test(test_config_parse_target_groups__refuses_what_is_no_list_of_groups),
        cmocka_unit_test(test_config_parse_target_groups__empty_text_is_no_groups),
    };
    setenv("NARTHEX_TEST_HOST", "h1", 1);
    unsetenv("NARTHEX_TEST_ABSENT");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
