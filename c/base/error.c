/* SPDX-License-Identifier: Apache-2.0 */
#include "base/error.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "dp.h"

static _Thread_local char own[DP_TEXT_SIZE];

/* Texts of calls whose threads nobody sees, by what they were about; the oldest is overwritten. */
static pthread_mutex_t published_lock = PTHREAD_MUTEX_INITIALIZER;
static struct {
    uint64_t handle;
    uint64_t turn;                   /* 0: read, or never written. */
    uint32_t about;
    char text[DP_TEXT_SIZE];
} published[128];
static uint64_t published_turn;

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

int error_publish(uint64_t handle, uint32_t about, int error)
{
    uint64_t turn;

    if (!error || !own[0])
        return error;
    pthread_mutex_lock(&published_lock);
    turn = published_turn++ % (sizeof published / sizeof published[0]);
    published[turn].handle = handle;
    published[turn].about = about;
    published[turn].turn = published_turn;
    memcpy(published[turn].text, own, sizeof own);
    pthread_mutex_unlock(&published_lock);
    return error;
}

const char *error_text(void)
{
    return own;
}

void error_take(uint64_t handle, uint32_t about, char *text, uint32_t size)
{
    int newest = -1;

    text[0] = '\0';
    pthread_mutex_lock(&published_lock);
    for (int i = 0; i < (int)(sizeof published / sizeof published[0]); i++)
        if (published[i].turn && published[i].handle == handle && published[i].about == about
            && (newest < 0 || published[i].turn > published[newest].turn))
            newest = i;
    if (newest >= 0) {
        snprintf(text, size, "%s", published[newest].text);
        published[newest].turn = 0;
    }
    pthread_mutex_unlock(&published_lock);
}
