/* admin_api: /admin/tsdb/... Off unless --web.enable-admin-api; what it asks for is not there yet
 * and says so. */
#include "core.h"

static void refuse(struct call *call, const char *what)
{
    struct err err;

    if (call->api->options.enable_admin)
        err_set(&err, ERR_UNAVAILABLE, "%s is not supported by this server yet", what);
    else
        err_set(&err, ERR_UNAVAILABLE, "admin APIs disabled");
    answer_error(call, &err);
}

void serve_delete_series(struct call *call)
{
    refuse(call, "deleting series");
}

void serve_clean_tombstones(struct call *call)
{
    refuse(call, "cleaning tombstones");
}

void serve_snapshot(struct call *call)
{
    refuse(call, "taking snapshots");
}
