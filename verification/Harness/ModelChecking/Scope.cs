using System.Collections.Immutable;
using Harness.Scenarios;
using Vcmm.Spec;

namespace Harness.ModelChecking;

/// <summary>A world so small that everything that can happen in it can be tried.</summary>
public sealed record Scope
{
    /// <summary>Bytes of a granule, which is a page.</summary>
    public const ulong Granule = World.PageBytes;

    private const ulong FirstFrame = 0x100_0000, FrameDistance = 2 * World.PageBytes, ForeignPage = 0x380_0000, OneToOnePages = 64;

    /// <summary>Regions at a time: 1 … 3.</summary>
    public int Vcms { get; init; } = 2;

    /// <summary>Table formats: 1 or 2.</summary>
    public int Formats { get; init; } = 2;

    /// <summary>Devices, which are alike: 1 … 4.</summary>
    public int Devices { get; init; } = 3;

    /// <summary>Pages of each region: 1 … 8.</summary>
    public int Granules { get; init; } = 4;

    /// <summary>Frames of memory, which are alike: 1 … 4. There is one page besides that only a wrap names.</summary>
    public int Frames { get; init; } = 3;

    /// <summary>Bounds at a time: 0 … 2.</summary>
    public int Bounds { get; init; } = 1;

    /// <summary>Owners of a reservation: 1 … 3.</summary>
    public int Owners { get; init; } = 2;

    /// <summary>Unbacks that may wait for a flush; one more makes it due: 0 … 4. None: no region is deferred.</summary>
    public int Quarantine { get; init; } = 2;

    /// <summary>Blocked accesses of which nobody was told yet: 0 … 2. None: devices do not access what is blocked for them.</summary>
    public int Faults { get; init; } = 1;

    /// <summary>Processes, each an address space of one core: 0 … 2.</summary>
    public int Processes { get; init; }

    /// <summary>Accesses that may wait for a page: 0 … 2. None: no device has a TLB, or asks for pages; otherwise all do.</summary>
    public int Waiting { get; init; }

    /// <summary>Whether regions may be one-to-one. Then frames are not alike.</summary>
    public bool OneToOne { get; init; }

    /// <summary>Whether devices may be let through untranslated. Only such as have no TLB: not where accesses may wait.</summary>
    public bool PassThrough { get; init; }

    /// <summary>Guests at a time: 0 or 1. One has its tables in a page of a region.</summary>
    public int Guests { get; init; }

    /// <summary>How many of the pages of a guest's devices there are: 1 or 2.</summary>
    public int GuestPages { get; init; } = 1;

    /// <summary>Whether hardware caches that something is absent, so that also what is made must be told to it. How the library does that the model does not say; a search of the library sees it fail. Where guests do it the model says what devices may have kept.</summary>
    public bool CachingMode { get; init; }

    /// <summary>The first addresses of the frames. No two touch, so that they are alike.</summary>
    public ImmutableArray<ulong> FrameAddresses => [.. Enumerable.Range(0, Frames).Select(static frame => FirstFrame + ((ulong)frame * FrameDistance))];

    /// <summary>Those that are alike.</summary>
    public ImmutableArray<ulong> LikeFrames => OneToOne ? [] : FrameAddresses;

    /// <summary>The addresses of a one-to-one region, in which the frames lie.</summary>
    public static AddressRange OneToOneRegion => new(FirstFrame, FirstFrame + (OneToOnePages * World.PageBytes) - 1);

    /// <summary>The page that only a wrap names.</summary>
    public static AddressRange Foreign => new(ForeignPage, ForeignPage + World.PageBytes - 1);

    /// <summary>The addresses of each region.</summary>
    public AddressRange Region => new(0, ((ulong)Granules * Granule) - 1);

    /// <summary>Refuses a world that is too large to be one, or too small to be any.</summary>
    /// <exception cref="BadInputException">A number is out of its range.</exception>
    public void Validate()
    {
        Require(Vcms is >= 1 and <= 3, nameof(Vcms), Vcms, "1 to 3");
        Require(Formats is 1 or 2, nameof(Formats), Formats, "1 or 2");
        Require(Devices is >= 1 and <= 4, nameof(Devices), Devices, "1 to 4");
        Require(Granules is >= 1 and <= 8, nameof(Granules), Granules, "1 to 8");
        Require(Frames is >= 1 and <= 4, nameof(Frames), Frames, "1 to 4");
        Require(Bounds is >= 0 and <= 2, nameof(Bounds), Bounds, "0 to 2");
        Require(Owners is >= 1 and <= 3, nameof(Owners), Owners, "1 to 3");
        Require(Quarantine is >= 0 and <= 4, nameof(Quarantine), Quarantine, "0 to 4");
        Require(Faults is >= 0 and <= 2, nameof(Faults), Faults, "0 to 2");
        Require(Processes is >= 0 and <= 2, nameof(Processes), Processes, "0 to 2");
        Require(Waiting is >= 0 and <= 2, nameof(Waiting), Waiting, "0 to 2");
        Require(Guests is 0 or 1, nameof(Guests), Guests, "0 or 1");
        Require(GuestPages is 1 or 2, nameof(GuestPages), GuestPages, "1 or 2");
    }

    /// <summary>The world in which nothing has been done.</summary>
    public World Empty()
    {
        var firstStage = new TableModel(TableKind.FirstStage, (1UL << 47) - 1) { TellsAbsent = true };
        World world = World.Create(
            new IommuModel(LastAddress: (1UL << 48) - 1, Untranslated: [])
            {
                OtherTables = Formats == 1 && Guests == 0 ? [] : [firstStage],
                PassesThrough = PassThrough,
                Nests = Guests != 0,
                CachesAbsent = CachingMode,
                Devices = Waiting == 0 ? [] : [.. Enumerable.Repeat(new DeviceModel { HasTlb = true, AsksForPages = true }, Devices)],
            },
            Devices,
            new Setup { Flush = new(Quarantine + 1, Quarantine + 1, FlushAtMilliseconds: 10) });
        return Processes == 0 ? world : world.With(new CpuModel(CoreCount: 1, Processes, firstStage));
    }

    /// <summary>What was done first: one object of each kind was made, and has ended, so that what has ended can be used wrongly.</summary>
    public IEnumerable<(Operation Operation, Observation Seen)> Prologue()
    {
        ObjectId vcm = new(ObjectKind.Vcm, 0), bound = new(ObjectKind.Bound, 0), reservation = new(ObjectKind.Reservation, 0), memory = new(ObjectKind.Memory, 0);
        ObjectId association = new(ObjectKind.Association, 0), device = new(ObjectKind.Device, 0);
        AddressRange page = new(0, Granule - 1), frame = new(FirstFrame, FirstFrame + Granule - 1);
        var done = new Observation(Outcome.None);
        yield return (new CreateVcm(vcm, Region), done);
        yield return (new CreateBound(bound, vcm, Granule, Granule), done with { Ranges = [page] });
        yield return (new FreeBound(bound), done);
        yield return (new ReserveAt(reservation, vcm, 0, Granule, Permissions.ReadWrite), done with { Ranges = [page] });
        if (Guests == 0) yield return (new Unreserve(reservation), done);
        yield return (new AllocateMemory(memory, Granule, Granule, Scattered: false), done with { Ranges = [frame] });
        if (Guests != 0)
        {
            yield return (new Back(reservation, memory), done);
            yield return (new CreateGuest(new(ObjectKind.Guest, 0), reservation) { IsOnePage = true }, done);
            yield return (new Unback(reservation), done);
            yield return (new Unreserve(reservation), done);
        }

        yield return (new FreeMemory(memory), done);
        yield return (new Associate(association, vcm, device), done);
        yield return (new Deassociate(association), done);
        yield return (new FreeVcm(vcm), done);
    }

    /// <summary>The machine that is most like it.</summary>
    public Topology ToTopology() => new()
    {
        // One that misbehaves does all that another does.
        Devices = new DeviceList([.. Enumerable.Repeat(Waiting == 0 ? DeviceKind.Wild : DeviceKind.Paging, Devices)]),
        MemoryMiB = 1,
        Mode = Formats > 1 || Waiting != 0 || Guests != 0 ? RemappingMode.Scalable : RemappingMode.Legacy,
        Nesting = Guests != 0,
        CachingMode = CachingMode,
        PassThrough = PassThrough,
        Cores = Processes == 0 ? 0 : 1,
        Processes = Processes,
        FlushCapacity = Quarantine + 1,
        FlushAtCount = Quarantine + 1,
    };

    /// <summary>The world after the prologue.</summary>
    public World Blank()
    {
        World world = Empty();
        foreach ((Operation operation, Observation seen) in Prologue()) world = world.Judge(operation, seen, new(FreeBytes(world))).Next;
        return world;
    }

    /// <summary>The memory that nobody has.</summary>
    /// <param name="world">In this world.</param>
    public ulong FreeBytes(World world)
    {
        ulong free = (ulong)Frames * Granule;
        foreach ((ObjectId id, MemoryState memory) in world.Memories)
        {
            // A hook of the library's takes what the machine has.
            if (!memory.IsWrapped && (!memory.IsFreed || world.IsInQuarantine(id))) free -= Math.Min(free, memory.ByteCount);
        }

        return free;
    }

    /// <summary><c>2 VCMs, 2 formats, …</c>.</summary>
    public override string ToString() =>
        $"{Count(Vcms, "VCM")} of {Count(Granules, "granule")}, {Count(Formats, "format")}, {Count(Devices, "device")}, {Count(Frames, "frame")}; {(Processes == 0 ? "" : $"{(Processes == 1 ? "1 process" : $"{Processes} processes")}; ")}{(OneToOne ? "one-to-one regions; " : "")}{(Waiting == 0 ? "" : $"at most {Count(Waiting, "access", "es")} that wait; ")}{(PassThrough ? "devices may be let through; " : "")}{(Guests == 0 ? "" : $"a guest in one page, whose devices have {Count(GuestPages, "page")}; ")}{(CachingMode ? "caching mode; " : "")}at most {Count(Bounds, "bound")}, {Count(Owners, "owner")}, {Count(Quarantine, "deferred unback")}, {Count(Faults, "fault")}";

    private static string Count(int count, string what, string plural = "s") => $"{count} {what}{(count == 1 ? "" : plural)}";

    private static void Require(bool holds, string field, int value, string expected)
    {
        if (!holds) throw new BadInputException($"{char.ToLowerInvariant(field[0])}{field[1..]} is {value}; expected {expected}");
    }
}
