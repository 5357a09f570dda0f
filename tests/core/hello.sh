#!/bin/sh
# The example for C prints the names of its tree in order. The arguments are its
# command, with an emulator before it where one is needed.
test "$("$@" | tr '\n' ' ')" = 'a b c d e '
