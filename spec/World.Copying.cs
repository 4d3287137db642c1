namespace Vcmm.Spec;

// Copies: which physical word ends up where.
public sealed partial record World
{
    private const ulong WordBytes = 8;

    /// <summary>The physical memory behind a part of a reservation, in order; shorter than the part if not all of it is backed, and empty if it is no part.</summary>
    public IEnumerable<AddressRange> Behind(ObjectId reservation, ulong offset, ulong byteCount)
    {
        if (!IsInside(reservation, offset, byteCount)) yield break;
        foreach (BackedPart part in Reservations[reservation].Parts)
        {
            ulong first = Math.Max(offset, part.Offset), end = Math.Min(offset + byteCount, part.End);
            if (first >= end) continue;
            foreach (AddressRange run in Slice(part.Memory, part.MemoryOffset + (first - part.Offset), end - first)) yield return run;
        }
    }

    private Verdict<World> Judge(Copy copy, Observation seen)
    {
        bool isInside = IsInside(copy.Source, copy.SourceOffset, copy.ByteCount) && IsInside(copy.Destination, copy.DestinationOffset, copy.ByteCount);
        bool isBacked = isInside
            && Reservations[copy.Source].BackedBytes(copy.SourceOffset, copy.ByteCount) == copy.ByteCount
            && Reservations[copy.Destination].BackedBytes(copy.DestinationOffset, copy.ByteCount) == copy.ByteCount;
        Verdict<World> verdict = new Refusals()
            .Must(Outcome.Invalid, Reservations[copy.Source].IsEnded || Reservations[copy.Destination].IsEnded, Invariant.NoOverlap, "a reservation has ended")
            .Must(Outcome.Invalid, !isInside, Invariant.NoOverlap, "it is no part of the reservation")
            .Must(Outcome.Invalid, isBacked && !IsMemory(copy), Invariant.Conservation, "some of it is no memory")
            .Must(Outcome.Fault, isInside && !isBacked, Invariant.TablesAreTruth, "some of it is not backed")
            .Decide(this, seen.Outcome)
            ?? JudgeMoves(copy, seen);
        bool isRefused = seen.Outcome != Outcome.None && verdict.IsAccepted;
        return isRefused && !seen.Moves.IsEmpty ? Refuse(Invariant.Conservation, $"it was refused and changed {string.Join(", ", seen.Moves)}; a refused call changes nothing", this) : verdict;
    }

    /// <summary>
    /// Each word of the destination holds what stood before in the word of the source that belongs to it, or, where memory stands
    /// in the destination more than once, in one of them; nothing else changes.
    /// </summary>
    private Verdict<World> JudgeMoves(Copy copy, Observation seen)
    {
        ILookup<ulong, ulong> lawful = Words(Behind(copy.Source, copy.SourceOffset, copy.ByteCount))
            .Zip(Words(Behind(copy.Destination, copy.DestinationOffset, copy.ByteCount)), static (from, to) => (From: from, To: to))
            .ToLookup(static pair => pair.To, static pair => pair.From);
        var changed = new HashSet<ulong>();
        foreach (Move move in seen.Moves)
        {
            ulong? from = move.From;
            foreach (ulong to in Words([move.To]))
            {
                changed.Add(to);
                if (!lawful.Contains(to)) return Refuse(Invariant.Isolation, $"it changed 0x{to:x}; that is not behind the destination", this);
                if (from is not { } found || !lawful[to].Contains(found))
                    return Refuse(Invariant.Conservation, $"0x{to:x} holds what stood at {(from is { } place ? $"0x{place:x}" : "no place that is known")}; it must hold what stood at {Text(lawful[to])}", this);
                from += WordBytes;
            }
        }

        foreach (IGrouping<ulong, ulong> word in lawful)
        {
            if (!changed.Contains(word.Key) && !word.Contains(word.Key))
                return Refuse(Invariant.Conservation, $"0x{word.Key:x} did not change; it must hold what stood at {Text(word)}", this);
        }

        return Accept(this);

        static string Text(IEnumerable<ulong> places) => string.Join(" or ", places.Select(place => $"0x{place:x}"));
    }

    private bool IsMemory(Copy copy) =>
        Behind(copy.Source, copy.SourceOffset, copy.ByteCount).Concat(Behind(copy.Destination, copy.DestinationOffset, copy.ByteCount)).All(Iommu.Memory.Contains);

    private bool IsInside(ObjectId reservation, ulong offset, ulong byteCount)
    {
        ulong whole = Reservations[reservation].ByteCount;
        return byteCount != 0 && offset < whole && byteCount <= whole - offset;
    }

    private static IEnumerable<ulong> Words(IEnumerable<AddressRange> ranges)
    {
        foreach (AddressRange range in ranges)
        {
            for (ulong word = range.First; word < range.Last; word += WordBytes) yield return word;
        }
    }
}
