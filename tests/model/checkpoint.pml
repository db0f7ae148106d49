/* SPDX-License-Identifier: Apache-2.0 */
/* checkpoint -- pipeline/checkpoint.c, the open in pipeline/store.c and the choice and repair in
 * lsm/superblock.c as a model for Spin; checkpoint_test.sh runs it.
 *
 * A checkpoint reaches one block, which stands for all its data, and is named by four superblock
 * copies: odd sequences in slots 2 and 3, even ones in 0 and 1. While it is written, the next bar
 * goes on writing a block that is free. What is written and not synced is pending: a cut of power
 * applies, loses or tears each of the pending writes; a killed process leaves them to the system. A
 * cut or a kill may come between any two steps, those of an open included. At most FAULTS times a
 * slot rots, an open cannot read a slot or reads another one in its place, a copy is written to
 * another slot, a write fails, or a sync fails, which loses what it likes of the pending writes.
 *
 * Checked: an open finds the last acknowledged checkpoint or the one after it (nothing is lost or
 * rolled back), finds one history only (no fork), and finds that checkpoint's block as it was
 * written; no block of the last acknowledged checkpoint is ever overwritten.
 *
 * Wrong on purpose, by option, to be found by Spin:
 *     -DNO_DATA_SYNC   superblocks are written before the data is synced           (rule R6)
 *     -DNO_ROOT_SYNC   acknowledged before the superblocks are synced              (rule R6)
 *     -DSYNC_RETRY     a failed sync is made again, as though it had worked then   (rule R8)
 *     -DFREE_AT_BEGIN  what a checkpoint releases is free before it is durable     (rule R4)
 *     -DNO_OPEN_SYNC   what an open finds is believed without a sync
 *     -DNO_PHASE_2     the repair leaves the other pair alone                      (rule R1)
 *     -DREWRITE_GOOD   the repair rewrites good copies as well                     (rule R1)
 *     -DMISPLACED_FIRST  phase 1 rewrites copies with a wrong number with the bad ones (rule R1)
 *     -DONE_PAIR       every superblock goes to the same pair                      (rule R1) */

#ifndef CHECKPOINTS
#define CHECKPOINTS 3 /* After the creation's */
#endif
#ifndef CRASHES
#define CRASHES 2
#endif
#ifndef FAULTS
#define FAULTS 1
#endif
#ifndef BLOCKS
#define BLOCKS 3
#endif

#define NONE BLOCKS
#define LAST (CHECKPOINTS + 1)

/* What a slot holds: 0 is no superblock; else which one, and the number of the copy. */
#define CONTENT(checkpoint, copy) ((checkpoint) * 4 + (copy))
#define CHECKPOINT_OF(content) ((content) / 4)
#define COPY_OF(content) ((content) % 4)
#ifdef ONE_PAIR
#define PAIR_FIRST(sequence) 0
#else
#define PAIR_FIRST(sequence) ((sequence) % 2 == 0 -> 0 : 2)
#endif

/* The disk, and what is pending on it: 0 is nothing. A block holds the checkpoint it was written
 * for; 0 is torn. */
byte slot[4], slot_pending[4];
byte block[BLOCKS], block_pending[BLOCKS];

/* Checkpoints by number, 1 is the creation's. Two of the same sequence are a fork. */
byte checkpoint_count;
byte sequence[LAST + 1], parent[LAST + 1], block_of[LAST + 1];
byte acknowledged;

/* The process. */
#define IDLE 0
#define DATA_SYNC 1 /* All blocks of the checkpoint are written */
#define SUPERBLOCK 2
#define ROOT_SYNC 3
#define EFFECT 4 /* Durable; it takes effect at the bar's end */
#define STOPPED 5 /* Poisoned */
#define OPEN 6
#define REPAIR_1 7
#define REPAIR_1_SYNC 8
#define REPAIR_2 9
#define REPAIR_2_SYNC 10
byte mode;
byte newest;    /* Checkpoint begun, or found by the open */
byte released;  /* Block that the checkpoint before it reached */
byte bar_block; /* Of the bar that runs */
byte repair_1, repair_2; /* Bit for each slot */

byte crash_count, fault_count;

/* Local to one atomic step; 0 between steps. */
byte i, j, view[4], content;

inline slot_choose()
{
    if
    :: i = 0
    :: i = 1
    :: i = 2
    :: i = 3
    fi
}

inline other_slot_choose()
{
    if
    :: i != 0 -> j = 0
    :: i != 1 -> j = 1
    :: i != 2 -> j = 2
    :: i != 3 -> j = 3
    fi
}

inline sync_all()
{
    i = 0;
    do
    :: i < 4 ->
       if
       :: slot_pending[i] != 0 -> slot[i] = slot_pending[i]; slot_pending[i] = 0
       :: else
       fi;
       i++
    :: else -> break
    od;
    i = 0;
    do
    :: i < BLOCKS ->
       if
       :: block_pending[i] != 0 -> block[i] = block_pending[i]; block_pending[i] = 0
       :: else
       fi;
       i++
    :: else -> break
    od;
    i = 0
}

/* Applies, loses or tears each pending write. */
inline settle_all()
{
    i = 0;
    do
    :: i < 4 && slot_pending[i] != 0 ->
       if
       :: slot[i] = slot_pending[i]
       :: slot[i] = 0
       :: skip
       fi;
       slot_pending[i] = 0; i++
    :: i < 4 && slot_pending[i] == 0 -> i++
    :: i == 4 -> break
    od;
    i = 0;
    do
    :: i < BLOCKS && block_pending[i] != 0 ->
       if
       :: block[i] = block_pending[i]
       :: block[i] = 0
       :: skip
       fi;
       block_pending[i] = 0; i++
    :: i < BLOCKS && block_pending[i] == 0 -> i++
    :: i == BLOCKS -> break
    od;
    i = 0
}

/* A sync in mode `failed` if it fails, else in mode `done`. */
inline sync_step(done, failed)
{
    if
    :: sync_all(); mode = done
    :: fault_count < FAULTS ->
       fault_count++;
       settle_all();
#ifdef SYNC_RETRY
       mode = done
#else
       mode = failed
#endif
    fi
}

/* Which copies of `newest` to write: bit for each slot. */
inline copies_write(mask, done, failed)
{
    i = 0;
    do
    :: i < 4 && ((mask >> i) & 1) -> slot_pending[i] = CONTENT(newest, i); i++
    :: i < 4 && !((mask >> i) & 1) -> i++
    :: i == 4 -> break
    od;
    mode = done;
    i = 0;
    if
    :: skip
    :: fault_count < FAULTS && mask != 0 -> /* One of them fails, or goes to another slot. */
       fault_count++;
       if
       :: mask & 1 -> i = 0
       :: mask & 2 -> i = 1
       :: mask & 4 -> i = 2
       :: mask & 8 -> i = 3
       fi;
       content = slot_pending[i];
       slot_pending[i] = 0;
       if
       :: slot[i] = 0; mode = failed
       :: mode = failed
       :: other_slot_choose();
          slot_pending[j] = content
       fi
    fi;
    i = 0; j = 0; content = 0
}

/* What the open sees of the slots. */
inline view_take()
{
    i = 0;
    do
    :: i < 4 -> view[i] = (slot_pending[i] != 0 -> slot_pending[i] : slot[i]); i++
    :: i == 4 -> break
    od;
    i = 0;
    if
    :: skip
    :: fault_count < FAULTS ->
       fault_count++;
       slot_choose();
       if
       :: view[i] = 0
       :: other_slot_choose();
          view[i] = view[j]
       fi
    fi;
    i = 0; j = 0
}

#define SEEN(n) CHECKPOINT_OF(view[n])

/* The highest sequence; the others must be of its history. */
inline choose()
{
    newest = 0;
    do
    :: i < 4 && view[i] != 0 && (newest == 0 || sequence[SEEN(i)] > sequence[newest]) ->
       newest = SEEN(i); i++
    :: i < 4 && !(view[i] != 0 && (newest == 0 || sequence[SEEN(i)] > sequence[newest])) -> i++
    :: i == 4 -> break
    od;
    i = 0;
    assert(newest != 0);
    do
    :: i < 4 ->
       assert(view[i] == 0 || sequence[SEEN(i)] != sequence[newest] || SEEN(i) == newest);
       assert(view[i] == 0 || sequence[SEEN(i)] + 1 != sequence[newest] ||
              SEEN(i) == parent[newest]);
       i++
    :: i == 4 -> break
    od;
    i = 0;
    assert(newest == acknowledged || parent[newest] == acknowledged);
    content = block_of[newest];
    assert((block_pending[content] != 0 -> block_pending[content] : block[content]) == newest);
    content = 0
}

/* A copy of the chosen one with another's number may be the only one there is: phase 2. */
#ifdef MISPLACED_FIRST
#define IS_BAD(n) (view[n] != CONTENT(newest, n))
#else
#define IS_BAD(n) (SEEN(n) != newest)
#endif

inline repair_choose()
{
    do
    :: i < 4 ->
       if
       :: i / 2 == PAIR_FIRST(sequence[newest]) / 2 ->
#ifdef REWRITE_GOOD
          repair_1 = repair_1 | (1 << i)
#else
          if
          :: IS_BAD(i) -> repair_1 = repair_1 | (1 << i)
          :: !IS_BAD(i) && COPY_OF(view[i]) != i -> repair_2 = repair_2 | (1 << i)
          :: else
          fi
#endif
       :: else ->
#ifndef NO_PHASE_2
          if
          :: view[i] == 0 || COPY_OF(view[i]) != i -> repair_2 = repair_2 | (1 << i)
          :: else
          fi
#else
          skip
#endif
       fi;
       view[i] = 0; i++
    :: i == 4 -> break
    od;
    i = 0
}

inline process_end()
{
    crash_count++;
    bar_block = NONE; released = NONE; newest = 0; repair_1 = 0; repair_2 = 0;
    mode = OPEN
}

init
{
    atomic {
        checkpoint_count = 1; sequence[1] = 1; acknowledged = 1; newest = 1;
        block[0] = 1; block_of[1] = 0;
        slot[0] = CONTENT(1, 0); slot[1] = CONTENT(1, 1);
        slot[2] = CONTENT(1, 2); slot[3] = CONTENT(1, 3);
        bar_block = NONE; released = NONE
    };
end:
    do
    /* The bar writes a block that is free. */
    :: atomic {
           mode <= EFFECT && bar_block == NONE && checkpoint_count < LAST ->
           do
           :: i < BLOCKS - 1 -> i++
           :: i != block_of[newest] && i != released -> bar_block = i; break
           :: i == BLOCKS - 1 && (i == block_of[newest] || i == released) -> break
           od;
           i = 0;
           if
           :: bar_block != NONE ->
              assert(bar_block != block_of[acknowledged]);
              block_pending[bar_block] = checkpoint_count + 1
           :: else
           fi
       }
    /* The bar ends: the checkpoint before takes effect, another one begins. */
    :: atomic { mode == EFFECT -> released = NONE; mode = IDLE }
    :: atomic {
           mode == IDLE && bar_block != NONE ->
           checkpoint_count++;
           sequence[checkpoint_count] = sequence[newest] + 1;
           parent[checkpoint_count] = newest;
           block_of[checkpoint_count] = bar_block;
#ifndef FREE_AT_BEGIN
           released = block_of[newest];
#endif
           newest = checkpoint_count;
           bar_block = NONE;
#ifdef NO_DATA_SYNC
           mode = SUPERBLOCK
#else
           mode = DATA_SYNC
#endif
       }
    :: atomic { mode == DATA_SYNC -> sync_step(SUPERBLOCK, STOPPED) }
#ifdef NO_ROOT_SYNC
    :: atomic {
           mode == SUPERBLOCK ->
           copies_write(3 << PAIR_FIRST(sequence[newest]), EFFECT, STOPPED);
           if
           :: mode == EFFECT -> acknowledged = newest
           :: else
           fi
       }
#else
    :: atomic {
           mode == SUPERBLOCK ->
           copies_write(3 << PAIR_FIRST(sequence[newest]), ROOT_SYNC, STOPPED)
       }
#endif
    :: atomic {
           mode == ROOT_SYNC ->
           sync_step(EFFECT, STOPPED);
           if
           :: mode == EFFECT -> acknowledged = newest
           :: else
           fi
       }
    /* Open. */
    :: atomic {
           mode == OPEN ->
#ifndef NO_OPEN_SYNC
           sync_step(REPAIR_1, OPEN);
#else
           mode = REPAIR_1;
#endif
           if
           :: mode == REPAIR_1 -> view_take(); choose(); repair_choose()
           :: else
           fi
       }
    :: atomic { mode == REPAIR_1 -> copies_write(repair_1, REPAIR_1_SYNC, OPEN); repair_1 = 0 }
    :: atomic {
           mode == REPAIR_1_SYNC ->
#ifndef NO_OPEN_SYNC
           sync_step(REPAIR_2, OPEN)
#else
           mode = REPAIR_2
#endif
       }
    :: atomic { mode == REPAIR_2 -> copies_write(repair_2, REPAIR_2_SYNC, OPEN); repair_2 = 0 }
    :: atomic {
           mode == REPAIR_2_SYNC ->
#ifndef NO_OPEN_SYNC
           sync_step(EFFECT, OPEN);
#else
           mode = EFFECT;
#endif
           if
           :: mode == EFFECT ->
              acknowledged = newest;
              released = (parent[newest] != 0 -> block_of[parent[newest]] : NONE)
           :: else -> repair_2 = 0; newest = 0
           fi
       }
    /* The power is cut; the process is killed, or closes after it had to stop. */
    :: atomic { crash_count < CRASHES -> settle_all(); process_end() }
    :: atomic { crash_count < CRASHES && mode != OPEN -> process_end() }
    /* A slot rots. */
    :: atomic {
           fault_count < FAULTS ->
           fault_count++;
           slot_choose();
           slot[i] = 0; i = 0
       }
    od
}
