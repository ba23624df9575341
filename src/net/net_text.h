/* net_text: addresses and system errors in the words that Go's net package has for them, since
 * operators and alert rules know those. */
#ifndef NET_NET_TEXT_H
#define NET_NET_TEXT_H

#include <stddef.h>

struct sockaddr;

#define NET_ADDRESS_TEXT_MAX 80 /* [v6 address%scope]:port and NUL */
#define NET_ERRNO_TEXT_MAX   128

/* 127.0.0.1:9090, [::1]:9090; a mapped v4 address as v4. Returns out. */
const char *net_address_text(const struct sockaddr *address, char out[NET_ADDRESS_TEXT_MAX]);
/* "connection refused". Takes errno values of either sign (libuv's are negative). Returns out. */
const char *net_errno_text(int errno_value, char out[NET_ERRNO_TEXT_MAX]);

#endif
