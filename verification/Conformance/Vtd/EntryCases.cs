using static Conformance.Vtd.VtdBench;

namespace Conformance.Vtd;

/// <summary>Second-stage paging entries: what they map, what they permit, which of them are wrong.</summary>
internal static class EntryCases
{
    private const string Entries = "Second-Stage Paging Entries";
    private const string Faults = "Address Translation Faults, Legacy Mode";

    public static IEnumerable<VtdCase> Rows =>
    [
        new("A page is read and written at the frame that its entry names", Entries, bench =>
        {
            bench.Build();
            bench.Enable();
            bench.Reads(Page, Old);
            bench.Writes(Page, Old);
            bench.Writes(Page + 0xFF0, Old);
        }),
        new("The last page of 48 bits is reached through the last entry of each level", "Second-Stage Translation", bench =>
        {
            bench.Build();
            bench.Set(Level4 + 511 * 8, Level3 | Rw);
            bench.Set(Level3 + 511 * 8, Level2 | Rw);
            bench.Set(Level2 + 511 * 8, Level1 | Rw);
            bench.Set(Level1 + 511 * 8, New | Rw);
            bench.Enable();
            bench.Reads(0xFFFF_FFFF_F000, New);
            bench.Writes(0xFFFF_FFFF_FFF0, New);
        }),
        new("Each level has nine bits of the address of its own", "Second-Stage Translation", bench =>
        {
            bench.Build();
            bench.Set(Level4 + 1 * 8, Level3 | Rw);
            bench.Set(Level3 + 2 * 8, Level2 | Rw);
            bench.Set(Level2 + 4 * 8, Level1 | Rw);
            bench.Set(Level1 + 8 * 8, New | Rw);
            bench.Enable();
            bench.Reads(1UL << 39 | 2UL << 30 | 4UL << 21 | 8UL << 12, New);
            bench.Reads(Page, Old);
        }),
        new("An address beyond 48 bits is blocked", Faults, bench =>
        {
            bench.Build();
            bench.Enable();
            bench.ReadFaults(1UL << 48 | Page, Reason.AddressBeyondWidth);
            bench.WriteFaults(1UL << 48 | Page, Reason.AddressBeyondWidth);
            bench.ReadFaults(0x7FFF_FFFF_FFFF_F000, Reason.AddressBeyondWidth);
        }),
        new("With three levels the last page of 39 bits is reached, and no further one", "Context Entry, address width", bench =>
        {
            bench.Build();
            bench.Set(bench.ContextEntry(), Level3 | Present, Domain(1) | ThreeLevels);
            bench.Set(Level3 + 511 * 8, Level2 | Rw);
            bench.Set(Level2 + 511 * 8, Level1 | Rw);
            bench.Set(Level1 + 511 * 8, New | Rw);
            bench.Enable();
            bench.Reads(Page, Old);
            bench.Writes(0x7F_FFFF_F000, New);
            bench.ReadFaults(0x80_0000_0000, Reason.AddressBeyondWidth);
        }),
        new("A page without an entry is blocked for a read and for a write", Faults, bench =>
        {
            bench.Build();
            bench.Enable();
            bench.ReadFaults(0x2000, Reason.ReadDenied);
            bench.WriteFaults(0x2000, Reason.WriteDenied);
        }),
        new("A missing table blocks at each level", Faults, bench =>
        {
            bench.Build();
            bench.Enable();
            bench.ReadFaults(1UL << 21, Reason.ReadDenied);
            bench.WriteFaults(1UL << 30, Reason.WriteDenied);
            bench.ReadFaults(1UL << 39, Reason.ReadDenied);
        }),
        new("A leaf that permits reading only is not written", Faults, bench =>
        {
            bench.Build();
            bench.Set(Leaf(Page), Old | R);
            bench.Enable();
            bench.WriteFaults(Page, Reason.WriteDenied);
            bench.Reads(Page, Old);
        }),
        new("A leaf that permits writing only is not read", Faults, bench =>
        {
            bench.Build();
            bench.Set(Leaf(Page), Old | W);
            bench.Enable();
            bench.ReadFaults(Page, Reason.ReadDenied);
            bench.Writes(Page, Old);
        }),
        .. UpperLevels(),
        new("A leaf of 2 MiB maps all of its bytes", Entries, bench =>
        {
            bench.Build();
            bench.Set(Level2 + 8, LargeFirst | PageSize | Rw);
            bench.Enable();
            bench.Reads(1UL << 21, LargePart);
            bench.Reads((1UL << 21) + (LargeOtherPart - LargeFirst), LargeOtherPart);
            bench.Writes((1UL << 21) + (LargeOtherPart - LargeFirst) + 0x10, LargeOtherPart);
        }),
        new("A leaf of 1 GiB maps all of its bytes", Entries, bench =>
        {
            bench.Build();
            bench.Set(Level3 + 8, 0 | PageSize | Rw);
            bench.Enable();
            bench.Reads((1UL << 30) + Old, Old);
            bench.Writes((1UL << 30) + LargeOtherPart, LargeOtherPart);
        }),
        new("A leaf of 2 MiB off its boundary is a reserved bit set", Faults, bench =>
        {
            bench.Build();
            bench.Set(Level2 + 8, LargeFirst + 0x1000 | PageSize | Rw);
            bench.Set(Level2 + 16, LargeFirst + 0x10_0000 | PageSize | Rw);
            bench.Enable();
            bench.ReadFaults(1UL << 21, Reason.EntryReserved);
            bench.WriteFaults(2UL << 21, Reason.EntryReserved);
        }),
        new("A leaf of 1 GiB off its boundary is a reserved bit set", Faults, bench =>
        {
            bench.Build();
            bench.Set(Level3 + 8, 0x1000 | PageSize | Rw);
            bench.Set(Level3 + 16, 0x2000_0000 | PageSize | Rw);
            bench.Enable();
            bench.ReadFaults(1UL << 30, Reason.EntryReserved);
            bench.ReadFaults(2UL << 30, Reason.EntryReserved);
        }),
        new("The page-size bit is reserved at the fourth level", Faults, bench =>
        {
            bench.Build();
            bench.Set(Level4 + 8, Level3 | PageSize | Rw);
            bench.Enable();
            bench.ReadFaults(1UL << 39, Reason.EntryReserved);
            bench.Reads(Page, Old);
        }),
        new("Bits of a leaf that the hardware ignores change nothing", Entries, bench =>
        {
            bench.Build();
            const ulong ignored = 0xBFFUL << 52 | 1UL << 10;
            bench.Set(Leaf(Page), Old | ignored | Rw);
            bench.Enable();
            bench.Reads(Page, Old);
            bench.Writes(Page, Old);
        }),
        new("Address bits above the host's width are reserved in a leaf", Faults, bench => Reserved(bench, Leaf(Page), [48, 49, 50, 51])),
        new("Address bits above the host's width are reserved in a table entry", Faults, bench => Reserved(bench, Level2, [48, 51])),
        new("What is reserved in a table entry is so at each level", Entries, bench =>
        {
            bench.Build();
            bench.Enable();
            foreach (ulong table in (ReadOnlySpan<ulong>)[Level4, Level3, Level2])
            {
                ulong good = bench.Memory.Read64(new(table));
                foreach ((ulong bit, _) in EachBit(0x400F_0000_0000_0800, 0))
                {
                    bench.Set(table, good | bit);
                    bench.ReadFaults(Page, Reason.EntryReserved);
                }

                bench.Set(table, good);
            }

            bench.Reads(Page, Old);
        }),
        new("Each bit below the size of a large page is reserved in its leaf", Entries, bench =>
        {
            bench.Build();
            bench.Enable();
            foreach ((ulong at, ulong iova, ulong leaf, ulong reserved) in new[] { (Level2 + 8, 1UL << 21, LargeFirst, 0x1F_F000UL), (Level3 + 8, 1UL << 30, 0UL, 0x3FFF_F000UL) })
            {
                foreach ((ulong bit, _) in EachBit(reserved, 0))
                {
                    bench.Set(at, leaf | bit | PageSize | Rw);
                    bench.ReadFaults(iova, Reason.EntryReserved);
                }

                bench.Set(at, leaf | PageSize | Rw);
                bench.Reads(iova + LargePart - leaf, LargePart);
            }
        }),
        new("The snoop bit is reserved where snoop control is not offered", Faults, bench => Reserved(bench, Leaf(Page), [11])),
        new("The transient-mapping bit is reserved where device TLBs are not offered", Faults, bench => Reserved(bench, Leaf(Page), [62])),
        new("An entry that permits nothing is absent, whatever else is in it", Entries, bench =>
        {
            bench.Build();
            bench.Set(Leaf(Page), ~Rw);
            bench.Enable();
            bench.ReadFaults(Page, Reason.ReadDenied);
            bench.WriteFaults(Page, Reason.WriteDenied);
        }),
        new("A table where there is no memory blocks with a reason of its own", Faults, bench =>
        {
            bench.Build();
            bench.Set(Level2 + 8, Nowhere | Rw);
            bench.Set(Level3 + 8, Nowhere | Rw);
            bench.Enable();
            bench.ReadFaults(1UL << 21, Reason.TableUnreachable);
            bench.WriteFaults(1UL << 30, Reason.TableUnreachable);
        }),
        new("Each page of an access is translated by itself", "Second-Stage Translation", bench =>
        {
            bench.Build();
            bench.Set(Leaf(0x2000), Third | Rw);
            bench.Enable();
            Span<byte> seen = stackalloc byte[16];
            bench.Read(0x2000 - 8, seen);
            bench.AssertNoFault("a read across two pages");
            Assert.Equal(Old, BitConverter.ToUInt64(seen));
            Assert.Equal(Third, BitConverter.ToUInt64(seen[8..]));
        }),
        new("An access that ends in an absent page does what comes before it and names that page", Faults, bench =>
        {
            bench.Build();
            bench.Enable();
            bench.Write(0x2000 - 8, Payload);
            Assert.Equal(BitConverter.ToUInt64(Payload), bench.Memory.Read64(new(Old + 0xFF8)));
            bench.Fill(Old);
            bench.AssertWritten(null);
            bench.AssertFault(new(Reason.WriteDenied, 0x2000, bench.Requester(), IsRead: false));
        }),
        new("A page that leads into the interrupt address range is blocked", "Address Translation Faults, LGN.4", bench =>
        {
            bench.Build();
            bench.Set(Leaf(Page), 0xFEE0_0000 | Rw);
            bench.Set(Leaf(0x2000), 0xFEEF_F000 | Rw);
            bench.Enable();
            bench.ReadFaults(Page, Reason.InterruptOutput);
            bench.WriteFaults(0x2000, Reason.InterruptOutput);
        }),
        new("Writes to the interrupt address range are not translated", "Handling Requests to Interrupt Address Range", bench =>
        {
            const ulong message = 0xFEE5_5000;
            bench.Build();
            bench.Set(Level3 + (message >> 30) * 8, Level2 | Rw);
            bench.Set(Level2 + (message >> 21 & 511) * 8, Level1 | Rw);
            bench.Set(Level1 + (message >> 12 & 511) * 8, New | Rw);
            bench.Set(Level1 + (message + 0x10_0000 >> 12 & 511) * 8, New | Rw);
            bench.Enable();
            bench.Write(message, Payload);
            bench.AssertWritten(null);
            bench.AssertNoFault("a message");
            bench.Writes(message + 0x10_0000, New);
        }),
    ];

    // Every level must grant what a leaf grants.
    private static IEnumerable<VtdCase> UpperLevels() => new[] { (4, Level4, Level3), (3, Level3, Level2), (2, Level2, Level1) }.SelectMany(
        level => new VtdCase[]
        {
            new($"Read-only at level {level.Item1} makes all below read-only", Faults, bench =>
            {
                bench.Build();
                bench.Set(level.Item2, level.Item3 | R);
                bench.Enable();
                bench.WriteFaults(Page, Reason.WriteDenied);
                bench.Reads(Page, Old);
            }),
            new($"Write-only at level {level.Item1} makes all below write-only", Faults, bench =>
            {
                bench.Build();
                bench.Set(level.Item2, level.Item3 | W);
                bench.Enable();
                bench.ReadFaults(Page, Reason.ReadDenied);
                bench.Writes(Page, Old);
            }),
        });

    private static void Reserved(VtdBench bench, ulong entry, ReadOnlySpan<int> bits)
    {
        bench.Build();
        ulong good = bench.Memory.Read64(new(entry));
        bench.Enable();
        foreach (int bit in bits)
        {
            // A translation that faulted is not cached (caching mode off), so the entry can be changed without more ado.
            bench.Set(entry, good | 1UL << bit);
            bench.ReadFaults(Page, Reason.EntryReserved);
            bench.WriteFaults(Page, Reason.EntryReserved);
        }

        bench.Set(entry, good);
        bench.Reads(Page, Old);
    }
}
