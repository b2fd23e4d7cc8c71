/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "base/log.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <rte_log.h>

static _Thread_local char captured[512];
static _Thread_local size_t captured_size;
static _Thread_local bool capturing;

/* Lines that only say that something failed, which the caller knows. */
static bool is_noise(const char *text)
{
    return strstr(text, "Failed to attach device on primary process") || strstr(text, "Driver cannot attach the device");
}

/* Lines become "; " separated; what does not fit is cut. */
static void capture(const char *text, size_t size)
{
    char line[256];

    snprintf(line, sizeof line, "%.*s", (int)(size < sizeof line ? size : sizeof line - 1), text);
    line[strcspn(line, "\n")] = '\0';
    if (!line[0] || is_noise(line))
        return;
    if (captured_size + 3 < sizeof captured)
        captured_size += (size_t)snprintf(captured + captured_size, sizeof captured - captured_size, "%s%s", captured_size ? "; " : "", line);
    if (captured_size >= sizeof captured)
        captured_size = sizeof captured - 1;
}

static ssize_t write_log(void *cookie, const char *text, size_t size)
{
    (void)cookie;
    if (capturing)
        capture(text, size);
    else if (write(STDERR_FILENO, text, size) < 0)
        return 0;
    return (ssize_t)size;
}

void log_init(void)
{
    FILE *stream = fopencookie(NULL, "w", (cookie_io_functions_t){ .write = write_log });

    if (!stream)
        return;
    setvbuf(stream, NULL, _IOLBF, 0);
    rte_openlog_stream(stream);
    rte_log_set_global_level(RTE_LOG_ERR);
}

void log_capture(void)
{
    captured_size = 0;
    captured[0] = '\0';
    capturing = true;
}

const char *log_captured(void)
{
    capturing = false;
    return captured;
}
