/* options: see options.h. The syntax is the one of Prometheus' flags: --name=value, --name value,
 * --bool, --no-bool, -h. */
#include "options.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/ensure.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/vec.h"
#include "model/duration.h"

enum flag_type { STRING, STRINGS, BOOL, NUMBER, DURATION, SIZE };
enum flag_effect { ACTIVE, GO_ONLY, LATER };

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

#define FLAG_COUNT COUNT_OF(FLAGS)

struct options {
    VEC(struct str) values[FLAG_COUNT]; /* Given ones; none: the default. */
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
        if (str_to_u64(value, &number))
            return true;
        return err_set(err, ERR_BAD_DATA,
                       "strconv.ParseInt: parsing \"" STR_FMT "\": invalid syntax", STR_ARG(value));
    case DURATION:
        return duration_parse(value, &ms, err);
    case SIZE:
        return size_parse(value, &number, err);
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
        return err_set(err, ERR_BAD_DATA, "unknown long flag '--" STR_FMT "'", STR_ARG(name));
    const struct flag_row *flag = &FLAGS[index];
    if (flag->type == BOOL && !value.ptr) {
        value = negated ? STR("false") : STR("true");
    } else if (!value.ptr) {
        if (at + 1 >= argc)
            return err_set(err, ERR_BAD_DATA, "expected argument for flag '--%s'", flag->name);
        value = str_of(argv[at + 1]);
        *used = 2;
    }
    if (!check_value(flag, value, err))
        return err_wrap(err, "flag '--%s'", flag->name);
    if (flag->type != STRINGS && options->values[index].count > 0)
        return err_set(err, ERR_BAD_DATA, "flag '%s' cannot be repeated", flag->name);
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
        options->rows[i].name = str_of(FLAGS[i].name);
        options->rows[i].value = str_of(options->joined[i]);
        buf_deinit(&text);
    }
    qsort(options->rows, FLAG_COUNT, sizeof(options->rows[0]), compare_row);
}

bool options_parse(struct options **out, int argc, char **argv, enum options_outcome *outcome,
                   struct err *err)
{
    struct options *options = MEM_NEW(struct options);
    *outcome = OPTIONS_RUN;
    for (int at = 1, used; at < argc; at += used) {
        used = 1;
        bool good = true;
        if (strcmp(argv[at], "-h") == 0 || strcmp(argv[at], "--help") == 0)
            *outcome = OPTIONS_HELP;
        else if (strcmp(argv[at], "--version") == 0)
            *outcome = OPTIONS_VERSION;
        else if (strncmp(argv[at], "--", 2) == 0)
            good = parse_long(options, argc, argv, at, &used, err);
        else if (argv[at][0] == '-')
            good = err_set(err, ERR_BAD_DATA, "unknown short flag '%s'", argv[at]);
        else
            good = err_set(err, ERR_BAD_DATA, "unexpected %s", argv[at]);
        if (!good) {
            options_free(options);
            return false;
        }
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
    bool good = value.len == 0 || str_to_u64(value, &number) || size_parse(value, &number, &err);
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

void options_print_help(struct buf *out)
{
    static const char *const placeholders[] = {"=...", "=...", "", "=N", "=DURATION", "=SIZE"};
    BUF_ADD(out, "usage: narthex [<flags>]\n       narthex <command> ...\n\n"
                 "The Narthex monitoring server. Commands: narthex help\n\n\nFlags:\n"
                 "  -h, --help\n        Show this help.\n      --version\n        Show version.\n");
    for (size_t i = 0; i < FLAG_COUNT; i++) {
        const struct flag_row *flag = &FLAGS[i];
        buf_addf(out, "      --%s%s%s\n        %s", flag->type == BOOL ? "[no-]" : "", flag->name,
                 placeholders[flag->type], flag->help);
        if (flag->effect == GO_ONLY)
            BUF_ADD(out, " Accepted, no effect here.");
        else if (flag->effect == LATER)
            BUF_ADD(out, " Accepted, not active yet.");
        if (flag->value[0] && flag->type != BOOL)
            buf_addf(out, " (default: %s)", flag->value);
        buf_add_char(out, '\n');
    }
}
