/* SPDX-License-Identifier: Apache-2.0
 * sanitize: address
 *
 * AF_XDP ports on a veth pair: every buffer of the pool works in both directions, with hugepages and without; what found a ring full is counted; a device
 * that another process has is refused, and one that a killed process left behind is not. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "dp_fixture.h"

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

static void make_devices(void)
{
    struct sockaddr_ll address = { .sll_family = AF_PACKET, .sll_protocol = htons(TYPE) };
    char command[512];
    int size = 8 << 20;

    snprintf(device, sizeof device, "uxa%d", getpid());
    snprintf(peer, sizeof peer, "uxb%d", getpid());
    snprintf(command, sizeof command, "ip link add %s type veth peer name %s && ip link set %s up addrgenmode none && ip link set %s up addrgenmode none",
             device, peer, device, peer);
    if (geteuid() || system(command)) {
        printf("root, for a veth pair\n");
        exit(77);
    }
    atexit(remove_devices);
    wire = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(TYPE));
    address.sll_ifindex = (int)if_nametoindex(peer);
    CHECK(wire >= 0 && !bind(wire, (struct sockaddr *)&address, sizeof address));
    OK(setsockopt(wire, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size));
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

/* --- Losses ----------------------------------------------------------------------------------------------- */

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
    void (*const tests[])(void) = { test_owner, test_receiving, test_sending, test_losses };

    if (argc == 2)
        return other_process(argv[1]);
    make_devices();
    return fixture_run(tests, sizeof tests / sizeof tests[0]);
}
