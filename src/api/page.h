/* page: the frame that all pages share: head, navigation, foot. Whatever comes from outside goes
 * through buf_add_html. */
#ifndef API_PAGE_H
#define API_PAGE_H

#include "core.h"

/* `path` of the page itself, to mark it in the navigation. */
void page_begin(struct buf *out, const struct api *api, const char *path, const char *title);
void page_end(struct buf *out);
void page_answer(struct call *call, struct buf *out);

void page_table_begin(struct buf *out, const char *const *heads, size_t count);
void page_table_end(struct buf *out);
void page_row_text(struct buf *out, const char *name, struct str value); /* A row of two cells. */
void page_row_number(struct buf *out, const char *name, uint64_t value);

/* The query page's own parts: its script, and the style of all pages. */
extern const char page_style[];
extern const char page_query_script[];

#endif
