using Harness.Passing;
using IommuSim;
using Platform;
using Properties.Library.Regions;
using Vcmm;
using Vcmm.Allocation;
using Vcmm.Tables;
using Vcmm.Vtd;

namespace Properties.Library;

/// <summary>A device of a manager that is let through untranslated: claimed like an address space that is a region, under a domain of its own, and whole or not at all.</summary>
public sealed class DevicePassThroughLaws : IDisposable
{
    private const ulong Page = 4096;

    private readonly RamBlock _ram = new(PhysRange.FromLength(new(2UL << 20), 4UL << 20));
    private readonly FrameAllocator _frames;
    private readonly VtdIommu<Ram, NoSteps> _simulator;
    private readonly VtdDriver<Ram> _driver;
    private readonly Port _port;
    private readonly VcmManager _manager;
    private readonly Device _device;
    private readonly Vcm _region;

    public DevicePassThroughLaws()
    {
        _frames = new(_ram.Range);
        _simulator = new(_ram.Port, VtdOptions.Scalable with { DeviceTlbs = true });
        _driver = VtdDriver<Ram>.Start(_ram.Port, _simulator, _frames, new() { Scalable = true, MaximumPasidCount = 64, WaitPolicy = new CountedPolicy() });
        _port = new(_driver);
        _manager = new(_frames);
        _device = _manager.AddDevice(_port, new(0x20));
        _region = _manager.CreateVcm(IovaRange.FromLength(new(0), 16 * Page));
    }

    public void Dispose() => _ram.Dispose();

    private PhysAddr Last => new(_ram.Range.Last.Value - 7);

    private bool Reaches(Pasid? pasid = null) =>
        new BusMaster<Ram, NoSteps>(_simulator, _ram.Port, _device.Id).Read(new(Last.Value), new byte[8], pasid is { } named ? new PasidPrefix(new(named.Value)) : null).Ok;

    [Theory]
    [InlineData(null)]
    [InlineData(5u)]
    public void It_reaches_all_memory_until_the_end_returns_and_the_other_address_spaces_do_not(uint? named)
    {
        Pasid? pasid = named is { } value ? new(value) : null, other = named is null ? new Pasid(5) : null;
        for (int round = 0; round < 3; round++)
        {
            Assert.False(Reaches(pasid));
            _device.PassThrough(pasid);
            Assert.Equal((true, false), (Reaches(pasid), Reaches(other)));
            _device.EndPassThrough(pasid);
        }

        Assert.False(Reaches(pasid));
        Assert.Equal(_port.Taken, _port.Released);
        Assert.Equal(3, _port.Taken.Count);
        _driver.Stop();
        Assert.Equal(_frames.TotalBytes, _frames.FreeBytes);
    }

    [Fact]
    public void An_address_space_is_one_region_or_is_let_through()
    {
        Association association = _region.Associate(_device);
        _device.PassThrough();
        Assert.Equal(VcmmError.Busy, association.TryActivate());
        Assert.Equal(VcmmError.Busy, _device.TryPassThrough());
        Assert.Equal(VcmmError.Busy, Assert.Throws<VcmmException>(() => _device.PassThrough()).Error);
        // What was refused has taken nothing: the address space is let through as before, and another is free.
        Assert.True(Reaches());
        Assert.Equal(VcmmError.None, _device.TryPassThrough(new Pasid(1)));
        Assert.Equal(VcmmError.None, _device.TryEndPassThrough(new Pasid(1)));
        _device.EndPassThrough();
        association.Activate();
        Assert.Equal(VcmmError.Busy, _device.TryPassThrough());
        Assert.False(Reaches());
        association.Deactivate();
        Assert.Equal(VcmmError.None, _device.TryPassThrough());
    }

    [Fact]
    public void Every_reason_to_refuse_has_its_code_and_takes_no_domain()
    {
        Assert.Equal(VcmmError.Invalid, _device.TryPassThrough(new Pasid(0)));
        Assert.Equal(VcmmError.Invalid, _device.TryPassThrough(new Pasid(64)));
        Assert.Equal(VcmmError.None, _device.TryPassThrough(new Pasid(63)));
        Assert.Equal(VcmmError.NotFound, _device.TryEndPassThrough());
        Assert.Equal(VcmmError.NotFound, Assert.Throws<VcmmException>(() => _device.EndPassThrough(new Pasid(1))).Error);
        Device direct = _manager.AddDevice(new NoIommu(), new(0x20));
        Assert.Equal(VcmmError.NoDevice, direct.TryPassThrough());
        Assert.Equal(VcmmError.NoDevice, ((IIommu)new NoIommu()).AttachPassThrough(new(0x20), null, default));
        _driver.EnableAts(new(0x28), new());
        Device caching = _manager.AddDevice(_port, new(0x28));
        Assert.Equal(VcmmError.Invalid, caching.TryPassThrough());
        Assert.Equal(_port.Taken.Count - 1, _port.Released.Count);
        _port.HasDomains = false;
        Assert.Equal(VcmmError.NoSpace, _device.TryPassThrough());
        // What was not taken is not given back.
        Assert.Equal(_port.Taken.Count - 1, _port.Released.Count);
        _port.HasDomains = true;
        _port.IsAble = false;
        Assert.Equal(VcmmError.NoDevice, _device.TryPassThrough());
    }

    [Theory]
    [InlineData(VcmmError.NoMemory)]
    [InlineData(VcmmError.HardwareFailure)]
    [InlineData(null)]
    public void What_the_hardware_does_not_do_changes_nothing_and_can_be_done_again(VcmmError? failure)
    {
        _port.Answer = () => failure ?? throw new BrokenPort();
        Fails(() => _device.TryPassThrough(), failure);
        Assert.Equal(_port.Taken, _port.Released);
        Assert.Equal(VcmmError.NotFound, _device.TryEndPassThrough());
        _port.Answer = null;
        _device.PassThrough();
        _port.Answer = () => failure ?? throw new BrokenPort();
        Fails(() => _device.TryEndPassThrough(), failure);
        Assert.True(Reaches());
        Assert.Equal(VcmmError.Busy, _device.TryPassThrough());
        _port.Answer = null;
        _device.EndPassThrough();
        Assert.False(Reaches());
        Assert.Equal(_port.Taken, _port.Released);
    }

    /// <summary>While the hardware is at it the address space is taken, so that no region gets it.</summary>
    [Fact]
    public void No_region_gets_the_address_space_while_the_hardware_is_at_it()
    {
        Association association = _region.Associate(_device);
        VcmmError? beside = null;
        _port.Answer = () =>
        {
            beside = association.TryActivate();
            return VcmmError.None;
        };
        _device.PassThrough();
        Assert.Equal(VcmmError.Busy, beside);
        (beside, _port.Answer) = (null, () =>
        {
            beside = association.TryActivate();
            return VcmmError.HardwareFailure;
        });
        Assert.Equal(VcmmError.HardwareFailure, _device.TryEndPassThrough());
        Assert.Equal(VcmmError.Busy, beside);
    }

    private static void Fails(Func<VcmmError> call, VcmmError? failure)
    {
        if (failure is { } code) Assert.Equal(code, call());
        else Assert.Throws<BrokenPort>(() => call());
    }

    /// <summary>The driver, which a test can make answer something else, and whose domain ids are counted.</summary>
    private sealed class Port(IIommu inner) : PassingIommu(inner)
    {
        public List<DomainId> Taken { get; } = [];

        public List<DomainId> Released { get; } = [];

        public bool HasDomains { get; set; } = true;

        public bool IsAble { get; set; } = true;

        /// <summary>What the hardware says; none: it goes on.</summary>
        public Func<VcmmError>? Answer { get; set; }

        public override bool CanPassThrough => IsAble;

        public override VcmmError TryCreateDomain(out DomainId domain)
        {
            domain = default;
            if (!HasDomains) return VcmmError.NoSpace;
            VcmmError error = Inner.TryCreateDomain(out domain);
            Taken.Add(domain);
            return error;
        }

        public override void ReleaseDomain(DomainId domain)
        {
            Released.Add(domain);
            Inner.ReleaseDomain(domain);
        }

        public override VcmmError AttachPassThrough(StreamId device, Pasid? pasid, DomainId domain) => Answered() is { } error ? error : Inner.AttachPassThrough(device, pasid, domain);

        public override VcmmError Detach(StreamId device, Pasid? pasid, DomainId domain) => Answered() is { } error ? error : Inner.Detach(device, pasid, domain);

        private VcmmError? Answered() => Answer?.Invoke() is { } answer and not VcmmError.None ? answer : null;
    }
}
