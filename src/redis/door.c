/* door: see door.h. The header of who was let in last is kept: a scraper sends the same one each time,
 * and is not asked to wait for bcrypt again. Wrong ones are computed one after the other, and only so
 * many wait. */
#include "door.h"

#include "base/base64.h"
#include "base/mem.h"
#include "net/password.h"
#include "net/worker.h"

#define HEADER_BYTES_MAX 8192
#define KNOCKS_MAX       16

struct door {
    struct uv_loop_s *loop;
    struct str user, hash; /* Borrowed from the flags. `hash` empty: a plain password. */
    char *wanted;          /* The header that is good; NULL: none is known yet. */
    bool is_open;          /* Anybody may ask. */
    bool stopping;
    struct lane *lane; /* Opened at the first use. */
    unsigned knock_count;
};

/* Somebody whose password is being computed. */
struct knock {
    struct job job;
    struct door *door;
    struct http_exchange *exchange;
    http_handler_fn pass;
    void *ctx;
    char *header;
    struct buf decoded;
    struct str user, password; /* In decoded. */
    bool good;
};

/* In a time that does not depend on where they differ. */
static bool same(struct str given, struct str wanted)
{
    unsigned differ = given.len != wanted.len;

    for (size_t i = 0; i < wanted.len; i++)
        differ |= (unsigned)(wanted.ptr[i] ^ (i < given.len ? given.ptr[i] : 0));
    return differ == 0;
}

/* "Basic " and user:password in base64. */
static char *basic_header(struct str user, struct str password)
{
    struct buf plain, text;

    buf_init(&plain, HEADER_BYTES_MAX);
    buf_init(&text, 2 * HEADER_BYTES_MAX);
    buf_add_str(&plain, user);
    buf_add_char(&plain, ':');
    buf_add_str(&plain, password);
    BUF_ADD(&text, "Basic ");
    buf_add_base64(&text, buf_str(&plain));
    char *out = str_dup(buf_str(&text));
    buf_deinit(&plain);
    buf_deinit(&text);
    return out;
}

bool door_open(struct door **out, struct uv_loop_s *loop, const struct flags *flags,
               struct err *err)
{
    bool hashed = flags->basic_auth_hash.len > 0;
    struct door *door;

    *out = NULL;
    if (hashed && !password_hash_check(flags->basic_auth_hash, err))
        return err_wrap(err, "basic-auth-hash-password");
    door = MEM_NEW(struct door);
    door->loop = loop;
    door->user = flags->basic_auth_username;
    door->hash = flags->basic_auth_hash;
    door->is_open = door->user.len == 0 || (!hashed && flags->basic_auth_password.len == 0);
    if (!door->is_open && !hashed)
        door->wanted = basic_header(door->user, flags->basic_auth_password);
    *out = door;
    return true;
}

static void refuse(struct http_exchange *exchange)
{
    struct http_header header = {STR("WWW-Authenticate"),
                                 STR("Basic realm=\"redis-exporter, charset=UTF-8\"")};
    struct http_response response = {
        .status = 401, .content_type = "text/plain", .headers = &header, .header_count = 1};

    http_reply(exchange, &response, NULL);
}

static void knock_free(struct knock *knock)
{
    explicit_bzero(knock->header, strlen(knock->header));
    if (knock->decoded.ptr)
        explicit_bzero(knock->decoded.ptr, knock->decoded.len);
    mem_free(knock->header);
    buf_deinit(&knock->decoded);
    mem_free(knock);
}

/* On the lane. A stranger costs as much as a wrong password. */
static void knock_run(struct job *job)
{
    struct knock *knock = CONTAINER_OF(job, struct knock, job);
    bool matches = password_matches(knock->door->hash, knock->password);

    knock->good = same(knock->user, knock->door->user) && matches;
}

static void knock_done(struct job *job)
{
    struct knock *knock = CONTAINER_OF(job, struct knock, job);
    struct door *door = knock->door;
    bool good = knock->good && !door->stopping;

    door->knock_count--;
    if (good) {
        mem_free(door->wanted);
        door->wanted = str_dup(str_of(knock->header));
        knock->pass(knock->ctx, knock->exchange);
    } else if (door->stopping) {
        http_reply_text(knock->exchange, 503, "stopping");
    } else {
        refuse(knock->exchange);
    }
    knock_free(knock);
}

/* NULL when it is no basic authorization. */
static struct knock *knock_new(struct door *door, struct str header)
{
    struct knock *knock = MEM_NEW(struct knock);

    buf_init(&knock->decoded, HEADER_BYTES_MAX);
    knock->door = door;
    knock->header = str_dup(header);
    if (header.len <= HEADER_BYTES_MAX && str_eq_nocase(str_first(header, 6), STR("Basic ")) &&
        base64_decode(str_after(header, 6), &knock->decoded)) {
        knock->user = str_cut(buf_str(&knock->decoded), ':', &knock->password);
        if (knock->password.ptr)
            return knock;
    }
    knock_free(knock);
    return NULL;
}

static void door_knock(struct door *door, struct knock *knock)
{
    struct lane_options lane = {.name = "password", .thread_count = 1, .priority = LANE_NICE};

    knock->job = (struct job){.run = knock_run, .done = knock_done};
    door->knock_count++;
    if (!door->lane)
        door->lane = lane_open(door->loop, &lane);
    lane_submit(door->lane, &knock->job);
}

void door_ask(struct door *door, struct http_exchange *exchange, http_handler_fn pass, void *ctx)
{
    struct str header = http_request_header(http_exchange_request(exchange), "Authorization");
    struct knock *knock;

    if (door->is_open || (door->wanted && same(header, str_of(door->wanted)))) {
        pass(ctx, exchange);
        return;
    }
    if (door->hash.len == 0 || header.len == 0) {
        refuse(exchange);
        return;
    }
    if (door->knock_count >= KNOCKS_MAX) {
        http_reply_text(exchange, 503, "too many wait for their passwords");
        return;
    }
    knock = knock_new(door, header);
    if (!knock) {
        refuse(exchange);
        return;
    }
    knock->exchange = exchange;
    knock->pass = pass;
    knock->ctx = ctx;
    door_knock(door, knock);
}

void door_stop(struct door *door)
{
    door->stopping = true;
}

void door_close(struct door *door)
{
    if (!door)
        return;
    lane_close(door->lane);
    if (door->wanted)
        explicit_bzero(door->wanted, strlen(door->wanted));
    mem_free(door->wanted);
    mem_free(door);
}
