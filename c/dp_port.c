/* SPDX-License-Identifier: Apache-2.0
 *
 * The entry points of dp.h about ports.
 *
 * Opening a device may take seconds (a peer that must connect, a NIC that resets), so the control
 * mutex is not held then: the port's number and names are reserved first, and it is published
 * afterwards if the datapath is still there. */
#include "dp_int.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/invariant.h"
#include "base/error.h"
#include "base/handle.h"
#include "pmd/pmd_set.h"
#include "port/port.h"
#include "port/port_add.h"
#include "port/port_dummy.h"
#include "tnl/tnl.h"

enum job_state { JOB_STAGED, JOB_RUNNING, JOB_DONE };

struct job {
    struct handle_object object;
    struct dp *dp;
    struct dp_port_request request;
    _Atomic int state;
    int error;
    char text[DP_TEXT_SIZE];
    struct dp_port_info info;
};

/* --- Coming and going ------------------------------------------------------------------------- */

static void describe(struct port *port, struct dp_port_info *info)
{
    const bool gone = atomic_load_explicit(&port->gone, memory_order_relaxed);
    const struct link_speed speed = port_link_speed(port);

    port_follow_mtu(port);
    memset(info, 0, sizeof *info);
    info->no = port->no;
    info->rxq_count = port->rxq_count;
    info->txq_count = port->txq_count;
    info->mtu = atomic_load_explicit(&port->mtu, memory_order_relaxed);
    info->gone = gone;
    info->link_speed = speed.mbits;
    info->link_duplex = speed.duplex;
    if (!port_device_name(port, info->device))
        info->device[0] = '\0';
    info->link_up = port_link_up(port);
    port_mac(port, info->mac);
    memcpy(info->name, port->name, sizeof info->name);
    memcpy(info->type, port->type, sizeof info->type);
    memcpy(info->options, port->options, sizeof info->options);
}

/* Lets threads see an open port.  errno, and error_set(): it is still the caller's. */
static int publish(struct dp *dp, struct port *port)
{
    int error = port->caps & PORT_CAP_TUNNEL ? tnl_port_add(dp->tnl, port->no, port_tnl_config(port)) : 0;

    if (error)
        return error;
    error = pmd_set_add_port(dp->pmds, port);
    if (error) {
        tnl_port_remove(dp->tnl, port->no);
        return error;
    }
    port_put(dp->ports, port);
    dp_service_track(dp); /* Fragments that wait for a tunnel must not wait for ever. */
    return 0;
}

/* Opens the device of a port that is reserved, and publishes it; the control mutex is held on entry
 * and return. */
static int open_and_publish(struct dp *dp, struct port *port, struct dp_port_info *info)
{
    bool opened = false;
    int error;

    INVARIANT_HELD(&dp->control);
    pthread_mutex_unlock(&dp->control);
    error = port->class->open(port);
    if (!error) {
        error = port_make_txqs(port);
        if (error)
            port->class->close(port);
        else
            port_follow_link(port);
    }
    pthread_mutex_lock(&dp->life);
    pthread_mutex_lock(&dp->control);
    if (!error && dp->destroyed) {
        error = error_set(ENODEV, "the datapath was destroyed meanwhile");
        opened = true;
    } else if (!error) {
        opened = true;
        error = port_check_unique(dp->ports, port); /* By device, which was not known before. */
        if (!error)
            error = publish(dp, port);
    }
    pthread_mutex_unlock(&dp->life);
    if (error && !opened)
        return error;
    if (error) {
        pthread_mutex_unlock(&dp->control);
        port->class->close(port);
        pthread_mutex_lock(&dp->control);
        return error;
    }
    describe(port, info);
    return 0;
}

static int add(struct dp *dp, const struct dp_port_request *request, struct dp_port_info *info)
{
    struct port *port = port_new(dp->ports, request);
    int error;

    if (!port)
        return ENOMEM;
    if (!port->class)
        error = port_class_unknown(port->type);
    else
        error = port_check_unique(dp->ports, port);
    if (!error)
        error = port_choose_number(dp->ports, port, request->no);
    if (!error) {
        port_reserve(dp->ports, port);
        error = open_and_publish(dp, port, info);
        port_unreserve(dp->ports, port);
    }
    if (error)
        port_free(port);
    return error;
}

int dp_port_remove(struct dp *dp, uint32_t no)
{
    struct port *port = port_get(dp->ports, no);

    INVARIANT_HELD(&dp->control);
    if (!port)
        return error_set(ENODEV, "there is no port %u", no);
    tnl_port_remove(dp->tnl, no);
    pmd_set_remove_port(dp->pmds, port);
    port_take(dp->ports, port); /* Number and device stay taken until the device is closed. */
    pthread_mutex_unlock(&dp->control);
    port->class->close(port);
    pthread_mutex_lock(&dp->control);
    port_unreserve(dp->ports, port);
    port_table_changed(dp->ports);
    port_free(port);
    return 0;
}

static void job_release(struct handle_object *object)
{
    struct job *job = (struct job *)object;

    dp_unref(job->dp);
    free(job);
}

static bool terminated(const char *text, size_t size)
{
    return memchr(text, '\0', size) != NULL;
}

int dp_port_stage(uint64_t handle, const struct dp_port_request *request, uint64_t *handle_of_job)
{
    struct job *job;
    struct dp *dp;
    int error = request && handle_of_job ? dp_enter(handle, &dp) : EINVAL;

    if (error)
        return error;
    if (!terminated(request->name, sizeof request->name) || !terminated(request->type, sizeof request->type) ||
        !terminated(request->options, sizeof request->options) || !request->name[0])
        return dp_leave(dp, error_set(EINVAL, "its name is empty, or a text is too long"));
    job = calloc(1, sizeof *job);
    if (!job)
        return dp_leave(dp, ENOMEM);
    atomic_init(&job->object.references, 1);
    job->object.release = job_release;
    job->request = *request;
    job->dp = dp;
    dp_ref(dp);
    error = handle_open(HANDLE_JOB, &job->object, handle_of_job);
    if (error)
        handle_put(&job->object);
    return dp_leave(dp, error);
}

int dp_port_drop(uint64_t handle)
{
    struct handle_object *job = handle_close(handle, HANDLE_JOB);

    if (!job)
        return EBADF;
    handle_put(job);
    return 0;
}

int dp_port_add(uint64_t handle)
{
    struct job *job;
    int error, staged = JOB_STAGED;

    error_clear();
    job = (struct job *)handle_get(handle, HANDLE_JOB);
    if (!job)
        return error_set(EBADF, "no such job");
    if (!atomic_compare_exchange_strong(&job->state, &staged, JOB_RUNNING)) {
        handle_put(&job->object);
        return error_set(EALREADY, "the job has been run");
    }
    error = dp_lock(job->dp);
    if (!error) {
        error = add(job->dp, &job->request, &job->info);
        dp_unlock(job->dp);
    }
    if (error && !error_text()[0])
        error_set(error, "%s", strerror(error));
    if (error)
        snprintf(job->text, sizeof job->text, "%s", error_text());
    job->error = error;
    atomic_store(&job->state, JOB_DONE);
    handle_put(&job->object);
    return error;
}

int dp_port_result(uint64_t handle, struct dp_port_info *port, char *text, uint32_t text_size)
{
    struct job *job;
    bool done;
    int error;

    error_clear();
    if (!port || (text_size && !text))
        return EINVAL;
    job = (struct job *)handle_close(handle, HANDLE_JOB);
    if (!job)
        return error_set(EBADF, "no such job");
    done = atomic_load(&job->state) == JOB_DONE; /* Before that, the rest is another thread's. */
    error = done ? job->error : ECANCELED;
    if (!error)
        *port = job->info;
    if (text_size)
        snprintf(text, text_size, "%s", done ? job->text : "");
    if (error && done)
        error_set(error, "%s", job->text);
    handle_put(&job->object);
    return error;
}

int dp_port_delete(uint64_t handle, uint32_t no)
{
    struct dp *dp;
    int error = dp_enter_life(handle, &dp);

    if (error)
        return error_publish(handle, no, error);
    if (!no)
        error = error_set(EINVAL, "port 0 is the local port and goes with its datapath");
    else
        error = dp_port_remove(dp, no);
    return dp_leave_life(dp, error_publish(handle, no, error));
}

/* --- Questions -------------------------------------------------------------------------------- */

int dp_port_find(uint64_t handle, const char *name, struct dp_port_info *info)
{
    struct port *port;
    struct dp *dp;
    int error = name && info ? dp_enter(handle, &dp) : EINVAL;

    if (error)
        return error;
    port = port_named(dp->ports, name);
    if (!port)
        return dp_leave(dp, error_set(ENODEV, "there is no port \"%.63s\"", name));
    describe(port, info);
    return dp_leave(dp, 0);
}

int dp_port_next(uint64_t handle, uint32_t no, struct dp_port_info *info)
{
    struct port *port;
    struct dp *dp;
    int error = info ? dp_enter(handle, &dp) : EINVAL;

    if (error)
        return error;
    port = port_first(dp->ports, no);
    if (!port)
        return dp_leave(dp, ENODEV);
    describe(port, info);
    return dp_leave(dp, 0);
}

static uint64_t get(const _Atomic uint64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

int dp_port_stats_get(uint64_t handle, uint32_t no, struct dp_port_stats *stats)
{
    struct port *port;
    struct dp *dp;
    int error = stats ? dp_enter(handle, &dp) : EINVAL;

    if (error)
        return error;
    port = port_get(dp->ports, no);
    if (!port)
        return dp_leave(dp, error_set(ENODEV, "there is no port %u", no));
    *stats = (struct dp_port_stats){
        .rx_packets = get(&port->rx.packets), .rx_bytes = get(&port->rx.bytes), .rx_errors = get(&port->rx.errors),
        .rx_dropped = get(&port->rx.dropped), .rx_no_mbuf = get(&port->rx.no_mbuf),
        .device_lost = get(&port->lost),
        .tx_packets = get(&port->tx.packets), .tx_bytes = get(&port->tx.bytes), .tx_errors = get(&port->tx.errors),
    };
    if (port->class->stats)
        port->class->stats(port, stats);
    for (uint32_t i = 0; i < port->txq_count; i++)
        stats->tx_dropped += get(&port->txqs[i].dropped);
    return dp_leave(dp, 0);
}

/* `life` keeps the port where it is while its driver is asked, which others need not wait for. */
int dp_port_counters(uint64_t handle, uint32_t no, uint64_t memory, uint32_t room)
{
    struct dp_port_counter *counters = (struct dp_port_counter *)(uintptr_t)memory;
    struct port *port;
    uint32_t n = 0;
    struct dp *dp;
    int error = counters && room ? dp_enter_life(handle, &dp) : EINVAL;

    if (error)
        return error_publish(handle, no, error);
    port = port_get(dp->ports, no);
    if (!port)
        return dp_leave_life(dp, error_publish(handle, no, error_set(ENODEV, "there is no port %u", no)));
    dp_unlock(dp);
    error = port_counters(port, counters, room, &n);
    if (!error && n > room)
        error = ERANGE;
    if (!error && n < room)
        counters[n].name[0] = '\0';
    if (error == EOPNOTSUPP)
        error_set(error, "the driver of a port of type %s counts nothing more", port->type);
    pthread_mutex_lock(&dp->control);
    return dp_leave_life(dp, error_publish(handle, no, error));
}

int dp_port_sequence(uint64_t handle, uint64_t *sequence)
{
    struct dp *dp;
    int error = sequence ? dp_enter(handle, &dp) : EINVAL;

    if (error)
        return error;
    *sequence = port_table_sequence(dp->ports);
    return dp_leave(dp, 0);
}

/* --- Dummies ---------------------------------------------------------------------------------- */

/* A dummy port, with the control mutex held: EOPNOTSUPP for other ports. */
static int enter(uint64_t handle, uint32_t no, struct dp **dp, struct port **port)
{
    int error = dp_enter(handle, dp);

    if (error)
        return error;
    *port = port_get((*dp)->ports, no);
    if (!*port)
        return dp_leave(*dp, error_set(ENODEV, "there is no port %u", no));
    if ((*port)->class != &port_class_dummy)
        return dp_leave(*dp, error_set(EOPNOTSUPP, "port %s is of type %s, not dummy", (*port)->name, (*port)->type));
    return 0;
}

int dp_dummy_inject(uint64_t handle, uint32_t no, const uint8_t *frame, uint32_t size)
{
    struct port *port;
    struct dp *dp;
    int error = (frame || !size) && size <= 65535 ? enter(handle, no, &dp, &port) : EINVAL;

    return error ? error : dp_leave(dp, port_dummy_inject(port, frame, size));
}

int dp_dummy_collect(uint64_t handle, uint32_t no, uint8_t *frame, uint32_t size, uint32_t *used)
{
    struct port *port;
    struct dp *dp;
    int error = used && (frame || !size) ? enter(handle, no, &dp, &port) : EINVAL;

    return error ? error : dp_leave(dp, port_dummy_collect(port, frame, size, used));
}
