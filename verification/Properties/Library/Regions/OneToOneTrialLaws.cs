using Platform;
using Vcmm;
using Vcmm.Allocation;

namespace Properties.Library.Regions;

/// <summary>Bindings of a one-to-one region whose memory cannot be asked for at an address: piece after piece is tried, and few are held (I6, I10).</summary>
public sealed class OneToOneTrialLaws
{
    private const ulong Page = VcmManager.PageBytes;
    private const int PageCount = 4096, MostHeld = 1024;

    private static readonly PhysRange Bank = PhysRange.FromLength(new(PageCount * Page), PageCount * Page);

    private readonly PlainFrames _frames = new(new FrameAllocator(Bank));
    private readonly VcmManager _manager;

    public OneToOneTrialLaws() => _manager = new(_frames);

    /// <summary>The source gives its lowest page first.</summary>
    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(700)]
    [InlineData(MostHeld - 1)]
    public void The_first_piece_that_lies_where_the_region_has_nothing_is_taken_and_the_others_are_given_back(int unusable)
    {
        Vcm vcm = Create(unusable);
        Binding binding = vcm.Bind(Page);
        Assert.Equal((AddressOf(unusable), unusable + 1), (binding.Reservation.Range.First, _frames.MostTaken));
        Assert.Equal(AddressOf(unusable).Value, Assert.Single(binding.Memory.Segments).First.Value);
        Assert.Equal(Bank.ByteCount - Page, _frames.FreeBytes);
        vcm.Unbind(binding);
        Assert.Equal(Bank.ByteCount, _frames.FreeBytes);
    }

    [Theory]
    [InlineData(MostHeld)]
    [InlineData(PageCount - 1)]
    public void Where_so_many_pieces_do_not_do_it_is_given_up_and_nothing_is_held(int unusable)
    {
        Vcm vcm = Create(unusable);
        Assert.Equal(VcmmError.NoSpace, vcm.TryBind(Page, Access.ReadWrite, MemoryOptions.Default, out _));
        Assert.Equal((MostHeld, Bank.ByteCount), (_frames.MostTaken, _frames.FreeBytes));
        // Whoever can be asked for a place knows of it.
        Assert.Equal(AddressOf(unusable), Create(unusable, new VcmManager(new FrameAllocator(Bank))).Bind(Page).Reservation.Range.First);
    }

    [Fact]
    public void There_is_no_space_where_all_memory_lies_elsewhere_and_no_memory_where_there_is_none()
    {
        Vcm vcm = _manager.CreateVcm(IovaRange.FromLength(new(0), PageCount * Page), new() { Kind = VcmKind.OneToOne });
        Assert.Equal(VcmmError.NoSpace, vcm.TryBind(256 * Page, Access.ReadWrite, MemoryOptions.Default, out _));
        Assert.Equal((PageCount / 256, Bank.ByteCount), (_frames.MostTaken, _frames.FreeBytes));
        PhysicalAllocation rest = _manager.Allocate(_frames.FreeBytes);
        Assert.Equal(VcmmError.NoMemory, vcm.TryBind(Page, Access.ReadWrite, MemoryOptions.Default, out _));
        rest.Free();
    }

    /// <summary>Pieces are blocks of a power of two.</summary>
    [Fact]
    public void A_length_that_is_no_power_of_two_is_no_piece() =>
        Assert.Equal(VcmmError.NoMemory, Create(0).TryBind(3 * Page, Access.ReadWrite, MemoryOptions.Default, out _));

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(40)]
    public void Where_the_source_throws_the_pieces_that_were_held_are_given_back(int before)
    {
        Vcm vcm = Create(100);
        _frames.CallsBeforeThrow = before;
        Assert.Throws<BrokenPort>(() => vcm.TryBind(Page, Access.ReadWrite, MemoryOptions.Default, out _));
        Assert.Equal((before, Bank.ByteCount), (_frames.MostTaken, _frames.FreeBytes));
        Assert.Equal(AddressOf(100), vcm.Bind(Page).Reservation.Range.First);
    }

    /// <summary>All pieces are given back, the one that was not mapped among them.</summary>
    [Theory]
    [InlineData(null)]
    [InlineData(VcmmError.HardwareFailure)]
    public void Where_the_hardware_fails_the_pieces_that_were_held_are_given_back(VcmmError? failure)
    {
        using var ram = new RamBlock(Bank);
        var iommu = new RecordingIommu(ram.Port) { CachesAbsent = true };
        Vcm vcm = Create(3);
        Association association = vcm.Associate(_manager.AddDevice(iommu, new(1)));
        association.Activate();
        ulong free = _frames.FreeBytes;
        int calls = 0;
        iommu.OnCall = _ => calls++ == 0 ? failure ?? throw new BrokenPort() : VcmmError.None;
        VcmmError error = VcmmError.HardwareFailure;
        Exception? thrown = Record.Exception(() => error = vcm.TryBind(Page, Access.ReadWrite, MemoryOptions.Default, out _));
        Assert.Equal((failure is null, VcmmError.HardwareFailure), (thrown is BrokenPort, error));
        // The pages of the table stay linked: root and three levels.
        Assert.Equal((free - 3 * Page, 1), (_frames.FreeBytes, vcm.Reservations.Count));
        vcm.Unbind(vcm.Bind(Page));
        vcm.Reservations[0].Unreserve();
        association.Deactivate();
        association.Deassociate();
        vcm.Free();
        Assert.Equal(Bank.ByteCount, _frames.FreeBytes);
    }

    /// <summary>Another thread ends the reservation before the pieces that were held are back: the memory is the binding's still.</summary>
    [Fact]
    public void The_piece_that_was_bound_is_not_among_those_that_are_given_back()
    {
        Vcm vcm = Create(1);
        _frames.OnFree = () =>
        {
            _frames.OnFree = static () => { };
            var ending = new SecondCall(() => vcm.TryFindReservation(AddressOf(1), out Reservation found) ? found.TryUnmap() : VcmmError.NotFound);
            ending.Start();
            Assert.Equal(VcmmError.None, ending.End());
        };
        Binding binding = vcm.Bind(Page);
        Assert.False(binding.Reservation.IsAlive);
        Assert.Equal(Bank.ByteCount - Page, _frames.FreeBytes);
        Assert.Equal(VcmmError.None, binding.Memory.TryFree());
    }

    /// <summary>A region that has nothing free at the first pages of the memory.</summary>
    private Vcm Create(int taken, VcmManager? manager = null)
    {
        Vcm vcm = (manager ?? _manager).CreateVcm(IovaRange.FromLength(new(0), 2 * (Bank.Last.Value + 1)), new() { Kind = VcmKind.OneToOne });
        if (taken != 0) vcm.ReserveAt(AddressOf(0), (ulong)taken * Page);
        return vcm;
    }

    private static Iova AddressOf(int page) => new(Bank.First.Value + (ulong)page * Page);

    /// <summary>Blocks and nothing more.</summary>
    private sealed class PlainFrames(FrameAllocator inner) : IFrameSource
    {
        private int _taken;

        public int CallsBeforeThrow { get; set; } = -1;

        /// <summary>Called before a block is given back.</summary>
        public Action OnFree { get; set; } = static () => { };

        /// <summary>How many blocks were out at once, since there was none.</summary>
        public int MostTaken { get; private set; }

        public ulong TotalBytes => inner.TotalBytes;

        public ulong FreeBytes => inner.FreeBytes;

        public VcmmError TryAllocate(ulong byteCount, out PhysAddr block)
        {
            if (CallsBeforeThrow >= 0 && CallsBeforeThrow-- == 0) throw new BrokenPort();
            VcmmError error = inner.TryAllocate(byteCount, out block);
            if (error == VcmmError.None) MostTaken = Math.Max(MostTaken, ++_taken);
            return error;
        }

        public VcmmError TryFree(PhysAddr block)
        {
            OnFree();
            VcmmError error = inner.TryFree(block);
            if (error == VcmmError.None) _taken--;
            return error;
        }
    }
}
