/* SPDX-License-Identifier: Apache-2.0
 * tnl.c - see tnl.h: tunnel ports, addresses of ours. */
#include "tnl/tnl_int.h"

#include <errno.h>
#include <stdlib.h>

#include "base/error.h"
#include "base/invariant.h"
#include "base/mem.h"
#include "base/rcu.h"

#define ROLES_SIZE (TNL_PORTS * sizeof(_Atomic uint8_t))
#define PORTS_SIZE (TNL_PORTS * sizeof(_Atomic(struct tnl_port *)))
#define SOURCE_LOW 32768u
#define SOURCE_HIGH 61000u

static void free_locals(void *locals, void *unused)
{
    (void)unused;
    tnl_map_fini(locals);
    free(locals);
}

struct tnl *tnl_create(struct rcu *rcu)
{
    struct tnl *tnl = mem_array(sizeof *tnl);
    struct tnl_map *locals = calloc(1, sizeof *locals);

    if (!tnl || !locals) {
        mem_array_free(tnl, sizeof *tnl);
        free(locals);
        return NULL;
    }
    tnl->rcu = rcu;
    atomic_init(&tnl->locals, locals);
    tnl->events.bell = -1;
    tnl->roles = mem_map(ROLES_SIZE);
    tnl->ports = mem_map(PORTS_SIZE);
    atomic_init(&tnl->listens, calloc(1, sizeof(struct tnl_listens)));
    if (!tnl->roles || !tnl->ports || !atomic_load_explicit(&tnl->listens, memory_order_relaxed) || hash_seed(&tnl->seed)
        || tnl_map_init(&tnl->hops) || tnl_map_init(&tnl->receivers) || tnl_map_init(locals) || tnl_events_init(&tnl->events)) {
        tnl_destroy(tnl);
        return NULL;
    }
    tnl_source_ports(tnl, SOURCE_LOW, SOURCE_HIGH);
    return tnl;
}

void tnl_destroy(struct tnl *tnl)
{
    if (!tnl)
        return;
    for (uint32_t no = 0; tnl->ports && no < TNL_PORTS; no++)
        free(atomic_load_explicit(&tnl->ports[no], memory_order_relaxed));
    tnl_map_fini(&tnl->hops);
    tnl_map_fini(&tnl->receivers);
    free_locals(atomic_load_explicit(&tnl->locals, memory_order_relaxed), NULL);
    free(atomic_load_explicit(&tnl->listens, memory_order_relaxed));
    mem_unmap((void *)tnl->ports, PORTS_SIZE);
    mem_unmap((void *)tnl->roles, ROLES_SIZE);
    tnl_events_fini(&tnl->events);
    mem_array_free(tnl, sizeof *tnl);
}

const _Atomic uint8_t *tnl_roles(const struct tnl *tnl)
{
    return tnl->roles;
}

static void set_role(struct tnl *tnl, uint32_t port, uint8_t bits, bool on)
{
    const uint8_t roles = atomic_load_explicit(&tnl->roles[port], memory_order_relaxed);

    atomic_store_explicit(&tnl->roles[port], (uint8_t)(on ? roles | bits : roles & ~bits), memory_order_release);
}

/* --- Tunnel ports ----------------------------------------------------------------------------- */

static struct tnl_listen listen_of(const struct tunnel_config *config)
{
    struct tnl_listen listen = { .udp = config->dst_port, .kind = config->kind };

    switch (config->kind) {
    case TUNNEL_GRE:
    case TUNNEL_IP6GRE:
        listen.udp = config->l3;
        listen.family = config->kind == TUNNEL_GRE ? 4 : 6;
        break;
    case TUNNEL_ERSPAN:
    case TUNNEL_IP6ERSPAN:
        listen.family = config->kind == TUNNEL_ERSPAN ? 4 : 6;
        break;
    default:
        break;
    }
    return listen;
}

static union tnl_key receiver_key(const struct tunnel_config *config)
{
    const struct tnl_listen listen = listen_of(config);
    union tnl_key key;

    memset(&key, 0, sizeof key);
    key.receiver.listen = tnl_listen_id(&listen);
    if (config->in_key_fixed) {
        key.receiver.class |= TNL_CLASS_KEY;
        key.receiver.key = __builtin_bswap64(config->in_key);
    }
    if (config->local_family) {
        key.receiver.class |= TNL_CLASS_LOCAL;
        key.receiver.family = config->local_family;
        memcpy(key.receiver.local, config->local, sizeof key.receiver.local);
    }
    if (config->remote_family) {
        key.receiver.class |= TNL_CLASS_REMOTE;
        key.receiver.family = config->remote_family;
        memcpy(key.receiver.remote, config->remote, sizeof key.receiver.remote);
    }
    return key;
}

bool tnl_has_ports(const struct tnl *tnl)
{
    return atomic_load_explicit(&((struct tnl *)(uintptr_t)tnl)->listens, memory_order_relaxed)->n;
}

/* Makes what poll threads look for anew, from the ports that there are. */
static int publish_listens(struct tnl *tnl, const struct tnl_port *come)
{
    struct tnl_listens *listens = calloc(1, sizeof *listens);
    uint32_t n = 0;

    if (!listens)
        return ENOMEM;
    for (uint32_t no = 0; no <= TNL_PORTS; no++) {
        const struct tnl_port *port = no < TNL_PORTS ? tnl_port_of(tnl, no) : come;
        struct tnl_listen listen;
        uint32_t i = 0;

        if (!port)
            continue;
        listen = listen_of(&port->config);
        while (i < n && tnl_listen_id(&listens->at[i].listen) != tnl_listen_id(&listen))
            i++;
        if (i == TNL_LISTENS) {
            free(listens);
            return error_set(ENOSPC, "tunnels wait for packets of %u kinds and UDP ports already", TNL_LISTENS);
        }
        n = i == n ? n + 1 : n;
        listens->at[i].listen = listen;
        listens->at[i].classes |= (uint8_t)(1u << receiver_key(&port->config).receiver.class);
    }
    listens->n = n;
    tnl_map_free(tnl->rcu, atomic_exchange_explicit(&tnl->listens, listens, memory_order_acq_rel));
    return 0;
}

/* Two kinds of tunnel cannot have one UDP port. */
static int check_udp(const struct tnl *tnl, const struct tunnel_config *config)
{
    for (uint32_t no = 0; config->dst_port && no < TNL_PORTS; no++) {
        const struct tnl_port *other = tnl_port_of(tnl, no);

        if (other && other->config.dst_port == config->dst_port && other->config.kind != config->kind)
            return error_set(EEXIST, "port %u, a tunnel of another kind, has UDP port %u", no, config->dst_port);
    }
    return 0;
}

int tnl_port_add(struct tnl *tnl, uint32_t no, const struct tunnel_config *config)
{
    struct tnl_receiver *receiver = aligned_alloc(8, sizeof *receiver), *other;
    struct tnl_port *port = calloc(1, sizeof *port);
    struct tnl_item *old = NULL;
    int error = receiver && port ? check_udp(tnl, config) : ENOMEM;

    INVARIANT(no < TNL_PORTS && !tnl_port_of(tnl, no));
    if (!error) {
        port->no = no;
        port->config = *config;
        receiver->port = port;
        receiver->item.key = receiver_key(config);
        receiver->item.hash = tnl_key_hash(&tnl->seed, &receiver->item.key);
        other = (struct tnl_receiver *)tnl_map_find(&tnl->receivers, &receiver->item.key, receiver->item.hash);
        if (other)
            error = error_set(EEXIST, "port %u is a tunnel for the same packets", other->port->no);
    }
    if (!error)
        error = publish_listens(tnl, port);
    if (!error)
        error = tnl_map_put(&tnl->receivers, tnl->rcu, &receiver->item, &old);
    if (error) {
        free(receiver);
        free(port);
        return error;
    }
    INVARIANT(!old);
    atomic_store_explicit(&tnl->ports[no], port, memory_order_release);
    set_role(tnl, no, TNL_IS_TUNNEL, true);
    return 0;
}

void tnl_port_remove(struct tnl *tnl, uint32_t no)
{
    struct tnl_port *port = tnl_port_of(tnl, no);
    struct tnl_item *receiver;
    union tnl_key key;

    tnl_hops_drop(tnl, TNL_ANY, no);
    if (!port)
        return;
    key = receiver_key(&port->config);
    receiver = tnl_map_find(&tnl->receivers, &key, tnl_key_hash(&tnl->seed, &key));
    INVARIANT(receiver);
    set_role(tnl, no, TNL_IS_TUNNEL, false);
    tnl_hops_drop(tnl, no, TNL_ANY);
    tnl_map_take(&tnl->receivers, receiver);
    atomic_store_explicit(&tnl->ports[no], NULL, memory_order_release);
    publish_listens(tnl, NULL); /* No memory: packets are looked for that nobody takes. */
    tnl_map_free(tnl->rcu, receiver);
    tnl_map_free(tnl->rcu, port);
}

int tnl_source_ports(struct tnl *tnl, uint32_t low, uint32_t high)
{
    const uint32_t first = low < high ? low : high, last = low < high ? high : low;

    if (!first || last > UINT16_MAX)
        return error_set(ERANGE, "ports of UDP are 1 to 65535");
    atomic_store_explicit(&tnl->source_ports, first | (last - first) << 16, memory_order_relaxed);
    return 0;
}

/* --- Addresses of ours ------------------------------------------------------------------------ */

static struct tnl_local *local_new(const struct tnl *tnl, const struct dp_tnl_local *told)
{
    static const uint8_t no_mac[6];
    struct tnl_local *local = calloc(1, sizeof *local);

    if (!local)
        return NULL;
    local->item.key.local.port = told->port;
    local->item.key.local.family = told->family;
    local->item.key.local.vlan = told->vlan;
    memcpy(local->item.key.local.address, told->address, told->family == DP_TNL_IPV4 ? 4 : 16);
    local->item.hash = tnl_key_hash(&tnl->seed, &local->item.key);
    memcpy(local->mac, told->mac, sizeof local->mac);
    local->any_mac = !memcmp(told->mac, no_mac, sizeof no_mac);
    local->flags = told->flags;
    return local;
}

static int check_local(const struct dp_tnl_local *local)
{
    if (local->port >= TNL_PORTS - 1)
        return error_set(EINVAL, "an address is reached by port %u, which no port can be", local->port);
    if (!local->flags || local->flags & ~(DP_TNL_LOCAL_RECEIVED | DP_TNL_LOCAL_SENT) || local->vlan > 4095
        || (local->family != DP_TNL_IPV4 && local->family != DP_TNL_IPV6))
        return error_set(EINVAL, "an address with unknown flags, family or VLAN");
    return 0;
}

/* Fills an empty map. */
static int fill(struct tnl *tnl, struct tnl_map *locals, const struct dp_tnl_local *told, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        struct tnl_item *old = NULL;
        struct tnl_local *local;
        int error = check_local(&told[i]);

        if (error)
            return error;
        local = local_new(tnl, &told[i]);
        if (!local)
            return ENOMEM;
        error = tnl_map_put(locals, tnl->rcu, &local->item, &old);
        if (error)
            free(local);
        free(old); /* It is in no map that anybody reads. */
        if (error || old)
            return error ? error : error_set(EINVAL, "an address is given twice");
    }
    return 0;
}

/* What ports are to addresses, besides tunnels. */
static void set_roles(struct tnl *tnl, const struct tnl_map *locals)
{
    const struct tnl_local *local;
    uint8_t *roles = calloc(1, TNL_PORTS);

    for (uint32_t at = 0; roles && (local = (const struct tnl_local *)tnl_map_next(locals, &at)) != NULL;)
        roles[local->item.key.local.port] |= (uint8_t)(local->flags << 1);
    for (uint32_t no = 0; no < TNL_PORTS; no++) {
        /* Without memory every port is looked at, which costs time and nothing else. */
        set_role(tnl, no, (uint8_t)(roles ? ~roles[no] & (TNL_RECEIVES | TNL_SENDS) : 0), false);
        set_role(tnl, no, roles ? roles[no] : TNL_RECEIVES | TNL_SENDS, true);
    }
    free(roles);
}

int tnl_locals_set(struct tnl *tnl, const struct dp_tnl_local *told, uint32_t count)
{
    struct tnl_map *locals;
    int error;

    _Static_assert(DP_TNL_LOCAL_RECEIVED << 1 == TNL_RECEIVES && DP_TNL_LOCAL_SENT << 1 == TNL_SENDS, "flags are roles");
    if (count > DP_TNL_LOCALS)
        return error_set(ENOSPC, "there may be %u addresses", DP_TNL_LOCALS);
    locals = calloc(1, sizeof *locals);
    error = locals ? tnl_map_init(locals) : ENOMEM;
    if (!error) {
        error = fill(tnl, locals, told, count);
        if (error)
            tnl_map_fini(locals);
    }
    if (error) {
        free(locals);
        return error;
    }
    set_roles(tnl, locals);
    rcu_defer(tnl->rcu, free_locals, atomic_exchange_explicit(&tnl->locals, locals, memory_order_acq_rel), NULL);
    return 0;
}

/* --- Events ----------------------------------------------------------------------------------- */

int tnl_watch(struct tnl *tnl, int *descriptor)
{
    const int error = tnl_event_watch(&tnl->events, descriptor);

    return error == EBUSY ? error_set(error, "somebody manages its tunnels already") : error;
}

void tnl_unwatch(struct tnl *tnl, int descriptor)
{
    tnl_event_unwatch(&tnl->events, descriptor);
}

uint32_t tnl_events_take(struct tnl *tnl, uint64_t now, uint32_t max, struct dp_tnl_event *events)
{
    return tnl_event_take(&tnl->events, (uint32_t)now, max, events);
}

void tnl_wake(struct tnl *tnl)
{
    tnl_event_ring(&tnl->events);
}
