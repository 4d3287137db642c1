using IommuSim.Machinery;
using Platform;

namespace IommuSim.DeviceSide;

/// <summary>What a device asks of the unit.</summary>
internal enum RequestType : byte
{
    /// <summary>An access with an address that the unit is to translate.</summary>
    Untranslated,

    /// <summary>ATS: the translation alone.</summary>
    Translation,

    /// <summary>ATS: an access with an address that the unit translated before.</summary>
    Translated,

    /// <summary>PRI: a page.</summary>
    Page,

    /// <summary>None at all: the unit itself wants to know the translation.</summary>
    Prefetch,
}

/// <summary>What an access by a device's own translation came to.</summary>
internal enum AtsOutcome : byte
{
    /// <summary>It goes on; its slot is to be ended.</summary>
    Goes,

    /// <summary>There is a fault, and it has been recorded.</summary>
    Blocked,

    /// <summary>Recoverable: the page is absent or does not permit the access. Nothing has been recorded.</summary>
    Denied,
}

/// <summary>A translation that a device keeps. The privilege it was asked for with is part of its tag.</summary>
internal readonly record struct DeviceTlbLine(
    uint Pasid, bool Privileged, IovaRange Range, ulong Target, bool Read, bool Write, bool Execute, ulong LastUse = 0);

/// <summary>
/// The TLB of a device: fully associative, the least recently used entry is replaced. It forgets when it is told to, by the
/// descriptors that are for it, and at no other time.
/// </summary>
/// <remarks>
/// <para><b>Source.</b> Intel VT-d specification, Support For Device-TLBs; PCI Express Base Specification, Address Translation
/// Services.</para>
/// <para><b>Threads.</b> Under the unit's lock.</para>
/// </remarks>
internal sealed class DeviceTlb(StreamId source, int capacity, IAtsPort port)
{
    private static readonly IovaRange Everything = new(default, new(ulong.MaxValue));

    private readonly List<DeviceTlbLine> _lines = [];
    private readonly List<DeviceTlbLine> _lost = [];
    private ulong _clock;

    public StreamId Source => source;

    /// <summary>The device.</summary>
    public IAtsPort Port => port;

    public IReadOnlyList<DeviceTlbLine> Lines => _lines;

    /// <summary>Whether the device asks again for what invalidations take.</summary>
    public bool KeepsLost { get; init; }

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

    /// <summary>Device-TLB invalidation: of the requests of one PASID, of those without (<see cref="VtdTags.NoPasid"/>), or of all PASIDs.</summary>
    public void Invalidate(uint pasid, bool isOfAllPasids, IovaRange range, ulong epoch)
    {
        InvalidatedAt = epoch;
        bool isOfPages = range != Everything;
        _lines.RemoveAll(line =>
        {
            bool isLost = (line.Pasid == pasid || (isOfAllPasids && line.Pasid != VtdTags.NoPasid)) && line.Range.Overlaps(range);
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
        ? line.Pasid == present.Pasid.Value && line.Privileged == present.Privileged
        : line.Pasid == VtdTags.NoPasid;
}

/// <summary>What a translation request has found out on its way, besides the address.</summary>
internal sealed class TranslationCompletion
{
    /// <summary>What the translation is cached under in the unit; null where the request did not come that far.</summary>
    public CacheTag? Tag { get; set; }

    /// <summary>For the device to keep; meaningless if there is a fault.</summary>
    public DeviceTlbLine Line { get; set; }
}

/// <summary>What a device with a TLB of its own is sent.</summary>
/// <remarks><b>Threads.</b> Called with no lock of the unit's state held; messages of the command queue come one after the other.</remarks>
internal interface IAtsPort
{
    /// <summary>A page group response.</summary>
    void Answer(in PageGroupResponse response);

    /// <summary>Software has made room in the page request queue: what was told to ask again does so.</summary>
    void AskAgain();

    /// <summary>An invalidation of some pages has taken a translation, of a device that wants it again.</summary>
    void Refetch(in DeviceTlbLine line);
}
