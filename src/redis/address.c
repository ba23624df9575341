/* address: see address.h. */
#include "address.h"

#define PORT_DEFAULT 6379
#define DB_MAX       INT32_MAX

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool percent_decode(struct str text, bool plus, struct arena *arena, struct str *out)
{
    char *bytes = arena_alloc(arena, text.len + 1);
    size_t len = 0;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (c == '%') {
            int high = i + 2 < text.len ? hex_value(text.ptr[i + 1]) : -1;
            int low = i + 2 < text.len ? hex_value(text.ptr[i + 2]) : -1;
            if (high < 0 || low < 0)
                return false;
            c = (char)(high * 16 + low);
            i += 2;
        } else if (plus && c == '+') {
            c = ' ';
        }
        bytes[len++] = c;
    }
    bytes[len] = '\0';
    *out = str_from(bytes, len);
    return true;
}

static bool take_scheme(struct address *out, struct str *rest)
{
    static const struct {
        const char *name, *means;
        bool tls;
    } SCHEMES[] = {{"redis", "redis", false},
                   {"rediss", "rediss", true},
                   {"valkey", "redis", false},
                   {"valkeys", "rediss", true},
                   {"unix", "unix", false}};
    size_t at = str_find(*rest, STR("://"));
    out->scheme = STR("redis");
    if (at == rest->len)
        return true;
    for (size_t i = 0; i < COUNT_OF(SCHEMES); i++) {
        if (!str_eq_nocase(str_first(*rest, at), str_of(SCHEMES[i].name)))
            continue;
        out->scheme = str_of(SCHEMES[i].means);
        out->tls = SCHEMES[i].tls;
        *rest = str_after(*rest, at + 3);
        return true;
    }
    return false;
}

static bool take_user(struct address *out, struct str *rest, struct arena *arena)
{
    size_t at = rest->len;
    while (at > 0 && rest->ptr[at - 1] != '@')
        at--;
    if (at == 0)
        return true;
    struct str password, user = str_cut(str_first(*rest, at - 1), ':', &password);
    out->has_password = password.ptr != NULL;
    *rest = str_after(*rest, at);
    return percent_decode(user, false, arena, &out->user) &&
           (!out->has_password || percent_decode(password, false, arena, &out->password));
}

static bool take_host(struct address *out, struct str text)
{
    uint64_t port = PORT_DEFAULT;
    struct str host = text, port_text = {NULL, 0};
    if (text.len > 0 && text.ptr[0] == '[') {
        size_t end = str_find_char(text, ']');
        if (end == text.len || (end + 1 < text.len && text.ptr[end + 1] != ':'))
            return false;
        host = str_from(text.ptr + 1, end - 1);
        port_text = str_after(text, end + 2);
    } else {
        host = str_cut(text, ':', &port_text);
    }
    if (port_text.len > 0 && (!str_to_u64(port_text, &port) || port == 0 || port > UINT16_MAX))
        return false;
    out->host = host.len > 0 ? host : STR("localhost");
    out->port = (uint16_t)port;
    return true;
}

/* /0, or ?db=0. */
static bool take_db(struct address *out, struct str path, struct str query)
{
    while (query.ptr) {
        struct str value, name = str_cut(str_cut(query, '&', &query), '=', &value);
        if (str_eq(name, STR("db")) && value.len > 0)
            path = value;
    }
    return path.len == 0 || (str_to_u64(path, &out->db) && out->db <= DB_MAX);
}

bool redis_address_parse(struct address *out, struct str text, struct arena *arena, struct err *err)
{
    struct str path, query, copy = arena_str(arena, text), rest = copy;
    *out = (struct address){.port = PORT_DEFAULT};
    if (!take_scheme(out, &rest))
        return err_set(err, ERR_BAD_DATA, "invalid redis URL scheme: " STR_FMT,
                       STR_ARG(str_first(copy, str_find(copy, STR("://")))));
    if (str_eq(out->scheme, STR("unix"))) {
        out->unix_path = rest;
        out->host_port = rest;
        return rest.len > 0 || err_set(err, ERR_BAD_DATA, "dial unix: missing address");
    }
    rest = str_cut(rest, '?', &query);
    /* A password may hold a slash; the path begins after the last '@'. */
    size_t at = rest.len;
    while (at > 0 && rest.ptr[at - 1] != '@')
        at--;
    size_t slash = at + str_find_char(str_after(rest, at), '/');
    path = str_after(rest, slash + 1);
    rest = str_first(rest, slash);
    if (!take_user(out, &rest, arena))
        return err_set(err, ERR_BAD_DATA, "invalid redis URL: bad escape in user or password");
    out->host_port = rest;
    if (!take_host(out, rest))
        return err_set(err, ERR_BAD_DATA, "invalid redis URL: bad host or port in \"" STR_FMT "\"",
                       STR_ARG(rest));
    if (!take_db(out, path, query))
        return err_set(err, ERR_BAD_DATA, "invalid database: " STR_FMT, STR_ARG(path));
    return true;
}

struct str redis_address_key(const struct address *address, struct str user, struct arena *arena)
{
    return arena_strf(arena, STR_FMT "://" STR_FMT "%s" STR_FMT, STR_ARG(address->scheme),
                      STR_ARG(user), user.len > 0 ? "@" : "", STR_ARG(address->host_port));
}
