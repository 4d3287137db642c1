using IommuSim;
using static Conformance.Simulator.RawScalable;

namespace Conformance.Simulator;

/// <summary>Fault conditions of root, context and PASID directory, by their codes: a row for each, with both ends of each reserved field.</summary>
public sealed class ScalableFaultReasonTests
{
    private const ulong ContextLow = PasidDirectory | 1 | 1 << 3;

    [Theory]
    [InlineData(0x401)]
    [InlineData(0x600)]
    [InlineData(0x800)]
    [InlineData(0xC00)]
    public void RTA_1_the_root_table_address_register_is_misprogrammed(ulong low)
    {
        using var vtd = new RawScalable(NoCaches);
        vtd.Goes(0x1000, FrameA);
        vtd.SetRoot(Root | low);
        vtd.Faults(0x30);
        vtd.Faults(0x30, pasid: 2);
        vtd.SetRoot(Root | 1 << 10);
        vtd.Goes(0x1000, FrameA);
    }

    [Fact]
    public void RTA_2_a_request_with_PASID_in_legacy_mode()
    {
        using var vtd = new RawScalable(NoCaches);
        vtd.SetRoot(Root);
        vtd.Set(Context + 0x20 * 16, Second4 | 1, 2 | SecondDomain << 8);
        vtd.Goes(0x1000, FrameA);
        vtd.Faults(0x31, pasid: 0);
        vtd.Faults(0x31, pasid: 0xFFFFF, access: DeviceAccess.Write);
    }

    [Theory]
    [InlineData(MemoryBytes)]
    [InlineData(0xFFFF_FFFF_FFFF_F000)]
    public void SRT_1_the_root_entry_is_outside_memory(ulong root)
    {
        using var vtd = new RawScalable(NoCaches);
        vtd.SetRoot(root | 1 << 10);
        vtd.Faults(0x38);
    }

    [Fact]
    public void SRT_2_the_half_of_the_root_entry_is_not_present()
    {
        using var vtd = new RawScalable(NoCaches);
        vtd.Faults(0x39, source: UpperDevice);
        vtd.Faults(0x39, source: new(0x80));
        // The last device of the lower half finds its entry, which is not present.
        vtd.Faults(0x41, source: new(0x7F));
        vtd.Set(Root, 0, UpperContext | 1);
        vtd.Set(UpperContext + 127 * 32, ContextLow, 1, 0, 0);
        vtd.Faults(0x39);
        vtd.Goes(0x1000, FrameA, source: UpperDevice);
        vtd.Faults(0x39, source: new(0xFF20));
    }

    [Theory]
    [InlineData(1)]
    [InlineData(11)]
    [InlineData(48)]
    [InlineData(63)]
    public void SRT_3_reserved_bits_of_the_half_of_the_root_entry(int bit)
    {
        using var vtd = new RawScalable(NoCaches);
        vtd.Set(Root, Context | 1 | 1UL << bit, UpperContext | 1 | 1UL << bit);
        vtd.Faults(0x3A);
        vtd.Faults(0x3A, source: UpperDevice);
        // The other half does not matter.
        vtd.Write(Root, Context | 1);
        vtd.Goes(0x1000, FrameA);
        // In an absent half nothing is reserved.
        vtd.Write(Root, Context | 1UL << bit);
        vtd.Faults(0x39);
    }

    [Fact]
    public void SCT_1_the_context_entry_is_outside_memory()
    {
        using var vtd = new RawScalable(NoCaches);
        vtd.Write(Root, MemoryBytes | 1);
        vtd.Faults(0x40);
    }

    [Fact]
    public void SCT_2_the_context_entry_is_not_present()
    {
        using var vtd = new RawScalable(NoCaches);
        vtd.SetContext(ContextLow & ~1UL, 1);
        vtd.Faults(0x41);
        vtd.Faults(0x41, pasid: 2);
    }

    [Theory]
    [InlineData(2, 0)]      // DTE: there are no device TLBs
    [InlineData(4, 0)]      // PRE: no page requests
    [InlineData(5, 0)]
    [InlineData(6, 0)]
    [InlineData(7, 0)]
    [InlineData(8, 0)]
    [InlineData(48, 0)]
    [InlineData(63, 0)]
    [InlineData(21, 1)]
    [InlineData(63, 1)]
    [InlineData(0, 2)]
    [InlineData(63, 2)]
    [InlineData(0, 3)]
    [InlineData(63, 3)]
    public void SCT_3_reserved_bits_of_the_context_entry(int bit, int word)
    {
        using var vtd = new RawScalable(NoCaches);
        ulong[] words = [ContextLow, 1, 0, 0];
        words[word] |= 1UL << bit;
        vtd.SetContext(words[0], words[1], words[2], words[3]);
        vtd.Faults(0x42);
        words[0] &= ~1UL;
        vtd.SetContext(words[0], words[1], words[2], words[3]);
        vtd.Faults(0x41);
    }

    [Fact]
    public void SCT_3_fields_of_what_the_unit_lacks()
    {
        using var noPasid = new RawScalable(NoCaches with { RequestsWithPasid = false });
        noPasid.Faults(0x42);
        noPasid.SetContext(PasidDirectory | 1, 1);
        noPasid.Goes(0x1000, FrameA);
        noPasid.Faults(0x45, pasid: 2);
        using var noRidPasid = new RawScalable(NoCaches with { RidPasid = false });
        noRidPasid.Faults(0x42);
        noRidPasid.SetContext(ContextLow, 0);
        noRidPasid.Faults(0x59);    // PASID 0 it is.
        foreach (VtdOptions options in new[] { NoCaches with { RidPrivilege = false }, NoCaches with { SupervisorRequests = false } })
        {
            using var vtd = new RawScalable(options);
            vtd.SetContext(ContextLow, 1 | 1 << 20);
            vtd.Faults(0x42);
        }
    }

    [Fact]
    public void SCT_4_the_PASID_of_requests_without_is_beyond_the_directory()
    {
        using var vtd = new RawScalable(NoCaches);
        for (int size = 0; size <= 6; size++)
        {
            vtd.SetContext(ContextLow | (ulong)size << 9, 1UL << 13 + size);
            vtd.Faults(0x43);
            vtd.SetContext(ContextLow | (ulong)size << 9, (1UL << 13 + size) - 1);
            vtd.Faults(0x51);
        }

        vtd.SetContext(ContextLow | 7 << 9, 0xFFFFF);
        vtd.Faults(0x51);
    }

    [Fact]
    public void SCT_6_a_request_with_PASID_where_that_is_not_enabled()
    {
        using var vtd = new RawScalable(NoCaches);
        vtd.Goes(0x1000, FrameA, pasid: 2);
        vtd.SetContext(PasidDirectory | 1, 1);
        vtd.Goes(0x1000, FrameA);
        vtd.Faults(0x45, pasid: 2);
    }

    [Fact]
    public void SCT_7_the_PASID_is_beyond_the_directory()
    {
        using var vtd = new RawScalable(NoCaches);
        vtd.Faults(0x46, pasid: 1 << 13);
        vtd.Faults(0x51, pasid: (1 << 13) - 1);
        vtd.SetContext(ContextLow | 1 << 9, 1);
        vtd.Faults(0x51, pasid: 1 << 13);
        vtd.Faults(0x46, pasid: 1 << 14);
    }

    [Fact]
    public void SCT_9_the_PASID_is_that_of_requests_without()
    {
        using var vtd = new RawScalable(NoCaches);
        vtd.Faults(0x48, pasid: 1);
        vtd.SetContext(ContextLow, 2);
        vtd.Goes(0x1000, FrameA, pasid: 1);
        vtd.Faults(0x48, pasid: 2);
    }

    [Fact]
    public void SGN_10_the_PASID_has_more_bits_than_the_unit_supports()
    {
        using var vtd = new RawScalable(NoCaches with { PasidBits = 8 });
        vtd.Faults(0x89, pasid: 0x100);
        vtd.Faults(0x89, pasid: 0xFFFFF);
        vtd.Faults(0x51, pasid: 0xFF);
        Assert.Throws<ArgumentOutOfRangeException>(() => vtd.Go(0x1000, pasid: 1 << 20));
    }

    [Fact]
    public void SPD_1_the_directory_entry_is_outside_memory()
    {
        using var vtd = new RawScalable(NoCaches);
        vtd.SetContext(MemoryBytes | 1 | 1 << 3, 1);
        vtd.Faults(0x50);
        // A directory may be longer than a page.
        vtd.SetContext((MemoryBytes - 4096) | 1 | 1 << 3 | 7 << 9, 1);
        vtd.Faults(0x51, pasid: 512 * 64 - 1);
        vtd.Faults(0x50, pasid: 512 * 64);
    }

    [Fact]
    public void SPD_2_the_directory_entry_is_not_present()
    {
        using var vtd = new RawScalable(NoCaches);
        vtd.Faults(0x51, pasid: 64);
        vtd.Write(PasidDirectory, PasidTable);
        vtd.Faults(0x51);
        vtd.Write(PasidDirectory + 8, PasidTable | 1);
        vtd.Goes(0x1000, FrameA, pasid: 64 + 2);
    }

    [Theory]
    [InlineData(2)]
    [InlineData(11)]
    [InlineData(48)]
    [InlineData(63)]
    public void SPD_3_reserved_bits_of_the_directory_entry(int bit)
    {
        using var vtd = new RawScalable(NoCaches);
        vtd.Write(PasidDirectory, PasidTable | 1 | 1UL << bit);
        vtd.Faults(0x52);
        vtd.Write(PasidDirectory, PasidTable | 1UL << bit);
        vtd.Faults(0x51);
    }
}
