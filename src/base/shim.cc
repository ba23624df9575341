/* shim: see shim.h. The only C++ of the project. */
#include "shim.h"

#include <charconv>
#include <cstring>
#include <new>
#include <string>
#include <vector>

#include <re2/re2.h>

namespace
{

/* For the compiled program and for the state cache of its automaton, which grows while matching. */
constexpr int64_t regex_bytes_max = 8 << 20;

re2::StringPiece piece(struct shim_span span)
{
    return re2::StringPiece(span.ptr ? span.ptr : "", span.len);
}

enum shim_regex_fault fault_of(RE2::ErrorCode code)
{
    switch (code) {
    case RE2::NoError:
        return SHIM_REGEX_OK;
    case RE2::ErrorBadEscape:
        return SHIM_REGEX_BAD_ESCAPE;
    case RE2::ErrorBadCharClass:
        return SHIM_REGEX_BAD_CHAR_CLASS;
    case RE2::ErrorBadCharRange:
        return SHIM_REGEX_BAD_CHAR_RANGE;
    case RE2::ErrorMissingBracket:
        return SHIM_REGEX_MISSING_BRACKET;
    case RE2::ErrorMissingParen:
        return SHIM_REGEX_MISSING_PAREN;
    case RE2::ErrorUnexpectedParen:
        return SHIM_REGEX_UNEXPECTED_PAREN;
    case RE2::ErrorTrailingBackslash:
        return SHIM_REGEX_TRAILING_BACKSLASH;
    case RE2::ErrorRepeatArgument:
        return SHIM_REGEX_REPEAT_ARGUMENT;
    case RE2::ErrorRepeatSize:
        return SHIM_REGEX_REPEAT_SIZE;
    case RE2::ErrorRepeatOp:
        return SHIM_REGEX_REPEAT_OP;
    case RE2::ErrorBadPerlOp:
        return SHIM_REGEX_BAD_PERL_OP;
    case RE2::ErrorBadUTF8:
        return SHIM_REGEX_BAD_UTF8;
    case RE2::ErrorBadNamedCapture:
        return SHIM_REGEX_BAD_NAMED_CAPTURE;
    case RE2::ErrorPatternTooLarge:
        return SHIM_REGEX_TOO_LARGE;
    default:
        return SHIM_REGEX_INTERNAL;
    }
}

bool class_has(const RE2 &rune_class, const char *utf8, size_t len)
{
    try {
        return RE2::FullMatch(re2::StringPiece(utf8, len), rune_class);
    } catch (...) {
        return false;
    }
}

} // namespace

struct shim_regex {
    RE2 re2;

    shim_regex(const re2::StringPiece &pattern, const RE2::Options &options) : re2(pattern, options)
    {
    }
};

extern "C" struct shim_regex *shim_regex_new(struct shim_span pattern, enum shim_regex_fault *fault,
                                             char *fragment, size_t fragment_max,
                                             size_t *fragment_len)
{
    *fault = SHIM_REGEX_INTERNAL;
    *fragment_len = 0;
    try {
        RE2::Options options;
        options.set_log_errors(false);
        options.set_max_mem(regex_bytes_max);
        struct shim_regex *regex = new shim_regex(piece(pattern), options);
        *fault = fault_of(regex->re2.error_code());
        if (*fault == SHIM_REGEX_OK)
            return regex;
        const std::string &arg = regex->re2.error_arg();
        *fragment_len = arg.size() < fragment_max ? arg.size() : fragment_max;
        memcpy(fragment, arg.data(), *fragment_len);
        delete regex;
    } catch (...) {
    }
    return nullptr;
}

extern "C" void shim_regex_free(struct shim_regex *regex)
{
    delete regex;
}

extern "C" bool shim_regex_match(const struct shim_regex *regex, struct shim_span subject,
                                 struct shim_span *spans, int span_count)
{
    const re2::StringPiece text = piece(subject);
    try {
        if (span_count == 0)
            return regex->re2.Match(text, 0, text.size(), RE2::ANCHOR_BOTH, nullptr, 0);
        std::vector<re2::StringPiece> groups(static_cast<size_t>(span_count));
        if (!regex->re2.Match(text, 0, text.size(), RE2::ANCHOR_BOTH, groups.data(), span_count))
            return false;
        for (size_t i = 0; i < groups.size(); i++)
            spans[i] = {groups[i].data(), groups[i].size()};
        return true;
    } catch (...) {
        return false;
    }
}

extern "C" int shim_regex_group_count(const struct shim_regex *regex)
{
    return regex->re2.NumberOfCapturingGroups();
}

extern "C" int shim_regex_group_index(const struct shim_regex *regex, struct shim_span name)
{
    try {
        const auto &groups = regex->re2.NamedCapturingGroups();
        auto found = groups.find(std::string(name.ptr, name.len));
        return found == groups.end() ? -1 : found->second;
    } catch (...) {
        return -1;
    }
}

extern "C" bool shim_rune_is_print(const char *utf8, size_t len)
{
    static const RE2 rune_class("[\\pL\\pM\\pN\\pP\\pS ]");
    return class_has(rune_class, utf8, len);
}

extern "C" bool shim_rune_is_word(const char *utf8, size_t len)
{
    static const RE2 rune_class("[\\pL\\p{Nd}_]");
    return class_has(rune_class, utf8, len);
}

extern "C" enum shim_parse shim_double_parse(struct shim_span text, double *out)
{
    const char *end = text.ptr + text.len;
    std::from_chars_result result = std::from_chars(text.ptr, end, *out);
    if (result.ec == std::errc::result_out_of_range)
        return SHIM_PARSE_RANGE;
    return result.ec == std::errc() && result.ptr == end ? SHIM_PARSE_OK : SHIM_PARSE_BAD;
}
