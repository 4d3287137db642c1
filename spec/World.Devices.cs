namespace Vcmm.Spec;

/// <summary>What the model must know of a device.</summary>
public sealed record DeviceModel
{
    /// <summary>Whether an IOMMU translates what it does. Otherwise its addresses are the physical ones, and nothing protects memory from it.</summary>
    public bool IsTranslated { get; init; } = true;

    /// <summary>Whether it has a TLB of its own, so that what it may not reach is answered to it, and not recorded.</summary>
    public bool HasTlb { get; init; }

    /// <summary>Whether it asks for pages that it may not reach, and waits. Such a one has a TLB.</summary>
    public bool AsksForPages { get; init; }

    /// <summary>Whether it writes in two halves, each of which is translated by itself: they may go different ways where there are two.</summary>
    public bool WritesInHalves { get; init; }
}

// What devices are. One without an IOMMU is not protected against, so that of it this much is held to the model, and no more:
// it is let into one-to-one regions alone, without a PASID, and only where they withhold nothing (I2, I7); where a region that it is
// active in has memory, it reaches that memory, at the address that the devices beside it reach it by (I2); wherever else it
// reads, it reaches the physical address that it names (I8); and no fault is ever told of it (I13). I4, I7 and I8 do not say what it
// must not reach: it reaches everything, before and after an unback. That it writes nowhere else is its owner's to see to, so
// such a write means nothing.
public sealed partial record World
{
    /// <summary>Whose accesses those are that are made under a requester id that no device has: nobody's, who is active nowhere and has no hook.</summary>
    public static ObjectId Nobody { get; } = new(ObjectKind.Device, int.MaxValue);

    /// <summary>The access as the IOMMU sees it.</summary>
    private static DeviceAccess Sent(DeviceAccess access) => access.IsStray ? access with { Device = Nobody, IsStray = false } : access;

    /// <summary>What a device is. A process is none; what it does is translated.</summary>
    public DeviceModel ModelOf(ObjectId user) => user.Kind == ObjectKind.Device && user.Number < Iommu.Devices.Length ? Iommu.Devices[user.Number] : new();

    /// <summary>The tables that an association would have; null: none such are walked for it.</summary>
    public TableModel? TableFor(Associate associate)
    {
        if (associate.Device.Kind == ObjectKind.Process) return associate.Kind is null || associate.Kind == Cpu.Table.Kind ? Cpu.Table : null;
        if (IsBehindIommu(associate.Device)) return Iommu.Find(associate.Kind ?? TableKind.SecondStage);
        return associate.Kind is null or TableKind.Identity ? TableModel.Identity : null;
    }

    private bool IsBehindIommu(ObjectId user) => user.Kind == ObjectKind.Device && ModelOf(user).IsTranslated;

    /// <summary>Whether some of what is done in the region an IOMMU translates: then addresses that it never translates are not handed out.</summary>
    private bool IsTranslatedFrom(ObjectId vcm) =>
        Associations.Values.Any(association => association.Vcm == vcm && !association.IsDropped && IsBehindIommu(association.Device));

    private bool IsDefined(DeviceAccess access) => IsPassing(access) ? IsDefinedPassing(access) : ModelOf(access.Device).IsTranslated
        ? HasRoom(access) && (access.IsStray || IsDefinedThroughGuest(access))
        : access.Pasid is null && (access.Kind == Permissions.Read || Sees(access.Device, access.Address) is not null);

    private Verdict<World> JudgeUntranslated(DeviceAccess access, Observation seen)
    {
        string what = $"{access.Device}, which has no IOMMU, {(access.Kind == Permissions.Read ? "read" : "wrote")} at 0x{access.Address:x}";
        if (Sees(access.Device, access.Address) is { } meaning)
        {
            return seen.Outcome == Outcome.None && seen.Reached == meaning.Target
                ? Accept(this)
                : Refuse(Invariant.TablesAreTruth, $"{what} and {(seen.Reached is { } other ? $"reached 0x{other:x}" : "reached nothing that it could tell")}; it is mapped to {meaning}", this);
        }

        // What is there may be nobody's data, of which nothing can be told.
        if (seen.Reached is { } reached && reached != access.Address) return Refuse(Invariant.Isolation, $"{what} and reached 0x{reached:x}", this);
        bool isMemory = Iommu.Memory.Contains(access.Address);
        return (seen.Outcome == Outcome.None) == isMemory
            ? Accept(this)
            : Refuse(Invariant.Isolation, $"{what} and it came to {seen.Outcome}; there is {(isMemory ? "" : "no ")}memory, and nobody between", this);
    }
}
