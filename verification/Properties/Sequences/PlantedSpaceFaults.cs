using Harness.Foreign;
using Harness.Passing;
using Harness.Running;
using Harness.Scenarios;
using Platform;
using Vcmm;
using Vcmm.Spec;
using Vcmm.Tables;

namespace Properties.Sequences;

/// <summary>Faults in what there is in scalable mode alone: several formats, PASIDs, adopted tables.</summary>
internal static class PlantedSpaceFaults
{
    // In caching mode devices would find mapped pages absent first.
    private static readonly Topology Scalable = new() { Mode = RemappingMode.Scalable, Devices = 2 };

    public static IReadOnlyList<PlantedFault> All { get; } =
    [
        new("a second format's table that keeps what is unbacked", Invariant.SharedTable, 8, KeepsInFirstStage.Plant())
        {
            Topology = Scalable,
            // Where the region has no other table.
            OrElse = Invariant.TablesAreTruth,
        },
        new("an associate that leaves a second format's table empty", Invariant.SharedTable, 6,
            new() { Iommu = static iommu => new StartsEmpty(iommu) })
        {
            Topology = Scalable,
            // Where the region has no other table.
            OrElse = Invariant.TablesAreTruth,
        },
        new("an association that is given other tables and keeps its own", Invariant.TablesAreTruth, 3, new() { Around = KeepsItsTables })
        {
            Topology = Scalable,
            // Where the region has another table, which is right.
            OrElse = Invariant.SharedTable,
        },
        new("an invalidation that goes to the first of two domains", Invariant.NoStaleAccess, 9,
            new() { Iommu = static iommu => new FirstDomainOnly(iommu) })
        {
            Topology = Scalable,
            // Where tables are freed, or the call ends the memory, too.
            OrElse = Invariant.FrameSafety,
        },
        new("an invalidation that goes to the first of two PASIDs", Invariant.NoStaleAccess, 10, SubjectParts.Own)
        {
            Topology = Scalable,
            Bench = static bench => EditsCommands.Forgetting(bench, FirstPasidOnly),
        },
        new("a PASID that is detached and stays in the PASID cache", Invariant.Isolation, 11, SubjectParts.Own)
        {
            Topology = Scalable,
            Bench = static bench => EditsCommands.Forgetting(bench, static (low, _) => (low & 0x3F) == (PasidCacheType | OnePasid)),
        },
        new("an address space that is entered for all of a device's PASIDs", Invariant.Isolation, 6,
            new() { Iommu = static iommu => new EntersAnother(iommu) })
        {
            Topology = Scalable,
        },
        new("an address space that lets supervisor privilege in", Invariant.Permission, 7, SubjectParts.Own)
        {
            Topology = Scalable,
            Bench = static bench => new EditsMemory(bench, EnablesSupervisors),
        },
        new("those that have adopted a table are not told", Invariant.NoStaleAccess, 11,
            new() { Iommu = static iommu => new ForgetsAdopters(iommu) })
        {
            Topology = Scalable,
            // Where tables are freed, or the call ends the memory, too.
            OrElse = Invariant.FrameSafety,
        },
    ];

    private static Observation KeepsItsTables(Operation operation, Func<Operation, Observation> run) =>
        run(operation is ChangeAssociation change ? change with { Kind = null } : operation);

    // VT-d specification, "Scalable-Mode PASID Table Entry": bits 191:128 are the first stage's root, SRE in bit 128, FLPM in bits 131:130, WPE in bit 132.
    private static ulong EnablesSupervisors(PhysAddr address, ulong value) =>
        address.Value % 64 == 16 && (value & 0xFFF & ~4UL) == 0x10 && value >> 12 != 0 ? value | 1 : value;

    // VT-d specification, "Queued Invalidation Interface": the type is in bits 3:0, the granularity in bits 5:4, a PASID in bits 51:32.
    private const ulong PasidIotlbType = 6, PasidCacheType = 7, OnePasid = 1 << 4;

    private static bool FirstPasidOnly(ulong low, IReadOnlyList<ulong> before) =>
        (low & 0xF) == PasidIotlbType && before.Any(other => (other & 0xF) == PasidIotlbType && (other >> 32) != (low >> 32));
}

/// <summary>While an unback runs, first-stage tables keep what they have.</summary>
internal sealed class KeepsInFirstStage(IPageTable inner, Func<bool> isOn) : PassingTable(inner)
{
    public static SubjectParts Plant()
    {
        bool isOn = false;
        return new()
        {
            Iommu = iommu => new OtherTables(iommu, table => table.Format.Encoding == X86FirstStage.Encoding ? new KeepsInFirstStage(table, () => isOn) : table),
            Around = (operation, run) =>
            {
                isOn = operation is Unback or UnbackPart;
                Observation seen = run(operation);
                isOn = false;
                return seen;
            },
        };
    }

    public override void Unmap(IovaRange range, InvalidationGather gather)
    {
        if (!isOn()) Inner.Unmap(range, gather);
    }
}

/// <summary>What a first-stage table is given first, before a device has walked it, is lost.</summary>
internal sealed class StartsEmpty(IIommu inner) : PassingIommu(inner)
{
    private readonly HashSet<PhysAddr> _begun = [];

    public override VcmmError TryCreateTable(TableFormat format, Vcmm.Allocation.IFrameSource frames, out IPageTable? table)
    {
        VcmmError error = Inner.TryCreateTable(format, frames, out table);
        if (table is not null && format.Encoding == X86FirstStage.Encoding)
        {
            _begun.Remove(table.Root);
            table = new Table(table, _begun);
        }

        return error;
    }

    public override VcmmError Attach(StreamId device, Pasid? pasid, DomainId domain, IPageTable table)
    {
        _begun.Add(table.Root);
        return Inner.Attach(device, pasid, domain, table);
    }

    private sealed class Table(IPageTable inner, HashSet<PhysAddr> begun) : PassingTable(inner)
    {
        public override void Map(Iova first, ReadOnlySpan<PhysRange> segments, MappingAttributes attributes, TablePagePool pages)
        {
            if (begun.Contains(Root)) Inner.Map(first, segments, attributes, pages);
        }
    }
}

internal sealed class FirstDomainOnly(IIommu inner) : PassingIommu(inner)
{
    public override VcmmError Invalidate(ReadOnlySpan<Invalidation> commands)
    {
        DomainId first = commands[0].Domain;
        return Inner.Invalidate([.. commands.ToArray().Where(command => command.Domain == first)]);
    }
}

/// <summary>A device that gets PASID 1 gets the region as the address space of requests without one, too, if that is free.</summary>
internal sealed class EntersAnother(IIommu inner) : PassingIommu(inner)
{
    private readonly HashSet<StreamId> _taken = [];

    public override VcmmError Attach(StreamId device, Pasid? pasid, DomainId domain, IPageTable table)
    {
        VcmmError error = Inner.Attach(device, pasid, domain, table);
        if (error == VcmmError.None && pasid is null) _taken.Add(device);
        else if (error == VcmmError.None && _taken.Add(device)) Inner.Attach(device, null, domain, table);
        return error;
    }
}

internal sealed class ForgetsAdopters(IIommu inner) : PassingIommu(inner)
{
    private readonly HashSet<IPageTable> _adopted = [];
    private readonly HashSet<DomainId> _domains = [];

    public override IPageTable AdoptTable(TableFormat format, PhysAddr root)
    {
        IPageTable table = Inner.AdoptTable(format, root);
        _adopted.Add(table);
        return table;
    }

    public override VcmmError Attach(StreamId device, Pasid? pasid, DomainId domain, IPageTable table)
    {
        if (_adopted.Contains(table)) _domains.Add(domain);
        else _domains.Remove(domain);
        return Inner.Attach(device, pasid, domain, table);
    }

    public override VcmmError Invalidate(ReadOnlySpan<Invalidation> commands) =>
        Inner.Invalidate([.. commands.ToArray().Where(command => !_domains.Contains(command.Domain))]);
}
