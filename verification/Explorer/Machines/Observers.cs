using Explorer.Oracles;
using Explorer.Scheduling;
using Microsoft.Coyote.Rewriting;
using Platform;
using Vcmm;
using Vcmm.Spec;

namespace Explorer.Machines;

/// <summary>Memory as the library uses it: changes are noted.</summary>
[SkipRewriting("Noting must not add steps to the schedule.")]
internal sealed class LibrarySide(Attempt attempt) : IMemoryObserver
{
    public void WordRead(PhysAddr address, ulong value)
    {
    }

    public void WordWritten(PhysAddr address, ulong value) => attempt.Note(EventKind.MemoryWrite, address.Value, value);

    public void WordBuffered(PhysAddr address, ulong value) => attempt.Note(EventKind.MemoryBuffered, address.Value, value);

    public void BytesMoved(PhysAddr address, int byteCount, bool toMemory)
    {
    }
}

/// <summary>Memory as the cores use it: tables as the IOMMU, data as devices do.</summary>
[SkipRewriting("Checking must not add steps to the schedule.")]
internal sealed class CoreSides(Attempt attempt, Func<PhysAddr, bool> isTable) : IMemoryObserver
{
    private readonly Dictionary<string, DeviceSide> _sides = [];

    /// <summary>What the calling thread does from now on is done on one core.</summary>
    public void Play(DeviceSide side) => _sides[Attempt.Agent] = side;

    public void WordRead(PhysAddr address, ulong value)
    {
        attempt.Note(EventKind.MemoryRead, address.Value, value);
        if (isTable(address)) attempt.Passed(Invariant.FrameSafety);
        else Refuse(address);
    }

    // Apart from the check, which is made at each word: what captures something is allocated where its method begins.
    private void Refuse(PhysAddr address) => attempt.Check(
        Invariant.FrameSafety, false,
        () => $"a core walks through {address}, which is free or somebody's data",
        () => "a table page is freed only when no walk can reach it");

    public void WordWritten(PhysAddr address, ulong value) => attempt.Note(EventKind.MemoryWrite, address.Value, value);

    public void BytesMoved(PhysAddr address, int byteCount, bool toMemory)
    {
        // Before and after the schedule nobody is held to anything.
        if (_sides.TryGetValue(Attempt.Agent, out DeviceSide? side)) side.BytesMoved(address, byteCount, toMemory);
        else if (Attempt.Agent != Attempt.SetUpAgent) throw new InvalidOperationException($"{Attempt.Agent} moves bytes on a core that it does not play");
    }
}

/// <summary>Memory as one device reaches it, whoever of those that play it is at work.</summary>
[SkipRewriting("Checking must not add steps to the schedule.")]
internal sealed class DeviceSides : IMemoryObserver
{
    private readonly Dictionary<string, DeviceSide> _sides = [];

    /// <summary>Of a device that asks for pages: whoever answers it goes on with an access, which is known by where in a page it is.</summary>
    public Func<ulong, DeviceSide?> SideAt { get; init; } = static _ => null;

    /// <summary>What the calling thread does from now on is done by the device in one address space.</summary>
    public void Play(DeviceSide side) => _sides[Attempt.Agent] = side;

    public void WordRead(PhysAddr address, ulong value)
    {
    }

    public void WordWritten(PhysAddr address, ulong value)
    {
    }

    public void BytesMoved(PhysAddr address, int byteCount, bool toMemory)
    {
        // Before and after the schedule nobody is held to anything.
        if (SideAt(address.Value % Ledger.PageBytes) is { } side || _sides.TryGetValue(Attempt.Agent, out side)) side.BytesMoved(address, byteCount, toMemory);
        else if (Attempt.Agent != Attempt.SetUpAgent) throw new InvalidOperationException($"{Attempt.Agent} moves bytes of a device that it does not play");
    }
}

/// <summary>Memory as the IOMMU uses it: it must not walk through a page that is no longer a table.</summary>
[SkipRewriting("Noting must not add steps to the schedule.")]
internal sealed class HardwareSide(Attempt attempt, Func<PhysAddr, bool> isTable) : IMemoryObserver
{
    /// <summary>Told of each word that the IOMMU writes.</summary>
    public Action<PhysAddr, ulong> Written { get; init; } = static (_, _) => { };

    public void WordRead(PhysAddr address, ulong value)
    {
        attempt.Note(EventKind.MemoryRead, address.Value, value);
        if (isTable(address)) attempt.Passed(Invariant.FrameSafety);
        else Refuse(address);
    }

    private void Refuse(PhysAddr address) => attempt.Check(
        Invariant.FrameSafety, false,
        () => $"the IOMMU walks through {address}, which is free or somebody's data",
        () => "a table page is freed only when no walk can reach it");

    public void WordWritten(PhysAddr address, ulong value)
    {
        attempt.Note(EventKind.MemoryWrite, address.Value, value);
        Written(address, value);
    }

    public void BytesMoved(PhysAddr address, int byteCount, bool toMemory)
    {
    }
}

/// <summary>Memory as a device reaches it: at the instant at which bytes move, the frame is held to what the ledger allows.</summary>
[SkipRewriting("Checking must not add steps to the schedule.")]
internal sealed class DeviceSide(Attempt attempt, Ledger ledger, StreamId device, Func<PhysAddr, bool> isLive, Func<Iova, bool> isMappedInTable)
    : IMemoryObserver
{
    /// <summary>The access under way.</summary>
    public DeviceAccessWindow? Window { get; set; }

    /// <summary>Where it goes on when its bytes in the first page have moved; null: nowhere.</summary>
    public DeviceAccessWindow? Next { get; set; }

    /// <summary>Whether bytes moved in it.</summary>
    public bool Moved { get; set; }

    public void WordRead(PhysAddr address, ulong value)
    {
    }

    public void WordWritten(PhysAddr address, ulong value)
    {
    }

    public void BytesMoved(PhysAddr address, int byteCount, bool toMemory)
    {
        DeviceAccessWindow window = Window ?? throw new InvalidOperationException("bytes move outside an access");
        var frame = new PhysAddr(address.Value & ~(Ledger.PageBytes - 1));
        Iova page = window.Page;
        IReadOnlyList<Target?> possible = ledger.Possible(device, page);
        Moved = true;
        if (window.Request is not null) attempt.Check(Invariant.FaultExact, ledger.NoteMoved(window));
        if (Next is not null) (Window, Next) = (Next, null);
        attempt.Note(EventKind.Device, page.Value, frame.Value, toMemory ? "writes" : "reads");
        if (ledger.MayPass(device) && ledger.Untranslated(page)?.Frame == frame) attempt.Reach(States.Untranslated);
        else if (!isMappedInTable(page)) attempt.Reach(States.StaleHit);

        string Observed() => $"{device} {(toMemory ? "wrote to" : "read from")} {frame} at {page}";
        string Expected() => possible.All(static target => target is null)
            ? "blocked"
            : string.Join(" or ", possible.Select(static target => target is { } to ? $"{to.Frame} {to.Access}" : "blocked"));
        Target?[] there = [.. possible.Where(target => target?.Frame == frame)];
        bool isIts = ledger.MayReachAnything(device) && ledger.WasEverMapped(device, page, frame);
        bool isGranted = there.Any(target => (target!.Value.Access & window.Kind) == window.Kind);
        // What is wrong has one name, so each check is passed by what those before it have named. What was narrowed away is stale; what was never granted is not.
        bool mayBeGranted = !isIts || there.Length == 0 || isGranted;
        bool wasGranted = mayBeGranted || ledger.WasEverGranted(device, page, window.Kind);
        attempt.Check(Invariant.Isolation, isIts, Observed, Expected);
        attempt.Check(Invariant.NoStaleAccess, !isIts || there.Length != 0, Observed, Expected);
        attempt.Check(Invariant.Permission, wasGranted, Observed, Expected);
        attempt.Check(Invariant.NoStaleAccess, mayBeGranted || !wasGranted, Observed, Expected);
        attempt.Check(Invariant.FrameSafety, isLive(frame), () => Observed() + ", which is free", Expected);
        ledger.NoteUse(device, page, frame, toMemory);
    }
}

/// <summary>States that a scenario is worth nothing without.</summary>
public static class States
{
    /// <summary>A device used a translation that the tables no longer had, while the operation that removed it was under way.</summary>
    public const string StaleHit = "stale hit inside the window";

    /// <summary>A device that was let through moved bytes where it named a frame.</summary>
    public const string Untranslated = "an access went untranslated";

    /// <summary>A collection told what a device used.</summary>
    public const string Told = "a use was told";

    /// <summary>A collection told what a device used while it was under way.</summary>
    public const string ToldMeanwhile = "a use was told that was made meanwhile";

    /// <summary>A hook was told of an access that was blocked.</summary>
    public const string Given = "a hook was given a fault";

    /// <summary>An access stalled until its page was there, or it was refused.</summary>
    public const string Waited = "an access waited for its page";

    /// <summary>An access had its bytes moved after it had waited.</summary>
    public const string WentOn = "an access went on that had waited";

    /// <summary>An access failed after it had waited.</summary>
    public const string Failed = "an access failed that had waited";

    /// <summary>An access was tried again, and its page was not there again.</summary>
    public const string AskedAgain = "an access asked for its page again";

    /// <summary>An access failed after it had waited, and its address space ended meanwhile.</summary>
    public const string EndedWaiting = "an access failed that had waited, and its address space ended";

    /// <summary>A hook was told of a request while another dispatch was under way.</summary>
    public const string ToldBeside = "a hook was told of a request while two dispatched";

    /// <summary>A hook allocated a page and put it behind what was asked for.</summary>
    public const string Backed = "a hook backed a page";

    /// <summary>A device was refused.</summary>
    public const string Blocked = "access blocked";

    /// <summary>A device's bytes moved.</summary>
    public const string Moved = "access went through";

    /// <summary>A wait descriptor had to let an access end first.</summary>
    public const string Drained = "wait held for an access in flight";

    /// <summary>An allocation was made to fail.</summary>
    public const string Refused = "an allocation was refused";

    /// <summary>What the library told the hardware was made to be lost.</summary>
    public const string Unheard = "the hardware did not hear";

    /// <summary>A shootdown had to wait for an access of a core.</summary>
    public const string Interrupted = "a core was interrupted in an access";

    /// <summary>A core that was idle was not interrupted.</summary>
    public const string LeftAlone = "a core that was idle was left alone, and forgot when it came back";

    /// <summary>A walk in flight was overtaken by an invalidation and did not fill a cache.</summary>
    public const string DiscardedFill = "walk overtaken by an invalidation";
}
