using Platform;

namespace Vcmm.Tables;

/// <summary>
/// What calls on tables have changed and hardware may still remember: the device addresses to invalidate, the tables that are
/// freed afterwards, the leaves that are absent until then.
/// </summary>
/// <remarks>
/// One gather may serve several calls and several tables that are walked for the same addresses. It allocates only while it
/// grows. <b>Threads.</b> One at a time.
/// </remarks>
public sealed class InvalidationGather
{
    /// <summary>The most ranges that are kept.</summary>
    public const int MaxRangeCount = 8;

    /// <summary>Where the last unmap was.</summary>
    internal TableHint Hint;

    private readonly List<Change> _changes = [];

    /// <summary>Ascending, apart from each other by a byte at least; one more than are kept.</summary>
    private readonly IovaRange[] _ranges = new IovaRange[MaxRangeCount + 1];

    private int _rangeCount;

    /// <summary>
    /// What to invalidate: every address whose entry changed, and possibly more. Ascending; no two touch; at most
    /// <see cref="MaxRangeCount"/>.
    /// </summary>
    public ReadOnlySpan<IovaRange> Ranges => new(_ranges, 0, _rangeCount);

    /// <summary>
    /// Whether tables were unlinked. If so the invalidation must reach the walk caches; if not, leaves alone have changed
    /// and a leaf-only invalidation is enough.
    /// </summary>
    public bool HasTables { get; private set; }

    /// <summary>
    /// Whether entries are absent that should not stay so: broken before they are made anew. Invalidate, and
    /// <see cref="IPageTable.Release"/>, before anything else is done to their addresses.
    /// </summary>
    public bool HasBroken { get; private set; }

    /// <summary>Whether cached pointers to tables may stay.</summary>
    public bool LeavesOnly => !HasTables;

    internal List<Change> Changes => _changes;

    /// <summary>Adds addresses to invalidate. What touches or overlaps becomes one; when there are too many, the two closest do: of those the lowest.</summary>
    public void Add(IovaRange range)
    {
        if (_rangeCount == 0)
        {
            _ranges[0] = range;
            _rangeCount = 1;
        }
        else
        {
            // Engines go upwards: most often the new one continues the last.
            ref IovaRange top = ref _ranges[unchecked(_rangeCount - 1)];
            if (top.Last.Value != ulong.MaxValue && range.First.Value == unchecked(top.Last.Value + 1)) top = new(top.First, range.Last);
            else Insert(range);
        }
    }

    /// <summary>Forgets everything.</summary>
    public void Clear()
    {
        if (_changes.Count != 0) _changes.Clear();
        _rangeCount = 0;
        HasTables = false;
        HasBroken = false;
    }

    internal void Add(in Change change)
    {
        _changes.Add(change);
        if (change.Kind != ChangeKind.BrokenSplit) HasTables = true;
        if (change.Kind is ChangeKind.BrokenSplit or ChangeKind.BrokenMerge) HasBroken = true;
    }

    private void Insert(IovaRange range)
    {
        int at = 0;
        while (at < _rangeCount && !Reaches(_ranges[at], range.First)) at++;
        int end = at;
        while (end < _rangeCount && Reaches(range, _ranges[end].First)) end++;
        if (end != at)
        {
            // [at, end) touch the new one.
            range = new(
                new(Math.Min(_ranges[at].First.Value, range.First.Value)),
                new(Math.Max(_ranges[end - 1].Last.Value, range.Last.Value)));
            Replace(at, end - at, range);
            return;
        }

        Replace(at, 0, range);
        if (_rangeCount > MaxRangeCount) JoinClosest();
    }

    /// <summary>Whether <paramref name="range"/> ends at or behind the address before <paramref name="next"/>.</summary>
    private static bool Reaches(IovaRange range, Iova next) => next.Value == 0 || range.Last.Value >= unchecked(next.Value - 1);

    private void Replace(int at, int count, IovaRange range)
    {
        Array.Copy(_ranges, at + count, _ranges, at + 1, _rangeCount - at - count);
        _ranges[at] = range;
        _rangeCount += 1 - count;
    }

    private void JoinClosest()
    {
        int closest = 0;
        for (int i = 1; i < _rangeCount - 1; i++)
        {
            if (Gap(i) < Gap(closest)) closest = i;
        }

        Replace(closest, 2, new(_ranges[closest].First, _ranges[closest + 1].Last));
    }

    private ulong Gap(int index) => _ranges[index + 1].First.Value - _ranges[index].Last.Value;

    /// <summary>How an entry was changed that release or relink has yet to deal with.</summary>
    internal enum ChangeKind
    {
        /// <summary>A pointer to a table was cleared.</summary>
        Unlinked,

        /// <summary>A leaf took the place of a pointer to a table.</summary>
        Merged,

        /// <summary>A pointer to a table was cleared, and a leaf is to take its place.</summary>
        BrokenMerge,

        /// <summary>A leaf was cleared, and a pointer to a table is to take its place.</summary>
        BrokenSplit,
    }

    /// <param name="Owner">The table that it is part of.</param>
    /// <param name="Kind">How it was changed.</param>
    /// <param name="Slot">Where the entry stands.</param>
    /// <param name="Level">The level of the entry.</param>
    /// <param name="Old">The entry before the change.</param>
    /// <param name="New">The entry that takes its place; 0 if none does.</param>
    internal readonly record struct Change(IPageTable Owner, ChangeKind Kind, PhysAddr Slot, int Level, ulong Old, ulong New);
}
