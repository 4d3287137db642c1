using IommuSim;
using Platform;
using Vcmm;
using Vcmm.Allocation;
using Vcmm.Vtd;

namespace Properties.Library;

/// <summary>I13: what the driver says of the faults that the hardware recorded.</summary>
public sealed class VtdFaultLaws
{
    private const ulong Page = VtdSystem.Page;

    [Fact]
    public void Fault_records_come_in_order_around_the_ring_and_an_overflow_is_said_once()
    {
        using var system = new VtdSystem(VtdOptions.Default with { FaultRecordCount = 3 });
        (_, _, BusMaster<Ram, NoSteps> device) = system.CreateRegion();
        for (ulong i = 0; i < 10; i++)
        {
            device.Write(new(i * Page + 0x123), new byte[1]);
            Assert.True(system.Driver.TryTakeFault(out DeviceFault fault));
            Assert.Equal(new DeviceFault(new(0x20), null, new(i * Page), Access.Write, 0x05) { Cause = FaultCause.NotPermitted }, fault);
        }

        Assert.False(system.Driver.TakeFaultOverflow());
        for (ulong i = 0; i < 4; i++) device.Read(new(i * Page), new byte[1]);
        for (ulong i = 0; i < 3; i++)
        {
            Assert.True(system.Driver.TryTakeFault(out DeviceFault fault));
            Assert.Equal(new Iova(i * Page), fault.Address);
            Assert.Equal($"sid:0x20 Read iova:0x{i * Page:x} NotPermitted (reason 0x06)", fault.ToString());
        }

        // When all have been taken the hardware records again, whether or not anybody asks what was lost.
        Assert.False(system.Driver.TryTakeFault(out _));
        device.Read(new(9 * Page), new byte[1]);
        Assert.True(system.Driver.TryTakeFault(out DeviceFault next));
        Assert.Equal(new Iova(9 * Page), next.Address);
        Assert.True(system.Driver.TakeFaultOverflow());
        Assert.False(system.Driver.TakeFaultOverflow());
    }

    /// <summary>Without a fault FSTS.FRI says nothing: a look that finds none must not move to where it points.</summary>
    [Fact]
    public void The_oldest_fault_comes_first_also_after_a_look_that_found_none()
    {
        using var system = new VtdSystem(VtdOptions.Default with { FaultRecordCount = 3 });
        (_, _, BusMaster<Ram, NoSteps> device) = system.CreateRegion();
        for (ulong round = 0; round < 7; round++)
        {
            for (ulong i = 0; i < 2; i++) device.Read(new((2 * round + i) * Page), new byte[1]);
            for (ulong i = 0; i < 2; i++)
            {
                Assert.True(system.Driver.TryTakeFault(out DeviceFault fault));
                Assert.Equal(new Iova((2 * round + i) * Page), fault.Address);
            }

            Assert.False(system.Driver.TryTakeFault(out _));
        }
    }

    [Fact]
    public void Faults_are_found_where_the_hardware_begins_to_record_them()
    {
        using var ram = new RamBlock(PhysRange.FromLength(new(16 * Page), 64 * Page));
        var simulator = new VtdIommu<Ram, NoSteps>(ram.Port, VtdOptions.Default with { FaultRecordCount = 5 });
        var device = new BusMaster<Ram, NoSteps>(simulator, ram.Port, new(0x1234));
        const uint records = 0x220;
        // Firmware had the unit on, and emptied the two records that it used.
        simulator.Write32(0x18, 0x8000_0000);
        for (uint i = 0; i < 2; i++)
        {
            Assert.False(device.Read(new(0), new byte[1]).Ok);
            simulator.Write32(records + i * 16 + 12, 1u << 31);
        }

        VtdDriver<Ram> driver = VtdDriver<Ram>.Start(ram.Port, simulator, new FrameAllocator(ram.Range));
        Assert.False(driver.TryTakeFault(out _));
        for (ulong i = 1; i < 8; i++)
        {
            Assert.False(device.Write(new(i * Page), new byte[1]).Ok);
            Assert.True(driver.TryTakeFault(out DeviceFault fault));
            Assert.Equal(new DeviceFault(new(0x1234), null, new(i * Page), Access.Write, 0x01) { Cause = FaultCause.NotAttached }, fault);
            Assert.False(driver.TryTakeFault(out _));
        }
    }
}
