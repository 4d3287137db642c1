using Harness;
using IommuSim;
using IommuSim.Cpu;
using Platform;
using static Conformance.Simulator.RawCpu;

namespace Conformance.Simulator;

/// <summary>Intel SDM, volume 3A, "Caching Translation Information": what is cached, under which tag, and what forgets it.</summary>
public sealed class CpuTlbTests
{
    private const PageFaultCode Absent = PageFaultCode.User;

    private static readonly CpuOptions NoStructures = CpuOptions.Default with { PagingStructureEntriesPerLevel = 0 };

    [Fact]
    public void A_translation_is_used_until_it_is_invalidated()
    {
        using RawCpu cpu = new RawCpu().Loaded();
        cpu.SetPage(0, FrameA | All);
        cpu.AssertReaches(FrameA, 0);
        cpu.SetPage(0, 0);
        cpu.AssertReaches(FrameA, 0);
        cpu.Core.Invlpg(new(0x1000));
        cpu.AssertReaches(FrameA, 0);
        cpu.Core.Invlpg(new(0xFFF));
        cpu.AssertFault(Absent, 0);
        Assert.Equal((2, 2), (cpu.Core.Statistics.TlbHits, cpu.Core.Statistics.Walks));
    }

    /// <summary>"Details of TLB Use": nothing is cached where P is 0 or a reserved bit is set, so that what becomes present needs no invalidation.</summary>
    [Fact]
    public void What_is_absent_or_malformed_is_not_cached()
    {
        using RawCpu cpu = new RawCpu().Loaded();
        cpu.AssertFault(Absent, 0);
        cpu.SetPage(0, FrameA | All | 1UL << 51);
        cpu.AssertFault(Absent | PageFaultCode.Present | PageFaultCode.Reserved, 0);
        Assert.Empty(cpu.Core.Tlb);
        cpu.SetPage(0, FrameA | All);
        cpu.AssertReaches(FrameA, 0);
    }

    /// <summary>A right that is given needs no invalidation: the fault forgets the old one, so that it comes once at most.</summary>
    [Fact]
    public void A_fault_forgets_what_led_to_it()
    {
        using RawCpu cpu = new RawCpu().Loaded();
        cpu.SetPage(0, FrameA | P | U | D);
        cpu.SetPage(1, FrameB | All);
        cpu.AssertReaches(FrameA, 0);
        cpu.AssertReaches(FrameB, 0x1000);
        cpu.SetPage(0, FrameA | All);
        cpu.AssertFault(PageFaultCode.Present | PageFaultCode.Write | PageFaultCode.User, 0, CpuAccess.Write);
        cpu.AssertReaches(FrameA, 0, CpuAccess.Write);
        // The neighbour stays, and what led to both is read again.
        Assert.Equal(2, cpu.Core.Tlb.Count);

        // Likewise of what the paging-structure caches hold.
        cpu.Core.InvpcidAll(globals: true);
        cpu.Write(Table3, Table2 | P | U);
        cpu.AssertReaches(FrameA, 0);
        cpu.Write(Table3, Table2 | All);
        cpu.Core.InvpcidAddress(default, new(0x1000));
        cpu.AssertFault(PageFaultCode.Present | PageFaultCode.Write | PageFaultCode.User, 0, CpuAccess.Write);
        cpu.AssertReaches(FrameA, 0, CpuAccess.Write);
    }

    /// <summary>The same of a page that is global, since a fault forgets those of the page whatever their PCID; its neighbours stay.</summary>
    [Theory]
    [InlineData(0UL)]
    [InlineData(G)]
    public void A_fault_forgets_the_page_and_not_its_neighbours(ulong global)
    {
        using RawCpu cpu = new RawCpu().Loaded();
        for (ulong page = 2; page <= 4; page++)
        {
            cpu.SetPage(page, FrameA | P | U | D | global);
            cpu.AssertReaches(FrameA, page << 12);
            cpu.SetPage(page, FrameB | All | D | global);
        }

        cpu.AssertFault(PageFaultCode.Present | PageFaultCode.Write | PageFaultCode.User, 0x3000, CpuAccess.Write);
        cpu.AssertReaches(FrameB, 0x3000, CpuAccess.Write);
        cpu.AssertReaches(FrameA, 0x2000);
        cpu.AssertReaches(FrameA, 0x4000);
    }

    /// <summary>"Details of TLB Use": a large page is one translation, for all of its addresses.</summary>
    [Theory]
    [InlineData(Table1 + 8, 0x1000UL, 0xFFFUL)]
    [InlineData(Table2 + 8, 0x20_0000UL, 0x1F_FFFFUL)]
    [InlineData(Table3 + 8, 0x4000_0000UL, 0x3FFF_FFFFUL)]
    public void A_page_of_any_size_is_known_from_its_first_address_to_its_last(ulong at, ulong first, ulong size)
    {
        using RawCpu cpu = new RawCpu().Loaded();
        cpu.Write(at, at >= Table1 ? All : All | Ps);
        cpu.AssertReaches(size / 2, first + size / 2);
        cpu.Write(at, 0);
        cpu.AssertReaches(0, first);
        cpu.AssertReaches(size, first + size);
        Assert.Equal((1, 2), (cpu.Core.Statistics.Walks, cpu.Core.Statistics.TlbHits));
        Assert.Equal(CpuOutcome.PageFault, cpu.Translate(first + size + 1).Outcome);
    }

    /// <summary>"Using the Paging-Structure Caches to Translate Linear Addresses": the walk begins below the lowest entry that is cached for the address.</summary>
    [Theory]
    [InlineData(4, 12, Table1)]
    [InlineData(4, 21, Table2)]
    [InlineData(4, 30, Table3)]
    [InlineData(4, 39, Table4)]
    [InlineData(5, 39, Table4)]
    [InlineData(5, 48, Table5)]
    public void A_walk_begins_at_the_lowest_table_that_is_known(int levels, int bit, ulong table)
    {
        var read = new List<ulong>();
        using RawCpu cpu = new RawCpu(CpuOptions.Default with { Levels = levels }, (step, detail) =>
        {
            if (step == SimStep.WalkRead) read.Add(detail);
        }).Loaded();
        cpu.SetPage(0, FrameA | All);
        cpu.AssertReaches(FrameA, 0);
        Assert.Equal(levels, read.Count);
        read.Clear();
        cpu.AssertFault(Absent, 1UL << bit);
        Assert.Equal([table + 8], read);
        Assert.Equal(table == cpu.Root ? 0 : 1, cpu.Core.Statistics.PagingStructureHits);
    }

    [Fact]
    public void Where_there_is_no_cache_nothing_is_kept_and_no_fill_is_a_step()
    {
        var seen = new List<SimStep>();
        using RawCpu cpu = new RawCpu(NoStructures with { TlbSets = 0 }, (step, _) => seen.Add(step)).Loaded();
        cpu.SetPage(0, FrameA | All);
        cpu.AssertReaches(FrameA, 0);
        cpu.SetPage(0, 0);
        cpu.AssertFault(Absent, 0);
        Assert.DoesNotContain(SimStep.TlbFill, seen);
        Assert.DoesNotContain(SimStep.WalkCacheFill, seen);
        Assert.Equal(8, seen.Count(static step => step == SimStep.WalkRead));
    }

    [Fact]
    public void Whoever_looks_on_sees_what_the_TLB_holds()
    {
        using RawCpu cpu = new RawCpu().Loaded();
        Assert.Empty(cpu.Core.PeekTlb());
        cpu.SetPage(1, FrameA | P | U);
        cpu.SetPage(2, FrameB | All | G);
        cpu.AssertReaches(FrameA, 0x1000);
        cpu.AssertReaches(FrameB, 0x2000, CpuAccess.Write);
        TlbEntry[] expected =
        [
            new(default, IovaRange.FromLength(new(0x1000), 4096), new(FrameA), Write: false, User: true, Execute: true, Global: false, Dirty: false),
            new(default, IovaRange.FromLength(new(0x2000), 4096), new(FrameB), Write: true, User: true, Execute: true, Global: true, Dirty: true),
        ];
        Assert.Equal(expected, cpu.Core.PeekTlb().OrderBy(static entry => entry.Range.First.Value));
        Assert.Equal(cpu.Core.Tlb, cpu.Core.PeekTlb());
    }

    /// <summary>Volume 2A, "INVLPG": in 64-bit mode an address that is not canonical makes it a no-operation.</summary>
    [Fact]
    public void INVLPG_of_an_address_that_is_not_canonical_does_nothing()
    {
        using RawCpu cpu = new RawCpu().Loaded();
        cpu.SetPage(0, FrameA | All);
        cpu.AssertReaches(FrameA, 0);
        (IReadOnlyList<TlbEntry> tlb, IReadOnlyList<PagingStructureEntry> structures) = (cpu.Core.Tlb, cpu.Core.PagingStructures);
        cpu.Core.Invlpg(new(1UL << 47));
        Assert.Equal(tlb, cpu.Core.Tlb);
        Assert.Equal(structures, cpu.Core.PagingStructures);
        Assert.Equal(0, cpu.Core.Statistics.PageInvalidations);
    }

    /// <summary>"Accessed and Dirty Flags": the first write of a page sets D in memory, also if the TLB knows the page from reads.</summary>
    [Fact]
    public void The_first_write_walks_and_sets_the_dirty_flag()
    {
        using RawCpu cpu = new RawCpu().Loaded();
        cpu.SetPage(0, FrameA | All);
        cpu.AssertReaches(FrameA, 0);
        Assert.Equal(FrameA | All | A, cpu.Entry(Table1));
        cpu.AssertReaches(FrameA, 0, CpuAccess.Write);
        Assert.Equal(FrameA | All | A | D, cpu.Entry(Table1));
        Assert.Equal(2, cpu.Core.Statistics.Walks);
        // Once it is known the flag is not set again, unless what is known is forgotten.
        cpu.SetPage(0, FrameA | All | A);
        cpu.AssertReaches(FrameA, 0, CpuAccess.Write);
        Assert.Equal(FrameA | All | A, cpu.Entry(Table1));
        cpu.Core.Invlpg(new(0));
        cpu.AssertReaches(FrameA, 0, CpuAccess.Write);
        Assert.Equal(FrameA | All | A | D, cpu.Entry(Table1));
    }

    /// <summary>"Paging-Structure Caches": a pointer to a table is used after the entry has changed, until it is invalidated.</summary>
    [Theory]
    [InlineData(Table4)]
    [InlineData(Table3)]
    [InlineData(Table2)]
    public void A_pointer_to_a_table_is_used_until_it_is_invalidated(ulong at)
    {
        using RawCpu cpu = new RawCpu().Loaded();
        cpu.SetPage(0, FrameA | All);
        cpu.SetPage(1, FrameB | All);
        cpu.AssertReaches(FrameA, 0);
        ulong entry = cpu.Entry(at);
        cpu.Write(at, 0);
        cpu.AssertReaches(FrameB, 0x1000);
        Assert.Equal(1, cpu.Core.Statistics.PagingStructureHits);
        // INVLPG of any page forgets all pointers under the PCID, INVPCID of type 0 those that lead to the page.
        cpu.Core.Invlpg(new(0x7000_0000));
        cpu.AssertReaches(FrameA, 0);
        cpu.SetPage(2, FrameC | All);
        cpu.AssertFault(Absent, 0x2000);
        cpu.Write(at, entry);
        cpu.AssertReaches(FrameC, 0x2000);
        cpu.Write(at, 0);
        cpu.Core.InvpcidAddress(default, new(0x80_0000_0000));
        cpu.SetPage(3, FrameC | All);
        cpu.AssertReaches(FrameC, 0x3000);
        cpu.Core.InvpcidAddress(default, new(0x4000));
        cpu.SetPage(4, FrameC | All);
        cpu.AssertFault(Absent, 0x4000);
    }

    /// <summary>Each operation of "Operations that Invalidate TLBs and Paging-Structure Caches", and which of four translations it leaves.</summary>
    [Theory]
    // Translations: 5 page 0, 5 page 1, 6 page 0, and a global one of page 2 cached under 5. The current PCID is 5.
    [InlineData("none", "5/0 5/1 6/0 g/2")]
    [InlineData("invlpg 0", "5/1 6/0 g/2")]
    [InlineData("invlpg 2", "5/0 5/1 6/0")]
    [InlineData("address 6 0", "5/0 5/1 g/2")]
    [InlineData("address 5 2", "5/0 5/1 6/0 g/2")]
    [InlineData("context 5", "6/0 g/2")]
    [InlineData("context 6", "5/0 5/1 g/2")]
    [InlineData("all-global", "")]
    [InlineData("all", "g/2")]
    [InlineData("cr3 5", "6/0 g/2")]
    [InlineData("cr3 5 keep", "5/0 5/1 6/0 g/2")]
    [InlineData("cr3 6", "5/0 5/1 g/2")]
    [InlineData("cr3 6 keep", "5/0 5/1 6/0 g/2")]
    public void An_invalidation_covers_what_it_names_and_no_more(string operation, string left)
    {
        using var cpu = new RawCpu(NoStructures);
        cpu.SetPage(0, FrameA | All);
        cpu.SetPage(1, FrameB | All);
        cpu.SetPage(2, FrameC | All | G);
        cpu.Core.LoadCr3(new(Table4), new(6));
        cpu.AssertReaches(FrameA, 0);
        cpu.Core.LoadCr3(new(Table4), new(5), keep: true);
        for (ulong page = 0; page < 3; page++) Assert.True(cpu.Translate(page << 12).Ok);
        string[] words = operation.Split(' ');
        switch (words[0])
        {
            case "invlpg":
                cpu.Core.Invlpg(new(ulong.Parse(words[1]) << 12));
                break;
            case "address":
                cpu.Core.InvpcidAddress(new(ushort.Parse(words[1])), new(ulong.Parse(words[2]) << 12));
                break;
            case "context":
                cpu.Core.InvpcidContext(new(ushort.Parse(words[1])));
                break;
            case "cr3":
                cpu.Core.LoadCr3(new(Table4), new(ushort.Parse(words[1])), keep: words.Length == 3);
                break;
            case "all" or "all-global":
                cpu.Core.InvpcidAll(globals: words[0] == "all-global");
                break;
        }

        Assert.Equal(left, string.Join(' ', cpu.Core.Tlb.Select(entry => $"{(entry.Global ? "g" : entry.Pcid.Value)}/{entry.Range.First.Value >> 12}").Order()));
    }

    [Fact]
    public void A_tag_keeps_two_tables_apart_and_a_global_page_does_not()
    {
        using var cpu = new RawCpu();
        const ulong other = 0x50000;
        cpu.SetPage(0, FrameA | All);
        cpu.SetPage(1, FrameB | All | G);
        cpu.Core.LoadCr3(new(Table4), new(1));
        cpu.AssertReaches(FrameA, 0);
        cpu.AssertReaches(FrameB, 0x1000);
        cpu.Core.LoadCr3(new(other), new(2), keep: true);
        cpu.AssertFault(Absent, 0);
        cpu.AssertReaches(FrameB, 0x1000);
        cpu.SetPage(0, 0);
        cpu.Core.LoadCr3(new(Table4), new(1), keep: true);
        cpu.AssertReaches(FrameA, 0);
        cpu.Core.LoadCr3(new(Table4), new(1));
        cpu.AssertFault(Absent, 0);
    }

    /// <summary>Without CR4.PCIDE a change of CR3 forgets all but global translations, whatever bit 63 says; without CR4.PGE there are none such.</summary>
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Without_tags_a_switch_forgets(bool hasGlobals)
    {
        using RawCpu cpu = new RawCpu(CpuOptions.Default with { ProcessContextIds = false, GlobalPages = hasGlobals }).Loaded();
        cpu.SetPage(0, FrameA | All);
        cpu.SetPage(1, FrameB | All | G);
        cpu.AssertReaches(FrameA, 0);
        cpu.AssertReaches(FrameB, 0x1000);
        cpu.Core.LoadCr3(new(Table4), keep: true);
        Assert.Equal(hasGlobals ? 1 : 0, cpu.Core.Tlb.Count);
        Assert.Empty(cpu.Core.PagingStructures);
        Assert.Throws<ArgumentException>(() => cpu.Core.LoadCr3(new(Table4), new(1)));
    }

    [Theory]
    [InlineData(0, 4)]
    [InlineData(4, 0)]
    [InlineData(1, 1)]
    [InlineData(2, 1)]
    [InlineData(1, 2)]
    public void A_TLB_holds_as_much_as_it_has_room_for(int sets, int ways)
    {
        using RawCpu cpu = new RawCpu(CpuOptions.Default with { TlbSets = sets, TlbWays = ways, PagingStructureEntriesPerLevel = sets * ways }).Loaded();
        for (ulong page = 0; page < 8; page++) cpu.SetPage(page, FrameA | All);
        for (ulong page = 0; page < 8; page++) cpu.AssertReaches(FrameA, page << 12);
        Assert.Equal(Math.Min(sets * ways, 8), cpu.Core.Tlb.Count);
        // The last ones used.
        Assert.All(cpu.Core.Tlb, entry => Assert.True(entry.Range.First.Value >> 12 >= (ulong)(8 - sets * ways)));
        cpu.AssertReaches(FrameA, 7 << 12);
        Assert.Equal(sets * ways == 0 ? 9 : 8, cpu.Core.Statistics.Walks);
    }

    [Fact]
    public void A_hit_allocates_nothing()
    {
        using RawCpu cpu = new RawCpu().Loaded();
        cpu.SetPage(0, FrameA | All | A | D);
        byte[] word = new byte[8];
        for (int i = 0; i < 100; i++) Access();
        Assert.Equal(0, Allocations.Of(() =>
        {
            for (int i = 0; i < 1000; i++) Access();
        }));
        Assert.Equal(1, cpu.Core.Statistics.Walks);

        void Access()
        {
            cpu.Core.Read(new(0), word);
            cpu.Core.Write(new(8), word);
        }
    }
}
