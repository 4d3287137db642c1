using System.Collections.Immutable;

namespace Vcmm.Spec;

/// <summary>A region.</summary>
/// <param name="Range">Its addresses.</param>
/// <param name="Kind">What it is.</param>
/// <param name="IsFreed">Whether it has ended.</param>
public sealed record VcmState(AddressRange Range, VcmKind Kind = VcmKind.Device, bool IsFreed = false)
{
    /// <summary>Whether what is unbacked waits for a flush.</summary>
    public bool IsDeferred { get; init; }

    /// <summary>Whether what is taken anywhere is taken from the top, not from the bottom.</summary>
    public bool IsTopDown { get; init; }

    /// <summary>The table of a prebuilt region; null: it is none.</summary>
    public AdoptedTable? Adopted { get; init; }
}

/// <summary>A bound.</summary>
/// <param name="Vcm">Its region.</param>
/// <param name="Range">Its addresses.</param>
/// <param name="IsFreed">Whether it has ended.</param>
public sealed record BoundState(ObjectId Vcm, AddressRange Range, bool IsFreed = false);

/// <summary>A reservation.</summary>
/// <param name="Vcm">Its region.</param>
/// <param name="Range">Its addresses.</param>
/// <param name="Attributes">What it grants, and how it uses caches.</param>
public sealed record ReservationState(ObjectId Vcm, AddressRange Range, Attributes Attributes)
{
    /// <summary>The bound that it was taken from; null: the region itself.</summary>
    public ObjectId? Bound { get; init; }

    /// <summary>Its parts that are backed, in the order of their offsets; no two overlap.</summary>
    public ImmutableArray<BackedPart> Parts { get; init; } = [];

    /// <summary>How many must let go before it ends.</summary>
    public int OwnerCount { get; init; } = 1;

    /// <summary>Whether it has ended.</summary>
    public bool IsEnded { get; init; }

    /// <summary>What devices wrote to.</summary>
    public NotedUse Written { get; init; } = NotedUse.None;

    /// <summary>What devices accessed.</summary>
    public NotedUse Accessed { get; init; } = NotedUse.None;

    /// <summary>Its length in bytes.</summary>
    public ulong ByteCount => Range.Last - Range.First + 1;

    /// <summary>Whether any of it is backed.</summary>
    public bool IsBacked => !Parts.IsEmpty;

    /// <summary>How many bytes of a part that lies in it are backed.</summary>
    public ulong BackedBytes(ulong offset, ulong byteCount)
    {
        ulong sum = 0;
        foreach (BackedPart part in Parts)
        {
            ulong first = Math.Max(offset, part.Offset), end = Math.Min(offset + byteCount, part.End);
            if (first < end) sum += end - first;
        }

        return sum;
    }

    /// <summary>With one more part.</summary>
    public ReservationState With(BackedPart part) => this with { Parts = [.. Parts.Add(part).OrderBy(each => each.Offset)] };

    /// <summary>Without what backs a part of it, and what was done there.</summary>
    public ReservationState Without(ulong offset, ulong byteCount)
    {
        var range = new AddressRange(Range.First + offset, Range.First + (offset + byteCount - 1));
        return this with
        {
            Parts = [.. Parts.SelectMany(part => new[] { part.Before(offset), part.After(offset + byteCount) }).OfType<BackedPart>()],
            Written = Written.Without(range),
            Accessed = Accessed.Without(range),
        };
    }

    /// <summary>What devices did of one kind.</summary>
    public NotedUse UseOf(Use use) => use == Use.Written ? Written : Accessed;

    /// <summary>With other knowledge of one kind of use.</summary>
    public ReservationState With(Use use, NotedUse noted) => use == Use.Written ? this with { Written = noted } : this with { Accessed = noted };

    /// <summary>With one more use.</summary>
    /// <param name="use">Of which kind.</param>
    /// <param name="certain">What must be told; null: nothing.</param>
    /// <param name="possible">What may be.</param>
    public ReservationState Noting(Use use, AddressRange? certain, AddressRange possible)
    {
        NotedUse former = UseOf(use);
        return With(use, new(certain is { } page ? former.Certain.With(page) : former.Certain, former.Possible.With(possible)));
    }
}

/// <summary>A part of a reservation and what backs it.</summary>
/// <param name="Offset">From the start of the reservation, in bytes.</param>
/// <param name="Memory">The memory.</param>
/// <param name="MemoryOffset">From the start of the memory, in bytes.</param>
/// <param name="ByteCount">In bytes.</param>
public readonly record struct BackedPart(ulong Offset, ObjectId Memory, ulong MemoryOffset, ulong ByteCount)
{
    /// <summary>Where it ends, from the start of the reservation.</summary>
    public ulong End => Offset + ByteCount;

    /// <summary>What of it lies before an offset; null: nothing.</summary>
    public BackedPart? Before(ulong offset) => offset <= Offset ? null : this with { ByteCount = Math.Min(End, offset) - Offset };

    /// <summary>What of it lies from an offset on; null: nothing.</summary>
    public BackedPart? After(ulong offset)
    {
        if (offset >= End) return null;
        ulong skipped = Math.Max(offset, Offset) - Offset;
        return new(Offset + skipped, Memory, MemoryOffset + skipped, ByteCount - skipped);
    }
}

/// <summary>Physical memory.</summary>
/// <param name="ByteCount">Its length in bytes.</param>
/// <param name="Segments">Its chunks, in the order in which they back a reservation.</param>
/// <param name="IsWrapped">Whether it was given and not allocated.</param>
/// <param name="IsFreed">Whether it has been given back.</param>
public sealed record MemoryState(ulong ByteCount, ImmutableArray<AddressRange> Segments, bool IsWrapped = false, bool IsFreed = false);

/// <summary>An association.</summary>
/// <param name="Vcm">The region.</param>
/// <param name="Device">The device.</param>
/// <param name="IsActive">Whether the device translates through the region.</param>
/// <param name="IsDropped">Whether it has ended.</param>
public sealed record AssociationState(ObjectId Vcm, ObjectId Device, bool IsActive = false, bool IsDropped = false)
{
    /// <summary>The tables that the hardware walks for it.</summary>
    public TableKind Kind { get; init; }

    /// <summary>The PASID of the requests that it is for; null: those without one.</summary>
    public uint? Pasid { get; init; }

    /// <summary>Whose table is nested in the region for it; null: nobody's.</summary>
    public ObjectId? Guest { get; init; }

    /// <summary>What its guest's table has said since it became active, and that is not told to be gone.</summary>
    public ImmutableArray<UntoldEntry> Untold { get; init; } = [];
}

/// <summary>What a device could see once.</summary>
/// <param name="Device">The device.</param>
/// <param name="Pasid">In which of its address spaces; null: that of requests without a PASID.</param>
/// <param name="Mapping">What it saw.</param>
public readonly record struct FormerMapping(ObjectId Device, uint? Pasid, Mapping Mapping);
