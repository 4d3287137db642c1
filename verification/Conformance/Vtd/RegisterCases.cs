using static Conformance.Vtd.VtdBench;

namespace Conformance.Vtd;

/// <summary>Registers by themselves.</summary>
internal static class RegisterCases
{
    public static IEnumerable<VtdCase> Rows =>
    [
        new("The capabilities that the rows rely on are told", "Capability Register, Extended Capability Register", bench =>
        {
            ulong capability = bench.Registers.Read64(VtdRegister.CAP), extended = bench.Registers.Read64(VtdRegister.ECAP);
            Assert.Equal(1u, bench.Registers.Read32(VtdRegister.VER) >> 4 & 0xF);
            Assert.Equal(6UL, capability & 7);
            Assert.Equal(0UL, capability >> 7 & 1);
            Assert.Equal(0x6UL, capability >> 8 & 0x1F);
            Assert.Equal(47UL, capability >> 16 & 0x3F);
            Assert.Equal(3UL, capability >> 34 & 0xF);
            Assert.Equal(1UL, capability >> 39 & 1);
            Assert.Equal(0UL, capability >> 40 & 0xFF);
            Assert.Equal(18UL, capability >> 48 & 0x3F);
            Assert.Equal(1UL, extended >> 1 & 1);
            Assert.Equal(0UL, extended >> 2 & 1);
            Assert.Equal(1UL, extended >> 6 & 1);
            Assert.Equal(0UL, extended >> 7 & 1);
        }),
        new("A capability register keeps its value when it is written", "Capability Register", bench =>
        {
            ulong before = bench.Registers.Read64(VtdRegister.CAP);
            bench.Registers.Write64(VtdRegister.CAP, ~before);
            Assert.Equal(before, bench.Registers.Read64(VtdRegister.CAP));
        }),
        new("A 64-bit register is read in halves", "Register Descriptions", bench =>
        {
            ulong whole = bench.Registers.Read64(VtdRegister.CAP);
            Assert.Equal(whole & 0xFFFF_FFFF, bench.Registers.Read32(VtdRegister.CAP));
            Assert.Equal(whole >> 32, bench.Registers.Read32(VtdRegister.CAP + 4));
        }),
        new("The root table address is read back", "Root Table Address Register", bench =>
        {
            bench.Registers.Write64(VtdRegister.RTADDR, Root);
            Assert.Equal(Root, bench.Registers.Read64(VtdRegister.RTADDR));
        }),
        new("Global status tells what global command turned on, and off", "Global Status Register", bench =>
        {
            bench.Build();
            Assert.Equal(0u, bench.Registers.Read32(VtdRegister.GSTS));
            bench.Enable();
            Assert.Equal(1u << 31 | 1u << 30 | 1u << 26, bench.Registers.Read32(VtdRegister.GSTS));
            bench.Registers.Write32(VtdRegister.GCMD, 1u << 26);
            Assert.Equal(1u << 30 | 1u << 26, bench.Registers.Read32(VtdRegister.GSTS));
            bench.Reads(Old, Old);
        }),
        new("Turning queued invalidation off and on starts the queue anew", "Invalidation Queue Head Register", bench =>
        {
            bench.Build();
            bench.Enable();
            bench.Sync();
            bench.AssertHead(16);
            bench.Registers.Write32(VtdRegister.GCMD, 1u << 31);
            bench.Registers.Write64(VtdRegister.IQT, 0);
            bench.Command(26);
            bench.AssertHead(0);
        }),
        new("A masked fault event is kept pending", "Fault Event Control Register", bench =>
        {
            bench.Build();
            bench.Enable();
            Assert.Equal(1u << 31, bench.Registers.Read32(VtdRegister.FECTL));
            bench.Read(0x2000, stackalloc byte[4]);
            Assert.Equal(1u << 31 | 1u << 30, bench.Registers.Read32(VtdRegister.FECTL));
        }),
        new("A masked completion event is kept pending until its status is cleared", "Invalidation Event Control Register", bench =>
        {
            bench.Build();
            bench.Enable();
            Assert.Equal(1u << 31, bench.Registers.Read32(VtdRegister.IECTL));
            bench.Put(Descriptor.Wait | Descriptor.InterruptFlag);
            bench.Ring();
            Assert.Equal(1u << 31 | 1u << 30, bench.Registers.Read32(VtdRegister.IECTL));
            bench.Registers.Write32(VtdRegister.ICS, 1);
            Assert.Equal(1u << 31, bench.Registers.Read32(VtdRegister.IECTL));
        }),
        .. IotlbCommands(),
        .. ContextCommands(),
    ];

    // IOTLB Invalidate Register: granularity in bits 61:60, domain in bits 47:32.
    private static IEnumerable<VtdCase> IotlbCommands() => new (string Name, ulong Granularity, ulong Domain, ulong Address, ulong Seen)[]
    {
        ("A global invalidation through the register forgets a cached page", 1, 0, 0, New),
        ("A domain invalidation through the register forgets a cached page", 2, 1, 0, New),
        ("A domain invalidation of another domain through the register spares a cached page", 2, 2, 0, Old),
        ("A page invalidation through the register forgets a cached page", 3, 1, Page, New),
        ("A page invalidation of the page after through the register spares a cached page", 3, 1, Page + 0x1000, Old),
    }.Select(row => new VtdCase(row.Name, "IOTLB Registers", bench =>
    {
        bench.Build();
        bench.EnableWithoutQueue();
        bench.Reads(Page, Old);
        bench.Set(Leaf(Page), New | Rw);
        Assert.InRange(bench.CommandIotlb(row.Granularity << 60 | row.Domain << 32, row.Address), 1UL, row.Granularity);
        bench.Reads(Page, row.Seen);
    }));

    // Context Command Register: granularity in bits 62:61, source in bits 31:16, domain in bits 15:0.
    private static IEnumerable<VtdCase> ContextCommands() => new (string Name, ulong Granularity)[]
    {
        ("A global context invalidation through the register forgets a cached context", 1),
        ("A domain context invalidation through the register forgets a cached context", 2),
        ("A device context invalidation through the register forgets a cached context", 3),
    }.Select(row => new VtdCase(row.Name, "Context Command Register", bench =>
    {
        bench.Build();
        bench.EnableWithoutQueue();
        bench.Reads(Page, Old);
        bench.Set(bench.ContextEntry(), 0, 0);
        Assert.InRange(bench.CommandContexts(row.Granularity << 61 | bench.Requester() << 16 | 1), 1UL, row.Granularity);
        bench.CommandIotlb(1UL << 60);
        bench.ReadFaults(Page, Reason.ContextNotPresent);
    }));
}
