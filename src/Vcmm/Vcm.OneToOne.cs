using Platform;
using Vcmm.Allocation;
using Vcmm.Tables;

namespace Vcmm;

// Bindings where the memory's addresses are the region's: a place must be free in both.
public sealed partial class Vcm
{
    /// <summary>How often all memory is searched while other threads are faster: each time they got what was seen free, so that somebody gets on.</summary>
    private const int MostSearches = 16;

    /// <summary>How many pieces that it cannot use a trial holds: with 4 KiB pieces 4 MiB, which others miss meanwhile.</summary>
    private const int MostUnusable = 1024;

    private VcmmError TryBindOneToOne(ulong byteCount, MappingAttributes attributes, MemoryOptions options, out Binding binding)
    {
        binding = default;
        if (Manager.Frames is not IContiguousFrameSource frames) return TryBindByTrial(byteCount, attributes, options, out binding);
        VcmmError error = Manager.TryListBanks(options.From, out List<PhysRange> banks);
        if (error != VcmmError.None) return error;
        ulong highest = HighestReachable();
        for (int search = 0; search < MostSearches; search++)
        {
            VcmmError lost = VcmmError.None;
            foreach (PhysRange bank in banks)
            {
                ulong from = Math.Max(bank.First.Value, Range.First.Value);
                ulong last = Math.Min(bank.Last.Value, highest);
                // Memory is looked at, not held: what is held meanwhile is missing to others.
                // Survives as `from < last`: equivalent, no page lies where the two are the same
                while (from <= last && TryFindCommon(frames, byteCount, ref from, last))
                {
                    error = TryBindAt(frames, PhysRange.FromLength(new(from), byteCount), attributes, out bool isLost, out binding);
                    if (!isLost) return error;
                    lost = error;
                    from += VcmManager.PageBytes;
                }
            }

            if (lost == VcmmError.None) return WhyNoneInCommon(frames, banks, byteCount);
            error = lost;
        }

        return error;
    }

    /// <summary>The last address that the region has and that its tables lead to.</summary>
    private ulong HighestReachable()
    {
        ulong last = Range.Last.Value;
        foreach (IPageTable table in Volatile.Read(ref _tables)) last = Math.Min(last, table.LastPhysAddr.Value);
        return last;
    }

    /// <summary>Finds the lowest place at which so much is free both in the memory and in the region.</summary>
    /// <param name="frames">The memory.</param>
    /// <param name="byteCount">How much.</param>
    /// <param name="from">Where to begin; the place.</param>
    /// <param name="last">All of it lies up to here.</param>
    private bool TryFindCommon(IContiguousFrameSource frames, ulong byteCount, ref ulong from, ulong last)
    {
        // Whichever is behind goes on from where the other one is.
        while (_ranges.TryFind(byteCount, VcmManager.PageBytes, new(new(from), new(last)), out IovaRange range) == VcmmError.None)
        {
            if (frames.TryFindWithin(byteCount, VcmManager.PageBytes, new(new(range.First.Value), new(last)), out PhysAddr block) != VcmmError.None) return false;
            from = block.Value;
            if (from == range.First.Value) return true;
        }

        return false;
    }

    /// <param name="frames">The memory.</param>
    /// <param name="place">What was seen free.</param>
    /// <param name="attributes">What the mapping grants.</param>
    /// <param name="isLost">Whether another thread has taken it since.</param>
    /// <param name="binding">The binding.</param>
    private VcmmError TryBindAt(IContiguousFrameSource frames, PhysRange place, MappingAttributes attributes, out bool isLost, out Binding binding)
    {
        binding = default;
        isLost = true;
        VcmmError error = Manager.TryAllocateAt(frames, place, out PhysicalAllocation? memory);
        if (error != VcmmError.None) return error;
        error = TryMapOrFree(memory!, attributes, out binding);
        isLost = error == VcmmError.NoSpace;
        return error;
    }

    /// <summary>There is no memory, or all that there is lies where the region has nothing free.</summary>
    private static VcmmError WhyNoneInCommon(IContiguousFrameSource frames, List<PhysRange> banks, ulong byteCount)
    {
        foreach (PhysRange bank in banks)
        {
            if (frames.TryFindWithin(byteCount, VcmManager.PageBytes, bank, out _) == VcmmError.None) return VcmmError.NoSpace;
        }

        return VcmmError.NoMemory;
    }

    /// <summary>
    /// Of a source that cannot be asked for a place: pieces whose addresses are taken in the region are held until one is found that
    /// is not, so that none comes twice. Where so many are held as may be it is given up, though another piece might do.
    /// </summary>
    private VcmmError TryBindByTrial(ulong byteCount, MappingAttributes attributes, MemoryOptions options, out Binding binding)
    {
        binding = default;
        var held = new List<PhysicalAllocation>();
        try
        {
            VcmmError error = VcmmError.NoSpace;
            while (error == VcmmError.NoSpace && held.Count < MostUnusable)
            {
                error = Manager.TryAllocateContiguous(byteCount, VcmManager.PageBytes, options.From, out PhysicalAllocation? memory);
                // All that is free lies where the region has nothing free.
                if (error == VcmmError.NoMemory && held.Count != 0) return VcmmError.NoSpace;
                if (error != VcmmError.None) return error;
                held.Add(memory!);
                IovaRange range = IovaRange.FromLength(new(memory!.Segments[0].First.Value), byteCount);
                error = Range.Contains(range) ? TryMap(memory, attributes, VcmManager.PageBytes, out Reservation reservation) : Refuse(out reservation);
                if (error != VcmmError.None) continue;
                held.Remove(memory);
                binding = new(reservation, memory);
            }

            return error;
        }
        finally
        {
            // Also where a port throws; what is in a table nevertheless stays in use.
            foreach (PhysicalAllocation memory in held) memory.TryFree();
        }
    }

    private static VcmmError Refuse(out Reservation reservation)
    {
        reservation = default;
        return VcmmError.NoSpace;
    }
}
