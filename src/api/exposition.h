/* exposition: in which format and with which names somebody who scrapes us wants the answer. */
#ifndef API_EXPOSITION_H
#define API_EXPOSITION_H

#include "base/buf.h"
#include "base/str.h"

enum exposition_format { EXPOSITION_TEXT, EXPOSITION_PROTOBUF };

/* What becomes of names outside the classic alphabet. */
enum exposition_escaping {
    ESCAPING_UNDERSCORES, /* my.name -> my_name */
    ESCAPING_DOTS,        /* my.name_a -> my_dot_name__a */
    ESCAPING_VALUES,      /* my.name_a -> U__my_2e_name__a */
    ESCAPING_NONE,        /* "my.name" */
};

struct exposition {
    enum exposition_format format;
    enum exposition_escaping escaping;
};

/* By an Accept header, as Prometheus reads it: what it does not know is text 0.0.4 with underscores. */
struct exposition exposition_negotiate(struct str accept);
/* Content-Type. A constant. */
const char *exposition_content_type(struct exposition exposition);
/* A name of a metric or label; one of the classic alphabet stays as it is. */
void exposition_add_name(struct buf *out, struct str name, enum exposition_escaping escaping);

#endif
