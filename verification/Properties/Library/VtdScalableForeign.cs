using Conformance;
using Harness.Foreign;
using Platform;
using Vcmm;
using Vcmm.Allocation;
using Vcmm.Tables;
using Vcmm.Vtd;
using Xunit.Abstractions;

namespace Properties.Library;

/// <summary>Scalable mode on QEMU's VT-d: a reading of the specification that nobody here made. It knows second-stage tables.</summary>
public sealed class VtdScalableForeign(ITestOutputHelper output)
{
    private const ulong Page = 4096;

    [QemuFact]
    public void A_device_of_QEMU_reaches_through_the_drivers_entries_what_is_mapped_and_nothing_after()
    {
        using QemuVtd qemu = QemuVtd.Start(2, "payload!"u8, isScalable: true);
        output.WriteLine($"{qemu.Name}: CAP 0x{qemu.Registers.Read64(0x08):X} ECAP 0x{qemu.Registers.Read64(0x10):X}");
        IFrameSource frames = new FrameAllocator(PhysRange.FromLength(qemu.Window.First, 8UL << 20));
        VtdDriver<QtestMemory> driver = VtdDriver<QtestMemory>.Start(qemu.Port, qemu.Registers, frames, new() { Scalable = true });
        IDmaDevice device = qemu.Devices[0], stranger = qemu.Devices[1];
        Assert.All(driver.Formats, format => Assert.Equal(VtdSecondStage.Encoding, format.Encoding));
        for (int format = 0; format < driver.Formats.Count; format++)
        {
            ulong free = frames.FreeBytes;
            output.WriteLine($"{driver.Formats[format]}");
            Assert.Equal(VcmmError.None, driver.TryCreateTable(driver.Formats[format], frames, out IPageTable? table));
            Assert.Equal(VcmmError.None, driver.TryCreateDomain(out DomainId domain));
            Assert.Equal(VcmmError.None, frames.TryAllocate(4 * Page, out PhysAddr memory));
            qemu.Port.Write(memory + 2 * Page, "contents"u8);
            Assert.Null(Read(device, 0x5000));
            Assert.Equal(VcmmError.None, driver.Attach(device.Id, null, domain, table!));
            Assert.Null(Read(device, 0x5000));

            var pool = new TablePagePool();
            Assert.Equal(VcmmError.None, pool.TryFill(frames, Page, table!.CountMissingTables(new(0x3000), [PhysRange.FromLength(memory, 4 * Page)])));
            table.Map(new(0x3000), [PhysRange.FromLength(memory, 4 * Page)], Access.ReadWrite, pool);
            pool.ReturnAll(frames);
            Assert.Equal("contents"u8.ToArray(), Read(device, 0x5000));
            Assert.True(device.Write(new(0x4010), "payload!"u8));
            var written = new byte[8];
            qemu.Port.Read(memory + Page + 0x10, written);
            Assert.Equal("payload!"u8, written);
            Assert.Null(Read(stranger, 0x5000));
            // One record: the faults after the first were lost, and none is recorded while that has not been taken note of.
            Assert.True(driver.TryTakeFault(out _));
            Assert.True(driver.TakeFaultOverflow());

            // Three pages that are no power of two: two commands and one wait.
            var gather = new InvalidationGather();
            IovaRange gone = IovaRange.FromLength(new(0x4000), 3 * Page);
            table.Unmap(gone, gather);
            Assert.Equal("contents"u8.ToArray(), Read(device, 0x5000));
            Assert.Equal(VcmmError.None, driver.Invalidate([new(domain, gone, gather.LeavesOnly)]));
            table.Release(gather);
            Assert.Null(Read(device, 0x5000));
            Assert.NotNull(Read(device, 0x3000));
            Assert.True(driver.TryTakeFault(out DeviceFault fault));
            output.WriteLine($"{fault}");
            // QEMU deviates from "Fault Recording Registers": PP says that the request had a PASID, and QEMU sets it for the
            // RID_PASID that it gave to a request without one. The driver tells what the hardware does.
            Assert.Equal((device.Id, (Pasid?)new Pasid(0), new Iova(0x5000), Access.Read), (fault.Device, fault.Pasid, fault.Address, fault.Access));

            Assert.Equal(VcmmError.None, driver.Detach(device.Id, null, domain));
            Assert.Null(Read(device, 0x3000));
            Assert.Equal(VcmmError.None, driver.Attach(device.Id, null, domain, table));
            Assert.NotNull(Read(device, 0x3000));
            Assert.Equal(VcmmError.None, driver.Detach(device.Id, null, domain));
            driver.ReleaseDomain(domain);
            table.Free();
            frames.Free(memory);
            // The context table stays.
            Assert.Equal(free - (format == 0 ? Page : 0), frames.FreeBytes);
        }

        // A queue that QEMU has stopped because of an error starts anew.
        Assert.Equal(0u, qemu.Registers.Read32(0x34) & 0x70);
        driver.Stop();
        Assert.Equal(frames.TotalBytes, frames.FreeBytes);
    }

    /// <summary>More than its queue holds, several times around.</summary>
    [QemuFact]
    public void QEMU_takes_every_wide_descriptor_that_the_driver_writes()
    {
        using QemuVtd qemu = QemuVtd.Start(1, isScalable: true);
        IFrameSource frames = new FrameAllocator(PhysRange.FromLength(qemu.Window.First, 8UL << 20));
        VtdDriver<QtestMemory> driver = VtdDriver<QtestMemory>.Start(qemu.Port, qemu.Registers, frames, new() { Scalable = true });
        for (uint i = 1; i <= 300; i++)
        {
            Invalidation[] batch = [new(new(i), IovaRange.FromLength(new(i * Page), i * Page), i % 2 == 0), new(new(i), new(new(0), new(~0UL >> 16)), false)];
            Assert.Equal(VcmmError.None, driver.Invalidate(batch));
        }

        Assert.Equal(VcmmError.None, driver.Invalidate([.. Enumerable.Range(1, 500).Select(i => new Invalidation(new((uint)i), IovaRange.FromLength(new(0), Page), false))]));
        Assert.Equal(0u, qemu.Registers.Read32(0x34) & 0x70);
        driver.Stop();
    }

    private static byte[]? Read(IDmaDevice device, ulong address)
    {
        var bytes = new byte[8];
        return device.Read(new(address), bytes) ? bytes : null;
    }
}
