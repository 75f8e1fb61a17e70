/* Which fields may come behind a body (RFC 9110, 6.5.1), for the server and for the client.
 *
 * What says where a message ends, who it is for, how its body is coded, who asks, or what is to be
 * done with it, has to be known before the body: it is dropped, not told to anybody. Those by which
 * a message could end elsewhere for another parser, or go to somebody else, are refused instead,
 * as no honest peer sends them. Trailers are never merged into the fields of the head. */
#include "io/http/trailer_names.h"

#include <string.h>
#include <strings.h>

static const char *const refused[] = {"Content-Length", "Host", "Transfer-Encoding"};

static const char *const dropped[] = {
    /* of the connection, and of trailers themselves */
    "Connection",
    "Expect",
    "Keep-Alive",
    "Max-Forwards",
    "Proxy-Connection",
    "TE",
    "Trailer",
    "Upgrade",
    /* what the body is */
    "Content-Encoding",
    "Content-Range",
    "Content-Type",
    /* conditions and ranges */
    "If-Match",
    "If-Modified-Since",
    "If-None-Match",
    "If-Range",
    "If-Unmodified-Since",
    "Range",
    /* who asks */
    "Authorization",
    "Cookie",
    "Proxy-Authenticate",
    "Proxy-Authorization",
    "Set-Cookie",
    "WWW-Authenticate",
    /* what is to be done with an answer */
    "Age",
    "Cache-Control",
    "Date",
    "Expires",
    "Location",
    "Pragma",
    "Retry-After",
    "Vary",
    "Warning",
};

static int is_one_of(const char *const *names, size_t count, const char *name, size_t bytes)
{
    for (size_t i = 0; i < count; i++)
        if (strlen(names[i]) == bytes && strncasecmp(names[i], name, bytes) == 0)
            return 1;
    return 0;
}

enum http_trailer_rule http_trailer_rule(const char *name, size_t bytes)
{
    if (is_one_of(refused, sizeof(refused) / sizeof(*refused), name, bytes))
        return HTTP_TRAILER_REFUSE;
    if (is_one_of(dropped, sizeof(dropped) / sizeof(*dropped), name, bytes))
        return HTTP_TRAILER_DROP;
    return HTTP_TRAILER_KEEP;
}
