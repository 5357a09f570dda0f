#!/usr/bin/env bash
# GCC leaves out calls of a function that does nothing but prefetch.
#
# Guess: a prefetch is there for what it does to the caches, so the compiler keeps
# it wherever it is written, as it keeps it in a loop of the function itself.
# Seen: GCC 12.2.0 (Debian) takes a function whose only work is a dozen of
# __builtin_prefetch() for one without effects, and drops the call, at -O1, -O2 and
# -O3 alike. It keeps all of them where always_inline has the function inlined
# before it asks that. Three are dropped at -O1 and -O2, and kept at -O3, where the
# function is small enough to be inlined early. GCC 16.2.0 keeps them all.
#
# It matters to who measures prefetching: the program is right, is as fast as
# before, and the idea seems to be worth nothing.
set -euo pipefail

gcc=$(command -v gcc-12 || command -v gcc)
version=$("$gcc" -dumpfullversion)
[[ $version == 12.2.0 ]] || { echo "needs GCC 12.2.0, not $version" >&2; exit 2; }
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

cat >list.c <<'C'
struct item {
    const struct item *next;
    const char *name, *text;
    long value;
};

INLINE void
fetch(const struct item *item)
{
    for (int i = 0; i < LINES; i++)
        __builtin_prefetch((const char *)item + 64 * i);
    for (int i = 0; i < LINES; i++)
        __builtin_prefetch(item->name + 64 * i);
    for (int i = 0; i < LINES; i++)
        __builtin_prefetch(item->text + 64 * i);
}

long
sum(const struct item *item)
{
    long total = 0;
    for (; item; item = item->next) {
        fetch(item);
        total += item->value;
    }
    return total;
}
C

# Prefetch instructions in the whole of the object file.
prefetches() {
    "$gcc" "$1" -DLINES="$2" -DINLINE="$3" -c list.c -o list.o
    objdump --disassemble list.o | grep --count prefetch || true
}

forced='__attribute__((always_inline)) static inline'
failed=0
expect() {
    echo "$3: $1 prefetch instructions"
    (($1 == $2)) || { echo "expected: $2" >&2; failed=1; }
}
for level in -O1 -O2 -O3; do
    expect "$(prefetches $level 4 'static inline')" 0 "$level, a dozen"
    expect "$(prefetches $level 4 "$forced")" 12 "$level, a dozen, always_inline"
done
expect "$(prefetches -O2 1 'static inline')" 0 "-O2, three"
expect "$(prefetches -O3 1 'static inline')" 3 "-O3, three"
exit $failed
