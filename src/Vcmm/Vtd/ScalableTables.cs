using System.Numerics;
using Platform;
using Vcmm.Allocation;
using Vcmm.Tables;

namespace Vcmm.Vtd;

/// <summary>
/// Scalable mode: a root table, context tables of half a bus each, and for each device a directory of tables of PASID entries,
/// which point at first-stage or second-stage tables.
/// </summary>
/// <remarks>
/// <para><b>Frames.</b> A device's directory and PASID tables are made as its address spaces are attached; all of them are
/// freed, and its context entry goes, with its last address space. A context table stays until the driver stops.</para>
/// <para>The tables in memory are the record; how many address spaces a device has is counted beside them.</para>
/// <para><b>Source.</b> VT-d specification, "Scalable-Mode Root Entry" and the entries that follow it there.</para>
/// </remarks>
internal sealed class ScalableTables<TMemory> : IDeviceTables
    where TMemory : struct, IPhysicalMemory
{
    private const ulong RootEntryBytes = 8;
    private const int RootEntryCount = 512;
    private const ulong ContextBytes = 32;
    private const ulong DirectoryEntryBytes = 8;
    private const ulong PasidEntryBytes = 64;
    private const int PasidsInTable = 1 << PasidEntry.PasidsInTableLog2;

    [LockRank(LockRank.DeviceTables)]
    private readonly object _gate = new();
    private readonly TMemory _memory;
    private readonly IFrameSource _frames;
    private readonly PhysAddr _root;
    private readonly VtdCapabilities _capabilities;
    private readonly bool _tracksUse;
    private readonly bool _takesPasids;
    private readonly int _directoryLog2;
    private readonly Dictionary<StreamId, DeviceState> _devices = [];

    /// <param name="memory">Where the tables are.</param>
    /// <param name="frames">Where their frames come from.</param>
    /// <param name="root">The root table's frame, all zero.</param>
    /// <param name="capabilities">What the hardware can do.</param>
    /// <param name="pasidCount">How many PASIDs a directory has room for; 0 where requests with a PASID are blocked.</param>
    /// <param name="tracksUse">Whether hardware keeps Accessed and Dirty in second-stage tables.</param>
    public ScalableTables(TMemory memory, IFrameSource frames, PhysAddr root, VtdCapabilities capabilities, uint pasidCount, bool tracksUse)
    {
        _memory = memory;
        _frames = frames;
        _root = root;
        _capabilities = capabilities;
        _tracksUse = tracksUse;
        _takesPasids = pasidCount != 0;
        int entriesLog2 = BitOperations.Log2(BitOperations.RoundUpToPowerOf2(pasidCount)) - PasidEntry.PasidsInTableLog2;
        _directoryLog2 = Math.Max(entriesLog2, PasidEntry.SmallestDirectoryLog2);
    }

    /// <inheritdoc/>
    public ulong RootPointer => _root.Value | VtdRegisters.ScalableTranslation;

    private ulong DirectoryBytes => Math.Max(DirectoryEntryBytes << _directoryLog2, FrameAllocator.FrameBytes);

    /// <inheritdoc/>
    public bool IsAttached(StreamId device)
    {
        lock (_gate) return _devices.ContainsKey(device);
    }

    /// <inheritdoc/>
    public VcmmError TryAttach(in Attachment attachment, IPageTable? table, out bool contextChanged)
    {
        lock (_gate)
        {
            bool isKnown = _devices.TryGetValue(attachment.Device, out DeviceState device);
            contextChanged = !isKnown;
            if (isKnown && TryFindEntry(device.Directory, attachment.Pasid, out PhysAddr found) && _memory.IsPresent(found))
                throw new InvalidOperationException($"{attachment.Device} is attached already with PASID {attachment.Pasid}");

            // What is missing is made from below, and linked when what it leads to can be seen.
            VcmmError error = TryMakeMissing(attachment, isKnown, ref device, out PhysAddr? newPasids, out PhysAddr? newContexts);
            if (error != VcmmError.None) return error;
            PhysAddr directorySlot = DirectorySlot(device.Directory, attachment.Pasid);
            PhysAddr pasids = newPasids ?? TableAt(directorySlot);
            Span<ulong> words = new ulong[PasidEntry.WordCount];
            PasidEntry.Write(_capabilities, attachment, table, _tracksUse, words);
            _memory.Publish(EntryIn(pasids, attachment.Pasid), words);
            if (newPasids is { } linkedPasids)
            {
                device.PasidTables.Add(linkedPasids);
                _memory.Link(directorySlot, linkedPasids);
            }

            if (!isKnown)
            {
                PhysAddr contexts = newContexts ?? TableAt(RootSlot(attachment.Device));
                Span<ulong> context = words[..PasidEntry.ContextWordCount];
                PasidEntry.WriteContext(device.Directory.Value, _directoryLog2, _takesPasids, attachment.Ats, context);
                _memory.Publish(ContextIn(contexts, attachment.Device), context);
                if (newContexts is { } linkedContexts) _memory.Link(RootSlot(attachment.Device), linkedContexts);
            }

            _devices[attachment.Device] = device with { SpaceCount = device.SpaceCount + 1 };
            return VcmmError.None;
        }
    }

    /// <inheritdoc/>
    public bool Detach(in Attachment attachment)
    {
        lock (_gate)
        {
            if (!_devices.TryGetValue(attachment.Device, out DeviceState device)
                || !TryFindEntry(device.Directory, attachment.Pasid, out PhysAddr entry)
                || !_memory.IsPresent(entry)
                || (_memory.Read64(entry + 8) & 0xFFFF) != attachment.Domain.Value)
            {
                throw new InvalidOperationException($"{attachment.Device} is not attached with PASID {attachment.Pasid} under {attachment.Domain}");
            }

            _memory.Withdraw(entry);
            bool isLast = device.SpaceCount == 1;
            if (isLast) _memory.Withdraw(ContextOf(attachment.Device));
            return isLast;
        }
    }

    /// <inheritdoc/>
    public void Forget(in Attachment attachment, bool contextChanged)
    {
        lock (_gate)
        {
            DeviceState device = _devices[attachment.Device];
            if (!contextChanged)
            {
                TryFindEntry(device.Directory, attachment.Pasid, out PhysAddr entry);
                _memory.Erase(entry, PasidEntry.WordCount);
                _devices[attachment.Device] = device with { SpaceCount = device.SpaceCount - 1 };
                return;
            }

            _memory.Erase(ContextOf(attachment.Device), PasidEntry.ContextWordCount);
            _devices.Remove(attachment.Device);
            FreeTables(device);
        }
    }

    /// <inheritdoc/>
    public void Restore(in Attachment attachment, bool contextChanged)
    {
        lock (_gate)
        {
            TryFindEntry(_devices[attachment.Device].Directory, attachment.Pasid, out PhysAddr entry);
            _memory.Restore(entry);
            if (contextChanged) _memory.Restore(ContextOf(attachment.Device));
        }
    }

    /// <inheritdoc/>
    public void Free()
    {
        foreach (DeviceState device in _devices.Values) FreeTables(device);
        for (ulong i = 0; i < RootEntryCount; i++)
        {
            PhysAddr slot = _root + i * RootEntryBytes;
            if (_memory.IsPresent(slot)) _frames.Free(TableAt(slot));
        }

        _frames.Free(_root);
    }

    /// <summary>Takes and zeroes the tables that the way to the entry lacks, all of them or none.</summary>
    private VcmmError TryMakeMissing(
        in Attachment attachment, bool isKnown, ref DeviceState device, out PhysAddr? newPasids, out PhysAddr? newContexts)
    {
        newPasids = newContexts = null;
        PhysAddr? newDirectory = null;
        VcmmError error = VcmmError.None;
        if (!isKnown) error = TryMake(DirectoryBytes, out newDirectory);
        if (error == VcmmError.None && (!isKnown || !_memory.IsPresent(DirectorySlot(device.Directory, attachment.Pasid))))
            error = TryMake(FrameAllocator.FrameBytes, out newPasids);
        if (error == VcmmError.None && !_memory.IsPresent(RootSlot(attachment.Device)))
            error = TryMake(FrameAllocator.FrameBytes, out newContexts);
        if (error == VcmmError.None)
        {
            if (newDirectory is { } directory) device = new(directory, [], 0);
            return VcmmError.None;
        }

        if (newPasids is { } pasids) _frames.Free(pasids);
        if (newDirectory is { } unused) _frames.Free(unused);
        return error;
    }

    private VcmmError TryMake(ulong byteCount, out PhysAddr? table)
    {
        VcmmError error = _frames.TryAllocate(byteCount, out PhysAddr first);
        table = error == VcmmError.None ? first : null;
        if (error == VcmmError.None) _memory.ZeroFrames(first, byteCount);
        return error;
    }

    private void FreeTables(in DeviceState device)
    {
        foreach (PhysAddr pasids in device.PasidTables) _frames.Free(pasids);
        _frames.Free(device.Directory);
    }

    private bool TryFindEntry(PhysAddr directory, uint pasid, out PhysAddr entry)
    {
        PhysAddr slot = DirectorySlot(directory, pasid);
        entry = EntryIn(TableAt(slot), pasid);
        return _memory.IsPresent(slot);
    }

    private PhysAddr TableAt(PhysAddr slot) => new(_memory.Read64(slot) & EntryExtensions.AddressMask);

    private PhysAddr ContextOf(StreamId device) => ContextIn(TableAt(RootSlot(device)), device);

    /// <summary>Two entries a bus: devices 0 … 15 and 16 … 31.</summary>
    private PhysAddr RootSlot(StreamId device) => _root + (device.Value >> 7) * RootEntryBytes;

    private static PhysAddr ContextIn(PhysAddr contexts, StreamId device) => contexts + (device.Value & 0x7F) * ContextBytes;

    private static PhysAddr DirectorySlot(PhysAddr directory, uint pasid) =>
        directory + (pasid >> PasidEntry.PasidsInTableLog2) * DirectoryEntryBytes;

    private static PhysAddr EntryIn(PhysAddr pasids, uint pasid) => pasids + (pasid & (PasidsInTable - 1)) * PasidEntryBytes;

    // The tables are noted, though the directory leads to them: it has up to 2^14 entries, to be read whenever a device leaves.
    private readonly record struct DeviceState(PhysAddr Directory, List<PhysAddr> PasidTables, int SpaceCount);
}
