/* The sessions of a client, one for each name: the last one that the server gave.
 *
 * A session is used once: with TLS 1.3 a second use would show that both connections are the same
 * client's. The server gives new ones with each connection. It may be kept under a name only for
 * which it was verified, and that is the name that was connected to. When there is no room, the one
 * goes that was not used for the longest. */
#include <string.h>

#include "io/tls/tls.h"

void filch__tls_sessions_init(struct filch__tls_sessions *sessions)
{
    memset(sessions, 0, sizeof *sessions);
    pthread_mutex_init(&sessions->lock, NULL);
}

void filch__tls_sessions_clear(struct filch__tls_sessions *sessions)
{
    pthread_mutex_lock(&sessions->lock);
    for (int i = 0; i < FILCH__TLS_SESSIONS; i++) {
        SSL_SESSION_free(sessions->kept[i].session);
        sessions->kept[i].session = NULL;
    }
    pthread_mutex_unlock(&sessions->lock);
}

void filch__tls_sessions_fini(struct filch__tls_sessions *sessions)
{
    filch__tls_sessions_clear(sessions);
    pthread_mutex_destroy(&sessions->lock);
}

void filch__tls_session_keep(struct filch__tls_sessions *sessions, const char *name,
                             SSL_SESSION *session)
{
    struct filch__tls_session *slot = NULL;

    pthread_mutex_lock(&sessions->lock);
    for (int i = 0; i < FILCH__TLS_SESSIONS; i++) {
        struct filch__tls_session *kept = &sessions->kept[i];

        if (kept->session && strcmp(kept->name, name) == 0) {
            slot = kept;
            break;
        }
        if (!slot || (slot->session && (!kept->session || kept->used < slot->used)))
            slot = kept;
    }
    SSL_SESSION_free(slot->session);
    slot->session = session;
    slot->used = ++sessions->clock;
    strcpy(slot->name, name);
    pthread_mutex_unlock(&sessions->lock);
}

SSL_SESSION *filch__tls_session_take(struct filch__tls_sessions *sessions, const char *name)
{
    SSL_SESSION *session = NULL;

    pthread_mutex_lock(&sessions->lock);
    for (int i = 0; i < FILCH__TLS_SESSIONS && !session; i++) {
        struct filch__tls_session *kept = &sessions->kept[i];

        if (kept->session && strcmp(kept->name, name) == 0) {
            session = kept->session;
            kept->session = NULL;
        }
    }
    pthread_mutex_unlock(&sessions->lock);
    return session;
}
