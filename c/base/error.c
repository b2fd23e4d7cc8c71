/* SPDX-License-Identifier: Apache-2.0 */
#include "base/error.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "dp.h"

static _Thread_local char own[DP_TEXT_SIZE];

static pthread_mutex_t published_lock = PTHREAD_MUTEX_INITIALIZER;
static char published[DP_TEXT_SIZE];

void error_clear(void)
{
    own[0] = '\0';
}

int error_set(int error, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(own, sizeof own, format, arguments);
    va_end(arguments);
    return error;
}

int error_publish(int error)
{
    if (!error)
        return 0;
    pthread_mutex_lock(&published_lock);
    memcpy(published, own, sizeof published);
    pthread_mutex_unlock(&published_lock);
    return error;
}

const char *error_text(void)
{
    return own;
}

void error_take(char *text, uint32_t size)
{
    if (own[0]) {
        snprintf(text, size, "%s", own);
        return;
    }
    pthread_mutex_lock(&published_lock);
    snprintf(text, size, "%s", published);
    published[0] = '\0';
    pthread_mutex_unlock(&published_lock);
}
