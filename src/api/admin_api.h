/* admin_api: what the API's life needs of the admin calls. */
#ifndef API_ADMIN_API_H
#define API_ADMIN_API_H

#include "core.h"

/* Answers all that wait for storage: the server stops. */
void admin_cancel_all(struct api *api);

#endif
