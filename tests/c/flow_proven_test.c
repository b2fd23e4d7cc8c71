/* SPDX-License-Identifier: Apache-2.0
 * link: everything
 * eal: yes
 * sanitize: address
 *
 * What a flow proves of its packets, and which flow it is whose actions a put replaces. */
#include "flow_fixture.h"

/* What actions need is asked of the flow that gets them: a put by the key of a packet may find a
 * wider one, and one that matches a type in part has packets of other types. */
static void test_proven(void)
{
    const uint16_t type = 0x0008, type6 = 0xdd86, ports[2] = { 0x0100, 0x0200 };
    const struct ovs_key_ipv6 ip6 = { .ipv6_proto = 58 }, proto6 = { .ipv6_proto = 0xff };
    struct ovs_key_ipv4 ip = { .ipv4_proto = 6 };
    const struct ovs_key_nd nd = { .nd_sll = { 0 } };
    struct bytes key = { .n = 0 }, mask = dst_mask(0, UINT32_MAX), proto = { .n = 0 }, drop = { .n = 0 }, set = drop, inner = drop;

    setup();
    attr32(&key, OVS_KEY_ATTR_IN_PORT, 1);
    attr(&key, OVS_KEY_ATTR_ETHERTYPE, &type, 2);
    attr(&key, OVS_KEY_ATTR_IPV4, &ip, sizeof ip);
    attr(&key, OVS_KEY_ATTR_TCP, ports, 4);
    attr(&inner, OVS_KEY_ATTR_TCP, ports, 4);
    attr(&set, OVS_ACTION_ATTR_SET, inner.at, (uint16_t)inner.n);
    ip.ipv4_proto = 0xff;
    attr32(&proto, OVS_KEY_ATTR_IN_PORT, UINT32_MAX);
    attr(&proto, OVS_KEY_ATTR_ETHERTYPE, &(uint16_t){ 0xffff }, 2);
    attr(&proto, OVS_KEY_ATTR_IPV4, &ip, sizeof ip);
    CHECK(!PUT(CREATE, NULL, &key, &mask, &drop).error);
    CHECK(PUT(MODIFY, NULL, &key, &proto, &set).error == EINVAL);
    CHECK(!PUT(MODIFY, NULL, &key, &proto, &drop).error);
    flush();
    CHECK(!PUT(CREATE, NULL, &key, &proto, &set).error);
    CHECK(!PUT(MODIFY, NULL, &key, &mask, &set).error); /* The flow found is the narrow one. */
    flush();

    set.n = inner.n = 0;
    attr(&inner, OVS_KEY_ATTR_ND, &nd, sizeof nd);
    attr(&set, OVS_ACTION_ATTR_SET, inner.at, (uint16_t)inner.n);
    for (int exact = 0; exact < 2; exact++) {
        key.n = mask.n = 8; /* Their in_port. */
        attr(&key, OVS_KEY_ATTR_ETHERTYPE, &type6, 2);
        attr(&key, OVS_KEY_ATTR_IPV6, &ip6, sizeof ip6);
        attr(&key, OVS_KEY_ATTR_ICMPV6, (uint8_t[]){ 136, 0 }, 2);
        attr(&key, OVS_KEY_ATTR_ND, &nd, sizeof nd);
        attr(&mask, OVS_KEY_ATTR_ETHERTYPE, &(uint16_t){ 0xffff }, 2);
        attr(&mask, OVS_KEY_ATTR_IPV6, &proto6, sizeof proto6);
        attr(&mask, OVS_KEY_ATTR_ICMPV6, (uint8_t[]){ exact ? 0xff : 0x88, 0xff }, 2);
        CHECK(PUT(CREATE, NULL, &key, &mask, &set).error == (exact ? 0 : EINVAL));
    }
    flush();
    teardown();
}

int main(void)
{
    test_proven();
    return failures != 0;
}
