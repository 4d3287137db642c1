using Harness.Running;
using IommuSim;
using IommuSim.Cpu;
using Platform;
using Vcmm;
using Vcmm.Allocation;
using Vcmm.Cpu;
using Vcmm.Tables;

namespace Properties.Library.Regions;

/// <summary>The CPU as one more association, on simulated cores: what they walk, cache and are interrupted for is the hardware's, not a stand-in's.</summary>
[Collection(QuickFirst.Last + nameof(SimulatedCpuLaws))]
public sealed class SimulatedCpuLaws : IDisposable
{
    private const ulong Page = VcmManager.PageBytes;
    private const uint Process = 1;

    private readonly RamBlock _ram = new(PhysRange.FromLength(new(2UL << 20), 16UL << 20));
    private readonly VcmManager _manager;

    public SimulatedCpuLaws() => _manager = new(new FrameAllocator(_ram.Range));

    public void Dispose() => _ram.Dispose();

    /// <summary>Each way to make cores forget, with tags and without, and with caches down to none.</summary>
    public static TheoryData<int, ShootdownMethod, bool, int> Machines => new()
    {
        { 1, ShootdownMethod.Interrupt, true, 4 },
        { 4, ShootdownMethod.Interrupt, true, 4 },
        { 4, ShootdownMethod.Interrupt, false, 4 },
        { 4, ShootdownMethod.Broadcast, true, 4 },
        { 4, ShootdownMethod.Interrupt, true, 1 },
        { 4, ShootdownMethod.Interrupt, true, 0 },
    };

    [Theory]
    [MemberData(nameof(Machines))]
    public void Each_core_reaches_what_is_mapped_for_the_process_and_nothing_once_that_has_ended(int cores, ShootdownMethod method, bool hasTags, int ways)
    {
        (SimulatedCpus cpus, CpuMmu<X86FirstStage, Ram> mmu) = Start(new() { CoreCount = cores, Shootdown = method, ProcessContextIds = hasTags, TlbWays = ways, PagingStructureEntriesPerLevel = ways });
        (Vcm process, Association association) = CreateProcess(mmu);
        PhysicalAllocation memory = _manager.Allocate(8 * Page, ChunkSizes.Size4K, scattered: true);
        Reservation view = process.Map(memory);
        Assert.Equal(0, cpus.Cluster.Statistics.Shootdowns);
        for (int core = 0; core < cores; core++)
        {
            Assert.True(cpus.Enter(core, Process));
            for (ulong page = 0; page < 8; page++) Assert.Equal(memory.AddressAt(page * Page), Reaches(cpus, core, view.Range.First + page * Page));
        }

        view.SetAttributes(Access.Read);
        for (int core = 0; core < cores; core++) Assert.Null(Reaches(cpus, core, view.Range.First, CpuAccess.Write));
        view.Unback(Page, 2 * Page);
        CpuStatistics counts = cpus.Cluster.Statistics;
        Assert.Equal((2, method == ShootdownMethod.Interrupt ? 2 * cores : 0, method == ShootdownMethod.Broadcast ? 2 * cores : 0), (counts.Shootdowns, counts.Interrupts, counts.Broadcasts));
        Assert.Equal(2, mmu.Counters.Shootdowns);
        for (int core = 0; core < cores; core++)
        {
            for (ulong page = 0; page < 8; page++)
                Assert.Equal(page is 1 or 2 ? null : memory.AddressAt(page * Page), Reaches(cpus, core, view.Range.First + page * Page));
        }

        association.Deactivate();
        for (int core = 0; core < cores; core++)
        {
            Assert.Null(Reaches(cpus, core, view.Range.First));
            Assert.Empty(cpus.Cluster.Cores[core].Tlb);
            Assert.Empty(cpus.Cluster.Cores[core].PagingStructures);
        }
    }

    [Fact]
    public void What_devices_have_costs_no_core_anything()
    {
        (SimulatedCpus cpus, CpuMmu<X86FirstStage, Ram> mmu) = Start(new() { CoreCount = 2 });
        (Vcm process, _) = CreateProcess(mmu);
        process.Bind(3 * Page);
        cpus.Enter(0, Process);
        var iommu = new RecordingIommu(_ram.Port);
        Vcm devices = _manager.CreateVcm(IovaRange.FromLength(new(0), 1UL << 30));
        devices.Associate(_manager.AddDevice(iommu, new(9))).Activate();
        (CpuStatistics Cores, CpuMmuCounters Library) before = (cpus.Cluster.Statistics, mmu.Counters);
        Churn(devices);
        Assert.Equal(before, (cpus.Cluster.Statistics, mmu.Counters));

        // The same with a process costs something, or the counters count nothing.
        Churn(process);
        Assert.Equal((before.Cores.Shootdowns + 4, before.Cores.Interrupts + 4), (cpus.Cluster.Statistics.Shootdowns, cpus.Cluster.Statistics.Interrupts));
        Assert.True(mmu.Counters.EntryWrites >= before.Library.EntryWrites + 4 * 2 * 8);
    }

    [Fact]
    public void Several_ranges_are_one_interrupt_for_each_core_that_is_in_the_process()
    {
        (SimulatedCpus cpus, CpuMmu<X86FirstStage, Ram> mmu) = Start(new() { CoreCount = 4 });
        (Vcm process, _) = CreateProcess(mmu);
        (Vcm other, _) = CreateProcess(mmu, 2);
        other.Bind(Page);
        // As long as what one table maps, so that the table ends with the last of it.
        Reservation view = process.Reserve(2UL << 20, alignment: 2UL << 20);
        view.Back(_manager.Allocate(2UL << 20, ChunkSizes.Size4K, scattered: true));
        for (int core = 0; core < 4; core++) cpus.Enter(core, core == 3 ? 2 : Process);
        cpus.GoIdle(2);
        Reaches(cpus, 0, view.Range.First);
        view.Unback(2 * Page, Page);
        Assert.Equal((2, 2), (cpus.Cluster.Statistics.Interrupts, cpus.Cluster.Statistics.Deferrals));

        // One that holds more goes to the idle core, too: its table ends.
        view.Unback();
        view.Unreserve();
        Assert.Equal((5, 3), (cpus.Cluster.Statistics.Interrupts, cpus.Cluster.Statistics.Deferrals));
    }

    /// <summary>What is not known to be forgotten stays in use (I5), and the CPU can be used again.</summary>
    [Fact]
    public void A_core_that_does_not_answer_keeps_the_memory_in_use()
    {
        (SimulatedCpus cpus, CpuMmu<X86FirstStage, Ram> mmu) = Start(new() { CoreCount = 2 });
        (Vcm process, Association association) = CreateProcess(mmu);
        PhysicalAllocation memory = _manager.Allocate(Page);
        Reservation view = process.Map(memory);
        for (int core = 0; core < 2; core++) Reaches(cpus, core, view.Range.First);
        cpus.Cluster.Cores[1].InterruptsEnabled = false;
        Assert.Equal(VcmmError.HardwareFailure, view.TryUnback());
        Assert.Equal(VcmmError.Busy, memory.TryFree());
        Assert.Equal(memory.AddressAt(0), Reaches(cpus, 0, view.Range.First));
        cpus.Cluster.Cores[1].InterruptsEnabled = true;
        view.Unback();
        for (int core = 0; core < 2; core++) Assert.Null(Reaches(cpus, core, view.Range.First));

        // Likewise of a process that ends: it goes on until all have left it.
        view.Back(memory);
        Reaches(cpus, 1, view.Range.First);
        cpus.Cluster.Cores[1].InterruptsEnabled = false;
        Assert.Equal(VcmmError.HardwareFailure, association.TryDeactivate());
        Assert.Equal(memory.AddressAt(0), Reaches(cpus, 0, view.Range.First));
        Assert.Equal(VcmmError.HardwareFailure, view.TryUnback());
        cpus.Cluster.Cores[1].InterruptsEnabled = true;
        association.Deactivate();
        for (int core = 0; core < 2; core++) Assert.Null(Reaches(cpus, core, view.Range.First));
        view.Unmap();
        memory.Free();
    }

    /// <summary>Cores on threads of their own read while the main thread maps and unmaps: none reads what was taken away before the unback returned.</summary>
    [Theory]
    [InlineData(ShootdownMethod.Interrupt)]
    [InlineData(ShootdownMethod.Broadcast)]
    [Trait("Category", "Threads")]
    public void A_core_that_runs_meanwhile_never_reads_what_others_have(ShootdownMethod method)
    {
        const int rounds = 300;
        const ulong mine = 0x1111_1111_1111_1111, others = 0x2222_2222_2222_2222;
        (SimulatedCpus cpus, CpuMmu<X86FirstStage, Ram> mmu) = Start(new() { CoreCount = 2, Shootdown = method, TlbSets = 1, TlbWays = 2 });
        // Each core answers, however long a busy machine lets it wait for a processor.
        cpus.MostSpins = int.MaxValue;
        (Vcm process, _) = CreateProcess(mmu);
        Reservation view = process.Reserve(Page);
        PhysicalAllocation memory = _manager.Allocate(Page);
        long done = 0, wrong = 0;
        int isOver = 0;
        Thread[] threads = [.. Enumerable.Range(0, 2).Select(core => new Thread(() => Run(core)))];
        foreach (Thread thread in threads) thread.Start();
        try
        {
            for (int round = 0; round < rounds; round++)
            {
                _ram.Port.Write64(memory.AddressAt(0), mine);
                view.Back(memory);
                // Until somebody has read it, so that there is something to forget.
                long before = Volatile.Read(ref done);
                SpinWait.SpinUntil(() => Volatile.Read(ref done) != before);
                view.Unback();
                _ram.Port.Write64(memory.AddressAt(0), others);
            }
        }
        finally
        {
            // Whatever happened: the memory goes when the test is over.
            Volatile.Write(ref isOver, 1);
            foreach (Thread thread in threads) thread.Join();
        }

        Assert.Equal(0, wrong);
        Assert.True(done >= rounds);

        void Run(int core)
        {
            byte[] word = new byte[sizeof(ulong)];
            cpus.Enter(core, Process);
            while (Volatile.Read(ref isOver) == 0)
            {
                if (!cpus.Cluster.Cores[core].Read(view.Range.First, word).Ok) continue;
                Interlocked.Increment(ref done);
                if (BitConverter.ToUInt64(word) != mine) Interlocked.Increment(ref wrong);
            }
        }
    }

    private (SimulatedCpus Cpus, CpuMmu<X86FirstStage, Ram> Mmu) Start(CpuOptions options)
    {
        var cpus = new SimulatedCpus(_ram.Port, options);
        return (cpus, new(cpus, _ram.Port));
    }

    private (Vcm Process, Association Association) CreateProcess(CpuMmu<X86FirstStage, Ram> mmu, uint number = Process)
    {
        Vcm process = _manager.CreateVcm(IovaRange.FromLength(new(0x4000_0000), 1UL << 30));
        Association association = process.Associate(_manager.AddDevice(mmu, new(number)));
        association.Activate();
        return (process, association);
    }

    private void Churn(Vcm vcm)
    {
        for (int i = 0; i < 4; i++)
        {
            Reservation reservation = vcm.Map(_manager.Allocate(8 * Page, ChunkSizes.Size4K, scattered: true));
            reservation.Unmap();
        }
    }

    /// <summary>Where an access of a core goes; null: a page fault.</summary>
    private static PhysAddr? Reaches(SimulatedCpus cpus, int core, Iova address, CpuAccess access = CpuAccess.Read)
    {
        cpus.Enter(core, Process);
        CpuTranslation seen = cpus.Cluster.Cores[core].Translate(address, access);
        Assert.True(seen.Outcome is CpuOutcome.Done or CpuOutcome.PageFault, $"{seen}");
        return seen.Ok ? seen.Address : null;
    }
}
