#!/bin/sh
# The example for C prints the names of its tree in order. The argument is its
# program; meson says in the environment by what it is to be run, if not directly.
test "$($MESON_EXE_WRAPPER "$@" | tr '\n' ' ')" = 'a b c d e '
