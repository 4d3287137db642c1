using System.Buffers.Binary;
using Harness.Foreign;
using Platform;

namespace Conformance.Vtd;

/// <summary>
/// What a conformance case is written with: it stores entries and descriptors as plain numbers, makes devices access memory,
/// and says what must be seen. Each number here is typed from the Intel VT-d specification; nothing comes from the library.
/// </summary>
internal sealed class VtdBench
{
    // Where the tables of a case lie, one frame each.
    public const ulong Root = 0x100_0000, ContextTable = 0x100_1000;
    public const ulong Level4 = 0x100_2000, Level3 = 0x100_3000, Level2 = 0x100_4000, Level1 = 0x100_5000;
    public const ulong SpareLevel1 = 0x100_6000, SpareLevel4 = 0x100_7000, SpareContextTable = 0x100_8000, SpareRoot = 0x100_9000;
    public const ulong QueueBase = 0x101_0000, StatusWord = 0x101_1000;

    /// <summary>Frames of data. Each 64-bit word of a frame holds the frame's address until a device writes there.</summary>
    public const ulong Old = 0x120_0000, New = 0x120_1000, Third = 0x120_2000;

    /// <summary>2 MiB of memory on a 2 MiB boundary, and two frames of data in it.</summary>
    public const ulong LargeFirst = 0x140_0000, LargePart = 0x140_0000, LargeOtherPart = 0x155_5000;

    /// <summary>No memory is there.</summary>
    public const ulong Nowhere = 0x2_0000_0000;

    public const ulong Present = 1;
    public const ulong R = 1, W = 2, Rw = 3;
    public const ulong PageSize = 1UL << 7;

    /// <summary>The address that <see cref="Build"/> maps to <see cref="Old"/>, read and write.</summary>
    public const ulong Page = 0x1000;

    private static readonly ulong[] Frames = [Old, New, Third, LargePart, LargeOtherPart];

    private readonly IVtdMachine _machine;
    private uint _descriptorBytes = 16;
    private uint _status;

    public VtdBench(IVtdMachine machine)
    {
        _machine = machine;
        foreach (ulong frame in Frames) Fill(frame);
    }

    /// <summary>What a device writes. A machine's devices are made so that they can write it in one access.</summary>
    public static ReadOnlySpan<byte> Payload => "a device's words."u8[..16];

    public IMmio Registers => _machine.Registers;

    public IPhysicalMemory Memory => _machine.Memory;

    /// <summary>Where the next descriptor goes, in bytes from the start of the queue.</summary>
    public uint Tail { get; private set; }

    public uint Requester(int device = 0) => _machine.Devices[device].Id.Value;

    // --- what software does -------------------------------------------------------------------------------------

    public void Set(ulong address, ulong value) => Memory.Write64(new(address), value);

    public void Set(ulong address, ulong low, ulong high)
    {
        Set(address, low);
        Set(address + 8, high);
    }

    /// <summary>The bits that are set in an entry of 128 bits, each alone.</summary>
    public static IEnumerable<(ulong Low, ulong High)> EachBit(ulong low, ulong high)
    {
        for (int bit = 0; bit < 64; bit++)
        {
            if ((low >> bit & 1) == 1) yield return (1UL << bit, 0);
            if ((high >> bit & 1) == 1) yield return (0, 1UL << bit);
        }
    }

    /// <summary>The address of the first-level entry of a page below 2 MiB.</summary>
    public static ulong Leaf(ulong iova) => Level1 + (iova >> 12) * 8;

    /// <summary>Root Entry: one for each bus, 16 bytes.</summary>
    public ulong RootEntry(int device = 0) => Root + (Requester(device) >> 8) * 16;

    /// <summary>Context Entry: one for each device and function of a bus, 16 bytes.</summary>
    public ulong ContextEntry(int device = 0) => ContextTable + (Requester(device) & 0xFF) * 16;

    /// <summary>
    /// Device 0 in domain 1 with a table of four levels in which <see cref="Page"/> means <see cref="Old"/>.
    /// </summary>
    public void Build()
    {
        Set(RootEntry(), ContextTable | Present, 0);
        Set(ContextEntry(), Level4 | Present, Domain(1) | FourLevels);
        Set(Level4, Level3 | Rw);
        Set(Level3, Level2 | Rw);
        Set(Level2, Level1 | Rw);
        Set(Leaf(Page), Old | Rw);
    }

    /// <summary>Context Entry, bits 71:64: domain identifier.</summary>
    public static ulong Domain(ulong id) => id << 8;

    /// <summary>Context Entry, bits 66:64: address width.</summary>
    public const ulong ThreeLevels = 1, FourLevels = 2;

    /// <summary>Sets the root table and the queue, turns queued invalidation and then translation on.</summary>
    public void Enable(ulong root = Root)
    {
        SetRoot(root);
        Registers.Write64(VtdRegister.IQT, 0);
        Registers.Write64(VtdRegister.IQA, QueueBase);
        Command(26);
        Command(31);
    }

    /// <summary>Sets the root table and turns translation on; caches are invalidated through registers.</summary>
    public void EnableWithoutQueue()
    {
        SetRoot(Root);
        Command(31);
    }

    public void SetRoot(ulong root)
    {
        Registers.Write64(VtdRegister.RTADDR, root);
        Command(30);
    }

    /// <summary>Sets one bit of the global command and holds the status to say so at once.</summary>
    public void Command(int bit)
    {
        // Global Command Register: what is on is written again, but for the one-shot bits 30, 29, 27 and 24.
        const uint lasting = 0x96FF_FFFF;
        Registers.Write32(VtdRegister.GCMD, Registers.Read32(VtdRegister.GSTS) & lasting | 1u << bit);
        Assert.True((Registers.Read32(VtdRegister.GSTS) >> bit & 1) == 1, $"GSTS bit {bit} is not set after the command");
    }

    /// <summary>Makes descriptors 256 bits wide, the upper half zero; the queue must say so.</summary>
    public void WidenDescriptors() => _descriptorBytes = 32;

    /// <summary>The queue is off, and begins anew when it is turned on.</summary>
    public void Restart() => Tail = 0;

    /// <summary>Puts one descriptor into the queue of 4096 bytes without telling.</summary>
    public void Put(ulong low, ulong high = 0)
    {
        Set(QueueBase + Tail, low, high);
        if (_descriptorBytes == 32) Set(QueueBase + Tail + 16, 0, 0);
        Tail = (Tail + _descriptorBytes) % 4096;
    }

    public void Ring() => Registers.Write64(VtdRegister.IQT, Tail);

    /// <summary>Queues a wait descriptor that writes a status, and holds it to be written.</summary>
    public void Sync()
    {
        _status++;
        Put(Descriptor.Wait | Descriptor.StatusWrite | (ulong)_status << 32, StatusWord);
        Ring();
        Assert.True(Memory.Read32(new(StatusWord)) == _status, $"the wait did not complete; FSTS is 0x{Registers.Read32(VtdRegister.FSTS):x}");
    }

    /// <summary>Context Command Register: bit 63 starts the invalidation and is clear when it is done.</summary>
    /// <returns>Bits 60:59: what was invalidated.</returns>
    public ulong CommandContexts(ulong command)
    {
        Registers.Write64(VtdRegister.CCMD, 1UL << 63 | command);
        ulong done = Registers.Read64(VtdRegister.CCMD);
        Assert.True(done >> 63 == 0, "the context invalidation did not end");
        return done >> 59 & 3;
    }

    /// <summary>IOTLB Registers: bit 63 starts the invalidation and is clear when it is done.</summary>
    /// <returns>Bits 58:57: what was invalidated.</returns>
    public ulong CommandIotlb(ulong command, ulong address = 0)
    {
        // Extended Capability Register, bits 17:8: where the registers are, in units of 16 bytes.
        uint registers = (uint)(Registers.Read64(VtdRegister.ECAP) >> 8 & 0x3FF) * 16;
        Registers.Write64(registers, address);
        Registers.Write64(registers + 8, 1UL << 63 | command);
        ulong done = Registers.Read64(registers + 8);
        Assert.True(done >> 63 == 0, "the IOTLB invalidation did not end");
        return done >> 57 & 3;
    }

    /// <summary>Queues a descriptor and waits for it.</summary>
    public void Invalidate(ulong low, ulong high = 0)
    {
        Put(low, high);
        Sync();
    }

    // --- what devices see ----------------------------------------------------------------------------------------

    /// <summary>The device reads <paramref name="frame"/> at <paramref name="iova"/>, and no fault is recorded.</summary>
    public void Reads(ulong iova, ulong frame, int device = 0) => ReadsOneOf(iova, [frame], device);

    /// <summary>The device reads one of <paramref name="frames"/>: the specification leaves which one free.</summary>
    public void ReadsOneOf(ulong iova, ReadOnlySpan<ulong> frames, int device = 0)
    {
        Span<byte> word = stackalloc byte[sizeof(ulong)];
        Assert.True(_machine.Devices[device].Read(new(iova), word), $"a read of 0x{iova:x} was refused");
        AssertNoFault($"a read of 0x{iova:x}");
        ulong seen = BinaryPrimitives.ReadUInt64LittleEndian(word);
        Assert.True(frames.Contains(seen), $"a read of 0x{iova:x} saw 0x{seen:x}, not {string.Join(" or ", frames.ToArray().Select(frame => $"0x{frame:x}"))}");
    }

    /// <summary>The device writes to <paramref name="frame"/>, and no fault is recorded.</summary>
    public void Writes(ulong iova, ulong frame, int device = 0)
    {
        Assert.True(_machine.Devices[device].Write(new(iova), Payload), $"a write of 0x{iova:x} was refused");
        AssertNoFault($"a write of 0x{iova:x}");
        AssertWritten(frame + (iova & 0xFFF));
    }

    /// <summary>The read is blocked and recorded.</summary>
    public void ReadFaults(ulong iova, byte reason, int device = 0)
    {
        Assert.False(_machine.Devices[device].Read(new(iova), stackalloc byte[sizeof(ulong)]), $"a read of 0x{iova:x} was not refused");
        AssertFault(new(reason, iova & ~0xFFFUL, Requester(device), IsRead: true));
    }

    /// <summary>The write is blocked and recorded, and memory is as it was.</summary>
    public void WriteFaults(ulong iova, byte reason, int device = 0)
    {
        Assert.False(_machine.Devices[device].Write(new(iova), Payload), $"a write of 0x{iova:x} was not refused");
        AssertWritten(null);
        AssertFault(new(reason, iova & ~0xFFFUL, Requester(device), IsRead: false));
    }

    /// <summary>The write is blocked, but no fault is recorded.</summary>
    public void WriteIsBlockedInSilence(ulong iova, int device = 0)
    {
        Assert.False(_machine.Devices[device].Write(new(iova), Payload), $"a write of 0x{iova:x} was not refused");
        AssertWritten(null);
        AssertNoFault($"a write of 0x{iova:x}");
    }

    /// <summary>The device writes <paramref name="source"/>, whatever comes of it.</summary>
    public void Write(ulong iova, ReadOnlySpan<byte> source, int device = 0) => _machine.Devices[device].Write(new(iova), source);

    /// <summary>The device reads, whatever comes of it.</summary>
    public void Read(ulong iova, Span<byte> destination, int device = 0) => _machine.Devices[device].Read(new(iova), destination);

    // --- fault records ---------------------------------------------------------------------------------------------

    /// <summary>Fault Status Register.</summary>
    public uint FaultStatus => Registers.Read32(VtdRegister.FSTS);

    /// <summary>Capability Register, bits 33:24: where the fault records are, in units of 16 bytes.</summary>
    public uint FaultRecord => (uint)(Registers.Read64(VtdRegister.CAP) >> 24 & 0x3FF) * 16;

    /// <summary>Fault Recording Registers: the first, or null if it holds no fault.</summary>
    public RecordedFault? PendingFault
    {
        get
        {
            ulong high = Registers.Read64(FaultRecord + 8);
            if (high >> 63 == 0) return null;
            ulong low = Registers.Read64(FaultRecord);
            return new((byte)(high >> 32 & 0xFF), low & ~0xFFFUL, (uint)(high & 0xFFFF), (high >> 62 & 1) == 1);
        }
    }

    /// <summary>Fault Recording Registers: F is cleared by writing 1.</summary>
    public void ClearFault() => Registers.Write64(FaultRecord + 8, 1UL << 63);

    /// <summary>The reasons of the faults that were seen as they should be.</summary>
    public HashSet<byte> Reasons { get; } = [];

    public void AssertFault(RecordedFault expected)
    {
        Reasons.Add(expected.Reason);
        Assert.Equal(expected, PendingFault);
        Assert.True((FaultStatus & VtdRegister.PPF) != 0, "a fault is recorded, but FSTS.PPF is clear");
        ClearFault();
        AssertNoFault("clearing the record");
    }

    public void AssertNoFault(string after)
    {
        Assert.True(PendingFault is null, $"{after} left a fault: {PendingFault}");
        Assert.True((FaultStatus & VtdRegister.PPF) == 0, $"{after} left FSTS.PPF set");
    }

    /// <summary>Invalidation Queue Head Register: the descriptor to be taken next, in bytes from the start.</summary>
    public void AssertHead(uint expected) => Assert.Equal(expected, Registers.Read64(VtdRegister.IQH));

    /// <summary>Holds all data to be untouched but for the payload at <paramref name="address"/>, and restores it.</summary>
    public void AssertWritten(ulong? address)
    {
        byte[] found = new byte[4096], expected = new byte[4096];
        foreach (ulong frame in Frames)
        {
            Pattern(frame, expected);
            bool isTarget = address is { } target && (target & ~0xFFFUL) == frame;
            if (isTarget) Payload.CopyTo(expected.AsSpan((int)(address!.Value & 0xFFF)));
            Memory.Read(new(frame), found);
            int difference = found.AsSpan().CommonPrefixLength(expected);
            Assert.True(
                difference == found.Length,
                $"frame 0x{frame:x} {(isTarget ? "was not written as it should be" : "was written")}: see byte 0x{difference:x}");
            if (isTarget) Fill(frame);
        }
    }

    public void Fill(ulong frame)
    {
        byte[] bytes = new byte[4096];
        Pattern(frame, bytes);
        Memory.Write(new(frame), bytes);
    }

    private static void Pattern(ulong frame, Span<byte> destination)
    {
        for (int at = 0; at < destination.Length; at += sizeof(ulong))
        {
            BinaryPrimitives.WriteUInt64LittleEndian(destination[at..], frame);
        }
    }
}

/// <summary>A fault as a fault recording register tells it.</summary>
internal readonly record struct RecordedFault(byte Reason, ulong Address, uint Requester, bool IsRead)
{
    public override string ToString() => $"reason 0x{Reason:x}, {(IsRead ? "read" : "write")} of 0x{Address:x} by 0x{Requester:x}";
}

/// <summary>Register Descriptions: offsets, and bits of the fault status.</summary>
internal static class VtdRegister
{
    public const uint VER = 0x00, CAP = 0x08, ECAP = 0x10, GCMD = 0x18, GSTS = 0x1C, RTADDR = 0x20;
    public const uint CCMD = 0x28, FSTS = 0x34, FECTL = 0x38, IECTL = 0xA0, IQH = 0x80, IQT = 0x88, IQA = 0x90, ICS = 0x9C;
    public const uint PFO = 1, PPF = 2, IQE = 0x10;
}

/// <summary>Queued Invalidation Interface: the low half of descriptors.</summary>
internal static class Descriptor
{
    public const ulong ContextGlobal = 0x11, ContextDomain = 0x21, ContextDevice = 0x31;
    public const ulong IotlbGlobal = 0x12, IotlbDomain = 0x22, IotlbPage = 0x32;
    public const ulong Wait = 0x5, InterruptFlag = 1UL << 4, StatusWrite = 1UL << 5;

    /// <summary>Page-selective: the hint that only a leaf changed.</summary>
    public const ulong LeafOnly = 1UL << 6;

    public static ulong Domain(ulong id) => id << 16;

    public static ulong Source(uint requester, ulong functionMask = 0) => (ulong)requester << 32 | functionMask << 48;
}

/// <summary>Fault conditions and their codes for address translation in legacy mode.</summary>
internal static class Reason
{
    public const byte RootNotPresent = 0x1, ContextNotPresent = 0x2, ContextInvalid = 0x3, AddressBeyondWidth = 0x4;
    public const byte WriteDenied = 0x5, ReadDenied = 0x6, TableUnreachable = 0x7, RootUnreachable = 0x8, ContextUnreachable = 0x9;
    public const byte RootReserved = 0xA, ContextReserved = 0xB, EntryReserved = 0xC, InterruptOutput = 0xE;
}
