using Platform;

namespace Explorer.Faults;

/// <summary>Registers to which a driver writes that forgets to mask the event of page requests once it was enabled.</summary>
/// <remarks><b>Source.</b> Intel VT-d specification, "Page Request Event Control Register" (E0h): the mask is bit 31.</remarks>
/// <param name="registers">The registers.</param>
internal sealed class StaysUnmasked(IMmio registers) : IMmio
{
    private const uint Control = 0xE0, Mask = 1u << 31;
    private bool _isEnabled;

    public uint Read32(uint offset) => registers.Read32(offset);

    public ulong Read64(uint offset) => registers.Read64(offset);

    public void Write32(uint offset, uint value)
    {
        if (offset == Control && _isEnabled) return;
        registers.Write32(offset, value);
        _isEnabled |= offset == Control && (value & Mask) == 0;
    }

    public void Write64(uint offset, ulong value) => registers.Write64(offset, value);
}
