#!/bin/sh
# ThreadSanitizer finds the race that the program, which is the argument, has:
# that one, and by its own exit status.
report=$("$1" 2>&1)
test $? = 66 && echo "$report" | grep -q 'WARNING: ThreadSanitizer: data race' &&
    echo "$report" | grep -q '#0 push_or_take'
