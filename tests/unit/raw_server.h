/* A server that says exactly the bytes a test tells it to, and ends as told. One thread for each
 * connection, on loopback or a unix socket. */
#ifndef TESTS_UNIT_RAW_SERVER_H
#define TESTS_UNIT_RAW_SERVER_H

#include "base/mem.h"

enum raw_end {
    RAW_KEEP,  /* reads the next request */
    RAW_CLOSE, /* FIN */
    RAW_RESET, /* RST */
    RAW_HANG,  /* says nothing more, keeps the connection */
};

struct raw_script {
    const char *bytes;
    size_t len; /* 0: strlen */
    enum raw_end end;
    unsigned delay_ms; /* before the bytes */
    unsigned repeat;   /* the bytes again so many times */
};

struct raw_server;
struct raw_server *raw_server_new(const char *unix_path); /* NULL: a port on 127.0.0.1 */
void raw_server_free(struct raw_server *s);
unsigned raw_server_port(const struct raw_server *s);
void raw_server_script(struct raw_server *s, const struct raw_script *script);
unsigned raw_server_connections(struct raw_server *s); /* accepted in all */
/* The last whole request, as it came; the caller frees. */
char *raw_server_request(struct raw_server *s);
unsigned raw_free_port(void); /* nobody listens there */

#endif
