using System.Numerics;
using System.Runtime.CompilerServices;
using Platform;

namespace Vcmm.Allocation;

/// <summary>
/// Keeps ranges that were given back at hand, for the thread that gave them back: lengths of a power of two from 4 KiB to
/// 128 KiB, aligned to it.
/// </summary>
/// <remarks>
/// <para><b>Promise.</b> What is kept counts as free: before a request is refused, before a look, and for a request at an address, all
/// of it goes back to the allocator behind. Which end of the space is preferred matters where ranges are taken from there; a range at
/// hand is used first. A range is taken back only as it was handed out, whole and once.</para>
/// <para><b>Cost.</b> A hit takes one lock that only threads of the same slot share, and writes to no memory that others use. To give
/// back what a thread of another slot was handed costs a look into the slots, one by one. 11 to 26 bytes a range handed out, for lengths
/// of the cached sizes.</para>
/// <para><b>Locks</b>, outermost first: the gate, the slots in order, the lock of the allocator behind (<see cref="LockRank"/>). The
/// allocator behind changes under the gate only.</para>
/// <para><b>Threads.</b> Any number at once.</para>
/// <para><b>Source.</b> Bonwick and Adams, Magazines and Vmem: Extending the Slab Allocator to Many CPUs and Arbitrary
/// Resources, USENIX 2001, section 3.</para>
/// </remarks>
public sealed class CachedRangeAllocator : IRangeAllocator
{
    private const int MostSlots = 32;

    private static readonly IovaRange Anywhere = new(new(0), new(ulong.MaxValue));

    [LockRank(LockRank.RangeCache)]
    private readonly object _gate = new();
    private readonly IRangeAllocator _inner;
    private readonly Func<int>? _thread;
    private readonly RangeSlot[] _slots;

    /// <summary>Ranges of other sizes that are handed out: the last address by the first. Under the gate.</summary>
    private readonly Dictionary<ulong, ulong> _others = [];

    /// <summary>Puts a cache before <paramref name="inner"/>, which nobody else uses from now on.</summary>
    /// <param name="inner">Where ranges come from; all that it has handed out so far stays out.</param>
    /// <param name="slotCount">How many threads can work without waiting for each other: a power of two, at most 32; 0: what suits the machine.</param>
    /// <param name="thread">A number for the thread that calls; by default threads are numbered as they come.</param>
    public CachedRangeAllocator(IRangeAllocator inner, int slotCount = 0, Func<int>? thread = null)
    {
        ArgumentNullException.ThrowIfNull(inner);
        if (slotCount == 0) slotCount = (int)BitOperations.RoundUpToPowerOf2((uint)Math.Min(MostSlots, 2 * Environment.ProcessorCount));
        if (slotCount > MostSlots || !BitOperations.IsPow2(slotCount)) throw new ArgumentOutOfRangeException(nameof(slotCount), slotCount, "not a power of two up to 32");
        _inner = inner;
        _thread = thread;
        _slots = new RangeSlot[slotCount];
        for (int i = 0; i < slotCount; i++) _slots[i] = new();
    }

    /// <inheritdoc/>
    public VcmmError TryAllocate(ulong byteCount, ulong alignment, out IovaRange range) =>
        TryAllocate(byteCount, alignment, Placement.BottomUp, Anywhere, out range);

    /// <inheritdoc/>
    public VcmmError TryAllocate(ulong byteCount, ulong alignment, Placement placement, IovaRange within, out IovaRange range)
    {
        bool isCached = KnownRanges.IsCached(byteCount) && alignment <= byteCount && BitOperations.IsPow2(alignment);
        if (isCached && within.First.Value == 0 && within.Last.Value == ulong.MaxValue)
        {
            RangeSlot slot = CallersSlot();
            slot.Enter();
            bool hits = slot.TryTake(KnownRanges.ClassOf(byteCount), out Iova first);
            slot.Exit();
            if (hits)
            {
                range = new(first, new(unchecked(first.Value + (byteCount - 1))));
                return VcmmError.None;
            }
        }

        lock (_gate)
        {
            // Aligned to its length it can be kept at hand later.
            VcmmError error = _inner.TryAllocate(byteCount, isCached ? byteCount : alignment, placement, within, out range);
            if (error == VcmmError.NoSpace && isCached && alignment != byteCount)
                error = _inner.TryAllocate(byteCount, alignment, placement, within, out range);
            if (error == VcmmError.NoSpace && GiveBackAll(0))
                error = _inner.TryAllocate(byteCount, alignment, placement, within, out range);
            if (error == VcmmError.None) Know(range);
            return error;
        }
    }

    /// <inheritdoc/>
    public VcmmError TryFind(ulong byteCount, ulong alignment, IovaRange within, out IovaRange range)
    {
        lock (_gate)
        {
            // The lowest place may be at hand, or half of it.
            GiveBackAll(0);
            return _inner.TryFind(byteCount, alignment, within, out range);
        }
    }

    /// <inheritdoc/>
    public VcmmError TryAllocateAt(IovaRange range)
    {
        lock (_gate)
        {
            VcmmError error = _inner.TryAllocateAt(range);
            if (error == VcmmError.NoSpace && GiveBackAll(0)) error = _inner.TryAllocateAt(range);
            if (error == VcmmError.None) Know(range);
            return error;
        }
    }

    /// <inheritdoc/>
    /// <returns><see cref="VcmmError.Invalid"/> if no such range is handed out.</returns>
    public VcmmError TryFree(IovaRange range)
    {
        if (!KnownRanges.TryEncode(range, out ulong entry, out int sizeClass)) return TryFreeOther(range);
        RangeSlot slot = CallersSlot();
        slot.Enter();
        // Full already: another thread of the slot is on its way to the gate.
        bool isKept = !slot.IsFull(sizeClass);
        bool isOwn = isKept ? slot.TryGiveBack(entry, sizeClass) : slot.TryForget(entry);
        bool isFull = slot.IsFull(sizeClass);
        slot.Exit();
        if (!isOwn) return TryFreeOfAnother(slot, range, entry, sizeClass);
        if (isFull) Lighten(slot, sizeClass, isKept ? null : range);
        return VcmmError.None;
    }

    /// <summary>Gives all that is at hand back to the allocator behind.</summary>
    public void GiveBack()
    {
        lock (_gate) GiveBackAll(0);
    }

    private RangeSlot CallersSlot() => _slots[(_thread is null ? ThreadNumber.Current : _thread()) & (_slots.Length - 1)];

    /// <summary>A range that was handed out to a thread of another slot, or to nobody. From now on it is this slot's.</summary>
    private VcmmError TryFreeOfAnother(RangeSlot own, IovaRange range, ulong entry, int sizeClass)
    {
        // Who may give it back is alone in doing so: until it is found it stays where it is.
        int other = 0;
        while (other < _slots.Length && !(_slots[other] != own && TryForget(_slots[other], entry))) other++;
        if (other == _slots.Length) return VcmmError.Invalid;
        own.Enter();
        bool isKept = own.TryKeep(entry, sizeClass);
        own.Exit();
        if (isKept) return VcmmError.None;
        lock (_gate) ReturnToInner(range);
        return VcmmError.None;
    }

    private static bool TryForget(RangeSlot slot, ulong entry)
    {
        slot.Enter();
        bool isForgotten = slot.TryForget(entry);
        slot.Exit();
        return isForgotten;
    }

    /// <summary>Gives half of what is at hand of a size back, unless another thread of the slot has; and what the slot does not keep.</summary>
    private void Lighten(RangeSlot slot, int sizeClass, IovaRange? unkept)
    {
        lock (_gate)
        {
            if (unkept is { } range) ReturnToInner(range);
            slot.Enter();
            try
            {
                if (slot.IsFull(sizeClass)) GiveBack(slot, sizeClass, RangeSlot.Depth / 2);
            }
            finally
            {
                slot.Exit();
            }
        }
    }

    private VcmmError TryFreeOther(IovaRange range)
    {
        lock (_gate)
        {
            if (!_others.TryGetValue(range.First.Value, out ulong last) || last != range.Last.Value) return VcmmError.Invalid;
            _others.Remove(range.First.Value);
            ReturnToInner(range);
            return VcmmError.None;
        }
    }

    /// <summary>Under the gate.</summary>
    private void Know(IovaRange range)
    {
        if (!KnownRanges.TryEncode(range, out ulong entry, out _))
        {
            _others.Add(range.First.Value, range.Last.Value);
            return;
        }

        RangeSlot slot = CallersSlot();
        slot.Enter();
        try
        {
            slot.Add(entry);
        }
        finally
        {
            slot.Exit();
        }
    }

    /// <summary>
    /// All slots are held at once: only then is there an instant at which nothing is at hand, and a refusal true. Under the gate.
    /// </summary>
    /// <returns>Whether anything was at hand.</returns>
    private bool GiveBackAll(int held)
    {
        if (held == _slots.Length)
        {
            bool any = false;
            foreach (RangeSlot slot in _slots)
            {
                for (int sizeClass = 0; sizeClass < KnownRanges.ClassCount; sizeClass++) any |= GiveBack(slot, sizeClass, RangeSlot.Depth);
            }

            return any;
        }

        _slots[held].Enter();
        try
        {
            return GiveBackAll(held + 1);
        }
        finally
        {
            _slots[held].Exit();
        }
    }

    /// <summary>Under the gate and the slot.</summary>
    private bool GiveBack(RangeSlot slot, int sizeClass, int count)
    {
        bool any = false;
        while (count-- > 0 && slot.TryDrop(sizeClass, out IovaRange range))
        {
            any = true;
            ReturnToInner(range);
        }

        return any;
    }

    private void ReturnToInner(IovaRange range)
    {
        if (_inner.TryFree(range) != VcmmError.None) throw new InvalidOperationException($"{range} was handed out and yet free");
    }
}
