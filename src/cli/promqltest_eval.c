/* promqltest_eval: reads an eval and the lines below it. */
#include "promqltest_runner.h"

#define VALUES_IN_INSTANT                                                                          \
    "expecting multiple values in instant evaluation not allowed. consider using 'expect range "   \
    "vector' directive to enable a range vector result for an instant query"

/* --- expect --- */

static void expect(struct command *command, enum expectation_kind kind, struct str msg,
                   struct regex *regex)
{
    struct expectation expectation = {.kind = kind, .msg = msg, .regex = regex};
    VEC_PUSH(&command->expectations, expectation);
}

/* Found anywhere in a text, as Go's MatchString. */
static bool expect_regex(struct runner *runner, struct command *command, enum expectation_kind kind,
                         struct str pattern, struct err *err)
{
    struct regex *regex;
    struct str wrapped =
        arena_strf(&runner->arena, "(?s:.*)(?:" STR_FMT ")(?s:.*)", STR_ARG(pattern));
    if (!regex_new(&regex, wrapped, err))
        return err_wrap(err, "%s:%zu", runner->name, runner->line);
    expect(command, kind, STR_EMPTY, regex);
    return true;
}

static bool has_kind(const struct command *command, enum expectation_kind kind)
{
    for (size_t i = 0; i < command->expectations.count; i++)
        if (command->expectations.items[i].kind == kind)
            return true;
    return false;
}

static bool expectations_agree(struct runner *runner, const struct command *command,
                               struct err *err)
{
    size_t failures = 0;
    if (has_kind(command, EXPECT_INFO) && has_kind(command, EXPECT_NO_INFO))
        return runner_malformed(runner, err,
                                "invalid expect lines, info and no_info cannot be used together");
    if (has_kind(command, EXPECT_WARN) && has_kind(command, EXPECT_NO_WARN))
        return runner_malformed(runner, err,
                                "invalid expect lines, warn and no_warn cannot be used together");
    for (size_t i = 0; i < command->expectations.count; i++)
        failures += command->expectations.items[i].kind == EXPECT_FAIL;
    return failures <= 1 ||
           runner_malformed(runner, err,
                            "invalid expect lines, multiple expect fail lines are not allowed");
}

/* A literal with Go's escapes in any quotes is an expression, too. */
static bool parse_string(struct runner *runner, struct command *command, struct str literal,
                         struct err *err)
{
    struct query_options options;
    struct query *query = NULL;
    query_options_init(&options);
    bool good = query_new(&query, literal, &options, err) && query_type(query) == QUERY_STRING &&
                query_run(query, runner->store.storage, err);
    if (good) {
        command->has_string = true;
        command->string = arena_str(&runner->arena, query_result(query)->string);
    }
    query_free(query);
    return good || runner_malformed(runner, err,
                                    "expected string literal not valid - check that the "
                                    "string is correctly quoted");
}

static bool take_word(struct runner *runner, struct str *rest, const char *word, const char *what,
                      struct err *err)
{
    return str_eq(runner_word(rest), str_of(word)) || runner_malformed(runner, err, what);
}

/* from A to B step S */
static bool parse_span(struct runner *runner, struct str *rest, int64_t *from_ms, int64_t *to_ms,
                       int64_t *step_ms, const char *what, struct err *err)
{
    if (!take_word(runner, rest, "from", what, err) ||
        !runner_time(runner, "invalid start timestamp definition", runner_word(rest), from_ms,
                     err) ||
        !take_word(runner, rest, "to", what, err) ||
        !runner_time(runner, "invalid end timestamp definition", runner_word(rest), to_ms, err) ||
        !take_word(runner, rest, "step", what, err) ||
        !runner_time(runner, "invalid step definition", runner_word(rest), step_ms, err))
        return false;
    return *from_ms <= *to_ms ||
           runner_malformed(runner, err,
                            "invalid test definition, end timestamp is before start timestamp");
}

/* range vector from A to B step S */
static bool parse_range_vector(struct runner *runner, struct command *command, struct str rest,
                               struct err *err)
{
    int64_t to_ms;
    if (!take_word(runner, &rest, "vector", "invalid range vector definition", err) ||
        !parse_span(runner, &rest, &command->matrix_from_ms, &to_ms, &command->matrix_step_ms,
                    "invalid range vector definition", err))
        return false;
    command->is_matrix = true;
    return true;
}

static bool parse_expect(struct runner *runner, struct command *command, struct str rest,
                         struct err *err)
{
    static const struct {
        const char *word;
        enum expectation_kind kind;
    } kinds[] = {{"fail", EXPECT_FAIL},       {"warn", EXPECT_WARN},
                 {"info", EXPECT_INFO},       {"no_warn", EXPECT_NO_WARN},
                 {"no_info", EXPECT_NO_INFO}, {"ordered", EXPECT_ORDERED}};
    struct str word = runner_word(&rest);
    if (str_eq(word, STR("string")))
        return parse_string(runner, command, rest, err);
    if (str_eq(word, STR("range")))
        return parse_range_vector(runner, command, rest, err);
    for (size_t i = 0; i < COUNT_OF(kinds); i++) {
        if (!str_eq(word, str_of(kinds[i].word)))
            continue;
        if (str_starts(rest, STR("regex:"))) {
            if (!expect_regex(runner, command, kinds[i].kind, str_trim(str_after(rest, 6)), err))
                return false;
        } else if (rest.len == 0 || str_starts(rest, STR("msg:"))) {
            expect(command, kinds[i].kind,
                   rest.len ? str_trim(str_after(rest, 4)) : (struct str){0}, NULL);
        } else {
            break;
        }
        return expectations_agree(runner, command, err);
    }
    return runner_malformed(runner, err,
                            "invalid expect statement, must match `expect <type> <match_type>: "
                            "<string>` format");
}

/* --- lines below --- */

static bool parse_old_failure(struct runner *runner, struct command *command, struct str line,
                              struct err *err)
{
    bool is_regex = str_starts(line, STR("expected_fail_regexp"));
    VEC_EACH (expectation, &command->expectations)
        regex_free(expectation->regex);
    VEC_CLEAR(&command->expectations);
    runner_word(&line);
    if (is_regex)
        return expect_regex(runner, command, EXPECT_FAIL, line, err);
    expect(command, EXPECT_FAIL, line, NULL);
    return true;
}

static bool parse_expected_line(struct runner *runner, struct command *command, struct str line,
                                struct err *err)
{
    struct str rest = line;
    if (str_eq(runner_word(&rest), STR("expect")))
        return parse_expect(runner, command, rest, err);
    if (has_kind(command, EXPECT_FAIL) && str_starts(line, STR("expected_fail_")))
        return parse_old_failure(runner, command, line, err);
    if (runner_number(line, &command->scalar)) {
        command->has_scalar = true;
        return true;
    }
    struct expected series;
    if (!runner_series(runner, line, &series, err))
        return false;
    VEC_PUSH(&command->series, series);
    return series.points.count <= 1 || command->is_range || command->is_matrix ||
           runner_malformed(runner, err, VALUES_IN_INSTANT);
}

/* --- the line itself --- */

static bool parse_when(struct runner *runner, struct command *command, struct str *rest,
                       struct err *err)
{
    static const char what[] =
        "invalid evaluation command. Must be either 'eval[_fail|_warn|_ordered] instant "
        "at <offset:duration> <query>' or 'eval[_fail|_warn] range from <from> to <to> step "
        "<step> <query>'";
    struct str kind = runner_word(rest);
    command->is_range = str_eq(kind, STR("range"));
    command->step_ms = 0;
    if (command->is_range) {
        if (!parse_span(runner, rest, &command->from_ms, &command->to_ms, &command->step_ms, what,
                        err))
            return false;
        if (command->step_ms <= 0)
            return runner_malformed(runner, err, "invalid step definition");
    } else {
        if (!str_eq(kind, STR("instant")))
            return runner_malformed(runner, err, what);
        if (!take_word(runner, rest, "at", what, err) ||
            !runner_time(runner, "invalid timestamp definition", runner_word(rest),
                         &command->from_ms, err))
            return false;
        command->to_ms = command->from_ms;
    }
    return rest->len > 0 || runner_malformed(runner, err, what);
}

bool command_parse_eval(struct runner *runner, struct str word, struct str rest,
                        struct command *command, struct err *err)
{
    static const struct {
        const char *word;
        enum expectation_kind kind;
    } old[] = {{"eval_fail", EXPECT_FAIL},
               {"eval_warn", EXPECT_WARN},
               {"eval_info", EXPECT_INFO},
               {"eval_ordered", EXPECT_ORDERED}};
    struct str line;
    *command = (struct command){.line = runner->line};
    bool known = str_eq(word, STR("eval"));
    for (size_t i = 0; i < COUNT_OF(old); i++) {
        if (str_eq(word, str_of(old[i].word))) {
            expect(command, old[i].kind, (struct str){0}, NULL);
            known = true;
        }
    }
    if (!known)
        return runner_malformed(runner, err, "invalid command");
    if (!parse_when(runner, command, &rest, err))
        return false;
    command->expr = rest;
    while (runner_block_line(runner, &line))
        if (!parse_expected_line(runner, command, line, err))
            return false;
    return true;
}

void command_free(struct command *command)
{
    VEC_EACH (series, &command->series)
        series_expected_free(series);
    VEC_EACH (expectation, &command->expectations)
        regex_free(expectation->regex);
    VEC_FREE(&command->series);
    VEC_FREE(&command->expectations);
}
