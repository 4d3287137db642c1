using static Conformance.Vtd.VtdBench;

namespace Conformance.Vtd;

/// <summary>What may be remembered, and which command makes it forgotten.</summary>
internal static class CachingCases
{
    private const string Iotlb = "IOTLB", Walk = "Caches for Paging Structures", Context = "Context-cache";
    private const string IotlbCommand = "IOTLB Invalidate Descriptor", ContextCommand = "Context-cache Invalidate Descriptor";

    public static IEnumerable<VtdCase> Rows =>
    [
        new("A changed entry is not seen without an invalidation", Iotlb, bench =>
        {
            Changed(bench);
            bench.Reads(Page, Old);
            bench.Writes(Page, Old);
        }),
        .. Spares(),
        .. Forgets(),
        new("A page invalidation with a mask of one covers two pages on their boundary and no third", IotlbCommand, bench =>
        {
            bench.Build();
            bench.Set(Leaf(0x2000), Old | Rw);
            bench.Set(Leaf(0x3000), Old | Rw);
            bench.Set(Leaf(0x4000), Old | Rw);
            bench.Enable();
            foreach (ulong page in (ReadOnlySpan<ulong>)[0x1000, 0x2000, 0x3000, 0x4000]) bench.Reads(page, Old);
            foreach (ulong page in (ReadOnlySpan<ulong>)[0x1000, 0x2000, 0x3000, 0x4000]) bench.Set(Leaf(page), New | Rw);
            bench.Invalidate(Descriptor.IotlbPage | Descriptor.Domain(1), 0x2000 | 1);
            bench.Reads(0x1000, Old);
            bench.Reads(0x2000, New);
            bench.Reads(0x3000, New);
            bench.Reads(0x4000, Old);
        }),
        new("A page invalidation of any page in a leaf of 2 MiB forgets the leaf", IotlbCommand, bench =>
        {
            const ulong large = 1UL << 21;
            bench.Build();
            bench.Set(Level2 + 8, LargeFirst | PageSize | Rw);
            bench.Enable();
            bench.Reads(large, LargePart);
            bench.Set(Level2 + 8, 0);
            bench.Invalidate(Descriptor.IotlbPage | Descriptor.Domain(1), large + 0x15_5000);
            bench.ReadFaults(large, Reason.ReadDenied);
        }),
        new("A cleared entry is reached until it is invalidated, then blocked", Iotlb, bench =>
        {
            bench.Build();
            bench.Enable();
            bench.Reads(Page, Old);
            bench.Set(Leaf(Page), 0);
            bench.Reads(Page, Old);
            bench.Writes(Page, Old);
            bench.Invalidate(Descriptor.IotlbPage | Descriptor.Domain(1), Page);
            bench.ReadFaults(Page, Reason.ReadDenied);
            bench.WriteFaults(Page, Reason.WriteDenied);
        }),
        new("Without caching mode an absent entry is not remembered", "Caching Mode", bench =>
        {
            bench.Build();
            bench.Enable();
            bench.ReadFaults(0x2000, Reason.ReadDenied);
            bench.Set(Leaf(0x2000), New | Rw);
            bench.Reads(0x2000, New);
        }),
        new("A table switched under an upper level is seen after a page invalidation without the hint", Walk, bench =>
        {
            Switched(bench);
            bench.Invalidate(Descriptor.IotlbPage | Descriptor.Domain(1), Page);
            bench.Reads(Page, New);
        }),
        new("With the leaf-only hint an upper level may be remembered, and a domain invalidation forgets it", Walk, bench =>
        {
            Switched(bench);
            bench.Invalidate(Descriptor.IotlbPage | Descriptor.Domain(1), Page | Descriptor.LeafOnly);
            bench.ReadsOneOf(Page, [Old, New]);
            bench.Invalidate(Descriptor.IotlbDomain | Descriptor.Domain(1));
            bench.Reads(Page, New);
        }),
        new("The leaf-only hint suffices for a leaf", Walk, bench =>
        {
            Changed(bench);
            bench.Invalidate(Descriptor.IotlbPage | Descriptor.Domain(1), Page | Descriptor.LeafOnly);
            bench.Reads(Page, New);
        }),
        new("A wait after a permission is taken makes the write fail", Iotlb, bench =>
        {
            bench.Build();
            bench.Enable();
            bench.Writes(Page, Old);
            bench.Set(Leaf(Page), Old | R);
            bench.Invalidate(Descriptor.IotlbPage | Descriptor.Domain(1), Page);
            bench.WriteFaults(Page, Reason.WriteDenied);
            bench.Reads(Page, Old);
        }),
        new("A cleared context entry counts when context and IOTLB are invalidated", Context, bench =>
        {
            bench.Build();
            bench.Enable();
            bench.Reads(Page, Old);
            bench.Set(bench.ContextEntry(), 0, 0);
            bench.Invalidate(Descriptor.IotlbGlobal);
            bench.Reads(Page, Old);
            bench.Invalidate(Descriptor.ContextDevice | Descriptor.Domain(1) | Descriptor.Source(bench.Requester()));
            bench.Invalidate(Descriptor.IotlbDomain | Descriptor.Domain(1));
            bench.ReadFaults(Page, Reason.ContextNotPresent);
            bench.WriteFaults(Page, Reason.ContextNotPresent);
        }),
        .. ContextForgets(),
        new("A context invalidation for another device spares this one", ContextCommand, bench =>
        {
            bench.Build();
            ContextCases.Second(bench, domain: 2);
            bench.Enable();
            bench.Reads(Page, Old);
            bench.Set(bench.ContextEntry(), 0, 0);
            bench.Invalidate(Descriptor.ContextDevice | Descriptor.Domain(1) | Descriptor.Source(bench.Requester(1)));
            bench.Invalidate(Descriptor.IotlbGlobal);
            bench.Reads(Page, Old);
        }),
        new("Without caching mode an absent context entry is not remembered", "Caching Mode", bench =>
        {
            bench.Build();
            bench.Set(bench.ContextEntry(), 0, 0);
            bench.Enable();
            bench.ReadFaults(Page, Reason.ContextNotPresent);
            bench.Set(bench.ContextEntry(), Level4 | Present, Domain(1) | FourLevels);
            bench.Reads(Page, Old);
        }),
        new("A domain invalidation spares the other domain", IotlbCommand, bench =>
        {
            Changed(bench);
            ContextCases.Second(bench, domain: 2);
            bench.Reads(Page, Third, device: 1);
            bench.Set(SpareLevel1 + (Page >> 12) * 8, Old | Rw);
            bench.Invalidate(Descriptor.IotlbDomain | Descriptor.Domain(1));
            bench.Reads(Page, New);
            bench.Reads(Page, Third, device: 1);
        }),
    ];

    // Page was read while it meant Old, and now its entry says New.
    private static void Changed(VtdBench bench)
    {
        bench.Build();
        bench.Enable();
        bench.Reads(Page, Old);
        bench.Set(Leaf(Page), New | Rw);
    }

    // Page was read while it meant Old, and now an upper level leads to a table in which it means New.
    private static void Switched(VtdBench bench)
    {
        bench.Build();
        bench.Enable();
        bench.Reads(Page, Old);
        bench.Set(SpareLevel1 + (Page >> 12) * 8, New | Rw);
        bench.Set(Level2, SpareLevel1 | Rw);
    }

    private static IEnumerable<VtdCase> Spares() => new (string, ulong, ulong)[]
    {
        ("A page invalidation in another domain", Descriptor.IotlbPage | Descriptor.Domain(2), Page),
        ("A page invalidation of the page before", Descriptor.IotlbPage | Descriptor.Domain(1), Page - 0x1000),
        ("A page invalidation of the page after", Descriptor.IotlbPage | Descriptor.Domain(1), Page + 0x1000),
        ("A domain invalidation of another domain", Descriptor.IotlbDomain | Descriptor.Domain(2), 0),
        ("A context invalidation", Descriptor.ContextGlobal, 0),
    }.Select(row => new VtdCase($"{row.Item1} spares a cached page", IotlbCommand, bench =>
    {
        Changed(bench);
        bench.Invalidate(row.Item2, row.Item3);
        bench.Reads(Page, Old);
    }));

    private static IEnumerable<VtdCase> Forgets() => new (string, ulong, ulong)[]
    {
        ("A page invalidation", Descriptor.IotlbPage | Descriptor.Domain(1), Page),
        ("A page invalidation with the widest mask", Descriptor.IotlbPage | Descriptor.Domain(1), 18),
        ("A domain invalidation", Descriptor.IotlbDomain | Descriptor.Domain(1), 0),
        ("A global invalidation", Descriptor.IotlbGlobal, 0),
    }.Select(row => new VtdCase($"{row.Item1} forgets a cached page", IotlbCommand, bench =>
    {
        Changed(bench);
        bench.Invalidate(row.Item2, row.Item3);
        bench.Reads(Page, New);
        bench.Writes(Page, New);
    }));

    private static IEnumerable<VtdCase> ContextForgets() => new (string, Func<VtdBench, ulong>)[]
    {
        ("A global context invalidation", _ => Descriptor.ContextGlobal),
        ("A domain context invalidation", _ => Descriptor.ContextDomain | Descriptor.Domain(1)),
        ("A device context invalidation", bench => Descriptor.ContextDevice | Descriptor.Domain(1) | Descriptor.Source(bench.Requester())),
        ("A device context invalidation that masks the function number", bench =>
            Descriptor.ContextDevice | Descriptor.Domain(1) | Descriptor.Source(bench.Requester() | 7, functionMask: 3)),
    }.Select(row => new VtdCase($"{row.Item1} forgets a cached context", ContextCommand, bench =>
    {
        bench.Build();
        bench.Enable();
        bench.Reads(Page, Old);
        ContextCases.Second(bench, domain: 2);
        bench.Set(bench.ContextEntry(), SpareLevel4 | Present, Domain(2) | FourLevels);
        bench.Invalidate(row.Item2(bench));
        bench.Invalidate(Descriptor.IotlbDomain | Descriptor.Domain(1));
        bench.Reads(Page, Third);
    }));
}
