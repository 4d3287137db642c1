using Workloads.Fixtures;

namespace Workloads.Bare;

/// <summary>
/// What <see cref="Ranges"/> cannot do without, in memory: it picks a live range at random and replaces it, and for a range that is
/// to go back exactly as it was taken, and once, one word must say so.
/// </summary>
public sealed class BareRanges : IWorkload
{
    private const ulong Out = 1;

    private readonly ulong[] _known;
    private readonly (ulong First, ulong Last)[] _live;
    private readonly int _shift;
    private PageSequence _random = new(PageSequence.Seed);

    /// <summary>Marks the live ranges.</summary>
    /// <param name="liveCount">How many, above 1.</param>
    public BareRanges(int liveCount)
    {
        _live = new (ulong, ulong)[liveCount];
        // Words for twice as many: of a hash table half are used.
        _shift = 64 - System.Numerics.BitOperations.Log2(System.Numerics.BitOperations.RoundUpToPowerOf2((uint)liveCount * 2));
        _known = new ulong[1UL << (64 - _shift)];
        for (int i = 0; i < liveCount; i++)
        {
            _live[i] = ((ulong)i << 12, (ulong)i << 12 | 0xFFF);
            _known[PlaceOf(_live[i].First)] |= Out;
        }
    }

    /// <inheritdoc/>
    public int OperationsPerBatch => Ranges.Operations;

    /// <inheritdoc/>
    public void Batch()
    {
        for (int i = 0; i < Ranges.Operations; i++)
        {
            ref (ulong First, ulong Last) range = ref _live[_random.NextBelow(_live.Length)];
            ulong place = PlaceOf(range.First);
            _known[place] ^= Out;
            ulong byteCount = 1UL << 12 + _random.NextBelow(5);
            range = (range.First, range.First + byteCount - 1);
            _known[place] ^= Out;
        }
    }

    /// <inheritdoc/>
    public void Check()
    {
        ulong[] before = [.. _known];
        Batch();
        Require.That(_known.AsSpan().SequenceEqual(before), "what goes comes again");
    }

    /// <inheritdoc/>
    public void Dispose()
    {
    }

    private ulong PlaceOf(ulong first) => unchecked((first >> 12) * 0x9E3779B97F4A7C15) >> _shift;
}
