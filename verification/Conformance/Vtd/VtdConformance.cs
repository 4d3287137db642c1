using Harness.Foreign;
using IommuSim;
using Xunit.Abstractions;

namespace Conformance.Vtd;

/// <summary>One table of cases, two machines that have nothing in common.</summary>
public sealed class VtdConformance(ITestOutputHelper output)
{
    private const int Devices = 2;

    public static TheoryData<string> Names => new(VtdCases.All.Select(row => row.Name));

    public static TheoryData<string> DeviationNames => new(VtdDeviations.All.Select(row => row.Name));

    [Theory]
    [MemberData(nameof(Names))]
    public void The_simulator_does_as_the_specification_says(string name) => OnSimulator(Find(name).Script);

    [QemuTheory]
    [MemberData(nameof(Names))]
    public void QEMU_does_as_the_specification_says(string name) => OnQemu(Find(name).Script);

    [Theory]
    [MemberData(nameof(DeviationNames))]
    public void The_simulator_does_not_share_a_deviation_of_QEMU(string name)
    {
        VtdDeviation row = FindDeviation(name);
        OnSimulator(row.Law);
        Assert.ThrowsAny<Xunit.Sdk.XunitException>(() => OnSimulator(row.Deviation));
    }

    [QemuTheory]
    [MemberData(nameof(DeviationNames))]
    public void QEMU_still_deviates_as_listed(string name)
    {
        VtdDeviation row = FindDeviation(name);
        AssertJudged(row, OnQemu);
    }

    /// <summary>
    /// QEMU deviates, or does as the specification says since it has mended that. What a later version has begun, an earlier one does not do.
    /// </summary>
    private static void AssertJudged(VtdDeviation row, Action<Action<VtdBench>> onQemu)
    {
        Judge(row.Deviation, row.Known.IsOf(QemuVtd.MajorVersion));
        if (QemuVtd.MajorVersion >= row.Known.Since) Judge(row.Law, QemuVtd.MajorVersion >= row.Known.MendedIn);

        void Judge(Action<VtdBench> script, bool holds)
        {
            if (holds) onQemu(script);
            else Assert.ThrowsAny<Xunit.Sdk.XunitException>(() => onQemu(script));
        }
    }

    [Fact]
    public void There_are_more_than_a_hundred_rows_each_with_a_name_and_a_section()
    {
        Assert.InRange(VtdCases.All.Count, 101, int.MaxValue);
        Assert.InRange(ScalableCases.All.Count, 71, int.MaxValue);
        VtdCase[] all = [.. VtdCases.All, .. ScalableCases.All];
        Assert.All(all, static row => Assert.NotEqual("", row.Section));
        Assert.Equal(all.Length, all.Select(static row => row.Name).Distinct().Count());
    }

    [Fact]
    public void What_another_version_of_QEMU_does_not_do_are_rows() => Assert.Empty(QemuTen.Rows.Except(ScalableCases.All.Select(static row => row.Name)));

    // The simulator as the unit of QEMU 7.2 is, as far as the rows need it: without first-stage tables and snoop control.
    private static readonly VtdOptions SecondStageOnly = VtdOptions.Scalable with { FirstStage = false, SnoopControl = false };

    public static TheoryData<string> ScalableDeviationNames => new(ScalableDeviations.All.Select(row => row.Name));

    [Theory]
    [MemberData(nameof(ScalableDeviationNames))]
    public void The_simulator_does_not_share_a_deviation_of_QEMU_in_scalable_mode(string name)
    {
        VtdDeviation row = ScalableDeviations.All.Single(row => row.Name == name);
        OnSimulator(row.Law);
        Assert.ThrowsAny<Xunit.Sdk.XunitException>(() => OnSimulator(row.Deviation));

        void OnSimulator(Action<VtdBench> script)
        {
            using var machine = new SimulatedVtd(Devices, row.HasFirstStage ? VtdOptions.Scalable : SecondStageOnly);
            script(new(machine));
        }
    }

    [QemuTheory]
    [MemberData(nameof(ScalableDeviationNames))]
    public void QEMU_still_deviates_as_listed_in_scalable_mode(string name)
    {
        VtdDeviation row = ScalableDeviations.All.Single(row => row.Name == name);
        AssertJudged(row, OnQemu);

        void OnQemu(Action<VtdBench> script)
        {
            using var machine = QemuVtd.Start(Devices, VtdBench.Payload, isScalable: true, hasFirstStage: row.HasFirstStage && QemuVtd.KnowsFirstStage);
            script(new(machine));
        }
    }

    /// <summary>PermissionFirst and PasidField are freedoms: the differential stage meets them.</summary>
    [Fact]
    public void Every_listed_deviation_has_its_row()
    {
        IEnumerable<string> rows = VtdDeviations.All.Concat(ScalableDeviations.All).Select(row => row.Name);
        Assert.Equal(
            QemuDeviations.All.Where(known => known.Kind == DeviationKind.Mistake).Select(known => known.Name).Order(StringComparer.Ordinal),
            rows.Order(StringComparer.Ordinal));
    }

    [QemuFact]
    public void Rows_agree_on_QEMU_and_the_simulator()
    {
        int agreed = VtdCases.All.Count(row => Holds(OnSimulator, row) && Holds(OnQemu, row));
        output.WriteLine(
            $"{agreed} of {VtdCases.All.Count} conformance rows agree on QEMU {QemuVtd.Version} and the simulator; {VtdDeviations.All.Count} listed deviations of QEMU");
        Assert.Equal(VtdCases.All.Count, agreed);
    }

    /// <summary>0xD is for translation requests, which no device of QEMU makes.</summary>
    [Fact]
    [Trait("Category", "Broad")]
    public void Rows_meet_every_fault_reason_of_the_legacy_mode_that_QEMU_can_raise()
    {
        var met = new SortedSet<byte>();
        foreach (VtdCase row in VtdCases.All)
        {
            using var machine = new SimulatedVtd(Devices, VtdOptions.Default);
            var bench = new VtdBench(machine);
            row.Script(bench);
            met.UnionWith(bench.Reasons);
        }

        Assert.Equal([1, 2, 3, 4, 5, 6, 7, 8, 9, 0xA, 0xB, 0xC, 0xE], met);
    }

    public static TheoryData<string> ScalableNames => new(ScalableCases.All.Where(row => row.Since <= QemuVtd.MajorVersion).Select(row => row.Name));

    /// <summary>A unit that offers all that the rows of the scalable mode are about.</summary>
    internal static VtdOptions WholeScalable => VtdOptions.Scalable with { Nesting = true };

    public static TheoryData<string> AllScalableNames => new(ScalableCases.All.Select(row => row.Name));

    [Theory]
    [MemberData(nameof(AllScalableNames))]
    public void The_simulator_does_as_the_specification_says_in_scalable_mode(string name)
    {
        using var machine = new SimulatedVtd(Devices, WholeScalable);
        ScalableCases.All.Single(row => row.Name == name).Script(new(machine));
    }

    /// <summary>The rows that the installed version can judge. 7.2 knows the second stage and pass-through, and numbers its faults there as in legacy mode.</summary>
    [QemuTheory]
    [MemberData(nameof(ScalableNames))]
    public void QEMU_does_as_the_specification_says_in_scalable_mode(string name)
    {
        VtdCase row = ScalableCases.All.Single(row => row.Name == name);
        using var machine = QemuVtd.Start(Devices, VtdBench.Payload, isScalable: true, hasFirstStage: row.Since == VtdCase.FirstStageSince);
        output.WriteLine($"QEMU {QemuVtd.Version}");
        if (QemuVtd.KnowsFirstStage && QemuTen.WhyNot(name) is { } why)
        {
            output.WriteLine(why);
            Assert.ThrowsAny<Xunit.Sdk.XunitException>(() => row.Script(new(machine)));
            return;
        }

        row.Script(new(machine));
    }

    /// <summary>A unit that is made otherwise, by the row of the scalable mode that must tell.</summary>
    private static Dictionary<string, VtdOptions> OtherScalableUnits => new()
    {
        ["A PASID entry leads to second-stage tables"] = VtdOptions.Default,
        ["A PASID entry with second-stage tables of three levels"] = VtdOptions.Scalable with { ThreeLevelTables = false },
        ["A changed second-stage entry is seen after an invalidation of its page or domain"] = VtdOptions.Scalable with { IotlbSets = 0 },
        ["A changed PASID entry is seen after an invalidation of the PASID cache"] = VtdOptions.Scalable with { PasidCacheEntries = 0 },
        ["A changed context entry is seen after an invalidation of the context cache"] = VtdOptions.Scalable with { ContextCacheEntries = 0 },
        ["A PASID entry may let its device through untranslated"] = VtdOptions.Scalable with { PassThrough = false },
        ["The context entry chooses among twenty bits of PASIDs"] = VtdOptions.Scalable with { RidPasid = false },
        ["First-stage tables of five levels"] = VtdOptions.Scalable with { FirstStageFiveLevels = false },
        ["First-stage pages of 1 GiB"] = VtdOptions.Scalable with { FirstStagePages1G = false },
        ["Accessed and dirty flags of second-stage entries"] = VtdOptions.Scalable with { SecondStageAccessedDirty = false },
        ["Accessed and dirty flags of first-stage entries"] = VtdOptions.Scalable with { ScalableWalkSnoop = false },
        ["A PASID entry leads through both stages"] = VtdOptions.Scalable,
        ["What the second stage cuts small is cached small"] = WholeScalable with { IotlbSets = 0 },
        ["A moved first-stage table is found after an invalidation of the second stage"] = WholeScalable with { WalkCacheEntriesPerLevel = 0 },
    };

    public static TheoryData<string> OtherScalableUnitNames => new(OtherScalableUnits.Keys);

    [Theory]
    [MemberData(nameof(OtherScalableUnitNames))]
    public void A_unit_that_is_made_otherwise_fails_the_row_of_the_scalable_mode_that_says_so(string name)
    {
        using var machine = new SimulatedVtd(Devices, OtherScalableUnits[name]);
        Assert.ThrowsAny<Xunit.Sdk.XunitException>(() => ScalableCases.All.Single(row => row.Name == name).Script(new(machine)));
    }

    public static TheoryData<string> OtherUnitNames => new(OtherUnits.Keys);

    /// <summary>Units that are made otherwise, by the row that must tell.</summary>
    private static Dictionary<string, VtdOptions> OtherUnits => new()
    {
        ["A changed entry is not seen without an invalidation"] = VtdOptions.Default with { IotlbSets = 0 },
        ["A cleared context entry counts when context and IOTLB are invalidated"] = VtdOptions.Default with { ContextCacheEntries = 0 },
        ["Without caching mode an absent entry is not remembered"] = VtdOptions.Default with { CachingMode = true },
        ["Without caching mode an absent context entry is not remembered"] = VtdOptions.Default with { CachingMode = true },
        ["A fault that finds no free record sets the overflow, and none is recorded until that is cleared"] = VtdOptions.Default with { FaultRecordCount = 2 },
        ["Address bits above the host's width are reserved in a leaf"] = VtdOptions.Default with { HostAddressWidth = 49 },
        ["A leaf of 2 MiB maps all of its bytes"] = VtdOptions.Default with { Pages2M = false },
        ["A leaf of 1 GiB maps all of its bytes"] = VtdOptions.Default with { Pages1G = false },
        ["With three levels the last page of 39 bits is reached, and no further one"] = VtdOptions.Default with { ThreeLevelTables = false },
        ["Pass-through reaches physical addresses"] = VtdOptions.Default with { PassThrough = false },
        ["An address mask beyond what the hardware offers stops the queue, and it goes on once that is put right"] = VtdOptions.Default with { MaximumAddressMask = 19 },
        ["A page invalidation with the widest mask forgets a cached page"] = VtdOptions.Default with { MaximumAddressMask = 17 },
    };

    [Theory]
    [MemberData(nameof(OtherUnitNames))]
    public void A_unit_that_is_made_otherwise_fails_the_row_that_says_so(string name)
    {
        using var machine = new SimulatedVtd(Devices, OtherUnits[name]);
        Assert.ThrowsAny<Xunit.Sdk.XunitException>(() => Find(name).Script(new(machine)));
    }

    private static bool Holds(Action<Action<VtdBench>> machine, VtdCase row)
    {
        try
        {
            machine(row.Script);
            return true;
        }
        catch (Xunit.Sdk.XunitException)
        {
            return false;
        }
    }

    private static void OnSimulator(Action<VtdBench> script)
    {
        using var machine = new SimulatedVtd(Devices, VtdOptions.Default);
        script(new(machine));
    }

    private static void OnQemu(Action<VtdBench> script)
    {
        using var machine = QemuVtd.Start(Devices, VtdBench.Payload);
        script(new(machine));
    }

    private static VtdCase Find(string name) => VtdCases.All.Single(row => row.Name == name);

    private static VtdDeviation FindDeviation(string name) => VtdDeviations.All.Single(row => row.Name == name);
}
