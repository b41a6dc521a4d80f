/* A blocking client and a scripted server for the tests of the proxy, on loopback. */
#ifndef TESTS_PROXY_NET_H
#define TESTS_PROXY_NET_H

#include "chaoslib/proxy/proxy.h"

enum net_mode {
    NET_ECHO,   /* what comes goes back; FIN is answered by FIN */
    NET_HTTP,   /* answers each request with its number and target, keep-alive */
    NET_SINK,   /* counts and says nothing */
    NET_SOURCE, /* sends `bytes` and closes */
};

/* One thread for each connection. */
struct net_server;
struct net_server *net_server_new(enum net_mode mode, size_t bytes, bool on_unix);
const char *net_server_address(const struct net_server *s);
unsigned net_server_requests(struct net_server *s);
size_t net_server_received(struct net_server *s);
bool net_server_saw_reset(struct net_server *s);
void net_server_free(struct net_server *s);

/* A client's end; every wait is bounded to 10 s. */
int net_connect(const char *address); /* -1: refused; errno tells */
void net_send(int fd, const char *text);
/* Reads until `n` bytes, the end, or an error. Returns how many; *ret_end: 0 the count was reached,
 * 1 orderly end, 2 reset, 3 nothing came within `ms`. */
size_t net_read(int fd, char *out, size_t n, unsigned ms, int *ret_end);
/* One HTTP answer with a Content-Length: its status, and the body as text. -1: the connection
 * ended. */
int net_http(int fd, const char *request, char *body, size_t max, char *head, size_t head_max);

/* A proxies with one proxy "p" to the address. */
struct proxies *net_proxy(const char *upstream, int protocol, char address[64]);
uint64_t net_toxic(struct proxies *p, const struct toxic *t);
void net_untoxic(struct proxies *p, uint64_t handle);

#endif
