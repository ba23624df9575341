/* kubernetes_stream: cuts the answer to a list or a watch into pieces while it arrives, so that a
 * list of ten thousand pods never is in memory as a whole.
 *
 *     {"kind":"PodList","metadata":{...},"items":[ {...} , {...} ]}
 *            ^ piece              ^ piece           ^ piece  ^ piece
 *
 * Only brackets, quotes and commas are looked at; whoever gets a piece parses it. */
#include "kubernetes.h"

/* Objects are at most some 1.5 MiB in the API server's store; as JSON they may be larger. */
#define PIECE_BYTES_MAX ((size_t)8 << 20)
#define KEY_BYTES_MAX   256

enum {
    STATE_BEFORE,      /* The first bracket. */
    STATE_KEY_WANTED,  /* In a list: a field's name, or the end. */
    STATE_KEY,         /* Inside its quotes. */
    STATE_COLON,       /* Between name and value. */
    STATE_VALUE,       /* Before the value. */
    STATE_AFTER_VALUE, /* A comma, or the end. */
    STATE_ITEM_WANTED, /* In "items": an item, a comma or the end. */
    STATE_FIELD,       /* Inside the value of a field. */
    STATE_ITEM,        /* Inside an item. */
    STATE_EVENT,       /* Inside an object of a watch. */
    STATE_END,
};

void kube_stream_init(struct kube_stream *stream, enum kube_stream_mode mode)
{
    *stream = (struct kube_stream){.mode = mode, .state = STATE_BEFORE};
    buf_init(&stream->key, KEY_BYTES_MAX);
    buf_init(&stream->piece, PIECE_BYTES_MAX);
}

void kube_stream_deinit(struct kube_stream *stream)
{
    buf_deinit(&stream->key);
    buf_deinit(&stream->piece);
}

bool kube_stream_is_whole(const struct kube_stream *stream)
{
    return stream->state == (stream->mode == KUBE_LIST ? STATE_END : STATE_BEFORE);
}

static bool is_space(char c)
{
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

static void piece_begin(struct kube_stream *stream, uint8_t state)
{
    buf_clear(&stream->piece);
    stream->state = state;
    stream->depth = 0;
    stream->quoted = stream->escaped = false;
}

/* Length of what belongs to the piece at the front of `s`; *done when the piece ends there. */
static size_t piece_len(struct kube_stream *stream, struct str s, bool *done)
{
    for (size_t at = 0; at < s.len; at++) {
        char c = s.ptr[at];
        if (stream->escaped) {
            stream->escaped = false;
        } else if (stream->quoted) {
            stream->escaped = c == '\\';
            stream->quoted = c != '"';
            *done = !stream->quoted && stream->depth == 0;
        } else if (c == '"') {
            stream->quoted = true;
        } else if (c == '{' || c == '[') {
            stream->depth++;
        } else if ((c == '}' || c == ']') && stream->depth > 0) {
            *done = --stream->depth == 0;
        } else if (stream->depth == 0 && (c == ',' || c == '}' || c == ']' || is_space(c))) {
            *done = true; /* After a number or a word, which has no end of its own. */
            return at;
        }
        if (*done)
            return at + 1;
    }
    return s.len;
}

static bool bad_byte(const struct kube_stream *stream, char c, struct err *err)
{
    static const char *const wanted[] = {
        [STATE_BEFORE] = "an object",    [STATE_KEY_WANTED] = "a field's name",
        [STATE_COLON] = "a colon",       [STATE_AFTER_VALUE] = "a comma or the end",
        [STATE_ITEM_WANTED] = "an item", [STATE_END] = "the end",
    };
    return err_set(err, ERR_BAD_DATA, "answer is not valid: 0x%02x where %s is expected",
                   (unsigned char)c, wanted[stream->state]);
}

static bool key_add(struct kube_stream *stream, char c, struct err *err)
{
    if (stream->escaped)
        stream->escaped = false;
    else if (c == '\\')
        stream->escaped = true;
    else if (c == '"') {
        stream->state = STATE_COLON;
        return true;
    }
    buf_add_char(&stream->key, c);
    return !stream->key.overflow ||
           err_set(err, ERR_BAD_DATA, "answer is not valid: a field's name is too long");
}

/* A byte that belongs to no piece. */
static bool frame_byte(struct kube_stream *stream, char c, struct err *err)
{
    switch (stream->state) {
    case STATE_BEFORE:
        if (c != '{')
            return bad_byte(stream, c, err);
        stream->state = STATE_KEY_WANTED;
        return true;
    case STATE_KEY_WANTED:
        buf_clear(&stream->key);
        stream->escaped = false;
        if (c != '"' && c != '}')
            return bad_byte(stream, c, err);
        stream->state = c == '}' ? STATE_END : STATE_KEY;
        return true;
    case STATE_COLON:
        if (c != ':')
            return bad_byte(stream, c, err);
        stream->state = STATE_VALUE;
        return true;
    case STATE_AFTER_VALUE:
        if (c != ',' && c != '}')
            return bad_byte(stream, c, err);
        stream->state = c == '}' ? STATE_END : STATE_KEY_WANTED;
        return true;
    case STATE_ITEM_WANTED:
        if (c != ',' && c != ']')
            return bad_byte(stream, c, err);
        stream->state = c == ']' ? STATE_AFTER_VALUE : STATE_ITEM_WANTED;
        return true;
    default:
        return bad_byte(stream, c, err);
    }
}

static bool begins_piece(const struct kube_stream *stream, char c)
{
    bool list = stream->mode == KUBE_LIST;

    return (stream->state == STATE_BEFORE && !list && c == '{') ||
           (stream->state == STATE_ITEM_WANTED && c == '{') || stream->state == STATE_VALUE;
}

/* Decides what a piece is that begins with `c`; false when it is the bracket of "items". */
static bool piece_open(struct kube_stream *stream, char c)
{
    if (stream->state == STATE_VALUE && c == '[' && str_eq(buf_str(&stream->key), STR("items"))) {
        stream->state = STATE_ITEM_WANTED;
        return false;
    }
    piece_begin(stream, stream->state == STATE_BEFORE  ? STATE_EVENT
                        : stream->state == STATE_VALUE ? STATE_FIELD
                                                       : STATE_ITEM);
    return true;
}

static void piece_close(struct kube_stream *stream)
{
    stream->state = stream->state == STATE_EVENT   ? STATE_BEFORE
                    : stream->state == STATE_FIELD ? STATE_AFTER_VALUE
                                                   : STATE_ITEM_WANTED;
}

/* Takes more of the piece; true when it is complete. */
static bool piece_take(struct kube_stream *stream, struct str *rest)
{
    bool done = false;
    size_t len = piece_len(stream, *rest, &done);

    buf_add(&stream->piece, rest->ptr, len);
    *rest = str_after(*rest, len);
    if (done)
        piece_close(stream);
    return done;
}

enum kube_stream_step kube_stream_next(struct kube_stream *stream, struct str *rest,
                                       struct str *key, struct str *piece, struct err *err)
{
    while (rest->len > 0) {
        char c = rest->ptr[0];
        if (stream->state >= STATE_FIELD && stream->state <= STATE_EVENT) {
            bool done = piece_take(stream, rest);
            if (stream->piece.overflow) {
                err_set(err, ERR_LIMIT, "an object is larger than %zu bytes", PIECE_BYTES_MAX);
                return KUBE_STREAM_BAD;
            }
            if (!done)
                continue;
            if (stream->piece.len == 0) {
                bad_byte(stream, c, err);
                return KUBE_STREAM_BAD;
            }
            *key = buf_str(&stream->key);
            *piece = buf_str(&stream->piece);
            return KUBE_STREAM_PIECE;
        }
        if (stream->state != STATE_KEY && is_space(c)) {
            *rest = str_after(*rest, 1);
        } else if (begins_piece(stream, c)) {
            if (!piece_open(stream, c))
                *rest = str_after(*rest, 1);
        } else {
            *rest = str_after(*rest, 1);
            if (stream->state == STATE_KEY ? !key_add(stream, c, err) : !frame_byte(stream, c, err))
                return KUBE_STREAM_BAD;
        }
    }
    return KUBE_STREAM_MORE;
}
