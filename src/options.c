/* options: see options.h. The syntax is the one of Prometheus' flags: --name=value, --name value,
 * --bool, --no-bool, -h. */
#include "options.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/ensure.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/number.h"
#include "base/text_file.h"
#include "base/vec.h"
#include "model/duration.h"
#include "remote.h"

enum flag_type {
    STRING,
    STRINGS,
    BOOL,
    NUMBER,
    INTEGER,
    FLOAT,
    DURATION,
    SIZE,
    COMPRESSION,
    MESSAGES
};
enum flag_effect { ACTIVE, GO_ONLY, LATER, AGENT_ONLY };

static const struct flag_row {
    const char *name;
    enum flag_type type;
    const char *value;
    enum flag_effect effect;
    const char *help;
} FLAGS[] = {
#define FLAG(name, type, value, effect, help) {name, type, value, effect, help},
#include "flags.def"
#undef FLAG
};

#define FLAG_COUNT         COUNT_OF(FLAGS)
#define ARGUMENT_BYTES_MAX ((size_t)1 << 20)

struct options {
    VEC(struct str) values[FLAG_COUNT]; /* Given ones; none: the default. */
    VEC(struct buf) files;              /* Arguments that stand in files. */
    VEC(size_t) agent_only;             /* Flags that were given, in their order. */
    struct api_flag rows[FLAG_COUNT];
    char *joined[FLAG_COUNT]; /* Texts of repeated flags. */
};

static size_t flag_find(struct str name)
{
    for (size_t i = 0; i < FLAG_COUNT; i++) {
        if (str_eq(str_of(FLAGS[i].name), name))
            return i;
    }
    return FLAG_COUNT;
}

static size_t flag_index(const char *name)
{
    size_t index = flag_find(str_of(name));
    ENSURE(index < FLAG_COUNT);
    return index;
}

static bool check_float(struct str value, struct err *err)
{
    double number;
    return number_parse_go(value, &number) ||
           err_set(err, ERR_BAD_DATA, "strconv.ParseFloat: parsing \"" STR_FMT "\": invalid syntax",
                   STR_ARG(value));
}

static bool check_integer(struct str value, struct err *err)
{
    uint64_t number;
    bool sign = value.len > 0 && (value.ptr[0] == '-' || value.ptr[0] == '+');
    return str_to_u64(str_after(value, sign), &number) ||
           err_set(err, ERR_BAD_DATA, "strconv.ParseInt: parsing \"" STR_FMT "\": invalid syntax",
                   STR_ARG(value));
}

static bool check_number(struct str value, struct err *err)
{
    double number;
    if (!check_float(value, err))
        return false;
    number = 0;
    (void)number_parse_go(value, &number);
    return (number >= 0 && number < 1e18) ||
           err_set(err, ERR_BAD_DATA, "number out of range: " STR_FMT, STR_ARG(value));
}

static bool check_compression(struct str value, struct err *err)
{
    return str_eq(value, STR("snappy")) || str_eq(value, STR("zstd")) ||
           err_set(err, ERR_BAD_DATA, "enum value must be one of snappy,zstd, got '" STR_FMT "'",
                   STR_ARG(value));
}

static bool check_message(struct str value, struct err *err)
{
    return str_eq(value, STR(WRITE_MESSAGE_V1)) || str_eq(value, STR(WRITE_MESSAGE_V2)) ||
           err_set(err, ERR_BAD_DATA,
                   "unknown type for remote write protobuf message " STR_FMT
                   ", supported: " WRITE_MESSAGE_V1 ", " WRITE_MESSAGE_V2,
                   STR_ARG(value));
}

static bool check_value(const struct flag_row *flag, struct str value, struct err *err)
{
    int64_t ms;
    uint64_t number;
    switch (flag->type) {
    case STRING:
    case STRINGS:
        return true;
    case BOOL:
        if (str_eq(value, STR("true")) || str_eq(value, STR("false")))
            return true;
        return err_set(err, ERR_BAD_DATA,
                       "strconv.ParseBool: parsing \"" STR_FMT "\": invalid syntax",
                       STR_ARG(value));
    case NUMBER:
        return check_number(value, err);
    case INTEGER:
        return check_integer(value, err);
    case FLOAT:
        return check_float(value, err);
    case DURATION:
        return duration_parse(value, &ms, err);
    case SIZE:
        return size_parse(value, &number, err);
    case COMPRESSION:
        return check_compression(value, err);
    case MESSAGES:
        return check_message(value, err);
    }
    UNREACHABLE();
}

/* One argument that begins with "--"; *used says how many of argv it took. */
static bool parse_long(struct options *options, int argc, char **argv, int at, int *used,
                       struct err *err)
{
    struct str value, name = str_cut(str_of(argv[at] + 2), '=', &value);
    size_t index = flag_find(name);
    bool negated = false;
    *used = 1;
    if (index == FLAG_COUNT && str_starts(name, STR("no-"))) {
        index = flag_find(str_after(name, 3));
        negated = index < FLAG_COUNT && FLAGS[index].type == BOOL && !value.ptr;
        index = negated ? index : FLAG_COUNT;
    }
    if (index == FLAG_COUNT)
        return err_set(err, ERR_NOT_FOUND, "unknown long flag '--" STR_FMT "'", STR_ARG(name));
    const struct flag_row *flag = &FLAGS[index];
    if (flag->type == BOOL && !value.ptr) {
        value = negated ? STR("false") : STR("true");
    } else if (!value.ptr) {
        if (at + 1 >= argc || (argv[at + 1][0] == '-' && argv[at + 1][1] != '\0'))
            return err_set(err, ERR_NOT_FOUND, "expected argument for flag '--%s'", flag->name);
        value = str_of(argv[at + 1]);
        *used = 2;
    }
    if (!check_value(flag, value, err))
        return false;
    for (size_t i = 0; flag->type == MESSAGES && i < options->values[index].count; i++)
        if (str_eq(options->values[index].items[i], value))
            return err_set(err, ERR_BAD_DATA,
                           "duplicated " STR_FMT " flag value, got " STR_FMT " already",
                           STR_ARG(value), STR_ARG(value));
    if (flag->type != STRINGS && flag->type != MESSAGES && options->values[index].count > 0)
        return err_set(err, ERR_BAD_DATA, "flag '%s' cannot be repeated", flag->name);
    if (flag->effect == AGENT_ONLY)
        VEC_PUSH(&options->agent_only, index);
    VEC_PUSH(&options->values[index], value);
    return true;
}

static int compare_row(const void *a, const void *b)
{
    const struct api_flag *left = a, *right = b;
    return str_cmp(left->name, right->name);
}

/* As Prometheus shows it: 360h is 15d, 0 bytes are 0B. */
static void add_value(struct buf *out, const struct flag_row *flag, struct str value)
{
    struct err ignored;
    int64_t ms;
    uint64_t bytes;
    if (flag->type == DURATION && duration_parse(value, &ms, &ignored))
        duration_print(out, ms);
    else if (flag->type == SIZE && value.len > 0 && size_parse(value, &bytes, &ignored))
        size_print(out, bytes);
    else
        buf_add_str(out, value);
}

static char *make_route_prefix(const struct options *options);

static void make_rows(struct options *options)
{
    for (size_t i = 0; i < FLAG_COUNT; i++) {
        struct buf text;
        buf_init(&text, 1 << 20);
        VEC_EACH (value, &options->values[i]) {
            if (text.len)
                buf_add_char(&text, ',');
            add_value(&text, &FLAGS[i], *value);
        }
        if (options->values[i].count == 0)
            add_value(&text, &FLAGS[i], str_of(FLAGS[i].value));
        options->joined[i] = str_dup(buf_str(&text));
        buf_deinit(&text);
    }
    size_t prefix = flag_index("web.route-prefix");
    mem_free(options->joined[prefix]);
    options->joined[prefix] = make_route_prefix(options);
    for (size_t i = 0; i < FLAG_COUNT; i++) {
        options->rows[i].name = str_of(FLAGS[i].name);
        options->rows[i].value = str_of(options->joined[i]);
    }
    qsort(options->rows, FLAG_COUNT, sizeof(options->rows[0]), compare_row);
}

struct arguments {
    VEC(char *) items;
};

/* @file: an argument a line, but for empty ones and those that begin with #. */
static bool arguments_from_file(struct options *options, struct arguments *arguments,
                                const char *name, struct err *err)
{
    struct buf text;
    buf_init(&text, ARGUMENT_BYTES_MAX);
    if (name[0] == '\0' || !text_file_read(str_of(name), &text, err)) {
        buf_deinit(&text);
        return name[0] == '\0'
                   ? err_set(err, ERR_NOT_FOUND, "expected @ file to expand arguments from")
                   : (err_wrap(err, "failed to open arguments file \"%s\"", name),
                      err->code = ERR_NOT_FOUND, false);
    }
    buf_add_char(&text, '\0');
    VEC_PUSH(&options->files, text);
    for (char *line = text.ptr, *end; line < text.ptr + text.len; line = end + 1) {
        end = line + strcspn(line, "\n");
        size_t len = (size_t)(end - line);
        if (len > 0 && end[-1] == '\r')
            end[-1] = '\0';
        *end = '\0';
        if (line[0] != '#' && str_trim(str_of(line)).len > 0)
            VEC_PUSH(&arguments->items, line);
    }
    return true;
}

static bool arguments_expand(struct options *options, struct arguments *arguments, int argc,
                             char **argv, struct err *err)
{
    bool good = true;
    for (int i = 0; i < argc && good; i++) {
        if (i > 0 && argv[i][0] == '@')
            good = arguments_from_file(options, arguments, argv[i] + 1, err);
        else
            VEC_PUSH(&arguments->items, argv[i]);
    }
    return good;
}

static bool arguments_parse(struct options *options, int argc, char **argv,
                            enum options_outcome *outcome, struct err *err)
{
    for (int at = 1, used; at < argc; at += used) {
        used = 1;
        bool good = true;
        if (strcmp(argv[at], "-h") == 0 || strcmp(argv[at], "--help") == 0 ||
            strcmp(argv[at], "--help-long") == 0)
            *outcome = OPTIONS_HELP;
        else if (strcmp(argv[at], "--version") == 0)
            *outcome = OPTIONS_VERSION;
        else if (strcmp(argv[at], "--") == 0)
            good = at + 1 == argc || err_set(err, ERR_NOT_FOUND, "unexpected %s", argv[at + 1]);
        else if (strncmp(argv[at], "--", 2) == 0)
            good = parse_long(options, argc, argv, at, &used, err);
        else if (argv[at][0] == '-')
            good = err_set(err, ERR_NOT_FOUND, "unknown short flag '%s'", argv[at]);
        else
            good = err_set(err, ERR_NOT_FOUND, "unexpected %s", argv[at]);
        if (!good)
            return false;
    }
    return true;
}

bool options_parse(struct options **out, int argc, char **argv, enum options_outcome *outcome,
                   struct err *err)
{
    struct options *options = MEM_NEW(struct options);
    struct arguments arguments = {0};
    *outcome = OPTIONS_RUN;
    bool good =
        arguments_expand(options, &arguments, argc, argv, err) &&
        arguments_parse(options, (int)arguments.items.count, arguments.items.items, outcome, err);
    VEC_FREE(&arguments.items);
    if (!good) {
        options_free(options);
        return false;
    }
    make_rows(options);
    *out = options;
    return true;
}

void options_free(struct options *options)
{
    if (!options)
        return;
    for (size_t i = 0; i < FLAG_COUNT; i++) {
        VEC_FREE(&options->values[i]);
        mem_free(options->joined[i]);
    }
    VEC_EACH (file, &options->files)
        buf_deinit(file);
    VEC_FREE(&options->files);
    VEC_FREE(&options->agent_only);
    mem_free(options);
}

size_t option_count(const struct options *options, const char *name)
{
    size_t index = flag_index(name);
    return options->values[index].count ? options->values[index].count
                                        : FLAGS[index].value[0] != '\0';
}

struct str option_at(const struct options *options, const char *name, size_t at)
{
    size_t index = flag_index(name);
    return at < options->values[index].count ? options->values[index].items[at]
                                             : str_of(FLAGS[index].value);
}

struct str option_string(const struct options *options, const char *name)
{
    return option_at(options, name, 0);
}
bool option_is_set(const struct options *options, const char *name)
{
    return options->values[flag_index(name)].count > 0;
}
bool option_bool(const struct options *options, const char *name)
{
    return str_eq(option_string(options, name), STR("true"));
}

int64_t option_duration_ms(const struct options *options, const char *name)
{
    struct err err = {0};
    int64_t ms = 0;
    struct str value = option_string(options, name);
    bool good = value.len == 0 || duration_parse(value, &ms, &err);
    ENSURE(good);
    return ms;
}

uint64_t option_number(const struct options *options, const char *name)
{
    struct err err = {0};
    uint64_t number = 0;
    struct str value = option_string(options, name);
    double real = 0;
    if (value.len == 0)
        return 0;
    if (number_parse_go(value, &real))
        return (uint64_t)real;
    bool good = size_parse(value, &number, &err);
    ENSURE(good);
    return number;
}

const struct api_flag *options_flags(const struct options *options, size_t *count)
{
    *count = FLAG_COUNT;
    return options->rows;
}

void options_warn(const struct options *options)
{
    for (size_t i = 0; i < FLAG_COUNT; i++) {
        if (options->values[i].count == 0 || FLAGS[i].effect == ACTIVE)
            continue;
        LOG_W(FLAGS[i].effect == GO_ONLY ? "Flag is accepted and has no effect in this server"
                                         : "Flag is accepted; what it is about is not active yet",
              "flag", log_fmt("--%s", FLAGS[i].name));
    }
}

bool options_check_mode(const struct options *options, struct err *err)
{
    struct buf names;
    if (options->agent_only.count == 0 || option_bool(options, "agent"))
        return true;
    buf_init(&names, 1 << 16);
    for (size_t i = 0; i < options->agent_only.count; i++)
        buf_addf(&names, "%s\"--%s\"", i ? " " : "", FLAGS[options->agent_only.items[i]].name);
    (void)err_set(err, ERR_BAD_DATA,
                  "The following flag(s) can only be used in agent mode: [" STR_FMT "]",
                  STR_ARG(buf_str(&names)));
    buf_deinit(&names);
    return false;
}

/* --web.route-prefix, or else the path of --web.external-url; with a slash before and none behind. */
static struct str route_prefix(const struct options *options)
{
    struct str prefix = option_string(options, "web.route-prefix");
    struct str url = option_string(options, "web.external-url");
    if (prefix.len > 0)
        return prefix;
    size_t scheme = str_find(url, STR("://"));
    struct str path = scheme < url.len ? str_after(url, scheme + 3) : url;
    return str_after(path, str_find_char(path, '/'));
}

static char *make_route_prefix(const struct options *options)
{
    struct str path = route_prefix(options);
    struct buf text;
    while (path.len > 0 && path.ptr[0] == '/')
        path = str_after(path, 1);
    while (path.len > 0 && path.ptr[path.len - 1] == '/')
        path.len--;
    buf_init(&text, 1 << 16);
    buf_add_char(&text, '/');
    buf_add_str(&text, path);
    char *made = str_dup(buf_str(&text));
    buf_deinit(&text);
    return made;
}

struct str options_route_prefix(const struct options *options)
{
    return str_of(options->joined[flag_index("web.route-prefix")]);
}

/* --- help, in the form of Prometheus': two columns, 80 wide --- */

#define HELP_WIDTH  80
#define HELP_INDENT 2
#define HELP_NAME   29 /* Longer names stand in a line of their own. */
#define HELP_TEXT   (HELP_INDENT + HELP_NAME + 2)

static void help_new_line(struct buf *out)
{
    buf_addf(out, "\n%*s", HELP_TEXT, "");
}

static void help_wrap(struct buf *out, struct str text)
{
    size_t column = 0;
    while (text.ptr) {
        struct str word = str_cut(text, ' ', &text);
        if (column > 0 && column + 1 + word.len > HELP_WIDTH - HELP_TEXT) {
            help_new_line(out);
            column = 0;
        }
        if (column > 0)
            buf_add_char(out, ' ');
        buf_add_str(out, word);
        column += word.len + (column > 0);
    }
    buf_add_char(out, '\n');
}

static void help_row(struct buf *out, struct str name, struct str text)
{
    buf_addf(out, "%*s" STR_FMT "%*s  ", HELP_INDENT, "", STR_ARG(name),
             name.len < HELP_NAME ? (int)(HELP_NAME - name.len) : 0, "");
    if (name.len > HELP_NAME)
        help_new_line(out);
    help_wrap(out, text);
}

static void help_flag(struct buf *out, const struct flag_row *flag)
{
    static const char *const kinds[] = {"<text>",   "<text>",     "",       "<number>", "<number>",
                                        "<number>", "<duration>", "<size>", "snappy",   ""};
    bool quoted = (flag->type == STRING || flag->type == STRINGS) && flag->value[0];
    struct buf name, text;
    buf_init(&name, 1 << 12);
    buf_init(&text, 1 << 14);
    buf_addf(&name, "    --%s%s", flag->type == BOOL ? "[no-]" : "", flag->name);
    if (flag->type != BOOL)
        buf_addf(&name, quoted ? "=\"%s\"" : "=%s",
                 flag->value[0] ? flag->value : kinds[flag->type]);
    if (flag->type == STRINGS || flag->type == MESSAGES)
        BUF_ADD(&name, " ...");
    buf_add_str(&text, str_of(flag->help));
    if (flag->effect == GO_ONLY)
        BUF_ADD(&text, " Accepted, no effect here.");
    else if (flag->effect == LATER)
        BUF_ADD(&text, " Accepted, not active yet.");
    else if (flag->effect == AGENT_ONLY)
        BUF_ADD(&text, " Use with agent mode only, which is not supported.");
    help_row(out, buf_str(&name), buf_str(&text));
    buf_deinit(&name);
    buf_deinit(&text);
}

void options_print_help(struct buf *out)
{
    BUF_ADD(out, "usage: narthex [<flags>]\n       narthex <command> ...\n\n"
                 "The Narthex monitoring server. Commands: narthex help\n\n\nFlags:\n");
    help_row(out, STR("-h, --[no-]help"), STR("Show context-sensitive help."));
    help_row(out, STR("    --[no-]version"), STR("Show application version."));
    for (size_t i = 0; i < FLAG_COUNT; i++)
        help_flag(out, &FLAGS[i]);
    buf_add_char(out, '\n');
}
