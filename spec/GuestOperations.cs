namespace Vcmm.Spec;

/// <summary>
/// A guest puts tables into the first pages of a reservation, which are backed: a root, one table of each level below, and no mapping. The last level
/// translates <see cref="World.GuestPages"/>. The harness plays the guest; the tables lie in the region, and the region may take them away.
/// </summary>
/// <param name="Guest">The new guest.</param>
/// <param name="Reservation">Where its tables are: the first <see cref="World.GuestTables"/> pages.</param>
public sealed record CreateGuest(ObjectId Guest, ObjectId Reservation) : Operation
{
    /// <inheritdoc/>
    public override IEnumerable<ObjectId> Makes => [Guest];

    /// <inheritdoc/>
    public override IEnumerable<ObjectId> Uses => [Reservation];
}

/// <summary>A guest writes an entry of its table: one of its devices' pages means a page of the region.</summary>
/// <param name="Guest">The guest.</param>
/// <param name="Page">Which of <see cref="World.GuestPages"/>: 0 ….</param>
/// <param name="Target">An address of the region, whole pages.</param>
/// <param name="Permissions"><see cref="Permissions.Read"/> or <see cref="Permissions.ReadWrite"/>.</param>
public sealed record GuestMap(ObjectId Guest, int Page, ulong Target, Permissions Permissions) : Operation
{
    /// <inheritdoc/>
    public override IEnumerable<ObjectId> Uses => [Guest];
}

/// <summary>A guest clears an entry of its table.</summary>
/// <param name="Guest">The guest.</param>
/// <param name="Page">Which of <see cref="World.GuestPages"/>: 0 ….</param>
public sealed record GuestUnmap(ObjectId Guest, int Page) : Operation
{
    /// <inheritdoc/>
    public override IEnumerable<ObjectId> Uses => [Guest];
}

/// <summary>A guest says that its table has changed: the device of the association forgets what that said.</summary>
/// <param name="Association">The association.</param>
/// <param name="Range">Device addresses.</param>
public sealed record GuestInvalidate(ObjectId Association, AddressRange Range) : Operation
{
    /// <inheritdoc/>
    public override IEnumerable<ObjectId> Uses => [Association];
}
