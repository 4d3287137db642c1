namespace Vcmm.Vtd;

/// <summary>How a <see cref="VtdDriver{TMemory}"/> works.</summary>
public sealed record VtdDriverOptions
{
    /// <summary>How it waits for the hardware; default: spin, and give up after a second.</summary>
    public IWaitPolicy WaitPolicy { get; init; } = new SpinUntilDeadline(TimeProvider.System, TimeSpan.FromSeconds(1));

    /// <summary>
    /// Scalable mode: address spaces told apart by PASID, first-stage tables where the hardware has them. Default: legacy
    /// mode, which all hardware has.
    /// </summary>
    public bool Scalable { get; init; }

    /// <summary>
    /// The most PASIDs that the driver is to tell apart, in scalable mode: 0 (requests with a PASID are blocked) … 2^20;
    /// default: as many as the hardware can. Each device that has an address space attached takes a directory of an eighth
    /// of a byte for each of them, in one piece, and 4 KiB at least.
    /// </summary>
    public uint MaximumPasidCount { get; init; } = 1u << 20;

    /// <summary>
    /// Whether hardware keeps Accessed and Dirty bits in second-stage tables, in scalable mode and where it can; it always
    /// does in first-stage ones. Default: no.
    /// </summary>
    public bool TracksUse { get; init; }

    /// <summary>
    /// The size of the page request queue, in scalable mode: 0 (no device may ask for pages; the default), or a power of two from
    /// 4 KiB to 512 KiB, in one piece. A request takes 32 bytes. Choose it for as many as all devices together have
    /// outstanding; with less they have to ask again.
    /// </summary>
    public uint PageRequestQueueBytes { get; init; }

    /// <summary>
    /// Whether the hardware is told to forget through a queue, where it has one; without, through registers, one command at a time, in legacy
    /// mode alone and without devices that have TLBs of their own. Default: yes.
    /// </summary>
    public bool QueuedInvalidation { get; init; } = true;

    internal bool IsValid => Scalable ? QueuedInvalidation && IsQueueValid : PageRequestQueueBytes == 0;

    private bool IsQueueValid =>
        PageRequestQueueBytes == 0 || (PageRequestQueueBytes is >= 1 << 12 and <= 1 << 19 && uint.IsPow2(PageRequestQueueBytes));
}
