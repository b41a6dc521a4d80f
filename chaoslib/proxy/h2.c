/* See h2.h. Requests that we answer leave three traces, all looked after here: their stream's
 * number, since the server must hear nothing of a stream that it never saw; the client's window of
 * the connection, from which the server will not give back what it did not get; and the tables of
 * header fields. */
#include "chaoslib/proxy/h2.h"

#include <string.h>

#include "chaoslib/proxy/h2_frame.h"
#include "edge/hpack.h"

static const char preface[] = H2_PREFACE;
#define PREFACE_LEN (sizeof(preface) - 1)
#define PENDING_MAX ((size_t)4 << 20)
#define GRPC_TYPE "application/grpc"

enum fate { PASS, KEEP, DROP };

struct cursor { /* where in a frame a direction is */
    unsigned char head[H2_HEADER_LEN];
    unsigned n_head; /* of it, so far; 0 again once it is dealt with */
    bool in_frame;
    struct h2_frame f;
    uint32_t left;
};

struct block { /* of header fields, in one or more frames */
    bool is_open;
    uint32_t stream;
    bool end_stream;
    unsigned char priority[H2_PRIORITY_LEN];
    bool has_priority;
    struct buf raw;   /* its frames as they came */
    struct buf bytes; /* the block */
};

struct fields {       /* what a block says */
    struct buf again; /* the same, in a block that needs no table */
    struct buf path;
    bool is_grpc;
};

struct h2 {
    h2_judge_fn *judge;
    void *arg;
    struct hpack *hpack;
    struct cursor client, server;
    size_t n_preface; /* bytes of it seen */
    enum fate fate;
    struct block block;
    uint32_t last_stream, *taken; /* ascending */
    size_t n_taken, room_taken;
    bool is_rewriting, is_raw, is_lost;
    bool has_settings, server_in_block;
    unsigned char setting[6];
    struct buf pending; /* for the client, until the server's frame is over */
};

struct h2 *h2_new(h2_judge_fn *judge, void *arg)
{
    struct h2 *h = xcalloc(1, sizeof(*h));

    h->judge = judge;
    h->arg = arg;
    h->hpack = hpack_new();
    h->block.raw = BUF_INIT(2 * H2_BLOCK_MAX);
    h->block.bytes = BUF_INIT(H2_BLOCK_MAX);
    h->pending = BUF_INIT(PENDING_MAX);
    return h;
}

void h2_free(struct h2 *h)
{
    if (!h)
        return;
    hpack_free(h->hpack);
    buf_done(&h->block.raw);
    buf_done(&h->block.bytes);
    buf_done(&h->pending);
    free(h->taken);
    free(h);
}

bool h2_is_raw(const struct h2 *h)
{
    return h->is_raw;
}

/* Four bytes of the preface are no beginning of an HTTP/1 request; a server says SETTINGS first. */
bool h2_begins(bool from_client, const char *data, size_t len)
{
    if (from_client)
        return len >= 4 && memcmp(data, preface, MIN(len, PREFACE_LEN)) == 0;
    if (len < H2_HEADER_LEN)
        return false;
    struct h2_frame f = h2_frame_read((const unsigned char *)data);
    return f.type == H2_SETTINGS && f.flags == 0 && f.stream == 0 && f.len % 6 == 0 &&
           f.len <= H2_FRAME_MAX;
}

/* ---- streams that we answered ---- */

static bool is_taken(const struct h2 *h, uint32_t stream)
{
    size_t lo = 0, hi = h->n_taken;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (h->taken[mid] < stream)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < h->n_taken && h->taken[lo] == stream;
}

static void take(struct h2 *h, uint32_t stream)
{
    if (h->n_taken == h->room_taken) {
        h->room_taken = h->room_taken ? 2 * h->room_taken : 64;
        h->taken = xrealloc(h->taken, h->room_taken, sizeof(*h->taken));
    }
    h->taken[h->n_taken++] = stream;
}

/* ---- answers ---- */

static bool is_plain(unsigned char c)
{
    return c >= 0x20 && c <= 0x7e && c != '%';
}

static void add_percent(const char *text, struct buf *out)
{
    for (; *text; text++)
        if (is_plain((unsigned char)*text))
            buf_addc(out, *text);
        else
            buf_addf(out, "%%%02X", (unsigned)(unsigned char)*text);
}

static void add_field(const char *name, const char *value, struct buf *out)
{
    h2_field_write(name, strlen(name), value, strlen(value), false, out);
}

void h2_answer_write(uint32_t stream, const struct h2_answer *a, struct buf *out)
{
    auto_buf struct buf block = BUF_INIT(H2_BLOCK_MAX), message = BUF_INIT(H2_BLOCK_MAX);
    auto_free char *status = xasprintf("%d", a->status);

    add_field(":status", "200", &block);
    add_field("content-type", GRPC_TYPE, &block);
    add_field("grpc-status", status, &block);
    if (a->message && *a->message) {
        add_percent(a->message, &message);
        add_field("grpc-message", buf_str(&message), &block);
    }
    h2_headers_write(
        &(struct h2_headers){
            .stream = stream, .end_stream = true, .block = block.data, .len = block.len },
        out);
}

/* Nothing of ours may come before the server's first word, or into what it is saying. */
static bool is_between(const struct h2 *h)
{
    return h->has_settings && !h->server.in_frame && h->server.n_head == 0 && !h->server_in_block;
}

static struct buf *aside(struct h2 *h, struct buf *to_client)
{
    return is_between(h) && h->pending.len == 0 ? to_client : &h->pending;
}

/* ---- when it is not to be followed any more ---- */

static int lose(struct h2 *h, struct buf *to_server)
{
    h->is_lost = h->is_rewriting;
    h->is_raw = !h->is_rewriting;
    if (h->is_raw && to_server)
        h2_client_ends(h, to_server);
    return h->is_lost ? -1 : 0;
}

void h2_client_ends(struct h2 *h, struct buf *to_server)
{
    if (h->is_rewriting)
        return; /* half a frame is nothing */
    buf_add(to_server, h->block.raw.data, h->block.raw.len);
    buf_add(to_server, h->client.head, h->client.n_head);
    buf_clear(&h->block.raw);
    h->client.n_head = 0;
}

/* ---- header blocks of the client ---- */

static bool field_is(const struct hpack_field *f, const char *name)
{
    return f->name_len == strlen(name) && memcmp(f->name, name, f->name_len) == 0;
}

static bool is_grpc_type(const struct hpack_field *f)
{
    size_t n = sizeof(GRPC_TYPE) - 1;

    return f->value_len >= n && memcmp(f->value, GRPC_TYPE, n) == 0 &&
           (f->value_len == n || f->value[n] == '+' || f->value[n] == ';');
}

static bool on_field(void *arg, const struct hpack_field *f)
{
    struct fields *all = arg;

    if (field_is(f, ":path")) {
        buf_clear(&all->path);
        buf_add(&all->path, f->value, f->value_len);
    }
    if (field_is(f, "content-type"))
        all->is_grpc = is_grpc_type(f);
    h2_field_write(f->name, f->name_len, f->value, f->value_len, f->never_index, &all->again);
    return !buf_failed(&all->again);
}

/* The request is ours to answer. */
static bool is_hit(struct h2 *h, const struct fields *all, struct h2_answer *ret)
{
    const struct h2_request req = { buf_str(&all->path), all->path.len };
    bool is_new = h->block.stream > h->last_stream && h->block.stream % 2 == 1;

    return is_new && all->is_grpc && h->n_taken < H2_TAKEN_MAX && h->judge(h->arg, &req, ret);
}

static void answer(struct h2 *h, const struct h2_answer *a, struct buf *to_client)
{
    struct buf *out = aside(h, to_client);

    take(h, h->block.stream);
    h->is_rewriting = true;
    h2_answer_write(h->block.stream, a, out);
    if (!h->block.end_stream) /* it need not say the rest, NO_ERROR */
        h2_number_write(H2_RST_STREAM, h->block.stream, 0, out);
}

static void pass_block(const struct h2 *h, const struct fields *all, struct buf *to_server)
{
    const struct block *b = &h->block;

    if (h->is_rewriting)
        h2_headers_write(&(struct h2_headers){ .stream = b->stream,
                                               .end_stream = b->end_stream,
                                               .priority = b->has_priority ? b->priority : NULL,
                                               .block = all->again.data,
                                               .len = all->again.len },
                         to_server);
    else
        buf_add(to_server, b->raw.data, b->raw.len);
}

static int end_block(struct h2 *h, struct buf *to_server, struct buf *to_client)
{
    struct block *b = &h->block;
    struct fields all = { .again = BUF_INIT(2 * H2_BLOCK_MAX), .path = BUF_INIT(H2_BLOCK_MAX) };
    struct h2_answer a = { 0 };

    h2_no_table_write(&all.again);
    int rc = hpack_decode(h->hpack, buf_str(&b->bytes), b->bytes.len, on_field, &all, NULL);
    if (rc < 0)
        rc = lose(h, to_server);
    else if (is_taken(h, b->stream))
        ; /* its trailers */
    else if (is_hit(h, &all, &a))
        answer(h, &a, to_client);
    else
        pass_block(h, &all, to_server);
    h->last_stream = MAX(h->last_stream, b->stream);
    buf_done(&all.again);
    buf_done(&all.path);
    b->is_open = false;
    buf_clear(&b->raw);
    buf_clear(&b->bytes);
    return rc;
}

static void begin_block(struct h2 *h, const struct h2_part *part)
{
    struct block *b = &h->block;

    b->is_open = true;
    b->stream = h->client.f.stream;
    b->end_stream = h->client.f.flags & H2_END_STREAM;
    b->has_priority = part->priority != NULL;
    if (part->priority)
        memcpy(b->priority, part->priority, H2_PRIORITY_LEN);
}

/* A HEADERS or CONTINUATION frame is there, the last thing in `raw`. */
static int end_kept(struct h2 *h, struct buf *to_server, struct buf *to_client)
{
    const struct h2_frame *f = &h->client.f;
    struct block *b = &h->block;
    struct h2_part part;

    if (h2_part_find(f, (const unsigned char *)b->raw.data + b->raw.len - f->len, &part) < 0)
        return lose(h, to_server);
    if (f->type == H2_HEADERS)
        begin_block(h, &part);
    buf_add(&b->bytes, part.block, part.len);
    if (buf_failed(&b->bytes))
        return lose(h, to_server);
    return f->flags & H2_END_HEADERS ? end_block(h, to_server, to_client) : 0;
}

/* ---- frames of the client ---- */

static int end_client_frame(struct h2 *h, struct buf *to_server, struct buf *to_client)
{
    const struct h2_frame *f = &h->client.f;

    h->client.in_frame = false;
    if (h->fate == KEEP)
        return end_kept(h, to_server, to_client);
    if (h->fate == DROP && f->type == H2_DATA && f->len > 0)
        h2_number_write(H2_WINDOW_UPDATE, 0, f->len, aside(h, to_client));
    return 0;
}

static bool is_in_order(const struct h2 *h, const struct h2_frame *f)
{
    if (h->block.is_open)
        return f->type == H2_CONTINUATION && f->stream == h->block.stream;
    return f->type != H2_CONTINUATION && (f->type != H2_HEADERS || f->stream != 0);
}

static int begin_client_frame(struct h2 *h, struct buf *to_server)
{
    struct cursor *c = &h->client;
    bool is_block;

    c->f = h2_frame_read(c->head);
    is_block = c->f.type == H2_HEADERS || c->f.type == H2_CONTINUATION;
    if (!is_in_order(h, &c->f) ||
        (is_block && h->block.raw.len + H2_HEADER_LEN + c->f.len > H2_BLOCK_MAX))
        return lose(h, to_server);
    h->fate = is_block ? KEEP : is_taken(h, c->f.stream) ? DROP : PASS;
    if (h->fate != DROP)
        buf_add(h->fate == KEEP ? &h->block.raw : to_server, c->head, H2_HEADER_LEN);
    c->n_head = 0;
    c->in_frame = true;
    c->left = c->f.len;
    return 0;
}

/* More of a frame's header; true: it is complete. */
static bool read_head(struct cursor *c, const char **data, size_t *len)
{
    size_t n = MIN(*len, H2_HEADER_LEN - c->n_head);

    memcpy(c->head + c->n_head, *data, n);
    c->n_head += (unsigned)n;
    *data += n;
    *len -= n;
    return c->n_head == H2_HEADER_LEN;
}

static int read_preface(struct h2 *h, const char **data, size_t *len, struct buf *to_server)
{
    size_t n = MIN(*len, PREFACE_LEN - h->n_preface);

    if (memcmp(*data, &preface[h->n_preface], n) != 0)
        return lose(h, to_server);
    buf_add(to_server, *data, n);
    h->n_preface += n;
    *data += n;
    *len -= n;
    return 0;
}

static void read_client_payload(struct h2 *h, const char **data, size_t *len, struct buf *to_server)
{
    size_t n = MIN(*len, h->client.left);

    if (h->fate != DROP)
        buf_add(h->fate == KEEP ? &h->block.raw : to_server, *data, n);
    h->client.left -= (uint32_t)n;
    *data += n;
    *len -= n;
}

int h2_from_client(struct h2 *h, const char *data, size_t len, struct buf *to_server,
                   struct buf *to_client)
{
    int rc = h->is_lost ? -1 : 0;

    if (h->is_raw)
        h2_client_ends(h, to_server);
    while (rc == 0 && len > 0 && !h->is_raw) {
        if (h->n_preface < PREFACE_LEN) {
            rc = read_preface(h, &data, &len, to_server);
            continue;
        }
        if (h->client.in_frame)
            read_client_payload(h, &data, &len, to_server);
        else if (read_head(&h->client, &data, &len))
            rc = begin_client_frame(h, to_server);
        if (rc == 0 && h->client.in_frame && h->client.left == 0)
            rc = end_client_frame(h, to_server, to_client);
        if (rc == 0 && buf_failed(&h->pending))
            rc = lose(h, to_server);
    }
    if (h->is_raw)
        buf_add(to_server, data, len);
    return rc;
}

/* ---- frames of the server: they pass, and we look on ---- */

static void read_setting(struct h2 *h, char byte)
{
    const unsigned char *s = h->setting;
    size_t at = (h->server.f.len - h->server.left) % sizeof(h->setting);

    h->setting[at] = (unsigned char)byte;
    if (at == sizeof(h->setting) - 1 && s[0] == 0 && s[1] == H2_SETTING_TABLE_SIZE)
        hpack_allow(h->hpack,
                    (uint32_t)s[2] << 24 | (uint32_t)s[3] << 16 | (uint32_t)s[4] << 8 | s[5]);
}

static int begin_server_frame(struct h2 *h)
{
    struct cursor *c = &h->server;

    c->f = h2_frame_read(c->head);
    if (!h->has_settings && (c->f.type != H2_SETTINGS || (c->f.flags & H2_ACK)))
        return lose(h, NULL);
    c->n_head = 0;
    c->in_frame = true;
    c->left = c->f.len;
    if (c->f.type == H2_HEADERS || c->f.type == H2_PUSH_PROMISE || c->f.type == H2_CONTINUATION)
        h->server_in_block = !(c->f.flags & H2_END_HEADERS);
    return 0;
}

static void read_server_payload(struct h2 *h, const char **data, size_t *len, struct buf *to_client)
{
    struct cursor *c = &h->server;
    size_t n = MIN(*len, c->left);

    buf_add(to_client, *data, n);
    if (c->f.type != H2_SETTINGS)
        c->left -= (uint32_t)n;
    for (size_t i = 0; c->f.type == H2_SETTINGS && i < n; i++) {
        read_setting(h, (*data)[i]);
        c->left--;
    }
    *data += n;
    *len -= n;
}

static void end_server_frame(struct h2 *h, struct buf *to_client)
{
    h->server.in_frame = false;
    h->has_settings = true;
    if (h->server_in_block || h->pending.len == 0)
        return;
    buf_add(to_client, h->pending.data, h->pending.len);
    buf_clear(&h->pending);
}

int h2_from_server(struct h2 *h, const char *data, size_t len, struct buf *to_client)
{
    int rc = h->is_lost ? -1 : 0;

    while (rc == 0 && len > 0 && !h->is_raw) {
        if (h->server.in_frame) {
            read_server_payload(h, &data, &len, to_client);
        } else {
            const char *from = data;
            bool complete = read_head(&h->server, &data, &len);
            buf_add(to_client, from, (size_t)(data - from));
            if (complete)
                rc = begin_server_frame(h);
        }
        if (rc == 0 && h->server.in_frame && h->server.left == 0)
            end_server_frame(h, to_client);
    }
    if (h->is_raw)
        buf_add(to_client, data, len);
    return rc;
}
