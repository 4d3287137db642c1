namespace IommuSim.Machinery;

/// <summary>Marsaglia's xorshift64: a stream of numbers that is the same for the same seed.</summary>
internal sealed class Xorshift(ulong seed)
{
    // 0 would stay 0.
    private ulong _state = seed == 0 ? 0x9E37_79B9_7F4A_7C15 : seed;

    /// <summary>0 … <paramref name="end"/> - 1.</summary>
    public int Next(int end) => (int)(Next() >> 33) % end;

    /// <summary>64 bits, never all of them 0.</summary>
    public ulong Next()
    {
        _state ^= _state << 13;
        _state ^= _state >> 7;
        _state ^= _state << 17;
        return _state;
    }
}
