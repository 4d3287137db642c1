using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Platform;

namespace IommuSim.Machinery;

/// <summary>How far an access has come.</summary>
internal enum AccessPhase : byte
{
    /// <summary>There is none.</summary>
    Free,
    Translating,
    Accessing,

    /// <summary>A page request that is not in the queue yet.</summary>
    Asking,
}

/// <summary>An access that has begun and not ended.</summary>
/// <param name="Phase">How far it has come.</param>
/// <param name="Access">Read or write.</param>
/// <param name="Translator">The device whose TLB has translated it; null if the unit does.</param>
/// <param name="Epoch">In which it began.</param>
internal readonly record struct InFlightAccess(AccessPhase Phase, DeviceAccess Access, uint? Translator, ulong Epoch)
{
    // From the lowest bit: the phase, whether it is a write, whether a device has translated it, which, and the epoch.
    private const int WriteBit = 2, TranslatedBit = 3, TranslatorShift = 4, EpochShift = 20;

    public long Pack() =>
        unchecked((long)(Epoch << EpochShift)) | (long)(Translator ?? 0) << TranslatorShift
        | (Translator is null ? 0L : 1L << TranslatedBit) | (Access == DeviceAccess.Write ? 1L << WriteBit : 0) | (long)Phase;

    public static InFlightAccess Unpack(long bits) => new(
        (AccessPhase)(bits & 3),
        (bits & 1L << WriteBit) != 0 ? DeviceAccess.Write : DeviceAccess.Read,
        // Survives as `bits >>> TranslatorShift`: equivalent, of what is shifted only bits are kept that were there
        (bits & 1L << TranslatedBit) != 0 ? (uint)(bits >> TranslatorShift & 0xFFFF) : null,
        (ulong)bits >> EpochShift);
}

/// <summary>What is counted without a lock, by the access that it belongs to.</summary>
internal struct AccessCounts
{
    public long Translations;

    /// <summary>Translations that hit at first sight: counted here alone, so that those count once.</summary>
    public long PlainHits;
    public long IotlbHits;
    public long Walks;
    public long WalkCacheHits;
    public long PasidCacheHits;
    public long DiscardedFills;

    public void Add(in AccessCounts other)
    {
        Translations += other.Translations + other.PlainHits;
        IotlbHits += other.IotlbHits + other.PlainHits;
        Walks += other.Walks;
        WalkCacheHits += other.WalkCacheHits;
        PasidCacheHits += other.PasidCacheHits;
        DiscardedFills += other.DiscardedFills;
    }
}

/// <summary>
/// The accesses that have begun and not ended, each with the epoch in which it began, so that an invalidation can tell
/// which ones may have seen what it invalidates.
/// </summary>
/// <remarks>
/// <b>Threads.</b> Any number at once, without a lock. <see cref="Begin(StreamId, in InFlightAccess)"/> is a full fence: what the access reads afterwards is
/// not older than its place here. <see cref="End"/> is a release only; who must not miss an end calls
/// <see cref="Interlocked.MemoryBarrierProcessWide"/> between saying that it waits and looking again.
/// </remarks>
internal sealed class InFlightAccesses
{
    private const int CellsLog2 = 5;
    private const int CellCount = 1 << CellsLog2;

    private readonly object _growing = new();
    private readonly Cell[] _first = new Cell[CellCount];

    // The first block and those for which it was too small; replaced as a whole.
    private Cell[][] _blocks;

    public InFlightAccesses() => _blocks = [_first];

    /// <summary>What all accesses so far have counted; of those that go on, about what they have.</summary>
    public AccessCounts Counts
    {
        get
        {
            var sum = default(AccessCounts);
            foreach (Cell[] block in _blocks)
            {
                foreach (ref readonly Cell cell in block.AsSpan()) sum.Add(cell.Counts);
            }

            return sum;
        }
    }

    public bool AnyPageRequest
    {
        get
        {
            foreach (InFlightAccess access in this)
            {
                if (access.Phase == AccessPhase.Asking) return true;
            }

            return false;
        }
    }

    /// <summary>Begins an access of a device; the slot returned names it until <see cref="End"/>.</summary>
    public int Begin(StreamId source, in InFlightAccess access)
    {
        Begin(source, access, out int slot);
        return slot;
    }

    /// <summary>The same; the cell is the access's own until its end.</summary>
    public ref Cell Begin(StreamId source, scoped in InFlightAccess access, out int slot)
    {
        // A device finds its own place free but for accesses beside or inside one another.
        int home = unchecked((int)(source.Value * 0x9E37_79B1u >> (32 - CellsLog2)));
        long state = access.Pack();
        ref Cell cell = ref CellOf(home);
        slot = home;
        if (Interlocked.CompareExchange(ref cell.State, state, 0) == 0) return ref cell;
        slot = BeginElsewhere(home, state);
        return ref CellOf(slot);
    }

    /// <summary>The epoch in which the access began.</summary>
    public ulong Began(int slot) => InFlightAccess.Unpack(CellOf(slot).State).Epoch;

    /// <summary>The access has its translation and goes to memory.</summary>
    public void Translated(int slot) => CellOf(slot).Translated();

    public void End(int slot) => CellOf(slot).End();

    /// <summary>Where the access counts, until it ends.</summary>
    public ref AccessCounts CountsOf(int slot) => ref CellOf(slot).Counts;

    /// <summary>Whether any began before <paramref name="epoch"/>.</summary>
    public bool AnyBefore(ulong epoch)
    {
        foreach (InFlightAccess access in this)
        {
            if (access.Epoch < epoch) return true;
        }

        return false;
    }

    public Enumerator GetEnumerator() => new(Volatile.Read(ref _blocks));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private ref Cell CellOf(int slot)
    {
        if (unchecked((uint)slot) < CellCount) return ref Unsafe.Add(ref MemoryMarshal.GetArrayDataReference(_first), slot);
        // Survives as `slot >>> CellsLog2`: equivalent, a number of a slot is not negative
        return ref Volatile.Read(ref _blocks)[slot >> CellsLog2][slot & (CellCount - 1)];
    }

    private int BeginElsewhere(int home, long state)
    {
        while (true)
        {
            Cell[][] blocks = Volatile.Read(ref _blocks);
            // Survives as `i <= …`: equivalent, the place that is looked at once more is the one that was found taken first
            for (int i = 1; i < blocks.Length * CellCount; i++)
            {
                int slot = (home + i) % (blocks.Length * CellCount);
                // Survives as `slot >>> CellsLog2`: equivalent, a number of a slot is not negative
                ref Cell cell = ref blocks[slot >> CellsLog2][slot & (CellCount - 1)];
                if (cell.State == 0 && Interlocked.CompareExchange(ref cell.State, state, 0) == 0) return slot;
            }

            lock (_growing)
            {
                if (ReferenceEquals(blocks, _blocks)) Volatile.Write(ref _blocks, [.. blocks, new Cell[CellCount]]);
            }
        }
    }

    // Two cells share no cache line, wherever the first begins, nor does the first share one with the array's length, which all read.
    [StructLayout(LayoutKind.Explicit, Size = 128)]
    internal struct Cell
    {
        /// <summary>0: nobody's.</summary>
        [FieldOffset(64)]
        public long State;

        [FieldOffset(72)]
        public AccessCounts Counts;

        /// <summary>The access has its translation and goes to memory.</summary>
        public void Translated() => Volatile.Write(ref State, unchecked(State + (AccessPhase.Accessing - AccessPhase.Translating)));

        /// <summary>The access is over, and the cell anybody's.</summary>
        public void End() => Volatile.Write(ref State, 0);
    }

    /// <summary>Goes through those that are in flight; each is looked at once.</summary>
    public ref struct Enumerator
    {
        private readonly Cell[][] _blocks;
        private int _slot;

        internal Enumerator(Cell[][] blocks)
        {
            _blocks = blocks;
            _slot = -1;
        }

        public InFlightAccess Current { get; private set; }

        public bool MoveNext()
        {
            while (++_slot < _blocks.Length * CellCount)
            {
                // Survives as `_slot >>> CellsLog2`: equivalent, a number of a slot is not negative
                long state = _blocks[_slot >> CellsLog2][_slot & (CellCount - 1)].State;
                if (state == 0) continue;
                Current = InFlightAccess.Unpack(state);
                return true;
            }

            return false;
        }
    }
}
