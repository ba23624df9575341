/* address: where a Redis is: redis://user:password@host:port/db, rediss:// (TLS), valkey://, valkeys://, unix:///path,
 * host:port. Private to redis. */
#ifndef REDIS_ADDRESS_H
#define REDIS_ADDRESS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

struct address {
    struct str host; /* Without brackets. */
    uint16_t port;
    struct str unix_path; /* Not empty: a unix socket. */
    bool tls;
    struct str user, password; /* Decoded; empty when absent. */
    bool has_password;
    uint64_t db;
    struct str scheme;    /* redis or rediss, valkey's names replaced; unix. */
    struct str host_port; /* As written. */
};

/* The texts are in the arena. */
MUST_CHECK bool redis_address_parse(struct address *out, struct str text, struct arena *arena,
                              struct err *err);
/* How password files name it: redis://user@host:port, the user given by the caller. */
struct str redis_address_key(const struct address *address, struct str user, struct arena *arena);

/* %41 -> A; with `plus`, + is a blank (forms). False on a bad escape. */
bool percent_decode(struct str text, bool plus, struct arena *arena, struct str *out);

#endif
