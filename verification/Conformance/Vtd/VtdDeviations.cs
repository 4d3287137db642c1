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
    ];

    private static void CachedReadOnly(VtdBench bench)
    {
        bench.Build();
        bench.Set(Leaf(Page), Old | R);
        bench.Enable();
        bench.Reads(Page, Old);
    }
}
