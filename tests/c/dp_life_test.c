/* SPDX-License-Identifier: Apache-2.0
 * link: everything
 *
 * Who waits for a datapath and who holds it: descriptors to wait for, what the end of a thread
 * closes, and the reasons of calls that ran on other threads. */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>

#include "dp_fixture.h"

static struct dp_exchange take(uint64_t handler, uint32_t max)
{
    struct dp_exchange exchange;

    OK(dp_upcall_exchange(handler, NULL, 0, 0, NULL, 0, max, &exchange));
    return exchange;
}

/* --- Waiting ---------------------------------------------------------------------------------------------- */

struct waiter {
    int descriptor;
    _Atomic int id;
    pthread_t thread;
};

static void *wait_for(void *arg)
{
    struct waiter *waiter = arg;

    fixture_waits(&waiter->id);
    fixture_readable(waiter->descriptor);
    return NULL;
}

/* Lets a thread wait for the descriptor, acts, and sees the thread end. */
static void wait_while(int descriptor, void (*act)(uint64_t), uint64_t arg)
{
    struct waiter waiter = { .descriptor = descriptor };

    CHECK(!pthread_create(&waiter.thread, NULL, wait_for, &waiter));
    EVENTUALLY(fixture_asleep(&waiter.id));
    act(arg);
    pthread_join(waiter.thread, NULL);
}

static void inject_one(uint64_t dp)
{
    fixture_inject(dp, 1, 60, 1);
}
static void close_handler(uint64_t handler)
{
    OK(dp_upcall_close(handler));
}
static void add_port(uint64_t dp)
{
    OK(fixture_port(dp, DP_PORT_NONE, "late", "null", "", NULL));
}
static void destroy(uint64_t dp)
{
    OK(dp_destroy(dp));
}

static void test_waiting(void)
{
    uint64_t dp = fixture_dp("waiting", 1), seen, now;
    struct dp_handler_info handler;
    struct dp_watch_info watch;

    OK(dp_upcall_open(dp, 0, &handler));
    for (int i = 0; i < 20; i++) {
        OK(dp_upcall_arm(handler.handler));
        wait_while(handler.doorbell, inject_one, dp);
        EQUAL(dp_upcall_arm(handler.handler), EAGAIN);
        EQUAL(take(handler.handler, 256).count, 1);
    }
    wait_while(handler.doorbell, close_handler, handler.handler);
    EQUAL(dp_upcall_arm(handler.handler), EBADF);
    OK(dp_upcall_open(dp, 0, &handler));

    OK(dp_port_watch(dp, &watch));
    OK(dp_port_watch_read(watch.watch, &seen));
    wait_while(watch.descriptor, add_port, dp);
    OK(dp_port_watch_read(watch.watch, &now));
    CHECK(now > seen);
    OK(dp_port_sequence(dp, &seen));
    EQUAL(now, seen);

    wait_while(handler.doorbell, destroy, dp);
    fixture_readable(watch.descriptor);
    EQUAL(dp_port_watch_read(watch.watch, &seen), ENODEV);
    EQUAL(dp_port_sequence(dp, &seen), ENODEV);
    EQUAL(dp_upcall_arm(handler.handler), ESHUTDOWN);
    OK(dp_port_watch_close(watch.watch));
    EQUAL(dp_port_watch_close(watch.watch), EBADF);
    OK(dp_upcall_close(handler.handler));
    OK(dp_close(dp));
}

/* --- What a thread leaves ----------------------------------------------------------------------------------- */

struct left {
    uint64_t dp;                     /* Of another thread. */
    uint64_t handler, own;
    struct dp_port_request request;
};

/* What an isolate has open when its Worker is terminated. */
static void *leave_open(void *arg)
{
    struct left *left = arg;
    struct dp_handler_info handler;
    struct dp_watch_info watch;
    uint64_t mine, dump, job;

    OK(dp_open("left", 0, &left->own));
    OK(dp_upcall_open(left->own, 1, &handler));
    OK(dp_port_watch(left->own, &watch));
    OK(dp_dump_open(left->own, 0, &dump));
    OK(dp_port_stage(left->own, &left->request, &job));
    OK(dp_open("left-alone", DP_CREATE, &mine));
    left->handler = handler.handler;
    return NULL;
}

static void test_thread_ends(void)
{
    struct left left = { .dp = fixture_dp("left", 1), .request = { .no = DP_PORT_NONE, .name = "x", .type = "null" } };
    struct dp_handler_info again;
    char names[256];
    pthread_t thread;

    OK(dp_upcall_set_handlers(left.dp, 2));
    CHECK(!pthread_create(&thread, NULL, leave_open, &left));
    CHECK(!pthread_join(thread, NULL));
    EQUAL(dp_upcall_arm(left.handler), EBADF);
    EQUAL(dp_flow_flush(left.own), EBADF);
    OK(dp_upcall_open(left.dp, 1, &again)); /* Its place is free. */
    OK(dp_enumerate(names, sizeof names));
    CHECK(strstr(names, "left\n") && !strstr(names, "left-alone\n"));
    OK(dp_upcall_close(again.handler));
    OK(dp_close(left.dp));
    OK(dp_enumerate(names, sizeof names));
    CHECK(!strstr(names, "left\n"));
}

/* --- Texts of calls that wait ------------------------------------------------------------------------------- */

static void test_waited_text(void)
{
    uint64_t dp = fixture_dp("waited", 1);
    char text[DP_TEXT_SIZE];

    EQUAL(dp_port_delete(dp, 7), ENODEV);
    EQUAL(dp_port_delete(dp, 8), ENODEV);
    OK(dp_flow_flush(dp)); /* Not the words of somebody else's call. */
    OK(dp_error_text(text, sizeof text));
    CHECK(!text[0]);
    OK(dp_waited_text(dp, 7, text, sizeof text));
    CHECK(strstr(text, "no port 7"));
    OK(dp_waited_text(dp, 7, text, sizeof text)); /* Once. */
    CHECK(!text[0]);
    OK(dp_waited_text(dp, 8, text, sizeof text));
    CHECK(strstr(text, "no port 8"));
    OK(dp_close(dp));
}

int main(void)
{
    void (*const tests[])(void) = { test_waiting, test_thread_ends, test_waited_text };

    return fixture_run(tests, sizeof tests / sizeof tests[0]);
}
