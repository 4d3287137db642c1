using Platform;
using Vcmm.Tables;

namespace Vcmm;

// Backing: what happens between a reservation and the tables. All of it runs under the reservation's gate.
public sealed partial class Vcm
{
    internal VcmmError Back(ReservationState state, ulong offset, PhysicalAllocation memory, ulong memoryOffset, ulong byteCount)
    {
        if (memory.Manager != Manager) return VcmmError.Invalid;
        if (!IsPart(offset, byteCount, state.Range.ByteCount) || !IsPart(memoryOffset, byteCount, memory.ByteCount)) return VcmmError.Invalid;
        if (state.Backings.Overlaps(offset, byteCount)) return VcmmError.Busy;
        IovaRange range = IovaRange.FromLength(state.Range.First + offset, byteCount);
        if (Kind == VcmKind.OneToOne && !IsOneToOne(range.First, memory.Slice(memoryOffset, byteCount, state.Scratch))) return VcmmError.Invalid;
        IPageTable[] tables = _tables;
        foreach (IPageTable table in tables)
        {
            if (memory.LastAddress.Value > table.LastPhysAddr.Value) return VcmmError.Invalid;
        }

        VcmmError error = FlushDeferred(state);
        if (error != VcmmError.None) return error;
        if (!TryMakeBacking(state, offset, memory, memoryOffset, byteCount, out Backing backing)) return VcmmError.Invalid;
        bool isMapped = false;
        try
        {
            return MapInAll(state, range, backing.Segments(state.Scratch), tables, ref isMapped);
        }
        finally
        {
            // Also where a port throws: what may be in a table stays in use.
            if (isMapped)
            {
                memory.Publish(backing);
            }
            else
            {
                state.Backings.Discard(backing);
                memory.Release();
            }
        }
    }

    internal VcmmError Unback(ReservationState state, ulong offset, ulong byteCount)
    {
        if (!IsPart(offset, byteCount, state.Range.ByteCount)) return VcmmError.Invalid;
        return state.Backings.Covers(offset, byteCount) ? UnbackCovered(state, offset, byteCount) : VcmmError.NotFound;
    }

    /// <summary>Unbacks whatever is backed; there is something.</summary>
    internal VcmmError UnbackAll(ReservationState state) => UnbackAll(state, hides: false);

    /// <summary>The same for a reservation that ends with it: once nothing can fail, no look-up finds it any more, whether it comes by address or from the memory.</summary>
    private VcmmError UnbackAndHide(ReservationState state) => UnbackAll(state, hides: true);

    private VcmmError UnbackAll(ReservationState state, bool hides)
    {
        if (state.Backings.Count == 0) return VcmmError.NotFound;
        Backing first = state.Backings[0];
        return UnbackCovered(state, first.Offset, state.Backings[^1].End - first.Offset, hides);
    }

    /// <summary>Gives a live reservation other attributes; what is taken away is out of reach when this returns.</summary>
    internal VcmmError SetAttributes(ReservationState state, MappingAttributes attributes)
    {
        if (!attributes.AreValid) return VcmmError.Invalid;
        foreach (IPageTable table in _tables)
        {
            if (!table.CanExpress(attributes)) return VcmmError.Invalid;
        }

        MappingAttributes former = state.Attributes;
        if (former == attributes) return VcmmError.None;
        state.Attributes = attributes;
        if (state.Backings.Count == 0) return VcmmError.None;
        VcmmError error;
        try
        {
            error = ProtectInAll(state, attributes);
        }
        catch
        {
            if (IsProtectedAsBefore(state, former)) throw;
            return VcmmError.None;
        }

        return error == VcmmError.None || IsProtectedAsBefore(state, former) ? error : VcmmError.None;
    }

    /// <summary>Makes a backing and keeps the memory from being freed; the reservation does not have it yet, and no look-up finds it.</summary>
    private static bool TryMakeBacking(
        ReservationState state, ulong offset, PhysicalAllocation memory, ulong memoryOffset, ulong byteCount, out Backing backing)
    {
        backing = state.Backings.Take();
        backing.State = state;
        backing.Generation = state.Generation;
        backing.Memory = memory;
        backing.Offset = offset;
        backing.MemoryOffset = memoryOffset;
        backing.ByteCount = byteCount;
        if (memory.TryAcquire()) return true;
        state.Backings.Discard(backing);
        return false;
    }

    private static bool IsPart(ulong offset, ulong byteCount, ulong wholeByteCount) =>
        IsWholePages(byteCount) && offset % VcmManager.PageBytes == 0 && byteCount <= wholeByteCount && offset <= wholeByteCount - byteCount;

    private static bool IsOneToOne(Iova first, ReadOnlySpan<PhysRange> segments)
    {
        ulong iova = first.Value;
        foreach (PhysRange segment in segments)
        {
            if (segment.First.Value != iova) return false;
            iova = unchecked(iova + segment.ByteCount);
        }

        return true;
    }

    /// <param name="state">The reservation.</param>
    /// <param name="range">Where.</param>
    /// <param name="segments">What.</param>
    /// <param name="tables">In what.</param>
    /// <param name="isMapped">False; true at the end, also after an exception, if tables may say so.</param>
    private VcmmError MapInAll(ReservationState state, IovaRange range, ReadOnlySpan<PhysRange> segments, IPageTable[] tables, ref bool isMapped)
    {
        VcmmError error = DropEmptyTables(state, range, tables);
        if (error != VcmmError.None) return error;
        int missing = 0;
        foreach (IPageTable table in tables) missing += table.CountMissingTables(range.First, segments);
        // All table pages, for all formats, before the first entry changes: what follows cannot run out.
        error = state.Pages.TryFill(Manager.Frames, VcmManager.PageBytes, missing);
        if (error != VcmmError.None) return error;

        isMapped = true;
        try
        {
            foreach (IPageTable table in tables) table.Map(range.First, segments, state.Attributes, state.Pages);
            error = InvalidateAbsent(range);
        }
        catch
        {
            isMapped = !IsUnmappedAgain(state, range, segments, tables);
            if (!isMapped) throw;
            return VcmmError.None;
        }
        finally
        {
            state.Pages.ReturnAll(Manager.Frames);
        }

        isMapped = error == VcmmError.None || !IsUnmappedAgain(state, range, segments, tables);
        return isMapped ? VcmmError.None : error;
    }

    /// <returns>False if the mapping stands.</returns>
    private bool IsUnmappedAgain(ReservationState state, IovaRange range, ReadOnlySpan<PhysRange> segments, IPageTable[] tables)
    {
#pragma warning disable CA1031 // Whatever a port throws here, it has failed twice.
        try
        {
            if (UnmapFromAll(range, tables, state.Gather) == VcmmError.None) return true;
        }
        catch (Exception)
        {
            // The same as an error that is returned: what stands then is decided below.
        }
#pragma warning restore CA1031

        // Twice the hardware did not answer: it may have walked to the memory, which must stay in use. The mapping stands; a
        // device may find it absent a while longer, and the next call meets the failure.
        foreach (IPageTable table in tables) table.Map(range.First, segments, state.Attributes, state.Pages);
        return false;
    }

    /// <summary>
    /// A range that spans a large leaf may hold empty tables of smaller mappings that are gone; they would stand in the
    /// leaf's place. A live pointer cannot turn into a leaf, so they go first, with an invalidation.
    /// </summary>
    private VcmmError DropEmptyTables(ReservationState state, IovaRange range, IPageTable[] tables)
    {
        try
        {
            foreach (IPageTable table in tables)
            {
                if (range.ByteCount >= table.LargeLeafBytes) table.Unmap(range, state.Gather);
            }
        }
        catch
        {
            Relink(tables, state.Gather);
            throw;
        }

        // Survives as `(true?Finish(tables, state.Gather) :VcmmError.None)`: performance only, where no table was unlinked there is nothing to invalidate and nothing to free
        return state.Gather.HasTables ? Finish(tables, state.Gather) : VcmmError.None;
    }

    /// <summary>Unbacks a range whose first and last byte are backed.</summary>
    private VcmmError UnbackCovered(ReservationState state, ulong offset, ulong byteCount, bool hides = false)
    {
        IovaRange range = IovaRange.FromLength(state.Range.First + offset, byteCount);
        IPageTable[] tables = _tables;
        VcmmError error = CutLeaves(state, offset, range, tables);
        if (error != VcmmError.None) return error;
        error = VcmmError.HardwareFailure;
        try
        {
            foreach (IPageTable table in tables) table.Unmap(range, state.Gather);
            error = FinishUnback(state, offset, byteCount, tables);
        }
        finally
        {
            // Also where a port throws: the hardware may still hold the translations, so they stay what they were.
            if (error != VcmmError.None) MapAgain(state, offset, byteCount, tables);
        }

        if (error != VcmmError.None) return error;
        if (hides) _reservations.Remove(state);
        RemoveBackings(state, offset, byteCount);
        ForgetUse(state, range);
        return VcmmError.None;
    }

    /// <summary>Where the range ends inside a backing, a leaf may reach over the end.</summary>
    private VcmmError CutLeaves(ReservationState state, ulong offset, IovaRange range, IPageTable[] tables)
    {
        ulong end = offset + range.ByteCount;
        // Survives as `… <= offset`: performance only, where no backing is cut no leaf is, and no table is missing
        bool cutsFirst = state.Backings[state.Backings.FirstEndingAfter(offset)].Offset < offset;
        // Survives as `… >= end`: performance only, where no backing is cut no leaf is, and no table is missing
        bool cutsLast = state.Backings[state.Backings.FirstEndingAfter(end - 1)].End > end;
        if (!cutsFirst && !cutsLast) return VcmmError.None;

        int missing = 0;
        foreach (IPageTable table in tables) missing += table.CountSplitTables(range);
        if (missing == 0) return VcmmError.None;
        VcmmError error = state.Pages.TryFill(Manager.Frames, VcmManager.PageBytes, missing);
        if (error != VcmmError.None) return error;
        try
        {
            foreach (IPageTable table in tables) table.Split(range, state.Pages, state.Gather);
        }
        catch
        {
            Relink(tables, state.Gather);
            throw;
        }
        finally
        {
            state.Pages.ReturnAll(Manager.Frames);
        }

        // Where a live leaf may not turn into a table, it is absent now and comes back as a table after the hardware has forgotten it.
        return state.Gather.HasBroken ? Finish(tables, state.Gather) : VcmmError.None;
    }

    private void RemoveBackings(ReservationState state, ulong offset, ulong byteCount)
    {
        ulong end = offset + byteCount;
        int index = state.Backings.FirstEndingAfter(offset);
        // Survives as `backing.Offset <= end`: equivalent, a backing that begins where the part ends is given the shape that it has
        while (index != state.Backings.Count && state.Backings[index] is var backing && backing.Offset < end)
        {
            ulong before = offset - Math.Min(backing.Offset, offset);
            ulong after = backing.End - Math.Min(backing.End, end);
            if (before == 0 && after == 0)
            {
                backing.Memory.Remove(backing);
                state.Backings.Discard(backing);
                continue;
            }

            ulong lastMemoryOffset = backing.MemoryOffset + (backing.ByteCount - after);
            if (before == 0)
            {
                backing.Memory.Reshape(backing, end, lastMemoryOffset, after);
            }
            else if (after == 0)
            {
                backing.Memory.Reshape(backing, backing.Offset, backing.MemoryOffset, before);
            }
            else
            {
                Backing rest = state.Backings.Take();
                backing.Memory.Cut(backing, before, rest, end, lastMemoryOffset, after);
            }

            index++;
        }
    }

    private void MapAgain(ReservationState state, ulong offset, ulong byteCount, IPageTable[] tables)
    {
        // Nothing is left in it unless memory threw.
        Relink(tables, state.Gather);
        ulong end = offset + byteCount;
        for (int index = state.Backings.FirstEndingAfter(offset); index != state.Backings.Count && state.Backings[index].Offset < end; index++)
        {
            Backing backing = state.Backings[index];
            ulong first = Math.Max(backing.Offset, offset);
            ulong part = Math.Min(backing.End, end) - first;
            ReadOnlySpan<PhysRange> segments = backing.Memory.Slice(backing.MemoryOffset + (first - backing.Offset), part, state.Scratch);
            foreach (IPageTable table in tables) table.Map(state.Range.First + first, segments, state.Attributes, state.Pages);
            NoteLostUse(state, IovaRange.FromLength(state.Range.First + first, part));
        }
    }

    private VcmmError ProtectInAll(ReservationState state, MappingAttributes attributes)
    {
        IPageTable[] tables = _tables;
        // If memory throws, the ranges of what changed stay in the gather: whoever finishes it next has them forgotten, too.
        ProtectIn(tables, state, attributes);
        return Finish(tables, state.Gather);
    }

    /// <returns>False if the new attributes stand.</returns>
    private bool IsProtectedAsBefore(ReservationState state, MappingAttributes former)
    {
        MappingAttributes attributes = state.Attributes;
        VcmmError error = VcmmError.HardwareFailure;
#pragma warning disable CA1031 // Whatever a port throws here, it has failed twice.
        try
        {
            error = ProtectInAll(state, former);
        }
        catch (Exception)
        {
            // The same as an error that is returned: what stands then is decided below.
        }
#pragma warning restore CA1031

        if (error != VcmmError.None && !former.Grant(attributes) && attributes.Grant(former))
        {
            // The hardware may have the new cached and cannot be made to forget it. The new takes nothing away, so it stands: the
            // next call meets the failure. What is taken away must not be called gone.
            ProtectIn(_tables, state, attributes);
            state.Gather.Clear();
            return false;
        }

        state.Attributes = former;
        return true;
    }

    private static void ProtectIn(IPageTable[] tables, ReservationState state, MappingAttributes attributes)
    {
        foreach (IPageTable table in tables)
        {
            foreach (Backing backing in state.Backings) table.Protect(backing.Range, attributes, state.Gather);
        }
    }
}
