/* An intrusive doubly linked list with a sentinel. A link that is in no list points to itself. */
#ifndef FILCH_BASE_LIST_H
#define FILCH_BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct filch__list {
    struct filch__list *next;
    struct filch__list *prev;
};

#define filch_container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

static inline void filch__list_init(struct filch__list *list)
{
    list->next = list;
    list->prev = list;
}

static inline bool filch__list_is_empty(const struct filch__list *list)
{
    return list->next == list;
}

static inline void filch__list_push_back(struct filch__list *list, struct filch__list *link)
{
    link->next = list;
    link->prev = list->prev;
    list->prev->next = link;
    list->prev = link;
}

static inline void filch__list_push_front(struct filch__list *list, struct filch__list *link)
{
    filch__list_push_back(list->next, link);
}

static inline void filch__list_remove(struct filch__list *link)
{
    link->next->prev = link->prev;
    link->prev->next = link->next;
    filch__list_init(link);
}

/* All of @from, in its order, to the end of @list; @from is empty then. Touches only the ends. */
static inline void filch__list_splice_back(struct filch__list *list, struct filch__list *from)
{
    if (filch__list_is_empty(from))
        return;
    from->next->prev = list->prev;
    list->prev->next = from->next;
    from->prev->next = list;
    list->prev = from->prev;
    filch__list_init(from);
}

/* The oldest link, taken out; NULL when empty. */
static inline struct filch__list *filch__list_pop_front(struct filch__list *list)
{
    struct filch__list *link = list->next;

    if (link == list)
        return NULL;
    filch__list_remove(link);
    return link;
}

#endif
