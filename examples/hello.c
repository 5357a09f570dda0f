/* SPDX-License-Identifier: MIT
 *
 * The names in a tree, one at a time, found by plain recursion: walk() stops
 * wherever it is when it has one. Build the library of src/core, and it:
 *
 *     meson setup build/c -Dpython=false && ninja -C build/c
 *     cc -Isrc/core examples/hello.c -Lbuild/c/src/core -lcopool -pthread
 */
#include <stdio.h>

#include "copool.h"

struct tree {
    const char *name;
    const struct tree *left, *right;
};

static void
walk(const struct tree *tree)
{
    if (!tree)
        return;
    walk(tree->left);
    co_yield((void *)tree->name, NULL);
    walk(tree->right);
}

static void *
body(void *first)
{
    walk(first);
    return NULL;
}

int
main(void)
{
    static const struct tree a = {"a", NULL, NULL}, c = {"c", NULL, NULL},
                             b = {"b", &a, &c}, e = {"e", NULL, NULL},
                             d = {"d", &b, &e};
    struct co_pool_options options;
    enum co_status status;
    co_pool *pool;
    co_t *co;
    void *name;

    co_pool_options_init(&options);
    status = co_pool_create(&options, &pool);
    if (status == CO_OK)
        status = co_create(pool, body, &co);
    if (status != CO_OK) {
        fprintf(stderr, "hello: %s\n", co_status_text(status));
        return 1;
    }
    while (co_enter(co, (void *)&d, &name) == CO_OK)
        printf("%s\n", (const char *)name);
    return co_pool_destroy(pool) == CO_OK ? 0 : 1;
}
