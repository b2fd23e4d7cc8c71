/* SPDX-License-Identifier: Apache-2.0
 * link: base/mem.c
 *
 * Linux is given no more packets to cut when it has refused sixteen in a row; a queue that is full is no refusal, and after a while one
 * more is tried. */
#include "check.h"
#include "link/link_wrap.h"

#define SECOND 1000u

static void refuse(struct link_wrap *wrap, uint32_t n, uint64_t now)
{
    for (uint32_t i = 0; i < n; i++)
        CHECK(link_wrap_note(wrap, ENOMEM, now, SECOND));
}

int main(void)
{
    struct link_wrap wrap = { 0 };

    for (uint32_t i = 0; i < 100; i++)
        CHECK(link_wrap_note(&wrap, i % 3 ? ENOBUFS : EAGAIN, 5, SECOND));
    refuse(&wrap, LINK_WRAP_TRIES - 1, 5);
    CHECK(link_wrap_note(&wrap, ENOBUFS, 5, SECOND)); /* Neither more refusals nor fewer. */
    CHECK(link_wrap_note(&wrap, 0, 5, SECOND));
    refuse(&wrap, LINK_WRAP_TRIES - 1, 5);
    CHECK(!link_wrap_again(&wrap, UINT64_MAX));
    CHECK(!link_wrap_note(&wrap, EINVAL, 5, SECOND));
    CHECK(!link_wrap_again(&wrap, 5 + LINK_WRAP_PAUSE_S * SECOND - 1));
    CHECK(link_wrap_again(&wrap, 6 + LINK_WRAP_PAUSE_S * SECOND) && !link_wrap_again(&wrap, UINT64_MAX));
    /* One is tried: if it is refused as well, the next pause begins; if not, all is as it was. */
    CHECK(!link_wrap_note(&wrap, ENOMEM, 40000, SECOND));
    CHECK(link_wrap_again(&wrap, 80000));
    CHECK(link_wrap_note(&wrap, 0, 80000, SECOND));
    refuse(&wrap, LINK_WRAP_TRIES - 1, 80000);
    return failures != 0;
}
