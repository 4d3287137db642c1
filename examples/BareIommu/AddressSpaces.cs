using IommuSim;
using Platform;
using static BareIommu.Registers;
using Scalable = BareIommu.ScalableUnit<IommuSim.NoSteps>;

namespace BareIommu;

/// <summary>Scalable mode: the same device address in two address spaces of one device.</summary>
internal static class AddressSpaces
{
    public static void Run(TextWriter output)
    {
        using var machine = new Scalable(VtdOptions.Scalable);
        var device = new BusMaster<Ram, NoSteps>(machine.Unit, machine.Memory, Scalable.Device);

        machine.SetSecond(page: 1, Scalable.FrameAt(0) | Scalable.ReadWrite);
        machine.SetFirst(page: 1, Scalable.FrameAt(1) | Scalable.PresentWriteUser);
        device.Write(new Iova(0x1000), [0xAA]);
        device.Write(new Iova(0x1000), [0xBB], Scalable.Process);
        output.WriteLine($"iova:0x1000 without PASID is pa:0x{Scalable.FrameAt(0):x}: 0x{Byte(0):x}; with {Scalable.Process.Pasid} pa:0x{Scalable.FrameAt(1):x}: 0x{Byte(1):x}");

        // A PASID without an entry; PP is bit 31 of the record, the PASID bits 59:40.
        DmaResult blocked = device.Read(new Iova(0x1000), new byte[1], new PasidPrefix(new(6)));
        uint record = (uint)(machine.Unit.Read64(CAP) >> 24 & 0x3FF) * 16 + 8;
        ulong high = machine.Unit.Read64(record);
        output.WriteLine($"with pasid:0x6: {blocked.Reason}; the record says pasid:0x{high >> 40 & 0xF_FFFF:x}, reason 0x{high >> 32 & 0xFF:x}");
        machine.Unit.Write64(record, 1UL << 63);

        // Each address space is invalidated by commands of its own.
        machine.SetSecond(page: 1, 0);
        machine.SetFirst(page: 1, 0);
        machine.InvalidateFirst(page: 1);
        machine.Wait();
        output.WriteLine($"both entries are 0, the process's page is invalidated: with PASID {Outcome(device, Scalable.Process)}, without {Outcome(device, null)}");
        machine.InvalidateSecond(page: 1);
        machine.Wait();
        output.WriteLine($"now the other, too: without {Outcome(device, null)}");

        byte Byte(int frame) => (byte)(machine.Memory.Read64(new(Scalable.FrameAt(frame))) & 0xFF);
    }

    private static string Outcome(BusMaster<Ram, NoSteps> device, PasidPrefix? prefix) =>
        device.Read(new Iova(0x1000), new byte[1], prefix).Ok ? "it goes through" : "it is blocked";
}
