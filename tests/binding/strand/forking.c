/* SPDX-License-Identifier: MIT
 *
 * fork() by C code, which holds no GIL, as a library may do that starts
 * programs.
 */
#include <sys/wait.h>
#include <unistd.h>

int fork_often(int n);

/* Returns how many children could be made and have ended well. */
int
fork_often(int n)
{
    int well = 0, status;
    pid_t child;

    for (; n; n--) {
        child = fork();
        if (!child)
            _exit(0);
        well += child > 0 && waitpid(child, &status, 0) == child && !status;
    }
    return well;
}
