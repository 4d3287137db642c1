using Harness.Differential;
using Harness.Foreign;
using IommuSim;
using Platform;

namespace Conformance.Foreign;

/// <summary>
/// What explains that QEMU does otherwise explains that and nothing beside it: each entry here has one thing wrong, and only those
/// that the table of deviations lists have another outcome.
/// </summary>
public sealed class LaxityTests
{
    private const ulong Page = 0x1000, Frame = Ground.Data, Pasid = Ground.PasidTables + 5 * 64;
    private const ulong SecondStage = 2 << 6 | 2 << 2, PassThrough = 4 << 6 | 2 << 2;
    private static readonly ulong Context = Ground.ContextEntry(0, isScalable: true);

    /// <summary>Of a word that works: its address, what is flipped, and what it takes to go on all the same.</summary>
    public static TheoryData<ulong, ulong, string> Words => new()
    {
        { Ground.Level1 + 8, 1UL << 11, "Snoop" },
        { Ground.Level1 + 8, 1UL << 62, "" },
        { Ground.Level1 + 8, 1UL << 48, "" },
        { Ground.Level2, 1UL << 11, "" },
        { Pasid, 1, "" },
        { Pasid, 1 << 5, "PasidReserved" },
        { Pasid, 1 << 9, "PasidReserved" },
        { Pasid, 1 << 11, "PasidReserved" },
        { Pasid, 3 << 6, "Types" },
        { Pasid, 1 << 6, "Types" },
        { Pasid, 4 << 6, "" },
        { Pasid, 3 << 2, "" },
        { Pasid + 8, 1UL << 16, "PasidReserved" },
        { Pasid + 8, 1UL << 24, "PasidReserved" },
        { Pasid + 56, 1UL << 63, "PasidReserved" },
        { Ground.Directories, 1, "" },
        { Ground.Directories, 1 << 2, "PasidReserved" },
        { Context, 1 << 5, "" },
        { Context + 8, 1 << 13, "" },
        { Context + 8, 1UL << 21, "" },
        { Ground.Root, 1 << 1, "" },
    };

    [Theory]
    [MemberData(nameof(Words))]
    public void An_entry_goes_on_for_what_is_listed_only(ulong address, ulong flipped, string laxity)
    {
        using var ground = new Tables();
        Assert.True(Assert.Single(ground.May()).GoesOn);
        Assert.Empty(ground.Otherwise());
        ground.Set(address, ground.Get(address) ^ flipped);
        ground.Oracle.Settle();
        Assert.False(Assert.Single(ground.May()).GoesOn);
        LaxOutcome[] goingOn = [.. ground.Otherwise().Where(outcome => outcome.What.GoesOn)];
        Assert.Equal(laxity, goingOn.Length == 0 ? "" : Assert.Single(goingOn).Laxity.ToString());
        Assert.All(goingOn, outcome => Assert.Equal(Frame, outcome.What.Address));
    }

    [Fact]
    public void Only_an_entry_that_was_present_is_used_when_it_is_absent_and_until_context_entries_are_invalidated()
    {
        using var ground = new Tables();
        ground.Set(Pasid, ground.Get(Pasid) & ~1UL);
        ground.Oracle.Settle([Pasid]);
        Assert.Equal(VtdFaultReason.PasidEntryNotPresent, Assert.Single(ground.May()).Fault);
        Assert.Equal(new(new(VtdFaultReason.None, Frame, false), Laxity.PasidPresent), Assert.Single(ground.Otherwise()));
        ground.Oracle.Settle();
        Assert.Empty(ground.Otherwise());
    }

    /// <summary>A type that there is not is taken for the second stage in an entry that was present, where the context entry has FPD and until context entries are invalidated.</summary>
    [Theory]
    [InlineData(0)]
    [InlineData(5)]
    [InlineData(6)]
    [InlineData(7)]
    public void Only_an_entry_that_was_present_is_used_whatever_its_type_is_now(int type)
    {
        foreach ((bool isSilenced, int version) in new[] { (true, 7), (false, 7), (true, 10), (false, 10) })
        {
            using var ground = new Tables(version);
            if (isSilenced) ground.Set(Context, ground.Get(Context) | 2);
            ground.Oracle.Settle();
            ground.Set(Pasid, (ground.Get(Pasid) & ~(7UL << 6)) | (ulong)type << 6);
            ground.Oracle.Settle([Pasid]);
            Assert.Equal(new(VtdFaultReason.PasidEntryInvalid, 0, isSilenced) { IsQuiet = isSilenced }, Assert.Single(ground.May()));
            LaxOutcome[] goingOn = [.. ground.Otherwise().Where(static outcome => outcome.What.GoesOn)];
            Assert.Equal(isSilenced ? [Frame] : [], goingOn.Select(static outcome => outcome.What.Address));
            Assert.All(goingOn, static outcome => Assert.Contains(QemuDeviations.LastingType.Name, QemuDeviations.OfLaxity(outcome.Laxity)));
            ground.Oracle.Settle();
            Assert.DoesNotContain(ground.Otherwise(), static outcome => outcome.What.GoesOn);
        }
    }

    /// <summary>Where a unit goes that does not heed the width nobody says: such an access is not made.</summary>
    [Theory]
    [InlineData(2UL, 1, true)]
    [InlineData(2UL, 0, false)]
    [InlineData(2UL, 3, false)]
    [InlineData(0UL, 3, true)]
    public void What_comes_of_a_width_that_is_not_heeded_is_not_told(ulong silenced, ulong width, bool isTold)
    {
        using var ground = new Tables();
        ground.Set(Context, ground.Get(Context) | silenced);
        ground.Oracle.Settle();
        ground.Set(Pasid, (ground.Get(Pasid) & ~(7UL << 2)) | width << 2);
        ground.Oracle.Settle([Pasid]);
        Assert.Equal(isTold, ground.IsTold);
        ground.Oracle.Settle();
        Assert.True(ground.IsTold);
    }

    [Fact]
    public void Only_an_entry_that_was_of_pass_through_still_passes_and_until_context_entries_are_invalidated()
    {
        using var ground = new Tables();
        ulong working = ground.Get(Pasid);
        ground.Set(Pasid, 1 | PassThrough);
        ground.Oracle.Settle();
        Assert.Equal(Page, Assert.Single(ground.May()).Address);
        ground.Set(Pasid, working);
        ground.Oracle.Settle([Pasid]);
        Assert.Equal(Frame, Assert.Single(ground.May()).Address);
        Assert.Equal(Page, Assert.Single(ground.Otherwise()).What.Address);
        Assert.Equal([QemuDeviations.LastingPassThrough.Name], QemuDeviations.OfLaxity(Assert.Single(ground.Otherwise()).Laxity));
        ground.Oracle.Settle();
        Assert.Empty(ground.Otherwise());
    }

    [Theory]
    [InlineData(1UL << 3, "RootBits")]
    [InlineData(1UL << 11, "RootBits")]
    public void The_root_table_address_is_looked_at_without_its_other_bits(ulong flipped, string laxity)
    {
        using var ground = new Tables();
        ground.Oracle.SetRoot(Tables.Root ^ flipped);
        Assert.Equal(VtdFaultReason.RootTableAddressMisprogrammed, Assert.Single(ground.May()).Fault);
        Assert.Equal(laxity, Assert.Single(ground.Otherwise()).Laxity.ToString());
        ground.Oracle.SetRoot(Tables.Root);
        Assert.True(Assert.Single(ground.May()).GoesOn);
    }

    /// <summary>QEMU 10: an absent entry of a type or width that there is not is an invalid one, an absent one of another is absent.</summary>
    [Theory]
    [InlineData(0UL, true)]
    [InlineData(1UL << 6 | 2 << 2, true)]
    [InlineData(2UL << 6 | 3 << 2, true)]
    [InlineData(SecondStage, false)]
    [InlineData(PassThrough, false)]
    public void The_type_of_an_absent_entry_counts_where_it_is_checked_first(ulong entry, bool isNone)
    {
        using var ground = new Tables(version: 10);
        ground.Set(Pasid, entry);
        ground.Oracle.Settle();
        Assert.Equal(VtdFaultReason.PasidEntryNotPresent, Assert.Single(ground.May()).Fault);
        Assert.Equal(isNone ? [VtdFaultReason.PasidEntryInvalid] : [], ground.Otherwise().Select(outcome => outcome.What.Fault));
        Assert.Equal([QemuDeviations.AbsentPasid.Name, QemuDeviations.TypeFirst.Name], QemuDeviations.OfLaxity(Laxity.PasidPresent | Laxity.PasidTypeFirst));
    }

    [Fact]
    public void A_version_that_has_mended_something_looks_at_it()
    {
        using var ground = new Tables(version: 10);
        ground.Set(Pasid, ground.Get(Pasid) ^ 1 << 6);
        ground.Oracle.Settle();
        Assert.Equal(VtdFaultReason.PasidEntryInvalid, Assert.Single(ground.May()).Fault);
        Assert.Empty(ground.Otherwise());
    }

    /// <summary>Device 0 with PASID 5 and tables of four levels, in which a page leads to a frame.</summary>
    private sealed class Tables : IDisposable
    {
        public const ulong Root = Ground.Root | 1 << 10;

        private readonly RamBlock _ram = new(SimulatedVtd.MemoryRange);

        public Tables(int version = 7)
        {
            VtdOptions unit = VtdOptions.Scalable with { FirstStage = false, SnoopControl = false, SecondStageAccessedDirty = false, ScalableWalkSnoop = false };
            Oracle = new(_ram.Port, unit, QemuDeviations.LaxityOf(version));
            Oracle.SetRoot(Root);
            Set(Ground.Root, Ground.Contexts | 1);
            Set(Context, Ground.Directories | 1);
            Set(Context + 8, 5);
            Set(Ground.Directories, Ground.PasidTables | 1);
            Set(Pasid, Ground.Level4 | 1 | SecondStage);
            Set(Pasid + 8, 1);
            Set(Ground.Level4, Ground.Level3 | 3);
            Set(Ground.Level3, Ground.Level2 | 3);
            Set(Ground.Level2, Ground.Level1 | 3);
            Set(Ground.Level1 + 8, Frame | 3);
            Oracle.Settle();
        }

        public Oracle Oracle { get; }

        public ulong Get(ulong address) => _ram.Port.Read64(new(address));

        public void Set(ulong address, ulong value)
        {
            Oracle.Change(address, value);
            _ram.Port.Write64(new(address), value);
        }

        public List<Expected> May() => Oracle.Of(Ground.Source(0), Page, isWrite: false)!;

        public List<LaxOutcome> Otherwise() => Oracle.Otherwise(Ground.Source(0), Page, isWrite: false, May())!;

        public bool IsTold => Oracle.Otherwise(Ground.Source(0), Page, isWrite: false, May()) is not null;

        public void Dispose() => _ram.Dispose();
    }
}
