using Platform;

namespace Vcmm.Vtd;

/// <summary>A page request as a device sends it.</summary>
/// <remarks><b>Source.</b> VT-d specification, "Page Group Request Descriptor".</remarks>
internal readonly record struct PageRequest(ulong Low, ulong High)
{
    public const uint Bytes = 32;
    private const ulong PageGroupRequest = 1;

    public bool IsPageGroupRequest => (Low & 0xFF) == PageGroupRequest;

    public StreamId Device => new((uint)(Low >> 16 & 0xFFFF));

    /// <summary>Null: of the device's requests without a PASID.</summary>
    public Pasid? Pasid => (Low >> 8 & 1) != 0 ? new Pasid((uint)(Low >> 32 & 0xF_FFFF)) : null;

    /// <summary>None: a device says that it has stopped to use the PASID, which asks for no answer ("Stop Marker").</summary>
    public Access Access =>
        ((High & 1) != 0 ? Access.Read : Access.None)
        | ((High & 2) != 0 ? Access.Write : Access.None)
        | ((High & 3) != 0 && (Low >> 52 & 1) != 0 ? Access.Execute : Access.None);

    public bool IsPrivileged => (Low >> 53 & 1) != 0;

    /// <summary>The last of its group, which is answered as a whole.</summary>
    public bool IsLast => (High >> 2 & 1) != 0;

    public int Group => (int)(High >> 3 & 0x1FF);

    public Iova Address => new(High & ~0xFFFUL);
}

/// <summary>Page requests that are answered together.</summary>
internal sealed class PageGroup(StreamId device, Pasid? pasid, int index)
{
    public StreamId Device => device;

    public Pasid? Pasid => pasid;

    public int Index => index;

    /// <summary>Requests that were taken and not ended.</summary>
    public int Outstanding { get; set; }

    /// <summary>The last request is there.</summary>
    public bool IsComplete { get; set; }

    /// <summary>One of the requests was refused, and with it all.</summary>
    public bool IsRefused { get; set; }
}
