/* Any bytes as the answer to a list and to a watch: the same pieces however they are portioned, and
 * from each object of any kind that is kept a group can be made. */
#include <stdint.h>

#include "base/log.h"
#include "base/mem.h"
#include "kubernetes.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static const struct kube_object *self; /* Each object knows itself only. */

static const struct kube_object *on_find(struct kube_lookup *lookup, enum kube_kind kind,
                                         struct str key)
{
    (void)lookup;
    (void)kind;
    return self && str_eq(kube_object_key(self), key) ? self : NULL;
}

static void fuzz_object(const struct json *root)
{
    struct kube_lookup lookup = {.find = on_find,
                                 .node = true,
                                 .namespace = true,
                                 .deployment = true,
                                 .job = true,
                                 .cronjob = true};

    for (enum kube_kind kind = KUBE_NODE; kind < KUBE_KIND_COUNT; kind++) {
        struct kube_object *object;
        struct err err = {0};
        if (!kube_object_new(&object, kind, root, &err)) {
            ENSURE(!object && err.code != ERR_NONE);
            continue;
        }
        self = object;
        if (kind <= KUBE_INGRESS)
            target_group_unref(kube_group_new(kind, object, &lookup));
        kube_object_free(object);
    }
}

static void fuzz_piece(struct str piece)
{
    struct json *root;
    struct err err;

    if (!json_parse(&root, piece, &err))
        return;
    fuzz_object(root);
    fuzz_object(json_get(root, "object"));
    json_free(root);
}

/* All pieces, in a row. */
static void cut(enum kube_stream_mode mode, struct str text, size_t portion, struct buf *out)
{
    struct kube_stream stream;
    struct str key, piece;
    struct err err;
    enum kube_stream_step step = KUBE_STREAM_MORE;

    kube_stream_init(&stream, mode);
    for (size_t at = 0; at < text.len && step != KUBE_STREAM_BAD; at += portion) {
        struct str rest = str_first(str_after(text, at), portion);
        while ((step = kube_stream_next(&stream, &rest, &key, &piece, &err)) == KUBE_STREAM_PIECE) {
            buf_add_str(out, key);
            buf_add_str(out, piece);
            if (portion > 1)
                fuzz_piece(piece);
        }
    }
    buf_add_char(out, step != KUBE_STREAM_BAD && kube_stream_is_whole(&stream) ? '.' : '!');
    kube_stream_deinit(&stream);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct str text = {(const char *)data, len};
    struct buf whole, single;

    log_setup(LOG_ERROR, LOG_LOGFMT);
    buf_init(&whole, (size_t)64 << 20);
    buf_init(&single, (size_t)64 << 20);
    for (enum kube_stream_mode mode = KUBE_LIST; mode <= KUBE_WATCH; mode++) {
        buf_clear(&whole);
        buf_clear(&single);
        cut(mode, text, len + 2, &whole);
        cut(mode, text, 1, &single);
        ENSURE(str_eq(buf_str(&whole), buf_str(&single)));
    }
    buf_deinit(&whole);
    buf_deinit(&single);
    return 0;
}
