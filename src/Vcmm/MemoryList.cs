using Platform;

namespace Vcmm;

/// <summary>Physical allocations, the latest first.</summary>
/// <remarks>
/// <b>Threads.</b> <see cref="FindMappings"/> takes no lock; the rest is under the manager's. Who looks meets what was in the list all the while: what
/// is removed still leads on to what came after it, and is never put back.
/// </remarks>
internal sealed class MemoryList
{
    private Entry? _first;

    public bool IsEmpty => _first is null;

    /// <summary>Adds an allocation, unless it was the last that was added.</summary>
    public void Add(PhysicalAllocation memory)
    {
        if (_first?.Memory != memory) Volatile.Write(ref _first, new(memory, _first));
    }

    public void Remove(PhysicalAllocation memory)
    {
        ref Entry? link = ref _first;
        while (link is { } entry && entry.Memory != memory) link = ref entry.Next;
        if (link is not null) Volatile.Write(ref link, link.Next);
    }

    /// <summary>Where a physical address is mapped, by each of the allocations at an instant of the call.</summary>
    public void FindMappings(PhysAddr address, List<Mapping> mappings)
    {
        for (Entry? entry = Volatile.Read(ref _first); entry is not null; entry = Volatile.Read(ref entry.Next)) entry.Memory.FindMappings(address, mappings);
    }

    private sealed class Entry(PhysicalAllocation memory, Entry? next)
    {
        public readonly PhysicalAllocation Memory = memory;

        public Entry? Next = next;
    }
}
