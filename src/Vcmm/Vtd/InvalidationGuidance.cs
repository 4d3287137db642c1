using Platform;

namespace Vcmm.Vtd;

/// <summary>What the hardware must forget after a change of the entries that lead to a table.</summary>
/// <remarks>
/// <para>The caches feed each other: context cache, PASID cache, IOTLB. They are emptied in this order with a fence between
/// them, or a walk in between takes from one that is not empty yet what the next then keeps. A device's own TLB comes last, after
/// the IOTLB that it would be filled from ("Device-TLB Invalidate").</para>
/// <para><b>Source.</b> VT-d specification, "Guidance to Software for Invalidations", and for entries that were absent
/// "Caching Mode": they are cached under domain id 0. A context entry of scalable mode has no domain id. What nested tables gave goes with all
/// that the IOTLB has of their domain, as with second-stage tables.</para>
/// </remarks>
internal static class InvalidationGuidance
{
    /// <summary>The most commands that anything here takes.</summary>
    public const int MostCommands = 7;

    private static readonly DomainId NoDomain = new(0);

    /// <summary>Everything.</summary>
    public static int Everything(VtdCapabilities capabilities, bool isScalable, Span<InvalidationDescriptor> commands)
    {
        int count = 0;
        commands[count++] = InvalidationDescriptor.ContextGlobal;
        commands[count++] = InvalidationDescriptor.Fence;
        if (isScalable)
        {
            commands[count++] = InvalidationDescriptor.PasidCacheGlobal;
            commands[count++] = InvalidationDescriptor.Fence;
        }

        commands[count++] = InvalidationDescriptor.IotlbGlobal(capabilities);
        return count;
    }

    /// <summary>The entries that an attachment took away.</summary>
    /// <param name="capabilities">What the hardware can do.</param>
    /// <param name="attachment">The attachment.</param>
    /// <param name="contextChanged">Whether its device's context entry is absent now.</param>
    /// <param name="commands">At least <see cref="MostCommands"/>.</param>
    /// <returns>How many commands.</returns>
    public static int AfterDetach(VtdCapabilities capabilities, in Attachment attachment, bool contextChanged, Span<InvalidationDescriptor> commands)
    {
        int count = 0;
        if (contextChanged)
        {
            DomainId tag = attachment.Stage == Stage.Legacy ? attachment.Domain : NoDomain;
            commands[count++] = InvalidationDescriptor.ContextOfDevice(attachment.Device, tag);
            commands[count++] = InvalidationDescriptor.Fence;
        }

        if (attachment.Stage != Stage.Legacy)
        {
            commands[count++] = contextChanged
                ? InvalidationDescriptor.PasidCacheOfDomain(attachment.Domain)
                : InvalidationDescriptor.PasidCacheOfPasid(attachment.Domain, attachment.Pasid);
            commands[count++] = InvalidationDescriptor.Fence;
        }

        if (attachment.Stage == Stage.First) commands[count++] = InvalidationDescriptor.IotlbOfPasid(attachment.Domain, attachment.Pasid);
        if (attachment.Stage != Stage.First || contextChanged)
            commands[count++] = InvalidationDescriptor.IotlbOfDomain(capabilities, attachment.Domain);
        // Last: what it forgets it could fetch again from what is before.
        if (attachment.Tlb is { } tlb) commands[count++] = InvalidationDescriptor.DeviceTlbAll(tlb);
        return count;
    }

    /// <summary>That the entries which an attachment made present were absent; needed in caching mode.</summary>
    /// <inheritdoc cref="AfterDetach"/>
    public static int AfterAttach(VtdCapabilities capabilities, in Attachment attachment, bool contextChanged, Span<InvalidationDescriptor> commands)
    {
        int count = 0;
        if (contextChanged)
        {
            commands[count++] = InvalidationDescriptor.ContextOfDevice(attachment.Device, NoDomain);
            commands[count++] = InvalidationDescriptor.Fence;
        }

        if (attachment.Stage != Stage.Legacy)
        {
            commands[count++] = InvalidationDescriptor.PasidCacheOfPasid(NoDomain, attachment.Pasid);
            commands[count++] = InvalidationDescriptor.PasidCacheOfPasid(attachment.Domain, attachment.Pasid);
            commands[count++] = InvalidationDescriptor.Fence;
        }

        commands[count++] = attachment.Stage == Stage.First
            ? InvalidationDescriptor.IotlbOfPasid(attachment.Domain, attachment.Pasid)
            : InvalidationDescriptor.IotlbOfDomain(capabilities, attachment.Domain);
        return count;
    }
}

/// <summary>Through which entries and tables a device translates.</summary>
internal enum Stage
{
    /// <summary>A context entry of legacy mode that points at a second-stage table.</summary>
    Legacy,

    /// <summary>A PASID entry that points at a second-stage table.</summary>
    Second,

    /// <summary>A PASID entry that points at a first-stage table.</summary>
    First,

    /// <summary>A PASID entry that points at both, of which the second stage translates what the first points at.</summary>
    Nested,
}

/// <summary>An address space of a device, and what it translates through.</summary>
/// <param name="Device">The device.</param>
/// <param name="Pasid">Which PASID entry: 0 for requests without a PASID.</param>
/// <param name="Domain">The tag of what is cached.</param>
/// <param name="Stage">The kind of entry and table.</param>
internal readonly record struct Attachment(StreamId Device, uint Pasid, DomainId Domain, Stage Stage)
{
    /// <summary>The device's own TLB; null: it has none.</summary>
    public AtsCapability? Ats { get; init; }

    /// <summary>The first-stage table of <see cref="Stage.Nested"/>.</summary>
    public NestedTable? Nested { get; init; }

    public DeviceTlb? Tlb => Ats is { } ats ? new(Device, Pasid, ats.InvalidateQueueDepth) : null;

    public bool AsksForPages => Ats is { PageRequests: true };

    /// <summary>The PASID as requests carry it.</summary>
    public Pasid? PasidOrNull => Pasid == 0 ? null : new Pasid(Pasid);
}
