using Platform;

namespace Conformance.Simulator;

/// <summary>Memory in which a test acts before each word is read, and says whether it can be.</summary>
internal readonly struct ScriptedMemory(Ram ram, Func<ulong, bool> beforeRead) : IPhysicalMemory
{
    public bool Contains(PhysRange range) => ram.Contains(range);

    public bool TryRead64(PhysAddr address, out ulong value)
    {
        value = 0;
        return beforeRead(address.Value) && ram.TryRead64(address, out value);
    }

    public ulong Read64(PhysAddr address) => ram.Read64(address);

    public uint Read32(PhysAddr address) => ram.Read32(address);

    public void Write64(PhysAddr address, ulong value) => ram.Write64(address, value);

    public void Write32(PhysAddr address, uint value) => ram.Write32(address, value);

    public ulong CompareExchange64(PhysAddr address, ulong value, ulong comparand) => ram.CompareExchange64(address, value, comparand);

    public uint CompareExchange32(PhysAddr address, uint value, uint comparand) => ram.CompareExchange32(address, value, comparand);

    public void Read(PhysAddr address, Span<byte> destination) => ram.Read(address, destination);

    public void Write(PhysAddr address, ReadOnlySpan<byte> source) => ram.Write(address, source);

    public void Clean(PhysRange range) => ram.Clean(range);

    public void Fence() => ram.Fence();
}
