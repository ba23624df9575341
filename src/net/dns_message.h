/* dns_message: a DNS server's answer as records. Pure. */
#ifndef NET_DNS_MESSAGE_H
#define NET_DNS_MESSAGE_H

#include "base/arena.h"
#include "base/err.h"
#include "net/dns.h"

/* The bytes come from the network: each is suspect. Records and texts live in the arena. Records of
 * other types and classes are left out. */
MUST_CHECK bool dns_message_parse(struct str message, struct arena *arena, struct dns_answer *out,
                                  struct err *err);

#endif
