/* A server that behaves as a test wants, on loopback: each connection has a thread that reads
 * requests and lets `behave` answer them. */
#ifndef TESTS_UNIT_SERVER_H
#define TESTS_UNIT_SERVER_H

#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>

#include "base/defs.h"

#define SERVER_CONNS_MAX 256

struct server;
struct served {
    struct server *server;
    int fd;
    unsigned conn;    /* from 0 */
    unsigned request; /* on this connection, from 0 */
    const char *text; /* the head that came */
    struct sockaddr_in peer;
};
/* Answers one request; false ends the connection (in order, unless it did something worse). */
typedef bool behave_fn(const struct served *s);

struct server {
    behave_fn *behave;
    int listener;
    uint16_t port;
    const char *path; /* unix socket */
    atomic_uint conns, requests;
    atomic_bool stop;
    pthread_mutex_t lock; /* guards fds */
    int fds[SERVER_CONNS_MAX];
    pthread_t threads[SERVER_CONNS_MAX], acceptor;
};

enum server_family { SERVER_V4, SERVER_V6, SERVER_UNIX };
/* False when the family does not exist here. `path` for SERVER_UNIX. */
bool server_start(struct server *s, enum server_family family, const char *path, behave_fn *behave);
void server_stop(struct server *s);

void say(int fd, const char *text); /* ignores a peer that is gone */
bool say_bytes(int fd, const void *bytes, size_t len);
void reset(int fd); /* the next close sends RST */

#endif
