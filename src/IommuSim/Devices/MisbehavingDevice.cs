using IommuSim.Devices;
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

    /// <summary>
    /// Reads one page under its own id with a translated request (ATS): it says that the address is one that the unit has told it. A unit
    /// that lets the device keep translations has nothing to hold that against.
    /// </summary>
    /// <param name="address">Any address.</param>
    /// <param name="destination">Up to the end of the page of 4 KiB.</param>
    /// <returns>Whether all was read; otherwise why not.</returns>
    /// <remarks><b>Source.</b> PCI Express Base Specification, Address Translation Services, the field AT.</remarks>
    /// <exception cref="ArgumentOutOfRangeException">It is longer.</exception>
    /// <exception cref="NotSupportedException">The unit knows no translated requests.</exception>
    public DmaResult ReadTranslated(PhysAddr address, Span<byte> destination)
    {
        if (!TryBeginTranslated(address, DeviceAccess.Read, destination.Length, out int slot, out DmaResult refusal)) return refusal;
        try
        {
            _iommu.Steps.At(SimStep.MemoryAccess, address.Value);
            if (!IsMemory(address, destination.Length)) return new(false, 0, default, new(address.Value));
            _memory.Read(address, destination);
            return new(true, (ulong)destination.Length, default, default);
        }
        finally
        {
            _iommu.EndAccess(slot);
        }
    }

    /// <summary>The same for a write.</summary>
    /// <param name="address">Any address.</param>
    /// <param name="source">Up to the end of the page of 4 KiB.</param>
    /// <returns>Whether all was written; otherwise why not.</returns>
    /// <exception cref="ArgumentOutOfRangeException">It is longer.</exception>
    /// <exception cref="NotSupportedException">The unit knows no translated requests.</exception>
    public DmaResult WriteTranslated(PhysAddr address, ReadOnlySpan<byte> source)
    {
        if (!TryBeginTranslated(address, DeviceAccess.Write, source.Length, out int slot, out DmaResult refusal)) return refusal;
        try
        {
            _iommu.Steps.At(SimStep.MemoryAccess, address.Value);
            if (!IsMemory(address, source.Length)) return new(false, 0, default, new(address.Value));
            _memory.Write(address, source);
            return new(true, (ulong)source.Length, default, default);
        }
        finally
        {
            _iommu.EndAccess(slot);
        }
    }

    /// <summary>Says under its own id that an invalidation of its TLB is complete which nobody has asked for.</summary>
    /// <exception cref="NotSupportedException">The unit knows no device TLBs.</exception>
    public void CompleteInvalidation() => Ats.TakeCompletion(Own.Source);

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
            // Survives as `!(IsHeads(random))`: equivalent, the other side of the coin
            if (IsHeads(random)) address |= ~(random.Next() % MostBytes) & (PageBytes - 1);
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

    private AtsUnit<TSteps> Ats => _iommu as AtsUnit<TSteps> ?? throw new NotSupportedException("the unit knows no device TLBs");

    private bool TryBeginTranslated(PhysAddr address, DeviceAccess access, int byteCount, out int slot, out DmaResult refusal)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan((ulong)byteCount, PageBytes - address.Value % PageBytes, nameof(byteCount));
        bool goes = Ats.TryBeginTranslated(Own.Source, address, access, out Passage passage);
        slot = passage.Slot;
        refusal = new(false, 0, passage.Fault, new(address.Value));
        return goes;
    }

    private bool IsMemory(PhysAddr address, int byteCount) => byteCount == 0 || _memory.Contains(PhysRange.FromLength(address, (ulong)byteCount));

    private static WildAccesses Add(WildAccesses sum, DmaResult result) =>
        result.Ok ? sum with { LetThrough = sum.LetThrough + 1 } : sum with { Blocked = sum.Blocked + 1 };

    // Survives as `random.Next() % 2 != 0`: equivalent, the other side of the coin
    private static bool IsHeads(Xorshift random) => random.Next() % 2 == 0;

    private DmaResult Access(Xorshift random, Iova address, uint pasidCount)
    {
        PasidPrefix? prefix = pasidCount != 0 && IsHeads(random) ? new(new((uint)(random.Next() % pasidCount))) : null;
        return Access(random, address, prefix);
    }

    private DmaResult Access(Xorshift random, Iova address, PasidPrefix? prefix)
    {
        Span<byte> bytes = stackalloc byte[1 + (int)(random.Next() % MostBytes)];
        // Survives as `!(IsHeads(random))`: equivalent, the other side of the coin
        if (IsHeads(random)) return Own.Read(address, bytes, prefix);
        bytes.Fill((byte)(random.Next() & 0xFF));
        return Own.Write(address, bytes, prefix);
    }
}
