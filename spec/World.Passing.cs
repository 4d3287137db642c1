using System.Collections.Immutable;

namespace Vcmm.Spec;

/// <summary>An address space of a device.</summary>
/// <param name="Device">The device.</param>
/// <param name="Pasid">The PASID of its requests; null: those without one.</param>
public readonly record struct DeviceSpace(ObjectId Device, uint? Pasid);

// Address spaces that are no region: what is done there goes untranslated to memory as it is. What I8 exempts is this and no more: such an access reaches the
// physical address that it names, and no other, and is not blocked; I4 to I7 say nothing of it, since nothing is withheld from it. That it writes where data is
// and nowhere else is its owner's to see to, so such a write means nothing; and neither does an access where there is no memory.
public sealed partial record World
{
    /// <summary>The address spaces that are let through, in the order in which they were.</summary>
    public ImmutableList<DeviceSpace> Passing { get; internal init; } = [];

    /// <summary>Whether an address space of a device is let through.</summary>
    public bool PassesThrough(ObjectId device, uint? pasid) => Passing.Contains(new(device, pasid));

    private Verdict<World> Judge(PassThrough pass, Observation seen, Surroundings surroundings)
    {
        bool isBehindIommu = IsBehindIommu(pass.Device);
        return new Refusals()
            .Must(Outcome.NoDevice, !isBehindIommu || !Iommu.PassesThrough, Invariant.Isolation, "nothing is let through there untranslated")
            .Must(Outcome.Invalid, pass.Pasid is { } pasid && (pasid == 0 || pasid >= (isBehindIommu ? Iommu.PasidCount : 0)), Invariant.Isolation, "the device has no such address space")
            .Must(Outcome.Invalid, ModelOf(pass.Device).HasTlb, Invariant.Isolation, "the device has a TLB of its own")
            .Must(Outcome.Busy, ActiveVcmOf(pass.Device, pass.Pasid) is not null, Invariant.Isolation, "the address space is active in a region")
            .Must(Outcome.Busy, PassesThrough(pass.Device, pass.Pasid), Invariant.Isolation, "the address space is let through already")
            .May(Outcome.NoMemory, surroundings.MemoryFails || surroundings.FreeBytes < Iommu.MostAttachBytes)
            .May(Outcome.HardwareFailure, surroundings.HardwareFails)
            .Decide(this, seen.Outcome)
            ?? Accept(this with { Passing = Passing.Add(new(pass.Device, pass.Pasid)) });
    }

    private Verdict<World> Judge(EndPassThrough end, Observation seen, Surroundings surroundings) => new Refusals()
        .Must(Outcome.NotFound, !PassesThrough(end.Device, end.Pasid), Invariant.Isolation, "the address space is not let through")
        .May(Outcome.HardwareFailure, surroundings.HardwareFails)
        .Decide(this, seen.Outcome)
        ?? Accept(this with { Passing = Passing.Remove(new(end.Device, end.Pasid)) });

    private bool IsPassing(DeviceAccess access) => access.Device.Kind == ObjectKind.Device && !access.IsStray && PassesThrough(access.Device, access.Pasid);

    private bool IsDefinedPassing(DeviceAccess access) =>
        access.IsPrivileged || (Iommu.Memory.Contains(access.Address) && (access.Kind == Permissions.Read || IsData(access.Address)));

    private bool IsData(ulong address)
    {
        foreach (MemoryState memory in Memories.Values)
        {
            if (memory.IsFreed) continue;
            foreach (AddressRange chunk in memory.Segments)
            {
                if (chunk.Contains(address)) return true;
            }
        }

        return false;
    }

    private Verdict<World> JudgePassing(DeviceAccess access, Observation seen)
    {
        if (seen.Outcome == Outcome.Waits) return Refuse(Invariant.FaultExact, $"{access.Device} is let through untranslated, and waits; it cannot wait there", this);
        // No device is given that privilege, here either.
        if (access.IsPrivileged && seen is { Outcome: Outcome.Fault, Reached: null }) return Accept(Blocked(access));
        string what = $"{access.Device}, which is let through untranslated, {(access.Kind == Permissions.Read ? "read" : "wrote")} at 0x{access.Address:x}";
        if (access.IsPrivileged) return Refuse(Invariant.Permission, $"{what} as supervisor, and was let in", this);
        // What is there may be nobody's data, of which nothing can be told when it is read.
        bool isThere = seen.Reached is { } reached ? reached == access.Address : access.Kind == Permissions.Read;
        if (seen.Outcome == Outcome.None && isThere) return Accept(this);
        return Refuse(Invariant.Isolation, $"{what} and {(seen.Reached is { } other ? $"reached 0x{other:x}" : $"it came to {seen.Outcome}")}; nothing stands between it and memory", this);
    }
}
