using Platform;
using Vcmm.Allocation;
using Vcmm.Tables;

namespace Vcmm.Vtd;

/// <summary>Legacy mode: a root table and context tables, whose entries point at second-stage tables.</summary>
/// <remarks>
/// <para>The tables in memory are the only record. A context table is made for a bus when its first device is attached and
/// stays until the driver stops.</para>
/// <para><b>Source.</b> VT-d specification, "Root Entry" and "Context Entry". Translation type 00b: untranslated requests go
/// through second-stage tables; 01b: translation requests do too, and translated requests are let through;
/// 10b: untranslated requests go where they say. The address width is then the largest that the hardware has.</para>
/// </remarks>
internal sealed class ContextTables<TMemory>(TMemory memory, IFrameSource frames, PhysAddr root, int mostLevels) : IDeviceTables
    where TMemory : struct, IPhysicalMemory
{
    private const ulong EntryBytes = 16;
    private const int EntryWords = 2;
    private const int BusCount = 256;
    private const int DomainShift = 8;
    private const ulong DeviceTlbType = 1UL << 2;
    private const ulong PassThroughType = 2UL << 2;

    [LockRank(LockRank.DeviceTables)]
    private readonly object _gate = new();

    /// <summary>The translation table mode is 00b.</summary>
    public ulong RootPointer => root.Value;

    /// <inheritdoc/>
    public bool IsAttached(StreamId device)
    {
        lock (_gate) return memory.IsPresent(RootSlotOf(device)) && memory.IsPresent(EntryOf(device));
    }

    /// <inheritdoc/>
    public VcmmError TryAttach(in Attachment attachment, IPageTable? table, out bool contextChanged)
    {
        contextChanged = true;
        lock (_gate)
        {
            VcmmError error = TryFindOrAddTable(attachment.Device, out PhysAddr contexts);
            if (error != VcmmError.None) return error;
            PhysAddr entry = EntryOf(contexts, attachment.Device);
            if (memory.IsPresent(entry)) throw new InvalidOperationException($"{attachment.Device} is attached already");
            // Address widths 001b, 010b and 011b are 3, 4 and 5 levels.
            ulong type = table is null ? PassThroughType : attachment.Ats is null ? 0 : DeviceTlbType;
            int levelCount = table?.Format.LevelCount ?? mostLevels;
            memory.Publish(entry, [(table?.Root.Value ?? 0) | type, (ulong)attachment.Domain.Value << DomainShift | (uint)(levelCount - 2)]);
            return VcmmError.None;
        }
    }

    /// <inheritdoc/>
    public bool Detach(in Attachment attachment)
    {
        lock (_gate)
        {
            PhysAddr slot = RootSlotOf(attachment.Device);
            PhysAddr entry = EntryOf(new(memory.Read64(slot) & EntryExtensions.AddressMask), attachment.Device);
            if (!memory.IsPresent(slot) || !memory.IsPresent(entry) || memory.Read64(entry + 8) >> DomainShift != attachment.Domain.Value)
                throw new InvalidOperationException($"{attachment.Device} is not attached under {attachment.Domain}");
            memory.Withdraw(entry);
            return true;
        }
    }

    /// <inheritdoc/>
    public void Forget(in Attachment attachment, bool contextChanged)
    {
        lock (_gate) memory.Erase(EntryOf(attachment.Device), EntryWords);
    }

    /// <inheritdoc/>
    public void Restore(in Attachment attachment, bool contextChanged)
    {
        lock (_gate) memory.Restore(EntryOf(attachment.Device));
    }

    /// <inheritdoc/>
    public void Free()
    {
        for (ulong bus = 0; bus < BusCount; bus++)
        {
            ulong entry = memory.Read64(root + bus * EntryBytes);
            if ((entry & EntryExtensions.Present) != 0) frames.Free(new(entry & EntryExtensions.AddressMask));
        }

        frames.Free(root);
    }

    private VcmmError TryFindOrAddTable(StreamId device, out PhysAddr table)
    {
        PhysAddr slot = RootSlotOf(device);
        ulong entry = memory.Read64(slot);
        table = new(entry & EntryExtensions.AddressMask);
        if ((entry & EntryExtensions.Present) != 0) return VcmmError.None;
        VcmmError error = frames.TryAllocate(FrameAllocator.FrameBytes, out table);
        if (error != VcmmError.None) return error;
        memory.ZeroFrames(table);
        memory.Link(slot, table);
        return VcmmError.None;
    }

    private PhysAddr RootSlotOf(StreamId device) => root + (device.Value >> 8) * EntryBytes;

    private PhysAddr EntryOf(StreamId device) => EntryOf(new(memory.Read64(RootSlotOf(device)) & EntryExtensions.AddressMask), device);

    private static PhysAddr EntryOf(PhysAddr table, StreamId device) => table + (device.Value & 0xFF) * EntryBytes;
}
