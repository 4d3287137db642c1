using static Conformance.Vtd.VtdBench;

namespace Conformance.Vtd;

/// <summary>Root and context entries: whose accesses are translated how.</summary>
internal static class ContextCases
{
    private const string Root = "Root Entry", Context = "Context Entry";
    private const string Faults = "Address Translation Faults, Legacy Mode";

    public static IEnumerable<VtdCase> Rows =>
    [
        new("While translation is off addresses are physical", "Global Command Register, translation enable", bench =>
        {
            bench.Build();
            bench.Reads(Old, Old);
            bench.Writes(New, New);
        }),
        new("A requester whose bus has no root entry is blocked", Root, bench =>
        {
            bench.Build();
            bench.Set(bench.RootEntry(), 0, 0);
            bench.Enable();
            bench.ReadFaults(Page, Reason.RootNotPresent);
            bench.WriteFaults(Page, Reason.RootNotPresent);
        }),
        new("Reserved bits of a root entry block", Root, bench =>
        {
            bench.Build();
            bench.Enable();
            // Bits 11:1 and, of a host with 48 address bits, 127:48.
            foreach ((ulong low, ulong high) in EachBit(0xFFFF_0000_0000_0FFE, ulong.MaxValue))
            {
                bench.Set(bench.RootEntry(), ContextTable | Present | low, high);
                bench.ReadFaults(Page, Reason.RootReserved);
            }
        }),
        new("A root table where there is no memory blocks", Root, bench =>
        {
            bench.Build();
            bench.Enable(root: Nowhere);
            bench.ReadFaults(Page, Reason.RootUnreachable);
        }),
        new("A context table where there is no memory blocks", Root, bench =>
        {
            bench.Build();
            bench.Set(bench.RootEntry(), Nowhere | Present, 0);
            bench.Enable();
            bench.ReadFaults(Page, Reason.ContextUnreachable);
        }),
        new("A requester without a context entry is blocked, its neighbour is not", Context, bench =>
        {
            bench.Build();
            bench.Enable();
            bench.Reads(Page, Old);
            bench.ReadFaults(Page, Reason.ContextNotPresent, device: 1);
            bench.WriteFaults(Page, Reason.ContextNotPresent, device: 1);
        }),
        new("Reserved bits of a context entry block", Context, bench =>
        {
            bench.Build();
            bench.Enable();
            // Bits 11:4, 63:48, 71 and 127:88.
            foreach ((ulong low, ulong high) in EachBit(0xFFFF_0000_0000_0FF0, 0xFFFF_FFFF_FF00_0080))
            {
                bench.Set(bench.ContextEntry(), Level4 | Present | low, Domain(1) | FourLevels | high);
                bench.ReadFaults(Page, Reason.ContextReserved);
            }
        }),
        new("Bits of a context entry that are left to software change nothing", Context, bench =>
        {
            bench.Build();
            bench.Set(bench.ContextEntry(), Level4 | Present, Domain(1) | FourLevels | 0xFUL << 3);
            bench.Enable();
            bench.Reads(Page, Old);
        }),
        new("Address widths that the hardware does not offer block", Context, bench =>
        {
            bench.Build();
            bench.Enable();
            foreach (ulong width in (ReadOnlySpan<ulong>)[0, 4, 5, 6, 7])
            {
                bench.Set(bench.ContextEntry(), Level4 | Present, Domain(1) | width);
                bench.ReadFaults(Page, Reason.ContextInvalid);
            }
        }),
        new("Translation types that the hardware does not offer block", Context, bench =>
        {
            bench.Build();
            bench.Enable();
            foreach (ulong type in (ReadOnlySpan<ulong>)[1, 3])
            {
                bench.Set(bench.ContextEntry(), Level4 | Present | type << 2, Domain(1) | FourLevels);
                bench.ReadFaults(Page, Reason.ContextInvalid);
            }
        }),
        new("Pass-through reaches physical addresses", Context, bench =>
        {
            bench.Build();
            bench.Set(bench.ContextEntry(), Present | 2 << 2, Domain(1) | FourLevels);
            bench.Enable();
            bench.Reads(Old, Old);
            bench.Writes(New, New);
        }),
        new("Fault processing disabled blocks without a record", Context, bench =>
        {
            bench.Build();
            bench.Set(bench.ContextEntry(), Level4 | Present | 1 << 1, Domain(1) | FourLevels);
            bench.Set(Leaf(0x2000), New | R);
            bench.Enable();
            bench.Reads(Page, Old);
            bench.WriteIsBlockedInSilence(0x2000);
            bench.WriteIsBlockedInSilence(0x3000);
        }),
        new("Two requesters in two domains see pages of their own at one address", Context, bench =>
        {
            bench.Build();
            Second(bench, domain: 2);
            bench.Enable();
            bench.Reads(Page, Old);
            bench.Reads(Page, Third, device: 1);
            bench.Writes(Page, Third, device: 1);
            bench.Reads(Page, Old);
        }),
        new("Two requesters in one domain share a table", Context, bench =>
        {
            bench.Build();
            bench.Set(bench.ContextEntry(1), Level4 | Present, Domain(1) | FourLevels);
            bench.Enable();
            bench.Reads(Page, Old);
            bench.Writes(Page, Old, device: 1);
            bench.WriteFaults(0x2000, Reason.WriteDenied, device: 1);
        }),
        new("The domain identifier has sixteen bits", Context, bench =>
        {
            bench.Build();
            bench.Set(bench.ContextEntry(), Level4 | Present, Domain(0xFFFF) | FourLevels);
            bench.Enable();
            bench.Reads(Page, Old);
            bench.Set(Leaf(Page), New | Rw);
            bench.Invalidate(Descriptor.IotlbDomain | Descriptor.Domain(0x7FFF));
            bench.Invalidate(Descriptor.IotlbDomain | Descriptor.Domain(0xFFFE));
            bench.Reads(Page, Old);
            bench.Invalidate(Descriptor.IotlbDomain | Descriptor.Domain(0xFFFF));
            bench.Reads(Page, New);
        }),
        new("A new root table counts once it is set and the caches are invalidated", "Root Table Address Register", bench =>
        {
            bench.Build();
            bench.Enable();
            bench.Reads(Page, Old);
            bench.Set(SpareRoot + (bench.Requester() >> 8) * 16, SpareContextTable | Present, 0);
            bench.Set(SpareContextTable + (bench.Requester() & 0xFF) * 16, SpareLevel4 | Present, Domain(3) | FourLevels);
            bench.Set(SpareLevel4, Level3 | R);
            bench.SetRoot(SpareRoot);
            bench.Invalidate(Descriptor.ContextGlobal);
            bench.Invalidate(Descriptor.IotlbGlobal);
            bench.WriteFaults(Page, Reason.WriteDenied);
            bench.Reads(Page, Old);
        }),
    ];

    /// <summary>Device 1 in a domain of its own, with <see cref="Third"/> at <see cref="Page"/>.</summary>
    internal static void Second(VtdBench bench, ulong domain)
    {
        bench.Set(bench.ContextEntry(1), SpareLevel4 | Present, Domain(domain) | FourLevels);
        bench.Set(SpareLevel4, 0x100_A000 | Rw);
        bench.Set(0x100_A000, 0x100_B000 | Rw);
        bench.Set(0x100_B000, SpareLevel1 | Rw);
        bench.Set(SpareLevel1 + (Page >> 12) * 8, Third | Rw);
    }
}
