using Harness.Passing;
using Vcmm;
using Vcmm.Spec;

namespace Harness.Running;

/// <summary>How often an IOMMU was told to forget, each of which is one wait for it, and in how many commands.</summary>
/// <param name="Waits">How often.</param>
/// <param name="Commands">How many ranges of domains.</param>
public readonly record struct InvalidationCount(int Waits, int Commands)
{
    /// <summary>What came since.</summary>
    public InvalidationCount Since(InvalidationCount before) => new(Waits - before.Waits, Commands - before.Commands);
}

/// <summary>Counts that.</summary>
/// <param name="inner">What does the work.</param>
public sealed class CountingIommu(IIommu inner) : PassingIommu(inner)
{
    private int _waits, _commands;

    /// <summary>How much so far.</summary>
    public InvalidationCount Count => new(Volatile.Read(ref _waits), Volatile.Read(ref _commands));

    /// <inheritdoc/>
    public override VcmmError Invalidate(ReadOnlySpan<Invalidation> commands)
    {
        Interlocked.Increment(ref _waits);
        Interlocked.Add(ref _commands, commands.Length);
        return Inner.Invalidate(commands);
    }
}

/// <summary>
/// I11: how often one operation may make the IOMMU forget. Once is enough for whatever it takes away, one range for each table and each piece
/// that was backed; and nothing is told where nothing was there before, unless the hardware caches that. But a flush may come to it, and a
/// large leaf may take the place of a table.
/// </summary>
public static class FrugalLedger
{
    // What fits here takes no large leaf.
    private const ulong LargeLeafBytes = 2UL << 20;

    /// <summary>How much it may; null: that is not counted, since owners of adopted tables tell of each change as it comes, and hooks may back many pages.</summary>
    /// <param name="before">The world before the operation.</param>
    /// <param name="operation">Its objects are known.</param>
    /// <param name="cachesAbsent">Whether the hardware caches that something is not mapped.</param>
    public static InvalidationCount? MostOf(World before, Operation operation, bool cachesAbsent)
    {
        if (before.Vcms.Values.Any(static vcm => !vcm.IsFreed && vcm.Adopted is not null) || (operation is DispatchFaults && cachesAbsent)) return null;
        int waits = WaitsOf(before, operation, cachesAbsent) + (before.Quarantine.IsEmpty ? 0 : 1);
        return new(waits, before.Quarantine.IsEmpty && operation is Unback or UnbackPart or Unmap or Unbind ? MostCommands(before, operation) : int.MaxValue);
    }

    private static int MostCommands(World before, Operation operation)
    {
        ReservationState reservation = before.Reservations[operation.Uses.First(static id => id.Kind == ObjectKind.Reservation)];
        int pieces = operation is UnbackPart ? 1 : reservation.Parts.Zip(reservation.Parts.Skip(1)).Count(static pair => pair.First.End != pair.Second.Offset) + 1;
        // What is nested in a table is kept apart.
        return pieces * before.Associations.Values.Where(association => association.Vcm == reservation.Vcm && !association.IsDropped).Select(static association => (association.Kind, association.Guest)).Distinct().Count();
    }

    private static int WaitsOf(World before, Operation operation, bool cachesAbsent)
    {
        ulong? added = operation switch
        {
            Back o => before.Memories[o.Memory].ByteCount,
            BackPart o => o.ByteCount,
            Map o => before.Memories[o.Memory].ByteCount,
            Bind o => o.ByteCount,
            _ => null,
        };
        // The table is forgotten before the leaf is there, and that it was absent after that.
        if (added is { } byteCount) return (cachesAbsent ? 1 : 0) + (byteCount >= LargeLeafBytes ? 1 : 0);
        return operation is Unback or UnbackPart or Unmap or Unbind or SetAttributes or CollectUse { Clears: true } ? 1 : 0;
    }
}
