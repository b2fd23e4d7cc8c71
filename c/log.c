/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "log.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <rte_log.h>

static _Thread_local char captured[512];
static _Thread_local size_t captured_size;
static _Thread_local bool capturing;

/* Lines become "; " separated; what does not fit is cut. */
static void capture(const char *text, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        bool end = text[i] == '\n';

        if (captured_size + 3 >= sizeof captured)
            return;
        if (!end)
            captured[captured_size++] = text[i];
        else if (captured_size && i + 1 == size)
            captured_size += (size_t)sprintf(captured + captured_size, "; ");
    }
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
    while (captured_size && strchr("; \n", captured[captured_size - 1]))
        captured_size--;
    captured[captured_size] = '\0';
    return captured;
}
