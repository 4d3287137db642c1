using Platform;
using Vcmm;
using Vcmm.Allocation;

namespace Properties.Library.Regions;

/// <summary>
/// Whatever fails, and whenever: a refused call has changed nothing, it succeeds once nothing fails, and in the end every frame
/// comes back (I6). Devices never get more than what stands (I4, I7).
/// </summary>
[Collection(QuickFirst.Last + nameof(FailureLaws))]
public sealed class FailureLaws : IDisposable
{
    private const ulong Page = FailureBench.Page;

    private readonly RamBlock _ram = new(PhysRange.FromLength(new(2UL << 20), 6UL << 20));

    /// <summary>Every call that may need memory or hardware, and what it is called on.</summary>
    private static readonly SortedDictionary<string, Func<FailureBench, VcmmError>> Calls = new(StringComparer.Ordinal)
    {
        ["reserve"] = static bench => bench.Region.TryReserve(3 * Page, Access.Read, Page, out _),
        ["reserve at"] = static bench => bench.Region.TryReserveAt(new(9 * bench.LargeBytes), Page, Access.Read, out _),
        ["reserve in a bound"] = static bench => bench.Bound.TryReserve(Page, Access.Read, Page, out _),
        ["create a bound"] = static bench => bench.Region.TryCreateBound(Page, Page, out _),
        ["free a bound"] = static bench => bench.EmptyBound.TryFree(),
        ["back the whole"] = static bench => bench.Free.TryBack(bench.FivePages),
        ["back a part"] = static bench => bench.Free.TryBack(2 * Page, bench.FivePages, Page, 2 * Page),
        ["back between parts"] = static bench => bench.Small.TryBack(3 * Page, bench.FivePages, 0, 2 * Page),
        ["back over empty tables"] = static bench => bench.OverEmptyTables.TryBack(bench.OneLarge),
        ["unback a part"] = static bench => bench.Small.TryUnback(0, 2 * Page),
        ["unback parts with a gap"] = static bench => bench.Small.TryUnback(),
        ["unback a large leaf"] = static bench => bench.Large.TryUnback(),
        ["unback the middle of a large leaf"] = static bench => bench.Large.TryUnback(3 * Page, 2 * Page),
        ["unback the start of a large leaf"] = static bench => bench.Large.TryUnback(0, Page),
        ["unback the end of a large leaf"] = static bench => bench.Large.TryUnback(Page, bench.LargeBytes - Page),
        ["narrow"] = static bench => bench.Small.TrySetAttributes(Access.Read),
        ["narrow a large leaf"] = static bench => bench.Large.TrySetAttributes(Access.Read),
        ["widen"] = static bench => bench.ReadOnly.TrySetAttributes(Access.ReadWrite),
        ["associate"] = static bench => Keep(bench.Region.TryAssociate(bench.Stranger, out Association? made), made, bench.Associations),
        ["associate elsewhere"] = static bench => Keep(bench.Regions[1].TryAssociate(bench.Stranger, out Association? made), made, bench.Associations),
        ["activate"] = static bench => bench.Associations[2].TryActivate(),
        ["activate the first"] = static bench => bench.Associations[3].TryActivate(),
        ["deactivate"] = static bench => bench.Associations[0].TryDeactivate(),
        ["deassociate"] = static bench => bench.Associations[3].TryDeassociate(),
        ["map"] = static bench => bench.Region.TryMap(bench.FivePages, Access.Read, Page, out _),
        ["map a large leaf"] = static bench => bench.Region.TryMap(bench.OneLarge, Access.Read, bench.LargeBytes, out _),
        ["bind"] = static bench => bench.Region.TryBind(3 * Page, Access.Read, MemoryOptions.Default, out _),
        ["bind scattered"] = static bench => bench.Region.TryBind(3 * Page, Access.Read, new() { Sizes = ChunkSizes.Size4K, Scattered = true }, out _),
        ["unbind"] = static bench => bench.Region.TryUnbind(bench.Binding),
        ["unmap"] = static bench => bench.Small.TryUnmap(),
        ["unreserve"] = static bench => bench.Free.TryUnreserve(),
        ["clone"] = static bench => Keep(bench.Region.TryClone(out Vcm? clone), clone, bench.Regions),
        ["copy"] = static bench => bench.Manager.TryCopy(bench.Small, 0, bench.Large, 5, 3 * Page),
        ["wrap"] = static bench => Keep(bench.Manager.TryWrap(PhysRange.FromLength(new(1UL << 40), Page), out PhysicalAllocation? made), made, bench.Memories),
        ["allocate"] = static bench => Keep(bench.Manager.TryAllocate(19 * Page, MemoryOptions.Default, out PhysicalAllocation? made), made, bench.Memories),
        ["allocate one piece"] = static bench => Keep(bench.Manager.TryAllocateContiguous(3 * Page, Page, default, out PhysicalAllocation? made), made, bench.Memories),
        ["flush"] = static bench => bench.Region.TryFlush(),
        ["flush what was unbacked"] = static bench => Both(bench.Small.TryUnback(), bench.Region.TryFlush()),
        ["back what was unbacked"] = static bench => Both(bench.Small.TryUnback(), bench.Small.TryBack(0, bench.FivePages, 0, Page)),
    };

    /// <summary>These are two calls: the second may fail after the first has succeeded.</summary>
    private static readonly string[] Pairs = ["flush what was unbacked", "back what was unbacked"];

    public static TheoryData<BenchKind> Kinds => new(Enum.GetValues<BenchKind>());

    public void Dispose() => _ram.Dispose();

    [Theory]
    [MemberData(nameof(Kinds))]
    public void A_call_that_runs_out_of_memory_anywhere_changes_nothing(BenchKind kind) =>
        Assert.InRange(FailEverywhere(kind, static bench => bench.Memory, static (fuse, n) => fuse.Arm(n), [VcmmError.NoMemory]), 10, 1000);

    [Theory]
    [MemberData(nameof(Kinds))]
    public void A_call_that_the_hardware_fails_once_anywhere_changes_nothing(BenchKind kind) =>
        Assert.InRange(
            FailEverywhere(kind, static bench => bench.Hardware, static (fuse, n) => fuse.Arm(n), [VcmmError.HardwareFailure, VcmmError.NoSpace]),
            kind == BenchKind.Deferred ? 4 : 14, 1000);

    [Theory]
    [MemberData(nameof(Kinds))]
    public void A_call_during_which_the_hardware_goes_away_changes_nothing_or_stands(BenchKind kind) =>
        Assert.InRange(
            FailEverywhere(kind, static bench => bench.Hardware, static (fuse, n) => fuse.Arm(n, stays: true), [VcmmError.HardwareFailure, VcmmError.NoSpace]),
            kind == BenchKind.Deferred ? 4 : 14, 1000);

    [Theory]
    [InlineData(BenchKind.TwoFormats, false)]
    [InlineData(BenchKind.TwoFormats, true)]
    [InlineData(BenchKind.CachesAbsent, false)]
    [InlineData(BenchKind.CachesAbsent, true)]
    [InlineData(BenchKind.BreakBeforeMake, false)]
    [InlineData(BenchKind.BreakBeforeMake, true)]
    [InlineData(BenchKind.Deferred, false)]
    [InlineData(BenchKind.Deferred, true)]
    [InlineData(BenchKind.Vtd, false)]
    [InlineData(BenchKind.VtdCachingMode, false)]
    [InlineData(BenchKind.VtdScalable, false)]
    [InlineData(BenchKind.VtdPageRequests, false)]
    public void A_call_during_which_a_driver_throws_anywhere_changes_nothing_or_stands(BenchKind kind, bool stays) =>
        Assert.InRange(
            FailEverywhere(kind, static bench => bench.Hardware, (fuse, n) => fuse.Arm(n, stays, throws: true), [VcmmError.HardwareFailure]),
            kind == BenchKind.Deferred ? 4 : 14, 1000);

    [Theory]
    [Trait("Category", "Slow")]
    [InlineData(BenchKind.CachesAbsent)]
    [InlineData(BenchKind.Vtd)]
    [InlineData(BenchKind.VtdCachingMode)]
    [InlineData(BenchKind.VtdScalable)]
    public void A_call_that_the_hardware_fails_twice_changes_nothing_or_stands(BenchKind kind)
    {
        for (int distance = 1; distance <= 12; distance++)
        {
            int between = distance;
            FailEverywhere(kind, static bench => bench.Hardware, (fuse, n) => fuse.Arm(n, distance: between), [VcmmError.HardwareFailure, VcmmError.NoSpace]);
        }
    }

    /// <returns>How many calls were refused.</returns>
    private int FailEverywhere(BenchKind kind, Func<FailureBench, Fuse> fuseOf, Action<Fuse, int> arm, VcmmError[] expected)
    {
        int refused = 0;
        foreach ((string name, Func<FailureBench, VcmmError> call) in Calls)
        {
            string result = ResultOf(kind, call);
            bool wasMet = true;
            for (int n = 1; wasMet; n++)
            {
                try
                {
                    if (FailAt(kind, call, fuse => arm(fuse, n), fuseOf, expected, result, Pairs.Contains(name), out wasMet)) refused++;
                }
                catch (Exception exception)
                {
                    throw new InvalidOperationException($"{name}, failure {n}: {exception.Message}", exception);
                }
            }
        }

        return refused;
    }

    private bool FailAt(
        BenchKind kind, Func<FailureBench, VcmmError> call, Action<Fuse> arm, Func<FailureBench, Fuse> fuseOf, VcmmError[] expected, string result, bool isPair, out bool wasMet)
    {
        var bench = new FailureBench(kind, _ram);
        string before = bench.Picture;
        Fuse fuse = fuseOf(bench);
        arm(fuse);
        VcmmError error = Outcome(call, bench);
        wasMet = fuse.WasMet;
        fuse.Disarm();
        bench.AssertDevicesSee(all: false);
        if (error != VcmmError.None)
        {
            Assert.True(wasMet, $"{error} though nothing failed");
            Assert.Contains(error, expected);
            if (!isPair) Assert.Equal(before, bench.Picture);
            bench.AssertSound();
            error = call(bench);
            if (isPair && error == VcmmError.NotFound) error = Both(VcmmError.None, bench.Region.TryFlush());
            Assert.Equal(VcmmError.None, error);
            error = VcmmError.HardwareFailure;
        }

        if (!isPair) Assert.Equal(result, bench.Picture);
        bench.AssertSound();
        bench.TearDown();
        return error != VcmmError.None;
    }

    /// <summary>What a driver throws counts as a failure of the hardware.</summary>
    private static VcmmError Outcome(Func<FailureBench, VcmmError> call, FailureBench bench)
    {
        try
        {
            return call(bench);
        }
        catch (BrokenPort)
        {
            return VcmmError.HardwareFailure;
        }
    }

    private string ResultOf(BenchKind kind, Func<FailureBench, VcmmError> call)
    {
        var bench = new FailureBench(kind, _ram);
        Assert.Equal(VcmmError.None, call(bench));
        bench.AssertDevicesSee(all: kind != BenchKind.Deferred);
        bench.AssertSound();
        string result = bench.Picture;
        bench.TearDown();
        return result;
    }

    private static VcmmError Keep<T>(VcmmError error, T? made, List<T> list)
        where T : class
    {
        if (made is not null) list.Add(made);
        return error;
    }

    private static VcmmError Both(VcmmError first, VcmmError second) => first == VcmmError.None ? second : first;
}
