using static Conformance.Vtd.VtdBench;

namespace Conformance.Vtd;

/// <summary>Where QEMU's VT-d does otherwise than the specification says. The simulator does as the specification says.</summary>
internal static class VtdDeviations
{
    public static IReadOnlyList<VtdDeviation> All { get; } =
    [
        new(
            "A write through a cached read-only page is blocked without a fault record",
            "Address Translation Faults, Legacy Mode",
            bench =>
            {
                CachedReadOnly(bench);
                bench.WriteFaults(Page, Reason.WriteDenied);
            },
            bench =>
            {
                CachedReadOnly(bench);
                bench.WriteIsBlockedInSilence(Page);
            }),
        new(
            "A read through a cached write-only page is blocked without a fault record",
            "Address Translation Faults, Legacy Mode",
            bench =>
            {
                CachedWriteOnly(bench);
                bench.ReadFaults(Page, Reason.ReadDenied);
            },
            bench =>
            {
                CachedWriteOnly(bench);
                bench.Read(Page, stackalloc byte[8]);
                bench.AssertNoFault("a read");
            }),
        new(
            "A stopped queue waits for the tail to be written again after its error is cleared",
            "Invalidation Queue Errors",
            bench =>
            {
                Repaired(bench);
                bench.AssertHead(16);
                bench.Reads(Page, New);
            },
            bench =>
            {
                Repaired(bench);
                bench.AssertHead(0);
                bench.Reads(Page, Old);
            }),
        new(
            "A fault event stays pending after the last record is cleared",
            "Fault Event Control Register",
            bench =>
            {
                ClearedFault(bench);
                Assert.Equal(0u, bench.Registers.Read32(VtdRegister.FECTL) >> 30 & 1);
            },
            bench =>
            {
                ClearedFault(bench);
                Assert.Equal(1u, bench.Registers.Read32(VtdRegister.FECTL) >> 30 & 1);
            }),
    ];

    private static void ClearedFault(VtdBench bench)
    {
        bench.Build();
        bench.Enable();
        bench.ReadFaults(0x2000, Reason.ReadDenied);
    }

    private static void CachedWriteOnly(VtdBench bench)
    {
        bench.Build();
        bench.Set(Leaf(Page), Old | W);
        bench.Enable();
        bench.Writes(Page, Old);
    }

    // A bad descriptor was replaced and the error cleared; the queue was not told more.
    private static void Repaired(VtdBench bench)
    {
        bench.Build();
        bench.Enable();
        bench.Reads(Page, Old);
        bench.Set(Leaf(Page), New | Rw);
        bench.Put(0xF);
        bench.Ring();
        bench.Set(QueueBase, Descriptor.IotlbGlobal, 0);
        bench.Registers.Write32(VtdRegister.FSTS, VtdRegister.IQE);
    }

    private static void CachedReadOnly(VtdBench bench)
    {
        bench.Build();
        bench.Set(Leaf(Page), Old | R);
        bench.Enable();
        bench.Reads(Page, Old);
    }
}
