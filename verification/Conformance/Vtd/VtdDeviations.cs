using Harness.Foreign;
using static Conformance.Vtd.VtdBench;

namespace Conformance.Vtd;

/// <summary>Where QEMU's VT-d does otherwise than the specification says. The simulator does as the specification says.</summary>
internal static class VtdDeviations
{
    public static IReadOnlyList<VtdDeviation> All { get; } =
    [
        new(
            QemuDeviations.SilentWrite,
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
            QemuDeviations.SilentRead,
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
            QemuDeviations.WaitsForTail,
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
            QemuDeviations.PendingEvent,
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
        new(
            QemuDeviations.InterruptRead,
            bench =>
            {
                bench.Build();
                bench.Enable();
                bench.ReadFaults(0xFEE0_0000, Reason.ReadDenied);
            },
            bench =>
            {
                bench.Build();
                bench.Enable();
                bench.Read(0xFEE0_0000, stackalloc byte[4]);
                bench.AssertNoFault("a read of the interrupt address range");
            }),
        new(
            QemuDeviations.PassThroughWidth,
            bench =>
            {
                PassThrough(bench);
                bench.ReadFaults(1UL << 48, Reason.AddressBeyondWidth);
            },
            bench =>
            {
                PassThrough(bench);
                bench.Read(1UL << 48, stackalloc byte[4]);
                bench.AssertNoFault("a read beyond the width");
            }),
        new(
            QemuDeviations.RootMode,
            bench =>
            {
                bench.Build();
                bench.Enable(Root | 3 << 10);
                bench.ReadFaults(Page, RootMisprogrammed);
            },
            bench =>
            {
                bench.Build();
                bench.Enable(Root | 3 << 10);
                bench.Reads(Page, Old);
            }),
        new(QemuDeviations.IdleWait, bench => Takes(bench, Descriptor.Wait, takes: true), bench => Takes(bench, Descriptor.Wait, takes: false)),
        // Device TLB, interrupt entry cache; PASID-based IOTLB, PASID cache.
        new(QemuDeviations.UnofferedType, bench => TakesAll(bench, [0x3, 0x4], takes: false), bench => TakesAll(bench, [0x3, 0x4], takes: true)),
        new(QemuDeviations.OtherModeType, bench => TakesAll(bench, [0x26, 0x37], takes: false), bench => TakesAll(bench, [0x26, 0x37], takes: true)),
    ];

    private const byte RootMisprogrammed = 0x30;

    private static void TakesAll(VtdBench bench, ReadOnlySpan<ulong> descriptors, bool takes)
    {
        foreach (ulong low in descriptors) Takes(bench, low, takes);
    }

    private static void Takes(VtdBench bench, ulong low, bool takes)
    {
        bench.Build();
        bench.Enable();
        bench.Put(low);
        bench.Ring();
        Assert.Equal(takes, (bench.FaultStatus & VtdRegister.IQE) == 0);
        if (!takes)
        {
            bench.Set(QueueBase + bench.Tail - 16, Descriptor.IotlbGlobal, 0);
            bench.Registers.Write32(VtdRegister.FSTS, VtdRegister.IQE);
            bench.Ring();
        }

        // For the next one software turns the queue off, after a wait.
        bench.Sync();
        bench.Registers.Write32(VtdRegister.GCMD, 0);
        bench.Restart();
    }

    private static void PassThrough(VtdBench bench)
    {
        bench.Build();
        bench.Set(bench.ContextEntry(), Present | 2 << 2, Domain(1) | FourLevels);
        bench.Enable();
    }

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
