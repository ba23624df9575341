/* list: an intrusive doubly linked ring. A node is in at most one list. */
#ifndef BASE_LIST_H
#define BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

#include "base/ensure.h"

struct list_node {
    struct list_node *prev, *next; /* Both NULL while in no list. */
};

struct list {
    struct list_node head;
};

static inline void list_init(struct list *list) { list->head.prev = list->head.next = &list->head; }
static inline bool list_empty(const struct list *list) { return list->head.next == &list->head; }
static inline bool list_linked(const struct list_node *node) { return node->next != NULL; }

static inline void list_insert_before(struct list_node *at, struct list_node *node)
{
    ENSURE(!list_linked(node));
    node->prev = at->prev;
    node->next = at;
    at->prev->next = node;
    at->prev = node;
}

static inline void list_push_back(struct list *list, struct list_node *node)
{
    list_insert_before(&list->head, node);
}

static inline void list_push_front(struct list *list, struct list_node *node)
{
    list_insert_before(list->head.next, node);
}

/* Does nothing to a node that is in no list. */
static inline void list_remove(struct list_node *node)
{
    if (!list_linked(node))
        return;
    node->prev->next = node->next;
    node->next->prev = node->prev;
    node->prev = node->next = NULL;
}

static inline struct list_node *list_first(const struct list *list)
{
    return list_empty(list) ? NULL : list->head.next;
}

static inline struct list_node *list_last(const struct list *list)
{
    return list_empty(list) ? NULL : list->head.prev;
}

static inline struct list_node *list_pop_front(struct list *list)
{
    struct list_node *node = list_first(list);
    if (node)
        list_remove(node);
    return node;
}

/* The current node may be removed inside the loop. */
#define LIST_EACH(node, list)                                                      \
    for (struct list_node *node = (list)->head.next, *node##_next = node->next;    \
         node != &(list)->head; node = node##_next, node##_next = node->next)

#endif
