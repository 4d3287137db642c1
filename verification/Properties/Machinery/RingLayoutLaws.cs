using CsCheck;
using Harness.Generating;
using IommuSim.Machinery;

namespace Properties.Machinery;

/// <summary>Where entries are, and what full and empty look like, in the rings of each interface.</summary>
public sealed class RingLayoutLaws
{
    // No multiple of most rings' sizes: VT-d's and RISC-V's begin at any multiple of 4 KiB.
    private const ulong First = 0x7000;

    private static readonly InterfaceRing[] All = [.. InterfaceRing.Commands, .. InterfaceRing.Records];
    private static readonly Gen<InterfaceRing> Rings = Gen.Int[0, All.Length - 1].Select(i => All[i]);

    [Fact]
    public void Positions_go_round_as_the_interface_counts_and_each_finds_its_entry() =>
        Gen.Select(Rings, Gen.Int[1, 10]).ForAll(300, (ring, log2) =>
        {
            int entryCount = 1 << log2;
            RingLayout layout = ring.Layout(First, log2);
            ulong position = 0;
            for (int count = 0; count < 4 * entryCount + 1; count++)
            {
                Assert.Equal(ring.PositionOf(count, entryCount), position);
                Assert.Equal(ring.AddressOf(First, count, entryCount), layout.AddressOf(position));
                Assert.True(layout.IsEntry(position));
                position = layout.Next(position);
            }
        });

    [Fact]
    public void A_ring_is_full_when_it_has_as_many_entries_as_the_interface_can_use() =>
        Gen.Select(Rings, Gen.Int[1, 6], Gen.Int[0, 300]).ForAll(2000, (ring, log2, consumed) =>
        {
            int entryCount = 1 << log2;
            RingLayout layout = ring.Layout(First, log2);
            ulong consumer = ring.PositionOf(consumed, entryCount);
            for (int count = 0; count <= ring.Room(entryCount); count++)
                Assert.Equal(count == ring.Room(entryCount), layout.IsFull(ring.PositionOf(consumed + count, entryCount), consumer));
        });

    /// <summary>SMMU_EVENTQ_CONS: with LOG2SIZE 0 the queue has one entry, and the wrap bit is bit 0.</summary>
    [Fact]
    public void A_ring_with_a_wrap_bit_may_have_one_entry()
    {
        var layout = new RingLayout(new(First), entryCountLog2: 0, entryBytesLog2: 5, RingPositions.IndexAndWrap);
        Assert.Equal(1UL, layout.Next(0));
        Assert.Equal(0UL, layout.Next(1));
        Assert.Equal(First, layout.AddressOf(0).Value);
        Assert.Equal(First, layout.AddressOf(1).Value);
        Assert.False(layout.IsFull(1, 1));
        Assert.True(layout.IsFull(1, 0));
        Assert.True(layout.IsFull(0, 1));
    }

    [Theory]
    [InlineData("VT-d invalidation queue, 128 bits", 8, 0xFF0, true, true)]
    [InlineData("VT-d invalidation queue, 128 bits", 8, 0x8, true, false)]
    [InlineData("VT-d invalidation queue, 128 bits", 8, 0x1000, false, false)]
    [InlineData("VT-d invalidation queue, 256 bits", 7, 0x10, true, false)]
    [InlineData("SMMUv3 command queue", 8, 0x1FF, true, true)]
    [InlineData("SMMUv3 command queue", 8, 0x200, false, false)]
    [InlineData("RISC-V command queue", 8, 0xFF, true, true)]
    [InlineData("RISC-V command queue", 8, 0x100, false, false)]
    public void A_position_outside_the_ring_or_between_entries_is_none(string name, int log2, ulong position, bool isWithin, bool isEntry)
    {
        RingLayout layout = All.Single(ring => ring.Name == name).Layout(First, log2);
        Assert.Equal(isWithin, layout.IsWithin(position));
        Assert.Equal(isEntry, layout.IsEntry(position));
    }
}
