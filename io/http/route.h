/* Who answers a path: see route.c. */
#ifndef FILCH_IO_HTTP_ROUTE_H
#define FILCH_IO_HTTP_ROUTE_H

#include <stdbool.h>
#include <stddef.h>

#include <filch/http_server.h>

/* Most segments of a path, and parameters of a pattern. */
#define HTTP_SEGMENTS_MAX 64
#define HTTP_PARAMS_MAX 8

struct http_route {
    struct http_route *next; /* of the same pattern, for another method */
    char *method;            /* NULL: any */
    filch_http_handler handler;
    void *context;
    unsigned flags;
    unsigned param_count;
    char *param_names[HTTP_PARAMS_MAX];
    char *folder; /* of files; owned */
};

/* A node of the tree: what follows a segment. */
struct http_node {
    struct http_node *sibling;
    struct http_node *literals; /* children with a text */
    struct http_node *param;    /* the child for any segment */
    struct http_route *ends;    /* patterns that end here */
    struct http_route *rests;   /* patterns that take the rest from here */
    char text[];                /* "" for the root and for parameters */
};

/* What a look-up found. */
struct http_match {
    const struct http_route *route;   /* NULL: none */
    const struct http_route *allowed; /* without a route: those of the path, for other methods */
    const char *params[HTTP_PARAMS_MAX];
};

/* Return: 0; -EINVAL; -EEXIST; -ENOMEM. @ret_route: may be NULL. */
int http_route_add(struct http_node **root, const char *method, const char *pattern,
                   filch_http_handler handler, void *context, unsigned flags,
                   struct http_route **ret_route);
void http_routes_free(struct http_node *root);

/* @path: not decoded, begins with "/". @scratch: gets parameters; as large as @path with its zero.
 * Return: 0; 400 (it cannot be decoded). */
int http_route_find(const struct http_node *root, const char *method, const char *path,
                    char *scratch, struct http_match *ret_match);

/* Decodes "%41". @plus: "+" is a space. Return: bytes written, without a zero; -1. */
long http_percent_decode(const char *from, size_t bytes, char *to, bool plus);

#endif
