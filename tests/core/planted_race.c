/* SPDX-License-Identifier: MIT
 *
 * The shared list without its release: ThreadSanitizer must find that who takes
 * a node may not see what its last user wrote to it. Not one of the tests: it
 * shows that these can fail.
 */
#include <sched.h>
#include <stdatomic.h>

#define memory_order_release memory_order_relaxed
#include "list.h"
#undef memory_order_release
#include "test.h"

enum { NODES = 1000 };

static struct shared_list list;
static struct block nodes[NODES];

static void
push_or_take(unsigned index)
{
    unsigned i, taken = 0;

    for (i = 0; index == 0 && i < NODES; i++) {
        nodes[i].index = i;
        shared_list_push(&list, &nodes[i]);
    }
    while (index == 1 && taken < NODES) {
        struct block *chain = shared_list_take_all(&list);

        if (!chain)
            sched_yield();
        for (; chain; chain = chain->next, taken++)
            chain->index++;
    }
}

int
main(void)
{
    test_threads(2, push_or_take);
    return 0;
}
