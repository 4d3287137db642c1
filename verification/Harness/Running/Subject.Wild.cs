using System.Collections.Immutable;
using Harness.Foreign;
using Harness.Passing;
using Harness.Scenarios;
using Platform;
using Vcmm;
using Vcmm.Spec;

namespace Harness.Running;

// Devices that misbehave: transfers across the ends of pages, and accesses while the device is being detached.
public sealed partial class Subject
{
    // A detach takes more steps than there is room for faults: all of the first, and then some, up to its end.
    private const int FirstSteps = 16, StepsBetween = 4, MostMeanwhile = 48;

    private Action? _meanwhile;

    /// <summary>Each thing that the driver does with memory is a step, where there is a device that takes its chances between two.</summary>
    private IPhysicalMemory WithStepsFor(Topology topology, IPhysicalMemory memory) => topology.Devices.Contains(DeviceKind.Wild) ? new Stepping(memory, this) : memory;

    private Observation Do(Deactivate deactivate)
    {
        Association association = Of(_associations, deactivate.Association);
        int device = Array.IndexOf(_devices, association.Device);
        if (deactivate.Meanwhile is not { } meanwhile || device < 0 || _kinds[device] != DeviceKind.Wild) return Seen(association.TryDeactivate());
        var access = new Vcmm.Spec.DeviceAccess(new(ObjectKind.Device, device), meanwhile.Address, meanwhile.Kind) { Pasid = association.Pasid?.Value };
        var made = ImmutableArray.CreateBuilder<AccessSeen>();
        bool isAtIt = false;
        int steps = 0;
        _meanwhile = () =>
        {
            if (isAtIt || made.Count == MostMeanwhile || (++steps > FirstSteps && steps % StepsBetween != 0)) return;
            isAtIt = true;
            Observation seen = Do(access);
            made.Add(new(seen.Outcome, seen.Reached));
            isAtIt = false;
        };
        try
        {
            return Seen(association.TryDeactivate()) with { Meanwhile = made.ToImmutable() };
        }
        finally
        {
            _meanwhile = null;
        }
    }

    private Observation Do(CrossingAccess access)
    {
        IDmaDevice device = Machine.Devices[access.Device.Number];
        Pasid? pasid = access.Pasid is { } given ? new Pasid(given) : null;
        Iova first = new(access.First.Address);
        Span<byte> words = stackalloc byte[2 * sizeof(ulong)];
        words.Clear();
        if (access.Kind == Permissions.Read)
        {
            // What was not read is 0, and no mark.
            Outcome outcome = device.Read(first, words, pasid) ? Outcome.None : Outcome.Fault;
            return new(outcome) { Reached = Stamps.WhereRead(words[..sizeof(ulong)]), ReachedNext = Stamps.WhereRead(words[sizeof(ulong)..]) };
        }

        Stamps.Token.CopyTo(words);
        Stamps.Token.CopyTo(words[sizeof(ulong)..]);
        bool wasDone = device.Write(first, words, pasid);
        Observation one = Written(access.First, wasDone), next = Written(access.Second, wasDone);
        return one with { ReachedNext = next.Reached };
    }

    private sealed class Stepping(IPhysicalMemory inner, Subject subject) : PassingMemory(inner)
    {
        public override ulong Read64(PhysAddr address)
        {
            subject._meanwhile?.Invoke();
            return Inner.Read64(address);
        }

        public override uint Read32(PhysAddr address)
        {
            subject._meanwhile?.Invoke();
            return Inner.Read32(address);
        }

        public override void Write64(PhysAddr address, ulong value)
        {
            Inner.Write64(address, value);
            subject._meanwhile?.Invoke();
        }

        public override void Write32(PhysAddr address, uint value)
        {
            Inner.Write32(address, value);
            subject._meanwhile?.Invoke();
        }

        public override void Write(PhysAddr address, ReadOnlySpan<byte> source)
        {
            Inner.Write(address, source);
            subject._meanwhile?.Invoke();
        }

        public override ulong CompareExchange64(PhysAddr address, ulong value, ulong comparand)
        {
            ulong found = Inner.CompareExchange64(address, value, comparand);
            subject._meanwhile?.Invoke();
            return found;
        }
    }
}
