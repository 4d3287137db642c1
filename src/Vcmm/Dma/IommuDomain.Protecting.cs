using Platform;
using Vcmm.Tables;

namespace Vcmm.Dma;

// Protecting, and what cuts a large leaf. A leaf reaches beyond the range of the call, so whoever splits one holds every stripe.
public sealed partial class IommuDomain
{
    /// <summary>Gives what is mapped in a range other attributes. When this returns devices have these and no others.</summary>
    /// <param name="range">Whole 4 KiB pages.</param>
    /// <param name="attributes">What a device may do.</param>
    /// <returns>
    /// As <see cref="TryUnmap(IovaRange)"/>; <see cref="VcmmError.Invalid"/> also for attributes that an entry cannot express. After
    /// <see cref="VcmmError.HardwareFailure"/> all attributes are what they were.
    /// </returns>
    /// <remarks>
    /// <b>Errors.</b> Where the hardware fails at the change and at its undoing, attributes that take nothing away stand, and this returns no
    /// error: a device may use them already. A later call meets the failure.
    /// </remarks>
    public VcmmError TryProtect(IovaRange range, MappingAttributes attributes)
    {
        if (!CanExpress(attributes) || !IsAddressable(range)) return VcmmError.Invalid;
        ulong stripes = _stripes.Enter(range);
        VcmmError error = VcmmError.Invalid;
        try
        {
            if (!_freed) error = Protect(range, attributes, WorkerOf(stripes));
        }
        finally
        {
            _stripes.Exit(stripes);
        }

        return error == VcmmError.Invalid ? ProtectCutting(range, attributes) : error;
    }

    /// <summary>Gives what is mapped in a range other attributes.</summary>
    /// <exception cref="VcmmException">As <see cref="TryProtect"/>.</exception>
    public void Protect(IovaRange range, MappingAttributes attributes) => VcmmException.ThrowIf(TryProtect(range, attributes), nameof(Protect));

    /// <returns><see cref="VcmmError.Invalid"/> if an end lies inside a leaf.</returns>
    private VcmmError Protect(IovaRange range, MappingAttributes attributes, Worker worker)
    {
        VcmmError error = worker.Runs.TryAdd(_table, range);
        if (error != VcmmError.None) return error;
        try
        {
            try
            {
                _table.Protect(range, attributes, worker.Tables);
                error = Finish(worker);
            }
            catch
            {
                if (IsProtectedAsBefore(range, attributes, worker)) throw;
                return VcmmError.None;
            }

            return error == VcmmError.None || IsProtectedAsBefore(range, attributes, worker) ? error : VcmmError.None;
        }
        finally
        {
            // Also where memory throws at the undoing: what a later call on these stripes would undo is its own.
            worker.Tables.Clear();
            worker.Runs.Clear();
        }
    }

    /// <returns>False if the new attributes stand.</returns>
    private bool IsProtectedAsBefore(IovaRange range, MappingAttributes attributes, Worker worker)
    {
        VcmmError error = VcmmError.HardwareFailure;
#pragma warning disable CA1031 // Whatever a port throws here, it has failed twice.
        try
        {
            // A device may have used what was granted meanwhile, and hardware have cached it: that must be forgotten too.
            worker.Runs.ProtectAgain(_table, worker.Tables);
            error = Finish(worker);
        }
        catch (Exception)
        {
            // The same as an error that is returned: what stands then is decided below.
        }
#pragma warning restore CA1031

        if (error == VcmmError.None || !worker.Runs.AreWidenedBy(attributes)) return true;
        // The hardware may have the new cached and cannot be made to forget it. The new takes nothing away, so it stands.
        _table.Protect(range, attributes, worker.Tables);
        return false;
    }

    private VcmmError ProtectCutting(IovaRange range, MappingAttributes attributes)
    {
        _stripes.Enter(RangeStripes.All);
        try
        {
            Worker worker = _workers[0];
            VcmmError error = TrySplitEnds(range, worker, worker.Tables);
            return error == VcmmError.None ? Protect(range, attributes, worker) : error;
        }
        finally
        {
            _stripes.Exit(RangeStripes.All);
        }
    }

    private VcmmError UnmapCutting(IovaRange range)
    {
        _stripes.Enter(RangeStripes.All);
        try
        {
            Worker worker = _workers[0];
            VcmmError error = TrySplitEnds(range, worker, worker.Tables);
            return error == VcmmError.None ? Unmap(range, worker) : error;
        }
        finally
        {
            _stripes.Exit(RangeStripes.All);
        }
    }

    private VcmmError UnmapCutting(IovaRange range, UnmapGather gather)
    {
        _stripes.Enter(RangeStripes.All);
        try
        {
            VcmmError error = TrySplitEnds(range, _workers[0], gather.Tables);
            return error == VcmmError.None ? Unmap(range, gather) : error;
        }
        finally
        {
            _stripes.Exit(RangeStripes.All);
        }
    }

    /// <summary>Makes both ends of a range ends of leaves. Where that needs no break-before-make the caller's gather has to be told.</summary>
    private VcmmError TrySplitEnds(IovaRange range, Worker worker, InvalidationGather gather)
    {
        if (_freed) return VcmmError.Invalid;
        if (!IsMapped(range)) return VcmmError.NotFound;
        VcmmError error = worker.Pages.TryFill(_frames, PageBytes, _table.CountSplitTables(range));
        if (error != VcmmError.None) return error;
        try
        {
            _table.Split(range, worker.Pages, worker.Tables);
        }
        catch
        {
            // Where memory throws a leaf may be broken and its halves not there yet.
            Relink(worker);
            throw;
        }
        finally
        {
            worker.Pages.ReturnAll(_frames);
        }

        if (worker.Tables.HasBroken) return FinishBroken(worker);
        if (ReferenceEquals(gather, worker.Tables)) return VcmmError.None;
        foreach (IovaRange changed in worker.Tables.Ranges) gather.Add(changed);
        worker.Tables.Clear();
        return VcmmError.None;
    }

    /// <summary>The halves of a broken leaf become present after the hardware has forgotten the whole.</summary>
    private VcmmError FinishBroken(Worker worker)
    {
        Span<IovaRange> broken = stackalloc IovaRange[InvalidationGather.MaxRangeCount];
        int count = worker.Tables.Ranges.Length;
        worker.Tables.Ranges.CopyTo(broken);
        VcmmError error = Finish(worker);
        if (error != VcmmError.None || !_iommu.CachesAbsent) return error;
        // Until it forgets that they were absent a device may fault there; the translations themselves are right.
        foreach (IovaRange range in broken[..count]) InvalidateAbsent(range);
        return VcmmError.None;
    }

    private bool IsMapped(IovaRange range)
    {
        ulong address = range.First.Value;
        while (_table.TryWalk(new(address), out Translation leaf))
        {
            ulong last = address | (leaf.LeafBytes - 1);
            if (last >= range.Last.Value) return true;
            address = last + 1;
        }

        return false;
    }
}
