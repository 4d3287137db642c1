using System.Text;
using IommuSim;
using Platform;
using Scalable = BareIommu.ScalableUnit<IommuSim.NoSteps>;

namespace BareIommu;

/// <summary>Devices with queues and lists, one that misbehaves, one without an IOMMU.</summary>
internal static class DeviceKinds
{
    public static void Run(TextWriter output)
    {
        using var machine = new Scalable(VtdOptions.Scalable);
        var master = new BusMaster<Ram, NoSteps>(machine.Unit, machine.Memory, Scalable.Device);
        for (int page = 1; page <= 3; page++) machine.SetSecond(page, Scalable.FrameAt(page) | Scalable.ReadWrite);

        // A queue: nothing runs until whoever plays the device says so. A transfer that is blocked does not stop it.
        var queue = new DmaQueue<Ram, NoSteps>(master, capacity: 8);
        var packet = new DmaRequest(new Iova(0x1000), DeviceAccess.Write, "packet"u8.ToArray());
        var lost = new DmaRequest(new Iova(0x9000), DeviceAccess.Write, "lost"u8.ToArray());
        queue.TryPost(packet);
        queue.TryPost(lost);
        output.WriteLine($"{queue.Count} transfers wait; {queue.RunAll()} are run: {packet.Result!.Value.BytesDone} bytes, {lost.Result!.Value.Reason}");

        // A list: two parts of memory are one packet for the device.
        var engine = new ScatterGatherEngine<Ram, NoSteps>(master);
        DmaElement[] list = [new(new Iova(0x1FFE), 4), new(new Iova(0x3000), 3)];
        ScatterGatherResult scattered = engine.Scatter(list, "abcdefg"u8);
        var back = new byte[7];
        engine.Gather(list, back);
        output.WriteLine($"{scattered.ElementsDone} elements, {scattered.Transfer.BytesDone} bytes: \"{Encoding.ASCII.GetString(back)}\"");

        // One that goes anywhere. It is no worse than hardware can be: what the tables do not give it, it does not reach.
        var stranger = new MisbehavingDevice<Ram, NoSteps>(machine.Unit, machine.Memory, StreamId.Pci(bus: 0, device: 9, function: 0));
        WildAccesses wild = stranger.RunWild(seed: 1, count: 1000);
        output.WriteLine($"a device with no context entry: {wild.LetThrough} of {wild.LetThrough + wild.Blocked} accesses let through");
        output.WriteLine($"and under the requester id of another: {(stranger.As(Scalable.Device).Write(new Iova(0x1000), "forged"u8).Ok ? "let through" : "blocked")}, as on a bus without ACS");

        // One with no IOMMU before it: what it names is the physical address.
        var direct = new DirectDevice<Ram, NoSteps>(machine.Memory);
        var seen = new byte[6];
        direct.Read(new PhysAddr(Scalable.FrameAt(1)), seen);
        output.WriteLine($"a device without an IOMMU reads pa:0x{Scalable.FrameAt(1):x}: \"{Encoding.ASCII.GetString(seen)}\"");
    }
}
