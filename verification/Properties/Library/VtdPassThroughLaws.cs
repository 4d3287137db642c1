using IommuSim;
using Platform;
using Vcmm;
using Vcmm.Allocation;
using Vcmm.Vtd;

namespace Properties.Library;

/// <summary>A device whose requests go untranslated reaches all of memory, because somebody has said so, and until he takes it back.</summary>
public sealed class VtdPassThroughLaws
{
    private const ulong Page = 4096;
    private static readonly StreamId Device = new(0x1234);

    [Theory]
    [InlineData(false, false, null)]
    [InlineData(false, true, null)]
    [InlineData(true, false, null)]
    [InlineData(true, true, null)]
    [InlineData(true, false, 7u)]
    [InlineData(true, true, 7u)]
    public void It_reaches_every_address_while_it_is_attached_and_others_nothing(bool isScalable, bool cachingMode, uint? named)
    {
        using var machine = new Machine(isScalable, options => options with { CachingMode = cachingMode });
        Pasid? pasid = named is { } value ? new Pasid(value) : null;
        PasidPrefix? prefix = named is { } same ? new PasidPrefix(new(same)) : null;
        VtdDriver<Ram> driver = machine.Start();
        BusMaster<Ram, NoSteps> device = machine.Master(Device);
        PhysAddr target = machine.Last;
        Assert.False(device.Read(new(target.Value), new byte[8], prefix).Ok);
        for (int round = 0; round < 3; round++)
        {
            Assert.Equal(VcmmError.None, driver.TryCreateDomain(out DomainId domain));
            Assert.Equal(VcmmError.None, driver.AttachPassThrough(Device, pasid, domain));
            Assert.True(device.Write(new(target.Value), [1, 2, 3, (byte)round, 5, 6, 7, 8], prefix).Ok);
            Assert.Equal(0x0807_0605_0003_0201UL | (ulong)round << 24, machine.Memory.Read64(target));
            Assert.False(machine.Master(new(0x1235)).Read(new(target.Value), new byte[8], prefix).Ok);
            if (named is not null) Assert.False(device.Read(new(target.Value), new byte[8]).Ok);
            Assert.Throws<InvalidOperationException>(() => driver.AttachPassThrough(Device, pasid, domain));
            Assert.Equal(VcmmError.None, driver.Detach(Device, pasid, domain));
            Assert.False(device.Write(new(target.Value), new byte[8], prefix).Ok);
            driver.ReleaseDomain(domain);
        }

        driver.Stop();
        Assert.Equal(machine.Frames.TotalBytes, machine.Frames.FreeBytes);
    }

    [Theory]
    [InlineData(false, 1UL << 10 | 1UL << 9, 2)]       // 3 and 4 levels: the wider of them
    [InlineData(false, 1UL << 9, 1)]
    [InlineData(false, 1UL << 11 | 1UL << 10, 3)]
    [InlineData(true, 1UL << 10 | 1UL << 9, 2)]
    [InlineData(true, 1UL << 11 | 1UL << 9, 3)]
    public void The_entry_says_so_with_the_widest_address_of_the_hardware(bool isScalable, ulong widths, int width)
    {
        using var machine = new Machine(isScalable, static options => options);
        machine.Registers.AfterRead64 = (offset, value) => offset == 0x08 ? value & ~(7UL << 9) | widths : value;
        VtdDriver<Ram> driver = machine.Start();
        Assert.Equal(VcmmError.None, driver.AttachPassThrough(Device, null, new(5)));
        ulong root = machine.Simulator.Read64(0x20) & ~0xFFFUL;
        if (!isScalable)
        {
            PhysAddr context = new((machine.Memory.Read64(new(root + 0x12 * 16)) & ~0xFFFUL) + 0x34 * 16);
            // P, TT 10b; the domain, AW.
            Assert.Equal((0b1001UL, 5UL << 8 | (ulong)width), (machine.Memory.Read64(context), machine.Memory.Read64(context + 8)));
            return;
        }

        PhysAddr scalable = new((machine.Memory.Read64(new(root + 0x12 * 16)) & ~0xFFFUL) + 0x34 * 32);
        PhysAddr directory = new(machine.Memory.Read64(scalable) & ~0xFFFUL);
        PhysAddr entry = new(machine.Memory.Read64(directory) & ~0xFFFUL);
        // P, AW, PGTT 100b; the domain.
        Assert.Equal((1UL | (ulong)width << 2 | 4UL << 6, 5UL), (machine.Memory.Read64(entry), machine.Memory.Read64(entry + 8)));
        for (ulong word = 2; word < 8; word++) Assert.Equal(0UL, machine.Memory.Read64(entry + word * 8));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Hardware_that_lets_nothing_through_is_not_asked_to_and_nothing_is_taken(bool isScalable)
    {
        using var machine = new Machine(isScalable, static options => options with { PassThrough = false });
        VtdDriver<Ram> driver = machine.Start();
        ulong free = machine.Frames.FreeBytes;
        Assert.Equal(VcmmError.NoDevice, driver.AttachPassThrough(Device, null, new(5)));
        Assert.Equal(free, machine.Frames.FreeBytes);
        Assert.Throws<InvalidOperationException>(() => driver.Detach(Device, null, new(5)));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void A_device_with_a_TLB_and_one_that_no_unit_can_tell_apart_are_refused(bool isScalable)
    {
        using var machine = new Machine(isScalable, static options => options with { DeviceTlbs = true });
        VtdDriver<Ram> driver = machine.Start();
        driver.EnableAts(Device, new());
        Assert.Equal(VcmmError.Invalid, driver.AttachPassThrough(Device, null, new(5)));
        Assert.False(machine.Master(Device).Read(new(machine.Last.Value), new byte[8]).Ok);
        Assert.Equal(VcmmError.NoDevice, driver.AttachPassThrough(new(0x1_0000), null, new(5)));
        Assert.Throws<ArgumentOutOfRangeException>(() => driver.AttachPassThrough(new(1), new Pasid(0), new(5)));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void A_region_confines_its_device_also_where_it_is_one_to_one_and_can_follow_on_what_was_let_through(bool isScalable)
    {
        using var machine = new Machine(isScalable, static options => options);
        VtdDriver<Ram> driver = machine.Start();
        var manager = new VcmManager(machine.Frames);
        Assert.Equal(VcmmError.None, driver.TryCreateDomain(out DomainId domain));
        Assert.Equal(VcmmError.None, driver.AttachPassThrough(Device, null, domain));
        BusMaster<Ram, NoSteps> device = machine.Master(Device);
        Assert.True(device.Read(new(machine.Last.Value), new byte[8]).Ok);
        Assert.Equal(VcmmError.None, driver.Detach(Device, null, domain));
        driver.ReleaseDomain(domain);

        Vcm straight = manager.CreateVcm(IovaRange.FromLength(new(machine.Range.First.Value), machine.Range.ByteCount), new() { Kind = VcmKind.OneToOne });
        straight.Associate(manager.AddDevice(driver, Device)).Activate();
        Binding binding = straight.Bind(Page);
        Assert.True(device.Read(binding.Reservation.Range.First, new byte[8]).Ok);
        Assert.False(device.Read(new(machine.Last.Value), new byte[8]).Ok);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void A_detach_that_the_hardware_does_not_confirm_leaves_it_attached(bool isScalable)
    {
        using var machine = new Machine(isScalable, static options => options);
        VtdDriver<Ram> driver = machine.Start();
        Assert.Equal(VcmmError.None, driver.AttachPassThrough(Device, null, new(5)));
        machine.Registers.BeforeWrite64 = static (offset, _) => offset != HookedRegisters.QueueTail;
        Assert.Equal(VcmmError.HardwareFailure, driver.Detach(Device, null, new(5)));
        machine.Registers.BeforeWrite64 = static (_, _) => true;
        Assert.True(machine.Master(Device).Read(new(machine.Last.Value), new byte[8]).Ok);
        Assert.Equal(VcmmError.None, driver.Detach(Device, null, new(5)));
        Assert.False(machine.Master(Device).Read(new(machine.Last.Value), new byte[8]).Ok);
    }

    /// <summary>Which caches have kept that an entry was absent depends on the mode, and not on where the entry leads.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void In_caching_mode_it_is_told_of_as_an_attachment_of_a_table_is(bool isScalable)
    {
        using var machine = new Machine(isScalable, static options => options with { CachingMode = true });
        VtdDriver<Ram> driver = machine.Start();
        Assert.Equal(VcmmError.None, driver.TryCreateTable(machine.Frames, out Vcmm.Tables.IPageTable? table));
        List<ulong> ofTable = Told(() => driver.Attach(Device, null, new(5), table!));
        Assert.Equal(VcmmError.None, driver.Detach(Device, null, new(5)));
        Assert.Equal(ofTable, Told(() => driver.AttachPassThrough(Device, null, new(5))));
        // The context cache, in scalable mode the PASID cache, which absent entries are in under another domain, and the IOTLB; waits.
        ulong[] types = isScalable ? [1, 5, 7, 7, 5, 2, 5] : [1, 5, 2, 5];
        Assert.Equal(types, ofTable.Select(static low => low & 0xF));

        List<ulong> Told(Func<VcmmError> call)
        {
            ulong bytes = isScalable ? 32UL : 16UL, at = machine.Simulator.Read64(HookedRegisters.QueueTail);
            PhysAddr queue = new(machine.Simulator.Read64(0x90) & ~0xFFFUL);
            Assert.Equal(VcmmError.None, call());
            var told = new List<ulong>();
            for (; at != machine.Simulator.Read64(HookedRegisters.QueueTail); at = (at + bytes) % Page)
            {
                ulong low = machine.Memory.Read64(queue + at);
                // What a wait writes is another number each time.
                told.Add((low & 0xF) == 5 ? low & 0xFFFF_FFFF : low);
            }

            return told;
        }
    }

    private sealed class Machine : IDisposable
    {
        private readonly RamBlock _ram = new(PhysRange.FromLength(new(2UL << 20), 4UL << 20));
        private readonly bool _isScalable;

        public Machine(bool isScalable, Func<VtdOptions, VtdOptions> options)
        {
            _isScalable = isScalable;
            Simulator = new(_ram.Port, options(isScalable ? VtdOptions.Scalable : VtdOptions.Default));
            Registers = new(Simulator);
            Frames = new(_ram.Range);
        }

        public VtdIommu<Ram, NoSteps> Simulator { get; }

        public HookedRegisters Registers { get; }

        public FrameAllocator Frames { get; }

        public Ram Memory => _ram.Port;

        public PhysRange Range => _ram.Range;

        /// <summary>The last word there is; nobody was given it.</summary>
        public PhysAddr Last => new(_ram.Range.Last.Value - 7);

        public VtdDriver<Ram> Start() => VtdDriver<Ram>.Start(
            _ram.Port, Registers, Frames, new() { Scalable = _isScalable, MaximumPasidCount = 64, WaitPolicy = new CountedPolicy() });

        public BusMaster<Ram, NoSteps> Master(StreamId device) => new(Simulator, _ram.Port, device);

        public void Dispose() => _ram.Dispose();
    }
}
