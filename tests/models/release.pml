/* SPDX-License-Identifier: MIT
 *
 * The policy `release`, to be read beside src/core/pool_release.c and list.h.
 * A statement is a step of one thread; every access to what threads share is a
 * statement of its own. The arena is a set of blocks under a lock, so that
 * taking one is a step, too.
 *
 * What spin proves of it, for any number of operations by THREADS threads:
 * each block is in one place at a time, so that none is handed out twice; when
 * all threads have ended every block is there, so that none is lost; no
 * thread waits for good; the shared list and its size differ by no more than
 * the bounds below.
 *
 * It explores interleavings of steps in one order for all threads. Whether the
 * orders that the code asks of memory are enough is for ThreadSanitizer.
 *
 * POP_ONE replaces "take all" by "pop one with compare-and-swap": spin must
 * find that a block is handed out twice, which is all that is looked for then.
 */
#ifndef THREADS
#    define THREADS 3
#endif
#ifndef BLOCKS
#    define BLOCKS 3
#endif
#ifndef BATCH
#    define BATCH 1
#endif

/* A push looks at the size before it adds one; all threads may have looked
 * before the first has added. */
#ifndef MOST_SIZE
#    define MOST_SIZE (2 * BATCH - 1 + THREADS)
#endif
/* The size is too high by what was pushed between another thread's store of
 * zero and its exchange. It is too low by one for each thread between its push
 * and its addition, and for each one between its store of zero and its
 * exchange by what the size was before. */
#ifndef TOO_HIGH
#    define TOO_HIGH MOST_SIZE
#endif
#ifndef TOO_LOW
#    define TOO_LOW (THREADS * MOST_SIZE)
#endif

#define NIL 0
#define SLOTS (BLOCKS + 1) /* blocks are numbered from 1 */

/* Where a block is, for the assertions only. */
mtype = { ARENA, IDLE, IN_USE, ENDING };
mtype place[SLOTS] = ARENA;

byte next[SLOTS];
byte release_pool; /* the head */
byte release_pool_size;
byte ended;

byte pushed; /* blocks in the list, for the assertions only */

inline moves(block, from, to)
{
    assert(place[block] == from);
    place[block] = to;
}

/* arena_take(): NIL at the cap. */
inline arena_take(block)
{
    atomic {
        block = 1;
        do
        :: block <= BLOCKS && place[block] != ARENA -> block++
        :: else -> break
        od;
        if
        :: block > BLOCKS -> block = NIL
        :: else -> moves(block, ARENA, IN_USE)
        fi
    }
}

#ifndef POP_ONE
inline check_size()
{
    assert(release_pool_size <= MOST_SIZE);
    assert(pushed <= release_pool_size + TOO_LOW);
    assert(release_pool_size <= pushed + TOO_HIGH)
}

/* Nobody reads it any more: fewer states. */
inline forget_next(block) { next[block] = NIL }
#else
inline check_size() { skip }
inline forget_next(block) { skip }
#endif

/* Of the blocks in use, any. */
inline pick_in_use(block)
{
    atomic {
        if
        :: place[1] == IN_USE -> block = 1
        :: place[2] == IN_USE -> block = 2
        :: place[3] == IN_USE -> block = 3
#if BLOCKS > 3
        :: place[4] == IN_USE -> block = 4
#endif
#if BLOCKS > 4
        :: place[5] == IN_USE -> block = 5
#endif
        fi;
        place[block] = ENDING
    }
}

/* shared_list_push(); the compare-and-swap reads the head anew if it fails. */
inline shared_list_push(block)
{
    head = release_pool;
    do
    :: next[block] = head;
       atomic {
           if
           :: release_pool == head ->
              release_pool = block;
              head = NIL;
              pushed++;
              check_size();
              break
           :: else -> head = release_pool
           fi
       }
    od
}

#ifndef POP_ONE
/* steal() */
inline steal()
{
    d_step { release_pool_size = 0; check_size() };
    d_step {
        alloc_pool = release_pool;
        release_pool = NIL;
        pushed = 0;
        check_size()
    }
}
#else
/* What list.h says never to do: between the read of next and the exchange the
 * head may go, and come back with another next. */
inline steal()
{
    do
    :: head = release_pool;
       if
       :: head == NIL -> break
       :: else
       fi;
       after = next[head];
       atomic {
           if
           :: release_pool == head ->
              release_pool = after;
              after = NIL;
              alloc_pool = head;
              next[head] = NIL;
              head = NIL;
              if
              :: release_pool_size > 0 -> release_pool_size--
              :: else
              fi;
              break
           :: else
           fi
       }
    od
}
#endif

/* release_get() */
inline release_get(block)
{
    if
    :: alloc_pool != NIL
    :: else ->
       if
       :: release_pool_size > BATCH -> steal()
       :: else
       fi;
       if
       :: alloc_pool != NIL
       :: else ->
          arena_take(block);
          if
          :: block == NIL -> steal() /* whatever the size says */
          :: else
          fi
       fi
    fi;
    if
    :: block == NIL && alloc_pool != NIL ->
       d_step {
           block = alloc_pool;
           assert(place[alloc_pool] == IDLE); /* else it is handed out twice */
           place[block] = IN_USE;
           alloc_pool = next[block];
           forget_next(block)
       }
    :: else
    fi
}

/* release_put() */
inline release_put(block)
{
    if
    :: release_pool_size >= 2 * BATCH -> moves(block, ENDING, ARENA)
    :: else ->
       moves(block, ENDING, IDLE);
       shared_list_push(block);
       atomic { release_pool_size++; check_size() }
    fi;
    block = NIL
}

/* release_drain(), for a chain that is this thread's. */
inline destroy_chain()
{
    do
    :: alloc_pool != NIL ->
       d_step {
           after = alloc_pool;
           moves(after, IDLE, ARENA);
           alloc_pool = next[after];
           forget_next(after);
           after = NIL
       }
    :: else -> break
    od
}

/* A thread that comes to its end may be followed by another one: what it
 * starts with is what is left here after destroy_chain(). */
proctype thread()
{
    byte alloc_pool = NIL, head = NIL, after = NIL, block = NIL;

    do
    :: true -> release_get(block); /* create, unless at the cap */
       block = NIL
    :: pick_in_use(block); /* finish, whoever created it */
       release_put(block)
#ifndef POP_ONE
    :: true -> destroy_chain(); /* co_pool_trim() */
       steal();
       destroy_chain()
#endif
    :: true -> destroy_chain(); /* the thread exits */
       if
       :: skip
       :: break
       fi
    od;
    ended++
}

init {
    byte i, block, idle = 0;

    atomic {
        for (i : 1 .. THREADS) {
            run thread()
        }
    }
    ended == THREADS;
#ifndef POP_ONE
    atomic {
        block = release_pool;
        do
        :: block != NIL ->
           assert(place[block] == IDLE);
           idle++;
           block = next[block]
        :: else -> break
        od;
        for (i : 1 .. BLOCKS) {
            assert(place[i] != ENDING);
            if
            :: place[i] == IDLE -> idle--
            :: else
            fi
        }
        assert(idle == 0)
    }
#endif
}
