using Platform;
using Vcmm;
using Vcmm.Allocation;

namespace Properties.Library.Regions;

/// <summary>
/// The sister of <see cref="FailureLaws"/> for regions of the other kinds and for what is asked of hardware's notes: whatever fails, and
/// whenever, a refused call has changed nothing, it succeeds once nothing fails, and every frame comes back (I6).
/// </summary>
[Collection(QuickFirst.Last + nameof(KindsFailureLaws))]
public sealed class KindsFailureLaws : IDisposable
{
    private const ulong Page = KindsBench.Page;

    private static readonly SortedDictionary<string, Func<KindsBench, VcmmError>> Calls = new(StringComparer.Ordinal)
    {
        ["one-to-one: back"] = static bench => bench.StraightFree.TryBack(bench.Piece),
        ["one-to-one: back a part"] = static bench => bench.StraightFree.TryBack(Page, bench.Piece, Page, 2 * Page),
        ["one-to-one: unback a part"] = static bench => bench.Straight.TryUnback(Page, 2 * Page),
        ["one-to-one: unmap"] = static bench => bench.Straight.TryUnmap(),
        ["one-to-one: bind"] = static bench => bench.OneToOne.TryBind(3 * Page, Access.ReadWrite, MemoryOptions.Default, out _),
        ["one-to-one: bind where there are no tables"] = static bench => bench.NewOneToOne.TryBind(3 * Page, Access.ReadWrite, MemoryOptions.Default, out _),
        ["one-to-one: unbind"] = static bench => bench.OneToOne.TryUnbind(bench.Binding),
        ["one-to-one: clone"] = static bench => Keep(bench.OneToOne.TryClone(out Vcm? clone), clone, bench),
        ["one-to-one: associate a device without an IOMMU"] = static bench => bench.Associate(bench.OneToOne, bench.Direct, AssociationOptions.Default),
        ["one-to-one: associate another format"] = static bench => bench.Associate(bench.OneToOne, bench.Behind, new() { Format = bench.First }),
        ["one-to-one: change to tables that there are"] = static bench => bench.IdleFive.TrySetOptions(new() { Format = bench.Second, Pasid = new(9) }),
        ["one-to-one: change to other tables"] = static bench => bench.IdleStraight.TrySetOptions(new() { Format = bench.First }),
        ["one-to-one: change all tables"] = static bench => bench.IdleFive.TrySetOptions(new() { Format = bench.First }),
        ["one-to-one: activate"] = static bench => bench.IdleStraight.TryActivate(),
        ["vmap: associate"] = static bench => bench.Associate(bench.Process, bench.Cpu, AssociationOptions.Default),
        ["vmap: activate"] = static bench => bench.Idle.TryActivate(),
        ["vmap: back"] = static bench => bench.ViewFree.TryBack(bench.Pages),
        ["vmap: map"] = static bench => bench.Process.TryMap(bench.Pages, Access.ReadWrite, Page, out _),
        ["vmap: narrow"] = static bench => bench.View.TrySetAttributes(Access.Read),
        ["vunmap: unback"] = static bench => bench.View.TryUnback(),
        ["vunmap: unback a part"] = static bench => bench.View.TryUnback(Page, Page),
        ["vunmap: unmap"] = static bench => bench.View.TryUnmap(),
        ["vunmap: deactivate"] = static bench => bench.Associations.Single(association => association.Vcm == bench.Process && association.Device.Id.Value == 0).TryDeactivate(),
        ["vunmap: deassociate"] = static bench => bench.Idle.TryDeassociate(),
        ["adopt"] = static bench => Keep(bench.Manager.TryAdoptVcm(bench.Process.Range, bench.First, bench.Root, out Vcm? vcm), vcm, bench),
        ["adopt: associate"] = static bench => bench.Associate(bench.Adopted, bench.Behind, new() { Format = bench.First, Pasid = new(8) }),
        ["adopt: activate"] = static bench => bench.IdleAdopted.TryActivate(),
        ["adopt: deactivate"] = static bench => bench.Associations.Single(association => association.Vcm == bench.Adopted && association.IsActive).TryDeactivate(),
        ["adopt: tell"] = static bench => bench.Adopted.TryInvalidate(IovaRange.FromLength(bench.View.Range.First, 4 * Page)),
        ["use: look at what was written"] = static bench => bench.Written.TryCollectDirty(0, 6 * Page, clear: false, bench.Told),
        ["use: clear what was written"] = static bench => bench.Written.TryCollectDirty(0, 6 * Page, clear: true, bench.Told),
        ["use: clear what was written to a part"] = static bench => bench.Written.TryCollectDirty(2 * Page, 2 * Page, clear: true, bench.Told),
        ["use: clear what was accessed"] = static bench => bench.Written.TryCollectAccessed(0, 6 * Page, clear: true, bench.Told),
    };

    /// <summary>Where a place could not be had another may be, and then the call is done.</summary>
    private const string MayLieElsewhere = "one-to-one: bind";

    private readonly RamBlock _ram = new(PhysRange.FromLength(new(2UL << 20), 4UL << 20));

    public void Dispose() => _ram.Dispose();

    [Fact]
    public void A_call_that_runs_out_of_memory_anywhere_changes_nothing() =>
        FailEverywhere(static bench => bench.Memory, static (fuse, n) => fuse.Arm(n), 14, [VcmmError.NoMemory], []);

    [Fact]
    public void A_call_that_the_hardware_fails_once_anywhere_changes_nothing() =>
        FailEverywhere(static bench => bench.Hardware, static (fuse, n) => fuse.Arm(n), 14, [VcmmError.HardwareFailure], NeedsHardware);

    [Fact]
    public void A_call_during_which_the_hardware_goes_away_changes_nothing_or_stands() =>
        FailEverywhere(static bench => bench.Hardware, static (fuse, n) => fuse.Arm(n, stays: true), 14, [VcmmError.HardwareFailure], NeedsHardware);

    [Fact]
    public void A_call_during_which_a_driver_or_a_core_throws_anywhere_changes_nothing_or_stands() =>
        FailEverywhere(static bench => bench.Hardware, static (fuse, n) => fuse.Arm(n, throws: true), 14, [VcmmError.HardwareFailure], NeedsHardware);

    /// <summary>These cannot be done without the hardware, so that each was refused at least once.</summary>
    private static readonly string[] NeedsHardware =
    [
        "adopt: deactivate", "adopt: tell", "one-to-one: unback a part", "one-to-one: unbind", "one-to-one: unmap", "use: clear what was accessed", "use: clear what was written",
        "use: clear what was written to a part", "vmap: activate", "vmap: narrow", "vunmap: deactivate", "vunmap: unback", "vunmap: unback a part", "vunmap: unmap",
    ];

    private void FailEverywhere(Func<KindsBench, Fuse> fuseOf, Action<Fuse, int> arm, int least, VcmmError[] expected, string[] mustBeRefused)
    {
        var refused = new Dictionary<string, int>();
        foreach ((string name, Func<KindsBench, VcmmError> call) in Calls)
        {
            string result = ResultOf(call);
            bool wasMet = true;
            for (int n = 1; wasMet; n++)
            {
                try
                {
                    if (FailAt(call, fuse => arm(fuse, n), fuseOf, expected, name.StartsWith(MayLieElsewhere, StringComparison.Ordinal) ? null : result, out wasMet)) refused[name] = refused.GetValueOrDefault(name) + 1;
                }
                catch (Exception exception)
                {
                    throw new InvalidOperationException($"{name}, failure {n}: {exception.Message}", exception);
                }
            }
        }

        Assert.All(mustBeRefused, name => Assert.True(refused.ContainsKey(name), $"{name} was never refused"));
        Assert.InRange(refused.Values.Sum(), least, 1000);
    }

    private bool FailAt(Func<KindsBench, VcmmError> call, Action<Fuse> arm, Func<KindsBench, Fuse> fuseOf, VcmmError[] expected, string? result, out bool wasMet)
    {
        var bench = new KindsBench(_ram);
        string before = bench.Picture;
        Fuse fuse = fuseOf(bench);
        arm(fuse);
        VcmmError error = Outcome(call, bench);
        wasMet = fuse.WasMet;
        fuse.Disarm();
        bool isRefused = error != VcmmError.None;
        if (isRefused)
        {
            Assert.True(wasMet, $"{error} though nothing failed");
            Assert.Contains(error, expected);
            Assert.Equal(before, bench.Picture);
            bench.AssertSound();
            bench.AssertAllSee();
            Assert.Equal(VcmmError.None, call(bench));
        }

        if (result is not null) Assert.Equal(result, bench.Picture);
        bench.AssertSound();
        bench.AssertAllSee();
        bench.TearDown();
        return isRefused;
    }

    private string ResultOf(Func<KindsBench, VcmmError> call)
    {
        var bench = new KindsBench(_ram);
        Assert.Equal(VcmmError.None, call(bench));
        bench.AssertSound();
        bench.AssertAllSee();
        string result = bench.Picture;
        bench.TearDown();
        return result;
    }

    /// <summary>What a driver throws counts as a failure of the hardware.</summary>
    private static VcmmError Outcome(Func<KindsBench, VcmmError> call, KindsBench bench)
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

    private static VcmmError Keep(VcmmError error, Vcm? made, KindsBench bench)
    {
        if (made is not null) bench.Regions.Add(made);
        return error;
    }
}
