using System.Runtime.InteropServices;
using Platform;
using Vcmm.Tables;

namespace Vcmm.Dma;

/// <summary>
/// What an unmap under way has taken out of a table, until the hardware is known to have forgotten it: if it does not, this
/// is what is put back.
/// </summary>
/// <remarks><b>Threads.</b> One at a time.</remarks>
internal sealed class MappedRuns
{
    private readonly List<Run> _runs = [];

    public void Clear() => _runs.Clear();

    /// <summary>Adds what a range is mapped to, read from the table.</summary>
    /// <returns>
    /// <see cref="VcmmError.NotFound"/> if part of it is not mapped, <see cref="VcmmError.Invalid"/> if an end of it lies inside
    /// a leaf; then nothing was added.
    /// </returns>
    public VcmmError TryAdd(IPageTable table, IovaRange range)
    {
        int before = _runs.Count;
        ulong address = range.First.Value;
        while (true)
        {
            VcmmError error = VcmmError.None;
            if (!table.TryWalk(new(address), out Translation leaf)) error = VcmmError.NotFound;
            else if ((address & (leaf.LeafBytes - 1)) != 0 || leaf.LeafBytes - 1 > range.Last.Value - address) error = VcmmError.Invalid;
            if (error != VcmmError.None)
            {
                _runs.RemoveRange(before, _runs.Count - before);
                return error;
            }

            Append(before, address, leaf);
            ulong last = address + (leaf.LeafBytes - 1);
            if (last == range.Last.Value) return VcmmError.None;
            address = last + 1;
        }
    }

    /// <summary>Maps everything again. The tables that it was in are linked, so that no page is needed.</summary>
    public void MapAgain(IPageTable table, TablePagePool pages)
    {
        foreach (Run run in _runs) table.Map(run.First, [PhysRange.FromLength(run.Memory, run.ByteCount)], run.Attributes, pages);
    }

    /// <summary>Gives everything its attributes again.</summary>
    public void ProtectAgain(IPageTable table, InvalidationGather gather)
    {
        foreach (Run run in _runs) table.Protect(IovaRange.FromLength(run.First, run.ByteCount), run.Attributes, gather);
    }

    /// <summary>Whether the attributes take nothing away anywhere, and grant more somewhere.</summary>
    public bool AreWidenedBy(MappingAttributes attributes)
    {
        bool isWider = false;
        foreach (Run run in _runs)
        {
            if (!attributes.Grant(run.Attributes)) return false;
            isWider |= !run.Attributes.Grant(attributes);
        }

        return isWider;
    }

    private void Append(int notBefore, ulong address, Translation leaf)
    {
        Span<Run> runs = CollectionsMarshal.AsSpan(_runs)[notBefore..];
        if (!runs.IsEmpty && runs[^1].IsContinuedBy(leaf)) runs[^1] = runs[^1] with { ByteCount = runs[^1].ByteCount + leaf.LeafBytes };
        else _runs.Add(new(new(address), leaf.Address, leaf.LeafBytes, leaf.Attributes));
    }

    private readonly record struct Run(Iova First, PhysAddr Memory, ulong ByteCount, MappingAttributes Attributes)
    {
        public bool IsContinuedBy(Translation leaf) => unchecked(Memory.Value + ByteCount) == leaf.Address.Value && Attributes == leaf.Attributes;
    }
}
