/* What http.c and http_multi.c share: curl handles (void * here, so that libcurl's headers stay in
 * the .c files) set up so that nothing comes from the environment. */
#ifndef EDGE_HTTP_EASY_H
#define EDGE_HTTP_EASY_H

#include "edge/http.h"

/* Once per user of the library; counted by libcurl. */
int http_library_init(struct err *err) MUST_CHECK;
void http_library_done(void);

/* The same for every transfer: no signals, no environment, HTTP and HTTPS only. */
void http_easy_basics(void *easy);
void http_easy_tls(void *easy, const struct http_tls *tls);
/* Method and body; `headers` is a curl_slist that must live as long as the transfer. */
void http_easy_method(void *easy, const char *method, const void *body, size_t body_len);
void *http_header_list(const char *const *headers, size_t n, bool has_body);
void http_header_list_free(void *list);

/* Where and how a blocking request goes; -EINVAL when its URL is none. */
int http_easy_request(void *easy, const struct http_req *req) MUST_CHECK;
/* Why there is no answer, as the error of a blocking call. */
int http_easy_failed(void *easy, int curl_code, const char *sentence, const struct http_req *req,
                     struct err *err);

/* libcurl's result in our words; `easy` tells how far it came. */
enum http_fail http_classify(void *easy, int curl_code);

/* Bytes into a buf with a maximum; writers for libcurl's callbacks. A new status line empties a
 * head. */
size_t http_write_head(char *data, size_t size, size_t n, void *buf);
size_t http_write_body(char *data, size_t size, size_t n, void *buf);
bool http_head_is_whole(const struct buf *head);

#endif
