using IommuSim;
using Platform;

namespace Conformance.Simulator;

/// <summary>A device with no IOMMU before it.</summary>
public sealed class DirectDeviceTests
{
    [Fact]
    public void What_it_names_is_the_physical_address()
    {
        using var ram = new RamBlock(PhysRange.FromLength(new(0x10000), 4 * 4096));
        var device = new DirectDevice<Ram, NoSteps>(ram.Port);
        byte[] sent = [.. Enumerable.Range(0, 5000).Select(static i => unchecked((byte)(i * 7)))];
        DmaResult written = device.Write(new(0x10800), sent);
        Assert.Equal(new(true, 5000, default, default), written);
        byte[] there = new byte[5000];
        ram.Port.Read(new(0x10800), there);
        Assert.Equal(sent, there);
        byte[] back = new byte[5000];
        Assert.True(device.Read(new(0x10800), back).Ok);
        Assert.Equal(sent, back);
    }

    [Fact]
    public void It_stops_at_the_page_where_there_is_no_memory()
    {
        using var ram = new RamBlock(PhysRange.FromLength(new(0x10000), 2 * 4096));
        var device = new DirectDevice<Ram, NoSteps>(ram.Port);
        byte[] bytes = new byte[3 * 4096];
        bytes.AsSpan().Fill(0x5A);
        Assert.Equal(new(false, 4096, default, new(0x12000)), device.Write(new(0x11000), bytes));
        Assert.Equal(0x5A5A5A5Au, ram.Port.Read32(new(0x11ffc)));
        Assert.Equal(new(false, 0, default, new(0xfff8)), device.Read(new(0xfff8), bytes));
        Assert.Equal(new(false, 0, default, new(ulong.MaxValue)), device.Read(new(ulong.MaxValue), bytes));
        Assert.True(device.Read(new(0x9999_0000), []).Ok);
    }

    [Fact]
    public void Each_page_is_a_step()
    {
        using var ram = new RamBlock(PhysRange.FromLength(new(0x10000), 4 * 4096));
        var seen = new List<ulong>();
        var device = new DirectDevice<Ram, Noting>(ram.Port, new(seen));
        device.Write(new(0x10ff0), new byte[4096 + 32]);
        Assert.Equal([0x10ff0, 0x11000, 0x12000], seen);
    }

    private readonly struct Noting(List<ulong> seen) : ISteps
    {
        public void At(SimStep step, ulong detail)
        {
            Assert.Equal(SimStep.MemoryAccess, step);
            seen.Add(detail);
        }
    }
}
