/* SPDX-License-Identifier: Apache-2.0 */
#include "packet/userdata.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "base/invariant.h"

void userdata_actions_free(struct userdata_actions *actions)
{
    if (actions && atomic_fetch_sub_explicit(&actions->references, 1, memory_order_acq_rel) == 1)
        free(actions);
}

void userdata_free(struct userdata *userdata)
{
    INVARIANT(!userdata || atomic_load_explicit(&userdata->references, memory_order_relaxed));
    if (!userdata || atomic_fetch_sub_explicit(&userdata->references, 1, memory_order_acq_rel) > 1)
        return;
    userdata_actions_free(userdata->actions);
    free(userdata);
}
