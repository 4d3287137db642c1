using IommuSim;
using static Conformance.Simulator.RawVtd;

namespace Conformance.Simulator;

/// <summary>Register Descriptions: offsets, widths and who may write what.</summary>
public sealed class VtdRegisterTests
{
    [Fact]
    public void The_default_unit_reports_version_and_capabilities_as_an_independent_model_does()
    {
        using var vtd = new RawVtd(enable: false);
        Assert.Equal(0x10u, vtd.Iommu.Read32(0x00));
        Assert.Equal(0xD2008C222F0606UL, vtd.Iommu.Read64(0x08));
        Assert.Equal(0xF42UL, vtd.Iommu.Read64(0x10));
        Assert.Equal(0x222F0606u, vtd.Iommu.Read32(0x08));
        Assert.Equal(0x00D2008Cu, vtd.Iommu.Read32(0x0C));
    }

    [Fact]
    public void A_unit_has_every_feature_that_its_options_do_not_take_away()
    {
        var options = new VtdOptions { ScalableMode = true };
        Assert.Equal(VtdOptions.Scalable, options);
        Assert.Equal(VtdOptions.Default, new());
        using var vtd = new RawVtd(options, enable: false);
        // FS1GP and FS5LP; SRS, EAFS, PSS, PASID, SMTS, SSADS, SSTS, FSTS, SMPWCS, RPS and RPRIVS.
        Assert.Equal(0xD2008C222F0606UL | 1UL << 56 | 1UL << 60, vtd.Iommu.Read64(0x08));
        Assert.Equal(0xF42UL | 1UL << 31 | 1UL << 34 | 19UL << 35 | 1UL << 40 | 1UL << 43 | 15UL << 45 | 1UL << 49 | 1UL << 53, vtd.Iommu.Read64(0x10));
        Assert.True(options.IotlbLines2M && options.IotlbLines1G);
    }

    [Theory]
    [InlineData("CachingMode true", 0xD2008C222F0686)]
    [InlineData("not FourLevelTables", 0xD2008C22260206)]
    [InlineData("not ThreeLevelTables", 0xD2008C222F0406)]
    [InlineData("not Pages2M", 0xD20088222F0606)]
    [InlineData("not Pages1G", 0xD20084222F0606)]
    [InlineData("FaultRecordCount 2", 0xD2018C222F0606)]
    [InlineData("FaultRecordCount 222", 0xD2DD8C222F0606)]
    [InlineData("MaximumAddressMask 0", 0xC0008C222F0606)]
    [InlineData("MaximumAddressMask 63", 0xFF008C222F0606)]
    public void CAP_says_what_the_options_say(string option, ulong capability)
    {
        using var vtd = new RawVtd(With(option), enable: false);
        Assert.Equal(capability, vtd.Iommu.Read64(0x08));
    }

    [Fact]
    public void ECAP_says_what_the_options_say()
    {
        using var coherent = new RawVtd(VtdOptions.Default with { CoherentWalk = true }, enable: false);
        Assert.Equal(0xF43UL, coherent.Iommu.Read64(0x10));
        using var strict = new RawVtd(VtdOptions.Default with { PassThrough = false }, enable: false);
        Assert.Equal(0xF02UL, strict.Iommu.Read64(0x10));
    }

    [Fact]
    public void GSTS_follows_each_write_of_GCMD()
    {
        using var vtd = new RawVtd(enable: false);
        Assert.Equal(0u, vtd.Iommu.Read32(Gsts));
        vtd.Iommu.Write64(Rtaddr, Root);
        vtd.Iommu.Write32(Gcmd, GcmdSrtp);
        Assert.Equal(0x4000_0000u, vtd.Iommu.Read32(Gsts));
        vtd.Iommu.Write32(Gcmd, GcmdQie);
        Assert.Equal(0x4400_0000u, vtd.Iommu.Read32(Gsts));
        vtd.Iommu.Write32(Gcmd, GcmdTe | GcmdQie);
        Assert.Equal(0xC400_0000u, vtd.Iommu.Read32(Gsts));
        Assert.Equal(0u, vtd.Iommu.Read32(Gcmd));
        vtd.Iommu.Write32(Gcmd, GcmdTe);
        Assert.Equal(0xC000_0000u, vtd.Iommu.Read32(Gsts));
        vtd.Iommu.Write32(Gcmd, 0);
        Assert.Equal(0x4000_0000u, vtd.Iommu.Read32(Gsts));
    }

    [Fact]
    public void A_write_buffer_flush_is_done_at_once()
    {
        using var vtd = new RawVtd(enable: false);
        vtd.Iommu.Write32(Gcmd, 0x0800_0000);
        Assert.Equal(0u, vtd.Iommu.Read32(Gsts));
    }

    [Fact]
    public void The_root_table_pointer_takes_effect_with_SRTP_and_not_with_the_address_write()
    {
        using var vtd = new RawVtd(VtdOptions.Default with { ContextCacheEntries = 0, IotlbSets = 0 });
        vtd.SetPage(1, FrameA | ReadWrite);
        vtd.AssertReads(0x1000, FrameA);
        vtd.Iommu.Write64(Rtaddr, 0x50000);
        vtd.AssertReads(0x1000, FrameA);
        vtd.Iommu.Write32(Gcmd, GcmdTe | GcmdQie | GcmdSrtp);
        Assert.Equal(VtdFaultReason.RootEntryNotPresent, vtd.Fault(0x1000));
    }

    [Theory]
    [InlineData(0x20, 0xFFFF_FFFF_FFFF_FFFF, 0xFFFF_FFFF_FFFF_FFFF)]
    [InlineData(0x38, 0xFFFF_FFFF_FFFF_FFFF, 0xFFFF_FFFF_8000_0000)]
    [InlineData(0x40, 0xFFFF_FFFF_FFFF_FFFF, 0xFFFF_FFFF_FFFF_FFFC)]
    [InlineData(0x88, 0xFFFF_FFFF_FFFF_FFF0, 0x7FFF0)]
    [InlineData(0x90, 0xFFFF_FFFF_FFFF_FFFF, 0xFFFF_FFFF_FFFF_F807)]
    [InlineData(0xA0, 0xFFFF_FFFF_FFFF_FFFF, 0xFFFF_FFFF_8000_0000)]
    [InlineData(0xA8, 0xFFFF_FFFF_FFFF_FFFF, 0xFFFF_FFFF_FFFF_FFFC)]
    [InlineData(0x00, 0xFFFF_FFFF_FFFF_FFFF, 0x10)]
    [InlineData(0x08, 0, 0xD2008C222F0606)]
    [InlineData(0x10, 0, 0xF42)]
    [InlineData(0x80, 0x7FFF0, 0)]
    [InlineData(0x60, 0xFFFF_FFFF_FFFF_FFFF, 0)]
    [InlineData(0x68, 0xFFFF_FFFF_FFFF_FFFF, 0)]
    [InlineData(0x230, 0xFFFF_FFFF_FFFF_FFFF, 0)]
    [InlineData(0xFF8, 0xFFFF_FFFF_FFFF_FFFF, 0)]
    public void Each_register_keeps_its_writable_bits(uint offset, ulong written, ulong expected)
    {
        using var vtd = new RawVtd(enable: false);
        vtd.Iommu.Write64(offset, written);
        Assert.Equal(expected, vtd.Iommu.Read64(offset));
    }

    [Theory]
    [InlineData(0x18, 0x8400_0000, 1)]               // GCMD
    [InlineData(0x88, 0, 1)]                         // IQT
    [InlineData(0x1C, 0x8400_0000, 0)]               // GSTS
    [InlineData(0x20, Root, 0)]                      // RTADDR
    [InlineData(0x28, 0, 0)]                         // CCMD
    [InlineData(0x2C, 0xA000_0000, 0)]
    [InlineData(0x34, 0x7F, 0)]                      // FSTS, without an error of the queue
    [InlineData(0x38, 0, 0)]                         // FECTL
    [InlineData(0x40, 0, 0)]                         // FEADDR
    [InlineData(0x8C, 0, 0)]                         // IQT, its other half
    [InlineData(0x90, Queue, 0)]                     // IQA
    [InlineData(0x9C, 1, 0)]                         // ICS
    [InlineData(0xA0, 0, 0)]                         // IECTL
    [InlineData(0xA8, 0, 0)]                         // IEADDR
    [InlineData(0xF0, 0, 0)]                         // IVA
    [InlineData(0xF8, 0, 0)]                         // IOTLB
    [InlineData(0xFC, 0x9000_0000, 0)]
    [InlineData(0x22C, 0x8000_0000, 0)]              // FRCD
    [InlineData(0x60, 0, 0)]                         // nothing
    public void Only_a_write_that_can_give_the_queue_work_rings(uint offset, uint value, int rings)
    {
        using var vtd = new RawVtd(VtdOptions.Default with { Commands = CommandMode.Manual });
        int rung = 0;
        vtd.Iommu.Doorbell += () => rung++;
        vtd.Iommu.Write32(offset, value);
        Assert.Equal(rings, rung);
        vtd.Iommu.Write32(Gcmd, GcmdTe);
        rung = 0;
        vtd.Iommu.Write32(offset, offset == Gcmd ? GcmdTe : value);
        Assert.Equal(0, rung);
    }

    [Fact]
    public void Halves_of_a_64_bit_register_are_written_and_read_apart()
    {
        using var vtd = new RawVtd(enable: false);
        vtd.Iommu.Write32(0x20, 0x1234_5000);
        vtd.Iommu.Write32(0x24, 0x9);
        Assert.Equal(0x9_1234_5000UL, vtd.Iommu.Read64(0x20));
        Assert.Equal(0x9u, vtd.Iommu.Read32(0x24));
        vtd.Iommu.Write32(0x20, 0);
        Assert.Equal(0x9_0000_0000UL, vtd.Iommu.Read64(0x20));
    }

    [Fact]
    public void A_write_to_the_high_half_beside_GCMD_commands_nothing()
    {
        using var vtd = new RawVtd();
        vtd.Iommu.Write32(Gsts, 0);
        Assert.Equal(0xC400_0000u, vtd.Iommu.Read32(Gsts));
    }

    [Fact]
    public void An_offset_outside_the_page_or_between_words_is_refused()
    {
        using var vtd = new RawVtd(enable: false);
        Assert.Equal(0u, vtd.Iommu.Read32(0xFFC));
        Assert.Throws<ArgumentOutOfRangeException>(() => vtd.Iommu.Read32(0x1000));
        Assert.Throws<ArgumentOutOfRangeException>(() => vtd.Iommu.Read64(0xFFC));
        Assert.Throws<ArgumentOutOfRangeException>(() => vtd.Iommu.Read32(2));
        Assert.Throws<ArgumentOutOfRangeException>(() => vtd.Iommu.Write64(4, 0));
        Assert.Throws<ArgumentOutOfRangeException>(() => vtd.Iommu.Write32(0x1000, 0));
        Assert.Throws<ArgumentOutOfRangeException>(() => vtd.Iommu.Write32(2, 0));
    }

    [Theory]
    [InlineData("IotlbSets")]
    [InlineData("IotlbWays")]
    [InlineData("WalkCacheEntriesPerLevel")]
    [InlineData("ContextCacheEntries")]
    [InlineData("FaultRecordCount")]
    [InlineData("HostAddressWidth")]
    [InlineData("MaximumAddressMask")]
    [InlineData("Commands")]
    [InlineData("Replacement")]
    [InlineData("FourLevelTables")]
    public void An_option_out_of_its_range_is_refused_by_name(string name)
    {
        VtdOptions options = VtdOptions.Default;
        options = name switch
        {
            "IotlbSets" => options with { IotlbSets = 3 },
            "IotlbWays" => options with { IotlbWays = -1 },
            "WalkCacheEntriesPerLevel" => options with { WalkCacheEntriesPerLevel = -1 },
            "ContextCacheEntries" => options with { ContextCacheEntries = -1 },
            "FaultRecordCount" => options with { FaultRecordCount = 223 },
            "HostAddressWidth" => options with { HostAddressWidth = 53 },
            "MaximumAddressMask" => options with { MaximumAddressMask = 64 },
            "Commands" => options with { Commands = (CommandMode)2 },
            "Replacement" => options with { Replacement = (CacheReplacement)3 },
            _ => options with { FourLevelTables = false, ThreeLevelTables = false },
        };
        var refusal = Assert.Throws<ArgumentException>(() => new RawVtd(options));
        Assert.Equal(name, refusal.ParamName);
    }

    [Theory]
    [InlineData("IotlbSets -1", false)]
    [InlineData("IotlbSets -2", false)]
    [InlineData("IotlbSets -2147483648", false)]
    [InlineData("IotlbSets 0", true)]
    [InlineData("IotlbSets 1", true)]
    [InlineData("IotlbWays 0", true)]
    [InlineData("WalkCacheEntriesPerLevel 0", true)]
    [InlineData("ContextCacheEntries 0", true)]
    [InlineData("FaultRecordCount 0", false)]
    [InlineData("FaultRecordCount 1", true)]
    [InlineData("FaultRecordCount 222", true)]
    [InlineData("HostAddressWidth 31", false)]
    [InlineData("HostAddressWidth 32", true)]
    [InlineData("HostAddressWidth 52", true)]
    [InlineData("MaximumAddressMask -1", false)]
    [InlineData("MaximumAddressMask 0", true)]
    [InlineData("MaximumAddressMask 63", true)]
    [InlineData("not ThreeLevelTables", true)]
    [InlineData("not FourLevelTables", true)]
    [InlineData("Commands 1", true)]
    [InlineData("Commands -1", false)]
    public void Each_option_is_taken_up_to_its_ends_and_not_beyond(string option, bool isTaken)
    {
        VtdOptions options = With(option);
        if (isTaken)
        {
            using var vtd = new RawVtd(options, enable: false);
            Assert.Same(options, vtd.Iommu.Options);
        }
        else
        {
            Assert.Throws<ArgumentException>(() => new RawVtd(options, enable: false));
        }
    }

    [Fact]
    public void What_is_not_there_is_refused_by_name()
    {
        using var vtd = new RawVtd();
        Assert.Equal("options", Assert.Throws<ArgumentNullException>(() => new VtdIommu<Platform.Ram, Hook>(vtd.Memory, null!)).ParamName);
        Assert.Equal("iommu", Assert.Throws<ArgumentNullException>(() => new BusMaster<Platform.Ram, Hook>(null!, vtd.Memory, Device)).ParamName);
    }

    /// <summary>The default unit with one option changed: its name and its value, or "not" and its name.</summary>
    private static VtdOptions With(string option)
    {
        string[] words = option.Split(' ');
        int value = int.TryParse(words[1], out int number) ? number : 0;
        return (words[0] == "not" ? option : words[0]) switch
        {
            "not FourLevelTables" => VtdOptions.Default with { FourLevelTables = false },
            "not ThreeLevelTables" => VtdOptions.Default with { ThreeLevelTables = false },
            "not Pages2M" => VtdOptions.Default with { Pages2M = false },
            "not Pages1G" => VtdOptions.Default with { Pages1G = false },
            "CachingMode" => VtdOptions.Default with { CachingMode = true },
            "IotlbSets" => VtdOptions.Default with { IotlbSets = value },
            "IotlbWays" => VtdOptions.Default with { IotlbWays = value },
            "WalkCacheEntriesPerLevel" => VtdOptions.Default with { WalkCacheEntriesPerLevel = value },
            "ContextCacheEntries" => VtdOptions.Default with { ContextCacheEntries = value },
            "FaultRecordCount" => VtdOptions.Default with { FaultRecordCount = value },
            "HostAddressWidth" => VtdOptions.Default with { HostAddressWidth = value },
            "MaximumAddressMask" => VtdOptions.Default with { MaximumAddressMask = value },
            "Commands" => VtdOptions.Default with { Commands = (CommandMode)value },
            _ => throw new ArgumentException($"no option is called {option}", nameof(option)),
        };
    }
}
