/* SPDX-License-Identifier: Apache-2.0
 * sanitize: address
 *
 * AF_XDP ports on a veth pair: every buffer of the pool works in both directions, with hugepages and without; what found a ring full is counted; a device
 * that another process has is refused, and one that a killed process left behind is not; the descriptor of each queue tells of that queue's
 * packets. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <linux/ethtool.h>
#include <linux/if_packet.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "dp_fixture.h"
#include "dp_int.h"
#include "port/port.h"

#define FRAMES_SENT 9000u            /* More than the port has buffers. */
#define SIZE 200u
#define TYPE 0x1234
#define NO_AFXDP 78                  /* Exit status: not on this machine. */

static char device[16], peer[16];
static int wire;                     /* A packet socket at the other end. */

static void remove_devices(void)
{
    char command[128];

    snprintf(command, sizeof command, "ip link delete %s 2>/dev/null", device);
    if (system(command))
        return; /* Never made. */
}

/* The devices are up, and `wire` is at the other end. */
static void begin_devices(void)
{
    struct sockaddr_ll address = { .sll_family = AF_PACKET, .sll_protocol = htons(TYPE) };
    char command[512];
    int size = 8 << 20;

    snprintf(command, sizeof command, "ip link set %s up addrgenmode none && ip link set %s up addrgenmode none", device, peer);
    OK(system(command));
    if (wire)
        close(wire);
    wire = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(TYPE));
    address.sll_ifindex = (int)if_nametoindex(peer);
    CHECK(wire >= 0 && !bind(wire, (struct sockaddr *)&address, sizeof address));
    OK(setsockopt(wire, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size));
}

static void make_devices(void)
{
    char command[512];

    snprintf(device, sizeof device, "uxa%d", getpid());
    snprintf(peer, sizeof peer, "uxb%d", getpid());
    snprintf(command, sizeof command, "ip link add %s type veth peer name %s", device, peer);
    if (geteuid() || system(command)) {
        printf("root, for a veth pair\n");
        exit(77);
    }
    atexit(remove_devices);
    begin_devices();
}

static void send_frame(uint32_t tag)
{
    uint8_t frame[SIZE];

    fixture_frame(frame, sizeof frame, tag);
    EQUAL(send(wire, frame, sizeof frame, 0), sizeof frame);
}

static struct dp_port_stats port_stats(uint64_t dp)
{
    struct dp_port_stats stats;

    OK(dp_port_stats_get(dp, 1, &stats));
    return stats;
}

/* --- Who has the device ----------------------------------------------------------------------------------- */

/* What the other process does: adds the port, says what came of it, and stays. */
static int other_process(const char *name)
{
    uint64_t dp;

    fixture_start();
    OK(dp_open("other", DP_CREATE, &dp));
    printf("%d\n", fixture_port(dp, 1, name, "afxdp", "", NULL));
    fflush(stdout);
    pause();
    return 0;
}

static pid_t start_other(int *result)
{
    FILE *said;
    int ends[2];
    pid_t child;

    OK(pipe(ends));
    child = fork();
    CHECK(child >= 0);
    if (!child) {
        dup2(ends[1], 1);
        execl("/proc/self/exe", "afxdp_test", device, NULL);
        _exit(127);
    }
    close(ends[1]);
    said = fdopen(ends[0], "r");
    CHECK(said && fscanf(said, "%d", result) == 1);
    fclose(said);
    return child;
}

static void test_owner(void)
{
    uint64_t dp = fixture_dp("owner", 0);
    char pid[32];
    pid_t child;
    int result;

    child = start_other(&result);
    snprintf(pid, sizeof pid, "process %d ", child);
    if (!result) {
        EQUAL(fixture_port(dp, 1, device, "afxdp", "", NULL), EBUSY);
        CHECK(strstr(fixture_error(), pid));
    }
    kill(child, SIGKILL);
    EQUAL(waitpid(child, NULL, 0), child);
    if (result == EAFNOSUPPORT || result == EOPNOTSUPP || result == ENOSYS) {
        printf("AF_XDP\n");
        exit(NO_AFXDP);
    }
    EQUAL(result, 0);
    OK(fixture_port(dp, 1, device, "afxdp", "", NULL)); /* Its program is still on the device. */
    OK(dp_close(dp));
}

/* --- Buffers ---------------------------------------------------------------------------------------------- */

/* Each frame of more than there are buffers comes in whole and in order. */
static void test_receiving(void)
{
    uint64_t dp = fixture_dp("receiving", 0);
    uint8_t frame[SIZE + 1], expected[SIZE];
    uint32_t used;

    OK(fixture_port(dp, 1, device, "afxdp", "", NULL));
    OK(fixture_port(dp, 2, "out", "dummy", "", NULL));
    fixture_flow(dp, 1, 2);
    for (uint32_t tag = 0; tag < FRAMES_SENT; tag++) {
        send_frame(tag);
        if (tag % 64 != 63 && tag != FRAMES_SENT - 1)
            continue;
        for (uint32_t i = tag & ~63u; i <= tag; i++) {
            EVENTUALLY(!dp_dummy_collect(dp, 2, frame, sizeof frame, &used));
            fixture_frame(expected, SIZE, i);
            CHECK(used == SIZE && !memcmp(frame, expected, SIZE));
        }
    }
    EQUAL(port_stats(dp).rx_packets, FRAMES_SENT);
    EQUAL(port_stats(dp).rx_dropped, 0);
    OK(dp_close(dp));
}

static void test_sending(void)
{
    uint64_t dp = fixture_dp("sending", 0);
    uint8_t frame[SIZE + 1], expected[SIZE];

    OK(fixture_port(dp, 1, device, "afxdp", "", NULL));
    OK(fixture_port(dp, 2, "in", "dummy", "", NULL));
    fixture_flow(dp, 2, 1);
    for (uint32_t tag = 0; tag < FRAMES_SENT; tag++) {
        fixture_inject(dp, 2, SIZE, tag);
        if (tag % 64 != 63 && tag != FRAMES_SENT - 1)
            continue;
        for (uint32_t i = tag & ~63u; i <= tag; i++) {
            EVENTUALLY(recv(wire, frame, sizeof frame, MSG_DONTWAIT) == SIZE);
            fixture_frame(expected, SIZE, i);
            CHECK(!memcmp(frame, expected, SIZE));
        }
    }
    EQUAL(port_stats(dp).tx_packets, FRAMES_SENT);
    OK(dp_close(dp));
}

/* --- Queues ----------------------------------------------------------------------------------------------- */

static _Atomic bool held, released;

/* Keeps the poll thread busy until it is told to go on. */
static int hold(struct dp_direct_upcall *up, void *aux)
{
    (void)up, (void)aux;
    atomic_store(&held, true);
    while (!atomic_load(&released))
        usleep(500);
    return EPERM;
}

/* DPDK's driver wants channels that receive and send, which veth does not say that it has: here it does. */
static _Atomic bool has_channels;

__attribute__((visibility("default"))) int ioctl(int fd, unsigned long request, ...)
{
    struct ethtool_channels *channels;
    va_list arguments;
    struct ifreq *asked;
    long answer;

    va_start(arguments, request);
    asked = va_arg(arguments, void *);
    va_end(arguments);
    answer = syscall(SYS_ioctl, fd, request, asked);
    if (request != SIOCETHTOOL || !atomic_load(&has_channels) || strcmp(asked->ifr_name, device))
        return (int)answer;
    channels = (void *)asked->ifr_data;
    if (channels->cmd == ETHTOOL_GCHANNELS)
        channels->max_combined = channels->combined_count = 2;
    return (int)answer;
}

static bool has_some(int fd)
{
    struct pollfd at = { .fd = fd, .events = POLLIN };

    return poll(&at, 1, 0) == 1;
}

static uint64_t came_by(uint64_t dp, uint32_t queue)
{
    struct dp_rxq_info info;

    for (uint32_t i = 0; !dp_rxq_get(dp, i, &info); i++)
        if (info.port == 1 && info.queue == queue)
            return info.packets;
    FAIL("there is no queue %u", queue);
}

/* The descriptor of each queue tells of the packets of that queue, and of no other. */
static void test_queues(void)
{
    uint64_t dp = fixture_dp("queues", 0);
    const struct port_class *class;
    char command[512];
    struct dp *of;
    struct port *port;
    int fds[2] = { -1, -1 }, one = 1;
    bool told[2];

    remove_devices();
    snprintf(command, sizeof command, "ip link add %s numrxqueues 2 numtxqueues 2 type veth peer name %s numrxqueues 2 numtxqueues 2", device, peer);
    OK(system(command));
    begin_devices();
    OK(setsockopt(wire, SOL_PACKET, PACKET_QDISC_BYPASS, &one, sizeof one)); /* The processor chooses the queue. */
    atomic_store(&has_channels, true);
    OK(fixture_port(dp, 1, device, "afxdp", "n_rxq=2\nqueue_count=2", NULL));
    of = dp_of(dp);
    port = port_get(of->ports, 1);
    class = port->class;
    EQUAL(port->rxq_count, 2);
    for (uint16_t q = 0; q < 2; q++) /* A thread may have the queue at this moment. */
        for (int tries = 0; fds[q] < 0 && tries < 1000; tries++, usleep(500))
            fds[q] = class->rx_wait(port, q);
    CHECK(fds[0] >= 0 && fds[1] >= 0 && fds[0] != fds[1]);
    OK(dp_upcall_direct(dp, (uintptr_t)hold, 0));
    for (int core = 0; core < 2 && core < sysconf(_SC_NPROCESSORS_CONF); core++) {
        uint64_t before[2] = { came_by(dp, 0), came_by(dp, 1) };
        cpu_set_t all, here;

        atomic_store(&held, false);
        atomic_store(&released, false);
        OK(pthread_getaffinity_np(pthread_self(), sizeof all, &all));
        CPU_ZERO(&here);
        CPU_SET(core, &here);
        if (pthread_setaffinity_np(pthread_self(), sizeof here, &here))
            continue;
        send_frame(0);
        EVENTUALLY(atomic_load(&held));
        for (uint32_t tag = 0; tag < 100; tag++)
            send_frame(tag);
        OK(pthread_setaffinity_np(pthread_self(), sizeof all, &all));
        EVENTUALLY(has_some(fds[0]) || has_some(fds[1]));
        usleep(100000);
        told[0] = has_some(fds[0]);
        told[1] = has_some(fds[1]);
        atomic_store(&released, true);
        EVENTUALLY(came_by(dp, 0) + came_by(dp, 1) == before[0] + before[1] + 101);
        printf("core %d: queue 0 %llu packets, told %d; queue 1 %llu, told %d\n", core, (unsigned long long)(came_by(dp, 0) - before[0]),
               told[0], (unsigned long long)(came_by(dp, 1) - before[1]), told[1]);
        for (uint32_t q = 0; q < 2; q++)
            EQUAL(told[q], came_by(dp, q) - before[q] > 1);
    }
    dp_unref(of);
    OK(dp_close(dp));
}

/* --- Losses ----------------------------------------------------------------------------------------------- */

/* What came in and what did not are all that was sent, whichever ring was the one that was full. */
static void lose(const char *options)
{
    uint64_t dp = fixture_dp("losing", 0), sent = 1;
    struct dp_port_stats stats;

    atomic_store(&held, false);
    atomic_store(&released, false);
    OK(fixture_port(dp, 1, device, "afxdp", options, NULL));
    OK(dp_upcall_direct(dp, (uintptr_t)hold, 0));
    send_frame(0);
    EVENTUALLY(atomic_load(&held));
    for (; sent < 6000; sent++)
        send_frame((uint32_t)sent);
    atomic_store(&released, true);
    EVENTUALLY((stats = port_stats(dp), stats.rx_packets + stats.rx_dropped == sent));
    printf("%s: %llu received, %llu dropped\n", options, (unsigned long long)stats.rx_packets, (unsigned long long)stats.rx_dropped);
    CHECK(stats.rx_packets > 256 && stats.rx_dropped > 1000);
    EVENTUALLY(fixture_stats(dp).received == stats.rx_packets);
    OK(dp_close(dp));
}

static void test_losses(void)
{
    lose("n_rxq_desc=512");
    lose("n_rxq_desc=4096");
}

int main(int argc, char **argv)
{
    void (*const tests[])(void) = { test_owner, test_receiving, test_sending, test_losses, test_queues };

    if (argc == 2)
        return other_process(argv[1]);
    make_devices();
    return fixture_run(tests, sizeof tests / sizeof tests[0]);
}
