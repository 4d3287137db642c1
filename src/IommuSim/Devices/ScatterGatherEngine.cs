using Platform;

namespace IommuSim;

/// <summary>A part of memory in a scatter-gather list.</summary>
/// <param name="Address">Where it begins; it wraps at 2^64.</param>
/// <param name="ByteCount">0 ….</param>
public readonly record struct DmaElement(Iova Address, int ByteCount);

/// <summary>What a transfer of a list came to.</summary>
/// <param name="ElementsDone">How many elements were done whole, from the first on.</param>
/// <param name="Transfer">
/// Of all elements together: <see cref="DmaResult.BytesDone"/> counts from the first one's first byte. Where it stopped and why is of the
/// element that was not done.
/// </param>
public readonly record struct ScatterGatherResult(int ElementsDone, DmaResult Transfer)
{
    /// <summary>Whether all was transferred.</summary>
    public bool Ok => Transfer.Ok;
}

/// <summary>A device that moves bytes between itself and a list of parts of memory, in the order of the list.</summary>
/// <remarks><b>Threads.</b> Any number at once.</remarks>
/// <typeparam name="TMemory">The memory behind the IOMMU.</typeparam>
/// <typeparam name="TSteps">The interleaving seam.</typeparam>
public sealed class ScatterGatherEngine<TMemory, TSteps>
    where TMemory : struct, IPhysicalMemory
    where TSteps : struct, ISteps
{
    private readonly BusMaster<TMemory, TSteps> _master;

    /// <summary>An engine.</summary>
    /// <param name="master">Makes the transfers.</param>
    public ScatterGatherEngine(BusMaster<TMemory, TSteps> master)
    {
        ArgumentNullException.ThrowIfNull(master);
        _master = master;
    }

    /// <summary>Reads the elements, one behind the other, into <paramref name="destination"/>, up to the first place that is refused.</summary>
    /// <param name="list">Where from.</param>
    /// <param name="destination">As long as all elements together.</param>
    /// <param name="prefix">The PASID prefix of each request; null for none.</param>
    /// <returns>Whether all was transferred; otherwise where it stopped and why.</returns>
    /// <exception cref="ArgumentException">The lengths differ; nothing was transferred.</exception>
    /// <exception cref="ArgumentOutOfRangeException">An element has less than no bytes, or the PASID has more than 20 bits; nothing was transferred.</exception>
    public ScatterGatherResult Gather(ReadOnlySpan<DmaElement> list, Span<byte> destination, PasidPrefix? prefix = null)
    {
        Require(list, destination.Length);
        int done = 0;
        for (int i = 0; i < list.Length; i++)
        {
            DmaResult result = _master.Read(list[i].Address, destination.Slice(done, list[i].ByteCount), prefix);
            if (!result.Ok) return new(i, result with { BytesDone = (ulong)done + result.BytesDone });
            done += list[i].ByteCount;
        }

        return new(list.Length, new(true, (ulong)done, default, default));
    }

    /// <summary>Writes <paramref name="source"/> to the elements, one behind the other, up to the first place that is refused.</summary>
    /// <param name="list">Where to.</param>
    /// <param name="source">As long as all elements together.</param>
    /// <param name="prefix">The PASID prefix of each request; null for none.</param>
    /// <returns>Whether all was transferred; otherwise where it stopped and why.</returns>
    /// <exception cref="ArgumentException">The lengths differ; nothing was transferred.</exception>
    /// <exception cref="ArgumentOutOfRangeException">An element has less than no bytes, or the PASID has more than 20 bits; nothing was transferred.</exception>
    public ScatterGatherResult Scatter(ReadOnlySpan<DmaElement> list, ReadOnlySpan<byte> source, PasidPrefix? prefix = null)
    {
        Require(list, source.Length);
        int done = 0;
        for (int i = 0; i < list.Length; i++)
        {
            DmaResult result = _master.Write(list[i].Address, source.Slice(done, list[i].ByteCount), prefix);
            if (!result.Ok) return new(i, result with { BytesDone = (ulong)done + result.BytesDone });
            done += list[i].ByteCount;
        }

        return new(list.Length, new(true, (ulong)done, default, default));
    }

    private static void Require(ReadOnlySpan<DmaElement> list, int byteCount)
    {
        long sum = 0;
        foreach (DmaElement element in list)
        {
            ArgumentOutOfRangeException.ThrowIfNegative(element.ByteCount, nameof(list));
            sum += element.ByteCount;
        }

        if (sum != byteCount) throw new ArgumentException($"the elements have {sum} bytes; expected {byteCount}", nameof(list));
    }
}
