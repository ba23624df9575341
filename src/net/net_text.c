/* net_text: see net_text.h. glibc's texts are Go's but for the capital at their start. */
#include "net_text.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

const char *net_address_text(const struct sockaddr *address, char out[NET_ADDRESS_TEXT_MAX])
{
    char host[INET6_ADDRSTRLEN] = "?";
    if (address->sa_family == AF_INET) {
        struct sockaddr_in v4;
        memcpy(&v4, address, sizeof(v4));
        inet_ntop(AF_INET, &v4.sin_addr, host, sizeof(host));
        snprintf(out, NET_ADDRESS_TEXT_MAX, "%s:%u", host, (unsigned)ntohs(v4.sin_port));
        return out;
    }
    if (address->sa_family != AF_INET6) {
        snprintf(out, NET_ADDRESS_TEXT_MAX, "?");
        return out;
    }
    struct sockaddr_in6 v6;
    memcpy(&v6, address, sizeof(v6));
    unsigned port = ntohs(v6.sin6_port);
    if (IN6_IS_ADDR_V4MAPPED(&v6.sin6_addr)) {
        inet_ntop(AF_INET, &v6.sin6_addr.s6_addr[12], host, sizeof(host));
        snprintf(out, NET_ADDRESS_TEXT_MAX, "%s:%u", host, port);
        return out;
    }
    inet_ntop(AF_INET6, &v6.sin6_addr, host, sizeof(host));
    snprintf(out, NET_ADDRESS_TEXT_MAX, "[%s]:%u", host, port);
    return out;
}

const char *net_errno_text(int errno_value, char out[NET_ERRNO_TEXT_MAX])
{
    int value = errno_value < 0 ? -errno_value : errno_value;
    char scratch[NET_ERRNO_TEXT_MAX];
    const char *text = strerror_r(value, scratch, sizeof(scratch));
    snprintf(out, NET_ERRNO_TEXT_MAX, "%s", text);
    out[0] = (char)tolower((unsigned char)out[0]);
    return out;
}
