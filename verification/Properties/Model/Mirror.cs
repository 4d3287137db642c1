using System.Collections.Immutable;
using Harness.ModelChecking;
using Vcmm.Spec;

namespace Properties.Model;

/// <summary>The same behaviour where the devices, and the frames, are in the opposite order.</summary>
internal static class Mirror
{
    public static Behaviour Of(Behaviour behaviour, Scope scope) => new(Of(behaviour.Operation, scope), Of(behaviour.Seen, behaviour.Operation, scope), behaviour.Surroundings);

    private static Operation Of(Operation operation, Scope scope) => operation switch
    {
        Associate o => o with { Device = Of(o.Device, scope) },
        DeviceAccess o => o with { Device = Of(o.Device, scope) },
        CrossingAccess o => o with { Device = Of(o.Device, scope) },
        PassThrough o => o with { Device = Of(o.Device, scope) },
        EndPassThrough o => o with { Device = Of(o.Device, scope) },
        SetFaultHook o => o with { Device = Of(o.Device, scope) },
        _ => operation,
    };

    private static Observation Of(Observation seen, Operation operation, Scope scope) => seen with
    {
        Ranges = operation switch
        {
            AllocateMemory or AllocateContiguous => Of(seen.Ranges, scope),
            Bind when seen.Ranges.Length > 1 => [seen.Ranges[0], .. Of(seen.Ranges[1..], scope)],
            _ => seen.Ranges,
        },
        Reached = seen.Reached is { } reached ? Of(reached, scope) : null,
        ReachedNext = seen.ReachedNext is { } next ? Of(next, scope) : null,
        Meanwhile = [.. seen.Meanwhile.Select(access => access with { Reached = access.Reached is { } there ? Of(there, scope) : null })],
        Ended = [.. seen.Ended.Select(ended => ended with { Reached = ended.Reached is { } there ? Of(there, scope) : null })],
        Faults = [.. seen.Faults.Select(fault => fault with { Hook = Of(fault.Hook, scope), Device = Of(fault.Device, scope) })],
    };

    private static ObjectId Of(ObjectId device, Scope scope) => device.Kind == ObjectKind.Device ? device with { Number = scope.Devices - 1 - device.Number } : device;

    private static ImmutableArray<AddressRange> Of(ImmutableArray<AddressRange> chunks, Scope scope) =>
        [.. chunks.Select(chunk => new AddressRange(Of(chunk.First, scope), Of(chunk.First, scope) + (chunk.Last - chunk.First)))];

    private static ulong Of(ulong address, Scope scope)
    {
        ulong offset = address % Scope.Granule;
        int frame = scope.FrameAddresses.IndexOf(address - offset);
        return frame < 0 ? address : scope.FrameAddresses[^(frame + 1)] + offset;
    }
}
