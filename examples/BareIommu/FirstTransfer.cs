using System.Text;
using IommuSim;
using Platform;
using static BareIommu.Registers;

namespace BareIommu;

/// <summary>Five minutes: from nothing to a translated transfer, a fault record, and an invalidation that was waited for.</summary>
internal static class FirstTransfer
{
    public static void Run(TextWriter output)
    {
        // 4 MiB of memory at 0, a VT-d, and the network card 00:04.0 behind it.
        using var ram = new RamBlock(PhysRange.FromLength(new PhysAddr(0), 4 << 20));
        Ram memory = ram.Port;
        var unit = new VtdIommu<Ram, NoSteps>(memory, VtdOptions.Default);
        StreamId id = StreamId.Pci(bus: 0, device: 4, function: 0);
        var card = new BusMaster<Ram, NoSteps>(unit, memory, id);

        // Root entry of bus 0, context entry of 04.0 (second-stage table of 4 levels, domain 7), four tables, and one page
        // at iova 0x5000.
        const ulong Root = 0x1000, Contexts = 0x2000, Level4 = 0x3000, Level3 = 0x4000, Level2 = 0x5000, Level1 = 0x6000;
        const ulong Present = 1, ReadWrite = 3, FourLevels = 2, Domain = 7, Frame = 0x10_0000;
        memory.Write64(new(Root), Contexts | Present);
        memory.Write64(new(Contexts + id.Value * 16), Level4 | Present);
        memory.Write64(new(Contexts + id.Value * 16 + 8), FourLevels | Domain << 8);
        memory.Write64(new(Level4), Level3 | ReadWrite);
        memory.Write64(new(Level3), Level2 | ReadWrite);
        memory.Write64(new(Level2), Level1 | ReadWrite);
        memory.Write64(new(Level1 + 5 * 8), Frame | ReadWrite);

        // The invalidation queue: a ring of 256 descriptors of 128 bits. A command is written to memory, then the tail is moved.
        const ulong Queue = 0x7000, Status = 0x8000;
        ulong tail = 0;
        uint waits = 0;
        unit.Write64(IQA, Queue);
        unit.Write32(GCMD, QIE);
        void Submit(ulong low, ulong high)
        {
            memory.Write64(new(Queue + tail), low);
            memory.Write64(new(Queue + tail + 8), high);
            tail = (tail + 16) % 4096;
            unit.Write64(IQT, tail);
        }

        // A wait descriptor (type 5, status write) completes when the commands before it have, and every access that used what they took.
        bool Wait()
        {
            Submit(0x5 | 1 << 5 | (ulong)++waits << 32, Status);
            return memory.Read32(new(Status)) == waits;
        }

        // The root table, then the context cache and the IOTLB globally, then translation: the order that the specification asks for.
        unit.Write64(RTADDR, Root);
        unit.Write32(GCMD, QIE | SRTP);
        Submit(0x1 | 1 << 4, 0);
        Submit(0x2 | 1 << 4 | 1 << 6 | 1 << 7, 0);
        Wait();
        unit.Write32(GCMD, QIE | TE);
        output.WriteLine($"translation is {((unit.Read32(GSTS) & TE) != 0 ? "on" : "off")}");

        DmaResult done = card.Write(new Iova(0x5000), "hello"u8);
        Span<byte> bytes = stackalloc byte[5];
        memory.Read(new(Frame), bytes);
        output.WriteLine($"the card writes {done.BytesDone} bytes to iova:0x5000; in pa:0x{Frame:x} is \"{Encoding.ASCII.GetString(bytes)}\"");

        // An interrupt of the unit's is a message. Whoever plays the interrupt controller takes it: FEDATA, FEADDR, and FECTL without its mask.
        unit.Interrupt += message => output.WriteLine($"interrupt 0x{message.Data:x} at {message.Address}");
        unit.Write32(FEDATA, 0x41);
        unit.Write64(FEADDR, 0xFEE0_0000);
        unit.Write32(FECTL, 0);

        // What is not mapped is blocked, and recorded. CAP.FRO says where the fault records are.
        DmaResult blocked = card.Read(new Iova(0x6000), new byte[4]);
        uint records = (uint)(unit.Read64(CAP) >> 24 & 0x3FF) * 16;
        ulong low = unit.Read64(records), high = unit.Read64(records + 8);
        output.WriteLine($"a read of iova:0x6000 is blocked after {blocked.BytesDone} bytes, for the reason {blocked.Reason}");
        output.WriteLine($"fault status 0x{unit.Read32(FSTS):x}; record: reason 0x{high >> 32 & 0xFF:x}, {((high >> 62 & 1) != 0 ? "read" : "write")} by {new StreamId((uint)(high & 0xFFFF))} at iova:0x{low:x}");
        unit.Write64(records + 8, 1UL << 63);
        output.WriteLine($"the record is cleared: fault status 0x{unit.Read32(FSTS):x}");

        // To take the page away, the entry is not enough.
        memory.Write64(new(Level1 + 5 * 8), 0);
        output.WriteLine($"the entry is 0; a write: {Outcome(card.Write(new Iova(0x5000), "stale"u8))}");
        Submit(0x2 | 3 << 4 | 1 << 6 | 1 << 7 | Domain << 16, 0x5000);
        bool isDone = Wait();
        output.WriteLine($"the page is invalidated, the wait is {(isDone ? "over" : "not over")}; a write: {Outcome(card.Write(new Iova(0x5000), "stale"u8))}");
    }

    private static string Outcome(DmaResult result) => result.Ok ? "goes through" : $"blocked, for the reason {result.Reason}";
}
