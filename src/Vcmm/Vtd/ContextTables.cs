using Platform;
using Vcmm.Allocation;

namespace Vcmm.Vtd;

/// <summary>The root table and the context tables: which table each device translates through.</summary>
/// <remarks>
/// <para>The tables in memory are the only record. A context table is made for a bus when its first device is attached and
/// stays until the driver stops.</para>
/// <para><b>Threads.</b> Any number at once.</para>
/// <para><b>Source.</b> VT-d specification, "Root Entry" and "Context Entry". Translation type 00b: untranslated requests go
/// through second-stage tables.</para>
/// </remarks>
internal sealed class ContextTables<TMemory>(TMemory memory, IFrameSource frames, PhysAddr root)
    where TMemory : struct, IPhysicalMemory
{
    private const ulong Present = 1;
    private const ulong AddressMask = ~0xFFFUL;
    private const ulong EntryBytes = 16;
    private const int BusCount = 256;

    [LockRank(LockRank.DeviceTables)]
    private readonly object _gate = new();

    public PhysAddr Root { get; } = root;

    /// <summary>Makes the device's entry present.</summary>
    public VcmmError TrySet(StreamId device, ContextEntry entry)
    {
        lock (_gate)
        {
            VcmmError error = TryFindOrAddTable(device, out PhysAddr table);
            if (error != VcmmError.None) return error;
            PhysAddr slot = SlotOf(table, device);
            if ((memory.Read64(slot) & Present) != 0) throw new InvalidOperationException($"{device} is attached already");
            memory.Write64(slot + 8, entry.High);
            memory.Fence();
            memory.Write64(slot, entry.Low | Present);
            memory.Clean(PhysRange.FromLength(slot, EntryBytes));
            memory.Fence();
            return VcmmError.None;
        }
    }

    /// <summary>Makes the device's entry absent; returns what it was. The command that must follow fences.</summary>
    public ContextEntry Clear(StreamId device)
    {
        lock (_gate)
        {
            ulong rootEntry = memory.Read64(RootSlotOf(device));
            PhysAddr slot = SlotOf(new(rootEntry & AddressMask), device);
            ulong low = (rootEntry & Present) != 0 ? memory.Read64(slot) : 0;
            if ((low & Present) == 0) throw new InvalidOperationException($"{device} is not attached");
            var entry = new ContextEntry(low & ~Present, memory.Read64(slot + 8));
            memory.Write64(slot, 0);
            memory.Fence();
            memory.Write64(slot + 8, 0);
            memory.Clean(PhysRange.FromLength(slot, EntryBytes));
            return entry;
        }
    }

    public void Free()
    {
        for (ulong bus = 0; bus < BusCount; bus++)
        {
            ulong entry = memory.Read64(Root + bus * EntryBytes);
            if ((entry & Present) != 0) frames.Free(new(entry & AddressMask));
        }

        frames.Free(Root);
    }

    private VcmmError TryFindOrAddTable(StreamId device, out PhysAddr table)
    {
        PhysAddr slot = RootSlotOf(device);
        ulong entry = memory.Read64(slot);
        if ((entry & Present) != 0)
        {
            table = new(entry & AddressMask);
            return VcmmError.None;
        }

        VcmmError error = frames.TryAllocate(FrameAllocator.FrameBytes, out table);
        if (error != VcmmError.None) return error;
        memory.ZeroFrame(table);
        memory.Write64(slot, table.Value | Present);
        memory.Clean(PhysRange.FromLength(slot, EntryBytes));
        return VcmmError.None;
    }

    private PhysAddr RootSlotOf(StreamId device) => Root + (device.Value >> 8) * EntryBytes;

    private static PhysAddr SlotOf(PhysAddr table, StreamId device) => table + (device.Value & 0xFF) * EntryBytes;
}

/// <summary>A context entry without its Present bit.</summary>
internal readonly record struct ContextEntry(ulong Low, ulong High)
{
    /// <param name="table">The root of a second-stage table.</param>
    /// <param name="domain">The tag of its cached translations.</param>
    /// <param name="levelCount">3 or 4: address widths 001b and 010b.</param>
    public static ContextEntry SecondStage(PhysAddr table, DomainId domain, int levelCount) =>
        new(table.Value, (ulong)domain.Value << 8 | (uint)(levelCount - 2));
}

internal static class FrameExtensions
{
    private static readonly byte[] Zeros = new byte[FrameAllocator.FrameBytes];

    /// <summary>Zeroes a frame, and makes that visible to walkers, before it becomes a table.</summary>
    public static void ZeroFrame<TMemory>(this TMemory memory, PhysAddr frame)
        where TMemory : struct, IPhysicalMemory
    {
        memory.Write(frame, Zeros);
        memory.Clean(PhysRange.FromLength(frame, FrameAllocator.FrameBytes));
        memory.Fence();
    }
}
