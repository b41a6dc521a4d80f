/* A connection that speaks HTTP/2: followed frame by frame, so that single requests can be answered
 * by us and not by the server. Pure: bytes in, bytes out, no sockets.
 *
 * All passes as the same bytes until a request is taken out. From then on the server has not seen
 * all header blocks, so those that follow are written anew, without the table of header fields that
 * the two sides would have to agree about. What comes from the server is never changed; our answers
 * stand between its frames. */
#ifndef CHAOSLIB_PROXY_H2_H
#define CHAOSLIB_PROXY_H2_H

#include "base/mem.h"

#define H2_BLOCK_MAX ((size_t)256 << 10)
#define H2_TAKEN_MAX ((size_t)1 << 20)

/* A request of gRPC. */
struct h2_request {
    const char *path; /* "/pkg.Service/Method" */
    size_t path_len;
};
struct h2_answer {
    int status;          /* grpc-status */
    const char *message; /* UTF-8; NULL or "": none */
};
/* Called within h2_from_client for each; true: it gets this answer, and the server never sees it.
 */
typedef bool h2_judge_fn(void *arg, const struct h2_request *req, struct h2_answer *ret);

struct h2;
struct h2 *h2_new(h2_judge_fn *judge, void *arg);
void h2_free(struct h2 *h);
/* Do the first bytes of a connection look like HTTP/2? */
bool h2_begins(bool from_client, const char *data, size_t len);

/* What goes on, and what is said in return; added to the buffers. Bytes that cannot be followed
 * pass as they are, with all that comes after them. Negative: they cannot, and something was
 * changed already, so that the connection must end. */
int h2_from_client(struct h2 *h, const char *data, size_t len, struct buf *to_server,
                   struct buf *to_client) MUST_CHECK;
int h2_from_server(struct h2 *h, const char *data, size_t len, struct buf *to_client) MUST_CHECK;
/* The client says no more, or the server what cannot be followed: what was kept of the client's. */
void h2_client_ends(struct h2 *h, struct buf *to_server);
bool h2_is_raw(const struct h2 *h); /* no longer followed */

/* A whole answer: "trailers only", in gRPC's words. */
void h2_answer_write(uint32_t stream, const struct h2_answer *a, struct buf *out);

#endif
