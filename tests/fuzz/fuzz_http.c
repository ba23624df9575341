/* Bytes of a connection into requests, paths and parameters, fed whole and in small pieces: both
 * ways must see the same requests, and no byte after a refusal may be read. */
#include <stdint.h>

#include "base/ensure.h"
#include "base/hash.h"
#include "http_parse.h"
#include "http_request.h"
#include "net/http_server.h"

#define HEAD_BYTES_MAX 4096
#define BODY_BYTES_MAX 4096

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

struct outcome {
    unsigned request_count;
    uint64_t digest;
    int bad_status;
};

static uint64_t mix(uint64_t digest, struct str text)
{
    return hash64_mix(digest, hash_fnv1a(HASH_FNV1A_INIT, text));
}

static void take_request(struct http_parse *parse, struct outcome *outcome)
{
    struct arena arena;
    struct err err;
    arena_init(&arena, 0);
    struct http_request request = {.arena = &arena, .body = buf_str(&parse->body)};
    struct http_params params;
    ENSURE(parse->text.len <= HEAD_BYTES_MAX && parse->body.len <= BODY_BYTES_MAX);
    if (http_request_build(parse, &request, &err)) {
        ENSURE(request.path.len > 0);
        outcome->digest = mix(outcome->digest, request.path);
        if (http_request_params(&request, &params, &err))
            for (size_t i = 0; i < params.count; i++)
                outcome->digest = mix(outcome->digest, params.items[i].value);
    }
    outcome->digest = mix(outcome->digest, request.target);
    outcome->digest = mix(outcome->digest, request.body);
    for (size_t i = 0; i < request.header_count; i++)
        outcome->digest = mix(outcome->digest, request.headers[i].value);
    outcome->request_count++;
    arena_deinit(&arena);
}

static struct outcome parse_in_pieces(struct str bytes, size_t piece_len)
{
    struct http_parse parse;
    struct outcome outcome = {0};
    http_parse_init(&parse, HEAD_BYTES_MAX, BODY_BYTES_MAX);
    for (size_t at = 0; at < bytes.len && parse.state != HTTP_PARSE_BAD;) {
        struct str piece = str_first(str_after(bytes, at), piece_len);
        size_t eaten = http_parse_feed(&parse, piece);
        ENSURE(eaten <= piece.len);
        ENSURE(eaten == piece.len || parse.state >= HTTP_PARSE_DONE);
        at += eaten;
        if (parse.state == HTTP_PARSE_DONE) {
            take_request(&parse, &outcome);
            http_parse_next(&parse);
        }
    }
    outcome.bad_status = parse.bad_status;
    ENSURE((parse.state == HTTP_PARSE_BAD) == (outcome.bad_status >= 400));
    http_parse_deinit(&parse);
    return outcome;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct str bytes = str_from((const char *)data, len);
    struct outcome whole = parse_in_pieces(bytes, len);
    static const size_t piece_lens[] = {1, 7};
    for (size_t i = 0; i < COUNT_OF(piece_lens); i++) {
        struct outcome pieces = parse_in_pieces(bytes, piece_lens[i]);
        ENSURE(pieces.request_count == whole.request_count);
        ENSURE(pieces.digest == whole.digest);
        ENSURE(pieces.bad_status == whole.bad_status);
    }
    return 0;
}
