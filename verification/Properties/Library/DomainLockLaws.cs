using Platform;
using Vcmm;
using Vcmm.Allocation;
using Vcmm.Dma;
using Vcmm.Tables;

namespace Properties.Library;

/// <summary>
/// Who waits for whom in an address space without a VCM: what a call does in several steps no other call sees half of, and calls on
/// distant ranges go on at once. The second call starts in the middle of the first.
/// </summary>
public sealed class DomainLockLaws : IDisposable
{
    private const ulong Page = 4096;
    private const ulong Large = 2UL << 20;

    private readonly RamBlock _ram = new(PhysRange.FromLength(new(0), 64 * Page));
    private readonly MemoryWatch _watch = new();
    private readonly FrameAllocator _frames;
    private readonly RecordingIommu _hardware;
    private readonly IommuDomain _domain;
    private Action _onWrite = static () => { };
    private SecondCall? _second;

    public DomainLockLaws()
    {
        _frames = new(_ram.Range);
        _hardware = new(_ram.Port);
        _watch.BeforeWrite = (_, _) => _onWrite();
        _domain = IommuDomain.Create(new WatchedTables<VtdSecondStage>(_hardware, _ram.Port, _watch), new WatchedFrames(_frames, _watch));
    }

    public void Dispose() => _ram.Dispose();

    /// <summary>The first, the second and the last of the parts by which a range is locked.</summary>
    [Theory]
    [InlineData(0UL)]
    [InlineData(100UL)]
    [InlineData(191UL)]
    public void A_call_waits_for_one_that_shares_a_page_with_it(ulong page)
    {
        var memory = PhysRange.FromLength(new(Large), Page);
        _domain.Attach(new(1));
        _domain.Map(new(0), PhysRange.FromLength(new(Page), 192 * Page), Access.Read);
        _hardware.OnCall = _ =>
        {
            Interfere(() => _domain.TryMap(new(page * Page), memory, Access.Write));
            return VcmmError.None;
        };
        _domain.Unmap(IovaRange.FromLength(new(0), 192 * Page));
        AssertWaited();
        Assert.Equal(memory.First, _domain.IovaToPhys(new(page * Page)));
    }

    [Fact]
    public void A_call_does_not_wait_for_one_on_a_distant_range()
    {
        _domain.Attach(new(1));
        _domain.Map(new(1UL << 30), PhysRange.FromLength(new(Page), Page), Access.Read);
        var other = new SecondCall(() => _domain.TryMap(new(1UL << 20), PhysRange.FromLength(new(Page), Page), Access.Read));
        _hardware.OnCall = _ =>
        {
            other.Run();
            return VcmmError.None;
        };
        _domain.Unmap(IovaRange.FromLength(new(1UL << 30), Page));
        Assert.False(other.HasWaited, "it waited for a range that has nothing to do with it");
        Assert.Equal(VcmmError.None, other.End());
    }

    /// <summary>Nobody finds one part mapped again and another not yet.</summary>
    [Fact]
    public void What_a_failed_sync_maps_again_is_found_whole()
    {
        var range = IovaRange.FromLength(new(0), 4 * Page);
        _domain.Attach(new(1));
        for (ulong page = 0; page < 4; page++) _domain.Map(new(page * Page), PhysRange.FromLength(new((9 - page) * Page), Page), Access.Read);
        UnmapGather gather = _domain.CreateGather();
        Assert.Equal(VcmmError.None, _domain.TryUnmap(range, gather));
        _hardware.OnCall = _ =>
        {
            _hardware.OnCall = static _ => VcmmError.None;
            int writes = 0;
            _onWrite = () =>
            {
                if (++writes == 2) Interfere(() => _domain.TryUnmap(range));
            };
            return VcmmError.HardwareFailure;
        };
        Assert.Equal(VcmmError.HardwareFailure, _domain.TrySync(gather));
        AssertWaited();
        Assert.Equal(VcmmError.Fault, _domain.TryTranslate(range.Last, out _));
    }

    /// <summary>A leaf reaches beyond the range of the call that cuts it.</summary>
    [Theory]
    [InlineData("protect")]
    [InlineData("unmap")]
    [InlineData("unmap later")]
    public void While_a_leaf_is_cut_no_other_call_works_on_any_part_of_it(string name)
    {
        var first = IovaRange.FromLength(new(Large), Page);
        var last = IovaRange.FromLength(new(2 * Large - Page), Page);
        _domain.Attach(new(1));
        _domain.Map(first.First, PhysRange.FromLength(new(8 * Large), Large), Access.ReadWrite);
        UnmapGather gather = _domain.CreateGather();
        _onWrite = () => Interfere(() => _domain.TryUnmap(last));
        VcmmError error = name switch
        {
            "protect" => _domain.TryProtect(first, Access.Read),
            "unmap" => _domain.TryUnmap(first),
            _ => _domain.TryUnmap(first, gather),
        };
        Assert.Equal(VcmmError.None, error);
        AssertWaited();
        Assert.Equal(name == "protect" ? VcmmError.None : VcmmError.Fault, _domain.TryTranslate(first.First, out Translation found));
        Assert.Equal(name == "protect" ? Access.Read : Access.None, found.Access);
        Assert.Equal(new PhysAddr(8 * Large + Page), _domain.IovaToPhys(new(Large + Page)));
        Assert.Equal(VcmmError.Fault, _domain.TryTranslate(last.First, out _));
        _domain.Sync(gather);
    }

    [Fact]
    public void An_address_space_ends_when_the_call_under_way_in_it_has_ended()
    {
        _onWrite = () => Interfere(_domain.TryFree);
        Assert.Equal(VcmmError.None, _domain.TryMap(new(Page), new PhysAddr(Page), Page, Access.Read));
        AssertWaited();
        Assert.Equal(VcmmError.Invalid, _domain.TryMap(new(0), new PhysAddr(Page), Page, Access.Read));
        Assert.Equal(_frames.TotalBytes, _frames.FreeBytes);
    }

    /// <summary>Once: starts another thread's call, and holds this one's up until that waits or is through.</summary>
    private void Interfere(Func<VcmmError> call)
    {
        if (_second is not null) return;
        _second = new(call);
        _second.Begin();
    }

    private void AssertWaited()
    {
        Assert.NotNull(_second);
        Assert.True(_second.HasWaited, "it did not wait");
        Assert.Equal(VcmmError.None, _second.End());
    }
}
