using System.Runtime.ExceptionServices;
using Platform;

namespace Vcmm.Invalidations;

/// <summary>What one flush tells the hardware, and what it releases afterwards.</summary>
/// <remarks><b>Threads.</b> One at a time.</remarks>
internal sealed class FlushBatch
{
    private readonly List<IQuarantined> _entries = [];
    private readonly CoverSet _covers = new();
    private Invalidation[] _commands = new Invalidation[DomainCover.Limit];

    // Survives as `[default]`: performance only, an array that is too short is replaced, and all of it is false when it is used
    private bool[] _told = [];

    /// <summary>How many entries it has.</summary>
    public int EntryCount => _entries.Count;

    /// <summary>When the first entry came.</summary>
    public long OldestTimestamp { get; private set; }

    public void Add(ReadOnlySpan<PendingInvalidation> invalidations, IQuarantined quarantined, long now)
    {
        if (_entries.Count == 0) OldestTimestamp = now;
        foreach (PendingInvalidation invalidation in invalidations)
            _covers.Of(invalidation.Iommu, invalidation.Domain).Add(invalidation.Range, invalidation.LeavesOnly);
        _entries.Add(quarantined);
    }

    /// <summary>Takes over everything of <paramref name="other"/>, which is then empty.</summary>
    public void Append(FlushBatch other)
    {
        _entries.AddRange(other._entries);
        for (int i = 0; i < other._covers.Count; i++)
        {
            DomainCover cover = other._covers[i];
            DomainCover own = _covers.Of(cover.Iommu!, cover.Domain);
            foreach (IovaRange range in cover.Ranges) own.Add(range, cover.LeavesOnly);
        }

        other.Clear();
    }

    /// <summary>Tells each IOMMU once. Every IOMMU is told, also after one has failed: the hardware that works forgets early.</summary>
    public VcmmError Invalidate()
    {
        VcmmError outcome = VcmmError.None;
        if (_told.Length < _covers.Count) _told = new bool[_covers.Count];
        Array.Clear(_told);
        for (int i = 0; i < _covers.Count; i++)
        {
            if (_told[i]) continue;
            IIommu iommu = _covers[i].Iommu!;
            int count = CollectCommands(iommu, i);
            VcmmError error = iommu.Invalidate(_commands.AsSpan(0, count));
            if (outcome == VcmmError.None) outcome = error;
        }

        return outcome;
    }

    public void Release()
    {
        ExceptionDispatchInfo? thrown = null;
        foreach (IQuarantined entry in _entries)
        {
            try
            {
                entry.Release();
            }
            catch (Exception exception)
            {
                // The others are out of reach all the same, and nobody would release them later.
                thrown ??= ExceptionDispatchInfo.Capture(exception);
            }
        }

        Clear();
        thrown?.Throw();
    }

    private int CollectCommands(IIommu iommu, int firstCover)
    {
        int count = 0;
        for (int i = firstCover; i < _covers.Count; i++)
        {
            DomainCover cover = _covers[i];
            if (!ReferenceEquals(cover.Iommu, iommu)) continue;
            _told[i] = true;
            // Survives as `_commands.Length <= count + cover.Count`: performance only, an array that would just do is made larger
            if (_commands.Length < count + cover.Count) Array.Resize(ref _commands, 2 * (count + cover.Count));
            foreach (IovaRange range in cover.Ranges) _commands[count++] = new(cover.Domain, range, cover.LeavesOnly);
        }

        return count;
    }

    private void Clear()
    {
        _entries.Clear();
        _covers.Clear();
    }
}
