using IommuSim;
using Platform;

namespace Conformance.Simulator;

/// <summary>
/// A <see cref="RawScalable"/> whose device has a TLB and may ask for pages: DTE (bit 2) and PRE (bit 4) are set in its context entry.
/// </summary>
internal sealed class RawAts : IDisposable
{
    public const ulong PageRequests = 0x50000;
    public const ulong Present = 1, Dte = 1 << 2, PasidEnable = 1 << 3, Pre = 1 << 4;
    public const uint Pqh = 0xC0, Pqt = 0xC8, Pqa = 0xD0, Prs = 0xDC, Pectl = 0xE0;

    public static readonly VtdOptions All = VtdOptions.Scalable with { DeviceTlbs = true, PageRequests = true, ExecuteRequests = true };

    public RawAts(VtdOptions? options = null, Action<SimStep, ulong>? hook = null, AtsDeviceOptions? device = null)
    {
        Vtd = new(options ?? All, hook);
        SetContext(Dte | Pre);
        Vtd.Iommu.Write64(Pqa, PageRequests);
        Device = new(Vtd.Iommu, Vtd.Memory, RawScalable.Device, device);
        Vtd.Memory.Write(new(RawScalable.FrameA), [0xAA]);
        Vtd.Memory.Write(new(RawScalable.FrameB), [0xBB]);
    }

    public RawScalable Vtd { get; }

    public VtdIommu<Ram, Hook> Iommu => Vtd.Iommu;

    public AtsDevice<Ram, Hook> Device { get; }

    public ulong Head => Iommu.Read64(Pqh);

    public ulong Tail => Iommu.Read64(Pqt);

    public uint Status => Iommu.Read32(Prs);

    public void Dispose() => Vtd.Dispose();

    public void SetContext(ulong flags)
    {
        Vtd.SetContext(RawScalable.PasidDirectory | Present | PasidEnable | flags, 1);
        Vtd.InvalidateContexts();
    }

    /// <summary>Reads one byte, which tells the frames apart.</summary>
    public DmaTransfer Read(ulong iova, uint? pasid = null, bool privileged = false, bool execute = false) =>
        Device.Read(new(iova), 1, Prefix(pasid, privileged, execute));

    public DmaTransfer Write(ulong iova, byte value = 0x55, uint? pasid = null) => Device.Write(new(iova), [value], Prefix(pasid));

    /// <summary>The access is over, and read <paramref name="expected"/>.</summary>
    public void Reads(ulong iova, byte expected, uint? pasid = null)
    {
        DmaTransfer transfer = Read(iova, pasid);
        Assert.True(transfer.Outcome == AccessOutcome.Completed, $"{transfer.Outcome} {transfer.Reason} at 0x{iova:x}");
        Assert.Equal(expected, transfer.Data[0]);
    }

    /// <summary>The access waits.</summary>
    public DmaTransfer Stalls(ulong iova, uint? pasid = null)
    {
        DmaTransfer transfer = Read(iova, pasid);
        Assert.Equal(AccessOutcome.Stalled, transfer.Outcome);
        return transfer;
    }

    // Device-TLB invalidate, type 3: SID in 47:32; S in bit 0, ADDR.
    public void InvalidateDevice(ulong address, bool size = false, ulong? source = null) =>
        Vtd.Submit(0x3 | (source ?? RawScalable.Device.Value) << 32, address | (size ? 1UL : 0));

    // PASID-based device-TLB invalidate, type 8: SID in 31:16, PASID in 51:32; G in bit 0, S in bit 11, ADDR.
    public void InvalidateDevice(uint pasid, ulong address, bool size = false, bool global = false) =>
        Vtd.Submit(0x8 | (ulong)RawScalable.Device.Value << 16 | (ulong)pasid << 32, address | (size ? 1UL << 11 : 0) | (global ? 1UL : 0));

    // Page group response, type 9: PP bit 4, RC in 15:12, RID in 31:16, PASID in 51:32; LPIG bit 2, PRGI in 11:3.
    public void Respond(ulong code, ulong group = 0, uint? pasid = null, ulong? source = null) => Vtd.Submit(
        0x9 | (pasid is { } value ? 1UL << 4 | (ulong)value << 32 : 0) | code << 12 | (source ?? RawScalable.Device.Value) << 16, 1 << 2 | group << 3);

    /// <summary>The low two words of a page request descriptor; the other two are 0.</summary>
    public (ulong Low, ulong High) Request(ulong index = 0)
    {
        ulong at = PageRequests + index * 32;
        Assert.Equal((0UL, 0UL), (Vtd.Read(at + 16), Vtd.Read(at + 24)));
        return (Vtd.Read(at), Vtd.Read(at + 8));
    }

    private static PasidPrefix? Prefix(uint? pasid, bool privileged = false, bool execute = false) =>
        pasid is { } value ? new PasidPrefix(new(value), privileged, execute) : null;
}
