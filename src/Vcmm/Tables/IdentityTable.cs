using Platform;

namespace Vcmm.Tables;

/// <summary>
/// What a device without an MMU has for a table: every device address is the physical address. No byte of it is in memory; it
/// remembers what was mapped, so that one device can be treated like another.
/// </summary>
/// <remarks>
/// <para><b>It protects nothing.</b> The device reaches all memory, always, whatever is mapped. So only attributes that withhold
/// nothing a bus without an MMU could tell apart can be expressed: read and write for everybody, execute or not, since without an
/// MMU a fetch is a read. Isolation of such a device is the caller's to arrange, or to do without.</para>
/// <para><b>Cost.</b> The ranges are a sorted array that is replaced by each change: meant for few and large ranges.</para>
/// <para><b>Threads.</b> As <see cref="IPageTable"/>, and calls on any ranges may run at once.</para>
/// </remarks>
public sealed class IdentityTable : IPageTable
{
    /// <summary>The size of the smallest page, in bytes; every range is whole ones.</summary>
    public const ulong GranuleBytes = 4096;

    [LockRank(LockRank.Table)]
    private readonly object _gate = new();

    /// <summary>Ascending; those that touch differ in their attributes. Replaced under the gate, never changed.</summary>
    private Leaf[] _mapped = [];

    /// <summary>The format of every such table.</summary>
    public static TableFormat Format { get; } = new("identity", 1, 1u << 1);

    /// <inheritdoc/>
    TableFormat IPageTable.Format => Format;

    /// <summary>0: there is no root.</summary>
    public PhysAddr Root => default;

    /// <inheritdoc/>
    public PhysAddr LastPhysAddr => new(ulong.MaxValue);

    /// <inheritdoc/>
    public bool HasDirtyBits => false;

    /// <summary>None: nothing is larger than a granule.</summary>
    public ulong LargeLeafBytes => ulong.MaxValue;

    /// <inheritdoc/>
    public bool Covers(IovaRange range) => true;

    /// <summary>Whether the attributes are read and write, with or without execute, for user requests, not secure.</summary>
    public bool CanExpress(MappingAttributes attributes) =>
        (attributes.Access & Access.ReadWrite) == Access.ReadWrite && !attributes.SupervisorOnly && !attributes.Secure;

    /// <summary>0.</summary>
    public int CountMissingTables(Iova first, ReadOnlySpan<PhysRange> segments) => 0;

    /// <summary>Notes the segments as mapped.</summary>
    /// <param name="first">The first byte of the first segment, as a number; the segments follow each other without a gap.</param>
    /// <param name="segments">Whole granules.</param>
    /// <param name="attributes">Some that <see cref="CanExpress"/> accepts.</param>
    /// <param name="pages">Is not used.</param>
    /// <exception cref="InvalidOperationException">
    /// A byte would not have its own address, or is mapped with other attributes. Nothing has changed.
    /// </exception>
    public void Map(Iova first, ReadOnlySpan<PhysRange> segments, MappingAttributes attributes, TablePagePool pages)
    {
        if (!CanExpress(attributes)) throw new ArgumentException($"{attributes} withhold what nothing can withhold here", nameof(attributes));
        ulong next = first.Value;
        foreach (PhysRange segment in segments)
        {
            RequireGranules(new(new(segment.First.Value), new(segment.Last.Value)));
            if (segment.First.Value != next) throw new InvalidOperationException($"{segment} is to be mapped at 0x{next:x}, and nothing translates");
            if (segment.First.Value < first.Value) throw new ArgumentException($"what begins at {first} reaches beyond the last address", nameof(segments));
            next = unchecked(segment.Last.Value + 1);
        }

        if (segments.Length == 0) return;
        var range = new IovaRange(first, new(segments[^1].Last.Value));
        lock (_gate)
        {
            foreach (Leaf leaf in _mapped)
            {
                if (leaf.Range.Overlaps(range) && leaf.Attributes != attributes)
                    throw new InvalidOperationException($"{leaf.Range} is live where {range} should be mapped");
            }

            Volatile.Write(ref _mapped, Joined([.. Without(range), LeafOf(range, attributes)]));
        }
    }

    /// <inheritdoc/>
    public void Unmap(IovaRange range, InvalidationGather gather)
    {
        RequireGranules(range);
        lock (_gate)
        {
            foreach (Leaf leaf in _mapped)
            {
                if (leaf.Range.Overlaps(range)) gather.Add(Common(leaf.Range, range));
            }

            Volatile.Write(ref _mapped, Joined(Without(range)));
        }
    }

    /// <summary>0: every granule can be told from the next.</summary>
    public int CountSplitTables(IovaRange range) => 0;

    /// <summary>Does nothing.</summary>
    public void Split(IovaRange range, TablePagePool pages, InvalidationGather gather)
    {
    }

    /// <inheritdoc/>
    public void Protect(IovaRange range, MappingAttributes attributes, InvalidationGather gather)
    {
        RequireGranules(range);
        if (!CanExpress(attributes)) throw new ArgumentException($"{attributes} withhold what nothing can withhold here", nameof(attributes));
        lock (_gate)
        {
            List<Leaf> changed = Without(range);
            foreach (Leaf leaf in _mapped)
            {
                if (!leaf.Range.Overlaps(range)) continue;
                IovaRange common = Common(leaf.Range, range);
                if (leaf.Attributes != attributes) gather.Add(common);
                changed.Add(LeafOf(common, attributes));
            }

            Volatile.Write(ref _mapped, Joined(changed));
        }
    }

    /// <summary>False: there is nothing to merge.</summary>
    public bool TryMerge(IovaRange range, InvalidationGather gather) => false;

    /// <summary>Does nothing: no table is ever unlinked.</summary>
    public void Relink(InvalidationGather gather)
    {
    }

    /// <summary>Does nothing: no table is ever unlinked.</summary>
    public void Release(InvalidationGather gather)
    {
    }

    /// <inheritdoc/>
    /// <exception cref="InvalidOperationException">Always: hardware notes nothing.</exception>
    public void CollectDirty(IovaRange range, bool clear, ICollection<IovaRange> dirty, InvalidationGather gather) =>
        throw new InvalidOperationException("a device without an MMU does not note what it writes");

    /// <inheritdoc/>
    /// <exception cref="InvalidOperationException">Always: hardware notes nothing.</exception>
    public void CollectAccessed(IovaRange range, bool clear, ICollection<IovaRange> accessed, InvalidationGather gather) =>
        throw new InvalidOperationException("a device without an MMU does not note what it uses");

    /// <inheritdoc/>
    public bool TryWalk(Iova address, out Translation translation)
    {
        Leaf[] mapped = Volatile.Read(ref _mapped);
        int low = 0;
        int high = mapped.Length;
        while (low < high)
        {
            int middle = (low + high) / 2;
            if (mapped[middle].Range.Last.Value < address.Value) low = middle + 1;
            else high = middle;
        }

        bool found = low < mapped.Length && mapped[low].Range.Contains(address);
        translation = found ? new(new(address.Value), mapped[low].Attributes, GranuleBytes) : default;
        return found;
    }

    /// <summary>Every mapped range.</summary>
    public IEnumerable<Leaf> Leaves() => Volatile.Read(ref _mapped);

    /// <summary>None.</summary>
    public IEnumerable<PhysAddr> TablePages() => [];

    /// <inheritdoc/>
    public TableAudit Audit() => new([.. Volatile.Read(ref _mapped)], [], []);

    /// <inheritdoc/>
    public void Free()
    {
        lock (_gate) Volatile.Write(ref _mapped, []);
    }

    private static void RequireGranules(IovaRange range)
    {
        if (((range.First.Value | ~range.Last.Value) & (GranuleBytes - 1)) != 0) throw new ArgumentException($"{range} is not made of whole granules", nameof(range));
    }

    private static Leaf LeafOf(IovaRange range, MappingAttributes attributes) => new(range, new(range.First.Value), attributes);

    private static IovaRange Common(IovaRange one, IovaRange other) => new(
        new(Math.Max(one.First.Value, other.First.Value)),
        new(Math.Min(one.Last.Value, other.Last.Value)));

    /// <summary>What is mapped outside the range.</summary>
    private List<Leaf> Without(IovaRange range)
    {
        var rest = new List<Leaf>(_mapped.Length + 2);
        foreach (Leaf leaf in _mapped)
        {
            if (!leaf.Range.Overlaps(range))
            {
                rest.Add(leaf);
                continue;
            }

            if (leaf.Range.First.Value < range.First.Value)
                rest.Add(LeafOf(new(leaf.Range.First, new(range.First.Value - 1)), leaf.Attributes));
            if (leaf.Range.Last.Value > range.Last.Value)
                rest.Add(LeafOf(new(range.Last + 1, leaf.Range.Last), leaf.Attributes));
        }

        return rest;
    }

    private static Leaf[] Joined(List<Leaf> leaves)
    {
        leaves.Sort(static (one, other) => one.Range.First.CompareTo(other.Range.First));
        var joined = new List<Leaf>(leaves.Count);
        foreach (Leaf leaf in leaves)
        {
            bool continues = joined.Count != 0
                && unchecked(joined[^1].Range.Last.Value + 1) == leaf.Range.First.Value
                && joined[^1].Attributes == leaf.Attributes;
            if (continues) joined[^1] = LeafOf(new(joined[^1].Range.First, leaf.Range.Last), leaf.Attributes);
            else joined.Add(leaf);
        }

        return [.. joined];
    }
}
