/* http_proxy: see http_proxy.h. The rules are those of Go's httpproxy package, which Prometheus'
 * users write their lists for:
 *
 *   example.com        that host and all below      10.0.0.0/8     a network
 *   .example.com       only those below             10.1.2.3:80    an address, with one port
 *   *.example.com      the same                     *              everything
 *
 * With a plain proxy_url and no list all goes through the proxy, even loopback; with a list, or from
 * the environment, localhost and loopback addresses never do. */
#include "http_proxy.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#define HOST_TEXT_MAX 256

/* Both families in 16 bytes; v4 as ::ffff:a.b.c.d. */
struct address {
    uint8_t bytes[16];
    bool v4;
};

static bool address_parse(struct str text, struct address *out)
{
    char name[INET6_ADDRSTRLEN + 1];

    *out = (struct address){.bytes = {[10] = 0xff, [11] = 0xff}, .v4 = true};
    if (text.len == 0 || text.len >= sizeof(name))
        return false;
    memcpy(name, text.ptr, text.len);
    name[text.len] = '\0';
    if (strlen(name) != text.len)
        return false;
    if (inet_pton(AF_INET, name, out->bytes + 12) == 1)
        return true;
    out->v4 = false;
    return inet_pton(AF_INET6, name, out->bytes) == 1;
}

static bool address_is_v4(const struct address *address)
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    return memcmp(address->bytes, mapped, sizeof(mapped)) == 0;
}

static bool address_is_loopback(const struct address *address)
{
    static const uint8_t one[16] = {[15] = 1};
    if (address_is_v4(address))
        return address->bytes[12] == 127;
    return memcmp(address->bytes, one, sizeof(one)) == 0;
}

static bool network_has(const struct address *network, unsigned bits, const struct address *address)
{
    if (address_is_v4(network) != address_is_v4(address))
        return false;
    for (unsigned i = 0; i < bits; i++) {
        unsigned mask = 0x80u >> (i % 8);
        if ((network->bytes[i / 8] & mask) != (address->bytes[i / 8] & mask))
            return false;
    }
    return true;
}

/* 10.0.0.0/8. False when it is none; *has tells whether the address is in there. */
static bool network_parse(struct str item, const struct address *address, bool *has)
{
    struct address network;
    struct str bits_text;
    uint64_t bits;
    struct str base = str_cut(item, '/', &bits_text);

    if (!bits_text.ptr || !address_parse(base, &network) || !str_to_u64(bits_text, &bits) ||
        bits > (network.v4 ? 32 : 128))
        return false;
    *has = address && network_has(&network, (unsigned)bits + (network.v4 ? 96 : 0), address);
    return true;
}

/* host:port, [v6]:port or either alone. */
static void item_split(struct str item, struct str *host, struct str *port)
{
    size_t last = item.len;

    *port = STR_EMPTY;
    *host = item;
    for (size_t i = 0; i < item.len; i++)
        last = item.ptr[i] == ':' ? i : last;
    bool bracket = item.len > 0 && item.ptr[0] == '[';
    bool bare_v6 = !bracket && str_find_char(item, ':') != last;
    if (last < item.len && !bare_v6 && (!bracket || item.ptr[last - 1] == ']')) {
        *host = str_first(item, last);
        *port = str_after(item, last + 1);
    }
    if (host->len > 2 && host->ptr[0] == '[' && host->ptr[host->len - 1] == ']')
        *host = str_from(host->ptr + 1, host->len - 2);
}

static bool port_matches(struct str port, uint16_t wanted)
{
    uint64_t number;
    return port.len == 0 || (str_to_u64(port, &number) && number == wanted);
}

static bool domain_matches(struct str domain, struct str host)
{
    if (str_starts(domain, STR("*.")))
        domain = str_after(domain, 1);
    bool itself = domain.ptr[0] != '.';
    if (itself && str_eq_nocase(host, domain))
        return true;
    struct str below = itself ? domain : str_after(domain, 1);
    size_t tail = below.len + 1;
    return host.len >= tail && host.ptr[host.len - tail] == '.' &&
           str_eq_nocase(str_after(host, host.len - below.len), below);
}

static bool item_matches(struct str item, const struct proxy_aim *aim,
                         const struct address *address)
{
    struct address one;
    struct str host, port;
    bool has;

    if (network_parse(item, address, &has))
        return has;
    item_split(item, &host, &port);
    if (host.len == 0)
        return false;
    if (address_parse(host, &one))
        return address && memcmp(one.bytes, address->bytes, sizeof(one.bytes)) == 0 &&
               port_matches(port, aim->port);
    return domain_matches(host, aim->host) && port_matches(port, aim->port);
}

bool no_proxy_has(struct str list, const struct proxy_aim *aim)
{
    struct address address;
    bool is_address = address_parse(aim->host, &address);

    if (str_eq(aim->host, STR("localhost")) || (is_address && address_is_loopback(&address)))
        return true;
    for (struct str rest = list; rest.ptr;) {
        struct str item = str_trim(str_cut(rest, ',', &rest));
        if (str_eq(item, STR("*")))
            return true;
        if (item.len > 0 && item_matches(item, aim, is_address ? &address : NULL))
            return true;
    }
    return false;
}

static struct str environment(const char *upper, const char *lower)
{
    const char *text = getenv(upper);
    if (!text || !*text)
        text = getenv(lower);
    return text ? str_of(text) : STR_EMPTY;
}

/* curl's socks5 resolves names here, Go's there. A name without a scheme is an HTTP proxy's. */
static void proxy_write(struct buf *out, struct str url)
{
    struct str rest = str_after(url, str_find(url, STR("://")));
    if (url.len == 0)
        return;
    if (str_starts(url, STR("socks5://")))
        BUF_ADD(out, "socks5h");
    else if (rest.len > 0)
        buf_add_str(out, str_first(url, url.len - rest.len));
    else
        BUF_ADD(out, "http://");
    buf_add_str(out, rest.len > 0 ? rest : url);
}

void proxy_choose(struct buf *out, const struct proxy_rule *rule, const struct proxy_aim *aim)
{
    struct str url = rule->url, list = rule->no_proxy;

    buf_clear(out);
    if (rule->from_environment) {
        url = str_eq(aim->scheme, STR("https")) ? environment("HTTPS_PROXY", "https_proxy")
                                                : environment("HTTP_PROXY", "http_proxy");
        list = environment("NO_PROXY", "no_proxy");
    }
    if (url.len == 0)
        return;
    if ((rule->from_environment || list.len > 0) && no_proxy_has(list, aim))
        return;
    proxy_write(out, url);
}
