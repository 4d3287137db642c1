namespace Vcmm.Spec;

/// <summary>
/// Makes a prebuilt region of the table of another, whose root is read from the machine. Who works on the other region is then the
/// owner of a table that others walk, too: what is taken away there is invalidated here, before it is given to others.
/// </summary>
/// <param name="Vcm">The new region.</param>
/// <param name="Source">The region whose table it is; one that is prebuilt itself passes on what it adopted.</param>
public sealed record Adopt(ObjectId Vcm, ObjectId Source) : Operation
{
    /// <summary>Which of the region's tables; null: that of the second stage.</summary>
    public TableKind? Kind { get; init; }

    /// <inheritdoc/>
    public override IEnumerable<ObjectId> Makes => [Vcm];

    /// <inheritdoc/>
    public override IEnumerable<ObjectId> Uses => [Source];
}
