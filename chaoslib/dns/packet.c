/* IP and UDP by hand: two headers, two checksums. */
#include "chaoslib/dns/packet.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/udp.h>
#include <string.h>

#define HOPS 64

static int parse_udp(const uint8_t *at, size_t len, struct dns_packet *ret)
{
    struct udphdr udp;

    if (len < sizeof(udp))
        return -1;
    memcpy(&udp, at, sizeof(udp));
    size_t n = ntohs(udp.len);
    if (n < sizeof(udp) || n > len)
        return -1;
    ret->payload = at + sizeof(udp);
    ret->n_payload = n - sizeof(udp);
    return 0;
}

static int parse_v4(const uint8_t *packet, size_t len, struct dns_packet *ret)
{
    struct iphdr ip;

    if (len < sizeof(ip))
        return -1;
    memcpy(&ip, packet, sizeof(ip));
    size_t header = ip.ihl * 4u, total = ntohs(ip.tot_len);
    if (header < sizeof(ip) || total > len || total < header || ip.protocol != IPPROTO_UDP ||
        ntohs(ip.frag_off) & (IP_MF | IP_OFFMASK))
        return -1;
    ret->to_loopback = ntohl(ip.daddr) >> 24 == IN_LOOPBACKNET;
    return parse_udp(packet + header, total - header, ret);
}

static int parse_v6(const uint8_t *packet, size_t len, struct dns_packet *ret)
{
    struct ip6_hdr ip;

    if (len < sizeof(ip))
        return -1;
    memcpy(&ip, packet, sizeof(ip));
    size_t n = ntohs(ip.ip6_plen);
    if (n > len - sizeof(ip) || ip.ip6_nxt != IPPROTO_UDP)
        return -1;
    ret->is_v6 = true;
    ret->to_loopback = IN6_IS_ADDR_LOOPBACK(&ip.ip6_dst);
    return parse_udp(packet + sizeof(ip), n, ret);
}

int dns_packet_parse(const uint8_t *packet, size_t len, struct dns_packet *ret)
{
    *ret = (struct dns_packet){ 0 };
    if (len == 0)
        return -1;
    if (packet[0] >> 4 == 4)
        return parse_v4(packet, len, ret);
    return packet[0] >> 4 == 6 ? parse_v6(packet, len, ret) : -1;
}

/* ---- the way back ---- */

static uint32_t sum_of(const uint8_t *p, size_t n, uint32_t sum)
{
    for (size_t i = 0; i + 1 < n; i += 2)
        sum += (uint32_t)p[i] << 8 | p[i + 1];
    return n % 2 ? sum + ((uint32_t)p[n - 1] << 8) : sum;
}

static uint16_t folded(uint32_t sum)
{
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return htons((uint16_t)~sum);
}

/* The addresses stand side by side in both headers, which is all that the pseudo header needs. */
static void put_udp(const struct dns_packet *p, const uint8_t *answer, size_t n_answer, uint8_t *ip,
                    size_t n_ip)
{
    struct udphdr was, udp = { 0 };
    size_t n = sizeof(udp) + n_answer, n_addresses = p->is_v6 ? 32 : 8;
    uint8_t *at = ip + n_ip;

    memcpy(&was, p->payload - sizeof(was), sizeof(was));
    udp.source = was.dest;
    udp.dest = was.source;
    udp.len = htons((uint16_t)n);
    memcpy(at, &udp, sizeof(udp));
    memcpy(at + sizeof(udp), answer, n_answer);
    uint32_t sum = sum_of(at, n, IPPROTO_UDP + (uint32_t)n);
    udp.check = folded(sum_of(ip + n_ip - n_addresses, n_addresses, sum));
    if (udp.check == 0) /* which would mean that there is none */
        udp.check = 0xffff;
    memcpy(at, &udp, sizeof(udp));
}

static size_t put_v4(const uint8_t *packet, size_t n_body, uint8_t *out)
{
    struct iphdr was, ip = { .version = 4, .ihl = sizeof(ip) / 4, .ttl = HOPS };

    memcpy(&was, packet, sizeof(was));
    ip.tot_len = htons((uint16_t)(sizeof(ip) + n_body));
    ip.frag_off = htons(IP_DF);
    ip.protocol = IPPROTO_UDP;
    ip.saddr = was.daddr;
    ip.daddr = was.saddr;
    memcpy(out, &ip, sizeof(ip));
    ip.check = folded(sum_of(out, sizeof(ip), 0));
    memcpy(out, &ip, sizeof(ip));
    return sizeof(ip);
}

static size_t put_v6(const uint8_t *packet, size_t n_body, uint8_t *out)
{
    struct ip6_hdr was, ip = { 0 };

    memcpy(&was, packet, sizeof(was));
    ip.ip6_flow = htonl(UINT32_C(6) << 28);
    ip.ip6_plen = htons((uint16_t)n_body);
    ip.ip6_nxt = IPPROTO_UDP;
    ip.ip6_hlim = HOPS;
    ip.ip6_src = was.ip6_dst;
    ip.ip6_dst = was.ip6_src;
    memcpy(out, &ip, sizeof(ip));
    return sizeof(ip);
}

size_t dns_packet_turn(const uint8_t *packet, const struct dns_packet *p, const uint8_t *answer,
                       size_t n_answer, uint8_t *out, size_t cap)
{
    size_t n_body = sizeof(struct udphdr) + n_answer;
    size_t n_ip = p->is_v6 ? sizeof(struct ip6_hdr) : sizeof(struct iphdr);

    if (cap < n_ip + n_body || n_body > UINT16_MAX - n_ip)
        return 0;
    n_ip = p->is_v6 ? put_v6(packet, n_body, out) : put_v4(packet, n_body, out);
    put_udp(p, answer, n_answer, out, n_ip);
    return n_ip + n_body;
}
