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
        OnQemu(row.Deviation);
        Assert.ThrowsAny<Xunit.Sdk.XunitException>(() => OnQemu(row.Law));
    }

    [QemuFact]
    public void Rows_agree_on_QEMU_and_the_simulator()
    {
        int agreed = VtdCases.All.Count(row => Holds(OnSimulator, row) && Holds(OnQemu, row));
        output.WriteLine(
            $"{agreed} of {VtdCases.All.Count} conformance rows agree on QEMU {QemuVtd.Version} and the simulator; {VtdDeviations.All.Count} listed deviations of QEMU");
        Assert.Equal(VtdCases.All.Count, agreed);
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
