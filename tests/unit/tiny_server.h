/* A small HTTP server in a thread of the test, of known behaviour:
 *
 *   /                     200 "ok"
 *   /status/404           that status
 *   /slow/250             200 after 250 ms
 *   /hang                 never answers
 *   /redirect/3           302 to /redirect/2 ... /redirect/0, which is 200
 *   /loop                 302 to itself
 *   /away/8080            307 to / at that port
 *   /nowhere              302 without a place that a request can go to
 *   /set                  200 and the cookie sid=7
 *   /need                 200 when the request brought sid=7, else 403
 *   /item                 201 with Location: /item/42 and {"id": 42}
 *   anything else         404
 */
#ifndef TESTS_UNIT_TINY_SERVER_H
#define TESTS_UNIT_TINY_SERVER_H

#include "base/defs.h"

struct tiny_server;

struct tiny_server *tiny_server_new(void);
void tiny_server_free(struct tiny_server *s);
unsigned tiny_server_port(const struct tiny_server *s);
/* Requests whose path begins with `prefix`; "" counts all. */
uint64_t tiny_server_requests(struct tiny_server *s, const char *prefix);
uint64_t tiny_server_last_request_ns(struct tiny_server *s);
uint64_t tiny_server_connections(struct tiny_server *s); /* accepted in all */
/* While frozen, it reads and answers nothing. */
void tiny_server_freeze(struct tiny_server *s, bool frozen);

#endif
