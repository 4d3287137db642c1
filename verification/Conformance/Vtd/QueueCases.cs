using static Conformance.Vtd.VtdBench;

namespace Conformance.Vtd;

/// <summary>The invalidation queue: order, wrap-around, completion, errors and the way out of them.</summary>
internal static class QueueCases
{
    private const string Queue = "Queued Invalidation Interface", Wait = "Invalidation Wait Descriptor", Errors = "Invalidation Queue Errors";

    public static IEnumerable<VtdCase> Rows =>
    [
        new("The head follows the tail", Queue, bench =>
        {
            bench.Build();
            bench.Enable();
            bench.AssertHead(0);
            bench.Put(Descriptor.IotlbGlobal);
            bench.AssertHead(0);
            bench.Ring();
            bench.AssertHead(16);
            bench.Put(Descriptor.ContextGlobal);
            bench.Put(Descriptor.IotlbGlobal);
            bench.Ring();
            bench.AssertHead(48);
        }),
        new("The queue goes round", Queue, bench =>
        {
            bench.Build();
            bench.Enable();
            for (int i = 0; i < 255; i++) bench.Put(Descriptor.IotlbDomain | Descriptor.Domain(9));
            bench.Ring();
            bench.AssertHead(255 * 16);
            bench.Reads(Page, Old);
            bench.Set(Leaf(Page), New | Rw);
            bench.Put(Descriptor.IotlbDomain | Descriptor.Domain(9));
            bench.Put(Descriptor.IotlbDomain | Descriptor.Domain(1));
            bench.Ring();
            bench.AssertHead(16);
            bench.Sync();
            bench.Reads(Page, New);
        }),
        new("A wait writes its status, and only those four bytes", Wait, bench =>
        {
            bench.Build();
            bench.Enable();
            bench.Set(StatusWord, ulong.MaxValue);
            bench.Set(StatusWord + 8, ulong.MaxValue);
            bench.Put(Descriptor.Wait | Descriptor.StatusWrite | 0x1234_5678UL << 32, StatusWord + 4);
            bench.Ring();
            Assert.Equal(0x1234_5678_FFFF_FFFFUL, bench.Memory.Read64(new(StatusWord)));
            Assert.Equal(ulong.MaxValue, bench.Memory.Read64(new(StatusWord + 8)));
        }),
        new("A wait with the interrupt flag sets the completion status, and writing 1 clears it", Wait, bench =>
        {
            bench.Build();
            bench.Enable();
            bench.Sync();
            Assert.Equal(0u, bench.Registers.Read32(VtdRegister.ICS) & 1);
            bench.Put(Descriptor.Wait | Descriptor.InterruptFlag);
            bench.Ring();
            Assert.Equal(1u, bench.Registers.Read32(VtdRegister.ICS) & 1);
            bench.Registers.Write32(VtdRegister.ICS, 0);
            Assert.Equal(1u, bench.Registers.Read32(VtdRegister.ICS) & 1);
            bench.Registers.Write32(VtdRegister.ICS, 1);
            Assert.Equal(0u, bench.Registers.Read32(VtdRegister.ICS) & 1);
        }),
        .. BadDescriptors(),
        new("What comes before a bad descriptor is done", Errors, bench =>
        {
            bench.Build();
            bench.Enable();
            bench.Reads(Page, Old);
            bench.Set(Leaf(Page), New | Rw);
            bench.Put(Descriptor.IotlbDomain | Descriptor.Domain(1));
            bench.Put(0xF);
            bench.Ring();
            bench.AssertHead(16);
            bench.Reads(Page, New);
        }),
        new("A stopped queue takes nothing more while the error stands", Errors, bench =>
        {
            bench.Build();
            bench.Enable();
            bench.Reads(Page, Old);
            bench.Put(0xF);
            bench.Ring();
            bench.Set(Leaf(Page), New | Rw);
            bench.Put(Descriptor.IotlbGlobal);
            bench.Ring();
            bench.AssertHead(0);
            bench.Reads(Page, Old);
        }),
        new("A tail beyond the queue is an error", Errors, bench =>
        {
            bench.Build();
            bench.Enable();
            bench.Registers.Write64(VtdRegister.IQT, 256 * 16);
            Assert.Equal(VtdRegister.IQE, bench.FaultStatus & VtdRegister.IQE);
        }),
    ];

    private static IEnumerable<VtdCase> BadDescriptors() => new (string, ulong, ulong)[]
    {
        ("A descriptor of type 0", 0, 0),
        ("A descriptor of an unknown type", 0xF, 0),
        ("An IOTLB invalidation without a granularity", 0x02, 0),
        ("A context invalidation without a granularity", 0x01, 0),
        ("A reserved bit in the low half of an IOTLB invalidation", Descriptor.IotlbGlobal | 1UL << 8, 0),
        ("A reserved bit in the top of the low half of an IOTLB invalidation", Descriptor.IotlbGlobal | 1UL << 63, 0),
        ("A reserved bit in the high half of an IOTLB invalidation", Descriptor.IotlbPage | Descriptor.Domain(1), Page | 1 << 7),
        ("A reserved bit in the low half of a context invalidation", Descriptor.ContextGlobal | 1UL << 63, 0),
        ("An address mask beyond what the hardware offers", Descriptor.IotlbPage | Descriptor.Domain(1), 19),
        ("A reserved bit in a wait", Descriptor.Wait | Descriptor.StatusWrite | 1UL << 31, StatusWord),
        ("A status address that is not a multiple of four", Descriptor.Wait | Descriptor.StatusWrite, StatusWord + 1),
    }.Select(row => new VtdCase($"{row.Item1} stops the queue, and it goes on once that is put right", Errors, bench =>
    {
        bench.Build();
        bench.Enable();
        bench.Reads(Page, Old);
        bench.Set(Leaf(Page), New | Rw);
        bench.Invalidate(Descriptor.IotlbDomain | Descriptor.Domain(9));
        uint bad = bench.Tail;
        bench.Put(row.Item2, row.Item3);
        bench.Ring();
        Assert.Equal(VtdRegister.IQE, bench.FaultStatus & VtdRegister.IQE);
        bench.AssertHead(bad);
        bench.Reads(Page, Old);

        // Software puts a good descriptor in its place, clears the error, and writes the tail again.
        bench.Set(QueueBase + bad, Descriptor.IotlbDomain | Descriptor.Domain(1), 0);
        bench.Registers.Write32(VtdRegister.FSTS, VtdRegister.IQE);
        Assert.Equal(0u, bench.FaultStatus & VtdRegister.IQE);
        bench.Ring();
        bench.AssertHead(bad + 16);
        bench.Reads(Page, New);
        bench.Sync();
    }));
}
