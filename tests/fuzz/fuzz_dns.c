/* DNS queries, answers and packets of any bytes. The first byte says which. What was read as a
 * query gets an answer that is read as one to it; a packet turned round is one again. */
#include <assert.h>
#include <string.h>

#include "chaoslib/dns/message.h"
#include "chaoslib/dns/packet.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void query(const uint8_t *msg, size_t len)
{
    struct dns_reply r = { .rcode = DNS_NXDOMAIN, .n_addresses = 1 }, back;
    struct dns_question q, again;
    uint8_t out[DNS_REPLY_MAX];

    if (dns_question_parse(msg, len, &q) < 0)
        return;
    r.addresses[0].family = q.type == DNS_AAAA ? AF_INET6 : AF_INET;
    assert(q.end <= len && strlen(q.name) < sizeof(q.name));
    size_t n = dns_reply_build(msg, &q, &r, out, sizeof(out));
    assert(n > 0);
    assert(dns_reply_parse(out, n, &again, &back) == 0);
    assert(again.id == q.id && again.type == q.type && strcmp(again.name, q.name) == 0);
    assert(back.rcode == DNS_NXDOMAIN && again.edns == q.edns);
}

static void packet(const uint8_t *bytes, size_t len)
{
    struct dns_packet p, back;
    uint8_t out[256];

    if (dns_packet_parse(bytes, len, &p) < 0)
        return;
    assert(p.payload >= bytes && p.payload + p.n_payload <= bytes + len);
    query(p.payload, p.n_payload);
    size_t n = dns_packet_turn(bytes, &p, (const uint8_t *)"answer", 6, out, sizeof(out));
    assert(n > 0 && dns_packet_parse(out, n, &back) == 0);
    assert(back.n_payload == 6 && back.is_v6 == p.is_v6);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct dns_question q;
    struct dns_reply r;

    if (size < 1)
        return 0;
    if (data[0] % 3 == 0)
        query(data + 1, size - 1);
    else if (data[0] % 3 == 1)
        packet(data + 1, size - 1);
    else if (dns_reply_parse(data + 1, size - 1, &q, &r) == 0)
        assert(r.n_addresses <= DNS_ADDRESSES_MAX);
    return 0;
}
