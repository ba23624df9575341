/* self: process_*, what the kernel says of the exporter's own process. Private to redis. */
#ifndef REDIS_SELF_H
#define REDIS_SELF_H

#include "metrics.h"

void self_add(struct metrics *metrics); /* They get no namespace. */

#endif
