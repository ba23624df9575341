/* self_metrics: the families of /metrics whose series are only known at run time, by who tells them. */
#ifndef API_SELF_METRICS_H
#define API_SELF_METRICS_H

#include "core.h"

/* The whole of /metrics. */
void self_metrics_write(struct buf *out, const struct api *api);

void self_metrics_scrape(struct buf *out, const struct api *api, const struct scraper_stats *stats);
void self_metrics_dialers(struct buf *out, const struct http_client *client);
void self_metrics_discovery(struct buf *out, const struct api *api,
                            const struct discovery_stats *stats);

#endif
