/* Who answers a path: a tree of segments.
 *
 *     /users/{id}/posts   /users/new   /files/{path...}
 *
 *     root -- users -- {} -- posts*
 *          |        +- new*
 *          +- files -- rest*
 *
 * A path is cut at its slashes before it is decoded, so an encoded slash is part of its segment.
 * The search goes to literal children first, then to the parameter, then to the rest, and comes
 * back from where it finds nothing: what is found is literal where patterns differ first. It ends
 * at a pattern that has the method; those that have only others are what 405 is made of.
 *
 * Segments are decoded into the caller's scratch, one behind the other with a zero between, so
 * parameters are texts as they stand. The rest of a path is made by putting the slashes back.
 *
 * The tree does not change while it is searched: that is the server's to see to. */
#include "io/http/route.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* A path that was cut. */
struct segments {
    unsigned count;
    char *text[HTTP_SEGMENTS_MAX + 1]; /* the last: the end of the scratch that is used */
};

struct search {
    const char *method;
    struct segments segments;
    struct http_match *match;
    const char *values[HTTP_PARAMS_MAX]; /* of the parameters on the way here */
};

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

long http_percent_decode(const char *from, size_t bytes, char *to, bool plus)
{
    char *out = to;

    for (size_t i = 0; i < bytes; i++) {
        if (from[i] == '%') {
            int high = i + 2 < bytes ? hex_value(from[i + 1]) : -1;
            int low = i + 2 < bytes ? hex_value(from[i + 2]) : -1;

            if (high < 0 || low < 0 || !(high | low))
                return -1;
            *out++ = (char)(high << 4 | low);
            i += 2;
        } else {
            *out++ = from[i] == '+' && plus ? ' ' : from[i];
        }
    }
    return out - to;
}

/* Return: 0; 400; 404 (more segments than any pattern has). */
static int cut(const char *path, char *scratch, struct segments *segments)
{
    segments->count = 0;
    while (*path == '/') {
        size_t bytes = strcspn(++path, "/");
        long decoded = http_percent_decode(path, bytes, scratch, false);

        if (decoded < 0)
            return 400;
        if (segments->count == HTTP_SEGMENTS_MAX)
            return 404;
        segments->text[segments->count++] = scratch;
        scratch[decoded] = '\0';
        if (strcmp(scratch, ".") == 0 || strcmp(scratch, "..") == 0)
            return 404;
        scratch += decoded + 1;
        path += bytes;
    }
    segments->text[segments->count] = scratch;
    return *path ? 400 : 0;
}

static bool offer(struct search *search, const struct http_route *routes)
{
    const struct http_route *any = NULL;

    for (const struct http_route *route = routes; route; route = route->next) {
        if (!route->method)
            any = route;
        else if (strcmp(route->method, search->method) == 0) {
            search->match->route = route;
            return true;
        }
    }
    if (!any && strcmp(search->method, "HEAD") == 0)
        for (any = routes; any && strcmp(any->method, "GET") != 0; any = any->next)
            ;
    if (routes && !search->match->allowed)
        search->match->allowed = routes;
    search->match->route = any;
    return any;
}

/* The rest of the path from a segment on, as one text. */
static const char *join_rest(struct search *search, unsigned at)
{
    struct segments *segments = &search->segments;

    for (unsigned i = at; i < segments->count; i++)
        if (strchr(segments->text[i], '/')) /* "a%2fb" is no path */
            return NULL;
    for (unsigned i = at + 1; i < segments->count; i++)
        segments->text[i][-1] = '/';
    return at < segments->count ? segments->text[at] : segments->text[segments->count] - 1;
}

static bool find_from(const struct http_node *node, struct search *search, unsigned at,
                      unsigned params)
{
    if (at == search->segments.count) {
        if (offer(search, node->ends))
            return true;
    } else {
        const char *text = search->segments.text[at];

        for (const struct http_node *child = node->literals; child; child = child->sibling)
            if (strcmp(child->text, text) == 0 && find_from(child, search, at + 1, params))
                return true;
        if (node->param && *text) {
            search->values[params] = text;
            if (find_from(node->param, search, at + 1, params + 1))
                return true;
        }
    }
    if (!node->rests || !offer(search, node->rests))
        return false;
    search->values[params] = join_rest(search, at);
    if (!search->values[params])
        search->match->route = NULL;
    return true;
}

int http_route_find(const struct http_node *root, const char *method, const char *path,
                    char *scratch, struct http_match *ret_match)
{
    struct search search = {.method = method, .match = ret_match};
    int status = cut(path, scratch, &search.segments);

    ret_match->route = ret_match->allowed = NULL;
    if (status)
        return status == 400 ? 400 : 0;
    if (root && find_from(root, &search, 0, 0))
        memcpy(ret_match->params, search.values, sizeof(search.values));
    return 0;
}

/* ---- making the tree ---- */

static struct http_node *node_new(const char *text, size_t bytes)
{
    struct http_node *node = calloc(1, sizeof(*node) + bytes + 1);

    if (node)
        memcpy(node->text, text, bytes);
    return node;
}

static struct http_node *literal_child(struct http_node *node, const char *text, size_t bytes)
{
    struct http_node **at = &node->literals;

    while (*at && (strlen((*at)->text) != bytes || memcmp((*at)->text, text, bytes) != 0))
        at = &(*at)->sibling;
    if (!*at)
        *at = node_new(text, bytes);
    return *at;
}

static struct http_node *param_child(struct http_node *node)
{
    if (!node->param)
        node->param = node_new("", 0);
    return node->param;
}

/* "{name}" or "{name...}". Return: bytes of the name; 0: neither. */
static size_t param_name(const char *text, size_t bytes, bool *ret_rest)
{
    size_t name = bytes > 2 ? bytes - 2 : 0;

    if (!name || text[0] != '{' || text[bytes - 1] != '}')
        return 0;
    *ret_rest = name > 3 && memcmp(text + bytes - 4, "...", 3) == 0;
    name -= *ret_rest ? 3 : 0;
    return memchr(text + 1, '{', name) || memchr(text + 1, '}', name) ? 0 : name;
}

static void route_free(struct http_route *route)
{
    if (!route)
        return;
    for (unsigned i = 0; i < route->param_count; i++)
        free(route->param_names[i]);
    free(route->method);
    free(route->folder);
    free(route);
}

/* Goes along the pattern, making nodes. Return: where the route is to be hung; NULL with *ret_r. */
static struct http_route **walk(struct http_node *node, const char *pattern,
                                struct http_route *route, int *ret_r)
{
    bool rest = false;

    *ret_r = -EINVAL;
    while (*pattern == '/' && !rest) {
        size_t bytes = strcspn(++pattern, "/"), name = param_name(pattern, bytes, &rest);

        if (!name && (memchr(pattern, '{', bytes) || memchr(pattern, '}', bytes)))
            return NULL;
        if (name) {
            if (route->param_count == HTTP_PARAMS_MAX)
                return NULL;
            route->param_names[route->param_count] = strndup(pattern + 1, name);
            if (!route->param_names[route->param_count]) {
                *ret_r = -ENOMEM;
                return NULL;
            }
            route->param_count++;
        }
        if (!rest)
            node = name ? param_child(node) : literal_child(node, pattern, bytes);
        if (!node) {
            *ret_r = -ENOMEM;
            return NULL;
        }
        pattern += bytes;
    }
    if (*pattern)
        return NULL;
    *ret_r = 0;
    return rest ? &node->rests : &node->ends;
}

int http_route_add(struct http_node **root, const char *method, const char *pattern,
                   filch_http_handler handler, void *context, unsigned flags,
                   struct http_route **ret_route)
{
    struct http_route *route, **at;
    int r = -ENOMEM;

    if (!pattern || *pattern != '/' || !handler)
        return -EINVAL;
    if (!*root && !(*root = node_new("", 0)))
        return -ENOMEM;
    route = calloc(1, sizeof(*route));
    if (!route)
        return -ENOMEM;
    route->handler = handler;
    route->context = context;
    route->flags = flags;
    if (method && !(route->method = strdup(method)))
        goto fail;
    at = walk(*root, pattern, route, &r);
    if (!at)
        goto fail;
    r = -EEXIST;
    for (; *at; at = &(*at)->next)
        if (!method ? !(*at)->method : (*at)->method && strcmp((*at)->method, method) == 0)
            goto fail;
    *at = route;
    if (ret_route)
        *ret_route = route;
    return 0;
fail:
    route_free(route);
    return r;
}

static void routes_free(struct http_route *route)
{
    while (route) {
        struct http_route *next = route->next;

        route_free(route);
        route = next;
    }
}

/* As deep as the longest pattern. */
void http_routes_free(struct http_node *node)
{
    while (node) {
        struct http_node *next = node->sibling;

        http_routes_free(node->literals);
        http_routes_free(node->param);
        routes_free(node->ends);
        routes_free(node->rests);
        free(node);
        node = next;
    }
}
