// SPDX-License-Identifier: GPL-2.0
//
// The socket load balancer of kplab's eBPF mode. It translates a Service's address inside the system call that names
// it, so that no packet ever carries that address. Its maps have the names and the bytes of Cilium's
// (bpf/lib/common.h, bpf/bpf_sock.c there); the code is ours, and shorter: no tc or XDP part, no Maglev, no quarantine,
// no check of binds, IPv4 only.
//
// Each node has a set of these programs with maps of its own. All sets are attached to the cgroup that the lab's agent
// is in anyway; `kplab_netns` names the network namespaces of one node and its pods, and every socket of another
// namespace is left alone.

#include <linux/bpf.h>
#include <linux/in.h>
#include <linux/types.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define PROCEED 1

// Flags of a service (struct lb4_service).
#define SVC_FLAG_AFFINITY (1 << 4)

struct lb4_key {
    __be32 address;
    __be16 dport;
    __u16 backend_slot;  // 0: the frontend itself
    __u8 proto;
    __u8 scope;
    __u8 pad[2];
};

struct lb4_service {
    __u32 backend_id;  // in slot 0: seconds of affinity in the low 24 bits, the algorithm above them
    __u16 count;
    __be16 rev_nat_index;
    __u8 flags;
    __u8 flags2;
    __u16 qcount;
};

struct lb4_backend {
    __be32 address;
    __be16 port;
    __u8 proto;
    __u8 flags;
    __u16 cluster_id;
    __u8 zone;
    __u8 pad;
};

struct ipv4_revnat_tuple {
    __u64 cookie;
    __be32 address;
    __be16 port;
    __u16 pad;
};

struct ipv4_revnat_entry {
    __be32 address;
    __be16 port;
    __be16 rev_nat_index;
};

struct lb4_affinity_key {
    __u64 client_id;  // the client's network namespace
    __be16 rev_nat_id;
    __u8 netns_cookie;
    __u8 pad1;
    __u32 pad2;
};

struct lb_affinity_val {
    __u64 last_used;  // CLOCK_MONOTONIC, in ns
    __u32 backend_id;
    __u32 pad;
};

struct lb_affinity_match {
    __u32 backend_id;
    __be16 rev_nat_id;
    __u16 pad;
};

// Sizes only, no types: bpftool then prints bytes, as one sees them on a node of Cilium's.
#define BYTES_MAP(map, kind, key, value, most) \
    struct {                                   \
        __uint(type, kind);                    \
        __uint(key_size, key);                 \
        __uint(value_size, value);             \
        __uint(max_entries, most);             \
    } map SEC(".maps")

BYTES_MAP(cilium_lb4_services_v2, BPF_MAP_TYPE_HASH, 12, 12, 65536);
BYTES_MAP(cilium_lb4_backends_v3, BPF_MAP_TYPE_HASH, 4, 12, 65536);
BYTES_MAP(cilium_lb4_reverse_nat, BPF_MAP_TYPE_HASH, 2, 6, 65536);
BYTES_MAP(cilium_lb4_reverse_sk, BPF_MAP_TYPE_LRU_HASH, 16, 8, 65536);
BYTES_MAP(cilium_lb4_affinity, BPF_MAP_TYPE_LRU_HASH, 16, 16, 65536);
BYTES_MAP(cilium_lb_affinity_match, BPF_MAP_TYPE_HASH, 8, 1, 65536);
// Network namespace cookie -> 1 a pod of this node, 2 the node itself.
BYTES_MAP(kplab_netns, BPF_MAP_TYPE_HASH, 8, 4, 4096);
// Every node's addresses: a NodePort is answered on each (Cilium asks its ipcache).
BYTES_MAP(kplab_node_ips, BPF_MAP_TYPE_HASH, 4, 1, 4096);
// How many events found no room in the ring.
BYTES_MAP(kplab_lost, BPF_MAP_TYPE_ARRAY, 4, 8, 1);

struct {
    __uint(type, BPF_MAP_TYPE_RINGBUF);
    __uint(max_entries, 1 << 20);
} kplab_events SEC(".maps");

enum { CONNECT = 1, GETPEERNAME, SENDMSG, RECVMSG };
enum { SERVICES = 1, BACKENDS, REVERSE_SK, AFFINITY, AFFINITY_MATCH };
enum { MISSED = 0, FOUND = 1, STORED = 2 };
// Where in an event each lookup stands, in the order in which they are made.
enum { AT_FRONTEND, AT_WILDCARD, AT_AFFINITY, AT_MATCH, AT_SLOT, AT_BACKEND, AT_STORE, LOOKUPS };

struct lookup {
    __u8 map;  // 0: was not made
    __u8 answer;
    __u8 pad[6];
    __u8 key[16];
    __u8 value[16];
};

struct event {
    __u64 stamp;  // CLOCK_MONOTONIC, in ns
    __u64 cookie;
    __u64 netns;
    __u32 pid;
    __u8 call;
    __u8 protocol;
    __u8 pad[2];
    __be32 asked_ip;
    __be32 answered_ip;
    __be16 asked_port;
    __be16 answered_port;
    __u32 pad2;
    char comm[16];
    struct lookup lookups[LOOKUPS];
};

#define NOTE(event, at, which, what, k, v)                                \
    do {                                                                  \
        if (event) {                                                      \
            (event)->lookups[at].map = which;                             \
            (event)->lookups[at].answer = what;                           \
            __builtin_memcpy((event)->lookups[at].key, k, sizeof(*(k)));  \
            if (v)                                                        \
                __builtin_memcpy((event)->lookups[at].value, v, sizeof(*(v))); \
        }                                                                 \
    } while (0)

static __always_inline struct event *begin(struct bpf_sock_addr *ctx, __u8 call, __u64 netns)
{
    struct event *event = bpf_ringbuf_reserve(&kplab_events, sizeof(*event), 0);

    if (!event) {
        __u32 zero = 0;
        __u64 *lost = bpf_map_lookup_elem(&kplab_lost, &zero);

        if (lost)
            __sync_fetch_and_add(lost, 1);
        return 0;
    }
    __builtin_memset(event, 0, sizeof(*event));
    event->stamp = bpf_ktime_get_ns();
    event->cookie = bpf_get_socket_cookie(ctx);
    event->netns = netns;
    event->pid = bpf_get_current_pid_tgid() >> 32;
    event->call = call;
    event->protocol = ctx->protocol;
    event->asked_ip = ctx->user_ip4;
    event->asked_port = (__be16)ctx->user_port;
    bpf_get_current_comm(event->comm, sizeof(event->comm));
    return event;
}

static __always_inline void finish(struct bpf_sock_addr *ctx, struct event *event)
{
    if (!event)
        return;
    event->answered_ip = ctx->user_ip4;
    event->answered_port = (__be16)ctx->user_port;
    bpf_ringbuf_submit(event, 0);
}

// A NodePort stands under the address 0.0.0.0 and is answered on every node's address, and on a node's own loopback.
static __always_inline int is_wildcard_target(__be32 address, __u32 role)
{
    if ((address & bpf_htonl(0xff000000)) == bpf_htonl(0x7f000000))
        return role == 2;
    return bpf_map_lookup_elem(&kplab_node_ips, &address) != 0;
}

static __always_inline struct lb4_service *find_frontend(struct lb4_key *key, __u32 role, struct event *event)
{
    struct lb4_service *svc = bpf_map_lookup_elem(&cilium_lb4_services_v2, key);

    NOTE(event, AT_FRONTEND, SERVICES, svc ? FOUND : MISSED, key, svc);
    if (svc || !is_wildcard_target(key->address, role))
        return svc;
    key->address = 0;
    svc = bpf_map_lookup_elem(&cilium_lb4_services_v2, key);
    NOTE(event, AT_WILDCARD, SERVICES, svc ? FOUND : MISSED, key, svc);
    return svc;
}

static __always_inline __u32 recall(struct lb4_service *svc, struct lb4_affinity_key *who, struct event *event)
{
    struct lb_affinity_val *kept = bpf_map_lookup_elem(&cilium_lb4_affinity, who);
    struct lb_affinity_match match = {.rev_nat_id = svc->rev_nat_index};
    __u64 seconds = svc->backend_id & 0xffffff;
    void *still;

    NOTE(event, AT_AFFINITY, AFFINITY, kept ? FOUND : MISSED, who, kept);
    if (!kept || kept->last_used + seconds * 1000000000ULL <= bpf_ktime_get_ns())
        return 0;
    match.backend_id = kept->backend_id;
    still = bpf_map_lookup_elem(&cilium_lb_affinity_match, &match);
    NOTE(event, AT_MATCH, AFFINITY_MATCH, still ? FOUND : MISSED, &match, (__u8 *)still);
    return still ? kept->backend_id : 0;
}

static __always_inline __u32 draw(struct bpf_sock_addr *ctx, struct lb4_key *key, __u16 count, struct event *event)
{
    __u32 number = key->proto == IPPROTO_TCP ? bpf_get_prandom_u32() : (__u32)bpf_get_socket_cookie(ctx);
    struct lb4_service *slot;

    key->backend_slot = number % count + 1;
    slot = bpf_map_lookup_elem(&cilium_lb4_services_v2, key);
    NOTE(event, AT_SLOT, SERVICES, slot ? FOUND : MISSED, key, slot);
    return slot ? slot->backend_id : 0;
}

static __always_inline void translate(struct bpf_sock_addr *ctx, __u32 role, __u64 netns, struct event *event)
{
    struct lb4_key key = {.address = ctx->user_ip4, .dport = (__be16)ctx->user_port, .proto = ctx->protocol};
    struct lb4_affinity_key who = {.client_id = netns, .netns_cookie = 1};
    struct ipv4_revnat_tuple tuple = {.cookie = bpf_get_socket_cookie(ctx)};
    struct ipv4_revnat_entry entry = {.address = ctx->user_ip4, .port = (__be16)ctx->user_port};
    struct lb4_service *svc;
    struct lb4_backend *backend;
    __u32 id = 0;

    svc = find_frontend(&key, role, event);
    if (!svc || !svc->count)
        return;
    who.rev_nat_id = svc->rev_nat_index;
    if (svc->flags & SVC_FLAG_AFFINITY)
        id = recall(svc, &who, event);
    if (!id)
        id = draw(ctx, &key, svc->count, event);
    if (!id)
        return;
    backend = bpf_map_lookup_elem(&cilium_lb4_backends_v3, &id);
    NOTE(event, AT_BACKEND, BACKENDS, backend ? FOUND : MISSED, &id, backend);
    if (!backend)
        return;
    if (svc->flags & SVC_FLAG_AFFINITY) {
        struct lb_affinity_val now = {.last_used = bpf_ktime_get_ns(), .backend_id = id};

        bpf_map_update_elem(&cilium_lb4_affinity, &who, &now, BPF_ANY);
    }
    tuple.address = backend->address;
    tuple.port = backend->port;
    entry.rev_nat_index = svc->rev_nat_index;
    if (bpf_map_update_elem(&cilium_lb4_reverse_sk, &tuple, &entry, BPF_ANY))
        return;
    NOTE(event, AT_STORE, REVERSE_SK, STORED, &tuple, &entry);
    ctx->user_ip4 = backend->address;
    ctx->user_port = backend->port;
}

static __always_inline int forward(struct bpf_sock_addr *ctx, __u8 call)
{
    __u64 netns = bpf_get_netns_cookie(ctx);
    __u32 *role = bpf_map_lookup_elem(&kplab_netns, &netns);
    struct event *event;

    if (!role || (ctx->protocol != IPPROTO_TCP && ctx->protocol != IPPROTO_UDP))
        return PROCEED;
    event = begin(ctx, call, netns);
    translate(ctx, *role, netns, event);
    finish(ctx, event);
    return PROCEED;
}

// The backend's address -> the one that the program asked for, if this very socket was translated.
static __always_inline int backward(struct bpf_sock_addr *ctx, __u8 call)
{
    __u64 netns = bpf_get_netns_cookie(ctx);
    struct ipv4_revnat_tuple tuple = {.address = ctx->user_ip4, .port = (__be16)ctx->user_port};
    struct lb4_key key = {.proto = ctx->protocol};
    struct ipv4_revnat_entry *entry;
    struct lb4_service *svc;
    struct event *event;
    __u32 *role = bpf_map_lookup_elem(&kplab_netns, &netns);

    if (!role)
        return PROCEED;
    tuple.cookie = bpf_get_socket_cookie(ctx);
    entry = bpf_map_lookup_elem(&cilium_lb4_reverse_sk, &tuple);
    if (!entry)
        return PROCEED;
    event = begin(ctx, call, netns);
    NOTE(event, AT_FRONTEND, REVERSE_SK, FOUND, &tuple, entry);
    key.address = entry->address;
    key.dport = entry->port;
    svc = bpf_map_lookup_elem(&cilium_lb4_services_v2, &key);
    NOTE(event, AT_WILDCARD, SERVICES, svc ? FOUND : MISSED, &key, svc);
    if (!svc && is_wildcard_target(key.address, *role)) {
        key.address = 0;
        svc = bpf_map_lookup_elem(&cilium_lb4_services_v2, &key);
        NOTE(event, AT_SLOT, SERVICES, svc ? FOUND : MISSED, &key, svc);
    }
    if (svc && svc->rev_nat_index == entry->rev_nat_index) {
        ctx->user_ip4 = entry->address;
        ctx->user_port = entry->port;
    } else {
        // The Service has gone, or is another one by now: what the socket reads is the backend's own address.
        bpf_map_delete_elem(&cilium_lb4_reverse_sk, &tuple);
    }
    finish(ctx, event);
    return PROCEED;
}

SEC("cgroup/connect4")
int kplab_connect4(struct bpf_sock_addr *ctx)
{
    return forward(ctx, CONNECT);
}

SEC("cgroup/sendmsg4")
int kplab_sendmsg4(struct bpf_sock_addr *ctx)
{
    return forward(ctx, SENDMSG);
}

SEC("cgroup/recvmsg4")
int kplab_recvmsg4(struct bpf_sock_addr *ctx)
{
    return backward(ctx, RECVMSG);
}

SEC("cgroup/getpeername4")
int kplab_peername4(struct bpf_sock_addr *ctx)
{
    return backward(ctx, GETPEERNAME);
}

char _license[] SEC("license") = "GPL";
