using IommuSim;
using static Conformance.Simulator.RawScalable;

namespace Conformance.Simulator;

/// <summary>Fault conditions of PASID table entries and of requests under them: a row for each, with both ends of each reserved field.</summary>
public sealed class PasidEntryTests
{
    private const ulong ContextLow = PasidDirectory | 1 | 1 << 3;

    [Fact]
    public void SPT_1_the_table_entry_is_outside_memory()
    {
        using var vtd = new RawScalable(NoCaches);
        vtd.Write(PasidDirectory, MemoryBytes | 1);
        vtd.Faults(0x58);
    }

    [Fact]
    public void SPT_2_the_table_entry_is_not_present()
    {
        using var vtd = new RawScalable(NoCaches);
        vtd.Faults(0x59, pasid: 0);
        vtd.Faults(0x59, pasid: 63);
        vtd.SetPasid(63, FirstStage, FirstDomain | Snoop, First4);
        vtd.Goes(0x1000, FrameA, pasid: 63);
    }

    public static TheoryData<int, int> ReservedOfTableEntry()
    {
        var rows = new TheoryData<int, int>();
        foreach (int bit in (int[])[5, 10, 11, 48, 63]) rows.Add(0, bit);
        foreach (int bit in (int[])[16, 22, 24, 25, 26, 27, 31, 32, 63]) rows.Add(1, bit);    // PGSNP, CD, EMTE, PAT: none offered
        foreach (int bit in (int[])[1, 8, 11, 48, 63]) rows.Add(2, bit);
        for (int word = 3; word < 8; word++)
        {
            rows.Add(word, 0);
            rows.Add(word, 63);
        }

        return rows;
    }

    [Theory]
    [MemberData(nameof(ReservedOfTableEntry))]
    public void SPT_3_reserved_bits_of_the_table_entry(int word, int bit)
    {
        using var vtd = new RawScalable(NoCaches);
        foreach ((uint? pasid, ulong[] good) in new (uint?, ulong[])[]
        {
            (null, [SecondStage | Second4, SecondDomain | Snoop, 0, 0, 0, 0, 0, 0]),
            (2, [FirstStage, FirstDomain | Snoop, First4, 0, 0, 0, 0, 0]),
        })
        {
            ulong[] bad = [.. good];
            bad[word] |= 1UL << bit;
            ulong index = pasid ?? 1;
            vtd.SetPasid(index, bad[0], bad[1], bad[2], bad.AsSpan(3));
            vtd.Faults(0x5A, pasid: pasid);
            vtd.SetPasid(index, bad[0] & ~1UL, bad[1], bad[2], bad.AsSpan(3));
            vtd.Faults(0x59, pasid: pasid);
            vtd.SetPasid(index, good[0], good[1], good[2]);
            vtd.Goes(0x1000, FrameA, pasid: pasid);
        }
    }

    /// <summary>An option that is taken away, and a word and bit of the first-stage entry that is then reserved; else ignored or used.</summary>
    [Theory]
    [InlineData("ScalableWalkSnoop", 1, 23)]
    [InlineData("SupervisorRequests", 2, 0)]
    [InlineData("ExtendedAccessed", 2, 7)]
    [InlineData("SecondStageAccessedDirty", 0, 9)]
    [InlineData("SecondStage", 0, 2)]
    [InlineData("SecondStage", 0, 12)]
    [InlineData("SecondStage", 0, 47)]
    public void SPT_3_fields_of_what_the_unit_lacks(string lacks, int word, int bit)
    {
        VtdOptions options = lacks switch
        {
            "ScalableWalkSnoop" => NoCaches with { ScalableWalkSnoop = false },
            "SupervisorRequests" => NoCaches with { SupervisorRequests = false },
            "ExtendedAccessed" => NoCaches with { ExtendedAccessed = false },
            "SecondStageAccessedDirty" => NoCaches with { SecondStageAccessedDirty = false },
            _ => NoCaches with { SecondStage = false },
        };
        ulong[] entry = [FirstStage, FirstDomain, First4];
        entry[word] |= 1UL << bit;
        using var without = new RawScalable(options);
        without.SetPasid(2, entry[0], entry[1], entry[2]);
        without.Faults(0x5A, pasid: 2);
        using var with = new RawScalable(NoCaches);
        entry[1] |= Snoop;
        with.SetPasid(2, entry[0], entry[1], entry[2]);
        with.Goes(0x1000, FrameA, pasid: 2);
    }

    [Theory]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(4)]
    [InlineData(12)]
    [InlineData(47)]
    public void SPT_3_first_stage_fields_where_there_is_no_first_stage(int bit)
    {
        using var without = new RawScalable(NoCaches with { FirstStage = false });
        without.SetPasid(1, SecondStage | Second4, SecondDomain | Snoop, 1UL << bit);
        without.Faults(0x5A);
        using var with = new RawScalable(NoCaches);
        with.SetPasid(1, SecondStage | Second4, SecondDomain | Snoop, 1UL << bit);
        with.Goes(0x1000, FrameA);
    }

    [Theory]
    [InlineData(5)]
    [InlineData(6)]
    public void Bits_of_the_table_entry_that_are_ignored(int bit)
    {
        using var vtd = new RawScalable(NoCaches);
        vtd.SetPasid(2, FirstStage, FirstDomain | Snoop, First4 | 1UL << bit);
        vtd.Goes(0x1000, FrameA, pasid: 2);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(3)]     // 57 bits
    [InlineData(4)]
    [InlineData(7)]
    public void SPT_4_1_address_widths_that_are_not_supported(ulong width)
    {
        using var vtd = new RawScalable(NoCaches);
        vtd.SetPasid(1, 1 | 2 << 6 | Second4 | width << 2, SecondDomain | Snoop, 0);
        vtd.Faults(0x5B);
        // The first stage and pass-through ignore the field.
        vtd.SetPasid(2, FirstStage | width << 2, FirstDomain | Snoop, First4);
        vtd.Goes(0x1000, FrameA, pasid: 2);
        vtd.SetPasid(2, PassThrough | width << 2, FirstDomain, 0);
        vtd.Goes(FrameB, FrameB, pasid: 2);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(3)]     // nested
    [InlineData(5)]
    [InlineData(6)]
    [InlineData(7)]
    public void SPT_4_2_translation_types_that_are_not_supported(ulong type)
    {
        using var vtd = new RawScalable(NoCaches);
        vtd.SetPasid(1, 1 | 2 << 2 | Second4 | type << 6, SecondDomain | Snoop, First4);
        vtd.Faults(0x5B);
    }

    [Fact]
    public void SPT_4_2_translation_types_that_the_unit_lacks()
    {
        using var noFirst = new RawScalable(NoCaches with { FirstStage = false });
        noFirst.SetPasid(2, FirstStage, FirstDomain, 0);
        noFirst.Faults(0x5B, pasid: 2);
        using var noSecond = new RawScalable(NoCaches with { SecondStage = false });
        noSecond.SetPasid(1, 1 | 2 << 6, SecondDomain, 0);
        noSecond.Faults(0x5B);
        using var noPassThrough = new RawScalable(NoCaches with { PassThrough = false });
        noPassThrough.SetPasid(1, PassThrough, SecondDomain, 0);
        noPassThrough.Faults(0x5B);
    }

    [Fact]
    public void SPT_4_3_paging_modes_that_are_not_supported()
    {
        using var vtd = new RawScalable(NoCaches);
        foreach (ulong mode in (ulong[])[2, 3])
        {
            vtd.SetPasid(2, FirstStage, FirstDomain | Snoop, First4 | mode << 2);
            vtd.Faults(0x5B, pasid: 2);
        }

        using var fourOnly = new RawScalable(NoCaches with { FirstStageFiveLevels = false });
        fourOnly.SetPasid(2, FirstStage, FirstDomain | Snoop, First5 | FiveLevels);
        fourOnly.Faults(0x5B, pasid: 2);
    }

    [Fact]
    public void SPT_5_execute_where_it_is_not_enabled()
    {
        using var vtd = new RawScalable(NoCaches);
        vtd.Faults(0x5C, pasid: 2, execute: true);
        // A write asks for no execute permission.
        vtd.Goes(0x1000, FrameA, DeviceAccess.Write, pasid: 2, execute: true);
        using var withExecute = new RawScalable(NoCaches with { ExecuteRequests = true });
        withExecute.Faults(0x5C, pasid: 2, execute: true);
        withExecute.SetPasid(2, FirstStage, FirstDomain | Snoop, First4 | 1 << 1);
        withExecute.Goes(0x1000, FrameA, pasid: 2, execute: true);
    }

    [Fact]
    public void SPT_6_supervisor_privilege_where_it_is_not_enabled()
    {
        using var vtd = new RawScalable(NoCaches);
        vtd.Goes(0x1000, FrameA, pasid: 2, privileged: true);
        vtd.SetPasid(2, FirstStage, FirstDomain | Snoop, First4);
        vtd.Goes(0x1000, FrameA, pasid: 2);
        vtd.Faults(0x5D, pasid: 2, privileged: true);
        // RID_PRIV makes requests without PASID privileged; their record says nothing of it.
        vtd.SetContext(ContextLow, 1 | 1 << 20);
        vtd.Faults(0x5D);
        vtd.SetPasid(1, SecondStage | Second4, SecondDomain | Snoop, Sre);
        vtd.Goes(0x1000, FrameA);
        using var noSupervisor = new RawScalable(NoCaches with { SupervisorRequests = false });
        noSupervisor.SetPasid(2, FirstStage, FirstDomain | Snoop, First4);
        noSupervisor.Faults(0x5D, pasid: 2, privileged: true);
    }

    /// <summary>FPD in the context entry, the directory entry, the table entry; whether the entry is present or not.</summary>
    [Fact]
    public void Fault_processing_disabled_silences_the_qualified_faults()
    {
        using var vtd = new RawScalable(NoCaches);
        void IsSilent(byte reason, uint? pasid = null)
        {
            vtd.ClearFaults();
            Assert.Equal(reason, (byte)vtd.Go(0x5000, pasid: pasid).Reason);
            Assert.False(vtd.HasRecord, $"0x{reason:x} was recorded");
        }

        vtd.SetPasid(2, FirstStage | 2, FirstDomain | Snoop, First4);
        IsSilent(0x71, pasid: 2);
        vtd.Faults(0x79, 0x5000);
        vtd.SetPasid(1, 2, 0, 0);
        IsSilent(0x59);
        vtd.SetPasid(1, 3 | 2 << 6, 0, 0);
        IsSilent(0x5B);
        vtd.Write(PasidDirectory, PasidTable | 1 | 2);
        IsSilent(0x59, pasid: 0);
        vtd.Write(PasidDirectory, 2);
        IsSilent(0x51);
        vtd.Write(PasidDirectory, MemoryBytes | 1 | 2);
        vtd.Faults(0x58);    // SPT.1 is not qualified.
        vtd.Write(PasidDirectory, PasidTable | 1);
        vtd.SetContext(ContextLow | 2, 1);
        IsSilent(0x59, pasid: 0);
        IsSilent(0x46, pasid: 1 << 13);
        IsSilent(0x48, pasid: 1);
        vtd.SetContext(2, 0);
        IsSilent(0x41);
        vtd.SetContext(MemoryBytes | 1 | 2, 1);
        vtd.Faults(0x50);    // Nor is SPD.1.
        Assert.Equal(9, vtd.Iommu.Statistics.FaultsSilenced);
    }

    [Theory]
    [InlineData(0xFEE00000)]
    [InlineData(0xFEEFF000)]
    public void SGN_8_an_output_address_in_the_interrupt_range(ulong frame)
    {
        using var vtd = new RawScalable();
        vtd.SetSecond(2, frame | Rw);
        vtd.SetFirst(2, frame | Pwu);
        vtd.Faults(0x87, 0x2000);
        vtd.Faults(0x87, 0x2000, DeviceAccess.Write, pasid: 2);
        vtd.SetPasid(3, PassThrough, 9, 0);
        vtd.Faults(0x87, frame, pasid: 3);
        vtd.Faults(0x87, frame, DeviceAccess.Write, pasid: 3);
        vtd.Goes(0xFEDFF000, 0xFEDFF000, pasid: 3);
    }

    [Fact]
    public void An_input_address_in_the_interrupt_range_is_special_without_PASID_only()
    {
        using var vtd = new RawScalable();
        vtd.Write(Second3 + 3 * 8, Second2 | Rw);
        vtd.Write(Second2 + 503 * 8, Second1 | Rw);
        vtd.Write(First3 + 3 * 8, First2 | Pwu);
        vtd.Write(First2 + 503 * 8, First1 | Pwu);
        const ulong page = 0xFEE01000;
        vtd.Goes(page, page, DeviceAccess.Write);
        vtd.Faults(0x86, page);
        vtd.Goes(page, FrameA, DeviceAccess.Write, pasid: 2);
        vtd.Goes(page, FrameA, pasid: 2);
        var device = new BusMaster<Platform.Ram, Hook>(vtd.Iommu, vtd.Memory, Device);
        Assert.True(device.Write(new(page), [0x5A], new PasidPrefix(FirstPasid)).Ok);
        Assert.Equal(0x5Au, vtd.Memory.Read32(new(FrameA)) & 0xFF);
        byte[] seen = new byte[1];
        Assert.True(device.Read(new(page), seen, new PasidPrefix(FirstPasid)).Ok);
        Assert.Equal(0x5A, seen[0]);
    }
}
