/* flags: see flags.h. */
#include "flags.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/number.h"

#define DURATION_MS_MAX (INT64_C(24) * 60 * 60 * 1000)

enum flag_type { TEXT, BOOL, NUMBER };

static const struct flag_row {
    enum flag_type type;
    size_t offset;
    const char *name, *environment, *value, *help;
} ROWS[] = {
#define OPTION(type, field, name, environment, value, help)                                        \
    {type, offsetof(struct flags, field), name, environment, value, help},
#include "flags.def"
#undef OPTION
};

static bool bool_parse(struct str text, bool *out)
{
    static const char *const TRUE_TEXTS[] = {"1", "t", "T", "true", "TRUE", "True"};
    static const char *const FALSE_TEXTS[] = {"0", "f", "F", "false", "FALSE", "False"};
    for (size_t i = 0; i < COUNT_OF(TRUE_TEXTS); i++) {
        *out = str_eq(text, str_of(TRUE_TEXTS[i]));
        if (*out || str_eq(text, str_of(FALSE_TEXTS[i])))
            return true;
    }
    return false;
}

static bool flag_set(struct flags *out, const struct flag_row *row, struct str value)
{
    void *place = (char *)out + row->offset;
    switch (row->type) {
    case TEXT:
        *(struct str *)place = value;
        return true;
    case BOOL:
        return bool_parse(value, place);
    case NUMBER:
        return str_to_i64(value, place);
    }
    UNREACHABLE();
}

static const struct flag_row *flag_find(struct str name)
{
    for (size_t i = 0; i < COUNT_OF(ROWS); i++) {
        if (str_eq(str_of(ROWS[i].name), name))
            return &ROWS[i];
    }
    return NULL;
}

static bool take_flag(struct flags *out, int argc, char **argv, int *at, struct err *err)
{
    const char *text = argv[*at];
    struct str value, name = str_cut(str_of(text + (text[1] == '-' ? 2 : 1)), '=', &value);
    const struct flag_row *row = flag_find(name);
    if (str_eq(name, STR("version")) || str_eq(name, STR("help")) || str_eq(name, STR("h"))) {
        *(name.ptr[0] == 'v' ? &out->version : &out->help) = true;
        return true;
    }
    if (!row)
        return err_set(err, ERR_BAD_DATA, "flag provided but not defined: -" STR_FMT,
                       STR_ARG(name));
    if (!value.ptr && row->type == BOOL) {
        value = STR("true");
    } else if (!value.ptr) {
        if (*at + 1 >= argc)
            return err_set(err, ERR_BAD_DATA, "flag needs an argument: -%s", row->name);
        value = str_of(argv[++*at]);
    }
    return flag_set(out, row, value) ||
           err_set(err, ERR_BAD_DATA, "invalid value \"" STR_FMT "\" for flag -%s", STR_ARG(value),
                   row->name);
}

bool flags_parse(struct flags *out, int argc, char **argv, struct err *err)
{
    *out = (struct flags){0};
    for (size_t i = 0; i < COUNT_OF(ROWS); i++) {
        const char *environment = getenv(ROWS[i].environment);
        ENSURE(flag_set(out, &ROWS[i], str_of(ROWS[i].value)));
        if (environment)
            (void)flag_set(out, &ROWS[i], str_of(environment)); /* A bad one counts for nothing. */
    }
    for (int at = 1; at < argc; at++) {
        if (argv[at][0] != '-' || argv[at][1] == '\0')
            return err_set(err, ERR_BAD_DATA, "unexpected argument \"%s\"", argv[at]);
        if (!take_flag(out, argc, argv, &at, err))
            return false;
    }
    return flag_duration_parse(out->connection_timeout, &out->timeout_ms) ||
           err_set(err, ERR_BAD_DATA,
                   "Couldn't parse connection timeout duration, err: time: invalid duration "
                   "\"" STR_FMT "\"",
                   STR_ARG(out->connection_timeout));
}

void flags_print_help(void)
{
    fprintf(stderr, "Usage of narthex redis-exporter:\n");
    for (size_t i = 0; i < COUNT_OF(ROWS); i++)
        fprintf(stderr, "  -%s%s  ($%s, default \"%s\")\n    \t%s\n", ROWS[i].name,
                ROWS[i].type == TEXT     ? " string"
                : ROWS[i].type == NUMBER ? " int"
                                         : "",
                ROWS[i].environment, ROWS[i].value, ROWS[i].help);
    fprintf(stderr, "  -version\n    \tShow version information and exit.\n");
}

bool flag_duration_parse(struct str text, int64_t *out_ms)
{
    static const struct {
        const char *unit;
        double ms;
    } UNITS[] = {{"ns", 1e-6}, {"us", 1e-3}, {"ms", 1}, {"s", 1e3}, {"m", 6e4}, {"h", 3.6e6}};
    double sum_ms = 0;
    while (text.len > 0) {
        size_t digits = 0, end;
        double number;
        bool known = false;
        while (digits < text.len &&
               ((text.ptr[digits] >= '0' && text.ptr[digits] <= '9') || text.ptr[digits] == '.'))
            digits++;
        for (end = digits; end < text.len && text.ptr[end] >= 'a' && text.ptr[end] <= 'z';)
            end++;
        struct str unit = str_from(text.ptr + digits, end - digits);
        if (digits == 0 || !number_parse(str_first(text, digits), &number))
            return false;
        for (size_t i = 0; i < COUNT_OF(UNITS) && !known; i++) {
            known = str_eq(unit, str_of(UNITS[i].unit));
            sum_ms += known ? number * UNITS[i].ms : 0;
        }
        if (!known)
            return false;
        text = str_after(text, end);
    }
    if (!(sum_ms >= 1 && sum_ms <= (double)DURATION_MS_MAX))
        return false;
    *out_ms = (int64_t)sum_ms;
    return true;
}
