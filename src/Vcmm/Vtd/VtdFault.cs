using Platform;

namespace Vcmm.Vtd;

/// <summary>A blocked access, as the hardware recorded it.</summary>
/// <param name="Device">Who made the access.</param>
/// <param name="Page">The first byte of the 4 KiB page that was accessed.</param>
/// <param name="Access">Read or write.</param>
/// <param name="Reason">The specification's fault reason.</param>
/// <remarks><b>Source.</b> VT-d specification, "Fault Recording Registers" and "Fault Reason Encodings".</remarks>
public readonly record struct VtdFault(StreamId Device, Iova Page, Access Access, byte Reason)
{
    /// <summary><c>sid:0x20 Write iova:0x1000 reason 0x05</c>.</summary>
    public override string ToString() => $"{Device} {Access} {Page} reason 0x{Reason:x2}";
}
