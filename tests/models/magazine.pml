/* SPDX-License-Identifier: MIT
 *
 * The policy `magazine`, to be read beside src/core/pool_magazine.c. A
 * statement is a step of one thread; every access to what threads share is a
 * statement of its own, and so is taking or leaving the lock. What a thread
 * does to its own magazines is one step.
 *
 * What spin proves of it, for any number of operations by THREADS threads:
 * each block is in one place at a time, so that none is handed out twice; when
 * all threads have ended every block is there, so that none is lost; no
 * thread waits for good; whoever leaves the lock leaves a store whose count is
 * exact and within its bounds.
 *
 * There is no time here. What the C code takes out of the store when it has
 * been idle for long, and destroys, trim takes out and destroys here at any time.
 *
 * NO_LOCK leaves the lock out, which spin must find to be wrong.
 */
#ifndef THREADS
#    define THREADS 3
#endif
#ifndef BLOCKS
#    define BLOCKS 4
#endif
#ifndef BATCH
#    define BATCH 1
#endif
#define WARM_BLOCKS BATCH
#ifndef MAX_IDLE
#    define MAX_IDLE (2 * BATCH)
#endif

/* How many threads have magazines, of BATCH blocks; the others may keep nothing
 * to themselves, as near the cap. */
#ifndef KEEPERS
#    define KEEPERS THREADS
#endif
#define MAY_KEEP (_pid <= KEEPERS)

#define NIL 0
#define SLOTS (BLOCKS + 1) /* blocks are numbered from 1 */

/* Where a block is, for the assertions only. */
mtype = { ARENA, IDLE, IN_USE, ENDING };
mtype place[SLOTS] = ARENA;

byte next[SLOTS];
byte next_batch[SLOTS];
byte batch_length[SLOTS];

typedef list { byte head; byte length };
typedef store { byte top; byte blocks };

store warm, cold;
byte stored;
bool lock;
byte ended;

inline moves(block, from, to)
{
    assert(place[block] == from);
    place[block] = to;
}

/* arena_take(): NIL at the cap. */
inline arena_take(block)
{
    d_step {
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

/* pool_destroy_chain() */
inline destroy_chain(chain)
{
    do
    :: chain != NIL ->
       d_step {
           block = chain;
           moves(block, IDLE, ARENA);
           chain = next[block];
           next[block] = NIL
       }
    :: else -> break
    od;
    block = NIL
}

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

/* --- the store ---------------------------------------------------------- */

inline pool_lock()
{
#ifndef NO_LOCK
    atomic { !lock -> lock = true }
#else
    skip
#endif
}

inline pool_unlock()
{
    check_store();
    lock = false
}

/* Adds up the batches of a store. */
inline walk_store(which)
{
    blocks = 0;
    walked = which.top;
    do
    :: walked != NIL ->
       blocks = blocks + batch_length[walked];
       walked = next_batch[walked]
    :: else -> break
    od;
    assert(blocks == which.blocks);
}

inline check_store()
{
#ifndef NO_LOCK
    d_step {
        walk_store(warm);
        assert(blocks <= WARM_BLOCKS);
        walk_store(cold);
        blocks = blocks + warm.blocks;
        assert(blocks == stored && stored <= MAX_IDLE);
        blocks = 0
    }
#else
    skip
#endif
}

inline store_pop(which)
{
    batch = which.top;
    if
    :: batch != NIL ->
       which.top = next_batch[batch];
       which.blocks = which.blocks - batch_length[batch]
    :: else
    fi
}

/* cut_batch(), to one block. */
inline cut_batch(which)
{
    if
    :: batch != NIL && batch_length[batch] > 1 ->
       walked = next[batch];
       batch_length[walked] = batch_length[batch] - 1;
       next[batch] = NIL;
       batch_length[batch] = 1;
       next_batch[walked] = which.top;
       which.top = walked;
       which.blocks = which.blocks + batch_length[walked]
    :: else
    fi
}

/* store_take(): the newest batch, or NIL. */
inline store_take(most)
{
    if
    :: stored == 0 /* without the lock */
    :: else ->
       pool_lock();
       store_pop(warm);
#if KEEPERS < THREADS
       if
       :: most == 1 -> d_step { cut_batch(warm) }
       :: else
       fi;
#endif
       if
       :: batch == NIL ->
          store_pop(cold);
#if KEEPERS < THREADS
          if
          :: most == 1 -> d_step { cut_batch(cold) }
          :: else
          fi
#endif
       :: else
       fi;
       if
       :: batch != NIL ->
          stored = stored - batch_length[batch];
          next_batch[batch] = NIL
       :: else
       fi;
       pool_unlock()
    fi
}

inline store_add(which)
{
    next_batch[batch] = which.top;
    which.top = batch;
    which.blocks = which.blocks + batch_length[batch];
    stored = stored + batch_length[batch]
}

#define HAS_ROOM (stored + batch_length[batch] <= MAX_IDLE)

/* store_give_batch() */
inline store_give_batch()
{
    pool_lock();
    room = HAS_ROOM;
    is_warm = room && (warm.blocks == 0 ||
                       warm.blocks + batch_length[batch] <= WARM_BLOCKS);
    if
    :: is_warm -> store_add(warm)
    :: else
    fi;
    pool_unlock();
    if
    :: is_warm
    :: else ->
       if
       :: room -> /* here pages are given back */
          pool_lock();
          room = HAS_ROOM;
          if
          :: room -> store_add(cold)
          :: else
          fi;
          pool_unlock()
       :: else
       fi;
       if
       :: room
       :: else ->
          batch_length[batch] = 0;
          destroy_chain(batch)
       fi
    fi;
    batch = NIL;
    room = false;
    is_warm = false
}

/* take_list() */
inline take_list(magazine)
{
    d_step {
        batch = magazine.head;
        batch_length[batch] = magazine.length;
        batch_length[NIL] = 0;
        magazine.head = NIL;
        magazine.length = 0
    }
}

/* store_give() */
inline store_give(magazine)
{
    take_list(magazine);
    if
    :: batch != NIL -> store_give_batch()
    :: else
    fi
}

/* --- the magazines ------------------------------------------------------ */

inline list_move(to, from)
{
    to.head = from.head;
    to.length = from.length;
    from.head = NIL;
    from.length = 0
}

/* magazine_get(), get_slow() */
inline magazine_get(got)
{
    if
    :: loaded.head == NIL && previous.head != NIL ->
       d_step { list_move(loaded, previous) }
    :: loaded.head == NIL && previous.head == NIL ->
       store_take((MAY_KEEP -> BATCH : 1));
       d_step {
           loaded.head = batch;
           loaded.length = batch_length[batch];
           batch_length[batch] = 0;
           batch = NIL
       }
    :: else
    fi;
    if
    :: loaded.head != NIL ->
       d_step {
           got = loaded.head;
           assert(place[loaded.head] == IDLE); /* else it is handed out twice */
           place[got] = IN_USE;
           loaded.head = next[got];
           loaded.length--;
           next[got] = NIL
       }
    :: else -> arena_take(got)
    fi
}

/* magazine_put(), put_slow() */
inline magazine_put(given)
{
    if
    :: loaded.length >= (MAY_KEEP -> BATCH : 0) ->
       store_give(previous);
       d_step { list_move(previous, loaded) }
    :: else
    fi;
    d_step {
        moves(given, ENDING, IDLE);
        next[given] = loaded.head;
        loaded.head = given;
        loaded.length++;
        assert(loaded.length <= BATCH && previous.length <= BATCH);
        given = NIL
    }
#if KEEPERS < THREADS
    if
    :: MAY_KEEP
    :: else -> store_give(loaded)
    fi
#endif
}

/* magazine_drain() */
inline magazine_drain()
{
    store_give(loaded);
    store_give(previous)
}

/* magazine_trim() */
inline magazine_trim()
{
    take_list(loaded);
    batch_length[batch] = 0;
    destroy_chain(batch);
    take_list(previous);
    batch_length[batch] = 0;
    destroy_chain(batch);
    do
    :: store_take(BLOCKS);
       if
       :: batch == NIL -> break
       :: else ->
          batch_length[batch] = 0;
          destroy_chain(batch)
       fi
    od
}

/* A thread that comes to its end may be followed by another one: what it
 * starts with is what is left here after magazine_drain(). */
proctype thread()
{
    list loaded, previous;
    byte batch, block;
    bool room, is_warm;
    byte user = NIL;
    byte blocks, walked; /* for check_store() */

    do
    :: true -> magazine_get(user); /* create, unless at the cap */
       user = NIL
    :: pick_in_use(user); /* finish, whoever created it */
       magazine_put(user)
    :: true -> magazine_trim() /* co_pool_trim() */
    :: true -> magazine_drain(); /* the thread exits */
       if
       :: skip
       :: break
       fi
    od;
    ended++
}

init {
    byte i, batch, block;
    byte blocks, walked;

    atomic {
        for (i : 1 .. THREADS) {
            run thread()
        }
    }
    ended == THREADS;
    check_store();
    d_step {
        blocks = stored;
        for (i : 1 .. BLOCKS) {
            assert(place[i] != ENDING);
            if
            :: place[i] == IDLE -> blocks--
            :: else
            fi
        }
        assert(blocks == 0)
    }
}
