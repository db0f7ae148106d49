/* SPDX-License-Identifier: Apache-2.0 */
/* parking -- queues/ring.c and queues/event_count.c as a model for Spin; parking_test.sh runs it.
 *
 * Two producers and two consumers share a ring. Who is refused goes to sleep: consumers on the
 * event count ITEMS, producers on SPACE. Each has a quota and leaves when it has met it. Checked in
 * every interleaving: nobody sleeps for ever (an invalid end state), every pop finds an item in its
 * slot, every push an empty slot, and as many items leave as were put in.
 *
 * Memory is that of x86-64: a plain store goes into the process's store buffer (one entry here) and
 * becomes visible some time later; a read-modify-write first waits until the buffer is empty. The
 * item and the turn of a slot are stored one after the other and become visible in that order, so
 * one entry holds both. The write to an eventfd and the read from it are system calls: like a
 * read-modify-write.
 *
 * Left out by option, to be found by Spin as a lost wake-up:
 *     -DPLAIN_LOAD      notify reads the bitmap with a plain load         (note: parking)
 *     -DNO_SECOND_LOOK  a waiter sleeps without looking again             (note: parking)
 *     -DNO_PASS_ON      who is claimed, or leaves, keeps the wake-up      (note: wake-up passed on)
 *     -DTRY_LOCK        a ring with a try-lock at each end, whose "busy" is taken for a refusal
 *                       (why the ring is not that: queues/ring.h) */

#ifndef CAPACITY
#define CAPACITY 2
#endif
#ifndef FILLED
#define FILLED 0 /* Items that are in the ring at the start */
#endif
#ifndef POPS_0 /* Quotas: pops of consumers 0 and 1, pushes of producers 2 and 3 */
#define POPS_0 1
#define POPS_1 1
#define PUSHES_2 1
#define PUSHES_3 1
#endif

#define ITEMS 0
#define SPACE 1
#define SLOT(p) ((p) % CAPACITY)
#define EQUAL 1 /* A turn against the one that was looked for */
#define BELOW 2
#define ABOVE 3

/* The ring. */
byte tail, head;
byte turn[CAPACITY];
bool item[CAPACITY];
bool push_lock, pop_lock; /* TRY_LOCK only */
byte taken_count;

/* Store buffers, one of each process. */
bool buffered[4];
byte buffered_slot[4], buffered_turn[4];
bool buffered_item[4];
#define DRAINED (!buffered[me])

/* Event counts: processes 0 and 1 are consumers with slots 0 and 1 of ITEMS, 2 and 3 producers with
 * slots 0 and 1 of SPACE. */
byte parked[2];
bool token[4];

/* An atomic block holds one access to what is shared; the rest of it is local, and local variables
 * go back to 0 when they have served, which keeps the number of states down. */

/* ---- ring: try_push and try_pop set done ----------------------------------------------------- */

inline turn_compare(p, wanted)
{
    atomic {
        if
        :: buffered[me] && buffered_slot[me] == SLOT(p) -> seen = buffered_turn[me]
        :: else -> seen = turn[SLOT(p)]
        fi;
        order = (seen == wanted -> EQUAL : (seen < wanted -> BELOW : ABOVE));
        seen = 0
    }
}

inline turn_store(p, new_turn, new_item)
{
    atomic {
        DRAINED -> buffered[me] = true; buffered_slot[me] = SLOT(p);
        buffered_turn[me] = new_turn; buffered_item[me] = new_item;
        position = 0; order = 0
    }
}

/* Claims the position; done tells whether it was still to be had. */
inline position_claim(end)
{
    atomic {
        DRAINED ->
        if
        :: end == position -> end = position + 1; done = true
        :: else
        fi
    }
}

#ifndef TRY_LOCK

inline try_push()
{
    done = false;
    do
    :: position = tail;
       turn_compare(position, position);
       if
       :: order == EQUAL ->
          position_claim(tail);
          if
          :: done ->
             assert(!item[SLOT(position)]);
             turn_store(position, position + 1, true);
             break
          :: else
          fi
       :: order == BELOW -> atomic { position = 0; order = 0; break }
       :: order == ABOVE
       fi
    od
}

inline try_pop()
{
    done = false;
    do
    :: position = head;
       turn_compare(position, position + 1);
       if
       :: order == EQUAL ->
          position_claim(head);
          if
          :: done ->
             atomic { assert(item[SLOT(position)]); taken_count++ };
             turn_store(position, position + CAPACITY, false);
             break
          :: else
          fi
       :: order == BELOW -> atomic { position = 0; order = 0; break }
       :: order == ABOVE
       fi
    od
}

#else /* The stores are visible at once here: the loss does not need the store buffer. */

inline try_push()
{
    done = false;
    atomic { locked = push_lock; push_lock = true };
    if
    :: locked
    :: else ->
       position = head;
       if
       :: tail - position < CAPACITY -> atomic { tail = tail + 1; done = true }
       :: else
       fi;
       push_lock = false
    fi;
    atomic { position = 0; locked = false }
}

inline try_pop()
{
    done = false;
    atomic { locked = pop_lock; pop_lock = true };
    if
    :: locked
    :: else ->
       position = tail;
       if
       :: head != position -> atomic { head = head + 1; taken_count++; done = true }
       :: else
       fi;
       pop_lock = false
    fi;
    atomic { position = 0; locked = false }
}

#endif

/* ---- event count ---------------------------------------------------------------------------- */

inline bit_clear(e, slot)
{
    atomic {
        DRAINED -> cleared = (parked[e] >> slot) & 1;
        parked[e] = parked[e] & ~(1 << slot)
    }
}

/* Wakes one sleeper at most. */
inline notify(e)
{
#ifdef PLAIN_LOAD
    snapshot = parked[e];
#else
    atomic { DRAINED -> snapshot = parked[e] };
#endif
    if
    :: snapshot & 1 -> bit_clear(e, 0); if :: cleared -> token[2 * e] = true :: else fi
    :: else
    fi;
    if
    :: (snapshot & 2) && !cleared ->
       bit_clear(e, 1); if :: cleared -> token[2 * e + 1] = true :: else fi
    :: else
    fi;
    atomic { snapshot = 0; cleared = false }
}

inline prepare(e) { atomic { DRAINED -> parked[e] = parked[e] | (1 << (me % 2)) } }

inline pass_on(e)
{
#ifndef NO_PASS_ON
    notify(e)
#else
    skip
#endif
}

inline cancel(e)
{
    bit_clear(e, me % 2);
    if
    :: cleared -> cleared = false
    :: else -> pass_on(e)
    fi
}

inline wait(e)
{
    atomic { token[me] && DRAINED -> token[me] = false };
    bit_clear(e, me % 2);
    cleared = false
}

/* ---- processes ------------------------------------------------------------------------------ */

proctype producer(byte me; byte quota)
{
    byte position, seen, order, snapshot;
    bool done, locked, cleared;

    do
    :: quota == 0 -> break
    :: else ->
       try_push();
       if
       :: done -> quota--; notify(ITEMS)
       :: else ->
          prepare(SPACE);
#ifndef NO_SECOND_LOOK
          try_push();
#endif
          if
          :: done -> quota--; notify(ITEMS); cancel(SPACE)
          :: else -> wait(SPACE)
          fi
       fi
    od;
    pass_on(SPACE)
}

proctype consumer(byte me; byte quota)
{
    byte position, seen, order, snapshot;
    bool done, locked, cleared;

    do
    :: quota == 0 -> break
    :: else ->
       try_pop();
       if
       :: done -> quota--; notify(SPACE)
       :: else ->
          prepare(ITEMS);
#ifndef NO_SECOND_LOOK
          try_pop();
#endif
          if
          :: done -> quota--; notify(SPACE); cancel(ITEMS)
          :: else -> wait(ITEMS)
          fi
       fi
    od;
    pass_on(ITEMS)
}

inline drain(i)
{
    buffered[i] ->
    turn[buffered_slot[i]] = buffered_turn[i];
    item[buffered_slot[i]] = buffered_item[i];
    buffered[i] = false; buffered_slot[i] = 0; buffered_turn[i] = 0; buffered_item[i] = false
}

/* The store buffers drain whenever they like. */
proctype memory()
{
end:
    do
    :: atomic { drain(0) }
    :: atomic { drain(1) }
    :: atomic { drain(2) }
    :: atomic { drain(3) }
    od
}

init
{
    byte i;

    atomic {
        do
        :: i == CAPACITY -> break
        :: i < FILLED -> turn[i] = i + 1; item[i] = true; i++
        :: i >= FILLED && i < CAPACITY -> turn[i] = i; i++
        od;
        i = 0; tail = FILLED;
        run memory(); /* First: processes end youngest first, and it never does. */
        run consumer(0, POPS_0); run consumer(1, POPS_1);
        run producer(2, PUSHES_2); run producer(3, PUSHES_3)
    };
    (_nr_pr == 2); /* All but this one and the memory have left. */
    assert(taken_count == POPS_0 + POPS_1 && head == taken_count);
    assert(tail == FILLED + PUSHES_2 + PUSHES_3)
}
