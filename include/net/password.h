/* password: bcrypt, for the users of the web configuration. Slow by design: tens of milliseconds at cost 10, so never on
 * the loop thread. Any thread. */
#ifndef NET_PASSWORD_H
#define NET_PASSWORD_H

#include <stdbool.h>

#include "base/err.h"
#include "base/str.h"

/* Whether the text is a bcrypt hash, in the words of Go's bcrypt.Cost. */
MUST_CHECK bool password_hash_check(struct str hash, struct err *err);
/* Of a hash that was checked. */
bool password_matches(struct str hash, struct str password);

#endif
