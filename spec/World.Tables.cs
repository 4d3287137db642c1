namespace Vcmm.Spec;

// Which tables a region has, and which address spaces devices have in it.
public sealed partial record World
{
    /// <summary>The address spaces that devices have or once had: requests without a PASID, and those with each that was ever associated.</summary>
    public IEnumerable<(ObjectId Device, uint? Pasid)> Spaces => Devices.Select(static device => (device, (uint?)null))
        .Concat(Associations.Values.Select(static association => (association.Device, association.Pasid)))
        .Concat(Passing.Select(static space => (space.Device, space.Pasid)))
        .Distinct();

    /// <summary>The active association of an address space; null: it has none.</summary>
    public AssociationState? ActiveAssociationOf(ObjectId device, uint? pasid)
    {
        foreach (AssociationState association in Associations.Values)
        {
            if (association.Device == device && association.Pasid == pasid && association.IsActive) return association;
        }

        return null;
    }

    /// <summary>The kinds of table that a region has: one for each that an association of it has, active or not.</summary>
    public IEnumerable<TableKind> TablesOf(ObjectId vcm) => Associations.Values
        .Where(association => association.Vcm == vcm && !association.IsDropped)
        .Select(static association => association.Kind)
        .Distinct()
        .Order();

    private IEnumerable<TableModel> TableModelsOf(ObjectId vcm) => TablesOf(vcm).Select(TableModelOf);

    /// <summary>What the tables of a kind can do that some association has.</summary>
    public TableModel TableModelOf(TableKind kind) => kind == TableKind.Identity ? TableModel.Identity : Iommu.Find(kind) ?? Cpu.Table;

    /// <summary>What the tables can do through which a device's addresses go first.</summary>
    private TableModel FirstTableOf(AssociationState association) => TableModelOf(association.Guest is null ? association.Kind : TableKind.FirstStage);

    /// <summary>Whether the memory lies beyond what a table of the region leads to.</summary>
    private bool IsBeyondTables(ObjectId vcm, MemoryState memory) => TableModelsOf(vcm).Any(table => IsBeyond(table, memory));

    private static bool IsBeyond(TableModel table, MemoryState memory) => memory.Segments.Any(chunk => chunk.Last > table.LastTarget);

    /// <summary>Whether something is granted, and every table that there is can protect just so.</summary>
    private bool CanGrant(ObjectId vcm, Attributes attributes) => attributes.AreValid && TableModelsOf(vcm).All(table => table.Protects(attributes));

    /// <summary>An upper bound for the tables below the roots that a range of a region can need.</summary>
    private ulong MostTables(ObjectId vcm, AddressRange range) => TableModelsOf(vcm).Aggregate(0UL, (sum, table) => sum + MostTables(table, range));

    /// <summary>One for each 2 MiB, 1 GiB, 512 GiB and, with five levels, 256 TiB touched.</summary>
    private static ulong MostTables(TableModel table, AddressRange range)
    {
        ulong count = 0;
        if (table.Levels == 0) return 0;
        for (int shift = 21; shift <= (table.Levels == 5 ? 48 : 39); shift += 9) count += (range.Last >> shift) - (range.First >> shift) + 1;
        return count;
    }

    /// <summary>An upper bound for the tables below the roots that a range of this length can need, wherever it is in the region.</summary>
    private ulong MostTablesAnywhere(ObjectId vcm, ulong byteCount) => TableModelsOf(vcm).Aggregate(
        0UL, (sum, table) => sum + (table.Levels == 0 ? 0 : (byteCount >> 21) + (byteCount >> 30) + (byteCount >> 39) + (table.Levels == 5 ? 8UL : 6UL)));
}
