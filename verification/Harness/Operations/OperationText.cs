using System.Globalization;
using System.Numerics;
using Vcmm.Spec;

namespace Harness.Operations;

/// <summary>Steps as lines of text: <c>r0 = reserve v0 8K rw align 64K</c>. What is printed can be read back.</summary>
public static partial class OperationText
{
    /// <summary>The step on one line.</summary>
    public static string Write(Step step) => step.Mishap is { } mishap
        ? string.Create(CultureInfo.InvariantCulture, $"{Write(step.Operation)} ! {(mishap.Kind == MishapKind.Memory ? "memory" : "hardware")} {mishap.Number}")
        : Write(step.Operation);

    /// <summary>The operation on one line.</summary>
    public static string Write(Operation operation) => operation switch
    {
        CreateVcm o => $"{o.Vcm} = vcm {o.Range}{(o.Kind == VcmKind.OneToOne ? " one-to-one" : "")}{(o.IsDeferred ? " deferred" : "")}{(o.IsTopDown ? " top-down" : "")}",
        CloneVcm o => $"{o.Vcm} = clone {o.Source}",
        Adopt o => $"{o.Vcm} = adopt {o.Source}{(o.Kind is { } kind ? $" {Write(kind)}" : "")}",
        FreeVcm o => $"free {o.Vcm}",
        CreateBound o => $"{o.Bound} = bound {o.Vcm} {Size(o.ByteCount)} align {Size(o.Alignment)}",
        FreeBound o => $"free {o.Bound}",
        Reserve o => $"{o.Reservation} = reserve {o.In} {Size(o.ByteCount)} {Write(o.Attributes)} align {Size(o.Alignment)}",
        ReserveAt o => $"{o.Reservation} = reserve-at {o.In} 0x{o.First:x} {Size(o.ByteCount)} {Write(o.Attributes)}",
        Unreserve o => $"unreserve {o.Reservation}",
        Acquire o => $"acquire {o.Reservation}",
        Release o => $"release {o.Reservation}",
        SetAttributes o => $"protect {o.Reservation} {Write(o.Attributes)}",
        FindReservation o => $"find {o.Vcm} 0x{o.Address:x}",
        ListReservations o => $"list {o.Vcm}",
        AllocateMemory o => $"{o.Memory} = allocate {Size(o.ByteCount)} {Chunks(o.ChunkSizes, o.Scattered)}{Banks(o.From)}",
        AllocateContiguous o => $"{o.Memory} = allocate-contiguous {Size(o.ByteCount)} align {Size(o.Alignment)}{Banks(o.From)}",
        Wrap o => $"{o.Memory} = wrap {o.Range}",
        FreeMemory o => $"free {o.Memory}",
        FindMappings o => $"mappings {o.Memory} at {Size(o.Offset)}",
        Back o => $"back {o.Reservation} {o.Memory}",
        BackPart o => $"back {o.Reservation} at {Size(o.Offset)} {o.Memory} at {Size(o.MemoryOffset)} for {Size(o.ByteCount)}",
        Unback o => $"unback {o.Reservation}",
        UnbackPart o => $"unback {o.Reservation} at {Size(o.Offset)} for {Size(o.ByteCount)}",
        Map o => $"{o.Reservation} = map {o.Vcm} {o.Memory} {Write(o.Attributes)} align {Size(o.Alignment)}",
        Unmap o => $"unmap {o.Reservation}",
        Bind o => $"{o.Reservation} {o.Memory} = bind {o.Vcm} {Size(o.ByteCount)} {Write(o.Attributes)} {Chunks(o.ChunkSizes, o.Scattered)}{Banks(o.From)}",
        Unbind o => $"unbind {o.Vcm} {o.Reservation} {o.Memory}",
        Copy o => $"copy {o.Source} at {Size(o.SourceOffset)} to {o.Destination} at {Size(o.DestinationOffset)} for {Size(o.ByteCount)}",
        CollectUse o => $"{(o.Use == Use.Written ? "dirty" : "accessed")} {o.Reservation} at {Size(o.Offset)} for {Size(o.ByteCount)}{(o.Clears ? " clear" : "")}",
        Associate o => $"{o.Association} = associate {o.Vcm} {o.Device}{Terms(o.Kind, o.Pasid, o.Base, o.Split)}{Nested(o.Guest)}",
        ChangeAssociation o => $"change {o.Association}{Terms(o.Kind, o.Pasid, o.Base, o.Split)}{Nested(o.Guest)}",
        Deassociate o => $"deassociate {o.Association}",
        Activate o => $"activate {o.Association}",
        Deactivate o => $"deactivate {o.Association}{(o.Meanwhile is { } meanwhile ? $" while {(meanwhile.Kind == Permissions.Read ? "read" : "write")} 0x{meanwhile.Address:x}" : "")}",
        PassThrough o => $"pass-through {o.Device}{Pasid(o.Pasid)}",
        EndPassThrough o => $"end-pass-through {o.Device}{Pasid(o.Pasid)}",
        CreateGuest o => $"{o.Guest} = guest {o.Reservation}",
        GuestMap o => string.Create(CultureInfo.InvariantCulture, $"guest-map {o.Guest} page {o.Page} to 0x{o.Target:x} {Write(o.Permissions)}"),
        GuestUnmap o => string.Create(CultureInfo.InvariantCulture, $"guest-unmap {o.Guest} page {o.Page}"),
        GuestInvalidate o => $"invalidate {o.Association} {o.Range}",
        Translate o => $"translate {o.Vcm} 0x{o.Address:x}",
        TranslateTo o => $"translate {o.Vcm} 0x{o.Address:x} to {o.Other}",
        DeviceAccess o => $"{(o.Kind == Permissions.Read ? "read" : "write")} {o.Device}{(o.IsStray ? " as-nobody" : "")}{(o.IsPrivileged ? " as-supervisor" : "")}{Pasid(o.Pasid)} 0x{o.Address:x}{(o.MayAsk ? "" : " at-once")}",
        CrossingAccess o => $"{(o.Kind == Permissions.Read ? "read" : "write")} {o.Device}{Pasid(o.Pasid)} across 0x{o.Boundary:x}",
        CoreAccess o => $"{(o.Kind switch { Permissions.Read => "read", Permissions.Write => "write", _ => "fetch" })} {o.Core} {o.Process} 0x{o.Address:x}",
        GoIdle o => $"idle {o.Core}",
        Flush o => $"flush {o.Vcm}",
        PollFlush => "poll",
        SetFaultHook o => $"hook {o.Device} {Write(o.Kind)}",
        DispatchFaults => "dispatch",
        AdvanceTime o => string.Create(CultureInfo.InvariantCulture, $"advance {o.Milliseconds}ms"),
        _ => throw new ArgumentException($"{operation.GetType().Name} has no text", nameof(operation)),
    };

    /// <summary>A number of bytes in the largest unit that divides it: <c>8K</c>, <c>2M</c>.</summary>
    public static string Size(ulong byteCount)
    {
        int unit = byteCount == 0 ? 0 : Math.Min(3, BitOperations.TrailingZeroCount(byteCount) / 10);
        return string.Create(CultureInfo.InvariantCulture, $"{byteCount >> (10 * unit)}{(unit == 0 ? "" : "KMG"[unit - 1].ToString())}");
    }

    /// <summary><c>rw</c>, or <c>none</c>.</summary>
    internal static string Write(Permissions permissions) => permissions == Permissions.None
        ? "none"
        : $"{(permissions.HasFlag(Permissions.Read) ? "r" : "")}{(permissions.HasFlag(Permissions.Write) ? "w" : "")}{(permissions.HasFlag(Permissions.Execute) ? "x" : "")}";

    internal static string Write(FaultHookKind kind) => kind switch
    {
        FaultHookKind.Refuse => "refuse",
        FaultHookKind.Retry => "retry",
        FaultHookKind.Back => "back",
        _ => "none",
    };

    private static string Banks(BankRequest from) => string.Create(CultureInfo.InvariantCulture, $"{(from.Type is { } type ? $" bank {type}" : "")}{(from.MustBeCoherent ? " coherent" : "")}");

    /// <summary><c>first-stage</c>.</summary>
    internal static string Write(TableKind kind) => kind switch
    {
        TableKind.FirstStage => "first-stage",
        TableKind.FirstStageFiveLevels => "first-stage-5",
        TableKind.Identity => "identity",
        _ => "second-stage",
    };

    private static string Terms(TableKind? kind, uint? pasid, TableBase @base, ulong? split) =>
        $"{(kind is { } given ? $" {Write(given)}" : "")}{Pasid(pasid)}{(@base switch { TableBase.Low => " low", TableBase.High => " high", _ => "" })}{(split is { } address ? $" split 0x{address:x}" : "")}";

    private static string Nested(ObjectId? guest) => guest is { } given ? $" nested {given}" : "";

    private static string Pasid(uint? pasid) => pasid is { } value ? string.Create(CultureInfo.InvariantCulture, $" pasid {value}") : "";

    private static string Chunks(ulong sizes, bool scattered)
    {
        var parts = new List<string>();
        for (ulong rest = sizes; rest != 0; rest &= rest - 1) parts.Add(Size(rest & unchecked(0 - rest)));
        return $"of {(sizes == 0 ? "nothing" : string.Join("|", parts))}{(scattered ? " scattered" : "")}";
    }
}
