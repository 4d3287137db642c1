using IommuSim.Machinery;
using Platform;

namespace IommuSim;

/// <summary>What came of accesses that nobody asked for.</summary>
/// <param name="LetThrough">How many pages were reached.</param>
/// <param name="Blocked">How many accesses were stopped at a page.</param>
public readonly record struct WildAccesses(long LetThrough, long Blocked);

/// <summary>
/// A device that does what it must not: it goes to addresses that it was not given, across the ends of pages, under requester ids of
/// others, and on and on while it is being taken away. What it does is random, and the same for the same seed.
/// </summary>
/// <remarks>
/// <para>It is no worse than hardware can be: every access goes through the unit.</para>
/// <para><b>Threads.</b> Any number at once.</para>
/// </remarks>
/// <typeparam name="TMemory">The memory behind the IOMMU.</typeparam>
/// <typeparam name="TSteps">The interleaving seam.</typeparam>
public sealed class MisbehavingDevice<TMemory, TSteps>
    where TMemory : struct, IPhysicalMemory
    where TSteps : struct, ISteps
{
    private const ulong PageBytes = 4096;
    private const int MostBytes = 64;
    private readonly RemappingUnit<TSteps> _iommu;
    private readonly TMemory _memory;

    /// <summary>A device behind <paramref name="iommu"/>.</summary>
    /// <param name="iommu">What translates its accesses.</param>
    /// <param name="memory">The memory that its accesses reach.</param>
    /// <param name="source">The requester id that it should use, as large as the unit knows any.</param>
    /// <exception cref="ArgumentOutOfRangeException">The requester id has more bits.</exception>
    public MisbehavingDevice(RemappingUnit<TSteps> iommu, TMemory memory, StreamId source)
    {
        _iommu = iommu;
        _memory = memory;
        Own = new(iommu, memory, source);
    }

    /// <summary>What it does under its own id, where it is told to.</summary>
    public BusMaster<TMemory, TSteps> Own { get; }

    /// <summary>The device under another requester id.</summary>
    /// <param name="other">As large as the unit knows any: another device's, or nobody's.</param>
    /// <exception cref="ArgumentOutOfRangeException">The requester id has more bits.</exception>
    public BusMaster<TMemory, TSteps> As(StreamId other) => new(_iommu, _memory, other);

    /// <summary>Reads and writes anywhere: random addresses of all sizes, many of them at the end of a page.</summary>
    /// <param name="seed">Where every choice comes from.</param>
    /// <param name="count">How many accesses: 0 ….</param>
    /// <param name="pasidCount">PASIDs below this are tried, too: 0 … 2^20; 0: none.</param>
    /// <returns>What came of them.</returns>
    /// <exception cref="ArgumentOutOfRangeException">A PASID that was tried has more than 20 bits.</exception>
    public WildAccesses RunWild(ulong seed, int count, uint pasidCount = 0)
    {
        var random = new Xorshift(seed);
        WildAccesses sum = default;
        for (int i = 0; i < count; i++)
        {
            ulong address = random.Next() >> (int)(random.Next() % 64);
            if (random.Next() % 2 == 0) address |= PageBytes - 1 - random.Next() % MostBytes;
            sum = Add(sum, Access(random, new(address), pasidCount));
        }

        return sum;
    }

    /// <summary>Reads and writes all over a range until it is told to stop: also while its address space ends.</summary>
    /// <param name="seed">Where every choice comes from.</param>
    /// <param name="range">The addresses.</param>
    /// <param name="stop">Set to end it.</param>
    /// <param name="prefix">The PASID prefix of each request; null for none.</param>
    /// <returns>What came of the accesses.</returns>
    /// <exception cref="ArgumentOutOfRangeException">The PASID has more than 20 bits.</exception>
    public WildAccesses RunUntil(ulong seed, IovaRange range, CancellationToken stop, PasidPrefix? prefix = null)
    {
        var random = new Xorshift(seed);
        WildAccesses sum = default;
        while (!stop.IsCancellationRequested)
        {
            ulong offset = range.Last.Value - range.First.Value is var most && most == ulong.MaxValue ? random.Next() : random.Next() % (most + 1);
            sum = Add(sum, Access(random, range.First + offset, prefix));
        }

        return sum;
    }

    private static WildAccesses Add(WildAccesses sum, DmaResult result) =>
        result.Ok ? sum with { LetThrough = sum.LetThrough + 1 } : sum with { Blocked = sum.Blocked + 1 };

    private DmaResult Access(Xorshift random, Iova address, uint pasidCount)
    {
        PasidPrefix? prefix = pasidCount != 0 && random.Next() % 2 == 0 ? new(new((uint)(random.Next() % pasidCount))) : null;
        return Access(random, address, prefix);
    }

    private DmaResult Access(Xorshift random, Iova address, PasidPrefix? prefix)
    {
        Span<byte> bytes = stackalloc byte[1 + (int)(random.Next() % MostBytes)];
        if (random.Next() % 2 == 0) return Own.Read(address, bytes, prefix);
        bytes.Fill((byte)(random.Next() & 0xFF));
        return Own.Write(address, bytes, prefix);
    }
}
