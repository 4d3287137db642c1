using Platform;

namespace Explorer.Races;

/// <summary>The IOMMU's registers as the driver has them: those that order what the two do are told to the search for races.</summary>
/// <param name="inner">The registers.</param>
/// <param name="races">The search.</param>
internal sealed class WatchedRegisters(IMmio inner, AccessRaces races) : IMmio
{
    /// <inheritdoc/>
    public uint Read32(uint offset)
    {
        uint value = inner.Read32(offset);
        races.RegisterRead(offset, value);
        return value;
    }

    /// <inheritdoc/>
    public void Write32(uint offset, uint value)
    {
        races.RegisterWrite(offset);
        inner.Write32(offset, value);
        races.RegisterWritten(offset);
    }

    /// <inheritdoc/>
    public ulong Read64(uint offset)
    {
        ulong value = inner.Read64(offset);
        races.RegisterRead(offset, value);
        return value;
    }

    /// <inheritdoc/>
    public void Write64(uint offset, ulong value)
    {
        races.RegisterWrite(offset);
        inner.Write64(offset, value);
        races.RegisterWritten(offset);
    }
}
