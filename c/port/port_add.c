/* SPDX-License-Identifier: Apache-2.0
 *
 * Adding a port.  Opening a device may take seconds (a peer that must connect, a NIC that resets), so the control mutex is not held then: the
 * port's number and names are reserved first, and it is published afterwards if the datapath is still there. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dp_int.h"
#include "base/error.h"
#include "base/handle.h"
#include "pmd/pmd_set.h"
#include "port/port_int.h"

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

void port_free(struct port *port)
{
    free(port->txqs);
    free(port);
}

void port_reserve(struct port_table *table, struct port *port)
{
    port->next_reserved = table->reserved;
    table->reserved = port;
}

void port_unreserve(struct port_table *table, struct port *port)
{
    struct port **at = &table->reserved;

    while (*at != port)
        at = &(*at)->next_reserved;
    *at = port->next_reserved;
}

static bool number_taken(struct port_table *table, uint32_t no)
{
    if (port_get(table, no))
        return true;
    for (struct port *other = table->reserved; other; other = other->next_reserved)
        if (other->no == no)
            return true;
    return false;
}

/* EEXIST if `other` stands in the way of `port`. */
static int compare(const struct port *port, const struct port *other)
{
    if (port == other)
        return 0;
    if (!strcmp(port->name, other->name))
        return error_set(EEXIST, "Cannot add port %s: port %u has that name", port->name, other->no);
    if (port->device[0] && !strcmp(port->device, other->device))
        return error_set(EEXIST, "Cannot add port %s: device %s is port %u (%s) already", port->name, port->device, other->no,
                         other->name);
    return 0;
}

static int check_unique(struct port_table *table, const struct port *port)
{
    int error = 0;

    for (struct port *other = port_first(table, 0); other && !error; other = port_first(table, other->no + 1))
        error = compare(port, other);
    for (struct port *other = table->reserved; other && !error; other = other->next_reserved)
        error = compare(port, other);
    return error;
}

static int choose_number(struct port_table *table, struct port *port, uint32_t no)
{
    if (no == DP_PORT_NONE) {
        for (no = 1; no <= PORT_NO_MAX && number_taken(table, no); no++)
            ;
        if (no > PORT_NO_MAX)
            return error_set(EFBIG, "Cannot add port %s: all numbers up to %u are taken", port->name, PORT_NO_MAX);
    }
    if (no > PORT_NO_MAX)
        return error_set(EFBIG, "Cannot add port %s: number %u is above %u", port->name, no, PORT_NO_MAX);
    if (number_taken(table, no))
        return error_set(EBUSY, "Cannot add port %s: number %u is taken", port->name, no);
    port->no = no;
    return 0;
}

static struct port *port_new(struct dp *dp, const struct dp_port_request *request)
{
    struct port *port = aligned_alloc(64, sizeof *port);

    if (!port)
        return NULL;
    memset(port, 0, sizeof *port);
    port->dp = dp;
    port->class = port_class_find(request->type);
    memcpy(port->name, request->name, sizeof port->name);
    memcpy(port->type, request->type, sizeof port->type);
    memcpy(port->options, request->options, sizeof port->options);
    return port;
}

static int make_txqs(struct port *port)
{
    port->txqs = aligned_alloc(64, port->txq_count * sizeof *port->txqs);
    if (!port->txqs)
        return ENOMEM;
    memset(port->txqs, 0, port->txq_count * sizeof *port->txqs);
    for (uint32_t i = 0; i < port->txq_count; i++)
        rte_spinlock_init(&port->txqs[i].lock);
    port->txqs[port->txq_count - 1].shared = 1;
    return 0;
}

/* Opens the device of a port that is reserved, and publishes it; the control mutex is held on entry and return. */
static int open_and_publish(struct dp *dp, struct port *port, struct dp_port_info *info)
{
    int error;

    pthread_mutex_unlock(&dp->control);
    error = port->class->open(port);
    if (!error) {
        error = make_txqs(port);
        if (error)
            port->class->close(port);
    }
    pthread_mutex_lock(&dp->control);
    if (error)
        return error;
    if (dp->destroyed)
        error = error_set(ENODEV, "Cannot add port %s: datapath %s was destroyed meanwhile", port->name, dp->name);
    if (!error)
        error = check_unique(dp->ports, port); /* By device, which was not known before. */
    if (!error)
        error = port_publish(dp, port);
    if (error) {
        pthread_mutex_unlock(&dp->control);
        port->class->close(port);
        pthread_mutex_lock(&dp->control);
        return error;
    }
    port_describe(port, info);
    return 0;
}

static int add(struct dp *dp, const struct dp_port_request *request, struct dp_port_info *info)
{
    struct port *port = port_new(dp, request);
    int error;

    if (!port)
        return ENOMEM;
    if (!port->class)
        error = error_set(EAFNOSUPPORT, "Cannot add port %s: there is no port type \"%s\"", port->name, port->type);
    else
        error = check_unique(dp->ports, port);
    if (!error)
        error = choose_number(dp->ports, port, request->no);
    if (!error) {
        port_reserve(dp->ports, port);
        error = open_and_publish(dp, port, info);
        port_unreserve(dp->ports, port);
    }
    if (error)
        port_free(port);
    return error;
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
        return dp_leave(dp, error_set(EINVAL, "Cannot add port: its name is empty, or a text is too long"));
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

int dp_port_add(uint64_t handle)
{
    struct job *job;
    int error, staged = JOB_STAGED;

    error_clear();
    job = (struct job *)handle_get(handle, HANDLE_JOB);
    if (!job)
        return error_publish(error_set(EBADF, "No such job"));
    if (!atomic_compare_exchange_strong(&job->state, &staged, JOB_RUNNING)) {
        handle_put(&job->object);
        return error_publish(error_set(EALREADY, "The job has been run"));
    }
    error = dp_lock(job->dp);
    if (!error) {
        error = add(job->dp, &job->request, &job->info);
        dp_unlock(job->dp);
    }
    if (error && !error_text()[0])
        error_set(error, "Cannot add port %s: %s", job->request.name, strerror(error));
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
    int error;

    error_clear();
    if (!port || (text_size && !text))
        return EINVAL;
    job = (struct job *)handle_close(handle, HANDLE_JOB);
    if (!job)
        return error_set(EBADF, "No such job");
    error = atomic_load(&job->state) == JOB_DONE ? job->error : ECANCELED;
    if (!error)
        *port = job->info;
    if (text_size)
        snprintf(text, text_size, "%s", error == job->error ? job->text : "");
    if (error && error == job->error)
        error_set(error, "%s", job->text);
    handle_put(&job->object);
    return error;
}
