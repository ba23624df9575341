/* media_type: a Content-Type taken apart as Go's mime.ParseMediaType does, with its error texts.
 *
 *     text/plain; version=0.0.4; charset="utf-8"
 *     `-- media  `-- parameters: looked at, not kept */
#ifndef SCRAPE_MEDIA_TYPE_H
#define SCRAPE_MEDIA_TYPE_H

#include "base/str.h"

/* NULL, or what is wrong. *media is there when nothing is; its case is the text's. */
const char *media_type_parse(struct str text, struct str *media);

#endif
