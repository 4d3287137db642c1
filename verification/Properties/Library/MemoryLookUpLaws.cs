using System.Runtime.CompilerServices;
using Platform;
using Vcmm;
using Vcmm.Allocation;

namespace Properties.Library;

/// <summary>The manager finds what maps a physical address by the 16 MiB in which the address lies, and forgets memory that has gone back.</summary>
public sealed class MemoryLookUpLaws : IDisposable
{
    private const ulong Page = SmallSystem.Page;

    // More than 16 MiB: wherever it lies it is of several such blocks.
    private const ulong ByteCount = (17UL << 20) + 3 * Page;

    private readonly RamBlock _ram = new(PhysRange.FromLength(new(2UL << 20), 32UL << 20));
    private readonly VcmManager _manager;

    public MemoryLookUpLaws() => _manager = new(new FrameAllocator(_ram.Range));

    public void Dispose() => _ram.Dispose();

    [Fact]
    public void Each_page_of_memory_that_lies_in_several_blocks_is_found()
    {
        Vcm vcm = _manager.CreateVcm(IovaRange.FromLength(new(0), 1UL << 30));
        vcm.Associate(_manager.AddDevice(new RecordingIommu(_ram.Port), new StreamId(1))).Activate();
        PhysicalAllocation memory = _manager.AllocateContiguous(ByteCount);
        Reservation reservation = vcm.Reserve(ByteCount);
        reservation.Back(memory);
        for (ulong offset = 0; offset < ByteCount; offset += Page)
        {
            var mappings = new List<Mapping>();
            VcmmError error = _manager.TryFindMappings(memory.AddressAt(offset) + 5, mappings);
            if (error != VcmmError.None) Assert.Fail($"{error} at 0x{offset:x}");
            Mapping mapping = Assert.Single(mappings);
            Assert.Equal((reservation, reservation.Range.First + (offset + 5)), (mapping.Reservation, mapping.Address));
        }

        reservation.Unback();
        Assert.Equal(VcmmError.NotFound, _manager.TryFindMappings(memory.AddressAt(ByteCount - Page), []));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Memory_that_has_gone_back_is_kept_by_nobody(bool isWrapped)
    {
        WeakReference memory = Free(isWrapped);
        GC.Collect();
        Assert.False(memory.IsAlive);
    }

    // In a frame of its own, which is gone when the memory is looked for.
    [MethodImpl(MethodImplOptions.NoInlining)]
    private WeakReference Free(bool isWrapped)
    {
        PhysicalAllocation memory = isWrapped ? _manager.Wrap(PhysRange.FromLength(new(1UL << 32), ByteCount)) : _manager.AllocateContiguous(ByteCount);
        memory.Free();
        return new(memory);
    }
}
