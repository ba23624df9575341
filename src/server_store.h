/* server_store: what flags and configuration say of the store. */
#ifndef SERVER_STORE_H
#define SERVER_STORE_H

#include "config.h"
#include "options.h"
#include "storage.h"

/* Borrows the path from the options; lanes and wake-ups are left to the caller. */
void store_options_read(struct storage_options *out, const struct options *options,
                        const struct config *config);
/* What a reload changes. */
void store_apply_config(struct storage *storage, const struct options *options,
                        const struct config *config);

#endif
