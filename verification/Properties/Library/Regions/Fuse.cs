using Platform;
using Vcmm;
using Vcmm.Allocation;
using Vcmm.Vtd;

namespace Properties.Library.Regions;

/// <summary>What a port throws where it should answer.</summary>
internal sealed class BrokenPort : Exception;

/// <summary>Counts the chances to fail and takes chosen ones.</summary>
internal sealed class Fuse
{
    private int _first;
    private int _second;
    private bool _stays;
    private bool _throws;

    /// <summary>How many chances there were since it was armed.</summary>
    public int Count { get; private set; }

    public bool WasMet => _first != 0 && Count >= _first;

    /// <param name="number">The chance that is taken, from 1 on.</param>
    /// <param name="stays">Whether all after it are taken too.</param>
    /// <param name="distance">How long after it another one is taken; 0: none is.</param>
    /// <param name="throws">Whether a chance that is taken throws <see cref="BrokenPort"/>.</param>
    public void Arm(int number, bool stays = false, int distance = 0, bool throws = false)
    {
        _throws = throws;
        Count = 0;
        _first = number;
        _second = distance == 0 ? 0 : number + distance;
        _stays = stays;
    }

    public void Disarm() => _first = 0;

    public bool Blows()
    {
        if (_first == 0) return false;
        Count++;
        bool blows = Count == _first || Count == _second || (_stays && Count > _first);
        return blows && _throws ? throw new BrokenPort() : blows;
    }
}

/// <summary>Frames of which an allocation fails where the fuse says so.</summary>
internal sealed class FusedFrames(FrameAllocator inner, Fuse fuse) : IContiguousFrameSource
{
    public ulong TotalBytes => inner.TotalBytes;

    public ulong FreeBytes => inner.FreeBytes;

    public VcmmError TryAllocate(ulong byteCount, out PhysAddr block)
    {
        block = default;
        return fuse.Blows() ? VcmmError.NoMemory : inner.TryAllocate(byteCount, out block);
    }

    public VcmmError TryAllocateContiguous(ulong byteCount, ulong alignment, out PhysAddr block)
    {
        block = default;
        return fuse.Blows() ? VcmmError.NoMemory : inner.TryAllocateContiguous(byteCount, alignment, out block);
    }

    public VcmmError TryAllocateWithin(ulong byteCount, ulong alignment, PhysRange within, out PhysAddr block)
    {
        block = default;
        return fuse.Blows() ? VcmmError.NoMemory : inner.TryAllocateWithin(byteCount, alignment, within, out block);
    }

    public VcmmError TryFindWithin(ulong byteCount, ulong alignment, PhysRange within, out PhysAddr block) => inner.TryFindWithin(byteCount, alignment, within, out block);

    public VcmmError TryAllocateAt(PhysRange range) => fuse.Blows() ? VcmmError.NoMemory : inner.TryAllocateAt(range);

    public VcmmError TryFree(PhysAddr block) => inner.TryFree(block);
}

/// <summary>Registers that nobody answers for where the fuse says so: a write is lost, a read gives ones.</summary>
internal sealed class FusedRegisters(IMmio inner, Fuse fuse) : IMmio, IWaitPolicy
{
    private const int MostPolls = 8;

    private const ulong Ones = ulong.MaxValue;

    public uint Read32(uint offset) => fuse.Blows() ? uint.MaxValue : inner.Read32(offset);

    public ulong Read64(uint offset) => fuse.Blows() ? Ones : inner.Read64(offset);

    public void Write32(uint offset, uint value)
    {
        if (!fuse.Blows()) inner.Write32(offset, value);
    }

    public void Write64(uint offset, ulong value)
    {
        if (!fuse.Blows()) inner.Write64(offset, value);
    }

    public long Begin() => 0;

    public bool KeepWaiting(long begun, int attempt) => attempt < MostPolls;
}
