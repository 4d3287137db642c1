/*
 * How a mapping is taken away, and a table, and an address space: two CPUs, one device whose IOMMU walks and caches, and
 * one invalidation queue that the IOMMU works off beside the walks. What is checked is that no walk reads a table that is
 * no table any more (I5), and that no access reaches a frame that belongs to somebody else by then (I4, I5, I8).
 *
 * Written from the promise alone: it shares no line with the model in C#, the library or the simulator.
 *
 * The machine is sequentially consistent. A device may look anything up at any time, and forget anything.
 *
 *   spin -DWRONG=n -run -safety unmap.pml
 *
 * WRONG is 0, or one of the wrong orders below, each of which must have a counterexample.
 */

#define FREE_BEFORE_SYNC         1  /* the frame is given away when the invalidation is queued, not when it is done */
#define SYNC_BEFORE_CLEAR        2  /* invalidation and wait are over before the entry is cleared */
#define INVALIDATE_BEFORE_CLEAR  3  /* the entry is cleared between invalidation and wait */
#define NO_WALK_CACHE            4  /* a table is given away while the walk cache still points to it */
#define LEAF_ONLY_AFTER_CHANGE   5  /* a table took the place of another, which lives on, and the hint says that only leaves changed */
#define ASID_REUSE               6  /* a new address space has the old one's id, and nothing was flushed in between */
#define NO_DRAIN                 7  /* the hardware's wait does not let the access in flight end */
#define FILL_AFTER_INVALIDATION  8  /* the hardware caches what it read before the invalidation */
#define NO_LOCK                  9  /* a table is copied while an entry of it is cleared */
#define UNLOCK_BEFORE_SYNC      10  /* a table has been replaced, and entries of the new one are cleared before the old one is forgotten */

#ifndef WRONG
#define WRONG 0
#endif

#if WRONG == FILL_AFTER_INVALIDATION
#define MAY_FILL true
#else
#define MAY_FILL !isInvalidated
#endif

#if WRONG == NO_WALK_CACHE || WRONG == LEAF_ONLY_AFTER_CHANGE
#define LEAVES_ONLY true
#else
#define LEAVES_ONLY false
#endif

/*
 * Tables and frames have numbers; 0 is none. Tables 1 and 2 are the first address space's, old and new, and 3 is the second's; frames
 * 1 and 2 are what the first maps, and 3 is what the second does. An address space has two pages.
 */
#define TABLES 4
#define FRAMES 4
#define PAGES 2

typedef Table { byte entry[PAGES] };

Table table[TABLES];
bool  isTable[TABLES];      /* still a table, or somebody else's bytes */
bool  isMapped[FRAMES];     /* still the device's, or somebody else's */
byte  top[3];               /* by address space: the entry above the table */
byte  space;                /* the address space that the device is in; 0: none */

/* The IOMMU's caches: a line for each page, and one that points to a table. Both address spaces have the same id. */
byte  iotlb[PAGES];
byte  walkCache;

/* One access at a time. */
bool  inFlight;
bool  isInvalidated;        /* since it began */

bool  isLocked;
byte  done;                 /* CPUs that have unmapped */

mtype = { invalidatePage, invalidateAll, invalidateContext, wait };
chan queue = [4] of { mtype, byte, bool };      /* what; page, or CPU of a wait; leaves only */
bool answered[2];

/* The device. Each step is one look at memory or at a cache, and anything may happen between two. */
proctype Device()
{
    byte page, in, at, frame;

end_idle:
    do
    :: iotlb[0] = 0             /* hardware may drop what it likes */
    :: iotlb[1] = 0
    :: walkCache = 0
    :: true ->
        if
        :: page = 0
        :: page = 1
        fi;
        d_step { inFlight = true; isInvalidated = false; in = space };
        if
        :: in == 0 -> goto over
        :: else
        fi;

        frame = iotlb[page];
        if
        :: frame != 0 -> goto reach
        :: else
        fi;

        at = walkCache;
        if
        :: at == 0 ->
            at = top[in];
            if
            :: at == 0 -> goto over
            :: else
            fi;
            d_step {
                if
                :: MAY_FILL -> walkCache = at
                :: else
                fi
            }
        :: else
        fi;

        d_step { assert(isTable[at]); frame = table[at].entry[page] };
        if
        :: frame == 0 -> goto over
        :: else
        fi;
        d_step {
            if
            :: MAY_FILL -> iotlb[page] = frame
            :: else
            fi
        };

reach:
        atomic { assert(isMapped[frame]); assert(in == 1 || frame == 3) };
over:
        atomic { inFlight = false; isInvalidated = false; at = 0; frame = 0; in = 0; page = 0 }
    od
}

/* The hardware's end of the queue. */
proctype Queue()
{
    mtype what;
    byte which;
    bool leavesOnly;

end_idle:
    do
    :: queue?what,which,leavesOnly ->
        if
        :: what == wait ->
#if WRONG != NO_DRAIN
            !(inFlight && isInvalidated);
#endif
            answered[which] = true
#if WRONG == ASID_REUSE
        :: what == invalidateContext ->
            isInvalidated = inFlight
#endif
        :: else ->
            d_step {
                if
                :: what == invalidatePage -> iotlb[which] = 0
                :: else -> iotlb[0] = 0; iotlb[1] = 0
                fi;
                if
                :: leavesOnly
                :: else -> walkCache = 0
                fi;
                isInvalidated = inFlight
            }
        fi;
        d_step { what = 0; which = 0; leavesOnly = false }
    od
}

inline sync(cpu)
{
    answered[cpu] = false;
    queue!wait,cpu,false;
    answered[cpu]
}

inline lock()
{
#if WRONG != NO_LOCK
    atomic { !isLocked -> isLocked = true }
#else
    skip
#endif
}

inline unlock()
{
    isLocked = false
}

/* Clears the last-level entry, wherever the table is by now. */
inline clear(page)
{
    lock();
    mine = top[1];
    table[mine].entry[page] = 0;
    unlock()
}

/* CPU 0 unmaps page 0, and its frame goes to somebody else. */
proctype Unmapper()
{
    byte mine;

#if WRONG == SYNC_BEFORE_CLEAR
    queue!invalidatePage,0,true;
    sync(0);
    clear(0);
#elif WRONG == INVALIDATE_BEFORE_CLEAR
    queue!invalidatePage,0,true;
    clear(0);
    sync(0);
#elif WRONG == FREE_BEFORE_SYNC
    clear(0);
    queue!invalidatePage,0,true;
    isMapped[1] = false;
    sync(0);
#else
    clear(0);
    queue!invalidatePage,0,true;
    sync(0);
#endif
    isMapped[1] = false;
    done++
}

/*
 * CPU 1 puts another table in the place of the first, and gives that away; then, when CPU 0 is done as well, ends the address space with
 * what is still mapped, and makes a new one with its id.
 */
proctype Replacer()
{
    byte old;

    lock();
    old = top[1];
    table[2].entry[0] = table[old].entry[0];
    table[2].entry[1] = table[old].entry[1];
    isTable[2] = true;
    top[1] = 2;
#if WRONG == UNLOCK_BEFORE_SYNC
    unlock();
    queue!invalidateAll,0,LEAVES_ONLY;
    sync(1);
#else
    queue!invalidateAll,0,LEAVES_ONLY;
    sync(1);
    unlock();
#endif
#if WRONG != LEAF_ONLY_AFTER_CHANGE
    isTable[old] = false;
#endif

    done == 1;
    space = 0;
#if WRONG == ASID_REUSE
    queue!invalidateContext,0,false;
#else
    queue!invalidateAll,0,false;
#endif
    sync(1);
    isTable[2] = false;
    isMapped[2] = false;

    top[2] = 3;
    space = 2;
    done++
}

init
{
    atomic {
        table[1].entry[0] = 1;
        table[1].entry[1] = 2;
        table[3].entry[1] = 3;
        isTable[1] = true;
        isTable[3] = true;
        isMapped[1] = true;
        isMapped[2] = true;
        isMapped[3] = true;
        top[1] = 1;
        space = 1;
        run Device();
        run Queue();
        run Unmapper();
        run Replacer()
    }
}
