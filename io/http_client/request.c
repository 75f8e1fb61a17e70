/* Requests: descriptions that can be sent, and sent again. What is left to libcurl is not checked
 * here; what could break a message apart is: names and values of fields, and the method. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <filch/time.h>

#include "io/http/trailer_names.h"
#include "io/http_client/client.h"

#define RETRY_NS (50 * FILCH_MILLISECOND)

static bool is_token(const char *text)
{
    return *text && !text[strcspn(text, "\"(),/:;<=>?@[\\]{}")] &&
           strspn(text, "!#$%&'*+-.^_`|~0123456789"
                        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") == strlen(text);
}

static bool is_value(const char *text)
{
    for (; *text; text++)
        if (((unsigned char)*text < ' ' && *text != '\t') || *text == 0x7f)
            return false;
    return true;
}

int filch_http_request_new(filch_http_client *client, const char *method, const char *url,
                           filch_http_request **ret_request)
{
    filch_http_request *request;

    if (!client || !method || !url || !ret_request || !is_token(method))
        return -EINVAL;
    request = calloc(1, sizeof(*request));
    if (!request)
        return -ENOMEM;
    request->method = strdup(method);
    request->url = strdup(url);
    if (!request->method || !request->url) {
        free(request->method);
        free(request->url);
        free(request);
        return -ENOMEM;
    }
    filch_atomic_init(&request->refs, 1);
    filch_atomic_init(&request->sent, 0);
    request->client = client;
    filch_fetch_add_relaxed(&client->refs, 1);
    *ret_request = request;
    return 0;
}

void http_request_unref(filch_http_request *request)
{
    /* [http-request-ref] who comes last sees what the others did */
    if (filch_fetch_sub_acq_rel(&request->refs, 1) != 1)
        return;
    curl_slist_free_all(request->fields);
    curl_slist_free_all(request->trailers);
    http_client_unref(request->client);
    free(request->method);
    free(request->url);
    free(request->body);
    free(request);
}

void filch_http_request_free(filch_http_request *request)
{
    if (request)
        http_request_unref(request);
}

/* Adds a line to a list, as @format says. */
static int add_line(struct curl_slist **list, const char *format, const char *name,
                    const char *value)
{
    size_t bytes = strlen(name) + strlen(value) + 3;
    char *line = malloc(bytes);
    struct curl_slist *longer;

    if (!line)
        return -ENOMEM;
    snprintf(line, bytes, format, name, value);
    longer = curl_slist_append(*list, line);
    free(line);
    if (!longer)
        return -ENOMEM;
    *list = longer;
    return 0;
}

int filch_http_request_set(filch_http_request *request, const char *name, const char *value)
{
    int r = 0;

    if (!request || !name || !value || !is_token(name) || !is_value(value) ||
        strcasecmp(name, "Content-Length") == 0 || strcasecmp(name, "Transfer-Encoding") == 0)
        return -EINVAL;
    if (strcasecmp(name, "TE") == 0) /* it is for the next on the way only */
        r = add_line(&request->fields, "%s: %s", "Connection", "TE");
    /* libcurl takes "Name;" for a field without a value, and "Name:" for leaving it out. */
    if (r == 0)
        r = add_line(&request->fields, *value ? "%s: %s" : "%s;%s", name, value);
    if (r < 0)
        return r;
    request->has_type |= strcasecmp(name, "Content-Type") == 0;
    request->has_trailers |= strcasecmp(name, "Trailer") == 0;
    return 0;
}

/* Does a field Trailer have this name in its list? */
static bool is_announced(const filch_http_request *request, const char *name)
{
    static const char field[] = "Trailer:";
    size_t bytes = strlen(name);

    for (const struct curl_slist *line = request->fields; line; line = line->next) {
        const char *at = line->data + sizeof(field) - 1;

        if (strncasecmp(line->data, field, sizeof(field) - 1) != 0)
            continue;
        while (*at) {
            size_t length;

            at += strspn(at, " \t,");
            length = strcspn(at, " \t,");
            if (length == bytes && strncasecmp(at, name, bytes) == 0)
                return true;
            at += length;
        }
    }
    return false;
}

int filch_http_request_set_trailer(filch_http_request *request, const char *name, const char *value)
{
    if (!request || !name || !value || !is_token(name) || !is_value(value) ||
        http_trailer_rule(name, strlen(name)) != HTTP_TRAILER_KEEP)
        return -EINVAL;
    if (!request->has_reader || request->reader_bytes >= 0)
        return -EPROTO;
    if (!is_announced(request, name))
        return -ENOENT;
    return add_line(&request->trailers, "%s: %s", name, value);
}

bool http_request_copy_trailers(const filch_http_request *request, struct curl_slist **ret_list)
{
    struct curl_slist *list = NULL;

    for (const struct curl_slist *line = request->trailers; line; line = line->next) {
        struct curl_slist *longer = curl_slist_append(list, line->data);

        if (!longer) {
            curl_slist_free_all(list);
            return false;
        }
        list = longer;
    }
    *ret_list = list;
    return true;
}

int filch_http_request_body(filch_http_request *request, const void *data, size_t bytes)
{
    if (!request || (!data && bytes) || request->has_body || request->has_reader)
        return -EINVAL;
    request->body = malloc(bytes + 1);
    if (!request->body)
        return -ENOMEM;
    if (bytes)
        memcpy(request->body, data, bytes);
    request->body_bytes = bytes;
    request->has_body = true;
    return 0;
}

int filch_http_request_reader(filch_http_request *request, filch_reader reader, int64_t bytes)
{
    if (!request || !reader.read || bytes < -1 || request->has_body || request->has_reader)
        return -EINVAL;
    request->reader = reader;
    request->reader_bytes = bytes;
    request->has_reader = true;
    return 0;
}

int filch_http_request_progress(filch_http_request *request, int64_t *ret_now, int64_t *ret_total)
{
    if (!request)
        return -EINVAL;
    if (ret_now)
        *ret_now = (int64_t)filch_load_relaxed(&request->sent);
    if (ret_total)
        *ret_total = request->has_reader ? request->reader_bytes : (int64_t)request->body_bytes;
    return 0;
}

/* ---- sending ---- */

bool http_request_is_repeatable(const filch_http_request *request)
{
    static const char *const methods[] = {"GET", "HEAD", "PUT", "DELETE", "OPTIONS"};

    for (size_t i = 0; i < sizeof(methods) / sizeof(*methods) && !request->has_reader; i++)
        if (strcmp(methods[i], request->method) == 0)
            return true;
    return false;
}

/* Failures that may be gone next time. */
static bool is_passing(int error)
{
    return error == -ECONNREFUSED || error == -ECONNRESET || error == -EPIPE ||
           error == -EHOSTUNREACH || error == -ENETUNREACH;
}

static int send_once(filch_http_request *request, bool is_for_all,
                     filch_http_response **ret_response, filch_error *ret_error, filch_time until)
{
    filch_http_response *response;
    int r = http_response_new(request, is_for_all, &response);

    if (r < 0)
        return http_tell(request, NULL, r, ret_error);
    http_ask(response, HTTP_ASK_BEGIN);
    r = http_response_await(response, until);
    if (r < 0) {
        http_tell(request, response, r, ret_error);
        filch_http_response_free(response);
        return r;
    }
    *ret_response = response;
    return 0;
}

/* @is_for_all: the body will be read at once. */
static int send_request(filch_http_request *request, bool is_for_all,
                        filch_http_response **ret_response, filch_error *ret_error,
                        filch_time until)
{
    filch_time pause = RETRY_NS;
    unsigned tries;
    int r;

    if (!request || !ret_response || request->reader_used)
        return http_tell(request, NULL, -EINVAL, ret_error);
    if (!filch_task_self())
        return http_tell(request, NULL, -EPERM, ret_error);
    request->reader_used = request->has_reader;
    /* libcurl would say of what is posted that it is a form. */
    if (!request->has_type && strcmp(request->method, "POST") == 0) {
        struct curl_slist *fields = curl_slist_append(request->fields, "Content-Type:");

        if (!fields)
            return http_tell(request, NULL, -ENOMEM, ret_error);
        request->fields = fields;
        request->has_type = true;
    }
    tries = http_request_is_repeatable(request) ? request->client->opts.retries : 0;
    while ((r = send_once(request, is_for_all, ret_response, ret_error, until)) < 0 && tries &&
           is_passing(r)) {
        filch_time next = filch_after(pause);

        if (next >= until || filch_sleep(next) < 0)
            break;
        pause *= 2;
        tries--;
    }
    return r;
}

int filch_http_send(filch_http_request *request, filch_http_response **ret_response,
                    filch_error *ret_error, filch_time until)
{
    return send_request(request, false, ret_response, ret_error, until);
}

/* Sends it, which is the caller's no more, and reads the answer whole. */
static int fetch(filch_http_request *request, filch_http_response **ret_response,
                 filch_error *ret_error, filch_time until)
{
    filch_http_response *response = NULL;
    int r = send_request(request, true, &response, ret_error, until);

    if (r == 0) {
        r = filch_http_response_read_all(response, ret_error, until);
        if (r == 0)
            *ret_response = response;
        else
            filch_http_response_free(response);
    }
    filch_http_request_free(request);
    return r;
}

int filch_http_get(filch_http_client *client, const char *url, filch_http_response **ret_response,
                   filch_error *ret_error, filch_time until)
{
    filch_http_request *request;
    int r = ret_response ? filch_http_request_new(client, "GET", url, &request) : -EINVAL;

    return r < 0 ? http_tell(NULL, NULL, r, ret_error)
                 : fetch(request, ret_response, ret_error, until);
}

int filch_http_post(filch_http_client *client, const char *url, const char *type, const void *data,
                    size_t bytes, filch_http_response **ret_response, filch_error *ret_error,
                    filch_time until)
{
    filch_http_request *request;
    int r = ret_response ? filch_http_request_new(client, "POST", url, &request) : -EINVAL;

    if (r < 0)
        return http_tell(NULL, NULL, r, ret_error);
    r = filch_http_request_body(request, data, bytes);
    if (r == 0 && type)
        r = filch_http_request_set(request, "Content-Type", type);
    if (r == 0)
        return fetch(request, ret_response, ret_error, until);
    http_tell(request, NULL, r, ret_error);
    filch_http_request_free(request);
    return r;
}
