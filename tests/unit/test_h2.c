/* HTTP/2 through the proxy, byte by byte: what passes untouched, what is taken out of a
 * conversation, and that both sides still understand each other afterwards. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "chaoslib/proxy/h2.h"
#include "chaoslib/proxy/h2_frame.h"
#include "edge/hpack.h"

#define SETTINGS "\0\0\0\4\0\0\0\0\0"
#define SETTINGS_LEN 9

/* ---- a conversation ---- */

struct talk {
    struct h2 *h2;
    const char *victim; /* the path whose calls are answered; NULL: none */
    unsigned asked;     /* how often the judge was */
    struct buf said;    /* by the client, not fed yet */
    struct buf up, down;
    int rc;
};

static bool judge(void *arg, const struct h2_request *req, struct h2_answer *ret)
{
    struct talk *t = arg;

    t->asked++;
    *ret = (struct h2_answer){ .status = 14, .message = "50 % \xc3\xa4" };
    return t->victim && req->path_len == strlen(t->victim) &&
           memcmp(req->path, t->victim, req->path_len) == 0;
}

static void talk_begin(struct talk *t, const char *victim)
{
    *t = (struct talk){ .victim = victim };
    t->h2 = h2_new(judge, t);
    buf_adds(&t->said, H2_PREFACE);
    buf_add(&t->said, SETTINGS, SETTINGS_LEN);
}

static void talk_end(struct talk *t)
{
    h2_free(t->h2);
    buf_done(&t->said);
    buf_done(&t->up);
    buf_done(&t->down);
}

/* Feeds what the client said, `step` bytes at a time; 0: at once. */
static void hear(struct talk *t, size_t step)
{
    size_t n = step ? step : t->said.len;

    for (size_t at = 0; at < t->said.len && t->rc == 0; at += n)
        t->rc =
            h2_from_client(t->h2, t->said.data + at, MIN(n, t->said.len - at), &t->up, &t->down);
    buf_clear(&t->said);
}

static void server_says(struct talk *t, const void *data, size_t len)
{
    if (t->rc == 0)
        t->rc = h2_from_server(t->h2, data, len, &t->down);
}

static void field(struct buf *block, const char *name, const char *value)
{
    h2_field_write(name, strlen(name), value, strlen(value), false, block);
}

/* 0x40: the reader keeps it in its table. */
static void kept_field(struct buf *block, const char *name, const char *value)
{
    buf_addc(block, 0x40);
    buf_addc(block, (char)strlen(name));
    buf_adds(block, name);
    buf_addc(block, (char)strlen(value));
    buf_adds(block, value);
}

static void request(struct buf *block, const char *path)
{
    field(block, ":method", "POST");
    field(block, ":path", path);
    field(block, "content-type", "application/grpc+proto");
}

static void headers(struct talk *t, uint32_t stream, const struct buf *block, bool end)
{
    h2_headers_write(
        &(struct h2_headers){
            .stream = stream, .end_stream = end, .block = block->data, .len = block->len },
        &t->said);
}

static void call(struct talk *t, uint32_t stream, const char *path, bool end)
{
    auto_buf struct buf block = BUF_INIT(0);

    request(&block, path);
    headers(t, stream, &block, end);
}

static void data(struct talk *t, uint32_t stream, uint32_t len, bool end)
{
    h2_frame_write(
        &(struct h2_frame){
            .len = len, .type = H2_DATA, .flags = end ? H2_END_STREAM : 0, .stream = stream },
        &t->said);
    for (uint32_t i = 0; i < len; i++)
        buf_addc(&t->said, 'd');
}

/* ---- reading what came out ---- */

/* "HEADERS 1 DATA 1(5) …", and the fields in `fields` as "name=value\n". */
struct reading {
    struct buf frames, fields;
    struct hpack *hpack;
};

static bool note_field(void *arg, const struct hpack_field *f)
{
    struct reading *r = arg;

    buf_addf(&r->fields, "%.*s=%.*s\n", (int)f->name_len, f->name, (int)f->value_len, f->value);
    return true;
}

static void read_block(struct reading *r, const struct h2_frame *f, const unsigned char *payload,
                       struct buf *block)
{
    struct h2_part part;
    struct err err = { 0 };

    assert_int_equal(h2_part_find(f, payload, &part), 0);
    buf_add(block, part.block, part.len);
    if (!(f->flags & H2_END_HEADERS))
        return;
    if (hpack_decode(r->hpack, buf_str(block), block->len, note_field, r, &err) < 0)
        fail_msg("%s", err.msg);
    buf_clear(block);
}

static void read_frames(struct reading *r, const char *bytes, size_t len)
{
    static const char *const names[] = { "DATA", "HEADERS", "PRIORITY", "RST",    "SETTINGS",
                                         "PUSH", "PING",    "GOAWAY",   "WINDOW", "MORE" };
    auto_buf struct buf block = BUF_INIT(0);

    for (size_t at = 0; at < len;) {
        assert_true(len - at >= H2_HEADER_LEN);
        struct h2_frame f = h2_frame_read((const unsigned char *)bytes + at);
        const unsigned char *payload = (const unsigned char *)bytes + at + H2_HEADER_LEN;
        assert_true(f.type < ARRAY_LEN(names) && f.len <= len - at - H2_HEADER_LEN);
        buf_addf(&r->frames, "%s%s %u", r->frames.len ? ", " : "", names[f.type], f.stream);
        if (f.type == H2_DATA || f.type == H2_WINDOW_UPDATE)
            buf_addf(&r->frames, " (%u)",
                     f.type == H2_DATA ? f.len : (unsigned)payload[2] << 8 | payload[3]);
        if (f.type <= H2_HEADERS && (f.flags & H2_END_STREAM))
            buf_adds(&r->frames, " end");
        if (f.type == H2_HEADERS || f.type == H2_CONTINUATION)
            read_block(r, &f, payload, &block);
        at += H2_HEADER_LEN + f.len;
    }
}

static void reading_done(struct reading *r)
{
    buf_done(&r->frames);
    buf_done(&r->fields);
    hpack_free(r->hpack);
}

#define AFTER_PREFACE (sizeof(H2_PREFACE) - 1 + SETTINGS_LEN)

/* ---- nothing is hit ---- */

static void what_is_not_hit_passes_as_the_same_bytes(void **state)
{
    (void)state;
    for (size_t step = 0; step < 40; step++) {
        struct talk t;
        auto_buf struct buf block = BUF_INIT(0), before = BUF_INIT(0);
        talk_begin(&t, "/lab.Shop/Other");
        call(&t, 1, "/lab.Shop/Get", false);
        data(&t, 1, 100, true);
        kept_field(&block, ":path", "/lab.Shop/Get");
        kept_field(&block, "content-type", "application/grpc");
        headers(&t, 3, &block, true);
        buf_add(&before, t.said.data, t.said.len);
        hear(&t, step);
        assert_int_equal(t.rc, 0);
        assert_int_equal(t.up.len, before.len);
        assert_memory_equal(t.up.data, before.data, before.len);
        assert_int_equal(t.down.len, 0);
        assert_int_equal(t.asked, 2);
        assert_false(h2_is_raw(t.h2));
        talk_end(&t);
    }
}

static void only_calls_of_grpc_are_asked_about(void **state)
{
    static const struct {
        const char *type;
        unsigned asked;
    } rows[] = { { "application/grpc", 1 },     { "application/grpc+json", 1 },
                 { "application/grpc;x=y", 1 }, { "application/grpc-web", 0 },
                 { "application/json", 0 },     { "", 0 } };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct talk t;
        auto_buf struct buf block = BUF_INIT(0);
        talk_begin(&t, NULL);
        field(&block, ":path", "/a/b");
        field(&block, "content-type", rows[i].type);
        headers(&t, 1, &block, false);
        headers(&t, 1, &block, true); /* trailers are no request */
        hear(&t, 0);
        assert_int_equal(t.asked, rows[i].asked);
        talk_end(&t);
    }
}

/* ---- one is ---- */

/* A call is taken out whose header block fills the table that the next one refers to. */
static void taken(struct talk *t, size_t step)
{
    auto_buf struct buf block = BUF_INIT(0), next = BUF_INIT(0);

    talk_begin(t, "/lab.Shop/Get");
    server_says(t, SETTINGS, SETTINGS_LEN);
    buf_clear(&t->down);
    call(t, 1, "/lab.Shop/List", false);
    request(&block, "/lab.Shop/Get");
    kept_field(&block, "x-who", "bob");
    headers(t, 3, &block, false);
    data(t, 3, 300, false);
    data(t, 1, 5, true);
    data(t, 3, 7, true);
    h2_number_write(H2_WINDOW_UPDATE, 3, 10, &t->said);
    h2_number_write(H2_RST_STREAM, 3, 0, &t->said);
    request(&next, "/lab.Shop/List");
    buf_addc(&next, (char)0xbe); /* entry 62: "x-who: bob" */
    headers(t, 5, &next, true);
    hear(t, step);
}

static void a_call_is_answered_and_the_server_never_sees_it(void **state)
{
    (void)state;
    for (size_t step = 0; step < 30; step++) {
        struct talk t;
        struct reading up = { .hpack = hpack_new() }, down = { .hpack = hpack_new() };
        taken(&t, step);
        assert_int_equal(t.rc, 0);
        read_frames(&up, t.up.data + AFTER_PREFACE, t.up.len - AFTER_PREFACE);
        assert_string_equal(buf_str(&up.frames), "HEADERS 1, DATA 1 (5) end, HEADERS 5 end");
        assert_non_null(strstr(buf_str(&up.fields), "x-who=bob\n"));
        assert_null(strstr(buf_str(&up.fields), "/lab.Shop/Get"));
        read_frames(&down, t.down.data, t.down.len);
        assert_string_equal(buf_str(&down.frames),
                            "HEADERS 3 end, RST 3, WINDOW 0 (300), WINDOW 0 (7)");
        assert_string_equal(buf_str(&down.fields),
                            ":status=200\ncontent-type=application/grpc\ngrpc-status=14\n"
                            "grpc-message=50 %25 %C3%A4\n");
        reading_done(&up);
        reading_done(&down);
        talk_end(&t);
    }
}

/* The server's word comes first, its frames and header blocks are not broken into. */
static void an_answer_waits_for_its_place(void **state)
{
    static const char piece[] = "\0\0\3\1\0\0\0\0\1abc" /* HEADERS without END_HEADERS */
                                "\0\0\2\11\4\0\0\0\1de" /* CONTINUATION */
                                "\0\0\4\0\0\0\0\0\1xxxx";
    const size_t len = sizeof(piece) - 1;

    (void)state;
    for (size_t cut = 0; cut <= len; cut++) {
        struct talk t;
        auto_buf struct buf alone = BUF_INIT(0);
        talk_begin(&t, "/a/b");
        h2_answer_write(1, &(struct h2_answer){ 14, "50 % \xc3\xa4" }, &alone);
        call(&t, 1, "/a/b", true);
        server_says(&t, cut == 0 ? "" : SETTINGS, cut == 0 ? 0 : SETTINGS_LEN);
        server_says(&t, piece, cut);
        hear(&t, 0);
        size_t held = t.down.len;
        if (cut == 0)
            server_says(&t, SETTINGS, SETTINGS_LEN);
        server_says(&t, piece + cut, len - cut);
        size_t place = SETTINGS_LEN + (cut == 0 ? 0 : cut <= 23 ? 23 : len);
        assert_int_equal(t.rc, 0);
        assert_int_equal(t.down.len, SETTINGS_LEN + len + alone.len);
        assert_memory_equal(t.down.data + place, alone.data, alone.len);
        assert_int_equal(held > SETTINGS_LEN + cut, cut == 23 || cut == len);
        talk_end(&t);
    }
}

static void padding_priority_and_long_blocks(void **state)
{
    struct talk t;
    struct reading up = { .hpack = hpack_new() };
    auto_buf struct buf block = BUF_INIT(0), frame = BUF_INIT(0);
    auto_free char *longer = xcalloc(1, 40001);

    (void)state;
    taken(&t, 0);
    memset(longer, 'v', 40000);
    request(&block, "/lab.Shop/List");
    h2_frame_write(&(struct h2_frame){ .len = (uint32_t)(1 + 5 + block.len + 3),
                                       .type = H2_HEADERS,
                                       .flags = H2_PADDED | H2_HAS_PRIORITY | H2_END_HEADERS,
                                       .stream = 7 },
                   &frame);
    buf_add(&frame, "\3\0\0\0\1\20", 6);
    buf_add(&frame, block.data, block.len);
    buf_add(&frame, "\0\0\0", 3);
    buf_add(&t.said, frame.data, frame.len);
    field(&block, "x-long", longer);
    headers(&t, 9, &block, true);
    hear(&t, 7);
    assert_int_equal(t.rc, 0);
    read_frames(&up, t.up.data + AFTER_PREFACE, t.up.len - AFTER_PREFACE);
    assert_string_equal(buf_str(&up.frames), "HEADERS 1, DATA 1 (5) end, HEADERS 5 end, HEADERS 7, "
                                             "HEADERS 9 end, MORE 9, MORE 9");
    assert_non_null(strstr(buf_str(&up.fields), longer));
    reading_done(&up);
    talk_end(&t);
}

/* ---- tables ---- */

/* 65536 as the size of the table: it may be said only when the server allowed it. */
static void the_servers_word_on_tables_counts(void **state)
{
    static const char allows[] = "\0\0\6\4\0\0\0\0\0\0\1\0\1\0\0";

    (void)state;
    for (int allowed = 0; allowed < 2; allowed++) {
        struct talk t;
        auto_buf struct buf block = BUF_INIT(0);
        talk_begin(&t, NULL);
        server_says(&t, allowed ? allows : SETTINGS, allowed ? sizeof(allows) - 1 : SETTINGS_LEN);
        buf_add(&block, "\x3f\xe1\xff\x03", 4);
        request(&block, "/a/b");
        headers(&t, 1, &block, true);
        hear(&t, 0);
        assert_int_equal(h2_is_raw(t.h2), !allowed);
        assert_int_equal(t.asked, allowed);
        talk_end(&t);
    }
}

/* ---- what cannot be followed ---- */

static const struct {
    const char *what, *bytes;
    size_t len;
} broken[] = {
    { "CONTINUATION of nothing", "\0\0\1\11\4\0\0\0\11x", 10 },
    { "HEADERS of no stream", "\0\0\1\1\4\0\0\0\0x", 10 },
    { "a block that is none", "\0\0\1\1\4\0\0\0\11\xff", 10 },
    { "a block of 16 MiB", "\xff\xff\xff\1\4\0\0\0\11x", 10 },
    { "padding longer than all", "\0\0\2\1\14\0\0\0\11\11x", 11 },
    { "DATA within a block", "\0\0\1\1\0\0\0\0\11\x82\0\0\0\0\0\0\0\0\11", 19 },
};

static void what_cannot_be_followed_passes_or_ends(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(broken); i++) {
        struct talk t;
        auto_buf struct buf before = BUF_INIT(0);
        talk_begin(&t, NULL);
        buf_add(&t.said, broken[i].bytes, broken[i].len);
        buf_adds(&t.said, "and more");
        buf_add(&before, t.said.data, t.said.len);
        hear(&t, 1);
        if (t.rc != 0 || !h2_is_raw(t.h2) || t.up.len != before.len ||
            memcmp(t.up.data, before.data, before.len) != 0)
            fail_msg("%s does not pass", broken[i].what);
        talk_end(&t);

        taken(&t, 0);
        buf_add(&t.said, broken[i].bytes, broken[i].len);
        hear(&t, 1);
        if (t.rc >= 0)
            fail_msg("%s passes after a change", broken[i].what);
        assert_true(h2_from_server(t.h2, SETTINGS, SETTINGS_LEN, &t.down) < 0);
        talk_end(&t);
    }
}

static void a_server_that_speaks_otherwise_is_let_through(void **state)
{
    struct talk t;

    (void)state;
    talk_begin(&t, NULL);
    buf_add(&t.said, "\0\0\5", 3); /* is kept until there is more */
    hear(&t, 0);
    server_says(&t, "HTTP/1.1 400 Bad Request\r\n\r\n", 28);
    assert_int_equal(t.rc, 0);
    assert_true(h2_is_raw(t.h2));
    assert_int_equal(t.down.len, 28);
    h2_client_ends(t.h2, &t.up);
    assert_int_equal(t.up.len, AFTER_PREFACE + 3);
    talk_end(&t);
}

static void beginnings(void **state)
{
    static const struct {
        bool from_client, is_h2;
        const char *bytes;
        size_t len;
    } rows[] = {
        { true, true, H2_PREFACE, 24 },
        { true, true, "PRI * HTTP", 10 },
        { true, false, "PRI", 3 },
        { true, false, "PRIVATE / HTTP/1.1", 18 },
        { true, false, "GET / HTTP/1.1", 14 },
        { false, true, SETTINGS, 9 },
        { false, true, "\0\0\6\4\0\0\0\0\0\0", 10 },
        { false, false, "\0\0\5\4\0\0\0\0\0\0", 10 },
        { false, false, "HTTP/1.1 200 OK", 15 },
        { false, false, "\0\0", 2 },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (h2_begins(rows[i].from_client, rows[i].bytes, rows[i].len) != rows[i].is_h2)
            fail_msg("row %zu", i);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_not_hit_passes_as_the_same_bytes),
        cmocka_unit_test(only_calls_of_grpc_are_asked_about),
        cmocka_unit_test(a_call_is_answered_and_the_server_never_sees_it),
        cmocka_unit_test(an_answer_waits_for_its_place),
        cmocka_unit_test(padding_priority_and_long_blocks),
        cmocka_unit_test(the_servers_word_on_tables_counts),
        cmocka_unit_test(what_cannot_be_followed_passes_or_ends),
        cmocka_unit_test(a_server_that_speaks_otherwise_is_let_through),
        cmocka_unit_test(beginnings),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
