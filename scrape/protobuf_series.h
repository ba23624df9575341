/* protobuf_series: the samples of one metric, in the order of Prometheus' parser. */
#ifndef SCRAPE_PROTOBUF_SERIES_H
#define SCRAPE_PROTOBUF_SERIES_H

#include "parse_protobuf.h"

/* Of parser->metric, to the sink. */
MUST_CHECK bool protobuf_series_emit(struct parse_protobuf *parser, struct err *err);

#endif
