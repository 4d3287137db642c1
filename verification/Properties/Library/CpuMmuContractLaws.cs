using Platform;
using Vcmm;
using Vcmm.Allocation;
using Vcmm.Cpu;
using Vcmm.Tables;

namespace Properties.Library;

/// <summary>What the CPUs refuse as a port, and what their counters count: what an operation costs is asserted with them elsewhere (I9).</summary>
public sealed class CpuMmuContractLaws : IDisposable
{
    private const ulong Page = SmallSystem.Page;

    private readonly SmallSystem _system = new();
    private readonly SimpleCpus _cpus;
    private readonly CpuMmu<X86FirstStage, Ram> _mmu;

    public CpuMmuContractLaws()
    {
        _cpus = new(_system.Memory);
        _mmu = new(_cpus, _system.Memory);
    }

    public void Dispose() => _system.Dispose();

    [Fact]
    public void A_root_that_is_loaded_and_one_that_is_taken_away_are_counted()
    {
        Vcm vcm = _system.CreateVcm();
        Association cpu = vcm.Associate(_system.Manager.AddDevice(_mmu, new(0)));
        _cpus.Outcome = static () => VcmmError.HardwareFailure;
        Assert.Equal(VcmmError.HardwareFailure, cpu.TryActivate());
        Assert.Equal(0, _mmu.Counters.RootLoads);
        _cpus.Outcome = static () => VcmmError.None;
        cpu.Activate();
        Assert.Equal((1, 0, 0), (_mmu.Counters.RootLoads, _mmu.Counters.Shootdowns, _mmu.Counters.FullFlushes));
        cpu.Deactivate();
        Assert.Equal((1, 1, 1), (_mmu.Counters.RootLoads, _mmu.Counters.Shootdowns, _mmu.Counters.FullFlushes));
    }

    [Fact]
    public void Each_entry_that_changes_is_counted_once()
    {
        Vcm vcm = _system.CreateVcm();
        vcm.Associate(_system.Manager.AddDevice(_mmu, new(0))).Activate();
        Reservation reservation = vcm.Reserve(8 * Page);
        reservation.Back(_system.Manager.Allocate(8 * Page, ChunkSizes.Size4K, scattered: true));
        AssertWrites(8, () => reservation.SetAttributes(Access.Read));
        AssertWrites(0, () => reservation.SetAttributes(Access.Read));
        AssertWrites(3, () => reservation.Unback(0, 3 * Page));

        void AssertWrites(long count, Action change)
        {
            long before = _mmu.Counters.EntryWrites;
            change();
            Assert.Equal(count, _mmu.Counters.EntryWrites - before);
        }
    }

    [Fact]
    public void What_is_not_taken_is_not_released()
    {
        Assert.Throws<ArgumentException>("domain", () => _mmu.ReleaseDomain(new(0)));
        Assert.Throws<ArgumentException>("domain", () => _mmu.ReleaseDomain(new(1)));
        Assert.Equal(VcmmError.None, _mmu.TryCreateDomain(out DomainId domain));
        Assert.Equal(new DomainId(1), domain);
        Assert.Throws<ArgumentException>("domain", () => _mmu.ReleaseDomain(new(0)));
        Assert.Throws<ArgumentException>("domain", () => _mmu.ReleaseDomain(new(2)));
        _mmu.ReleaseDomain(domain);
        Assert.Throws<ArgumentException>("domain", () => _mmu.ReleaseDomain(domain));
    }

    [Fact]
    public void No_other_table_no_part_of_an_address_space_and_no_unknown_one_is_attached()
    {
        Assert.Equal(VcmmError.None, _mmu.TryCreateTable(_mmu.Formats[0], _system.Frames, out IPageTable? table));
        Assert.Equal(VcmmError.None, _mmu.TryCreateDomain(out DomainId domain));
        RecordingIommu iommu = _system.AddIommu();
        Assert.Equal(VcmmError.None, iommu.TryCreateTable(iommu.Format, _system.Frames, out IPageTable? foreign));
        Assert.Equal(VcmmError.NoDevice, _mmu.Attach(new(4), null, domain, table!));
        Assert.Equal(VcmmError.Invalid, _mmu.Attach(new(0), new Pasid(1), domain, table!));
        Assert.Equal(VcmmError.Invalid, _mmu.Attach(new(0), null, domain, foreign!));
        Assert.Throws<ArgumentNullException>("table", () => _mmu.Attach(new(0), null, domain, null!));
        Assert.Equal(VcmmError.NoDevice, _mmu.Detach(new(4), null, domain));
        Assert.Equal(VcmmError.Invalid, _mmu.Detach(new(0), new Pasid(1), domain));
        Assert.Equal((0, 0), (_mmu.Counters.RootLoads, _mmu.Counters.Shootdowns));
        Assert.Throws<ArgumentNullException>("port", () => new CpuMmu<X86FirstStage, Ram>(null!, _system.Memory));
        Assert.False(_mmu.TryTakeFault(out _));
    }

    [Fact]
    public void Use_is_tracked_in_tables_of_the_cores_own_format_and_of_x86_64()
    {
        Assert.True(_mmu.TracksUse(_mmu.Formats[0]));
        Assert.False(_mmu.TracksUse(_mmu.Formats[0] with { LevelCount = 5 }));
        CpuMmu<OddFormat, Ram> odd = WithLevels(5);
        Assert.False(odd.TracksUse(odd.Formats[0]));
    }

    /// <summary>A format whose addresses are not sign extended ends where its levels do; one whose levels take all bits has every address.</summary>
    [Theory]
    [InlineData(5, 22)]
    [InlineData(25, 62)]
    [InlineData(26, 64)]
    public void Addresses_that_are_not_sign_extended_end_where_the_levels_do(int levelCount, int bits)
    {
        CpuMmu<OddFormat, Ram> mmu = WithLevels(levelCount);
        TableFormat format = mmu.Formats[0];
        ulong last = ulong.MaxValue >> (64 - bits);
        Assert.True(mmu.CanTranslate(format, new(new(0), new(last))));
        Assert.True(mmu.CanTranslate(format, new(new(last), new(last))));
        Assert.False(mmu.CanTranslate(format with { LevelCount = 1 }, new(new(0), new(1))));
        if (bits == 64) return;
        Assert.False(mmu.CanTranslate(format, new(new(0), new(last + 1))));
        Assert.False(mmu.CanTranslate(format, new(new(ulong.MaxValue), new(ulong.MaxValue))));
    }

    [Fact]
    public void Each_shootdown_tells_what_it_is_for_and_nothing_of_the_one_before()
    {
        for (uint domain = 1; domain <= 3; domain++)
        {
            _mmu.Invalidate(new(domain), IovaRange.FromLength(new(domain * 2 * Page), Page), leavesOnly: true);
            Assert.Equal(new CpuFlush(new(domain), IovaRange.FromLength(new(domain * 2 * Page), Page), false, true), Assert.Single(_cpus.Shootdowns[^1]));
        }
    }

    [Theory]
    [InlineData(8)]
    [InlineData(9)]
    public void As_many_address_spaces_as_there_are_are_told_at_once(int count)
    {
        Invalidation[] commands =
        [
            .. Enumerable.Range(1, count).SelectMany(static domain => Enumerable.Range(0, 8).Select(i =>
                new Invalidation(new((uint)domain), IovaRange.FromLength(new((ulong)i * 2 * Page), Page), true))),
        ];
        Assert.Equal(VcmmError.None, _mmu.Invalidate(commands));
        Assert.Equal(commands.Select(static command => new CpuFlush(command.Domain, command.Range, false, true)), Assert.Single(_cpus.Shootdowns));
    }

    private CpuMmu<OddFormat, Ram> WithLevels(int levelCount) =>
        new(new SimpleCpus(_system.Memory) { Format = new(OddFormat.Encoding, levelCount, 0b1010) }, _system.Memory);
}
