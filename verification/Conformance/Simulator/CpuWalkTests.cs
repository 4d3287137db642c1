using IommuSim;
using IommuSim.Cpu;
using Platform;
using static Conformance.Simulator.RawCpu;

namespace Conformance.Simulator;

/// <summary>Intel SDM, volume 3A, "4-Level Paging and 5-Level Paging", "Access Rights", "Page-Fault Exceptions": as rows.</summary>
public sealed class CpuWalkTests
{
    [Theory]
    [InlineData(4)]
    [InlineData(5)]
    public void Pages_of_every_size_are_translated_and_flags_are_set_on_the_way(int levels)
    {
        using RawCpu cpu = new RawCpu(CpuOptions.Default with { Levels = levels }).Loaded();
        cpu.SetPage(3, FrameA | All);
        cpu.Write(Table2 + 8, 0x20_0000 | All | Ps | 0x1000);        // The PAT bit of a large leaf is no address bit.
        cpu.Write(Table3 + 8, All | Ps);
        cpu.AssertReaches(FrameA + 0x123, 0x3123);
        cpu.AssertReaches(0x20_0000 + 0x12_3456, 0x20_0000 + 0x12_3456);
        cpu.AssertReaches(0x12_3456, (1UL << 30) + 0x12_3456, CpuAccess.Write);
        Assert.Equal(Table4 | All | (levels == 5 ? A : 0), cpu.Entry(Table5));
        Assert.Equal(Table3 | All | A, cpu.Entry(Table4));
        Assert.Equal(Table2 | All | A, cpu.Entry(Table3));
        Assert.Equal(Table1 | All | A, cpu.Entry(Table2));
        Assert.Equal(FrameA | All | A, cpu.Entry(Table1 + 24));
        Assert.Equal(0x20_0000 | All | Ps | 0x1000 | A, cpu.Entry(Table2 + 8));
        Assert.Equal(All | Ps | A | D, cpu.Entry(Table3 + 8));
        Assert.Equal([1UL << 12, 1UL << 21, 1UL << 30], cpu.Core.Tlb.Select(entry => entry.Range.ByteCount).Order());
    }

    /// <summary>"Determination of Access Rights": rights are what every entry grants; the row says which entry takes one away.</summary>
    [Theory]
    [InlineData(Table4)]
    [InlineData(Table3)]
    [InlineData(Table2)]
    [InlineData(Table1)]
    public void A_right_that_one_entry_withholds_is_not_there(ulong at)
    {
        using RawCpu cpu = new RawCpu(CpuOptions.Default with { SupervisorExecutionPrevention = false }).Loaded();
        cpu.SetPage(0, FrameA | All);
        ulong whole = cpu.Entry(at);
        cpu.Write(at, whole & ~W);
        cpu.AssertFault(PageFaultCode.Present | PageFaultCode.Write | PageFaultCode.User, 0, CpuAccess.Write);
        cpu.AssertReaches(FrameA, 0);
        cpu.Core.InvpcidAll(globals: true);
        cpu.Write(at, whole & ~U);
        cpu.AssertFault(PageFaultCode.Present | PageFaultCode.User, 0);
        cpu.AssertReaches(FrameA, 0, privilege: CpuPrivilege.Supervisor);
        cpu.Core.InvpcidAll(globals: true);
        cpu.Write(at, whole | Xd);
        cpu.AssertFault(PageFaultCode.Present | PageFaultCode.User | PageFaultCode.Fetch, 0, CpuAccess.Fetch);
        cpu.AssertFault(PageFaultCode.Present | PageFaultCode.Fetch, 0, CpuAccess.Fetch, CpuPrivilege.Supervisor);
        cpu.AssertReaches(FrameA, 0);
    }

    /// <summary>"Accessed and Dirty Flags" are set where an entry is used: an access that the tables above forbid does not use the leaf.</summary>
    [Theory]
    [InlineData(W, CpuAccess.Write)]
    [InlineData(U, CpuAccess.Read)]
    public void An_access_that_is_forbidden_sets_no_flag_of_the_leaf(ulong withheld, CpuAccess access)
    {
        using RawCpu cpu = new RawCpu().Loaded();
        cpu.SetPage(0, FrameA | All);
        cpu.Write(Table2, cpu.Entry(Table2) & ~withheld);
        Assert.Equal(CpuOutcome.PageFault, cpu.Translate(0, access).Outcome);
        Assert.Equal(FrameA | All, cpu.Entry(Table1));
        Assert.Equal(CpuOutcome.Done, cpu.Translate(0, CpuAccess.Read, CpuPrivilege.Supervisor).Outcome);
        Assert.Equal(FrameA | All | A, cpu.Entry(Table1));
    }

    /// <summary>The supervisor's rights, as the section lists them: by CR0.WP, CR4.SMEP, CR4.SMAP with EFLAGS.AC, and IA32_EFER.NXE.</summary>
    [Theory]
    // Supervisor-mode addresses: read always, written if WP is 0 or every entry has R/W, fetched if NXE is 0 or none has XD.
    [InlineData(P, "wp", CpuAccess.Read, true)]
    [InlineData(P, "wp", CpuAccess.Write, false)]
    [InlineData(P, "", CpuAccess.Write, true)]
    [InlineData(P | W, "wp", CpuAccess.Write, true)]
    [InlineData(P, "nxe smep", CpuAccess.Fetch, true)]
    [InlineData(P | Xd, "nxe", CpuAccess.Fetch, false)]
    // User-mode addresses: with SMAP read and written only if AC is set, with SMEP never fetched.
    [InlineData(P | U, "wp", CpuAccess.Read, true)]
    [InlineData(P | U, "wp smap", CpuAccess.Read, false)]
    [InlineData(P | U, "wp smap ac", CpuAccess.Read, true)]
    [InlineData(P | U | W, "wp smap", CpuAccess.Write, false)]
    [InlineData(P | U | W, "wp smap ac", CpuAccess.Write, true)]
    [InlineData(P | U, "wp smap ac", CpuAccess.Write, false)]
    [InlineData(P | U, "smap ac", CpuAccess.Write, true)]
    [InlineData(P | U, "smap", CpuAccess.Write, false)]
    [InlineData(P | U, "smep", CpuAccess.Fetch, false)]
    [InlineData(P | U, "smap", CpuAccess.Fetch, true)]
    [InlineData(P | U | Xd, "nxe", CpuAccess.Fetch, false)]
    public void What_a_supervisor_may_do(ulong rights, string set, CpuAccess access, bool isPermitted)
    {
        string[] on = set.Split(' ');
        using RawCpu cpu = new RawCpu(CpuOptions.Default with
        {
            WriteProtect = on.Contains("wp"),
            SupervisorExecutionPrevention = on.Contains("smep"),
            SupervisorAccessPrevention = on.Contains("smap"),
            ExecuteDisable = on.Contains("nxe"),
        }).Loaded();
        cpu.Core.AlignmentCheck = on.Contains("ac");
        cpu.SetPage(0, FrameA | rights);
        // The second time the TLB answers, if it does.
        for (int i = 0; i < 2; i++)
        {
            if (isPermitted)
            {
                cpu.AssertReaches(FrameA, 0, access, CpuPrivilege.Supervisor);
                continue;
            }

            PageFaultCode code = access switch
            {
                CpuAccess.Write => PageFaultCode.Present | PageFaultCode.Write,
                CpuAccess.Fetch => PageFaultCode.Present | PageFaultCode.Fetch,
                _ => PageFaultCode.Present,
            };
            cpu.AssertFault(code, 0, access, CpuPrivilege.Supervisor);
        }
    }

    [Fact]
    public void An_absent_entry_is_a_fault_with_P_clear_whatever_else_it_holds()
    {
        using RawCpu cpu = new RawCpu().Loaded();
        foreach (ulong at in (ulong[])[Table4, Table3, Table2, Table1])
        {
            ulong whole = cpu.Entry(at);
            cpu.Write(at, ulong.MaxValue & ~P);
            cpu.Core.InvpcidAll(globals: true);
            cpu.AssertFault(PageFaultCode.User, 0);
            cpu.AssertFault(PageFaultCode.Write, 0, CpuAccess.Write, CpuPrivilege.Supervisor);
            cpu.AssertFault(PageFaultCode.User | PageFaultCode.Fetch, 0, CpuAccess.Fetch);
            Assert.Equal(ulong.MaxValue & ~P, cpu.Entry(at));
            cpu.Write(at, whole);
        }
    }

    /// <summary>Whether a fetch was one is told only where it can matter.</summary>
    [Theory]
    [InlineData(false, false, false)]
    [InlineData(true, false, true)]
    [InlineData(false, true, true)]
    public void A_fetch_is_told_where_NXE_or_SMEP_is_set(bool nxe, bool smep, bool isTold)
    {
        using RawCpu cpu = new RawCpu(CpuOptions.Default with { ExecuteDisable = nxe, SupervisorExecutionPrevention = smep }).Loaded();
        cpu.AssertFault(PageFaultCode.User | (isTold ? PageFaultCode.Fetch : 0), 0, CpuAccess.Fetch);
    }

    /// <summary>The tables "Format of a … Entry": the bits that are reserved at each level, and none besides.</summary>
    [Theory]
    [InlineData(Table5, 7, true)]
    [InlineData(Table4, 7, true)]
    [InlineData(Table5, 8, false)]
    [InlineData(Table4, 8, false)]
    [InlineData(Table3, 8, false)]
    [InlineData(Table1, 7, false)]
    [InlineData(Table1, 9, false)]
    [InlineData(Table1, 11, false)]
    [InlineData(Table1, 39, false)]
    [InlineData(Table1, 40, true)]
    [InlineData(Table1, 51, true)]
    [InlineData(Table1, 52, false)]
    [InlineData(Table1, 62, false)]
    [InlineData(Table4, 40, true)]
    [InlineData(Table4, 51, true)]
    [InlineData(Table4, 52, false)]
    [InlineData(Table3, 40, true)]
    [InlineData(Table2, 51, true)]
    public void Reserved_bits_are_those_that_the_format_names(ulong at, int bit, bool isReserved)
    {
        using RawCpu cpu = new RawCpu(CpuOptions.Default with { Levels = 5, PhysicalAddressWidth = 40 }).Loaded();
        cpu.SetPage(0, FrameA | All);
        cpu.Write(at, cpu.Entry(at) | 1UL << bit);
        CpuTranslation seen = cpu.Translate(0, CpuAccess.Write);
        if (isReserved) Assert.Equal(Refused, seen);
        else Assert.NotEqual(PageFaultCode.Reserved, seen.Code & PageFaultCode.Reserved);
    }

    private static readonly CpuTranslation Refused =
        new(CpuOutcome.PageFault, default, PageFaultCode.Present | PageFaultCode.Reserved | PageFaultCode.Write | PageFaultCode.User);

    [Theory]
    [InlineData(Table2, 13, true)]
    [InlineData(Table2, 20, true)]
    [InlineData(Table2, 12, false)]
    [InlineData(Table3, 13, true)]
    [InlineData(Table3, 29, true)]
    [InlineData(Table3, 12, false)]
    public void The_address_bits_below_a_large_page_are_reserved_but_for_PAT(ulong at, int bit, bool isReserved)
    {
        using RawCpu cpu = new RawCpu().Loaded();
        cpu.Write(at, All | Ps | 1UL << bit);
        Assert.Equal(isReserved, cpu.Translate(0).Code.HasFlag(PageFaultCode.Reserved));
    }

    [Fact]
    public void What_a_feature_lets_be_used_is_reserved_without_it()
    {
        using RawCpu cpu = new RawCpu(CpuOptions.Default with { Pages1G = false, ExecuteDisable = false }).Loaded();
        cpu.SetPage(0, FrameA | All | Xd);
        cpu.AssertFault(PageFaultCode.Present | PageFaultCode.Reserved | PageFaultCode.User, 0);
        cpu.Write(Table3 + 8, All | Ps);
        cpu.AssertFault(PageFaultCode.Present | PageFaultCode.Reserved | PageFaultCode.User, 1UL << 30);
    }

    [Theory]
    [InlineData(4, 0x0000_7FFF_FFFF_F000, CpuOutcome.PageFault)]
    [InlineData(4, 0x0000_8000_0000_0000, CpuOutcome.GeneralProtection)]
    [InlineData(4, 0xFFFF_7FFF_FFFF_F000, CpuOutcome.GeneralProtection)]
    [InlineData(4, 0xFFFF_8000_0000_0000, CpuOutcome.PageFault)]
    [InlineData(5, 0x0000_8000_0000_0000, CpuOutcome.PageFault)]
    [InlineData(5, 0x00FF_FFFF_FFFF_F000, CpuOutcome.PageFault)]
    [InlineData(5, 0x0100_0000_0000_0000, CpuOutcome.GeneralProtection)]
    [InlineData(5, 0xFF00_0000_0000_0000, CpuOutcome.PageFault)]
    public void Addresses_must_be_canonical(int levels, ulong address, CpuOutcome expected)
    {
        using RawCpu cpu = new RawCpu(CpuOptions.Default with { Levels = levels }).Loaded();
        Assert.Equal(expected, cpu.Translate(address).Outcome);
    }

    [Fact]
    public void The_upper_half_has_entries_of_its_own()
    {
        using RawCpu cpu = new RawCpu().Loaded();
        cpu.Write(Table4 + 511 * 8, Table3 | All);
        cpu.Write(Table3 + 511 * 8, Table2 | All);
        cpu.Write(Table2 + 511 * 8, Table1 | All);
        cpu.SetPage(511, FrameB | All);
        cpu.AssertReaches(FrameB + 0xFF8, ulong.MaxValue - 7);
        Assert.Equal(new IovaRange(new(ulong.MaxValue - 0xFFF), new(ulong.MaxValue)), Assert.Single(cpu.Core.Tlb).Range);
        Assert.Equal(ulong.MaxValue, cpu.Core.PagingStructures.Max(entry => entry.Range.Last.Value));
    }

    [Fact]
    public void Tables_that_point_at_themselves_are_walked_as_far_as_there_are_levels()
    {
        using RawCpu cpu = new RawCpu().Loaded();
        cpu.Write(Table4, Table4 | All);
        cpu.AssertReaches(Table4 + 8, 8);
        Assert.Equal(4, cpu.Core.PagingStructures.Count + cpu.Core.Tlb.Count);
    }

    [Fact]
    public void Where_no_memory_answers_nothing_is_read_or_written()
    {
        using RawCpu cpu = new RawCpu().Loaded();
        cpu.SetPage(0, MemoryBytes | All);
        cpu.Write(Table2 + 8, MemoryBytes | All);
        Assert.Equal(CpuOutcome.NoMemory, cpu.Core.Read(new(0), new byte[8]).Outcome);
        Assert.Equal(CpuOutcome.NoMemory, cpu.Core.Write(new(0), new byte[8]).Outcome);
        Assert.Equal(CpuOutcome.NoMemory, cpu.Translate(2 << 20).Outcome);
    }

    [Fact]
    public void An_access_across_pages_stops_at_the_first_that_faults()
    {
        using RawCpu cpu = new RawCpu().Loaded();
        cpu.SetPage(0, FrameA | All);
        cpu.SetPage(1, FrameC | All);
        cpu.SetPage(2, FrameB | P | U);
        byte[] bytes = new byte[2 * 4096 + 16];
        Assert.Equal(new(CpuOutcome.PageFault, 2 * 4096 - 8, PageFaultCode.Present | PageFaultCode.Write | PageFaultCode.User, new(0x2000)), cpu.Core.Write(new(8), bytes));
        Assert.Equal(new(CpuOutcome.Done, (ulong)bytes.Length, PageFaultCode.None, default), cpu.Core.Read(new(8), bytes));
        Assert.Equal(0xBBUL, BitConverter.ToUInt64(bytes, 2 * 4096 - 8));
        Assert.Equal(0xAAUL, cpu.Entry(FrameA));
        Assert.Equal(0UL, cpu.Entry(FrameC));
    }

    /// <summary>Flags are set by compare-and-swap: software that changes the entry meanwhile is not overwritten, and what it wrote counts.</summary>
    [Theory]
    [InlineData(0UL, false)]
    [InlineData(FrameB | All, true)]
    public void An_entry_that_changes_before_its_flag_is_set_is_read_again(ulong changed, bool isPresent)
    {
        RawCpu? cpu = null;
        using RawCpu made = cpu = new RawCpu(hook: (step, detail) =>
        {
            if (step == SimStep.FlagUpdate && detail == Table1 && cpu!.Entry(Table1) == (FrameA | All)) cpu.Write(Table1, changed);
        });
        cpu.Loaded().SetPage(0, FrameA | All);
        if (isPresent) cpu.AssertReaches(FrameB, 0);
        else cpu.AssertFault(PageFaultCode.User, 0);
        Assert.Equal(isPresent ? changed | A : 0, cpu.Entry(Table1));
        Assert.Equal(1, cpu.Core.Statistics.FlagUpdatesLost);
    }

    [Fact]
    public void An_access_is_a_sequence_of_steps()
    {
        var seen = new List<(SimStep, ulong)>();
        using RawCpu cpu = new RawCpu(hook: (step, detail) => seen.Add((step, detail)));
        cpu.SetPage(1, FrameA | All | A);
        foreach (ulong at in (ulong[])[Table4, Table3]) cpu.Write(at, cpu.Entry(at) | A);
        cpu.Loaded();
        cpu.Core.Read(new(0x1008), new byte[8]);
        cpu.Core.Read(new(0x1008), new byte[8]);
        cpu.SetPage(2, FrameB | All | A | D);
        cpu.Core.Write(new(0x2010), new byte[8]);
        Assert.Equal(
            [
                (SimStep.RootLoad, Table4),
                (SimStep.TlbLookup, 0x1008UL),
                (SimStep.WalkCacheLookup, 0x1008UL),
                (SimStep.WalkRead, Table4),
                (SimStep.WalkCacheFill, 0x1008UL),
                (SimStep.WalkRead, Table3),
                (SimStep.WalkCacheFill, 0x1008UL),
                (SimStep.WalkRead, Table2),
                (SimStep.FlagUpdate, Table2),
                (SimStep.WalkCacheFill, 0x1008UL),
                (SimStep.WalkRead, Table1 + 8),
                (SimStep.TlbFill, 0x1008UL),
                (SimStep.MemoryAccess, FrameA + 8),
                (SimStep.TlbLookup, 0x1008UL),
                (SimStep.MemoryAccess, FrameA + 8),
                (SimStep.TlbLookup, 0x2010UL),
                (SimStep.WalkCacheLookup, 0x2010UL),
                (SimStep.WalkRead, Table1 + 16),
                (SimStep.TlbFill, 0x2010UL),
                (SimStep.MemoryAccess, FrameB + 0x10),
            ],
            seen);
    }

    [Fact]
    public void What_cannot_be_loaded_is_refused()
    {
        using var cpu = new RawCpu(CpuOptions.Default with { PhysicalAddressWidth = 40 });
        Assert.Throws<ArgumentException>(() => cpu.Core.LoadCr3(new(8)));
        Assert.Throws<ArgumentException>(() => cpu.Core.LoadCr3(new(1UL << 40)));
        Assert.Throws<ArgumentException>(() => cpu.Core.LoadCr3(new(Table4), new(0x1000)));
        Assert.Throws<ArgumentException>(() => cpu.Core.InvpcidAddress(default, new(1UL << 50)));
        Assert.Throws<ArgumentException>(() => cpu.Core.InvpcidAddress(new(0x1000), default));
        Assert.Throws<ArgumentException>(() => cpu.Core.InvpcidContext(new(0x1000)));
        Assert.Throws<ArgumentException>(() => cpu.Cluster.Load(0, new(Table4), new(0x1000)));
        Assert.Throws<ArgumentException>(() => cpu.Cluster.Load(0, new(8), default));
        Assert.Throws<ArgumentException>(() => cpu.Cluster.Load(0, new(1UL << 40), default));
        Assert.Null(cpu.Core.Cr3);
        Assert.Equal(0, cpu.Core.Statistics.Switches);

        // The last table below 2^MAXPHYADDR, and the last PCID.
        var last = new PhysAddr((1UL << 40) - 4096);
        cpu.Core.LoadCr3(last, new(Pcid.Last));
        Assert.Equal((last, new(Pcid.Last)), cpu.Core.Cr3);
        cpu.Cluster.Load(0, last, new(Pcid.Last));
    }
}
