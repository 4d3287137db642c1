using IommuSim;
using Platform;
using static Conformance.Simulator.RawVtd;

namespace Conformance.Simulator;

/// <summary>Root and context entries are 128 bits, which the hardware reads as one while software changes them.</summary>
public sealed class VtdTornEntryTests
{
    private const ulong ContextAt = ContextTable + 0x20 * 16;
    private const ulong Old = Table4 | 1;
    private const ulong New = 0x28000 | 1;
    private const ulong OldHigh = 2 | 7 << 8;
    private const ulong NewHigh = 1 | 9 << 8;

    [Theory]
    [InlineData(ContextAt)]
    [InlineData(ContextAt + 8)]
    public void An_entry_that_changes_while_it_is_read_is_seen_old_or_new(ulong changeBefore)
    {
        using var vtd = new RawVtd();
        bool isChanged = false;
        Assert.True(Find(vtd, out DecodedContext context, address =>
        {
            if (address != changeBefore || isChanged) return true;
            isChanged = true;
            vtd.SetContext(Device, New, NewHigh);
            return true;
        }));
        Assert.True(isChanged);
        Assert.Equal(new DecodedContext(new(0x28000), 3, new(9), false), context);
    }

    [Fact]
    public void An_entry_that_changes_after_its_high_half_was_read_is_read_again()
    {
        using var vtd = new RawVtd();
        int lowReads = 0;
        Assert.True(Find(vtd, out DecodedContext context, address =>
        {
            if (address == ContextAt && ++lowReads == 2) vtd.SetContext(Device, New, NewHigh);
            return true;
        }));
        Assert.Equal(3, lowReads);
        Assert.Equal(new DecodedContext(new(0x28000), 3, new(9), false), context);
    }

    [Fact]
    public void An_entry_that_changes_all_the_time_is_read_in_the_end()
    {
        using var vtd = new RawVtd();
        int lowReads = 0;
        Assert.True(Find(vtd, out DecodedContext context, address =>
        {
            if (address == ContextAt) vtd.SetContext(Device, ++lowReads % 2 == 0 ? Old : New, OldHigh);
            return true;
        }));
        // Eight times more.
        Assert.Equal(9, lowReads);
        Assert.Equal(new VtdDomainId(7), context.Domain);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public void An_entry_of_which_a_half_cannot_be_read_is_none(int failingRead)
    {
        using var vtd = new RawVtd();
        int reads = 0;
        Assert.False(Find(vtd, out DecodedContext context, address => (address & ~15UL) != ContextAt || ++reads != failingRead));
        Assert.Equal(failingRead, reads);
        Assert.Equal(default, context);
        reads = 0;
        Assert.False(Find(vtd, out _, address => (address & ~15UL) != Root || ++reads != failingRead));
        Assert.Equal(failingRead, reads);
    }

    [Fact]
    public void A_context_table_outside_memory_holds_no_context()
    {
        using var vtd = new RawVtd();
        vtd.Write(Root, MemoryBytes | 1);
        Assert.False(VtdTables.TryFindContext(vtd.Memory, new(Root), Device, out DecodedContext context));
        Assert.Equal(default, context);
        Assert.False(VtdTables.TryFindContext(vtd.Memory, new(MemoryBytes), Device, out _));
        Assert.Throws<ArgumentOutOfRangeException>(() => VtdTables.TryFindContext(vtd.Memory, new(Root), new(0x10000), out _));
    }

    private const ulong PasidAt = RawScalable.PasidTable + 2 * 64;

    private static readonly DecodedTranslation OldTranslation = new(
        TranslationStage.FirstStage, new(RawScalable.First4), 4, new(8), RawScalable.FirstPasid, true, false, true);

    private static readonly DecodedTranslation NewTranslation = new(
        TranslationStage.SecondStage, new(RawScalable.Second4), 4, new(9), RawScalable.FirstPasid, false, false, false);

    /// <summary>At which read of the entry it changes, counting words: each time that it is read it has eight.</summary>
    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(8)]
    [InlineData(9)]
    [InlineData(10)]
    [InlineData(11)]
    [InlineData(16)]
    [InlineData(17)]
    public void A_PASID_entry_that_changes_while_it_is_read_is_seen_old_or_new(int changeBefore)
    {
        using var vtd = new RawScalable();
        int reads = 0;
        DecodedTranslation found = FindPasid(vtd, () =>
        {
            if (++reads == changeBefore) vtd.SetPasid(2, RawScalable.SecondStage | RawScalable.Second4, 9 | RawScalable.Snoop, 0);
        });
        Assert.Equal(changeBefore > 11 ? OldTranslation : NewTranslation, found);
        // Twice, and once or twice more where it was not the same.
        Assert.Equal(changeBefore is 1 or > 11 ? 16 : changeBefore > 9 ? 32 : 24, reads);
    }

    [Fact]
    public void A_PASID_entry_that_changes_all_the_time_is_read_in_the_end()
    {
        using var vtd = new RawScalable();
        int reads = 0;
        DecodedTranslation found = FindPasid(vtd, () => vtd.SetPasid(2, RawScalable.FirstStage, RawScalable.FirstDomain | RawScalable.Snoop, RawScalable.First4 | (ulong)(++reads / 8 % 2)));
        Assert.Equal(9 * 8, reads);
        Assert.Equal(new(8), found.Domain);
    }

    private static DecodedTranslation FindPasid(RawScalable vtd, Action beforeRead)
    {
        var memory = new ScriptedMemory(vtd.Memory, address =>
        {
            if (address is >= PasidAt and < PasidAt + 64) beforeRead();
            return true;
        });
        VtdFaultReason reason = VtdTables.FindTranslation(
            memory, new(RawScalable.Root | 1 << 10), RawScalable.Device, RawScalable.FirstPasid, out DecodedTranslation found, VtdOptions.Scalable);
        Assert.Equal(VtdFaultReason.None, reason);
        return found;
    }

    private static bool Find(RawVtd vtd, out DecodedContext context, Func<ulong, bool> beforeRead) =>
        VtdTables.TryFindContext(new ScriptedMemory(vtd.Memory, beforeRead), new(Root), Device, out context);
}
