using IommuSim;
using static Conformance.Simulator.RawScalable;

namespace Conformance.Simulator;

/// <summary>Second-stage tables and pass-through of a PASID.</summary>
public sealed class ScalableSecondStageTests
{
    private const ulong A = 1 << 8, D = 1 << 9;
    private const ulong Iova = 0x1000;
    private const ulong WithFlags = SecondStage | Second4 | 1 << 9;

    /// <summary>Entries of level 4, 3, 2, 1; then what a read and a write get (0: let through).</summary>
    [Theory]
    [InlineData(3, 3, 3, 3, 0x00, 0x00)]
    [InlineData(3, 3, 3, 1, 0x00, 0x85)]
    [InlineData(3, 3, 3, 2, 0x86, 0x00)]
    [InlineData(3, 3, 3, 0, 0x79, 0x79)]
    [InlineData(3, 3, 1, 3, 0x00, 0x85)]
    [InlineData(3, 2, 3, 3, 0x86, 0x00)]
    [InlineData(3, 0, 3, 3, 0x79, 0x79)]
    [InlineData(0, 3, 3, 3, 0x79, 0x79)]
    [InlineData(1, 3, 3, 2, 0x79, 0x79)]    // Together they grant neither.
    [InlineData(3, 2, 1, 3, 0x79, 0x79)]
    public void SSS_2_and_SGN_6_and_7_permission_is_what_every_level_grants(
        ulong level4, ulong level3, ulong level2, ulong level1, byte read, byte write)
    {
        foreach (VtdOptions options in new[] { NoCaches, VtdOptions.Scalable, VtdOptions.Scalable with { CachingMode = true } })
        {
            using var vtd = new RawScalable(options);
            vtd.Write(Second4, Second3 | level4);
            vtd.Write(Second3, Second2 | level3);
            vtd.Write(Second2, Second1 | level2);
            vtd.SetSecond(1, FrameA | level1);
            for (int round = 0; round < 2; round++)
            {
                Check(vtd, DeviceAccess.Read, read);
                Check(vtd, DeviceAccess.Write, write);
            }
        }

        static void Check(RawScalable vtd, DeviceAccess access, byte reason)
        {
            if (reason != 0) vtd.Faults(reason, Iova, access);
            else vtd.Goes(Iova, FrameA, access);
        }
    }

    [Theory]
    [InlineData(Second1 + 8, FrameA, 11)]
    [InlineData(Second1 + 8, FrameA, 48)]
    [InlineData(Second1 + 8, FrameA, 51)]
    [InlineData(Second1 + 8, FrameA, 62)]
    [InlineData(Second2, Second1, 11)]
    [InlineData(Second3, Second2, 48)]
    [InlineData(Second4, Second3, 7)]
    [InlineData(Second2, 1UL << 12 | 1 << 7, 0)]
    [InlineData(Second3, 1UL << 29 | 1 << 7, 0)]
    public void SSS_3_reserved_bits_of_a_second_stage_entry(ulong at, ulong target, int bit)
    {
        using var vtd = new RawScalable(NoCaches);
        vtd.Write(at, target | Rw | 1UL << bit);
        vtd.Faults(0x7A, Iova);
        vtd.Write(at, target & ~3UL | (1UL << bit & ~3UL));
        vtd.Faults(0x79, Iova);
    }

    [Fact]
    public void The_snoop_bit_is_for_leaves_where_snoop_control_is_offered()
    {
        using var vtd = new RawScalable(NoCaches with { SnoopControl = true });
        vtd.SetSecond(1, FrameA | Rw | 1 << 11);
        vtd.SetPasid(1, SecondStage | Second4, SecondDomain | Snoop | 1 << 24, 0);
        vtd.Goes(Iova, FrameA);
        vtd.Write(Second2, Second1 | Rw | 1 << 11);
        vtd.Faults(0x7A, Iova);
    }

    [Fact]
    public void SSS_1_and_4_entries_outside_memory()
    {
        using var vtd = new RawScalable(NoCaches);
        foreach (ulong table in (ulong[])[Second2, Second3, Second4])
        {
            vtd.Write(table, MemoryBytes | Rw);
            vtd.Faults(0x78, Iova);
        }

        vtd.SetPasid(1, SecondStage | MemoryBytes, SecondDomain | Snoop, 0);
        vtd.Faults(0x7B, Iova);
    }

    [Theory]
    [InlineData(2, 0xFFFF_FFFF_F000, 0x1_0000_0000_0000)]
    [InlineData(2, 0xFFFF_FFFF_F000, 0xFFFF_FFFF_FFFF_F000)]
    [InlineData(1, 0x7F_FFFF_F000, 0x80_0000_0000)]
    public void SGN_5_an_address_beyond_the_table(ulong width, ulong last, ulong beyond)
    {
        using var vtd = new RawScalable(NoCaches);
        vtd.SetPasid(1, 1 | 2 << 6 | width << 2 | (width == 2 ? Second4 : Second3), SecondDomain | Snoop, 0);
        vtd.Faults(0x84, beyond);
        vtd.Faults(0x79, last);
        vtd.Goes(Iova, FrameA);
    }

    [Fact]
    public void SGN_4_a_pass_through_address_beyond_the_host()
    {
        using var vtd = new RawScalable(NoCaches with { HostAddressWidth = 40 });
        vtd.SetPasid(1, PassThrough, 9, 0);
        vtd.SetPasid(3, PassThrough, 9, 0);
        vtd.Goes((1UL << 40) - 1, (1UL << 40) - 1);
        vtd.Faults(0x83, 1UL << 40);
        vtd.Faults(0x83, 1UL << 63, pasid: 3);
        vtd.Goes(FrameB, FrameB, DeviceAccess.Write, pasid: 3);
    }

    [Fact]
    public void Pages_of_2M_and_1G()
    {
        using var vtd = new RawScalable(NoCaches);
        vtd.Write(Second2, 0x400000 | 1 << 7 | Rw);
        vtd.Goes(0x1F_FFFF, 0x5F_FFFF);
        vtd.Write(Second3, 1UL << 30 | 1 << 7 | Rw);
        vtd.Goes(0x3FFF_FFFF, 0x7FFF_FFFF);
    }

    [Fact]
    public void A_PASID_may_go_by_the_second_stage_too()
    {
        using var vtd = new RawScalable();
        vtd.SetPasid(3, SecondStage | Second4, SecondDomain | Snoop, 0);
        vtd.Goes(Iova, FrameA, pasid: 3);
        vtd.Goes(Iova, FrameA);
        vtd.Faults(0x5D, Iova, pasid: 3, privileged: true);
    }

    [Fact]
    public void Flags_are_set_where_they_are_enabled()
    {
        using var vtd = new RawScalable();
        vtd.Goes(Iova, FrameA, DeviceAccess.Write);
        Assert.Equal(FrameA | Rw, vtd.Read(Second1 + 8));
        Assert.Equal(0, vtd.Iommu.Statistics.FlagUpdates);
        vtd.SetPasid(1, WithFlags, SecondDomain | Snoop, 0);
        vtd.InvalidateAll();
        vtd.Goes(Iova, FrameA);
        Assert.Equal(Second3 | Rw | A, vtd.Read(Second4));
        Assert.Equal(Second2 | Rw | A, vtd.Read(Second3));
        Assert.Equal(Second1 | Rw | A, vtd.Read(Second2));
        Assert.Equal(FrameA | Rw | A, vtd.Read(Second1 + 8));
        vtd.Goes(Iova, FrameA, DeviceAccess.Write);
        Assert.Equal(FrameA | Rw | A | D, vtd.Read(Second1 + 8));
        Assert.Equal(5, vtd.Iommu.Statistics.FlagUpdates);
    }

    [Fact]
    public void An_access_after_one_that_was_denied_sets_the_flag_in_caching_mode_too()
    {
        using var vtd = new RawScalable(VtdOptions.Scalable with { CachingMode = true });
        vtd.SetPasid(1, WithFlags, SecondDomain | Snoop, 0);
        vtd.SetSecond(1, FrameA | 1);
        vtd.InvalidateAll();
        vtd.Faults(0x85, Iova, DeviceAccess.Write);
        Assert.Equal(FrameA | 1, vtd.Read(Second1 + 8));
        vtd.Goes(Iova, FrameA);
        Assert.Equal(FrameA | 1 | A, vtd.Read(Second1 + 8));
    }

    [Fact]
    public void SSS_5_a_flag_is_needed_and_the_walk_does_not_snoop()
    {
        foreach (bool isCachingMode in (bool[])[false, true])
        {
            using var vtd = new RawScalable(VtdOptions.Scalable with { CachingMode = isCachingMode });
            vtd.SetPasid(1, WithFlags, SecondDomain, 0);
            vtd.Faults(0x7C, Iova);
            vtd.Write(Second4, Second3 | Rw | A);
            vtd.Write(Second3, Second2 | Rw | A);
            vtd.Write(Second2, Second1 | Rw | A);
            vtd.SetSecond(1, FrameA | Rw | A);
            vtd.Goes(Iova, FrameA);
            vtd.Faults(0x7C, Iova, DeviceAccess.Write);
            vtd.Goes(Iova, FrameA);
            vtd.SetSecond(1, FrameA | Rw | A | D);
            vtd.Goes(Iova, FrameA, DeviceAccess.Write);
        }
    }
}
