using IommuSim;
using Platform;
using static Conformance.Simulator.RawVtd;

namespace Conformance.Simulator;

/// <summary>A unit that announces no steps takes invalidations in one go. Software cannot tell.</summary>
public sealed class VtdSilentQueueTests
{
    private const int Pages = 16, Descriptors = 120;
    private const ulong OtherDomain = DomainId + 1;

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(4)]
    public void The_queue_is_the_same_to_software_whether_or_not_steps_are_announced(int seed)
    {
        var random = new Random(seed);
        using var told = new Machine<Hook>(default);
        using var silent = new Machine<NoSteps>(default);
        int consumed = 0, errors = 0;
        for (int round = 0; round < 20; round++)
        {
            int position = random.Next(Descriptors);
            ulong[] low = [.. Enumerable.Range(0, Descriptors).Select(i => i == position ? Odd(random) : Invalidation(random))];
            ulong[] high = [.. low.Select(descriptor => HighOf(descriptor, random))];
            told.Start(low, high);
            silent.Start(low, high);
            Assert.Equal(told.See(), silent.See());
            foreach (int singles in new[] { random.Next(3), random.Next(3) })
            {
                for (int i = 0; i < singles; i++)
                {
                    Assert.Equal(told.Iommu.ProcessNextCommand(), silent.Iommu.ProcessNextCommand());
                    Assert.Equal(told.See(), silent.See());
                }
            }

            int count = told.Iommu.ProcessCommands();
            Assert.Equal(count, silent.Iommu.ProcessCommands());
            Assert.Equal(told.See(), silent.See());
            Assert.Equal(told.Iommu.Iotlb, silent.Iommu.Iotlb);
            consumed += count;
            if (told.HasQueueError) errors++;
        }

        Assert.InRange(consumed, 200, int.MaxValue);
        Assert.InRange(errors, 1, 19);
    }

    private static ulong Invalidation(Random random) => random.Next(20) switch
    {
        0 => 0x1 | 3 << 4 | DomainId << 16 | (ulong)Device.Value << 32,
        < 5 => 0x2 | 3 << 4 | 0xC0 | OtherDomain << 16,
        _ => 0x2 | 3 << 4 | 0xC0 | DomainId << 16,
    };

    /// <summary>A wait, or what is no descriptor.</summary>
    private static ulong Odd(Random random) => random.Next(2) == 0 ? 0x5 | 1 << 5 | (ulong)random.Next() << 32 : 0xF;

    private static ulong HighOf(ulong low, Random random) => (low & 0xF) switch
    {
        2 => (ulong)random.Next(Pages) << 12,
        5 => Status,
        _ => 0,
    };

    private sealed class Machine<TSteps> : IDisposable
        where TSteps : struct, ISteps
    {
        private readonly RamBlock _ram = new(PhysRange.FromLength(new(0), MemoryBytes));

        public Machine(TSteps steps)
        {
            Iommu = new(_ram.Port, VtdOptions.Default with { Commands = CommandMode.Manual }, steps);
            Write(Root, ContextTable | 1);
            Write(ContextTable + Device.Value * 16, Table4 | 1);
            Write(ContextTable + Device.Value * 16 + 8, 2 | DomainId << 8);
            Write(Table4, Table3 | ReadWrite);
            Write(Table3, Table2 | ReadWrite);
            Write(Table2, Table1 | ReadWrite);
            for (ulong page = 0; page < Pages; page++) Write(Table1 + page * 8, (FrameA + (page << 12)) | ReadWrite);
            Iommu.Write64(Rtaddr, Root);
            Iommu.Write32(Gcmd, GcmdSrtp);
            Iommu.Write64(Iqa, Queue);
            Iommu.Write32(Gcmd, GcmdTe);
        }

        public VtdIommu<Ram, TSteps> Iommu { get; }

        public bool HasQueueError => (Iommu.Read32(Fsts) & 1 << 4) != 0;

        /// <summary>Fills the IOTLB, and begins with the queue anew.</summary>
        public void Start(ulong[] low, ulong[] high)
        {
            for (ulong page = 0; page < Pages; page++) Assert.True(Iommu.Translate(Device, new(page << 12), DeviceAccess.Read).Ok);
            Iommu.Write32(Gcmd, GcmdTe);
            Iommu.Write32(Fsts, 1 << 4);
            for (int i = 0; i < low.Length; i++)
            {
                Write(Queue + (ulong)i * 16, low[i]);
                Write(Queue + (ulong)i * 16 + 8, high[i]);
            }

            Iommu.Write64(Iqt, (ulong)low.Length * 16);
            Iommu.Write32(Gcmd, GcmdTe | GcmdQie);
        }

        public (ulong Head, uint FaultStatus, uint Written, VtdStatistics Counts) See() =>
            (Iommu.Read64(Iqh), Iommu.Read32(Fsts), _ram.Port.Read32(new(Status)), Iommu.Statistics);

        public void Dispose() => _ram.Dispose();

        private void Write(ulong address, ulong value) => _ram.Port.Write64(new(address), value);
    }
}
