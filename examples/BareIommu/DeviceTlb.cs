using IommuSim;
using Platform;
using static BareIommu.Registers;
using Scalable = BareIommu.ScalableUnit<IommuSim.NoSteps>;

namespace BareIommu;

/// <summary>A device with a TLB of its own, which asks for the pages that it lacks.</summary>
internal static class DeviceTlb
{
    public static void Run(TextWriter output)
    {
        using var machine = new Scalable(VtdOptions.Scalable with { DeviceTlbs = true, PageRequests = true });
        var device = new AtsDevice<Ram, NoSteps>(machine.Unit, machine.Memory, Scalable.Device);

        // Nothing is mapped: the access waits, and a request is in the queue.
        DmaTransfer transfer = device.Write(new Iova(0x3010), [0xCC], Scalable.Process);
        (ulong low, ulong high) = machine.TakeRequest();
        ulong group = high >> 3 & 0x1FF;
        output.WriteLine($"a write to iova:0x3010: {transfer.Outcome}; {new StreamId((uint)(low >> 16 & 0xFFFF))} asks for iova:0x{high & ~0xFFFUL:x} in pasid:0x{low >> 32 & 0xF_FFFF:x}{((high & 2) != 0 ? ", to write" : "")}");

        // Map it, and answer: page group response, type 9, with PASID (bit 4), code 0 (success).
        machine.SetFirst(page: 3, Scalable.FrameAt(2) | Scalable.PresentWriteUser);
        machine.Submit(0x9 | 1 << 4 | (ulong)Scalable.Device.Value << 16 | Scalable.Pasid << 32, 1 << 2 | group << 3);
        output.WriteLine($"mapped and answered: {transfer.Outcome}; the device's TLB has {device.Tlb.Count} page");

        // To take it away: the entry, the unit's IOTLB, then the device's TLB (type 8), then one wait for both.
        machine.SetFirst(page: 3, 0);
        machine.InvalidateFirst(page: 3);
        machine.Wait();
        output.WriteLine($"the unit has forgotten; a read: {device.Read(new Iova(0x3010), 1, Scalable.Process).Outcome}");
        machine.Submit(0x8 | (ulong)Scalable.Device.Value << 16 | Scalable.Pasid << 32, 0x3000);
        machine.Wait();
        DmaTransfer again = device.Read(new Iova(0x3010), 1, Scalable.Process);
        output.WriteLine($"the device has forgotten, too; a read: {again.Outcome}");

        // Code 1: the page is not to be had.
        (_, high) = machine.TakeRequest();
        machine.Submit(0x9 | 1 << 4 | 1 << 12 | (ulong)Scalable.Device.Value << 16 | Scalable.Pasid << 32, 1 << 2 | (high >> 3 & 0x1FF) << 3);
        output.WriteLine($"refused: {again.Outcome}, {again.Reason}");

        // One that hangs keeps what it has. The wait behind the invalidation is not done, FSTS.ITE is set, and IQERCD says whose answer is missing.
        machine.SetFirst(page: 4, Scalable.FrameAt(3) | Scalable.PresentWriteUser);
        device.Read(new Iova(0x4000), 1, Scalable.Process);
        device.IsResponding = false;
        machine.SetFirst(page: 4, 0);
        machine.InvalidateFirst(page: 4);
        machine.Submit(0x8 | (ulong)Scalable.Device.Value << 16 | Scalable.Pasid << 32, 0x4000);
        bool isDone = machine.Wait();
        var late = new StreamId((uint)(machine.Unit.Read64(IQERCD) >> 32 & 0xFFFF));
        output.WriteLine($"it hangs: the wait is {(isDone ? "done" : "not done")}, fault status 0x{machine.Unit.Read32(FSTS):x}, {late}; a read: {device.Read(new Iova(0x4000), 1, Scalable.Process).Outcome}");
    }
}
