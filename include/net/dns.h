/* dns: questions to DNS servers, on the loop, with the search list of resolv.conf. Loop thread only.
 *
 *     dns_open (reads resolv.conf) -> dns_query ... -> done (exactly once each) -> dns_close
 *
 * A resolver keeps what resolv.conf said when it was opened; who asks now and then opens one each
 * time. Only DNS is asked: neither /etc/hosts nor nsswitch.conf plays a part. */
#ifndef NET_DNS_H
#define NET_DNS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"
#include "net/loop.h"

struct dns;
struct dns_query;

enum dns_type { DNS_A = 1, DNS_NS = 2, DNS_MX = 15, DNS_AAAA = 28, DNS_SRV = 33 };

struct dns_options {
    struct str servers;     /* "127.0.0.1:53,[::1]:5353"; empty: those of resolv.conf. */
    struct str resolv_conf; /* Empty: /etc/resolv.conf. */
    int64_t try_timeout_ms; /* For a server's first answer, twice that for its second; 0: 2 s. */
};

/* One line of an answer. */
struct dns_record {
    enum dns_type type;
    struct str text; /* A, AAAA: the address. Else the name, rooted: "host.example.", bytes that are
                        not plain escaped as in zone files. */
    uint16_t port;   /* SRV. */
};

struct dns_answer {
    const struct dns_record *records; /* Of any of the types above, in the answer's order. */
    size_t count;
};

/* err->code is ERR_NONE when the name is known or surely unknown: the latter, and a name without
 * records of the type, is an empty answer. Any server's failure that leaves that open is an error.
 * The answer is borrowed for the call. */
typedef void (*dns_done_fn)(void *ctx, const struct dns_answer *answer, const struct err *err);

MUST_CHECK bool dns_open(struct dns **out, struct uv_loop_s *loop,
                         const struct dns_options *options, struct err *err);
/* Tries `name` and, unless it ends with a dot, `name` with each suffix of the search list; the first
 * that is known is the answer. timeout_ms is for all of it. done is never called inside the call. */
struct dns_query *dns_query(struct dns *dns, struct str name, enum dns_type type,
                            int64_t timeout_ms, dns_done_fn done, void *ctx);
void dns_query_cancel(struct dns_query *query); /* done comes later, with ERR_CANCELED. */
/* Cancels all queries (their done comes later, with ERR_CANCELED) and frees itself after them. May be
 * called from done. NULL is fine. */
void dns_close(struct dns *dns);

#endif
