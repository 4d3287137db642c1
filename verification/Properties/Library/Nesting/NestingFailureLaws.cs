using Platform;
using Properties.Library.Regions;
using Vcmm;
using Vcmm.Allocation;

namespace Properties.Library.Nesting;

/// <summary>
/// Whatever fails, and whenever: a refused call has changed nothing, it succeeds once nothing fails, and devices reach what the tables of both say (I6).
/// </summary>
[Collection(QuickFirst.Last + nameof(NestingFailureLaws))]
public sealed class NestingFailureLaws
{
    private const ulong Page = NestedSystem.Page, Data = NestedSystem.FirstDataPage, Pages = 4;

    private static readonly SortedDictionary<string, Func<Bench, VcmmError>> Calls = new(StringComparer.Ordinal)
    {
        ["associate"] = static bench => bench.System.Region.TryAssociate(bench.Stranger, new() { NestedTable = bench.Guests[0].Table }, out bench.Made),
        ["change to a nested table"] = static bench => bench.Idle.TrySetOptions(new() { NestedTable = bench.Guests[1].Table }),
        ["activate with a nested table that is new"] = static bench =>
        {
            bench.Idle.SetOptions(new() { NestedTable = bench.Guests[1].Table });
            return bench.Idle.TryActivate();
        },
        ["activate with one that others have"] = static bench =>
        {
            bench.Idle.SetOptions(new() { NestedTable = bench.Guests[0].Table });
            return bench.Idle.TryActivate();
        },
        ["deactivate"] = static bench => bench.Devices[0].Association.TryDeactivate(),
        ["deactivate one that has a TLB"] = static bench => bench.Devices[1].Association.TryDeactivate(),
        ["tell of a page"] = static bench => bench.Devices[0].Association.TryInvalidate(Guest.Pages(0, 1)),
        ["tell of several pages"] = static bench => bench.Devices[1].Association.TryInvalidate(Guest.Pages(0, 3)),
        ["unback behind a page"] = static bench => bench.System.Pages.TryUnback(Data * Page, Page),
        ["unback behind a table"] = static bench => bench.System.Pages.TryUnback(bench.Guests[0].TableAt(1).Value - bench.System.Region.Range.First.Value, Page),
        ["narrow what is behind all"] = static bench => bench.System.Pages.TrySetAttributes(Access.Read),
    };

    public static TheoryData<string> Names => new(Calls.Keys);

    [Theory]
    [MemberData(nameof(Names))]
    public void A_call_that_fails_anywhere_changes_nothing(string name) => FailEverywhere(name, cachesAbsent: false);

    [Theory]
    [MemberData(nameof(Names))]
    public void Nor_does_one_where_what_is_absent_is_cached(string name) => FailEverywhere(name, cachesAbsent: true);

    private static void FailEverywhere(string name, bool cachesAbsent)
    {
        Func<Bench, VcmmError> call = Calls[name];
        string result = ResultOf(call, cachesAbsent);
        int refused = 0;
        (Func<NestedSystem, Fuse> FuseOf, Action<Fuse, int> Arm, VcmmError Expected)[] ways =
        [
            (static system => system.Allocations, static (fuse, n) => fuse.Arm(n), VcmmError.NoMemory),
            (static system => system.Hardware, static (fuse, n) => fuse.Arm(n), VcmmError.HardwareFailure),
            (static system => system.Hardware, static (fuse, n) => fuse.Arm(n, stays: true), VcmmError.HardwareFailure),
            (static system => system.Hardware, static (fuse, n) => fuse.Arm(n, throws: true), VcmmError.HardwareFailure),
        ];
        foreach ((Func<NestedSystem, Fuse> fuseOf, Action<Fuse, int> arm, VcmmError expected) in ways)
        {
            bool wasMet = true;
            for (int n = 1; wasMet; n++)
            {
                using var bench = new Bench(cachesAbsent);
                Fuse fuse = fuseOf(bench.System);
                string before = bench.Picture;
                arm(fuse, n);
                VcmmError error = Outcome(call, bench);
                wasMet = fuse.WasMet;
                fuse.Disarm();
                if (error != VcmmError.None)
                {
                    refused++;
                    Assert.True(wasMet, $"{error} though nothing failed");
                    Assert.Equal(expected, error);
                    // What activations are preceded by is done.
                    if (!name.StartsWith("activate", StringComparison.Ordinal)) Assert.Equal(before, bench.Picture);
                    else Assert.False(bench.Idle.IsActive);
                    bench.AssertAllSee();
                    Assert.Equal(VcmmError.None, call(bench));
                }

                Assert.Equal(result, bench.Picture);
                // What stands although the hardware did not confirm it is not known to hardware that had cached that it was absent.
                bench.AssertAllSee(isExact: error != VcmmError.None || !wasMet || !cachesAbsent);
                bench.TearDown();
            }
        }

        if (name is not ("associate" or "change to a nested table")) Assert.NotEqual(0, refused);
    }

    private static string ResultOf(Func<Bench, VcmmError> call, bool cachesAbsent)
    {
        using var bench = new Bench(cachesAbsent);
        Assert.Equal(VcmmError.None, call(bench));
        bench.AssertAllSee();
        string result = bench.Picture;
        bench.TearDown();
        return result;
    }

    private static VcmmError Outcome(Func<Bench, VcmmError> call, Bench bench)
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

    /// <summary>Two guests, of which one has devices: one with a TLB, one that is idle; and one device that is none's.</summary>
    private sealed class Bench : IDisposable
    {
        public Association? Made;

        public Bench(bool cachesAbsent)
        {
            System = new(cachesAbsent);
            Guests = [System.AddGuest(), System.AddGuest(1)];
            for (ulong page = 0; page < Pages; page++)
            {
                Guests[0].Map(page, System.At(Data + page));
                Guests[1].Map(page, System.At(Data + Pages + page));
            }

            Devices = [System.Join(Guests[0], 5), System.Join(Guests[0], 5, hasTlb: true), System.Join(Guests[0])];
            Idle.Deactivate();
            Stranger = System.Manager.AddDevice(System.Driver, new(0x77));
            AssertAllSee();
        }

        public NestedSystem System { get; }

        public Guest[] Guests { get; }

        public Probe[] Devices { get; }

        public Device Stranger { get; }

        public Association Idle => Devices[2].Association;

        public string Picture => string.Join(Environment.NewLine, (string[])
        [
            RegionPicture.Of([System.Region], [System.Behind]),
            .. Devices.Select(static device => $"{device.Association.Options} {device.Association.IsActive}"),
            $"{Made?.Options}",
        ]);

        /// <summary>What both tables say now, for whoever is active, and nothing for others.</summary>
        public void AssertAllSee(bool isExact = true)
        {
            foreach (Probe device in Devices)
            {
                Guest? guest = Array.Find(Guests, guest => guest.Table == device.Association.NestedTable);
                bool hasTable = guest is not null && System.Region.TryTranslate(guest.TableAt(1), out _) == VcmmError.None;
                for (ulong page = 0; page < Pages; page++)
                {
                    bool leadsOn = System.Region.TryTranslate(System.At(Data + page + (guest == Guests[1] ? Pages : 0)), out Vcmm.Tables.Translation meaning) == VcmmError.None;
                    bool isReached = device.Association.IsActive && hasTable && leadsOn;
                    ulong? seen = device.Read(page);
                    if (isExact || seen is not null) Assert.Equal(isReached ? System.Memory.Read64(meaning.Address) : null, seen);
                }
            }
        }

        public void TearDown()
        {
            ulong free = System.Frames.FreeBytes;
            foreach (Probe device in Devices)
            {
                if (device.Association.IsActive) device.Association.Deactivate();
                device.Association.Deassociate();
                Assert.Equal(VcmmError.Invalid, device.Association.TryInvalidate(Guest.Pages(0, 1)));
            }

            Made?.Deassociate();
            System.Driver.Stop();
            Assert.InRange(System.Frames.FreeBytes, free + Page, System.Frames.TotalBytes - System.Behind.ByteCount);
        }

        public void Dispose() => System.Dispose();
    }
}
