/* token: what tokens are called in errors, and texts and runes as Go quotes them. */
#include "base/buf.h"
#include "base/ensure.h"
#include "lex.h"

static const struct {
    enum token_sort sort;
    const char *text;
} token_table[] = {
#define X(kind, sort, text) {sort, text},
    TOKENS(X)
#undef X
};

enum token_sort token_sort(enum token_kind kind)
{
    ENSURE(kind < TOKEN_KIND_COUNT);
    return token_table[kind].sort;
}

const char *token_text(enum token_kind kind)
{
    ENSURE(kind < TOKEN_KIND_COUNT);
    return token_table[kind].text;
}

const char *text_quoted(struct arena *arena, struct str text)
{
    struct buf quoted;

    /* An error text is cut at ERR_TEXT_MAX anyway. */
    buf_init(&quoted, 16 * ERR_TEXT_MAX);
    buf_add_go_quoted(&quoted, str_first(text, ERR_TEXT_MAX));
    struct str copy = arena_str(arena, buf_str(&quoted));
    buf_deinit(&quoted);
    return copy.ptr;
}

size_t rune_encode(char out[4], uint32_t rune)
{
    if (rune < 0x80) {
        out[0] = (char)rune;
        return 1;
    }
    size_t len = rune < 0x800 ? 2 : rune < 0x10000 ? 3 : 4;
    for (size_t i = len - 1; i > 0; i--, rune >>= 6)
        out[i] = (char)(0x80 | (rune & 0x3f));
    out[0] = (char)((0xf00 >> len) | rune);
    return len;
}

/* Made from the text form, where only the two quotes are escaped otherwise.
 */
const char *rune_quoted(struct arena *arena, int32_t rune)
{
    char bytes[4];

    if (rune == '\'')
        return "'\\''";
    if (rune == '"')
        return "'\"'";
    if (rune == RUNE_END || rune == RUNE_BAD)
        return "'\xef\xbf\xbd'";
    const char *quoted = text_quoted(arena, str_from(bytes, rune_encode(bytes, (uint32_t)rune)));
    return arena_strf(arena, "'%.*s'", (int)strlen(quoted) - 2, quoted + 1).ptr;
}

const char *token_describe(struct arena *arena, struct token token)
{
    switch (token_sort(token.kind)) {
    case SORT_KEYWORD:
        return arena_strf(arena, "<" STR_FMT ">", STR_ARG(token.text)).ptr;
    case SORT_OPERATOR:
        return arena_strf(arena, "<op:" STR_FMT ">", STR_ARG(token.text)).ptr;
    case SORT_AGGREGATOR:
        return arena_strf(arena, "<aggr:" STR_FMT ">", STR_ARG(token.text)).ptr;
    case SORT_SIGN:
        return text_quoted(arena, token.text);
    case SORT_VALUE:
        break;
    }
    if (token.kind == TOKEN_END)
        return token_text(TOKEN_END);
    struct str shown = token.text;
    bool is_name = token.kind == TOKEN_IDENTIFIER || token.kind == TOKEN_METRIC_IDENTIFIER;
    bool cut = !is_name && shown.len > 10;
    if (cut) {
        size_t at = 0;
        for (int runes = 0; runes < 10 && at < shown.len; runes++)
            str_next_rune(shown, &at);
        shown = str_first(shown, at);
    }
    return arena_strf(arena, "%s %s%s", token_text(token.kind), text_quoted(arena, shown),
                      cut ? "..." : "")
        .ptr;
}
