using Platform;

namespace IommuSim.Devices;

/// <summary>A translation that a device keeps. The privilege it was asked for with is part of its tag.</summary>
internal readonly record struct DeviceTlbLine(
    Pasid? Pasid, bool Privileged, IovaRange Range, ulong Target, bool Read, bool Write, bool Execute, ulong LastUse = 0);

/// <summary>
/// The TLB of a device: fully associative, the least recently used entry is replaced. It forgets when it is told to, by the
/// descriptors that are for it, and at no other time.
/// </summary>
/// <remarks>
/// <para><b>Source.</b> PCI Express Base Specification, Address Translation Services.</para>
/// <para><b>Threads.</b> Under the unit's lock.</para>
/// </remarks>
internal sealed class DeviceTlb(StreamId source, int capacity, IAtsPort port)
{
    private static readonly IovaRange Everything = new(default, new(ulong.MaxValue));

    private readonly List<DeviceTlbLine> _lines = [];
    private readonly List<DeviceTlbLine> _lost = [];
    private ulong _clock;
    private volatile bool _isResponding = true;

    public StreamId Source => source;

    /// <summary>The device.</summary>
    public IAtsPort Port => port;

    public IReadOnlyList<DeviceTlbLine> Lines => _lines;

    /// <summary>Whether the device asks again for what invalidations take.</summary>
    public bool KeepsLost { get; init; }

    /// <summary>Whether it answers invalidations; set without the lock.</summary>
    public bool IsResponding
    {
        get => _isResponding;
        set => _isResponding = value;
    }

    /// <summary>The epoch of the last invalidation: translations asked for before it are not kept, and accesses by older ones drain.</summary>
    public ulong InvalidatedAt { get; private set; }

    /// <summary>The address that the access goes to; false if the device has to ask.</summary>
    public bool TryFind(ulong iova, DeviceAccess access, PasidPrefix? prefix, out ulong address)
    {
        for (int i = 0; i < _lines.Count; i++)
        {
            DeviceTlbLine line = _lines[i];
            if (!IsFor(line, prefix) || !line.Range.Contains(new Iova(iova))) continue;
            if (!(access == DeviceAccess.Write ? line.Write : line.Read)) continue;
            if (prefix is { Execute: true } && access == DeviceAccess.Read && !line.Execute) continue;
            _lines[i] = line with { LastUse = ++_clock };
            address = line.Target + (iova - line.Range.First.Value);
            return true;
        }

        address = 0;
        return false;
    }

    public void Insert(DeviceTlbLine line)
    {
        if (capacity == 0) return;
        _lines.RemoveAll(other => other.Pasid == line.Pasid && other.Privileged == line.Privileged && other.Range.Overlaps(line.Range));
        if (_lines.Count == capacity) _lines.Remove(_lines.MinBy(static other => other.LastUse));
        _lines.Add(line with { LastUse = ++_clock });
    }

    /// <summary>Device-TLB invalidation: of the requests of one PASID, of those without (null), or of all PASIDs.</summary>
    public void Invalidate(Pasid? pasid, bool isOfAllPasids, IovaRange range, ulong epoch)
    {
        InvalidatedAt = epoch;
        bool isOfPages = range != Everything;
        _lines.RemoveAll(line =>
        {
            bool isLost = (line.Pasid == pasid || (isOfAllPasids && line.Pasid is not null)) && line.Range.Overlaps(range);
            if (isLost && isOfPages && KeepsLost) _lost.Add(line);
            return isLost;
        });
    }

    /// <summary>What invalidations of some pages have taken since this was last asked.</summary>
    public DeviceTlbLine[] TakeLost()
    {
        if (_lost.Count == 0) return [];
        DeviceTlbLine[] lost = [.. _lost];
        _lost.Clear();
        return lost;
    }

    private static bool IsFor(in DeviceTlbLine line, PasidPrefix? prefix) => prefix is { } present
        ? line.Pasid == present.Pasid && line.Privileged == present.Privileged
        : line.Pasid is null;
}
